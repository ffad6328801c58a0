//! The binary as an operator runs it: a folder with a configuration, and signals.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::SoakError;

/// How long a start or a drain may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A replica: its folder, and the process that runs there now.
pub(super) struct Replica {
    binary: PathBuf,
    folder: PathBuf,
    origin: String,
    client: reqwest::Client,
    process: Child,
}

impl Replica {
    /// Starts one in a folder that holds its configuration, and waits until it is ready. How long that took.
    pub(super) async fn start(
        binary: &Path,
        folder: &Path,
        origin: &str,
    ) -> Result<(Self, Duration), SoakError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            // Each question on a connection of its own, as a balancer's.
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(5))
            .build()?;
        let mut replica = Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            origin: origin.to_owned(),
            client,
            process: spawn(binary, folder)?,
        };
        let took = replica.ready(Instant::now()).await?;
        Ok((replica, took))
    }

    /// `kill -9`, and its end.
    pub(super) async fn kill(&mut self) -> Result<(), SoakError> {
        Ok(self.process.kill().await?)
    }

    /// Starts it again and waits until it is ready. How long that took.
    pub(super) async fn start_again(&mut self) -> Result<Duration, SoakError> {
        let began = Instant::now();
        self.process = spawn(&self.binary, &self.folder)?;
        self.ready(began).await
    }

    /// `kill -TERM`, and its end: it is to be a good one. How long that took.
    pub(super) async fn drain(&mut self) -> Result<Duration, SoakError> {
        let began = Instant::now();
        let id = self.process.id().unwrap_or_default().to_string();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(began.elapsed()),
            _ => Err(self.told("it does not end well after SIGTERM")),
        }
    }

    async fn ready(&mut self, began: Instant) -> Result<Duration, SoakError> {
        let url = format!("{}/readyz", self.origin);
        loop {
            if let Ok(answer) = self.client.get(&url).send().await
                && answer.status().is_success()
            {
                return Ok(began.elapsed());
            }
            if self.process.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                return Err(self.told("it does not start"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// An error with the last words of the log.
    fn told(&self, what: &str) -> SoakError {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let mut last: Vec<&str> = log.lines().rev().take(10).collect();
        last.reverse();
        SoakError::Told(format!("{what}. Its log ends with:\n{}", last.join("\n")))
    }
}

fn spawn(binary: &Path, folder: &Path) -> Result<Child, SoakError> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    Ok(Command::new(binary)
        .arg("serve")
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?)
}
