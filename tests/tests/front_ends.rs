//! Front ends sign in: by code and PKCE, by a token in the URL where their owner says so, and every way to be refused.

use aws_lc_rs::digest;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, StatusCode, header};
use url::Url;
use vestibule::accounts::UserQuery;
use vestibule_devidp::Fault;
use vestibule_tests::{Answer, App, Browser, Setup, log_text};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const OURS: &str = "http://localhost:8000";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const WEB_SECRET: &str = "canary-web-secret-0123456789abcdef";
const FASTAPI_SECRET: &str = "canary-shared-value-of-the-back-end-0123456789";

const FRONT_ENDS: &str = r#"
[[frontends]]
client_id = "web"
client_secret = "canary-web-secret-0123456789abcdef"
redirect_uris = ["https://web.example/cb?keep=1", "https://web.example/other"]

[[frontends]]
client_id = "spa"
redirect_uris = ["http://127.0.0.1/cb"]

[[frontends]]
client_id = "api"
client_secret = "canary-api-secret-0123456789abcdef"
redirect_uris = ["https://api.example/cb"]
audience = "https://api.example"

[[frontends]]
client_id = "legacy"
redirect_uris = ["http://localhost:8501/"]
handoff = "token-query"
token_format = "fastapi-users"
token_secret = "canary-shared-value-of-the-back-end-0123456789"

[[frontends]]
client_id = "query"
redirect_uris = ["https://query.example/?keep=1"]
handoff = "token-query"

[[frontends]]
client_id = "fragment"
redirect_uris = ["https://fragment.example/"]
handoff = "token-fragment"
"#;

async fn start() -> App {
    with_default("").await
}

