//! Two replicas on one PostgreSQL, which share nothing else: what begins on one ends on the other, what ends on one is
//! over on both, and both live through the absence of their database.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "support/parts.rs"]
mod parts;
#[path = "../../store/tests/support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod postgres;
mod support;
#[path = "support/web.rs"]
mod web;

use std::time::{Duration, Instant};

use libtest_mimic::Arguments;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::task::block_in_place;
use vestibule_devidp::DevIdp;

use parts::{Part, trial};
use postgres::Stop;
use support::{Home, Server, configuration, consent, location, provider, session_of, who};
use web::{FRONT_ENDS, Signed, Web, invalid_grant, kid_of};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const SECRET: &str = "0f2d6a9c4b8e71350f2d6a9c4b8e7135";
const OTHER_SECRET: &str = "93b1c5d7e2f4a6089bd1c3e5f7a2b4c6";
/// How long a change may take to be seen everywhere. A second is what a replica believes of what it has read.
const SOON: Duration = Duration::from_secs(5);

/// A database, a provider, and two replicas.
struct Replicas {
    database: postgres::Server,
    idp: DevIdp,
    home: Home,
    one: Server,
    other: Server,
}

fn home(database: &postgres::Server, idp: &DevIdp, secret: &str) -> Home {
    Home::with(&format!(
        "database_url = \"{}\"\nsecret = \"{secret}\"\n{}{FRONT_ENDS}",
        database.url("vestibule"),
        configuration(idp.issuer())
    ))
}

impl Replicas {
    async fn start() -> Self {
        let database = postgres::Server::start(&postgres::programs().unwrap());
        let idp = provider().await;
        let elsewhere = home(&database, &idp, SECRET);
        let home = home(&database, &idp, SECRET);
        Self {
            one: home.serve(),
            other: elsewhere.serve(),
            database,
            idp,
            home,
        }
    }

    fn webs(&self) -> [Web; 2] {
        [&self.one, &self.other].map(|server| Web::at(server.address()))
    }
}

/// `/users/me` for a browser.
async fn me(web: &Web, session: &str) -> Response {
    let request = web.get("/users/me").header("cookie", session);
    request.send().await.unwrap()
}

/// `/users/me` for a front end.
async fn me_by_token(web: &Web, access: &str) -> Response {
    let request = web.get("/users/me").bearer_auth(access);
    request.send().await.unwrap()
}

