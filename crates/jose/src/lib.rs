//! JWS, JWK and claims, strict: sign and verify, nothing else (RFC 7515, 7517, 7518, 7519, 7638, 8725).
//!
//! Every parser is total: whatever the bytes, it answers in bounded time and memory. A wrong JSON type is an error and
//! never "absent". Nothing here reads a clock: `now` is an argument.

mod algorithm;
pub mod base64url;
pub mod claims;
pub mod json;
mod jwk;
mod jws;
mod legacy;
mod sign;
#[cfg(test)]
mod test_keys;
mod time;
#[cfg(test)]
mod vectors;

pub use crate::algorithm::Algorithm;
pub use crate::jwk::{JwkSet, JwksError, VerifyingKey, thumbprint};
pub use crate::jws::{CompactJws, Header, JwsError};
pub use crate::legacy::{LegacyHs256Key, LegacyKeyError};
pub use crate::sign::{SigningError, SigningKey};
pub use crate::time::Timestamp;
