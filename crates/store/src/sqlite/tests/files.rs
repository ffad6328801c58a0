//! Files: migrations, the lock, modes.

use std::path::Path;
use std::sync::Barrier;

use rusqlite::Connection;
use vestibule_accounts::{ApplyError, SessionHash, SessionKey, Store, StoreError, UserQuery};

use super::{File, NOW, count, names, put, sign_in};
use crate::OpenMode;
use crate::sqlite::migrate::{MIGRATIONS, apply, copy_name};
use crate::sqlite::{OpenError, SqliteStore};

const ONE: (i64, &str) = (
    1,
    "CREATE TABLE people (name TEXT); INSERT INTO people VALUES ('ann')",
);
const TWO: (i64, &str) = (
    2,
    "CREATE TABLE pets (name TEXT); INSERT INTO pets VALUES ('rex')",
);

fn has_table(connection: &Connection, name: &str) -> bool {
    connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)",
            [name],
            |row| row.get(0),
        )
        .unwrap()
}

#[test]
fn a_migration_is_applied_once() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &[ONE]).unwrap();
    apply(&mut connection, &file.path, &[ONE]).unwrap();
    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();
    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();
    assert_eq!(count(&connection, "people"), 1);
    assert_eq!(count(&connection, "pets"), 1);
    assert_eq!(count(&connection, "vestibule_migrations"), 2);
}

#[test]
fn a_migration_that_differs_from_the_applied_one_is_refused() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &[ONE]).unwrap();

    let changed = (1, "CREATE TABLE people (name TEXT)");
    let refused = apply(&mut connection, &file.path, &[changed, TWO]);
    assert!(
        matches!(&refused, Err(OpenError::Checksum { number: 1, path }) if *path == file.path),
        "{refused:?}"
    );
    assert!(!has_table(&connection, "pets"));
    assert!(!copy_name(&file.path, 1).exists());
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();
    let refused = apply(&mut connection, &file.path, &[ONE]);
    assert!(
        matches!(refused, Err(OpenError::Newer { found: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(count(&connection, "pets"), 1);
}

#[test]
fn a_store_is_not_opened_on_a_changed_or_newer_file() {
    let file = File::new();
    drop(file.serve());
    let outsider = file.outsider();
    outsider
        .execute_batch("INSERT INTO vestibule_migrations VALUES (9999, x'00')")
        .unwrap();
    let newer = SqliteStore::open(&file.path, OpenMode::Serve);
    assert!(matches!(newer, Err(OpenError::Newer { found: 9_999, .. })));

    outsider
        .execute_batch(
            "DELETE FROM vestibule_migrations WHERE number = 9999;
             UPDATE vestibule_migrations SET checksum = x'00'",
        )
        .unwrap();
    let changed = SqliteStore::open(&file.path, OpenMode::CommandLine);
    assert!(matches!(
        changed,
        Err(OpenError::Checksum { number: 1, .. })
    ));
}

#[test]
fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &[ONE]).unwrap();

    let broken = (
        2,
        "CREATE TABLE pets (name TEXT); INSERT INTO nowhere VALUES (1)",
    );
    let refused = apply(&mut connection, &file.path, &[ONE, broken]);
    assert!(matches!(refused, Err(OpenError::Sqlite { .. })));
    assert!(!has_table(&connection, "pets"));
    assert_eq!(count(&connection, "vestibule_migrations"), 1);
    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();
    assert_eq!(count(&connection, "pets"), 1);
}

#[test]
fn a_file_with_people_is_copied_before_a_new_migration() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &[ONE]).unwrap();
    // There was nothing to copy.
    assert_eq!(file.files(), ["app.db"]);

    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();

    assert_eq!(file.files(), ["app.db", "app.db.before-2"]);
    let copy = Connection::open(copy_name(&file.path, 1)).unwrap();
    assert_eq!(count(&copy, "people"), 1);
    assert!(!has_table(&copy, "pets"));
    is_private(&copy_name(&file.path, 1));
}

#[test]
fn a_copy_that_is_there_already_is_kept() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &[ONE]).unwrap();
    std::fs::write(copy_name(&file.path, 1), "the first one").unwrap();

    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();

    let kept = std::fs::read_to_string(copy_name(&file.path, 1)).unwrap();
    assert_eq!(kept, "the first one");
    assert_eq!(file.files(), ["app.db", "app.db.before-2"]);
}

