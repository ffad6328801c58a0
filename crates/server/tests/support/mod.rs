//! The binary as a user runs it: a folder of its own, nothing of this process's environment.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "each test uses a part, and shall fail where the machine does not do"
)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode, redirect::Policy};
use tempfile::TempDir;
use url::Url;
use vestibule_devidp::DevIdp;

pub(crate) const SECRET: &str = "a-client-secret-of-the-tests";
/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A folder with a configuration.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn with(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vestibule.toml"), configuration).unwrap();
        Self { folder }
    }

    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A configuration that does, for this provider.
    pub(crate) fn at(idp: &DevIdp) -> Self {
        Self::with(&configuration(idp.issuer()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("vestibule.db")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        Ran::from(
            self.command(arguments)
                .envs(environment.iter().copied())
                .output()
                .unwrap(),
        )
    }

    /// Starts `serve` and waits until it listens.
    pub(crate) fn serve(&self) -> Server {
        Server::start(self.command(&["serve"]), "\"server.listening\"")
    }

    /// Starts `dev` and waits for its banner.
    pub(crate) fn dev(&self) -> Server {
        Server::start(self.command(&["dev"]), "database  ")
    }
}

/// A configuration of `serve` on any port.
pub(crate) fn configuration(issuer: &str) -> String {
    format!(
        "public_url = \"http://localhost:8000\"\nlisten = \"127.0.0.1:0\"\n\
         [providers.google]\nissuer = \"{issuer}\"\nclient_id = \"client\"\nclient_secret = \"{SECRET}\"\n\
         [rate_limits]\nenabled = false\n[danger]\nallow_http_loopback = true\n"
    )
}

/// What a command said.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A running server, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// What it has said so far, on stderr.
    said: Arc<Mutex<String>>,
    started: Instant,
    pub(crate) ready_after: Duration,
}

impl Server {
    pub(crate) fn start(mut command: Command, sign: &'static str) -> Self {
        let started = Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let (tell, told) = mpsc::channel();
        let theirs = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let is_sign = line.contains(sign);
                theirs.lock().unwrap().push_str(&(line + "\n"));
                if is_sign {
                    let _ = tell.send(());
                }
            }
        });
        let outcome = told.recv_timeout(START);
        let server = Self {
            child,
            said,
            started,
            ready_after: started.elapsed(),
        };
        assert!(outcome.is_ok(), "it did not start: {}", server.said());
        server
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    pub(crate) fn until_said(&self, words: &str) {
        let began = Instant::now();
        while !self.said().contains(words) {
            assert!(began.elapsed() < START, "{words}: {}", self.said());
            std::thread::yield_now();
        }
    }

    /// Where `serve` listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let said = self.said();
        let (_, rest) = said.split_once("\"listen\":\"").unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `kill -TERM`, without waiting.
    pub(crate) fn terminate(&self) {
        let done = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// Waits for its end; whether it ended well.
    pub(crate) fn ended(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn provider() -> DevIdp {
    DevIdp::builder()
        .client("client", SECRET)
        .start()
        .await
        .unwrap()
}

pub(crate) fn client() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

pub(crate) fn location(response: &Response) -> String {
    response
        .headers()
        .get("location")
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

/// The pairs of the cookies that an answer sets, without their attributes.
pub(crate) fn cookies(response: &Response) -> Vec<String> {
    let pair = |value: &reqwest::header::HeaderValue| {
        value
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    };
    response
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(pair)
        .collect()
}

/// A whole login. `Ok` is the session's cookie, which this client saw; anything else is why there is none.
pub(crate) async fn sign_in(
    client: &Client,
    server: SocketAddr,
    person: &str,
) -> Result<String, String> {
    let arrived = arrive(client, server, "/auth/google/login", person).await?;
    let is_done =
        arrived.status() == StatusCode::SEE_OTHER && !location(&arrived).contains("/error");
    session_of(&arrived)
        .filter(|_| is_done)
        .ok_or_else(|| format!("{} {}", arrived.status(), location(&arrived)))
}

/// Begins a login, consents, and comes back: our answer to the callback.
pub(crate) async fn arrive(
    client: &Client,
    server: SocketAddr,
    path: &str,
    person: &str,
) -> Result<Response, String> {
    consent(client, server, path, person)
        .await?
        .bring(client, server)
        .await
}

/// What a browser brings back from the provider.
pub(crate) struct Consented {
    cookies: String,
    callback: String,
}

impl Consented {
    /// Brings it to a server: its answer.
    pub(crate) async fn bring(
        &self,
        client: &Client,
        server: SocketAddr,
    ) -> Result<Response, String> {
        client
            .get(format!("http://{server}{}", self.callback))
            .header("cookie", &self.cookies)
            .send()
            .await
            .map_err(|error| error.to_string())
    }
}

/// Begins a login and consents at the provider.
pub(crate) async fn consent(
    client: &Client,
    server: SocketAddr,
    path: &str,
    person: &str,
) -> Result<Consented, String> {
    let told = |error: reqwest::Error| error.to_string();
    let begun = client
        .get(format!("http://{server}{path}"))
        .send()
        .await
        .map_err(told)?;
    let mut provider =
        Url::parse(&location(&begun)).map_err(|_| format!("no redirect: {}", begun.status()))?;
    provider.query_pairs_mut().append_pair("user", person);
    let consented = client.get(provider).send().await.map_err(told)?;
    let callback = Url::parse(&location(&consented)).map_err(|error| error.to_string())?;
    Ok(Consented {
        cookies: cookies(&begun).join("; "),
        callback: format!(
            "{}?{}",
            callback.path(),
            callback.query().unwrap_or_default()
        ),
    })
}

/// The session's cookie that an answer sets.
pub(crate) fn session_of(response: &Response) -> Option<String> {
    cookies(response)
        .into_iter()
        .find(|cookie| cookie.starts_with("vestibule_session="))
}

/// Who a session belongs to; empty for nobody.
pub(crate) async fn who(client: &Client, server: SocketAddr, session: &str) -> String {
    let answer = client
        .get(format!("http://{server}/users/me"))
        .header("cookie", session)
        .send()
        .await
        .unwrap();
    if answer.status() != StatusCode::OK {
        return String::new();
    }
    let text = answer.text().await.unwrap();
    let body: serde_json::Value = serde_json::from_str(&text).unwrap();
    body["email"].as_str().unwrap_or_default().to_owned()
}
