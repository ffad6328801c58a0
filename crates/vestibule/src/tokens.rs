//! The tokens that we give to front ends, and how we read them again.
//!
//! An access token is a JWT of RFC 9068 that anybody verifies by our published keys. Our own routes ask besides whether
//! what it hangs on still lives. A refresh token is opaque: the grant's name, a count, and a proof that needs both the
//! grant's row and `secret`. No form of it is in the database.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule_accounts::{Grant, GrantId, SessionId, SessionKey, SignedIn, Timestamp};
use vestibule_jose::{CompactJws, claims};
use zeroize::Zeroizing;

use crate::Vestibule;
use crate::error::Failure;
use crate::frontend::{Frontend, TokenFormat};
use crate::keys::Keyring;
use crate::seal::Sealer;

/// What names ourselves: as an audience, and as the client of tokens that no front end asked for.
pub(crate) const OURSELVES: &str = "vestibule";
/// What our access tokens hold, in the words of OAuth (RFC 6749 section 3.3).
pub(crate) const SCOPE: &str = "email profile";
/// The audience that fastapi-users asks for.
const FASTAPI_USERS: &str = "fastapi-users:auth";
/// `typ` of our access tokens (RFC 9068 section 2.1).
const AT_JWT: &str = "at+jwt";
/// How many verified tokens are remembered.
const MAX_REMEMBERED: usize = 16_384;
/// The bytes of a refresh token: id, count, proof.
const REFRESH_BYTES: usize = 16 + 4 + 32;

/// An access token that was just made. It does not print.
pub(crate) struct NewAccessToken {
    pub(crate) token: Zeroizing<String>,
    /// In seconds.
    pub(crate) expires_in: i64,
}

/// What an access token of ours says, once it was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AccessToken {
    kid: String,
    pub(crate) key: SessionKey,
    pub(crate) client_id: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) subject: String,
    pub(crate) jti: String,
    pub(crate) issued_at: i64,
    pub(crate) expires_at: i64,
}

/// Tokens that were verified, by the SHA-256 of the whole token. A hit is believed only while the token lives and its
/// key is published.
#[derive(Debug, Default)]
pub(crate) struct VerifiedTokens(Mutex<HashMap<[u8; 32], AccessToken>>);

impl VerifiedTokens {
    fn recall(&self, hash: &[u8; 32], now: Timestamp, keys: &Keyring) -> Option<AccessToken> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = seen.get(hash)?;
        if token.expires_at > now.seconds() && keys.holds(&token.kid) {
            return Some(token.clone());
        }
        seen.remove(hash);
        None
    }

    fn remember(&self, hash: [u8; 32], token: AccessToken, now: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_REMEMBERED {
            seen.retain(|_, token| token.expires_at > now.seconds());
            if seen.len() >= MAX_REMEMBERED {
                seen.clear();
            }
        }
        seen.insert(hash, token);
    }
}

impl Vestibule {
    /// Makes an access token for a front end, in the format that it is configured for. It ends with its session at the
    /// latest.
    pub(crate) async fn access_token(
        &self,
        frontend: &Frontend,
        grant: Option<GrantId>,
        signed_in: &SignedIn,
    ) -> Result<NewAccessToken, Failure> {
        match &frontend.token_format {
            TokenFormat::AtJwt => {
                let audiences = [OURSELVES, frontend.audience()];
                self.at_jwt(
                    &frontend.client_id,
                    &audiences,
                    frontend.token_lifetime,
                    grant,
                    signed_in,
                )
                .await
            }
            TokenFormat::FastapiUsers(key) => {
                let (now, lifetime) = (self.now(), frontend.token_lifetime);
                // Exactly the claims of fastapi-users' JWT strategy: its back end refuses none of them and reads no other.
                let claims = json!({
                    "sub": signed_in.user.id.to_string(),
                    "aud": [FASTAPI_USERS],
                    "exp": now.seconds() + lifetime,
                });
                Ok(NewAccessToken {
                    token: Zeroizing::new(key.sign(&claims)),
                    expires_in: lifetime,
                })
            }
        }
    }

    /// Makes an access token for a page on our own site.
    pub(crate) async fn own_access_token(
        &self,
        signed_in: &SignedIn,
    ) -> Result<NewAccessToken, Failure> {
        self.at_jwt(
            OURSELVES,
            &[OURSELVES],
            self.inner.access_token_lifetime,
            None,
            signed_in,
        )
        .await
    }

