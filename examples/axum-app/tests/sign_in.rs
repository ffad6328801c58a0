//! The example as its README says: with its own configuration, a person signs in and is greeted.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, Response, redirect::Policy};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use url::Url;
use vestibule::devidp::{DevIdp, RedirectUris, default_people};

fn location(response: &Response) -> String {
    let value = response.headers().get("location");
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

fn cookies(response: &Response) -> String {
    let pairs = response.headers().get_all("set-cookie").iter();
    let pairs = pairs.map(|value| value.to_str().unwrap().split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

/// As the browser reads a redirect, at the port that the example has here.
fn here(origin: &str, location: &str) -> String {
    let url = Url::parse("http://localhost:3000").unwrap();
    let url = url.join(location).unwrap();
    assert_eq!(url.origin().ascii_serialization(), "http://localhost:3000");
    format!("{origin}{}", &url[url::Position::BeforePath..])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_to_the_example_and_is_greeted() {
    // The stand-in as `vestibule dev` starts it, on any port.
    let stand_in = DevIdp::builder()
        .issuer("http://127.0.0.1:8009".into())
        .client("vestibule-dev", "stand-in-client-secret")
        .redirect_uris(RedirectUris::AnyLoopback)
        .people(default_people())
        .start()
        .await
        .unwrap();
    let metadata = format!(
        "http://{}/.well-known/openid-configuration",
        stand_in.addr()
    );
    let folder = tempfile::tempdir().unwrap();
    let configuration = include_str!("../vestibule.toml");
    std::fs::write(folder.path().join("vestibule.toml"), configuration).unwrap();
    let mut app = Command::new(env!("CARGO_BIN_EXE_axum-app"))
        .current_dir(folder.path())
        .env_clear()
        .env("PORT", "0")
        .env("GOOGLE_METADATA_URL", metadata)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(app.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(Duration::from_secs(60), said.next_line());
    let line = line.await.unwrap().unwrap().unwrap();
    let origin = line.strip_prefix("listening on ").unwrap();

    let client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let get = async |url: &str, cookie: &str| {
        let request = client.get(url).header("accept", "text/html");
        request.header("cookie", cookie).send().await.unwrap()
    };
    let page = get(origin, "").await.text().await.unwrap();
    assert!(page.contains("href=\"/mine\""), "{page}");
    let program = client.get(format!("{origin}/mine")).send().await.unwrap();
    assert_eq!(program.status().as_u16(), 401);

    let refused = get(&format!("{origin}/mine"), "").await;
    let page = get(&here(origin, &location(&refused)), "").await;
    let page = page.text().await.unwrap();
    let link = page
        .split("href=\"")
        .find(|part| part.starts_with("/auth/google/login"))
        .and_then(|part| part.split('"').next())
        .unwrap();
    let begun = get(&format!("{origin}{link}"), "").await;
    let mut consent = Url::parse(&location(&begun)).unwrap();
    consent
        .query_pairs_mut()
        .append_pair("user", "alice@example.com");
    let consented = get(consent.as_str(), "").await;
    let callback = here(origin, &location(&consented));
    let arrived = get(&callback, &cookies(&begun)).await;
    assert_eq!(location(&arrived), "http://localhost:3000/mine");
    let mine = get(&format!("{origin}/mine"), &cookies(&arrived)).await;
    let mine = mine.text().await.unwrap();
    assert!(
        mine.starts_with("Hello, Alice Adams. You are user "),
        "{mine}"
    );
    assert!(folder.path().join("app.db").exists());
}
