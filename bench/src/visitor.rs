//! What people and their front ends do at the servers, each answer checked: who is not told to be that very person has
//! found a bug, and ends the run.
//!
//! With several servers each request goes to the next one, so that no step of a login ends where it began.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use crate::Failed;
use crate::browser::{Answer, Browser, From};
use crate::people::{Person, Seeded};
use crate::provider::{Provider, random_text, sha256};
use crate::server::{FRONT_END, FRONT_END_SECRET, PROVIDER, REDIRECT_URI};

/// Somebody on the way: a browser, and the back end of its front end.
pub struct Visitor {
    browser: Browser,
    servers: Vec<SocketAddr>,
    turn: usize,
    provider: Arc<Provider>,
    front_end: String,
}

/// What a front end got for a person.
pub struct Tokens {
    pub person: Person,
    pub access_token: String,
    pub refresh_token: String,
    /// `sub` of the access token: it stays the same.
    user_id: String,
}

/// An authorization request of the front end, and what it keeps to itself.
struct Asked {
    query: String,
    state: String,
    code_verifier: String,
}

#[derive(Deserialize)]
struct Me {
    email: Option<String>,
    identities: Vec<Identity>,
}

#[derive(Deserialize)]
struct Identity {
    issuer: String,
    subject: String,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    refresh_token: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    email: String,
}

impl Visitor {
    /// Begins at the server of this number.
    pub fn new(servers: Vec<SocketAddr>, begin_at: usize, provider: Arc<Provider>) -> Self {
        let pair = STANDARD.encode(format!("{FRONT_END}:{FRONT_END_SECRET}"));
        Self {
            browser: Browser::default(),
            servers,
            turn: begin_at,
            provider,
            front_end: format!("Basic {pair}"),
        }
    }

    /// Opens the connections, so that none is opened while something is measured.
    pub async fn connect(&mut self) -> Result<(), Failed> {
        for server in self.servers.clone() {
            self.browser.get(server, "/healthz", From::Nobody).await?;
        }
        Ok(())
    }

    async fn get(&mut self, path: &str, from: From<'_>) -> Result<Answer, Failed> {
        let server = self.next_server();
        self.browser.get(server, path, from).await
    }

    async fn post(&mut self, path: &str, form: String) -> Result<Answer, Failed> {
        let server = self.next_server();
        self.browser.post(server, path, &self.front_end, form).await
    }

    fn next_server(&mut self) -> SocketAddr {
        self.turn = (self.turn + 1) % self.servers.len();
        self.servers[self.turn]
    }

    /// A whole login that ends with our cookie, and one request with it.
    pub async fn sign_in_by_cookie(&mut self, person: Person) -> Result<(), Failed> {
        let arrived = self
            .arrive(&format!("/auth/{PROVIDER}/login"), person)
            .await?;
        let session = session_of(&arrived)?;
        self.me(person, From::Cookie(&session)).await
    }

    /// A whole login of a front end, which redeems its code with PKCE, and one request with the token.
    pub async fn sign_in_by_code(&mut self, person: Person) -> Result<(), Failed> {
        let asked = ask();
        let arrived = self
            .arrive(&format!("/auth/{PROVIDER}/login?{}", asked.query), person)
            .await?;
        session_of(&arrived)?;
        let tokens = self.redeem(&asked, arrived.location()?, person).await?;
        self.me(person, From::Bearer(&tokens.access_token)).await
    }

    /// Tokens for somebody who is signed in already.
    pub async fn tokens(&mut self, person: Person) -> Result<Tokens, Failed> {
        let asked = ask();
        let cookie = format!("vestibule_session={}", person.session_token());
        let path = format!("/oauth/authorize?{}", asked.query);
        let answer = self.get(&path, From::Cookie(&cookie)).await?;
        self.redeem(&asked, answer.location()?, person).await
    }

