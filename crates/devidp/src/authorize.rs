//! The authorization endpoint: who the person is, and whether the client may know.

use std::{collections::HashMap, sync::atomic::Ordering};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::StatusCode;
use url::{Url, form_urlencoded};

use crate::{
    OTHER_ISSUER,
    fault::Fault,
    pages::{self, Choice},
    people::Person,
    provider::{Grant, Provider, PushedRequests},
    routes::{Shared, back, page, refused, self_posting_page, unique_parameters},
    token_endpoint::TokenError,
    tokens::{self, Facts},
};

/// The steps that the URL says beside the request of the client: `user` chooses and consents in one step, for tests; `choose`
/// and `cancel` come from our own pages.
const STEPS: [&str; 3] = ["user", "choose", "cancel"];

/// RFC 6749 section 4.1.1 and OIDC Core 3.1.2: who are you, and may the client know?
pub(crate) async fn authorize(State(provider): Shared, RawQuery(query): RawQuery) -> Response {
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
        request.end_visit(&provider);
        return request
            .redirect
            .error(&provider, "access_denied", "the person does not want to");
    }
    if let Some(user) = request.parameters.get("user") {
        return match provider.person(user) {
            Some(person) => {
                request.end_visit(&provider);
                grant(&provider, &request, person)
            }
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
    let hint = chosen.or(hinted).filter(|hint| !hint.is_empty());
    match hint.and_then(|hint| provider.person(hint)) {
        Some(person) => consent_page(&provider, &request, person),
        None => choose_page(&provider, &request),
    }
}

/// How an answer gets to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ResponseMode {
    /// In the query of a redirect.
    Query,
    /// By a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

/// Where an answer to the client goes, once the address is known to be its own.
pub(crate) struct RedirectTo {
    redirect_uri: Url,
    state: Option<String>,
    response_mode: ResponseMode,
}

impl RedirectTo {
    /// RFC 6749 section 4.1.2.1, with `iss` (RFC 9207).
    fn error(&self, provider: &Provider, error: &str, description: &str) -> Response {
        let mut answer = vec![("error", error), ("error_description", description)];
        if let Some(state) = &self.state {
            answer.push(("state", state));
        }
        answer.extend(provider.callback_issuer().map(|issuer| ("iss", issuer)));
        self.send(provider, &answer)
    }

    fn send(&self, provider: &Provider, answer: &[(&str, &str)]) -> Response {
        match self.response_mode {
            ResponseMode::Query => {
                let mut url = self.redirect_uri.clone();
                url.query_pairs_mut().extend_pairs(answer);
                back(&url)
            }
            ResponseMode::FormPost => self_posting_page(provider, &self.redirect_uri, answer),
        }
    }
}

pub(crate) enum Refusal {
    /// The client or its address is not known: the person reads it here.
    OnPage { title: &'static str, detail: String },
    /// The client reads it.
    ToClient {
        redirect: Box<RedirectTo>,
        error: &'static str,
        description: &'static str,
    },
}

impl Refusal {
    /// The same, where the client pushed the request and is told at once (RFC 9126 section 2.3).
    pub(crate) fn to_the_pushing_client(&self) -> TokenError {
        match self {
            Self::OnPage { title, .. } => TokenError::bad("invalid_request", title),
            Self::ToClient {
                error, description, ..
            } => TokenError::bad(error, description),
        }
    }
}

pub(crate) struct AuthorizationRequest {
    pub(crate) parameters: HashMap<String, String>,
    /// By what our pages name a request that was pushed.
    visit: Option<String>,
    redirect: RedirectTo,
    client_id: String,
    scope: String,
    code_challenge: String,
}

impl AuthorizationRequest {
    /// The request of a URL: all of it, or the name of what was pushed.
    fn parse(provider: &Provider, query: &str) -> Result<Self, Refusal> {
        let in_url = unique_parameters(query.as_bytes()).ok_or_else(|| {
            on_page(
                "A parameter twice",
                "The request says one of its parameters twice (RFC 6749 section 3.1).",
            )
        })?;
        let visit = match (in_url.get("visit"), in_url.get("request_uri")) {
            (Some(visit), _) => Some(visit.clone()),
            (None, Some(request_uri)) => {
                let client_id = in_url.get("client_id").map(String::as_str);
                let visit = provider.begin_visit(request_uri, client_id.unwrap_or_default());
                Some(visit.ok_or_else(|| {
                    on_page(
                        "invalid_request_uri",
                        "This request_uri was used, is too old, or belongs to another client (RFC 9126 section 4).",
                    )
                })?)
            }
            (None, None) => None,
        };
        let Some(visit) = visit else {
            let request = Self::check(provider, in_url, None)?;
            return match provider.settings.pushed_requests {
                PushedRequests::Allowed => Ok(request),
                PushedRequests::Required => Err(Refusal::ToClient {
                    redirect: Box::new(request.redirect),
                    error: "invalid_request",
                    description: "the request has to be pushed first (RFC 9126)",
                }),
            };
        };
        let mut parameters = provider.visited(&visit).ok_or_else(|| {
            on_page(
                "This page is too old",
                "Go back to the application and sign in from there again.",
            )
        })?;
        // Nothing else of the URL counts (RFC 9101 section 6.3).
        let steps = in_url
            .into_iter()
            .filter(|(name, _)| STEPS.contains(&name.as_str()));
        parameters.extend(steps);
        Self::check(provider, parameters, Some(visit))
    }

    /// Checks a request, wherever its parameters come from.
    pub(crate) fn check(
        provider: &Provider,
        parameters: HashMap<String, String>,
        visit: Option<String>,
    ) -> Result<Self, Refusal> {
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
        let response_mode = match get("response_mode") {
            "" | "query" => Some(ResponseMode::Query),
            "form_post" => Some(ResponseMode::FormPost),
            _ => None,
        };
        let redirect = RedirectTo {
            redirect_uri,
            state: parameters.get("state").cloned(),
            response_mode: response_mode.unwrap_or(ResponseMode::Query),
        };

        let scope = get("scope").to_owned();
        let wrong = if get("response_type") != "code" {
            Some(("unsupported_response_type", "response_type must be code"))
        } else if response_mode.is_none() {
            Some((
                "invalid_request",
                "response_mode must be query or form_post",
            ))
        } else if !scope.split(' ').any(|scope| scope == "openid") {
            Some(("invalid_scope", "scope must contain openid"))
        } else if parameters.contains_key("request") {
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
            visit,
        })
    }

    /// What was pushed is answered now, and leads to no other answer.
    fn end_visit(&self, provider: &Provider) {
        if let Some(visit) = &self.visit {
            provider.end_visit(visit);
        }
    }

    /// Whether the client wants a refresh token: by OIDC Core 11, or in Google's way. Everybody is asked for consent here, so
    /// that `prompt=consent` is not needed.
    fn is_offline(&self) -> bool {
        let has = |name: &str, value: &str| self.parameters.get(name).is_some_and(|v| v == value);
        self.scope.split(' ').any(|scope| scope == "offline_access")
            || has("access_type", "offline")
    }

    /// This request again, with one step more.
    fn href(&self, provider: &Provider, step: (&str, &str)) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(visit) = &self.visit {
            query.append_pair("visit", visit);
        } else {
            let mut names: Vec<_> = self
                .parameters
                .iter()
                .filter(|(name, _)| *name != "choose")
                .collect();
            names.sort();
            query.extend_pairs(names);
        }
        query.append_pair(step.0, step.1);
        format!("{}?{}", provider.url("/authorize"), query.finish())
    }
}

