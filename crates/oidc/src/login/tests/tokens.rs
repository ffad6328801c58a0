//! What a token endpoint gives, refuses, renews, and takes back (RFC 6749 sections 5 and 6, RFC 7009).

use super::*;
use crate::providers::{Preset, github, linkedin, slack};
use crate::{AccessToken, PrivateKey, RefreshToken, TokenSet};

fn at(preset: &'static Preset) -> Provider {
    Provider::new(settings(preset)).unwrap()
}

fn answered(preset: &'static Preset, answer: &OutboundResponse) -> Result<TokenSet, TokenError> {
    TokenSet::of_response(&at(preset), answer)
}

/// The tokens of an honest answer with one member more.
fn with(name: &str, value: Value) -> Result<TokenSet, TokenError> {
    let mut members = json!({ "access_token": "canary-access", "token_type": "Bearer" });
    members[name] = value;
    answered(&generic::OPENID, &json_answer(&members))
}

// RFC 6749 section 5.2 wants 400; GitHub and Slack answer 200, in words of their own.
#[test]
fn an_error_with_status_200_is_an_error_in_the_providers_own_words() {
    let rejected = ("invalid_client", "client_rejected");
    let spent = ("invalid_grant", "code_rejected");
    let other = ("token_error", "provider_error");
    for (preset, error, expected) in [
        (&github::PRESET, "incorrect_client_credentials", rejected),
        (&github::PRESET, "bad_verification_code", spent),
        (&github::PRESET, "redirect_uri_mismatch", other),
        (&github::PRESET, "bad_client_secret", other),
        (&slack::PRESET, "bad_client_secret", rejected),
        (&slack::PRESET, "code_already_used", spent),
        (&slack::PRESET, "bad_verification_code", other),
        (&generic::OPENID, "bad_verification_code", other),
        (&generic::OPENID, "invalid_client", rejected),
        (&generic::OPENID, "invalid_grant", spent),
        (&generic::OPENID, "", other),
    ] {
        let said = json!({ "ok": false, "error": error, "error_description": "canary" });
        for answer in [
            json_answer(&said),
            answer(400, "application/json", said.to_string()),
        ] {
            let error = answered(preset, &answer).err().unwrap();
            assert_eq!((error.reason(), error.code()), expected, "{error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
    // GitHub's own form, which we do not ask for.
    let form = answer(
        200,
        "application/x-www-form-urlencoded",
        "access_token=t&token_type=bearer",
    );
    assert_eq!(
        answered(&github::PRESET, &form).err(),
        Some(TokenError::ContentType)
    );
    // What is no text is no error, and no token either.
    for error in [json!(7), json!({}), json!(null)] {
        let said = json_answer(&json!({ "error": error }));
        let error = answered(&github::PRESET, &said).err().unwrap();
        assert_eq!(error.reason(), "token_member");
    }
}

// S27
#[test]
fn a_token_type_may_lack_where_the_preset_says_so_alone_and_is_bearer_everywhere() {
    let lacking = json_answer(&json!({ "access_token": "t" }));
    assert!(answered(&linkedin::PRESET, &lacking).is_ok());
    for preset in [&generic::OPENID, &github::PRESET, &slack::PRESET] {
        let error = answered(preset, &lacking).err().unwrap();
        assert_eq!(error.reason(), "token_member", "{}", preset.id);
    }
    for preset in [&linkedin::PRESET, &generic::OPENID] {
        for (said, reason) in [
            (json!("mac"), "token_type"),
            (json!("DPoP"), "token_type"),
            (json!("bearer "), "token_type"),
            (json!(""), "token_type"),
            (json!(null), "token_member"),
            (json!(["Bearer"]), "token_member"),
        ] {
            let answer = json_answer(&json!({ "access_token": "t", "token_type": said }));
            let error = answered(preset, &answer).err().unwrap();
            assert_eq!(error.reason(), reason, "{} {said}", preset.id);
            assert_eq!(error.code(), "token_response_invalid");
        }
        for said in ["Bearer", "bearer", "BEARER"] {
            let answer = json_answer(&json!({ "access_token": "t", "token_type": said }));
            assert!(answered(preset, &answer).is_ok(), "{said}");
        }
    }
}

// RFC 6749 appendix A.12: printable ASCII. It becomes a header, and an empty one would stand for none.
#[test]
fn an_access_token_is_printable_and_not_empty() {
    for bad in ["", "a\nb", "a\r\nX: y", "a\u{0}", "a\u{7f}", "t\u{f6}ken"] {
        let error = with("access_token", json!(bad)).err();
        assert_eq!(error, Some(TokenError::AccessToken), "{bad:?}");
    }
    let error = TokenError::AccessToken;
    assert_eq!(
        (error.reason(), error.code()),
        ("access_token", "token_response_invalid")
    );
    for good in ["t", "a b~!", &"t".repeat(100_000)] {
        let tokens = with("access_token", json!(good)).unwrap();
        assert_eq!(tokens.access_token.expose(), good);
    }
}

// S28
#[test]
fn how_long_a_token_lives_is_a_number_or_one_as_text_and_ends_no_login() {
    let ten_years = 10 * 365 * 86_400;
    for (said, seconds) in [
        (json!(3_600), Some(3_600)),
        (json!("3600"), Some(3_600)),
        (json!(0), Some(0)),
        (json!(ten_years), Some(ten_years)),
        (json!(ten_years + 1), None),
        (json!(-1), None),
        (json!("-1"), None),
        (json!(i64::MIN), None),
        (json!(i64::MAX), None),
        (json!(u64::MAX), None),
        (json!(1e300), None),
        (json!(3_600.5), None),
        (json!("9".repeat(1_000)), None),
        (json!(" 3600"), None),
        (json!(""), None),
        (json!("soon"), None),
        (json!(null), None),
        (json!(true), None),
        (json!([3_600]), None),
    ] {
        let tokens = with("expires_in", said.clone()).unwrap();
        assert_eq!(tokens.expires_in, seconds, "{said}");
    }
    assert_eq!(with("scope", json!("a")).unwrap().expires_in, None);
}

#[test]
fn a_scope_is_a_text_or_a_list_of_words_and_ends_no_login() {
    for (said, scope) in [
        (json!("openid email"), Some("openid email")),
        (json!(""), Some("")),
        (json!(["openid", "email"]), Some("openid email")),
        (
            json!(["openid", 7, null, ["x"], "email"]),
            Some("openid email"),
        ),
        (json!([]), Some("")),
        (json!(null), None),
        (json!(7), None),
        (json!({ "openid": true }), None),
    ] {
        let tokens = with("scope", said.clone()).unwrap();
        assert_eq!(tokens.scope.as_deref(), scope, "{said}");
    }
}

#[test]
fn a_refresh_token_is_kept_where_there_is_one_and_does_not_print() {
    let tokens = with("refresh_token", json!("canary-refresh")).unwrap();
    assert_eq!(
        tokens.refresh_token.as_ref().unwrap().expose(),
        "canary-refresh"
    );
    assert!(!format!("{tokens:?}").contains("canary"), "{tokens:?}");
    assert!(with("scope", json!("a")).unwrap().refresh_token.is_none());
    assert!(
        with("refresh_token", json!(""))
            .unwrap()
            .refresh_token
            .is_none()
    );
    for bad in [json!(7), json!(["r"]), json!({})] {
        assert_eq!(
            with("refresh_token", bad).err().unwrap().reason(),
            "token_member"
        );
    }
}

/// A client for each way to prove who it is, whether that is a header, and the names of the proof in the form.
fn clients() -> [(Provider, Metadata, bool, &'static [&'static str]); 4] {
    let metadata = |method: &str| {
        metadata(json!({
            "revocation_endpoint": "https://login.acme.example/revoke",
            "token_endpoint_auth_methods_supported": [method],
        }))
    };
    let with = |change: fn(&mut ProviderSettings)| {
        let mut settings = settings(&generic::OPENID);
        change(&mut settings);
        Provider::new(settings).unwrap()
    };
    [
        (provider(), metadata("client_secret_basic"), true, &[]),
        (
            provider(),
            metadata("client_secret_post"),
            false,
            &["client_id", "client_secret"],
        ),
        (
            with(|settings| settings.client_secret = None),
            metadata("none"),
            false,
            &["client_id"],
        ),
        (
            with(|settings| {
                let key = SigningKey::generate(Algorithm::Es256).unwrap();
                settings.client_secret = None;
                settings.private_key = Some(PrivateKey::from_pkcs8(&key.pkcs8(), None).unwrap());
            }),
            metadata("private_key_jwt"),
            false,
            &["client_id", "client_assertion_type", "client_assertion"],
        ),
    ]
}

/// Whether a request has these members, then one proof and nothing else, and shows none of it.
fn assert_form(request: &OutboundRequest, members: &[(&str, &str)], basic: bool, proof: &[&str]) {
    assert_eq!(request.method, Method::Post);
    assert_eq!(request.url.query(), None);
    assert_eq!(request.authorization.is_some(), basic);
    let form = form_of(request);
    let (members_of_form, proof_of_form) = form.split_at(members.len());
    let found: Vec<_> = members_of_form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, members);
    let names: Vec<_> = proof_of_form
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, proof);
    assert!(!format!("{request:?}").contains("canary"), "{request:?}");
}

