//! The chain, step by step: an honest run, and one defect a row.

mod client_auth;
mod form_post;
mod native;
mod profile;
mod push;
mod tenants;
mod tokens;

use std::sync::LazyLock;

use serde_json::{Value, json};
use url::Url;
use vestibule_jose::{Algorithm, JwkSet, JwsError, SigningKey, Timestamp};

use crate::providers::{Preset, Setting, generic, google, microsoft};
use crate::{
    AuthorizationRequest, Callback, CallbackError, CallbackQuery, ClientSecret, EmailClaim,
    Exchanged, FlowSecret, Fresh, IdTokenError, LoginRequest, Metadata, MetadataError, Method,
    NativeIdToken, Nonce, OutboundRequest, OutboundResponse, Prompt, Provider, ProviderId,
    ProviderSettings, Started, State, TokenError, UserInfoError, VerifiedIdentity, WithIdToken,
    pkce, start,
};

const ISSUER: &str = "https://login.acme.example";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const STATE: &str = "the-state-of-this-attempt";
const SECRET: [u8; 32] = [9; 32];

static KEYS: LazyLock<Vec<(Algorithm, SigningKey)>> = LazyLock::new(|| {
    let algorithms = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa];
    algorithms
        .map(|algorithm| (algorithm, SigningKey::generate(algorithm).unwrap()))
        .into()
});

fn key(algorithm: Algorithm) -> &'static SigningKey {
    &KEYS
        .iter()
        .find(|(known, _)| *known == algorithm)
        .unwrap()
        .1
}

fn keys() -> JwkSet {
    let keys: Vec<Value> = KEYS.iter().map(|(_, key)| key.public_jwk()).collect();
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// A client with a secret, of a provider whose issuer is [`ISSUER`] unless the preset has one of its own.
fn settings(preset: &'static Preset) -> ProviderSettings {
    let mut settings = ProviderSettings::new(
        ProviderId::parse("acme").unwrap(),
        preset,
        "our client".into(),
        Url::parse("https://app.example/auth/acme/callback").unwrap(),
    );
    if preset.needs.contains(&Setting::Issuer) {
        settings.issuer = Some(ISSUER.into());
    }
    settings.client_secret = Some(ClientSecret::new("canary secret:%/+&=".into()));
    settings.trusted_audiences = vec!["a friend".into()];
    settings
}

fn provider() -> Provider {
    Provider::new(settings(&generic::OPENID)).unwrap()
}

/// What makes a proof of this attempt unlike every other.
fn fresh() -> Fresh {
    Fresh {
        now: NOW,
        random: [4; 16],
    }
}

/// Metadata with members added, replaced, or, by `null`, taken away.
fn metadata_text(changes: Value) -> String {
    let mut members = json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://login.acme.example/authorize?tenant=7&scope=evil&state=evil",
        "token_endpoint": "https://login.acme.example/token",
        "jwks_uri": "https://login.acme.example/keys",
        "userinfo_endpoint": "https://login.acme.example/me",
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        "authorization_response_iss_parameter_supported": true,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.as_object_mut().unwrap().remove(name);
        } else {
            members[name] = value.clone();
        }
    }
    members.to_string()
}

fn metadata(changes: Value) -> Metadata {
    Metadata::parse(metadata_text(changes).as_bytes(), &provider()).unwrap()
}

fn login() -> LoginRequest {
    LoginRequest {
        state: State::new(STATE.into()),
        secret: FlowSecret::new(SECRET),
        return_to: "/deep?x=1#y".into(),
        login_hint: None,
        prompt: None,
        more_scopes: Vec::new(),
        note: b"a note".to_vec(),
        now: NOW,
    }
}

/// The parameters of a request in the URL.
fn url_pairs(request: AuthorizationRequest) -> Vec<(String, String)> {
    request.into_url().query_pairs().into_owned().collect()
}

fn started() -> Started {
    start(&provider(), &metadata(json!({})), login()).1
}

fn callback_of(query: &str) -> Result<Callback, CallbackError> {
    let query = CallbackQuery::parse(query.as_bytes())?;
    started().callback(&provider(), &metadata(json!({})), query, NOW)
}

fn good_query() -> String {
    format!("code=canary-code&state={STATE}&iss={ISSUER}")
}

fn callback() -> Callback {
    callback_of(&good_query()).unwrap()
}

