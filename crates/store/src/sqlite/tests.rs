//! The rules of this store, each made to happen.

mod backup;
mod files;
mod grants;
mod jobs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use rusqlite::Connection;
use tempfile::TempDir;
use vestibule_accounts::{
    Act, ApplyError, Claim, CodeHash, GrantId, GrantKey, IdentityRecord, NewGrant, NewSession,
    NewUser, RedeemError, Redemption, SessionHash, SessionId, SessionKey, SignIn, StateHash, Store,
    StoreError, Timestamp, UserId,
};

use super::SqliteStore;
use crate::OpenMode;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

async fn fresh() -> (Arc<dyn Store>, TempDir) {
    let file = File::new();
    (Arc::new(file.serve()), file.folder)
}

mod conformance {
    crate::conformance_tests!(super::fresh);
}

#[test]
fn every_behaviour_of_the_suite_is_run() {
    let suite = concat!(
        include_str!("../conformance.rs"),
        include_str!("../conformance/crowd.rs"),
        include_str!("../conformance/grants.rs"),
        include_str!("../conformance/invitations.rs"),
        include_str!("../conformance/linking.rs")
    );
    let behaviours: Vec<_> = suite
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn "))
        .map(|line| line.split_once('(').unwrap().0)
        .collect();
    assert!(behaviours.len() > 70);
    for behaviour in behaviours {
        assert!(
            suite.lines().any(|line| line.trim() == behaviour),
            "{behaviour} is not in conformance_tests!"
        );
    }
}

/// A place for a database file, and a connection beside the store's.
struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        Self { folder, path }
    }

    fn serve(&self) -> SqliteStore {
        SqliteStore::open(&self.path, OpenMode::Serve).unwrap()
    }

    fn outsider(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// The files of the folder, by name.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn count(connection: &Connection, table: &str) -> i64 {
    connection
        .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get(0)
        })
        .unwrap()
}

/// A row of the table that holds a name and a value.
fn put(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO vestibule_meta (name, value) VALUES (?1, x'00')")?
        .execute([name])
        .map(drop)
}

