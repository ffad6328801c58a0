//! Where a run takes place: a folder, a database, a provider with a crowd of people, and a configuration for each replica.

use std::fmt;
use std::net::TcpListener;
use std::path::PathBuf;

use tempfile::TempDir;
use vestibule_devidp::{DevIdp, Person};

use super::{Dice, SoakError, nginx, postgres};

/// The client of the provider.
const CLIENT_SECRET: &str = "a-client-secret-of-the-soak";
/// The front end.
pub(super) const FRONT_END: &str = "soak";
pub(super) const FRONT_END_SECRET: &str = "front-end-0123456789abcdef0123456789";
pub(super) const REDIRECT_URI: &str = "https://soak.example/cb";
/// Seals, and is the same on every replica.
const SECRET: &str = "5b1f0c7e9d3a48265b1f0c7e9d3a4826";

/// Which database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Database {
    /// A file.
    Sqlite,
    /// A PostgreSQL of this machine, started for the run.
    Postgres,
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        })
    }
}

/// A part that is not on this machine.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{name} is missing: apt-get install {package}")]
pub struct Missing {
    name: &'static str,
    package: &'static str,
}

impl Missing {
    pub(super) const POSTGRES: Self = Self {
        name: "PostgreSQL",
        package: "postgresql",
    };
    pub(super) const NGINX: Self = Self {
        name: "nginx",
        package: "nginx",
    };
}

/// What a run with this database, and with nginx or without, would miss on this machine.
#[must_use]
pub fn missing(database: Database, with_nginx: bool) -> Option<Missing> {
    if database == Database::Postgres && postgres::programs().is_none() {
        return Some(Missing::POSTGRES);
    }
    (with_nginx && nginx::program().is_none()).then_some(Missing::NGINX)
}

/// A folder, a database and a provider.
pub(super) struct Place {
    folder: TempDir,
    postgres: Option<postgres::Server>,
    provider: DevIdp,
    /// Where people reach us.
    pub(super) origin: String,
    /// The port in it.
    pub(super) port: u16,
}

impl Place {
    /// With a provider that knows so many people.
    pub(super) async fn new(database: Database, people: u32) -> Result<Self, SoakError> {
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => {
                let programs = postgres::programs().ok_or(Missing::POSTGRES)?;
                let started =
                    tokio::task::spawn_blocking(move || postgres::Server::start(&programs));
                Some(started.await.map_err(std::io::Error::other)?)
            }
        };
        let provider = DevIdp::builder()
            .client("client", CLIENT_SECRET)
            .people((0..people).map(person).collect())
            .start()
            .await?;
        let port = free_port()?;
        Ok(Self {
            folder: tempfile::tempdir()?,
            postgres,
            provider,
            origin: format!("http://127.0.0.1:{port}"),
            port,
        })
    }

    /// A folder of this name with a configuration of a server that listens at this port.
    pub(super) fn configure(&self, name: &str, port: u16) -> Result<PathBuf, SoakError> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder)?;
        let text = format!(
            r#"public_url = "{origin}"
listen = "127.0.0.1:{port}"
database_url = "{database}"
secret = "{SECRET}"
[providers.google]
issuer = "{issuer}"
client_id = "client"
client_secret = "{CLIENT_SECRET}"
[[frontends]]
client_id = "{FRONT_END}"
client_secret = "{FRONT_END_SECRET}"
redirect_uris = ["{REDIRECT_URI}"]
[rate_limits]
enabled = false
[danger]
allow_http_loopback = true
"#,
            origin = self.origin,
            database = self.database_url(),
            issuer = self.provider.issuer(),
        );
        std::fs::write(folder.join("vestibule.toml"), text)?;
        Ok(folder)
    }

    /// A folder for another part.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, SoakError> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    fn database_url(&self) -> String {
        match &self.postgres {
            Some(server) => server.url("soak"),
            None => format!("sqlite://{}", self.file().display()),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("vestibule.db")
    }

    /// Looks into the database itself, with no server running: what is wrong there. `seen` people were seen to succeed, and
    /// `begun` at most began.
    pub(super) async fn inspect(&self, seen: u32, begun: u32) -> Result<Vec<String>, SoakError> {
        let mut wrong = Vec::new();
        let counts = match &self.postgres {
            None => {
                let database = rusqlite::Connection::open(self.file())?;
                let verdict: String =
                    database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
                if verdict != "ok" {
                    wrong.push(format!("integrity_check: {verdict}"));
                }
                let dangling = database
                    .prepare("PRAGMA foreign_key_check")?
                    .query_map([], |_| Ok(()))?
                    .count();
                if dangling > 0 {
                    wrong.push(format!("foreign_key_check: {dangling} rows"));
                }
                let mut counts = Vec::new();
                for (what, text) in questions("vestibule_", "user") {
                    let count: i64 = database.query_row(&text, [], |row| row.get(0))?;
                    counts.push((what, count));
                }
                counts
            }
            Some(server) => {
                let url = server.url("inspection");
                let (client, connection) =
                    tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                let mut counts = Vec::new();
                for (what, text) in questions("vestibule.", "user_id") {
                    let count: i64 = client.query_one(&text, &[]).await?.get(0);
                    counts.push((what, count));
                }
                counts
            }
        };
        for (what, count) in counts {
            let allowed = match what {
                "users" => i64::from(seen)..=i64::from(begun),
                _ => 0..=0,
            };
            if !allowed.contains(&count) {
                wrong.push(format!(
                    "{count} {what} in the database, and not {allowed:?}"
                ));
            }
        }
        Ok(wrong)
    }
}