fn answer(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> OutboundResponse {
    OutboundResponse {
        status,
        content_type: Some(content_type.into()),
        body: body.into(),
    }
}

fn json_answer(body: &Value) -> OutboundResponse {
    answer(200, "application/json", body.to_string())
}

/// The claims of an honest ID token with some replaced, or, by `null`, taken away.
fn claims(changes: &Value) -> Value {
    let nonce = pkce::nonce(&FlowSecret::new(SECRET));
    let mut claims = json!({
        "iss": ISSUER, "aud": "our client", "sub": "Subject-1", "nonce": nonce.expose(),
        "iat": NOW.seconds(), "exp": NOW.seconds() + 300,
        "email": "a@example.com", "email_verified": true, "name": "A Person",
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn token_members(id_token: &str) -> Value {
    json!({ "access_token": "canary-access", "token_type": "Bearer", "id_token": id_token })
}

fn exchanged(id_token: &str) -> WithIdToken {
    let answer = json_answer(&token_members(id_token));
    with_id_token(callback().token_response(&provider(), answer).unwrap())
}

fn with_id_token(exchanged: Exchanged) -> WithIdToken {
    match exchanged {
        Exchanged::WithIdToken(exchanged) => exchanged,
        Exchanged::AccessTokenOnly(_) => panic!("an OpenID provider's answer without an ID token"),
    }
}

fn verify_with(
    algorithm: Algorithm,
    typ: &str,
    changes: Value,
) -> Result<VerifiedIdentity, IdTokenError> {
    let token = key(algorithm).sign(typ, &claims(&changes)).unwrap();
    exchanged(&token).verify(&provider(), &metadata(json!({})), &keys(), NOW)
}

fn verify(changes: Value) -> Result<VerifiedIdentity, IdTokenError> {
    verify_with(Algorithm::Es256, "JWT", changes)
}

fn reason(changes: Value) -> &'static str {
    verify(changes).map_or_else(|error| error.reason(), |_| "")
}

// ---- The authorization request --------------------------------------------------------------------------------------

// S1, S2, S4, S5, S6; S45: acr and auth_time are not asked for, so that a token owes us neither.
#[test]
fn the_authorization_request_says_each_thing_once_and_keeps_the_verifier() {
    let (request, _) = start(&provider(), &metadata(json!({})), login());
    let url = request.into_url();
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    pairs.sort();
    let secret = FlowSecret::new(SECRET);
    let verifier = pkce::code_verifier(&secret);
    let mut expected = vec![
        ("tenant", "7".to_owned()),
        ("response_type", "code".to_owned()),
        ("client_id", "our client".to_owned()),
        (
            "redirect_uri",
            "https://app.example/auth/acme/callback".to_owned(),
        ),
        ("scope", "openid email profile".to_owned()),
        ("state", STATE.to_owned()),
        ("nonce", pkce::nonce(&secret).expose().to_owned()),
        ("code_challenge", verifier.s256_challenge()),
        ("code_challenge_method", "S256".to_owned()),
    ];
    expected.sort();
    let expected: Vec<(String, String)> = expected
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    assert_eq!(pairs, expected);
    assert!(!url.as_str().contains(verifier.expose()) && !url.as_str().contains("canary"));
}

// S6: the endpoint's own query says nothing that is ours to say, not even where we say nothing.
#[test]
fn what_the_endpoints_own_query_says_in_our_place_is_left_out() {
    let own = "prompt=none&login_hint=evil&response_mode=fragment&request=x&request_uri=x&a=1&a=2";
    let endpoint = format!("https://login.acme.example/authorize?{own}");
    let metadata = metadata(json!({ "authorization_endpoint": endpoint }));
    let pairs = url_pairs(start(&provider(), &metadata, login()).0);
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    for ours in [
        "prompt",
        "login_hint",
        "response_mode",
        "request",
        "request_uri",
    ] {
        assert!(!names.contains(&ours), "{ours}");
    }
    let kept: Vec<_> = pairs.iter().filter(|(name, _)| name == "a").collect();
    assert_eq!(kept, [&("a".to_owned(), "1".to_owned())]);
}

// S6: incremental consent, within what the configuration lists.
#[test]
fn a_login_may_ask_for_scopes_that_are_listed_once_each_and_for_no_others() {
    let settings = ProviderSettings {
        scopes: vec!["openid".into(), "email".into()],
        optional_scopes: vec!["calendar".into(), "email".into(), "files".into()],
        ..settings(&generic::OPENID)
    };
    let provider = Provider::new(settings).unwrap();
    let scope = |more: &[&str]| {
        let request = LoginRequest {
            more_scopes: more.iter().map(|scope| (*scope).to_owned()).collect(),
            ..login()
        };
        let (request, _) = start(&provider, &metadata(json!({})), request);
        let pairs = url_pairs(request);
        let scopes: Vec<_> = pairs.iter().filter(|(name, _)| name == "scope").collect();
        assert_eq!(scopes.len(), 1, "{more:?}");
        scopes[0].1.clone()
    };
    assert_eq!(scope(&[]), "openid email");
    assert_eq!(scope(&["calendar"]), "openid email calendar");
    assert_eq!(
        scope(&["files", "calendar", "files"]),
        "openid email files calendar"
    );
    assert_eq!(scope(&["email", "openid"]), "openid email");
    for unlisted in [
        "admin",
        "Calendar",
        "calendar files",
        "calendar ",
        "cal",
        "",
        "calendar&scope=admin",
        "calendar\nadmin",
    ] {
        assert_eq!(scope(&[unlisted]), "openid email", "{unlisted:?}");
        assert_eq!(
            scope(&[unlisted, "files"]),
            "openid email files",
            "{unlisted:?}"
        );
    }
}

#[test]
fn a_hint_and_a_prompt_are_passed_on_where_they_were_given() {
    for prompt in [
        Prompt::None,
        Prompt::Login,
        Prompt::Consent,
        Prompt::SelectAccount,
    ] {
        assert_eq!(Prompt::parse(prompt.as_str()), Some(prompt));
        let request = LoginRequest {
            login_hint: Some("a&b@x".into()),
            prompt: Some(prompt),
            ..login()
        };
        let (request, _) = start(&provider(), &metadata(json!({})), request);
        let pairs = url_pairs(request);
        assert!(pairs.contains(&("login_hint".into(), "a&b@x".into())));
        assert!(pairs.contains(&("prompt".into(), prompt.as_str().into())));
    }
    for none in ["", "None", "create", "login consent"] {
        assert_eq!(Prompt::parse(none), None, "{none}");
    }
}

// S3, S66, S96
#[test]
fn an_attempt_comes_back_from_its_bytes_and_from_no_others() {
    let started = started();
    let bytes = started.to_bytes();
    let read = Started::from_bytes(&bytes).unwrap();
    assert_eq!(format!("{read:?}"), format!("{started:?}"));
    assert_eq!(read.return_to(), "/deep?x=1#y");
    assert_eq!(read.note(), b"a note");
    assert_eq!(read.started_at, NOW);
    assert!(read.is_of(&State::new(STATE.into())) && read.began_at(&provider()));
    for len in 0..bytes.len() {
        assert!(Started::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    assert!(Started::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    assert!(
        !format!("{started:?}").contains(STATE),
        "a state does not print"
    );
}

// S9: a cookie holds it, with the longest target and whatever issuer and state.
#[test]
fn an_attempt_is_little_longer_than_its_target() {
    let settings = ProviderSettings {
        issuer: Some(format!("https://login.acme.example/{}", "x".repeat(1_000))),
        ..settings(&generic::OPENID)
    };
    let request = LoginRequest {
        state: State::new("s".repeat(200)),
        return_to: format!("/{}", "a".repeat(1_023)),
        note: vec![b'n'; 1_000],
        ..login()
    };
    let provider = Provider::new(settings).unwrap();
    let (_, started) = start(&provider, &metadata(json!({})), request);
    assert_eq!(started.note().len(), 255, "a note is cut");
    assert_eq!(started.to_bytes().len(), 1_024 + 255 + 107);
}

// ---- The authorization response -------------------------------------------------------------------------------------

// S13 to S16
#[test]
fn an_answer_that_is_not_exactly_one_of_this_attempt_is_refused() {
    for (query, reason, code) in [
        ("code=c&iss=I", "callback_state", "state_invalid"),
        ("code=c&state=&iss=I", "callback_state", "state_invalid"),
        (
            "code=c&state=another&iss=I",
            "callback_state",
            "state_invalid",
        ),
        (
            "code=c&state=S&state=S&iss=I",
            "callback_duplicate",
            "bad_request",
        ),
        (
            "code=c&code=c&state=S&iss=I",
            "callback_duplicate",
            "bad_request",
        ),
        (
            "code=c&state=S&iss=I&iss=I",
            "callback_duplicate",
            "bad_request",
        ),
        (
            "error=e&error=e&state=S&iss=I",
            "callback_duplicate",
            "bad_request",
        ),
        (
            "code=c&error=access_denied&state=S&iss=I",
            "callback_contradiction",
            "bad_request",
        ),
        ("state=S&iss=I", "callback_contradiction", "bad_request"),
        (
            "code=&state=S&iss=I",
            "callback_contradiction",
            "bad_request",
        ),
        (
            "code=c&id_token=x&state=S&iss=I",
            "callback_contradiction",
            "bad_request",
        ),
        (
            "code=c&access_token=x&state=S&iss=I",
            "callback_contradiction",
            "bad_request",
        ),
        (
            "response=x&state=S&iss=I",
            "callback_contradiction",
            "bad_request",
        ),
        ("code=c&state=S", "callback_issuer", "issuer_mismatch"),
        (
            "code=c&state=S&iss=https://evil.example",
            "callback_issuer",
            "issuer_mismatch",
        ),
        (
            "code=c&state=S&iss=I/",
            "callback_issuer",
            "issuer_mismatch",
        ),
        (
            "error=access_denied&state=S",
            "callback_issuer",
            "issuer_mismatch",
        ),
        (
            "error=access_denied&state=S&iss=I",
            "access_denied",
            "access_denied",
        ),
        (
            "error=server_error&state=S&iss=I",
            "callback_error",
            "provider_error",
        ),
        (
            "error=temporarily_unavailable&state=S&iss=I",
            "callback_error",
            "provider_unavailable",
        ),
    ] {
        let text = query
            .replace("state=S", &format!("state={STATE}"))
            .replace("iss=I", &format!("iss={ISSUER}"));
        let error = callback_of(&text)
            .err()
            .unwrap_or_else(|| panic!("{query} is accepted"));
        assert_eq!((error.reason(), error.code()), (reason, code), "{query}");
    }
}

#[test]
fn an_honest_answer_is_accepted_with_whatever_else_the_provider_adds() {
    let callback = callback_of(&format!(
        "{}&scope=openid&authuser=0&unknown=1&unknown=2",
        good_query()
    ))
    .unwrap();
    assert_eq!(callback.return_to(), "/deep?x=1#y");
    // Where the metadata do not promise it, iss may be missing, and is checked where it is not.
    let metadata = metadata(json!({ "authorization_response_iss_parameter_supported": null }));
    let of = |iss: &str| {
        let query = CallbackQuery::parse(format!("code=c&state={STATE}{iss}").as_bytes()).unwrap();
        started()
            .callback(&provider(), &metadata, query, NOW)
            .map(drop)
    };
    assert_eq!(of(""), Ok(()));
    assert!(matches!(
        of("&iss=https://evil.example"),
        Err(CallbackError::Issuer { .. })
    ));
}

#[test]
fn the_text_of_an_error_is_cut() {
    let error = callback_of(&format!(
        "error={}&state={STATE}&iss={ISSUER}",
        "x".repeat(5_000)
    ))
    .err()
    .unwrap();
    assert_eq!(error, CallbackError::Provider("x".repeat(64)));
    // What a browser or a provider wrote goes to the log, and fills it with 200 characters at the most.
    let long = "x".repeat(5_000);
    let error = callback_of(&format!("code=c&state={STATE}&iss={long}")).err();
    assert!(error.unwrap().to_string().len() < 400);
    for changes in [
        json!({ "issuer": &long }),
        json!({ "token_endpoint": &long }),
        json!({ "token_endpoint": format!("http://a.example/{long}") }),
    ] {
        let error = Metadata::parse(metadata_text(changes).as_bytes(), &provider()).err();
        assert!(error.unwrap().to_string().len() < 500);
    }
}

// S96
#[test]
fn a_query_of_sixteen_kibibytes_is_read_and_a_longer_one_is_not() {
    let of = |len: usize| {
        let query = good_query() + "&x=";
        let query = format!("{query}{}", "y".repeat(len - query.len()));
        assert_eq!(query.len(), len);
        CallbackQuery::parse(query.as_bytes()).map(drop)
    };
    assert_eq!(of(16 * 1024), Ok(()));
    assert_eq!(of(16 * 1024 + 1), Err(CallbackError::TooLarge));
}

// S9
#[test]
fn an_attempt_lasts_ten_minutes_to_the_second() {
    let at = |seconds: i64| {
        let query = CallbackQuery::parse(good_query().as_bytes()).unwrap();
        started()
            .callback(
                &provider(),
                &metadata(json!({})),
                query,
                NOW.plus_seconds(seconds),
            )
            .map(drop)
    };
    assert_eq!(at(600), Ok(()));
    assert_eq!(at(601), Err(CallbackError::Expired));
}

// S3, S20
#[test]
fn an_attempt_ends_where_it_began() {
    let ended_at = |change: fn(&mut ProviderSettings)| {
        let mut settings = settings(&generic::OPENID);
        change(&mut settings);
        let query = CallbackQuery::parse(good_query().as_bytes()).unwrap();
        let provider = Provider::new(settings).unwrap();
        started()
            .callback(&provider, &metadata(json!({})), query, NOW)
            .map(drop)
    };
    assert_eq!(ended_at(|_| {}), Ok(()));
    for change in [
        (|settings: &mut ProviderSettings| settings.id = ProviderId::parse("other").unwrap())
            as fn(&mut ProviderSettings),
        |settings| settings.issuer = Some("https://other.example".into()),
        |settings| {
            settings.redirect_uri = Url::parse("https://app.example/auth/other/callback").unwrap();
        },
    ] {
        assert_eq!(ended_at(change), Err(CallbackError::OtherProvider));
    }
    assert_eq!(CallbackError::OtherProvider.code(), "provider_mismatch");
}

// ---- The token request and its answer -------------------------------------------------------------------------------

/// The form of a request.
fn form_of(request: &OutboundRequest) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.form.as_ref().unwrap().expose().as_bytes())
        .into_owned()
        .collect()
}

fn token_request(provider: &Provider, metadata: &Metadata) -> OutboundRequest {
    callback()
        .token_request(provider, metadata, fresh())
        .unwrap()
}

// S21, S22
#[test]
fn the_token_request_proves_who_we_are_in_one_way_and_holds_what_the_attempt_held() {
    let verifier = pkce::code_verifier(&FlowSecret::new(SECRET))
        .expose()
        .to_owned();
    let common = [
        ("grant_type", "authorization_code"),
        ("code", "canary-code"),
        ("redirect_uri", "https://app.example/auth/acme/callback"),
        ("code_verifier", verifier.as_str()),
    ];
    let request = token_request(&provider(), &metadata(json!({})));
    assert_eq!(
        (request.method, request.url.as_str()),
        (Method::Post, "https://login.acme.example/token")
    );
    let form = form_of(&request);
    assert_eq!(
        form,
        common.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    // Each half form-encoded, then joined, then base64: "our+client:canary+secret%3A%25%2F%2B%26%3D".
    assert_eq!(
        request.authorization.as_ref().unwrap().expose(),
        "Basic b3VyK2NsaWVudDpjYW5hcnkrc2VjcmV0JTNBJTI1JTJGJTJCJTI2JTNE"
    );
    assert!(!format!("{request:?}").contains("canary"), "{request:?}");

    let post = metadata(
        json!({ "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"] }),
    );
    let request = token_request(&provider(), &post);
    assert!(request.authorization.is_none());
    let form = form_of(&request);
    assert_eq!(
        form[4..],
        [
            ("client_id", "our client"),
            ("client_secret", "canary secret:%/+&=")
        ]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
    );

    let both = metadata(
        json!({ "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"] }),
    );
    assert!(token_request(&provider(), &both).authorization.is_some());

    let public = Provider::new(ProviderSettings {
        client_secret: None,
        ..settings(&generic::OPENID)
    })
    .unwrap();
    let request = token_request(&public, &metadata(json!({})));
    assert!(request.authorization.is_none());
    assert_eq!(
        form_of(&request)[4..],
        [("client_id".to_owned(), "our client".to_owned())]
    );
}

// S25 to S28
#[test]
fn a_token_answer_that_does_not_do_is_refused_with_its_reason() {
    let token = key(Algorithm::Es256)
        .sign("JWT", &claims(&json!({})))
        .unwrap();
    let honest = token_members(&token);
    let with = |name: &str, value: Value| {
        let mut members = honest.clone();
        members[name] = value;
        json_answer(&members)
    };
    let without = |name: &str| {
        let mut members = honest.clone();
        members.as_object_mut().unwrap().remove(name);
        json_answer(&members)
    };
    let error = |status: u16, error: &str| {
        answer(
            status,
            "application/json",
            json!({ "error": error }).to_string(),
        )
    };
    let text = honest.to_string();
    for (answer, reason, code) in [
        (
            error(401, "invalid_client"),
            "invalid_client",
            "client_rejected",
        ),
        (
            error(400, "unauthorized_client"),
            "invalid_client",
            "client_rejected",
        ),
        (
            error(400, "invalid_grant"),
            "invalid_grant",
            "code_rejected",
        ),
        (
            error(400, "invalid_request"),
            "token_error",
            "provider_error",
        ),
        (
            error(500, "server_error"),
            "token_status",
            "provider_unavailable",
        ),
        (
            answer(302, "application/json", text.clone()),
            "token_status",
            "provider_error",
        ),
        (
            answer(201, "application/json", text.clone()),
            "token_status",
            "provider_error",
        ),
        (
            answer(429, "text/plain", ""),
            "token_status",
            "provider_unavailable",
        ),
        (
            answer(503, "text/html", "<html>"),
            "token_status",
            "provider_unavailable",
        ),
        (
            answer(
                400,
                "text/html",
                json!({ "error": "invalid_grant" }).to_string(),
            ),
            "token_status",
            "provider_error",
        ),
        (
            answer(200, "text/html", text.clone()),
            "token_content_type",
            "provider_error",
        ),
        (
            answer(200, "application/json; charset=utf-16", text.clone()),
            "token_content_type",
            "provider_error",
        ),
        (
            OutboundResponse {
                content_type: None,
                ..json_answer(&honest)
            },
            "token_content_type",
            "provider_error",
        ),
        (
            answer(200, "application/json", ""),
            "token_json",
            "token_response_invalid",
        ),
        (
            answer(200, "application/json", format!("[{text}]")),
            "token_json",
            "token_response_invalid",
        ),
        (
            answer(
                200,
                "application/json",
                text.replacen('{', "{\"token_type\":\"Bearer\",", 1),
            ),
            "token_json",
            "token_response_invalid",
        ),
        (
            without("token_type"),
            "token_member",
            "token_response_invalid",
        ),
        (
            without("access_token"),
            "token_member",
            "token_response_invalid",
        ),
        (
            with("access_token", json!(["x"])),
            "token_member",
            "token_response_invalid",
        ),
        (
            with("token_type", json!("mac")),
            "token_type",
            "token_response_invalid",
        ),
        (
            without("id_token"),
            "id_token_missing",
            "token_response_invalid",
        ),
        (
            with("id_token", json!(7)),
            "token_member",
            "token_response_invalid",
        ),
        (with("id_token", json!("a.b")), "format", "id_token_invalid"),
    ] {
        let error = callback()
            .token_response(&provider(), answer.clone())
            .err()
            .unwrap_or_else(|| panic!("{reason}: accepted"));
        assert_eq!((error.reason(), error.code()), (reason, code), "{answer:?}");
    }
    let long = error(400, &"x".repeat(5_000));
    assert_eq!(
        callback().token_response(&provider(), long).err(),
        Some(TokenError::Reported("x".repeat(64)))
    );
    for accepted in [
        with("token_type", json!("BEARER")),
        with("expires_in", json!("soon")),
        answer(200, "Application/JSON; charset=UTF-8", text),
    ] {
        assert!(
            callback()
                .token_response(&provider(), accepted.clone())
                .is_ok(),
            "{accepted:?}"
        );
    }
}

// ---- The ID token ---------------------------------------------------------------------------------------------------

#[test]
fn an_honest_id_token_makes_an_identity() {
    let identity =
        verify(json!({ "picture": "https://img.example/a.png", "hd": "example.com" })).unwrap();
    assert_eq!(
        (identity.issuer(), identity.subject()),
        (ISSUER, "Subject-1")
    );
    assert_eq!(
        *identity.email(),
        EmailClaim::Verified("a@example.com".into())
    );
    assert_eq!(
        (identity.name(), identity.picture()),
        (Some("A Person"), Some("https://img.example/a.png"))
    );
    assert_eq!(
        (identity.hosted_domain(), identity.says_hosted_domain()),
        (None, false),
        "hd is a claim of Google's alone"
    );
    assert!(!identity.authoritative());
    assert!(
        !format!("{identity:?}").contains("canary"),
        "an access token does not print"
    );
}

// S32, S38 to S44
#[test]
fn an_id_token_with_one_claim_wrong_is_refused_with_its_reason() {
    let now = NOW.seconds();
    let nonce = pkce::nonce(&FlowSecret::new([1; 32])).expose().to_owned();
    for (changes, expected) in [
        (json!({ "iss": null }), "claim_missing"),
        (json!({ "iss": [ISSUER] }), "claim_type"),
        (json!({ "iss": format!("{ISSUER}/") }), "issuer"),
        (json!({ "iss": "https://LOGIN.acme.example" }), "issuer"),
        (json!({ "iss": "login.acme.example" }), "issuer"),
        (json!({ "aud": null }), "claim_missing"),
        (json!({ "aud": [] }), "claim_missing"),
        (json!({ "aud": 7 }), "claim_type"),
        (json!({ "aud": "another" }), "audience"),
        (json!({ "aud": "our client " }), "audience"),
        (
            json!({ "aud": ["our client", "stranger"], "azp": "our client" }),
            "audience",
        ),
        (
            json!({ "aud": ["a friend"], "azp": "our client" }),
            "audience",
        ),
        (json!({ "aud": ["our client", "a friend"] }), "azp"),
        (json!({ "azp": "another" }), "azp"),
        (json!({ "azp": ["our client"] }), "claim_type"),
        (json!({ "exp": null }), "claim_missing"),
        (json!({ "exp": (now + 300).to_string() }), "claim_type"),
        (json!({ "exp": now - 60 }), "expired"),
        (json!({ "iat": null }), "claim_missing"),
        (json!({ "iat": now + 61 }), "issued_in_future"),
        (json!({ "iat": now - 601 }), "issued_too_long_ago"),
        (json!({ "nbf": now + 61 }), "not_yet_valid"),
        (json!({ "nbf": "x" }), "claim_type"),
        (json!({ "nonce": null }), "nonce"),
        (json!({ "nonce": nonce }), "nonce"),
        (json!({ "nonce": [nonce] }), "nonce"),
        (json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }), "at_hash"),
        (json!({ "at_hash": "" }), "at_hash"),
        (json!({ "at_hash": 7 }), "claim_type"),
        (
            json!({ "c_hash": Algorithm::Es256.half_hash(b"another code") }),
            "c_hash",
        ),
        (json!({ "c_hash": "" }), "c_hash"),
        (json!({ "c_hash": 7 }), "claim_type"),
        (json!({ "sub": null }), "claim_missing"),
        (json!({ "sub": 7 }), "claim_type"),
        (json!({ "sub": "" }), "subject"),
        (json!({ "sub": "x".repeat(256) }), "subject"),
        (json!({ "sub": "a\nb" }), "subject"),
        (json!({ "sub": "a\u{0}" }), "subject"),
    ] {
        assert_eq!(reason(changes.clone()), expected, "{changes}");
    }
}

// S39 to S42: the limits to the second and to the byte.
#[test]
fn what_the_specification_allows_is_accepted() {
    let now = NOW.seconds();
    for changes in [
        json!({ "aud": ["our client"] }),
        json!({ "aud": ["our client", "a friend"], "azp": "our client" }),
        json!({ "azp": "our client" }),
        json!({ "exp": now - 59 }),
        json!({ "exp": 1e300 }),
        json!({ "iat": now + 60 }),
        json!({ "iat": now - 600 }),
        json!({ "nbf": now + 60 }),
        json!({ "sub": "x".repeat(255) }),
        json!({ "sub": "Ünï" }),
        json!({ "at_hash": Algorithm::Es256.half_hash(b"canary-access") }),
        json!({ "c_hash": Algorithm::Es256.half_hash(b"canary-code") }),
        json!({ "unknown": { "x": [1] } }),
        json!({ "email": null, "email_verified": null, "name": 7 }),
        json!({ "hd": 7 }),
    ] {
        assert_eq!(reason(changes.clone()), "", "{changes}");
    }
}

// ATTACKS E08: whoever requires an address misses it, and whoever does not lets the person in.
#[test]
fn an_address_of_a_wrong_type_is_no_address_and_ends_no_login() {
    for email in [json!(["a@example.com"]), json!({}), json!(7), json!(true)] {
        let identity = verify(json!({ "email": email })).unwrap();
        assert_eq!(*identity.email(), EmailClaim::Absent, "{email}");
        assert_eq!(identity.subject(), "Subject-1");
        assert!(identity.lacks_address() && !identity.authoritative());
    }
}

// S44: the hash is that of the token's own algorithm.
#[test]
fn at_hash_is_taken_with_the_algorithm_of_the_token() {
    let of = |algorithm: Algorithm| json!({ "at_hash": algorithm.half_hash(b"canary-access") });
    assert!(verify_with(Algorithm::EdDsa, "JWT", of(Algorithm::EdDsa)).is_ok());
    assert_eq!(
        verify_with(Algorithm::EdDsa, "JWT", of(Algorithm::Es256)).err(),
        Some(IdTokenError::AccessTokenHash)
    );
    assert_eq!(
        verify(of(Algorithm::EdDsa)).err(),
        Some(IdTokenError::AccessTokenHash)
    );
}

// S32, S33
#[test]
fn an_algorithm_that_the_provider_does_not_advertise_and_a_key_that_it_does_not_have_are_refused() {
    let error = verify_with(Algorithm::Es384, "JWT", json!({}))
        .err()
        .unwrap();
    assert_eq!(
        (error.reason(), error.code()),
        ("algorithm", "id_token_invalid")
    );
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let token = stranger.sign("JWT", &claims(&json!({}))).unwrap();
    let error = exchanged(&token)
        .verify(&provider(), &metadata(json!({})), &keys(), NOW)
        .err()
        .unwrap();
    assert_eq!(error.reason(), "key_unknown");
}

// S47
#[test]
fn another_kind_of_token_is_no_id_token() {
    for typ in ["at+jwt", "logout+jwt", "dpop+jwt", "JOSE", ""] {
        assert_eq!(
            verify_with(Algorithm::Es256, typ, json!({})).err(),
            Some(IdTokenError::Type(typ.into()))
        );
    }
    assert!(verify_with(Algorithm::Es256, "jwt", json!({})).is_ok());
}

// S46: nothing of the claims is looked at before the signature holds.
#[test]
fn a_wrong_signature_is_told_before_a_wrong_claim() {
    let token = key(Algorithm::Es256)
        .sign("JWT", &claims(&json!({ "iss": "https://evil.example" })))
        .unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let flipped: String = signature
        .chars()
        .enumerate()
        .map(|(at, c)| {
            if at == 9 {
                if c == 'A' { 'B' } else { 'A' }
            } else {
                c
            }
        })
        .collect();
    let error = exchanged(&format!("{input}.{flipped}"))
        .verify(&provider(), &metadata(json!({})), &keys(), NOW)
        .err()
        .unwrap();
    assert_eq!(error.reason(), "signature");
}

#[test]
fn a_clock_that_is_wrong_has_a_code_of_its_own() {
    let now = NOW.seconds();
    let code = |changes: Value| verify(changes).err().unwrap().code();
    assert_eq!(code(json!({ "iat": now + 61 })), "clock_skew");
    assert_eq!(code(json!({ "nonce": null })), "nonce_mismatch");
    for changes in [
        json!({ "exp": now - 60 }),
        json!({ "aud": "x" }),
        json!({ "sub": "" }),
    ] {
        assert_eq!(code(changes), "id_token_invalid");
    }
}

// S38
#[test]
fn googles_two_spellings_are_one_issuer_at_google_alone() {
    let google = Provider::new(settings(&google::PRESET)).unwrap();
    let text = metadata_text(json!({ "issuer": "https://accounts.google.com" }));
    let metadata = Metadata::parse(text.as_bytes(), &google).unwrap();
    let of = |iss: &str| {
        let (_, started) = start(&google, &metadata, login());
        let query = format!("code=c&state={STATE}&iss=https://accounts.google.com");
        let callback = started
            .callback(
                &google,
                &metadata,
                CallbackQuery::parse(query.as_bytes()).unwrap(),
                NOW,
            )
            .unwrap();
        let token = key(Algorithm::Es256)
            .sign(
                "JWT",
                &claims(&json!({ "iss": iss, "email": "a@gmail.com" })),
            )
            .unwrap();
        let exchanged = callback
            .token_response(&google, json_answer(&token_members(&token)))
            .unwrap();
        with_id_token(exchanged).verify(&google, &metadata, &keys(), NOW)
    };
    for iss in ["https://accounts.google.com", "accounts.google.com"] {
        let identity = of(iss).unwrap();
        assert_eq!(
            identity.issuer(),
            "https://accounts.google.com",
            "one key for both spellings"
        );
        assert!(identity.authoritative() && identity.says_hosted_domain());
    }
    for iss in [
        "http://accounts.google.com",
        "https://accounts.google.com/",
        ISSUER,
    ] {
        assert_eq!(of(iss).err().unwrap().reason(), "issuer", "{iss}");
    }
}

// ---- UserInfo -------------------------------------------------------------------------------------------------------

fn lacking() -> VerifiedIdentity {
    verify(json!({ "email": null, "email_verified": null, "name": null })).unwrap()
}

// S53
#[test]
fn userinfo_is_asked_with_the_access_token_in_the_header() {
    let request = lacking().userinfo_request(&metadata(json!({}))).unwrap();
    assert_eq!(
        (request.method, request.url.as_str()),
        (Method::Get, "https://login.acme.example/me")
    );
    assert_eq!(
        request.authorization.as_ref().unwrap().expose(),
        "Bearer canary-access"
    );
    assert!(request.form.is_none() && !format!("{request:?}").contains("canary"));
    assert!(
        lacking()
            .userinfo_request(&metadata(json!({ "userinfo_endpoint": null })))
            .is_none()
    );
}

// S25, S53
#[test]
fn a_userinfo_answer_that_does_not_do_ends_the_login() {
    let honest = json!({ "sub": "Subject-1", "email": "a@example.com", "email_verified": true });
    for (answer, reason, code) in [
        (
            answer(500, "application/json", honest.to_string()),
            "userinfo_status",
            "provider_unavailable",
        ),
        (
            answer(429, "application/json", honest.to_string()),
            "userinfo_status",
            "provider_unavailable",
        ),
        (
            answer(401, "application/json", honest.to_string()),
            "userinfo_status",
            "provider_error",
        ),
        (
            answer(200, "text/html", honest.to_string()),
            "userinfo_content_type",
            "provider_error",
        ),
        (
            answer(200, "application/jwt", honest.to_string()),
            "userinfo_content_type",
            "provider_error",
        ),
        (
            answer(200, "application/json", "[]"),
            "userinfo_json",
            "provider_error",
        ),
        (
            json_answer(&json!({ "email": "a@example.com" })),
            "userinfo_claim",
            "sub_mismatch",
        ),
        (
            json_answer(&json!({ "sub": 7 })),
            "userinfo_claim",
            "provider_error",
        ),
        (
            json_answer(&json!({ "sub": "subject-1" })),
            "userinfo_subject",
            "sub_mismatch",
        ),
    ] {
        let error: UserInfoError = lacking()
            .with_userinfo(&provider(), answer.clone())
            .err()
            .unwrap();
        assert_eq!((error.reason(), error.code()), (reason, code), "{answer:?}");
    }
}

// ATTACKS E08
#[test]
fn an_address_of_a_wrong_type_in_userinfo_is_no_address() {
    let more = json!({ "sub": "Subject-1", "email": ["a@example.com"], "email_verified": true });
    let identity = lacking()
        .with_userinfo(&provider(), json_answer(&more))
        .unwrap();
    assert_eq!(*identity.email(), EmailClaim::Absent);
}

// S53, S54
#[test]
fn userinfo_adds_what_the_id_token_lacked_and_changes_nothing_that_it_said() {
    let more = json!({
        "sub": "Subject-1", "email": "b@example.com", "email_verified": true, "name": "Another", "hd": "evil.example",
        "picture": "https://img.example/b.png", "iss": "https://evil.example",
    });
    let identity = lacking()
        .with_userinfo(&provider(), json_answer(&more))
        .unwrap();
    assert_eq!(
        *identity.email(),
        EmailClaim::Verified("b@example.com".into())
    );
    assert_eq!(
        (identity.name(), identity.picture()),
        (Some("Another"), Some("https://img.example/b.png"))
    );
    assert_eq!(
        (identity.issuer(), identity.hosted_domain()),
        (ISSUER, None)
    );

    let identity = verify(json!({}))
        .unwrap()
        .with_userinfo(&provider(), json_answer(&more))
        .unwrap();
    assert_eq!(
        *identity.email(),
        EmailClaim::Verified("a@example.com".into())
    );
    assert_eq!(identity.name(), Some("A Person"));
}

// S53, S54
#[test]
fn userinfo_verifies_the_address_of_the_id_token_where_that_left_it_open_and_no_other() {
    let (a, b) = ("a@example.com", "b@example.com");
    let is_verified = |address: &str| EmailClaim::Verified(address.into());
    let is_not = |address: &str| EmailClaim::Unverified(address.into());
    // What the ID token says of a@example.com, what UserInfo says, whether an address lacks before, what holds then.
    for (id_token, address, verified, lacks, then) in [
        (json!(null), a, true, true, is_verified(a)),
        (json!(null), a, false, true, is_not(a)),
        (json!(null), b, true, true, is_not(a)),
        (json!(false), a, true, false, is_not(a)),
        (json!(false), b, true, false, is_not(a)),
        (json!(true), a, false, false, is_verified(a)),
        (json!(true), b, true, false, is_verified(a)),
    ] {
        let identity = verify(json!({ "email_verified": id_token })).unwrap();
        assert_eq!(identity.lacks_address(), lacks, "{id_token}");
        let more = json!({ "sub": "Subject-1", "email": address, "email_verified": verified });
        let identity = identity
            .with_userinfo(&provider(), json_answer(&more))
            .unwrap();
        assert_eq!(*identity.email(), then, "{id_token}, then {more}");
    }
    assert!(lacking().lacks_address());
}

// S56: where another member says so, that one decides whether the ID token left it open.
#[test]
fn what_the_id_token_says_in_the_presets_own_member_is_not_overruled_by_userinfo() {
    let mut settings = settings(&microsoft::PRESET);
    settings.tenant = Some("11111111-aaaa-4bbb-8ccc-dddddddddddd".into());
    let provider = Provider::new(settings).unwrap();
    let text = metadata_text(json!({ "issuer": provider.issuer.as_str() }));
    let metadata = Metadata::parse(text.as_bytes(), &provider).unwrap();
    let signed_in = |said: Value| {
        let claims = claims(&json!({
            "iss": provider.issuer.as_str(), "nonce": "n", "email_verified": null, "xms_edov": said,
        }));
        let token = key(Algorithm::Es256).sign("JWT", &claims).unwrap();
        let token = NativeIdToken::parse(&token).unwrap();
        token
            .verify(&provider, &metadata, &keys(), &Nonce::new("n".into()), NOW)
            .unwrap()
    };
    let more = json_answer(&json!({
        "sub": "Subject-1", "email": "a@example.com", "xms_edov": true, "email_verified": true,
    }));
    let verified = EmailClaim::Verified("a@example.com".into());
    let unverified = EmailClaim::Unverified("a@example.com".into());
    for (said, lacks, then) in [
        (json!(false), false, &unverified),
        (json!("0"), false, &unverified),
        (json!(null), true, &verified),
    ] {
        let identity = signed_in(said.clone());
        assert_eq!(identity.lacks_address(), lacks, "{said}");
        let identity = identity.with_userinfo(&provider, more.clone()).unwrap();
        assert_eq!(identity.email(), then, "{said}");
    }
}

// ---- Metadata -------------------------------------------------------------------------------------------------------

// S48
#[test]
fn metadata_that_do_not_do_are_refused_with_their_reason() {
    let of = |changes: Value| Metadata::parse(metadata_text(changes).as_bytes(), &provider());
    assert!(of(json!({})).is_ok());
    for (changes, reason) in [
        (json!({ "issuer": null }), "metadata_member"),
        (json!({ "issuer": format!("{ISSUER}/") }), "metadata_issuer"),
        (json!({ "authorization_endpoint": null }), "metadata_member"),
        (json!({ "token_endpoint": null }), "metadata_member"),
        (json!({ "jwks_uri": null }), "metadata_member"),
        (
            json!({ "token_endpoint": ["https://login.acme.example/token"] }),
            "metadata_member",
        ),
        (
            json!({ "token_endpoint": "http://login.acme.example/token" }),
            "metadata_endpoint",
        ),
        (
            json!({ "jwks_uri": "file:///etc/passwd" }),
            "metadata_endpoint",
        ),
        (
            json!({ "userinfo_endpoint": "http://login.acme.example/me" }),
            "metadata_endpoint",
        ),
        (
            json!({ "authorization_endpoint": "javascript:alert(1)" }),
            "metadata_endpoint",
        ),
        (
            json!({ "id_token_signing_alg_values_supported": "RS256" }),
            "metadata_member",
        ),
        (
            json!({ "authorization_response_iss_parameter_supported": "true" }),
            "metadata_member",
        ),
    ] {
        let error = of(changes.clone())
            .err()
            .unwrap_or_else(|| panic!("{changes} is accepted"));
        assert_eq!(
            (error.reason(), error.code()),
            (reason, "provider_misconfigured"),
            "{changes}"
        );
    }
    let duplicate =
        metadata_text(json!({})).replacen('{', &format!("{{\"issuer\":\"{ISSUER}\","), 1);
    assert_eq!(
        Metadata::parse(duplicate.as_bytes(), &provider())
            .err()
            .unwrap()
            .reason(),
        "metadata_json"
    );
}

// S25
#[test]
fn metadata_come_with_status_200_and_as_json() {
    let of = |status, content_type| {
        let response = answer(status, content_type, metadata_text(json!({})));
        Metadata::of_response(&response, &provider()).map(drop)
    };
    assert_eq!(of(200, "application/json"), Ok(()));
    assert_eq!(of(404, "application/json"), Err(MetadataError::Status(404)));
    assert_eq!(of(200, "text/html"), Err(MetadataError::ContentType));
    for (status, code) in [
        (500, "provider_unavailable"),
        (429, "provider_unavailable"),
        (404, "provider_misconfigured"),
        (302, "provider_misconfigured"),
    ] {
        assert_eq!(MetadataError::Status(status).code(), code);
    }
    let request = metadata(json!({})).jwks_request().unwrap();
    assert_eq!(
        (request.method, request.url.as_str()),
        (Method::Get, "https://login.acme.example/keys")
    );
}

// S12: an answer that contradicts itself keeps its state, so that the attempt is consumed before it is told.
#[test]
fn a_state_is_read_from_every_answer_but_one_that_has_two() {
    let state = |query: &str| {
        let query = CallbackQuery::parse(query.as_bytes())?;
        Ok(query.state().map(|state| state.expose().to_owned()))
    };
    for query in [
        "state=one&code=c",
        "state=one&code=c&code=c",
        "state=one&iss=a&iss=b",
        "state=one&id_token=x",
        "state=one",
        "state=one&error=e&code=c",
    ] {
        assert_eq!(state(query), Ok(Some("one".to_owned())), "{query}");
    }
    assert_eq!(state("code=c"), Ok(None));
    assert_eq!(state("state=&code=c"), Ok(None));
    assert_eq!(
        state("state=one&state=one&code=c"),
        Err(CallbackError::Duplicate("state"))
    );
}

#[test]
fn each_fault_of_a_token_has_its_own_word() {
    for (error, word) in [
        (JwsError::TooLarge, "too_large"),
        (JwsError::Algorithm, "algorithm"),
        (JwsError::Critical, "critical"),
        (JwsError::KeyUnknown, "key_unknown"),
        (JwsError::KeyAmbiguous, "key_ambiguous"),
        (JwsError::Signature, "signature"),
        (JwsError::Format, "format"),
        (JwsError::Json, "format"),
        (JwsError::HeaderType, "format"),
    ] {
        assert_eq!(IdTokenError::Jws(error.clone()).reason(), word);
        assert_eq!(TokenError::IdToken(error).reason(), word);
    }
}
