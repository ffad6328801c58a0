//! Where requests to a provider may go: to hosts that the configuration names, and to public ones.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{Json, Router, routing::get};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use vestibule_devidp::DevIdp;
use vestibule_tests::{Answer, App, Setup, reason_of};

const ALICE: &str = "alice@example.com";

/// A login at a provider whose metadata point to this token endpoint, or to its own under another name; and how often
/// its own was asked.
async fn sign_in_with_token_endpoint(token_endpoint: &str, lines: &str) -> (Answer, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let idp = DevIdp::builder()
        .issuer(issuer.clone())
        .client("client", "a-secret")
        .start()
        .await
        .unwrap();
    let address = idp.addr();
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("http://{address}/authorize"),
        "token_endpoint": token_endpoint.replace("PORT", &address.port().to_string()),
        "jwks_uri": format!("http://{address}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "authorization_response_iss_parameter_supported": true,
    });
    let router = Router::new().route(
        "/.well-known/openid-configuration",
        get(async move || Json(metadata.clone())),
    );
    tokio::spawn(async move { axum::serve(listener, router).await });

    let tables = format!(
        "[providers.google]\nissuer = \"{issuer}\"\nclient_id = \"client\"\nclient_secret = \"a-secret\"\n{lines}\n"
    );
    let app = App::with(Setup {
        tables,
        without_google: true,
        ..Setup::default()
    })
    .await;
    (
        app.browser().sign_in(ALICE).await,
        idp.counters().token_requests,
    )
}

/// The code and the reason of a login whose token endpoint stands at another name of the same machine.
async fn token_endpoint_at_another_name(lines: &str) -> (String, String, u64) {
    let (answer, asked) = sign_in_with_token_endpoint("http://localhost:PORT/token", lines).await;
    (answer.code(), reason_of(&answer.reference()), asked)
}

/// A token endpoint that reads a request and hangs up: where it is, and how often it was asked.
async fn hangs_up() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, asked)
}

// S29
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_may_have_been_read_is_not_sent_again() {
    let (address, asked) = hangs_up().await;
    let answer = sign_in_with_token_endpoint(&format!("http://{address}/token"), "")
        .await
        .0;
    assert_eq!(
        answer.code(),
        "provider_unavailable",
        "{}",
        reason_of(&answer.reference())
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

// S52
#[tokio::test(flavor = "multi_thread")]
async fn a_private_host_that_only_the_metadata_name_is_never_asked() {
    let outcome = token_endpoint_at_another_name("").await;
    assert_eq!(
        outcome,
        (
            "provider_misconfigured".to_owned(),
            "private_address".to_owned(),
            0
        )
    );
}

// S52
#[tokio::test(flavor = "multi_thread")]
async fn a_private_host_that_the_configuration_names_is_asked() {
    let outcome = token_endpoint_at_another_name("allowed_hosts = [\"localhost\"]").await;
    assert_eq!(outcome, (String::new(), String::new(), 1));
}
