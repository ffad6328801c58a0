//! Who a client is (RFC 6749 section 2.3.1): by HTTP Basic, by its secret in the form, or, where it is public, by its
//! name alone. One method a request.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;
use vestibule_oidc::ClientSecret;

use super::reply::OAuthError;
use super::token::{Form, Refusal};
use crate::error::Code;
use crate::frontend::Frontend;

/// The longest `Authorization` value in bytes.
const MAX_HEADER: usize = 2_048;

/// What a client says of itself.
struct Presented {
    client_id: String,
    /// The other way in which the name may be meant.
    raw_client_id: Option<String>,
    /// Each way in which the secret may be meant.
    secrets: Vec<ClientSecret>,
}

/// Authenticates the client of a request.
///
/// # Errors
/// `invalid_client` for everything that does not prove who it is, `invalid_request` where it uses two methods.
pub(crate) fn authenticate(
    authorization: Option<&str>,
    form: &Form,
    frontends: &[Arc<Frontend>],
) -> Result<Arc<Frontend>, Refusal> {
    let presented = match authorization {
        Some(header) => {
            if form.contains("client_secret") {
                return Err(Refusal::new(
                    OAuthError::InvalidRequest,
                    "two_client_authentications",
                    "the client sends its secret in the header and in the form; one is enough (RFC 6749 section 2.3)",
                ));
            }
            let presented = basic(header).ok_or_else(|| {
                refused(
                    "client_header",
                    "the Authorization header is not Basic with base64 of client_id:client_secret",
                )
            })?;
            if form.text("client_id").is_some_and(|id| {
                id != presented.client_id && Some(id) != presented.raw_client_id.as_deref()
            }) {
                return Err(Refusal::new(
                    OAuthError::InvalidRequest,
                    "two_client_ids",
                    "client_id in the form is not the one in the Authorization header",
                ));
            }
            presented
        }
        None => Presented {
            client_id: form
                .text("client_id")
                .ok_or_else(|| {
                    refused(
                        "client_missing",
                        "the request names no client: send client_id, or HTTP Basic",
                    )
                })?
                .to_owned(),
            raw_client_id: None,
            secrets: form
                .text("client_secret")
                .map(|secret| ClientSecret::new(secret.to_owned()))
                .into_iter()
                .collect(),
        },
    };
    let frontend = frontends
        .iter()
        .find(|frontend| frontend.client_id == presented.client_id)
        .or_else(|| {
            let raw = presented.raw_client_id.as_ref()?;
            frontends.iter().find(|frontend| frontend.client_id == *raw)
        })
        .ok_or_else(|| {
            let id: String = presented.client_id.chars().take(200).collect();
            refused(
                "client_unknown",
                format!(
                    "client_id {id:?} is none of [[frontends]]; `vestibule client list` shows them"
                ),
            )
        })?;
    match &frontend.client_secret {
        Some(expected) if presented.secrets.iter().any(|secret| expected.is(secret)) => {}
        Some(_) if presented.secrets.is_empty() => {
            return Err(refused(
                "client_secret_missing",
                format!(
                    "{} has a client_secret and did not send it",
                    frontend.client_id
                ),
            ));
        }
        Some(_) => {
            return Err(refused(
                "client_secret_wrong",
                format!(
                    "the client_secret of {} is not the one in [[frontends]]",
                    frontend.client_id
                ),
            ));
        }
        None if presented.secrets.iter().all(|secret| secret.is_text("")) => {}
        None => {
            return Err(refused(
                "client_is_public",
                format!(
                    "{} sends a client_secret and has none; write client_secret below its [[frontends]], or let it send none",
                    frontend.client_id
                ),
            ));
        }
    }
    Ok(frontend.clone())
}

fn refused(reason: &'static str, operator: impl Into<String>) -> Refusal {
    let mut refusal = Refusal::new(OAuthError::InvalidClient, reason, operator);
    refusal.failure.code = Code::Unauthorized;
    refusal
}

