//! Every parser answers, whatever the bytes (S96). `VESTIBULE_FUZZ_SECONDS` says for how long; without it, 256 cases each.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use url::Url;
use vestibule_oidc::jose::{Algorithm, JwkSet, SigningKey, Timestamp};
use vestibule_oidc::providers::{generic, github};
use vestibule_oidc::{
    AccessTokenOnly, AuthorizationRequest, Callback, CallbackQuery, ClientSecret, EmailClaim,
    Exchanged, FlowSecret, HttpPolicy, Issuer, LoginRequest, Metadata, NativeIdToken, Nonce,
    OutboundResponse, Provider, ProviderId, ProviderSettings, Started, State, TokenSet,
    VerifiedIdentity, WithIdToken, start,
};

const ISSUER: &str = "https://login.acme.example";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// Any bytes, and something valid with a few bytes changed.
fn inputs(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changed = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6).prop_map(move |changes| {
        let mut bytes = valid.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![vec(any::<u8>(), 0..600), changed]
}

/// Runs one parser: 256 cases, and on as long as it may.
fn total(valid: Vec<u8>, parse: impl Fn(&[u8])) {
    let seconds = std::env::var("VESTIBULE_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut runner = TestRunner::new(Config::with_cases(256));
    let inputs = inputs(valid);
    loop {
        runner
            .run(&inputs, |bytes| {
                parse(&bytes);
                Ok(())
            })
            .unwrap();
        if Instant::now() >= until {
            return;
        }
    }
}

fn provider() -> Provider {
    let mut settings = ProviderSettings::new(
        ProviderId::parse("acme").unwrap(),
        &generic::OPENID,
        "client".into(),
        Url::parse("https://app.example/auth/acme/callback").unwrap(),
    );
    settings.issuer = Some(ISSUER.into());
    Provider::new(settings).unwrap()
}

fn metadata_text() -> Vec<u8> {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/a"),
        "token_endpoint": format!("{ISSUER}/t"),
        "jwks_uri": format!("{ISSUER}/k"),
        "userinfo_endpoint": format!("{ISSUER}/u"),
        "id_token_signing_alg_values_supported": ["ES256"],
    })
    .to_string()
    .into_bytes()
}

fn metadata() -> Metadata {
    Metadata::parse(&metadata_text(), &provider()).unwrap()
}

fn begun(provider: &Provider, metadata: &Metadata) -> (AuthorizationRequest, Started) {
    let request = LoginRequest {
        state: State::new("a-state".into()),
        secret: FlowSecret::new([7; 32]),
        return_to: "/account".into(),
        login_hint: None,
        prompt: None,
        more_scopes: Vec::new(),
        note: Vec::new(),
        now: NOW,
    };
    start(provider, metadata, request)
}

/// An attempt, and the nonce that its authorization request asks for.
fn started() -> (Started, String) {
    let (request, started) = begun(&provider(), &metadata());
    let nonce = request
        .into_url()
        .query_pairs()
        .find(|(name, _)| name == "nonce")
        .unwrap()
        .1
        .into_owned();
    (started, nonce)
}

fn callback() -> Callback {
    let query = CallbackQuery::parse(b"code=c&state=a-state").unwrap();
    started()
        .0
        .callback(&provider(), &metadata(), query, NOW)
        .unwrap()
}

fn answer(body: &[u8]) -> OutboundResponse {
    OutboundResponse {
        status: 200,
        content_type: Some("application/json".into()),
        body: body.to_vec(),
    }
}

/// A key, the honest claims, and the token answer around them.
fn honest() -> (SigningKey, String) {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let claims = json!({
        "iss": ISSUER, "aud": "client", "sub": "1", "nonce": started().1, "iat": NOW.seconds(), "exp": NOW.seconds() + 60,
    });
    let token = key.sign("JWT", &claims).unwrap();
    (
        key,
        json!({ "access_token": "t", "token_type": "Bearer", "id_token": token }).to_string(),
    )
}

fn exchanged(body: &[u8]) -> Option<WithIdToken> {
    match callback().token_response(&provider(), answer(body)).ok()? {
        Exchanged::WithIdToken(exchanged) => Some(exchanged),
        Exchanged::AccessTokenOnly(_) => panic!("an OpenID provider's answer without an ID token"),
    }
}

fn identity() -> VerifiedIdentity {
    let (key, body) = honest();
    let keys = JwkSet::parse(json!({ "keys": [key.public_jwk()] }).to_string().as_bytes()).unwrap();
    exchanged(body.as_bytes())
        .unwrap()
        .verify(&provider(), &metadata(), &keys, NOW)
        .unwrap()
}

#[test]
fn the_reader_of_a_callback_answers_whatever_the_bytes() {
    total(
        b"code=c&state=a-state&iss=https%3A%2F%2Flogin.acme.example&error=".to_vec(),
        |bytes| {
            if let Ok(query) = CallbackQuery::parse(bytes) {
                let _ = started().0.callback(&provider(), &metadata(), query, NOW);
            }
        },
    );
}

#[test]
fn the_reader_of_an_attempt_answers_whatever_the_bytes_and_gives_back_what_it_took() {
    total(started().0.to_bytes().to_vec(), |bytes| {
        if let Ok(read) = Started::from_bytes(bytes) {
            assert_eq!(read.to_bytes().as_slice(), bytes);
        }
    });
}

#[test]
fn the_reader_of_metadata_answers_whatever_the_bytes() {
    let provider = provider();
    total(metadata_text(), |bytes| {
        let _ = Metadata::parse(bytes, &provider);
    });
}

