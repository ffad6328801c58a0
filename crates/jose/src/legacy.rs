//! HS256 for tokens of the original system alone: what fastapi-users makes and accepts. The key is a secret of the
//! configuration and of a type that no JWK can become, so that a public key is never taken for it (CVE-2022-29217).

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::base64url;
use crate::json::{self, Object};

/// The shortest secret in bytes (RFC 7518 section 3.2).
const MIN_SECRET: usize = 32;
/// The longest token in bytes; these hold three claims.
const MAX_TOKEN: usize = 4 * 1024;

/// Why a legacy key or token is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyKeyError {
    /// The secret is shorter than 32 bytes.
    #[error("the secret for HS256 is shorter than 32 bytes")]
    ShortSecret,
    /// The token is not one that this key made.
    #[error("the token is not one of ours in the old format")]
    Token,
}

/// The shared secret of the old format.
pub struct LegacyHs256Key(hmac::Key);

impl core::fmt::Debug for LegacyHs256Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LegacyHs256Key(..)")
    }
}

impl LegacyHs256Key {
    /// A key of 32 bytes or more.
    ///
    /// # Errors
    /// A shorter one.
    pub fn new(secret: &[u8]) -> Result<Self, LegacyKeyError> {
        if secret.len() < MIN_SECRET {
            return Err(LegacyKeyError::ShortSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Signs claims under the header that fastapi-users writes.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "HS256", "typ": "JWT" });
        let input = format!(
            "{}.{}",
            base64url::encode(header.to_string().as_bytes()),
            base64url::encode(claims.to_string().as_bytes())
        );
        let tag = hmac::sign(&self.0, input.as_bytes());
        format!("{input}.{}", base64url::encode(tag.as_ref()))
    }

    /// The claims of a token that this key made.
    ///
    /// # Errors
    /// Any other token, whatever its header says.
    pub fn verify(&self, token: &[u8]) -> Result<Object, LegacyKeyError> {
        let refuse = |_| LegacyKeyError::Token;
        if token.len() > MAX_TOKEN {
            return Err(LegacyKeyError::Token);
        }
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(tag), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return Err(LegacyKeyError::Token);
        };
        let input = &token[..header.len() + 1 + payload.len()];
        let parsed = json::parse_object(
            &base64url::decode(header).map_err(|_| LegacyKeyError::Token)?,
            MAX_TOKEN,
        )
        .map_err(|_| LegacyKeyError::Token)?;
        if parsed.string("alg") != Ok(Some("HS256"))
            || parsed.contains("crit")
            || parsed.contains("b64")
        {
            return Err(LegacyKeyError::Token);
        }
        let tag = base64url::decode(tag).map_err(|_| LegacyKeyError::Token)?;
        hmac::verify(&self.0, input, &tag).map_err(refuse)?;
        let payload = base64url::decode(payload).map_err(|_| LegacyKeyError::Token)?;
        json::parse_object(&payload, MAX_TOKEN).map_err(|_| LegacyKeyError::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_old_format_is_read_by_its_own_key_alone() {
        let key = LegacyHs256Key::new(&[7; 32]).unwrap();
        let token = key.sign(&json!({ "sub": "1", "aud": ["fastapi-users:auth"], "exp": 2 }));
        assert_eq!(
            key.verify(token.as_bytes()).unwrap().string("sub"),
            Ok(Some("1"))
        );
        assert!(
            LegacyHs256Key::new(&[8; 32])
                .unwrap()
                .verify(token.as_bytes())
                .is_err()
        );
        assert!(LegacyHs256Key::new(&[7; 31]).is_err());
        let (input, _) = token.rsplit_once('.').unwrap();
        for bad in [
            format!("{input}."),
            format!("{input}.AAAA"),
            format!("{token}."),
            format!("{token}="),
        ] {
            assert!(key.verify(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(format!("{key:?}"), "LegacyHs256Key(..)");
    }

    // S32, S34, S37
    #[test]
    fn a_header_that_says_anything_but_hs256_is_refused_however_well_it_is_signed() {
        let key = LegacyHs256Key::new(&[7; 32]).unwrap();
        let signed = |header: &str| {
            let input = format!(
                "{}.{}",
                base64url::encode(header.as_bytes()),
                base64url::encode(b"{}")
            );
            let tag = hmac::sign(&key.0, input.as_bytes());
            format!("{input}.{}", base64url::encode(tag.as_ref()))
        };
        assert!(key.verify(signed(r#"{"alg":"HS256"}"#).as_bytes()).is_ok());
        for header in [
            "{}",
            "[]",
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","crit":["x"]}"#,
            r#"{"alg":"HS256","b64":false}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
        ] {
            assert_eq!(
                key.verify(signed(header).as_bytes()).err(),
                Some(LegacyKeyError::Token),
                "{header}"
            );
        }
    }

    // S96
    #[test]
    fn a_token_of_four_kibibytes_is_read_and_a_longer_one_is_not() {
        let key = LegacyHs256Key::new(&[7; 32]).unwrap();
        let of = |filler: usize| key.sign(&json!({ "x": "a".repeat(filler) }));
        let longest = (0..4_096)
            .map(of)
            .take_while(|token| token.len() <= 4_096)
            .last()
            .unwrap();
        assert!(longest.len() > 4_090 && key.verify(longest.as_bytes()).is_ok());
        let longer = (0..4_096)
            .map(of)
            .find(|token| token.len() > 4_096)
            .unwrap();
        assert!(key.verify(longer.as_bytes()).is_err());
    }
}
