//! Pushed authorization requests (RFC 9126).

use super::*;
use crate::{PrivateKey, PushError};

const PAR: &str = "https://login.acme.example/par";

/// A provider that is to get pushed requests, by its own word or by the configuration's.
fn pushing(changes: Value) -> Metadata {
    let mut members = json!({ "pushed_authorization_request_endpoint": PAR });
    members
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    metadata(members)
}

fn by_configuration(change: impl FnOnce(&mut ProviderSettings)) -> Provider {
    let mut settings = settings(&generic::OPENID);
    settings.par = true;
    change(&mut settings);
    Provider::new(settings).unwrap()
}

fn begun(provider: &Provider, metadata: &Metadata) -> AuthorizationRequest {
    let request = LoginRequest {
        login_hint: Some("a&b@x".into()),
        prompt: Some(Prompt::Login),
        ..login()
    };
    start(provider, metadata, request).0
}

fn pushed(provider: &Provider, response: &OutboundResponse) -> Result<Url, PushError> {
    begun(provider, &pushing(json!({}))).into_pushed_url(provider, response)
}

#[test]
fn a_request_is_pushed_where_the_provider_or_the_configuration_wants_it_and_nowhere_else() {
    let required = json!({ "require_pushed_authorization_requests": true });
    for (par, metadata, is_pushed) in [
        (false, pushing(json!({})), false),
        (true, pushing(json!({})), true),
        (false, pushing(required.clone()), true),
        (true, pushing(required.clone()), true),
    ] {
        let provider = by_configuration(|settings| settings.par = par);
        let request = begun(&provider, &metadata)
            .push(&provider, &metadata, fresh())
            .unwrap();
        let to = request.map(|request| (request.method, request.url.to_string()));
        assert_eq!(to, is_pushed.then(|| (Method::Post, PAR.to_owned())));
    }
    // Nothing goes out unpushed because there is nowhere to push it.
    for (par, metadata) in [(true, metadata(json!({}))), (false, metadata(required))] {
        let provider = by_configuration(|settings| settings.par = par);
        let error = begun(&provider, &metadata)
            .push(&provider, &metadata, fresh())
            .err()
            .unwrap();
        assert_eq!(error, PushError::NoEndpoint);
        assert_eq!(
            (error.reason(), error.code()),
            ("par_endpoint", "provider_misconfigured")
        );
    }
}

// S21, RFC 9126 section 2.1: the same request, and the same proof as at the token endpoint.
#[test]
fn what_is_pushed_is_what_the_url_would_say_and_one_proof() {
    let signing = SigningKey::generate(Algorithm::Es256).unwrap();
    let key = PrivateKey::from_pkcs8(&signing.pkcs8(), None).unwrap();
    let post = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let secret: &[&str] = &["client_secret"];
    let assertion: &[&str] = &["client_assertion_type", "client_assertion"];
    for (provider, metadata, basic, proof) in [
        (by_configuration(|_| {}), pushing(json!({})), true, &[][..]),
        (by_configuration(|_| {}), pushing(post), false, secret),
        (
            by_configuration(|settings| settings.client_secret = None),
            pushing(json!({})),
            false,
            &[],
        ),
        (
            by_configuration(|settings| {
                settings.client_secret = None;
                settings.private_key = Some(key);
            }),
            pushing(json!({})),
            false,
            assertion,
        ),
    ] {
        let request = begun(&provider, &metadata)
            .push(&provider, &metadata, fresh())
            .unwrap()
            .unwrap();
        assert_eq!(request.url.query(), None);
        assert_eq!(request.authorization.is_some(), basic);
        assert!(!format!("{request:?}").contains("canary"), "{request:?}");
        let (proofs, mut form): (Vec<_>, Vec<_>) = form_of(&request)
            .into_iter()
            .partition(|(name, _)| name.starts_with("client_") && name != "client_id");
        let names: Vec<&str> = proofs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, proof);
        let mut plain = url_pairs(begun(&provider, &metadata));
        plain.sort();
        form.sort();
        assert_eq!(form, plain);
    }
}

