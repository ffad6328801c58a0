//! Our own signing keys: made once, sealed for rest, published before they sign, rotated with an overlap in which both
//! are published, and revoked at once where one has leaked.
//!
//! What the database says is believed for one second, so that a rotation or a revocation by another process is seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use vestibule_accounts::{AddKey, StoredKey, Timestamp};
use vestibule_jose::{Algorithm, CompactJws, JwkSet, SigningKey, json::Object};

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::seal::Purpose;

/// A new key is published this long before it signs: twice what verifiers may keep the published set, in seconds.
const PUBLISHED_BEFORE_USE: i64 = 600;
/// An old key stays published this long after the new one signs: longer than the longest token lives, in seconds.
const PUBLISHED_AFTER_USE: i64 = 2 * 3_600;
/// So many keys wait to sign at most. Each waits ten minutes and stays published two hours and ten minutes after its
/// successor was made: 58 are published at once, however often somebody rotates. Readers of key sets stop at 64, as
/// ours does.
const WAITING: u32 = 4;
/// A key that is this old gets a successor, in seconds.
const ROTATED_AFTER: i64 = 90 * 86_400;
/// How long what the database said is believed.
const BELIEF: Duration = Duration::from_secs(1);

/// The keys as they were within the last second.
#[derive(Debug, Default)]
pub(crate) struct KeyCache(Mutex<Option<(Duration, Arc<Keyring>)>>);

/// All published keys, ready for use.
pub(crate) struct Keyring {
    stored: Vec<StoredKey>,
    /// The key that signs now.
    signer: Option<SigningKey>,
    verifiers: JwkSet,
}

impl core::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keyring")
            .field("kids", &self.kids().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    fn kids(&self) -> impl Iterator<Item = &str> {
        self.stored.iter().map(|key| key.kid.as_str())
    }

    /// Whether a key is still published.
    pub(crate) fn holds(&self, kid: &str) -> bool {
        self.kids().any(|known| known == kid)
    }

    /// Signs claims with the key that signs now.
    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> Result<String, Failure> {
        let signer = self.signer.as_ref().ok_or_else(|| {
            Failure::new(
                Code::InternalError,
                "no_signing_key",
                "no signing key signs now; `vestibule keys list` shows them, and a restart of `vestibule serve` makes the first",
            )
        })?;
        signer
            .sign(typ, claims)
            .map_err(|error| Failure::new(Code::InternalError, "signature", error.to_string()))
    }

    /// The claims of a token that one of our keys signed. Only tokens that name their key are ours.
    pub(crate) fn verify(&self, token: &CompactJws) -> Option<Object> {
        token.header().kid.as_ref()?;
        self.verifiers.verify(token, &[Algorithm::Es256]).ok()
    }

    /// The public halves, as they are published (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> Value {
        let keys: Vec<Value> = self
            .stored
            .iter()
            .filter_map(|key| serde_json::from_str(&key.public_jwk).ok())
            .collect();
        json!({ "keys": keys })
    }
}

