//! The routes of the authorization server: `/oauth/*`, its metadata and keys, and the token for pages of our own site.

use std::net::IpAddr;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use url::form_urlencoded;

use vestibule_accounts::SignedIn;
use vestibule_oidc::Prompt;

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::events;
use crate::frontend::HandOff;
use crate::grants::TokenResponse;
use crate::oauth::client;
use crate::oauth::reply::OAuthError;
use crate::oauth::request::{self, AuthorizationRequest, Refused};
use crate::oauth::token::{Form, Refusal, TokenRequest, token_parameter};
use crate::rate::Route;
use crate::tokens::{NewAccessToken, SCOPE};

use super::answer::{self, Answer, see_other, wants_page};
use super::login::{self, Client, Named};
use super::pages::{self, Confirm};
use super::{pages_routes, texts};

/// `GET /oauth/authorize` (RFC 6749 section 4.1.1)
pub(super) async fn authorize(
    State(vestibule): State<Vestibule>,
    RawQuery(query): RawQuery,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    let (request, signed_in) =
        match begin(&vestibule, query.as_deref().unwrap_or_default(), &headers).await {
            Ok(begun) => begun,
            Err(response) => return *response,
        };
    let puts_token_in_url = request.reply_to.frontend.hand_off.puts_token_in_url();
    match (signed_in, request.prompt) {
        (None, Some(Prompt::None)) => {
            refuse_prompt(&vestibule, &request, OAuthError::LoginRequired)
        }
        // A token may go into a URL after a click of the person alone.
        (Some(_), Some(Prompt::None)) if puts_token_in_url => {
            refuse_prompt(&vestibule, &request, OAuthError::InteractionRequired)
        }
        (None, _) | (Some(_), Some(Prompt::Login | Prompt::SelectAccount)) => {
            to_sign_in(&vestibule, &request)
        }
        (Some(signed_in), _) if puts_token_in_url => confirm(&vestibule, &request, &signed_in),
        (Some(signed_in), _) => limited_hand_over(&vestibule, &request, &signed_in, client).await,
    }
}

/// `POST /oauth/authorize`: the person has pressed the button that hands a token over.
pub(super) async fn authorize_confirmed(
    State(vestibule): State<Vestibule>,
    RawQuery(query): RawQuery,
    Client(client): Client,
    headers: HeaderMap,
) -> Response {
    match begin(&vestibule, query.as_deref().unwrap_or_default(), &headers).await {
        Ok((request, Some(signed_in))) => {
            limited_hand_over(&vestibule, &request, &signed_in, client).await
        }
        Ok((request, None)) => to_sign_in(&vestibule, &request),
        Err(response) => *response,
    }
}

/// Reads a request and who sends it; or how it is refused.
async fn begin(
    vestibule: &Vestibule,
    query: &str,
    headers: &HeaderMap,
) -> Result<(AuthorizationRequest, Option<SignedIn>), Box<Response>> {
    let base = &vestibule.inner.base_path;
    let here = |failure| {
        Box::new(Answer::failed(vestibule, failure, wants_page(headers)).into_response_at(base))
    };
    let request = match AuthorizationRequest::parse(query, &vestibule.inner.frontends) {
        Ok(request) => request,
        Err(Refused::Here(failure)) => return Err(here(failure)),
        Err(Refused::There(to, error, failure)) => {
            return Err(Box::new(login::refuse(
                vestibule,
                &to,
                Some(error),
                failure,
            )));
        }
    };
    let signed_in = match vestibule.inner.cookies.session(headers) {
        Some(token) => match vestibule.signed_in(&token).await {
            Ok(signed_in) => signed_in.map(|signed_in| (*signed_in).clone()),
            Err(failure) => {
                return Err(Box::new(login::refuse(
                    vestibule,
                    &request.reply_to,
                    None,
                    failure,
                )));
            }
        },
        None => None,
    };
    Ok((request, signed_in))
}

fn refuse_prompt(
    vestibule: &Vestibule,
    request: &AuthorizationRequest,
    error: OAuthError,
) -> Response {
    let failure = Failure::new(
        Code::Unauthorized,
        error.as_str(),
        "prompt=none, and the person would have to do something",
    );
    login::refuse(vestibule, &request.reply_to, Some(error), failure)
}

