//! Which states were used: in memory, so that a claim costs no write; the row comes with the session and is read back
//! at start.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use vestibule_accounts::{Claim, StateHash, StoreError, Timestamp};

use super::sql;

/// How long a claim is remembered, in seconds: longer than a state lives.
pub(super) const REMEMBER: i64 = 900;
/// How many are remembered: 1,000 a second for a quarter of an hour, about 100 MiB.
const MAX: usize = 1_000_000;

/// The claims of the last quarter of an hour.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    used: HashMap<StateHash, Timestamp>,
    oldest_first: VecDeque<(Timestamp, StateHash)>,
}

impl Claims {
    /// The claims that the database remembers.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut inner = Inner::default();
        let mut statement = connection.prepare(sql::SELECT_CLAIMS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (at, state) = (
                Timestamp::from_micros(row.get(0)?),
                StateHash::from_bytes(row.get(1)?),
            );
            inner.used.insert(state, at);
            inner.oldest_first.push_back((at, state));
        }
        Ok(Self(Mutex::new(inner)))
    }

    /// Claims a state.
    pub(super) fn claim(&self, state: StateHash, now: Timestamp) -> Result<Claim, StoreError> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let over = now.minus_seconds(REMEMBER);
        while let Some((at, old)) = inner.oldest_first.front() {
            if *at >= over {
                break;
            }
            if inner.used.get(old) == Some(at) {
                inner.used.remove(old);
            }
            inner.oldest_first.pop_front();
        }
        if inner.used.contains_key(&state) {
            return Ok(Claim::Used);
        }
        if inner.used.len() >= MAX {
            return Err(StoreError::Unavailable(
                "too many login attempts end at once".into(),
            ));
        }
        inner.used.insert(state, now);
        inner.oldest_first.push_back((now, state));
        Ok(Claim::First)
    }
}