impl Vestibule {
    /// Our signing keys, the oldest first. Private parts stay sealed.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, Failure> {
        Ok(self.inner.store.signing_keys().await?)
    }

    /// The keys that are published now, and the one that signs.
    pub(crate) async fn keyring(&self) -> Result<Arc<Keyring>, Failure> {
        let before = self.inner.clock.monotonic();
        let last = self.cached_keys();
        if let Some((read_at, keyring)) = &last
            && before.saturating_sub(*read_at) < BELIEF
        {
            return Ok(keyring.clone());
        }
        let now = self.now();
        let stored: Vec<StoredKey> = self
            .signing_keys()
            .await?
            .into_iter()
            .filter(|key| key.retired_at.is_none_or(|retired_at| now < retired_at))
            .collect();
        let signs = signer_of(&stored, now).map(|key| key.kid.as_str());
        let keyring = match last {
            // Opening and parsing keys is dear, and they change once in months.
            Some((_, keyring))
                if keyring.stored == stored
                    && keyring.signer.as_ref().map(SigningKey::kid) == signs =>
            {
                keyring
            }
            _ => Arc::new(self.open_keys(stored, now)?),
        };
        *self
            .inner
            .keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((before, keyring.clone()));
        Ok(keyring)
    }

    fn cached_keys(&self) -> Option<(Duration, Arc<Keyring>)> {
        self.inner
            .keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn forget_keys(&self) {
        *self
            .inner
            .keys
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn open_keys(&self, stored: Vec<StoredKey>, now: Timestamp) -> Result<Keyring, Failure> {
        let unusable = |kid: &str| {
            Failure::new(
                Code::InternalError,
                "signing_key_unusable",
                format!(
                    "the signing key {kid} cannot be opened: it was sealed with another secret. Set previous_secret to that one, or `vestibule keys revoke {kid}`"
                ),
            )
        };
        let signer = match signer_of(&stored, now) {
            None => None,
            Some(key) => {
                let pkcs8 = self
                    .inner
                    .sealer
                    .open(Purpose::AtRest, &key.sealed)
                    .ok_or_else(|| unusable(&key.kid))?;
                let algorithm =
                    Algorithm::from_name(&key.algorithm).ok_or_else(|| unusable(&key.kid))?;
                let signer =
                    SigningKey::from_pkcs8(algorithm, &pkcs8).map_err(|_| unusable(&key.kid))?;
                Some(signer)
            }
        };
        let mut keyring = Keyring {
            stored,
            signer,
            verifiers: JwkSet::default(),
        };
        keyring.verifiers =
            JwkSet::parse(keyring.jwks().to_string().as_bytes()).map_err(|error| {
                Failure::new(
                    Code::InternalError,
                    "signing_keys_unreadable",
                    error.to_string(),
                )
            })?;
        Ok(keyring)
    }

    /// Makes a signing key. It signs from ten minutes on; the ones before it stay published two hours longer. Where four
    /// wait for their turn already, it takes the place of the last of them, so that the published set stays small.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn rotate_signing_key(&self) -> Result<StoredKey, Failure> {
        let now = self.now();
        let key = self.new_signing_key(now, now.plus_seconds(PUBLISHED_BEFORE_USE))?;
        // One that makes room has ended the key before it at most ten minutes too early: two hours are enough for both.
        self.add_successor(key.clone(), AddKey::AmongWaiting(WAITING))
            .await?;
        Ok(key)
    }

    /// Gives a key that is 90 days old its successor. Of several processes one makes it.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn rotate_old_signing_key(&self) -> Result<(), Failure> {
        let now = self.now();
        let keys = self.signing_keys().await?;
        let Some(newest) = keys.iter().max_by_key(|key| key.created_at) else {
            return Ok(());
        };
        if now < newest.created_at.plus_seconds(ROTATED_AFTER) {
            return Ok(());
        }
        let key = self.new_signing_key(now, now.plus_seconds(PUBLISHED_BEFORE_USE))?;
        self.add_successor(key, AddKey::IfNewestIs(Some(newest.kid.clone())))
            .await
    }

    async fn add_successor(&self, key: StoredKey, add: AddKey) -> Result<(), Failure> {
        let (kid, retire_at) = (
            key.kid.clone(),
            key.active_from.plus_seconds(PUBLISHED_AFTER_USE),
        );
        let added = self.inner.store.add_signing_key(key, retire_at, add).await;
        self.forget_keys();
        if added? {
            tracing::info!(event = "key.rotated", kid);
        }
        Ok(())
    }

    /// Takes a key out at once: what it signed is refused from now on, and nobody is signed out, since sessions and
    /// refresh tokens are no signatures. Where no other key signs now, a new one does. `false`: there is no such key.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn revoke_signing_key(&self, kid: &str) -> Result<bool, Failure> {
        let now = self.now();
        let replacement = self.new_signing_key(now, now)?;
        let revoked = self
            .inner
            .store
            .revoke_signing_key(kid.to_owned(), replacement, now)
            .await;
        self.forget_keys();
        if revoked.as_ref().is_ok_and(|revoked| *revoked) {
            tracing::warn!(event = "key.revoked", kid);
        }
        Ok(revoked?)
    }

    /// Makes the first signing key where there is none; it signs at once, since nobody has read a set without it.
    pub(crate) async fn ensure_signing_key(&self) -> Result<(), Failure> {
        if !self.inner.store.signing_keys().await?.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let key = self.new_signing_key(now, now)?;
        self.inner
            .store
            .add_signing_key(key, now, AddKey::IfNewestIs(None))
            .await?;
        Ok(())
    }

    fn new_signing_key(
        &self,
        now: Timestamp,
        active_from: Timestamp,
    ) -> Result<StoredKey, Failure> {
        let algorithm = Algorithm::Es256;
        let key = SigningKey::generate(algorithm).map_err(|error| {
            Failure::new(Code::InternalError, "key_generation", error.to_string())
        })?;
        Ok(StoredKey {
            kid: key.kid().to_owned(),
            algorithm: algorithm.name().to_owned(),
            sealed: self.inner.sealer.seal(Purpose::AtRest, &key.pkcs8()),
            public_jwk: key.public_jwk().to_string(),
            created_at: now,
            active_from,
            retired_at: None,
        })
    }
}

/// Of the keys that may sign, the one whose turn came last.
fn signer_of(keys: &[StoredKey], now: Timestamp) -> Option<&StoredKey> {
    keys.iter()
        .filter(|key| key.active_from <= now)
        .max_by_key(|key| (key.active_from, key.created_at))
}
