//! The endpoints. Each is honest, with one arm for each fault that acts on the wire.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering};

use askama::Template;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use crate::{
    OTHER_ISSUER,
    fault::Fault,
    pages::{self, Choice, Frame},
    people::Person,
    provider::{Grant, Provider, SeenTokenRequest, TOKEN_SECONDS, is_loopback},
    tokens::{self, Facts},
};

/// A form is never longer.
const LONGEST_FORM: usize = 64 * 1024;
/// What stands before a huge answer.
const HUGE: usize = 2 * 1024 * 1024;

const METADATA: &str = "/.well-known/openid-configuration";
const JSON: &str = "application/json; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

type Shared = State<Arc<Provider>>;

/// All routes, below the path of the issuer.
pub(crate) fn router(provider: Arc<Provider>, path: &str) -> Router {
    let routes = Router::new()
        .route("/", get(home))
        .route(METADATA, get(metadata))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/faults", get(faults).post(choose_fault))
        .route("/elsewhere/metadata", get(honest_metadata))
        .route("/elsewhere/jwks", get(honest_jwks))
        .route(
            "/elsewhere/token",
            get(elsewhere_token).post(elsewhere_token),
        )
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&provider),
            only_known_hosts,
        ))
        .with_state(provider);
    if path.is_empty() {
        routes
    } else {
        Router::new().nest(path, routes)
    }
}

/// Another name that leads here is a site that points its own name at this computer (DNS rebinding): it must not read
/// these pages, nor choose faults.
async fn only_known_hosts(State(provider): Shared, request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| Url::parse(&format!("http://{host}/")).ok());
    let issuer = Url::parse(&provider.issuer).ok();
    let is_known = host.is_some_and(|host| {
        is_loopback(host.host())
            || issuer.is_some_and(|issuer| issuer.host_str() == host.host_str())
    });
    if is_known {
        next.run(request).await
    } else {
        (
            StatusCode::MISDIRECTED_REQUEST,
            "the stand-in is served on loopback alone\n",
        )
            .into_response()
    }
}

// ---- Discovery and keys -------------------------------------------------------------------------------------------

