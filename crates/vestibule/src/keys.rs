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

/// The keys as they were within the last second, and the count of forgettings: a read that began before one may not be
/// remembered after it.
#[derive(Debug, Default)]
pub(crate) struct KeyCache(Mutex<Cached>);

#[derive(Clone, Debug, Default)]
struct Cached {
    forgotten: u64,
    last: Option<(Duration, Arc<Keyring>)>,
}

impl KeyCache {
    fn look(&self) -> Cached {
        self.lock().clone()
    }

    fn remember(&self, ticket: u64, read_at: Duration, keyring: Arc<Keyring>) {
        let mut cached = self.lock();
        if cached.forgotten == ticket {
            cached.last = Some((read_at, keyring));
        }
    }

    fn forget(&self) {
        let mut cached = self.lock();
        cached.forgotten += 1;
        cached.last = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All published keys, ready for use.
pub(crate) struct Keyring {
    stored: Vec<StoredKey>,
    /// The key whose turn it is to sign.
    turn: Option<String>,
    /// The key that signs now: the one before it, where that one cannot be opened.
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
        self.signer()?
            .sign(typ, claims)
            .map_err(|error| Failure::new(Code::InternalError, "signature", error.to_string()))
    }

    fn signer(&self) -> Result<&SigningKey, Failure> {
        self.signer.as_ref().ok_or_else(|| match &self.turn {
            None => Failure::new(
                Code::InternalError,
                "no_signing_key",
                "there is no signing key; a restart of `vestibule serve` makes one",
            ),
            Some(kid) => Failure::new(
                Code::InternalError,
                "signing_key_unusable",
                format!(
                    "the signing key {kid} cannot be opened: it was sealed with another secret. Set previous_secret to that one, or restart `vestibule serve`, which makes a new key"
                ),
            ),
        })
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
        let Cached {
            forgotten: ticket,
            last,
        } = self.inner.keys.look();
        if let Some((read_at, keyring)) = &last
            && before.saturating_sub(*read_at) < BELIEF
        {
            return Ok(keyring.clone());
        }
        let now = self.now();
        let mut stored = self.signing_keys().await?;
        stored.retain(|key| is_published(key, now));
        let turn = by_turn(&stored, now).first().map(|key| key.kid.clone());
        let keyring = match last {
            // Opening and parsing keys is dear, and they change once in months.
            Some((_, keyring)) if keyring.stored == stored && keyring.turn == turn => keyring,
            _ => Arc::new(self.open_keys(stored, turn, now)?),
        };
        self.inner.keys.remember(ticket, before, keyring.clone());
        Ok(keyring)
    }

    /// The same, where it can sign.
    ///
    /// # Errors
    /// Where it cannot: before anything is written that needs a signature.
    pub(crate) async fn signing_keyring(&self) -> Result<Arc<Keyring>, Failure> {
        let keyring = self.keyring().await?;
        keyring.signer()?;
        Ok(keyring)
    }

    /// Public halves verify even where no private one can be opened.
    fn open_keys(
        &self,
        stored: Vec<StoredKey>,
        turn: Option<String>,
        now: Timestamp,
    ) -> Result<Keyring, Failure> {
        let signer = by_turn(&stored, now).into_iter().find_map(|key| {
            let pkcs8 = self.inner.sealer.open(Purpose::AtRest, &key.sealed)?;
            let algorithm = Algorithm::from_name(&key.algorithm)?;
            SigningKey::from_pkcs8(algorithm, &pkcs8).ok()
        });
        if signer.as_ref().map(SigningKey::kid) != turn.as_deref() {
            tracing::error!(
                event = "key.unusable",
                kid = turn,
                hint = "it was sealed with another secret; set previous_secret to that one"
            );
        }
        let mut keyring = Keyring {
            stored,
            turn,
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

    /// Sees to it that a key signs, now and later: makes the first one, and a successor where the newest is 90 days old,
    /// where all have an end, or where all were sealed with the previous secret. Of several processes one makes it.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn rotate_old_signing_key(&self) -> Result<(), Failure> {
        let now = self.now();
        let keys = self.signing_keys().await?;
        let newest = keys.iter().max_by_key(|key| (key.created_at, &key.kid));
        let is_young = newest.is_some_and(|key| now < key.created_at.plus_seconds(ROTATED_AFTER));
        let lasts = |key: &StoredKey| {
            key.retired_at.is_none() && self.inner.sealer.is_current(Purpose::AtRest, &key.sealed)
        };
        if is_young && keys.iter().any(lasts) {
            return Ok(());
        }
        let signs = |key: &StoredKey| {
            key.active_from <= now
                && is_published(key, now)
                && self
                    .inner
                    .sealer
                    .open(Purpose::AtRest, &key.sealed)
                    .is_some()
        };
        // Where nothing else signs there is nothing to wait for.
        let active_from = if keys.iter().any(signs) {
            now.plus_seconds(PUBLISHED_BEFORE_USE)
        } else {
            now
        };
        let key = self.new_signing_key(now, active_from)?;
        self.add_successor(key, AddKey::IfNewestIs(newest.map(|key| key.kid.clone())))
            .await
    }

    async fn add_successor(&self, key: StoredKey, add: AddKey) -> Result<(), Failure> {
        let (kid, retire_at) = (
            key.kid.clone(),
            key.active_from.plus_seconds(PUBLISHED_AFTER_USE),
        );
        // The first key of a database follows nobody: no news.
        let is_first = add == AddKey::IfNewestIs(None);
        let added = self.inner.store.add_signing_key(key, retire_at, add).await;
        self.inner.keys.forget();
        if added? && !is_first {
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
        self.inner.keys.forget();
        if revoked.as_ref().is_ok_and(|revoked| *revoked) {
            tracing::warn!(event = "key.revoked", kid);
            // It may have been the successor of one that has an end.
            if let Err(error) = self.rotate_old_signing_key().await {
                tracing::warn!(event = "key.not_rotated", detail = %error);
            }
        }
        Ok(revoked?)
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

fn is_published(key: &StoredKey, now: Timestamp) -> bool {
    key.retired_at.is_none_or(|retired_at| now < retired_at)
}

/// The keys that may sign, the one whose turn came last first. Where a clock was set back past all of them, the one whose
/// turn comes first: better a moment early than nobody signed in.
fn by_turn(keys: &[StoredKey], now: Timestamp) -> Vec<&StoredKey> {
    let mut turns: Vec<&StoredKey> = keys.iter().filter(|key| key.active_from <= now).collect();
    turns.sort_by_key(|key| core::cmp::Reverse((key.active_from, key.created_at)));
    if turns.is_empty() {
        turns.extend(keys.iter().min_by_key(|key| key.active_from));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, active_from: i64) -> StoredKey {
        StoredKey {
            kid: kid.into(),
            algorithm: "ES256".into(),
            sealed: Vec::new(),
            public_jwk: String::new(),
            created_at: Timestamp::from_seconds(0),
            active_from: Timestamp::from_seconds(active_from),
            retired_at: None,
        }
    }

    // S71; ATTACKS J10
    #[test]
    fn the_key_whose_turn_came_last_signs_and_the_first_one_while_a_clock_is_behind_all() {
        let keys = [key("a", 100), key("c", 300), key("b", 200)];
        let turns = |now| -> Vec<String> {
            by_turn(&keys, Timestamp::from_seconds(now))
                .iter()
                .map(|key| key.kid.clone())
                .collect()
        };
        assert_eq!(turns(99), ["a"]);
        assert_eq!(turns(100), ["a"]);
        assert_eq!(turns(299), ["b", "a"]);
        assert_eq!(turns(300), ["c", "b", "a"]);
        assert!(by_turn(&[], Timestamp::from_seconds(0)).is_empty());
    }

    // S71: who revokes a key forgets it, also what is being read meanwhile.
    #[test]
    fn keys_that_were_read_before_a_forgetting_are_not_remembered_after_it() {
        let cache = KeyCache::default();
        let keyring = || {
            Arc::new(Keyring {
                stored: Vec::new(),
                turn: None,
                signer: None,
                verifiers: JwkSet::default(),
            })
        };
        let ticket = cache.look().forgotten;
        cache.remember(ticket, Duration::ZERO, keyring());
        assert!(cache.look().last.is_some());
        cache.forget();
        assert!(cache.look().last.is_none());
        cache.remember(ticket, Duration::ZERO, keyring());
        assert!(cache.look().last.is_none());
    }
}
