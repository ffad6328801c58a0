//! A disk without room, as the running binary meets it. ATTACKS J08
//!
//! The limit on the size of files (RLIMIT_FSIZE) is set on the process from outside, and taken away again: with it, each
//! write of the process to a file fails, as on a full disk.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;

use std::process::Command;

use reqwest::StatusCode;
use support::{Home, Server, arrive, client, location, provider, sign_in, who};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// Sets how large files may get that the process writes, in bytes.
fn limit(server: &Server, size: &str) {
    let set = Command::new("prlimit")
        .args(["--pid", &server.id().to_string()])
        .arg(format!("--fsize={size}:unlimited"))
        .status()
        .unwrap();
    assert!(set.success());
}

async fn status(server: &Server, path: &str) -> StatusCode {
    let answer = client().get(server.url(path)).send().await.unwrap();
    answer.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_a_login_is_unavailable_who_is_signed_in_goes_on_and_room_heals_it() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let address = server.address();
    let mut alice = Vec::new();
    for _ in 0..5 {
        alice.push(sign_in(&client(), address, ALICE).await.unwrap());
    }

    for _ in 0..2 {
        limit(&server, "1");
        for person in [ALICE, BOB, ALICE, BOB] {
            let answer = arrive(&client(), address, "/auth/google/login", person)
                .await
                .unwrap();
            let told = location(&answer);
            assert!(told.contains("/error?code=service_unavailable"), "{told}");
            assert!(support::session_of(&answer).is_none());
            let path = &told[told.find("/error").unwrap()..];
            assert_eq!(status(&server, path).await, StatusCode::SERVICE_UNAVAILABLE);
        }
        // What needs no write goes on, for everybody who is signed in.
        for session in &alice {
            assert_eq!(who(&client(), address, session).await, ALICE);
        }
        assert_eq!(status(&server, "/login").await, StatusCode::OK);
        assert_eq!(status(&server, "/healthz").await, StatusCode::OK);
        // A sign-out that is not written is not acknowledged.
        let out = client()
            .post(server.url("/auth/logout"))
            .header("cookie", &alice[0])
            .header("sec-fetch-site", "same-origin")
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        assert_eq!(out.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(who(&client(), address, &alice[0]).await, ALICE);

        limit(&server, "unlimited");
        assert_eq!(status(&server, "/readyz").await, StatusCode::OK);
        alice.push(sign_in(&client(), address, ALICE).await.unwrap());
    }
    assert!(!home.run(&["user", "list"]).out.contains(BOB));
    let bob = sign_in(&client(), address, BOB).await.unwrap();

    // Nothing that was acknowledged is lost, and nothing else is there.
    server.kill();
    let server = home.serve();
    for session in &alice {
        assert_eq!(who(&client(), server.address(), session).await, ALICE);
    }
    assert_eq!(who(&client(), server.address(), &bob).await, BOB);
    server.kill();
    let database = rusqlite::Connection::open(home.database()).unwrap();
    let verdict: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
    let counted: (i64, i64) = database
        .query_row(
            "SELECT (SELECT count(*) FROM vestibule_users), (SELECT count(*) FROM vestibule_sessions)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(counted, (2, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_or_restore_for_which_there_is_no_room_says_so_and_leaves_nothing() {
    let idp = provider().await;
    let home = Home::at(&idp);
    let server = home.serve();
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();
    assert!(home.run(&["backup", "good.db"]).ok);
    server.kill();
    let files = || {
        let mut names: Vec<_> = std::fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    // Another process would put the log away.
    home.run(&["user", "list"]);
    let before = files();
    for arguments in [
        &["backup", "bad.db"] as &[&str],
        &["restore", "good.db"],
        &["restore", "good.db", "--check"],
    ] {
        let full = Command::new("prlimit")
            .args(["--fsize=8192", "--", env!("CARGO_BIN_EXE_vestibule")])
            .args(arguments)
            .current_dir(home.path())
            .output()
            .unwrap();
        let told = String::from_utf8(full.stderr).unwrap();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(
            told.starts_with("error: ") && told.contains("the disk has room"),
            "{told}"
        );
        assert_eq!(files(), before, "{arguments:?}");
    }
    let server = home.serve();
    assert_eq!(who(&client(), server.address(), &session).await, ALICE);
}

/// Opened for reading alone, a database would take no login until the next start, whatever becomes of the file.
#[test]
fn a_database_that_may_be_read_but_not_written_is_refused_at_the_start() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let home = Home::with(&support::configuration("http://127.0.0.1:9"));
    home.serve().kill();
    let set = |mode| {
        std::fs::set_permissions(home.database(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // To root no file is read-only: somebody else runs a copy of the program.
    let who = Command::new("id").arg("-u").output().unwrap();
    let is_root = who.stdout == b"0\n";
    let program = home.path().join("program");
    if is_root {
        std::fs::copy(env!("CARGO_BIN_EXE_vestibule"), &program).unwrap();
        chown(home.path(), Some(65_534), Some(65_534)).unwrap();
        for entry in std::fs::read_dir(home.path()).unwrap() {
            chown(entry.unwrap().path(), Some(65_534), Some(65_534)).unwrap();
        }
    }
    let command = || {
        if !is_root {
            return home.command(&["serve"]);
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg("serve")
            .current_dir(home.path());
        command
    };

    set(0o444);
    // It ends by itself; where it would serve, it is ended here.
    let refused = Command::new("timeout")
        .arg("20")
        .arg(command().get_program())
        .args(command().get_args())
        .current_dir(home.path())
        .output()
        .unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error: cannot use the database ./vestibule.db: ")
            && told.contains("may write there"),
        "{told}"
    );

    set(0o600);
    Server::start(command(), "\"server.listening\"");
}
