//! What the rule sees of a verified identity, through the real protocol: Google says `hd`, another provider never does.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use serde_json::{Value, json};
use url::Url;
use vestibule_accounts::{EmailFact, HostedDomain, IdentityFacts};
use vestibule_oidc::jose::{Algorithm, JwkSet, SigningKey, Timestamp};
use vestibule_oidc::providers::{Preset, Setting, generic, google};
use vestibule_oidc::{
    CallbackQuery, ClientSecret, Exchanged, FlowSecret, LoginRequest, Metadata, OutboundResponse,
    Provider, ProviderId, ProviderSettings, State, start,
};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// The facts of a login whose ID token says this beside what the protocol needs.
fn facts(preset: &'static Preset, said: Value) -> IdentityFacts {
    let mut settings = ProviderSettings::new(
        ProviderId::parse("one").unwrap(),
        preset,
        "client".into(),
        Url::parse("https://app.example/auth/one/callback").unwrap(),
    );
    if preset.needs.contains(&Setting::Issuer) {
        settings.issuer = Some("https://login.acme.example".into());
    }
    settings.client_secret = Some(ClientSecret::new("secret".into()));
    let provider = Provider::new(settings).unwrap();
    let issuer = provider.issuer.as_str();
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/a"),
        "token_endpoint": format!("{issuer}/t"),
        "jwks_uri": format!("{issuer}/k"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    });
    let metadata = Metadata::parse(metadata.to_string().as_bytes(), &provider).unwrap();
    let request = LoginRequest {
        state: State::new("a-state".into()),
        secret: FlowSecret::new([7; 32]),
        return_to: "/".into(),
        login_hint: None,
        prompt: None,
        more_scopes: Vec::new(),
        note: Vec::new(),
        now: NOW,
    };
    let (request, started) = start(&provider, &metadata, request);
    let nonce = request
        .into_url()
        .query_pairs()
        .find(|(name, _)| name == "nonce")
        .unwrap()
        .1
        .into_owned();

    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut claims = json!({
        "iss": issuer, "aud": "client", "sub": "1", "nonce": nonce,
        "iat": NOW.seconds(), "exp": NOW.seconds() + 60,
    });
    claims
        .as_object_mut()
        .unwrap()
        .extend(said.as_object().unwrap().clone());
    let answer = json!({
        "access_token": "t", "token_type": "Bearer", "id_token": key.sign("JWT", &claims).unwrap(),
    });
    let answer = OutboundResponse {
        status: 200,
        content_type: Some("application/json".into()),
        body: answer.to_string().into_bytes(),
    };
    let keys = JwkSet::parse(json!({ "keys": [key.public_jwk()] }).to_string().as_bytes()).unwrap();
    let query = CallbackQuery::parse(b"code=c&state=a-state").unwrap();
    let callback = started.callback(&provider, &metadata, query, NOW).unwrap();
    let Exchanged::WithIdToken(exchanged) = callback.token_response(&provider, answer).unwrap()
    else {
        panic!("an OpenID provider's answer without an ID token")
    };
    IdentityFacts::from(&exchanged.verify(&provider, &metadata, &keys, NOW).unwrap())
}

// S56
#[test]
fn an_organisation_is_known_only_from_a_provider_that_names_it() {
    let person = json!({ "email": "a@example.com", "email_verified": true });
    let member = json!({ "email": "a@example.com", "email_verified": true, "hd": "Example.COM" });
    assert_eq!(
        facts(&google::PRESET, person.clone()).hosted_domain,
        HostedDomain::Personal
    );
    assert_eq!(
        facts(&google::PRESET, member).hosted_domain,
        HostedDomain::Of("example.com".into())
    );
    let odd = json!({ "email": "a@example.com", "email_verified": true, "hd": ["example.com"] });
    assert_eq!(
        facts(&google::PRESET, odd).hosted_domain,
        HostedDomain::Personal,
        "what is no text names no organisation"
    );
    assert_eq!(
        facts(&generic::OPENID, person).hosted_domain,
        HostedDomain::NeverSaid
    );
}

// S56, S58
#[test]
fn an_address_is_a_fact_as_the_provider_vouches_for_it_and_as_it_parses() {
    let of = |preset, email: &str, verified: bool| {
        facts(
            preset,
            json!({ "email": email, "email_verified": verified }),
        )
        .email
    };
    assert!(matches!(
        of(&google::PRESET, "a@gmail.com", true),
        EmailFact::Verified {
            authoritative: true,
            ..
        }
    ));
    assert!(matches!(
        of(&google::PRESET, "a@example.com", true),
        EmailFact::Verified {
            authoritative: false,
            ..
        }
    ));
    assert!(matches!(
        of(&generic::OPENID, "a@gmail.com", true),
        EmailFact::Verified {
            authoritative: false,
            ..
        }
    ));
    assert_eq!(
        of(&google::PRESET, "a@gmail.com", false),
        EmailFact::Unverified
    );
    assert_eq!(of(&google::PRESET, "no address", true), EmailFact::Absent);
    assert_eq!(facts(&google::PRESET, json!({})).email, EmailFact::Absent);
}