#[test]
fn the_reader_of_a_token_answer_answers_whatever_the_bytes_and_a_changed_token_names_nobody_else() {
    let (key, body) = honest();
    let keys = JwkSet::parse(json!({ "keys": [key.public_jwk()] }).to_string().as_bytes()).unwrap();
    let (provider, metadata) = (provider(), metadata());
    total(body.into_bytes(), |bytes| {
        if let Some(exchanged) = exchanged(bytes)
            && let Ok(identity) = exchanged.verify(&provider, &metadata, &keys, NOW)
        {
            assert_eq!((identity.issuer(), identity.subject()), (ISSUER, "1"));
        }
    });
}

#[test]
fn the_reader_of_userinfo_answers_whatever_the_bytes_and_names_nobody_else() {
    let provider = provider();
    let identity = identity();
    let body = json!({ "sub": "1", "email": "a@example.com", "email_verified": true, "name": "A" })
        .to_string();
    total(body.into_bytes(), |bytes| {
        if let Ok(more) = identity.clone().with_userinfo(&provider, answer(bytes)) {
            assert_eq!(more.subject(), "1");
        }
    });
}

/// GitHub, whose API says who it is, and an access token of a login there.
fn github() -> (Provider, AccessTokenOnly) {
    let mut settings = ProviderSettings::new(
        ProviderId::parse("github").unwrap(),
        &github::PRESET,
        "client".into(),
        Url::parse("https://app.example/auth/github/callback").unwrap(),
    );
    settings.client_secret = Some(ClientSecret::new("secret".into()));
    let provider = Provider::new(settings).unwrap();
    let metadata = provider.known_metadata().unwrap();
    let query = CallbackQuery::parse(b"code=c&state=a-state").unwrap();
    let callback = begun(&provider, metadata)
        .1
        .callback(&provider, metadata, query, NOW)
        .unwrap();
    let token = answer(br#"{"access_token":"t","token_type":"bearer"}"#);
    match callback.token_response(&provider, token).unwrap() {
        Exchanged::AccessTokenOnly(access) => (provider, access),
        Exchanged::WithIdToken(_) => panic!("an ID token of a provider that has none"),
    }
}

#[test]
fn the_reader_of_a_profile_answers_whatever_the_bytes_and_names_somebody() {
    let body = json!({ "id": 1, "name": "A", "avatar_url": "https://a.example/p" }).to_string();
    total(body.into_bytes(), |bytes| {
        let (provider, access) = github();
        if let Ok(identity) = access.identify(&provider, Some(&answer(bytes)), None) {
            let subject = identity.subject();
            assert!((1..=255).contains(&subject.len()) && !subject.contains(char::is_control));
            assert_eq!(*identity.email(), EmailClaim::Absent);
        }
    });
}

#[test]
fn the_reader_of_a_list_of_addresses_answers_whatever_the_bytes_and_names_nobody_else() {
    let profile = answer(br#"{"id":1}"#);
    let list = json!([{ "email": "a@example.com", "primary": true, "verified": true }]);
    total(list.to_string().into_bytes(), |bytes| {
        let (provider, access) = github();
        let list = answer(bytes);
        if let Ok(identity) = access.identify(&provider, Some(&profile), Some(&list)) {
            assert_eq!(identity.subject(), "1");
        }
    });
}

#[test]
fn the_reader_of_an_answer_to_a_refresh_answers_whatever_the_bytes() {
    let provider = provider();
    let body = json!({
        "access_token": "t", "token_type": "Bearer", "refresh_token": "r", "expires_in": "3600",
        "scope": ["openid"],
    });
    total(body.to_string().into_bytes(), |bytes| {
        if let Ok(tokens) = TokenSet::of_response(&provider, &answer(bytes)) {
            assert!(!tokens.access_token.expose().is_empty());
            assert!(tokens.expires_in.is_none_or(|seconds| seconds >= 0));
        }
    });
}

#[test]
fn the_reader_of_an_answer_to_a_pushed_request_answers_whatever_the_bytes_and_leads_nowhere_else() {
    let (provider, metadata) = (provider(), metadata());
    let place = metadata.authorization_endpoint.clone();
    let body = json!({ "request_uri": "urn:x:1", "expires_in": 90 }).to_string();
    total(body.into_bytes(), |bytes| {
        let (request, _) = begun(&provider, &metadata);
        if let Ok(mut url) = request.into_pushed_url(&provider, &answer(bytes)) {
            let names: Vec<_> = url
                .query_pairs()
                .map(|(name, _)| name.into_owned())
                .collect();
            assert_eq!(names, ["client_id", "request_uri"]);
            url.set_query(None);
            assert_eq!(url, place);
        }
    });
}

#[test]
fn the_reader_of_a_token_that_an_app_brings_answers_whatever_the_text_and_takes_no_changed_one() {
    let (provider, metadata) = (provider(), metadata());
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let keys = JwkSet::parse(json!({ "keys": [key.public_jwk()] }).to_string().as_bytes()).unwrap();
    let claims = json!({
        "iss": ISSUER, "aud": "client", "sub": "1", "nonce": "n", "iat": NOW.seconds(), "exp": NOW.seconds() + 60,
    });
    let token = key.sign("JWT", &claims).unwrap();
    let nonce = Nonce::new("n".into());
    total(token.clone().into_bytes(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(read) = NativeIdToken::parse(&text)
            && read
                .verify(&provider, &metadata, &keys, &nonce, NOW)
                .is_ok()
        {
            assert_eq!(text, token);
        }
    });
}

#[test]
fn the_readers_of_names_and_issuers_answer_whatever_the_text() {
    let http = HttpPolicy::default();
    total(ISSUER.as_bytes().to_vec(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(issuer) = Issuer::parse(&text, &http) {
            assert_eq!(issuer.as_str(), text);
        }
        if let Ok(id) = ProviderId::parse(&text) {
            assert_eq!(id.as_str(), text);
        }
    });
}