// RFC 9126 section 4
#[test]
fn the_browser_carries_our_name_and_what_was_pushed_and_nothing_else() {
    let uri = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c";
    let longest = format!("urn:{}", "x".repeat(1_020));
    let provider = by_configuration(|_| {});
    for (status, uri) in [(201, uri), (200, uri), (201, &longest), (201, "a&b=c#d")] {
        let said = json!({ "request_uri": uri, "expires_in": 90 }).to_string();
        let url = pushed(&provider, &answer(status, "application/json", said)).unwrap();
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let expected = [("client_id", "our client"), ("request_uri", uri)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected);
        assert!(
            url.as_str()
                .starts_with("https://login.acme.example/authorize?")
        );
        assert_eq!(url.fragment(), None);
    }
}

// S25, S26
#[test]
fn an_answer_to_a_pushed_request_that_does_not_do_is_refused_with_its_reason() {
    let honest = json!({ "request_uri": "urn:x:1", "expires_in": 90 }).to_string();
    let with = |uri: Value| {
        let said = json!({ "request_uri": uri, "expires_in": 90 });
        answer(201, "application/json", said.to_string())
    };
    let error = |status: u16, error: Value| {
        let said = json!({ "error": error, "error_description": "canary" });
        answer(status, "application/json", said.to_string())
    };
    let status = ("par_status", "provider_error");
    let unavailable = ("par_status", "provider_unavailable");
    let refused = ("par_refused", "provider_error");
    let bad = ("par_answer", "provider_error");
    for (answer, expected) in [
        (
            error(401, json!("invalid_client")),
            ("par_refused", "client_rejected"),
        ),
        (error(400, json!("invalid_request")), refused),
        (error(400, json!("invalid_redirect_uri")), refused),
        (error(403, json!("access_denied")), refused),
        (error(400, json!(7)), status),
        (error(400, json!(["invalid_client"])), status),
        (error(500, json!("server_error")), unavailable),
        (error(503, json!("invalid_client")), unavailable),
        (
            answer(400, "text/html", r#"{"error":"invalid_client"}"#),
            status,
        ),
        (answer(400, "application/json", "{"), status),
        (answer(429, "text/plain", ""), unavailable),
        (answer(302, "application/json", honest.clone()), status),
        (answer(202, "application/json", honest.clone()), status),
        (answer(404, "application/json", honest.clone()), status),
        (answer(201, "text/html", honest.clone()), bad),
        (answer(201, "application/json", ""), bad),
        (answer(201, "application/json", format!("[{honest}]")), bad),
        (
            answer(
                201,
                "application/json",
                honest.replacen('{', r#"{"request_uri":"urn:x:2","#, 1),
            ),
            bad,
        ),
        (answer(201, "application/json", "{}"), bad),
        (with(json!(null)), bad),
        (with(json!(7)), bad),
        (with(json!(["urn:x:1"])), bad),
        (with(json!("")), bad),
        (with(json!("urn:x: 1")), bad),
        (with(json!("urn:x:\r\nSet-Cookie: a=b")), bad),
        (with(json!("urn:x:\u{e9}")), bad),
        (with(json!(format!("urn:{}", "x".repeat(1_021)))), bad),
        (with(json!("x".repeat(100_000))), bad),
    ] {
        let error = pushed(&by_configuration(|_| {}), &answer)
            .err()
            .unwrap_or_else(|| panic!("{answer:?} is accepted"));
        assert_eq!((error.reason(), error.code()), expected, "{error}");
        let text = error.to_string();
        assert!(text.len() < 300 && !text.contains("canary"), "{text}");
    }
    let long = error(400, json!("x".repeat(5_000)));
    assert_eq!(
        pushed(&by_configuration(|_| {}), &long).err(),
        Some(PushError::Refused("x".repeat(64)))
    );
}
