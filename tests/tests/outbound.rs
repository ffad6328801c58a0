//! Where requests to a provider may go: to hosts that the configuration names, and to public ones.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::{Json, Router, routing::get};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use vestibule_devidp::DevIdp;
use vestibule_tests::{Answer, App, Setup, reason_of};

const ALICE: &str = "alice@example.com";

/// How a login ended.
struct Outcome {
    answer: Answer,
    /// How often the provider's own token endpoint was asked.
    asked: u64,
    /// How long the callback took.
    after: Duration,
}

/// A login at a provider whose metadata point to this token endpoint, or to its own under another name.
async fn sign_in_with_token_endpoint(token_endpoint: &str, lines: &str) -> Outcome {
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
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let began = Instant::now();
    let answer = browser.get(&callback).await;
    Outcome {
        answer,
        asked: idp.counters().token_requests,
        after: began.elapsed(),
    }
}

/// The code and the reason of a login whose token endpoint stands at another name of the same machine.
async fn token_endpoint_at_another_name(lines: &str) -> (String, String, u64) {
    let Outcome { answer, asked, .. } =
        sign_in_with_token_endpoint("http://localhost:PORT/token", lines).await;
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
        .answer;
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

// S52: the resolver never sees a literal address.
#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_that_only_the_metadata_write_is_never_asked() {
    for address in ["127.0.0.2", "[::1]"] {
        let outcome =
            sign_in_with_token_endpoint(&format!("http://{address}:PORT/token"), "").await;
        let found = (
            outcome.answer.code(),
            reason_of(&outcome.answer.reference()),
        );
        let expected = (
            "provider_misconfigured".to_owned(),
            "private_address".to_owned(),
        );
        assert_eq!((found, outcome.asked), (expected, 0), "{address}");
    }
}

/// An address at which no connection comes to stand: its queue is full, and nobody takes anything out of it.
async fn takes_no_connection() -> (SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Never accepted from, and open as long as the test.
    std::mem::forget(listener);
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
    {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue does not fill");
    }
    (address, queued)
}

// S24
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_stand_after_three_seconds_is_given_up() {
    let (address, _queued) = takes_no_connection().await;
    let Outcome { answer, after, .. } =
        sign_in_with_token_endpoint(&format!("http://{address}/token"), "").await;
    assert_eq!(
        (
            answer.code().as_str(),
            reason_of(&answer.reference()).as_str()
        ),
        ("provider_unavailable", "provider_timeout")
    );
    assert!((3..7).contains(&after.as_secs()), "{after:?}");
}

// S52
#[tokio::test(flavor = "multi_thread")]
async fn a_private_host_that_the_configuration_names_is_asked() {
    let outcome = token_endpoint_at_another_name("allowed_hosts = [\"localhost\"]").await;
    assert_eq!(outcome, (String::new(), String::new(), 1));
}
