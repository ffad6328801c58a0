//! The sign-in, whole: from the first click to the row in the database, and every way to lose it on the way.

use std::collections::HashSet;
use std::time::Instant;

use axum::body::Body;
use http::{Request, StatusCode, header};
use url::Url;
use vestibule::Described;
use vestibule::accounts::{Decision, EmailAddress, Refusal, UserId, UserQuery};
use vestibule_devidp::Fault;
use vestibule_tests::{Answer, App, Browser, Parts, Setup, log_text, reason_of};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

fn parameters(url: &Url) -> Vec<(String, String)> {
    url.query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn parameter(url: &Url, name: &str) -> String {
    let all: Vec<String> = url
        .query_pairs()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .collect();
    assert_eq!(all.len(), 1, "{name} stands once in {url}");
    all.into_iter().next().unwrap_or_default()
}

async fn only_user(app: &App) -> UserId {
    let page = app
        .vestibule
        .users(UserQuery {
            limit: 10,
            ..UserQuery::default()
        })
        .await
        .expect("the database answers");
    assert_eq!(page.users.len(), 1);
    page.users[0].id
}

/// The nonce by which a page's style is allowed.
fn style_nonce(page: &Answer) -> &str {
    let (_, rest) = page
        .body
        .split_once("<style nonce=\"")
        .expect("it has a style");
    rest.split_once('"').expect("the attribute ends").0
}

/// Nothing of a refused sign-in stays: no row, no session (the meaning of REFUSE).
fn assert_refused(app: &App, browser: &Browser, before: [i64; 3]) {
    assert_eq!(app.counts(), before);
    assert!(browser.session().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_consents_is_signed_in_with_a_row_in_the_database() {
    let app = App::start().await;
    let mut browser = app.browser();
    let answer = browser.sign_in(ALICE).await;
    assert_eq!(
        (answer.status, answer.location()),
        (StatusCode::SEE_OTHER, "http://localhost:8000/account")
    );
    assert_eq!(app.counts(), [1, 1, 1]);
    let me = browser.get_json("/users/me").await.json();
    assert_eq!(me["email"], ALICE);
    assert_eq!(
        (&me["is_active"], &me["is_verified"], &me["is_superuser"]),
        (&true.into(), &true.into(), &false.into())
    );
    assert_eq!(me["identities"][0]["issuer"], app.idp.issuer());
    let page = browser.get("/account").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains(ALICE), "{}", page.body);
    // The flow's cookie is gone; the session's is the only one.
    assert_eq!(browser.cookies.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_returns_is_the_same_user_with_a_new_session() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    let first = only_user(&app).await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    assert_eq!(only_user(&app).await, first);
    assert_eq!(app.counts(), [1, 1, 2]);
}

// S1, S2, S3, S4, S5, S6
#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_request_holds_what_the_protocol_asks_for_and_nothing_from_outside() {
    let app = App::start().await;
    let mut browser = app.browser();
    let request = Request::get("/auth/google/login?scope=admin&redirect_uri=https://evil.example&state=x&nonce=y&response_type=token&code_challenge_method=plain&login_hint=a@b.example&prompt=login&foo=bar")
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("forwarded", "host=evil.example");
    let answer = browser.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let url = Url::parse(answer.location()).unwrap();
    let expected = [
        ("response_type", "code"),
        ("client_id", "test-client"),
        ("redirect_uri", "http://localhost:8000/auth/google/callback"),
        ("scope", "openid email profile"),
        ("code_challenge_method", "S256"),
        ("login_hint", "a@b.example"),
        ("prompt", "login"),
    ];
    for (name, value) in expected {
        assert_eq!(parameter(&url, name), value, "{name}");
    }
    assert_eq!(parameter(&url, "code_challenge").len(), 43);
    assert!(parameter(&url, "state").len() >= 22 && parameter(&url, "nonce").len() >= 22);
    assert_eq!(parameters(&url).len(), expected.len() + 3);
    assert!(!url.as_str().contains("evil") && !url.as_str().contains("foo"));
}

// S2, S3, S4
#[tokio::test(flavor = "multi_thread")]
async fn no_two_attempts_share_state_nonce_or_challenge() {
    let app = App::start().await;
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let url = app.browser().begin().await;
        for name in ["state", "nonce", "code_challenge"] {
            assert!(seen.insert(parameter(&url, name)), "{name} comes twice");
        }
    }
}

// S6
#[tokio::test(flavor = "multi_thread")]
async fn a_login_start_with_parameters_that_do_not_do_is_refused() {
    let app = App::start().await;
    let long = "x".repeat(4_097);
    for query in [
        "prompt=evil",
        "prompt=",
        "prompt=login&prompt=none",
        "return_to=/a&return_to=/b",
        "login_hint=a%0d%0ab",
        &format!("login_hint={}", &long[..321]),
        &format!("x={long}"),
    ] {
        let answer = app
            .browser()
            .get(&format!("/auth/google/login?{query}"))
            .await;
        assert_eq!(answer.code(), "bad_request", "{query}");
        assert!(answer.set_cookies().is_empty(), "{query}");
    }
}

// S7, S10; ATTACKS N
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_login_starts_leaves_the_database_as_it_was() {
    let app = App::start().await;
    let before = (app.counts(), app.count("claims"));
    let browser = app.browser();
    for _ in 0..2_000 {
        browser.clone().begin().await;
    }
    assert_eq!((app.counts(), app.count("claims")), before);
}

// S9
#[tokio::test(flavor = "multi_thread")]
async fn four_tabs_sign_in_side_by_side_and_a_fifth_pushes_out_the_oldest() {
    let app = App::start().await;
    let mut browser = app.browser();
    let mut urls = Vec::new();
    for _ in 0..4 {
        urls.push(browser.begin().await);
    }
    assert_eq!(browser.flows().len(), 4);
    browser.begin().await;
    assert_eq!(browser.flows().len(), 4);
    let mut succeeded = 0;
    for url in &urls {
        let callback = browser.at_provider(url, ALICE).await;
        let answer = browser.get(&callback).await;
        if answer.location().ends_with("/account") {
            succeeded += 1;
        } else {
            assert_eq!(answer.code(), "state_other_browser");
        }
    }
    assert_eq!(succeeded, 3);
}

// S9; DESIGN section 5
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_lasts_ten_minutes_and_then_says_so() {
    let app = App::start().await;
    for (seconds, code) in [(599, ""), (601, "state_expired"), (3_700, "state_expired")] {
        let mut browser = app.browser();
        let url = browser.begin().await;
        app.clock.advance_seconds(seconds);
        let callback = browser.at_provider(&url, ALICE).await;
        assert_eq!(browser.get(&callback).await.code(), code, "{seconds}");
    }
    // Whoever took too long is told so, also where the browser has forgotten the attempt.
    let url = app.browser().begin().await;
    app.clock.advance_seconds(601);
    let mut other = app.browser();
    let callback = other.at_provider(&url, ALICE).await;
    assert_eq!(other.get(&callback).await.code(), "state_expired");
    assert_eq!(app.counts(), [1, 1, 1]);
}

// S11
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_in_another_browser_is_refused_and_signs_nobody_in() {
    let app = App::start().await;
    let (mut attacker, mut victim) = (app.browser(), app.browser());
    let url = attacker.begin().await;
    let callback = attacker.at_provider(&url, BOB).await;
    // A browser that has an attempt of its own, and one that has nothing.
    victim.begin().await;
    let answer = victim.get(&callback).await;
    assert_eq!(answer.code(), "state_other_browser");
    assert_refused(&app, &victim, [0, 0, 0]);
    let url = attacker.begin().await;
    let callback = attacker.at_provider(&url, BOB).await;
    let mut nobody = app.browser();
    assert_eq!(nobody.get(&callback).await.code(), "cookie_missing");
    assert_refused(&app, &nobody, [0, 0, 0]);
    assert_eq!(app.idp.counters().token_requests, 0);
    // The attempt is consumed: its owner cannot use it any more.
    assert_eq!(attacker.get(&callback).await.code(), "state_used");
}

// S11, S14, S15, S16
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_is_not_exactly_one_answer_of_this_attempt_is_refused() {
    let app = App::start().await;
    let rows: &[(&str, &str)] = &[
        ("", "state_missing"),
        ("code=x", "state_missing"),
        ("code=x&state=", "state_missing"),
        ("code=x&state=nonsense", "state_invalid"),
        ("code=x&state=S&state=S", "bad_request"),
        ("code=x&code=y&state=S", "bad_request"),
        ("code=x&error=access_denied&state=S", "bad_request"),
        ("code=x&error=a&error=b&state=S", "bad_request"),
        ("state=S", "bad_request"),
        ("code=&state=S", "bad_request"),
        ("code=x&state=S&id_token=y", "bad_request"),
        ("code=x&state=S&access_token=y", "bad_request"),
        ("code=x&state=S&iss=https://evil.example", "issuer_mismatch"),
        ("code=x&state=S", "issuer_mismatch"),
        ("code=x&state=S&iss=ISS&iss=ISS", "bad_request"),
        ("error=access_denied&state=S&iss=ISS", "access_denied"),
        (
            "error=server_error&error_description=%3Cscript%3E&error_uri=https://evil.example&state=S&iss=ISS",
            "provider_error",
        ),
        (
            "error=temporarily_unavailable&state=S&iss=ISS",
            "provider_unavailable",
        ),
        (
            "error=access_denied&state=S&iss=https://evil.example",
            "issuer_mismatch",
        ),
    ];
    for (query, code) in rows {
        let mut browser = app.browser();
        let url = browser.begin().await;
        let state = parameter(&url, "state");
        let query = query
            .replace("=S", &format!("={state}"))
            .replace("=ISS", &format!("={}", app.idp.issuer()));
        let answer = browser.get(&format!("/auth/google/callback?{query}")).await;
        assert_eq!(answer.code(), *code, "{query}");
        assert!(
            !answer.location().contains("evil") && !answer.location().contains("script"),
            "{}",
            answer.location()
        );
        assert_refused(&app, &browser, [0, 0, 0]);
        if query.contains(&state) && !query.contains(&format!("state={state}&state=")) {
            // S15: consumed all the same.
            let again = browser
                .get(&format!(
                    "/auth/google/callback?code=x&state={state}&iss={}",
                    app.idp.issuer()
                ))
                .await;
            assert_eq!(again.code(), "state_used", "{query}");
        }
    }
    assert_eq!(app.idp.counters().token_requests, 0);
}

// S12
#[tokio::test(flavor = "multi_thread")]
async fn the_same_callback_fifty_times_at_once_is_one_token_request_and_one_session() {
    let app = App::start().await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (mut browser, callback) = (browser.clone(), callback.clone());
            tokio::spawn(async move { browser.get(&callback).await })
        })
        .collect();
    let (mut signed_in, mut used) = (0, 0);
    for one in tries {
        let answer = one.await.unwrap();
        assert!(!answer.status.is_server_error(), "{answer:?}");
        match answer.code().as_str() {
            "" => signed_in += 1,
            "state_used" => used += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((signed_in, used), (1, 49));
    assert_eq!(app.idp.counters().token_requests, 1);
    assert_eq!(app.counts(), [1, 1, 1]);
}

// S62
#[tokio::test(flavor = "multi_thread")]
async fn fifty_first_logins_of_one_person_at_once_are_one_user_with_fifty_sessions() {
    // All fifty learn that nobody knows the person, before the first of them writes.
    let parts = Parts {
        readers_together: Some(50),
        ..Parts::default()
    };
    let app = App::over(Setup::default(), parts).await;
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let mut browser = app.browser();
            tokio::spawn(async move { browser.sign_in(ALICE).await })
        })
        .collect();
    for one in tries {
        let answer = one.await.unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::SEE_OTHER, String::new()),
            "{answer:?}"
        );
    }
    assert_eq!(app.counts(), [1, 1, 50]);
}

