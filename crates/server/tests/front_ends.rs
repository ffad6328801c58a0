//! Front ends at the binary, over real sockets: races, deaths within a second, keys that change under load, and power
//! cuts.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;
#[path = "support/web.rs"]
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Home, Ran, client, configuration, location, provider, sign_in, who};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use url::Url;
use vestibule::oidc::jose::{Algorithm, SigningKey};
use web::{CHALLENGE, FRONT_ENDS, REDIRECT_URI, Signed, Web, decoded, home, invalid_grant, kid_of};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const PEOPLE: [&str; 3] = ["alice@example.com", "bob@example.com", "carol@example.com"];
/// How long what has ended may still be believed.
const BELIEF: Duration = Duration::from_secs(1);

/// The tables of the first migration.
const FIRST_TABLES: &str = "vestibule_claims vestibule_identities vestibule_meta vestibule_migrations vestibule_sessions vestibule_signing_keys vestibule_users";

/// Fifty of the same at one time, each on a connection of its own.
async fn fifty<T, F>(server: SocketAddr, act: impl Fn(Web) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let together = Arc::new(Barrier::new(50));
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let (work, together) = (act(Web::connected(server).await), together.clone());
        tasks.push(tokio::spawn(async move {
            together.wait().await;
            work.await
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

// S68
#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_redemptions_on_fifty_connections_one_succeeds_and_a_later_one_ends_what_came_of_it()
 {
    let idp = provider().await;
    let home = home(&idp);
    let server = home.serve();
    let web = Web::at(server.address());
    let mut lived = 0;
    for round in 1..=5 {
        let (_, code) = web.code(ALICE).await.unwrap();
        let answers = fifty(server.address(), |web| {
            let code = code.clone();
            async move { web.redeem(&code).await.unwrap() }
        })
        .await;
        let good: Vec<&(String, String)> = answers.iter().flatten().collect();
        assert_eq!(good.len(), 1);
        let refused = answers.iter().filter(|one| **one == invalid_grant());
        assert_eq!(refused.count(), 49, "{answers:?}");
        let (access, refresh) = good[0];
        let (mut tokens, mut newest) = (vec![access.clone()], refresh.clone());
        if let Ok((newer, refresh)) = web.refresh(refresh).await.unwrap() {
            for token in [access, &newer] {
                assert_eq!(web.me(token).await.unwrap(), 200);
            }
            tokens.push(newer);
            newest = refresh;
            lived += 1;
        } else {
            // One of the fifty came when the first had been answered: that is a later use, and the log says so.
            let until = Instant::now() + Duration::from_secs(5);
            while server.said().matches("\"code_reused\"").count() < round {
                assert!(Instant::now() < until, "{}", server.said());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }

        assert_eq!(web.redeem(&code).await.unwrap(), invalid_grant());
        assert_eq!(web.refresh(&newest).await.unwrap(), invalid_grant());
        for token in &tokens {
            assert_eq!(web.me(token).await.unwrap(), 401);
        }
    }
    println!("what came of the code lived on in {lived} of 5 rounds until it was used later");
}

// S69
#[tokio::test(flavor = "multi_thread")]
async fn fifty_refreshes_on_fifty_connections_get_one_successor_and_nobody_is_signed_out() {
    let idp = provider().await;
    let home = home(&idp);
    let server = home.serve();
    let web = Web::at(server.address());
    let mut signed = web.sign_in(ALICE).await;
    for _ in 0..5 {
        let answers = fifty(server.address(), |web| {
            let token = signed.refresh.clone();
            async move { web.refresh(&token).await.unwrap() }
        })
        .await;
        let successors: BTreeSet<&String> = answers
            .iter()
            .map(|answer| &answer.as_ref().unwrap().1)
            .collect();
        assert_eq!(successors.len(), 1, "{answers:?}");
        for (access, _) in answers.iter().flatten() {
            assert_eq!(web.me(access).await.unwrap(), 200);
        }
        signed.refresh = (*successors.first().unwrap()).clone();
    }
    assert_eq!(web.me(&signed.access).await.unwrap(), 200);
    assert_eq!(
        who(&web.client, server.address(), &signed.session).await,
        ALICE
    );
    web.refresh(&signed.refresh).await.unwrap().unwrap();
}

/// Asks over and over with something that is alive, as fast as it is answered; until it is refused. Then: when the last
/// request that was accepted was sent.
fn watch<F>(ask: impl Fn() -> F + Send + 'static) -> JoinHandle<Instant>
where
    F: Future<Output = bool> + Send + 'static,
{
    tokio::spawn(async move {
        let began = Instant::now();
        let mut accepted = None;
        loop {
            let sent = Instant::now();
            if !ask().await {
                return accepted.expect("it was accepted before");
            }
            accepted = Some(sent);
            assert!(began.elapsed().as_secs() < 30, "it lives on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
}

fn watch_access(web: &Web, access: &str) -> JoinHandle<Instant> {
    let (web, access) = (web.clone(), access.to_owned());
    watch(move || {
        let (web, access) = (web.clone(), access.clone());
        async move { web.me(&access).await.unwrap() == 200 }
    })
}

fn watch_session(web: &Web, session: &str) -> JoinHandle<Instant> {
    let (web, session) = (web.clone(), session.to_owned());
    watch(move || {
        let (web, session) = (web.clone(), session.clone());
        async move { !who(&web.client, web.server, &session).await.is_empty() }
    })
}

/// How long after a command was done the last request was sent that was still accepted.
async fn died_after(watched: JoinHandle<Instant>, done: Instant) -> Duration {
    let after = watched.await.unwrap().saturating_duration_since(done);
    assert!(after <= BELIEF, "accepted {after:?} after the command");
    after
}

async fn all_alive(web: &Web, signed: &mut Signed, person: &str) {
    assert_eq!(web.me(&signed.access).await.unwrap(), 200);
    assert_eq!(who(&web.client, web.server, &signed.session).await, person);
    (signed.access, signed.refresh) = web.refresh(&signed.refresh).await.unwrap().unwrap();
    assert_eq!(web.me(&signed.access).await.unwrap(), 200);
}

/// Runs a command beside the server, off the threads that ask.
async fn run(home: &Arc<Home>, arguments: &'static [&'static str]) -> Ran {
    let home = home.clone();
    tokio::task::spawn_blocking(move || home.run(arguments))
        .await
        .unwrap()
}

// S72: dead within a second
#[tokio::test(flavor = "multi_thread")]
async fn what_was_ended_is_refused_within_a_second_and_everything_else_lives_on() {
    let idp = provider().await;
    let home = Arc::new(home(&idp));
    let server = home.serve();
    let web = Web::at(server.address());
    let mut bob = web.sign_in(BOB).await;
    let mut elsewhere = web.sign_in(ALICE).await;
    let mut told = Vec::new();

    // Signed out in the browser: that browser's session, and what its front ends were given.
    let alice = web.sign_in(ALICE).await;
    let watched = [
        watch_access(&web, &alice.access),
        watch_session(&web, &alice.session),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let out = web
        .client
        .post(server.url("/auth/logout"))
        .header("cookie", &alice.session)
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .unwrap();
    assert_eq!(out.status().as_u16(), 204);
    let done = Instant::now();
    assert_eq!(web.refresh(&alice.refresh).await.unwrap(), invalid_grant());
    for one in watched {
        told.push(("signed out", died_after(one, done).await));
    }
    all_alive(&web, &mut elsewhere, ALICE).await;

    // Revoked by its front end: the grant alone.
    let mut alice = web.sign_in(ALICE).await;
    let watched = watch_access(&web, &alice.access);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let revoked = web
        .post("/oauth/revoke", &[("token", &alice.refresh)])
        .await;
    assert_eq!(revoked.unwrap().status().as_u16(), 200);
    let done = Instant::now();
    assert_eq!(web.refresh(&alice.refresh).await.unwrap(), invalid_grant());
    told.push(("revoked", died_after(watched, done).await));
    assert_eq!(
        who(&web.client, server.address(), &alice.session).await,
        ALICE
    );
    all_alive(&web, &mut elsewhere, ALICE).await;

    // A key revoked from the command line: what it signed.
    alice = web.sign_in(ALICE).await;
    let watched = watch_access(&web, &alice.access);
    let kid: &'static str = kid_of(&alice.access).leak();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let revoked = run(&home, ["keys", "revoke", kid].to_vec().leak()).await;
    let done = Instant::now();
    assert!(revoked.ok, "{}", revoked.err);
    told.push(("keys revoke", died_after(watched, done).await));
    assert_eq!(
        who(&web.client, server.address(), &alice.session).await,
        ALICE
    );
    for signed in [&mut alice, &mut elsewhere, &mut bob] {
        (signed.access, signed.refresh) = web.refresh(&signed.refresh).await.unwrap().unwrap();
        assert_ne!(kid_of(&signed.access), kid);
    }
    all_alive(&web, &mut alice, ALICE).await;

    // A person disabled from the command line: everything of that person, everywhere.
    let watched = [
        watch_access(&web, &alice.access),
        watch_access(&web, &elsewhere.access),
        watch_session(&web, &alice.session),
        watch_session(&web, &elsewhere.session),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let disabled = run(&home, &["user", "disable", ALICE]).await;
    let done = Instant::now();
    assert!(disabled.ok, "{}", disabled.err);
    for signed in [&alice, &elsewhere] {
        assert_eq!(web.refresh(&signed.refresh).await.unwrap(), invalid_grant());
    }
    for one in watched {
        told.push(("user disable", died_after(one, done).await));
    }
    all_alive(&web, &mut bob, BOB).await;
    println!("accepted last after the command was done: {told:?}");
}

/// What the loads of the rotating keys saw.
#[derive(Default)]
struct Seen {
    logins: AtomicUsize,
    refreshes: AtomicUsize,
    bearers: AtomicUsize,
    /// Keys whose revocation was begun.
    revoking: Mutex<BTreeSet<String>>,
    /// Keys that were revoked, and when the command was done.
    revoked: Mutex<BTreeMap<String, Instant>>,
    /// Keys that signed something.
    signed: Mutex<BTreeSet<String>>,
}

impl Seen {
    fn is_revoking(&self, kid: &str) -> bool {
        self.revoking.lock().unwrap().contains(kid)
    }

    /// Asks with a token: accepted unless its key is being revoked, refused a second after it was.
    async fn ask(&self, web: &Web, access: &str) {
        let kid = kid_of(access);
        self.signed.lock().unwrap().insert(kid.clone());
        let sent = Instant::now();
        match web.me(access).await.unwrap() {
            200 => {
                let revoked = self.revoked.lock().unwrap().get(&kid).copied();
                let late = revoked.is_some_and(|at| sent > at + BELIEF);
                assert!(!late, "a token of a revoked key was accepted");
                let is_published = web.kids().await.unwrap().contains(&kid);
                assert!(
                    is_published || self.is_revoking(&kid),
                    "accepted, and its key is not published"
                );
            }
            401 => assert!(self.is_revoking(&kid), "a good token was refused"),
            other => panic!("{other}"),
        }
        self.bearers.fetch_add(1, Ordering::Relaxed);
    }
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_change_under_load_refuse_no_good_token_and_accept_no_other() {
    const LASTS: Duration = Duration::from_secs(12);
    let idp = provider().await;
    let home = Arc::new(home(&idp));
    let server = home.serve();
    let web = Web::at(server.address());
    let (seen, ends) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut loads = Vec::new();
    for person in PEOPLE {
        let (web, seen, ends) = (web.clone(), seen.clone(), ends.clone());
        loads.push(tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                let mut signed = web.sign_in(person).await;
                seen.logins.fetch_add(1, Ordering::Relaxed);
                for _ in 0..8 {
                    seen.ask(&web, &signed.access).await;
                    let old = signed.access;
                    (signed.access, signed.refresh) =
                        web.refresh(&signed.refresh).await.unwrap().unwrap();
                    seen.refreshes.fetch_add(1, Ordering::Relaxed);
                    seen.ask(&web, &old).await;
                }
                assert_eq!(who(&web.client, web.server, &signed.session).await, person);
            }
        }));
    }
    // What no key of ours signed: good claims under a foreign key, with its own name and with that of ours.
    let good = web.sign_in(ALICE).await;
    let foreign = SigningKey::generate(Algorithm::Es256).unwrap();
    let forged = foreign.sign("at+jwt", &decoded(&good.access).1).unwrap();
    let (head, rest) = good.access.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    let (_, signature) = forged.rsplit_once('.').unwrap();
    let renamed = format!("{head}.{payload}.{signature}");
    {
        let (web, ends) = (web.clone(), ends.clone());
        loads.push(tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                for token in [&forged, &renamed] {
                    assert_eq!(web.me(token).await.unwrap(), 401);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }

    let (began, mut rotations) = (Instant::now(), 0);
    while began.elapsed() < LASTS && loads.iter().all(|load| !load.is_finished()) {
        let rotated = run(&home, &["keys", "rotate"]).await;
        assert!(rotated.ok, "{}", rotated.err);
        rotations += 1;
        // A new key waits ten minutes; a revocation lets one sign at once.
        if rotations % 4 == 0 {
            let listed = run(&home, &["--json", "keys", "list"]).await;
            let keys: Value = serde_json::from_str(&listed.out).unwrap();
            let signer = keys
                .as_array()
                .unwrap()
                .iter()
                .find(|key| key["state"] == "signs");
            let kid = signer.unwrap()["kid"].as_str().unwrap().to_owned();
            seen.revoking.lock().unwrap().insert(kid.clone());
            let arguments = ["keys", "revoke", kid.clone().leak()].to_vec().leak();
            let revoked = run(&home, arguments).await;
            assert!(revoked.ok, "{}", revoked.err);
            seen.revoked.lock().unwrap().insert(kid, Instant::now());
        }
        assert!(web.kids().await.unwrap().len() <= 64);
    }
    ends.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.unwrap();
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let signed = seen.signed.lock().unwrap().len();
    println!(
        "{rotations} rotations, {} revocations, {signed} keys that signed; {} logins, {} refreshes, {} bearer requests",
        seen.revoked.lock().unwrap().len(),
        count(&seen.logins),
        count(&seen.refreshes),
        count(&seen.bearers),
    );
    assert!(rotations >= 8 && signed >= 2 && count(&seen.bearers) >= 50);
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn seventy_rotations_by_command_leave_a_short_set_and_nobody_is_refused() {
    let idp = provider().await;
    let home = Arc::new(home(&idp));
    let server = home.serve();
    let web = Web::at(server.address());
    let mut alice = web.sign_in(ALICE).await;
    for _ in 0..70 {
        let rotated = run(&home, &["keys", "rotate"]).await;
        assert!(rotated.ok, "{}", rotated.err);
    }
    let until = Instant::now() + Duration::from_secs(5);
    while web.kids().await.unwrap().len() != 5 {
        assert!(Instant::now() < until, "{:?}", web.kids().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    all_alive(&web, &mut alice, ALICE).await;
}

/// What a stream of one person's sign-ins was given before the power went.
#[derive(Default)]
struct Given {
    /// Code and newest tokens of each grant.
    grants: Vec<(String, String, String)>,
}

/// Signs in, redeems and refreshes until the server is gone.
async fn stream(web: Web, person: &str) -> Given {
    let mut given = Given::default();
    while let Ok((_, code)) = web.code(person).await {
        let Ok(redeemed) = web.redeem(&code).await else {
            break;
        };
        let (access, refresh) = redeemed.unwrap();
        given.grants.push((code, access, refresh));
        for _ in 0..2 {
            let newest = given.grants.last_mut().unwrap();
            let Ok(refreshed) = web.refresh(&newest.2).await else {
                return given;
            };
            (newest.1, newest.2) = refreshed.unwrap();
        }
    }
    given
}

/// Whatever a front end was given is good after the power was cut, and what was used up stays used up.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_a_front_end_was_given_survive_kill_9_at_any_moment_and_a_used_code_stays_used()
{
    let idp = provider().await;
    let home = home(&idp);
    let mut server = home.serve();
    let (mut kept, mut dice): (usize, u64) = (0, 0x9E37_79B9_7F4A_7C15);
    for _ in 0..30 {
        let web = Web::at(server.address());
        let streams = PEOPLE.map(|person| tokio::spawn(stream(web.clone(), person)));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(40 + (dice >> 33) % 200)).await;
        server.kill();
        let mut grants = Vec::new();
        for stream in streams {
            grants.extend(stream.await.unwrap().grants);
        }
        server = home.serve();
        let web = Web::at(server.address());
        for (code, access, refresh) in &grants {
            assert_eq!(web.me(access).await.unwrap(), 200);
            // Also where the answer to its refresh was lost: the same successor comes again.
            let (newer, newest) = web.refresh(refresh).await.unwrap().unwrap();
            assert_eq!(web.me(&newer).await.unwrap(), 200);
            assert_eq!(web.redeem(code).await.unwrap(), invalid_grant());
            assert_eq!(web.refresh(&newest).await.unwrap(), invalid_grant());
        }
        kept += grants.len();
    }
    server.kill();
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let strays: i64 = database
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(strays, 0);
    assert!(kept >= 30, "only {kept} grants were seen");
    println!("30 kills: {kept} grants seen and kept");
}

// S67
#[tokio::test(flavor = "multi_thread")]
async fn serve_warns_at_start_of_tokens_that_go_through_urls() {
    let idp = provider().await;
    let home = Home::with(&format!(
        r#"{}
[[frontends]]
client_id = "article"
redirect_uris = ["http://localhost:8501/"]
handoff = "token-query"
token_lifetime = "30m"
token_format = "fastapi-users"
token_secret = "canary0f2d6a9c4b8e71350f2d6a9c4b8e7135"
[[frontends]]
client_id = "spa"
redirect_uris = ["https://spa.example/"]
handoff = "token-fragment"
"#,
        configuration(idp.issuer())
    ));
    let said = home.serve().said();
    let warnings: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line.to_string().contains("config.warning"))
        .collect();
    for words in [
        "tokens of article go through URLs",
        "tokens of article live 30m",
        "cannot be revoked before they expire",
        "tokens of spa go through URLs",
    ] {
        let told = warnings
            .iter()
            .filter(|line| line["level"] == "WARN" && line.to_string().contains(words));
        assert_eq!(told.count(), 1, "{words}: {said}");
    }
    assert!(!said.contains("canary"));
}

#[test]
fn what_is_wrong_with_front_ends_is_refused_at_once_in_one_message() {
    let home = Home::with(&format!(
        r#"{}
[[frontends]]
client_id = "web"
redirect_uri = ["https://web.example/"]
[[frontends]]
client_id = "spa"
redirect_uris = ["http://spa.example/"]
handoff = "token"
[[frontends]]
client_id = "spa"
redirect_uris = ["https://spa.example/"]
client_secret = "short"
"#,
        configuration("http://127.0.0.1:9")
    ));
    let refused = home.run(&["serve"]);
    assert!(!refused.ok && refused.err.starts_with("error: "));
    assert_eq!(refused.err.matches("error: ").count(), 1, "{}", refused.err);
    for words in [
        "redirect_uris",
        "https://spa.example/",
        "token-query",
        "client_secret",
    ] {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    assert!(!refused.err.contains("short") && !home.database().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_first_schema_is_taken_over_sessions_go_on_and_front_ends_work() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();
    server.kill();
    // Later migrations have added tables and touched none: without them it is the first schema.
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let tables = || -> String {
        database
            .query_row(
                "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name)",
                [],
                |row| row.get(0),
            )
            .unwrap()
    };
    let first: Vec<&str> = FIRST_TABLES.split(' ').collect();
    for later in tables().split(' ').filter(|table| !first.contains(table)) {
        database
            .execute_batch(&format!("DROP TABLE {later}"))
            .unwrap();
    }
    database
        .execute_batch(
            "DELETE FROM vestibule_signing_keys; DELETE FROM vestibule_migrations WHERE number <> 1;",
        )
        .unwrap();
    assert_eq!(tables(), FIRST_TABLES);
    drop(database);
    std::fs::write(
        home.path().join("vestibule.toml"),
        format!("{}{FRONT_ENDS}", configuration(idp.issuer())),
    )
    .unwrap();

    let server = home.serve();
    let web = Web::at(server.address());
    assert_eq!(who(&web.client, server.address(), &session).await, ALICE);
    let copy = rusqlite::Connection::open(home.path().join("vestibule.db.before-2")).unwrap();
    let people: i64 = copy
        .query_row("SELECT count(*) FROM vestibule_users", [], |row| row.get(0))
        .unwrap();
    assert_eq!(people, 1);
    // The old session is enough for a code.
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", "web"),
            ("redirect_uri", REDIRECT_URI),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ])
        .finish();
    let answer = web
        .get(&format!("/oauth/authorize?{query}"))
        .header("cookie", &session)
        .send()
        .await
        .unwrap();
    let url = Url::parse(&location(&answer)).unwrap();
    let code = url
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1;
    let (access, refresh) = web.redeem(&code).await.unwrap().unwrap();
    assert_eq!(web.me(&access).await.unwrap(), 200);
    web.refresh(&refresh).await.unwrap().unwrap();
    assert_eq!(decoded(&access).1["aud"], json!(["vestibule", "web"]));
}
