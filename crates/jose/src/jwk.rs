//! Public keys as providers publish them (RFC 7517). A key that is weak, private, malformed or doubled is left out; it
//! does not poison its set.

use aws_lc_rs::signature::{ParsedPublicKey, RsaPublicKeyComponents};
use serde_json::Value;

use crate::algorithm::{Algorithm, KeyKind};
use crate::base64url;
use crate::json::{self, Object};
use crate::jws::{CompactJws, Header, JwsError};

/// The longest set in bytes.
const MAX_SET: usize = 512 * 1024;
/// How many keys of a set are read.
const MAX_KEYS: usize = 64;

/// Why bytes are not a key set.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// Not a JSON object that we accept.
    #[error("the key set is not acceptable: {0}")]
    Json(#[from] json::JsonError),
    /// No array `keys`.
    #[error("the key set has no array `keys` (RFC 7517 section 5)")]
    NoKeys,
}

/// A public key, checked once. Its kind fits some algorithms and no others; it can never be a shared secret.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Option<String>,
    alg: Option<Algorithm>,
    kind: KeyKind,
    material: Material,
}

#[derive(Clone)]
enum Material {
    /// Modulus and exponent, big-endian.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point, or an Ed25519 key.
    Bytes(Vec<u8>),
}

impl core::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// The public keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct JwkSet {
    keys: Vec<VerifyingKey>,
}

impl JwkSet {
    /// Reads a key set. Keys that we cannot or will not use are left out.
    ///
    /// # Errors
    /// Over 512 KiB, not an acceptable JSON object, or no array `keys`.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        let set = json::parse_object(bytes, MAX_SET)?;
        let listed = set
            .value("keys")
            .and_then(Value::as_array)
            .ok_or(JwksError::NoKeys)?;
        let mut keys: Vec<VerifyingKey> = listed
            .iter()
            .take(MAX_KEYS)
            .filter_map(VerifyingKey::from_jwk)
            .collect();
        // Two keys of one name and kind: nobody can say which one is meant.
        let doubled = |key: &VerifyingKey, keys: &[VerifyingKey]| {
            key.kid.is_some()
                && keys
                    .iter()
                    .filter(|other| other.kid == key.kid && other.kind == key.kind)
                    .count()
                    > 1
        };
        let all = keys.clone();
        keys.retain(|key| !doubled(key, &all));
        Ok(Self { keys })
    }

    /// Whether no usable key is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether some key fits a token with this header.
    #[must_use]
    pub fn has_key_for(&self, header: &Header) -> bool {
        self.candidates(header).next().is_some()
    }

    /// The payload of a token that one of these keys signed, with an algorithm that the caller allows.
    ///
    /// # Errors
    /// See [`JwsError`]. Without `kid`, exactly one key must fit.
    pub fn verify(&self, token: &CompactJws, allowed: &[Algorithm]) -> Result<Object, JwsError> {
        let header = token.header();
        if !allowed.contains(&header.alg) {
            return Err(JwsError::Algorithm);
        }
        let mut candidates = self.candidates(header);
        let key = candidates.next().ok_or(JwsError::KeyUnknown)?;
        if candidates.next().is_some() {
            return Err(JwsError::KeyAmbiguous);
        }
        token.verify(key)
    }

    fn candidates(&self, header: &Header) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter().filter(move |key| {
            key.kind == header.alg.key_kind()
                && key.alg.is_none_or(|alg| alg == header.alg)
                && (header.kid.is_none() || key.kid == header.kid)
        })
    }
}

