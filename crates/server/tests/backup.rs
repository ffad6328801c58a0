//! Backups as an operator makes, tries and restores them. ATTACKS N09

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{Home, Ran, client, configuration, provider, sign_in, who};
use vestibule_devidp::DevIdp;

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const FIRST: &str = "q9Zk3Wv7Lr2Xb5Nt8Mc1Hd4Js6Pf0G1y";
const SECOND: &str = "q9Zk3Wv7Lr2Xb5Nt8Mc1Hd4Js6Pf0G2y";

fn json(ran: &Ran) -> serde_json::Value {
    assert!(ran.ok, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn refused(ran: &Ran, words: &[&str]) {
    assert!(!ran.ok, "{}", ran.out);
    assert!(ran.err.starts_with("error: "), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
}

fn configure(home: &Home, idp: &DevIdp, extra: &str) {
    let text = format!("{extra}\n{}", configuration(idp.issuer()));
    std::fs::write(home.path().join("vestibule.toml"), text).unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A server on which Alice signed in, its backup, and her session. The server is gone.
async fn backed_up(idp: &DevIdp) -> (Home, PathBuf, String) {
    let home = Home::at(idp);
    let server = home.serve();
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();
    assert!(home.run(&["backup", "alice.db"]).ok);
    server.kill();
    let backup = home.path().join("alice.db");
    (home, backup, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_server_with_logins_going_on_brings_back_everybody_who_had_signed_in() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let address = server.address();
    let before = sign_in(&client(), address, ALICE).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let logins = tokio::spawn({
        let done = done.clone();
        async move {
            let mut seen = Vec::new();
            while !done.load(Ordering::SeqCst) || seen.is_empty() {
                // None fails because of the backup.
                seen.push(sign_in(&client(), address, BOB).await.unwrap());
            }
            seen
        }
    });
    let mut made = Vec::new();
    for _ in 0..5 {
        let name = format!("{}.db", made.len());
        let ran = home.run(&["backup", &name, "--json"]);
        assert!(
            ran.err.contains("the secret is not in it")
                && ran.err.contains("./vestibule.secret")
                && ran
                    .err
                    .contains(&format!("vestibule restore {name} --check")),
            "{}",
            ran.err
        );
        made.push(json(&ran));
    }
    done.store(true, Ordering::SeqCst);
    let during = logins.await.unwrap();
    let after = sign_in(&client(), address, BOB).await.unwrap();
    server.kill();

    for answer in &made {
        assert_eq!(answer["secret_fits"], true);
        assert_eq!(answer["secret_in"], "./vestibule.secret");
        assert_eq!(answer["users"], answer["identities"]);
    }
    // The last one is whole on its own, and another machine needs nothing but it, the configuration and the secret.
    let there = Home::at(&idp);
    for name in ["4.db", "vestibule.secret"] {
        std::fs::copy(home.path().join(name), there.path().join(name)).unwrap();
    }
    let restored = there.run(&["restore", "4.db"]);
    assert!(restored.ok, "{}", restored.err);
    assert!(!restored.err.contains("kept as"), "{}", restored.err);
    let server = there.serve();
    assert_eq!(who(&client(), server.address(), &before).await, ALICE);
    let mut known = 0;
    for session in &during {
        known += i64::from(!who(&client(), server.address(), session).await.is_empty());
    }
    assert_eq!(made[4]["sessions"], 1 + known, "of {}", during.len());
    assert_eq!(who(&client(), server.address(), &after).await, "");
    sign_in(&client(), server.address(), BOB).await.unwrap();
    let listed = there.run(&["user", "list"]).out;
    assert_eq!(listed.matches(ALICE).count(), 1, "{listed}");
    assert_eq!(listed.matches(BOB).count(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_a_name_goes_below_data_dir_by_the_time_and_one_with_a_taken_name_nowhere()
{
    let idp = provider().await;
    let home = Home::at(&idp);
    refused(&home.run(&["backup"]), &["./vestibule.db", "database_url"]);
    let (home, backup, _) = backed_up(&idp).await;

    let ran = home.run(&["backup"]);
    assert!(
        ran.ok && ran.out.contains("  1 user, 1 identity, 1 session\n"),
        "{}{}",
        ran.out,
        ran.err
    );
    let names = files(&home.path().join("backups"));
    assert_eq!(names.len(), 1);
    assert!(
        names[0].starts_with("vestibule-20") && names[0].ends_with("Z.db"),
        "{names:?}"
    );
    assert!(ran.out.contains(&names[0]), "{}", ran.out);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = home.path().join("backups");
        for (path, mode) in [(folder.join(&names[0]), 0o600), (folder, 0o700)] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        }
    }

    let before = std::fs::read(&backup).unwrap();
    refused(&home.run(&["backup", "alice.db"]), &["alice.db", "already"]);
    assert_eq!(std::fs::read(&backup).unwrap(), before);
    refused(
        &home.run(&["backup", "nowhere/a.db"]),
        &["nowhere/a.db", "folder exists"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_says_whether_the_backup_is_whole_and_the_secret_fits_and_changes_nothing() {
    let idp = provider().await;
    let home = Home::at(&idp);
    configure(&home, &idp, &format!("secret = \"{FIRST}\""));
    let server = home.serve();
    sign_in(&client(), server.address(), ALICE).await.unwrap();
    let made = home.run(&["backup", "b.db"]);
    assert!(
        made.ok && made.err.contains("the key secret (./vestibule.toml)"),
        "{}",
        made.err
    );
    let before = std::fs::read(home.path().join("b.db")).unwrap();
    let there = files(home.path());

    // Beside the running server.
    let good = home.run(&["restore", "b.db", "--check"]);
    assert!(good.ok, "{}", good.err);
    assert!(good.out.contains("1 user, 1 identity"), "{}", good.out);
    assert!(
        good.err.contains("the newest sign-in in it: 20"),
        "{}",
        good.err
    );
    let answer = json(&home.run(&["restore", "b.db", "--check", "--json"]));
    assert_eq!(
        (
            &answer["secret_fits"],
            &answer["users"],
            &answer["is_older"]
        ),
        (&true.into(), &1.into(), &false.into())
    );
    assert!(answer["newest_sign_in"].as_str().unwrap().starts_with("20"));

    configure(&home, &idp, &format!("secret = \"{SECOND}\""));
    for arguments in [
        &["restore", "b.db", "--check"] as &[&str],
        &["restore", "b.db", "--check", "--json"],
    ] {
        let wrong = home.run(arguments);
        refused(
            &wrong,
            &["b.db", "another secret", "`secret`", "`previous_secret`"],
        );
        assert_eq!(wrong.out, "");
        assert!(!wrong.err.contains(FIRST) && !wrong.err.contains(SECOND));
    }
    configure(
        &home,
        &idp,
        &format!("secret = \"{SECOND}\"\nprevious_secret = \"{FIRST}\""),
    );
    let previous = home.run(&["restore", "b.db", "--check"]);
    assert!(
        previous.ok && previous.err.contains("it needs previous_secret"),
        "{}",
        previous.err
    );
    // No secret at all, as on a machine to which only the backup was carried.
    configure(&home, &idp, "");
    refused(
        &home.run(&["restore", "b.db", "--check"]),
        &["./vestibule.secret is missing"],
    );

    assert_eq!(std::fs::read(home.path().join("b.db")).unwrap(), before);
    assert_eq!(files(home.path()), there);
    let alive = sign_in(&client(), server.address(), ALICE).await;
    assert!(alive.is_ok(), "{alive:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_the_server_to_stop_and_keeps_what_was_there() {
    let idp = provider().await;
    let (home, _, session) = backed_up(&idp).await;
    let server = home.serve();
    let later = sign_in(&client(), server.address(), BOB).await.unwrap();
    refused(
        &home.run(&["restore", "alice.db"]),
        &["in use by a running server", "Stop it"],
    );
    assert_eq!(who(&client(), server.address(), &later).await, BOB);
    // Killed, so that Bob stands in the log alone: it must neither be lost nor come into the restored database.
    server.kill();
    assert!(files(home.path()).contains(&"vestibule.db-wal".to_owned()));

    let answer = json(&home.run(&["restore", "alice.db", "--json"]));
    let kept = PathBuf::from(answer["kept"].as_str().unwrap());
    assert_eq!(answer["database"], "./vestibule.db");
    let names = files(home.path());
    assert!(
        !names
            .iter()
            .any(|name| name.contains("-wal") || name.contains("-shm")),
        "{names:?}"
    );

    let server = home.serve();
    assert_eq!(who(&client(), server.address(), &session).await, ALICE);
    assert_eq!(who(&client(), server.address(), &later).await, "");
    assert!(!home.run(&["user", "list"]).out.contains(BOB));
    server.kill();

    // What was kept can be restored as well.
    assert!(home.path().join(&kept).exists());
    let back = home.run(&["restore", kept.to_str().unwrap()]);
    assert!(back.ok && back.err.contains("kept as"), "{}", back.err);
    let server = home.serve();
    assert_eq!(who(&client(), server.address(), &later).await, BOB);
}

/// Killed at any moment, a restore leaves the old database or the new one, each whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_the_old_database_or_the_new_one() {
    let idp = provider().await;
    let (home, _, _) = backed_up(&idp).await;
    let server = home.serve();
    sign_in(&client(), server.address(), BOB).await.unwrap();
    // Bob stands in the log alone.
    server.kill();
    let saved = tempfile::tempdir().unwrap();
    let database = ["vestibule.db", "vestibule.db-wal"];
    for name in database {
        std::fs::copy(home.path().join(name), saved.path().join(name)).unwrap();
    }
    let began = std::time::Instant::now();
    assert!(home.run(&["restore", "alice.db"]).ok);
    let whole = began.elapsed();

    let (mut old, mut new) = (0, 0);
    for round in 0..60 {
        for name in files(home.path()) {
            if name.starts_with("vestibule.db") {
                let path = home.path().join(name);
                let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            }
        }
        for name in database {
            std::fs::copy(saved.path().join(name), home.path().join(name)).unwrap();
        }
        let mut restoring = home
            .command(&["restore", "alice.db"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * round / 50);
        restoring.kill().unwrap();
        restoring.wait().unwrap();

        let listed = home.run(&["user", "list"]);
        assert!(listed.out.contains(ALICE), "{}", listed.err);
        if listed.out.contains(BOB) {
            old += 1;
        } else {
            new += 1;
            // And the old one is kept, with its log in it.
            let kept = files(home.path())
                .into_iter()
                .find(|name| name.contains("replaced"))
                .unwrap();
            let kept = rusqlite::Connection::open(home.path().join(kept)).unwrap();
            let users: i64 = kept
                .query_row("SELECT count(*) FROM vestibule_users", [], |row| row.get(0))
                .unwrap();
            assert_eq!(users, 2);
        }
        let verdict: String = rusqlite::Connection::open(home.database())
            .unwrap()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(verdict, "ok");
    }
    println!("60 kills: {old} times the old database, {new} times the new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_backup_is_neither_checked_as_good_nor_restored() {
    let idp = provider().await;
    let (home, backup, session) = backed_up(&idp).await;
    let good = std::fs::read(&backup).unwrap();
    let mut damaged = good.clone();
    let last = damaged.len() - 4_096;
    damaged[last..].fill(0xAA);
    std::fs::write(home.path().join("damaged.db"), damaged).unwrap();
    std::fs::write(home.path().join("half.db"), &good[..good.len() / 2]).unwrap();
    std::fs::write(home.path().join("notes.txt"), "what somebody wrote down").unwrap();
    std::fs::write(home.path().join("newer.db"), &good).unwrap();
    rusqlite::Connection::open(home.path().join("newer.db"))
        .unwrap()
        .execute_batch("INSERT INTO vestibule_migrations VALUES (9999, x'00')")
        .unwrap();
    let there = files(home.path());
    for (name, words) in [
        ("damaged.db", &["damaged", "another backup"] as &[&str]),
        ("half.db", &["damaged", "another backup"]),
        ("notes.txt", &["not a database", "vestibule backup"]),
        ("newer.db", &["newer version", "9999", "Use that version"]),
        ("nothing.db", &["there is no file nothing.db"]),
        ("vestibule.db", &["is the configured database itself"]),
    ] {
        for arguments in [&["restore", name, "--check"] as &[&str], &["restore", name]] {
            refused(&home.run(arguments), &[&[name], words].concat());
        }
    }
    for arguments in [&["restore"] as &[&str], &["restore", "--check"]] {
        refused(&home.run(arguments), &["restore FILE", "./backups"]);
    }
    assert_eq!(files(home.path()), there);
    let server = home.serve();
    assert_eq!(who(&client(), server.address(), &session).await, ALICE);
}

#[test]
fn with_postgresql_the_command_of_its_own_tool_is_named_without_the_password() {
    let home = Home::with(&format!(
        "database_url = \"postgres://app:hunter2@127.0.0.1:9/people?prepare=false&sslmode=disable\"\nsecret = \"{FIRST}\"\n{}",
        configuration("http://127.0.0.1:9")
    ));
    let url = "--dbname='postgres://app@127.0.0.1:9/people?sslmode=disable'";
    let backup = home.run(&["backup"]);
    refused(
        &backup,
        &[
            &format!("  pg_dump --format=custom --schema=vestibule --file=vestibule.dump {url}\n"),
            "PGPASSWORD",
            "keep a copy of the key secret (./vestibule.toml)",
        ],
    );
    let restore = home.run(&["restore", "it's.dump"]);
    refused(
        &restore,
        &[
            &format!("  pg_restore --exit-on-error --single-transaction {url} 'it'\\''s.dump'\n"),
            "vestibule restore --check",
        ],
    );
    let checked = home.run(&["restore", "--check"]);
    refused(&checked, &["cannot use the PostgreSQL of database_url"]);
    for ran in [backup, restore, checked] {
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        assert!(!ran.err.contains(FIRST), "{}", ran.err);
    }
}

#[test]
fn the_help_says_what_is_in_a_backup_and_what_a_restore_asks_for() {
    let home = Home::empty();
    let all = home.run(&["--help"]).out;
    assert!(
        all.contains("  backup ") && all.contains("  restore "),
        "{all}"
    );
    let backup = home.run(&["backup", "--help"]).out;
    assert!(backup.contains("The secret is not in it"), "{backup}");
    assert!(backup.contains("below data_dir"), "{backup}");
    let restore = home.run(&["restore", "--help"]).out;
    assert!(
        restore.contains("--check") && restore.contains("must be stopped"),
        "{restore}"
    );
}
