//! `kill -9` of the server under load, at random moments (ATTACKS N04).

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::drive::{Drive, client};
use super::ledger::{Depth, Problems};
use super::place::{Database, Place};
use super::process::Replica;
use super::{Dice, Durations, SoakError, too_slow};

/// A server lives for at least this long after it is ready, and for at most as long again and [`MORE_LIFE`].
const LIFE: Duration = Duration::from_millis(250);
const MORE_LIFE: Duration = Duration::from_millis(1_000);

/// What to do.
#[derive(Clone, Debug)]
pub struct Kills {
    /// The server.
    pub binary: PathBuf,
    /// Where it keeps things.
    pub database: Database,
    /// How often it is killed.
    pub kills: u32,
    /// How many logins are kept up.
    pub logins_per_second: u32,
    /// Chooses the moments.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct KillsReport {
    /// Where the server kept things.
    pub database: Database,
    /// How often it was killed.
    pub kills: u32,
    /// How long the load lasted, in seconds.
    pub seconds: f64,
    /// Logins that were seen to succeed.
    pub logins: usize,
    /// And so many a second, outages included.
    pub logins_per_second: f64,
    /// How long a login took.
    pub login: Durations,
    /// Logins that a kill cut off.
    pub interrupted: u64,
    /// Rotations of refresh tokens.
    pub refreshes: u64,
    /// Sign-outs and revocations.
    pub endings: u64,
    /// Answers to questions after a restart and at the end.
    pub checks: usize,
    /// From the start of the process to its first `/readyz` of 200.
    pub ready: Durations,
    /// What was lost, doubled, or failed without a kill.
    pub problems: Problems,
}

impl KillsReport {
    /// What must not be: problems, and figures on the wrong side of a limit.
    #[must_use]
    pub fn failures(&self, logins_per_second: u32, ready_within: Duration) -> Vec<String> {
        let mut failures = self.problems.first.clone();
        failures.extend(too_slow(self.logins_per_second, logins_per_second));
        if self.ready.max() > ready_within {
            failures.push(format!(
                "a restart took {:?}, and {ready_within:?} is allowed",
                self.ready.max()
            ));
        }
        failures
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "run": "kills",
            "database": self.database.to_string(),
            "kills": self.kills,
            "seconds": self.seconds.round(),
            "logins": self.logins,
            "logins_per_second": (self.logins_per_second * 10.0).round() / 10.0,
            "login": self.login.json(),
            "interrupted": self.interrupted,
            "refreshes": self.refreshes,
            "endings": self.endings,
            "checks": self.checks,
            "ready": self.ready.json(),
            "problems": self.problems.count,
            "first_problems": self.problems.first,
        })
    }
}

impl std::fmt::Display for KillsReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "kills on {}: {} kills in {:.0} s under {:.1} logins a second ({} logins, {} cut off, {} refreshes, {} sign-outs and revocations); \
             login {}; ready {}; {} checks; {} problems",
            self.database,
            self.kills,
            self.seconds,
            self.logins_per_second,
            self.logins,
            self.interrupted,
            self.refreshes,
            self.endings,
            self.login,
            self.ready,
            self.checks,
            self.problems.count,
        )
    }
}

/// Kills a server under load, again and again, and asks it each time for what it had acknowledged. `progress` hears of it.
///
/// # Errors
/// A part is missing, or the server does not start.
pub async fn kills(
    settings: &Kills,
    mut progress: impl FnMut(String),
) -> Result<KillsReport, SoakError> {
    // One login in four is somebody's first, and there are some more seconds than kills.
    let people = settings
        .logins_per_second
        .saturating_mul(settings.kills.saturating_add(60))
        / 2;
    let place = Place::new(settings.database, people).await?;
    let folder = place.configure("server", place.port)?;
    let (mut server, first) = Replica::start(&settings.binary, &folder, &place.origin).await?;
    progress(format!("the first start, on no database, took {first:?}"));
    let (drive, workers) = Drive::start(
        &place.origin,
        people,
        settings.logins_per_second,
        settings.seed,
        client()?,
    );
    let mut dice = Dice::new(settings.seed.wrapping_add(1));
    let (mut ready, mut checks) = (Vec::new(), 0);
    // What was written down since the kill before the last one stands from here on in the ledger.
    let mut unchecked = 0;
    for number in 1..=settings.kills {
        let more = dice.below(u64::try_from(MORE_LIFE.as_micros()).unwrap_or(u64::MAX));
        let (checked, ()) = tokio::join!(
            drive.check(unchecked, Depth::Ask),
            tokio::time::sleep(LIFE + Duration::from_micros(more)),
        );
        checks += checked;
        unchecked += checked;
        drive.down();
        server.kill().await?;
        ready.push(server.start_again().await?);
        drive.up(client()?);
        if number % 50 == 0 || number == settings.kills {
            progress(format!(
                "{number} of {} kills, {} logins, {} problems",
                settings.kills,
                drive.logins(),
                drive.ledger.problems().count
            ));
        }
    }
    let totals = drive.stop(workers).await;
    progress("asking for everything that was ever acknowledged".into());
    checks += drive.check(0, Depth::Use).await;
    server.kill().await?;
    for wrong in place.inspect(drive.ledger.people(), totals.begun).await? {
        drive.ledger.problem(wrong);
    }
    Ok(KillsReport {
        database: settings.database,
        kills: settings.kills,
        seconds: totals.seconds,
        logins: totals.logins.len(),
        logins_per_second: totals.rate(),
        login: Durations::new(totals.logins),
        interrupted: totals.interrupted,
        refreshes: totals.refreshes,
        endings: totals.endings,
        checks,
        ready: Durations::new(ready),
        problems: drive.ledger.problems(),
    })
}