// DESIGN section 5
#[tokio::test(flavor = "multi_thread")]
async fn the_back_button_of_somebody_signed_in_is_no_failure_and_no_second_exchange() {
    let app = App::start().await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    browser.get(&callback).await;
    let again = browser.get(&callback).await;
    assert_eq!(again.location(), "http://localhost:8000/account");
    assert!(
        log_text().contains("login.repeated"),
        "the operator reads it as what it is"
    );
    assert_eq!(app.idp.counters().token_requests, 1);
    assert_eq!(app.counts(), [1, 1, 1]);
}

// S17, S74, S8
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_carry_a_credential_are_not_stored_and_tell_nobody_where_they_come_from() {
    let app = App::start().await;
    let mut browser = app.browser();
    let begun = browser.get("/auth/google/login").await;
    let url = Url::parse(begun.location()).unwrap();
    let callback = browser.at_provider(&url, ALICE).await;
    let finished = browser.get(&callback).await;
    let failed = browser
        .get("/auth/google/callback?code=canary-code&state=canary-state")
        .await;
    let me = browser.get_json("/users/me").await;
    let error_page = browser.get(failed.location()).await;
    for answer in [&begun, &finished, &failed, &me, &error_page] {
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
        assert!(answer.header("vary").contains("Cookie"), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    for answer in [&begun, &finished, &failed] {
        assert_eq!(
            (answer.status, answer.header("referrer-policy")),
            (StatusCode::SEE_OTHER, "no-referrer")
        );
    }
    for location in [finished.location(), failed.location()] {
        assert!(
            !location.contains("canary")
                && !location.contains("state=")
                && !location.contains("code=x"),
            "{location}"
        );
    }
}

// S18
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_answers_get_alone_and_a_link_preview_consumes_nothing() {
    let app = App::start().await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let path = callback
        .strip_prefix("http://localhost:8000")
        .unwrap()
        .to_owned();
    for method in ["HEAD", "POST", "PUT", "OPTIONS"] {
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header("sec-fetch-site", "none")
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            browser.send(request).await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method}"
        );
    }
    assert!(browser.get(&path).await.location().ends_with("/account"));
}

