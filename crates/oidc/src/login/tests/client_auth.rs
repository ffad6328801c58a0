//! Proofs that we sign: assertions, and Apple's client secret (S21).

use vestibule_jose::CompactJws;

use super::*;
use crate::providers::{
    Authoritative, ClientAuthMethod, EmailTrust, Facts, IssuerRule, OpenId, Protocol, Quirks,
    Verified,
};
use crate::{AssertionAudience, PrivateKey, ProviderError, RefreshToken};

fn private(algorithm: Algorithm) -> (PrivateKey, JwkSet) {
    let key = SigningKey::generate(algorithm).unwrap();
    let private = PrivateKey::from_pkcs8(&key.pkcs8(), Some("our-key".into())).unwrap();
    let mut jwk = key.public_jwk();
    jwk["kid"] = json!("our-key");
    let keys = JwkSet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    (private, keys)
}

fn with_key(key: PrivateKey, change: fn(&mut ProviderSettings)) -> Result<Provider, ProviderError> {
    let mut settings = settings(&generic::OPENID);
    settings.client_secret = None;
    settings.private_key = Some(key);
    change(&mut settings);
    Provider::new(settings)
}

fn value<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = form.iter().filter(|(known, _)| known == name);
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "{name} twice");
    value
}

/// The claims of a signed text, whose signature and key name are checked.
fn signed_claims(token: &str, algorithm: Algorithm, keys: &JwkSet) -> Value {
    let jws = CompactJws::parse(token.as_bytes()).unwrap();
    assert_eq!(jws.header().kid.as_deref(), Some("our-key"));
    let claims = keys.verify(&jws, &[algorithm]).unwrap();
    let pairs = claims
        .names()
        .map(|name| (name.to_owned(), claims.value(name).unwrap().clone()));
    Value::Object(pairs.collect())
}

// S21: RFC 7523 section 3, OpenID Connect Core section 9.
#[test]
fn an_assertion_is_signed_by_the_keys_own_algorithm_for_the_issuer_and_stands_alone() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let (key, keys) = private(algorithm);
        assert_eq!(key.algorithm(), algorithm);
        let provider = with_key(key, |_| {}).unwrap();
        let request = token_request(&provider, &metadata(json!({})));
        assert!(request.authorization.is_none());
        assert_eq!(request.url.query(), None);
        let form = form_of(&request);
        assert_eq!(value(&form, "client_id"), Some("our client"));
        assert_eq!(value(&form, "client_secret"), None);
        assert_eq!(
            value(&form, "client_assertion_type"),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        let claims = signed_claims(value(&form, "client_assertion").unwrap(), algorithm, &keys);
        assert_eq!(
            claims,
            json!({
                "iss": "our client", "sub": "our client", "aud": ISSUER, "iat": NOW.seconds(),
                "exp": NOW.seconds() + 300, "jti": "BAQEBAQEBAQEBAQEBAQEBA",
            })
        );
    }
}

// S21
#[test]
fn an_assertion_names_the_token_endpoint_by_choice_and_is_new_each_time() {
    let (key, keys) = private(Algorithm::Es256);
    let provider = with_key(key, |settings| {
        settings.assertion_audience = AssertionAudience::TokenEndpoint;
    })
    .unwrap();
    let jti = |random: u8| {
        let fresh = Fresh {
            random: [random; 16],
            ..fresh()
        };
        let request = callback().token_request(&provider, &metadata(json!({})), fresh);
        let form = form_of(&request.unwrap());
        let claims = signed_claims(
            value(&form, "client_assertion").unwrap(),
            Algorithm::Es256,
            &keys,
        );
        assert_eq!(claims["aud"], "https://login.acme.example/token");
        claims["jti"].clone()
    };
    assert_ne!(jti(1), jti(2));
}

// RFC 7515 section 4.1.4. A provider that keeps the key under no name, or another, finds none by its thumbprint.
#[test]
fn a_key_whose_name_at_the_provider_is_unknown_signs_without_one() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let keys = json!({ "keys": [key.public_jwk()] }).to_string();
        let private = PrivateKey::from_pkcs8(&key.pkcs8(), None).unwrap();
        let provider = with_key(private, |_| {}).unwrap();
        let form = form_of(&token_request(&provider, &metadata(json!({}))));
        let assertion = value(&form, "client_assertion").unwrap();
        let jws = CompactJws::parse(assertion.as_bytes()).unwrap();
        assert_eq!(jws.header().kid, None);
        let keys = JwkSet::parse(keys.as_bytes()).unwrap();
        keys.verify(&jws, &[algorithm]).unwrap();
    }
}

