//! The routes of a sign-in: begin, come back, sign out, and the list of providers.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, FromRequestParts, Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use vestibule_oidc::Prompt;

use crate::Vestibule;
use crate::attempt::{Errand, Reference};
use crate::error::{Code, Failure};
use crate::events;
use crate::flow::{CallbackRequest, Instead, LoginBegun, LoginStart};
use crate::oauth::reply::{OAuthError, ReplyTo};
use crate::oauth::request::{AuthorizationRequest, Refused};
use crate::rate::Route;
use crate::return_to::{ReturnTo, ReturnToError};

use super::answer::{Answer, Form, see_other, wants_page};
use super::{cookies, embedded, linking, texts};

/// The longest query of a login start in bytes.
const MAX_START_QUERY: usize = 4_096;

/// `GET /auth/{provider}/login`
pub(super) async fn begin(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    RawQuery(query): RawQuery,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    let json = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    let form = if json { Form::Problem } else { Form::Page };
    let base = vestibule.inner.base_path.clone();
    let query = query.unwrap_or_default();
    let mut reply_to = None;
    let outcome = async {
        vestibule.inner.rate.check(Route::LoginStart, client)?;
        refuse_no_document(&vestibule, &provider, &headers)?;
        embedded::refuse(&vestibule, &provider, &headers)?;
        let request = front_end_request(&vestibule, &query, &mut reply_to)?;
        let errand = Errand::SignIn {
            previous: vestibule
                .inner
                .cookies
                .session(&headers)
                .map(|token| token.hash()),
            connects: linking::pending(&vestibule, &headers).map(|pending| pending.owner()),
        };
        let mut start = parse_start(&vestibule, &query, errand)?;
        if let Some(request) = request {
            start.return_to = Some(return_to_of(&vestibule, &request)?);
            // The scope of such a request is asked of us, not of the provider.
            start.more_scopes.clear();
        }
        vestibule.begin_login(&provider, start).await
    };
    let begun = match outcome.await {
        Ok(begun) => begun,
        Err(failure) => match reply_to.filter(|_| form == Form::Page) {
            Some((reply_to, error)) => return refuse(&vestibule, &reply_to, error, failure),
            None => return Answer::failed(&vestibule, failure, form).into_response_at(&base),
        },
    };
    let mut response = if json {
        Json(json!({ "authorization_url": begun.authorization_url.as_str() })).into_response()
    } else {
        see_other(begun.authorization_url.as_str())
    };
    set_flow(&vestibule, &headers, &begun, &mut response);
    response
}

/// Refuses a start that another site makes without the person going anywhere, where the attempt's cookie would be taken
/// from it: image after image, it would fill the browser's cookies until no server takes them.
fn refuse_no_document(
    vestibule: &Vestibule,
    provider: &str,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|said| said == value);
    let is_elsewhere = is("sec-fetch-site", "cross-site") || is("sec-fetch-site", "same-site");
    if !answers_by_form(vestibule, provider) || !is_elsewhere || is("sec-fetch-dest", "document") {
        return Ok(());
    }
    Err(Failure::new(
        Code::BadRequest,
        "no_document",
        "another site loads a login start as something else than a page",
    ))
}

/// Binds an attempt to this browser.
pub(super) fn set_flow(
    vestibule: &Vestibule,
    headers: &HeaderMap,
    begun: &LoginBegun,
    response: &mut Response,
) {
    let prefix = vestibule.inner.cookies;
    for suffix in prefix.flows_to_drop(headers) {
        response
            .headers_mut()
            .append(header::SET_COOKIE, prefix.clear_flow(&suffix));
    }
    response.headers_mut().append(
        header::SET_COOKIE,
        prefix.set_flow(
            &cookies::suffix(&begun.state),
            &begun.flow_cookie,
            begun.form_post,
        ),
    );
}

