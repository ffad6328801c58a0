//! Migrations: numbered, additive, remembered with their checksums, each applied once under the write lock.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::open::{OpenError, create_private};
use super::{backup, sql};

/// Every migration, in order. One is only ever added.
pub(super) const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/sqlite/0001_accounts.sql")),
    (2, include_str!("../../migrations/sqlite/0002_grants.sql")),
    (
        3,
        include_str!("../../migrations/sqlite/0003_invitations.sql"),
    ),
    (
        4,
        include_str!("../../migrations/sqlite/0004_provider_tokens.sql"),
    ),
];

/// Brings a file up to date with [`MIGRATIONS`].
pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    apply(connection, path, MIGRATIONS)
}

pub(super) fn apply(
    connection: &mut Connection,
    path: &Path,
    migrations: &[(i64, &str)],
) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let newest = applied(connection, path, migrations)?;
    let Some(last) = migrations.last().map(|(number, _)| *number) else {
        return Ok(());
    };
    if newest == last {
        return Ok(());
    }
    // A file that holds people is copied first, outside of the transaction: a copy takes its time.
    let copy = copy_name(path, newest);
    let part = if newest > 0 && !copy.exists() {
        Some(copy_to_part(connection, path, &copy)?)
    } else {
        None
    };
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sqlite)?;
    // Another process may have been here while we waited for the lock. Then the copy is its, and ours may be too new.
    let decided_on = newest;
    let newest = applied(&transaction, path, migrations)?;
    if let Some(part) = part {
        let kept = if newest == decided_on {
            tracing::info!(event = "database.copied", copy = %copy.display());
            std::fs::rename(&part, &copy)
        } else {
            std::fs::remove_file(&part)
        };
        kept.map_err(|source| OpenError::File { path: part, source })?;
    }
    transaction
        .execute_batch(sql::CREATE_MIGRATIONS)
        .map_err(sqlite)?;
    for (number, text) in migrations.iter().filter(|(number, _)| *number > newest) {
        transaction.execute_batch(text).map_err(sqlite)?;
        transaction
            .execute(sql::INSERT_MIGRATION, (number, checksum(text)))
            .map_err(sqlite)?;
    }
    transaction.commit().map_err(sqlite)
}

/// A whole copy under a name of its own: one that was cut off is never taken for the copy.
fn copy_to_part(connection: &Connection, path: &Path, copy: &Path) -> Result<PathBuf, OpenError> {
    let mut part = copy.as_os_str().to_owned();
    part.push(format!(".part-{}", uuid::Uuid::now_v7()));
    let part = PathBuf::from(part);
    let made = create_private(&part).map_err(|source| OpenError::File {
        path: part.clone(),
        source,
    });
    let copied = made.and_then(|()| {
        backup::copy(connection, &part, |_, _| {}).map_err(|source| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        })
    });
    if copied.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    copied.map(|()| part)
}

/// The newest applied migration, 0 for none, after all applied ones were compared with ours.
pub(super) fn applied(
    connection: &Connection,
    path: &Path,
    migrations: &[(i64, &str)],
) -> Result<i64, OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    let exists: Option<i64> = connection
        .query_row(sql::HAS_MIGRATIONS, [], |row| row.get(0))
        .optional()
        .map_err(sqlite)?;
    if exists.is_none() {
        return Ok(0);
    }
    let mut statement = connection.prepare(sql::SELECT_MIGRATIONS).map_err(sqlite)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(sqlite)?;
    let mut newest = 0;
    for row in rows {
        let (number, found): (i64, Vec<u8>) = row.map_err(sqlite)?;
        let Some((_, text)) = migrations.iter().find(|(ours, _)| *ours == number) else {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found: number,
            });
        };
        if found != checksum(text) {
            return Err(OpenError::Checksum {
                path: path.to_owned(),
                number,
            });
        }
        newest = newest.max(number);
    }
    Ok(newest)
}

pub(super) fn copy_name(path: &Path, newest: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-{}", newest + 1));
    PathBuf::from(name)
}

fn checksum(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}