impl VerifyingKey {
    /// Reads one JWK; `None` where it is weak, private, malformed, or not for verifying.
    pub(crate) fn from_jwk(jwk: &Value) -> Option<Self> {
        let jwk = jwk.as_object()?;
        // A private or symmetric key in a public set tells of a provider that lost it.
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
            .iter()
            .any(|name| jwk.contains_key(*name))
        {
            return None;
        }
        let text = |name: &str| match jwk.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.as_str())),
            Some(_) => None,
        };
        if !matches!(text("use")?, None | Some("sig")) {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops") {
            operations
                .as_array()?
                .iter()
                .find(|operation| *operation == "verify")?;
        }
        let bytes = |name: &str| base64url::decode(text(name)??.as_bytes()).ok();
        let (kind, material) = match text("kty")?? {
            "RSA" => (KeyKind::Rsa, rsa(bytes("n")?, bytes("e")?)?),
            "EC" => {
                let (kind, len) = match text("crv")?? {
                    "P-256" => (KeyKind::P256, 32),
                    "P-384" => (KeyKind::P384, 48),
                    "P-521" => (KeyKind::P521, 66),
                    _ => return None,
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                // RFC 7518 section 6.2.1.2: the full length of the curve's coordinates.
                if x.len() != len || y.len() != len {
                    return None;
                }
                (kind, Material::Bytes([&[4][..], &x, &y].concat()))
            }
            "OKP" if text("crv")?? == "Ed25519" => (
                KeyKind::Ed25519,
                Material::Bytes(bytes("x").filter(|x| x.len() == 32)?),
            ),
            _ => return None,
        };
        let alg = match text("alg")? {
            None => None,
            Some(name) => Some(Algorithm::from_name(name).filter(|alg| alg.key_kind() == kind)?),
        };
        let key = Self {
            kid: text("kid")?.map(str::to_owned),
            alg,
            kind,
            material,
        };
        key.is_well_formed().then_some(key)
    }

    /// Whether the crypto library takes the key: the point is on its curve.
    fn is_well_formed(&self) -> bool {
        let algorithm = match self.kind {
            KeyKind::Rsa => return true,
            KeyKind::P256 => Algorithm::Es256,
            KeyKind::P384 => Algorithm::Es384,
            KeyKind::P521 => Algorithm::Es512,
            KeyKind::Ed25519 => Algorithm::EdDsa,
        };
        match &self.material {
            Material::Bytes(bytes) => ParsedPublicKey::new(algorithm.verification(), bytes).is_ok(),
            Material::Rsa { .. } => true,
        }
    }

    pub(crate) fn verify(
        &self,
        alg: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), JwsError> {
        if alg.key_kind() != self.kind || self.alg.is_some_and(|own| own != alg) {
            return Err(JwsError::Algorithm);
        }
        let verified = match &self.material {
            Material::Bytes(key) => {
                aws_lc_rs::signature::UnparsedPublicKey::new(alg.verification(), key)
                    .verify(message, signature)
            }
            Material::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                match alg {
                    Algorithm::Rs256 => key.verify(
                        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
                        message,
                        signature,
                    ),
                    Algorithm::Rs384 => key.verify(
                        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA384,
                        message,
                        signature,
                    ),
                    Algorithm::Rs512 => key.verify(
                        &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA512,
                        message,
                        signature,
                    ),
                    Algorithm::Ps256 => key.verify(
                        &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256,
                        message,
                        signature,
                    ),
                    Algorithm::Ps384 => key.verify(
                        &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA384,
                        message,
                        signature,
                    ),
                    Algorithm::Ps512 => key.verify(
                        &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA512,
                        message,
                        signature,
                    ),
                    Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => {
                        return Err(JwsError::Algorithm);
                    }
                }
            }
        };
        verified.map_err(|_| JwsError::Signature)
    }
}

/// An RSA key of 2048 to 8192 bits with an odd exponent of at least 3 (RFC 7518 section 3.3).
fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Material> {
    let significant = |bytes: &[u8]| {
        bytes
            .iter()
            .position(|byte| *byte != 0)
            .map(|first| bytes[first..].to_vec())
    };
    let (n, e) = (significant(&n)?, significant(&e)?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
    // Exponents over 33 bits only cost time.
    let fits = (2_048..=8_192).contains(&bits) && odd(&n) && odd(&e) && e != [1] && e.len() <= 4;
    fits.then_some(Material::Rsa { n, e })
}

/// The thumbprint of a public JWK (RFC 7638), as base64url of SHA-256. `None` where required members are missing.
#[must_use]
pub fn thumbprint(jwk: &Value) -> Option<String> {
    let text = |name: &str| jwk.get(name)?.as_str();
    // The required members in lexicographic order, without white space (section 3.2).
    let names: &[&str] = match text("kty")? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        _ => return None,
    };
    let members = names
        .iter()
        .map(|name| {
            Some(format!(
                "{}:{}",
                Value::from(*name),
                Value::from(text(name)?)
            ))
        })
        .collect::<Option<Vec<_>>>()?;
    let canonical = format!("{{{}}}", members.join(","));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    Some(base64url::encode(digest.as_ref()))
}

#[cfg(test)]
mod tests;
