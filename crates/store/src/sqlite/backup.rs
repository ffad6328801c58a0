//! Copies of a database: made beside a running server, looked at, and put in the database's place.
//!
//! A copy holds the pages of one snapshot, byte for byte. It is made by SQLite's backup interface inside of a read
//! transaction: there a write by somebody else neither waits for the copy nor makes it begin again. `VACUUM INTO` would
//! also do for our tables, but not for the application's that stand beside them: it may number their rows anew, and
//! fails where they use a function or a collation that the application alone has.
//!
//! What was not looked at is not used: a backup gets its name, and a database its place, after every check has passed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::ffi::{Error as Busy, SQLITE_BUSY};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _};
use vestibule_accounts::Timestamp;

use super::open::{self, BUSY, OpenError, create_private};
use super::{migrate, sql};

/// How many pages are copied between two words of progress: 16 MiB.
const STEP: i32 = 4_096;

/// What is in a copy whose every check has passed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contents {
    /// Its size.
    pub bytes: u64,
    /// How many users it has.
    pub users: i64,
    /// How many identities they have.
    pub identities: i64,
    /// How many sessions, the ended ones that were not removed yet included.
    pub sessions: i64,
    /// When somebody signed in last.
    pub newest_sign_in: Option<Timestamp>,
    /// Whether an older version made it: a server brings it up to date when it starts, and that was tried.
    pub is_older: bool,
    /// What its secret is recognised by.
    pub secret_check: [u8; 32],
}

