//! Requests to a provider and its answers, as values: who sends them is not this crate's business.

use url::Url;

use crate::secret::{AccessToken, SecretText};

/// The method of a request to a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// GET.
    Get,
    /// POST with a form.
    Post,
}

/// A request to be sent to a provider. Redirects are not to be followed.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// The value of `Accept`.
    pub accept: &'static str,
    /// The value of `Authorization`.
    pub authorization: Option<SecretText>,
    /// The body, `application/x-www-form-urlencoded`.
    pub form: Option<SecretText>,
    /// The longest body of an answer in bytes.
    pub max_body: usize,
}

impl OutboundRequest {
    /// A GET for JSON, with nothing of ours in it.
    pub(crate) fn get(url: Url) -> Self {
        Self {
            method: Method::Get,
            url,
            accept: "application/json",
            authorization: None,
            form: None,
            max_body: MAX_ANSWER,
        }
    }

    /// The same with an access token.
    pub(crate) fn bearer(self, token: &AccessToken) -> Self {
        Self {
            authorization: Some(SecretText::new(format!("Bearer {}", token.expose()))),
            ..self
        }
    }

    /// A POST of a form.
    pub(crate) fn post(url: Url, form: String, authorization: Option<SecretText>) -> Self {
        Self {
            method: Method::Post,
            form: Some(SecretText::new(form)),
            authorization,
            ..Self::get(url)
        }
    }
}

/// What came back.
#[derive(Clone)]
pub struct OutboundResponse {
    /// The status.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl core::fmt::Debug for OutboundResponse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OutboundResponse")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

impl OutboundResponse {
    /// Whether the media type is `application/json`, parameters apart; a charset other than UTF-8 is another type.
    pub(crate) fn is_json(&self) -> bool {
        let Some(content_type) = &self.content_type else {
            return false;
        };
        let mut parts = content_type
            .split(';')
            .map(|part| part.trim().to_ascii_lowercase());
        parts.next().as_deref() == Some("application/json")
            && parts.all(|parameter| {
                !parameter.starts_with("charset=")
                    || matches!(
                        parameter.as_str(),
                        "charset=utf-8" | "charset=\"utf-8\"" | "charset=utf8"
                    )
            })
    }
}

/// The longest metadata, token or UserInfo answer in bytes (S24).
pub(crate) const MAX_ANSWER: usize = 256 * 1024;
