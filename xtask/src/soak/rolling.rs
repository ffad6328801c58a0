//! Two replicas behind nginx, and each in turn is ended by SIGTERM and started anew (ATTACKS N06). Nobody retries: what
//! fails, fails a person.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::drive::{Drive, client};
use super::ledger::{Depth, Problems};
use super::nginx::{self, Nginx};
use super::place::{Database, Missing, Place, free_port};
use super::process::Replica;
use super::{Dice, Durations, SoakError, too_slow};

/// How long both replicas are there between two restarts, at most.
const BOTH: Duration = Duration::from_millis(400);

/// What to do.
#[derive(Clone, Debug)]
pub struct Rolling {
    /// The server.
    pub binary: PathBuf,
    /// How often a replica is replaced.
    pub restarts: u32,
    /// How many logins are kept up.
    pub logins_per_second: u32,
    /// Chooses the moments.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct RollingReport {
    /// How often a replica was replaced.
    pub restarts: u32,
    /// How long the load lasted, in seconds.
    pub seconds: f64,
    /// Logins that succeeded.
    pub logins: usize,
    /// And so many a second.
    pub logins_per_second: f64,
    /// How long a login took.
    pub login: Durations,
    /// Logins that failed.
    pub failed: u64,
    /// From SIGTERM to the end of the process.
    pub drain: Durations,
    /// From the start of the process to its first `/readyz` of 200.
    pub ready: Durations,
    /// Answers to questions at the end.
    pub checks: usize,
    /// Everything that went wrong, failed logins included.
    pub problems: Problems,
}

impl RollingReport {
    /// What must not be: problems, and a rate that was not kept up.
    #[must_use]
    pub fn failures(&self, logins_per_second: u32) -> Vec<String> {
        let mut failures = self.problems.first.clone();
        failures.extend(too_slow(self.logins_per_second, logins_per_second));
        failures
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "run": "rolling",
            "restarts": self.restarts,
            "seconds": self.seconds.round(),
            "logins": self.logins,
            "logins_per_second": (self.logins_per_second * 10.0).round() / 10.0,
            "login": self.login.json(),
            "failed": self.failed,
            "drain": self.drain.json(),
            "ready": self.ready.json(),
            "checks": self.checks,
            "problems": self.problems.count,
            "first_problems": self.problems.first,
        })
    }
}

impl std::fmt::Display for RollingReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "rolling: {} restarts of two replicas in {:.0} s under {:.1} logins a second ({} logins, {} failed); \
             login {}; drain {}; ready {}; {} checks; {} problems",
            self.restarts,
            self.seconds,
            self.logins_per_second,
            self.logins,
            self.failed,
            self.login,
            self.drain,
            self.ready,
            self.checks,
            self.problems.count,
        )
    }
}

/// Replaces two replicas in turn, under load. `progress` hears of it.
///
/// # Errors
/// A part is missing, a replica does not start, or it does not end well.
pub async fn rolling(
    settings: &Rolling,
    mut progress: impl FnMut(String),
) -> Result<RollingReport, SoakError> {
    let program = nginx::program().ok_or(Missing::NGINX)?;
    let people = settings
        .logins_per_second
        .saturating_mul(settings.restarts.saturating_add(60))
        / 2;
    let place = Place::new(Database::Postgres, people).await?;
    let ports = [free_port()?, free_port()?];
    let mut replicas = Vec::new();
    for (name, port) in ["one", "two"].into_iter().zip(ports) {
        let folder = place.configure(name, port)?;
        let origin = format!("http://127.0.0.1:{port}");
        replicas.push(Replica::start(&settings.binary, &folder, &origin).await?.0);
    }
    let nginx = Nginx::start(&program, &place.folder("nginx")?, place.port, ports).await?;
    let (drive, workers) = Drive::start(
        &place.origin,
        people,
        settings.logins_per_second,
        settings.seed,
        client()?,
    );
    let mut dice = Dice::new(settings.seed.wrapping_add(1));
    let (mut drain, mut ready) = (Vec::new(), Vec::new());
    let mut number = 0;
    while number < settings.restarts {
        for replica in &mut replicas {
            let both = dice.below(u64::try_from(BOTH.as_micros()).unwrap_or(u64::MAX));
            tokio::time::sleep(Duration::from_micros(both)).await;
            drain.push(replica.drain().await?);
            ready.push(replica.start_again().await?);
            number += 1;
            if number == settings.restarts {
                break;
            }
        }
        if number % 10 == 0 {
            progress(format!(
                "{number} of {} restarts, {} logins, {} problems",
                settings.restarts,
                drive.logins(),
                drive.ledger.problems().count
            ));
        }
    }
    let totals = drive.stop(workers).await;
    let checks = drive.check(0, Depth::Use).await;
    drop(nginx);
    for mut replica in replicas {
        replica.drain().await?;
    }
    for wrong in place.inspect(drive.ledger.people(), totals.begun).await? {
        drive.ledger.problem(wrong);
    }
    Ok(RollingReport {
        restarts: settings.restarts,
        seconds: totals.seconds,
        logins: totals.logins.len(),
        logins_per_second: totals.rate(),
        login: Durations::new(totals.logins),
        failed: totals.failed,
        drain: Durations::new(drain),
        ready: Durations::new(ready),
        checks,
        problems: drive.ledger.problems(),
    })
}
