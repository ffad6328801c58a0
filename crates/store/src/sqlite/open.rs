//! Opening a file: the lock, the settings of each connection, migrations.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_READONLY_DBMOVED;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::claims::Claims;
use super::writer::{Log, Writer};
use super::{READERS, Readers, SqliteStore, migrate};
use crate::OpenMode;

/// How long a write waits for another process's, such as the command line's.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// How long cutting the log waits for readers, while writers wait for it.
const BUSY_CUT: Duration = Duration::from_millis(100);

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The command line finds no file: it looks at what a server made, and makes nothing.
    #[error("there is no database {}. Run this where the server runs, or set database_url; `vestibule serve` makes one, and that of `vestibule dev` is sqlite://vestibule-dev.db", .0.display())]
    Missing(PathBuf),
    /// Another server has it.
    #[error("{} is in use by another `vestibule serve`. Stop it, or give this one another database_url", .0.display())]
    InUse(PathBuf),
    /// The file or its folder cannot be used.
    #[error("cannot use the database {}: {source}. Check that its folder exists and that this user may write there, or choose another with database_url or data_dir", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder stands where the file should.
    #[error("{} is a folder, and the database is a file. Write a name behind it, such as database_url = \"sqlite://{}/vestibule.db\"", .0.display(), .0.display())]
    Folder(PathBuf),
    /// The file holds something else.
    #[error("{} is not an SQLite database; it was left as it is. Name another file with database_url, or restore a backup", .0.display())]
    Foreign(PathBuf),
    /// It was replaced while it was opened, as by a restore.
    #[error("{} was replaced while it was opened, as a restore does. Run this again", .0.display())]
    Replaced(PathBuf),
    /// SQLite cannot use it.
    #[error("cannot use the database {}: {source}. Choose another with database_url, or restore a backup", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file was written by a newer version.
    #[error("{} was written by a newer version of Vestibule (migration {found}). Use that version, or restore the copy made before the update", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The unknown migration.
        found: i64,
    },
    /// A migration that was applied differs from ours.
    #[error("migration {number} of {} is not the one that this version has. The file was changed by hand, or by an unreleased version; restore a backup", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Which one.
        number: i64,
    },
}

impl SqliteStore {
    /// Opens or makes a database file and brings it up to date. Blocks; call it at start.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(path: &Path, mode: OpenMode) -> Result<Self, OpenError> {
        let file = |source| OpenError::File {
            path: path.to_owned(),
            source,
        };
        let sqlite = |source: rusqlite::Error| match source.sqlite_error() {
            Some(error) if error.code == ErrorCode::NotADatabase => {
                OpenError::Foreign(path.to_owned())
            }
            // Who waited for a restore to end has the old file open, and SQLite begins no log for it.
            Some(error) if error.extended_code == SQLITE_READONLY_DBMOVED => {
                OpenError::Replaced(path.to_owned())
            }
            _ => OpenError::Sqlite {
                path: path.to_owned(),
                source,
            },
        };
        // Before the lock: nothing is left beside what is none of ours.
        if path.is_dir() {
            return Err(OpenError::Folder(path.to_owned()));
        }
        let lock = match mode {
            OpenMode::Serve => Some(lock(path)?),
            OpenMode::CommandLine if !path.exists() => {
                return Err(OpenError::Missing(path.to_owned()));
            }
            OpenMode::CommandLine => None,
        };
        create_private(path).map_err(file)?;
        // Before we write to it.
        let log = Log::of(path);
        let mut connection = connect(path, Role::Writer).map_err(sqlite)?;
        // SQLite opens such a file for reading, and would stay with that when it may be written again.
        if mode == OpenMode::Serve && connection.is_readonly(MAIN_DB).map_err(sqlite)? {
            return Err(file(std::io::Error::new(
                ErrorKind::PermissionDenied,
                "it may be read, but not written",
            )));
        }
        migrate::run(&mut connection, path)?;

        let claims = Claims::load(&connection).map_err(sqlite)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = (0..cores.clamp(*READERS.start(), *READERS.end()))
            .map(|_| connect(path, Role::Reader).map(Mutex::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(sqlite)?;
        let checkpoints = connect(path, Role::Writer).map_err(sqlite)?;
        checkpoints.busy_timeout(BUSY_CUT).map_err(sqlite)?;
        let writer = Writer::start(connection, checkpoints, path, log).map_err(file)?;
        Ok(Self {
            writer,
            readers: Arc::new(Readers::new(readers)),
            claims,
            lock: Mutex::new(lock),
        })
    }
}

/// The lock of a serving process. The system releases it with the process, however that ends.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let failed = |source| OpenError::File {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    private(&mut options);
    let file = options.open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Makes the file readable by its owner alone, before SQLite makes it otherwise. A file that is there is not opened:
/// closing it would end the locks that SQLite holds on it in this process (<https://sqlite.org/howtocorrupt.html> 2.2).
pub(super) fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    private(&mut options);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = options;
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Role {
    Writer,
    Reader,
}

pub(super) fn connect(path: &Path, role: Role) -> rusqlite::Result<Connection> {
    let access = match role {
        Role::Writer => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Role::Reader => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Kept small: a reader's pages are dropped at every commit, and the system keeps the file's pages anyway.
    let kibibytes = match role {
        Role::Writer => 1_024,
        Role::Reader => 256,
    };
    connection.pragma_update(None, "cache_size", -kibibytes)?;
    if role == Role::Writer {
        use_log(&connection)?;
        // With NORMAL, a used code or a rotated token can come back after a power loss.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        // Another connection does it, so that no login waits for it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    }
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    // Statements are prepared once. Without this SQLite plans some of them anew whenever a value is bound, which costs
    // more than what they do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Turns the log on. SQLite does not wait here where another process does the same, or closes the file; so we do.
fn use_log(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < BUSY =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}
