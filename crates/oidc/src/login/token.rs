//! Step 3: the token response (RFC 6749 section 5, OpenID Connect Core section 3.1.3.3).

use vestibule_jose::json::{self, ClaimError, JsonError};
use vestibule_jose::{CompactJws, Header, JwsError};

use crate::outbound::{MAX_ANSWER, OutboundResponse};
use crate::provider::Provider;
use crate::secret::{AccessToken, AuthorizationCode};

use super::callback::Callback;
use super::start::Started;

/// Why a token response ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// `invalid_client`.
    #[error(
        "the provider refuses our credentials; check client_id and client_secret of this provider"
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
            Self::Json(_) | Self::Member(_) | Self::TokenType | Self::NoIdToken => {
                "token_response_invalid"
            }
            Self::IdToken(_) => "id_token_invalid",
        }
    }
}

/// A code that became tokens. The ID token is well-formed and unverified.
#[derive(Debug)]
pub struct Exchanged {
    pub(crate) started: Started,
    /// Spent; `c_hash` is compared with it.
    pub(crate) code: AuthorizationCode,
    pub(crate) id_token: CompactJws,
    pub(crate) access_token: AccessToken,
}

impl Callback {
    /// Reads the answer to the token request.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn token_response(
        self,
        _provider: &Provider,
        response: OutboundResponse,
    ) -> Result<Exchanged, TokenError> {
        if response.status != 200 {
            return Err(error_of(&response));
        }
        if !response.is_json() {
            return Err(TokenError::ContentType);
        }
        let members = json::parse_object(&response.body, MAX_ANSWER)?;
        // RFC 6749 sections 5.1 and 7.1: any case.
        if !members
            .require_string("token_type")?
            .eq_ignore_ascii_case("bearer")
        {
            return Err(TokenError::TokenType);
        }
        let access_token = AccessToken::new(members.require_string("access_token")?.to_owned());
        let id_token = members.string("id_token")?.ok_or(TokenError::NoIdToken)?;
        let id_token = CompactJws::parse(id_token.as_bytes())?;
        let (started, code) = self.into_parts();
        Ok(Exchanged {
            started,
            code,
            id_token,
            access_token,
        })
    }
}

impl Exchanged {
    /// The ID token's header: which key is needed.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.id_token.header()
    }
}

/// What an answer of another status says (RFC 6749 section 5.2).
fn error_of(response: &OutboundResponse) -> TokenError {
    let reported = if response.is_json() {
        json::parse_object(&response.body, MAX_ANSWER).ok()
    } else {
        None
    };
    match reported
        .as_ref()
        .and_then(|members| members.string("error").ok().flatten())
    {
        Some("invalid_client" | "unauthorized_client") => TokenError::InvalidClient,
        Some("invalid_grant") => TokenError::InvalidGrant,
        Some(error) if response.status < 500 => {
            TokenError::Reported(error.chars().take(64).collect())
        }
        _ => TokenError::Status(response.status),
    }
}
