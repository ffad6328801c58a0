//! A server that asks for a password.

use vestibule_accounts::Store as _;
use vestibule_store::{OpenMode, PostgresError, PostgresStore};

use crate::Place;

/// By SCRAM-SHA-256, the way of PostgreSQL itself. A password may hold any character, and no error tells it.
pub(crate) async fn a_password_lets_in_and_a_wrong_one_is_refused_with_what_to_do(place: Place) {
    place
        .server
        .let_in("host all app 127.0.0.1/32 scram-sha-256");
    let outsider = place.outsider().await;
    outsider
        .batch_execute(
            "SELECT pg_reload_conf();
             CREATE ROLE app LOGIN PASSWORD 'hunter2 @:/?#%';
             GRANT CREATE ON DATABASE postgres TO app;",
        )
        .await
        .unwrap();
    let stored = outsider
        .query_one(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'",
            &[],
        )
        .await
        .unwrap();
    assert!(stored.get::<_, &str>(0).starts_with("SCRAM-SHA-256$"));
    let open = async |user: &str| {
        let url = place.url().replace("vestibule@", &format!("{user}@"));
        PostgresStore::open(&url, &place.schema, OpenMode::Serve).await
    };

    let store = open("app:hunter2%20%40%3A%2F%3F%23%25").await.unwrap();
    store.ready().await.unwrap();
    for (user, words) in [
        ("app:hunter3", ["password authentication failed", "%40"]),
        ("nobody:hunter2", ["nobody", "pg_hba.conf"]),
    ] {
        let refused = open(user).await;
        assert!(
            matches!(refused, Err(PostgresError::Login(_))),
            "{refused:?}"
        );
        let said = refused.unwrap_err().to_string();
        for word in words {
            assert!(said.contains(word), "{user} does not name {word}: {said}");
        }
        assert!(!said.contains("hunter"), "{said}");
    }
    let said = open("app").await.unwrap_err().to_string();
    assert!(said.contains("password missing"), "{said}");
}
