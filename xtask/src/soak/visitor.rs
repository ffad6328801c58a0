//! Somebody with a browser, and the front end that they sign in at: one request each, and what came of it.

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use url::Url;

use super::place::{FRONT_END, FRONT_END_SECRET, REDIRECT_URI, email};

/// RFC 7636 appendix B. What is sealed by it is our own.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Why something was not seen to succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer came. Whether the request was heard is known only where it was not even sent.
    Cut { may_be_heard: bool, detail: String },
    /// An answer came, and not the right one.
    Answer(String),
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        let mut detail = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            detail = format!("{detail}: {deeper}");
            cause = deeper.source();
        }
        Self::Cut {
            may_be_heard: !error.is_connect(),
            detail,
        }
    }
}

/// How a person comes in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// On our own site.
    Cookie,
    /// At the front end.
    FrontEnd,
}

/// A login that was seen to succeed.
pub(super) struct Login {
    /// The session's cookie.
    pub(super) cookie: String,
    /// What the front end can redeem.
    pub(super) code: Option<String>,
}

/// What may be done after a login.
pub(super) enum Act {
    SignOut { cookie: String },
    Redeem { code: String },
    Refresh { token: String },
    Revoke { token: String },
}

/// A client, and where the server is.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) client: Client,
    pub(super) origin: String,
}

impl Visitor {
    /// A whole login: start, provider, callback.
    pub(super) async fn sign_in(&self, person: u32, way: Way) -> Result<Login, Trouble> {
        let mut start = format!("{}/auth/google/login", self.origin);
        if way == Way::FrontEnd {
            start = with_query(
                &start,
                &[
                    ("response_type", "code"),
                    ("client_id", FRONT_END),
                    ("redirect_uri", REDIRECT_URI),
                    ("state", "soak"),
                    ("code_challenge", CHALLENGE),
                    ("code_challenge_method", "S256"),
                ],
            );
        }
        let begun = self.client.get(start).send().await?;
        let flow = cookies(&begun).join("; ");
        let mut provider = redirect("login", &begun)?;
        provider
            .query_pairs_mut()
            .append_pair("user", &email(person));
        let consented = self.client.get(provider).send().await?;
        let callback = redirect("provider", &consented)?;
        if !callback.as_str().starts_with(&self.origin) {
            return Err(Trouble::Answer(format!("the provider leads to {callback}")));
        }
        let arrived = self.client.get(callback).header("cookie", flow).send();
        let arrived = arrived.await?;
        let target = redirect("callback", &arrived)?;
        let cookie = cookies(&arrived)
            .into_iter()
            .find(|cookie| cookie.starts_with("vestibule_session="));
        let code = target
            .query_pairs()
            .find(|(name, _)| name == "code")
            .map(|(_, code)| code.into_owned());
        let is_there = match way {
            Way::Cookie => target.path() == "/account",
            Way::FrontEnd => target.as_str().starts_with(REDIRECT_URI) && code.is_some(),
        };
        match cookie {
            Some(cookie) if is_there => Ok(Login {
                cookie,
                code: code.filter(|_| way == Way::FrontEnd),
            }),
            _ => Err(Trouble::Answer(format!("the login ends at {target}"))),
        }
    }

    /// Does something. A redemption and a refresh give a refresh token.
    pub(super) async fn ask(&self, act: &Act) -> Result<Option<String>, Trouble> {
        let tokens = match act {
            Act::SignOut { cookie } => {
                let answer = self
                    .client
                    .post(format!("{}/auth/logout", self.origin))
                    .header("cookie", cookie)
                    .header("origin", &self.origin)
                    .header("sec-fetch-site", "same-origin")
                    .send()
                    .await?;
                return expect("logout", answer, StatusCode::NO_CONTENT)
                    .await
                    .map(|_| None);
            }
            Act::Revoke { token } => {
                let answer = self.form("/oauth/revoke", &[("token", token)]).await?;
                return expect("revocation", answer, StatusCode::OK)
                    .await
                    .map(|_| None);
            }
            Act::Redeem { code } => {
                let form = [
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", REDIRECT_URI),
                    ("code_verifier", VERIFIER),
                ];
                let answer = self.form("/oauth/token", &form).await?;
                expect("redemption", answer, StatusCode::OK).await?
            }
            Act::Refresh { token } => {
                let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
                let answer = self.form("/oauth/token", &form).await?;
                expect("refresh", answer, StatusCode::OK).await?
            }
        };
        match tokens["refresh_token"].as_str() {
            Some(token) => Ok(Some(token.to_owned())),
            None => Err(Trouble::Answer("a token answer without a token".into())),
        }
    }

    /// Who a session belongs to: the id and the address. `None`: nobody.
    pub(super) async fn who(&self, cookie: &str) -> Result<Option<(String, String)>, Trouble> {
        let answer = self
            .client
            .get(format!("{}/users/me", self.origin))
            .header("cookie", cookie)
            .send()
            .await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let me = expect("/users/me", answer, StatusCode::OK).await?;
        let text = |name: &str| me[name].as_str().unwrap_or_default().to_owned();
        Ok(Some((text("id"), text("email"))))
    }

    /// Whether a refresh token is the one that counts.
    pub(super) async fn is_active(&self, token: &str) -> Result<bool, Trouble> {
        let answer = self.form("/oauth/introspect", &[("token", token)]).await?;
        let told = expect("introspection", answer, StatusCode::OK).await?;
        told["active"]
            .as_bool()
            .ok_or_else(|| Trouble::Answer("an introspection that says nothing".into()))
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, reqwest::Error> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.client
            .post(format!("{}{path}", self.origin))
            .basic_auth(FRONT_END, Some(FRONT_END_SECRET))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
    }
}

fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{path}?{query}")
}

/// The body of an answer that has to have this status; null where it is no JSON.
async fn expect(what: &str, answer: Response, status: StatusCode) -> Result<Value, Trouble> {
    let found = answer.status();
    let body = answer.text().await?;
    if found != status {
        return Err(Trouble::Answer(format!("{what}: {found} {body}")));
    }
    Ok(serde_json::from_str(&body).unwrap_or_default())
}

/// Where a redirect leads.
fn redirect(what: &str, answer: &Response) -> Result<Url, Trouble> {
    let location = answer
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    answer
        .url()
        .join(location)
        .ok()
        .filter(|_| answer.status().is_redirection())
        .ok_or_else(|| Trouble::Answer(format!("{what}: {} {location:?}", answer.status())))
}

/// The pairs of the cookies that an answer sets, without their attributes.
fn cookies(answer: &Response) -> Vec<String> {
    answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok()?.split(';').next())
        .map(str::to_owned)
        .collect()
}
