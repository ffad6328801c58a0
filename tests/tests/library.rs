//! The library in somebody else's program: built in code, beside any state, below a path, and where routes clash.

use axum::Router;
use axum::body::Body;
use axum::extract::FromRef;
use axum::routing::get;
use http::{Request, StatusCode, header};
use vestibule::{CurrentUser, StartError, Vestibule, google, openid_provider};
use vestibule_tests::{App, Browser};

const ALICE: &str = "alice@example.com";

async fn built(public_url: &str) -> (Vestibule, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = format!("sqlite://{}", folder.path().join("app.db").display());
    let data_dir = folder.path().display().to_string();
    let auth = Vestibule::builder()
        .public_url(public_url)
        .provider(google("an-id", "a-value-of-google"))
        .provider(openid_provider(
            "acme",
            "https://login.acme.example",
            "id",
            "a-value-of-acme",
        ))
        .store(&store)
        .settings(&format!("data_dir = {data_dir:?}\napp_name = \"My App\""))
        .build()
        .await
        .expect("the settings do");
    (auth, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_code_is_the_configuration_and_nothing_else_is_read() {
    let (auth, _folder) = built("https://app.example").await;
    let app: Router = auth.add_to(Router::new()).unwrap();
    let mut browser = Browser::of(app, "https://app.example");
    let page = browser.get("/login").await;
    assert_eq!(page.status, StatusCode::OK);
    for text in ["My App", "Continue with Google", "Continue with Acme"] {
        assert!(page.body.contains(text), "{text}");
    }
}

#[tokio::test]
async fn what_is_wrong_in_code_is_told_as_in_a_file() {
    let nobody = Vestibule::builder()
        .public_url("https://app.example")
        .build()
        .await;
    let error = nobody.unwrap_err();
    // A `main` that returns it prints `Debug`.
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.contains("\n    no provider is configured"), "{text}");
    }
    let wrong = Vestibule::builder()
        .public_url("http://app.example")
        .provider(google("an-id", "a-value-of-google"))
        .settings("linkin = \"ask\"")
        .build()
        .await;
    let text = wrong.unwrap_err().to_string();
    for part in [
        "public_url = \"https://app.example\"",
        "linking",
        "Vestibule::builder()",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let broken = Vestibule::builder().settings("x = ").build().await;
    assert!(matches!(broken, Err(StartError::Config(_))));
}

#[derive(Clone)]
struct Mine {
    auth: Vestibule,
    greeting: &'static str,
}

impl FromRef<Mine> for Vestibule {
    fn from_ref(mine: &Mine) -> Self {
        mine.auth.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_a_state_of_its_own_adds_our_routes_and_takes_the_person_in_its_handlers() {
    let app = App::start().await;
    let mine = Mine {
        auth: app.vestibule.clone(),
        greeting: "hello",
    };
    let routes = Router::new().route(
        "/mine",
        get(
            |axum::extract::State(mine): axum::extract::State<Mine>, user: CurrentUser| async move {
                format!("{} {}", mine.greeting, user.email.as_ref().unwrap())
            },
        ),
    );
    let routes = app.vestibule.add_to(routes).unwrap().with_state(mine);
    let mut browser = Browser::of(routes, "http://localhost:8000");
    let refused = browser.get("/mine?x=1").await;
    assert_eq!(refused.location(), "/login?return_to=%2Fmine%3Fx%3D1");
    browser.sign_in(ALICE).await;
    assert_eq!(browser.get("/mine").await.body, format!("hello {ALICE}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_layers_lie_on_our_routes_alone_wherever_they_are_added() {
    let app = App::start().await;
    let theirs = || Router::new().route("/theirs", get(async || "theirs").post(async || "posted"));
    for routes in [
        app.vestibule.add_to(theirs()).unwrap(),
        Router::new()
            .merge(app.vestibule.routes())
            .merge(theirs())
            .merge(app.vestibule.pages()),
    ] {
        let mut browser = Browser::of(routes, "http://localhost:8000");
        let answer = browser.get("/theirs").await;
        assert!(
            answer
                .headers
                .get(header::CONTENT_SECURITY_POLICY)
                .is_none()
        );
        assert!(answer.headers.get(header::CACHE_CONTROL).is_none());
        let cross_site = Request::post("/theirs")
            .header("sec-fetch-site", "cross-site")
            .body(Body::empty())
            .unwrap();
        assert_eq!(browser.send(cross_site).await.body, "posted");
        assert!(
            browser
                .get("/login")
                .await
                .headers
                .contains_key(header::CONTENT_SECURITY_POLICY)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_path_everything_stays_below_it() {
    let app = App::with(vestibule_tests::Setup {
        public_url: "http://localhost:8000/door".into(),
        ..Default::default()
    })
    .await;
    let ours = app
        .vestibule
        .add_to(Router::new().route(
            "/mine",
            get(|user: CurrentUser| async move { user.id.to_string() }),
        ))
        .unwrap()
        .with_state(app.vestibule.clone());
    let routes = Router::new().nest("/door", ours);
    let mut browser = Browser::of(routes, "http://localhost:8000/door");
    let refused = browser.get("/door/mine").await;
    assert_eq!(refused.location(), "/door/login?return_to=%2Fdoor%2Fmine");
    let page = browser.get(refused.location()).await;
    assert!(
        page.body
            .contains("href=\"/door/auth/google/login?return_to=%2Fdoor%2Fmine\""),
        "{}",
        page.body
    );
    let begun = browser
        .get("/door/auth/google/login?return_to=/door/mine")
        .await;
    let url = url::Url::parse(begun.location()).unwrap();
    let callback = browser.at_provider(&url, ALICE).await;
    assert!(callback.starts_with("http://localhost:8000/door/auth/google/callback?"));
    let answer = browser.get(&callback).await;
    assert_eq!(answer.location(), "http://localhost:8000/door/mine");
    assert_eq!(browser.get("/door/mine").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_both_have_is_an_error_that_names_it_and_the_way_out() {
    let app = App::start().await;
    for (path, ours) in [
        ("/login", "pages()"),
        ("/auth/logout", "routes()"),
        ("/users/me", "users_api()"),
    ] {
        let theirs: Router =
            Router::new().route(path, get(async || "theirs").post(async || "theirs"));
        let clash = app.vestibule.add_to(theirs).unwrap_err();
        assert_eq!(clash.ours, ours, "{clash}");
        assert!(
            clash.to_string().contains(path) && clash.to_string().contains(ours),
            "{clash}"
        );
    }
    let theirs: Router = Router::new().route("/auth/{name}/login", get(async || "theirs"));
    let clash = app.vestibule.add_to(theirs).unwrap_err();
    assert!(clash.to_string().contains("/login"), "{clash}");
}
