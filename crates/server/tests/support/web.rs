//! A front end, and the browsers of its people.

#![allow(dead_code, reason = "each test uses a part")]

use std::net::SocketAddr;

use reqwest::{Client, Response};
use serde_json::Value;
use url::Url;
use vestibule::oidc::jose::base64url;
use vestibule_devidp::DevIdp;

use crate::support::{Home, arrive, client, configuration, location, session_of};

pub(crate) const WEB_SECRET: &str = "canary-web-0123456789abcdef0123456789";
pub(crate) const REDIRECT_URI: &str = "https://web.example/cb";
/// RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) const FRONT_ENDS: &str = r#"
[[frontends]]
client_id = "web"
client_secret = "canary-web-0123456789abcdef0123456789"
redirect_uris = ["https://web.example/cb"]
"#;

pub(crate) fn home(idp: &DevIdp) -> Home {
    Home::with(&format!("{}{FRONT_ENDS}", configuration(idp.issuer())))
}

/// The front end `web` and the browsers of its people, at one server.
#[derive(Clone)]
pub(crate) struct Web {
    pub(crate) client: Client,
    pub(crate) server: SocketAddr,
}

/// What a sign-in gave: the browser's cookie and the front end's tokens.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) session: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// What the token endpoint answered: the tokens, or the word of OAuth.
pub(crate) type Tokens = Result<(String, String), String>;

impl Web {
    pub(crate) fn at(server: SocketAddr) -> Self {
        Self {
            client: client(),
            server,
        }
    }

    /// A client on a connection of its own, which is open already.
    pub(crate) async fn connected(server: SocketAddr) -> Self {
        let web = Self::at(server);
        let answer = web.get("/healthz").send().await.unwrap();
        answer.bytes().await.unwrap();
        web
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("http://{}{path}", self.server))
    }

    /// A request of the front end's own server.
    pub(crate) async fn post(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> Result<Response, reqwest::Error> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.client
            .post(format!("http://{}{path}", self.server))
            .basic_auth("web", Some(WEB_SECRET))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
    }

    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Result<Tokens, reqwest::Error> {
        let answer = self.post("/oauth/token", form).await?;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Ok(
            match (status, text("access_token"), text("refresh_token")) {
                (200, Some(access), Some(refresh)) => Ok((access, refresh)),
                _ => Err(text("error").unwrap_or_else(|| format!("{status} {body}"))),
            },
        )
    }

    pub(crate) async fn redeem(&self, code: &str) -> Result<Tokens, reqwest::Error> {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<Tokens, reqwest::Error> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            .await
    }

    /// The status of `/users/me` for a bearer.
    pub(crate) async fn me(&self, access: &str) -> Result<u16, reqwest::Error> {
        let answer = self.get("/users/me").bearer_auth(access).send().await?;
        let status = answer.status().as_u16();
        answer.bytes().await?;
        Ok(status)
    }

    /// A sign-in at the front end: the session's cookie and the code.
    pub(crate) async fn code(&self, person: &str) -> Result<(String, String), String> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", "web"),
                ("redirect_uri", REDIRECT_URI),
                ("state", "x"),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let path = format!("/auth/google/login?{query}");
        let arrived = arrive(&self.client, self.server, &path, person).await?;
        let session = session_of(&arrived).ok_or("no session")?;
        let code = Url::parse(&location(&arrived))
            .map_err(|error| error.to_string())?
            .query_pairs()
            .find(|(name, _)| name == "code")
            .map(|(_, code)| code.into_owned());
        Ok((session, code.ok_or("no code")?))
    }

    pub(crate) async fn sign_in(&self, person: &str) -> Signed {
        let (session, code) = self.code(person).await.unwrap();
        let (access, refresh) = self.redeem(&code).await.unwrap().unwrap();
        Signed {
            session,
            access,
            refresh,
        }
    }

    pub(crate) async fn kids(&self) -> Result<Vec<String>, reqwest::Error> {
        let answer = self.get("/.well-known/jwks.json").send().await?;
        let set: Value = serde_json::from_slice(&answer.bytes().await?).unwrap();
        let keys = set["keys"].as_array().unwrap();
        Ok(keys
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect())
    }
}

pub(crate) fn invalid_grant() -> Tokens {
    Err("invalid_grant".into())
}

/// Header and claims of a token, unverified.
pub(crate) fn decoded(token: &str) -> (Value, Value) {
    let mut parts = token
        .split('.')
        .map(|part| serde_json::from_slice(&base64url::decode(part.as_bytes()).unwrap_or_default()))
        .map(Result::unwrap_or_default);
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

pub(crate) fn kid_of(token: &str) -> String {
    decoded(token).0["kid"].as_str().unwrap().to_owned()
}
