//! The revocation endpoint: a client gives tokens back.

use std::sync::atomic::Ordering;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};

use crate::{
    client_auth::authenticate,
    provider::Provider,
    routes::Shared,
    token_endpoint::{TokenError, read_form},
};

/// RFC 7009 section 2. The kind of token is found out; `token_type_hint` is not needed.
pub(crate) async fn revoke(State(provider): Shared, headers: HeaderMap, body: Bytes) -> Response {
    provider.counts.revocation.fetch_add(1, Ordering::SeqCst);
    match end_tokens(&provider, &headers, &body) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => error.into_response(),
    }
}

fn end_tokens(provider: &Provider, headers: &HeaderMap, body: &[u8]) -> Result<(), TokenError> {
    let form = read_form(headers, body)?;
    let client = authenticate(provider, "/revoke", headers, &form)?;
    let token = form
        .get("token")
        .ok_or_else(|| TokenError::bad("invalid_request", "there is no token"))?;
    match provider.consent_of(token) {
        // Section 2.1: the client may end its own tokens alone.
        Some(consent) if consent.client_id != client.client_id => Err(TokenError::invalid_grant(
            "the token belongs to another client",
        )),
        Some(consent) => {
            provider.end(&consent);
            Ok(())
        }
        // Section 2.2: a token that is none any more is what the client wants.
        None => Ok(()),
    }
}
