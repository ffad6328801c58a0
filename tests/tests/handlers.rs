//! The extractors in an application's own handlers: who comes in, and what the others are told.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode, header};
use vestibule::{CurrentUser, OptionalUser, Superuser, VerifiedUser};
use vestibule_tests::{App, Browser, Setup};

const ALICE: &str = "alice@example.com";
/// An unverified address.
const DAVE: &str = "dave@example.com";

fn application(app: &App) -> Browser {
    let name = |user: vestibule::accounts::User| user.name.unwrap_or_default();
    let routes = Router::new()
        .route(
            "/mine",
            get(async move |CurrentUser(user): CurrentUser| name(user)),
        )
        .route(
            "/either",
            get(async move |OptionalUser(user): OptionalUser| {
                user.map_or("nobody".to_owned(), name)
            }),
        )
        .route(
            "/option",
            get(async move |user: Option<CurrentUser>| {
                user.map_or("nobody".to_owned(), |user| name(user.0))
            }),
        )
        .route(
            "/verified",
            get(async move |VerifiedUser(user): VerifiedUser| name(user)),
        )
        .route(
            "/admin",
            get(async move |Superuser(user): Superuser| name(user)),
        )
        .with_state(app.vestibule.clone());
    app.browser_of(routes)
}

async fn status(browser: &mut Browser, path: &str) -> (u16, String) {
    let answer = browser.get_json(path).await;
    (answer.status.as_u16(), answer.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_take_a_user_let_nobody_else_in() {
    let app = App::start().await;
    let mut browser = application(&app);
    for path in ["/mine", "/verified", "/admin"] {
        assert_eq!(
            status(&mut browser, path).await,
            (401, "unauthorized".to_owned()),
            "{path}"
        );
        let page = browser.get(path).await;
        let target = format!("/login?return_to=%2F{}", &path[1..]);
        assert_eq!(
            (page.status, page.location()),
            (StatusCode::SEE_OTHER, target.as_str())
        );
        assert_eq!(
            (page.header("cache-control"), page.header("vary")),
            ("no-store", "Cookie, Authorization")
        );
    }
    for path in ["/either", "/option"] {
        assert_eq!(browser.get(path).await.body, "nobody", "{path}");
    }
    // An application may nest its routes: the browser comes back to the path that it knows.
    let mine = get(async move |CurrentUser(user): CurrentUser| user.name.unwrap_or_default());
    let nested = Router::new().nest("/app", Router::new().route("/mine", mine));
    let mut elsewhere = app.browser_of(nested.with_state(app.vestibule.clone()));
    assert_eq!(
        elsewhere.get("/app/mine?x=1").await.location(),
        "/login?return_to=%2Fapp%2Fmine%3Fx%3D1"
    );

    browser.sign_in(ALICE).await;
    for path in ["/mine", "/either", "/option", "/verified"] {
        assert_eq!(browser.get(path).await.body, "Alice Adams", "{path}");
    }
    assert_eq!(
        status(&mut browser, "/admin").await,
        (403, "forbidden".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_for_administrators_let_those_in_whom_the_operator_promoted() {
    let app = App::start().await;
    let mut browser = application(&app);
    browser.sign_in(ALICE).await;
    let me = browser.get_json("/users/me").await.json();
    let id = vestibule::accounts::UserId::parse(me["id"].as_str().unwrap()).unwrap();
    app.vestibule.set_superuser(id, true).await.unwrap();
    // S65: a session from before does not become an administrator's.
    assert_eq!(
        status(&mut browser, "/admin").await,
        (401, "unauthorized".to_owned())
    );
    browser.sign_in(ALICE).await;
    assert_eq!(browser.get("/admin").await.body, "Alice Adams");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_for_verified_people_keep_those_out_who_own_no_address() {
    let app = App::with(Setup {
        top: "require_email = false".to_owned(),
        ..Setup::default()
    })
    .await;
    let mut browser = application(&app);
    assert_eq!(browser.sign_in(DAVE).await.code(), "");
    assert_eq!(browser.get("/mine").await.body, "Dave Davis");
    assert_eq!(
        status(&mut browser, "/verified").await,
        (403, "forbidden".to_owned())
    );
    assert_eq!(
        browser.get_json("/users/me").await.json()["is_verified"],
        false
    );
}

// S75; RFC 6750 sections 2 and 3.1
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_is_told_so_and_two_tokens_are_none() {
    let app = App::start().await;
    let mut browser = application(&app);
    browser.sign_in(ALICE).await;
    let token = browser.post("/auth/session/token").await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = async |path: &str, authorizations: &[String]| {
        let mut request = Request::get(path);
        for authorization in authorizations {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let answer = application(&app)
            .send(request.body(Body::empty()).unwrap())
            .await;
        let challenge = answer.header("www-authenticate").to_owned();
        (answer.status.as_u16(), challenge)
    };
    let good = format!("Bearer {token}");
    assert_eq!(
        ask("/mine", std::slice::from_ref(&good)).await,
        (200, String::new())
    );
    assert_eq!(
        ask("/admin", std::slice::from_ref(&good)).await,
        (403, "Bearer error=\"insufficient_scope\"".to_owned())
    );
    for two in [
        [good.clone(), "Bearer x".to_owned()],
        ["Bearer x".to_owned(), good.clone()],
        [good.clone(), "Basic eDp5".to_owned()],
        [good.clone(), good.clone()],
    ] {
        assert_eq!(
            ask("/mine", &two).await,
            (401, "Bearer error=\"invalid_token\"".to_owned()),
            "{two:?}"
        );
    }
}
