//! The pushed authorization request endpoint: a client sends its request by itself, and the browser brings only its name.

use std::sync::atomic::Ordering;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::{
    authorize::AuthorizationRequest,
    client_auth::authenticate,
    provider::{PUSHED_SECONDS, Provider},
    routes::{Shared, private_json},
    token_endpoint::{TokenError, read_form},
};

/// RFC 9126 section 2.
pub(crate) async fn par(State(provider): Shared, headers: HeaderMap, body: Bytes) -> Response {
    provider.counts.pushed.fetch_add(1, Ordering::SeqCst);
    match push(&provider, &headers, &body) {
        Ok(request_uri) => {
            let members = json!({ "request_uri": request_uri, "expires_in": PUSHED_SECONDS });
            let mut response = private_json(&members);
            *response.status_mut() = StatusCode::CREATED;
            response
        }
        Err(error) => error.into_response(),
    }
}

/// RFC 9126 section 2.1, in its order.
fn push(provider: &Provider, headers: &HeaderMap, body: &[u8]) -> Result<String, TokenError> {
    let mut parameters = read_form(headers, body)?;
    // (1): who the client is, and that it speaks for itself.
    let client = authenticate(provider, "/par", headers, &parameters)?;
    if parameters.get("client_id") != Some(&client.client_id) {
        return Err(TokenError::bad(
            "invalid_request",
            "client_id is not that of the client that authenticates",
        ));
    }
    // (2): what is pushed is the request itself.
    if parameters.contains_key("request_uri") {
        return Err(TokenError::bad(
            "invalid_request",
            "request_uri cannot be pushed",
        ));
    }
    for proof in ["client_secret", "client_assertion", "client_assertion_type"] {
        parameters.remove(proof);
    }
    // (3): all that the authorization endpoint would refuse.
    let request = AuthorizationRequest::check(provider, parameters, None)
        .map_err(|refusal| refusal.to_the_pushing_client())?;
    Ok(provider.push(request.parameters))
}
