//! SQLite: one writer thread that commits all waiting jobs together, and readers beside it (WAL).
//!
//! What the writer acknowledged is on disk (`synchronous = FULL`). Point reads run where they are asked: they take
//! microseconds and never wait for the writer. Lists run on the blocking pool.

pub mod backup;
mod claims;
mod grants;
mod migrate;
mod open;
mod rows;
mod sql;
mod verbs;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rusqlite::Connection;
use vestibule_accounts::StoreError;

pub use self::open::OpenError;

/// How many point reads run side by side: as many as there are cores, within these bounds.
const READERS: RangeInclusive<usize> = 2..=16;

/// Users, identities, sessions and keys in one SQLite file.
pub struct SqliteStore {
    writer: writer::Writer,
    readers: Arc<Readers>,
    claims: claims::Claims,
    /// Held until the store is closed: a second `serve` on one file is refused.
    lock: Mutex<Option<std::fs::File>>,
}

impl core::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SqliteStore(..)")
    }
}

/// Read-only connections.
struct Readers {
    connections: Vec<Mutex<Connection>>,
    closed: AtomicBool,
}

impl Readers {
    fn new(connections: Vec<Mutex<Connection>>) -> Self {
        Self {
            connections,
            closed: AtomicBool::new(false),
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// A closed store answers nothing, not even what it could still read.
    fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("the database is closed".into()));
        }
        Ok(())
    }

    /// A free connection, or the first to become free.
    fn get(&self) -> MutexGuard<'_, Connection> {
        for reader in &self.connections {
            match reader.try_lock() {
                Ok(connection) => return connection,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.connections[0]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What SQLite reports, as the caller may see it.
fn unavailable(error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        rusqlite::Error::SqliteFailure(failure, _)
            if matches!(failure.code, DatabaseCorrupt | NotADatabase) =>
        {
            StoreError::Corrupt(error.to_string())
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}
