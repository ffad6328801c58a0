//! `vestibule dev` from end to end, in Debian's Chromium.

use serde_json::json;

use crate::chromium::Chromium;
use crate::support::{Home, Server};

fn origin(server: &Server) -> String {
    let said = server.said();
    let line = said
        .lines()
        .find(|line| line.contains("sign-in page"))
        .unwrap();
    line.split_whitespace()
        .last()
        .unwrap()
        .strip_suffix("/login")
        .unwrap()
        .to_owned()
}

async fn sign_in(chromium: &Chromium, origin: &str) {
    chromium.open(&format!("{origin}/login")).await;
    chromium.heading("Sign in").await;
    chromium.show("sign-in").await;
    chromium.click("Continue with Google").await;
    chromium.consent("Alice Adams").await;
    chromium.heading("Alice Adams").await;
}

pub(crate) async fn sign_in_and_out(javascript: bool) {
    let home = Home::empty();
    let server = home.dev();
    let origin = origin(&server);
    let chromium = Chromium::start(javascript).await;
    sign_in(&chromium, &origin).await;
    chromium.show("account").await;
    assert_eq!(chromium.url().await.as_str(), format!("{origin}/account"));
    assert!(chromium.text().await.contains("alice@example.com"));

    let cookies = chromium.client.get_all_cookies().await.unwrap();
    let session = cookies
        .iter()
        .find(|cookie| cookie.name() == "vestibule_session")
        .unwrap();
    assert_eq!(session.http_only(), Some(true));
    assert!(
        !cookies.iter().any(|cookie| cookie.name().contains("flow")),
        "the attempt is over"
    );
    if javascript {
        // No script of ours runs on these pages, and none can read the session.
        let seen = chromium.run("return document.cookie").await;
        assert_eq!(seen, json!(""));
    }

    chromium.click("Sign out").await;
    chromium.heading("Sign in").await;
    chromium.open(&format!("{origin}/account")).await;
    assert_eq!(
        chromium.url().await.path(),
        "/login",
        "{}",
        chromium.text().await
    );
    chromium.close().await;
}

pub(crate) async fn cancel() {
    let home = Home::empty();
    let server = home.dev();
    let origin = origin(&server);
    let chromium = Chromium::start(true).await;
    chromium.open(&format!("{origin}/login")).await;
    chromium.click("Continue with Google").await;
    chromium.heading("Choose an account").await;
    chromium.click("Cancel").await;
    chromium.heading("Sign-in cancelled").await;
    chromium.show("cancelled").await;
    let url = chromium.url().await;
    assert!(
        url.as_str()
            .starts_with(&format!("{origin}/error?code=access_denied&ref=")),
        "{url}"
    );
    assert!(
        chromium
            .client
            .get_named_cookie("vestibule_session")
            .await
            .is_err(),
        "nobody is signed in"
    );
    chromium.click("Back to sign-in").await;
    chromium.heading("Sign in").await;
    chromium.close().await;
}

pub(crate) async fn back_and_reload() {
    let home = Home::empty();
    let server = home.dev();
    let origin = origin(&server);
    let chromium = Chromium::start(true).await;
    sign_in(&chromium, &origin).await;
    // Back to the provider's page, and forward through the same answer again: a person who is signed in stays so.
    chromium.client.back().await.unwrap();
    chromium.heading("wants to know who you are").await;
    chromium.click("Continue").await;
    chromium.heading("Alice Adams").await;
    chromium.client.refresh().await.unwrap();
    chromium.heading("Alice Adams").await;
    assert_eq!(chromium.url().await.path(), "/account");
    chromium.close().await;
}
