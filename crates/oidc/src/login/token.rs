//! Step 3: the token response (RFC 6749 section 5, OpenID Connect Core section 3.1.3.3).

use serde_json::Value;
use vestibule_jose::json::{self, ClaimError, JsonError, Object};
use vestibule_jose::{CompactJws, Header, JwsError};

use crate::outbound::{MAX_ANSWER, OutboundResponse};
use crate::provider::Provider;
use crate::providers::TokenFault;
use crate::secret::{AccessToken, AuthorizationCode, RefreshToken};

use super::callback::Callback;
use super::start::Started;

/// Why a token response ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// `invalid_client`.
    #[error(
        "the provider refuses our credentials; check client_id and client_secret, or private_key and key_id, of this provider"
    )]
    InvalidClient,
    /// `invalid_grant`.
    #[error(
        "the provider refuses the code: it expired, was used, or redirect_uri or code_verifier differ"
    )]
    InvalidGrant,
    /// Another error of the specification.
    #[error("the token endpoint reports {0:?}")]
    Reported(String),
    /// Another status.
    #[error("the token endpoint answered with status {0}")]
    Status(u16),
    /// Not JSON.
    #[error("the token endpoint's answer is not application/json")]
    ContentType,
    /// Not an acceptable object.
    #[error("the token response is not acceptable: {0}")]
    Json(#[from] JsonError),
    /// A member is missing or has the wrong type.
    #[error("the token response is not acceptable: {0}")]
    Member(#[from] ClaimError),
    /// Another `token_type` than Bearer.
    #[error("the token response has another token_type than Bearer")]
    TokenType,
    /// No access token that a header can carry.
    #[error("the token response's access_token is empty or not of printable ASCII")]
    AccessToken,
    /// No ID token: the provider does not speak OpenID Connect, or the scope `openid` was not granted.
    #[error("the token response has no id_token; the scope openid was not granted")]
    NoIdToken,
    /// The ID token is malformed.
    #[error("the ID token is malformed: {0}")]
    IdToken(#[from] JwsError),
}

impl TokenError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::Reported(_) => "token_error",
            Self::Status(_) => "token_status",
            Self::ContentType => "token_content_type",
            Self::Json(_) => "token_json",
            Self::Member(_) => "token_member",
            Self::TokenType => "token_type",
            Self::AccessToken => "access_token",
            Self::NoIdToken => "id_token_missing",
            Self::IdToken(error) => super::id_token::jws_reason(error),
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidClient => "client_rejected",
            Self::InvalidGrant => "code_rejected",
            Self::Status(status) if *status >= 500 || *status == 429 => "provider_unavailable",
            Self::Reported(_) | Self::Status(_) | Self::ContentType => "provider_error",
            Self::Json(_)
            | Self::Member(_)
            | Self::TokenType
            | Self::AccessToken
            | Self::NoIdToken => "token_response_invalid",
            Self::IdToken(_) => "id_token_invalid",
        }
    }
}

/// What a provider gave for a code or a refresh token (RFC 6749 section 5.1).
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// For the provider's interfaces.
    pub access_token: AccessToken,
    /// For the next access token, if the provider gives one.
    pub refresh_token: Option<RefreshToken>,
    /// How long the access token lives, in seconds, if the provider says.
    pub expires_in: Option<i64>,
    /// What it may do, where the provider says that it is not what was asked for.
    pub scope: Option<String>,
}

impl TokenSet {
    /// Of an app that signed somebody in itself: there are none for us.
    pub(crate) fn none() -> Self {
        Self {
            access_token: AccessToken::new(String::new()),
            refresh_token: None,
            expires_in: None,
            scope: None,
        }
    }

    /// Whether there are none: what a provider gives is never empty.
    pub(crate) fn is_none(&self) -> bool {
        self.access_token.expose().is_empty()
    }

