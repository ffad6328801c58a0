//! Vestibule's storage. It knows rows and transactions, and nothing of protocols or of who may do what.

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use crate::postgres::{PostgresError, PostgresStore};
#[cfg(feature = "sqlite")]
pub use crate::sqlite::{OpenError, SqliteStore, backup};

/// Who opens a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// A server. Of an SQLite file it is the only one.
    Serve,
    /// The command line, beside a server that may be running. It looks at what a server made, and makes nothing.
    CommandLine,
}