// S29
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_never_sent_twice() {
    let app = App::start().await;
    for (fault, sent) in [
        (Fault::Token500, 1),
        (Fault::TokenHtml, 2),
        (Fault::TokenInvalidGrant, 3),
    ] {
        app.idp.set_fault(fault);
        let mut browser = app.browser();
        assert!(!browser.sign_in(ALICE).await.code().is_empty());
        assert_eq!(app.idp.counters().token_requests, sent, "{fault}");
        assert_refused(&app, &browser, [0, 0, 0]);
    }
}

// S60
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_out_everywhere_and_no_login_lets_them_in_again() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let user = only_user(&app).await;
    app.vestibule.set_active(user, false).await.unwrap();
    assert_eq!(browser.get_json("/users/me").await.code(), "unauthorized");
    let mut fresh = app.browser();
    fresh.cookies = browser.cookies.clone();
    let answer = fresh.sign_in(ALICE).await;
    assert_eq!(answer.code(), "account_disabled");
    assert_eq!(app.counts(), [1, 1, 0]);
    assert!(!app.vestibule.user(user).await.unwrap().unwrap().is_active);
    app.vestibule.set_active(user, true).await.unwrap();
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
}

// S60
#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_another_process_disables_is_out_within_a_second() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    assert_eq!(
        browser.get_json("/users/me").await.json()["is_active"],
        true
    );
    let elsewhere = rusqlite::Connection::open(app.database()).unwrap();
    elsewhere
        .execute("UPDATE vestibule_users SET is_active = 0", [])
        .unwrap();
    app.clock.advance_seconds(1);
    assert_eq!(browser.get_json("/users/me").await.code(), "unauthorized");
}

