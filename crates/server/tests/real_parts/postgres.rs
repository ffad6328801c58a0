//! A restore drill on PostgreSQL, with the commands that ours print.

use std::path::Path;
use std::process::{Command, Output};

use crate::server::Server;
use crate::support::{Home, client, configuration, provider, sign_in, who};

const ALICE: &str = "alice@example.com";
const SECRET: &str = "q9Zk3Wv7Lr2Xb5Nt8Mc1Hd4Js6Pf0G1y";
const OTHER: &str = "q9Zk3Wv7Lr2Xb5Nt8Mc1Hd4Js6Pf0G2y";

/// Runs the command that stands on a line of its own in what was told.
fn run_told(home: &Home, programs: &Path, told: &str) -> Output {
    let command = told.lines().find(|line| line.starts_with("  pg_")).unwrap();
    Command::new("sh")
        .args(["-c", command.trim()])
        .current_dir(home.path())
        .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
        .output()
        .unwrap()
}

pub(crate) async fn drill(programs: std::path::PathBuf) {
    let database = Server::start(&programs);
    let idp = provider().await;
    let home = Home::empty();
    let configure = |secret: &str| {
        let text = format!(
            "database_url = \"{}&prepare=false\"\nsecret = \"{secret}\"\n{}",
            database.url("drill"),
            configuration(idp.issuer())
        );
        std::fs::write(home.path().join("vestibule.toml"), text).unwrap();
    };
    configure(SECRET);
    let server = home.serve();
    let session = sign_in(&client(), server.address(), ALICE).await.unwrap();

    let told = home.run(&["backup"]);
    assert!(!told.ok, "{}", told.out);
    let dumped = run_told(&home, &programs, &told.err);
    assert!(dumped.status.success(), "{dumped:?}");
    assert!(home.path().join("vestibule.dump").exists());
    server.kill();

    let drop_schema = || {
        let dropped = Command::new(programs.join("psql"))
            .args(["--dbname", &database.url("drill")])
            .args(["--command", "DROP SCHEMA vestibule CASCADE"])
            .output()
            .unwrap();
        assert!(dropped.status.success(), "{dropped:?}");
    };
    drop_schema();
    let nothing = home.run(&["restore", "--check"]);
    assert!(
        !nothing.ok && nothing.err.contains("vestibule"),
        "{}",
        nothing.err
    );

    let told = home.run(&["restore", "vestibule.dump"]);
    assert!(!told.ok, "{}", told.out);
    let restored = run_told(&home, &programs, &told.err);
    assert!(restored.status.success(), "{restored:?}");

    configure(OTHER);
    let wrong = home.run(&["restore", "--check"]);
    assert!(
        !wrong.ok && wrong.err.contains("another secret"),
        "{}",
        wrong.err
    );
    assert!(!wrong.err.contains(SECRET) && !wrong.err.contains(OTHER));
    configure(SECRET);
    let fits = home.run(&["restore", "--check", "--json"]);
    assert!(fits.ok, "{}", fits.err);
    let fits: serde_json::Value = serde_json::from_str(&fits.out).unwrap();
    assert_eq!(
        (&fits["secret_fits"], &fits["signing_keys"]),
        (&true.into(), &1.into())
    );
    let server = home.serve();
    assert_eq!(who(&client(), server.address(), &session).await, ALICE);
}
