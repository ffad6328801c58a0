//! The server that is measured: its binary, its configuration, and its process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::Failed;
use crate::browser::{Browser, From, PUBLIC_URL};
use crate::provider::{CLIENT_ID, CLIENT_SECRET};

/// The name of the provider in our routes: `/auth/bench/login`.
pub const PROVIDER: &str = "bench";
/// The front end that redeems codes.
pub const FRONT_END: &str = "web";
pub const FRONT_END_SECRET: &str = "a-front-end-secret-of-the-bench";
pub const REDIRECT_URI: &str = "https://web.example/callback";

/// The binary to measure: the one that is named, or that of a release build of now.
pub async fn binary(named: Option<&Path>) -> Result<PathBuf, Failed> {
    if let Some(named) = named {
        return named
            .canonicalize()
            .map_err(|error| format!("{}: {error}", named.display()).into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    eprintln!("building the release binary ...");
    // The last line that cargo writes about an executable says where it is, wherever the target folder may be.
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--package", "vestibule-server"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if !built.status.success() {
        return Err("the release binary cannot be built; see above".into());
    }
    String::from_utf8(built.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "vestibule")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| "cargo names no binary".into())
}

/// Writes `vestibule.toml`: no limits on attempts, one front end, and this provider and those in `more`.
pub fn configure(
    folder: &Path,
    database: &str,
    issuer: &str,
    more: &[(String, String)],
) -> Result<(), Failed> {
    let own = (PROVIDER.to_owned(), issuer.to_owned());
    let providers: String = std::iter::once(&own)
        .chain(more)
        .map(|(name, issuer)| {
            format!(
                "[providers.{name}]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
                 client_secret = \"{CLIENT_SECRET}\"\n"
            )
        })
        .collect();
    let secret = "0123456789abcdef".repeat(4);
    let text = format!(
        "public_url = \"{PUBLIC_URL}\"\nlisten = \"127.0.0.1:0\"\nsecret = \"{secret}\"\n{database}\n{providers}\
         [[frontends]]\nclient_id = \"{FRONT_END}\"\nclient_secret = \"{FRONT_END_SECRET}\"\n\
         redirect_uris = [\"{REDIRECT_URI}\"]\n\
         [rate_limits]\nenabled = false\n[danger]\nallow_http_loopback = true\n"
    );
    Ok(std::fs::write(folder.join("vestibule.toml"), text)?)
}

/// A running server. It is killed when it is dropped.
pub struct Server {
    child: Child,
    pub pid: Pid,
    pub address: SocketAddr,
    /// From the process's begin to its first answer.
    pub first_answer: Duration,
}

impl Server {
    /// Starts `vestibule serve` in a folder with a configuration, and waits until it answers.
    pub async fn start(binary: &Path, folder: &Path) -> Result<Self, Failed> {
        let began = Instant::now();
        let mut child = Command::new(binary)
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no stderr")?);
        let (mut said, mut line) = (String::new(), String::new());
        let address = loop {
            line.clear();
            if log.read_line(&mut line).await? == 0 {
                return Err(format!("the server ended before it listened:\n{said}").into());
            }
            if let Some((_, rest)) = line.split_once("\"listen\":\"") {
                break rest.split('"').next().unwrap_or_default().parse()?;
            }
            said.push_str(&line);
        };
        // Its log is read on, so that it never waits for us.
        tokio::spawn(async move { tokio::io::copy(&mut log, &mut tokio::io::sink()).await });
        let health = Browser::default()
            .get(address, "/healthz", From::Nobody)
            .await?;
        if !health.status.is_success() {
            return Err(format!("/healthz: {}", health.told()).into());
        }
        let pid = child.id().ok_or("the server has ended")?;
        Ok(Self {
            pid: Pid::from_raw(pid.try_into()?),
            child,
            address,
            first_answer: began.elapsed(),
        })
    }

    /// Ends it as an operator does.
    pub async fn stop(mut self) -> Result<(), Failed> {
        kill(self.pid, Signal::SIGTERM)?;
        self.child.wait().await?;
        Ok(())
    }
}
