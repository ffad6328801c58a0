//! What an access token opens.

use std::sync::atomic::Ordering;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::{
    fault::Fault,
    routes::{HTML, Shared, answer, broken, private_json},
    tokens,
};

/// OIDC Core 5.3.
pub(crate) async fn userinfo(State(provider): Shared, headers: HeaderMap) -> Response {
    provider.counts.userinfo.fetch_add(1, Ordering::SeqCst);
    let access = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| provider.access(token.trim()));
    let Some(access) = access else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    let fault = provider.fault();
    let mut claims = tokens::person_claims(&access.person, &access.scope);
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
