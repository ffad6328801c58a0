//! A PostgreSQL in a temporary folder on a free port, with its defaults. It ends with the benchmark.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::Failed;
use crate::args::Options;

/// Where to reach a PostgreSQL, and the one that was started for it.
pub struct Postgres {
    pub url: String,
    cluster: Option<Cluster>,
}

struct Cluster {
    child: Child,
    _folder: TempDir,
}

impl Postgres {
    /// The one that the command line names, or a new one.
    pub async fn find(options: &Options) -> Result<Self, Failed> {
        let postgres = match &options.postgres_url {
            Some(url) => Self {
                url: url.clone(),
                cluster: None,
            },
            None => {
                eprintln!("starting PostgreSQL ...");
                let (url, cluster) = Cluster::start(options).await?;
                Self {
                    url,
                    cluster: Some(cluster),
                }
            }
        };
        // It may not take connections yet.
        let began = Instant::now();
        loop {
            match postgres.connect().await {
                Ok(_) => return Ok(postgres),
                Err(error) if began.elapsed() > Duration::from_secs(30) => {
                    return Err(format!("PostgreSQL cannot be reached: {error}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Its first process, where it is ours.
    pub fn postmaster(&self) -> Option<Pid> {
        self.cluster.as_ref().map(Cluster::pid)
    }

    /// A connection, without TLS.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        // What goes wrong with it is told to whoever asks by it.
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Cluster {
    async fn start(options: &Options) -> Result<(String, Self), Failed> {
        let programs = programs()
            .ok_or("there is no PostgreSQL on this machine; install it, or give --postgres-url")?;
        let folder = options.temporary_folder()?;
        let user = other_user()?;
        if let Some(user) = &user {
            chown(folder.path(), Some(user.uid.into()), Some(user.gid.into()))?;
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            if let Some(user) = &user {
                command.uid(user.uid.into()).gid(user.gid.into());
            }
            command
        };
        let cluster = folder.path().join("cluster");
        let made = command("initdb")
            .arg("--pgdata")
            .arg(&cluster)
            .args(["--username=vestibule", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8"])
            .status()?;
        if !made.success() {
            return Err("initdb failed; see above".into());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let child = command("postgres")
            .arg("-D")
            .arg(&cluster)
            .arg("-k")
            .arg(folder.path())
            .args(["-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            // What it says about checkpoints and the like is not for our terminal.
            .args(["-c", "log_min_messages=fatal"])
            .stderr(Stdio::null())
            .spawn()?;
        let url = format!("postgres://vestibule@127.0.0.1:{port}/postgres");
        let cluster = Self {
            child,
            _folder: folder,
        };
        Ok((url, cluster))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown, which cuts connections and takes its processes along.
        let _ = kill(self.pid(), Signal::SIGINT);
        let _ = self.child.wait();
    }
}

/// The folder of `initdb` and `postgres`, the newest of Debian's first.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let has = |folder: &Path, program: &str| folder.join(program).exists();
    folders
        .into_iter()
        .find(|folder| has(folder, "initdb") && has(folder, "postgres"))
}

/// Who PostgreSQL runs as where we are root, which it refuses to be.
fn other_user() -> Result<Option<User>, Failed> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    Err("PostgreSQL refuses to run as root, and there is no user postgres or nobody".into())
}
