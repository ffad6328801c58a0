//! How we prove to a provider who we are (RFC 6749 section 2.3.1, RFC 7523 section 2.2). One method a request, never in
//! the URL.

use core::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::form_urlencoded::{Serializer, byte_serialize};
use vestibule_jose::{Algorithm, SigningError, SigningKey, Timestamp};
use zeroize::Zeroizing;

use crate::metadata::Metadata;
use crate::provider::Provider;
use crate::providers::ClientAuthMethod;
use crate::secret::{ClientSecret, SecretText};

/// How long an assertion of ours holds, in seconds: as long as a request may take and clocks may differ.
const ASSERTION_LIFETIME: i64 = 300;
/// The type of an assertion (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A private key of ours that the provider knows the public half of.
#[derive(Clone)]
pub struct PrivateKey {
    key: Arc<SigningKey>,
    /// Whether we know what the provider calls it.
    is_named: bool,
}

impl PrivateKey {
    /// Reads a key from PKCS#8 DER, whatever its kind: P-256, RSA, Ed25519, P-384 or P-521. `kid` is its name at the
    /// provider. Without it none is sent: a provider that keeps the key under another would not find it.
    ///
    /// # Errors
    /// The bytes are none of these.
    pub fn from_pkcs8(der: &[u8], kid: Option<String>) -> Result<Self, SigningError> {
        let key = [
            Algorithm::Es256,
            Algorithm::Rs256,
            Algorithm::EdDsa,
            Algorithm::Es384,
            Algorithm::Es512,
        ]
        .into_iter()
        .find_map(|algorithm| SigningKey::from_pkcs8(algorithm, der).ok())
        .ok_or(SigningError::Key)?;
        let is_named = kid.is_some();
        let key = match kid {
            Some(kid) => key.named(kid),
            None => key,
        };
        Ok(Self {
            key: Arc::new(key),
            is_named,
        })
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    fn sign(&self, claims: &Value) -> Result<String, SigningError> {
        if self.is_named {
            self.key.sign("JWT", claims)
        } else {
            self.key.sign_unnamed("JWT", claims)
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// What we prove who we are with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing: a public client.
    None,
    /// The secret that the provider gave us, sent in the way that it takes, or in this one.
    Secret(ClientSecret, Option<ClientAuthMethod>),
    /// An assertion signed for each request (`private_key_jwt`).
    PrivateKey(PrivateKey, AssertionAudience),
    /// A secret signed for each request, sent as `client_secret` (Apple).
    SignedSecret {
        /// The key of the provider's console.
        key: PrivateKey,
        /// `iss` of the secret.
        team_id: String,
    },
}

/// Who an assertion names as its audience.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AssertionAudience {
    /// The issuer: no other server could use the assertion, even if it made us send it there.
    #[default]
    Issuer,
    /// The token endpoint, for providers that take nothing else.
    TokenEndpoint,
}

/// What makes one proof unlike every other: the time, and 128 random bits.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// The time.
    pub now: Timestamp,
    /// New for each request.
    pub random: [u8; 16],
}

impl Provider {
    /// Puts our proof into a request: the `Authorization` value if there is one, the rest into the form.
    pub(crate) fn authenticate(
        &self,
        metadata: &Metadata,
        fresh: Fresh,
        form: &mut Serializer<'_, String>,
    ) -> Result<Option<SecretText>, SigningError> {
        match &self.credentials {
            Credentials::None => {
                form.append_pair("client_id", &self.client_id);
                Ok(None)
            }
            Credentials::Secret(secret, method) => {
                let method = method.unwrap_or_else(|| choose(metadata));
                if method == ClientAuthMethod::Post {
                    form.append_pair("client_id", &self.client_id)
                        .append_pair("client_secret", secret.expose());
                    return Ok(None);
                }
                // RFC 6749 section 2.3.1: each form-url-encoded, then joined, then base64.
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!(
                    "{}:{}",
                    encode(&self.client_id),
                    encode(secret.expose())
                ));
                Ok(Some(SecretText::new(format!(
                    "Basic {}",
                    STANDARD.encode(pair.as_bytes())
                ))))
            }
            Credentials::PrivateKey(key, audience) => {
                let audience = match audience {
                    AssertionAudience::Issuer => self.issuer.as_str(),
                    AssertionAudience::TokenEndpoint => metadata.token_endpoint.as_str(),
                };
                // RFC 7523 section 3; OpenID Connect Core section 9.
                let claims = json!({
                    "iss": self.client_id, "sub": self.client_id, "aud": audience,
                    "jti": URL_SAFE_NO_PAD.encode(fresh.random),
                    "iat": fresh.now.seconds(), "exp": fresh.now.seconds() + ASSERTION_LIFETIME,
                });
                form.append_pair("client_id", &self.client_id)
                    .append_pair("client_assertion_type", ASSERTION_TYPE)
                    .append_pair("client_assertion", &key.sign(&claims)?);
                Ok(None)
            }
            Credentials::SignedSecret { key, team_id } => {
                let claims = json!({
                    "iss": team_id, "sub": self.client_id, "aud": self.issuer.as_str(),
                    "iat": fresh.now.seconds(), "exp": fresh.now.seconds() + ASSERTION_LIFETIME,
                });
                form.append_pair("client_id", &self.client_id)
                    .append_pair("client_secret", &key.sign(&claims)?);
                Ok(None)
            }
        }
    }
}

/// The method that a provider takes a secret by: Basic, unless it takes Post and not Basic.
fn choose(metadata: &Metadata) -> ClientAuthMethod {
    let takes = |name: &str| {
        metadata
            .token_endpoint_auth_methods_supported
            .iter()
            .any(|method| method == name)
    };
    if !takes("client_secret_basic") && takes("client_secret_post") {
        ClientAuthMethod::Post
    } else {
        ClientAuthMethod::Basic
    }
}