static SIGNED_SECRET: Preset = Preset {
    id: "signed",
    name: "Signed",
    mark: None,
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Configured,
        issuer_aliases: &[],
    }),
    scopes: &["openid"],
    email: EmailTrust {
        verified: Verified::Never,
        authoritative: Authoritative::Never,
        because: "",
    },
    needs: &[Setting::Issuer],
    quirks: Quirks {
        signed_client_secret: true,
        name_in_form: true,
        form_post: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: None,
        sources: &[],
    },
};

// S21
#[test]
fn a_signed_secret_names_the_team_and_lives_for_minutes() {
    let (key, keys) = private(Algorithm::Es256);
    let mut settings = settings(&SIGNED_SECRET);
    settings.client_secret = None;
    settings.private_key = Some(key);
    settings.team_id = Some("our team".into());
    let provider = Provider::new(settings.clone()).unwrap();
    let query = CallbackQuery::parse(good_query().as_bytes()).unwrap();
    let (_, started) = start(&provider, &metadata(json!({})), login());
    let callback = started
        .callback(&provider, &metadata(json!({})), query, NOW)
        .unwrap();
    let request = callback
        .token_request(&provider, &metadata(json!({})), fresh())
        .unwrap();
    assert!(request.authorization.is_none());
    let form = form_of(&request);
    assert_eq!(value(&form, "client_assertion"), None);
    let claims = signed_claims(
        value(&form, "client_secret").unwrap(),
        Algorithm::Es256,
        &keys,
    );
    assert_eq!(
        claims,
        json!({
            "iss": "our team", "sub": "our client", "aud": ISSUER,
            "iat": NOW.seconds(), "exp": NOW.seconds() + 300,
        })
    );
    settings.team_id = None;
    assert!(matches!(
        Provider::new(settings),
        Err(ProviderError::Missing("team_id", _))
    ));
}

// S21: never two proofs.
#[test]
fn a_secret_and_a_key_are_not_taken_together() {
    let (key, _) = private(Algorithm::Es256);
    let both = with_key(key, |settings| {
        settings.client_secret = Some(ClientSecret::new("s".into()));
    });
    assert!(matches!(
        both,
        Err(ProviderError::ClientAuth("private_key_jwt", _))
    ));
}

// S21: the configuration's word, then the preset's, then the metadata's; Basic where nobody says what we can do.
#[test]
fn a_secret_is_sent_by_the_method_that_is_configured_or_else_the_one_that_the_provider_takes() {
    let (basic, post) = (ClientAuthMethod::Basic, ClientAuthMethod::Post);
    for (configured, supported, expected) in [
        (None, json!(null), basic),
        (None, json!([]), basic),
        (
            None,
            json!(["tls_client_auth", "CLIENT_SECRET_POST"]),
            basic,
        ),
        (None, json!(["client_secret_post"]), post),
        (
            None,
            json!(["none", "client_secret_post", "client_secret_basic"]),
            basic,
        ),
        (Some(post), json!(["client_secret_basic"]), post),
        (Some(basic), json!(["client_secret_post"]), basic),
        (Some(post), json!(null), post),
    ] {
        let mut settings = settings(&generic::OPENID);
        settings.client_auth = configured;
        let provider = Provider::new(settings).unwrap();
        let metadata = metadata(json!({ "token_endpoint_auth_methods_supported": supported }));
        let token = RefreshToken::new("r".into());
        let refresh = provider.refresh_request(&metadata, &token, fresh());
        for request in [token_request(&provider, &metadata), refresh.unwrap()] {
            let form = form_of(&request);
            let in_form = value(&form, "client_secret").is_some();
            assert_eq!(in_form, expected == post, "{configured:?} {supported}");
            // Never both.
            assert_eq!(request.authorization.is_some(), !in_form, "{supported}");
            assert_eq!(request.url.query(), None);
        }
    }
}

#[test]
fn a_private_key_of_another_form_is_refused_and_none_prints() {
    for der in [
        &b""[..],
        b"-----BEGIN PRIVATE KEY-----",
        &[0x30, 0x00],
        &[0xff; 2_000],
    ] {
        assert!(PrivateKey::from_pkcs8(der, None).is_err());
    }
    let (key, _) = private(Algorithm::Es256);
    assert_eq!(format!("{key:?}"), "PrivateKey(..)");
}
