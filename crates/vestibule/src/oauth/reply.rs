//! The answer to an authorization request: a redirect to the front end, and to nowhere else.

use std::sync::Arc;

use url::form_urlencoded;

use crate::attempt::Reference;
use crate::error::{Code, Failure, Fault};
use crate::frontend::{Frontend, HandOff, RedirectUri};

/// Where a front end is answered: registered, and compared with what the request named.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) redirect_uri: RedirectUri,
    /// Echoed as it came (RFC 6749 section 4.1.2).
    pub(crate) state: Option<String>,
}

/// An error in the words of RFC 6749 sections 4.1.2.1 and 5.2, RFC 7009 and OpenID Connect Core 3.1.2.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OAuthError {
    AccessDenied,
    InteractionRequired,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    LoginRequired,
    ServerError,
    TemporarilyUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    UnsupportedTokenType,
}

impl OAuthError {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InteractionRequired => "interaction_required",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidRequest => "invalid_request",
            Self::LoginRequired => "login_required",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }

    /// A failed sign-in, as its front end is told: whose turn it is, and nothing of what only the operator may know.
    pub(crate) fn of(failure: &Failure) -> Self {
        match failure.code {
            Code::ProviderUnavailable | Code::ServiceUnavailable | Code::RateLimited => {
                Self::TemporarilyUnavailable
            }
            Code::BadRequest | Code::ProviderUnknown => Self::InvalidRequest,
            Code::CodeRejected | Code::NonceMismatch | Code::IssuerMismatch => Self::ServerError,
            code => match code.fault() {
                Fault::Browser => Self::AccessDenied,
                Fault::Provider | Fault::Operator => Self::ServerError,
            },
        }
    }
}

impl ReplyTo {
    /// A one-time code (RFC 6749 section 4.1.2, RFC 9207).
    pub(crate) fn code(&self, code: &str, issuer: &str) -> String {
        self.redirect(&[("code", code), ("iss", issuer)])
    }

    /// An access token: `token` in the query, as the original front end reads it, or the parameters of RFC 6749 section
    /// 4.2.2 in the fragment.
    pub(crate) fn token(&self, token: &str, expires_in: i64, issuer: &str) -> String {
        match self.frontend.hand_off {
            HandOff::TokenFragment => self.redirect(&[
                ("access_token", token),
                ("token_type", "Bearer"),
                ("expires_in", &expires_in.to_string()),
                ("iss", issuer),
            ]),
            HandOff::TokenQuery | HandOff::Code | HandOff::Cookie => {
                self.redirect(&[("token", token)])
            }
        }
    }

    /// Nothing but the way back: the front end shares our cookie, or asks for its code itself.
    pub(crate) fn bare(&self, issuer: &str) -> String {
        self.redirect(&[("iss", issuer)])
    }

    /// An error. `error_code` is our public code; OAuth's own `code` would be taken for a success by clients that look
    /// for it first.
    pub(crate) fn error(
        &self,
        error: OAuthError,
        code: Code,
        description: &str,
        reference: Option<&Reference>,
        issuer: &str,
    ) -> String {
        let reference = reference.map(ToString::to_string).unwrap_or_default();
        let mut parameters = vec![
            ("error", error.as_str()),
            ("error_description", description),
            ("error_code", code.as_str()),
        ];
        if !reference.is_empty() {
            parameters.push(("ref", &reference));
        }
        parameters.push(("iss", issuer));
        self.redirect(&parameters)
    }

    /// Adds parameters to the redirect URI, whose own query is kept (RFC 6749 section 3.1.2), and `state`.
    fn redirect(&self, parameters: &[(&str, &str)]) -> String {
        let mut added = form_urlencoded::Serializer::new(String::new());
        added.extend_pairs(parameters);
        if let Some(state) = &self.state {
            added.append_pair("state", state);
        }
        let (uri, added) = (self.redirect_uri.as_str(), added.finish());
        let before = match self.frontend.hand_off {
            HandOff::TokenFragment => '#',
            _ if uri.ends_with(['?', '&']) => return format!("{uri}{added}"),
            _ if uri.contains('?') => '&',
            _ => '?',
        };
        format!("{uri}{before}{added}")
    }
}
