//! Who is signed in, for handlers of an application.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts, OriginalUri};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use http::{HeaderMap, header};
use vestibule_accounts::User;

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::sessions::Believed;

use super::answer::{Answer, Form, wants_page};

/// The person who is signed in. Without one the request is answered 401, or for a page sent to `/login` and back.
#[derive(Clone, Debug)]
pub struct CurrentUser(pub User);

/// The person who is signed in, if there is one.
#[derive(Clone, Debug)]
pub struct OptionalUser(pub Option<User>);

/// The person who is signed in and owns a verified address; else 403.
#[derive(Clone, Debug)]
pub struct VerifiedUser(pub User);

/// The person who is signed in and may administer others; else 403.
#[derive(Clone, Debug)]
pub struct Superuser(pub User);

/// Why a request was not let through. It is a response.
#[derive(Debug)]
pub struct Rejection(Box<Response>);

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl core::ops::Deref for CurrentUser {
    type Target = User;
    fn deref(&self) -> &User {
        &self.0
    }
}

/// The token of a request, from the header and nowhere else (RFC 6750 section 2.1). Two headers are no token of
/// anybody's: what stands before us may have read the other one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return Some("");
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
}

/// Who sends a request: by its bearer token where it carries one, else by its cookie.
pub(super) async fn signed_in(
    headers: &HeaderMap,
    vestibule: &Vestibule,
) -> Result<Option<Arc<Believed>>, Failure> {
    if let Some(token) = bearer(headers) {
        return match vestibule.verify_access_token(token).await? {
            Some(token) => vestibule.alive(token.key).await,
            None => Ok(None),
        };
    }
    match vestibule.inner.cookies.session(headers) {
        Some(token) => vestibule.signed_in(&token).await,
        None => Ok(None),
    }
}

/// The session of a request, for routes of ours that need more of it than the person; else 401, as for [`CurrentUser`].
pub(super) struct CurrentSession(pub(super) Arc<Believed>);

async fn current(parts: &Parts, vestibule: &Vestibule) -> Result<Option<Arc<Believed>>, Rejection> {
    // The database is away: nobody is told that they are signed out.
    signed_in(&parts.headers, vestibule)
        .await
        .map_err(|failure| reject(parts, vestibule, failure))
}

async fn required(parts: &Parts, vestibule: &Vestibule) -> Result<Arc<Believed>, Rejection> {
    current(parts, vestibule).await?.ok_or_else(|| {
        let failure = Failure::new(Code::Unauthorized, "no_session", "nobody is signed in");
        reject(parts, vestibule, failure)
    })
}

impl FromRequestParts<Vestibule> for CurrentSession {
    type Rejection = Rejection;

    async fn from_request_parts(
        parts: &mut Parts,
        vestibule: &Vestibule,
    ) -> Result<Self, Rejection> {
        Ok(Self(required(parts, vestibule).await?))
    }
}

fn reject(parts: &Parts, vestibule: &Vestibule, failure: Failure) -> Rejection {
    let mut response = match (failure.code, wants_page(&parts.headers)) {
        (Code::Unauthorized, Form::Page) => {
            let base = &vestibule.inner.base_path;
            let query: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("return_to", &asked_for(parts, base))
                .finish();
            super::answer::see_other(&format!("{base}/login?{query}"))
        }
        (code, Form::Problem) => Answer::plain(code, Form::Problem).into_response(),
        (_, form) => {
            Answer::failed(vestibule, failure, form).into_response_at(&vestibule.inner.base_path)
        }
    };
    response.headers_mut().insert(
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    response.headers_mut().insert(
        header::VARY,
        http::HeaderValue::from_static("Cookie, Authorization"),
    );
    // RFC 6750 section 3: who sent a token learns that it does not do; who sent none, how to send one.
    let challenge = match (response.status(), bearer(&parts.headers)) {
        (http::StatusCode::UNAUTHORIZED, Some(_)) => Some("Bearer error=\"invalid_token\""),
        (http::StatusCode::UNAUTHORIZED, None) => Some("Bearer"),
        (http::StatusCode::FORBIDDEN, Some(_)) => Some("Bearer error=\"insufficient_scope\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            http::HeaderValue::from_static(challenge),
        );
    }
    Rejection(Box::new(response))
}

/// The path and query as the browser knows them: `nest` takes its prefix off, and so may a proxy with the path of
/// `public_url`.
fn asked_for(parts: &Parts, base: &str) -> String {
    let uri = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |OriginalUri(uri)| uri);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let is_below = target
        .strip_prefix(base)
        .is_some_and(|rest| rest.starts_with('/'));
    if is_below {
        target.to_owned()
    } else {
        format!("{base}{target}")
    }
}

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    Vestibule: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let session = required(parts, &Vestibule::from_ref(state)).await?;
        Ok(Self(session.user.clone()))
    }
}

impl<S> OptionalFromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    Vestibule: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Rejection> {
        let session = current(parts, &Vestibule::from_ref(state)).await?;
        Ok(session.map(|session| Self(session.user.clone())))
    }
}

impl<S> FromRequestParts<S> for OptionalUser
where
    S: Send + Sync,
    Vestibule: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let session = current(parts, &Vestibule::from_ref(state)).await?;
        Ok(Self(session.map(|session| session.user.clone())))
    }
}

impl<S> FromRequestParts<S> for VerifiedUser
where
    S: Send + Sync,
    Vestibule: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let CurrentUser(user) =
            <CurrentUser as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if user.email.is_none() {
            return Err(reject(
                parts,
                &Vestibule::from_ref(state),
                Failure::new(
                    Code::Forbidden,
                    "not_verified",
                    "the user owns no verified address",
                ),
            ));
        }
        Ok(Self(user))
    }
}

impl<S> FromRequestParts<S> for Superuser
where
    S: Send + Sync,
    Vestibule: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let CurrentUser(user) =
            <CurrentUser as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        if !user.is_superuser {
            return Err(reject(
                parts,
                &Vestibule::from_ref(state),
                Failure::new(
                    Code::Forbidden,
                    "not_superuser",
                    "the user is no superuser; `vestibule user admin` makes one",
                ),
            ));
        }
        Ok(Self(user))
    }
}
