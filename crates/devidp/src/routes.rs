//! The routes, what a client discovers, and our own pages. Each is honest, with one arm for each fault that acts on the wire.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering};

use askama::Template;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::{
    OTHER_ISSUER, assertion,
    authorize::authorize,
    fault::Fault,
    pages::{self, Frame},
    provider::{Provider, PushedRequests, is_loopback},
    pushed::par,
    resources::{calendar, userinfo},
    revocation::revoke,
    token_endpoint::{elsewhere_token, token},
    tokens,
};

/// A form is never longer.
const LONGEST_FORM: usize = 64 * 1024;
/// What stands before a huge answer.
const HUGE: usize = 2 * 1024 * 1024;

const METADATA: &str = "/.well-known/openid-configuration";
pub(crate) const JSON: &str = "application/json; charset=utf-8";
pub(crate) const HTML: &str = "text/html; charset=utf-8";

pub(crate) type Shared = State<Arc<Provider>>;

/// All routes, below the path of the issuer.
pub(crate) fn router(provider: Arc<Provider>, path: &str) -> Router {
    let routes = Router::new()
        .route("/", get(home))
        .route(METADATA, get(metadata))
        .route("/jwks", get(jwks))
        .route("/authorize", get(authorize))
        .route("/par", post(par))
        .route("/token", post(token))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/revoke", post(revoke))
        .route("/api/calendar", get(calendar))
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

/// OIDC Discovery 1.0 section 3, with what RFC 8414, RFC 9126 and RFC 9207 add.
fn metadata_of(provider: &Provider) -> Value {
    let at = |path: &str| provider.url(path);
    let methods = provider.client_authentication_methods();
    let mut metadata = json!({
        "issuer": provider.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "revocation_endpoint": at("/revoke"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile", "offline_access"],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "claims_supported":
            ["aud", "email", "email_verified", "exp", "family_name", "given_name", "iat", "iss", "name", "picture", "sub"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": provider.callback_issuer().is_some(),
        "pushed_authorization_request_endpoint": at("/par"),
        "require_pushed_authorization_requests":
            provider.settings.pushed_requests == PushedRequests::Required,
    });
    if methods.contains(&"private_key_jwt") {
        for endpoint in ["token", "revocation"] {
            metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")] =
                json!(assertion::ALGORITHMS);
        }
    }
    metadata
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

// ---- Our own pages ------------------------------------------------------------------------------------------------

async fn home(State(provider): Shared) -> Response {
    page(&provider, StatusCode::OK, |frame| pages::Home {
        frame,
        issuer: &provider.issuer,
        people: &provider.settings.people,
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
pub(crate) fn refused(provider: &Provider, title: &str, detail: &str) -> Response {
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

pub(crate) fn page<'a, T: Template>(
    provider: &'a Provider,
    status: StatusCode,
    build: impl FnOnce(Frame<'a>) -> T,
) -> Response {
    page_under(provider, status, "form-action 'self'", "no-referrer", build)
}

/// A page whose form the browser posts to the client, at once where it runs scripts (Form Post Response Mode, section 2).
pub(crate) fn self_posting_page(
    provider: &Provider,
    redirect_uri: &Url,
    fields: &[(&str, &str)],
) -> Response {
    // No `form-action`: browsers hold it against every redirect after the form too, and where the client redirects to is
    // its own affair. The referrer policy lets the client see our `Origin`, as at Apple; without it there is `null`.
    page_under(provider, StatusCode::OK, "", "strict-origin", |frame| {
        pages::FormPost {
            frame,
            action: redirect_uri.as_str(),
            fields,
        }
    })
}

fn page_under<'a, T: Template>(
    provider: &'a Provider,
    status: StatusCode,
    form_action: &str,
    referrer_policy: &'static str,
    build: impl FnOnce(Frame<'a>) -> T,
) -> Response {
    let nonce = tokens::random::<16>();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; frame-ancestors 'none'; {form_action}"
    );
    let frame = Frame {
        nonce,
        name: &provider.settings.name,
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
        (header::REFERRER_POLICY, referrer_policy.to_owned()),
    ];
    (status, headers, html).into_response()
}

// ---- Answers ------------------------------------------------------------------------------------------------------

/// The parameters of a query or a form; `None` where one stands there twice.
pub(crate) fn unique_parameters(text: &[u8]) -> Option<HashMap<String, String>> {
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

pub(crate) fn back(url: &Url) -> Response {
    let headers = [
        (header::LOCATION, url.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (StatusCode::FOUND, headers).into_response()
}

pub(crate) fn found(location: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

pub(crate) fn broken() -> Response {
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

pub(crate) fn huge(honest: &Value) -> Response {
    answer(JSON, format!("{}{honest}", " ".repeat(HUGE)))
}

pub(crate) fn private_json(body: &Value) -> Response {
    answer(JSON, body.to_string())
}

pub(crate) fn answer(content_type: &'static str, body: String) -> Response {
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