/// The application, with one of its front ends as the default one.
async fn with_default(default: &str) -> App {
    let named = format!("client_id = \"{default}\"\n");
    App::with(Setup {
        tables: FRONT_ENDS.replace(&named, &format!("{named}default = true\n")),
        ..Setup::default()
    })
    .await
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The request of the confidential client, with a `state`.
fn web_request() -> Vec<(&'static str, String)> {
    vec![
        ("response_type", "code".into()),
        ("client_id", "web".into()),
        ("redirect_uri", "https://web.example/cb?keep=1".into()),
        ("state", "s t/a+t=e&".into()),
        ("code_challenge", challenge(VERIFIER)),
        ("code_challenge_method", "S256".into()),
    ]
}

fn path(base: &str, request: &[(&'static str, String)]) -> String {
    let pairs: Vec<(&str, &str)> = request
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    format!("{base}?{}", query(&pairs))
}

/// The same request with another value; an empty one leaves the parameter out.
fn changed(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut request = web_request();
    request.retain(|(known, _)| *known != name);
    if !value.is_empty() {
        request.push((name, value.to_owned()));
    }
    request
}

/// A parameter of a redirect, from query or fragment.
fn parameter(location: &str, name: &str) -> Option<String> {
    let url = Url::parse(location).ok()?;
    let fragment = url.fragment().unwrap_or_default().to_owned();
    let query = url.query().unwrap_or_default().to_owned();
    url::form_urlencoded::parse(query.as_bytes())
        .chain(url::form_urlencoded::parse(fragment.as_bytes()))
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}

/// Signs in for a front end: where the browser ends.
async fn sign_in_at(browser: &mut Browser, path: &str, person: &str) -> String {
    let begun = browser.get(path).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{begun:?}");
    let url = Url::parse(begun.location()).unwrap_or_else(|_| panic!("no URL: {begun:?}"));
    let callback = browser.at_provider(&url, person).await;
    let answer = browser.get(&callback).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    answer.location().to_owned()
}

/// A whole sign-in of the confidential client: the code.
async fn code(browser: &mut Browser, person: &str) -> String {
    let location = sign_in_at(browser, &path("/auth/google/login", &web_request()), person).await;
    parameter(&location, "code").unwrap_or_else(|| panic!("no code: {location}"))
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// A request of a program: no cookies, no word of its origin.
async fn post(app: &App, path: &str, authorization: &str, form: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json");
    if !authorization.is_empty() {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    app.browser()
        .send(request.body(Body::from(query(form))).expect("a form"))
        .await
}

async fn redeem(app: &App, code: &str) -> Answer {
    post(
        app,
        "/oauth/token",
        &basic("web", WEB_SECRET),
        &[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", "https://web.example/cb?keep=1"),
            ("code_verifier", VERIFIER),
        ],
    )
    .await
}

async fn refresh(app: &App, token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    post(app, "/oauth/token", &basic("web", WEB_SECRET), &form).await
}

async fn revoke(app: &App, token: &str) -> Answer {
    post(
        app,
        "/oauth/revoke",
        &basic("web", WEB_SECRET),
        &[("token", token)],
    )
    .await
}

async fn me(app: &App, access_token: &str) -> Answer {
    let request = Request::get("/users/me")
        .header(header::AUTHORIZATION, format!("Bearer {access_token}"))
        .body(Body::empty())
        .expect("a path");
    app.browser().send(request).await
}

/// Access and refresh token of a new sign-in of this person in this browser.
async fn tokens(app: &App, browser: &mut Browser, person: &str) -> (String, String) {
    let answer = redeem(app, &code(browser, person).await).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    pair(&answer)
}

fn pair(answer: &Answer) -> (String, String) {
    let body = answer.json();
    let text = |name: &str| {
        body[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {answer:?}"))
            .to_owned()
    };
    (text("access_token"), text("refresh_token"))
}

fn oauth_error(answer: &Answer) -> (u16, String) {
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status.as_u16(), error)
}

fn invalid_grant() -> (u16, String) {
    (400, "invalid_grant".into())
}

/// Header and claims of a JWT, unverified.
fn decoded(token: &str) -> (serde_json::Value, serde_json::Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// A refresh token of the same grant and count, with another proof.
fn forged(token: &str) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("it is base64url");
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The page of an error, and no redirect elsewhere.
async fn on_our_page(browser: &mut Browser, path: &str) -> String {
    let answer = browser.get(path).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {answer:?}");
    assert!(
        answer.location().starts_with("/error?code="),
        "{path} leads to {}",
        answer.location()
    );
    answer.code()
}

/// A statement of somebody else's, on the database itself.
fn execute(app: &App, sql: &str) {
    let connection = rusqlite::Connection::open(app.database()).expect("the file is there");
    connection.execute(sql, []).expect("the statement does");
}

// ---- hand-offs

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_parameters_ends_at_the_default_front_end_with_its_token_in_the_query() {
    let app = with_default("legacy").await;
    let location = sign_in_at(&mut app.browser(), "/auth/google/login", ALICE).await;
    assert!(
        location.starts_with("http://localhost:8501/?token="),
        "{location}"
    );
    let token = parameter(&location, "token").unwrap();
    let (jose_header, claims) = decoded(&token);
    assert_eq!(
        jose_header,
        serde_json::json!({ "alg": "HS256", "typ": "JWT" })
    );
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["aud", "exp", "sub"]);
    assert_eq!(claims["aud"], serde_json::json!(["fastapi-users:auth"]));
    // What another library makes of it, with the shared secret.
    let key = jsonwebtoken::DecodingKey::from_secret(FASTAPI_SECRET.as_bytes());
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&["fastapi-users:auth"]);
    let read = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
    assert_eq!(read.claims["sub"], claims["sub"]);
    // It has no sid: nobody could end it, and our own routes do not take it.
    assert_eq!(me(&app, &token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_front_end_that_gets_codes_is_sent_the_person_and_asks_for_its_code_itself() {
    let app = with_default("web").await;
    let mut browser = app.browser();
    let location = sign_in_at(&mut browser, "/auth/google/login", ALICE).await;
    assert_eq!(
        location,
        format!("https://web.example/cb?keep=1&{}", query(&[("iss", OURS)]))
    );
    // Signed in already: the code comes straight back.
    let answer = browser.get(&path("/oauth/authorize", &web_request())).await;
    let code = parameter(answer.location(), "code").unwrap();
    assert_eq!(redeem(&app, &code).await.status, StatusCode::OK);
}

// S67, S90
#[tokio::test(flavor = "multi_thread")]
async fn a_code_comes_back_with_state_and_iss_and_no_token_is_in_any_url() {
    let app = start().await;
    let mut browser = app.browser();
    let location = sign_in_at(
        &mut browser,
        &path("/auth/google/login", &web_request()),
        ALICE,
    )
    .await;
    let url = Url::parse(&location).unwrap();
    assert!(
        location.starts_with("https://web.example/cb?keep=1&code="),
        "{location}"
    );
    let names: Vec<String> = url
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    assert_eq!(names, ["keep", "code", "iss", "state"]);
    assert_eq!(parameter(&location, "state").as_deref(), Some("s t/a+t=e&"));
    assert_eq!(parameter(&location, "iss").as_deref(), Some(OURS));
    assert!(parameter(&location, "code").unwrap().len() >= 22);
    let answer = redeem(&app, &parameter(&location, "code").unwrap()).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 600);
    assert!(answer.set_cookies().is_empty());
}

// S67
#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_into_a_url_only_where_the_front_end_is_configured_so_and_lives_five_minutes()
{
    let app = start().await;
    for (client, uri, start) in [
        (
            "query",
            "https://query.example/?keep=1",
            "https://query.example/?keep=1&token=",
        ),
        (
            "fragment",
            "https://fragment.example/",
            "https://fragment.example/#access_token=",
        ),
    ] {
        let login = format!(
            "/auth/google/login?{}",
            query(&[("client_id", client), ("redirect_uri", uri), ("state", "x")])
        );
        let mut browser = app.browser();
        let begun = browser.get(&login).await;
        let url = Url::parse(begun.location()).unwrap();
        let callback = browser.at_provider(&url, ALICE).await;
        let answer = browser.get(&callback).await;
        let location = answer.location().to_owned();
        assert!(location.starts_with(start), "{location}");
        assert_eq!(parameter(&location, "state").as_deref(), Some("x"));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let token = parameter(&location, "token")
            .or_else(|| parameter(&location, "access_token"))
            .unwrap();
        let (_, claims) = decoded(&token);
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            300
        );
        assert_eq!(me(&app, &token).await.json()["email"], ALICE);
    }
}

// S67
#[tokio::test(flavor = "multi_thread")]
async fn somebody_signed_in_presses_a_button_before_a_token_goes_into_a_url() {
    let app = start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let target = format!(
        "/oauth/authorize?{}",
        query(&[
            ("client_id", "query"),
            ("redirect_uri", "https://query.example/?keep=1")
        ])
    );
    let page = browser.get(&target).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.location().is_empty() && page.body.contains("https://query.example"));
    assert!(page.body.contains("method=\"post\""));
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://query.example;")
    );
    // Another site cannot press it.
    let forged = Request::post(&target)
        .header("sec-fetch-site", "cross-site")
        .header(header::ACCEPT, "text/html")
        .body(Body::empty())
        .unwrap();
    let forged = browser.send(forged).await;
    assert!(!forged.location().contains("token="), "{forged:?}");
    assert_eq!(app.count("grants"), 0);
    let answer = browser.post(&target).await;
    assert!(
        answer
            .location()
            .starts_with("https://query.example/?keep=1&token=")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_signed_in_goes_through_the_sign_in_page_and_ends_at_the_front_end() {
    let app = start().await;
    let mut browser = app.browser();
    let answer = browser.get(&path("/oauth/authorize", &web_request())).await;
    assert!(
        answer.location().starts_with("/login?return_to="),
        "{answer:?}"
    );
    let page = browser.get(answer.location()).await;
    let link = page
        .body
        .split("href=\"")
        .find(|part| part.starts_with("/auth/google/login?"))
        .and_then(|part| part.split('"').next())
        .unwrap_or_else(|| panic!("no link: {}", page.body))
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let location = sign_in_at(&mut browser, &link, ALICE).await;
    let code = parameter(&location, "code").unwrap();
    assert_eq!(parameter(&location, "state").as_deref(), Some("s t/a+t=e&"));
    assert_eq!(redeem(&app, &code).await.status, StatusCode::OK);
}

// S93
#[tokio::test(flavor = "multi_thread")]
async fn prompt_decides_whether_a_page_is_shown() {
    let app = start().await;
    let mut browser = app.browser();
    let none = path(
        "/oauth/authorize",
        &[web_request(), vec![("prompt", "none".into())]].concat(),
    );
    let login = path(
        "/oauth/authorize",
        &[web_request(), vec![("prompt", "login".into())]].concat(),
    );
    let refused = browser.get(&none).await;
    assert_eq!(
        parameter(refused.location(), "error").as_deref(),
        Some("login_required")
    );
    assert!(parameter(refused.location(), "code").is_none());
    let reference = parameter(refused.location(), "ref").unwrap();
    assert!(log_text().contains(&reference), "the log has the line");
    browser.sign_in(ALICE).await;
    let answer = browser.get(&none).await;
    assert!(parameter(answer.location(), "code").is_some(), "{answer:?}");
    let again = browser.get(&login).await;
    assert!(again.location().starts_with("/login?"), "{again:?}");
    let page = browser.get(again.location()).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("prompt=login"));
    let silent = format!(
        "/oauth/authorize?{}",
        query(&[
            ("client_id", "query"),
            ("redirect_uri", "https://query.example/?keep=1"),
            ("prompt", "none")
        ])
    );
    let answer = browser.get(&silent).await;
    assert_eq!(
        parameter(answer.location(), "error").as_deref(),
        Some("interaction_required")
    );
}

// S93
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_just_ended_elsewhere_shows_no_page_to_prompt_none() {
    let app = start().await;
    let mut browser = app.browser();
    let none = [web_request(), vec![("prompt", "none".into())]].concat();
    let none = path("/oauth/authorize", &none);
    browser.sign_in(ALICE).await;
    let answer = browser.get(&none).await;
    assert!(parameter(answer.location(), "code").is_some(), "{answer:?}");
    // As the command line does, within the second in which it is believed.
    execute(&app, "DELETE FROM vestibule_sessions");
    let answer = browser.get(&none).await;
    assert_eq!(
        parameter(answer.location(), "error").as_deref(),
        Some("login_required"),
        "{answer:?}"
    );
}

// S77; ATTACKS F01 to F13 beside a default front end
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_target_leads_to_our_own_page_and_not_to_the_default_front_end() {
    let app = with_default("query").await;
    let location = sign_in_at(
        &mut app.browser(),
        "/auth/google/login?return_to=//evil.example/",
        ALICE,
    )
    .await;
    assert_eq!(location, format!("{OURS}/account"));
    let page = app
        .browser()
        .get("/login?return_to=https://evil.example/")
        .await;
    assert!(
        page.body
            .contains("/auth/google/login?return_to=%2Faccount"),
        "{}",
        page.body
    );
    let location = sign_in_at(&mut app.browser(), "/auth/google/login", ALICE).await;
    assert!(parameter(&location, "token").is_some());
}

// S67, J05: rows for whoever is signed in have bounds, also by the button's own route.
#[tokio::test(flavor = "multi_thread")]
async fn hand_overs_are_counted_and_the_grant_of_a_token_in_a_url_ends_with_it() {
    let app = App::with(Setup {
        tables: FRONT_ENDS.into(),
        rate_limits: true,
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let target = format!(
        "/oauth/authorize?{}",
        query(&[
            ("client_id", "fragment"),
            ("redirect_uri", "https://fragment.example/")
        ])
    );
    let mut refused = 0;
    for _ in 0..40 {
        let answer = browser.post(&target).await;
        if parameter(answer.location(), "error").as_deref() == Some("temporarily_unavailable") {
            refused += 1;
        }
    }
    // One of thirty was the login's start.
    assert_eq!((refused, app.count("grants")), (11, 29));
    app.clock.advance_seconds(300);
    app.vestibule.prune().await.unwrap();
    assert_eq!(app.count("grants"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_that_has_chosen_the_provider_skips_the_sign_in_page() {
    let app = start().await;
    let request = [web_request(), vec![("provider", "google".into())]].concat();
    let mut browser = app.browser();
    let answer = browser.get(&path("/oauth/authorize", &request)).await;
    assert!(
        answer
            .location()
            .starts_with("/auth/google/login?return_to="),
        "{answer:?}"
    );
    let location = sign_in_at(&mut browser, answer.location(), ALICE).await;
    assert!(parameter(&location, "code").is_some());
}

// ---- refusals of authorization requests

// S86, S87; ATTACKS F15, O01
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_client_or_redirect_uri_is_told_on_our_page_and_the_operator_reads_what_would_allow_it()
 {
    let app = start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    for base in ["/oauth/authorize", "/auth/google/login"] {
        for (name, value, code) in [
            ("client_id", "nobody", "bad_request"),
            ("client_id", "WEB", "bad_request"),
            ("redirect_uri", "", "redirect_not_allowed"),
            (
                "redirect_uri",
                "https://evil.example/cb",
                "redirect_not_allowed",
            ),
            (
                "redirect_uri",
                "https://web.example/cb",
                "redirect_not_allowed",
            ),
            (
                "redirect_uri",
                "https://web.example/cb?keep=1#x",
                "redirect_not_allowed",
            ),
            (
                "redirect_uri",
                "https://web.example:443/cb?keep=1",
                "redirect_not_allowed",
            ),
            (
                "redirect_uri",
                "https://web.example@evil.example/cb?keep=1",
                "redirect_not_allowed",
            ),
            (
                "redirect_uri",
                "https://api.example/cb",
                "redirect_not_allowed",
            ),
            (
                "redirect_uri",
                "javascript:alert(1)",
                "redirect_not_allowed",
            ),
        ] {
            assert_eq!(
                on_our_page(&mut browser, &path(base, &changed(name, value))).await,
                code,
                "{base} {name}={value}"
            );
        }
    }
    // A program is told without any redirect.
    let evil = changed("redirect_uri", "https://evil.example/cb");
    let told = browser.get_json(&path("/oauth/authorize", &evil)).await;
    assert_eq!(
        (told.status.as_u16(), told.code().as_str(), told.location()),
        (400, "redirect_not_allowed", "")
    );
    let head = Request::head(path("/oauth/authorize", &web_request()))
        .body(Body::empty())
        .unwrap();
    let head = browser.send(head).await;
    assert_eq!(head.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(app.count("codes"), 0);
    let log = log_text();
    assert!(
        log.contains("redirect_uris = [\\\"https://evil.example/cb\\\"]")
            || log.contains("https://evil.example/cb"),
        "the log names the value"
    );
    assert!(log.contains("below its [[frontends]]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_or_is_too_long_leads_nowhere() {
    let app = start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    for base in ["/oauth/authorize", "/auth/google/login"] {
        let whole = path(base, &web_request());
        for twice in [
            "client_id=web",
            "redirect_uri=https://web.example/other",
            "state=x",
        ] {
            assert_eq!(
                on_our_page(&mut browser, &format!("{whole}&{twice}")).await,
                "bad_request",
                "{base} {twice}"
            );
        }
        for state in [513, 10_240] {
            let long = path(base, &changed("state", &"s".repeat(state)));
            assert_eq!(
                on_our_page(&mut browser, &long).await,
                "bad_request",
                "{base} {state}"
            );
        }
        let answer = browser
            .get(&path(base, &changed("state", &"s".repeat(512))))
            .await;
        assert!(
            !answer.location().starts_with("/error"),
            "{base}: {answer:?}"
        );
    }
}

// S1, S88; ATTACKS O03, O07, O10
#[tokio::test(flavor = "multi_thread")]
async fn what_a_front_end_asks_wrongly_it_is_told_at_its_redirect_uri() {
    let app = start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let mut rows = vec![
        (changed("response_type", ""), "invalid_request"),
        (
            changed("response_type", "token"),
            "unsupported_response_type",
        ),
        (
            changed("response_type", "code id_token"),
            "unsupported_response_type",
        ),
        (changed("code_challenge", ""), "invalid_request"),
        (changed("code_challenge", "short"), "invalid_request"),
        (
            changed("code_challenge", &"=".repeat(43)),
            "invalid_request",
        ),
        (changed("code_challenge_method", ""), "invalid_request"),
        (changed("code_challenge_method", "plain"), "invalid_request"),
        (changed("code_challenge_method", "s256"), "invalid_request"),
    ];
    for (name, value) in [
        ("response_mode", "fragment"),
        ("prompt", "evil"),
        ("request", "x"),
        ("request_uri", "https://evil.example/"),
        ("code_challenge", "twice"),
        ("scope", "a"),
    ] {
        let mut request = web_request();
        request.push((name, value.into()));
        if name == "scope" {
            request.push((name, value.into()));
        }
        rows.push((request, "invalid_request"));
    }
    for base in ["/oauth/authorize", "/auth/google/login"] {
        for (request, error) in &rows {
            let answer = browser.get(&path(base, request)).await;
            let location = answer.location();
            assert!(
                location.starts_with("https://web.example/cb?keep=1&error="),
                "{base} {request:?}: {location}"
            );
            assert_eq!(
                parameter(location, "error").as_deref(),
                Some(*error),
                "{base} {request:?}"
            );
            assert_eq!(parameter(location, "state").as_deref(), Some("s t/a+t=e&"));
            assert_eq!(parameter(location, "iss").as_deref(), Some(OURS));
            assert!(parameter(location, "code").is_none());
        }
    }
    assert_eq!(app.count("codes"), 0);
}

// DESIGN section 7; ATTACKS A14
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sign_in_returns_to_the_front_end_with_fixed_words_and_nothing_of_upstream() {
    let app = start().await;
    let login = path("/auth/google/login", &web_request());
    let mut browser = app.browser();
    let begun = browser.get(&login).await;
    let state = parameter(begun.location(), "state").unwrap();
    let cancelled = format!(
        "/auth/google/callback?{}",
        query(&[
            ("error", "access_denied"),
            ("error_description", "canary upstream"),
            ("state", &state),
            ("iss", app.idp.issuer())
        ])
    );
    let answer = browser.get(&cancelled).await;
    let location = answer.location();
    assert_eq!(
        parameter(location, "error").as_deref(),
        Some("access_denied"),
        "{location}"
    );
    assert_eq!(
        parameter(location, "error_code").as_deref(),
        Some("access_denied")
    );
    assert_eq!(
        parameter(location, "ref").map(|reference| reference.len()),
        Some(10)
    );
    assert_eq!(parameter(location, "state").as_deref(), Some("s t/a+t=e&"));
    assert_eq!(parameter(location, "iss").as_deref(), Some(OURS));
    assert!(parameter(location, "code").is_none() && !location.contains("canary"));

    for (fault, error, code) in [
        (Fault::WrongAudience, "server_error", "id_token_invalid"),
        (
            Fault::Token500,
            "temporarily_unavailable",
            "provider_unavailable",
        ),
        (Fault::EmailUnverified, "access_denied", "email_unverified"),
    ] {
        app.idp.set_fault(fault);
        let location = sign_in_at(&mut app.browser(), &login, BOB).await;
        app.idp.set_fault(Fault::None);
        assert_eq!(
            parameter(&location, "error").as_deref(),
            Some(error),
            "{fault:?}: {location}"
        );
        assert_eq!(
            parameter(&location, "error_code").as_deref(),
            Some(code),
            "{fault:?}"
        );
    }
    assert_eq!(app.counts(), [0, 0, 0]);
    assert_eq!(app.count("codes"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_attempt_stays_on_our_page_even_if_it_was_a_front_ends() {
    let app = start().await;
    let mut browser = app.browser();
    let begun = browser
        .get(&path("/auth/google/login", &web_request()))
        .await;
    let url = Url::parse(begun.location()).unwrap();
    let callback = browser.at_provider(&url, ALICE).await;
    // Another browser.
    assert_eq!(
        on_our_page(&mut app.browser(), &callback).await,
        "cookie_missing"
    );
    assert_eq!(on_our_page(&mut browser, &callback).await, "state_used");
    assert_eq!(app.counts(), [0, 0, 0]);
}

// ---- the token endpoint

// S89; ATTACKS O02
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_redeemed_by_its_client_at_its_redirect_uri_with_its_verifier_alone() {
    let app = start().await;
    let code = code(&mut app.browser(), ALICE).await;
    let good = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://web.example/cb?keep=1"),
        ("code_verifier", VERIFIER),
    ];
    let with = |name: &str, value: &'static str| {
        let mut form = good;
        for pair in &mut form {
            if pair.0 == name {
                pair.1 = value;
            }
        }
        form
    };
    let web = basic("web", WEB_SECRET);
    let api = basic("api", "canary-api-secret-0123456789abcdef");
    for (authorization, form, expected) in [
        (
            web.as_str(),
            with("redirect_uri", "https://web.example/other"),
            invalid_grant(),
        ),
        (
            &web,
            with(
                "code_verifier",
                "another-verifier-of-at-least-43-characters-x",
            ),
            invalid_grant(),
        ),
        (&api, good, invalid_grant()),
        (&basic("web", "wrong"), good, (401, "invalid_client".into())),
        ("", good, (401, "invalid_client".into())),
    ] {
        let answer = post(&app, "/oauth/token", authorization, &form).await;
        assert_eq!(oauth_error(&answer), expected, "{form:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let refused = post(&app, "/oauth/token", &basic("web", "wrong"), &good).await;
    assert!(refused.header("www-authenticate").starts_with("Basic "));
    // None of these used it up: it is the right client's.
    assert_eq!(
        post(&app, "/oauth/token", &web, &good).await.status,
        StatusCode::OK
    );
    let in_the_url = post(&app, &format!("/oauth/token?{}", query(&good)), &web, &[]).await;
    assert_eq!(oauth_error(&in_the_url), (400, "invalid_request".into()));
}

// S89
#[tokio::test(flavor = "multi_thread")]
async fn a_code_lives_for_sixty_seconds() {
    let app = start().await;
    let (early, late) = (
        code(&mut app.browser(), ALICE).await,
        code(&mut app.browser(), ALICE).await,
    );
    app.clock.advance_seconds(59);
    assert_eq!(redeem(&app, &early).await.status, StatusCode::OK);
    app.clock.advance_seconds(1);
    assert_eq!(oauth_error(&redeem(&app, &late).await), invalid_grant());
}

// S89; RFC 6749 section 4.1.2
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_used_again_ends_what_came_of_it() {
    let app = start().await;
    let code = code(&mut app.browser(), ALICE).await;
    let (access, refresh_token) = pair(&redeem(&app, &code).await);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    assert_eq!(oauth_error(&redeem(&app, &code).await), invalid_grant());
    assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        oauth_error(&refresh(&app, &refresh_token).await),
        invalid_grant()
    );
}

// S89; ATTACKS O11
#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_redemptions_at_once_one_succeeds() {
    let app = std::sync::Arc::new(start().await);
    let code = code(&mut app.browser(), ALICE).await;
    let all = (0..50).map(|_| {
        let (app, code) = (app.clone(), code.clone());
        tokio::spawn(async move { redeem(&app, &code).await })
    });
    let answers = futures_util::future::join_all(all).await;
    let (good, refused): (Vec<Answer>, Vec<Answer>) = answers
        .into_iter()
        .map(|answer| answer.unwrap())
        .partition(|answer| answer.status == StatusCode::OK);
    assert_eq!(good.len(), 1);
    assert!(
        refused
            .iter()
            .all(|answer| oauth_error(answer) == invalid_grant())
    );
    // And later use ends what came of it.
    redeem(&app, &code).await;
    let (access, _) = pair(&good[0]);
    assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.count("grants"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_takes_forms_alone_and_gives_tokens_to_clients_that_get_codes() {
    let app = start().await;
    let text = Request::post("/oauth/token")
        .header(header::CONTENT_TYPE, "text/plain")
        .header(header::AUTHORIZATION, basic("web", WEB_SECRET))
        .body(Body::from("grant_type=refresh_token&refresh_token=x"))
        .unwrap();
    let answer = app.browser().send(text).await;
    assert_eq!(oauth_error(&answer), (400, "invalid_request".into()));
    let two = Request::post("/oauth/token")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, basic("web", WEB_SECRET))
        .header(header::AUTHORIZATION, basic("web", "wrong"))
        .body(Body::from("grant_type=refresh_token&refresh_token=x"))
        .unwrap();
    let answer = app.browser().send(two).await;
    assert_eq!(oauth_error(&answer), (400, "invalid_request".into()));
    let answer = post(
        &app,
        "/oauth/token",
        "",
        &[
            ("client_id", "query"),
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
        ],
    )
    .await;
    assert_eq!(oauth_error(&answer), (400, "unauthorized_client".into()));
    assert_eq!(
        app.browser().get_json("/oauth/token").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

// S81; ATTACKS J07
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_answered_in_our_own_words() {
    let app = start().await;
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let answer = post(
            &app,
            path,
            &basic("web", WEB_SECRET),
            &[("token", &"x".repeat(70_000))],
        )
        .await;
        assert_eq!(oauth_error(&answer), (400, "invalid_request".into()));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let below = "/.well-known/oauth-authorization-server/%ff";
    assert_eq!(app.browser().get_json(below).await.code(), "not_found");
    // Who presses the button is signed out, whatever else the form holds.
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let form = Request::post("/logout")
        .header("sec-fetch-site", "same-origin")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(vec![0xff]))
        .unwrap();
    assert_eq!(browser.send(form).await.location(), "/login");
    assert_eq!(app.count("sessions"), 0);
}

// ---- refresh tokens

// S69
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_is_replaced_each_time_and_its_predecessor_is_given_the_same_successor_for_ten_seconds()
 {
    let app = start().await;
    let (_, first) = tokens(&app, &mut app.browser(), ALICE).await;
    let (access, second) = pair(&refresh(&app, &first).await);
    assert_ne!(first, second);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    app.clock.advance_seconds(10);
    assert_eq!(pair(&refresh(&app, &first).await).1, second);
    let (_, third) = pair(&refresh(&app, &second).await);
    assert_ne!(second, third);
}

// S69; ATTACKS H13
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_is_used_after_the_grace_ends_its_whole_family() {
    let app = start().await;
    let (_, first) = tokens(&app, &mut app.browser(), ALICE).await;
    let (access, second) = pair(&refresh(&app, &first).await);
    app.clock.advance_seconds(11);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    assert_eq!(oauth_error(&refresh(&app, &first).await), invalid_grant());
    assert_eq!(oauth_error(&refresh(&app, &second).await), invalid_grant());
    assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.count("grants"), 0);
    // The person stays signed in at our own site, and can begin again.
    assert_eq!(app.count("sessions"), 1);
}

// S69
#[tokio::test(flavor = "multi_thread")]
async fn fifty_refreshes_at_once_get_one_successor_and_nobody_is_signed_out() {
    let app = std::sync::Arc::new(start().await);
    let (_, token) = tokens(&app, &mut app.browser(), ALICE).await;
    let all = (0..50).map(|_| {
        let (app, token) = (app.clone(), token.clone());
        tokio::spawn(async move { refresh(&app, &token).await })
    });
    let successors: std::collections::HashSet<String> = futures_util::future::join_all(all)
        .await
        .into_iter()
        .map(|answer| pair(&answer.unwrap()).1)
        .collect();
    assert_eq!(successors.len(), 1);
    let successor = successors.into_iter().next().unwrap();
    assert_eq!(refresh(&app, &successor).await.status, StatusCode::OK);
}

// S69: new sign-ins carry a grant from session to session, and no further than thirty days.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_thirty_days_after_it_was_made() {
    let app = start().await;
    let mut browser = app.browser();
    let (_, mut token) = tokens(&app, &mut browser, ALICE).await;
    for _ in 0..5 {
        app.clock.advance_seconds(6 * 86_400 - 1);
        browser.sign_in(ALICE).await;
        token = pair(&refresh(&app, &token).await).1;
    }
    app.clock.advance_seconds(5);
    assert_eq!(oauth_error(&refresh(&app, &token).await), invalid_grant());
}

// DESIGN section 6
#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_ends_with_its_session_at_the_latest() {
    let app = App::with(Setup {
        top: "session_lifetime = \"1h\"\nsession_idle = \"1h\"".into(),
        tables: FRONT_ENDS.into(),
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    let (_, token) = tokens(&app, &mut browser, ALICE).await;
    app.clock.advance_seconds(3_540);
    let own = refresh(&app, &token).await.json();
    assert_eq!(own["expires_in"], 60);
    let legacy = query(&[
        ("client_id", "legacy"),
        ("redirect_uri", "http://localhost:8501/"),
    ]);
    let answer = browser.post(&format!("/oauth/authorize?{legacy}")).await;
    let token = parameter(answer.location(), "token").unwrap();
    let own = decoded(own["access_token"].as_str().unwrap()).1;
    assert_eq!(decoded(&token).1["exp"], own["exp"]);
}

// S69; ATTACKS O04
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_of_another_client_or_a_forged_one_is_refused_and_ends_nothing() {
    let app = start().await;
    let (_, token) = tokens(&app, &mut app.browser(), ALICE).await;
    let api = basic("api", "canary-api-secret-0123456789abcdef");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
    ];
    assert_eq!(
        oauth_error(&post(&app, "/oauth/token", &api, &form).await),
        invalid_grant()
    );
    let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for at in [0, 17, 30, 51] {
        bytes[at] ^= 1;
        assert_eq!(
            oauth_error(&refresh(&app, &URL_SAFE_NO_PAD.encode(&bytes)).await),
            invalid_grant()
        );
        bytes[at] ^= 1;
    }
    assert_eq!(refresh(&app, &token).await.status, StatusCode::OK);
}

// S60, S69, S91; ATTACKS E10, G09
#[tokio::test(flavor = "multi_thread")]
async fn who_is_disabled_or_signed_out_gets_nothing_more_by_code_refresh_or_access_token() {
    let app = start().await;
    for how in ["disable", "sign out"] {
        let mut browser = app.browser();
        let (access, refresh_token) = tokens(&app, &mut browser, ALICE).await;
        let unused = browser.get(&path("/oauth/authorize", &web_request())).await;
        let unused = parameter(unused.location(), "code").unwrap();
        assert_eq!(me(&app, &access).await.status, StatusCode::OK);
        let id = app
            .vestibule
            .users(UserQuery {
                limit: 1,
                ..UserQuery::default()
            })
            .await
            .unwrap()
            .users[0]
            .id;
        if how == "disable" {
            app.vestibule.set_active(id, false).await.unwrap();
        } else {
            browser.post("/auth/logout").await;
        }
        assert_eq!(
            me(&app, &access).await.status,
            StatusCode::UNAUTHORIZED,
            "{how}"
        );
        assert_eq!(
            oauth_error(&refresh(&app, &refresh_token).await),
            invalid_grant(),
            "{how}"
        );
        assert_eq!(
            oauth_error(&redeem(&app, &unused).await),
            invalid_grant(),
            "{how}"
        );
        app.vestibule.set_active(id, true).await.unwrap();
        assert_eq!(
            oauth_error(&refresh(&app, &refresh_token).await),
            invalid_grant(),
            "{how}"
        );
    }
}

// S65, S69
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sign_in_of_the_same_person_keeps_other_front_ends_signed_in_and_of_another_person_does_not()
 {
    let app = start().await;
    let mut browser = app.browser();
    let (_, token) = tokens(&app, &mut browser, ALICE).await;
    browser.sign_in(ALICE).await;
    assert_eq!(app.count("sessions"), 1);
    let (access, token) = pair(&refresh(&app, &token).await);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    browser.sign_in(BOB).await;
    app.clock.advance_seconds(2);
    assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(oauth_error(&refresh(&app, &token).await), invalid_grant());
}

// S65, N07: who is signed out is forgotten before it is answered, by whatever key the session was seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sign_in_leaves_nothing_believed_of_the_session_that_it_ends() {
    let app = start().await;
    let mut browser = app.browser();
    let (of_grant, _) = tokens(&app, &mut browser, ALICE).await;
    assert_eq!(me(&app, &of_grant).await.status, StatusCode::OK);
    // The grant hangs on the new session from here on, and ends with it.
    browser.sign_in(ALICE).await;
    browser.post("/auth/logout").await;
    assert_eq!(me(&app, &of_grant).await.status, StatusCode::UNAUTHORIZED);

    let (of_grant, _) = tokens(&app, &mut browser, ALICE).await;
    let own = browser.post("/auth/session/token").await.json();
    let own = own["access_token"].as_str().unwrap();
    for token in [own, &of_grant] {
        assert_eq!(me(&app, token).await.status, StatusCode::OK);
    }
    browser.sign_in(BOB).await;
    for token in [own, &of_grant] {
        assert_eq!(me(&app, token).await.status, StatusCode::UNAUTHORIZED);
    }
}

// ---- revocation and introspection

// S72
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_dead_when_it_is_answered_and_an_unknown_one_is_answered_so() {
    let app = start().await;
    for by_access_token in [false, true] {
        let (access, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
        assert_eq!(me(&app, &access).await.status, StatusCode::OK);
        let token = if by_access_token {
            &access
        } else {
            &refresh_token
        };
        assert_eq!(revoke(&app, token).await.status, StatusCode::OK);
        assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            oauth_error(&refresh(&app, &refresh_token).await),
            invalid_grant()
        );
        assert_eq!(revoke(&app, token).await.status, StatusCode::OK);
    }
    for unknown in ["x", &"A".repeat(70), "a.b.c"] {
        assert_eq!(
            revoke(&app, unknown).await.status,
            StatusCode::OK,
            "{unknown}"
        );
    }
    let nothing = post(&app, "/oauth/revoke", &basic("web", WEB_SECRET), &[]).await;
    assert_eq!(oauth_error(&nothing), (400, "invalid_request".into()));
    let nobody = post(&app, "/oauth/revoke", "", &[("token", "x")]).await;
    assert_eq!(oauth_error(&nobody), (401, "invalid_client".into()));
}

// S72; ATTACKS H07
#[tokio::test(flavor = "multi_thread")]
async fn revocation_never_says_done_where_it_is_not() {
    let app = with_default("legacy").await;
    let (access, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let api = basic("api", "canary-api-secret-0123456789abcdef");
    for token in [&access, &refresh_token] {
        let answer = post(&app, "/oauth/revoke", &api, &[("token", token)]).await;
        assert_eq!(oauth_error(&answer), invalid_grant());
    }
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    let location = sign_in_at(&mut app.browser(), "/auth/google/login", BOB).await;
    let legacy = parameter(&location, "token").unwrap();
    let answer = post(
        &app,
        "/oauth/revoke",
        "",
        &[("client_id", "legacy"), ("token", &legacy)],
    )
    .await;
    assert_eq!(oauth_error(&answer), (400, "unsupported_token_type".into()));
    app.vestibule.close().await;
    for token in [&access, &refresh_token] {
        app.clock.advance_seconds(2);
        let answer = revoke(&app, token).await;
        assert_eq!(
            oauth_error(&answer),
            (503, "temporarily_unavailable".into())
        );
        assert!(!answer.header("retry-after").is_empty());
    }
    // And nobody is told that they are signed out.
    assert_eq!(
        me(&app, &access).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

// S73; ATTACKS H06
#[tokio::test(flavor = "multi_thread")]
async fn introspection_answers_those_whom_a_token_is_for_and_nobody_else() {
    let app = start().await;
    let (access, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let introspect = async |authorization: &str, token: &str| {
        post(
            &app,
            "/oauth/introspect",
            authorization,
            &[("token", token)],
        )
        .await
    };
    let web = basic("web", WEB_SECRET);
    let active = introspect(&web, &access).await.json();
    assert_eq!(active["active"], true);
    assert_eq!(active["client_id"], "web");
    assert_eq!(active["iss"], OURS);
    assert_eq!(
        introspect(&web, &refresh_token).await.json()["active"],
        true
    );
    let inactive = serde_json::json!({ "active": false });
    let api = basic("api", "canary-api-secret-0123456789abcdef");
    for token in [access.as_str(), &refresh_token] {
        assert_eq!(introspect(&api, token).await.json(), inactive);
    }
    let (_, successor) = pair(&refresh(&app, &refresh_token).await);
    let forged = forged(&successor);
    for token in ["x", "a.b.c", &format!("{access}x"), &refresh_token, &forged] {
        assert_eq!(introspect(&web, token).await.json(), inactive, "{token}");
    }
    for authorization in ["", &basic("web", "wrong"), &basic("spa", "")] {
        assert_eq!(
            introspect(authorization, &access).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    // Of a proof that is not ours nothing ends.
    assert_eq!(revoke(&app, &forged).await.status, StatusCode::OK);
    assert_eq!(introspect(&web, &successor).await.json()["active"], true);
    revoke(&app, &successor).await;
    for token in [&access, &successor] {
        assert_eq!(introspect(&web, token).await.json(), inactive);
    }
}

// ---- access tokens and keys

// S68
#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_is_what_rfc_9068_says_and_others_verify_it_by_the_published_keys() {
    let app = start().await;
    let (access, _) = tokens(&app, &mut app.browser(), ALICE).await;
    let (jose_header, claims) = decoded(&access);
    assert_eq!(
        (&jose_header["alg"], &jose_header["typ"]),
        (&"ES256".into(), &"at+jwt".into())
    );
    assert_eq!(claims["iss"], OURS);
    assert_eq!(claims["aud"], serde_json::json!(["vestibule", "web"]));
    assert_eq!(claims["client_id"], "web");
    assert_eq!(claims["email"], ALICE);
    assert_eq!(claims["email_verified"], true);
    for name in ["sub", "sid", "jti"] {
        assert!(claims[name].is_string(), "{name}");
    }
    for name in ["exp", "iat", "auth_time"] {
        assert!(claims[name].is_i64(), "{name}");
    }
    let jwks = app.browser().get_json("/.well-known/jwks.json").await;
    assert_eq!(jwks.header("access-control-allow-origin"), "*");
    assert_eq!(jwks.header("cache-control"), "public, max-age=300");
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&jwks.body).unwrap();
    assert!(
        !jwks.body.contains("\"d\""),
        "a private member is published"
    );
    let key = set.find(jose_header["kid"].as_str().unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&["web"]);
    validation.set_issuer(&[OURS]);
    let key = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<serde_json::Value>(&access, &key, &validation).unwrap();
}

// S32, S47, S68, S75; ATTACKS H01, H02, H03
#[tokio::test(flavor = "multi_thread")]
async fn our_own_routes_take_our_live_access_tokens_from_the_header_alone() {
    let app = start().await;
    let (access, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let mut parts = access.split('.');
    let (head, body, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let other_head = |header: &str| URL_SAFE_NO_PAD.encode(header);
    let (jose_header, mut claims) = decoded(&access);
    claims["email"] = "mallory@example.com".into();
    let kid = jose_header["kid"].as_str().unwrap();
    for forged in [
        format!("{}.{body}.", other_head(r#"{"alg":"none","typ":"at+jwt"}"#)),
        format!(
            "{}.{body}.{signature}",
            other_head(&format!(
                r#"{{"alg":"HS256","typ":"at+jwt","kid":"{kid}"}}"#
            ))
        ),
        format!(
            "{}.{body}.{signature}",
            other_head(&format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#))
        ),
        format!(
            "{head}.{}.{signature}",
            URL_SAFE_NO_PAD.encode(claims.to_string())
        ),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{access}x"),
        refresh_token.clone(),
        String::new(),
        "x".repeat(20_000),
    ] {
        let answer = me(&app, &forged).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{forged}");
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer error=\"invalid_token\""
        );
    }
    let in_the_query = app
        .browser()
        .get_json(&format!("/users/me?access_token={access}"))
        .await;
    assert_eq!(in_the_query.status, StatusCode::UNAUTHORIZED);
    assert_eq!(in_the_query.header("www-authenticate"), "Bearer");
    assert_eq!(me(&app, &access).await.json()["email"], ALICE);
    app.clock.advance_seconds(599);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    app.clock.advance_seconds(1);
    assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
}

// S70
#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_one_purpose_does_for_no_other() {
    let app = start().await;
    let mut browser = app.browser();
    let (access, refresh_token) = tokens(&app, &mut browser, ALICE).await;
    let unused = browser.get(&path("/oauth/authorize", &web_request())).await;
    let code = parameter(unused.location(), "code").unwrap();
    let session = browser.session().unwrap().to_owned();
    for wrong in [&refresh_token, &code, &session] {
        assert_eq!(me(&app, wrong).await.status, StatusCode::UNAUTHORIZED);
    }
    for wrong in [&access, &code, &session] {
        assert_eq!(oauth_error(&refresh(&app, wrong).await), invalid_grant());
    }
    for wrong in [&access, &refresh_token, &session] {
        assert_eq!(oauth_error(&redeem(&app, wrong).await), invalid_grant());
    }
    for wrong in [&access, &refresh_token, &code] {
        let request = Request::get("/users/me")
            .header(header::COOKIE, format!("vestibule_session={wrong}"))
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            app.browser().send(request).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
}

// S71; ATTACKS H15
#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_published_before_it_signs_and_the_old_one_verifies_until_its_tokens_are_over()
{
    let app = start().await;
    let kids = async || -> Vec<String> {
        let jwks = app
            .browser()
            .get_json("/.well-known/jwks.json")
            .await
            .json();
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let kid_of = |token: &str| decoded(token).0["kid"].as_str().unwrap().to_owned();
    let (before, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let new = app.vestibule.rotate_signing_key().await.unwrap();
    assert_eq!(kids().await.len(), 2);
    let (still, refresh_token) = pair(&refresh(&app, &refresh_token).await);
    assert_eq!(kid_of(&still), kid_of(&before));
    app.clock.advance_seconds(599);
    let (late, refresh_token) = pair(&refresh(&app, &refresh_token).await);
    assert_eq!(kid_of(&late), kid_of(&before));
    app.clock.advance_seconds(1);
    let (after, _) = pair(&refresh(&app, &refresh_token).await);
    assert_eq!(kid_of(&after), new.kid);
    for token in [&late, &after] {
        assert_eq!(me(&app, token).await.status, StatusCode::OK);
    }
    app.clock.advance_seconds(2 * 3_600);
    assert_eq!(kids().await, [new.kid]);
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn keys_rotated_twice_a_minute_for_three_hours_are_few_and_no_token_is_refused() {
    let app = start().await;
    let (mut access, mut refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let (mut signers, mut most) = (std::collections::BTreeSet::new(), 0);
    // The token of ten minutes ago verifies as well as the one of now.
    for minute in 0..180 {
        for _ in 0..2 {
            app.vestibule.rotate_signing_key().await.unwrap();
            app.clock.advance_seconds(30);
        }
        let jwks = app.browser().get_json("/.well-known/jwks.json").await;
        let published = jwks.json()["keys"].as_array().unwrap().clone();
        most = most.max(published.len());
        assert!(most <= 64, "minute {minute}: {most} keys are published");
        if minute % 9 != 8 {
            continue;
        }
        assert_eq!(me(&app, &access).await.status, StatusCode::OK, "{minute}");
        (access, refresh_token) = pair(&refresh(&app, &refresh_token).await);
        let kid = decoded(&access).0["kid"].as_str().unwrap().to_owned();
        assert!(published.iter().any(|key| key["kid"] == kid.as_str()));
        assert_eq!(me(&app, &access).await.status, StatusCode::OK, "{minute}");
        signers.insert(kid);
    }
    // Each has its turn: keys that come too fast keep nobody from signing.
    assert!(signers.len() >= 16, "{} signed", signers.len());
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn seventy_rotations_in_a_row_leave_a_set_that_verifies_what_its_newest_key_signs() {
    let app = start().await;
    let (_, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let mut newest = String::new();
    for _ in 0..70 {
        app.clock.advance_seconds(1);
        newest = app.vestibule.rotate_signing_key().await.unwrap().kid;
    }
    app.clock.advance_seconds(600);
    let (access, _) = pair(&refresh(&app, &refresh_token).await);
    assert_eq!(decoded(&access).0["kid"], newest.as_str());
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_dead_at_once_and_nobody_is_signed_out() {
    let app = start().await;
    let mut browser = app.browser();
    let (access, refresh_token) = tokens(&app, &mut browser, ALICE).await;
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    let kid = decoded(&access).0["kid"].as_str().unwrap().to_owned();
    assert!(!app.vestibule.revoke_signing_key("nobody").await.unwrap());
    assert!(app.vestibule.revoke_signing_key(&kid).await.unwrap());
    assert_eq!(me(&app, &access).await.status, StatusCode::UNAUTHORIZED);
    let (access, _) = pair(&refresh(&app, &refresh_token).await);
    assert_ne!(decoded(&access).0["kid"].as_str().unwrap(), kid);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    assert_eq!(browser.get_json("/users/me").await.status, StatusCode::OK);
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_ninety_days_gets_one_successor() {
    let app = start().await;
    app.vestibule.rotate_old_signing_key().await.unwrap();
    assert_eq!(app.count("signing_keys"), 1);
    app.clock.advance_seconds(90 * 86_400);
    app.vestibule.rotate_old_signing_key().await.unwrap();
    app.vestibule.rotate_old_signing_key().await.unwrap();
    assert_eq!(app.count("signing_keys"), 2);
}

// S71, S76
#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_after_a_secret_was_replaced_the_old_one_can_go_and_nobody_is_signed_out() {
    let with = |secrets: &str| Setup {
        top: secrets.to_owned(),
        tables: FRONT_ENDS.into(),
        ..Setup::default()
    };
    let (old, new) = ("a-b-c-d-e-f-g-h-0".repeat(3), "i-j-k-l-m-n-o-p-1".repeat(3));
    let app = App::with(with(&format!("secret = {old:?}"))).await;
    let (access, refresh_token) = tokens(&app, &mut app.browser(), ALICE).await;
    let kid = |token: &str| decoded(token).0["kid"].clone();
    let both = with(&format!("secret = {new:?}\nprevious_secret = {old:?}"));
    let app = app.again(both).await;
    // Published, and not in use before others have read it.
    assert_eq!(app.count("signing_keys"), 2);
    let (still, refresh_token) = pair(&refresh(&app, &refresh_token).await);
    assert_eq!(kid(&still), kid(&access));
    app.clock.advance_seconds(600);
    let app = app.again(with(&format!("secret = {new:?}"))).await;
    assert_eq!(app.count("signing_keys"), 2);
    assert_eq!(me(&app, &still).await.status, StatusCode::UNAUTHORIZED);
    let (after, _) = pair(&refresh(&app, &refresh_token).await);
    assert_ne!(kid(&after), kid(&access));
    assert_eq!(me(&app, &after).await.status, StatusCode::OK);
}

// S69, S71, S89: a fault of ours uses nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn while_no_key_can_be_opened_tokens_are_verified_and_nothing_is_used_up_for_nothing() {
    let app = start().await;
    let mut browser = app.browser();
    let (access, refresh_token) = tokens(&app, &mut browser, ALICE).await;
    let unused = code(&mut browser, ALICE).await;
    let (sessions, grants) = (app.count("sessions"), app.count("grants"));
    execute(
        &app,
        "UPDATE vestibule_signing_keys SET sealed = CAST(x'00' || sealed AS BLOB)",
    );
    app.clock.advance_seconds(2);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
    let jwks = app.browser().get_json("/.well-known/jwks.json").await;
    assert_eq!(jwks.json()["keys"].as_array().unwrap().len(), 1);
    let server_error = (500, "server_error".to_owned());
    for _ in 0..2 {
        assert_eq!(oauth_error(&redeem(&app, &unused).await), server_error);
        assert_eq!(
            oauth_error(&refresh(&app, &refresh_token).await),
            server_error
        );
        // Longer than the grace: a second try is no reuse.
        app.clock.advance_seconds(11);
    }
    let fragment = path(
        "/auth/google/login",
        &[
            ("client_id", "fragment".into()),
            ("redirect_uri", "https://fragment.example/".into()),
        ],
    );
    let location = sign_in_at(&mut app.browser(), &fragment, BOB).await;
    assert_eq!(
        parameter(&location, "error").as_deref(),
        Some("server_error")
    );
    assert_eq!(
        (
            app.count("sessions"),
            app.count("grants"),
            app.count("users")
        ),
        (sessions, grants, 1)
    );
    execute(
        &app,
        "UPDATE vestibule_signing_keys SET sealed = CAST(substr(sealed, 2) AS BLOB)",
    );
    app.clock.advance_seconds(2);
    assert_eq!(redeem(&app, &unused).await.status, StatusCode::OK);
    assert_eq!(refresh(&app, &refresh_token).await.status, StatusCode::OK);
    // Where it stays so, the next start makes a key.
    execute(&app, "UPDATE vestibule_signing_keys SET sealed = x'00'");
    let setup = app.setup();
    let app = app.again(setup).await;
    assert_eq!(app.count("signing_keys"), 2);
    let (access, _) = tokens(&app, &mut app.browser(), ALICE).await;
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
}

// S71
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_successor_gets_a_successor_so_that_somebody_signs_for_ever() {
    let app = start().await;
    let (_, token) = tokens(&app, &mut app.browser(), ALICE).await;
    let next = app.vestibule.rotate_signing_key().await.unwrap();
    assert!(app.vestibule.revoke_signing_key(&next.kid).await.unwrap());
    app.clock.advance_seconds(3 * 3_600);
    app.vestibule.prune().await.unwrap();
    let (access, _) = pair(&refresh(&app, &token).await);
    assert_eq!(me(&app, &access).await.status, StatusCode::OK);
}

// S83; a bearer token beside a cookie proves nothing about the cookie.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_another_site_is_refused_also_with_a_bearer_token_beside_the_cookie() {
    let app = start().await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let forged = |path: &str| {
        Request::post(path)
            .header("sec-fetch-site", "same-site")
            .header(header::AUTHORIZATION, "Bearer x")
            .body(Body::empty())
            .unwrap()
    };
    for path in ["/auth/session/token", "/auth/logout", "/oauth/authorize"] {
        assert_eq!(
            browser.send(forged(path)).await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    assert_eq!(app.count("sessions"), 1);
    assert_eq!(
        app.browser().send(forged("/auth/logout")).await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_our_own_site_gets_a_token_for_its_session_and_another_site_does_not() {
    let app = start().await;
    let mut browser = app.browser();
    let nobody = browser.post("/auth/session/token").await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    browser.sign_in(ALICE).await;
    let answer = browser.post("/auth/session/token").await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(me(&app, &token).await.json()["email"], ALICE);
    let forged = Request::post("/auth/session/token")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty())
        .unwrap();
    assert_eq!(browser.send(forged).await.status, StatusCode::FORBIDDEN);
    browser.post("/auth/logout").await;
    assert_eq!(me(&app, &token).await.status, StatusCode::UNAUTHORIZED);
}

// ---- other origins, metadata, sign-out

// ATTACKS H16
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_registered_origins_may_read_some_answers_without_cookies_and_no_others_may() {
    let app = start().await;
    let preflight = async |path: &str, origin: &str, method: &str| {
        let request = Request::builder()
            .method("OPTIONS")
            .uri(path)
            .header(header::ORIGIN, origin)
            .header("access-control-request-method", method)
            .header(
                "access-control-request-headers",
                "authorization,content-type",
            )
            .body(Body::empty())
            .unwrap();
        app.browser().send(request).await
    };
    for (path, method) in [
        ("/oauth/token", "POST"),
        ("/oauth/revoke", "POST"),
        ("/users/me", "GET"),
        ("/auth/providers", "GET"),
    ] {
        let allowed = preflight(path, "https://web.example", method).await;
        assert_eq!(
            allowed.header("access-control-allow-origin"),
            "https://web.example",
            "{path}"
        );
        assert!(
            allowed
                .header("access-control-allow-credentials")
                .is_empty()
        );
        for origin in [
            "https://evil.example",
            "null",
            "https://web.example.evil.example",
            "http://web.example",
        ] {
            let refused = preflight(path, origin, method).await;
            assert!(
                refused.header("access-control-allow-origin").is_empty(),
                "{path} {origin}"
            );
        }
    }
    for (path, method) in [
        ("/oauth/introspect", "POST"),
        ("/oauth/authorize", "GET"),
        ("/auth/logout", "POST"),
        ("/auth/session/token", "POST"),
    ] {
        let refused = preflight(path, "https://web.example", method).await;
        assert!(
            refused.header("access-control-allow-origin").is_empty(),
            "{path}"
        );
    }
    let read = Request::get("/users/me")
        .header(header::ORIGIN, "https://web.example")
        .body(Body::empty())
        .unwrap();
    let read = app.browser().send(read).await;
    let vary: Vec<&str> = read
        .headers
        .get_all(header::VARY)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let vary = vary.join(", ").to_ascii_lowercase();
    assert!(vary.contains("cookie") && vary.contains("origin"), "{vary}");
}

// S90
#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_say_what_is_there() {
    let app = start().await;
    let answer = app
        .browser()
        .get_json("/.well-known/oauth-authorization-server")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let metadata = answer.json();
    assert_eq!(metadata["issuer"], OURS);
    assert_eq!(
        metadata["authorization_endpoint"],
        format!("{OURS}/oauth/authorize")
    );
    assert_eq!(
        metadata["code_challenge_methods_supported"],
        serde_json::json!(["S256"])
    );
    assert_eq!(
        metadata["authorization_response_iss_parameter_supported"],
        true
    );
    assert_eq!(
        metadata["response_types_supported"],
        serde_json::json!(["code"])
    );
    let other = app
        .browser()
        .get_json("/.well-known/oauth-authorization-server/other")
        .await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_a_public_url_with_a_path_stand_where_rfc_8414_puts_them() {
    let app = App::with(Setup {
        tables: FRONT_ENDS.into(),
        public_url: "https://app.example/auth-server".into(),
        ..Setup::default()
    })
    .await;
    let answer = app
        .browser()
        .get_json("/.well-known/oauth-authorization-server/auth-server")
        .await;
    assert_eq!(answer.json()["issuer"], "https://app.example/auth-server");
    assert_eq!(
        answer.json()["token_endpoint"],
        "https://app.example/auth-server/oauth/token"
    );
}

// S77, S83
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_returns_to_a_registered_origin_and_to_no_other() {
    let app = start().await;
    for (return_to, target) in [
        ("https://web.example", "https://web.example/"),
        ("https://web.example/", "https://web.example/"),
        ("/account", "/account"),
        ("https://evil.example/", "/login"),
        ("https://web.example.evil.example/", "/login"),
        ("https://web.example/path", "/login"),
        ("//evil.example", "/login"),
        ("javascript:alert(1)", "/login"),
    ] {
        let mut browser = app.browser();
        browser.sign_in(ALICE).await;
        let form = query(&[("return_to", return_to)]);
        let page = browser.get(&format!("/logout?{form}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.body.contains("evil.example"), "{return_to}");
        let request = Request::post("/logout")
            .header("sec-fetch-site", "same-origin")
            .header(header::ACCEPT, "text/html")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        let answer = browser.send(request).await;
        assert_eq!(answer.location(), target, "{return_to}");
        assert!(browser.session().is_none());
    }
}

// S82
#[tokio::test(flavor = "multi_thread")]
async fn no_code_token_or_secret_of_a_front_end_is_in_the_log_or_the_database() {
    let app = with_default("legacy").await;
    let mut browser = app.browser();
    let code = code(&mut browser, ALICE).await;
    let (access, first) = pair(&redeem(&app, &code).await);
    let (_, second) = pair(&refresh(&app, &first).await);
    redeem(&app, &code).await;
    post(
        &app,
        "/oauth/token",
        &basic("web", "canary-wrong-secret"),
        &[("grant_type", "refresh_token"), ("refresh_token", &second)],
    )
    .await;
    let location = sign_in_at(&mut browser, "/auth/google/login", BOB).await;
    let legacy = parameter(&location, "token").unwrap();
    let log = log_text();
    let mut database = Vec::new();
    for name in ["vestibule.db", "vestibule.db-wal"] {
        database.extend(std::fs::read(app.folder.path().join(name)).unwrap_or_default());
    }
    let database = String::from_utf8_lossy(&database).into_owned();
    let signature = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    for secret in [
        code,
        signature(&access),
        first,
        second,
        signature(&legacy),
        WEB_SECRET.to_owned(),
        FASTAPI_SECRET.to_owned(),
        "canary-wrong-secret".to_owned(),
        VERIFIER.to_owned(),
    ] {
        assert!(secret.len() >= 16, "{secret}");
        assert!(!log.contains(&secret), "the log holds {secret}");
        assert!(!database.contains(&secret), "the database holds {secret}");
    }
}
