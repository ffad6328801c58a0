//! A browser as far as sign-ins need one: it keeps our cookies, follows nothing by itself, and can be made to misbehave.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt as _;
use url::Url;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// Where a redirect leads; empty where it is none.
    #[must_use]
    pub fn location(&self) -> &str {
        self.header(header::LOCATION.as_str())
    }

    /// A header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// All cookies that are set.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect()
    }

    /// The error code of a redirect to the error page, or of a JSON answer; empty where it is none.
    #[must_use]
    pub fn code(&self) -> String {
        if let Some((_, query)) = self.location().split_once("/error?") {
            return parameter(query, "code");
        }
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The reference of a redirect to the error page.
    #[must_use]
    pub fn reference(&self) -> String {
        self.location()
            .split_once("/error?")
            .map(|(_, query)| parameter(query, "ref"))
            .unwrap_or_default()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

fn parameter(query: &str, name: &str) -> String {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// A browser.
#[derive(Clone)]
pub struct Browser {
    routes: Router,
    origin: String,
    provider: reqwest::Client,
    /// Our cookies, by name.
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser that meets these routes at `public_url`.
    #[must_use]
    pub fn of(routes: Router, public_url: &str) -> Self {
        let origin = Url::parse(public_url)
            .expect("public_url is a URL")
            .origin()
            .ascii_serialization();
        let provider = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client can be made");
        Self {
            routes,
            origin,
            provider,
            cookies: BTreeMap::new(),
        }
    }

    /// Sends a request with our cookies, and keeps those that come back.
    pub async fn send(&mut self, mut request: Request<Body>) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() && !request.headers().contains_key(header::COOKIE) {
            request.headers_mut().insert(
                header::COOKIE,
                cookies.join("; ").parse().expect("cookies are header text"),
            );
        }
        let response = self
            .routes
            .clone()
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1024 * 1024)
            .await
            .expect("the body ends");
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        for cookie in answer.set_cookies() {
            let (pair, attributes) = cookie.split_once(';').expect("a cookie has attributes");
            let (name, value) = pair.split_once('=').expect("a cookie has a value");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Opens a page, as a browser does.
    pub async fn get(&mut self, path: &str) -> Answer {
        let path = path.strip_prefix(&self.origin).unwrap_or(path);
        self.send(
            Request::get(path)
                .header(header::ACCEPT, "text/html")
                .body(Body::empty())
                .expect("a path"),
        )
        .await
    }

    /// Asks as a program does.
    pub async fn get_json(&mut self, path: &str) -> Answer {
        self.send(
            Request::get(path)
                .header(header::ACCEPT, "application/json")
                .body(Body::empty())
                .expect("a path"),
        )
        .await
    }

    /// Sends a form of our own pages, without fields.
    pub async fn post(&mut self, path: &str) -> Answer {
        self.post_form(path, "").await
    }

    /// Sends a form of our own pages.
    pub async fn post_form(&mut self, path: &str, fields: &str) -> Answer {
        let request = Request::post(path)
            .header(header::ACCEPT, "text/html")
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let body = Body::from(fields.to_owned());
        self.send(request.body(body).expect("a path")).await
    }

    /// Begins a login: the URL of the provider.
    pub async fn begin(&mut self) -> Url {
        self.begin_at("google").await
    }

    /// Begins a login at another provider than `google`.
    pub async fn begin_at(&mut self, provider: &str) -> Url {
        let answer = self.get(&format!("/auth/{provider}/login")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        Url::parse(answer.location()).unwrap_or_else(|_| panic!("no provider's URL: {answer:?}"))
    }

    /// What the provider sends the browser back to, once this person consents.
    pub async fn at_provider(&self, authorization_url: &Url, person: &str) -> String {
        let mut url = authorization_url.clone();
        url.query_pairs_mut().append_pair("user", person);
        let response = self
            .provider
            .get(url)
            .send()
            .await
            .expect("the stand-in answers");
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        assert!(
            location.starts_with(&self.origin),
            "the stand-in does not send us back: {} {location}",
            response.status()
        );
        location
    }

    /// A whole login of this person: the answer of the callback.
    pub async fn sign_in(&mut self, person: &str) -> Answer {
        self.sign_in_at("google", person).await
    }

    /// A whole login at another provider than `google`.
    pub async fn sign_in_at(&mut self, provider: &str, person: &str) -> Answer {
        let url = self.begin_at(provider).await;
        let callback = self.at_provider(&url, person).await;
        self.get(&callback).await
    }

    /// The session's cookie, under either name.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        ["vestibule_session", "__Host-vestibule_session"]
            .into_iter()
            .find_map(|name| self.cookies.get(name))
            .map(String::as_str)
    }

    /// The names of the flow cookies.
    #[must_use]
    pub fn flows(&self) -> Vec<String> {
        self.cookies
            .keys()
            .filter(|name| name.contains("vestibule_flow_"))
            .cloned()
            .collect()
    }
}