/// What is counted, and how: a row of each is wrong, users excepted.
fn questions(prefix: &str, user: &str) -> Vec<(&'static str, String)> {
    let (users, identities, sessions, grants) = (
        format!("{prefix}users"),
        format!("{prefix}identities"),
        format!("{prefix}sessions"),
        format!("{prefix}grants"),
    );
    vec![
        ("users", format!("SELECT count(*) FROM {users}")),
        (
            "people with two users",
            format!(
                "SELECT count(*) FROM (SELECT 1 FROM {identities} GROUP BY issuer, subject HAVING count(*) > 1) AS twice"
            ),
        ),
        (
            "addresses of two users",
            format!(
                "SELECT count(*) FROM (SELECT 1 FROM {users} GROUP BY email_key HAVING count(*) > 1) AS twice"
            ),
        ),
        (
            "users without a way in, or with two",
            format!(
                "SELECT count(*) FROM {users} AS u WHERE (SELECT count(*) FROM {identities} AS i WHERE i.{user} = u.id) <> 1"
            ),
        ),
        (
            "sessions of nobody",
            format!(
                "SELECT count(*) FROM {sessions} AS s WHERE NOT EXISTS (SELECT 1 FROM {users} AS u WHERE u.id = s.{user})"
            ),
        ),
        (
            "grants of no session",
            format!(
                "SELECT count(*) FROM {grants} AS g WHERE NOT EXISTS (SELECT 1 FROM {sessions} AS s WHERE s.id = g.session)"
            ),
        ),
    ]
}

/// The address of a person.
pub(super) fn email(number: u32) -> String {
    format!("person-{number}@example.com")
}

fn person(number: u32) -> Person {
    Person {
        sub: format!("1{number:020}"),
        email: email(number),
        email_verified: true,
        name: format!("Person {number}"),
        ..Person::default()
    }
}

/// A port that is free, below those that the system gives to outgoing connections: while a server is away, nobody takes it.
pub(super) fn free_port() -> Result<u16, SoakError> {
    let mut dice = Dice::new(u64::from(std::process::id()) << 32 | u64::from(nanoseconds()));
    for _ in 0..1_000 {
        let port = u16::try_from(20_000 + dice.below(12_000)).unwrap_or(20_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(SoakError::Told("no port below 32000 is free".into()))
}

fn nanoseconds() -> u32 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos())
}
