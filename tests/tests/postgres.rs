//! A whole sign-in on PostgreSQL. Where there is none, the test is listed as ignored, with the reason; with
//! `VESTIBULE_TEST_REQUIRE=all` that is a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "../../crates/store/tests/support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::path::Path;

use http::StatusCode;
use libtest_mimic::{Arguments, Trial};
use vestibule::accounts::UserQuery;
use vestibule::{StartError, Vestibule, google};
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

fn main() {
    let arguments = Arguments::from_args();
    let name = "people_sign_in_on_postgresql_and_are_known_after_a_restart";
    let reason = "PostgreSQL is missing: apt-get install postgresql";
    let trial = match server::programs() {
        Some(programs) => Trial::test(name, move || {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?
                .block_on(sign_in(&programs));
            Ok(())
        }),
        None if std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all") => {
            Trial::test(name, move || Err(reason.into()))
        }
        None => Trial::test(name, || Ok(()))
            .with_kind(reason)
            .with_ignored_flag(true),
    };
    libtest_mimic::run(&arguments, vec![trial]).exit();
}
