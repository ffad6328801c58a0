//! A provider that demands more than a secret and a URL: assertions signed with a key of ours, requests that are pushed,
//! answers by form post. The stand-in verifies each of them by itself.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};
use vestibule::clock::Clock as _;
use vestibule_devidp::{ClientAuthentication, DevIdp};
use vestibule_tests::{Answer, App, Browser, Setup, reason_of};

const ALICE: &str = "alice@example.com";

fn new_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness")
}

/// The public half, as the provider keeps it.
fn jwks(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
    json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "ours", "x": x, "y": y }] })
}

/// An application whose provider takes nothing but pushed requests and this key's assertions, and that signs with the other.
async fn started(known: &EcdsaKeyPair, ours: &EcdsaKeyPair, audience: &str) -> (App, DevIdp) {
    let setup = Setup {
        without_google: true,
        // A cookie that comes with a cross-site POST has to be `Secure`.
        public_url: "https://localhost:8443".into(),
        ..Setup::default()
    };
    let app = App::with(setup.clone()).await;
    let clock = app.clock.clone();
    let idp = DevIdp::builder()
        .client_with(
            "test-client",
            ClientAuthentication::PrivateKeyJwt { jwks: jwks(known) },
        )
        .require_pushed_authorization_requests()
        .clock(Arc::new(move || clock.now().seconds()))
        .start()
        .await
        .expect("a port on loopback is free");
    let der = ours.to_pkcs8v1().expect("a new key is complete");
    let tables = format!(
        "[providers.company]\nissuer = \"{}\"\nclient_id = \"test-client\"\nclient_auth = \"private_key_jwt\"\n\
         client_assertion_audience = \"{audience}\"\nresponse_mode = \"form_post\"\nkey_id = \"ours\"\n\
         private_key = \"\"\"\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n\"\"\"\n",
        idp.issuer(),
        STANDARD.encode(der.as_ref())
    );
    (app.again(Setup { tables, ..setup }).await, idp)
}

/// What the stand-in's page posts to us once Alice consents.
async fn posted(authorization_url: &str) -> String {
    let mut url = Url::parse(authorization_url).expect("a provider's URL");
    url.query_pairs_mut().append_pair("user", ALICE);
    let client = reqwest::Client::builder().no_proxy().build();
    let page = client.expect("a client can be made").get(url).send().await;
    let page = page.expect("the stand-in answers").text().await;
    let page = page.expect("the page ends");
    assert!(page.contains("action=\"https://localhost:8443/auth/company/callback\""));
    let fields = page
        .lines()
        .filter_map(|line| line.strip_prefix("<input type=\"hidden\" name=\""))
        .filter_map(|line| line.strip_suffix("\">")?.split_once("\" value=\""));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

async fn callback(browser: &mut Browser, idp: &DevIdp, form: String) -> Answer {
    let request = Request::post("/auth/company/callback")
        .header(header::ACCEPT, "text/html")
        .header(header::ORIGIN, idp.issuer())
        .header("sec-fetch-site", "cross-site")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.body(Body::from(form)).expect("a path");
    browser.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_a_key_of_ours_a_pushed_request_and_a_form_post_signs_somebody_in() {
    for audience in ["issuer", "token_endpoint"] {
        let key = new_key();
        let (app, idp) = started(&key, &key, audience).await;
        let mut browser = app.browser();
        let begun = browser.get("/auth/company/login").await;
        assert_eq!(begun.status, StatusCode::SEE_OTHER, "{begun:?}");
        let url = Url::parse(begun.location()).expect("a provider's URL");
        let names: Vec<_> = url.query_pairs().map(|(name, _)| name).collect();
        assert_eq!(names, ["client_id", "request_uri"]);

        let form = posted(begun.location()).await;
        let answer = callback(&mut browser, &idp, form).await;
        assert_eq!(answer.code(), "", "{answer:?}");
        let me = browser.get_json("/users/me").await.json();
        assert_eq!(me["email"], ALICE);
        assert_eq!(app.counts(), [1, 1, 1]);
        let counters = idp.counters();
        assert_eq!((counters.pushed_requests, counters.token_requests), (1, 1));
        let sent = idp.last_token_request().expect("a token request");
        assert!(sent.authorization.is_none());
        assert!(sent.form.contains("client_assertion=") && !sent.form.contains("client_secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_provider_does_not_know_ends_the_login_before_it_begins() {
    let (app, idp) = started(&new_key(), &new_key(), "issuer").await;
    let mut browser = app.browser();
    let answer = browser.get("/auth/company/login").await;
    assert_eq!(answer.code(), "client_rejected", "{answer:?}");
    assert_eq!(reason_of(&answer.reference()), "par_refused");
    assert_eq!(app.counts(), [0, 0, 0]);
    assert!(browser.session().is_none());
    assert_eq!(idp.counters().authorize_requests, 0);
}
