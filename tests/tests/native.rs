//! Apps and One Tap bring an ID token that the provider gave them: it counts once, for our client and our nonce.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use vestibule_devidp::{Fault, Person, default_people};
use vestibule_tests::{Answer, App, Browser, Setup, log_text, reason_of};

const NONCE: &str = "/auth/google/nonce";
const ID_TOKEN: &str = "/auth/google/id-token";
const ANDROID: &str = "android-client";

async fn start() -> App {
    App::with(Setup {
        provider: format!("app_client_ids = [\"{ANDROID}\"]"),
        tables: "[[frontends]]\nclient_id = \"mobile\"\nredirect_uris = [\"com.example.app:/cb\"]\n[[frontends]]\nclient_id = \"web\"\nclient_secret = \"canary-web-secret-0123456789abcdef\"\nredirect_uris = [\"https://web.example/cb\"]\n".into(),
        ..Setup::default()
    })
    .await
}

fn alice() -> Person {
    default_people().remove(0)
}

/// Sends JSON as an app does, or as a page of ours.
async fn post(browser: &mut Browser, path: &str, body: &Value, in_browser: bool) -> Answer {
    let mut request = Request::post(path)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json");
    if in_browser {
        request = request.header("sec-fetch-site", "same-origin");
    }
    let body = Body::from(body.to_string());
    browser.send(request.body(body).expect("a path")).await
}

/// The nonce that an app gets.
async fn nonce(browser: &mut Browser, in_browser: bool) -> String {
    let answer = post(browser, NONCE, &json!({}), in_browser).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["expires_in"], 300);
    answer.json()["nonce"].as_str().expect("a nonce").to_owned()
}