/// The authorization request that a login start carries, the provider already chosen: it is one where it names a
/// client. Where it may be answered is noted as soon as that is known.
fn front_end_request(
    vestibule: &Vestibule,
    query: &str,
    reply_to: &mut Option<(ReplyTo, Option<OAuthError>)>,
) -> Result<Option<AuthorizationRequest>, Failure> {
    if !form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "client_id") {
        return Ok(None);
    }
    match AuthorizationRequest::parse(query, &vestibule.inner.frontends) {
        Ok(request) => {
            *reply_to = Some((request.reply_to.clone(), None));
            Ok(Some(request))
        }
        Err(Refused::Here(failure)) => Err(failure),
        Err(Refused::There(to, error, failure)) => {
            *reply_to = Some((*to, Some(error)));
            Err(failure)
        }
    }
}

/// A request as the target of a login.
pub(super) fn return_to_of(
    vestibule: &Vestibule,
    request: &AuthorizationRequest,
) -> Result<ReturnTo, Failure> {
    let path = format!("{}{}", vestibule.inner.base_path, request.to_path());
    ReturnTo::parse(&path, &vestibule.inner.public_base).map_err(|_| {
        Failure::new(
            Code::BadRequest,
            "request_too_long",
            "the authorization request is over 1,024 bytes; a shorter state or redirect_uri does",
        )
    })
}

/// Tells a front end that nothing comes of its request. Logged here, once.
pub(super) fn refuse(
    vestibule: &Vestibule,
    reply_to: &ReplyTo,
    error: Option<OAuthError>,
    failure: Failure,
) -> Response {
    let reference = Reference::of_request(vestibule.random());
    events::front_end_refused(&reply_to.frontend, &reference, &failure);
    let error = error.unwrap_or_else(|| OAuthError::of(&failure));
    send_error(vestibule, reply_to, error, failure.code, Some(&reference))
}

/// Sends the browser back to a front end with an error in fixed words.
fn send_error(
    vestibule: &Vestibule,
    reply_to: &ReplyTo,
    error: OAuthError,
    code: Code,
    reference: Option<&Reference>,
) -> Response {
    see_other(&reply_to.error(
        error,
        code,
        texts::error_text(code).message,
        reference,
        vestibule.inner.issuer(),
    ))
}

/// Where those go whose target is not ours.
pub(super) fn default_page(vestibule: &Vestibule) -> Option<ReturnTo> {
    let inner = &vestibule.inner;
    ReturnTo::parse(&inner.default_return_to, &inner.public_base).ok()
}

/// A page of ours as a target.
pub(super) fn own_page(vestibule: &Vestibule, path: &str) -> Option<ReturnTo> {
    let inner = &vestibule.inner;
    ReturnTo::parse(&format!("{}{path}", inner.base_path), &inner.public_base).ok()
}

/// Reads the parameters of a login start. What is not known is dropped: nothing from outside reaches the provider but
/// these (S6).
pub(super) fn parse_start(
    vestibule: &Vestibule,
    query: &str,
    errand: Errand,
) -> Result<LoginStart, Failure> {
    if query.len() > MAX_START_QUERY {
        return Err(Failure::new(
            Code::BadRequest,
            "query_too_long",
            "the query of a login start is over 4,096 bytes",
        ));
    }
    let mut start = LoginStart {
        return_to: None,
        login_hint: None,
        prompt: None,
        more_scopes: Vec::new(),
        errand,
    };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if matches!(&*name, "return_to" | "login_hint" | "prompt" | "scope") {
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
                // To our own page, and not to a front end that the link does not name (S77).
                Err(ReturnToError::NotOurs) => {
                    events::return_to_refused(&value);
                    start.return_to = default_page(vestibule);
                }
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
            // Those of `optional_scopes` alone go out.
            "scope" => start.more_scopes = value.split(' ').map(str::to_owned).collect(),
            _ => {}
        }
    }
    Ok(start)
}

