//! Where requests to a provider may go: to hosts that the configuration names, and to public ones.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use axum::{Json, Router, routing::get};
use serde_json::json;
use tokio::net::TcpListener;
use vestibule_devidp::DevIdp;
use vestibule_tests::{App, Setup, reason_of};

const ALICE: &str = "alice@example.com";

/// A provider whose metadata point to another name for the token endpoint: the code of a login, its reason, and how
/// often the token endpoint was asked.
async fn token_endpoint_at_another_name(lines: &str) -> (String, String, u64) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let idp = DevIdp::builder()
        .issuer(issuer.clone())
        .client("client", "a-secret")
        .start()
        .await
        .unwrap();
    let (address, port) = (idp.addr(), idp.addr().port());
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("http://{address}/authorize"),
        "token_endpoint": format!("http://localhost:{port}/token"),
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
    let answer = app.browser().sign_in(ALICE).await;
    (
        answer.code(),
        reason_of(&answer.reference()),
        idp.counters().token_requests,
    )
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