// S61
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_was_taken_out_refuses_attempts_begun_before() {
    let app = App::start().await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let issuer = app.idp.issuer().to_owned();
    let mut setup = app.setup();
    setup.tables = format!(
        "[providers.other]\nissuer = \"{issuer}\"\nclient_id = \"test-client\"\nclient_secret = \"x1\"\n"
    );
    setup.without_google = true;
    let app = app.again(setup).await;
    let cookies = browser.cookies.clone();
    let mut browser = app.browser();
    browser.cookies = cookies;
    let answer = browser.get(&callback).await;
    assert_eq!(answer.code(), "provider_disabled");
    assert_refused(&app, &browser, [0, 0, 0]);
    assert_eq!(app.idp.counters().token_requests, 0);
}

// S20: an attempt keeps the issuer with which it began.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_one_provider_does_not_end_at_another() {
    let app = App::start().await;
    let issuer = app.idp.issuer().to_owned();
    let mut setup = app.setup();
    setup.tables = format!(
        "[providers.other]\nissuer = \"{issuer}\"\nclient_id = \"test-client\"\nclient_secret = \"x1\"\n"
    );
    let app = app.again(setup).await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser
        .at_provider(&url, ALICE)
        .await
        .replace("/auth/google/", "/auth/other/");
    // The path decides before anything of the browser is looked at.
    let mut other = app.browser();
    assert_eq!(other.get(&callback).await.code(), "provider_mismatch");
    let url = browser.begin().await;
    let callback = browser
        .at_provider(&url, ALICE)
        .await
        .replace("/auth/google/", "/auth/other/");
    assert_eq!(browser.get(&callback).await.code(), "provider_mismatch");
    assert_refused(&app, &browser, [0, 0, 0]);
    for nobody in ["nobody", "Google", "google%00", "%ff", "%2e%2e"] {
        let answer = browser.get(&format!("/auth/{nobody}/login")).await;
        assert_eq!(answer.code(), "provider_unknown", "{nobody}");
        let answer = browser.get(&format!("/auth/{nobody}/callback")).await;
        assert_eq!(answer.code(), "state_missing", "{nobody}");
    }
}

