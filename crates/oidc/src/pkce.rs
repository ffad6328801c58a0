//! The secrets of one attempt, derived from one: PKCE (RFC 7636, S256 alone) and `nonce`.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::{CodeVerifier, FlowSecret, Nonce};

/// 43 characters of 32 bytes (RFC 7636 section 4.1).
pub(crate) fn code_verifier(secret: &FlowSecret) -> CodeVerifier {
    CodeVerifier::new(derive(secret, b"vestibule flow: code_verifier"))
}

/// 43 characters of 32 bytes (OpenID Connect Core section 15.5.2).
pub(crate) fn nonce(secret: &FlowSecret) -> Nonce {
    Nonce::new(derive(secret, b"vestibule flow: nonce"))
}

impl CodeVerifier {
    /// Its `code_challenge` with the method S256: BASE64URL(SHA256(ASCII(code_verifier))) (RFC 7636 section 4.2).
    #[must_use]
    pub fn s256_challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.expose().as_bytes()))
    }
}

/// HMAC under a uniformly random key is the expanding half of HKDF for one block (RFC 5869 section 3.3).
fn derive(secret: &FlowSecret, label: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    // S2: RFC 7636 appendix B.
    #[test]
    fn the_challenge_is_that_of_the_specification() {
        let verifier = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        assert_eq!(
            verifier.s256_challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    // S2, S4, S70
    #[test]
    fn verifier_and_nonce_are_long_differ_and_change_with_each_attempt() {
        let (one, other) = (FlowSecret::new([1; 32]), FlowSecret::new([2; 32]));
        assert_eq!(code_verifier(&one).expose().len(), 43);
        assert_eq!(nonce(&one).expose().len(), 43);
        assert_ne!(code_verifier(&one).expose(), nonce(&one).expose());
        assert_ne!(code_verifier(&one).expose(), code_verifier(&other).expose());
        assert_ne!(nonce(&one).expose(), nonce(&other).expose());
    }
}