/// Id and secret are form-url-encoded before base64. Many clients leave that out: the raw text counts too, where only
/// that matches.
fn basic(header: &str) -> Option<Presented> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || header.len() > MAX_HEADER {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some(Presented {
        client_id: form_decoded(id),
        raw_client_id: Some(id.to_owned()),
        secrets: vec![
            ClientSecret::new(form_decoded(secret)),
            ClientSecret::new(secret.to_owned()),
        ],
    })
}

fn form_decoded(text: &str) -> String {
    // An `&` or `=` is itself here: the text is one value.
    let whole = text.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(format!("={whole}").as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::{HandOff, TokenFormat};

    fn frontends() -> Vec<Arc<Frontend>> {
        let frontend = |id: &str, secret: Option<&str>| {
            Arc::new(Frontend {
                client_id: id.into(),
                name: id.into(),
                client_secret: secret.map(|secret| ClientSecret::new(secret.into())),
                redirect_uris: Vec::new(),
                hand_off: HandOff::Code,
                is_default: false,
                token_lifetime: 60,
                token_format: TokenFormat::AtJwt,
                audience: None,
            })
        };
        vec![
            frontend("web", Some("p+a%20s&s=:w/ö")),
            frontend("spa", None),
            frontend("a+b%2F", Some("plain")),
        ]
    }

    fn outcome(authorization: Option<&str>, form: &str) -> Result<String, OAuthError> {
        let form = Form::parse(form.as_bytes()).unwrap();
        authenticate(authorization, &form, &frontends())
            .map(|frontend| frontend.client_id.clone())
            .map_err(|refusal| refusal.error)
    }

    fn header(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    const SECRET: &str = "p+a%20s&s=:w/ö";

    // S21 from the other side
    #[test]
    fn a_secret_is_taken_encoded_and_raw_in_the_header_and_in_the_form() {
        let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for (authorization, form) in [
            (Some(header(&format!("web:{encoded}"))), String::new()),
            (Some(header(&format!("web:{SECRET}"))), String::new()),
            (
                Some(header(&format!("web:{SECRET}"))),
                "client_id=web".into(),
            ),
            (None, format!("client_id=web&client_secret={encoded}")),
        ] {
            assert_eq!(
                outcome(authorization.as_deref(), &form),
                Ok("web".into()),
                "{authorization:?} {form}"
            );
        }
        for id in ["a+b%2F", "a%2Bb%252F"] {
            let authorization = header(&format!("{id}:plain"));
            assert_eq!(
                outcome(Some(&authorization), ""),
                Ok("a+b%2F".into()),
                "{id}"
            );
        }
        assert_eq!(outcome(None, "client_id=spa"), Ok("spa".into()));
        assert_eq!(
            outcome(None, "client_id=spa&client_secret="),
            Ok("spa".into())
        );
        assert_eq!(outcome(Some(&header("spa:")), ""), Ok("spa".into()));
    }

    #[test]
    fn who_does_not_prove_to_be_the_client_is_invalid_client() {
        for (authorization, form) in [
            (None, ""),
            (None, "client_id=web"),
            (None, "client_id=web&client_secret="),
            (None, "client_id=web&client_secret=wrong"),
            (None, "client_id=WEB&client_secret=wrong"),
            (None, "client_id=spa&client_secret=x"),
            (None, "client_id=nobody"),
            (Some("Bearer x"), "client_id=spa"),
            (Some("Bearer c3BhOg=="), ""),
            (Some("Basic"), "client_id=spa"),
            (Some("Basic !"), "client_id=spa"),
            (Some("Basic c3Bh"), ""),
        ] {
            assert_eq!(
                outcome(authorization, form),
                Err(OAuthError::InvalidClient),
                "{authorization:?} {form}"
            );
        }
        assert_eq!(
            outcome(Some(&header("web:wrong")), ""),
            Err(OAuthError::InvalidClient)
        );
    }

    // RFC 6749 section 2.3
    #[test]
    fn two_methods_or_two_names_at_once_are_refused() {
        let good = header(&format!("web:{SECRET}"));
        for form in ["client_secret=x", "client_secret=", "client_id=spa"] {
            assert_eq!(
                outcome(Some(&good), form),
                Err(OAuthError::InvalidRequest),
                "{form}"
            );
        }
    }
}
