//! The token endpoint.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    client_auth::authenticate,
    fault::Fault,
    provider::{Client, Consent, Provider, SeenTokenRequest},
    routes::{HTML, JSON, Shared, answer, broken, found, huge, private_json, unique_parameters},
    tokens::{self, Facts},
};

/// RFC 6749 sections 4.1.3 (with PKCE, RFC 7636 section 4.6) and 6.
pub(crate) async fn token(State(provider): Shared, headers: HeaderMap, body: Bytes) -> Response {
    provider.counts.token.fetch_add(1, Ordering::SeqCst);
    provider.saw_token_request(SeenTokenRequest {
        authorization: headers
            .get(header::AUTHORIZATION)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        form: String::from_utf8_lossy(&body).into_owned(),
    });
    let form = read_form(&headers, &body);
    if form.as_ref().is_ok_and(is_refresh) {
        provider.counts.refresh.fetch_add(1, Ordering::SeqCst);
    }
    let fault = provider.fault();
    match fault {
        Fault::Token500 => return broken(),
        Fault::TokenEmpty => return ([(header::CONTENT_TYPE, JSON)], "").into_response(),
        Fault::TokenInvalidGrant => {
            return TokenError::invalid_grant("the code is not good").into_response();
        }
        Fault::TokenInvalidClient => return TokenError::invalid_client(false).into_response(),
        Fault::TokenErrorAs200 => {
            return private_json(
                &json!({ "error": "invalid_grant", "error_description": "the code is not good" }),
            );
        }
        Fault::TokenSlow => provider.be_slow().await,
        Fault::RotatedKeys => {
            let provider = Arc::clone(&provider);
            // A key takes a moment, in which the runtime has other things to do.
            let _ = tokio::task::spawn_blocking(move || provider.rotate_keys()).await;
        }
        _ => {}
    }
    let honest = match form.and_then(|form| exchange(&provider, &headers, &form, fault)) {
        Ok(honest) => honest,
        Err(error) => return error.into_response(),
    };
    spoil_token_answer(&provider, honest, fault)
}

fn spoil_token_answer(
    provider: &Provider,
    mut honest: Map<String, Value>,
    fault: Fault,
) -> Response {
    match fault {
        Fault::NoIdToken => {
            honest.remove("id_token");
        }
        Fault::NoExpiresIn => {
            honest.remove("expires_in");
        }
        Fault::TokenTypeMac => {
            honest.insert("token_type".to_owned(), "mac".into());
        }
        Fault::TokenTypeLowerCase => {
            honest.insert("token_type".to_owned(), "bearer".into());
        }
        _ => {}
    }
    let honest = Value::Object(honest);
    let mut text = honest.to_string();
    match fault {
        Fault::TokenHtml => return answer(HTML, text),
        Fault::TokenHuge => return huge(&honest),
        Fault::TokenJsonArray => text = format!("[{text}]"),
        Fault::TokenDuplicateMember => text.insert_str(1, r#""access_token":"another","#),
        Fault::TokenDeeplyNested => {
            text.insert_str(
                1,
                &format!(r#""deep":{}{},"#, "[".repeat(10_000), "]".repeat(10_000)),
            );
        }
        Fault::TokenRedirect => {
            provider.put_elsewhere(text);
            return found(&provider.url("/elsewhere/token"));
        }
        _ => {}
    }
    answer(JSON, text)
}

/// Where the faulty redirect leads: the honest answer, for a client that follows.
pub(crate) async fn elsewhere_token(State(provider): Shared) -> Response {
    match provider.elsewhere() {
        Some(text) => answer(JSON, text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// RFC 6749 section 5.2.
#[derive(Debug)]
pub(crate) struct TokenError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    challenge: bool,
}

impl TokenError {
    pub(crate) fn bad(error: &'static str, description: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description,
            challenge: false,
        }
    }

    pub(crate) fn invalid_grant(description: &'static str) -> Self {
        Self::bad("invalid_grant", description)
    }

    pub(crate) fn invalid_client(with_basic: bool) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            challenge: with_basic,
            ..Self::bad(
                "invalid_client",
                "the client is not known, or does not prove that it is this one",
            )
        }
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = private_json(&body);
        *response.status_mut() = self.status;
        if self.challenge {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"stand-in\""),
            );
        }
        response
    }
}

