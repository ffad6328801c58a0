//! The article's application: its login, its page, its back end on the real fastapi-users.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::example::{Example, Packages};
use crate::support::client;
use crate::visitor::Visitor;

const BACKEND: u16 = 8001;
const PAGE: u16 = 8501;

fn start() -> Example {
    let mut example = Example::copy("article", &[BACKEND, PAGE]);
    example.run(Packages::Installed);
    example
}

fn part(token: &str, at: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap());
    serde_json::from_slice(&bytes.unwrap()).unwrap()
}

/// What the back end answers to this token.
async fn protected(backend: &str, token: &str) -> (StatusCode, String) {
    let request = client().get(format!("{backend}/users/me"));
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

pub(crate) async fn token() {
    let example = start();
    let (vestibule, backend) = (example.vestibule(), example.origin(BACKEND));
    let page = example.origin(PAGE);

    let mut alice = Visitor::new("alice@example.com");
    let ended = alice
        .until(format!("{vestibule}/auth/google/login"), &page)
        .await;
    let token = ended.as_str().strip_prefix(&format!("{page}/?token="));
    let token = token.unwrap_or_else(|| panic!("{ended}")).to_owned();

    assert_eq!(part(&token, 0)["alg"], "HS256");
    let claims = part(&token, 1);
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["aud", "exp", "sub"], "{claims}");
    assert_eq!(claims["aud"], json!(["fastapi-users:auth"]));

    let (status, body) = protected(&backend, &token).await;
    assert_eq!(status, StatusCode::OK, "{body}\n{}", example.said());
    let body: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({
        "id": claims["sub"], "email": "alice@example.com",
        "is_active": true, "is_superuser": false, "is_verified": true,
    });
    assert_eq!(body, expected);

    // Another person is another person.
    let mut bob = Visitor::new("bob@example.com");
    let ended = bob
        .until(format!("{vestibule}/auth/google/login"), &page)
        .await;
    let (_, of_bob) = ended.as_str().split_once("token=").unwrap();
    let (_, body) = protected(&backend, of_bob).await;
    assert!(body.contains("bob@example.com"), "{body}");

    // Not for anybody who changes it, and not at Vestibule's own routes: it names no session.
    let parts: Vec<&str> = token.split('.').collect();
    let claims_of_bob = of_bob.split('.').nth(1).unwrap();
    for wrong in [
        format!("{}.{claims_of_bob}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        String::from("x"),
    ] {
        let (status, body) = protected(&backend, &wrong).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}: {body}");
    }
    let (status, body) = protected(&vestibule, &token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");

    // A disabled person is out at the next request, at a back end that knows nothing of Vestibule.
    let disabled = example.administer(&["user", "disable", "alice@example.com"]);
    assert!(disabled.ok, "{}", disabled.err);
    let (status, body) = protected(&backend, &token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    let (status, _) = protected(&backend, of_bob).await;
    assert_eq!(status, StatusCode::OK);
}

pub(crate) async fn page() {
    let example = start();
    let chromium = Chromium::start(true).await;
    chromium.open(&example.origin(PAGE)).await;
    chromium.click("Continue with Google").await;
    chromium.consent("Alice Adams").await;
    chromium.heading("You are signed in").await;
    chromium.says("alice@example.com").await;
    chromium.close().await;
}

/// The README shows what was added to the article's code; it stands in the file, in this order.
pub(crate) async fn diff() {
    let example = Example::copy("article", &[]);
    let (readme, backend) = (example.read("README.md"), example.read("backend.py"));
    let (_, diff) = readme.split_once("```diff\n").unwrap();
    let (diff, _) = diff.split_once("```").unwrap();
    let mut lines = backend.lines();
    for line in diff.lines() {
        let Some(kept) = line.strip_prefix(['+', ' ']) else {
            let is_removed = line.starts_with('-') || line.is_empty();
            assert!(is_removed, "{line:?} is no line of a diff");
            continue;
        };
        let is_there = kept.is_empty() || lines.any(|line| line == kept);
        assert!(
            is_there,
            "{kept:?} is not in backend.py, or not in this order"
        );
    }
}
