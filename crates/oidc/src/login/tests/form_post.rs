//! Answers that the browser posts, with a name beside the code (OAuth 2.0 Form Post Response Mode; Apple).

use url::form_urlencoded::byte_serialize;

use super::*;
use crate::PrivateKey;
use crate::providers::apple;

/// Apple, whose preset says that a name comes in the form.
fn apple() -> Provider {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut settings = settings(&apple::PRESET);
    settings.client_secret = None;
    settings.private_key = Some(PrivateKey::from_pkcs8(&key.pkcs8(), None).unwrap());
    settings.team_id = Some("our team".into());
    Provider::new(settings).unwrap()
}

/// Who signs in with this `user` beside the code, and this `name` in the ID token.
fn signed_in(provider: &Provider, user: &str, name: &Value) -> VerifiedIdentity {
    let issuer = provider.issuer.as_str();
    let text = metadata_text(json!({
        "issuer": issuer, "authorization_response_iss_parameter_supported": null,
    }));
    let metadata = Metadata::parse(text.as_bytes(), provider).unwrap();
    let user: String = byte_serialize(user.as_bytes()).collect();
    let query = CallbackQuery::parse(format!("code=c&state={STATE}&user={user}").as_bytes());
    let (_, started) = start(provider, &metadata, login());
    let callback = started
        .callback(provider, &metadata, query.unwrap(), NOW)
        .unwrap();
    let claims = claims(&json!({ "iss": issuer, "name": name }));
    let token = key(Algorithm::Es256).sign("JWT", &claims).unwrap();
    let answer = json_answer(&token_members(&token));
    with_id_token(callback.token_response(provider, answer).unwrap())
        .verify(provider, &metadata, &keys(), NOW)
        .unwrap()
}

fn name_of(user: &str) -> Option<String> {
    let identity = signed_in(&apple(), user, &json!(null));
    assert_eq!(identity.subject(), "Subject-1");
    identity.name().map(str::to_owned)
}

#[test]
fn a_name_beside_the_code_is_taken_in_each_of_its_forms() {
    let dirty = r#"{"name":{"firstName":"A\u0000n\u202en\r\n","lastName":"\u001b[1mBee"}}"#;
    for (user, name) in [
        (
            r#"{"name":{"firstName":"Ann","lastName":"Bee"}}"#,
            "Ann Bee",
        ),
        (r#"{"name":{"firstName":"Ann"}}"#, "Ann"),
        (r#"{"name":{"lastName":"Bee"}}"#, "Bee"),
        (r#"{"name":{"firstName":" Ann ","lastName":""}}"#, "Ann"),
        (r#"{"name":{"firstName":7,"lastName":"Bee"}}"#, "Bee"),
        (r#"{"name":{"firstName":"安","lastName":"🦀"}}"#, "安 🦀"),
        (dirty, "Ann [1mBee"),
    ] {
        assert_eq!(name_of(user).as_deref(), Some(name), "{user}");
    }
    let long = json!({ "name": { "firstName": "é".repeat(1_000) } }).to_string();
    assert_eq!(name_of(&long), Some("é".repeat(512)));
}

// S96, ATTACKS E09: it is unsigned, and no login ends because of it.
#[test]
fn a_hostile_user_field_is_no_name_and_ends_no_login() {
    let deep = format!("{}1{}", r#"{"name":"#.repeat(200), "}".repeat(200));
    let twice = r#"{"name":{"firstName":"Ann"},"name":{"firstName":"Eve"}}"#;
    for user in [
        "",
        "Ann",
        "null",
        "7",
        "[]",
        "{}",
        "{",
        r#"["name"]"#,
        r#"{"name":"Ann"}"#,
        r#"{"name":null}"#,
        r#"{"name":["Ann"]}"#,
        r#"{"name":{}}"#,
        r#"{"name":{"firstName":null,"lastName":["Bee"]}}"#,
        r#"{"name":{"firstName":"","lastName":" "}}"#,
        r#"{"name":{"firstName":"\u0000\u202e"}}"#,
        r#"{"name":{"firstName":"\ud800"}}"#,
        r#"{"name":{"firstName":"Ann"}} x"#,
        r#"{"firstName":"Ann"}"#,
        twice,
        deep.as_str(),
        &"[".repeat(5_000),
        "\u{0}",
    ] {
        assert_eq!(name_of(user), None, "{user:.60}");
    }
    let query = format!("code=c&state={STATE}&user={}", "x".repeat(1 << 20));
    let error = CallbackQuery::parse(query.as_bytes()).err();
    assert_eq!(error, Some(CallbackError::TooLarge));
}

// S54: what nobody signed greets, and says nothing else.
#[test]
fn what_a_form_says_beside_the_name_leaves_no_trace() {
    let user = json!({
        "name": { "firstName": "Ann" }, "email": "evil@example.com", "email_verified": true,
        "sub": "evil", "picture": "https://evil.example/p.png", "is_superuser": true,
    });
    let identity = signed_in(&apple(), &user.to_string(), &json!(null));
    assert_eq!(identity.name(), Some("Ann"));
    assert!(!format!("{identity:?}").contains("evil"), "{identity:?}");
    assert!(!format!("{identity:?}").contains("superuser"));
    // The signed name stands.
    let identity = signed_in(&apple(), &user.to_string(), &json!("A Person"));
    assert_eq!(identity.name(), Some("A Person"));
}

#[test]
fn a_name_beside_the_code_is_taken_where_the_preset_says_so_alone() {
    let user = r#"{"name":{"firstName":"Ann","lastName":"Bee"}}"#;
    for form_post in [None, Some(false), Some(true)] {
        let mut settings = settings(&generic::OPENID);
        settings.form_post = form_post;
        let provider = Provider::new(settings).unwrap();
        assert_eq!(signed_in(&provider, user, &json!(null)).name(), None);
    }
}

// S18
#[test]
fn a_form_post_is_asked_for_where_the_preset_or_the_configuration_says_so() {
    let mode = |provider: &Provider| {
        let (request, _) = start(provider, &metadata(json!({})), login());
        let pairs = url_pairs(request);
        let mut modes = pairs
            .into_iter()
            .filter(|(name, _)| name == "response_mode");
        let mode = modes.next().map(|(_, mode)| mode);
        assert_eq!(modes.next(), None);
        assert_eq!(provider.form_post, mode.is_some());
        mode
    };
    assert_eq!(mode(&apple()).as_deref(), Some("form_post"));
    assert_eq!(mode(&provider()), None);
    let mut settings = settings(&generic::OPENID);
    settings.form_post = Some(true);
    let provider = Provider::new(settings).unwrap();
    assert_eq!(mode(&provider).as_deref(), Some("form_post"));
}
