//! A provider behind TLS: no certificate that does not hold, and no other name, is ever spoken to (RFC 6749 section 3.2).

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;
#[path = "support/terminator.rs"]
mod terminator;

use support::{Home, SECRET, client, configuration, location};
use terminator::{Shown, acceptor, authority, terminate};
use tokio::net::TcpListener;
use vestibule_devidp::DevIdp;

/// Begins a login at a provider that shows this: where it leads, and how often the provider was spoken to.
async fn begin(shown: Shown, trusts: bool) -> (String, u64) {
    let authority = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let idp = DevIdp::builder()
        .issuer(issuer.clone())
        .client("client", SECRET)
        .start()
        .await
        .unwrap();
    tokio::spawn(terminate(
        listener,
        acceptor(&authority, &shown),
        idp.addr(),
    ));

    let home = Home::with(&configuration(&issuer));
    let roots = home.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let mut command = home.command(&["serve"]);
    if trusts {
        command.env("SSL_CERT_FILE", &roots);
    }
    let server = support::Server::start(command, "\"server.listening\"");
    let begun = client()
        .get(server.url("/auth/google/login"))
        .send()
        .await
        .unwrap();
    (location(&begun), idp.counters().metadata_fetches)
}

// S19
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_certificate_holds_is_spoken_to() {
    let (location, asked) = begin(
        Shown {
            name: "localhost",
            expired: false,
        },
        true,
    )
    .await;
    assert!(location.contains("/authorize?"), "{location}");
    assert_eq!(asked, 1);
}

// S19
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_certificate_does_not_hold_is_never_spoken_to() {
    for (what, shown, trusts) in [
        (
            "an unknown authority",
            Shown {
                name: "localhost",
                expired: false,
            },
            false,
        ),
        (
            "another name",
            Shown {
                name: "localhost.example",
                expired: false,
            },
            true,
        ),
        (
            "expired",
            Shown {
                name: "localhost",
                expired: true,
            },
            true,
        ),
    ] {
        let (location, asked) = begin(shown, trusts).await;
        assert!(
            location.contains("/error?code=provider_unavailable"),
            "{what}: {location}"
        );
        assert_eq!(asked, 0, "{what}");
    }
}
