//! What can go wrong in public words, and beside it what the operator is told.
//!
//! A [`Code`] is coarse and stable; it is all that a browser learns. A [`Failure`] carries beside it the reason, one
//! word for each check, and the operator's text. They go to the log and never to the browser.

use core::fmt;

use http::StatusCode;

use vestibule_accounts::{Refusal, StoreError};

macro_rules! codes {
    ($($(#[$meta:meta])* $variant:ident = $text:literal, $status:ident, $fault:ident;)*) => {
        /// A public error code: stable, documented, without a hint of what only the operator may know.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$meta])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code as it stands in answers, pages and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The status of an answer with this code.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// Who can do something about it.
            #[must_use]
            pub fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }
        }
    };
}

/// Who can do something about a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The person or the browser.
    Browser,
    /// The provider.
    Provider,
    /// The operator, or we.
    Operator,
}

codes! {
    /// No provider of this name is configured.
    ProviderUnknown = "provider_unknown", NOT_FOUND, Browser;
    /// The provider was taken out after the attempt began.
    ProviderDisabled = "provider_disabled", FORBIDDEN, Browser;
    /// The provider does not answer, or not in time.
    ProviderUnavailable = "provider_unavailable", SERVICE_UNAVAILABLE, Provider;
    /// The provider's metadata and our configuration do not fit together.
    ProviderMisconfigured = "provider_misconfigured", SERVICE_UNAVAILABLE, Operator;
    /// The provider reports an error, or answers with something else than the protocol.
    ProviderError = "provider_error", SERVICE_UNAVAILABLE, Provider;
    /// The person pressed Cancel.
    AccessDenied = "access_denied", FORBIDDEN, Browser;
    /// The browser sent no cookie of ours.
    CookieMissing = "cookie_missing", BAD_REQUEST, Browser;
    /// The callback has no `state`.
    StateMissing = "state_missing", BAD_REQUEST, Browser;
    /// The `state` is not one of ours.
    StateInvalid = "state_invalid", BAD_REQUEST, Browser;
    /// The attempt is older than ten minutes.
    StateExpired = "state_expired", BAD_REQUEST, Browser;
    /// The attempt was used before.
    StateUsed = "state_used", BAD_REQUEST, Browser;
    /// The attempt began in another browser.
    StateOtherBrowser = "state_other_browser", BAD_REQUEST, Browser;
    /// The attempt began with another provider.
    ProviderMismatch = "provider_mismatch", BAD_REQUEST, Browser;
    /// The answer comes from another issuer (RFC 9207).
    IssuerMismatch = "issuer_mismatch", BAD_REQUEST, Browser;
    /// The request does not make sense.
    BadRequest = "bad_request", BAD_REQUEST, Browser;
    /// The provider refuses our client credentials.
    ClientRejected = "client_rejected", SERVICE_UNAVAILABLE, Operator;
    /// The provider refuses the code.
    CodeRejected = "code_rejected", BAD_REQUEST, Browser;
    /// The token response is not what the protocol says.
    TokenResponseInvalid = "token_response_invalid", SERVICE_UNAVAILABLE, Provider;
    /// The ID token does not hold.
    IdTokenInvalid = "id_token_invalid", SERVICE_UNAVAILABLE, Provider;
    /// The ID token is not of this attempt.
    NonceMismatch = "nonce_mismatch", BAD_REQUEST, Browser;
    /// The provider's clock and ours differ.
    ClockSkew = "clock_skew", SERVICE_UNAVAILABLE, Operator;
    /// UserInfo speaks of somebody else.
    SubMismatch = "sub_mismatch", SERVICE_UNAVAILABLE, Provider;
    /// The provider sent no address and one is needed.
    EmailMissing = "email_missing", FORBIDDEN, Browser;
    /// The provider does not say that the address is verified.
    EmailUnverified = "email_unverified", FORBIDDEN, Browser;
    /// The address belongs to an account here.
    AccountExists = "account_exists", FORBIDDEN, Browser;
    /// The identity belongs to another account here.
    IdentityInUse = "identity_in_use", FORBIDDEN, Browser;
    /// It is the last way in.
    LastMethod = "last_method", BAD_REQUEST, Browser;
    /// People of this domain may not sign up.
    DomainNotAllowed = "domain_not_allowed", FORBIDDEN, Browser;
    /// Nobody new may sign up.
    SignupClosed = "signup_closed", FORBIDDEN, Browser;
    /// The operator disabled the account.
    AccountDisabled = "account_disabled", FORBIDDEN, Browser;
    /// The owner of the address must confirm the link.
    LinkRequired = "link_required", FORBIDDEN, Browser;
    /// A recent sign-in is needed.
    ReauthRequired = "reauth_required", FORBIDDEN, Browser;
    /// The front end's address is not registered.
    RedirectNotAllowed = "redirect_not_allowed", BAD_REQUEST, Operator;
    /// The one-time code does not hold.
    HandoffCodeInvalid = "handoff_code_invalid", BAD_REQUEST, Browser;
    /// The request comes from another site.
    CsrfFailed = "csrf_failed", FORBIDDEN, Browser;
    /// Too many requests.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, Browser;
    /// The session is over.
    SessionExpired = "session_expired", UNAUTHORIZED, Browser;
    /// The provider refuses browsers inside of apps.
    EmbeddedBrowser = "embedded_browser", BAD_REQUEST, Browser;
    /// Nobody is signed in.
    Unauthorized = "unauthorized", UNAUTHORIZED, Browser;
    /// Signed in, and not allowed.
    Forbidden = "forbidden", FORBIDDEN, Browser;
    /// Nothing is here.
    NotFound = "not_found", NOT_FOUND, Browser;
    /// Not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Browser;
    /// The request is too large.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, Browser;
    /// The database cannot be used now.
    ServiceUnavailable = "service_unavailable", SERVICE_UNAVAILABLE, Operator;
    /// A fault of ours.
    InternalError = "internal_error", INTERNAL_SERVER_ERROR, Operator;
}

