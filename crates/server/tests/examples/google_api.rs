//! The application that reads a Google calendar: with the tokens that Vestibule keeps, for as long as it can renew them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use serde_json::json;
use vestibule_devidp::{DevIdp, Fault};

use crate::example::{Example, Packages};
use crate::support::{SECRET, client};
use crate::visitor::{Page, Visitor};

const APP: u16 = 9000;
/// What the README calls the stand-in's calendar.
const CALENDAR: &str = "http://127.0.0.1:8009/api/calendar";
/// Less than what Vestibule takes for live, so that each question renews.
const LIFETIME: i64 = 30;

/// Somebody who goes through the door of the application.
async fn signed_in(example: &Example, person: &'static str) -> (Visitor, Page) {
    let mut visitor = Visitor::new(person);
    let door = visitor.open(format!("{}/login", example.origin(APP))).await;
    let page = visitor.open(door.link("Continue with Google")).await;
    (visitor, page)
}

fn assert_shows_events(example: &Example, page: &Page) {
    let said = example.said();
    assert_eq!(page.status, StatusCode::OK, "{}\n{said}", page.body);
    assert_eq!(page.url.as_str(), format!("{}/events", example.origin(APP)));
    assert_eq!(page.json(), json!(["Water the plants", "Call the dentist"]));
}

pub(crate) async fn by_the_readme() {
    let mut example = Example::copy("google-api", &[APP]);
    example.run(Packages::ByTheReadme);
    let stranger = Visitor::new("bob@example.com")
        .open(format!("{}/events", example.origin(APP)))
        .await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert_eq!(stranger.json()["detail"], "sign in at /login");
    let (_, page) = signed_in(&example, "alice@example.com").await;
    assert_shows_events(&example, &page);
}

pub(crate) async fn renewed() {
    let later = Arc::new(AtomicI64::new(0));
    let idp = stand_in(Arc::clone(&later)).await;
    let mut example = Example::copy("google-api", &[APP]);
    example.change("vestibule.toml", |text| at(&text, &idp));
    for command in &mut example.commands {
        *command = command.replace(CALENDAR, &format!("{}/api/calendar", idp.issuer()));
    }
    example.run(Packages::Installed);
    let (mut alice, page) = signed_in(&example, "alice@example.com").await;
    assert_shows_events(&example, &page);

    // What the application is given: an access token, and nothing to renew it with.
    let token = format!("{}/users/me/providers/google/token", example.vestibule());
    let given = alice.open(&token).await;
    let body = given.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["access_token", "expires_in", "scope", "token_type"],
        "{body}"
    );
    let scope = body["scope"].as_str().unwrap();
    assert!(scope.contains("calendar.readonly"), "{scope}");
    let refresh_token = refresh_token(&idp);
    assert!(!given.body.contains(&refresh_token));

    // Its time is over at the provider, and the person notices nothing.
    later.store(LIFETIME + 1, Ordering::SeqCst);
    let over = client()
        .get(format!("{}/api/calendar", idp.issuer()))
        .bearer_auth(body["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(over.status(), StatusCode::UNAUTHORIZED);
    let before = idp.counters().refresh_requests;
    let events = format!("{}/events", example.origin(APP));
    assert_shows_events(&example, &alice.open(&events).await);
    assert_eq!(idp.counters().refresh_requests, before + 1);
    assert!(!example.said().contains(&refresh_token));

    // The provider ends it: the application says what helps.
    idp.set_fault(Fault::TokenInvalidGrant);
    let ended = alice.open(&events).await;
    assert_eq!(ended.status, StatusCode::FORBIDDEN, "{}", ended.body);
    assert_eq!(
        ended.json()["detail"],
        "Google has ended the access: sign in at /login again"
    );
}

pub(crate) async fn nothing_kept() {
    let mut example = Example::copy("google-api", &[APP]);
    example.change("vestibule.toml", |text| {
        text.replace("keep_tokens = true", "keep_tokens = false")
    });
    example.run(Packages::Installed);
    let (_, page) = signed_in(&example, "alice@example.com").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "{}", page.body);
    let detail = page.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("keep_tokens = true"), "{detail}");
    assert!(!page.body.contains("Water the plants"));
}

/// A stand-in whose access tokens are soon over, by a clock that the test moves.
async fn stand_in(later: Arc<AtomicI64>) -> DevIdp {
    let clock = move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_secs()).unwrap() + later.load(Ordering::SeqCst)
    };
    DevIdp::builder()
        .client("client", SECRET)
        .access_token_lifetime(Duration::from_secs(LIFETIME.unsigned_abs()))
        .clock(Arc::new(clock))
        .start()
        .await
        .unwrap()
}

/// The example's configuration, with this provider in the place of Google.
fn at(configuration: &str, idp: &DevIdp) -> String {
    let provider = format!(
        "[providers.google]\nissuer = \"{}\"\nclient_id = \"client\"\nclient_secret = \"{SECRET}\"\n",
        idp.issuer()
    );
    configuration.replace("[providers.google]\n", &provider)
}

/// The refresh token of the last renewal.
fn refresh_token(idp: &DevIdp) -> String {
    let seen = idp.last_token_request().unwrap();
    url::form_urlencoded::parse(seen.form.as_bytes())
        .find(|(name, _)| name == "refresh_token")
        .map(|(_, value)| value.into_owned())
        .unwrap()
}
