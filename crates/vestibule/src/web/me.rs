//! Who is signed in, as JSON.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use vestibule_accounts::{Timestamp, User};

use crate::Vestibule;
use crate::error::Failure;

use super::answer::{Answer, Form};
use super::extract::CurrentUser;

/// `GET /users/me`: the fields of fastapi-users first, then ours.
pub(super) async fn me(State(vestibule): State<Vestibule>, user: CurrentUser) -> Response {
    match body(&vestibule, &user.0).await {
        Ok(body) => Json(body).into_response(),
        Err(failure) => Answer::failed(&vestibule, failure, Form::Problem).into_response(),
    }
}

async fn body(vestibule: &Vestibule, user: &User) -> Result<Value, Failure> {
    let identities: Vec<Value> = vestibule
        .inner
        .store
        .identities(user.id)
        .await?
        .into_iter()
        .map(|identity| {
            json!({
                "provider": identity.record.provider,
                "issuer": identity.record.issuer,
                "subject": identity.record.subject,
                "email": identity.record.email,
                "email_verified": identity.record.email_verified,
                "created_at": rfc3339(identity.created_at),
            })
        })
        .collect();
    Ok(json!({
        "id": user.id.to_string(),
        "email": user.email.as_ref().map(ToString::to_string),
        "is_active": user.is_active,
        "is_superuser": user.is_superuser,
        "is_verified": user.email.is_some(),
        "name": user.name,
        "picture": user.picture,
        "created_at": rfc3339(user.created_at),
        "identities": identities,
    }))
}

/// A time as RFC 3339 text in UTC.
pub(super) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or_else(|_| String::new(), |time| time.to_string())
}