    /// RFC 9068 section 2.2.
    async fn at_jwt(
        &self,
        client_id: &str,
        audiences: &[&str],
        lifetime: i64,
        grant: Option<GrantId>,
        signed_in: &SignedIn,
    ) -> Result<NewAccessToken, Failure> {
        let (session, user) = (&signed_in.session, &signed_in.user);
        let issued_at = self.now().seconds();
        let expires_at = (issued_at + lifetime).min(session.expires_at.seconds());
        let mut claims = json!({
            "iss": self.inner.issuer(),
            "sub": user.id.to_string(),
            "aud": audiences,
            "exp": expires_at,
            "iat": issued_at,
            "jti": URL_SAFE_NO_PAD.encode(self.random::<16>()),
            "sid": session.id.to_string(),
            "client_id": client_id,
            "scope": SCOPE,
            "amr": ["fed"],
            "auth_time": session.created_at.seconds(),
            "email_verified": user.email.is_some(),
        });
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                claims[name] = value;
            }
        };
        add(
            "email",
            user.email.as_ref().map(|email| json!(email.as_str())),
        );
        add("name", user.name.as_ref().map(|name| json!(name)));
        add("gid", grant.map(|grant| json!(grant.to_string())));
        let token = self.keyring().await?.sign(AT_JWT, &claims)?;
        Ok(NewAccessToken {
            token: Zeroizing::new(token),
            expires_in: expires_at - issued_at,
        })
    }

    /// Verifies an access token of ours (RFC 9068 section 4): signature, `typ`, `iss`, `aud`, `exp`. Whether it still
    /// lives is asked apart. `None`: it is none, for whatever reason; callers say one thing about all of them.
    pub(crate) async fn verify_access_token(
        &self,
        token: &str,
    ) -> Result<Option<AccessToken>, Failure> {
        let (now, keys) = (self.now(), self.keyring().await?);
        let hash = sha256(token.as_bytes());
        if let Some(known) = self.inner.verified_tokens.recall(&hash, now, &keys) {
            return Ok(Some(known));
        }
        let Some(read) = self.read_access_token(token, &keys, now) else {
            return Ok(None);
        };
        self.inner.verified_tokens.remember(hash, read.clone(), now);
        Ok(Some(read))
    }

    fn read_access_token(
        &self,
        token: &str,
        keys: &Keyring,
        now: Timestamp,
    ) -> Option<AccessToken> {
        let jws = CompactJws::parse(token.as_bytes()).ok()?;
        let header = jws.header();
        // RFC 8725 section 3.11: an ID token, or a token of another purpose, is no access token.
        if header.typ.as_deref() != Some(AT_JWT) {
            return None;
        }
        let kid = header.kid.clone()?;
        let read = keys.verify(&jws)?;
        if read.require_string("iss").ok()? != self.inner.issuer() {
            return None;
        }
        let audiences: Vec<String> = claims::audiences(&read)
            .ok()?
            .into_iter()
            .map(str::to_owned)
            .collect();
        let is_ours = |audience: &String| {
            audience == OURSELVES
                || self
                    .inner
                    .frontends
                    .iter()
                    .any(|frontend| frontend.client_id == *audience)
        };
        if !audiences.iter().any(is_ours) {
            return None;
        }
        claims::check_expiry(&read, now, 0).ok()?;
        let session = SessionId::parse(read.require_string("sid").ok()?)?;
        let key = match read.string("gid").ok()? {
            Some(grant) => SessionKey::Grant(GrantId::parse(grant)?),
            None => SessionKey::Id(session),
        };
        #[expect(clippy::cast_possible_truncation, reason = "we wrote whole seconds")]
        let seconds = |name: &str| Some(read.number(name).ok()?? as i64);
        Some(AccessToken {
            kid,
            key,
            client_id: read.require_string("client_id").ok()?.to_owned(),
            audiences,
            subject: read.require_string("sub").ok()?.to_owned(),
            jti: read.require_string("jti").ok()?.to_owned(),
            issued_at: seconds("iat")?,
            expires_at: seconds("exp")?,
        })
    }
}

