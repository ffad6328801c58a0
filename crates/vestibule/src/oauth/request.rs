//! The authorization request of a front end (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
//!
//! Client and redirect URI are checked first: until both are known, nothing is answered anywhere but on our own page
//! (S87). After that, every refusal goes back to the front end.

use std::sync::Arc;

use url::form_urlencoded;
use vestibule_oidc::Prompt;

use super::reply::{OAuthError, ReplyTo};
use crate::error::{Code, Failure};
use crate::frontend::{Frontend, HandOff};

/// The path of the authorization endpoint, below `public_url`.
pub(crate) const PATH: &str = "/oauth/authorize";
/// The longest `state` in bytes.
const MAX_STATE: usize = 512;
/// The characters of an S256 challenge: 32 bytes as base64url.
const CHALLENGE: usize = 43;

/// The parameters that may come once at most (RFC 6749 section 3.1).
const ONCE: [&str; 12] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "provider",
    "request",
    "request_uri",
];

/// A request that may be answered: its client and its redirect URI are registered, and it asks for what they may have.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationRequest {
    pub(crate) reply_to: ReplyTo,
    /// Of a front end that gets a code: the S256 challenge.
    pub(crate) code_challenge: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    /// The provider that the front end has chosen already.
    pub(crate) provider: Option<String>,
}

/// A request that is not answered with what it asks for.
#[derive(Debug)]
pub(crate) enum Refused {
    /// On our own page: nobody knows whose request it is.
    Here(Failure),
    /// At the front end.
    There(Box<ReplyTo>, OAuthError, Failure),
}

impl AuthorizationRequest {
    /// Reads the query of an authorization request, or of a login start that carries one. No query at all is the
    /// default front end's request.
    pub(crate) fn parse(query: &str, frontends: &[Arc<Frontend>]) -> Result<Self, Refused> {
        let here = |code, reason, text: String| Refused::Here(Failure::new(code, reason, text));
        if query.is_empty()
            && let Some(request) = Self::of_default(frontends)
        {
            return Ok(request);
        }
        let mut values: [Option<String>; ONCE.len()] = Default::default();
        let mut twice = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(at) = ONCE.iter().position(|known| *known == name) else {
                continue;
            };
            if values[at].replace(value.into_owned()).is_some() {
                twice.get_or_insert(ONCE[at]);
            }
        }
        let [
            client_id,
            redirect_uri,
            response_type,
            response_mode,
            state,
            _scope,
            code_challenge,
            code_challenge_method,
            prompt,
            provider,
            request,
            request_uri,
        ] = values;

        // Whose request is it, and where may it be answered? (RFC 6749 section 4.1.2.1)
        if let Some(name @ ("client_id" | "redirect_uri" | "state")) = twice {
            return Err(here(
                Code::BadRequest,
                "parameter_twice",
                format!("the parameter {name} comes twice"),
            ));
        }
        let client_id = client_id.unwrap_or_default();
        let frontend = frontends
            .iter()
            .find(|frontend| frontend.client_id == client_id)
            .ok_or_else(|| {
                here(
                    Code::BadRequest,
                    "client_unknown",
                    format!(
                        "client_id {:?} is none of [[frontends]]; to allow it, write [[frontends]] with client_id = {:?} and its redirect_uris",
                        shown(&client_id),
                        shown(&client_id)
                    ),
                )
            })?;
        let presented = redirect_uri.unwrap_or_default();
        let redirect_uri = frontend.redirect_uri(&presented).ok_or_else(|| {
            here(
                Code::RedirectNotAllowed,
                "redirect_uri",
                format!(
                    "redirect_uri {:?} is not registered for {client_id}; to allow it, write redirect_uris = [{:?}] below its [[frontends]]",
                    shown(&presented),
                    shown(&presented)
                ),
            )
        })?;
        if state.as_ref().is_some_and(|state| state.len() > MAX_STATE) {
            return Err(here(
                Code::BadRequest,
                "state_too_long",
                "the front end's state is over 512 bytes".into(),
            ));
        }
        let reply_to = ReplyTo {
            frontend: frontend.clone(),
            redirect_uri,
            state,
        };

