//! An example as its reader runs it: the commands of its README, in a copy of it, on ports of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Ran, Server};

/// The root of the clone.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The port of Vestibule in every example.
const VESTIBULE: u16 = 8000;
/// The port of the stand-in that `vestibule dev` starts.
const STAND_IN: u16 = 8009;
/// How long a program may take to say something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a program says once it can be reached.
const SIGNS: &[(&str, &str)] = &[
    ("uvicorn", "Uvicorn running on"),
    ("streamlit", "URL: http"),
    ("node ", "open http"),
    ("http.server", "Serving HTTP"),
];

/// The packages from PyPI: an environment that has them, and the wheels it was made from.
pub(crate) fn python() -> PathBuf {
    if let Some(folder) = std::env::var_os("VESTIBULE_TEST_PYTHON") {
        return folder.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let cached = cache.join("vestibule-python");
    if cached.is_dir() {
        return cached;
    }
    Path::new(ROOT).join("target/python")
}

/// Whether packages come from the README's own commands or were installed before.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Packages {
    Installed,
    ByTheReadme,
}

/// An example that runs.
pub(crate) struct Example {
    /// Stands for the root of a clone.
    clone: TempDir,
    name: &'static str,
    /// The port in the example, and the one that stands for it here.
    ports: Vec<(u16, u16)>,
    /// The commands of its README.
    pub(crate) commands: Vec<String>,
    vestibule: Option<Server>,
    programs: Vec<Server>,
}

