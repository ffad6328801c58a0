//! Backups: one moment of the database, all or nothing, and never over something else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use vestibule_accounts::{Act, SessionHash, SessionId, SignIn, StateHash, Store, UserId};

use super::files::is_private;
use super::{File, NOW, count, names, put, sign_in};
use crate::OpenMode;
use crate::sqlite::backup::{BackupError, Contents, Lock, Staged, back_up};
use crate::sqlite::migrate::{MIGRATIONS, apply};
use crate::sqlite::{OpenError, SqliteStore};

const CHECK: [u8; 32] = [7; 32];

/// A file that a server has used: so many people signed in.
async fn used(people: u8) -> File {
    let file = File::new();
    let store = file.serve();
    store.check_secret(CHECK, None).await.unwrap();
    for number in 0..people {
        store.apply(sign_in(number)).await.unwrap();
    }
    store.close().await;
    drop(store);
    write_back(&file.path);
    file
}

/// Waits until the threads of a closed store have gone, and leaves the file without a log.
fn write_back(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let set = |mode| connection.pragma_update(None, "journal_mode", mode);
    while set("DELETE").is_err() {
        std::thread::yield_now();
    }
    set("WAL").unwrap();
}

fn back_up_to(file: &File, name: &str) -> (PathBuf, Result<Contents, BackupError>) {
    let to = file.folder.path().join(name);
    let made = back_up(&file.path, &to, |_, _| {});
    (to, made)
}

/// A backup of a file that a server has used, alone in a folder.
async fn backup_of(people: u8) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.db");
    back_up(&used(people).await.path, &backup, |_, _| {}).unwrap();
    (folder, backup)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn numbered(number: i64) -> SignIn {
    let mut ten = [0; 10];
    ten[..8].copy_from_slice(&number.to_be_bytes());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let mut sign_in = sign_in(0);
    if let Act::Create { user, .. } = &mut sign_in.act {
        user.id = UserId::new(NOW, ten);
    }
    sign_in.identity.subject = number.to_string();
    sign_in.session.id = SessionId::new(NOW, ten);
    sign_in.session.hash = SessionHash::from_bytes(bytes);
    sign_in.claim = StateHash::from_bytes(bytes);
    sign_in
}