/// A refresh token as it came: well-formed, and unproved.
#[derive(Clone)]
pub(crate) struct RefreshToken {
    pub(crate) grant: GrantId,
    pub(crate) count: u32,
    proof: [u8; 32],
}

impl RefreshToken {
    /// The refresh token of a grant with this count.
    pub(crate) fn text(
        grant: GrantId,
        key: &vestibule_accounts::GrantKey,
        count: u32,
        sealer: &Sealer,
    ) -> Zeroizing<String> {
        let proof = sealer.refresh_proof(&proved(grant, key, count));
        let mut bytes = Zeroizing::new(Vec::with_capacity(REFRESH_BYTES));
        bytes.extend_from_slice(grant.as_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&proof);
        Zeroizing::new(URL_SAFE_NO_PAD.encode(&bytes))
    }

    /// Reads one. Total.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != REFRESH_BYTES.div_ceil(3) * 4 - 2 {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let (grant, rest) = bytes.split_first_chunk::<16>()?;
        let (count, proof) = rest.split_first_chunk::<4>()?;
        Some(Self {
            grant: GrantId::from_bytes(*grant),
            count: u32::from_be_bytes(*count),
            proof: proof.try_into().ok()?,
        })
    }

    /// Whether we made it for this grant.
    pub(crate) fn is_of(&self, grant: &Grant, sealer: &Sealer) -> bool {
        self.grant == grant.id
            && sealer.is_refresh_proof(&proved(grant.id, &grant.key, self.count), &self.proof)
    }
}

fn proved(grant: GrantId, key: &vestibule_accounts::GrantKey, count: u32) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(Vec::with_capacity(52));
    message.extend_from_slice(grant.as_bytes());
    message.extend_from_slice(key.expose());
    message.extend_from_slice(&count.to_be_bytes());
    message
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vestibule_accounts::GrantKey;

    use super::*;

    fn grant(byte: u8) -> Grant {
        Grant {
            id: GrantId::from_bytes([byte; 16]),
            client_id: "web".into(),
            key: GrantKey::new([byte; 32]),
            count: 0,
            created_at: Timestamp::from_seconds(0),
            rotated_at: None,
            expires_at: Timestamp::from_seconds(1),
        }
    }

    // S69
    #[test]
    fn a_refresh_token_is_of_its_grant_its_count_and_our_secret_alone() {
        let (ours, other) = (
            Sealer::new(b"one secret of at least thirty-two bytes", None),
            Sealer::new(b"two secret of at least thirty-two bytes", None),
        );
        let (one, two) = (grant(1), grant(2));
        let text = RefreshToken::text(one.id, &one.key, 7, &ours);
        let token = RefreshToken::parse(&text).unwrap();
        assert_eq!((token.grant, token.count), (one.id, 7));
        assert!(token.is_of(&one, &ours));
        assert!(!token.is_of(&two, &ours) && !token.is_of(&one, &other));
        let mut other_key = one.clone();
        other_key.key = GrantKey::new([9; 32]);
        assert!(!token.is_of(&other_key, &ours));
        let mut counted_on = token.clone();
        counted_on.count = 8;
        assert!(!counted_on.is_of(&one, &ours));
        let replaced = Sealer::new(
            b"two secret of at least thirty-two bytes",
            Some(b"one secret of at least thirty-two bytes"),
        );
        assert!(token.is_of(&one, &replaced));
    }

    // S69
    #[test]
    fn every_bit_of_a_refresh_token_counts() {
        let sealer = Sealer::new(b"one secret of at least thirty-two bytes", None);
        let grant = grant(1);
        let text = RefreshToken::text(grant.id, &grant.key, 0, &sealer);
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let changed = RefreshToken::parse(&URL_SAFE_NO_PAD.encode(&changed)).unwrap();
                assert!(!changed.is_of(&grant, &sealer), "byte {at}, bit {bit}");
            }
        }
        assert!(RefreshToken::parse(&text[1..]).is_none());
        assert!(RefreshToken::parse(&format!("{}=", text.as_str())).is_none());
    }

    proptest! {
        // S96
        #[test]
        fn reading_a_refresh_token_is_total(text in ".{0,80}", base64 in "[A-Za-z0-9_-]{70}") {
            let _ = RefreshToken::parse(&text);
            let _ = RefreshToken::parse(&base64);
        }
    }
}