/// OIDC Discovery 1.0 section 3, with `authorization_response_iss_parameter_supported` of RFC 9207.
fn metadata_of(provider: &Provider) -> Value {
    let at = |path: &str| provider.url(path);
    json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported":
            ["aud", "email", "email_verified", "exp", "family_name", "given_name", "iat", "iss", "name", "picture", "sub"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

async fn metadata(State(provider): Shared) -> Response {
    provider.counts.metadata.fetch_add(1, Ordering::SeqCst);
    let mut honest = metadata_of(&provider);
    match provider.fault() {
        Fault::Metadata500 => broken(),
        Fault::MetadataHtml => html_for_json(),
        Fault::MetadataRedirect => found(&provider.url("/elsewhere/metadata")),
        Fault::MetadataHuge => huge(&honest),
        Fault::MetadataSlow => {
            provider.be_slow().await;
            public_json(&honest)
        }
        Fault::MetadataWrongIssuer => {
            honest["issuer"] = OTHER_ISSUER.into();
            public_json(&honest)
        }
        Fault::MetadataHttpEndpoint => {
            honest["token_endpoint"] = "http://idp.example/token".into();
            public_json(&honest)
        }
        _ => public_json(&honest),
    }
}

async fn jwks(State(provider): Shared) -> Response {
    provider.counts.jwks.fetch_add(1, Ordering::SeqCst);
    let mut honest = provider.keys().jwks();
    match provider.fault() {
        Fault::Jwks500 => broken(),
        Fault::JwksHtml => html_for_json(),
        Fault::JwksRedirect => found(&provider.url("/elsewhere/jwks")),
        Fault::JwksHuge => huge(&honest),
        Fault::JwksEmpty => public_json(&json!({ "keys": [] })),
        Fault::JwksSlow => {
            provider.be_slow().await;
            public_json(&honest)
        }
        Fault::JwksBadKeyBeside => {
            if let Some(keys) = honest["keys"].as_array_mut() {
                keys.splice(0..0, unusable_keys());
            }
            public_json(&honest)
        }
        _ => public_json(&honest),
    }
}

/// Keys that a client has to step over: of no known type, too short, broken, for another use.
fn unusable_keys() -> [Value; 5] {
    [
        json!({ "kty": "oct", "kid": "symmetric", "k": "c2VjcmV0" }),
        json!({ "kty": "XYZ", "kid": "of-tomorrow" }),
        json!({ "kty": "RSA", "kid": "short", "alg": "RS256", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "EC", "kid": "broken", "crv": "P-256", "x": "!", "y": "!" }),
        json!({ "kty": "RSA", "kid": "for-encryption", "use": "enc", "n": "AQAB", "e": "AQAB" }),
    ]
}

async fn honest_metadata(State(provider): Shared) -> Response {
    public_json(&metadata_of(&provider))
}

async fn honest_jwks(State(provider): Shared) -> Response {
    public_json(&provider.keys().jwks())
}

// ---- The authorization endpoint -----------------------------------------------------------------------------------

/// RFC 6749 section 4.1.1 and OIDC Core 3.1.2: who are you, and may the client know?
///
/// `user` chooses and consents in one step, for tests; `choose` and `cancel` come from our own pages.
async fn authorize(State(provider): Shared, RawQuery(query): RawQuery) -> Response {
    provider.counts.authorize.fetch_add(1, Ordering::SeqCst);
    let query = query.unwrap_or_default();
    let request = match AuthorizationRequest::parse(&provider, &query) {
        Ok(request) => request,
        Err(Refusal::OnPage { title, detail }) => return refused(&provider, title, &detail),
        Err(Refusal::ToClient {
            redirect,
            error,
            description,
        }) => return redirect.error(&provider, error, description),
    };
    if request.parameters.contains_key("cancel") {
        return request
            .redirect
            .error(&provider, "access_denied", "the person does not want to");
    }
    if let Some(user) = request.parameters.get("user") {
        return match provider.person(user) {
            Some(person) => grant(&provider, &request, person),
            None => refused(
                &provider,
                "Nobody of that name",
                "The parameter user names nobody who can sign in here.",
            ),
        };
    }
    let prompt = |word: &str| {
        request
            .parameters
            .get("prompt")
            .is_some_and(|prompt| prompt.split(' ').any(|p| p == word))
    };
    if prompt("none") {
        return request
            .redirect
            .error(&provider, "login_required", "nobody is signed in here");
    }
    let chosen = request.parameters.get("choose");
    let hinted = request
        .parameters
        .get("login_hint")
        .filter(|_| !prompt("select_account"));
    match chosen.or(hinted).and_then(|hint| provider.person(hint)) {
        Some(person) => consent_page(&provider, &request, person),
        None => choose_page(&provider, &request),
    }
}

/// Where an answer to the client goes, once the address is known to be its own.
struct RedirectTo {
    redirect_uri: Url,
    state: Option<String>,
}

impl RedirectTo {
    /// RFC 6749 section 4.1.2.1, with `iss` (RFC 9207).
    fn error(&self, provider: &Provider, error: &str, description: &str) -> Response {
        let mut url = self.redirect_uri.clone();
        url.query_pairs_mut()
            .append_pair("error", error)
            .append_pair("error_description", description);
        if let Some(state) = &self.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        url.query_pairs_mut().append_pair("iss", &provider.issuer);
        back(&url)
    }
}

enum Refusal {
    /// The client or its address is not known: the person reads it here.
    OnPage { title: &'static str, detail: String },
    /// The client reads it.
    ToClient {
        redirect: Box<RedirectTo>,
        error: &'static str,
        description: &'static str,
    },
}

struct AuthorizationRequest {
    parameters: HashMap<String, String>,
    redirect: RedirectTo,
    client_id: String,
    scope: String,
    code_challenge: String,
}

impl AuthorizationRequest {
    fn parse(provider: &Provider, query: &str) -> Result<Self, Refusal> {
        let on_page = |title, detail: &str| Refusal::OnPage {
            title,
            detail: detail.to_owned(),
        };
        let parameters = unique_parameters(query.as_bytes()).ok_or_else(|| {
            on_page(
                "A parameter twice",
                "The request says one of its parameters twice (RFC 6749 section 3.1).",
            )
        })?;
        let get = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        if provider.client(get("client_id")).is_none() {
            return Err(on_page(
                "Unknown client",
                "No client of this client_id is registered here.",
            ));
        }
        let uri = get("redirect_uri");
        let redirect_uri = Url::parse(uri)
            .ok()
            .filter(|_| provider.accepts_redirect_uri(uri))
            .ok_or_else(|| {
                on_page(
                    "redirect_uri_mismatch",
                    &format!("This redirect_uri is not registered for the client: {uri:?}"),
                )
            })?;
        let redirect = RedirectTo {
            redirect_uri,
            state: parameters.get("state").cloned(),
        };

        let scope = get("scope").to_owned();
        let wrong = if get("response_type") != "code" {
            Some(("unsupported_response_type", "response_type must be code"))
        } else if !matches!(get("response_mode"), "" | "query") {
            Some(("invalid_request", "response_mode must be query"))
        } else if !scope.split(' ').any(|scope| scope == "openid") {
            Some(("invalid_scope", "scope must contain openid"))
        } else if parameters.contains_key("request") || parameters.contains_key("request_uri") {
            Some(("request_not_supported", "request objects are not supported"))
        } else if get("code_challenge_method") != "S256" || get("code_challenge").len() != 43 {
            Some(("invalid_request", "PKCE with S256 is required (RFC 7636)"))
        } else {
            None
        };
        if let Some((error, description)) = wrong {
            return Err(Refusal::ToClient {
                redirect: Box::new(redirect),
                error,
                description,
            });
        }
        Ok(Self {
            client_id: get("client_id").to_owned(),
            code_challenge: get("code_challenge").to_owned(),
            scope,
            redirect,
            parameters,
        })
    }

    /// This request again, with one step more.
    fn href(&self, provider: &Provider, step: Option<(&str, &str)>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut names: Vec<_> = self
            .parameters
            .iter()
            .filter(|(name, _)| *name != "choose")
            .collect();
        names.sort();
        query.extend_pairs(names);
        query.extend_pairs(step);
        format!("{}?{}", provider.url("/authorize"), query.finish())
    }
}

fn choose_page(provider: &Provider, request: &AuthorizationRequest) -> Response {
    page(provider, StatusCode::OK, |frame| pages::Choose {
        frame,
        client: &request.client_id,
        choices: provider
            .people
            .iter()
            .map(|person| Choice {
                person,
                href: request.href(provider, Some(("choose", &person.email))),
            })
            .collect(),
        cancel_href: request.href(provider, Some(("cancel", "1"))),
    })
}

fn consent_page(provider: &Provider, request: &AuthorizationRequest, person: &Person) -> Response {
    let redirect_uri = &request.redirect.redirect_uri;
    page(provider, StatusCode::OK, |frame| pages::Consent {
        frame,
        client: &request.client_id,
        back_to: redirect_uri.origin().ascii_serialization(),
        person,
        asks: pages::scope_in_words(&request.scope),
        allow_href: request.href(provider, Some(("user", &person.email))),
        cancel_href: request.href(provider, Some(("cancel", "1"))),
        other_href: {
            let mut again = request.parameters.clone();
            again.remove("login_hint");
            again.insert("prompt".to_owned(), "select_account".to_owned());
            let mut query: Vec<_> = again.iter().filter(|(name, _)| *name != "choose").collect();
            query.sort();
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(query)
                .finish();
            format!("{}?{query}", provider.url("/authorize"))
        },
    })
}

/// The person consents: a code for the client (RFC 6749 section 4.1.2).
fn grant(provider: &Provider, request: &AuthorizationRequest, person: &Person) -> Response {
    let nonce = request.parameters.get("nonce").cloned();
    let fault = provider.fault();
    let redirect = &request.redirect;
    if fault == Fault::CallbackErrorServerError {
        return redirect.error(provider, "server_error", "something broke");
    }
    let code = provider.issue_code(Grant {
        client_id: request.client_id.clone(),
        redirect_uri: request
            .parameters
            .get("redirect_uri")
            .cloned()
            .unwrap_or_default(),
        scope: request.scope.clone(),
        nonce: nonce.clone(),
        code_challenge: request.code_challenge.clone(),
        person: person.clone(),
        issued_at: provider.now(),
    });

    let mut url = redirect.redirect_uri.clone();
    let mut add = |name: &str, value: &str| {
        url.query_pairs_mut().append_pair(name, value);
    };
    match (&redirect.state, fault) {
        (_, Fault::CallbackMissingState) | (None, _) => {}
        (Some(state), Fault::CallbackWrongState) => add("state", &other_text(state)),
        (Some(state), _) => add("state", state),
    }
    match fault {
        Fault::CallbackMissingIss => {}
        Fault::CallbackWrongIss => add("iss", OTHER_ISSUER),
        _ => add("iss", &provider.issuer),
    }
    add("code", &code);
    match fault {
        Fault::CallbackDuplicateCode => add("code", &code),
        Fault::CallbackCodeAndError => add("error", "access_denied"),
        Fault::CallbackWithIdToken => {
            let facts = Facts {
                issuer: &provider.issuer,
                client_id: &request.client_id,
                person,
                scope: &request.scope,
                nonce: nonce.as_deref(),
                access_token: None,
                now: provider.now(),
            };
            add(
                "id_token",
                &tokens::id_token(&facts, &provider.keys(), "", Fault::None),
            );
        }
        _ => {}
    }
    // As Google does; a client has to ignore what it does not know (RFC 6749 section 4.1.2).
    add("scope", &request.scope);
    add("authuser", "0");
    add("prompt", "consent");
    back(&url)
}

/// Text of the same length that is another one.
fn other_text(text: &str) -> String {
    let mut bytes: Vec<char> = text.chars().collect();
    if let Some(middle) = bytes.len().checked_div(2).and_then(|at| bytes.get_mut(at)) {
        *middle = if *middle == 'A' { 'B' } else { 'A' };
    }
    bytes.into_iter().collect()
}

// ---- The token endpoint -------------------------------------------------------------------------------------------

/// RFC 6749 section 4.1.3, for `authorization_code`, with PKCE (RFC 7636 section 4.6).
async fn token(State(provider): Shared, headers: HeaderMap, body: Bytes) -> Response {
    provider.counts.token.fetch_add(1, Ordering::SeqCst);
    provider.saw_token_request(SeenTokenRequest {
        authorization: headers
            .get(header::AUTHORIZATION)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        form: String::from_utf8_lossy(&body).into_owned(),
    });
    let fault = provider.fault();
    match fault {
        Fault::Token500 => return broken(),
        Fault::TokenEmpty => return ([(header::CONTENT_TYPE, JSON)], "").into_response(),
        Fault::TokenInvalidGrant => {
            return TokenError::invalid_grant("the code is not good").into_response();
        }
        Fault::TokenInvalidClient => return TokenError::invalid_client(false).into_response(),
        Fault::TokenErrorAs200 => {
            return private_json(
                &json!({ "error": "invalid_grant", "error_description": "the code is not good" }),
            );
        }
        Fault::TokenSlow => provider.be_slow().await,
        Fault::RotatedKeys => {
            let provider = Arc::clone(&provider);
            // A key takes a moment, in which the runtime has other things to do.
            let _ = tokio::task::spawn_blocking(move || provider.rotate_keys()).await;
        }
        _ => {}
    }
    let honest = match exchange(&provider, &headers, &body, fault) {
        Ok(honest) => honest,
        Err(error) => return error.into_response(),
    };
    spoil_token_answer(&provider, honest, fault)
}

fn spoil_token_answer(
    provider: &Provider,
    mut honest: Map<String, Value>,
    fault: Fault,
) -> Response {
    match fault {
        Fault::NoIdToken => {
            honest.remove("id_token");
        }
        Fault::NoExpiresIn => {
            honest.remove("expires_in");
        }
        Fault::TokenTypeMac => {
            honest.insert("token_type".to_owned(), "mac".into());
        }
        Fault::TokenTypeLowerCase => {
            honest.insert("token_type".to_owned(), "bearer".into());
        }
        _ => {}
    }
    let honest = Value::Object(honest);
    let mut text = honest.to_string();
    match fault {
        Fault::TokenHtml => return answer(HTML, text),
        Fault::TokenHuge => return huge(&honest),
        Fault::TokenJsonArray => text = format!("[{text}]"),
        Fault::TokenDuplicateMember => text.insert_str(1, r#""access_token":"another","#),
        Fault::TokenDeeplyNested => {
            text.insert_str(
                1,
                &format!(r#""deep":{}{},"#, "[".repeat(10_000), "]".repeat(10_000)),
            );
        }
        Fault::TokenRedirect => {
            provider.put_elsewhere(text);
            return found(&provider.url("/elsewhere/token"));
        }
        _ => {}
    }
    answer(JSON, text)
}

/// Where the faulty redirect leads: the honest answer, for a client that follows.
async fn elsewhere_token(State(provider): Shared) -> Response {
    match provider.elsewhere() {
        Some(text) => answer(JSON, text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// RFC 6749 section 5.2.
#[derive(Debug)]
struct TokenError {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    challenge: bool,
}

impl TokenError {
    fn bad(error: &'static str, description: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description,
            challenge: false,
        }
    }

    fn invalid_grant(description: &'static str) -> Self {
        Self::bad("invalid_grant", description)
    }

    fn invalid_client(with_basic: bool) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            challenge: with_basic,
            ..Self::bad(
                "invalid_client",
                "the client is not known, or its secret is another one",
            )
        }
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = private_json(&body);
        *response.status_mut() = self.status;
        if self.challenge {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"stand-in\""),
            );
        }
        response
    }
}

/// A code for tokens: the members of the answer.
fn exchange(
    provider: &Provider,
    headers: &HeaderMap,
    body: &[u8],
    fault: Fault,
) -> Result<Map<String, Value>, TokenError> {
    let is_form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.split(';').next().unwrap_or_default().trim()
                == "application/x-www-form-urlencoded"
        });
    if !is_form {
        return Err(TokenError::bad(
            "invalid_request",
            "the body must be application/x-www-form-urlencoded",
        ));
    }
    let form = unique_parameters(body)
        .ok_or_else(|| TokenError::bad("invalid_request", "a parameter stands there twice"))?;
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let (client_id, client_secret) = authenticate(provider, headers, &form)?;
    if get("grant_type") != "authorization_code" {
        return Err(TokenError::bad(
            "unsupported_grant_type",
            "grant_type must be authorization_code",
        ));
    }
    let grant = provider
        .take_code(get("code"))
        .ok_or_else(|| TokenError::invalid_grant("the code is unknown, used or too old"))?;
    if grant.client_id != client_id {
        return Err(TokenError::invalid_grant(
            "the code belongs to another client",
        ));
    }
    if grant.redirect_uri != get("redirect_uri") {
        return Err(TokenError::invalid_grant(
            "redirect_uri is not that of the authorization request",
        ));
    }
    if tokens::base64url(&tokens::sha256(get("code_verifier").as_bytes())) != grant.code_challenge {
        return Err(TokenError::invalid_grant(
            "code_verifier does not belong to code_challenge",
        ));
    }

    let access_token = provider.issue_token(grant.person.clone(), grant.scope.clone());
    let facts = Facts {
        issuer: &provider.issuer,
        client_id: &client_id,
        person: &grant.person,
        scope: &grant.scope,
        nonce: grant.nonce.as_deref(),
        access_token: Some(&access_token),
        now: provider.now(),
    };
    let id_token = tokens::id_token(&facts, &provider.keys(), &client_secret, fault);
    let mut honest = Map::new();
    honest.insert("access_token".to_owned(), access_token.into());
    honest.insert("expires_in".to_owned(), TOKEN_SECONDS.into());
    honest.insert("scope".to_owned(), grant.scope.into());
    honest.insert("token_type".to_owned(), "Bearer".into());
    honest.insert("id_token".to_owned(), id_token.into());
    Ok(honest)
}

/// RFC 6749 section 2.3.1: one way to say who the client is, not two. Gives its id and its secret.
fn authenticate(
    provider: &Provider,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<(String, String), TokenError> {
    let basic = headers.get(header::AUTHORIZATION);
    let (client_id, client_secret) = match (basic, form.get("client_secret")) {
        (Some(_), Some(_)) => {
            return Err(TokenError::bad(
                "invalid_request",
                "the client authenticates in two ways",
            ));
        }
        (Some(value), None) => {
            basic_credentials(value).ok_or_else(|| TokenError::invalid_client(true))?
        }
        (None, Some(secret)) => (
            form.get("client_id").cloned().unwrap_or_default(),
            secret.clone(),
        ),
        (None, None) => return Err(TokenError::invalid_client(false)),
    };
    provider
        .client(&client_id)
        .filter(|client| client.client_secret == client_secret)
        .ok_or_else(|| TokenError::invalid_client(basic.is_some()))?;
    Ok((client_id, client_secret))
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic_credentials(value: &HeaderValue) -> Option<(String, String)> {
    let text = value.to_str().ok()?;
    let (scheme, credentials) = text.split_once(' ')?;
    let decoded = STANDARD
        .decode(credentials.trim())
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| {
        form_urlencoded::parse(format!("v={text}").as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((plain(id)?, plain(secret)?))
}

// ---- UserInfo -----------------------------------------------------------------------------------------------------

/// OIDC Core 5.3.
async fn userinfo(State(provider): Shared, headers: HeaderMap) -> Response {
    provider.counts.userinfo.fetch_add(1, Ordering::SeqCst);
    let access = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, token)| provider.access(token.trim()));
    let Some(access) = access else {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    };
    let fault = provider.fault();
    let mut claims = tokens::person_claims(&access.person, &access.scope);
    tokens::spoil_email(&mut claims, fault);
    if fault == Fault::UserinfoWrongSubject {
        claims.insert("sub".to_owned(), "100000000000000000000".into());
    }
    let claims = Value::Object(claims);
    match fault {
        Fault::UserinfoError => broken(),
        Fault::UserinfoHtml => answer(HTML, claims.to_string()),
        _ => private_json(&claims),
    }
}

// ---- Our own pages ------------------------------------------------------------------------------------------------

async fn home(State(provider): Shared) -> Response {
    page(&provider, StatusCode::OK, |frame| pages::Home {
        frame,
        issuer: &provider.issuer,
        people: &provider.people,
        metadata_href: provider.url(METADATA),
        jwks_href: provider.url("/jwks"),
    })
}

async fn faults(State(provider): Shared) -> Response {
    page(&provider, StatusCode::OK, |frame| pages::Faults {
        frame,
        groups: pages::Group::all(),
    })
}

/// Chooses a fault. Only from a page of ours: another site must not break somebody's development by a hidden form.
async fn choose_fault(State(provider): Shared, headers: HeaderMap, body: Bytes) -> Response {
    if !is_same_origin(&headers) {
        return told(
            &provider,
            StatusCode::FORBIDDEN,
            "Not from here",
            "This form must be sent from the page of faults itself.",
        );
    }
    let form = unique_parameters(&body).unwrap_or_default();
    match form.get("fault").map(|name| name.parse::<Fault>()) {
        Some(Ok(fault)) => {
            provider.set_fault(fault);
            Redirect::to(&provider.url("/faults")).into_response()
        }
        Some(Err(unknown)) => told(
            &provider,
            StatusCode::BAD_REQUEST,
            "No such fault",
            &unknown.to_string(),
        ),
        None => told(
            &provider,
            StatusCode::BAD_REQUEST,
            "No fault chosen",
            "Send fault=<name>; the page of faults lists the names.",
        ),
    }
}

/// The browser says that the form is ours; a program without those headers is not a browser that could be tricked.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            origin.split_once("://").map(|(_, authority)| authority) == text("host")
        }
        (None, None) => true,
    }
}