/// `GET /auth/{provider}/callback`
pub(super) async fn callback(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    RawQuery(query): RawQuery,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    if answers_by_form(&vestibule, &provider) {
        return other_method(&vestibule, &headers, "POST");
    }
    let query = query.unwrap_or_default().into_bytes();
    finish(vestibule, provider, query, client, &headers).await
}

/// `POST /auth/{provider}/callback`: the provider's page posts its answer (OAuth 2.0 Form Post Response Mode). Only from
/// those of which that was asked (S18).
pub(super) async fn callback_posted(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    Client(client): Client,
    headers: HeaderMap,
    form: Result<Bytes, BytesRejection>,
) -> Response {
    if !answers_by_form(&vestibule, &provider) {
        return other_method(&vestibule, &headers, "GET");
    }
    let form = form.unwrap_or_default().to_vec();
    finish(vestibule, provider, form, client, &headers).await
}

fn answers_by_form(vestibule: &Vestibule, provider: &str) -> bool {
    vestibule
        .provider(provider)
        .is_ok_and(|provider| provider.form_post)
}

/// This provider answers by the other method. The attempt stays as it is.
fn other_method(vestibule: &Vestibule, headers: &HeaderMap, allowed: &'static str) -> Response {
    let mut response = Answer::plain(Code::MethodNotAllowed, wants_page(headers))
        .into_response_at(&vestibule.inner.base_path);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Ends a login with what the provider answered, in a query or in a form.
async fn finish(
    vestibule: Vestibule,
    provider: String,
    query: Vec<u8>,
    client: IpAddr,
    headers: &HeaderMap,
) -> Response {
    let prefix = vestibule.inner.cookies;
    let base = vestibule.inner.base_path.clone();
    if let Err(failure) = vestibule.inner.rate.check(Route::Callback, client) {
        return Answer::failed(&vestibule, failure, Form::Page).into_response_at(&base);
    }
    let callback = CallbackRequest {
        query,
        flow_cookies: prefix.flows(headers),
        session: prefix.session(headers),
    };
    match vestibule.clone().finish_login(provider, callback).await {
        Ok(finished) => {
            let mut response = see_other(&finished.location);
            let headers = response.headers_mut();
            headers.append(
                header::SET_COOKIE,
                prefix.clear_flow(&cookies::suffix(&finished.state)),
            );
            headers.append(
                header::SET_COOKIE,
                prefix.set_session(&finished.session, finished.max_age),
            );
            if finished.drops_link {
                headers.append(header::SET_COOKIE, prefix.clear_link());
            }
            response
        }
        Err(failed) => {
            let mut response = if failed.failure.code == Code::StateUsed && failed.signed_in {
                see_other(&vestibule.inner.absolute(&vestibule.inner.default_return_to))
            } else {
                let code = failed.failure.code;
                match failed.instead.as_deref() {
                    Some(Instead::Owner(asks)) => {
                        let mut response = see_other(&asks.location);
                        response
                            .headers_mut()
                            .append(header::SET_COOKIE, prefix.set_link(&asks.sealed));
                        response
                    }
                    Some(Instead::FrontEnd(reply_to)) => {
                        let error = OAuthError::of(&failed.failure);
                        send_error(&vestibule, reply_to, error, code, failed.reference.as_ref())
                    }
                    None => {
                        Answer::of_login(code, failed.reference, Form::Page).into_response_at(&base)
                    }
                }
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
            linking::drop_pending(&vestibule, &headers, &mut response);
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

/// The provider's name in the path. What is no text is nobody's name: the flow answers, with a code of ours (S81).
pub(super) struct Named(pub(super) String);

impl FromRequestParts<Vestibule> for Named {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        vestibule: &Vestibule,
    ) -> Result<Self, Infallible> {
        let name = Path::<String>::from_request_parts(parts, vestibule).await;
        Ok(Self(name.map(|Path(name)| name).unwrap_or_default()))
    }
}

/// Whose request it is, for limits: the peer, or what a trusted proxy says (S78, S79).
pub(super) struct Client(pub(super) IpAddr);

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
