//! The signature algorithms that we know (RFC 7518 section 3.1, RFC 8037). `none` and `HS*` are not among them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    VerificationAlgorithm,
};

/// A signature algorithm of JWS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// EdDSA on Ed25519.
    EdDsa,
}

/// The kind of key that an algorithm needs (RFC 8725 section 3.1: it must match).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Algorithm {
    /// Every algorithm that we know.
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The name in the header member `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with this name, letter for letter.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }

    /// The left half of the hash that `at_hash` and `c_hash` hold (OpenID Connect Core section 3.1.3.6), as base64url.
    #[must_use]
    pub fn half_hash(self, value: &[u8]) -> String {
        use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
        let digest = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => digest(&SHA256, value),
            Self::Rs384 | Self::Ps384 | Self::Es384 => digest(&SHA384, value),
            // Ed25519 hashes with SHA-512 inside; the field takes the same for the half hash.
            Self::Rs512 | Self::Ps512 | Self::Es512 | Self::EdDsa => digest(&SHA512, value),
        };
        let bytes = digest.as_ref();
        crate::base64url::encode(&bytes[..bytes.len() / 2])
    }

    pub(crate) const fn key_kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                KeyKind::Rsa
            }
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::Es512 => KeyKind::P521,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }

    pub(crate) fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &ECDSA_P384_SHA384_FIXED,
            Self::Es512 => &ECDSA_P521_SHA512_FIXED,
            Self::EdDsa => &ED25519,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_algorithm_letter_for_letter() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), None);
        }
        for none in ["", "none", "HS256", "RS1", "ES256K", "EdDSA "] {
            assert_eq!(Algorithm::from_name(none), None, "{none}");
        }
    }

    // S44: OpenID Connect Core appendix A.3 gives the first; the others are SHA-384 and SHA-512 of the same.
    #[test]
    fn the_half_hash_is_the_left_half_of_the_algorithms_own_hash() {
        let value = b"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(Algorithm::Rs256.half_hash(value), "77QmUPtjPfzWtF2AnpK9RQ");
        for algorithm in Algorithm::ALL {
            let (digest, len) = match algorithm {
                Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256 => {
                    (&aws_lc_rs::digest::SHA256, 16)
                }
                Algorithm::Rs384 | Algorithm::Ps384 | Algorithm::Es384 => {
                    (&aws_lc_rs::digest::SHA384, 24)
                }
                _ => (&aws_lc_rs::digest::SHA512, 32),
            };
            let whole = aws_lc_rs::digest::digest(digest, value);
            let expected = crate::base64url::encode(&whole.as_ref()[..len]);
            assert_eq!(algorithm.half_hash(value), expected, "{algorithm:?}");
        }
    }
}
