//! The pages, each one function: what it needs is read, then rendered.

use axum::extract::rejection::StringRejection;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use url::form_urlencoded;

use vestibule_accounts::Signup;

use crate::Vestibule;
use crate::attempt::Reference;
use crate::error::{Code, Failure};
use crate::events;
use crate::return_to::ReturnTo;
use vestibule_oidc::Prompt;

use super::answer::{self, Answer, Form, see_other};
use super::extract::{CurrentUser, OptionalUser};
use super::pages::{
    Account, ErrorPage, Frame, IdentityRow, Lead, MoreWays, ProviderLink, SignIn, SignOut,
};
use super::texts::{self, Texts};
use super::{linking, login, me, pages};

/// `GET /login`: the ways in. Who is signed in already goes on.
pub(super) async fn sign_in(
    State(vestibule): State<Vestibule>,
    OptionalUser(user): OptionalUser,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let pending = linking::pending(&vestibule, &headers);
    let asked = query.unwrap_or_default();
    let return_to = return_to(&vestibule, &asked).map(|target| {
        // Not to a front end that the link does not name (S77).
        target.or_else(|| login::default_page(&vestibule))
    });
    let return_to = return_to.flatten();
    // A front end may ask for another sign-in of somebody who is signed in.
    let prompt = form_urlencoded::parse(asked.as_bytes())
        .find(|(name, _)| name == "prompt")
        .and_then(|(_, value)| Prompt::parse(&value))
        .filter(|prompt| matches!(prompt, Prompt::Login | Prompt::SelectAccount));
    // An identity that waits for its owner keeps everybody here: the owner signs in, or says no.
    if user.is_some() && prompt.is_none() && pending.is_none() {
        let target = return_to
            .as_ref()
            .map_or(vestibule.inner.default_return_to.as_str(), ReturnTo::as_str);
        return see_other(&vestibule.inner.absolute(target));
    }
    let mut passed_on = form_urlencoded::Serializer::new(String::new());
    if let Some(target) = &return_to {
        passed_on.append_pair("return_to", target.as_str());
    }
    if let Some(prompt) = prompt {
        passed_on.append_pair("prompt", prompt.as_str());
    }
    let query = match passed_on.finish() {
        passed_on if passed_on.is_empty() => passed_on,
        passed_on => format!("?{passed_on}"),
    };
    let hrefs: Vec<String> = vestibule
        .inner
        .providers
        .iter()
        .map(|provider| {
            format!(
                "{}/auth/{}/login{query}",
                vestibule.inner.base_path, provider.id
            )
        })
        .collect();
    let mut providers: Vec<ProviderLink<'_>> = vestibule
        .inner
        .providers
        .iter()
        .zip(&hrefs)
        .map(|(provider, href)| ProviderLink {
            id: provider.id.as_str(),
            name: &provider.name,
            mark: provider.preset.mark,
            href,
            available: vestibule.inner.remote.is_available(provider),
        })
        .collect();
    if let Some(pending) = &pending {
        // What waits is not the way of before, except with another account there: the last to be offered.
        providers.sort_by_key(|provider| provider.id == pending.provider);
    }
    let waiting = pending.as_ref().map(|pending| {
        vestibule.provider(&pending.provider).map_or_else(
            |_| pending.provider.clone(),
            |provider| provider.name.clone(),
        )
    });
    let action = format!("{}{}", vestibule.inner.base_path, crate::linking::PATH);
    let again = form_urlencoded::parse(asked.as_bytes()).any(|(name, _)| name == "again");
    let lead = match &waiting {
        Some(provider) => Lead::Connect {
            provider,
            action: &action,
        },
        None if again => Lead::Again,
        None if vestibule.inner.policy.signup == Signup::Open => Lead::Open,
        None => Lead::Members,
    };
    let nonce = answer::nonce(&vestibule);
    let html = pages::render(&SignIn {
        frame: frame(&vestibule, &nonce),
        providers: &providers,
        lead,
    });
    let form_action = pending.map_or_else(String::new, |pending| {
        linking::form_action(&vestibule, &pending)
    });
    answer::page_with_form_to(StatusCode::OK, &nonce, &form_action, html)
}

/// `GET /logout`: one button.
pub(super) async fn sign_out(
    State(vestibule): State<Vestibule>,
    RawQuery(query): RawQuery,
) -> Response {
    let return_to = after_sign_out(&vestibule, query.as_deref().unwrap_or_default());
    let nonce = answer::nonce(&vestibule);
    let action = format!("{}/logout", vestibule.inner.base_path);
    let html = pages::render(&SignOut {
        frame: frame(&vestibule, &nonce),
        action: &action,
        return_to: return_to.as_ref().map(|(url, _)| url.as_str()),
    });
    let origin = return_to.map_or_else(String::new, |(_, origin)| origin);
    answer::page_with_form_to(StatusCode::OK, &nonce, &origin, html)
}

/// `POST /logout`: the button was pressed.
pub(super) async fn sign_out_now(
    State(vestibule): State<Vestibule>,
    headers: HeaderMap,
    form: Result<String, StringRejection>,
) -> Response {
    match login::end_session(&vestibule, &headers).await {
        Ok(clear) => {
            // A form that cannot be read names no target, and signs out all the same.
            let target = after_sign_out(&vestibule, &form.unwrap_or_default()).map_or_else(
                || format!("{}/login", vestibule.inner.base_path),
                |(url, _)| url,
            );
            let mut response = see_other(&target);
            response.headers_mut().append(header::SET_COOKIE, clear);
            linking::drop_pending(&vestibule, &headers, &mut response);
            response
        }
        Err(failure) => Answer::failed(&vestibule, failure, Form::Page)
            .into_response_at(&vestibule.inner.base_path),
    }
}

