//! Sessions that were seen alive within the last second. An answer of the database is believed for at most 1 s on the
//! monotonic clock, counted from before the read; who ends a session forgets it here after COMMIT and before answering.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use vestibule_accounts::{Identity, SessionHash, SessionId, SessionKey, SignedIn};

/// How long an answer is believed.
const BELIEF: Duration = Duration::from_secs(1);
/// How many are remembered at most.
const MAX: usize = 16_384;
/// How many there may be before the first look for those that are over.
const FEW: usize = 256;

/// A live session and its user; and what `/users/me` says of them, once it was asked. It is believed as long as they
/// are.
#[derive(Debug)]
pub(crate) struct Believed {
    signed_in: SignedIn,
    identities: Mutex<Option<Vec<Identity>>>,
    me: OnceLock<Bytes>,
}

impl Believed {
    /// The user's identities, where they were read with the session.
    pub(crate) fn with(signed_in: SignedIn, identities: Option<Vec<Identity>>) -> Self {
        Self {
            signed_in,
            identities: Mutex::new(identities),
            me: OnceLock::new(),
        }
    }

    pub(crate) fn new(signed_in: SignedIn) -> Self {
        Self::with(signed_in, None)
    }

    /// The user's identities, if they were read with the session. Given once: an answer is made of them once.
    pub(crate) fn take_identities(&self) -> Option<Vec<Identity>> {
        self.identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The answer of `/users/me`, if it was made.
    pub(crate) fn me(&self) -> Option<Bytes> {
        self.me.get().cloned()
    }

    /// Keeps the answer of `/users/me`. Where two made it at once, the first stays.
    pub(crate) fn keep_me(&self, body: Bytes) {
        let _ = self.me.set(body);
    }
}

impl core::ops::Deref for Believed {
    type Target = SignedIn;
    fn deref(&self) -> &SignedIn {
        &self.signed_in
    }
}

/// What is believed, and the count of forgettings: a read that began before one may not be remembered after it.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashMap<SessionKey, (Duration, Arc<Believed>)>,
    forgotten: u64,
    /// With how many the next look for those that are over comes.
    sweep_at: usize,
}

impl Inner {
    /// Drops what is believed no longer whenever there is a quarter more than the last time, so that the memory follows
    /// the number of people who came within a second.
    fn make_room(&mut self, now: Duration) {
        if self.seen.len() < self.sweep_at.max(FEW) {
            return;
        }
        self.seen
            .retain(|_, (at, _)| now.saturating_sub(*at) < BELIEF);
        if self.seen.len() >= MAX {
            self.seen.clear();
        }
        self.sweep_at = (self.seen.len() * 5 / 4).min(MAX);
    }
}

impl Sessions {
    /// The session as it was within the last second, or a ticket for reading it.
    pub(crate) fn recall(&self, key: &SessionKey, now: Duration) -> Result<Arc<Believed>, u64> {
        let inner = self.lock();
        match inner.seen.get(key) {
            Some((seen_at, signed_in)) if now.saturating_sub(*seen_at) < BELIEF => {
                Ok(signed_in.clone())
            }
            _ => Err(inner.forgotten),
        }
    }

    /// A ticket for what the caller is about to read or write.
    pub(crate) fn ticket(&self) -> u64 {
        self.lock().forgotten
    }

    /// Remembers what was read or written since `seen_at`, unless something was forgotten meanwhile.
    pub(crate) fn remember(
        &self,
        key: SessionKey,
        seen_at: Duration,
        ticket: u64,
        signed_in: Arc<Believed>,
    ) {
        let mut inner = self.lock();
        if inner.forgotten != ticket {
            return;
        }
        inner.make_room(seen_at);
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

#[cfg(test)]
mod tests {
    use vestibule_accounts::{Session, Timestamp, User, UserId, UserVersion};

    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn key(number: u64) -> SessionKey {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        SessionKey::Id(SessionId::from_bytes(bytes))
    }

    fn somebody() -> Arc<Believed> {
        let now = Timestamp::from_seconds(1_800_000_000);
        let user = UserId::from_bytes([1; 16]);
        Arc::new(Believed::new(SignedIn {
            session: Session {
                id: SessionId::from_bytes([2; 16]),
                user,
                provider: "google".into(),
                created_at: now,
                last_seen_at: now,
                expires_at: now.plus_seconds(60),
                idle_seconds: 60,
            },
            user: User {
                id: user,
                version: UserVersion(1),
                email: None,
                claimed_email: None,
                has_password: false,
                name: None,
                picture: None,
                is_active: true,
                is_superuser: false,
                created_at: now,
                updated_at: now,
            },
        }))
    }

    #[test]
    fn a_session_is_believed_for_less_than_a_second_from_before_it_was_read() {
        let sessions = Sessions::default();
        let ticket = sessions.ticket();
        sessions.remember(key(1), START, ticket, somebody());
        let just_before = START + BELIEF - Duration::from_nanos(1);
        assert!(sessions.recall(&key(1), just_before).is_ok());
        assert!(sessions.recall(&key(1), START + BELIEF).is_err());
        assert!(sessions.recall(&key(2), START).is_err());
    }

    #[test]
    fn what_was_read_before_something_ended_is_not_remembered_after_it() {
        let sessions = Sessions::default();
        let endings: [&dyn Fn(); 4] = [
            &|| sessions.forget(&key(9)),
            &|| sessions.forget_session(SessionId::from_bytes([9; 16])),
            &|| sessions.forget_cookie(&SessionHash::from_bytes([9; 32])),
            &|| sessions.forget_all(),
        ];
        for end in endings {
            let ticket = sessions.ticket();
            end();
            sessions.remember(key(1), START, ticket, somebody());
            assert!(sessions.recall(&key(1), START).is_err());
        }
        sessions.remember(key(1), START, sessions.ticket(), somebody());
        assert!(sessions.recall(&key(1), START).is_ok());
    }

    #[test]
    fn memory_follows_the_people_of_a_second_and_not_all_who_ever_came() {
        let sessions = Sessions::default();
        for number in 0..50_000 {
            // Two hundred people a second.
            let now = START + Duration::from_millis(5 * number);
            sessions.remember(key(number), now, sessions.ticket(), somebody());
            assert!(sessions.lock().seen.len() <= FEW);
            assert!(sessions.recall(&key(number), now).is_ok());
        }
    }

    #[test]
    fn a_crowd_within_one_second_is_bounded() {
        let sessions = Sessions::default();
        for number in 0..=u64::try_from(MAX).unwrap_or(u64::MAX) * 2 {
            sessions.remember(key(number), START, sessions.ticket(), somebody());
            assert!(sessions.lock().seen.len() <= MAX);
        }
    }
}
