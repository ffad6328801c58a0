//! FastAPI: from a clone to the protected route by the README alone; and what Python's libraries say of our tokens.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::example::{Example, Packages, python};
use crate::support::client;
use crate::visitor::Visitor;

const APP: u16 = 9000;
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) async fn five_commands() {
    let mut example = Example::copy("fastapi", &[APP]);
    assert!(example.commands.len() <= 5, "{:?}", example.commands);
    example.run(Packages::ByTheReadme);
    let readme = example.read("README.md");
    let (_, page) = readme.split_once("Open <").unwrap();
    let (page, _) = page.split_once('>').unwrap();

    let mut alice = Visitor::new("alice@example.com");
    let protected = format!("{}/me", example.origin(APP));
    assert_eq!(
        alice.open(&protected).await.status,
        StatusCode::UNAUTHORIZED
    );
    let door = alice.open(page).await;
    let me = alice.open(door.link("Continue with Google")).await;
    assert_eq!(
        me.url.as_str(),
        protected,
        "{}\n{}",
        me.body,
        example.said()
    );
    let claims = me.json();
    assert_eq!(claims["iss"], example.vestibule());
    assert_eq!(claims["aud"], json!(["vestibule", "fastapi"]));
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["name"], "Alice Adams");

    // The same route, as a program asks it.
    let token = token(&example, &mut alice).await;
    let ask = |token: String| client().get(&protected).bearer_auth(token).send();
    let answer = ask(token.clone()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let again: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(again["sub"], claims["sub"]);
    let (signed, _) = token.rsplit_once('.').unwrap();
    for wrong in [format!("{signed}."), signed.to_owned(), String::from("x")] {
        let answer = ask(wrong).await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    }

    // Who cancels reads so, and the application does not fall over.
    let cancelled = format!(
        "{}/callback?error=access_denied&error_description=cancelled&state=x",
        example.origin(APP)
    );
    let answer = Visitor::new("bob@example.com").open(cancelled).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["detail"], "cancelled");
}

/// An access token of this person, who is signed in at Vestibule, by hand.
async fn token(example: &Example, person: &mut Visitor) -> String {
    let (vestibule, callback) = (
        example.vestibule(),
        format!("{}/callback", example.origin(APP)),
    );
    let request = [
        ("response_type", "code"),
        ("client_id", "fastapi"),
        ("redirect_uri", &callback),
        ("state", "of-the-test"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let url =
        url::Url::parse_with_params(&format!("{vestibule}/oauth/authorize"), request).unwrap();
    let ended = person.until(url, &callback).await;
    let code = ended.query_pairs().find(|(name, _)| name == "code");
    let (_, code) = code.unwrap_or_else(|| panic!("{ended}"));
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "fastapi"),
        ("redirect_uri", &callback),
        ("code", &code),
        ("code_verifier", VERIFIER),
    ];
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let answer = client()
        .post(format!("{vestibule}/oauth/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let body = answer.text().await.unwrap();
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
    let token = body["access_token"].as_str();
    token.unwrap_or_else(|| panic!("{body}")).to_owned()
}

pub(crate) async fn libraries() {
    let mut example = Example::copy("fastapi", &[APP]);
    // The application itself is not needed.
    example.commands.retain(|line| !line.contains("uvicorn"));
    example.run(Packages::Installed);
    let vestibule = example.vestibule();
    let mut alice = Visitor::new("alice@example.com");
    alice.open(format!("{vestibule}/auth/google/login")).await;
    let token = token(&example, &mut alice).await;

    let mut script = Command::new(python().join("venv/bin/python"))
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/examples/verify.py"
        ))
        .args([vestibule.as_str(), "fastapi"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    script
        .stdin
        .take()
        .unwrap()
        .write_all(token.as_bytes())
        .unwrap();
    let output = script.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for library in ["pyjwt", "joserfc"] {
        for (case, outcome) in told[library].as_object().unwrap() {
            let expected = if case == "ours" {
                "alice@example.com"
            } else {
                "refused"
            };
            assert_eq!(outcome, expected, "{library}, {case}: {told:#}");
        }
    }
    assert_eq!(told["pyjwt"].as_object().unwrap().len(), 7, "{told:#}");
}
