//! The short form of `cargo xtask soak`: what it does for half an hour, for some seconds. Nothing here asks how fast it was.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use libtest_mimic::{Arguments, Failed, Trial};
use vestibule_xtask::soak::{self, Database, Kills, Missing, Rolling, SoakError};

const BINARY: &str = env!("CARGO_BIN_EXE_vestibule");
const SEED: u64 = 7;

fn run(soaking: impl Future<Output = Result<(), SoakError>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(soaking)?)
}

async fn kills(database: Database) -> Result<(), SoakError> {
    let settings = Kills {
        binary: BINARY.into(),
        database,
        kills: 5,
        logins_per_second: 10,
        seed: SEED,
    };
    let report = soak::kills(&settings, |_| {}).await?;
    assert_eq!(report.problems.count, 0, "{:#?}", report.problems.first);
    // It was a load, and it was asked for.
    assert!(report.logins > 5 && report.refreshes > 0, "{report}");
    assert!(report.checks >= report.logins / 2, "{report}");
    Ok(())
}

async fn rolling() -> Result<(), SoakError> {
    let settings = Rolling {
        binary: BINARY.into(),
        restarts: 4,
        logins_per_second: 10,
        seed: SEED,
    };
    let report = soak::rolling(&settings, |_| {}).await?;
    assert_eq!(report.problems.count, 0, "{:#?}", report.problems.first);
    assert_eq!(report.failed, 0);
    assert!(report.logins > 0 && report.checks > 0, "{report}");
    Ok(())
}

fn trial(
    name: &str,
    missing: Option<Missing>,
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let Some(missing) = missing else {
        return Trial::test(name, test);
    };
    let reason = missing.to_string();
    if std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all") {
        return Trial::test(name, move || Err(reason.into()));
    }
    Trial::test(name, || Ok(()))
        .with_kind(reason)
        .with_ignored_flag(true)
}

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial(
            "nothing_acknowledged_is_lost_by_kill_9_under_load_on_sqlite",
            soak::missing(Database::Sqlite, false),
            || run(kills(Database::Sqlite)),
        ),
        trial(
            "nothing_acknowledged_is_lost_by_kill_9_under_load_on_postgresql",
            soak::missing(Database::Postgres, false),
            || run(kills(Database::Postgres)),
        ),
        trial(
            "no_login_fails_while_replicas_behind_nginx_are_replaced",
            soak::missing(Database::Postgres, true),
            || run(rolling()),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