    /// Replaces the refresh token, and gets another access token.
    pub async fn refresh(&mut self, tokens: &mut Tokens) -> Result<(), Failed> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", &tokens.refresh_token)
            .finish();
        let answer = self.post("/oauth/token", form).await?;
        let new: TokenResponse = answer.json()?;
        let claims = claims_of(&new.access_token)?;
        if claims.sub != tokens.user_id
            || new.refresh_token == tokens.refresh_token
            || new.access_token == tokens.access_token
        {
            return Err(format!("a wrong answer to a refresh: {}", answer.told()).into());
        }
        tokens.access_token = new.access_token;
        tokens.refresh_token = new.refresh_token;
        Ok(())
    }

    /// A request, which must be answered about this person.
    pub async fn me(&mut self, person: Person, from: From<'_>) -> Result<(), Failed> {
        let answer = self.get("/users/me", from).await?;
        let me: Me = answer.json()?;
        let is_person = me.email == Some(person.email())
            && matches!(&me.identities[..], [only]
                if only.subject == person.subject() && only.issuer == self.provider.issuer);
        if is_person {
            Ok(())
        } else {
            let (email, told) = (person.email(), answer.told());
            Err(format!("{email} was expected: {told}").into())
        }
    }

    /// Begins a login, consents, and comes back: the answer to the callback.
    async fn arrive(&mut self, path: &str, person: Person) -> Result<Answer, Failed> {
        let begun = self.get(path, From::Nobody).await?;
        let callback = self.provider.consent(begun.location()?, person)?;
        let attempt: Vec<&str> = begun.cookies().collect();
        self.get(&path_of(&callback)?, From::Cookie(&attempt.join("; ")))
            .await
    }

    /// Redeems the code of a redirect.
    async fn redeem(
        &mut self,
        asked: &Asked,
        location: &str,
        person: Person,
    ) -> Result<Tokens, Failed> {
        if !location.starts_with(REDIRECT_URI) {
            return Err(format!("the front end was expected: {location}").into());
        }
        let url = Url::parse(location)?;
        let parameter = |name: &str| {
            url.query_pairs()
                .find(|(found, _)| found == name)
                .map(|(_, value)| value.into_owned())
        };
        if parameter("state").as_ref() != Some(&asked.state) {
            return Err(format!("another state: {location}").into());
        }
        let code = parameter("code").ok_or_else(|| format!("no code: {location}"))?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", &code)
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("code_verifier", &asked.code_verifier)
            .finish();
        let answer = self.post("/oauth/token", form).await?;
        let new: TokenResponse = answer.json()?;
        let claims = claims_of(&new.access_token)?;
        if claims.email != person.email() {
            return Err(format!("a token of another person: {}", claims.email).into());
        }
        Ok(Tokens {
            person,
            access_token: new.access_token,
            refresh_token: new.refresh_token,
            user_id: claims.sub,
        })
    }
}

impl Tokens {
    /// Whether they are of the user who was seeded as this person.
    pub fn are_of(&self, seeded: Seeded) -> bool {
        self.user_id == seeded.user_id(self.person).to_string()
    }
}

/// An authorization request with PKCE (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
fn ask() -> Asked {
    let (state, code_verifier) = (random_text(), random_text());
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", FRONT_END)
        .append_pair("redirect_uri", REDIRECT_URI)
        .append_pair("state", &state)
        .append_pair(
            "code_challenge",
            &URL_SAFE_NO_PAD.encode(sha256(&code_verifier)),
        )
        .append_pair("code_challenge_method", "S256")
        .finish();
    Asked {
        query,
        state,
        code_verifier,
    }
}

/// The session that a callback begins.
fn session_of(arrived: &Answer) -> Result<String, Failed> {
    let session = arrived.session();
    session.ok_or_else(|| format!("no session: {}", arrived.told()).into())
}

/// Path and query of a URL: which server is asked, the visitor decides.
pub fn path_of(url: &str) -> Result<String, Failed> {
    let url = Url::parse(url)?;
    let query = url.query().map(|query| format!("?{query}"));
    Ok(format!("{}{}", url.path(), query.unwrap_or_default()))
}

/// What an access token says. Whether it holds, the next request with it shows.
fn claims_of(token: &str) -> Result<Claims, Failed> {
    let payload = token.split('.').nth(1).ok_or("a token that is no JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?)
}