// S64
#[tokio::test(flavor = "multi_thread")]
async fn cookies_on_https_carry_the_host_prefix_and_every_attribute() {
    let app = App::with(Setup {
        public_url: "https://app.example".into(),
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    let begun = browser.get("/auth/google/login").await;
    for cookie in begun.set_cookies() {
        let (name, attributes) = (
            cookie.split('=').next().unwrap(),
            cookie.split_once(';').unwrap().1,
        );
        assert!(name.starts_with("__Host-vestibule_flow_"), "{cookie}");
        assert_eq!(
            attributes,
            " Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=3600"
        );
        assert!(cookie.len() <= 1_638, "{} bytes", cookie.len());
    }
    assert_eq!(begun.set_cookies().len(), 1);
    assert!(
        begun
            .header("strict-transport-security")
            .starts_with("max-age=")
    );
}

// S65
#[tokio::test(flavor = "multi_thread")]
async fn every_sign_in_makes_a_new_session_and_ends_the_browsers_old_one() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let old = browser.clone();
    browser.sign_in(BOB).await;
    assert_ne!(old.session(), browser.session());
    assert_eq!(app.counts(), [2, 2, 1]);
    let mut old = old;
    assert_eq!(
        old.get_json("/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(browser.get_json("/users/me").await.json()["email"], BOB);
    // The database holds a hash, never what the cookie holds.
    let cookie = browser.session().unwrap().to_owned();
    let bytes = std::fs::read(app.database()).unwrap();
    assert!(
        !bytes
            .windows(cookie.len())
            .any(|window| window == cookie.as_bytes())
    );
}

// S65
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_an_attacker_planted_is_not_kept() {
    let app = App::start().await;
    let mut browser = app.browser();
    let planted = "A".repeat(43);
    browser
        .cookies
        .insert("vestibule_session".into(), planted.clone());
    browser.sign_in(ALICE).await;
    assert_ne!(browser.session(), Some(planted.as_str()));
}

// S66, S70
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_not_exactly_ours_is_nobodys_and_never_an_error() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let session = browser.session().unwrap().to_owned();
    let url = browser.begin().await;
    let flow = browser.cookies[&browser.flows()[0]].clone();
    let state = parameter(&url, "state");
    let mut flipped = session.clone().into_bytes();
    flipped[0] = if flipped[0] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    for cookie in [
        format!("vestibule_session={session}; vestibule_session={session}"),
        format!("vestibule_session=x; vestibule_session={session}"),
        format!("vestibule_session={flipped}"),
        format!("vestibule_session={}", &session[1..]),
        format!("vestibule_session={session}A"),
        format!("vestibule_session={}", "A".repeat(8_000)),
        format!("__Host-vestibule_session={session}"),
        format!("vestibule_session={flow}"),
        format!("vestibule_session={state}"),
        "vestibule_session=".to_owned(),
        "vestibule_session".to_owned(),
        "=;;=; ,".to_owned(),
        "vestibule_session=\u{e4}".to_owned(),
    ] {
        let request = Request::get("/users/me").header(
            header::COOKIE,
            header::HeaderValue::from_bytes(cookie.as_bytes()).unwrap(),
        );
        let answer = app
            .browser()
            .send(request.body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{cookie}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "S75");
    }
    // S75: what opens a session opens it from the cookie alone.
    for request in [
        Request::get(format!("/users/me?access_token={session}")),
        Request::get("/users/me").header(header::AUTHORIZATION, format!("Bearer {session}")),
        Request::get("/users/me").header("x-vestibule-session", &session),
    ] {
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(
            app.browser().send(request).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let request = Request::get("/users/me").header(
        header::COOKIE,
        format!("other=1; vestibule_session={session}"),
    );
    assert_eq!(
        app.browser()
            .send(request.body(Body::empty()).unwrap())
            .await
            .status,
        StatusCode::OK
    );
}

// S66, S70: a flow cookie opens as nothing else, and nothing else as a flow cookie.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_cookie_that_was_changed_or_exchanged_ends_the_attempt() {
    let app = App::start().await;
    for change in 0..4 {
        let mut browser = app.browser();
        let url = browser.begin().await;
        let callback = browser.at_provider(&url, ALICE).await;
        let name = browser.flows()[0].clone();
        let value = browser.cookies[&name].clone();
        let changed = match change {
            0 => value[..value.len() - 1].to_owned(),
            1 => format!(
                "{}{}",
                if value.starts_with('A') { 'B' } else { 'A' },
                &value[1..]
            ),
            2 => parameter(&url, "state"),
            _ => {
                let mut other = app.browser();
                other.begin().await;
                other.cookies[&other.flows()[0]].clone()
            }
        };
        browser.cookies.insert(name, changed);
        assert_eq!(
            browser.get(&callback).await.code(),
            "state_other_browser",
            "{change}"
        );
        assert_refused(&app, &browser, [0, 0, 0]);
    }
    // The right content under the name of another attempt.
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let name = browser.flows()[0].clone();
    let value = browser.cookies.remove(&name).unwrap();
    browser
        .cookies
        .insert("vestibule_flow_00000000".to_owned(), value);
    assert_eq!(browser.get(&callback).await.code(), "state_other_browser");
    assert_refused(&app, &browser, [0, 0, 0]);
    assert_eq!(app.idp.counters().token_requests, 0);
}

// S77
#[tokio::test(flavor = "multi_thread")]
async fn a_return_target_is_a_path_of_ours_or_the_default_page() {
    let app = App::start().await;
    for (return_to, target) in [
        ("/notes?x=1#y", "http://localhost:8000/notes?x=1#y"),
        ("https://evil.example/", "http://localhost:8000/account"),
        ("//evil.example", "http://localhost:8000/account"),
        ("/\\evil.example", "http://localhost:8000/account"),
        (
            "http://localhost:8000.evil.example/",
            "http://localhost:8000/account",
        ),
        ("javascript:alert(1)", "http://localhost:8000/account"),
    ] {
        let mut browser = app.browser();
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", return_to)
            .finish();
        let begun = browser.get(&format!("/auth/google/login?{query}")).await;
        let callback = browser
            .at_provider(&Url::parse(begun.location()).unwrap(), ALICE)
            .await;
        // What the callback's own query says changes nothing (ATTACKS F14).
        let callback = format!("{callback}&return_to=%2Fswapped");
        assert_eq!(
            browser.get(&callback).await.location(),
            target,
            "{return_to}"
        );
    }
    let log = log_text();
    assert!(
        log.contains("return_to.refused") && log.contains("http://localhost:8000.evil.example/"),
        "the operator reads which target was refused"
    );
    // The longest target that is taken fits the attempt's cookie, and so comes back (S9: 1.6 KiB each).
    let mut browser = app.browser();
    let longest = format!("/{}", "a".repeat(1_023));
    let begun = browser
        .get(&format!("/auth/google/login?return_to={longest}"))
        .await;
    let (name, value) = browser.cookies.first_key_value().unwrap();
    let len = "__Host-".len() + name.len() + "=".len() + value.len();
    assert!(len <= 1_638, "{len} bytes");
    let callback = browser
        .at_provider(&Url::parse(begun.location()).unwrap(), ALICE)
        .await;
    let target = format!("http://localhost:8000{longest}");
    assert_eq!(browser.get(&callback).await.location(), target);
    let long = format!("/auth/google/login?return_to=/{}", "a".repeat(1_024));
    assert_eq!(app.browser().get(&long).await.code(), "bad_request");
    assert_eq!(
        app.browser()
            .get("/auth/google/login?return_to=/a&return_to=/b")
            .await
            .code(),
        "bad_request"
    );
}

// S78
#[tokio::test(flavor = "multi_thread")]
async fn host_and_forwarded_headers_change_nothing() {
    let app = App::start().await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let request = Request::get(callback.strip_prefix("http://localhost:8000").unwrap())
        .header(header::HOST, "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.example;proto=https");
    let answer = browser.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.location(), "http://localhost:8000/account");
    let providers = browser.get_json("/auth/providers").await.json();
    assert_eq!(
        providers[0]["login_url"],
        "http://localhost:8000/auth/google/login"
    );
}

// S80, S81
#[tokio::test(flavor = "multi_thread")]
async fn pages_carry_their_policy_and_error_pages_fixed_words_alone() {
    let app = App::start().await;
    let mut browser = app.browser();
    let login = browser.get("/login").await;
    let nonce = style_nonce(&login);
    let policy = login.header("content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'")
            && policy.contains("frame-ancestors 'none'")
            && policy.contains("base-uri 'none'"),
        "{policy}"
    );
    assert!(policy.contains(&format!("'nonce-{nonce}'")) && !policy.contains("unsafe"));
    // ATTACKS F21: no page loads anything of another site, the picture of a person included.
    browser.sign_in(ALICE).await;
    let account = browser.get("/account").await;
    for page in [&login, &account, &browser.get("/error").await] {
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("img-src data:;") && !policy.contains("http"),
            "{policy}"
        );
        // The nonce is base64, and may hold two slashes.
        let body = page.body.replace(style_nonce(page), "");
        assert!(!body.contains("src=") && !body.contains("//"), "{body}");
    }
    browser.post("/logout").await;
    assert_ne!(style_nonce(&browser.get("/login").await), nonce);
    assert_eq!(login.header("x-frame-options"), "DENY");
    let error = browser
        .get("/error?code=state_expired&ref=abcdefghij&message=%3Cscript%3Ealert(1)%3C/script%3E")
        .await;
    assert_eq!(error.status, StatusCode::BAD_REQUEST);
    assert!(
        error.body.contains("took too long")
            && error.body.contains("abcdefghij")
            && !error.body.contains("alert")
    );
    let strange = browser
        .get("/error?code=%3Cscript%3E&ref=%3Cscript%3E")
        .await;
    assert!(strange.status == StatusCode::BAD_REQUEST && !strange.body.contains("<script"));
    for (code, status) in [
        ("access_denied", 403),
        ("rate_limited", 429),
        ("provider_unavailable", 503),
    ] {
        assert_eq!(
            browser
                .get(&format!("/error?code={code}"))
                .await
                .status
                .as_u16(),
            status
        );
    }
}

