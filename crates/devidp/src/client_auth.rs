//! How a client proves who it is.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use url::form_urlencoded;

use crate::{provider::Provider, token_endpoint::TokenError};

/// RFC 6749 section 2.3.1: one way to say who the client is, not two. Gives its id and its secret.
pub(crate) fn authenticate(
    provider: &Provider,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<(String, String), TokenError> {
    let basic = headers.get(header::AUTHORIZATION);
    let (client_id, client_secret) = match (basic, form.get("client_secret")) {
        (Some(_), Some(_)) => {
            return Err(TokenError::bad(
                "invalid_request",
                "the client authenticates in two ways",
            ));
        }
        (Some(value), None) => {
            basic_credentials(value).ok_or_else(|| TokenError::invalid_client(true))?
        }
        (None, Some(secret)) => (
            form.get("client_id").cloned().unwrap_or_default(),
            secret.clone(),
        ),
        (None, None) => return Err(TokenError::invalid_client(false)),
    };
    provider
        .client(&client_id)
        .filter(|client| client.client_secret == client_secret)
        .ok_or_else(|| TokenError::invalid_client(basic.is_some()))?;
    Ok((client_id, client_secret))
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic_credentials(value: &HeaderValue) -> Option<(String, String)> {
    let text = value.to_str().ok()?;
    let (scheme, credentials) = text.split_once(' ')?;
    let decoded = STANDARD
        .decode(credentials.trim())
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| {
        form_urlencoded::parse(format!("v={text}").as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((plain(id)?, plain(secret)?))
}
