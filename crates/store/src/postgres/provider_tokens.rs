//! What providers gave to keep: how it is read, leased and replaced.
//!
//! Each function here runs inside of its caller's transaction, or as one statement.

use uuid::Uuid;
use vestibule_accounts::{ProviderTokens, StoreError, Timestamp, UserId};

use super::rows;
use super::run::{JobError, Param, Tx, params};

/// Whose tokens, and as which version.
pub(super) struct Kept {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) version: i64,
}

/// A lease to be taken.
pub(super) struct Lease {
    pub(super) of: Kept,
    pub(super) until: Timestamp,
    /// Made by the caller, once.
    pub(super) lessee: Uuid,
    pub(super) now: Timestamp,
}

/// A change to be made.
pub(super) struct Replacement {
    pub(super) of: Kept,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) now: Timestamp,
}

/// Why a replacement was not made.
pub(super) enum ReplaceError {
    /// The version is another one.
    Moved,
    Store(StoreError),
}

impl From<StoreError> for ReplaceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(super) async fn of<E>(tx: &Tx<'_>, user: UserId) -> Result<Vec<ProviderTokens>, JobError<E>> {
    let params = params![Uuid::from_bytes(*user.as_bytes())];
    let found = tx.all(&tx.sql().select_provider_tokens, params).await?;
    Ok(found
        .iter()
        .map(rows::provider_tokens)
        .collect::<Result<_, _>>()?)
}

/// Takes the lease; whether the caller has it.
pub(super) async fn lease<E>(tx: &Tx<'_>, lease: &Lease) -> Result<bool, JobError<E>> {
    let of = &lease.of;
    let params = params![
        of.issuer,
        of.subject,
        of.version,
        lease.until.micros(),
        lease.lessee,
        lease.now.micros(),
    ];
    if tx.execute(&tx.sql().lease_provider_tokens, params).await? > 0 {
        return Ok(true);
    }
    // Ours it is where the answer to an earlier attempt got lost.
    let params = params![of.issuer, of.subject, lease.lessee];
    Ok(tx.asks(&tx.sql().has_lease, params).await?)
}

/// A replacement as it stands in its row, and what it takes the place of.
fn written<'a>(replacement: &'a Replacement, sealed: &'a [u8]) -> [Param<'a>; 5] {
    let of = &replacement.of;
    *params![
        of.issuer,
        of.subject,
        of.version,
        sealed,
        replacement.now.micros(),
    ]
}

pub(super) async fn replace(
    tx: &Tx<'_>,
    replacement: &Replacement,
) -> Result<(), JobError<ReplaceError>> {
    let (sql, of) = (tx.sql(), &replacement.of);
    let written = match &replacement.sealed {
        Some(sealed) => {
            let params = written(replacement, sealed);
            tx.execute(&sql.update_provider_tokens, &params).await?
        }
        None => {
            let params = params![of.issuer, of.subject, of.version];
            tx.execute(&sql.delete_provider_tokens, params).await?
        }
    };
    if written == 0 {
        return Err(JobError::Domain(ReplaceError::Moved));
    }
    Ok(())
}

/// Whether a replacement is there.
pub(super) async fn was_replaced<E>(
    tx: &Tx<'_>,
    replacement: &Replacement,
) -> Result<bool, JobError<E>> {
    let (sql, of) = (tx.sql(), &replacement.of);
    Ok(match &replacement.sealed {
        Some(sealed) => {
            let params = written(replacement, sealed);
            tx.asks(&sql.has_replaced_provider_tokens, &params).await?
        }
        None => {
            let params = params![of.issuer, of.subject];
            !tx.asks(&sql.has_provider_tokens, params).await?
        }
    })
}
