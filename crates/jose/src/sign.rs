//! Signing keys of our own.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::algorithm::{Algorithm, KeyKind};
use crate::base64url;
use crate::jwk::thumbprint;

/// Why a key cannot be made or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The bytes are no private key of this algorithm.
    #[error("the bytes are not a PKCS#8 private key of this algorithm")]
    Key,
    /// The crypto library failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// A private key, its algorithm and its public half.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
    public_jwk: Value,
    kid: String,
}

enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

fn curve(algorithm: Algorithm) -> Option<(&'static EcdsaSigningAlgorithm, &'static str)> {
    match algorithm {
        Algorithm::Es256 => Some((&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")),
        Algorithm::Es384 => Some((&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")),
        Algorithm::Es512 => Some((&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")),
        _ => None,
    }
}

fn padding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_SHA512),
        _ => None,
    }
}

impl SigningKey {
    /// Makes a key. RSA keys have 2048 bits.
    ///
    /// # Errors
    /// The crypto library failed.
    pub fn generate(algorithm: Algorithm) -> Result<Self, SigningError> {
        use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
        let random = SystemRandom::new();
        let pkcs8 = match algorithm.key_kind() {
            KeyKind::Rsa => {
                let pair =
                    RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError::Crypto)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| SigningError::Crypto)?;
                der.as_ref().to_vec()
            }
            KeyKind::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random)
                .map_err(|_| SigningError::Crypto)?
                .as_ref()
                .to_vec(),
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let (curve, _) = curve(algorithm).ok_or(SigningError::Key)?;
                EcdsaKeyPair::generate_pkcs8(curve, &random)
                    .map_err(|_| SigningError::Crypto)?
                    .as_ref()
                    .to_vec()
            }
        };
        Self::from_pkcs8(algorithm, &pkcs8)
    }

    /// Reads a key from PKCS#8 DER.
    ///
    /// # Errors
    /// The bytes are no key of this algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, SigningError> {
        let (pair, public_jwk) = match algorithm.key_kind() {
            KeyKind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| SigningError::Key)?;
                let public = pair.public_key();
                let (n, e) = (
                    public.modulus().big_endian_without_leading_zero(),
                    public.exponent().big_endian_without_leading_zero(),
                );
                let jwk =
                    json!({ "kty": "RSA", "n": base64url::encode(n), "e": base64url::encode(e) });
                (
                    Pair::Rsa(pair, padding(algorithm).ok_or(SigningError::Key)?),
                    jwk,
                )
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| SigningError::Key)?;
                let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(pair.public_key().as_ref()) });
                (Pair::Ed(pair), jwk)
            }
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => {
                let (signing, name) = curve(algorithm).ok_or(SigningError::Key)?;
                let pair =
                    EcdsaKeyPair::from_pkcs8(signing, pkcs8).map_err(|_| SigningError::Key)?;
                let point = pair.public_key().as_ref();
                // Uncompressed: 4, x, y.
                let (x, y) = point
                    .get(1..)
                    .ok_or(SigningError::Key)?
                    .split_at(point.len() / 2);
                let jwk = json!({ "kty": "EC", "crv": name, "x": base64url::encode(x), "y": base64url::encode(y) });
                (Pair::Ec(pair), jwk)
            }
        };
        let kid = thumbprint(&public_jwk).ok_or(SigningError::Key)?;
        let mut public_jwk = public_jwk;
        public_jwk["kid"] = json!(kid);
        public_jwk["alg"] = json!(algorithm.name());
        public_jwk["use"] = json!("sig");
        Ok(Self {
            algorithm,
            pair,
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
            public_jwk,
            kid,
        })
    }

    /// The key under the name that somebody else gave it, in place of its thumbprint.
    #[must_use]
    pub fn named(mut self, kid: String) -> Self {
        self.public_jwk["kid"] = json!(kid);
        self.kid = kid;
        self
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The private key as PKCS#8 DER, to be sealed.
    #[must_use]
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The key's name: its thumbprint (RFC 7638).
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, with `kid`, `alg` and `use`.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        self.public_jwk.clone()
    }

    /// Signs claims as a compact JWS with `alg`, `kid` and `typ`.
    ///
    /// # Errors
    /// The crypto library failed.
    pub fn sign(&self, typ: &str, claims: &Value) -> Result<String, SigningError> {
        let header = json!({ "alg": self.algorithm.name(), "kid": self.kid, "typ": typ });
        self.compact(&header, claims)
    }

    /// The same without `kid`, for whoever knows the key by no name or by one that we do not know (RFC 7515 section 4.1.4).
    ///
    /// # Errors
    /// The crypto library failed.
    pub fn sign_unnamed(&self, typ: &str, claims: &Value) -> Result<String, SigningError> {
        let header = json!({ "alg": self.algorithm.name(), "typ": typ });
        self.compact(&header, claims)
    }

    fn compact(&self, header: &Value, claims: &Value) -> Result<String, SigningError> {
        let mut token = format!(
            "{}.{}",
            base64url::encode(header.to_string().as_bytes()),
            base64url::encode(claims.to_string().as_bytes())
        );
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url::encode(&signature));
        Ok(token)
    }

    /// The bare signature over a message.
    pub(crate) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let random = SystemRandom::new();
        Ok(match &self.pair {
            Pair::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)
                    .map_err(|_| SigningError::Crypto)?;
                signature
            }
            Pair::Ec(pair) => pair
                .sign(&random, message)
                .map_err(|_| SigningError::Crypto)?
                .as_ref()
                .to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }
}

#[cfg(test)]
mod tests;
