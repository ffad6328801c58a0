//! Proofs that we sign: assertions, and Apple's client secret (S21).

use vestibule_jose::CompactJws;

use super::*;
use crate::providers::{
    Authoritative, EmailTrust, Facts, IssuerRule, OpenId, Protocol, Quirks, Verified,
};
use crate::{AssertionAudience, PrivateKey, ProviderError};

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
