//! An ID token that an app or a page brings, which signed the person in with the provider itself: One Tap, Android, iOS
//! (OpenID Connect Core section 3.1.3.7). It was made for one of our clients, and for the nonce that we gave.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vestibule_jose::{CompactJws, Header, JwkSet, JwsError, Timestamp};

use crate::identity::VerifiedIdentity;
use crate::metadata::Metadata;
use crate::provider::Provider;
use crate::secret::Nonce;

use super::id_token::{self, Expected, IdTokenError};
use super::token::TokenSet;

/// An ID token that somebody brought, well-formed and unverified.
#[derive(Debug)]
pub struct NativeIdToken(CompactJws);

impl NativeIdToken {
    /// Reads a token.
    ///
    /// # Errors
    /// It is no compact JWS.
    pub fn parse(text: &str) -> Result<Self, JwsError> {
        CompactJws::parse(text.as_bytes()).map(Self)
    }

    /// The token's header: which key is needed.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.0.header()
    }

    /// Verifies the token. `aud` and `azp` name our client at the provider or one of our apps (S55, ATTACKS E14); the
    /// nonce is ours, as it is or as its SHA-256 in hex or base64url: platforms differ in which of them they send.
    ///
    /// # Errors
    /// See [`IdTokenError`].
    pub fn verify(
        self,
        provider: &Provider,
        metadata: &Metadata,
        keys: &JwkSet,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<VerifiedIdentity, IdTokenError> {
        let hash = digest::digest(&digest::SHA256, nonce.expose().as_bytes());
        let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let accepted = [
            nonce.clone(),
            Nonce::new(hex),
            Nonce::new(URL_SAFE_NO_PAD.encode(hash)),
        ];
        let expected = Expected {
            is_us: &|audience| {
                audience == provider.client_id
                    || provider.app_client_ids.iter().any(|id| id == audience)
            },
            is_nonce: &|text| accepted.iter().any(|nonce| nonce.is_text(text)),
            access_token: None,
            code: None,
        };
        let (issuer, subject, claims) =
            id_token::verify(&self.0, provider, metadata, keys, now, &expected)?;
        Ok(VerifiedIdentity::new(
            provider,
            issuer,
            subject,
            claims,
            TokenSet::none(),
        ))
    }
}
