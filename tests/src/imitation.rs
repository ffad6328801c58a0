//! A provider's wire shape without the provider: a transport that answers at its real addresses from the fixtures of
//! `crates/oidc/tests/fixtures`, and keeps what it was sent.
//!
//! It reads the preset for nothing: what it is asked, and where, is compared with what the fixtures and the tests say.
//! ID tokens are signed here on aws-lc-rs, so that a bug of the crate that verifies is not a bug here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;
use vestibule::accounts::BoxFuture;
use vestibule::oidc::{OutboundRequest, OutboundResponse, Provider};
use vestibule::{Received, Transport, TransportError};

/// The name that we have at every imitated provider.
pub const CLIENT_ID: &str = "our-client";

/// Half a surrogate pair: its escape on the wire, wherever it stands in a claim or a profile. No [`Value`] can hold it, so
/// a private character stands for it.
pub const LONE_SURROGATE: char = '\u{e000}';

/// The JSON text of a value.
fn text(value: &Value) -> String {
    value.to_string().replace(LONE_SURROGATE, "\\ud83d")
}

/// The providers whose wire shape there is.
#[must_use]
pub fn imitated() -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(fixtures())
        .expect("the fixtures are there")
        .map(|entry| entry.expect("a folder can be read").file_name())
        .map(|name| name.into_string().expect("names are ASCII"))
        .collect();
    all.sort();
    all
}

/// The texts of a provider's fixtures, by the names of their files.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/oidc/tests/fixtures")
}

/// What the provider answers, to be changed by a test before it is asked.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Its metadata, if it has any.
    pub metadata: Option<Value>,
    /// The status and body of the token response.
    pub token: Value,
    /// Those of a token error.
    pub token_error: Value,
    /// The claims of the ID token, if there is one.
    pub claims: Option<Value>,
    /// The profile, if there is one.
    pub profile: Option<Value>,
    /// The status of the list of addresses.
    pub emails_status: u16,
    /// The list of addresses, if there is one.
    pub emails: Option<Value>,
    /// The parameters of the callback beside `state`.
    pub callback: Value,
    /// Whether the code is refused.
    pub refuses_the_code: bool,
}

/// A request that the provider got.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Where it went.
    pub url: Url,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// The fields of the form, if it had one.
    pub form: Option<BTreeMap<String, String>>,
}

/// An imitation of one provider.
pub struct Imitation {
    wire: Mutex<Wire>,
    sent: Mutex<Vec<Sent>>,
    nonce: Mutex<Option<String>>,
    token_endpoint: Url,
    key: Signer,
}

impl Imitation {
    /// An imitation by the fixtures of this name. `token_endpoint` is where it is of a provider without metadata.
    #[must_use]
    pub fn of(name: &str, token_endpoint: Option<&str>) -> Self {
        let read = |file: &str| {
            let path = fixtures().join(name).join(file).with_extension("json");
            let text = std::fs::read_to_string(path).ok()?;
            Some(serde_json::from_str::<Value>(&text).expect("fixtures are JSON"))
        };
        let must = |file: &str| read(file).unwrap_or_else(|| panic!("{name} has no {file}.json"));
        let metadata = read("metadata");
        let endpoint = match &metadata {
            Some(metadata) => metadata["token_endpoint"].as_str(),
            None => token_endpoint,
        };
        let token_endpoint = endpoint.expect("there is a token endpoint");
        Self {
            token_endpoint: Url::parse(token_endpoint).expect("it is a URL"),
            wire: Mutex::new(Wire {
                metadata,
                token: must("token"),
                token_error: must("token_error"),
                claims: read("claims"),
                profile: read("profile"),
                emails_status: 200,
                emails: read("emails"),
                callback: must("callback"),
                refuses_the_code: false,
            }),
            sent: Mutex::default(),
            nonce: Mutex::default(),
            key: Signer::new(),
        }
    }

