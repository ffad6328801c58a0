//! Who is signed in, as JSON.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use serde::Serialize;
use serde_json::{Value, json};

use vestibule_accounts::{Identity, Timestamp, User};

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::sessions::Believed;

use super::answer::{Answer, Form};
use super::extract::CurrentSession;

/// The answer: the fields of fastapi-users first, then ours.
#[derive(Serialize)]
struct Me<'a> {
    id: String,
    email: Option<&'a str>,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    name: Option<&'a str>,
    picture: Option<&'a str>,
    created_at: String,
    identities: Vec<WayIn<'a>>,
}

/// A way in, as its user sees it.
#[derive(Serialize)]
struct WayIn<'a> {
    provider: &'a str,
    issuer: &'a str,
    subject: &'a str,
    email: Option<&'a str>,
    email_verified: bool,
    created_at: String,
}

impl<'a> Me<'a> {
    fn of(user: &'a User, identities: &'a [Identity]) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.as_ref().map(|email| email.as_str()),
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.email.is_some(),
            name: user.name.as_deref(),
            picture: user.picture.as_deref(),
            created_at: rfc3339(user.created_at),
            identities: identities.iter().map(WayIn::of).collect(),
        }
    }
}

impl<'a> WayIn<'a> {
    fn of(identity: &'a Identity) -> Self {
        let record = &identity.record;
        Self {
            provider: &record.provider,
            issuer: &record.issuer,
            subject: &record.subject,
            email: record.email.as_deref(),
            email_verified: record.email_verified,
            created_at: rfc3339(identity.created_at),
        }
    }
}

/// `GET /users/me`
pub(super) async fn me(State(vestibule): State<Vestibule>, session: CurrentSession) -> Response {
    let CurrentSession(session) = session;
    match body(&vestibule, &session).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(failure) => Answer::failed(&vestibule, failure, Form::Problem).into_response(),
    }
}

/// The answer is made once for as long as the session is believed: a second at most.
async fn body(vestibule: &Vestibule, session: &Believed) -> Result<Bytes, Failure> {
    if let Some(body) = session.me() {
        return Ok(body);
    }
    let identities = match session.take_identities() {
        Some(identities) => identities,
        None => vestibule.inner.store.identities(session.user.id).await?,
    };
    let body = serde_json::to_vec(&Me::of(&session.user, &identities))
        .map(Bytes::from)
        .map_err(|error| Failure::new(Code::InternalError, "json", error.to_string()))?;
    session.keep_me(body.clone());
    Ok(body)
}

/// Ways in, as their user sees them.
pub(super) fn ways_in(identities: &[Identity]) -> Json<Value> {
    Json(json!(identities.iter().map(WayIn::of).collect::<Vec<_>>()))
}

/// A time as RFC 3339 text in UTC.
pub(super) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or_else(|_| String::new(), |time| time.to_string())
}
