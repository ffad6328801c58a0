//! A stand-in provider that knows millions and consents at once. It signs what Google signs, with `RS256` as there.
//!
//! The stand-in of `vestibule dev` has a list of people and pages to choose from. This one has a number for a person, and
//! no page: who signs in is told it by a call. What Vestibule asks of it, it asks by HTTP.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::{Url, form_urlencoded};

use crate::Failed;
use crate::args::Signature;
use crate::people::Person;

pub const CLIENT_ID: &str = "bench";
pub const CLIENT_SECRET: &str = "a-client-secret-of-the-bench";
const KID: &str = "the-key-of-the-bench";

pub struct Provider {
    pub issuer: String,
    key: Key,
    consents: Mutex<HashMap<String, Consent>>,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// What a code stands for.
struct Consent {
    person: Person,
    redirect_uri: String,
    code_challenge: String,
    nonce: String,
}

impl Provider {
    /// Starts to serve, in tasks of this runtime.
    pub async fn start(signature: Signature) -> Result<Arc<Self>, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let provider = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr()?),
            key: match signature {
                Signature::Rs256 => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
                Signature::Es256 => {
                    Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?)
                }
            },
            consents: Mutex::default(),
        });
        tokio::spawn(serve(listener, Arc::clone(&provider)));
        Ok(provider)
    }

    /// A person visits the authorization endpoint by this URL, and consents: where the browser is sent with the code.
    pub fn consent(&self, authorization_url: &str, person: Person) -> Result<String, Failed> {
        let url = Url::parse(authorization_url)?;
        let asked: HashMap<_, _> = url.query_pairs().collect();
        let get = |name: &str| {
            asked
                .get(name)
                .map(|value| value.to_string())
                .ok_or_else(|| format!("the authorization request has no {name}"))
        };
        for (name, expected) in [
            ("client_id", CLIENT_ID),
            ("response_type", "code"),
            ("code_challenge_method", "S256"),
        ] {
            if get(name)? != expected {
                return Err(format!("{name} is not {expected}: {authorization_url}").into());
            }
        }
        let (code, redirect_uri) = (random_text(), get("redirect_uri")?);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &get("state")?)
            .append_pair("iss", &self.issuer)
            .finish();
        let callback = format!("{redirect_uri}?{query}");
        let consent = Consent {
            person,
            redirect_uri,
            code_challenge: get("code_challenge")?,
            nonce: get("nonce")?,
        };
        self.consents().insert(code, consent);
        Ok(callback)
    }

    fn consents(&self) -> std::sync::MutexGuard<'_, HashMap<String, Consent>> {
        self.consents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "jwks_uri": at("/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.key.algorithm()],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// A code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.6). A code does once.
    fn exchange(&self, form: &[u8]) -> Result<Value, &'static str> {
        let form: HashMap<_, _> = form_urlencoded::parse(form).collect();
        let get = |name: &str| form.get(name).map(AsRef::as_ref).unwrap_or_default();
        if get("client_id") != CLIENT_ID || get("client_secret") != CLIENT_SECRET {
            return Err("invalid_client");
        }
        if get("grant_type") != "authorization_code" {
            return Err("unsupported_grant_type");
        }
        let consent = self.consents().remove(get("code")).ok_or("invalid_grant")?;
        let challenge = URL_SAFE_NO_PAD.encode(sha256(get("code_verifier")));
        if consent.redirect_uri != get("redirect_uri") || consent.code_challenge != challenge {
            return Err("invalid_grant");
        }
        let access_token = random_text();
        Ok(json!({
            "id_token": self.id_token(&consent, &access_token),
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 3599,
            "scope": "openid email profile",
        }))
    }

    fn id_token(&self, consent: &Consent, access_token: &str) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let person = consent.person;
        let (given_name, family_name) = person.names();
        let header = json!({ "alg": self.key.algorithm(), "kid": KID, "typ": "JWT" });
        let claims = json!({
            "iss": self.issuer,
            "azp": CLIENT_ID,
            "aud": CLIENT_ID,
            "sub": person.subject(),
            "email": person.email(),
            "email_verified": true,
            "at_hash": URL_SAFE_NO_PAD.encode(&sha256(access_token)[..16]),
            "nonce": consent.nonce,
            "name": person.name(),
            "picture": person.picture(),
            "given_name": given_name,
            "family_name": family_name,
            "iat": now,
            "exp": now + 3600,
        });
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let outcome = match request.uri().path() {
            "/.well-known/openid-configuration" => Ok(self.metadata()),
            "/jwks" => Ok(json!({ "keys": [self.key.public_jwk()] })),
            "/token" => match request.into_body().collect().await {
                Ok(form) => self.exchange(&form.to_bytes()),
                Err(_) => Err("invalid_request"),
            },
            _ => Err("not_found"),
        };
        let (status, body) = match outcome {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
        };
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        response
    }
}

async fn serve(listener: TcpListener, provider: Arc<Provider>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let provider = Arc::clone(&provider);
        let service = service_fn(move |request| {
            let provider = Arc::clone(&provider);
            async move { Ok::<_, Infallible>(provider.answer(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Key {
    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    /// RFC 7518 sections 6.2.1 and 6.3.1.
    fn public_jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let public = pair.public_key();
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KID,
                    "n": text(public.modulus().big_endian_without_leading_zero()),
                    "e": text(public.exponent().big_endian_without_leading_zero()),
                })
            }
            Self::Ec(pair) => {
                // An uncompressed point: 4, then x and y.
                let point = &pair.public_key().as_ref()[1..];
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KID,
                    "x": text(&point[..32]),
                    "y": text(&point[32..]),
                })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .expect("a key of 2,048 bits signs a SHA-256 digest");
                signature
            }
            Self::Ec(pair) => pair
                .sign(&SystemRandom::new(), message)
                .expect("a key on P-256 signs a SHA-256 digest")
                .as_ref()
                .to_vec(),
        }
    }
}

/// SHA-256.
pub fn sha256(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}

/// 32 random bytes in base64url: codes, tokens, verifiers.
pub fn random_text() -> String {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}