fn on_page(title: &'static str, detail: &str) -> Refusal {
    Refusal::OnPage {
        title,
        detail: detail.to_owned(),
    }
}

fn choose_page(provider: &Provider, request: &AuthorizationRequest) -> Response {
    page(provider, StatusCode::OK, |frame| pages::Choose {
        frame,
        client: &request.client_id,
        choices: provider
            .settings
            .people
            .iter()
            .map(|person| Choice {
                person,
                href: request.href(provider, ("choose", &person.email)),
            })
            .collect(),
        cancel_href: request.href(provider, ("cancel", "1")),
    })
}

fn consent_page(provider: &Provider, request: &AuthorizationRequest, person: &Person) -> Response {
    let redirect_uri = &request.redirect.redirect_uri;
    page(provider, StatusCode::OK, |frame| pages::Consent {
        frame,
        client: &request.client_id,
        back_to: redirect_uri.origin().ascii_serialization(),
        person,
        asks: pages::asked_in_words(&request.scope, request.is_offline()),
        allow_href: request.href(provider, ("user", &person.email)),
        cancel_href: request.href(provider, ("cancel", "1")),
        // Nobody chosen, so that neither this person nor the hint of the client counts.
        other_href: request.href(provider, ("choose", "")),
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
        is_offline: request.is_offline(),
        person: person.clone(),
        issued_at: provider.now(),
    });

    let mut answer: Vec<(&str, String)> = Vec::new();
    let mut add = |name, value: &str| answer.push((name, value.to_owned()));
    match (&redirect.state, fault) {
        (_, Fault::CallbackMissingState) | (None, _) => {}
        (Some(state), Fault::CallbackWrongState) => add("state", &other_text(state)),
        (Some(state), _) => add("state", state),
    }
    match fault {
        Fault::CallbackMissingIss => {}
        Fault::CallbackWrongIss => add("iss", OTHER_ISSUER),
        _ => {
            if let Some(issuer) = provider.callback_issuer() {
                add("iss", issuer);
            }
        }
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
    if redirect.response_mode == ResponseMode::FormPost
        && person.tells_name_once
        && provider.is_first_answer(&request.client_id, person)
    {
        add("user", &person.user_field());
    }
    let answer: Vec<_> = answer
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    redirect.send(provider, &answer)
}

/// Text of the same length that is another one.
fn other_text(text: &str) -> String {
    let mut bytes: Vec<char> = text.chars().collect();
    if let Some(middle) = bytes.len().checked_div(2).and_then(|at| bytes.get_mut(at)) {
        *middle = if *middle == 'A' { 'B' } else { 'A' };
    }
    bytes.into_iter().collect()
}
