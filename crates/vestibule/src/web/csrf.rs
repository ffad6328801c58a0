//! Requests that change something must come from our own pages. Judged by what browsers say of themselves
//! (`Sec-Fetch-Site`, `Origin`) against `public_url`, never against `Host`.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, header};

use crate::Vestibule;
use crate::error::{Code, Failure};

use super::answer::{Answer, Form, wants_page};
use super::pages_routes;

/// Lets a request through, or says how it is refused.
pub(super) fn check(vestibule: &Vestibule, request: &Request) -> Result<(), Box<Response>> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if safe {
        return Ok(());
    }
    let headers = request.headers();
    let has_session = vestibule.inner.cookies.has_session(headers);
    if is_exempt(headers, has_session)
        || is_ours(headers, &vestibule.inner.public_origin, has_session)
    {
        return Ok(());
    }
    let failure = Failure::new(
        Code::CsrfFailed,
        "cross_site",
        "a request that changes something came from another site, or says not where it comes from",
    );
    let form = wants_page(headers);
    let code = failure.code;
    let answer = Answer::failed(vestibule, failure, form);
    // 403 at once, also for a page: a redirect would tell the other site's script that it went through.
    Err(Box::new(match form {
        Form::Page => pages_routes::error_page(vestibule, code, answer.reference()),
        Form::Problem => answer.into_response(),
    }))
}

/// A request that carries a bearer token and nothing else: no site can make a browser add one. With a session's cookie
/// beside it, it may be the cookie that counts.
fn is_exempt(headers: &HeaderMap, has_session: bool) -> bool {
    super::extract::bearer(headers).is_some() && !has_session
}

/// Whether a request comes from our own pages.
fn is_ours(headers: &HeaderMap, public_origin: &str, has_session: bool) -> bool {
    match (headers.get("sec-fetch-site"), headers.get(header::ORIGIN)) {
        // Each of them, where something on the way added one.
        (Some(_), _) => headers
            .get_all("sec-fetch-site")
            .iter()
            .all(|site| site == "same-origin" || site == "none"),
        (None, Some(origin)) => origin.as_bytes() == public_origin.as_bytes(),
        // Not a browser, or one from before 2020: nothing that it could be tricked into.
        (None, None) => !has_session,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn only_our_own_pages_may_change_something() {
        let ours = "https://app.example";
        for (pairs, has_session, expected) in [
            (vec![("sec-fetch-site", "same-origin")], true, true),
            (vec![("sec-fetch-site", "none")], true, true),
            (vec![("sec-fetch-site", "same-site")], true, false),
            (vec![("sec-fetch-site", "cross-site")], false, false),
            (
                vec![
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://app.example"),
                ],
                true,
                false,
            ),
            (vec![("origin", "https://app.example")], true, true),
            (vec![("origin", "https://evil.example")], false, false),
            (vec![("origin", "null")], true, false),
            (
                vec![("origin", "https://app.example.evil.example")],
                true,
                false,
            ),
            (vec![("host", "app.example")], true, false),
            (vec![], true, false),
            (vec![], false, true),
        ] {
            assert_eq!(
                is_ours(&headers(&pairs), ours, has_session),
                expected,
                "{pairs:?}"
            );
        }
    }
}
