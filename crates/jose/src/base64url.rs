//! base64url without padding, strict (RFC 7515 section 2): no padding, no white space, canonical last character.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes are not strict base64url.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not strict base64url (RFC 7515 section 2)")]
pub struct Base64UrlError;

/// Decodes strict base64url.
///
/// # Errors
/// Padding, white space, other alphabets, or a last character with bits that stand for nothing.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64UrlError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Base64UrlError)
}

/// Encodes as base64url without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode(b"_-A").unwrap(), [0xff, 0xe0]);
        for bad in ["_-A=", "_-B", "/+A", " _-A", "_-A\n", "_"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
