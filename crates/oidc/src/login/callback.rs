//! Step 2: the authorization response (RFC 6749 section 4.1.2, RFC 9207).

use serde_json::Value;
use url::form_urlencoded::Serializer;
use vestibule_jose::json;
use vestibule_jose::{SigningError, Timestamp};

use crate::client_auth::Fresh;
use crate::identity::clean;
use crate::metadata::Metadata;
use crate::outbound::OutboundRequest;
use crate::pkce;
use crate::provider::Provider;
use crate::secret::{AuthorizationCode, State};

use super::start::Started;

/// The longest query of a callback in bytes.
const MAX_QUERY: usize = 16 * 1024;
/// How long an attempt may last, in seconds (S9).
const LIFETIME: i64 = 600;

/// Why an authorization response ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// Over 16 KiB.
    #[error("the callback's query is over 16 KiB")]
    TooLarge,
    /// A parameter of the protocol comes twice (RFC 6749 section 3.1).
    #[error("the callback carries {0} twice")]
    Duplicate(&'static str),
    /// A code and an error together, neither, or a token in the URL.
    #[error("the callback carries {0}")]
    Contradiction(&'static str),
    /// The attempt is of another provider or issuer than the configuration names now.
    #[error(
        "the attempt began with another provider, issuer or callback than the configuration names now"
    )]
    OtherProvider,
    /// The attempt is too old.
    #[error("the attempt is older than ten minutes")]
    Expired,
    /// `state` is not this attempt's.
    #[error("the state is not that of this attempt")]
    State,
    /// `iss` names another issuer, or is missing where the provider promises it (RFC 9207 section 2.4).
    #[error("the callback's iss is {found:?}, and {expected:?} was expected")]
    Issuer {
        /// The issuer of the attempt.
        expected: String,
        /// What came.
        found: Option<String>,
    },
    /// The person pressed Cancel.
    #[error("the person did not consent")]
    AccessDenied,
    /// The provider reports another error (RFC 6749 section 4.1.2.1).
    #[error("the provider reports {0:?}")]
    Provider(String),
}

impl CallbackError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "callback_too_large",
            Self::Duplicate(_) => "callback_duplicate",
            Self::Contradiction(_) => "callback_contradiction",
            Self::OtherProvider => "callback_provider",
            Self::Expired => "callback_expired",
            Self::State => "callback_state",
            Self::Issuer { .. } => "callback_issuer",
            Self::AccessDenied => "access_denied",
            Self::Provider(_) => "callback_error",
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge | Self::Duplicate(_) | Self::Contradiction(_) => "bad_request",
            Self::OtherProvider => "provider_mismatch",
            Self::Expired => "state_expired",
            Self::State => "state_invalid",
            Self::Issuer { .. } => "issuer_mismatch",
            Self::AccessDenied => "access_denied",
            Self::Provider(error) if error == "temporarily_unavailable" => "provider_unavailable",
            Self::Provider(_) => "provider_error",
        }
    }
}

/// The query of a callback, each parameter at most once. It is unchecked otherwise.
#[derive(Clone, Debug)]
pub struct CallbackQuery {
    state: Option<State>,
    iss: Option<String>,
    outcome: Result<AuthorizationCode, CallbackError>,
    /// The name that a provider tells beside the code (Apple), unsigned: good for greeting, and for nothing else.
    name: Option<String>,
}

impl CallbackQuery {
    /// Reads a query, or the body of a form post. What contradicts itself is kept as the outcome, so that the attempt is consumed before it is told.
    ///
    /// # Errors
    /// Too large, or `state` twice: then nobody knows whose it is.
    pub fn parse(query: &[u8]) -> Result<Self, CallbackError> {
        if query.len() > MAX_QUERY {
            return Err(CallbackError::TooLarge);
        }
        let (mut state, mut iss, mut code, mut error) = (None, None, None, None);
        let mut name_of_person = None;
        let mut problem = None;
        for (name, value) in url::form_urlencoded::parse(query) {
            let (slot, name) = match &*name {
                "state" => (&mut state, "state"),
                "iss" => (&mut iss, "iss"),
                "code" => (&mut code, "code"),
                "error" => (&mut error, "error"),
                "user" => {
                    name_of_person = name_in_form(&value);
                    continue;
                }
                // S16: nothing but a code may come this way.
                "id_token" | "access_token" | "response" => {
                    problem.get_or_insert(CallbackError::Contradiction(
                        "a token in the URL, which was not asked for",
                    ));
                    continue;
                }
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                if name == "state" {
                    return Err(CallbackError::Duplicate("state"));
                }
                problem.get_or_insert(CallbackError::Duplicate(name));
            }
        }
        let outcome = match (problem, code, error) {
            (Some(problem), _, _) => Err(problem),
            (None, Some(_), Some(_)) => Err(CallbackError::Contradiction("a code and an error")),
            (None, None, Some(error)) if error == "access_denied" => {
                Err(CallbackError::AccessDenied)
            }
            (None, None, Some(error)) => {
                Err(CallbackError::Provider(error.chars().take(64).collect()))
            }
            (None, Some(code), None) if !code.is_empty() => Ok(AuthorizationCode::new(code)),
            (None, _, None) => Err(CallbackError::Contradiction("neither a code nor an error")),
        };
        Ok(Self {
            state: state.filter(|state| !state.is_empty()).map(State::new),
            iss,
            outcome,
            name: name_of_person,
        })
    }