fn sha256_hex(text: &str) -> String {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_signs_in_with_its_own_client_id_and_either_form_of_the_nonce_and_gets_tokens() {
    let app = start().await;
    let mut users = Vec::new();
    for hashed in [false, true] {
        let mut device = app.browser();
        let nonce = nonce(&mut device, false).await;
        assert!(device.cookies.is_empty(), "an app keeps no cookie");
        let told = if hashed {
            sha256_hex(&nonce)
        } else {
            nonce.clone()
        };
        let token = app.idp.native_id_token(&alice(), ANDROID, &told);
        let body = json!({ "id_token": token, "nonce": nonce, "client_id": "mobile" });
        let answer = post(&mut device, ID_TOKEN, &body, false).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.set_cookies().is_empty());
        let tokens = answer.json();
        let me = Request::get("/users/me")
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", tokens["access_token"].as_str().unwrap()),
            )
            .body(Body::empty())
            .unwrap();
        let me = app.browser().send(me).await.json();
        assert_eq!(me["email"], "alice@example.com");
        users.push(me["id"].clone());
        // The refresh token is one of a public client's own.
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let form = format!("grant_type=refresh_token&client_id=mobile&refresh_token={refresh}");
        let refreshed = app.browser().post_form("/oauth/token", &form).await;
        assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    }
    assert_eq!(users[0], users[1]);
    assert_eq!(app.count("users"), 1);

    // The same person in a browser is the same user, and stays signed in there while an app gets tokens.
    let mut browser = app.browser();
    browser.sign_in("alice@example.com").await;
    let nonce = nonce(&mut browser, true).await;
    let token = app.idp.native_id_token(&alice(), ANDROID, &nonce);
    let body = json!({ "id_token": token, "nonce": nonce, "client_id": "mobile" });
    let answer = post(&mut browser, ID_TOKEN, &body, true).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(browser.get_json("/users/me").await.json()["id"], users[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_our_own_site_signs_in_with_one_tap_and_gets_a_session() {
    let app = start().await;
    let mut browser = app.browser();
    let nonce = nonce(&mut browser, true).await;
    let token = app.idp.native_id_token(&alice(), "test-client", &nonce);
    let body = json!({ "id_token": token, "nonce": nonce });
    let answer = post(&mut browser, ID_TOKEN, &body, true).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert_eq!(
        browser.cookies.keys().collect::<Vec<_>>(),
        ["vestibule_session"],
        "what bound the nonce is gone"
    );
    assert_eq!(browser.get_json("/users/me").await.status, StatusCode::OK);
    // S65: one session at a time in one browser.
    assert_eq!(app.count("sessions"), 1);
}

// ATTACKS E14
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_for_us_expired_forged_or_for_another_nonce_lets_nobody_in() {
    let app = start().await;
    let mut device = app.browser();
    let valid = |nonce: &str| app.idp.native_id_token(&alice(), ANDROID, nonce);

    let one = nonce(&mut device, false).await;
    let other_app = app.idp.native_id_token(&alice(), "somebody-else", &one);
    let answer = post(
        &mut device,
        ID_TOKEN,
        &json!({ "id_token": other_app, "nonce": one }),
        false,
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (401, "unauthorized")
    );
    // What the app is told leads to the reason.
    assert_eq!(
        reason_of(answer.json()["ref"].as_str().unwrap()),
        "audience"
    );

    let one = nonce(&mut device, false).await;
    let other_nonce = valid(&nonce(&mut device, false).await);
    let answer = post(
        &mut device,
        ID_TOKEN,
        &json!({ "id_token": other_nonce, "nonce": one }),
        false,
    )
    .await;
    assert_eq!(answer.code(), "nonce_mismatch");

    let one = nonce(&mut device, false).await;
    let mut forged = valid(&one).into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let answer = post(
        &mut device,
        ID_TOKEN,
        &json!({ "id_token": forged, "nonce": one }),
        false,
    )
    .await;
    assert_eq!(answer.code(), "unauthorized");

    let one = nonce(&mut device, false).await;
    app.idp.set_fault(Fault::AlgNone);
    let unsigned = valid(&one);
    app.idp.set_fault(Fault::None);
    let answer = post(
        &mut device,
        ID_TOKEN,
        &json!({ "id_token": unsigned, "nonce": one }),
        false,
    )
    .await;
    assert_eq!(answer.code(), "unauthorized");

    let one = nonce(&mut device, false).await;
    let token = valid(&one);
    for (body, code) in [
        (json!({ "id_token": token }), "bad_request"),
        (json!({ "nonce": one }), "bad_request"),
        (json!({ "id_token": 7, "nonce": one }), "bad_request"),
        (json!([]), "bad_request"),
        (json!({ "id_token": token, "nonce": "" }), "nonce_mismatch"),
        (
            json!({ "id_token": token, "nonce": "A".repeat(60_000) }),
            "nonce_mismatch",
        ),
        (
            json!({ "id_token": token, "nonce": one, "client_id": "nobody" }),
            "bad_request",
        ),
        // It can keep a secret, and an app cannot.
        (
            json!({ "id_token": token, "nonce": one, "client_id": "web" }),
            "bad_request",
        ),
        (json!({ "id_token": "x", "nonce": one }), "unauthorized"),
    ] {
        let answer = post(&mut device, ID_TOKEN, &body, false).await;
        assert_eq!(answer.code(), code, "{body}");
        assert!(answer.set_cookies().is_empty());
    }
    // S82: encoded twice, it is a text; the log says so without it.
    let one = nonce(&mut device, false).await;
    let token = valid(&one);
    let body = Value::String(json!({ "id_token": token, "nonce": one }).to_string());
    let answer = post(&mut device, ID_TOKEN, &body, false).await;
    assert_eq!(answer.code(), "bad_request");
    let log = log_text();
    assert!(log.contains("not a JSON object with the texts"));
    assert!(!log.contains(&token) && !log.contains(&one));
    assert_eq!(app.counts(), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_counts_once_for_its_provider_for_five_minutes_and_in_its_own_browser() {
    let app = start().await;
    let mut device = app.browser();
    let one = nonce(&mut device, false).await;
    let token = app.idp.native_id_token(&alice(), ANDROID, &one);
    let body = json!({ "id_token": token, "nonce": one });
    let signed_in = post(&mut device, ID_TOKEN, &body, false).await;
    assert_eq!(signed_in.status, StatusCode::NO_CONTENT);
    let replay = post(&mut app.browser(), ID_TOKEN, &body, false).await;
    assert_eq!(replay.code(), "state_used");

    // A site could have asked for an app's nonce: in a browser it is none.
    let mut attacker = app.browser();
    let one = nonce(&mut attacker, false).await;
    let token = app.idp.native_id_token(&alice(), ANDROID, &one);
    let body = json!({ "id_token": token, "nonce": one });
    let mut victim = app.browser();
    let refused = post(&mut victim, ID_TOKEN, &body, true).await;
    assert_eq!(refused.code(), "state_other_browser");
    assert!(victim.session().is_none());
    // Nor is that of another browser.
    let mut theirs = app.browser();
    let one = nonce(&mut theirs, true).await;
    let token = app.idp.native_id_token(&alice(), ANDROID, &one);
    let body = json!({ "id_token": token, "nonce": one });
    nonce(&mut victim, true).await;
    for in_browser in [true, false] {
        let refused = post(&mut victim.clone(), ID_TOKEN, &body, in_browser).await;
        assert_eq!(refused.code(), "state_other_browser");
    }

    let mut late = app.browser();
    let one = nonce(&mut late, false).await;
    app.clock.advance_seconds(301);
    let token = app.idp.native_id_token(&alice(), ANDROID, &one);
    let body = json!({ "id_token": token, "nonce": one });
    assert_eq!(
        post(&mut late, ID_TOKEN, &body, false).await.code(),
        "state_expired"
    );

    // A state of ours is no nonce, and another provider has none of these.
    let url = app.browser().begin().await;
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let token = app.idp.native_id_token(&alice(), ANDROID, &state);
    let body = json!({ "id_token": token, "nonce": state });
    assert_eq!(
        post(&mut late, ID_TOKEN, &body, false).await.code(),
        "nonce_mismatch"
    );
    let unknown = post(&mut late, "/auth/nobody/nonce", &json!({}), false).await;
    assert_eq!(unknown.code(), "provider_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_gets_no_nonce_and_signs_nobody_in() {
    let app = start().await;
    let mut browser = app.browser();
    for path in [NONCE, ID_TOKEN] {
        let request = Request::post(path)
            .header("sec-fetch-site", "cross-site")
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Body::from("{}"))
            .unwrap();
        let refused = browser.send(request).await;
        assert_eq!(refused.code(), "csrf_failed", "{path}");
        assert!(refused.set_cookies().is_empty());
    }
}
