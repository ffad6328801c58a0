//! The tokens that we give to front ends, and how we read them again.
//!
//! An access token is a JWT of RFC 9068 that anybody verifies by our published keys. Our own routes ask besides whether
//! what it hangs on still lives. A refresh token is opaque: the grant's name, a count, and a proof that needs both the
//! grant's row and `secret`. No form of it is in the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use vestibule_accounts::{Grant, GrantId, SessionId, SessionKey, SignedIn, Timestamp};
use vestibule_jose::{CompactJws, LegacyHs256Key, claims};
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

/// What signs the access tokens of a front end. Asked for before anything is written that a token must follow.
pub(crate) enum Signer {
    /// Our published keys.
    Published(Arc<Keyring>),
    /// A secret that a back end shares.
    Shared(Arc<LegacyHs256Key>),
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
pub(crate) struct VerifiedTokens(Mutex<HashMap<[u8; 32], Arc<AccessToken>>>);

impl VerifiedTokens {
    fn recall(&self, hash: &[u8; 32], now: Timestamp, keys: &Keyring) -> Option<Arc<AccessToken>> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = seen.get(hash)?;
        if token.expires_at > now.seconds() && keys.holds(&token.kid) {
            return Some(token.clone());
        }
        seen.remove(hash);
        None
    }

    fn remember(&self, hash: [u8; 32], token: Arc<AccessToken>, now: Timestamp) {
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
    /// What signs for a front end.
    ///
    /// # Errors
    /// Where nothing can.
    pub(crate) async fn signer_for(&self, frontend: &Frontend) -> Result<Signer, Failure> {
        Ok(match &frontend.token_format {
            TokenFormat::AtJwt => Signer::Published(self.signing_keyring().await?),
            TokenFormat::FastapiUsers(key) => Signer::Shared(key.clone()),
        })
    }

    /// Makes an access token for a front end, in the format that it is configured for. It ends with its session at the
    /// latest.
    pub(crate) fn access_token(
        &self,
        frontend: &Frontend,
        signer: &Signer,
        grant: Option<GrantId>,
        signed_in: &SignedIn,
    ) -> Result<NewAccessToken, Failure> {
        match signer {
            Signer::Published(keys) => {
                let audiences = [OURSELVES, frontend.audience()];
                self.at_jwt(
                    keys,
                    &frontend.client_id,
                    &audiences,
                    frontend.token_lifetime,
                    grant,
                    signed_in,
                )
            }
            Signer::Shared(key) => {
                let now = self.now().seconds();
                let expires_at =
                    (now + frontend.token_lifetime).min(signed_in.session.expires_at.seconds());
                // Exactly the claims of fastapi-users' JWT strategy: its back end refuses none of them and reads no other.
                let claims = json!({
                    "sub": signed_in.user.id.to_string(),
                    "aud": [FASTAPI_USERS],
                    "exp": expires_at,
                });
                Ok(NewAccessToken {
                    token: Zeroizing::new(key.sign(&claims)),
                    expires_in: expires_at - now,
                })
            }
        }
    }

    /// Makes an access token for a page on our own site.
    pub(crate) async fn own_access_token(
        &self,
        signed_in: &SignedIn,
    ) -> Result<NewAccessToken, Failure> {
        let keys = self.signing_keyring().await?;
        self.at_jwt(
            &keys,
            OURSELVES,
            &[OURSELVES],
            self.inner.access_token_lifetime,
            None,
            signed_in,
        )
    }

    /// RFC 9068 section 2.2.
    fn at_jwt(
        &self,
        keys: &Keyring,
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
        let token = keys.sign(AT_JWT, &claims)?;
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
    ) -> Result<Option<Arc<AccessToken>>, Failure> {
        let (now, keys) = (self.now(), self.keyring().await?);
        let hash = sha256(token.as_bytes());
        if let Some(known) = self.inner.verified_tokens.recall(&hash, now, &keys) {
            return Ok(Some(known));
        }
        let Some(read) = self.read_access_token(token, &keys, now) else {
            return Ok(None);
        };
        let read = Arc::new(read);
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

    // S96
    #[test]
    fn verified_tokens_are_remembered_in_a_bounded_number() {
        let tokens = VerifiedTokens::default();
        for at in 0..=MAX_REMEMBERED {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&at.to_be_bytes());
            let token = AccessToken {
                kid: String::new(),
                key: SessionKey::Id(SessionId::from_bytes([0; 16])),
                client_id: String::new(),
                audiences: Vec::new(),
                subject: String::new(),
                jti: String::new(),
                issued_at: 0,
                expires_at: 2,
            };
            tokens.remember(hash, Arc::new(token), Timestamp::from_seconds(1));
        }
        assert!(tokens.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }

    // S47, S68, S70; RFC 9068 section 4, RFC 8725 section 3.11
    #[test]
    fn a_token_that_our_own_key_signed_is_an_access_token_only_with_our_type_issuer_and_audience() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().display();
            let vestibule = Vestibule::builder()
                .public_url("https://app.example")
                .provider(crate::openid_provider("acme", "https://127.0.0.1:9", "id", "a-value-of-acme"))
                .store(&format!("sqlite://{path}/app.db"))
                .settings(&format!("data_dir = \"{path}\"\n[[frontends]]\nclient_id = \"web\"\nredirect_uris = [\"https://web.example/\"]"))
                .build()
                .await
                .unwrap();
            let keys = vestibule.keyring().await.unwrap();
            let now = vestibule.now().seconds();
            let id = SessionId::from_bytes([1; 16]).to_string();
            let good = json!({
                "iss": "https://app.example", "sub": "x", "aud": ["vestibule", "web"], "exp": now + 60, "iat": now,
                "jti": "x", "sid": id, "client_id": "web",
            });
            let is_taken = async |typ: &str, claims: &Value| {
                let token = keys.sign(typ, claims).unwrap();
                vestibule.verify_access_token(&token).await.unwrap().is_some()
            };
            assert!(is_taken(AT_JWT, &good).await);
            for typ in ["JWT", "logout+jwt", "application/at+jwt", "AT+JWT", ""] {
                assert!(!is_taken(typ, &good).await, "{typ}");
            }
            for (name, value, taken) in [
                ("aud", json!("vestibule"), true),
                ("aud", json!(["web"]), true),
                ("aud", json!(["https://api.example"]), false),
                ("aud", json!([]), false),
                ("aud", Value::Null, false),
                ("iss", json!("https://app.example/"), false),
                ("iss", json!("https://evil.example"), false),
                ("iss", Value::Null, false),
                ("exp", json!(now), false),
                ("exp", json!((now + 60).to_string()), false),
                ("exp", Value::Null, false),
                ("sid", json!("x"), false),
                ("sid", Value::Null, false),
                ("gid", json!(GrantId::from_bytes([2; 16]).to_string()), true),
                ("gid", json!("x"), false),
                ("gid", json!(1), false),
                ("client_id", Value::Null, false),
            ] {
                let mut claims = good.clone();
                match value {
                    Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                    ref value => claims[name] = value.clone(),
                }
                assert_eq!(is_taken(AT_JWT, &claims).await, taken, "{name}: {value}");
            }
        });
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