fn names(connection: &Connection) -> Vec<String> {
    connection
        .prepare_cached("SELECT name FROM vestibule_meta ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// Keeps the writer in a job until the answer is sent or dropped. When it returns, the job is running.
fn hold(store: &SqliteStore) -> Sender<()> {
    let (release, released) = channel();
    let (started, running) = channel();
    drop(store.writer.submit::<_, StoreError, _>(move |_| {
        let _ = started.send(());
        let _ = released.recv();
        Ok(())
    }));
    running.recv().unwrap();
    release
}

fn sign_in(number: u8) -> SignIn {
    SignIn {
        act: Act::Create {
            user: NewUser {
                id: UserId::new(NOW, [number; 10]),
                email: None,
                name: None,
                picture: None,
            },
            evict: None,
            by_invitation: false,
        },
        identity: IdentityRecord {
            issuer: "https://idp.example".into(),
            subject: number.to_string(),
            provider: "idp".into(),
            email: None,
            email_verified: false,
            name: None,
            picture: None,
        },
        provider_tokens: None,
        requires: None,
        session: NewSession {
            id: SessionId::new(NOW, [number; 10]),
            hash: SessionHash::from_bytes([number; 32]),
            provider: "idp".into(),
            expires_at: NOW.plus_seconds(86_400),
            idle_seconds: 3_600,
        },
        replaces: None,
        hand_over: None,
        claim: StateHash::from_bytes([number; 32]),
        now: NOW,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_writes_its_claim_and_a_refused_one_writes_nothing() {
    let file = File::new();
    let store = file.serve();
    let outsider = file.outsider();
    let rows = || {
        ["users", "identities", "sessions", "claims"]
            .map(|table| count(&outsider, &format!("vestibule_{table}")))
    };

    let user = store.apply(sign_in(1)).await.unwrap().user;
    assert_eq!(rows(), [1, 1, 1, 1]);

    let mut taken = sign_in(2);
    taken.identity.subject = "1".into();
    taken.replaces = Some(SessionHash::from_bytes([1; 32]));
    let conflict = store.apply(taken.clone()).await;
    assert!(
        matches!(conflict, Err(ApplyError::Conflict)),
        "{conflict:?}"
    );
    assert_eq!(rows(), [1, 1, 1, 1]);

    outsider
        .execute("UPDATE vestibule_users SET version = version + 1", [])
        .unwrap();
    taken.act = Act::SignIn(user.account());
    let stale = store.apply(taken).await;
    assert!(matches!(stale, Err(ApplyError::Stale)), "{stale:?}");
    assert_eq!(rows(), [1, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_survives_a_restart() {
    let file = File::new();
    let store = file.serve();
    let (used, unused) = (
        StateHash::from_bytes([1; 32]),
        StateHash::from_bytes([2; 32]),
    );
    assert_eq!(store.claim_state(used, NOW).await.unwrap(), Claim::First);
    store.apply(sign_in(1)).await.unwrap();
    store.close().await;
    drop(store);

    let store = file.serve();
    for seconds in [0, 900] {
        let claim = store.claim_state(used, NOW.plus_seconds(seconds)).await;
        assert_eq!(claim.unwrap(), Claim::Used, "{seconds}");
    }
    assert_eq!(store.claim_state(unused, NOW).await.unwrap(), Claim::First);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_forgotten_after_a_quarter_of_an_hour() {
    let file = File::new();
    let store = file.serve();
    let state = StateHash::from_bytes([1; 32]);
    assert_eq!(store.claim_state(state, NOW).await.unwrap(), Claim::First);
    store.apply(sign_in(1)).await.unwrap();
    let outsider = file.outsider();

    store.prune(NOW.plus_seconds(900)).await.unwrap();
    assert_eq!(count(&outsider, "vestibule_claims"), 1);
    store.prune(NOW.plus_seconds(901)).await.unwrap();
    assert_eq!(count(&outsider, "vestibule_claims"), 0);
    // No state lives that long.
    let later = store.claim_state(state, NOW.plus_seconds(901)).await;
    assert_eq!(later.unwrap(), Claim::First);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_reopening() {
    let file = File::new();
    let store = file.serve();
    let user = store.apply(sign_in(1)).await.unwrap().user;
    store.check_secret([7; 32], None).await.unwrap();
    let session = store
        .session(SessionKey::Cookie(SessionHash::from_bytes([1; 32])), NOW)
        .await;
    let session = session.unwrap().unwrap();
    store.close().await;
    drop(store);

    let store = file.serve();
    assert_eq!(store.user(user.id).await.unwrap(), Some(user.clone()));
    assert_eq!(store.identities(user.id).await.unwrap().len(), 1);
    let again = store
        .session(SessionKey::Cookie(SessionHash::from_bytes([1; 32])), NOW)
        .await;
    assert_eq!(again.unwrap(), Some(session));
    assert_eq!(
        store.check_secret([8; 32], None).await.unwrap(),
        vestibule_accounts::SecretCheck::Other
    );
}

// Each step of pruning is made to wait for us, so that what it removed can be counted.
#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_five_hundred_rows_at_a_time() {
    let file = File::new();
    let store = file.serve();
    let mut first = sign_in(1);
    first.now = NOW.plus_seconds(100_000);
    first.session.expires_at = NOW.plus_seconds(200_000);
    store.apply(first).await.unwrap();
    let outsider = file.outsider();
    outsider
        .execute_batch(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
             INSERT INTO vestibule_sessions SELECT randomblob(32), randomblob(16), (SELECT id FROM vestibule_users), 'idp', 0, 0, i, 1 FROM n;
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO vestibule_claims SELECT i, randomblob(32) FROM n;
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO vestibule_codes SELECT randomblob(32), (SELECT max(id) FROM vestibule_sessions WHERE expires_at > 1200), 'spa', 'https://spa.example/', 'challenge', i, NULL FROM n;
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO vestibule_grants SELECT randomblob(16), (SELECT max(id) FROM vestibule_sessions WHERE expires_at > 1200), 'spa', randomblob(32), 0, i, NULL, i FROM n;
             WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO vestibule_invitations SELECT i || '@x.example', i || '@x.example', 0, i FROM n;",
        )
        .unwrap();

    let mut prune = store.prune(NOW.plus_seconds(100_000));
    let mut left = Vec::new();
    let removed = loop {
        let release = hold(&store);
        let step = futures_util::FutureExt::now_or_never(prune.as_mut());
        drop(release);
        store.ready().await.unwrap();
        if let Some(removed) = step {
            break removed.unwrap();
        }
        left.push(
            ["codes", "grants", "sessions", "invitations", "claims"]
                .map(|table| count(&outsider, &format!("vestibule_{table}"))),
        );
    };

    assert_eq!(removed, 3_600);
    assert_eq!(
        left,
        [
            [600, 600, 1_201, 600, 601], // the keys
            [100, 600, 1_201, 600, 601],
            [0, 600, 1_201, 600, 601],
            [0, 100, 1_201, 600, 601],
            [0, 0, 1_201, 600, 601],
            [0, 0, 701, 600, 601],
            [0, 0, 201, 600, 601],
            [0, 0, 1, 600, 601],
            [0, 0, 1, 100, 601],
            [0, 0, 1, 0, 601],
            [0, 0, 1, 0, 101],
            [0, 0, 1, 0, 1],
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_we_never_write_is_corrupt() {
    let file = File::new();
    let store = file.serve();
    let user = store.apply(sign_in(1)).await.unwrap().user;
    file.outsider()
        .execute_batch("UPDATE vestibule_users SET email = 'no address', email_key = 'x'")
        .unwrap();

    let read = store.user(user.id).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
    let session = store
        .session(SessionKey::Cookie(SessionHash::from_bytes([1; 32])), NOW)
        .await;
    assert!(
        matches!(session, Err(StoreError::Corrupt(_))),
        "{session:?}"
    );
}

/// Whether the database file alone, without its log, has a row with this name.
fn is_in_main_file(path: &Path, name: &str) -> bool {
    let alone = tempfile::tempdir().unwrap();
    let copy = alone.path().join("copy.db");
    std::fs::copy(path, &copy).unwrap();
    Connection::open(&copy)
        .and_then(|connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM vestibule_meta WHERE name = ?1)",
                [name],
                |row| row.get(0),
            )
        })
        .unwrap_or(false)
}

// J05: whoever knows a public client's name can send codes without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_nobody_was_given_waits_for_no_writer() {
    let file = File::new();
    let store = file.serve();
    let release = hold(&store);
    let mut refused = store.redeem_code(Redemption {
        hash: CodeHash::from_bytes([1; 32]),
        client_id: "spa".into(),
        redirect_uri: "https://spa.example/".into(),
        code_challenge: String::new(),
        grant: NewGrant {
            id: GrantId::new(NOW, [1; 10]),
            client_id: "spa".into(),
            key: GrantKey::new([1; 32]),
            expires_at: NOW,
        },
        now: NOW,
    });
    let answer = futures_util::FutureExt::now_or_never(refused.as_mut());
    assert!(
        matches!(answer, Some(Err(RedeemError::Unknown))),
        "{answer:?}"
    );
    drop(release);
}
