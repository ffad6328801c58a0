//! A whole sign-in on PostgreSQL. Where there is none, the test is listed as ignored, with the reason; with
//! `VESTIBULE_TEST_REQUIRE=all` that is a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "../../crates/store/tests/support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::path::{Path, PathBuf};

use http::StatusCode;
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use vestibule::accounts::UserQuery;
use vestibule::{StartError, Vestibule, google};
use vestibule_devidp::{DevIdp, Person, RedirectUris};
use vestibule_tests::{App, Setup};

use server::Server;

const SECRET: &str = "0f2d6a9c4b8e71350f2d6a9c4b8e7135";
const OTHER_SECRET: &str = "93b1c5d7e2f4a6089bd1c3e5f7a2b4c6";

async fn how_many_users(app: &App) -> usize {
    let query = UserQuery {
        limit: 10,
        ..UserQuery::default()
    };
    app.vestibule.users(query).await.unwrap().users.len()
}

async fn sign_in(programs: &Path) {
    let server = Server::start(programs);
    let url = server.url("vestibule");
    let setup = Setup {
        top: format!("database_url = \"{url}\"\nsecret = \"{SECRET}\""),
        ..Setup::default()
    };

    let app = App::with(setup.clone()).await;
    let mut browser = app.browser();
    let answer = browser.sign_in("alice@example.com").await;
    assert_eq!(
        (answer.status, answer.location()),
        (StatusCode::SEE_OTHER, "http://localhost:8000/account")
    );
    let me = browser.get_json("/users/me").await.json();
    assert_eq!(me["email"], "alice@example.com");
    app.browser().sign_in("alice@example.com").await;
    app.browser().sign_in("bob@example.com").await;
    assert_eq!(how_many_users(&app).await, 2);

    // After a restart everybody is known, and the database is no other secret's.
    let app = app.again(setup).await;
    assert_eq!(how_many_users(&app).await, 2);
    let mut again = app.browser();
    again.sign_in("alice@example.com").await;
    let once_more = again.get_json("/users/me").await.json();
    assert_eq!(once_more["id"], me["id"]);

    let other = Vestibule::builder()
        .public_url("http://localhost:8000")
        .store(&url)
        .secret(OTHER_SECRET)
        .provider(google("client", "GOCSPX-4f1d9b7c2e6a"))
        .build()
        .await;
    assert!(
        matches!(other, Err(StartError::OtherSecret(_))),
        "{:?}",
        other.err()
    );
    app.vestibule.close().await;
}

/// PostgreSQL takes no NUL in a text. A provider that sends one must not look like a database that is away (ATTACKS E08, E09).
async fn nul_in_claims(programs: &Path) {
    let server = Server::start(programs);
    let nul = json!({
        "email": "eve\u{0}@example.com",
        "name": "E\u{0}ve",
        "picture": "https://a.example/\u{0}",
        "locale": "\u{0}",
    });
    let Value::Object(claims) = nul else {
        panic!("claims are an object");
    };
    let eve = Person {
        sub: "eve".into(),
        email: "eve@example.com".into(),
        email_verified: true,
        claims,
        ..Person::default()
    };
    let acme = DevIdp::builder()
        .listen(([127, 0, 0, 1], 0).into())
        .client("acme-client", "canary-acme-secret")
        .redirect_uris(RedirectUris::AnyLoopback)
        .people(vec![eve])
        .start()
        .await
        .unwrap();
    let app = App::with(Setup {
        top: format!(
            "database_url = \"{}\"\nsecret = \"{SECRET}\"\nrequire_email = false",
            server.url("vestibule")
        ),
        tables: format!(
            "[providers.acme]\nissuer = \"{}\"\nclient_id = \"acme-client\"\nclient_secret = \"canary-acme-secret\"\n",
            acme.issuer()
        ),
        ..Setup::default()
    })
    .await;
    // The second sign-in renews what is known of the identity.
    for _ in 0..2 {
        let mut browser = app.browser();
        let answer = browser.sign_in_at("acme", "eve@example.com").await;
        assert_eq!(answer.code(), "");
        assert!(answer.location().ends_with("/account"), "{answer:?}");
        let me = browser.get_json("/users/me").await.json();
        assert_eq!(me["name"], "Eve");
        assert_eq!((&me["email"], &me["picture"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(how_many_users(&app).await, 1);
    app.vestibule.close().await;
}

/// A test that needs PostgreSQL.
fn trial<F>(name: &str, test: impl FnOnce(PathBuf) -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    let reason = "PostgreSQL is missing: apt-get install postgresql";
    match server::programs() {
        Some(programs) => Trial::test(name, move || {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(test(programs));
            Ok(())
        }),
        None if std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all") => {
            Trial::test(name, move || Err(reason.into()))
        }
        None => Trial::test(name, || Ok(()))
            .with_kind(reason)
            .with_ignored_flag(true),
    }
}

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial(
            "people_sign_in_on_postgresql_and_are_known_after_a_restart",
            |programs| async move { sign_in(&programs).await },
        ),
        trial(
            "claims_with_a_nul_sign_people_in_on_postgresql",
            |programs| async move { nul_in_claims(&programs).await },
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
