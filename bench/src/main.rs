//! What the binary costs: start, memory, a flood of login starts, a provider that hangs.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Response, redirect::Policy};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;
use vestibule_devidp::{DevIdp, Fault};

type Failed = Box<dyn Error + Send + Sync>;

const SECRET: &str = "a-client-secret-of-the-bench";
const STARTS: usize = 21;
const FLOOD: usize = 100_000;
/// How many token requests Vestibule has under way at one provider.
const IN_FLIGHT: usize = 64;
const FLOOD_AT_ONCE: usize = 64;
const HUNG: usize = 500;
/// So many providers that hang can hold 500 callbacks: at most 64 token requests are under way at one.
const HANGING: usize = 8;
const SAMPLES: usize = 5_000;
const LOGIN_SAMPLES: usize = 400;

struct Server {
    child: Child,
    origin: String,
    first_answer: Duration,
}

impl Server {
    async fn start(binary: &Path, folder: &Path) -> Result<Self, Failed> {
        let began = Instant::now();
        let mut child = Command::new(binary)
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        let origin = loop {
            let line = lines
                .next_line()
                .await?
                .ok_or("it ended before it listened")?;
            if let Some((_, rest)) = line.split_once("\"listen\":\"") {
                break format!("http://{}", rest.split('"').next().unwrap_or_default());
            }
        };
        // Its log is read on, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let answer = client().get(format!("{origin}/healthz")).send().await?;
        answer.error_for_status()?;
        Ok(Self {
            child,
            origin,
            first_answer: began.elapsed(),
        })
    }

    /// Resident memory in KiB.
    fn resident(&self) -> Result<i64, Failed> {
        let id = self.child.id().ok_or("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    async fn stop(mut self) -> Result<(), Failed> {
        self.child.kill().await?;
        Ok(())
    }
}

fn client() -> Client {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client can be made")
}

fn location(response: &Response) -> String {
    response
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn cookies(response: &Response) -> Vec<String> {
    let pair = |value: &reqwest::header::HeaderValue| {
        Some(value.to_str().ok()?.split(';').next()?.to_owned())
    };
    response
        .headers()
        .get_all("set-cookie")
        .iter()
        .filter_map(pair)
        .collect()
}

/// A login up to the callback: its address, and the cookie that belongs to it.
async fn ready(client: &Client, origin: &str, provider: &str) -> Result<(String, String), Failed> {
    let begun = client
        .get(format!("{origin}/auth/{provider}/login"))
        .send()
        .await?;
    let mut url = Url::parse(&location(&begun))?;
    // The same address at two issuers is two people: each has its own here.
    let person = if provider == "google" {
        "alice@example.com"
    } else {
        "bob@example.com"
    };
    url.query_pairs_mut().append_pair("user", person);
    let consented = client.get(url).send().await?;
    let callback = Url::parse(&location(&consented))?;
    let callback = format!(
        "{origin}{}?{}",
        callback.path(),
        callback.query().unwrap_or_default()
    );
    Ok((callback, cookies(&begun).join("; ")))
}

/// Ends a login: the session's cookie, or where the browser was sent instead.
async fn finish(
    client: &Client,
    callback: String,
    flow: String,
) -> Result<Result<String, String>, Failed> {
    let arrived = client.get(callback).header("cookie", flow).send().await?;
    let session = cookies(&arrived)
        .into_iter()
        .find(|cookie| cookie.starts_with("vestibule_session=") && cookie.len() > 40);
    Ok(session.ok_or_else(|| location(&arrived)))
}

async fn sign_in(client: &Client, origin: &str, provider: &str) -> Result<String, Failed> {
    let (callback, flow) = ready(client, origin, provider).await?;
    Ok(finish(client, callback, flow).await??)
}

fn percentile(times: &mut [Duration], hundredths: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * hundredths / 100).min(times.len() - 1)]
}

async fn times_of_me(
    client: &Client,
    origin: &str,
    session: &str,
) -> Result<Vec<Duration>, Failed> {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        let answer = client
            .get(format!("{origin}/users/me"))
            .header("cookie", session)
            .send()
            .await?;
        answer.error_for_status()?.bytes().await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn times_of_login(client: &Client, origin: &str) -> Result<Vec<Duration>, Failed> {
    let mut times = Vec::with_capacity(LOGIN_SAMPLES);
    for _ in 0..LOGIN_SAMPLES {
        let began = Instant::now();
        sign_in(client, origin, "other").await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, u64, std::time::SystemTime)>, Failed> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if entry.file_name().to_string_lossy().contains("vestibule.db") {
            files.push((entry.path(), metadata.len(), metadata.modified()?));
        }
    }
    files.sort();
    Ok(files)
}

