//! The routes of native sign-in, and the one that gives a provider's token to the user's own back end.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::native::{NONCE_SECONDS, NativeRequest, NativeSignedIn};
use crate::rate::Route;

use super::answer::{Answer, Form};
use super::extract::CurrentSession;
use super::login::{Client, Named};
use super::{linking, oauth};

/// The body of `POST /auth/{provider}/id-token`.
#[derive(Deserialize)]
pub(super) struct Body {
    id_token: String,
    nonce: String,
    client_id: Option<String>,
}

/// `POST /auth/{provider}/nonce`
pub(super) async fn nonce(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    let issued = vestibule
        .inner
        .rate
        .check(Route::LoginStart, client)
        .and_then(|()| vestibule.native_nonce(&provider, is_browser(&headers)));
    match issued {
        Ok(issued) => {
            let body = json!({ "nonce": issued.nonce, "expires_in": NONCE_SECONDS });
            let mut response = Json(body).into_response();
            if let Some(binding) = issued.binding {
                response.headers_mut().append(
                    header::SET_COOKIE,
                    vestibule.inner.cookies.set_nonce(&binding, NONCE_SECONDS),
                );
            }
            response
        }
        Err(failure) => Answer::failed(&vestibule, failure, Form::Problem).into_response(),
    }
}

/// `POST /auth/{provider}/id-token`: 204 and a session, or tokens for the front end that is named.
pub(super) async fn id_token(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    Client(client): Client,
    headers: HeaderMap,
    body: Result<Json<Body>, JsonRejection>,
) -> Response {
    let cookies = vestibule.inner.cookies;
    let outcome = async {
        vestibule
            .inner
            .rate
            .check(Route::Callback, client)
            .map_err(|failure| Answer::failed(&vestibule, failure, Form::Problem))?;
        // Not what the rejection says: it may quote the token.
        let Json(body) = body.map_err(|_| {
            let failure = Failure::new(
                Code::BadRequest,
                "body",
                "the body is not a JSON object with the texts id_token and nonce, sent as application/json",
            );
            Answer::failed(&vestibule, failure, Form::Problem)
        })?;
        let request = NativeRequest {
            id_token: body.id_token,
            nonce: body.nonce,
            client_id: body.client_id,
            binding: cookies.nonce(&headers).map(str::to_owned),
            is_browser: is_browser(&headers),
            session: cookies.session(&headers),
        };
        let signed_in = vestibule.clone().native_sign_in(provider, request).await;
        signed_in
            .map_err(|(code, reference)| Answer::of_login(code, Some(reference), Form::Problem))
    };
    let mut response = match outcome.await {
        Ok(NativeSignedIn::Session(session)) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            response.headers_mut().append(
                header::SET_COOKIE,
                cookies.set_session(&session, vestibule.inner.session_lifetime),
            );
            response
        }
        Ok(NativeSignedIn::Tokens(tokens)) => oauth::token_response(&tokens),
        Err(answer) => answer.into_response(),
    };
    if cookies.nonce(&headers).is_some() {
        response
            .headers_mut()
            .append(header::SET_COOKIE, cookies.clear_nonce());
    }
    linking::drop_pending(&vestibule, &headers, &mut response);
    response
}

/// `GET /users/me/providers/{provider}/token`: a live access token of the provider, for the user's own back end.
pub(super) async fn provider_token(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    headers: HeaderMap,
    session: CurrentSession,
) -> Response {
    // S30: not for a script in a browser, which asks the back end for what it needs.
    if headers.contains_key("sec-fetch-site") {
        let failure = Failure::new(
            Code::Forbidden,
            "asked_by_a_browser",
            "a script in a browser asks for a provider's token; the application's own back end does, with the person's session or token",
        );
        return Answer::failed(&vestibule, failure, Form::Problem).into_response();
    }
    let CurrentSession(session) = session;
    let outcome = vestibule.provider_token(session.user.id, &provider).await;
    match outcome {
        Ok(Some(token)) => {
            let now = vestibule.now().seconds();
            let mut body = json!({
                "access_token": token.access_token.expose(),
                "token_type": "Bearer",
            });
            if let Some(end) = token.expires_at {
                body["expires_in"] = json!((end.seconds() - now).max(0));
            }
            if let Some(scope) = token.scope {
                body["scope"] = json!(scope);
            }
            Json(body).into_response()
        }
        Ok(None) => {
            let failure = Failure::new(
                Code::NotFound,
                "nothing_kept",
                "nothing is kept for this person at this provider; keep_tokens = true keeps it from the next sign-in on",
            );
            Answer::failed(&vestibule, failure, Form::Problem).into_response()
        }
        Err(failure) => Answer::failed(&vestibule, failure, Form::Problem).into_response(),
    }
}

/// Browsers say where a POST comes from; apps do not.
fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN)
}