    /// Changes what it answers.
    pub fn change(&self, change: impl FnOnce(&mut Wire)) {
        change(&mut self.wire.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it answers.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.wire
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it was sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The one token request.
    #[must_use]
    pub fn token_request(&self) -> Sent {
        let mut all = self.sent();
        all.retain(|sent| sent.url == self.token_endpoint);
        assert_eq!(all.len(), 1, "one code is redeemed once");
        all.remove(0)
    }

    /// Somebody consents to this request: the parameters of the callback.
    #[must_use]
    pub fn consent(&self, authorization_url: &Url) -> String {
        let of = |name: &str| {
            let mut pairs = authorization_url.query_pairs();
            pairs
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = of("nonce");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", &of("state").expect("a request has a state"));
        for (name, value) in self.wire().callback.as_object().expect("it is an object") {
            query.append_pair(name, value.as_str().expect("parameters are texts"));
        }
        query.finish()
    }

    fn answer(&self, sent: &Sent) -> (u16, Value) {
        let wire = self.wire();
        if sent.url == self.token_endpoint {
            let answer = if wire.refuses_the_code {
                wire.token_error
            } else {
                wire.token
            };
            let status = answer["status"]
                .as_u64()
                .and_then(|s| u16::try_from(s).ok());
            let mut body = answer["body"].clone();
            if let Some(claims) = wire.claims.filter(|_| !wire.refuses_the_code) {
                body["id_token"] = self.id_token(claims).into();
            }
            return (status.expect("a fixture has a status"), body);
        }
        if sent
            .url
            .path()
            .ends_with("/.well-known/openid-configuration")
        {
            return (200, wire.metadata.expect("it has metadata"));
        }
        let jwks_uri = wire.metadata.as_ref().map(|metadata| &metadata["jwks_uri"]);
        if jwks_uri.and_then(Value::as_str) == Some(sent.url.as_str()) {
            return (200, self.key.jwks());
        }
        let access_token = wire.token["body"]["access_token"].as_str();
        assert_eq!(
            sent.authorization,
            access_token.map(|token| format!("Bearer {token}")),
            "{} is asked with the token of our own code",
            sent.url
        );
        if sent.url.path().ends_with("/emails") {
            return (wire.emails_status, wire.emails.expect("it has a list"));
        }
        (200, wire.profile.expect("it has a profile"))
    }

    /// The claims for us, now, for the attempt that was consented to.
    fn id_token(&self, mut claims: Value) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("the clock is past 1970").as_secs();
        claims["aud"] = CLIENT_ID.into();
        claims["iat"] = now.into();
        claims["exp"] = (now + 600).into();
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        claims["nonce"] = nonce.clone().into();
        self.key.sign(&claims)
    }
}

impl Transport for Imitation {
    fn send<'a>(
        &'a self,
        _provider: &'a Provider,
        request: OutboundRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<Received, TransportError>> {
        let sent = Sent {
            authorization: request
                .authorization
                .as_ref()
                .map(|text| text.expose().to_owned()),
            form: request.form.as_ref().map(|form| {
                url::form_urlencoded::parse(form.expose().as_bytes())
                    .into_owned()
                    .collect()
            }),
            url: request.url,
        };
        let (status, body) = self.answer(&sent);
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sent);
        Box::pin(async move {
            Ok(Received {
                response: OutboundResponse {
                    status,
                    content_type: Some("application/json; charset=utf-8".into()),
                    body: text(&body).into_bytes(),
                },
                max_age: None,
            })
        })
    }
}

/// Signs ID tokens by RS256, by hand.
pub(crate) struct Signer(RsaKeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).expect("there is randomness"))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(text(value));
        let header = json!({ "alg": "RS256", "kid": "a-key" });
        let message = format!("{}.{}", encode(&header), encode(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .expect("a 2048-bit key signs a SHA-256 digest");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The set that holds its public half (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> Value {
        let public = self.0.public_key();
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "kid": "a-key",
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        }] })
    }
}