/// Asks until an answer has this status, and hears nothing but `meanwhile` before.
async fn becomes<F>(status: u16, meanwhile: &[u16], ask: impl Fn() -> F) -> Response
where
    F: Future<Output = Response>,
{
    let began = Instant::now();
    loop {
        let answer = ask().await;
        let found = answer.status().as_u16();
        if found == status {
            return answer;
        }
        assert!(meanwhile.contains(&found), "{found} before {status}");
        assert!(began.elapsed() < SOON, "it stays {found}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_login_begun_on_one_ends_on_the_other_and_once() {
    let replicas = Replicas::start().await;
    let [one, other] = replicas.webs();
    let path = "/auth/google/login";
    let consented = consent(&one.client, one.server, path, ALICE).await.unwrap();
    let arrived = consented.bring(&other.client, other.server).await.unwrap();
    assert_eq!(
        (arrived.status(), &*location(&arrived)),
        (StatusCode::SEE_OTHER, "http://localhost:8000/account")
    );
    let session = session_of(&arrived).unwrap();
    for web in [&one, &other] {
        assert_eq!(who(&web.client, web.server, &session).await, ALICE);
        let again = consented.bring(&web.client, web.server).await.unwrap();
        assert!(
            location(&again).contains("state_used") && session_of(&again).is_none(),
            "{}",
            location(&again)
        );
    }
    assert_eq!(replicas.idp.counters().token_requests, 1);

    // The second sign-in, the other way round, is of the same user.
    let consented = consent(&other.client, other.server, path, ALICE)
        .await
        .unwrap();
    let arrived = consented.bring(&one.client, one.server).await.unwrap();
    assert_ne!(session_of(&arrived).unwrap(), session);
    let users = "SELECT count(*) FROM vestibule.users";
    assert_eq!(replicas.database.psql(users), "1");
}

async fn codes_and_refresh_tokens_of_one_are_known_to_the_other_and_used_once() {
    let replicas = Replicas::start().await;
    let [one, other] = replicas.webs();

    let (session, code) = one.code(ALICE).await.unwrap();
    let (access, refresh) = other.redeem(&code).await.unwrap().unwrap();
    for web in [&one, &other] {
        assert_eq!(web.me(&access).await.unwrap(), 200);
    }
    // Used anywhere, it is used everywhere, and ends what came of it.
    assert_eq!(one.redeem(&code).await.unwrap(), invalid_grant());
    for web in [&one, &other] {
        assert_eq!(web.refresh(&refresh).await.unwrap(), invalid_grant());
        becomes(401, &[200], || me_by_token(web, &access)).await;
        assert_eq!(who(&web.client, web.server, &session).await, ALICE);
    }

    let signed = one.sign_in(ALICE).await;
    let (access, second) = other.refresh(&signed.refresh).await.unwrap().unwrap();
    assert_eq!(one.me(&access).await.unwrap(), 200);
    let (access, third) = one.refresh(&second).await.unwrap().unwrap();
    // Two rotations back is no request that came twice.
    assert_eq!(one.refresh(&signed.refresh).await.unwrap(), invalid_grant());
    for web in [&one, &other] {
        assert_eq!(web.refresh(&third).await.unwrap(), invalid_grant());
        becomes(401, &[200], || me_by_token(web, &access)).await;
        assert_eq!(who(&web.client, web.server, &signed.session).await, ALICE);
    }
}

async fn what_ends_on_one_or_from_the_command_line_is_over_on_both() {
    let replicas = Replicas::start().await;
    let webs = replicas.webs();
    let [one, other] = &webs;
    let everywhere = async |signed: &Signed, person: &str| {
        for web in &webs {
            assert_eq!(who(&web.client, web.server, &signed.session).await, person);
            assert_eq!(web.me(&signed.access).await.unwrap(), 200);
        }
    };
    let nowhere = async |signed: &Signed| {
        for web in &webs {
            becomes(401, &[200], || me(web, &signed.session)).await;
            becomes(401, &[200], || me_by_token(web, &signed.access)).await;
            assert_eq!(web.refresh(&signed.refresh).await.unwrap(), invalid_grant());
        }
    };

    let signed = one.sign_in(ALICE).await;
    let bob = other.sign_in(BOB).await;
    everywhere(&signed, ALICE).await;
    let out = one
        .client
        .post(replicas.one.url("/auth/logout"))
        .header("cookie", &signed.session)
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    nowhere(&signed).await;

    let signed = [one.sign_in(ALICE).await, other.sign_in(ALICE).await];
    for signed in &signed {
        everywhere(signed, ALICE).await;
    }
    let disabled = block_in_place(|| replicas.home.run(&["user", "disable", ALICE]));
    assert!(disabled.ok, "{}", disabled.err);
    for signed in &signed {
        nowhere(signed).await;
    }
    for web in &webs {
        assert!(web.code(ALICE).await.is_err());
    }
    everywhere(&bob, BOB).await;
}

async fn a_key_that_is_rotated_or_revoked_is_so_on_both() {
    let replicas = Replicas::start().await;
    let webs = replicas.webs();
    let [one, other] = &webs;
    let run = |arguments: &[&str]| {
        let ran = block_in_place(|| replicas.home.run(arguments));
        assert!(ran.ok, "{}", ran.err);
        ran.out
    };
    let published = async |kids: usize| {
        let began = Instant::now();
        loop {
            let sets = [one.kids().await.unwrap(), other.kids().await.unwrap()];
            if sets[0].len() == kids && sets[0] == sets[1] {
                return;
            }
            assert!(began.elapsed() < SOON, "{sets:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    let old = one.sign_in(ALICE).await;
    published(1).await;
    run(&["keys", "rotate"]);
    published(2).await;
    let waiting = one.sign_in(BOB).await;
    assert_eq!(kid_of(&waiting.access), kid_of(&old.access));
    // It signs ten minutes after it was published: let them be over.
    replicas
        .database
        .psql("UPDATE vestibule.signing_keys SET active_from = active_from - 601 * 1000000::bigint, created_at = created_at - 601 * 1000000::bigint");
    let began = Instant::now();
    let new = loop {
        let signed = one.sign_in(BOB).await;
        if kid_of(&signed.access) != kid_of(&old.access) {
            break signed;
        }
        assert!(began.elapsed() < SOON, "the old key signs on");
    };
    for web in &webs {
        assert_eq!(web.me(&new.access).await.unwrap(), 200);
        assert_eq!(web.me(&old.access).await.unwrap(), 200);
    }

    run(&["keys", "revoke", &kid_of(&old.access)]);
    for web in &webs {
        becomes(401, &[200], || me_by_token(web, &old.access)).await;
        assert_eq!(web.me(&new.access).await.unwrap(), 200);
        assert_eq!(who(&web.client, web.server, &old.session).await, ALICE);
    }
    published(1).await;
    let listed = run(&["keys", "list"]);
    assert!(
        listed.lines().count() == 1 && listed.contains(&kid_of(&new.access)),
        "{listed}"
    );
}

async fn a_replica_of_another_secret_does_not_start_and_the_commands_need_no_folder() {
    let replicas = Replicas::start().await;
    let stranger = home(&replicas.database, &replicas.idp, OTHER_SECRET);
    for command in [&["serve"] as &[&str], &["user", "list"]] {
        let refused = block_in_place(|| stranger.run(command));
        assert!(!refused.ok, "{command:?}");
        assert!(refused.err.contains("previous_secret"), "{}", refused.err);
        assert!(!refused.err.contains(SECRET) && !refused.err.contains(OTHER_SECRET));
    }

    let [one, _] = replicas.webs();
    one.sign_in(ALICE).await;
    let visitor = Home::with(&configuration(replicas.idp.issuer()));
    let url = replicas
        .database
        .url("vestibule")
        .replace("vestibule@", "vestibule:hunter2@");
    let environment = [
        ("VESTIBULE_DATABASE_URL", &*url),
        ("VESTIBULE_SECRET", SECRET),
    ];
    for (command, words) in [
        (["user", "list"], ALICE),
        (["keys", "list"], "signs"),
        (["config", "check"], "/auth/google/callback"),
        (["config", "show"], "127.0.0.1"),
    ] {
        let ran = block_in_place(|| visitor.run_with(&command, &environment));
        assert!(
            ran.ok && ran.out.contains(words),
            "{command:?}: {}",
            ran.err
        );
        assert!(!ran.out.contains("hunter2") && !ran.err.contains("hunter2"));
    }
    let wrong = [
        ("VESTIBULE_DATABASE_URL", &*format!("{url}&pool=7")),
        ("VESTIBULE_SECRET", SECRET),
    ];
    let refused = block_in_place(|| visitor.run_with(&["config", "check"], &wrong));
    assert!(
        !refused.ok && refused.err.contains("database_url") && refused.err.contains("pool"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains("hunter2"));
    assert!(!visitor.database().exists());
}

async fn a_database_that_is_away_signs_nobody_out_and_is_back_without_a_restart() {
    let replicas = Replicas::start().await;
    let webs = replicas.webs();
    let signed = webs[0].sign_in(ALICE).await;
    for web in &webs {
        assert_eq!(web.me(&signed.access).await.unwrap(), 200);
    }

    block_in_place(|| replicas.database.stop(Stop::Immediate));
    for web in &webs {
        for away in [
            becomes(503, &[200], || me(web, &signed.session)).await,
            becomes(503, &[200], || me_by_token(web, &signed.access)).await,
        ] {
            assert!(away.headers().contains_key("retry-after"));
        }
        for (path, status) in [("/readyz", 503), ("/healthz", 200)] {
            let answer = web.get(path).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{path}");
        }
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &*signed.refresh),
        ];
        let answer = web.post("/oauth/token", &form).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_ne!(body["error"], "invalid_grant");
    }

    block_in_place(|| replicas.database.run());
    for web in &webs {
        becomes(200, &[503], || async {
            web.get("/readyz").send().await.unwrap()
        })
        .await;
        becomes(200, &[503], || me(web, &signed.session)).await;
        becomes(200, &[503], || me_by_token(web, &signed.access)).await;
    }
    let (access, _) = webs[1].refresh(&signed.refresh).await.unwrap().unwrap();
    assert_eq!(webs[0].me(&access).await.unwrap(), 200);
    webs[0].sign_in(BOB).await;
}

fn main() {
    let arguments = Arguments::from_args();
    let parts = [Part::known(
        "PostgreSQL",
        postgres::programs().is_some(),
        "apt-get install postgresql",
    )];
    macro_rules! trials {
        ($($name:ident),* $(,)?) => {
            vec![$(trial(stringify!($name), &parts, $name)),*]
        };
    }
    let trials = trials![
        a_login_begun_on_one_ends_on_the_other_and_once,
        codes_and_refresh_tokens_of_one_are_known_to_the_other_and_used_once,
        what_ends_on_one_or_from_the_command_line_is_over_on_both,
        a_key_that_is_rotated_or_revoked_is_so_on_both,
        a_replica_of_another_secret_does_not_start_and_the_commands_need_no_folder,
        a_database_that_is_away_signs_nobody_out_and_is_back_without_a_restart,
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
