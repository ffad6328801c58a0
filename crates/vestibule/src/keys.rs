//! Our own signing keys: made once, sealed for rest, rotated with an overlap in which both are published.

use vestibule_accounts::{AddKey, StoredKey, Timestamp};
use vestibule_jose::{Algorithm, SigningKey};

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::seal::Purpose;

/// A new key is published this long before it signs: twice what verifiers may keep the published set, in seconds.
const PUBLISHED_BEFORE_USE: i64 = 600;
/// An old key stays published this long after the new one signs: longer than the longest token lives, in seconds.
const PUBLISHED_AFTER_USE: i64 = 2 * 3_600;

impl Vestibule {
    /// Our signing keys, the oldest first. Private parts stay sealed.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, Failure> {
        Ok(self.inner.store.signing_keys().await?)
    }

    /// Makes a signing key. It signs from ten minutes on; the ones before it stay published two hours longer.
    ///
    /// # Errors
    /// `service_unavailable` while the database cannot be used.
    pub async fn rotate_signing_key(&self) -> Result<StoredKey, Failure> {
        let now = self.now();
        let active_from = now.plus_seconds(PUBLISHED_BEFORE_USE);
        let key = self.new_signing_key(now, active_from)?;
        let retire_at = active_from.plus_seconds(PUBLISHED_AFTER_USE);
        self.inner
            .store
            .add_signing_key(key.clone(), retire_at, AddKey::Always)
            .await?;
        tracing::info!(event = "key.rotated", kid = key.kid);
        Ok(key)
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
