//! ID tokens that an app brings (S55, ATTACKS E14).

use super::*;

fn provider() -> Provider {
    let mut settings = settings(&generic::OPENID);
    settings.app_client_ids = vec!["android".into(), "ios".into()];
    Provider::new(settings).unwrap()
}

fn native(typ: &str, changes: Value) -> Result<VerifiedIdentity, IdTokenError> {
    let mut said = claims(&json!({ "nonce": "abc" }));
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            said.as_object_mut().unwrap().remove(name);
        } else {
            said[name] = value.clone();
        }
    }
    let token = key(Algorithm::Es256).sign(typ, &said).unwrap();
    let nonce = Nonce::new("abc".into());
    NativeIdToken::parse(&token).unwrap().verify(
        &provider(),
        &metadata(json!({})),
        &keys(),
        &nonce,
        NOW,
    )
}

// S55
#[test]
fn a_token_for_one_of_our_apps_is_taken_and_one_for_another_is_not() {
    for (changes, reason) in [
        (json!({}), ""),
        (json!({ "aud": "android" }), ""),
        (json!({ "aud": "ios", "azp": "ios" }), ""),
        (json!({ "azp": "android" }), ""),
        (json!({ "aud": "another app" }), "audience"),
        (
            json!({ "aud": ["ios", "another app"], "azp": "ios" }),
            "audience",
        ),
        (json!({ "aud": "a friend" }), "audience"),
        (json!({ "azp": "another app" }), "azp"),
        (json!({ "exp": NOW.seconds() - 60 }), "expired"),
        (json!({ "iss": "https://evil.example" }), "issuer"),
    ] {
        let found = native("JWT", changes.clone()).map_or_else(|error| error.reason(), |_| "");
        assert_eq!(found, reason, "{changes}");
    }
    for typ in ["at+jwt", "logout+jwt"] {
        assert!(matches!(native(typ, json!({})), Err(IdTokenError::Type(_))));
    }
    // In the browser's login the apps are strangers.
    assert_eq!(reason(json!({ "aud": "android" })), "audience");
}

// The SHA-256 of "abc" is that of FIPS 180-4.
#[test]
fn the_nonce_is_ours_as_it_is_or_hashed_and_no_other() {
    for nonce in [
        "abc",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0",
    ] {
        assert!(native("JWT", json!({ "nonce": nonce })).is_ok(), "{nonce}");
    }
    for nonce in [json!(null), json!(""), json!("abd"), json!(["abc"])] {
        assert_eq!(
            native("JWT", json!({ "nonce": nonce })).err(),
            Some(IdTokenError::Nonce)
        );
    }
}

// An app that signed the person in itself keeps its tokens: there is nothing to ask with, and nothing to give back.
#[test]
fn nothing_is_asked_with_tokens_that_an_app_kept() {
    let metadata = metadata(json!({ "revocation_endpoint": "https://login.acme.example/revoke" }));
    let identity = native("JWT", json!({ "email": null })).unwrap();
    assert!(identity.lacks_address());
    assert!(identity.userinfo_request(&metadata).is_none());
    let request = provider().revocation_request(&metadata, identity.tokens(), fresh());
    assert!(request.unwrap().is_none());
}
