//! A real PgBouncer before a server, which hands out its connections by transaction. It ends with the test.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::server;

/// How many connections it has to the server: fewer than one store has to it.
const CONNECTIONS: u32 = 4;

/// A pooler of our own.
pub(crate) struct PgBouncer {
    folder: tempfile::TempDir,
    program: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
}

/// The program; `None` where there is no PgBouncer on this machine.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists())
}

impl PgBouncer {
    /// Starts one before the server on this port.
    pub(crate) fn start(program: &Path, server: u16) -> Self {
        let pooler = Self {
            folder: server::folder(),
            program: program.to_owned(),
            port: server::free_port(),
            process: Mutex::new(None),
        };
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=vestibule\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = 400\n",
            pooler.port
        );
        std::fs::write(pooler.configuration(), text).unwrap();
        pooler.run();
        pooler
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as `kill -9` does: all connections are cut.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.process.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again.
    pub(crate) fn run(&self) {
        let child = server::command(&self.program)
            .arg(self.configuration())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.process.lock().unwrap() = Some(child);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "it starts");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("pgbouncer.ini")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
    }
}