#[test]
fn openers_of_an_empty_file_at_once_migrate_it_once() {
    for _ in 0..20 {
        let file = File::new();
        std::fs::write(&file.path, "").unwrap();
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    SqliteStore::open(&file.path, OpenMode::CommandLine).unwrap();
                });
            }
        });
        let applied = count(&file.outsider(), "vestibule_migrations");
        assert_eq!(applied, MIGRATIONS.len() as i64);
        assert!(!copy_name(&file.path, 0).exists());
    }
}

#[test]
fn openers_of_an_old_file_at_once_copy_and_migrate_it_once() {
    for _ in 0..20 {
        let file = File::new();
        let mut connection = file.outsider();
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .unwrap();
        apply(&mut connection, &file.path, &[ONE]).unwrap();
        let start = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut connection = file.outsider();
                    start.wait();
                    apply(&mut connection, &file.path, &[ONE, TWO]).unwrap();
                });
            }
        });
        assert_eq!(count(&connection, "pets"), 1);
        let copies: Vec<_> = file.files();
        assert!(
            copies.iter().all(|name| !name.contains("part")),
            "{copies:?}"
        );
        let copy = Connection::open(copy_name(&file.path, 1)).unwrap();
        assert_eq!(count(&copy, "people"), 1);
        assert!(!has_table(&copy, "pets"));
    }
}

