//! Sessions that were seen alive within the last second. An answer of the database is believed for at most 1 s on the
//! monotonic clock, counted from before the read; who ends a session forgets it here after COMMIT and before answering.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vestibule_accounts::{SessionHash, SignedIn};

/// How long an answer is believed.
const BELIEF: Duration = Duration::from_secs(1);
/// How many are remembered at most.
const MAX: usize = 16_384;

/// What is believed, and the count of forgettings: a read that began before one may not be remembered after it.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashMap<SessionHash, (Duration, Arc<SignedIn>)>,
    forgotten: u64,
}

impl Sessions {
    /// The session as it was within the last second, or a ticket for reading it.
    pub(crate) fn recall(&self, hash: &SessionHash, now: Duration) -> Result<Arc<SignedIn>, u64> {
        let inner = self.lock();
        match inner.seen.get(hash) {
            Some((seen_at, signed_in)) if now.saturating_sub(*seen_at) < BELIEF => {
                Ok(signed_in.clone())
            }
            _ => Err(inner.forgotten),
        }
    }

    /// Remembers what was read since `seen_at`, unless something was forgotten meanwhile.
    pub(crate) fn remember(
        &self,
        hash: SessionHash,
        seen_at: Duration,
        ticket: u64,
        signed_in: Arc<SignedIn>,
    ) {
        let mut inner = self.lock();
        if inner.forgotten != ticket {
            return;
        }
        if inner.seen.len() >= MAX {
            inner
                .seen
                .retain(|_, (at, _)| seen_at.saturating_sub(*at) < BELIEF);
            if inner.seen.len() >= MAX {
                inner.seen.clear();
            }
        }
        inner.seen.insert(hash, (seen_at, signed_in));
    }

    /// Forgets a session that ended.
    pub(crate) fn forget(&self, hash: &SessionHash) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.seen.remove(hash);
    }

    /// Forgets all: a user has changed, whose sessions nobody here can name.
    pub(crate) fn forget_all(&self) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.seen.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
