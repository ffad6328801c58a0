//! Ways in that are added and taken away, and the question whether an identity is connected. Each changes something only
//! by POST, from our own pages, in a session that is young (S7, S63).

use axum::Json;
use axum::extract::rejection::{BytesRejection, StringRejection};
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use url::form_urlencoded;
use vestibule_accounts::SignedIn;
use vestibule_oidc::Prompt;

use crate::Vestibule;
use crate::attempt::Errand;
use crate::error::{Code, Failure};
use crate::flow::LoginBegun;
use crate::linking::{self, PendingLink};
use crate::rate::Route;

use super::answer::{self, Answer, Form, see_other, wants_page};
use super::extract::{self, CurrentSession};
use super::login::{self, Client, Named};
use super::pages::{self, Connect, Leaving};
use super::pages_routes::frame;
use super::{embedded, me};

/// `POST /auth/{provider}/link`: whoever is signed in adds a way in.
pub(super) async fn link(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    Client(client): Client,
    headers: HeaderMap,
    form: Result<Bytes, BytesRejection>,
) -> Response {
    let form = form.unwrap_or_default();
    let form = String::from_utf8_lossy(&form);
    let page = wants_page(&headers);
    match begin_link(&vestibule, &provider, client, &headers, &form).await {
        Ok(begun) => {
            let mut response = match page {
                Form::Problem => {
                    Json(json!({ "authorization_url": begun.authorization_url.as_str() }))
                        .into_response()
                }
                Form::Page => leave(&vestibule, &provider, &begun),
            };
            login::set_flow(&vestibule, &headers, &begun, &mut response);
            response
        }
        Err(failure) => refuse(&vestibule, failure, page),
    }
}

async fn begin_link(
    vestibule: &Vestibule,
    provider: &str,
    client: std::net::IpAddr,
    headers: &HeaderMap,
    form: &str,
) -> Result<LoginBegun, Failure> {
    vestibule.inner.rate.check(Route::LoginStart, client)?;
    // By the cookie alone: the browser that goes to the provider must be the one that is signed in.
    let session = vestibule.inner.cookies.session(headers);
    let signed_in = match &session {
        Some(token) => vestibule.signed_in(token).await?,
        None => None,
    };
    let (Some(session), Some(signed_in)) = (session, signed_in) else {
        return Err(Failure::new(
            Code::Unauthorized,
            "no_session",
            "nobody is signed in in this browser",
        ));
    };
    vestibule.check_fresh(&signed_in)?;
    embedded::refuse(vestibule, provider, headers)?;
    let errand = Errand::AddWayIn {
        user: signed_in.user.id,
        session: session.hash(),
    };
    let mut start = login::parse_start(vestibule, form, errand)?;
    // So that the person sees which account it will be: somebody else may have signed the browser in over there.
    if start.prompt.is_none() && vestibule.provider(provider)?.is_openid() {
        start.prompt = Some(Prompt::SelectAccount);
    }
    if start.return_to.is_none() {
        start.return_to = login::own_page(vestibule, "/account");
    }
    vestibule.begin_login(provider, start).await
}

/// A page that goes on to the provider by itself. A redirect would not do: browsers hold it, and all that follow, against
/// `form-action`.
fn leave(vestibule: &Vestibule, provider: &str, begun: &LoginBegun) -> Response {
    let name = vestibule
        .provider(provider)
        .map_or_else(|_| provider.to_owned(), |provider| provider.name.clone());
    let nonce = answer::nonce(vestibule);
    let html = pages::render(&Leaving {
        frame: frame(vestibule, &nonce),
        provider: &name,
        url: begun.authorization_url.as_str(),
    });
    let mut response = answer::page(StatusCode::OK, &nonce, html);
    response.headers_mut().insert(
        header::REFERRER_POLICY,
        http::HeaderValue::from_static("no-referrer"),
    );
    response
}

