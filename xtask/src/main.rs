//! `cargo xtask`: what takes too long for the tests.
//!
//! The result goes to stdout, talk to stderr, and something lost is an exit code that is not 0.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vestibule_xtask::soak::{self, Database, Kills, Rolling, SoakError};

/// A restart that takes longer fails the run.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Long runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Signs people in while servers are killed and replaced, and asks for everything that was acknowledged
    ///
    /// kills: `kill -9` at random moments, 1,000 times on SQLite and 200 times on PostgreSQL under 100 logins a second.
    /// rolling: 100 restarts of two replicas on PostgreSQL behind nginx, under 50. All three take about half an hour.
    /// The run fails where something acknowledged is lost or doubled, a login fails without a kill, the rate is not kept
    /// up, or a restart takes more than a second.
    Soak(Soak),
}

#[derive(Args, Debug)]
struct Soak {
    /// Which run
    #[arg(default_value = "all")]
    run: Run,
    /// The database of `kills` [default: one after the other]
    #[arg(long)]
    database: Option<Word>,
    /// How often the server is killed [default: 1000 on SQLite, 200 on PostgreSQL]
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// How often a replica is replaced
    #[arg(long, value_name = "N", default_value_t = 100)]
    restarts: u32,
    /// How many logins are kept up [default: 100 for kills, 50 for rolling]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    logins_per_second: Option<u32>,
    /// The server [default: built from this tree, for release]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Chooses people and moments
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The result in JSON, one line a run
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Run {
    All,
    Kills,
    Rolling,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Word {
    Sqlite,
    Postgres,
}

fn main() -> ExitCode {
    let Verb::Soak(soak) = Cli::parse().verb;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(SoakError::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                // Whoever breaks it off leaves no server behind.
                tokio::select! {
                    outcome = run(&soak) => outcome,
                    _ = tokio::signal::ctrl_c() => Err(SoakError::Told("broken off".into())),
                }
            })
        });
    match outcome {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            for failure in failures {
                say(&format!("FAILED: {failure}"));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for: what must not be.
async fn run(soak: &Soak) -> Result<Vec<String>, SoakError> {
    let binary = match &soak.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => build()?,
    };
    let mut failures = Vec::new();
    for (word, database, kills) in [
        (Word::Sqlite, Database::Sqlite, 1_000),
        (Word::Postgres, Database::Postgres, 200),
    ] {
        if soak.run == Run::Rolling || soak.database.is_some_and(|wanted| wanted != word) {
            continue;
        }
        let settings = Kills {
            binary: binary.clone(),
            database,
            kills: soak.kills.unwrap_or(kills),
            logins_per_second: soak.logins_per_second.unwrap_or(100),
            seed: soak.seed,
        };
        let report = soak::kills(&settings, |progress| {
            say(&format!("{database}: {progress}"))
        })
        .await?;
        answer(soak, &report, &report.json())?;
        failures.extend(report.failures(settings.logins_per_second, READY_WITHIN));
    }
    if soak.run != Run::Kills {
        let settings = Rolling {
            binary,
            restarts: soak.restarts,
            logins_per_second: soak.logins_per_second.unwrap_or(50),
            seed: soak.seed,
        };
        let report =
            soak::rolling(&settings, |progress| say(&format!("rolling: {progress}"))).await?;
        answer(soak, &report, &report.json())?;
        failures.extend(report.failures(settings.logins_per_second));
    }
    Ok(failures)
}

/// Builds the server as it is released, and says where it is.
fn build() -> Result<PathBuf, SoakError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "-p", "vestibule-server"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "vestibule")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| SoakError::Told("the server was not built; name it by --binary".into()))
}

fn answer(
    soak: &Soak,
    report: &dyn std::fmt::Display,
    json: &serde_json::Value,
) -> Result<(), SoakError> {
    let line = if soak.json {
        json.to_string()
    } else {
        report.to_string()
    };
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn say(words: &str) {
    // Where nobody listens, nothing is missed.
    let _ = writeln!(std::io::stderr(), "{words}");
}
