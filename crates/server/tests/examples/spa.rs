//! The page without a server, in Chromium.

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::example::{Example, Packages};
use crate::support::client;

const PAGE: u16 = 5173;

/// Keeps what the token endpoint answers, as a script could that got into the page.
const LISTEN: &str = "const real = fetch; window.heard = []; \
    window.fetch = async (...request) => { const answer = await real(...request); \
    if (String(request[0]).endsWith('/oauth/token')) heard.push(await answer.clone().json()); return answer }";

pub(crate) async fn sign_in_and_out() {
    let mut example = Example::copy("spa", &[PAGE]);
    example.change("index.html", |text| {
        text.replacen(
            "<script type=\"module\">",
            &format!("<script>{LISTEN}</script>\n<script type=\"module\">"),
            1,
        )
    });
    example.run(Packages::Installed);
    let page = format!("{}/", example.origin(PAGE));

    let chromium = Chromium::start(true).await;
    chromium.open(&page).await;
    chromium.click("Continue with Google").await;
    // The page's button, then the one of the sign-in page.
    chromium.heading("Sign in").await;
    chromium.click("Continue with Google").await;
    chromium.consent("Alice Adams").await;
    chromium.says("Alice Adams, alice@example.com").await;
    assert_eq!(chromium.url().await.as_str(), page);
    let left = "return [Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]";
    assert_eq!(
        chromium.run(left).await,
        json!([[], [], ""]),
        "nothing is left where the next script finds it"
    );

    // After a reload nobody is known; one click, and no question is asked.
    chromium.open(&page).await;
    chromium.heading("Welcome").await;
    chromium.click("Continue with Google").await;
    chromium.says("Alice Adams, alice@example.com").await;

    let tokens = chromium.run("return heard[0]").await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    assert!(!refresh_token.is_empty());
    chromium.click("Sign out").await;
    chromium.is_silent("Alice Adams").await;
    let answer = client()
        .post(format!("{}/oauth/token", example.vestibule()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "grant_type=refresh_token&client_id=spa&refresh_token={refresh_token}"
        ))
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(
        answer["error"], "invalid_grant",
        "what was signed out gives no tokens"
    );
    chromium.close().await;
}
