//! A real PostgreSQL in a temporary folder, on a free port of this machine. It ends with the test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Who the server runs as where the tests run as root, which it refuses.
struct OtherUser {
    user: u32,
    group: u32,
}

/// A server of our own.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// `pg_ctl stop -m fast`: what runs is undone, and everybody is told.
    Fast,
    /// `pg_ctl stop -m immediate`: as after a loss of power.
    Immediate,
    /// `kill -9`.
    Kill,
}

/// The URL of a database behind a port of this machine.
pub(crate) fn url(port: u16, name: &str) -> String {
    format!("postgres://vestibule@127.0.0.1:{port}/postgres?application_name={name}")
}

/// The folder of `initdb` and `postgres`; `None` where there is no PostgreSQL on this machine.
pub(crate) fn programs() -> Option<PathBuf> {
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
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start(programs: &Path) -> Self {
        let server = Self::nothing_yet(programs);
        let made = server
            .command("initdb")
            .args(["--pgdata"])
            .arg(server.cluster())
            .args(["--username=vestibule", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--no-sync"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        server.run();
        server
    }

    /// A copy of this server that follows it under the name `standby`, and answers reads alone.
    pub(crate) fn standby(&self) -> Self {
        let standby = Self::nothing_yet(&self.programs);
        let from = format!(
            "host=127.0.0.1 port={} user=vestibule application_name=standby",
            self.port
        );
        let copied = standby
            .command("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", &from, "--pgdata"])
            .arg(standby.cluster())
            .status()
            .unwrap();
        assert!(copied.success(), "pg_basebackup");
        standby.run();
        standby
    }

    fn nothing_yet(programs: &Path) -> Self {
        Self {
            folder: folder(),
            programs: programs.to_owned(),
            port: free_port(),
            process: Mutex::new(None),
        }
    }

    /// The URL of its database for somebody of this name, to which parameters may be added by `&`.
    pub(crate) fn url(&self, name: &str) -> String {
        url(self.port, name)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Gives it a certificate and its key, in PEM. It takes them when it is told to.
    pub(crate) fn write_certificate(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.cluster().join(name);
            std::fs::write(&path, text).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
                if let Some(other) = other_user() {
                    std::os::unix::fs::chown(&path, Some(other.user), Some(other.group)).unwrap();
                }
            }
        }
    }

    /// Runs SQL in its database; what `psql` prints.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let ran = self
            .command("psql")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "vestibule", "-d", "postgres", "-qAt", "-c", sql])
            .output()
            .unwrap();
        assert!(ran.status.success(), "{sql}");
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// Puts a line before all others of `pg_hba.conf`, which says who may come in and how. The server reads it when it is
    /// told to.
    pub(crate) fn let_in(&self, line: &str) {
        let path = self.cluster().join("pg_hba.conf");
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{line}\n{lines}")).unwrap();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(&self, how: Stop) {
        self.signal(match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
            Stop::Kill => "KILL",
        });
    }

    /// Starts it again.
    pub(crate) fn run(&self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.cluster())
            .args(["-p", &self.port.to_string()])
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "max_connections=400"])
            .args(["-c", "shared_buffers=64MB"])
            .args(["-c", "deadlock_timeout=200ms"])
            .args(["-c", "log_min_messages=fatal"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.process.lock().unwrap() = Some(child);
        let began = Instant::now();
        loop {
            let ready = self
                .command("psql")
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
                .args(["-U", "vestibule", "-d", "postgres", "-c", "SELECT 1"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            if ready.success() {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it starts");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = Command::new("kill")
                .args([&format!("-{name}"), &child.id().to_string()])
                .status();
            let _ = child.wait();
        }
    }

    fn cluster(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    fn command(&self, program: &str) -> Command {
        command(self.programs.join(program))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("QUIT");
    }
}

/// A temporary folder of whom the server runs as.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    if let Some(other) = other_user() {
        std::os::unix::fs::chown(folder.path(), Some(other.user), Some(other.group)).unwrap();
    }
    folder
}

/// A program, run by somebody who is not root and without our environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    command.env_clear().env("PATH", "/usr/bin:/bin");
    #[cfg(unix)]
    if let Some(other) = other_user() {
        use std::os::unix::process::CommandExt as _;
        command.uid(other.user).gid(other.group);
    }
    command
}

/// Somebody who is not root, where we are.
fn other_user() -> Option<OtherUser> {
    let me = Command::new("id").arg("-u").output().ok()?;
    if String::from_utf8_lossy(&me.stdout).trim() != "0" {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let find = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            Some(OtherUser {
                user: fields.nth(1)?.parse().ok()?,
                group: fields.next()?.parse().ok()?,
            })
        })
    };
    find("postgres").or_else(|| find("nobody"))
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