// S21
#[test]
fn a_refresh_request_holds_the_refresh_token_and_one_proof() {
    for (provider, metadata, basic, proof) in clients() {
        let token = RefreshToken::new("canary refresh&x=1".into());
        let request = provider
            .refresh_request(&metadata, &token, fresh())
            .unwrap();
        assert_eq!(request.url.as_str(), "https://login.acme.example/token");
        let members = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "canary refresh&x=1"),
        ];
        assert_form(&request, &members, basic, proof);
    }
}

// S21, RFC 7009 section 2.1
#[test]
fn a_revocation_request_gives_back_the_refresh_token_or_else_the_access_token() {
    for (provider, metadata, basic, proof) in clients() {
        for refresh_token in [None, Some("canary-refresh")] {
            let tokens = TokenSet {
                access_token: AccessToken::new("canary-access".into()),
                refresh_token: refresh_token.map(|token| RefreshToken::new(token.into())),
                expires_in: None,
                scope: None,
            };
            let request = provider.revocation_request(&metadata, &tokens, fresh());
            let request = request.unwrap().unwrap();
            assert_eq!(request.url.as_str(), "https://login.acme.example/revoke");
            let members = match refresh_token {
                Some(token) => [("token", token), ("token_type_hint", "refresh_token")],
                None => [
                    ("token", "canary-access"),
                    ("token_type_hint", "access_token"),
                ],
            };
            assert_form(&request, &members, basic, proof);
        }
    }
    let tokens = with("scope", json!("a")).unwrap();
    let nowhere = provider().revocation_request(&metadata(json!({})), &tokens, fresh());
    assert!(nowhere.unwrap().is_none());
}
