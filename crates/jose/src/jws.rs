//! Compact JWS (RFC 7515 section 7.1). The payload comes out only after the signature holds.

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::json::{self, Object};
use crate::jwk::VerifyingKey;

/// The longest token in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// The longest header in bytes, decoded.
const MAX_HEADER: usize = 2 * 1024;

/// Why a token is not a signed one that holds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than 16 KiB, or a header over 2 KiB.
    #[error("the token is longer than 16 KiB, or its header longer than 2 KiB")]
    TooLarge,
    /// Not three segments of strict base64url; JSON serialization and encryption are others.
    #[error("the token is not a compact JWS: three segments of strict base64url")]
    Format,
    /// The header or the payload is no JSON object that we accept.
    #[error("a part of the token is not acceptable JSON")]
    Json,
    /// `alg` is missing, `none`, symmetric, unknown, or not allowed here.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// The header asks for an extension that we do not know (RFC 7515 section 4.1.11).
    #[error("the token's header holds crit, b64 or zip")]
    Critical,
    /// A header member has the wrong type.
    #[error("a member of the token's header has the wrong type")]
    HeaderType,
    /// No key of the set fits.
    #[error("no key of the issuer fits the token")]
    KeyUnknown,
    /// The token names no key and several fit.
    #[error("the token names no key, and several of the issuer's fit")]
    KeyAmbiguous,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    Signature,
}

/// The members of a header that we read. `jwk`, `jku`, `x5u` and `x5c` are never used (RFC 8725 section 3.10).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// The algorithm.
    pub alg: Algorithm,
    /// The key's name.
    pub kid: Option<String>,
    /// What kind of token it says it is.
    pub typ: Option<String>,
}

/// A token that is well-formed, and unverified.
#[derive(Clone)]
pub struct CompactJws {
    header: Header,
    signing_input: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl core::fmt::Debug for CompactJws {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CompactJws")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl CompactJws {
    /// Reads a token. Sizes are checked before anything is decoded.
    ///
    /// # Errors
    /// All of [`JwsError`] that can be said without a key.
    pub fn parse(token: &[u8]) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN {
            return Err(JwsError::TooLarge);
        }
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return Err(JwsError::Format);
        };
        // The length of the longest header in base64url.
        if header.len() > (MAX_HEADER * 4).div_ceil(3) {
            return Err(JwsError::TooLarge);
        }
        let signing_input = token[..header.len() + 1 + payload.len()].to_vec();
        let decode = |segment| base64url::decode(segment).map_err(|_| JwsError::Format);
        let header = read_header(&decode(header)?)?;
        Ok(Self {
            header,
            signing_input,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// The header. It is unverified: it may choose a key and nothing else.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The payload, if the signature holds with this key.
    ///
    /// # Errors
    /// [`JwsError::Algorithm`] where the key is of another kind than `alg` needs; [`JwsError::Signature`];
    /// [`JwsError::Json`] where the signed payload is no object.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Object, JwsError> {
        key.verify(self.header.alg, &self.signing_input, &self.signature)?;
        json::parse_object(&self.payload, MAX_TOKEN).map_err(|_| JwsError::Json)
    }
}

fn read_header(bytes: &[u8]) -> Result<Header, JwsError> {
    let header = json::parse_object(bytes, MAX_HEADER).map_err(|error| match error {
        json::JsonError::TooLarge { .. } => JwsError::TooLarge,
        _ => JwsError::Json,
    })?;
    // We understand no extension, so that any `crit` is one too many (RFC 7515 section 4.1.11, RFC 7797).
    if header.contains("crit") || header.contains("b64") || header.contains("zip") {
        return Err(JwsError::Critical);
    }
    let text = |name| {
        header
            .string(name)
            .map(|text| text.map(str::to_owned))
            .map_err(|_| JwsError::HeaderType)
    };
    let alg = header
        .string("alg")
        .ok()
        .flatten()
        .and_then(Algorithm::from_name)
        .ok_or(JwsError::Algorithm)?;
    Ok(Header {
        alg,
        kid: text("kid")?,
        typ: text("typ")?,
    })
}

#[cfg(test)]
mod tests;
