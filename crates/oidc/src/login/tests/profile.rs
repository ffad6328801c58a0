//! Providers without ID tokens (S55).

use super::*;
use crate::{AccessTokenOnly, ProfileError};

fn provider() -> Provider {
    let mut settings = settings(&generic::OAUTH2);
    settings.api.authorization_endpoint = Some("https://hub.example/authorize".into());
    settings.api.token_endpoint = Some("https://hub.example/token".into());
    settings.api.profile_endpoint = Some("https://api.hub.example/user".into());
    settings.api.subject_claim = Some("data.0.id".into());
    settings.api.email_claim = Some("email".into());
    settings.api.email_verified_claim = Some("verified".into());
    Provider::new(settings).unwrap()
}

fn access(provider: &Provider, token: &str) -> AccessTokenOnly {
    let metadata = provider.known_metadata().unwrap();
    let (_, started) = start(provider, metadata, login());
    let query = CallbackQuery::parse(format!("code=c&state={STATE}").as_bytes()).unwrap();
    let callback = started.callback(provider, metadata, query, NOW).unwrap();
    let answer = json_answer(&json!({ "access_token": token, "token_type": "bearer" }));
    match callback.token_response(provider, answer).unwrap() {
        Exchanged::AccessTokenOnly(access) => access,
        Exchanged::WithIdToken(_) => panic!("an ID token of a provider that has none"),
    }
}

fn identify(profile: Value) -> Result<VerifiedIdentity, ProfileError> {
    let provider = provider();
    access(&provider, "t").identify(&provider, Some(&json_answer(&profile)), None)
}

// S55
#[test]
fn a_subject_is_a_text_or_a_whole_number_at_its_path() {
    for (id, subject) in [
        (json!(7), Some("7")),
        (json!("abc"), Some("abc")),
        (json!(""), None),
        (json!(7.5), None),
        (json!(1e30), None),
        (json!(null), None),
        (json!(true), None),
        (json!(["7"]), None),
        (json!("x".repeat(256)), None),
        (json!("a\nb"), None),
    ] {
        let found = identify(json!({ "data": [{ "id": id }], "id": 9, "sub": "9" }));
        let found = found.as_ref().ok().map(VerifiedIdentity::subject);
        assert_eq!(found, subject, "{id}");
    }
    let error = identify(json!({ "id": 7 })).err().unwrap();
    assert_eq!(
        (error.reason(), error.code()),
        ("profile_subject", "provider_error")
    );
}

// S55, S56
#[test]
fn a_profile_says_an_address_is_verified_by_json_true_alone() {
    for (said, verified) in [
        (json!(true), true),
        (json!(false), false),
        (json!("true"), false),
        (json!(1), false),
        (json!(null), false),
    ] {
        let profile = json!({ "data": [{ "id": 1 }], "email": "a@b.org", "verified": said });
        let expected = if verified {
            EmailClaim::Verified("a@b.org".into())
        } else {
            EmailClaim::Unverified("a@b.org".into())
        };
        let identity = identify(profile).unwrap();
        assert_eq!(*identity.email(), expected, "{said}");
        assert!(!identity.authoritative());
    }
}

#[test]
fn a_long_access_token_is_sent_in_the_header_alone() {
    let provider = provider();
    let token = "t".repeat(12 * 1024);
    let request = access(&provider, &token)
        .profile_request(&provider)
        .unwrap();
    assert_eq!(request.url.as_str(), "https://api.hub.example/user");
    assert_eq!(
        request.authorization.unwrap().expose(),
        format!("Bearer {token}")
    );
    assert!(request.form.is_none());
}