/// The form that a client sends to an endpoint of ours.
pub(crate) fn read_form(
    headers: &HeaderMap,
    body: &[u8],
) -> Result<HashMap<String, String>, TokenError> {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.split(';').next().unwrap_or_default().trim()
                == "application/x-www-form-urlencoded"
        });
    if !is_form {
        return Err(TokenError::bad(
            "invalid_request",
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    unique_parameters(body)
        .ok_or_else(|| TokenError::bad("invalid_request", "a parameter stands there twice"))
}

fn is_refresh(form: &HashMap<String, String>) -> bool {
    form.get("grant_type")
        .is_some_and(|grant_type| grant_type == "refresh_token")
}

/// What a client may have tokens for now.
struct Granted {
    consent: Consent,
    nonce: Option<String>,
    with_refresh_token: bool,
}

/// A code or a refresh token for tokens: the members of the answer.
fn exchange(
    provider: &Provider,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
    fault: Fault,
) -> Result<Map<String, Value>, TokenError> {
    let client = authenticate(provider, "/token", headers, form)?;
    let granted = match form.get("grant_type").map(String::as_str) {
        Some("authorization_code") => by_code(provider, client, form)?,
        Some("refresh_token") => by_refresh_token(provider, client, form)?,
        _ => {
            return Err(TokenError::bad(
                "unsupported_grant_type",
                "grant_type must be authorization_code or refresh_token",
            ));
        }
    };

    let consent = granted.consent;
    let access_token = provider.issue_access_token(consent.clone());
    let facts = Facts {
        issuer: &provider.issuer,
        client_id: &client.client_id,
        person: &consent.person,
        scope: &consent.scope,
        nonce: granted.nonce.as_deref(),
        access_token: Some(&access_token),
        now: provider.now(),
    };
    let id_token = tokens::id_token(
        &facts,
        &provider.keys(),
        client.authentication.secret(),
        fault,
    );
    let mut honest = Map::new();
    honest.insert("access_token".to_owned(), access_token.into());
    honest.insert(
        "expires_in".to_owned(),
        provider.settings.access_token_seconds.into(),
    );
    honest.insert("scope".to_owned(), consent.scope.clone().into());
    honest.insert("token_type".to_owned(), "Bearer".into());
    honest.insert("id_token".to_owned(), id_token.into());
    if granted.with_refresh_token {
        let refresh_token = provider.issue_refresh_token(consent);
        honest.insert("refresh_token".to_owned(), refresh_token.into());
    }
    Ok(honest)
}

/// RFC 6749 section 4.1.3.
fn by_code(
    provider: &Provider,
    client: &Client,
    form: &HashMap<String, String>,
) -> Result<Granted, TokenError> {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let grant = provider
        .take_code(get("code"))
        .ok_or_else(|| TokenError::invalid_grant("the code is unknown, used or too old"))?;
    if grant.client_id != client.client_id {
        return Err(TokenError::invalid_grant(
            "the code belongs to another client",
        ));
    }
    if grant.redirect_uri != get("redirect_uri") {
        return Err(TokenError::invalid_grant(
            "redirect_uri is not that of the authorization request",
        ));
    }
    if tokens::base64url(&tokens::sha256(get("code_verifier").as_bytes())) != grant.code_challenge {
        return Err(TokenError::invalid_grant(
            "code_verifier does not belong to code_challenge",
        ));
    }
    Ok(Granted {
        consent: Consent::new(grant.client_id, grant.person, grant.scope),
        nonce: grant.nonce,
        with_refresh_token: grant.is_offline,
    })
}

/// RFC 6749 section 6, always for the whole scope. The new ID token has no `nonce` (OIDC Core 12.2).
fn by_refresh_token(
    provider: &Provider,
    client: &Client,
    form: &HashMap<String, String>,
) -> Result<Granted, TokenError> {
    let token = form.get("refresh_token").map(String::as_str);
    let consent = provider
        .take_refresh_token(token.unwrap_or_default(), client)
        .ok_or_else(|| TokenError::invalid_grant("the refresh token is unknown, used or ended"))?;
    Ok(Granted {
        consent,
        nonce: None,
        with_refresh_token: true,
    })
}