    fn read(provider: &Provider, members: &Object) -> Result<Self, TokenError> {
        // RFC 6749 sections 5.1 and 7.1: any case.
        let is_bearer = match members.string("token_type")? {
            Some(token_type) => token_type.eq_ignore_ascii_case("bearer"),
            None if provider.preset.quirks.token_type_may_lack => true,
            None => return Err(ClaimError::Missing("token_type").into()),
        };
        if !is_bearer {
            return Err(TokenError::TokenType);
        }
        // RFC 6749 appendix A.12.
        let access_token = members.require_string("access_token")?;
        if access_token.is_empty() || !access_token.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(TokenError::AccessToken);
        }
        Ok(Self {
            access_token: AccessToken::new(access_token.to_owned()),
            refresh_token: members
                .string("refresh_token")?
                .filter(|token| !token.is_empty())
                .map(|token| RefreshToken::new(token.to_owned())),
            // No login hangs on these. Some say the number as text, and the scope as a list.
            expires_in: members.value("expires_in").and_then(|said| {
                let seconds = said.as_i64().or_else(|| said.as_str()?.parse().ok());
                seconds.filter(|seconds| (0..=10 * 365 * 86_400).contains(seconds))
            }),
            scope: members.value("scope").and_then(|said| match said {
                Value::String(scope) => Some(scope.clone()),
                Value::Array(list) => {
                    let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                    Some(words.join(" "))
                }
                _ => None,
            }),
        })
    }

    /// Reads the answer to a refresh (RFC 6749 section 6).
    ///
    /// # Errors
    /// See [`TokenError`]. [`TokenError::InvalidGrant`]: the person has to consent again.
    pub fn of_response(
        provider: &Provider,
        response: &OutboundResponse,
    ) -> Result<Self, TokenError> {
        Self::read(provider, &members_of(provider, response)?)
    }
}

/// A code that became tokens.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a login, moved once")]
pub enum Exchanged {
    /// OpenID Connect: the ID token is well-formed and unverified.
    WithIdToken(WithIdToken),
    /// OAuth 2.0 alone: the provider's interface says who it is.
    AccessTokenOnly(AccessTokenOnly),
}

/// An ID token to be verified, and what it came with.
#[derive(Debug)]
pub struct WithIdToken {
    pub(crate) started: Started,
    /// Spent; `c_hash` is compared with it.
    pub(crate) code: AuthorizationCode,
    pub(crate) id_token: CompactJws,
    pub(crate) tokens: TokenSet,
    /// The name that came beside the code.
    pub(crate) name: Option<String>,
}

/// An access token that our own code became: nobody else handed it to us (S55).
#[derive(Debug)]
pub struct AccessTokenOnly {
    pub(crate) tokens: TokenSet,
    /// The token response, where that is what describes the person.
    pub(crate) response: Object,
}

impl Callback {
    /// Reads the answer to the token request.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn token_response(
        self,
        provider: &Provider,
        response: OutboundResponse,
    ) -> Result<Exchanged, TokenError> {
        let members = members_of(provider, &response)?;
        let tokens = TokenSet::read(provider, &members)?;
        if !provider.is_openid() {
            return Ok(Exchanged::AccessTokenOnly(AccessTokenOnly {
                tokens,
                response: members,
            }));
        }
        let id_token = members.string("id_token")?.ok_or(TokenError::NoIdToken)?;
        let id_token = CompactJws::parse(id_token.as_bytes())?;
        let (started, code, name) = self.into_parts();
        Ok(Exchanged::WithIdToken(WithIdToken {
            started,
            code,
            id_token,
            tokens,
            name,
        }))
    }
}

impl WithIdToken {
    /// The ID token's header: which key is needed.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.id_token.header()
    }
}

/// The members of a token response that is none of an error. Some providers report errors with status 200.
fn members_of(provider: &Provider, response: &OutboundResponse) -> Result<Object, TokenError> {
    if response.status != 200 {
        return Err(error_of(provider, response));
    }
    if !response.is_json() {
        return Err(TokenError::ContentType);
    }
    let members = json::parse_object(&response.body, MAX_ANSWER)?;
    if !members.contains("access_token")
        && let Some(error) = members.string("error").ok().flatten()
    {
        return Err(reported(provider, error));
    }
    Ok(members)
}

/// What an answer of another status says (RFC 6749 section 5.2).
fn error_of(provider: &Provider, response: &OutboundResponse) -> TokenError {
    let members = if response.is_json() {
        json::parse_object(&response.body, MAX_ANSWER).ok()
    } else {
        None
    };
    let error = members
        .as_ref()
        .and_then(|members| members.string("error").ok().flatten());
    match error {
        Some(error) => match reported(provider, error) {
            TokenError::Reported(_) if response.status >= 500 => {
                TokenError::Status(response.status)
            }
            error => error,
        },
        None => TokenError::Status(response.status),
    }
}

/// An error in the words of the specification, or in those of the provider.
fn reported(provider: &Provider, error: &str) -> TokenError {
    let words = provider.preset.quirks.token_errors.iter();
    let fault = words
        .filter(|(word, _)| *word == error)
        .map(|(_, fault)| *fault)
        .next();
    match (error, fault) {
        ("invalid_client" | "unauthorized_client", _) | (_, Some(TokenFault::Client)) => {
            TokenError::InvalidClient
        }
        ("invalid_grant", _) | (_, Some(TokenFault::Code)) => TokenError::InvalidGrant,
        _ => TokenError::Reported(error.chars().take(64).collect()),
    }
}