/// Sends the person to the sign-in page, or to the provider that the front end has chosen, and then back to the same
/// request. `prompt` is obeyed on the way and does not come back.
fn to_sign_in(vestibule: &Vestibule, request: &AuthorizationRequest) -> Response {
    let return_to = match login::return_to_of(vestibule, request) {
        Ok(return_to) => return_to,
        Err(failure) => {
            return Answer::failed(vestibule, failure, answer::Form::Page)
                .into_response_at(&vestibule.inner.base_path);
        }
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", return_to.as_str());
    if let Some(prompt @ (Prompt::Login | Prompt::SelectAccount)) = request.prompt {
        query.append_pair("prompt", prompt.as_str());
    }
    let path = match &request.provider {
        Some(provider) if vestibule.provider(provider).is_ok() => format!("/auth/{provider}/login"),
        _ => "/login".to_owned(),
    };
    see_other(&format!(
        "{}{path}?{}",
        vestibule.inner.base_path,
        query.finish()
    ))
}

/// Gives what was asked for. Each writes a row: counted as a login start is.
async fn limited_hand_over(
    vestibule: &Vestibule,
    request: &AuthorizationRequest,
    signed_in: &SignedIn,
    client: IpAddr,
) -> Response {
    if let Err(failure) = vestibule.inner.rate.check(Route::LoginStart, client) {
        return login::refuse(vestibule, &request.reply_to, None, failure);
    }
    match vestibule.hand_over(request, signed_in).await {
        Ok(Some(location)) => see_other(&location),
        // The session has ended since it was read.
        Ok(None) if request.prompt == Some(Prompt::None) => {
            refuse_prompt(vestibule, request, OAuthError::LoginRequired)
        }
        Ok(None) => to_sign_in(vestibule, request),
        Err(failure) => login::refuse(vestibule, &request.reply_to, None, failure),
    }
}

/// One button: who goes where.
fn confirm(
    vestibule: &Vestibule,
    request: &AuthorizationRequest,
    signed_in: &SignedIn,
) -> Response {
    let to = &request.reply_to;
    let origin = to.redirect_uri.origin_or_scheme();
    let nonce = answer::nonce(vestibule);
    let action = format!("{}{}", vestibule.inner.base_path, request.to_path());
    let person = signed_in
        .user
        .email
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| signed_in.user.name.clone());
    let html = pages::render(&Confirm {
        frame: pages_routes::frame(vestibule, &nonce),
        front_end: &to.frontend.name,
        person: person.as_deref(),
        origin: &origin,
        action: &action,
    });
    // Browsers hold the redirect that answers a form to `form-action` too.
    answer::page_with_form_to(StatusCode::OK, &nonce, &origin, html)
}

/// `POST /oauth/token` (RFC 6749 section 3.2)
pub(super) async fn token(
    State(vestibule): State<Vestibule>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        let (form, frontend) = client_form(&vestibule, &headers, body)?;
        vestibule
            .token(&frontend, TokenRequest::parse(&form)?)
            .await
    };
    match outcome.await {
        Ok(tokens) => token_response(&tokens),
        Err(refusal) => refused(&headers, "/oauth/token", refusal),
    }
}

/// RFC 6749 section 5.1.
pub(super) fn token_response(tokens: &TokenResponse) -> Response {
    let mut body = bearer_body(&tokens.access_token);
    body["refresh_token"] = json!(tokens.refresh_token.as_str());
    body["scope"] = json!(SCOPE);
    no_cache(Json(body).into_response())
}

/// `POST /oauth/revoke` (RFC 7009): 200 means that the token is dead.
pub(super) async fn revoke(
    State(vestibule): State<Vestibule>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        let (form, frontend) = client_form(&vestibule, &headers, body)?;
        vestibule.revoke(&frontend, token_parameter(&form)?).await
    };
    match outcome.await {
        Ok(()) => no_cache(StatusCode::OK.into_response()),
        Err(refusal) => refused(&headers, "/oauth/revoke", refusal),
    }
}

/// `POST /oauth/introspect` (RFC 7662), for clients that prove who they are.
pub(super) async fn introspect(
    State(vestibule): State<Vestibule>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let outcome = async {
        let (form, frontend) = client_form(&vestibule, &headers, body)?;
        if frontend.client_secret.is_none() {
            let mut refusal = Refusal::new(
                OAuthError::InvalidClient,
                "client_is_public",
                format!(
                    "{} is public and cannot prove who it is; write client_secret below its [[frontends]]",
                    frontend.client_id
                ),
            );
            refusal.failure.code = Code::Unauthorized;
            return Err(refusal);
        }
        vestibule
            .introspect(&frontend, token_parameter(&form)?)
            .await
    };
    match outcome.await {
        Ok(body) => no_cache(Json(body).into_response()),
        Err(refusal) => refused(&headers, "/oauth/introspect", refusal),
    }
}