    /// The `state`, by which the attempt is found.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }
}

/// `{"name":{"firstName":"..","lastName":".."}}`, which comes the first time that a person consents.
fn name_in_form(text: &str) -> Option<String> {
    let user = json::parse_object(text.as_bytes(), MAX_QUERY).ok()?;
    let part = |path| user.at(path).and_then(Value::as_str).map(str::trim);
    let parts = [part("name.firstName"), part("name.lastName")];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    clean(&parts.join(" "))
}

/// An answer that belongs to its attempt.
#[derive(Debug)]
pub struct Callback {
    started: Started,
    /// That of the attempt: it was compared (RFC 6749 section 4.1.3).
    redirect_uri: String,
    code: AuthorizationCode,
    pub(crate) name: Option<String>,
}

impl Started {
    /// Checks the authorization response.
    ///
    /// # Errors
    /// See [`CallbackError`]; the attempt is over in any case.
    pub fn callback(
        self,
        provider: &Provider,
        metadata: &Metadata,
        query: CallbackQuery,
        now: Timestamp,
    ) -> Result<Callback, CallbackError> {
        // S3, S20: the attempt is bound to provider, issuer and callback.
        if !self.began_at(provider) {
            return Err(CallbackError::OtherProvider);
        }
        if now > self.started_at.plus_seconds(LIFETIME) {
            return Err(CallbackError::Expired);
        }
        // RFC 6749 section 10.12: compared in constant time (S11).
        if !query.state.as_ref().is_some_and(|state| self.is_of(state)) {
            return Err(CallbackError::State);
        }
        // An answer that contradicts itself is nobody's.
        if let Err(error @ (CallbackError::Duplicate(_) | CallbackError::Contradiction(_))) =
            &query.outcome
        {
            return Err(error.clone());
        }
        // RFC 9207 section 2.4: before anything else of the answer is believed, errors included.
        let expected = provider.issuer.as_str();
        let issuer_holds = match &query.iss {
            Some(iss) => {
                iss == expected
                    || provider.issuer_aliases().contains(&iss.as_str())
                    || provider.tenants.is_some() && provider.is_issuer_of_some_tenant(iss)
            }
            None => !metadata.authorization_response_iss_parameter_supported,
        };
        if !issuer_holds {
            return Err(CallbackError::Issuer {
                expected: expected.to_owned(),
                found: query.iss.map(|iss| iss.chars().take(200).collect()),
            });
        }
        Ok(Callback {
            started: self,
            redirect_uri: provider.redirect_uri.as_str().to_owned(),
            code: query.outcome?,
            name: query.name.filter(|_| provider.preset.quirks.name_in_form),
        })
    }
}

impl Callback {
    /// Where the browser goes in the end.
    #[must_use]
    pub fn return_to(&self) -> &str {
        &self.started.return_to
    }

    /// The token request (RFC 6749 section 4.1.3, RFC 7636 section 4.5). It may be sent once.
    ///
    /// # Errors
    /// Our proof cannot be signed.
    pub fn token_request(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        fresh: Fresh,
    ) -> Result<OutboundRequest, SigningError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", self.code.expose())
            .append_pair("redirect_uri", &self.redirect_uri);
        if !provider.preset.quirks.refuses_pkce {
            form.append_pair(
                "code_verifier",
                pkce::code_verifier(&self.started.secret).expose(),
            );
        }
        let authorization = provider.authenticate(metadata, fresh, &mut form)?;
        let endpoint = metadata.token_endpoint.clone();
        Ok(OutboundRequest::post(
            endpoint,
            form.finish(),
            authorization,
        ))
    }

    pub(crate) fn into_parts(self) -> (Started, AuthorizationCode, Option<String>) {
        (self.started, self.code, self.name)
    }
}
