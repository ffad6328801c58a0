//! Connections that are cut, answers that are lost, servers that go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::block_in_place;
use vestibule_accounts::{
    Act, AddKey, CodeHash, EmailAddress, HandOver, NewCode, NewPasswordUser, PasswordHash,
    Redemption, Rotation, SecretCheck, Store, StoreError, StoredKey, UserId,
};
use vestibule_store::{OpenMode, PostgresStore};

use crate::load::{Load, grant};
use crate::server::Stop;
use crate::{NOW, Place, bytes, server, sign_in};

const CLIENT: &str = "spa";

/// While all connections are ended again and again, no verb fails, and what was acknowledged is there, once.
pub(crate) async fn connections_that_are_cut_do_not_split_or_fail_a_verb(place: Place) {
    let store = place.store("").await;
    let outsider = place.outsider().await;
    let load = Load::start(&store);
    let mut cut = 0;
    for _ in 0..30 {
        load.goes_on(20).await;
        cut += outsider
            .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", &[&place.schema])
            .await
            .unwrap()
            .len();
    }
    let told = load.end().await;
    assert!(cut > 30);
    told.assert_unbroken();
    told.assert_kept(&store, &place).await;
}

/// What stands between the store and its server, and cuts a connection at COMMIT when told to.
pub(crate) struct Between {
    port: u16,
    cut: Arc<AtomicU8>,
    turns: Arc<AtomicU32>,
}

const PASS: u8 = 0;
/// The server gets COMMIT and does it; the store never hears of it.
const LOSE_THE_ANSWER: u8 = 1;
/// The server never gets COMMIT.
const LOSE_THE_COMMIT: u8 = 2;

