//! What an access token opens: UserInfo, and something like a Google API.

use std::sync::atomic::Ordering;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    fault::Fault,
    provider::{Access, Provider},
    routes::{HTML, Shared, answer, broken, private_json},
    tokens,
};

/// RFC 6750 section 3.1.
const CHALLENGE: &str = "Bearer error=\"invalid_token\"";

/// OIDC Core 5.3.
pub(crate) async fn userinfo(State(provider): Shared, headers: HeaderMap) -> Response {
    provider.counts.userinfo.fetch_add(1, Ordering::SeqCst);
    let Some(access) = bearer(&provider, &headers) else {
        let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    let fault = provider.fault();
    let consent = access.consent;
    let mut claims = tokens::person_claims(&consent.person, &consent.scope);
    claims.extend(consent.person.claims.clone());
    tokens::spoil_email(&mut claims, fault);
    if fault == Fault::UserinfoWrongSubject {
        claims.insert("sub".to_owned(), "100000000000000000000".into());
    }
    let claims = Value::Object(claims);
    match fault {
        Fault::UserinfoError => broken(),
        Fault::UserinfoHtml => answer(HTML, claims.to_string()),
        _ => private_json(&claims),
    }
}

/// The person's events in the form of Google's Calendar API, for an application that calls it with the token that it kept.
/// Any live token opens it, whatever its scope.
pub(crate) async fn calendar(State(provider): Shared, headers: HeaderMap) -> Response {
    provider.counts.calendar.fetch_add(1, Ordering::SeqCst);
    let Some(access) = bearer(&provider, &headers) else {
        let mut response = private_json(&json!({
            "error": { "code": 401, "message": "Invalid Credentials", "status": "UNAUTHENTICATED" }
        }));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(CHALLENGE),
        );
        return response;
    };
    let email = &access.consent.person.email;
    let event = |id: &str, summary: &str, day: &str| {
        json!({
            "kind": "calendar#event",
            "id": id,
            "summary": summary,
            "creator": { "email": email, "self": true },
            "start": { "date": day },
            "end": { "date": day },
        })
    };
    private_json(&json!({
        "kind": "calendar#events",
        "summary": email,
        "items": [
            event("standin1", "Water the plants", "2030-01-07"),
            event("standin2", "Call the dentist", "2030-01-08"),
        ],
    }))
}

/// What the bearer token of a request opens (RFC 6750 section 2.1).
fn bearer(provider: &Provider, headers: &HeaderMap) -> Option<Access> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        provider.access(token.trim())
    } else {
        None
    }
}
