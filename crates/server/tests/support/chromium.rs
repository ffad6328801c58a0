//! Debian's Chromium. With `VESTIBULE_SCREENSHOTS=folder`, each page that a person sees is also written there.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use url::Url;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Chromium with a profile of its own, ended when it is dropped.
pub(crate) struct Chromium {
    driver: Child,
    pub(crate) client: Client,
}

impl Chromium {
    pub(crate) async fn start(javascript: bool) -> Self {
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
                "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
                // No page asks for anything from elsewhere.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"],
            "prefs": { "profile.managed_default_content_settings.javascript": javascript },
        },
        // Tests sign their certificates themselves.
        "acceptInsecureCerts": true });
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

    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Clicks what a person reads there, once it is there.
    pub(crate) async fn click(&self, words: &str) {
        self.press(&format!(
            "//*[self::a or self::button][contains(normalize-space(.), '{words}')]"
        ))
        .await;
    }

    /// Clicks what stands at this path, once it is there.
    pub(crate) async fn press(&self, path: &str) {
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(path))
            .await;
        let element = match found {
            Ok(element) => element,
            Err(error) => panic!("no {path:?}: {error}; {}", self.text().await),
        };
        element.click().await.unwrap();
    }

    /// Waits until the heading is this.
    pub(crate) async fn heading(&self, words: &str) {
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

    /// Chooses a person at the stand-in, who consents.
    pub(crate) async fn consent(&self, person: &str) {
        self.heading("Choose an account").await;
        self.show("choose").await;
        self.click(person).await;
        self.heading("wants to know who you are").await;
        self.show("consent").await;
        self.click("Continue").await;
    }

    /// Waits until the page says this.
    pub(crate) async fn says(&self, words: &str) {
        let path = format!("//body[contains(normalize-space(.), '{words}')]");
        let waited = self.client.wait().at_most(PATIENCE);
        if let Err(error) = waited.for_element(Locator::XPath(&path)).await {
            panic!("no text {words:?}: {error}; {}", self.text().await);
        }
    }

    /// Waits until the page says this no longer.
    pub(crate) async fn is_silent(&self, words: &str) {
        let path = format!("//body[not(contains(normalize-space(.), '{words}'))]");
        let waited = self.client.wait().at_most(PATIENCE);
        if let Err(error) = waited.for_element(Locator::XPath(&path)).await {
            panic!("still {words:?}: {error}; {}", self.text().await);
        }
    }

    /// What a script in the page returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub(crate) async fn url(&self) -> Url {
        self.client.current_url().await.unwrap()
    }

    pub(crate) async fn text(&self) -> String {
        let url = self.url().await;
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

    pub(crate) async fn show(&self, name: &str) {
        if let Some(folder) = std::env::var_os("VESTIBULE_SCREENSHOTS") {
            let picture = self.client.screenshot().await.unwrap();
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
        }
    }

    pub(crate) async fn close(self) {
        let _ = self.client.clone().close().await;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
