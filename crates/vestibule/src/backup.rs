//! Backups of an SQLite database, for an operator: made, tried, and put in the database's place.
//!
//! A backup holds what the database holds: people and sessions, and signing keys that are sealed by the secret. The
//! secret itself is not in it. So whoever tries one learns here whether the configured secret is the one it needs.

use std::path::{Path, PathBuf};

pub use vestibule_store::backup::{BackupError, Contents, back_up};
use vestibule_store::backup::{Lock, Staged};

use crate::config::{Config, SecretError};
use crate::seal::Sealer;

/// Why a backup was not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file does not do.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// There is no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The configured secret is not the backup's.
    #[error(
        "{} was made with another secret than that of {place}: with this one nobody's sign-in could go on. Nothing was changed. Set `secret` to the one that it was made with; or, where the secret was replaced since, set `previous_secret` to the old one. Then run this again", backup.display()
    )]
    OtherSecret {
        /// The backup.
        backup: PathBuf,
        /// Where the configured secret is kept.
        place: String,
    },
}

/// Which of the configured secrets a backup was made with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fits {
    /// `secret`.
    Current,
    /// `previous_secret`: the first server to start on it replaces it.
    Previous,
}

/// Which of the configured secrets a database with these contents needs.
///
/// # Errors
/// [`RestoreError::OtherSecret`] where it is none of them, and [`RestoreError::Secret`] where there is none.
pub fn fits(config: &Config, backup: &Path, contents: &Contents) -> Result<Fits, RestoreError> {
    let secret = config.secret.load()?;
    let previous = config.previous_secret.as_ref();
    let sealer = Sealer::new(secret.expose(), previous.map(|secret| secret.expose()));
    if contents.secret_check == sealer.check_value() {
        Ok(Fits::Current)
    } else if Some(contents.secret_check) == sealer.previous_check_value() {
        Ok(Fits::Previous)
    } else {
        Err(RestoreError::OtherSecret {
            backup: backup.to_owned(),
            place: config.secret_place(),
        })
    }
}

/// Tries a backup, beside a server that may be running: everything that [`restore`] does, without its last step.
///
/// # Errors
/// See [`RestoreError`]. Nothing is changed, in any case.
pub fn drill(
    config: &Config,
    database: &Path,
    backup: &Path,
) -> Result<(Contents, Fits), RestoreError> {
    let staged = Staged::of(backup, database)?;
    let fits = fits(config, backup, staged.contents())?;
    Ok((staged.contents().clone(), fits))
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the database holds now.
    pub contents: Contents,
    /// Which secret it needs.
    pub fits: Fits,
    /// Where the database is that was there before.
    pub kept: Option<PathBuf>,
}

/// Puts a backup in the place of the database. The one that is there is kept, under a name that ends with `stamp`.
///
/// # Errors
/// See [`RestoreError`]. The database is as it was.
pub fn restore(
    config: &Config,
    database: &Path,
    backup: &Path,
    stamp: &str,
) -> Result<Restored, RestoreError> {
    let lock = Lock::take(database)?;
    let staged = Staged::of(backup, database)?;
    let contents = staged.contents().clone();
    let fits = fits(config, backup, &contents)?;
    let kept = staged.replace(&lock, stamp)?;
    Ok(Restored {
        contents,
        fits,
        kept,
    })
}
