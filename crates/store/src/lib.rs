//! Vestibule's storage. It knows rows and transactions, and nothing of protocols or of who may do what.

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use crate::sqlite::{OpenError, OpenMode, SqliteStore};