async fn flood(server: &Server) -> Result<f64, Failed> {
    let client = client();
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..FLOOD_AT_ONCE)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            let url = format!("{}/auth/google/login", server.origin);
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < FLOOD {
                    let answer = client.get(&url).send().await?;
                    if !location(&answer).contains("/authorize?") {
                        return Err(Failed::from(format!(
                            "{} {}",
                            answer.status(),
                            location(&answer)
                        )));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(FLOOD as f64 / began.elapsed().as_secs_f64())
}

/// Callbacks at providers that hang: how each ends, and what others notice of it.
async fn hang(server: &Server, session: &str, hanging: &[(String, &DevIdp)]) -> Result<(), Failed> {
    let client = client();
    let mut me = times_of_me(&client, &server.origin, session).await?;
    let mut login = times_of_login(&client, &server.origin).await?;

    let mut callbacks = Vec::new();
    for (id, _) in hanging.iter().cycle().take(HUNG) {
        callbacks.push(ready(&client, &server.origin, id).await?);
    }
    let before = server.resident()?;
    let asked = || -> u64 {
        let of = |(_, idp): &(String, &DevIdp)| idp.counters().token_requests;
        hanging.iter().map(of).sum()
    };
    for (_, idp) in hanging {
        idp.set_fault(Fault::TokenSlow);
    }
    let (asked_before, places) = (asked(), HUNG.min(IN_FLIGHT * hanging.len()));
    let began = Instant::now();
    let hung: Vec<_> = callbacks
        .into_iter()
        .map(|(callback, flow)| {
            let client = client.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                (finish(&client, callback, flow).await, began.elapsed())
            })
        })
        .collect();
    // Those that find no place are told at once; what is measured is what the others notice of those that hang.
    let told = || hung.iter().filter(|task| task.is_finished()).count();
    while asked() < asked_before + places as u64 || told() < HUNG - places {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let all_hang_after = began.elapsed();
    let mut me_hung = times_of_me(&client, &server.origin, session).await?;
    let mut login_hung = times_of_login(&client, &server.origin).await?;
    let while_hung = server.resident()?;
    let measured_until = began.elapsed();
    let (mut unavailable, mut limited, mut slowest) = (0, 0, Duration::ZERO);
    for task in hung {
        let (outcome, took) = task.await?;
        let to = outcome?.err().ok_or("a hung login succeeded")?;
        unavailable += usize::from(to.contains("provider_unavailable"));
        limited += usize::from(to.contains("rate_limited"));
        slowest = slowest.max(took);
    }
    for (_, idp) in hanging {
        idp.set_fault(Fault::None);
    }
    println!(
        "{HUNG} callbacks at {} that hang: {unavailable} provider_unavailable, {limited} rate_limited; the slowest took {slowest:.2?}",
        if hanging.len() == 1 {
            "a provider".to_owned()
        } else {
            format!("{} providers", hanging.len())
        }
    );
    println!("  all of them hang after {all_hang_after:.2?}; measured until {measured_until:.2?}");
    compare("/users/me", &mut me, &mut me_hung);
    compare("a login by another provider", &mut login, &mut login_hung);
    println!(
        "  memory: {:+.1} MiB",
        (while_hung - before) as f64 / 1024.0
    );
    Ok(())
}

fn compare(what: &str, before: &mut [Duration], while_hung: &mut [Duration]) {
    for hundredths in [50, 99] {
        let (before, then) = (
            percentile(before, hundredths),
            percentile(while_hung, hundredths),
        );
        println!(
            "  p{hundredths} of {what}: {before:.2?}, then {then:.2?} ({:.2} times)",
            then.as_secs_f64() / before.as_secs_f64()
        );
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = std::env::args_os()
        .nth(1)
        .map_or_else(|| here.join("../target/release/vestibule"), PathBuf::from);
    let binary = binary
        .canonicalize()
        .map_err(|_| format!("no binary at {}; build it with --release", binary.display()))?;
    let (google, other) = (idp().await?, idp().await?);
    let mut hanging = Vec::new();
    for _ in 0..HANGING {
        hanging.push(idp().await?);
    }
    let folder: TempDir = tempfile::tempdir()?;
    let provider = |name: &str, idp: &DevIdp| {
        format!(
            "[providers.{name}]\nissuer = \"{}\"\nclient_id = \"client\"\nclient_secret = \"{SECRET}\"\n",
            idp.issuer()
        )
    };
    let configure = |more: &str| {
        let text = format!(
            "public_url = \"http://localhost:8000\"\nlisten = \"127.0.0.1:0\"\n{}{}{more}[rate_limits]\nenabled = false\n[danger]\nallow_http_loopback = true\n",
            provider("google", &google),
            provider("other", &other)
        );
        std::fs::write(folder.path().join("vestibule.toml"), text)
    };
    configure("")?;

    // Start, on a database that exists.
    Server::start(&binary, folder.path()).await?.stop().await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let server = Server::start(&binary, folder.path()).await?;
        starts.push(server.first_answer);
        server.stop().await?;
    }
    println!(
        "start to first answer: median {:?}, slowest {:?} of {STARTS}",
        percentile(&mut starts, 50),
        percentile(&mut starts, 100)
    );

    let server = Server::start(&binary, folder.path()).await?;
    let client = client();
    let session = sign_in(&client, &server.origin, "google").await?;
    sign_in(&client, &server.origin, "other").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = server.resident()?;
    println!(
        "idle memory after two logins: {:.1} MiB resident",
        idle as f64 / 1024.0
    );

    // A provider that hangs: at most 64 callbacks wait for it.
    hang(&server, &session, &[("google".to_owned(), &google)]).await?;

    // A flood of login starts.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (files_before, memory_before) = (files(folder.path())?, server.resident()?);
    let rate = flood(&server).await?;
    let same = files(folder.path())? == files_before;
    println!(
        "{FLOOD} login starts: {rate:.0} a second, memory {:+.1} MiB, the database's files {}",
        (server.resident()? - memory_before) as f64 / 1024.0,
        if same { "as they were" } else { "CHANGED" }
    );
    server.stop().await?;

    // As many as hold all callbacks.
    let ids: Vec<String> = (1..=HANGING).map(|n| format!("hanging-{n}")).collect();
    let more: String = ids
        .iter()
        .zip(&hanging)
        .map(|(id, idp)| provider(id, idp))
        .collect();
    configure(&more)?;
    let server = Server::start(&binary, folder.path()).await?;
    let all: Vec<_> = ids.into_iter().zip(&hanging).collect();
    hang(&server, &session, &all).await?;
    server.stop().await?;
    for idp in [google, other].into_iter().chain(hanging) {
        idp.stop().await;
    }
    Ok(())
}

async fn idp() -> Result<DevIdp, Failed> {
    Ok(DevIdp::builder().client("client", SECRET).start().await?)
}