/// Why there is no copy, or why one was not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is nothing to copy.
    #[error("there is no file {}. Look at its name; for the configured database, see database_url and data_dir", .0.display())]
    Missing(PathBuf),
    /// Something has the name already.
    #[error("{} is there already, and nothing is overwritten. Name another file", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}. Check that its folder exists, that this user may write there, and that the disk has room", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{} is not a database of Vestibule. Name a file that `vestibule backup` made", .0.display())]
    Foreign(PathBuf),
    /// A part of it stands in another file.
    #[error("{} is not whole: what was written last stands in {}. It is a database that is in use, or was cut off, and no backup. Open it with database_url and copy it by `vestibule backup`", file.display(), log.display())]
    Log {
        /// The file.
        file: PathBuf,
        /// What belongs to it.
        log: PathBuf,
    },
    /// It is the configured database itself.
    #[error("{} is the configured database itself. Name a backup of it", .0.display())]
    Itself(PathBuf),
    /// Its contents do not hold together.
    #[error("{} is damaged: {found}. It is not used; take another backup (`vestibule restore FILE --check` says whether one is whole)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the checks say.
        found: String,
    },
    /// No server has ever used it.
    #[error("{} does not say which secret it was made with: no server has used it. Take another backup", .0.display())]
    NoSecretCheck(PathBuf),
    /// A server has the database.
    #[error("{} is in use by a running server. Stop it, then run this again; nothing was changed", .0.display())]
    InUse(PathBuf),
    /// Another program has the database open.
    #[error("another program has {} open. End it, then run this again; nothing was changed", .0.display())]
    Open(PathBuf),
    /// It is of another version, or changed.
    #[error(transparent)]
    Version(OpenError),
    /// SQLite cannot use it.
    #[error("cannot use {}: {source}. Check that the disk has room, or take another file", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl BackupError {
    fn file(path: &Path) -> impl Fn(std::io::Error) -> Self {
        |source| Self::File {
            path: path.to_owned(),
            source,
        }
    }

    fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        |source| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign(path.to_owned()),
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path: path.to_owned(),
                found: source.to_string(),
            },
            _ => Self::Sqlite {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Copies a database, beside a server that may be running. `progress` is told how many of how many pages are copied.
///
/// The copy is written under another name, checked, and on disk before it gets its own: half a backup never has it.
///
/// # Errors
/// See [`BackupError`]. A file that has the name already is left as it is.
pub fn back_up(
    database: &Path,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<Contents, BackupError> {
    if !database.exists() {
        return Err(BackupError::Missing(database.to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let sqlite = BackupError::sqlite(database);
    // Not read-only: such a connection, where it is the last one, leaves the log behind.
    let source = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(&sqlite)?;
    source
        .pragma_update(None, "query_only", true)
        .map_err(&sqlite)?;

    let part = Part(beside(to, &format!(".part-{}", uuid::Uuid::now_v7())));
    create_private(&part.0).map_err(BackupError::file(to))?;
    copy(&source, &part.0, progress).map_err(sqlite)?;
    let contents = check(&part.0, database)?;
    give_name(&part.0, to)?;
    Ok(contents)
}

/// Copies what a connection sees into an empty file, and waits for the disk.
pub(super) fn copy(
    source: &Connection,
    to: &Path,
    mut progress: impl FnMut(u64, u64),
) -> rusqlite::Result<()> {
    let mut copy = connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // A copy that was cut off is thrown away.
    copy.pragma_update(None, "journal_mode", "OFF")?;
    let snapshot = source.unchecked_transaction()?;
    snapshot
        .query_row(sql::SELECT_ANYTHING, [], |_| Ok(()))
        .optional()?;
    {
        let backup = Backup::new(&snapshot, &mut copy)?;
        loop {
            let step = backup.step(STEP)?;
            let now = backup.progress();
            let total = u64::try_from(now.pagecount).unwrap_or(0);
            progress(total - u64::try_from(now.remaining).unwrap_or(0), total);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // The snapshot keeps others from the source, and nobody else knows the copy.
                _ => return Err(rusqlite::Error::SqliteFailure(Busy::new(SQLITE_BUSY), None)),
            }
        }
    }
    drop(snapshot);
    // The pages say that there is a log beside them. Now they stand alone.
    copy.pragma_update(None, "journal_mode", "DELETE")
}

/// Looks at everything that a copy must have. `path` is what errors call it.
fn check(copy: &Path, path: &Path) -> Result<Contents, BackupError> {
    let sqlite = BackupError::sqlite(path);
    let connection = connect(copy, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(&sqlite)?;
    let newest = migrate::applied(&connection, path, migrate::MIGRATIONS).map_err(version(path))?;
    if newest == 0 {
        return Err(BackupError::Foreign(path.to_owned()));
    }
    check_whole(&connection, path)?;
    let secret_check: Option<[u8; 32]> = connection
        .query_row(sql::SELECT_SECRET_CHECK, [], |row| row.get(0))
        .optional()
        .map_err(&sqlite)?;
    let contents = connection.query_row(sql::SELECT_CONTENTS, [], |row| {
        Ok(Contents {
            bytes: 0,
            users: row.get(0)?,
            identities: row.get(1)?,
            sessions: row.get(2)?,
            newest_sign_in: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros),
            is_older: migrate::MIGRATIONS
                .last()
                .is_some_and(|(last, _)| newest < *last),
            secret_check: [0; 32],
        })
    });
    let contents = contents.map_err(&sqlite)?;
    Ok(Contents {
        bytes: std::fs::metadata(copy)
            .map_err(BackupError::file(path))?
            .len(),
        secret_check: secret_check.ok_or_else(|| BackupError::NoSecretCheck(path.to_owned()))?,
        ..contents
    })
}

/// That its pages hold together, and that our rows have what they hang on. The application's rows are its own affair:
/// SQLite keeps their references only where the application asks for it.
fn check_whole(connection: &Connection, path: &Path) -> Result<(), BackupError> {
    let sqlite = BackupError::sqlite(path);
    let said: Vec<String> = connection
        .prepare(sql::CHECK_PAGES)
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(&sqlite)?;
    let damaged = |found| BackupError::Damaged {
        path: path.to_owned(),
        found,
    };
    if said != ["ok"] {
        return Err(damaged(said.join("; ")));
    }
    let missing: Option<String> = connection
        .query_row(sql::CHECK_REFERENCES, [], |row| row.get(0))
        .optional()
        .map_err(&sqlite)?;
    missing.map_or(Ok(()), |found| Err(damaged(found)))
}

/// A copy of a backup, checked, in a folder of its own beside the database. The backup itself is only read.
///
/// There, and not in the system's folder for such things: that one may be small, and a restore needs the room here.
#[derive(Debug)]
pub struct Staged {
    database: PathBuf,
    folder: Folder,
    contents: Contents,
}

impl Staged {
    /// Copies a backup beside the database whose place it may take, and checks the copy. Where an older version made it,
    /// another copy is brought up to date, and thrown away.
    ///
    /// # Errors
    /// See [`BackupError`]. Nothing is left behind.
    pub fn of(backup: &Path, database: &Path) -> Result<Self, BackupError> {
        if !backup.is_file() {
            return Err(BackupError::Missing(backup.to_owned()));
        }
        let is_itself = match (backup.canonicalize(), database.canonicalize()) {
            (Ok(backup), Ok(database)) => backup == database,
            _ => false,
        };
        if is_itself {
            return Err(BackupError::Itself(backup.to_owned()));
        }
        if let Some(log) = ["-wal", "-journal"]
            .map(|ending| beside(backup, ending))
            .into_iter()
            .find(|log| !is_empty(log))
        {
            let file = backup.to_owned();
            return Err(BackupError::Log { file, log });
        }
        let folder = Folder(beside(
            database,
            &format!(".restore-{}", uuid::Uuid::now_v7()),
        ));
        private_folder(&folder.0).map_err(BackupError::file(&folder.0))?;
        let copy = folder.copy();
        copy_file(backup, &copy).map_err(BackupError::file(backup))?;
        let contents = check(&copy, backup)?;
        if contents.is_older {
            let trial = folder.0.join("trial.db");
            copy_file(&copy, &trial).map_err(BackupError::file(&trial))?;
            let mut connection = connect(&trial, OpenFlags::SQLITE_OPEN_READ_WRITE)
                .map_err(BackupError::sqlite(backup))?;
            migrate::run(&mut connection, &trial).map_err(version(backup))?;
            check_whole(&connection, backup)?;
        }
        Ok(Self {
            database: database.to_owned(),
            folder,
            contents,
        })
    }

    /// What is in it.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Puts the copy in the database's place. The database that stands there is kept under a name with `stamp`, which is
    /// returned; `None`: there was none.
    ///
    /// A server is kept out by its lock, and every other connection by the exclusive lock that `fold` takes. A power
    /// cut leaves the old database or the new one, and never the new one beside the log of the old one, which SQLite
    /// would write into it:
    ///
    /// 1. The copy is on disk, whole and checked.
    /// 2. The old database's log is written back into it, and is gone. It is now one file, and still in its place.
    /// 3. It gets its second name, by a link: from here on nothing can be lost. Where it is so damaged that SQLite
    ///    cannot write the log back, the log gets a name beside that second name.
    /// 4. The folder is synced: after a power cut, too, there is no log.
    /// 5. The copy gets the database's name by one rename, and the folder is synced again.
    ///
    /// Cut off before 5, the old database is in place, and a second try begins anew.
    ///
    /// # Errors
    /// See [`BackupError`]; the old database is in its place.
    pub fn replace(self, _lock: &Lock, stamp: &str) -> Result<Option<PathBuf>, BackupError> {
        let database = &self.database;
        let failed = BackupError::file(database);
        let held = fold(database)?;
        let kept = second_name(database, stamp).map_err(&failed)?;
        for ending in ["-wal", "-journal"] {
            let log = beside(database, ending);
            if log.exists() {
                let aside = match &kept {
                    Some(kept) => beside(kept, ending),
                    None => beside(database, &format!(".replaced-{stamp}{ending}")),
                };
                std::fs::rename(&log, aside).map_err(&failed)?;
            }
        }
        match std::fs::remove_file(beside(database, "-shm")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        sync_folder_of(database).map_err(&failed)?;
        std::fs::rename(self.folder.copy(), database).map_err(&failed)?;
        sync_folder_of(database).map_err(&failed)?;
        drop(held);
        Ok(kept)
    }
}

/// Links a database to a name that nothing has; `None`: there is no database.
fn second_name(database: &Path, stamp: &str) -> std::io::Result<Option<PathBuf>> {
    for number in 1.. {
        let kept = match number {
            1 => beside(database, &format!(".replaced-{stamp}")),
            _ => beside(database, &format!(".replaced-{stamp}-{number}")),
        };
        match std::fs::hard_link(database, &kept) {
            Ok(()) => return Ok(Some(kept)),
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Keeps servers off a database.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock that a server holds as long as it runs.
    ///
    /// # Errors
    /// [`BackupError::InUse`] where one does.
    pub fn take(database: &Path) -> Result<Self, BackupError> {
        match open::lock(database) {
            Ok(file) => Ok(Self { _file: file }),
            Err(OpenError::InUse(path)) => Err(BackupError::InUse(path)),
            Err(OpenError::File { path, source }) => Err(BackupError::File { path, source }),
            Err(error) => Err(BackupError::Version(error)),
        }
    }
}

/// Writes the log back into the database, removes it, and keeps every other connection out for as long as this one is
/// held. Who waits for it meanwhile has the old file open afterwards: to that one SQLite writes no more, for it was moved.
/// `None`: there is no database, or one so damaged that SQLite cannot.
fn fold(database: &Path) -> Result<Option<Connection>, BackupError> {
    // Beside a database without pages, SQLite takes the log for a leftover and removes it.
    if is_empty(database) {
        return Ok(None);
    }
    let folded = (|| {
        let connection = connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Both need to be alone.
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        // Somebody may have come in between the two, and begun another log.
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        Ok((mode == "delete").then_some(connection))
    })();
    match folded.map_err(BackupError::sqlite(database)) {
        Ok(Some(connection)) => Ok(Some(connection)),
        Ok(None) => Err(BackupError::Open(database.to_owned())),
        Err(BackupError::Foreign(_) | BackupError::Damaged { .. }) => Ok(None),
        Err(BackupError::Sqlite { source, .. })
            if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) =>
        {
            Err(BackupError::Open(database.to_owned()))
        }
        Err(error) => Err(error),
    }
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(connection)
}

/// What migrations say of a file, by the file's own name.
fn version(path: &Path) -> impl Fn(OpenError) -> BackupError {
    |error| match error {
        OpenError::Sqlite { source, .. } => BackupError::sqlite(path)(source),
        OpenError::File { source, .. } => BackupError::file(path)(source),
        other => BackupError::Version(other),
    }
}

/// Gives a file that is on disk its name, where nothing has it, and waits for the disk.
fn give_name(part: &Path, name: &Path) -> Result<(), BackupError> {
    let failed = BackupError::file(name);
    File::open(part)
        .and_then(|file| file.sync_all())
        .map_err(&failed)?;
    match std::fs::hard_link(part, name) {
        Ok(()) => {}
        // Not every disk knows links, such as one that is carried from machine to machine.
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !name.exists() => {
            std::fs::rename(part, name).map_err(&failed)?;
        }
        Err(_) => return Err(BackupError::Exists(name.to_owned())),
    }
    sync_folder_of(name).map_err(failed)
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    create_private(to)?;
    let mut copy = OpenOptions::new().write(true).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut copy)?;
    copy.sync_all()
}

/// A name in a folder is on disk when the folder is.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Elsewhere the system does it.
#[cfg(not(unix))]
fn sync_folder_of(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |found| found.len() == 0)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A file that goes with its name here, unless it has another one by then.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A folder of ours, with all that is left in it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn copy(&self) -> PathBuf {
        self.0.join("copy.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