/// `POST /auth/{provider}/unlink`: takes a way in away. Twice is once.
pub(super) async fn unlink(
    State(vestibule): State<Vestibule>,
    Named(provider): Named,
    headers: HeaderMap,
    form: Result<String, StringRejection>,
) -> Response {
    let page = wants_page(&headers);
    let outcome = async {
        let form = readable_form(&headers, form)?;
        unlink_as_asked(&vestibule, &headers, &provider, &form).await
    };
    match outcome.await {
        Ok(()) => match page {
            Form::Page => see_other(&format!("{}/account", vestibule.inner.base_path)),
            Form::Problem => StatusCode::NO_CONTENT.into_response(),
        },
        Err(failure) => refuse(&vestibule, failure, page),
    }
}

/// The fields of a request. What cannot be read may name another way in than the one that would go.
fn readable_form(
    headers: &HeaderMap,
    body: Result<String, StringRejection>,
) -> Result<String, Failure> {
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    match body {
        Ok(body) if body.is_empty() || is_form => Ok(body),
        _ => Err(Failure::new(
            Code::BadRequest,
            "body",
            "the body is not application/x-www-form-urlencoded; its one field is subject",
        )),
    }
}

/// `DELETE /users/me/identities?provider=..&subject=..`: the same, for programs.
pub(super) async fn delete_identity(
    State(vestibule): State<Vestibule>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let outcome = match parameter(&query, "provider") {
        Some(provider) => unlink_as_asked(&vestibule, &headers, &provider, &query).await,
        None => Err(Failure::new(
            Code::BadRequest,
            "provider_needed",
            "the query names no provider; /users/me/identities lists them",
        )),
    };
    match outcome {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => refuse(&vestibule, failure, Form::Problem),
    }
}

async fn unlink_as_asked(
    vestibule: &Vestibule,
    headers: &HeaderMap,
    provider: &str,
    parameters: &str,
) -> Result<(), Failure> {
    let signed_in = extract::signed_in(headers, vestibule)
        .await?
        .ok_or_else(|| Failure::new(Code::Unauthorized, "no_session", "nobody is signed in"))?;
    let subject = parameter(parameters, "subject");
    let task = {
        let (vestibule, provider): (Vestibule, String) = (vestibule.clone(), provider.to_owned());
        // To its end, also when the browser goes away: what was taken away is given back to the provider too.
        tokio::spawn(async move {
            vestibule
                .unlink(&signed_in, &provider, subject.as_deref())
                .await
        })
    };
    match task.await {
        Ok(outcome) => outcome.map(drop),
        Err(_) => Err(Failure::new(
            Code::InternalError,
            "panic",
            "an unlink panicked; please report it with this log",
        )),
    }
}

/// `GET /users/me/identities`
pub(super) async fn identities(
    State(vestibule): State<Vestibule>,
    session: CurrentSession,
) -> Response {
    let CurrentSession(session) = session;
    match vestibule.inner.store.identities(session.user.id).await {
        Ok(identities) => me::ways_in(&identities).into_response(),
        Err(error) => {
            Answer::failed(&vestibule, Failure::from(error), Form::Problem).into_response()
        }
    }
}

/// `GET /link`: the question, to whoever can answer it.
pub(super) async fn question(State(vestibule): State<Vestibule>, headers: HeaderMap) -> Response {
    let Some(pending) = pending(&vestibule, &headers) else {
        return see_other(&format!("{}/account", vestibule.inner.base_path));
    };
    let signed_in = match extract::signed_in(&headers, &vestibule).await {
        Ok(signed_in) => signed_in,
        Err(failure) => return refuse(&vestibule, failure, Form::Page),
    };
    match signed_in {
        Some(signed_in) if pending.may_be_connected_in(&signed_in) => {
            ask(&vestibule, &pending, &signed_in)
        }
        _ => see_other(&sign_in_for(&vestibule, &pending)),
    }
}

