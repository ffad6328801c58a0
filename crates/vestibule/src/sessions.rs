//! Sessions that were seen alive within the last second. An answer of the database is believed for at most 1 s on the
//! monotonic clock, counted from before the read; who ends a session forgets it here after COMMIT and before answering.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vestibule_accounts::{SessionHash, SessionId, SessionKey, SignedIn};

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
    seen: HashMap<SessionKey, (Duration, Arc<SignedIn>)>,
    forgotten: u64,
}

impl Sessions {
    /// The session as it was within the last second, or a ticket for reading it.
    pub(crate) fn recall(&self, key: &SessionKey, now: Duration) -> Result<Arc<SignedIn>, u64> {
        let inner = self.lock();
        match inner.seen.get(key) {
            Some((seen_at, signed_in)) if now.saturating_sub(*seen_at) < BELIEF => {
                Ok(signed_in.clone())
            }
            _ => Err(inner.forgotten),
        }
    }

    /// Remembers what was read since `seen_at`, unless something was forgotten meanwhile.
    pub(crate) fn remember(
        &self,
        key: SessionKey,
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
        inner.seen.insert(key, (seen_at, signed_in));
    }

    /// Forgets what ended under one key.
    pub(crate) fn forget(&self, key: &SessionKey) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.seen.remove(key);
    }

    /// Forgets a session that ended, by whatever key it was seen.
    pub(crate) fn forget_session(&self, id: SessionId) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.seen.retain(|_, (_, seen)| seen.session.id != id);
    }

    /// Forgets the session of a cookie that was replaced, by whatever key it was seen.
    pub(crate) fn forget_cookie(&self, hash: &SessionHash) {
        let key = SessionKey::Cookie(*hash);
        let id = self.lock().seen.get(&key).map(|(_, seen)| seen.session.id);
        match id {
            Some(id) => self.forget_session(id),
            None => self.forget(&key),
        }
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