/// The form of a client's request, and the client, authenticated.
fn client_form(
    vestibule: &Vestibule,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Form, std::sync::Arc<crate::Frontend>), Refusal> {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.split(';').next().is_some_and(|kind| {
                kind.trim()
                    .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            })
        });
    if !is_form {
        return Err(Refusal::new(
            OAuthError::InvalidRequest,
            "content_type",
            "the body is not application/x-www-form-urlencoded",
        ));
    }
    let body = body.map_err(|rejection| {
        Refusal::new(
            OAuthError::InvalidRequest,
            "body",
            format!("the body cannot be read: {}", rejection.body_text()),
        )
    })?;
    let form = Form::parse(&body)?;
    let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
    let first = match (authorization.next(), authorization.next()) {
        (Some(value), None) => Some(value.to_str().unwrap_or_default()),
        (None, _) => None,
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                OAuthError::InvalidRequest,
                "two_client_authentications",
                "the request has two Authorization headers",
            ));
        }
    };
    let frontend = client::authenticate(first, &form, &vestibule.inner.frontends)?;
    Ok((form, frontend))
}

/// RFC 6749 section 5.2.
fn refused(headers: &HeaderMap, path: &str, refusal: Refusal) -> Response {
    events::client_refused(path, &refusal);
    let status = match refusal.error {
        OAuthError::InvalidClient => StatusCode::UNAUTHORIZED,
        OAuthError::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        OAuthError::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({
        "error": refusal.error.as_str(),
        "error_description": texts::oauth_error(refusal.error),
    });
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED && headers.contains_key(header::AUTHORIZATION) {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"vestibule\", charset=\"UTF-8\""),
        );
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    no_cache(response)
}

fn no_cache(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn bearer_body(made: &NewAccessToken) -> Value {
    json!({
        "access_token": made.token.as_str(),
        "token_type": "Bearer",
        "expires_in": made.expires_in,
    })
}

/// `POST /auth/session/token`: a fresh access token for a page of our own site.
pub(super) async fn session_token(
    State(vestibule): State<Vestibule>,
    headers: HeaderMap,
) -> Response {
    let outcome = async {
        let signed_in = match vestibule.inner.cookies.session(&headers) {
            Some(token) => vestibule.signed_in(&token).await?,
            None => None,
        };
        let signed_in = signed_in
            .ok_or_else(|| Failure::new(Code::Unauthorized, "no_session", "nobody is signed in"))?;
        vestibule.own_access_token(&signed_in).await
    };
    match outcome.await {
        Ok(made) => no_cache(Json(bearer_body(&made)).into_response()),
        Err(failure) => Answer::failed(&vestibule, failure, answer::Form::Problem).into_response(),
    }
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414 section 3)
pub(super) async fn metadata(State(vestibule): State<Vestibule>) -> Response {
    let at = |path: &str| vestibule.inner.public_url_of(path);
    let methods = json!(["client_secret_basic", "client_secret_post", "none"]);
    let has_codes = vestibule
        .inner
        .frontends
        .iter()
        .any(|frontend| frontend.hand_off == HandOff::Code);
    let prompts = if has_codes {
        json!(["none", "login", "select_account"])
    } else {
        json!(["login", "select_account"])
    };
    published(json!({
        "issuer": vestibule.inner.issuer(),
        "authorization_endpoint": at(request::PATH),
        "token_endpoint": at("/oauth/token"),
        "revocation_endpoint": at("/oauth/revoke"),
        "introspection_endpoint": at("/oauth/introspect"),
        "jwks_uri": at("/.well-known/jwks.json"),
        "scopes_supported": SCOPE.split(' ').collect::<Vec<_>>(),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": prompts,
        "authorization_response_iss_parameter_supported": true,
    }))
}

/// `GET /.well-known/oauth-authorization-server/{path}`: our metadata where the path is that of `public_url`.
pub(super) async fn metadata_below(
    State(vestibule): State<Vestibule>,
    Named(path): Named,
) -> Response {
    if format!("/{}", path.trim_end_matches('/')) == vestibule.inner.base_path {
        return metadata(State(vestibule)).await;
    }
    Answer::plain(Code::NotFound, answer::Form::Problem).into_response()
}

/// `GET /.well-known/jwks.json` (RFC 7517 section 5)
pub(super) async fn jwks(State(vestibule): State<Vestibule>) -> Response {
    match vestibule.keyring().await {
        Ok(keyring) => published(keyring.jwks()),
        Err(failure) => Answer::failed(&vestibule, failure, answer::Form::Problem).into_response(),
    }
}

/// What anybody may read and keep for five minutes.
fn published(body: Value) -> Response {
    let mut response = Json(body).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    // The same for everybody: no cookie changes it.
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}
