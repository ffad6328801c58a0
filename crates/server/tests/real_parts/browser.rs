//! Debian's Chromium, driven through the whole of `vestibule dev`.
//!
//! With `VESTIBULE_SCREENSHOTS=folder`, each page that a person sees is also written there.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use crate::support::{Home, Server};

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Chromium with a profile of its own, ended when it is dropped.
struct Chromium {
    driver: Child,
    client: Client,
}

impl Chromium {
    async fn start(javascript: bool) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = lines
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("started successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .unwrap();
        let javascript = if javascript { 1 } else { 2 };
        let options = json!({ "goog:chromeOptions": {
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1000,720",
                "--disable-background-networking", "--no-first-run", "--hide-scrollbars"],
            "prefs": { "profile.managed_default_content_settings.javascript": javascript },
        }});
        let Value::Object(options) = options else {
            unreachable!()
        };
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(options)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Self { driver, client }
    }

    /// Clicks what a person reads there, once it is there.
    async fn click(&self, words: &str) {
        let path = format!("//*[self::a or self::button][contains(normalize-space(.), '{words}')]");
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&path))
            .await;
        let element = match found {
            Ok(element) => element,
            Err(error) => panic!("no {words:?}: {error}; {}", self.text().await),
        };
        element.click().await.unwrap();
    }

    /// Waits until the heading is this.
    async fn heading(&self, words: &str) {
        let path = format!("//h1[contains(normalize-space(.), '{words}')]");
        if let Err(error) = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&path))
            .await
        {
            panic!("no heading {words:?}: {error}; {}", self.text().await);
        }
    }

    async fn text(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        let body = self
            .client
            .find(Locator::Css("body"))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        format!("{url}\n{body}")
    }

    async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    async fn show(&self, name: &str) {
        if let Some(folder) = std::env::var_os("VESTIBULE_SCREENSHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
        }
    }

    async fn close(self) {
        let _ = self.client.clone().close().await;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

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
    chromium
        .client
        .goto(&format!("{origin}/login"))
        .await
        .unwrap();
    chromium.heading("Sign in").await;
    chromium.show("sign-in").await;
    chromium.click("Continue with Google").await;
    chromium.heading("Choose an account").await;
    chromium.show("choose").await;
    chromium.click("Alice Adams").await;
    chromium.heading("wants to know who you are").await;
    chromium.show("consent").await;
    chromium.click("Continue").await;
    chromium.heading("Alice Adams").await;
}

pub(crate) async fn sign_in_and_out(javascript: bool) {
    let home = Home::empty();
    let server = home.dev();
    let origin = origin(&server);
    let chromium = Chromium::start(javascript).await;
    sign_in(&chromium, &origin).await;
    chromium.show("account").await;
    assert_eq!(
        chromium.client.current_url().await.unwrap().as_str(),
        format!("{origin}/account")
    );
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
        let seen = chromium
            .client
            .execute("return document.cookie", Vec::new())
            .await
            .unwrap();
        assert_eq!(seen, json!(""));
    }

    chromium.click("Sign out").await;
    chromium.heading("Sign in").await;
    chromium
        .client
        .goto(&format!("{origin}/account"))
        .await
        .unwrap();
    assert_eq!(chromium.path().await, "/login", "{}", chromium.text().await);
    chromium.close().await;
}

pub(crate) async fn cancel() {
    let home = Home::empty();
    let server = home.dev();
    let origin = origin(&server);
    let chromium = Chromium::start(true).await;
    chromium
        .client
        .goto(&format!("{origin}/login"))
        .await
        .unwrap();
    chromium.click("Continue with Google").await;
    chromium.heading("Choose an account").await;
    chromium.click("Cancel").await;
    chromium.heading("Sign-in cancelled").await;
    chromium.show("cancelled").await;
    let url = chromium.client.current_url().await.unwrap();
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
    assert_eq!(chromium.path().await, "/account");
    chromium.close().await;
}