/// An authorization request that must not lead back.
fn refused(provider: &Provider, title: &str, detail: &str) -> Response {
    page(provider, StatusCode::BAD_REQUEST, |frame| pages::Refused {
        frame,
        title,
        detail,
        is_authorization: true,
    })
}

fn told(provider: &Provider, status: StatusCode, title: &str, detail: &str) -> Response {
    page(provider, status, |frame| pages::Refused {
        frame,
        title,
        detail,
        is_authorization: false,
    })
}

async fn nowhere(State(provider): Shared) -> Response {
    told(
        &provider,
        StatusCode::NOT_FOUND,
        "Nothing is here",
        "The stand-in has no page at this address; its first page is /.",
    )
}

fn page<'a, T: Template>(
    provider: &'a Provider,
    status: StatusCode,
    build: impl FnOnce(Frame<'a>) -> T,
) -> Response {
    let nonce = tokens::random::<16>();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let frame = Frame {
        nonce,
        name: &provider.name,
        fault: provider.fault(),
        faults_href: provider.url("/faults"),
    };
    let html = build(frame)
        .render()
        .unwrap_or_else(|_| "the page could not be drawn".to_owned());
    let headers = [
        (header::CONTENT_TYPE, HTML.to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (status, headers, html).into_response()
}

// ---- Answers ------------------------------------------------------------------------------------------------------

/// The parameters of a query or a form; `None` where one stands there twice.
fn unique_parameters(text: &[u8]) -> Option<HashMap<String, String>> {
    let mut parameters = HashMap::new();
    for (name, value) in form_urlencoded::parse(text) {
        if parameters
            .insert(name.into_owned(), value.into_owned())
            .is_some()
        {
            return None;
        }
    }
    Some(parameters)
}

fn back(url: &Url) -> Response {
    let headers = [
        (header::LOCATION, url.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::FOUND, headers).into_response()
}

fn found(location: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

fn broken() -> Response {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "the stand-in was told to break\n",
    )
        .into_response()
}

fn html_for_json() -> Response {
    answer(
        HTML,
        "<!doctype html><title>Down</title><p>The service is being worked on.".to_owned(),
    )
}

fn huge(honest: &Value) -> Response {
    answer(JSON, format!("{}{honest}", " ".repeat(HUGE)))
}

fn private_json(body: &Value) -> Response {
    answer(JSON, body.to_string())
}

fn answer(content_type: &'static str, body: String) -> Response {
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::PRAGMA, "no-cache"),
        ],
        body,
    )
        .into_response()
}

/// Metadata and keys may be kept for a while, as at Google.
fn public_json(body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, JSON),
        (
            header::CACHE_CONTROL,
            "public, max-age=3600, must-revalidate",
        ),
    ];
    (headers, body.to_string()).into_response()
}
