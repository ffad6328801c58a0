//! What a provider gave for its own interfaces: kept where the operator says so, sealed, renewed once however many ask,
//! given to nobody but its user, and given back.

use std::sync::Arc;

use axum::Router;
use http::StatusCode;
use serde_json::Value;
use vestibule::Builder;
use vestibule::config::{Config, Flags, Sources};
use vestibule_devidp::{DevIdp, Fault, RedirectUris};
use vestibule_store::{OpenMode, SqliteStore};
use vestibule_tests::{Answer, App, Browser, CLIENT_ID, Imitation, Parts, Setup};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const PATH: &str = "/users/me/providers/google/token";
/// A little more than the stand-in's access tokens live.
const HOUR: i64 = 3_600;

async fn keeping() -> App {
    App::with(Setup {
        provider: "keep_tokens = true".into(),
        ..Setup::default()
    })
    .await
}

async fn signed_in(app: &App, person: &str) -> Browser {
    let mut browser = app.browser();
    let answer = browser.sign_in(person).await;
    assert!(answer.location().ends_with("/account"), "{answer:?}");
    browser
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    body["access_token"].as_str().expect("a token").to_owned()
}

/// What the stand-in's calendar says to a token.
async fn calendar(app: &App, token: &str) -> (u16, Value) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client can be made");
    let answer = client
        .get(format!("{}/api/calendar", app.idp.issuer()))
        .bearer_auth(token)
        .send()
        .await
        .expect("the stand-in answers");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_token_opens_the_provider_s_interface_and_is_renewed_when_its_hour_is_over() {
    let app = keeping().await;
    let mut browser = signed_in(&app, ALICE).await;
    let answer = browser.get_json(PATH).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let first = token(&answer);
    assert_eq!(answer.json()["expires_in"], 3_599);
    assert_eq!(calendar(&app, &first).await.0, 200);
    assert_eq!(app.idp.counters().refresh_requests, 0);
    assert_eq!(token(&browser.get_json(PATH).await), first);

    // Each time with the refresh token that came with the last one.
    let mut before = first;
    for renewals in 1..=3 {
        app.clock.advance_seconds(HOUR);
        let renewed = token(&browser.get_json(PATH).await);
        assert_ne!(renewed, before);
        assert_eq!(calendar(&app, &renewed).await.0, 200);
        assert_eq!(calendar(&app, &before).await.0, 401);
        assert_eq!(app.idp.counters().refresh_requests, renewals);
        before = renewed;
    }

    // The user's own back end asks with the token that it was given.
    let ours = browser.post("/auth/session/token").await.json();
    let request = http::Request::get(PATH)
        .header(
            "authorization",
            format!("Bearer {}", ours["access_token"].as_str().unwrap()),
        )
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(token(&app.browser().send(request).await), before);
    // A script in a browser does not, and HEAD renews nothing.
    let script = |method: &str| {
        http::Request::builder()
            .method(method)
            .uri(PATH)
            .header("sec-fetch-site", "same-origin")
            .body(axum::body::Body::empty())
            .unwrap()
    };
    let refused = browser.send(script("GET")).await;
    assert_eq!(refused.code(), "forbidden");
    assert!(!refused.body.contains(&before));
    let refused = browser.send(script("HEAD")).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    // And nobody else.
    assert_eq!(app.browser().get_json(PATH).await.status, 401);
    let mut bob = signed_in(&app, BOB).await;
    assert_ne!(token(&bob.get_json(PATH).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_for_or_kept_where_the_operator_does_not_say_so() {
    let app = App::start().await;
    let url = app.browser().begin().await;
    assert!(!url.as_str().contains("offline"), "{url}");
    let mut browser = signed_in(&app, ALICE).await;
    let answer = browser.get_json(PATH).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.code(), "not_found");
    assert_eq!(app.count("provider_tokens"), 0);
    let unknown = browser.get_json("/users/me/providers/nobody/token").await;
    assert_eq!(unknown.code(), "provider_unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_tokens_rest_sealed_and_open_for_their_own_identity_alone() {
    let app = keeping().await;
    let mut alice = signed_in(&app, ALICE).await;
    let hers = token(&alice.get_json(PATH).await);
    let mut bob = signed_in(&app, BOB).await;
    let connection = rusqlite::Connection::open(app.database()).unwrap();
    let sealed: Vec<Vec<u8>> = connection
        .prepare("SELECT sealed FROM vestibule_provider_tokens")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(sealed.len(), 2);
    for row in &sealed {
        let text = String::from_utf8_lossy(row);
        assert!(!text.contains(&hers) && !text.contains("access_token"));
    }
    // Whoever may write to the database and nothing more gets nobody's token.
    connection
        .execute(
            "UPDATE vestibule_provider_tokens SET sealed = (SELECT sealed FROM vestibule_provider_tokens WHERE subject = '108204268033311374519') WHERE subject = '113577218840914429037'",
            [],
        )
        .unwrap();
    let refused = bob.get_json(PATH).await;
    assert_eq!(refused.code(), "reauth_required");
    assert!(!refused.body.contains(&hers));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_two_servers_one_renews() {
    let app = keeping().await;
    let mut alice = signed_in(&app, ALICE).await;
    let before = token(&alice.get_json(PATH).await);
    app.vestibule.close().await;

    // Two servers on one database, as replicas have it.
    let store = SqliteStore::open(&app.database(), OpenMode::Serve).unwrap();
    let store = Arc::new(store);
    let mut servers = Vec::new();
    for _ in 0..2 {
        let sources = Sources::read(Flags::default(), [], app.folder.path()).unwrap();
        let vestibule = Builder::new(Config::load(&sources).unwrap())
            .clock(app.clock.clone())
            .with_store(store.clone())
            .build()
            .await
            .unwrap();
        let routes: Router = Router::new()
            .merge(vestibule.routes())
            .merge(vestibule.users_api());
        servers.push(routes);
    }
    app.clock.advance_seconds(HOUR);
    let asked = (0..40).map(|n| {
        let mut browser = Browser::of(servers[n % 2].clone(), "http://localhost:8000");
        browser.cookies = alice.cookies.clone();
        tokio::spawn(async move { browser.get_json(PATH).await })
    });
    let mut tokens = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        tokens.push(token(&asked.await.unwrap()));
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "all get the same token");
    assert_ne!(tokens[0], before);
    assert_eq!(app.idp.counters().refresh_requests, 1);
    assert_eq!(calendar(&app, &tokens[0]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_has_ended_is_kept_no_longer_and_a_new_sign_in_mends_it() {
    let app = keeping().await;
    let mut browser = signed_in(&app, ALICE).await;
    app.clock.advance_seconds(HOUR);
    app.idp.set_fault(Fault::TokenInvalidGrant);
    let refused = browser.get_json(PATH).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.code(), "reauth_required");
    assert_eq!(app.count("provider_tokens"), 0);
    assert_eq!(browser.get_json(PATH).await.code(), "not_found");
    app.idp.set_fault(Fault::None);
    let mut browser = signed_in(&app, ALICE).await;
    let mended = token(&browser.get_json(PATH).await);
    assert_eq!(calendar(&app, &mended).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_ends_nothing() {
    let app = keeping().await;
    let mut browser = signed_in(&app, ALICE).await;
    let first = token(&browser.get_json(PATH).await);
    // In its last minute it is still good.
    app.clock.advance_seconds(HOUR - 31);
    app.idp.set_fault(Fault::Token500);
    assert_eq!(token(&browser.get_json(PATH).await), first);
    app.clock.advance_seconds(60);
    for _ in 0..2 {
        let away = browser.get_json(PATH).await;
        assert_eq!(away.code(), "provider_unavailable");
        assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    app.idp.set_fault(Fault::None);
    assert_ne!(token(&browser.get_json(PATH).await), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_given_back_when_their_way_in_is_taken_away() {
    let app = App::with(Setup {
        provider: "keep_tokens = true".into(),
        ..Setup::default()
    })
    .await;
    let mut browser = signed_in(&app, ALICE).await;
    let kept = token(&browser.get_json(PATH).await);
    // Another way in first: the last one stays.
    let last = browser.post("/auth/google/unlink").await;
    assert_eq!(last.code(), "last_method");
    assert_eq!(calendar(&app, &kept).await.0, 200);
    let page = browser.post("/auth/google/link").await;
    let (_, url) = page.body.split_once("content=\"0;url=").unwrap();
    let url = url.split_once('"').unwrap().0.replace("&#38;", "&");
    let callback = browser.at_provider(&url.parse().unwrap(), BOB).await;
    browser.get(&callback).await;
    assert_eq!(app.count("provider_tokens"), 2);

    browser
        .post_form("/auth/google/unlink", "subject=108204268033311374519")
        .await;
    assert_eq!(app.idp.counters().revocation_requests, 1);
    assert_eq!(calendar(&app, &kept).await.0, 401);
    assert_eq!(app.count("provider_tokens"), 1);
    // What belongs to the other one is good.
    let other = token(&browser.get_json(PATH).await);
    assert_eq!(calendar(&app, &other).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_came_with_the_first_consent_alone_is_kept_at_the_second_sign_in() {
    let google = Arc::new(Imitation::of("google", None));
    google.change(|wire| wire.token["body"]["refresh_token"] = "the-first".into());
    let app = App::over(
        Setup {
            without_google: true,
            public_url: "https://app.example".into(),
            tables: format!(
                "[providers.google]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"canary-client-secret\"\nkeep_tokens = true\n"
            ),
            ..Setup::default()
        },
        Parts {
            transport: Some(google.clone()),
            ..Parts::default()
        },
    )
    .await;
    let mut browser = app.browser();
    for _ in 0..2 {
        let url = browser.begin().await;
        // Google gives one only so.
        assert!(url.as_str().contains("access_type=offline"), "{url}");
        let query = google.consent(&url);
        let answer = browser.get(&format!("/auth/google/callback?{query}")).await;
        assert!(answer.location().ends_with("/account"), "{answer:?}");
        google.change(|wire| {
            let body = wire.token["body"].as_object_mut().expect("an object");
            body.remove("refresh_token");
        });
    }
    // Nor does one come with a renewal: it is good for the next one too.
    for _ in 0..2 {
        app.clock.advance_seconds(HOUR);
        assert_eq!(token(&browser.get_json(PATH).await), "an-access-token");
    }
    let renewals: Vec<String> = google
        .sent()
        .into_iter()
        .filter_map(|sent| sent.form?.get("refresh_token").cloned())
        .collect();
    assert_eq!(renewals, ["the-first", "the-first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_was_given_is_not_sent_to_another_one_of_the_same_name() {
    let idp = DevIdp::builder()
        .client("first", "canary-first-secret")
        .client("second", "canary-second-secret")
        .redirect_uris(RedirectUris::AnyLoopback)
        .start()
        .await
        .unwrap();
    let with = |client: &str| Setup {
        tables: format!(
            "[providers.acme]\nissuer = \"{}\"\nclient_id = \"{client}\"\nclient_secret = \"canary-{client}-secret\"\nkeep_tokens = true\n",
            idp.issuer()
        ),
        ..Setup::default()
    };
    let app = App::with(with("first")).await;
    let mut browser = app.browser();
    browser.sign_in_at("acme", ALICE).await;
    let path = "/users/me/providers/acme/token";
    let first = token(&browser.get_json(path).await);
    let app = app.again(with("second")).await;
    app.clock.advance_seconds(HOUR);
    let mut later = app.browser();
    later.cookies = browser.cookies.clone();
    let refused = later.get_json(path).await;
    assert_eq!(refused.code(), "reauth_required");
    assert!(!refused.body.contains(&first));
    assert_eq!(idp.counters().refresh_requests, 0);
    // Nor where the operator keeps none any longer.
    let mut none = with("second");
    none.tables = none.tables.replace("keep_tokens = true", "");
    let app = app.again(none).await;
    let mut later = app.browser();
    later.cookies = browser.cookies.clone();
    assert_eq!(later.get_json(path).await.code(), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_previous_secret_sealed_is_sealed_anew_when_it_is_read() {
    let secret = |secret: &str, previous: &str| Setup {
        top: format!("secret = \"{secret}\"\n{previous}"),
        provider: "keep_tokens = true".into(),
        ..Setup::default()
    };
    let old = "an-old-secret-of-at-least-32-characters";
    let new = "a-new-secret-of-at-least-32-characters";
    let app = App::with(secret(old, "")).await;
    let mut browser = app.browser();
    browser.sign_in(ALICE).await;
    let before = token(&browser.get_json(PATH).await);
    let at = |app: &App| {
        let mut now = app.browser();
        now.cookies = browser.cookies.clone();
        now
    };
    let both = secret(new, &format!("previous_secret = \"{old}\""));
    let app = app.again(both).await;
    assert_eq!(token(&at(&app).get_json(PATH).await), before);
    let app = app.again(secret(new, "")).await;
    assert_eq!(token(&at(&app).get_json(PATH).await), before);
    app.clock.advance_seconds(HOUR);
    assert_ne!(token(&at(&app).get_json(PATH).await), before);
}
