//! PostgreSQL: a bounded pool of connections, and a task for each verb, so that nobody who goes away splits one.
//!
//! Nothing of a verb is kept outside of its transaction: any replica, and any pooler that hands out connections by
//! transaction, will do. Every verb is right at READ COMMITTED, because it locks what it decides on, and at
//! SERIALIZABLE, because what cannot be ordered is done again.

mod connect;
mod grants;
mod migrate;
mod open;
mod provider_tokens;
mod rows;
mod run;
mod sql;
mod url;
mod verbs;

use std::sync::Arc;

pub use self::open::PostgresError;

/// Users, identities, sessions and keys in one schema of a PostgreSQL database.
pub struct PostgresStore {
    inner: Arc<run::Inner>,
}

impl core::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PostgresStore(..)")
    }
}