// ATTACKS N09
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_a_stream_of_sign_ins_is_one_moment_and_holds_all_that_were_acknowledged_before()
 {
    let file = used(0).await;
    let store = std::sync::Arc::new(file.serve());
    let acknowledged = std::sync::Arc::new(AtomicI64::new(0));
    let stream = tokio::spawn({
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        async move {
            for number in 0.. {
                store.apply(numbered(number)).await.unwrap();
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        }
    });
    for round in 0..10 {
        while acknowledged.load(Ordering::SeqCst) < 10 * round {
            tokio::task::yield_now().await;
        }
        let before = acknowledged.load(Ordering::SeqCst);
        let (database, to) = (
            file.path.clone(),
            file.folder.path().join(format!("{round}")),
        );
        let backup = to.clone();
        let made = tokio::task::spawn_blocking(move || back_up(&database, &backup, |_, _| {}));
        let contents = made.await.unwrap().unwrap();

        // A sign-in is a user, an identity, a session and a claim, or nothing.
        assert!(contents.users >= before, "{contents:?}, {before}");
        assert_eq!(contents.users, contents.identities);
        assert_eq!(contents.users, contents.sessions);
        assert_eq!(contents.newest_sign_in.is_some(), contents.users > 0);
        let copy = Connection::open(&to).unwrap();
        assert_eq!(count(&copy, "vestibule_claims"), contents.users);
        let last: i64 = copy
            .query_row(
                "SELECT coalesce(max(CAST(subject AS INTEGER)), -1) FROM vestibule_identities",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(last + 1, contents.users, "a hole");
        assert_eq!(contents.secret_check, CHECK);
    }
    assert!(!stream.is_finished(), "a sign-in failed");
    stream.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_during_the_copy_is_not_in_it_and_does_not_make_it_begin_again() {
    let file = used(1).await;
    let outsider = file.outsider();
    put(&outsider, "before").unwrap();
    // 40 MB: several steps.
    outsider
        .execute_batch("CREATE TABLE ballast AS SELECT zeroblob(40000000) AS bytes")
        .unwrap();
    let (to, mut told) = (file.folder.path().join("backup.db"), Vec::new());

    back_up(&file.path, &to, |done, total| {
        assert!(!to.exists(), "half a backup has its name");
        put(&outsider, &format!("during {done}")).unwrap();
        told.push((done, total));
    })
    .unwrap();

    assert!(told.len() >= 3, "{told:?}");
    assert!(told.is_sorted() && told.iter().all(|(_, total)| *total == told[0].1));
    let copy = Connection::open(&to).unwrap();
    assert_eq!(names(&copy), ["before", "secret_check"]);
    assert_eq!(names(&outsider).len(), 2 + told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_private_file_and_leaves_nothing_else() {
    let file = used(3).await;
    let (to, made) = back_up_to(&file, "backup.db");
    let contents = made.unwrap();
    assert_eq!(
        (contents.users, contents.identities, contents.sessions),
        (3, 3, 3)
    );
    assert_eq!(contents.newest_sign_in, Some(NOW));
    assert!(!contents.is_older);
    assert_eq!(contents.bytes, to.metadata().unwrap().len());
    is_private(&to);
    assert_eq!(file.files(), ["app.db", "app.db.lock", "backup.db"]);

    // Nor does it need another file to be read.
    let copy = Connection::open(&to).unwrap();
    let mode: String = copy
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_overwrites_nothing() {
    let file = used(1).await;
    std::fs::write(file.folder.path().join("taken"), "something").unwrap();
    let (to, refused) = back_up_to(&file, "taken");
    assert!(
        matches!(&refused, Err(BackupError::Exists(path)) if *path == to),
        "{refused:?}"
    );

    // Also where it gets there meanwhile.
    let to = file.folder.path().join("meanwhile");
    let refused = back_up(&file.path, &to, |_, _| {
        std::fs::write(&to, "something").unwrap();
    });
    assert!(
        matches!(refused, Err(BackupError::Exists(_))),
        "{refused:?}"
    );

    for name in ["taken", "meanwhile"] {
        let kept = std::fs::read_to_string(file.folder.path().join(name)).unwrap();
        assert_eq!(kept, "something");
    }
    assert_eq!(
        file.files(),
        ["app.db", "app.db.lock", "meanwhile", "taken"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_breaks_off_leaves_nothing_under_its_name() {
    let file = used(1).await;
    let to = file.folder.path().join("backup.db");
    let broken = catch_unwind(AssertUnwindSafe(|| {
        back_up(&file.path, &to, |_, _| {
            std::panic::resume_unwind(Box::new("made to happen"))
        })
    }));
    assert!(broken.is_err());
    assert_eq!(file.files(), ["app.db", "app.db.lock"]);

    // Nor where the source turns out to be damaged.
    file.outsider()
        .execute_batch(
            "PRAGMA foreign_keys = OFF; UPDATE vestibule_sessions SET user = zeroblob(16)",
        )
        .unwrap();
    let (to, refused) = back_up_to(&file, "backup.db");
    assert!(
        matches!(&refused, Err(BackupError::Damaged { found, .. }) if found.contains("vestibule_sessions")),
        "{refused:?}"
    );
    assert!(!to.exists());
    assert_eq!(file.files(), ["app.db", "app.db.lock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_application_are_copied_as_they_are_and_are_its_own_affair() {
    let file = used(1).await;
    file.outsider()
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE notes (text TEXT, user BLOB REFERENCES vestibule_users (id));
             INSERT INTO notes (rowid, text, user) VALUES (7, 'seven', x'00'), (9, 'nine', NULL)",
        )
        .unwrap();
    let (to, made) = back_up_to(&file, "backup.db");
    made.unwrap();
    let rows: Vec<i64> = Connection::open(&to)
        .unwrap()
        .prepare("SELECT rowid FROM notes ORDER BY rowid")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [7, 9]);
}

/// Tries to stage a backup that was changed so; that it was only read, and that nothing is left.
async fn refused(change: impl FnOnce(&Path)) -> BackupError {
    let (_folder, backup) = backup_of(2).await;
    change(&backup);
    let before = std::fs::read(&backup).unwrap();
    let there = tempfile::tempdir().unwrap();
    let staged = Staged::of(&backup, &there.path().join("app.db"));
    assert_eq!(std::fs::read(&backup).unwrap(), before);
    assert_eq!(files(there.path()), Vec::<String>::new());
    staged.unwrap_err()
}

fn change(backup: &Path, sql: &str) {
    Connection::open(backup)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_foreign_newer_or_changed_is_refused() {
    // A page of an index.
    let damaged = refused(|backup| {
        let mut bytes = std::fs::read(backup).unwrap();
        let last = bytes.len() - 4_096;
        bytes[last..].fill(0xAA);
        std::fs::write(backup, bytes).unwrap();
    });
    let damaged = damaged.await;
    assert!(matches!(damaged, BackupError::Damaged { .. }), "{damaged}");

    let cut = refused(|backup| {
        let bytes = std::fs::read(backup).unwrap();
        std::fs::write(backup, &bytes[..bytes.len() / 2]).unwrap();
    });
    let cut = cut.await;
    assert!(matches!(cut, BackupError::Damaged { .. }), "{cut}");

    for text in ["", &"what somebody wrote down ".repeat(1_000)] {
        let foreign = refused(|backup| std::fs::write(backup, text).unwrap()).await;
        assert!(matches!(foreign, BackupError::Foreign(_)), "{foreign}");
    }

    let orphan = refused(|backup| {
        change(
            backup,
            "PRAGMA foreign_keys = OFF; DELETE FROM vestibule_users",
        );
    });
    let orphan = orphan.await;
    assert!(
        orphan
            .to_string()
            .contains("refers to one of vestibule_users"),
        "{orphan}"
    );

    let newer = refused(|backup| {
        change(
            backup,
            "INSERT INTO vestibule_migrations VALUES (9999, x'00')",
        );
    });
    let newer = newer.await;
    assert!(
        matches!(
            newer,
            BackupError::Version(OpenError::Newer { found: 9_999, .. })
        ) && newer.to_string().contains("backup.db"),
        "{newer}"
    );

    let changed =
        refused(|backup| change(backup, "UPDATE vestibule_migrations SET checksum = x'00'"));
    let changed = changed.await;
    assert!(
        matches!(changed, BackupError::Version(OpenError::Checksum { .. })),
        "{changed}"
    );

    let unused = refused(|backup| change(backup, "DELETE FROM vestibule_meta")).await;
    assert!(matches!(unused, BackupError::NoSecretCheck(_)), "{unused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_log_stands_beside_it_is_no_backup() {
    let in_use = used(1).await;
    let outsider = in_use.outsider();
    put(&outsider, "in the log").unwrap();
    let there = tempfile::tempdir().unwrap();
    let staged = Staged::of(&in_use.path, &there.path().join("app.db"));
    assert!(matches!(staged, Err(BackupError::Log { .. })), "{staged:?}");

    let itself = Staged::of(&in_use.path, &in_use.path);
    assert!(matches!(itself, Err(BackupError::Itself(_))), "{itself:?}");
    let missing = Staged::of(&there.path().join("nothing"), &in_use.path);
    assert!(
        matches!(missing, Err(BackupError::Missing(_))),
        "{missing:?}"
    );
    assert_eq!(files(there.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_an_older_version_is_tried_on_a_copy_and_stays_as_it_is() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &MIGRATIONS[..1]).unwrap();
    connection
        .execute_batch("INSERT INTO vestibule_meta VALUES ('secret_check', zeroblob(32))")
        .unwrap();
    drop(connection);
    let (backup, made) = back_up_to(&file, "backup.db");
    assert!(made.unwrap().is_older);
    let before = std::fs::read(&backup).unwrap();

    let there = tempfile::tempdir().unwrap();
    let database = there.path().join("app.db");
    let staged = Staged::of(&backup, &database).unwrap();
    assert!(staged.contents().is_older);
    let lock = Lock::take(&database).unwrap();
    assert_eq!(staged.replace(&lock, "now").unwrap(), None);
    drop(lock);
    assert_eq!(std::fs::read(&backup).unwrap(), before);
    // What takes the place is what was saved; a server brings it up to date, and keeps a copy from before.
    assert_eq!(std::fs::read(&database).unwrap(), before);
    drop(SqliteStore::open(&database, OpenMode::Serve).unwrap());
    write_back(&database);
    assert_eq!(
        files(there.path()),
        ["app.db", "app.db.before-2", "app.db.lock"]
    );

    // One that cannot be brought up to date is no backup.
    change(&backup, "CREATE TABLE vestibule_codes (x)");
    let refused = Staged::of(&backup, &there.path().join("other.db"));
    assert!(
        matches!(refused, Err(BackupError::Sqlite { .. })),
        "{refused:?}"
    );
    assert_eq!(files(there.path()).len(), 3);
}

/// Restores over a file: what it is kept as.
fn restore(backup: &Path, database: &Path) -> Result<Option<PathBuf>, BackupError> {
    let lock = Lock::take(database)?;
    Staged::of(backup, database)?.replace(&lock, "now")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_keeps_what_was_there_with_its_log_and_writes_that_log_nowhere_else() {
    let (_folder, backup) = backup_of(2).await;
    // A database whose server was killed: a part of it stands in the log.
    let killed = used(1).await;
    let writer = killed.outsider();
    put(&writer, "in the log").unwrap();
    let there = tempfile::tempdir().unwrap();
    let database = there.path().join("app.db");
    for name in ["app.db", "app.db-wal"] {
        std::fs::copy(killed.folder.path().join(name), there.path().join(name)).unwrap();
    }
    assert!(there.path().join("app.db-wal").metadata().unwrap().len() > 0);

    let kept = restore(&backup, &database).unwrap().unwrap();

    assert_eq!(
        files(there.path()),
        ["app.db", "app.db.lock", "app.db.replaced-now"]
    );
    is_private(&database);
    let kept = Connection::open(kept).unwrap();
    assert_eq!(names(&kept), ["in the log", "secret_check"]);
    assert_eq!(count(&kept, "vestibule_users"), 1);
    let restored = Connection::open(&database).unwrap();
    assert_eq!(names(&restored), ["secret_check"]);
    assert_eq!(count(&restored, "vestibule_users"), 2);
    drop(restored);

    // A second one in the same moment takes no name that is taken.
    let second = restore(&backup, &database).unwrap().unwrap();
    assert_eq!(
        files(there.path()),
        [
            "app.db",
            "app.db.lock",
            "app.db.replaced-now",
            "app.db.replaced-now-2"
        ]
    );
    assert_eq!(
        count(&Connection::open(second).unwrap(), "vestibule_users"),
        2
    );
    assert_eq!(count(&kept, "vestibule_users"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_database_is_put_aside() {
    let (_folder, backup) = backup_of(2).await;
    let there = tempfile::tempdir().unwrap();
    let database = there.path().join("app.db");
    std::fs::write(there.path().join("app.db-wal"), "left over").unwrap();

    assert_eq!(restore(&backup, &database).unwrap(), None);

    assert_eq!(
        files(there.path()),
        ["app.db", "app.db.lock", "app.db.replaced-now-wal"]
    );
    assert_eq!(
        count(&Connection::open(&database).unwrap(), "vestibule_users"),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_sqlite_cannot_write_back_is_kept_beside_what_it_belongs_to() {
    let (_folder, backup) = backup_of(2).await;
    let killed = used(1).await;
    let writer = killed.outsider();
    put(&writer, "in the log").unwrap();
    for main in [&b""[..], &[0xAA; 8_192]] {
        let there = tempfile::tempdir().unwrap();
        let database = there.path().join("app.db");
        std::fs::write(&database, main).unwrap();
        let log = there.path().join("app.db-wal");
        std::fs::copy(killed.folder.path().join("app.db-wal"), &log).unwrap();
        std::fs::write(there.path().join("app.db-shm"), "left over").unwrap();
        let log = std::fs::read(log).unwrap();

        let kept = restore(&backup, &database).unwrap().unwrap();

        assert_eq!(
            files(there.path()),
            [
                "app.db",
                "app.db.lock",
                "app.db.replaced-now",
                "app.db.replaced-now-wal"
            ]
        );
        assert_eq!(std::fs::read(&kept).unwrap(), main);
        let kept_log = there.path().join("app.db.replaced-now-wal");
        assert_eq!(std::fs::read(kept_log).unwrap(), log);
        let restored = Connection::open(&database).unwrap();
        assert_eq!(names(&restored), ["secret_check"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_over_a_database_that_somebody_has_open_is_refused_and_changes_nothing() {
    let (_folder, backup) = backup_of(2).await;
    let file = used(1).await;
    let server = file.serve();
    let refused = restore(&backup, &file.path);
    assert!(matches!(refused, Err(BackupError::InUse(_))), "{refused:?}");
    server.ready().await.unwrap();
    server.close().await;
    drop(server);
    write_back(&file.path);

    let command = SqliteStore::open(&file.path, OpenMode::CommandLine).unwrap();
    let refused = restore(&backup, &file.path);
    assert!(matches!(refused, Err(BackupError::Open(_))), "{refused:?}");
    command.ready().await.unwrap();
    command.close().await;
    drop(command);
    write_back(&file.path);
    assert_eq!(file.files(), ["app.db", "app.db.lock"]);
    assert_eq!(count(&file.outsider(), "vestibule_users"), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn who_waited_for_a_restore_to_end_does_not_use_the_file_that_was_replaced() {
    let (file, other) = (used(1).await, used(2).await);
    let restoring = file.outsider();
    restoring
        .pragma_update(None, "journal_mode", "DELETE")
        .unwrap();
    restoring.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let opens = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .flatten()
            .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|open| open == file.path))
            .count()
    };
    let before = opens();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| SqliteStore::open(&file.path, OpenMode::CommandLine));
        while opens() == before {
            assert!(!waiting.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        let kept = file.folder.path().join("kept");
        std::fs::hard_link(&file.path, kept).unwrap();
        std::fs::rename(&other.path, &file.path).unwrap();
        restoring.execute_batch("COMMIT").unwrap();
        let refused = waiting.join().unwrap();
        assert!(
            matches!(refused, Err(OpenError::Replaced(_))),
            "{refused:?}"
        );
    });
    drop(restoring);
    let next = SqliteStore::open(&file.path, OpenMode::CommandLine).unwrap();
    next.ready().await.unwrap();
    assert_eq!(count(&file.outsider(), "vestibule_users"), 2);
}