impl Example {
    /// Copies an example, with ports of its own in place of these.
    pub(crate) fn copy(name: &'static str, ports: &[u16]) -> Self {
        let clone = tempfile::tempdir().unwrap();
        let folder = clone.path().join("examples").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for entry in std::fs::read_dir(Path::new(ROOT).join("examples").join(name)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
            }
        }
        let mut example = Self {
            clone,
            name,
            ports: Vec::new(),
            commands: Vec::new(),
            vestibule: None,
            programs: Vec::new(),
        };
        // Held together, so that no two are the same.
        let listeners: Vec<TcpListener> = ports
            .iter()
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        for (port, listener) in ports.iter().zip(listeners) {
            example.put(*port, listener.local_addr().unwrap().port());
        }
        example.commands = commands(&example.read("README.md"));
        example
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.clone.path().join("examples").join(self.name)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder().join(file)).unwrap()
    }

    /// Changes a file of the copy.
    pub(crate) fn change(&self, file: &str, change: impl FnOnce(String) -> String) {
        std::fs::write(self.folder().join(file), change(self.read(file))).unwrap();
    }

    /// What stands for a port of the example, as an origin.
    pub(crate) fn origin(&self, port: u16) -> String {
        let (_, here) = self.ports.iter().find(|(known, _)| *known == port).unwrap();
        format!("http://localhost:{here}")
    }

    /// Where Vestibule is.
    pub(crate) fn vestibule(&self) -> String {
        self.origin(VESTIBULE)
    }

    /// What Vestibule and the programs have said.
    pub(crate) fn said(&self) -> String {
        self.vestibule
            .iter()
            .chain(&self.programs)
            .map(Server::said)
            .collect()
    }

    /// Waits until the programs have said these words so often: what they say comes after what they answer.
    pub(crate) async fn hear(&self, words: &str, times: usize) {
        let heard = async {
            while self.said().matches(words).count() < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, heard).await;
        assert!(
            outcome.is_ok(),
            "{words:?} not {times} times: {}",
            self.said()
        );
    }

    /// The command line of Vestibule beside the running server, on its database.
    pub(crate) fn administer(&self, arguments: &[&str]) -> Ran {
        let database = ["--database-url", "sqlite://vestibule-dev.db"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        command
            .args(arguments)
            .args(database)
            .env_clear()
            .current_dir(self.folder());
        Ran::from(command.output().unwrap())
    }

    /// Runs the commands of the README in their order; those that stay are waited for until they can be reached.
    pub(crate) fn run(&mut self, packages: Packages) {
        let bin = self.clone.path().join("bin");
        shim(&bin);
        let mut at = self.clone.path().to_owned();
        for line in self.commands.clone() {
            let mut line = line.trim_end_matches('&').trim().to_owned();
            for (from, to) in &self.ports {
                line = with_port(&line, *from, *to);
            }
            if let Some(folder) = line.strip_prefix("cd ") {
                at.push(folder);
            } else if line.starts_with("cargo run ") {
                let server = Server::start(self.shell(&line, &at, &bin), "database  ");
                let said = server.said();
                let port_after = |words| {
                    let (_, rest) = said.split_once(words).unwrap();
                    rest.split(['/', '\n']).next().unwrap().parse().unwrap()
                };
                self.put(VESTIBULE, port_after("http://localhost:"));
                self.put(STAND_IN, port_after("faults to try   http://127.0.0.1:"));
                self.vestibule = Some(server);
            } else if let Some((_, sign)) = SIGNS.iter().find(|(word, _)| line.contains(word)) {
                let command = self.shell(&line, &at, &bin);
                self.programs.push(Server::start(command, sign));
            } else if packages == Packages::Installed && line.contains("-m venv") {
                symlink(python().join("venv"), at.join(".venv")).unwrap();
            } else if packages == Packages::Installed && line.contains("pip install") {
                // The environment has them.
            } else if line == "npm ci" {
                symlink(node_modules(), at.join("node_modules")).unwrap();
            } else {
                let output = self.shell(&line, &at, &bin).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{line}: {said}");
            }
        }
    }

    /// One command, as a shell runs it. All it says comes on stderr.
    fn shell(&self, line: &str, at: &Path, bin: &Path) -> Command {
        let mut command = Command::new("sh");
        let of_ours = |name| std::env::var_os(name).unwrap_or_default();
        let mut path = bin.as_os_str().to_owned();
        path.push(":");
        path.push(of_ours("PATH"));
        // A line that writes to a file keeps doing so.
        let line = if line.contains('>') {
            line.to_owned()
        } else {
            format!("exec env {line} >&2")
        };
        command
            .args(["-c", &line])
            .current_dir(at)
            .env_clear()
            .env("PATH", path)
            .env("HOME", of_ours("HOME"))
            .env("PYTHONUNBUFFERED", "1")
            // Packages come from files that were checked by their hashes, and no test asks another machine.
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", python().join("wheels"))
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")
            .env("STREAMLIT_SERVER_HEADLESS", "true")
            .env("STREAMLIT_SERVER_ADDRESS", "localhost")
            .stdin(Stdio::null());
        if let Some((_, port)) = self.ports.iter().find(|(port, _)| *port == 8501) {
            command.env("STREAMLIT_SERVER_PORT", port.to_string());
        }
        command
    }

    /// Puts a port in place of another, in every file of the copy.
    fn put(&mut self, from: u16, to: u16) {
        self.ports.push((from, to));
        for entry in std::fs::read_dir(self.folder()).unwrap() {
            let path = entry.unwrap().path();
            let is_text = path.extension().is_some_and(|extension| {
                ["py", "mjs", "html", "toml", "md"]
                    .iter()
                    .any(|known| extension == *known)
            });
            if is_text {
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(&path, with_port(&text, from, to)).unwrap();
            }
        }
    }
}

/// Where `npm ci` has put the packages of the example for Node.js.
pub(crate) fn node_modules() -> PathBuf {
    Path::new(ROOT).join("examples/node/node_modules")
}

/// The lines of the first block of a README that is for a shell.
pub(crate) fn commands(readme: &str) -> Vec<String> {
    let (_, block) = readme.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.lines().map(str::to_owned).collect()
}

/// `cargo run -- ...` runs the binary that cargo has built for this test.
fn shim(bin: &Path) {
    std::fs::create_dir_all(bin).unwrap();
    let cargo = bin.join("cargo");
    let vestibule = env!("CARGO_BIN_EXE_vestibule");
    let script = format!(
        "#!/bin/sh\n[ \"$1 $2\" = 'run --' ] || exit 2\nshift 2\nexec '{vestibule}' \"$@\"\n"
    );
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes another port, where the number stands alone.
fn with_port(text: &str, from: u16, to: u16) -> String {
    let from = from.to_string();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        out.push_str(before);
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        let stands_alone =
            !is_digit(before.as_bytes().last()) && !is_digit(after.as_bytes().first());
        out.push_str(&if stands_alone {
            to.to_string()
        } else {
            from.clone()
        });
        rest = after;
    }
    out + rest
}
