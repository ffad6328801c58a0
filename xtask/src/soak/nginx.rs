//! A real nginx before two replicas, with the semantics that it has by itself: a replica that refuses a connection is passed
//! over, and a request that changes something is not sent twice.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::SoakError;

/// How long its start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// nginx, killed when it is dropped.
pub(super) struct Nginx(Child);

/// The program, where there is one. Debian keeps it outside the `PATH` of ordinary users.
pub(super) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("nginx"))
        .find(|program| program.exists())
}

impl Nginx {
    /// Starts it before servers at these ports, with what `docs/operating.md` tells people to write.
    pub(super) async fn start(
        program: &Path,
        folder: &Path,
        port: u16,
        servers: [u16; 2],
    ) -> Result<Self, SoakError> {
        let [one, two] = servers;
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n access_log off;\n client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n \
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n \
             upstream vestibule {{\n  server 127.0.0.1:{one} max_fails=0;\n  server 127.0.0.1:{two} max_fails=0;\n }}\n \
             server {{\n  listen 127.0.0.1:{port};\n  location / {{\n   proxy_pass http://vestibule;\n   \
             proxy_set_header Host $http_host;\n   proxy_set_header X-Forwarded-For $remote_addr;\n  }}\n }}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration)?;
        let process = Command::new(program)
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .args(["-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut nginx = Self(process);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if nginx.0.try_wait()?.is_some() || began.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
                return Err(SoakError::Told(format!("nginx does not start: {log}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(nginx)
    }
}