// S83, the first sentence; S7
#[tokio::test(flavor = "multi_thread")]
async fn signing_out_is_a_post_from_our_own_pages_that_ends_the_session_everywhere() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    assert_eq!(browser.get("/logout").await.status, StatusCode::OK);
    assert_eq!(
        browser.get_json("/auth/logout").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    for site in ["cross-site", "same-site"] {
        let request = Request::post("/auth/logout")
            .header("sec-fetch-site", site)
            .body(Body::empty())
            .unwrap();
        let answer = browser.send(request).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::FORBIDDEN, "csrf_failed"),
            "{site}"
        );
    }
    let request = Request::post("/logout").body(Body::empty()).unwrap();
    assert_eq!(browser.send(request).await.status, StatusCode::FORBIDDEN);
    // A form that another site submits is a page to the browser, and the status is the same (ATTACKS A12).
    let request = Request::post("/logout")
        .header(header::ACCEPT, "text/html,*/*;q=0.8")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty())
        .unwrap();
    let page = browser.send(request).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(app.count("sessions"), 1);
    let mut stolen = browser.clone();
    assert_eq!(stolen.get_json("/users/me").await.status, StatusCode::OK);
    let answer = browser.post("/logout").await;
    assert_eq!(
        (answer.status, answer.location()),
        (StatusCode::SEE_OTHER, "/login")
    );
    assert!(browser.session().is_none());
    assert_eq!(app.count("sessions"), 0);
    // At once, not after the second for which an answer is believed.
    assert_eq!(
        stolen.get_json("/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(browser.post("/logout").await.status, StatusCode::SEE_OTHER);
}

// S79
#[tokio::test(flavor = "multi_thread")]
async fn the_thirty_first_login_start_of_a_minute_is_refused() {
    let app = App::with(Setup {
        rate_limits: true,
        ..Setup::default()
    })
    .await;
    let began = Instant::now();
    let mut let_in = 0;
    for _ in 0..50 {
        let answer = app.browser().get("/auth/google/login").await;
        if answer.code() == "rate_limited" {
            assert!(answer.set_cookies().is_empty());
        } else {
            let_in += 1;
        }
        let json = app.browser().get_json("/auth/google/login").await;
        if json.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(json.header("retry-after"), "60");
        } else {
            let_in += 1;
        }
    }
    // One more every two seconds: a slow machine sees that.
    let may_come = 30..=30 + began.elapsed().as_secs() / 2;
    assert!(may_come.contains(&let_in), "{let_in} of 100 came in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_begins_a_login_in_json_with_the_same_cookie() {
    let app = App::start().await;
    let mut browser = app.browser();
    let answer = browser.get_json("/auth/google/login").await;
    assert_eq!(answer.status, StatusCode::OK);
    let url = Url::parse(answer.json()["authorization_url"].as_str().unwrap()).unwrap();
    let callback = browser.at_provider(&url, ALICE).await;
    assert!(
        browser
            .get(&callback)
            .await
            .location()
            .ends_with("/account")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signed_in_is_sent_to_the_sign_in_page_and_back_and_a_program_is_told() {
    let app = App::start().await;
    let mut browser = app.browser();
    assert_eq!(
        browser.get("/account").await.location(),
        "/login?return_to=%2Faccount"
    );
    let page = browser.get("/login?return_to=%2Faccount").await;
    assert!(
        page.body
            .contains("/auth/google/login?return_to=%2Faccount"),
        "{}",
        page.body
    );
    let answer = browser.get_json("/users/me").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::UNAUTHORIZED, "application/problem+json")
    );
    assert_eq!(answer.json()["detail"], "unauthorized");
    browser.sign_in(ALICE).await;
    assert_eq!(
        browser.get("/login").await.location(),
        "http://localhost:8000/account"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_age_and_by_idleness() {
    let app = App::with(Setup {
        top: "session_lifetime = \"2h\"\nsession_idle = \"1h\"".into(),
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    assert!(browser.cookies.contains_key("vestibule_session"));
    app.clock.advance_seconds(3_601);
    assert_eq!(
        browser.get_json("/users/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_the_reason_of_a_failure_by_the_reference_on_the_page() {
    let app = App::start().await;
    app.idp.set_fault(Fault::WrongAudience);
    let mut browser = app.browser();
    let answer = browser.sign_in(ALICE).await;
    assert_eq!(answer.code(), "id_token_invalid");
    assert_eq!(reason_of(&answer.reference()), "audience");
    let page = browser.get(answer.location()).await;
    assert!(page.body.contains(&answer.reference()) && !page.body.contains("audience"));
}

// DESIGN 3a: the rows that a test of the whole can reach today.
#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_address_signs_nobody_up_and_says_nothing_about_who_is_here() {
    let app = App::start().await;
    app.idp.set_fault(Fault::EmailUnverified);
    assert_eq!(
        app.browser().sign_in(ALICE).await.code(),
        "email_unverified"
    );
    app.idp.set_fault(Fault::None);
    app.browser().sign_in(ALICE).await;
    app.idp.set_fault(Fault::EmailUnverified);
    // The identity is known now: it signs in, and its claim owns nothing new.
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    assert_eq!(app.counts(), [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_sign_up_lets_nobody_new_in_and_keeps_those_who_are_here() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    let mut setup = app.setup();
    setup.top = "signup = \"closed\"".into();
    let app = app.again(setup).await;
    assert_eq!(app.browser().sign_in(BOB).await.code(), "signup_closed");
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    assert_eq!(app.counts(), [1, 1, 2]);
}

// DESIGN 7: signup = "invite".
#[tokio::test(flavor = "multi_thread")]
async fn only_the_invited_come_in_with_the_address_verified_and_each_invitation_is_for_one() {
    const DAY: i64 = 86_400;
    let setup = Setup {
        top: "signup = \"invite\"\nrequire_email = false".into(),
        ..Setup::default()
    };
    let app = App::with(setup).await;
    let invited = EmailAddress::parse("Alice@Example.com").unwrap();
    app.vestibule.invite(invited, DAY).await.unwrap().unwrap();

    let mut browser = app.browser();
    let answer = browser.sign_in(BOB).await;
    assert_eq!(answer.code(), "signup_closed");
    assert_refused(&app, &browser, [0, 0, 0]);
    let page = browser.get(answer.location()).await.body;
    assert!(
        page.contains("sign in with the address that they invited"),
        "{page}"
    );
    // Whoever only says that the address is theirs was not invited, and uses nothing up.
    app.idp.set_fault(Fault::EmailUnverified);
    let mut browser = app.browser();
    assert_eq!(browser.sign_in(ALICE).await.code(), "signup_closed");
    assert_refused(&app, &browser, [0, 0, 0]);
    app.idp.set_fault(Fault::None);

    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    assert_eq!(app.counts(), [1, 1, 1]);
    assert_eq!(app.count("invitations"), 0);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    assert_eq!(app.counts(), [1, 1, 2]);
    // The address has its user now.
    let again = EmailAddress::parse(ALICE).unwrap();
    assert_eq!(app.vestibule.invite(again, DAY).await.unwrap(), None);

    // One that is over lets nobody in.
    let bob = EmailAddress::parse(BOB).unwrap();
    app.vestibule.invite(bob, DAY).await.unwrap().unwrap();
    app.clock.advance_seconds(DAY);
    let mut browser = app.browser();
    assert_eq!(browser.sign_in(BOB).await.code(), "signup_closed");
    assert_refused(&app, &browser, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_foreseen_of_a_sign_in_is_what_it_then_leads_to_and_writes_nothing() {
    let app = App::start().await;
    let mut alice = Described {
        provider: "google".into(),
        email: Some(EmailAddress::parse(ALICE).unwrap()),
        says_verified: true,
        ..Described::default()
    };
    let foresee = async |described: &Described| {
        let before = (app.counts(), app.count("claims"));
        let foreseen = app.vestibule.foresee(described.clone()).await.unwrap();
        assert_eq!((app.counts(), app.count("claims")), before);
        foreseen.decision
    };
    assert!(matches!(
        foresee(&alice).await,
        Decision::Create {
            owning: Some(_),
            ..
        }
    ));
    app.browser().sign_in(ALICE).await;
    assert_eq!(app.counts(), [1, 1, 1]);

    let user = only_user(&app).await;
    // Somebody else with her address, and she herself.
    assert!(matches!(foresee(&alice).await, Decision::AskToLink(owner) if owner.user == user));
    let identities = app.vestibule.identities(user).await.unwrap();
    alice.subject = Some(identities[0].record.subject.clone());
    assert!(matches!(foresee(&alice).await, Decision::SignIn(known) if known.user == user));
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");

    app.vestibule.set_active(user, false).await.unwrap();
    let disabled = Decision::Refuse(Refusal::AccountDisabled);
    assert_eq!(foresee(&alice).await, disabled);
    assert_eq!(
        app.browser().sign_in(ALICE).await.code(),
        "account_disabled"
    );
}

// S54
#[tokio::test(flavor = "multi_thread")]
async fn the_same_verified_address_from_another_issuer_is_not_the_same_person() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    // The same subject and address behind another issuer: a second stand-in.
    let other = vestibule_devidp::DevIdp::builder()
        .listen(([127, 0, 0, 1], 0).into())
        .client("test-client", "canary-client-secret")
        .redirect_uris(vestibule_devidp::RedirectUris::AnyLoopback)
        .people(vestibule_devidp::default_people())
        .clock({
            let clock = app.clock.clone();
            std::sync::Arc::new(move || vestibule::clock::Clock::now(&*clock).seconds())
        })
        .start()
        .await
        .unwrap();
    let mut setup = app.setup();
    setup.tables = format!(
        "[providers.other]\nissuer = \"{}\"\nclient_id = \"test-client\"\nclient_secret = \"canary-client-secret\"\n",
        other.issuer()
    );
    let app = app.again(setup).await;
    let mut browser = app.browser();
    let begun = browser.get("/auth/other/login").await;
    let callback = browser
        .at_provider(&Url::parse(begun.location()).unwrap(), ALICE)
        .await;
    let answer = browser.get(&callback).await;
    // Its owner is asked, and until then nobody is in.
    assert_eq!(
        answer.location(),
        "http://localhost:8000/login?return_to=%2Faccount"
    );
    assert_refused(&app, &browser, [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_url_with_a_path_keeps_every_address_below_it() {
    let app = App::with(Setup {
        public_url: "http://localhost:8000/auth-app".into(),
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    let begun = browser.get("/auth/google/login").await;
    let url = Url::parse(begun.location()).unwrap();
    assert_eq!(
        parameter(&url, "redirect_uri"),
        "http://localhost:8000/auth-app/auth/google/callback"
    );
    let failed = browser.get("/auth/google/callback?state=x").await;
    assert!(
        failed.location().starts_with("/auth-app/error?"),
        "{}",
        failed.location()
    );
    assert_eq!(
        browser.get("/account").await.location(),
        "/auth-app/login?return_to=%2Fauth-app%2Faccount"
    );
    // What stands before us takes the path off, and the browser has it again in the end.
    let callback = browser
        .at_provider(&url, ALICE)
        .await
        .replace("/auth-app/", "/");
    assert_eq!(
        browser.get(&callback).await.location(),
        "http://localhost:8000/auth-app/account"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_a_page_for_people_and_a_problem_for_programs() {
    let app = App::with(Setup {
        public_url: "http://localhost:8000/app".into(),
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    // A method that does not fit: somebody typed the address of a form.
    let person = browser.get("/auth/logout").await;
    assert_eq!(
        (person.status, person.location()),
        (StatusCode::SEE_OTHER, "/app/error?code=method_not_allowed")
    );
    let program = browser.get_json("/auth/logout").await;
    assert_eq!(
        (program.status, program.code().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
    );
    // A provider's name that is no text.
    for path in ["/auth/%ff/login", "/auth/%ff/callback"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answer.location().starts_with("/app/error?code="), "{path}");
    }
    // A form of another site: it is refused at once, on a page whose links lie below our path.
    let request = Request::post("/logout")
        .header("accept", "text/html")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty())
        .unwrap();
    let refused = browser.send(request).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.body.contains("href=\"/app/login\"") && refused.body.contains("<code>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_before_a_sign_in_began_has_a_reference_too() {
    let app = App::start().await;
    let mut browser = app.browser();
    let first = browser.get("/auth/nobody/login").await;
    assert_eq!(first.code(), "provider_unknown");
    let page = browser.get(first.location()).await;
    assert!(page.body.contains(&first.reference()), "{}", page.body);
    let second = browser.get("/auth/nobody/login").await;
    assert_ne!(first.reference(), second.reference());
}

// S60
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_user_is_told_so_every_time() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    let user = only_user(&app).await;
    app.vestibule.set_active(user, false).await.unwrap();
    let before = app.counts();
    for _ in 0..100 {
        let refused = app.browser().sign_in(ALICE).await;
        assert_eq!(refused.code(), "account_disabled");
    }
    assert_eq!(app.counts(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_route_does_not_take_is_that_wherever_it_comes_from() {
    let app = App::start().await;
    for path in [
        "/auth/google/callback",
        "/auth/google/login",
        "/login",
        "/account",
    ] {
        let post = Request::post(path)
            .header("sec-fetch-site", "cross-site")
            .header(header::ACCEPT, "application/json")
            .body(Body::empty())
            .unwrap();
        let refused = app.browser().send(post).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(refused.code(), "method_not_allowed", "{path}");
        assert!(refused.header("allow").contains("GET"), "{path}");
        assert_eq!(refused.header("cache-control"), "no-store", "{path}");
        assert_eq!(refused.header("x-frame-options"), "DENY", "{path}");
    }
}