#[test]
fn a_copy_is_given_up_where_another_process_copied_and_migrated_meanwhile() {
    let (file, theirs) = (File::new(), File::new());
    apply(&mut theirs.outsider(), &theirs.path, &[ONE, TWO]).unwrap();
    let mut connection = file.outsider();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .unwrap();
    apply(&mut connection, &file.path, &[ONE]).unwrap();
    let other = file.outsider();
    other
        .execute("ATTACH ?1 AS theirs", [theirs.path.to_string_lossy()])
        .unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    std::thread::scope(|scope| {
        let applied = scope.spawn(|| apply(&mut connection, &file.path, &[ONE, TWO]));
        while !file.files().iter().any(|name| name.contains(".part-")) {
            assert!(!applied.is_finished(), "no copy was begun");
            std::thread::yield_now();
        }
        std::fs::write(copy_name(&file.path, 1), "theirs").unwrap();
        other
            .execute_batch(
                "CREATE TABLE main.pets (name TEXT);
                 INSERT INTO main.vestibule_migrations SELECT * FROM theirs.vestibule_migrations WHERE number = 2;
                 COMMIT",
            )
            .unwrap();
        applied.join().unwrap().unwrap();
    });

    // The migration was not run again, and the copy is the one from before it.
    assert_eq!(count(&file.outsider(), "pets"), 0);
    let kept = std::fs::read_to_string(copy_name(&file.path, 1)).unwrap();
    assert_eq!(kept, "theirs");
    assert!(!file.files().iter().any(|name| name.contains(".part-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_has_a_file_until_it_closes() {
    let file = File::new();
    let server = file.serve();
    let second = SqliteStore::open(&file.path, OpenMode::Serve);
    assert!(
        matches!(&second, Err(OpenError::InUse(path)) if *path == file.path),
        "{second:?}"
    );
    // Being refused took nothing from the first.
    let third = SqliteStore::open(&file.path, OpenMode::Serve);
    assert!(matches!(third, Err(OpenError::InUse(_))), "{third:?}");
    server.ready().await.unwrap();

    server.close().await;
    let next = file.serve();
    next.ready().await.unwrap();
    drop(server);
    let second = SqliteStore::open(&file.path, OpenMode::Serve);
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_works_beside_a_server() {
    let file = File::new();
    let server = file.serve();
    let user = server.apply(sign_in(1)).await.unwrap().user;

    let command = SqliteStore::open(&file.path, OpenMode::CommandLine).unwrap();
    command.set_active(user.id, false, NOW).await.unwrap();
    command.close().await;

    let session = server
        .session(SessionKey::Cookie(SessionHash::from_bytes([1; 32])), NOW)
        .await;
    assert_eq!(session.unwrap(), None);
    assert!(!server.user(user.id).await.unwrap().unwrap().is_active);
    server.apply(sign_in(2)).await.unwrap();
    // The command line takes no lock, and so does not free the server's.
    let second = SqliteStore::open(&file.path, OpenMode::Serve);
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_readable_by_its_owner_alone() {
    let file = File::new();
    let store = file.serve();
    store.apply(sign_in(1)).await.unwrap();

    let files = file.files();
    assert_eq!(files, ["app.db", "app.db-shm", "app.db-wal", "app.db.lock"]);
    for name in files {
        is_private(&file.folder.path().join(name));
    }
}

#[cfg(unix)]
pub(super) fn is_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
}

#[cfg(not(unix))]
pub(super) fn is_private(_: &Path) {}

#[test]
fn a_folder_that_is_not_there_and_a_file_of_another_kind_are_refused() {
    let file = File::new();
    let nowhere = file.folder.path().join("missing").join("app.db");
    let refused = SqliteStore::open(&nowhere, OpenMode::Serve);
    assert!(
        matches!(refused, Err(OpenError::File { .. })),
        "{refused:?}"
    );
    // The command line makes nothing.
    for path in [&nowhere, &file.path] {
        let refused = SqliteStore::open(path, OpenMode::CommandLine);
        assert!(matches!(refused, Err(OpenError::Missing(_))), "{refused:?}");
        assert!(!path.exists());
    }

    std::fs::write(
        &file.path,
        "not a database, whatever its name says".repeat(100),
    )
    .unwrap();
    let before = std::fs::read(&file.path).unwrap();
    let refused = SqliteStore::open(&file.path, OpenMode::Serve);
    assert!(matches!(refused, Err(OpenError::Foreign(_))), "{refused:?}");
    assert_eq!(std::fs::read(&file.path).unwrap(), before);
    // The refused one holds no lock.
    std::fs::remove_file(&file.path).unwrap();
    drop(file.serve());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_does_not_wait_for_a_writer_under_way() {
    let file = File::new();
    let store = file.serve();
    store.apply(sign_in(1)).await.unwrap();
    let outsider = file.outsider();
    outsider.execute_batch("BEGIN IMMEDIATE").unwrap();
    put(&outsider, "under way").unwrap();

    let page = store.users(UserQuery {
        limit: 10,
        ..UserQuery::default()
    });
    assert_eq!(page.await.unwrap().users.len(), 1);
    outsider.execute_batch("COMMIT").unwrap();
    assert_eq!(names(&outsider), ["under way"]);
}

/// Written to after it was removed, a file takes sign-ins that nobody finds after the next start.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_once_the_file_was_removed_or_replaced() {
    let file = File::new();
    let store = file.serve();
    store.ready().await.unwrap();
    std::fs::rename(&file.path, file.path.with_extension("away")).unwrap();
    assert!(matches!(
        store.apply(sign_in(1)).await,
        Err(ApplyError::Store(StoreError::Unavailable(_)))
    ));
    assert!(store.ready().await.is_err());
    std::fs::write(&file.path, "").unwrap();
    assert!(store.ready().await.is_err(), "another file took its place");
    std::fs::rename(file.path.with_extension("away"), &file.path).unwrap();
    store.ready().await.unwrap();
}

// ATTACKS J08
#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_takes_no_sign_in_loses_none_and_takes_them_again_when_there_is_room() {
    let file = File::new();
    let store = file.serve();
    let room = |pages: String| {
        store.writer.submit::<_, StoreError, _>(move |connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(())
        })
    };
    let session = |number| {
        store.session(
            SessionKey::Cookie(SessionHash::from_bytes([number; 32])),
            NOW,
        )
    };
    let pages: i64 = file
        .outsider()
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap();
    room((pages + 2).to_string()).await.unwrap();

    let mut number = 0;
    let refused = loop {
        match store.apply(sign_in(number)).await {
            Ok(_) => number += 1,
            Err(refused) => break refused,
        }
    };
    assert!(number > 0, "it was full from the beginning");
    for again in number..number + 10 {
        let refused = store.apply(sign_in(again)).await;
        assert!(
            matches!(&refused, Err(ApplyError::Store(StoreError::Unavailable(why))) if why.contains("full")),
            "{refused:?}"
        );
    }
    assert!(matches!(
        refused,
        ApplyError::Store(StoreError::Unavailable(_))
    ));
    for one in 0..number {
        assert!(session(one).await.unwrap().is_some(), "{one}");
    }
    assert_eq!(session(number).await.unwrap(), None);

    room("1000000".to_owned()).await.unwrap();
    store.apply(sign_in(number)).await.unwrap();
    assert_eq!(
        ["users", "identities", "sessions", "claims"]
            .map(|table| count(&file.outsider(), &format!("vestibule_{table}"))),
        [i64::from(number) + 1; 4]
    );
}