fn ask(vestibule: &Vestibule, pending: &PendingLink, signed_in: &SignedIn) -> Response {
    let provider = vestibule.provider(&pending.provider).ok();
    let nonce = answer::nonce(vestibule);
    let action = format!("{}{}", vestibule.inner.base_path, linking::PATH);
    let html = pages::render(&Connect {
        frame: frame(vestibule, &nonce),
        provider: provider
            .as_ref()
            .map_or(&pending.provider, |provider| &provider.name),
        mark: provider.as_ref().and_then(|provider| provider.preset.mark),
        email: pending.email.as_deref(),
        person: signed_in.user.name.as_deref(),
        action: &action,
    });
    answer::page_with_form_to(
        StatusCode::OK,
        &nonce,
        &form_action(vestibule, pending),
        html,
    )
}

/// Where the answer to a question may lead.
pub(super) fn form_action(vestibule: &Vestibule, pending: &PendingLink) -> String {
    vestibule
        .target(&pending.return_to)
        .map_or_else(|_| String::new(), |target| target.form_action())
}

/// `POST /link`: the answer.
pub(super) async fn answered(
    State(vestibule): State<Vestibule>,
    headers: HeaderMap,
    form: Result<String, StringRejection>,
) -> Response {
    let cookies = vestibule.inner.cookies;
    let Some((sealed, pending)) = cookies
        .link(&headers)
        .and_then(|sealed| Some((sealed, vestibule.pending_link(sealed)?)))
    else {
        let failure = Failure::new(
            Code::StateExpired,
            "link_over",
            "nothing waits to be connected in this browser, or it waited longer than ten minutes",
        );
        return refuse(&vestibule, failure, Form::Page);
    };
    let on = vestibule.inner.absolute(&pending.return_to);
    let says_yes = parameter(&form.unwrap_or_default(), "answer").as_deref() == Some("connect");
    let mut response = if says_yes {
        let Some(session) = cookies.session(&headers) else {
            return see_other(&sign_in_for(&vestibule, &pending));
        };
        match vestibule.connect(sealed, &session).await {
            Ok(admitted) => {
                let mut response = see_other(&on);
                response.headers_mut().append(
                    header::SET_COOKIE,
                    cookies.set_session(&admitted.session, vestibule.inner.session_lifetime),
                );
                response
            }
            // The button was pressed twice.
            Err(failure) if failure.code == Code::StateUsed => see_other(&on),
            Err(failure) if failure.code == Code::ReauthRequired => {
                return see_other(&sign_in_for(&vestibule, &pending));
            }
            Err(failure) => refuse(&vestibule, failure, Form::Page),
        }
    } else {
        see_other(&on)
    };
    response
        .headers_mut()
        .append(header::SET_COOKIE, cookies.clear_link());
    response
}

/// The identity that waits in this browser.
pub(super) fn pending(vestibule: &Vestibule, headers: &HeaderMap) -> Option<PendingLink> {
    vestibule.pending_link(vestibule.inner.cookies.link(headers)?)
}

/// Whoever signed in or out is not the one who was asked.
pub(super) fn drop_pending(vestibule: &Vestibule, headers: &HeaderMap, response: &mut Response) {
    let cookies = vestibule.inner.cookies;
    if cookies.link(headers).is_some() {
        response
            .headers_mut()
            .append(header::SET_COOKIE, cookies.clear_link());
    }
}

/// Where the owner signs in first.
fn sign_in_for(vestibule: &Vestibule, pending: &PendingLink) -> String {
    sign_in(vestibule, &pending.return_to, "")
}

fn sign_in(vestibule: &Vestibule, return_to: &str, more: &str) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", return_to)
        .finish();
    format!("{}/login?{query}{more}", vestibule.inner.base_path)
}

/// A page whose session is too old is sent to sign in again, and back to the account.
fn refuse(vestibule: &Vestibule, failure: Failure, form: Form) -> Response {
    let base = &vestibule.inner.base_path;
    let account = format!("{base}/account");
    match (failure.code, form) {
        (Code::ReauthRequired, Form::Page) => {
            see_other(&sign_in(vestibule, &account, "&prompt=login&again=1"))
        }
        (Code::Unauthorized, Form::Page) => see_other(&sign_in(vestibule, &account, "")),
        _ => Answer::failed(vestibule, failure, form).into_response_at(base),
    }
}

fn parameter(text: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(text.as_bytes())
        .find(|(known, value)| known == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}