impl Code {
    /// The code with this text.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failure: the public code, the reason of exactly one check, and the operator's text.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operator}")]
pub struct Failure {
    /// For the browser.
    pub code: Code,
    /// For the log: which check.
    pub reason: &'static str,
    /// For the log: what happened, what was expected, what to do.
    pub operator: String,
}

impl Failure {
    pub(crate) fn new(code: Code, reason: &'static str, operator: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            operator: operator.into(),
        }
    }

    /// A failure that a step of the protocol reported.
    pub(crate) fn of_step(code: &str, reason: &'static str, operator: &dyn fmt::Display) -> Self {
        Self::new(
            Code::named(code).unwrap_or(Code::InternalError),
            reason,
            operator.to_string(),
        )
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt(_) => {
                Self::new(Code::InternalError, "database_corrupt", error.to_string())
            }
            _ => Self::new(
                Code::ServiceUnavailable,
                "database_unavailable",
                error.to_string(),
            ),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (code, reason, operator) = match refusal {
            Refusal::AccountDisabled => (
                Code::AccountDisabled,
                "account_disabled",
                "the account is disabled; `vestibule user enable` lets it in again",
            ),
            Refusal::EmailMissing => (
                Code::EmailMissing,
                "email_missing",
                "the provider sent no usable e-mail address; ask for the scope `email`, or set require_email = false",
            ),
            Refusal::EmailUnverified => (
                Code::EmailUnverified,
                "email_unverified",
                "the provider does not say that the address is verified; set require_email = false to let such people in without an address",
            ),
            Refusal::AccountExists => (
                Code::AccountExists,
                "linking_is_never",
                "the verified address belongs to another account, and linking = \"never\"",
            ),
            Refusal::IdentityInUse => (
                Code::IdentityInUse,
                "identity_in_use",
                "this identity is a way in of another account",
            ),
            Refusal::SignupClosed => (
                Code::SignupClosed,
                "signup_closed",
                "a new person came whom the key `signup` does not let in; with signup = \"invite\", `vestibule user invite` lets in who comes with that address, verified",
            ),
            Refusal::DomainNotAllowed => (
                Code::DomainNotAllowed,
                "domain_not_allowed",
                "a new person came from a domain that allowed_domains does not hold",
            ),
        };
        Self::new(code, reason, operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_text_of_its_own_that_finds_it_again() {
        for code in Code::ALL {
            assert_eq!(Code::named(code.as_str()), Some(*code));
        }
        assert_eq!(Code::named("no_such_code"), None);
    }

    #[test]
    fn no_fault_of_a_browser_or_a_provider_is_a_500() {
        for code in Code::ALL {
            let is_500 = code.status() == StatusCode::INTERNAL_SERVER_ERROR;
            assert!(!is_500 || code.fault() == Fault::Operator, "{code}");
            if code.fault() == Fault::Provider {
                assert_eq!(code.status(), StatusCode::SERVICE_UNAVAILABLE, "{code}");
            }
        }
    }
}
