//! How a client proves who it is, at every endpoint that only clients ask.

use std::{collections::HashMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use url::form_urlencoded;

use crate::{
    assertion::{self, ASSERTION_TYPE},
    provider::{Client, Provider},
    token_endpoint::TokenError,
};

/// How a client proves who it is (OIDC Core section 9). `Debug` shows no secret.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// This secret, by `client_secret_basic` or `client_secret_post`.
    Secret(String),
    /// This secret, by `client_secret_basic` alone.
    SecretBasic(String),
    /// This secret, by `client_secret_post` alone.
    SecretPost(String),
    /// An assertion signed for each request: `private_key_jwt` (RFC 7523).
    PrivateKeyJwt {
        /// The client's public keys, as a JWK set.
        jwks: Value,
    },
    /// Nothing: a public client, which names itself by `client_id`.
    None,
}

impl ClientAuthentication {
    /// The methods by their names in metadata.
    pub(crate) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Secret(_) => &["client_secret_post", "client_secret_basic"],
            Self::SecretBasic(_) => &["client_secret_basic"],
            Self::SecretPost(_) => &["client_secret_post"],
            Self::PrivateKeyJwt { .. } => &["private_key_jwt"],
            Self::None => &["none"],
        }
    }

    /// The secret that both sides know, empty where there is none.
    pub(crate) fn secret(&self) -> &str {
        match self {
            Self::Secret(secret) | Self::SecretBasic(secret) | Self::SecretPost(secret) => secret,
            Self::PrivateKeyJwt { .. } | Self::None => "",
        }
    }
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAuthentication({})", self.methods().join(" or "))
    }
}

/// Who asks the endpoint at `path`. RFC 6749 section 2.3: one way to say who the client is, not two.
pub(crate) fn authenticate<'a>(
    provider: &'a Provider,
    path: &str,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<&'a Client, TokenError> {
    let basic = headers.get(header::AUTHORIZATION);
    let secret = form.get("client_secret");
    let assertion = form.get("client_assertion");
    let ways = [basic.is_some(), secret.is_some(), assertion.is_some()];
    if ways.iter().filter(|way| **way).count() > 1 {
        return Err(TokenError::bad(
            "invalid_request",
            "the client authenticates in two ways",
        ));
    }
    let named = form.get("client_id").map(String::as_str);
    let client = if let Some(header) = basic {
        by_basic(provider, header, named)
    } else if let Some(secret) = secret {
        by_post(provider, named, secret)
    } else if let Some(assertion) = assertion {
        let known_type = form
            .get("client_assertion_type")
            .is_some_and(|text| text == ASSERTION_TYPE);
        assertion::client_of(provider, path, named, assertion).filter(|_| known_type)
    } else {
        // RFC 6749 section 3.2.1: a public client sends its client_id.
        named
            .and_then(|id| provider.client(id))
            .filter(|client| client.authentication == ClientAuthentication::None)
    };
    client.ok_or_else(|| TokenError::invalid_client(basic.is_some()))
}

fn by_basic<'a>(
    provider: &'a Provider,
    header: &HeaderValue,
    named: Option<&str>,
) -> Option<&'a Client> {
    let (client_id, given) = basic_credentials(header)?;
    let client = provider.client(&client_id)?;
    let is_named_so = named.is_none_or(|named| named == client_id);
    match &client.authentication {
        ClientAuthentication::Secret(secret) | ClientAuthentication::SecretBasic(secret) => {
            (*secret == given && is_named_so).then_some(client)
        }
        ClientAuthentication::SecretPost(_)
        | ClientAuthentication::PrivateKeyJwt { .. }
        | ClientAuthentication::None => None,
    }
}

fn by_post<'a>(provider: &'a Provider, named: Option<&str>, given: &str) -> Option<&'a Client> {
    let client = provider.client(named?)?;
    match &client.authentication {
        ClientAuthentication::Secret(secret) | ClientAuthentication::SecretPost(secret) => {
            (secret == given).then_some(client)
        }
        ClientAuthentication::SecretBasic(_)
        | ClientAuthentication::PrivateKeyJwt { .. }
        | ClientAuthentication::None => None,
    }
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
