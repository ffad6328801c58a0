//! The forms that clients send to `/oauth/token`, `/oauth/revoke` and `/oauth/introspect`, and how they are refused.

use url::form_urlencoded;
use vestibule_accounts::OneTimeCode;
use vestibule_oidc::CodeVerifier;

use super::reply::OAuthError;
use crate::error::{Code, Failure};

/// A form, each parameter at most once (RFC 6749 section 3.2). It does not print.
#[derive(Clone)]
pub(crate) struct Form(Vec<(String, String)>);

/// A refused request: the word of OAuth for the client, the rest for the operator.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: OAuthError,
    pub(crate) failure: Failure,
}

impl Refusal {
    pub(crate) fn new(
        error: OAuthError,
        reason: &'static str,
        operator: impl Into<String>,
    ) -> Self {
        Self {
            error,
            failure: Failure::new(Code::BadRequest, reason, operator),
        }
    }
}

impl From<Failure> for Refusal {
    /// A fault of ours or of the database: nothing about the request.
    fn from(failure: Failure) -> Self {
        Self {
            error: OAuthError::of(&failure),
            failure,
        }
    }
}

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    /// `invalid_request` where a parameter comes twice.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if pairs.iter().any(|(known, _)| *known == name) {
                let name: String = name.chars().take(64).collect();
                return Err(Refusal::new(
                    OAuthError::InvalidRequest,
                    "parameter_twice",
                    format!("the parameter {name:?} comes twice"),
                ));
            }
            if pairs.len() >= 64 {
                return Err(Refusal::new(
                    OAuthError::InvalidRequest,
                    "too_many_parameters",
                    "the form has over 64 parameters",
                ));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// A parameter; an empty one is none (RFC 6749 section 3.2).
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is there, empty or not.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    fn require(&self, name: &'static str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| {
            Refusal::new(
                OAuthError::InvalidRequest,
                "parameter_missing",
                format!("the parameter {name} is missing"),
            )
        })
    }
}

/// A token request (RFC 6749 sections 4.1.3 and 6).
pub(crate) enum TokenRequest {
    /// A code for tokens.
    AuthorizationCode {
        code: OneTimeCode,
        redirect_uri: String,
        code_verifier: CodeVerifier,
    },
    /// A refresh token for its successor.
    RefreshToken(String),
}

impl TokenRequest {
    /// Reads a token request.
    ///
    /// # Errors
    /// `invalid_request`, `invalid_grant` for a code that none of ours can be, `unsupported_grant_type`.
    pub(crate) fn parse(form: &Form) -> Result<Self, Refusal> {
        match form.require("grant_type")? {
            "authorization_code" => {
                let code = form.require("code")?;
                let redirect_uri = form.require("redirect_uri")?.to_owned();
                let code_verifier = form.require("code_verifier")?;
                // RFC 7636 section 4.1.
                let is_unreserved =
                    |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
                if !(43..=128).contains(&code_verifier.len())
                    || !code_verifier.bytes().all(is_unreserved)
                {
                    return Err(Refusal::new(
                        OAuthError::InvalidRequest,
                        "code_verifier",
                        "code_verifier has 43 to 128 letters, digits, -, ., _ and ~ (RFC 7636 section 4.1)",
                    ));
                }
                let code = OneTimeCode::parse(code).ok_or_else(|| {
                    Refusal::new(
                        OAuthError::InvalidGrant,
                        "code_format",
                        "the code is none that we make",
                    )
                })?;
                Ok(Self::AuthorizationCode {
                    code,
                    redirect_uri,
                    code_verifier: CodeVerifier::new(code_verifier.to_owned()),
                })
            }
            "refresh_token" => Ok(Self::RefreshToken(
                form.require("refresh_token")?.to_owned(),
            )),
            other => Err(Refusal::new(
                OAuthError::UnsupportedGrantType,
                "grant_type",
                format!(
                    "grant_type {:?} is neither authorization_code nor refresh_token",
                    other.chars().take(64).collect::<String>()
                ),
            )),
        }
    }
}

/// The token of a revocation or introspection request (RFC 7009 section 2.1, RFC 7662 section 2.1). The hint is not
/// needed: our tokens tell their kind.
pub(crate) fn token_parameter(form: &Form) -> Result<&str, Refusal> {
    form.require("token")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(form: &str) -> Result<&'static str, OAuthError> {
        let form = Form::parse(form.as_bytes()).map_err(|refusal| refusal.error)?;
        TokenRequest::parse(&form)
            .map(|request| match request {
                TokenRequest::AuthorizationCode { .. } => "code",
                TokenRequest::RefreshToken(_) => "refresh",
            })
            .map_err(|refusal| refusal.error)
    }

    // S14 from the other side; ATTACKS O03, O10
    #[test]
    fn a_token_request_that_is_none_has_its_word() {
        use OAuthError::{InvalidGrant, InvalidRequest, UnsupportedGrantType};
        let code = "A".repeat(43);
        let verifier = "v".repeat(43);
        let good = format!(
            "grant_type=authorization_code&code={code}&redirect_uri=x&code_verifier={verifier}"
        );
        assert_eq!(outcome(&good), Ok("code"));
        assert_eq!(
            outcome("grant_type=refresh_token&refresh_token=x"),
            Ok("refresh")
        );
        for (form, error) in [
            (String::new(), InvalidRequest),
            (
                "grant_type=password&username=a&password=b".into(),
                UnsupportedGrantType,
            ),
            ("grant_type=client_credentials".into(), UnsupportedGrantType),
            ("grant_type=refresh_token".into(), InvalidRequest),
            (
                "grant_type=refresh_token&refresh_token=".into(),
                InvalidRequest,
            ),
            (format!("{good}&code=x"), InvalidRequest),
            (format!("{good}&grant_type=refresh_token"), InvalidRequest),
            (format!("{good}&foo=1&foo=2"), InvalidRequest),
            (good.replace("code_verifier", "verifier"), InvalidRequest),
            (good.replace(&verifier, &verifier[1..]), InvalidRequest),
            (good.replace(&verifier, &"v".repeat(129)), InvalidRequest),
            (
                good.replace(&verifier, &format!("{}%20", &verifier[..42])),
                InvalidRequest,
            ),
            (
                good.replace("redirect_uri=x", "redirect_uri="),
                InvalidRequest,
            ),
            (good.replace(&code, "short"), InvalidGrant),
            (
                (0..64).fold(good.clone(), |form, at| format!("{form}&p{at}=")),
                InvalidRequest,
            ),
        ] {
            assert_eq!(outcome(&form), Err(error), "{form}");
        }
    }

    proptest! {
        // S96
        #[test]
        fn reading_a_form_is_total(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(form) = Form::parse(&body) {
                let _ = TokenRequest::parse(&form);
            }
        }
    }
}