        // From here on the front end is told.
        let there = |error, reason, text: String| {
            Refused::There(
                Box::new(reply_to.clone()),
                error,
                Failure::new(Code::BadRequest, reason, text),
            )
        };
        let invalid = |reason, text: &str| there(OAuthError::InvalidRequest, reason, text.into());
        if let Some(name) = twice {
            return Err(invalid(
                "parameter_twice",
                &format!("the parameter {name} comes twice"),
            ));
        }
        if request.is_some() || request_uri.is_some() {
            return Err(invalid(
                "request_object",
                "request and request_uri are not supported (RFC 9101)",
            ));
        }
        let prompt = match prompt.as_deref() {
            None => None,
            Some(text) => Some(Prompt::parse(text).ok_or_else(|| {
                invalid(
                    "prompt",
                    "prompt is one of none, login, consent, select_account",
                )
            })?),
        };
        let code_challenge = match frontend.hand_off {
            HandOff::Code => {
                match response_type.as_deref() {
                    Some("code") => {}
                    None => {
                        return Err(invalid(
                            "response_type",
                            "response_type is missing; write response_type=code",
                        ));
                    }
                    Some(_) => {
                        return Err(there(
                            OAuthError::UnsupportedResponseType,
                            "response_type",
                            "only response_type=code is supported (RFC 9700 section 2.1.2)".into(),
                        ));
                    }
                }
                if response_mode.as_deref().is_some_and(|mode| mode != "query") {
                    return Err(invalid(
                        "response_mode",
                        "only response_mode=query is supported",
                    ));
                }
                Some(
                    s256(code_challenge, code_challenge_method)
                        .map_err(|text| invalid("pkce", text))?,
                )
            }
            // These get no code: there is nothing that a verifier could prove.
            HandOff::TokenQuery | HandOff::TokenFragment | HandOff::Cookie => None,
        };
        Ok(Self {
            reply_to,
            code_challenge,
            prompt,
            provider: provider.filter(|provider| !provider.is_empty()),
        })
    }

    /// The request of the default front end, where a sign-in names none. One that gets codes is only sent the person,
    /// signed in: it asks for its code itself, with a challenge and a state of its own.
    pub(crate) fn of_default(frontends: &[Arc<Frontend>]) -> Option<Self> {
        let frontend = frontends.iter().find(|frontend| frontend.is_default)?;
        Some(Self {
            reply_to: ReplyTo {
                frontend: frontend.clone(),
                redirect_uri: frontend.redirect_uris.first()?.clone(),
                state: None,
            },
            code_challenge: None,
            prompt: None,
            provider: None,
        })
    }

    /// The request as a path that [`Self::at`] reads as the same one, but for `prompt` and `provider`, which were obeyed
    /// when it is written.
    pub(crate) fn to_path(&self) -> String {
        let to = &self.reply_to;
        let named = self.code_challenge.is_some() || to.frontend.hand_off != HandOff::Code;
        if !named {
            return PATH.to_owned();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", &to.frontend.client_id)
            .append_pair("redirect_uri", to.redirect_uri.as_str());
        if let Some(challenge) = &self.code_challenge {
            query
                .append_pair("response_type", "code")
                .append_pair("code_challenge", challenge)
                .append_pair("code_challenge_method", "S256");
        }
        if let Some(state) = &to.state {
            query.append_pair("state", state);
        }
        format!("{PATH}?{}", query.finish())
    }

    /// The request that a path below `public_url` holds; `None` where it is another path. Without a query it is the
    /// default front end's.
    pub(crate) fn at(path: &str, frontends: &[Arc<Frontend>]) -> Option<Result<Self, Refused>> {
        let rest = path.strip_prefix(PATH)?;
        if rest.is_empty() {
            return Some(Self::parse("", frontends));
        }
        Some(Self::parse(rest.strip_prefix('?')?, frontends))
    }
}

/// PKCE of everyone, S256 alone (RFC 7636, RFC 9700 section 2.1.1).
fn s256(challenge: Option<String>, method: Option<String>) -> Result<String, &'static str> {
    let Some(challenge) = challenge else {
        return Err(
            "code_challenge is missing: every front end sends one, also one with a secret (RFC 7636)",
        );
    };
    if method.as_deref() != Some("S256") {
        return Err(
            "code_challenge_method is S256; plain, which is also the default, protects nothing",
        );
    }
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if challenge.len() != CHALLENGE || !challenge.bytes().all(is_base64url) {
        return Err(
            "code_challenge is not the base64url of a SHA-256: 43 characters without padding",
        );
    }
    Ok(challenge)
}

/// What came from outside, for the operator's eyes: bounded.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
