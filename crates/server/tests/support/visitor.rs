//! A browser without scripts: it keeps cookies by host, follows redirects and links, and at the stand-in it consents.

use std::collections::BTreeMap;

use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::support::{client, location};

/// How many redirects may follow one another.
const MOST: usize = 20;

/// Somebody with a browser.
pub(crate) struct Visitor {
    client: Client,
    /// By host and name: a browser does not tell ports apart (RFC 6265 section 8.5).
    cookies: BTreeMap<(String, String), String>,
    /// Who consents at the stand-in without being asked; nobody: the stand-in shows its pages.
    person: Option<&'static str>,
}

/// What is in the window.
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Page {
    /// Where the link with these words leads.
    pub(crate) fn link(&self, words: &str) -> Url {
        let link = self
            .body
            .split("<a ")
            .skip(1)
            .find(|rest| {
                rest.split("</a>")
                    .next()
                    .is_some_and(|link| link.contains(words))
            })
            .and_then(|rest| rest.split_once("href=\"")?.1.split('"').next())
            .unwrap_or_else(|| panic!("no link {words:?} at {}: {}", self.url, self.body));
        self.url
            .join(&link.replace("&#38;", "&").replace("&amp;", "&"))
            .unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("{} {}: {}", self.status, self.url, self.body))
    }
}

impl Visitor {
    pub(crate) fn new(person: &'static str) -> Self {
        Self {
            person: Some(person),
            ..Self::undecided()
        }
    }

    pub(crate) fn undecided() -> Self {
        Self {
            client: client(),
            cookies: BTreeMap::new(),
            person: None,
        }
    }

    /// Opens a page, wherever its redirects lead.
    pub(crate) async fn open(&mut self, url: impl AsRef<str>) -> Page {
        let (url, response) = self.follow(url.as_ref(), |_| false).await;
        let response = response.unwrap();
        Page {
            url,
            status: response.status(),
            body: response.text().await.unwrap(),
        }
    }

    /// Follows redirects until one leads there: that URL is what comes back, and nobody has asked for it.
    pub(crate) async fn until(&mut self, url: impl AsRef<str>, there: &str) -> Url {
        let (url, response) = self
            .follow(url.as_ref(), |url| url.as_str().starts_with(there))
            .await;
        if let Some(response) = response {
            panic!(
                "it ends at {url} and not at {there}: {} {}",
                response.status(),
                response.text().await.unwrap()
            );
        }
        url
    }

    async fn follow(
        &mut self,
        start: &str,
        is_end: impl Fn(&Url) -> bool,
    ) -> (Url, Option<Response>) {
        let mut at = Url::parse(start).unwrap();
        for _ in 0..MOST {
            if is_end(&at) {
                return (at, None);
            }
            if let (Some(person), "/authorize") = (self.person, at.path()) {
                at.query_pairs_mut().append_pair("user", person);
            }
            let host = at.host_str().unwrap().to_owned();
            let cookies: Vec<String> = self
                .cookies
                .iter()
                .filter(|((owner, _), _)| *owner == host)
                .map(|((_, name), value)| format!("{name}={value}"))
                .collect();
            let response = self
                .client
                .get(at.clone())
                .header("accept", "text/html")
                .header("cookie", cookies.join("; "))
                .send()
                .await
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            self.keep(&host, &response);
            let next = location(&response);
            if next.is_empty() {
                return (at, Some(response));
            }
            at = at.join(&next).unwrap();
        }
        panic!("{start} leads in circles, at last to {at}");
    }

    fn keep(&mut self, host: &str, response: &Response) {
        for line in response.headers().get_all("set-cookie") {
            let mut parts = line.to_str().unwrap().split(';').map(str::trim);
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            let key = (host.to_owned(), name.to_owned());
            if parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }
}