impl Between {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, turns) = (Arc::new(AtomicU8::new(PASS)), Arc::<AtomicU32>::default());
        let shared = (cut.clone(), turns.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (cut, turns) = shared.clone();
                tokio::spawn(pass(client, server, cut, turns));
            }
        });
        Self { port, cut, turns }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How often the store has spoken after the server had: its round trips.
    pub(crate) fn turns(&self) -> u32 {
        self.turns.load(Ordering::SeqCst)
    }

    async fn store(&self, place: &Place) -> Arc<PostgresStore> {
        let url = server::url(self.port, &place.schema);
        let store = PostgresStore::open(&url, &place.schema, OpenMode::Serve).await;
        Arc::new(store.unwrap())
    }

    /// The next COMMIT is cut so.
    fn cut(&self, how: u8) {
        self.cut.store(how, Ordering::SeqCst);
    }

    fn assert_cut(&self) {
        assert_eq!(self.cut.load(Ordering::SeqCst), PASS, "nothing was cut");
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    cut: Arc<AtomicU8>,
    turns: Arc<AtomicU32>,
) {
    let mut is_answered = true;
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let sent = &from_client[..read];
                if std::mem::take(&mut is_answered) {
                    turns.fetch_add(1, Ordering::SeqCst);
                }
                // Our COMMIT is a simple query, and travels alone.
                let is_commit = sent == b"Q\0\0\0\x0bCOMMIT\0";
                let how = if is_commit { cut.swap(PASS, Ordering::SeqCst) } else { PASS };
                if how == LOSE_THE_COMMIT {
                    return;
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
                if how == LOSE_THE_ANSWER {
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(read @ 1..) = read else { return };
                is_answered = true;
                if client.write_all(&from_server[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Each verb that writes, its COMMIT done and the answer lost.
pub(crate) async fn a_commit_whose_answer_is_lost_is_known(place: Place) {
    each_verb(&place, LOSE_THE_ANSWER).await;
}

/// Each verb that writes, its COMMIT lost.
pub(crate) async fn a_commit_that_never_arrived_is_done_once(place: Place) {
    each_verb(&place, LOSE_THE_COMMIT).await;
}

fn key(kid: &str) -> StoredKey {
    StoredKey {
        kid: kid.into(),
        algorithm: "ES256".into(),
        sealed: vec![1],
        public_jwk: "{}".into(),
        created_at: NOW,
        active_from: NOW,
        retired_at: None,
    }
}

async fn each_verb(place: &Place, how: u8) {
    let between = Between::start(place.server.port()).await;
    let store = between.store(place).await;
    macro_rules! cut {
        ($verb:expr) => {{
            between.cut(how);
            let answer = $verb.await.unwrap();
            between.assert_cut();
            answer
        }};
    }

    let first = sign_in(1);
    let user = cut!(store.apply(first.clone())).user;
    assert_eq!(
        (place.count("users").await, place.count("sessions").await),
        (1, 1)
    );

    let mut link = sign_in(2);
    link.act = Act::Link(user.account());
    link.requires = Some(first.session.hash);
    link.provider_tokens = Some(b"one".to_vec());
    let linked = cut!(store.apply(link.clone())).user;
    assert_eq!(linked.version.0, user.version.0 + 1);
    assert_eq!(store.user(user.id).await.unwrap().unwrap(), linked);

    let code = NewCode {
        hash: CodeHash::from_bytes(bytes(1)),
        client_id: CLIENT.into(),
        redirect_uri: "https://spa.example/".into(),
        code_challenge: "challenge".into(),
        expires_at: NOW.plus_seconds(60),
    };
    assert!(cut!(store.hand_over(
        first.session.id,
        HandOver::Code(code.clone()),
        NOW
    )));
    assert!(cut!(store.hand_over(
        first.session.id,
        HandOver::Grant(grant(7)),
        NOW
    )));
    let redeemed = cut!(store.redeem_code(Redemption {
        hash: code.hash,
        client_id: code.client_id,
        redirect_uri: code.redirect_uri,
        code_challenge: code.code_challenge,
        grant: grant(8),
        now: NOW,
    }));
    assert_eq!(redeemed.session.id, first.session.id);
    assert_eq!(place.count("grants").await, 2);

    let rotation = |count, seconds| Rotation {
        grant: grant(8).id,
        count,
        grace_seconds: 0,
        now: NOW.plus_seconds(seconds),
    };
    assert_eq!(cut!(store.rotate_grant(rotation(0, 1))).count, 1);
    assert_eq!(cut!(store.rotate_grant(rotation(1, 2))).count, 2);
    between.cut(how);
    let reused = store.rotate_grant(rotation(0, 3)).await;
    between.assert_cut();
    assert!(
        matches!(reused, Err(vestibule_accounts::RotateError::Reused)),
        "{reused:?}"
    );
    assert_eq!(place.count("grants").await, 1);
    assert!(cut!(store.end_grant(grant(7).id, CLIENT.into())));
    assert_eq!(place.count("grants").await, 0);

    let subject = || link.identity.subject.clone();
    let issuer = || link.identity.issuer.clone();
    let version = async || store.provider_tokens(user.id).await.unwrap()[0].version;
    let old = version().await;
    assert!(cut!(store.replace_provider_tokens(
        issuer(),
        subject(),
        old,
        Some(b"two".to_vec()),
        NOW
    )));
    let new = version().await;
    assert_eq!(new, old + 1);
    assert!(cut!(store.replace_provider_tokens(
        issuer(),
        subject(),
        new,
        None,
        NOW
    )));
    assert_eq!(place.count("provider_tokens").await, 0);
    let mut again = sign_in(3);
    again.act = Act::SignIn(linked.account());
    again.identity = link.identity.clone();
    again.provider_tokens = Some(b"three".to_vec());
    cut!(store.apply(again.clone()));
    let unlinked = cut!(store.unlink(
        linked.account(),
        issuer(),
        subject(),
        Some(first.session.id),
        NOW
    ))
    .unwrap();
    assert_eq!(unlinked.provider_tokens.as_deref(), Some(&b"three"[..]));
    assert_eq!(place.count("taken_away").await, 1);
    assert_eq!(place.count("provider_tokens").await, 0);
    let after = store.user(user.id).await.unwrap().unwrap();
    assert_eq!(after.version.0, linked.version.0 + 1);

    assert_eq!(
        cut!(store.end_session(first.session.hash)),
        Some(first.session.id)
    );
    let disabled = cut!(store.set_active(user.id, false, NOW)).unwrap();
    assert!(!disabled.is_active);
    assert_eq!(disabled.version.0, after.version.0 + 1);
    assert_eq!(place.count("sessions").await, 0);
    let administrator = cut!(store.set_superuser(user.id, true, NOW)).unwrap();
    assert_eq!(administrator.version.0, disabled.version.0 + 1);

    let registered = cut!(store.register(
        NewPasswordUser {
            id: UserId::new(NOW, bytes(9)),
            claimed_email: EmailAddress::parse("ann@x.example").unwrap(),
            password_hash: PasswordHash::new("hash".into()),
        },
        NOW
    ));
    assert!(registered.has_password);
    assert_eq!(place.count("users").await, 2);

    assert!(cut!(store.add_signing_key(
        key("1"),
        NOW,
        AddKey::IfNewestIs(None)
    )));
    assert!(cut!(store.revoke_signing_key("1".into(), key("2"), NOW)));
    let keys = store.signing_keys().await.unwrap();
    assert_eq!((keys.len(), &*keys[0].kid), (1, "2"));
    assert_eq!(cut!(store.check_secret([1; 32], None)), SecretCheck::Ours);
    cut!(store.prune(NOW));
}

/// A server is restarted, and loses its power: what fails fails while it is away, nothing acknowledged is lost, and the
/// pool heals by itself.
pub(crate) async fn a_server_that_restarts_is_missed_while_it_is_away_alone(place: Place) {
    for (round, how) in [Stop::Fast, Stop::Immediate].into_iter().enumerate() {
        let place = Place {
            schema: format!("round_{round}"),
            ..place.clone()
        };
        let store = place.store("").await;
        let load = Load::start(&store);
        load.goes_on(100).await;
        let gone = Instant::now();
        block_in_place(|| place.server.stop(how));
        while store.ready().await.is_ok() {}
        block_in_place(|| place.server.run());
        let healed = load.healed().await;
        load.goes_on(100).await;
        let told = load.end().await;
        told.assert_failed_between_alone(gone, healed);
        told.assert_kept(&store, &place).await;
    }
}

/// Who finds no free connection is told so soon; what waits for a lock is not in doubt.
pub(crate) async fn a_pool_that_is_used_up_fails_fast(place: Place) {
    let store = place.store("").await;
    let user = store.apply(sign_in(1)).await.unwrap().user;
    let mut outsider = place.outsider().await;
    let lock = outsider.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut held = Vec::new();
    for _ in 0..16 {
        let store = store.clone();
        held.push(tokio::spawn(async move { store.user(user.id).await }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;

    let began = Instant::now();
    let refused = store.ready().await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(4));

    lock.rollback().await.unwrap();
    for read in held {
        assert_eq!(read.await.unwrap().unwrap(), Some(user.clone()));
    }
    store.ready().await.unwrap();
}
