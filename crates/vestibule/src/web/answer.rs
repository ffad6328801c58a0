//! How outcomes look on the wire: redirects, pages, and errors in the form that the asker reads.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::Vestibule;
use crate::attempt::Reference;
use crate::error::{Code, Failure};

use super::texts;

/// An error on its way to the asker: the code, the reference, and nothing of the operator's text.
pub(super) struct Answer {
    code: Code,
    reference: Option<Reference>,
    form: Form,
}

/// How an error is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// A redirect to the error page below this public URL.
    Page,
    /// problem+json (RFC 9457).
    Problem,
}

/// Whether the asker is a person before a page.
pub(super) fn wants_page(headers: &HeaderMap) -> Form {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accept.contains("text/html") {
        Form::Page
    } else {
        Form::Problem
    }
}

impl Answer {
    /// An error outside of sign-ins. It is logged here, once, under the reference that the asker is given.
    pub(super) fn failed(vestibule: &Vestibule, failure: Failure, form: Form) -> Self {
        let reference = Reference::of_request(vestibule.random());
        if failure.code.status().is_server_error() {
            tracing::error!(event = "request.failed", r#ref = %reference, code = %failure.code, reason = failure.reason, detail = %failure.operator);
        } else {
            tracing::info!(event = "request.refused", r#ref = %reference, code = %failure.code, reason = failure.reason, detail = %failure.operator);
        }
        Self {
            code: failure.code,
            reference: Some(reference),
            form,
        }
    }

    /// An error of a sign-in, which the flow has logged.
    pub(super) fn of_login(code: Code, reference: Option<Reference>, form: Form) -> Self {
        Self {
            code,
            reference,
            form,
        }
    }

    /// An error with nothing behind its code.
    pub(super) fn plain(code: Code, form: Form) -> Self {
        Self {
            code,
            reference: None,
            form,
        }
    }

    /// The reference that leads to its line in the log.
    pub(super) fn reference(&self) -> Option<Reference> {
        self.reference.clone()
    }

    /// The answer, with redirects below `base` (`public_url`'s path).
    pub(super) fn into_response_at(self, base: &str) -> Response {
        match self.form {
            Form::Page => {
                let reference = self
                    .reference
                    .map(|reference| format!("&ref={reference}"))
                    .unwrap_or_default();
                see_other(&format!("{base}/error?code={}{reference}", self.code))
            }
            Form::Problem => {
                let words = texts::error_text(self.code);
                let mut body = json!({
                    "type": "about:blank",
                    "title": words.title,
                    "status": self.code.status().as_u16(),
                    "detail": self.code.as_str(),
                    "code": self.code.as_str(),
                    "hint": words.advice,
                });
                if let Some(reference) = self.reference {
                    body["ref"] = json!(reference.to_string());
                }
                let mut response = (self.code.status(), Json(body)).into_response();
                let headers = response.headers_mut();
                headers.insert(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/problem+json"),
                );
                match self.code.status() {
                    StatusCode::UNAUTHORIZED => {
                        headers
                            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                    }
                    StatusCode::SERVICE_UNAVAILABLE => {
                        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
                    }
                    StatusCode::TOO_MANY_REQUESTS => {
                        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
                    }
                    _ => {}
                }
                response
            }
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.into_response_at("")
    }
}

/// 303, never 307 or 308: a POST must not be sent again (S8).
pub(super) fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::try_from(location) {
        Ok(mut location) => {
            // It may hold a code or a token: nothing prints it, and HTTP/2 keeps it out of its tables.
            location.set_sensitive(true);
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A page, and the policy under which its one style sheet, its empty icon and its form work. Nothing of another site:
/// a provider's picture would tell it who looks at the page, and when (S80).
pub(super) fn page(status: StatusCode, nonce: &str, html: String) -> Response {
    page_with_form_to(status, nonce, "", html)
}

/// A page whose form is answered by a redirect to this origin of a front end.
pub(super) fn page_with_form_to(
    status: StatusCode,
    nonce: &str,
    origin: &str,
    html: String,
) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self' {origin}; frame-ancestors 'none'; base-uri 'none'"
    );
    let mut response = (status, axum::response::Html(html)).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// A nonce for one page.
pub(super) fn nonce(vestibule: &Vestibule) -> String {
    STANDARD_NO_PAD.encode(vestibule.random::<16>())
}

/// A page for people, a problem for programs. Nobody sees what answers HEAD: it is the plain status.
pub(super) async fn method_not_allowed(
    State(vestibule): State<Vestibule>,
    request: Request,
) -> Response {
    let form = match *request.method() {
        Method::HEAD => Form::Problem,
        _ => wants_page(request.headers()),
    };
    let base = &vestibule.inner.base_path;
    let mut response = Answer::plain(Code::MethodNotAllowed, form).into_response_at(base);
    // It answers outside of the routes' layers.
    dress(&vestibule, &mut response);
    response
}

/// What every answer of ours carries, where the handler has not said otherwise (S17, S74, S80).
pub(super) fn dress(vestibule: &Vestibule, response: &mut Response) {
    const VARY: HeaderValue = HeaderValue::from_static("Cookie, Authorization");
    let headers = response.headers_mut();
    let is_public = headers
        .get(header::CACHE_CONTROL)
        .is_some_and(|value| value.as_bytes().starts_with(b"public"));
    if !is_public {
        // A route that answers other origins says so in Vary too: both hold.
        let also = headers
            .get_all(header::VARY)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .find(|value| !value.starts_with("Cookie"));
        let vary = also.map_or(VARY, |also| {
            HeaderValue::try_from(format!("Cookie, Authorization, {also}")).unwrap_or(VARY)
        });
        headers.insert(header::VARY, vary);
    }
    let mut default = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    default(header::CACHE_CONTROL, "no-store");
    default(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    );
    default(header::X_FRAME_OPTIONS, "DENY");
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::REFERRER_POLICY, "no-referrer");
    default(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    if vestibule.inner.cookies == super::cookies::Prefix::Host {
        default(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S82
    #[test]
    fn what_prints_a_response_prints_no_location() {
        let response = see_other("https://web.example/cb?code=canary");
        assert!(response.headers()[header::LOCATION].is_sensitive());
        assert!(!format!("{response:?}").contains("canary"));
    }
}