/// `GET /account`: who am I, and the way out.
pub(super) async fn account(
    State(vestibule): State<Vestibule>,
    CurrentUser(user): CurrentUser,
) -> Response {
    let identities = match vestibule.inner.store.identities(user.id).await {
        Ok(identities) => identities,
        Err(error) => {
            return Answer::failed(&vestibule, Failure::from(error), Form::Page)
                .into_response_at(&vestibule.inner.base_path);
        }
    };
    let with_providers: Vec<_> = identities
        .iter()
        .map(|identity| {
            let provider = vestibule.provider(&identity.record.provider).ok();
            (identity, provider)
        })
        .collect();
    let more_ways: Vec<MoreWays<'_>> = vestibule
        .inner
        .providers
        .iter()
        .filter(|provider| {
            identities
                .iter()
                .all(|identity| identity.record.provider != provider.id.as_str())
        })
        .map(|provider| MoreWays {
            provider: &provider.name,
            mark: provider.preset.mark,
            link_action: format!("{}/auth/{}/link", vestibule.inner.base_path, provider.id),
        })
        .collect();
    let rows: Vec<IdentityRow<'_>> = with_providers
        .iter()
        .map(|(identity, provider)| IdentityRow {
            provider: provider
                .as_ref()
                .map_or(&identity.record.provider, |provider| &provider.name),
            mark: provider.as_ref().and_then(|provider| provider.preset.mark),
            email: identity.record.email.as_deref(),
            email_verified: identity.record.email_verified,
            subject: &identity.record.subject,
            unlink_action: vestibule.can_lose(&user, &identities, identity).then(|| {
                format!(
                    "{}/auth/{}/unlink",
                    vestibule.inner.base_path, identity.record.provider
                )
            }),
        })
        .collect();
    let email = user.email.as_ref().map(ToString::to_string);
    let created = me::rfc3339(user.created_at);
    let nonce = answer::nonce(&vestibule);
    let action = format!("{}/logout", vestibule.inner.base_path);
    let html = pages::render(&Account {
        frame: frame(&vestibule, &nonce),
        name: user.name.as_deref(),
        email: email.as_deref(),
        identities: &rows,
        more_ways: &more_ways,
        sign_out_action: &action,
        created: created.get(..10).unwrap_or_default(),
        created_words: &Texts::english().day(user.created_at),
    });
    answer::page(StatusCode::OK, &nonce, html)
}

/// `GET /error`: fixed words for a code. Nothing else of the query reaches the page.
pub(super) async fn error(
    State(vestibule): State<Vestibule>,
    RawQuery(query): RawQuery,
) -> Response {
    let (mut code, mut reference) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()) {
        match &*name {
            "code" => code = Code::named(&value),
            "ref" => reference = Reference::parse(&value),
            _ => {}
        }
    }
    error_page(&vestibule, code.unwrap_or(Code::NotFound), reference)
}

/// The page of a code.
pub(super) fn error_page(
    vestibule: &Vestibule,
    code: Code,
    reference: Option<Reference>,
) -> Response {
    // The page answers 400, 403, 429 or 503: what the browser came from must not be sent again.
    let status = match code.status() {
        status @ (StatusCode::FORBIDDEN
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::INTERNAL_SERVER_ERROR) => status,
        _ => StatusCode::BAD_REQUEST,
    };
    let nonce = answer::nonce(vestibule);
    let reference = reference.map(|reference| reference.to_string());
    let sign_in = format!("{}/login", vestibule.inner.base_path);
    let html = pages::render(&ErrorPage {
        frame: frame(vestibule, &nonce),
        words: texts::error_text(code),
        reference: reference.as_deref(),
        sign_in_href: &sign_in,
    });
    answer::page(status, &nonce, html).into_response()
}

/// Where a person goes after a sign-out, and its origin: a path of ours, or the origin of a registered front end.
fn after_sign_out(vestibule: &Vestibule, query: &str) -> Option<(String, String)> {
    let (_, value) =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to")?;
    let of_front_end = vestibule
        .inner
        .frontends
        .iter()
        .flat_map(|frontend| &frontend.redirect_uris)
        .filter_map(|uri| uri.origin())
        .find(|origin| value.strip_suffix('/').unwrap_or(&value) == *origin);
    if let Some(origin) = of_front_end {
        return Some((format!("{origin}/"), origin));
    }
    let target = return_to(vestibule, query)??;
    Some((target.as_str().to_owned(), String::new()))
}

/// What every page has around it.
pub(super) fn frame<'a>(vestibule: &'a Vestibule, nonce: &'a str) -> Frame<'a> {
    Frame {
        nonce,
        product: &vestibule.inner.product,
        texts: Texts::english(),
    }
}

/// The first `return_to` of a query, if there is one; in it, if it is ours.
#[expect(
    clippy::option_option,
    reason = "no target and a refused one are two things"
)]
fn return_to(vestibule: &Vestibule, query: &str) -> Option<Option<ReturnTo>> {
    let (_, value) =
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "return_to")?;
    Some(
        ReturnTo::parse(&value, &vestibule.inner.public_base)
            .inspect_err(|_| events::return_to_refused(&value))
            .ok(),
    )
}
