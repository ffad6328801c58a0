//! The tokens of a person who is away: refreshed, used at an API, and given back.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;

use super::*;

const OFFLINE: &[(&str, &str)] = &[("access_type", "offline"), ("user", "alice@example.com")];

/// What the token endpoint answers to a client's new code.
async fn tokens(idp: &DevIdp, changes: &[(&'static str, &'static str)]) -> Value {
    let parameters = brought_back(&authorize(idp, changes).await);
    json(redeem(idp, &honest_form(value_of(&parameters, "code").unwrap())).await).await
}

async fn refresh(idp: &DevIdp, refresh_token: &Value) -> Response {
    let parameters = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str().unwrap()),
        ("client_id", "client"),
        ("client_secret", "s e:cret"),
    ];
    redeem(idp, &parameters).await
}

async fn revoke(idp: &DevIdp, token: &Value, secret: &str) -> Response {
    let parameters = [
        ("token", token.as_str().unwrap()),
        ("client_id", "client"),
        ("client_secret", secret),
    ];
    post(idp, "/revoke", &parameters).await
}

async fn calendar(idp: &DevIdp, access_token: &Value) -> Response {
    client()
        .get(url(idp, "/api/calendar", &[]))
        .header("authorization", bearer(access_token))
        .send()
        .await
        .unwrap()
}

fn bearer(access_token: &Value) -> String {
    format!("Bearer {}", access_token.as_str().unwrap())
}

async fn assert_not_granted(response: Response) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let answer = json(response).await;
    assert_eq!(answer["error"], "invalid_grant");
    assert!(answer.get("access_token").is_none());
}

#[tokio::test]
async fn a_refresh_token_comes_where_it_is_asked_for_in_either_way() {
    let idp = started().await;
    let scope = "openid email offline_access";
    for changes in [OFFLINE, &[("scope", scope), ("user", "alice@example.com")]] {
        assert!(tokens(&idp, changes).await["refresh_token"].is_string());
    }
    for access_type in ["", "online"] {
        let changes = [("access_type", access_type), ("user", "alice@example.com")];
        let answer = tokens(&idp, &changes).await;
        assert!(answer.get("refresh_token").is_none(), "{access_type}");
    }
    let consent = authorize(
        &idp,
        &[("access_type", "offline"), ("choose", "alice@example.com")],
    );
    let consent = consent.await.text().await.unwrap();
    assert!(consent.contains("while you are away"));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_brings_the_next() {
    let idp = started().await;
    let first = tokens(&idp, OFFLINE).await;
    assert_eq!(idp.counters().refresh_requests, 0);
    let answer = refresh(&idp, &first["refresh_token"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let second = json(answer).await;
    assert_eq!(second["scope"], "openid email profile");
    assert!(second["id_token"].is_string());
    for name in ["access_token", "refresh_token"] {
        assert!(second[name].is_string());
        assert_ne!(second[name], first[name]);
    }
    assert_not_granted(refresh(&idp, &first["refresh_token"]).await).await;
    assert_not_granted(refresh(&idp, &json!("1//unknown")).await).await;
    let third = refresh(&idp, &second["refresh_token"]).await;
    assert_eq!(third.status(), StatusCode::OK);
    assert_eq!(idp.counters().refresh_requests, 4);
    assert_eq!(idp.counters().token_requests, 5);
}

#[tokio::test]
async fn a_token_of_another_client_is_neither_refreshed_nor_revoked() {
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .client("other", "secret")
        .start()
        .await
        .unwrap();
    let theirs = tokens(&idp, OFFLINE).await;
    let refresh_token = theirs["refresh_token"].as_str().unwrap();
    let other = [("client_id", "other"), ("client_secret", "secret")];
    let grant = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
    ];
    assert_not_granted(redeem(&idp, &[other, grant].concat()).await).await;
    for token in [refresh_token, theirs["access_token"].as_str().unwrap()] {
        let parameters = [&other[..], &[("token", token)]].concat();
        assert_not_granted(post(&idp, "/revoke", &parameters).await).await;
    }
    // It is not used up by that.
    let answer = calendar(&idp, &theirs["access_token"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = refresh(&idp, &theirs["refresh_token"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_access_token_opens_the_calendar_of_its_person_while_it_lives() {
    let now = Arc::new(AtomicI64::new(1_700_000_000));
    let theirs = Arc::clone(&now);
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .clock(Arc::new(move || theirs.load(Ordering::SeqCst)))
        .access_token_lifetime(Duration::from_secs(5))
        .start()
        .await
        .unwrap();
    let first = tokens(&idp, OFFLINE).await;
    assert_eq!(first["expires_in"], 5);
    now.fetch_add(4, Ordering::SeqCst);
    let events = json(calendar(&idp, &first["access_token"]).await).await;
    assert_eq!(events["kind"], "calendar#events");
    assert_eq!(events["summary"], "alice@example.com");
    assert_eq!(events["items"][0]["creator"]["email"], "alice@example.com");

    now.fetch_add(1, Ordering::SeqCst);
    let refused = calendar(&idp, &first["access_token"]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer error=\"invalid_token\""
    );
    assert!(!refused.text().await.unwrap().contains("alice"));

    let second = json(refresh(&idp, &first["refresh_token"]).await).await;
    let answer = calendar(&idp, &second["access_token"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let without = client().get(url(&idp, "/api/calendar", &[])).send().await;
    assert_eq!(without.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(idp.counters().calendar_requests, 4);
}

#[tokio::test]
async fn a_token_that_is_given_back_takes_all_of_its_consent_with_it_and_nothing_else() {
    let idp = started().await;
    let kept = tokens(&idp, OFFLINE).await;
    for given_back in ["refresh_token", "access_token"] {
        let first = tokens(&idp, OFFLINE).await;
        let second = json(refresh(&idp, &first["refresh_token"]).await).await;
        let answer = revoke(&idp, &second[given_back], "s e:cret").await;
        assert_eq!(answer.status(), StatusCode::OK, "{given_back}");
        for access_token in [&first["access_token"], &second["access_token"]] {
            let answer = calendar(&idp, access_token).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{given_back}");
        }
        assert_not_granted(refresh(&idp, &second["refresh_token"]).await).await;
        // What is gone may be given back again (RFC 7009 section 2.2).
        let answer = revoke(&idp, &second[given_back], "s e:cret").await;
        assert_eq!(answer.status(), StatusCode::OK, "{given_back}");
    }
    let answer = calendar(&idp, &kept["access_token"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(idp.counters().revocation_requests, 4);

    let answer = revoke(&idp, &kept["refresh_token"], "another").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let credentials = [("client_id", "client"), ("client_secret", "s e:cret")];
    let answer = post(&idp, "/revoke", &credentials).await;
    assert_eq!(json(answer).await["error"], "invalid_request");
    let answer = refresh(&idp, &kept["refresh_token"]).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_metadata_say_where_tokens_are_given_back() {
    let idp = started().await;
    let address = url(&idp, "/.well-known/openid-configuration", &[]);
    let metadata = json(client().get(address).send().await.unwrap()).await;
    let revoke = format!("{}/revoke", idp.issuer());
    assert_eq!(metadata["revocation_endpoint"], revoke);
    assert_eq!(
        metadata["grant_types_supported"],
        json!(["authorization_code", "refresh_token"])
    );
}
