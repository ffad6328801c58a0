//! The routes of a sign-in: begin, come back, sign out, and the list of providers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, FromRequestParts, Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use vestibule_oidc::Prompt;

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::events;
use crate::flow::{CallbackRequest, LoginStart};
use crate::rate::Route;
use crate::return_to::{ReturnTo, ReturnToError};

use super::answer::{Answer, Form, see_other, wants_page};
use super::cookies;

/// The longest query of a login start in bytes.
const MAX_START_QUERY: usize = 4_096;

/// `GET /auth/{provider}/login`
pub(super) async fn begin(
    State(vestibule): State<Vestibule>,
    provider: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    let json = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    let form = if json { Form::Problem } else { Form::Page };
    let base = vestibule.inner.base_path.clone();
    let outcome = async {
        vestibule.inner.rate.check(Route::LoginStart, client)?;
        let provider = named(provider);
        let start = parse_start(&vestibule, query.as_deref().unwrap_or_default())?;
        vestibule.begin_login(&provider, start).await
    };
    let begun = match outcome.await {
        Ok(begun) => begun,
        Err(failure) => return Answer::failed(&vestibule, failure, form).into_response_at(&base),
    };
    let mut response = if json {
        Json(json!({ "authorization_url": begun.authorization_url.as_str() })).into_response()
    } else {
        see_other(begun.authorization_url.as_str())
    };
    let prefix = vestibule.inner.cookies;
    for suffix in prefix.flows_to_drop(&headers) {
        response
            .headers_mut()
            .append(header::SET_COOKIE, prefix.clear_flow(&suffix));
    }
    response.headers_mut().append(
        header::SET_COOKIE,
        prefix.set_flow(&cookies::suffix(&begun.state), &begun.flow_cookie),
    );
    response
}

/// The provider of a route. A name that is no text is nobody's.
fn named(provider: Result<Path<String>, PathRejection>) -> String {
    provider.map(|Path(name)| name).unwrap_or_default()
}

/// Reads the parameters of a login start. What is not known is dropped: nothing from outside reaches the provider but
/// these (S6).
fn parse_start(vestibule: &Vestibule, query: &str) -> Result<LoginStart, Failure> {
    if query.len() > MAX_START_QUERY {
        return Err(Failure::new(
            Code::BadRequest,
            "query_too_long",
            "the query of a login start is over 4,096 bytes",
        ));
    }
    let mut start = LoginStart::default();
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if matches!(&*name, "return_to" | "login_hint" | "prompt") {
            if seen.iter().any(|known| *known == name) {
                return Err(Failure::new(
                    Code::BadRequest,
                    "parameter_twice",
                    format!("the parameter {name} comes twice"),
                ));
            }
            seen.push(name.clone().into_owned());
        }
        match &*name {
            "return_to" => match ReturnTo::parse(&value, &vestibule.inner.public_base) {
                Ok(return_to) => start.return_to = Some(return_to),
                Err(ReturnToError::TooLong) => {
                    return Err(Failure::new(
                        Code::BadRequest,
                        "return_to_too_long",
                        "return_to is over 1,024 bytes",
                    ));
                }
                Err(ReturnToError::NotOurs) => events::return_to_refused(&value),
            },
            "login_hint" if value.len() <= 320 && !value.chars().any(char::is_control) => {
                start.login_hint = Some(value.into_owned())
            }
            "login_hint" => {
                return Err(Failure::new(
                    Code::BadRequest,
                    "login_hint",
                    "login_hint is over 320 bytes or holds control characters",
                ));
            }
            "prompt" => match Prompt::parse(&value) {
                Some(prompt) => start.prompt = Some(prompt),
                None => {
                    return Err(Failure::new(
                        Code::BadRequest,
                        "prompt",
                        "prompt is one of none, login, consent, select_account",
                    ));
                }
            },
            _ => {}
        }
    }
    Ok(start)
}

/// `GET /auth/{provider}/callback`
pub(super) async fn callback(
    State(vestibule): State<Vestibule>,
    provider: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    let prefix = vestibule.inner.cookies;
    let base = vestibule.inner.base_path.clone();
    if let Err(failure) = vestibule.inner.rate.check(Route::Callback, client) {
        return Answer::failed(&vestibule, failure, Form::Page).into_response_at(&base);
    }
    let callback = CallbackRequest {
        query: query.unwrap_or_default().into_bytes(),
        flow_cookies: prefix.flows(&headers),
        session: prefix.session(&headers),
    };
    match vestibule
        .clone()
        .finish_login(named(provider), callback)
        .await
    {
        Ok(finished) => {
            let mut response = see_other(&vestibule.inner.absolute(&finished.return_to));
            let headers = response.headers_mut();
            headers.append(
                header::SET_COOKIE,
                prefix.clear_flow(&cookies::suffix(&finished.state)),
            );
            headers.append(
                header::SET_COOKIE,
                prefix.set_session(&finished.session, finished.max_age),
            );
            response
        }
        Err(failed) => {
            let mut response = if failed.failure.code == Code::StateUsed && failed.signed_in {
                see_other(&vestibule.inner.absolute(&vestibule.inner.default_return_to))
            } else {
                Answer::of_login(failed.failure.code, failed.reference, Form::Page)
                    .into_response_at(&base)
            };
            if let Some(state) = failed.state {
                response.headers_mut().append(
                    header::SET_COOKIE,
                    prefix.clear_flow(&cookies::suffix(&state)),
                );
            }
            response
        }
    }
}

/// `GET /auth/providers`: what a page of one's own needs.
pub(super) async fn providers(State(vestibule): State<Vestibule>) -> Json<Value> {
    let list: Vec<Value> = vestibule
        .inner
        .providers
        .iter()
        .map(|provider| {
            json!({
                "id": provider.id.as_str(),
                "name": provider.name,
                "login_url": vestibule.inner.public_url_of(&format!("/auth/{}/login", provider.id)),
            })
        })
        .collect();
    Json(Value::Array(list))
}

/// `POST /auth/logout`: 204, or 303 for a form. Signing out twice is signing out.
pub(super) async fn logout(State(vestibule): State<Vestibule>, headers: HeaderMap) -> Response {
    let form = wants_page(&headers);
    match end_session(&vestibule, &headers).await {
        Ok(clear) => {
            let mut response = match form {
                Form::Page => see_other(&format!("{}/login", vestibule.inner.base_path)),
                Form::Problem => StatusCode::NO_CONTENT.into_response(),
            };
            response.headers_mut().append(header::SET_COOKIE, clear);
            response
        }
        Err(failure) => {
            Answer::failed(&vestibule, failure, form).into_response_at(&vestibule.inner.base_path)
        }
    }
}

/// Ends the session of a request, everywhere, before the answer goes out.
pub(super) async fn end_session(
    vestibule: &Vestibule,
    headers: &HeaderMap,
) -> Result<HeaderValue, Failure> {
    let prefix = vestibule.inner.cookies;
    if let Some(token) = prefix.session(headers) {
        vestibule.sign_out(&token).await?;
    }
    Ok(prefix.clear_session())
}

/// Whose request it is, for limits: the peer, or what a trusted proxy says (S78, S79).
pub(super) struct Client(IpAddr);

impl FromRequestParts<Vestibule> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        vestibule: &Vestibule,
    ) -> Result<Self, Infallible> {
        // Where the application does not tell the peer, all are one.
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::from([127, 0, 0, 1]), |ConnectInfo(address)| {
                address.ip()
            });
        Ok(Self(vestibule.client_address(peer, &parts.headers)))
    }
}
