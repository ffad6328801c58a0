//! `vestibule backup`: a copy of the database, beside a server that may be running.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use vestibule::backup::{self, Contents};
use vestibule::clock::{Clock as _, SystemClock};
use vestibule::config::{Config, Database, DatabaseUrl};

use super::{CliError, Global, load, print, rfc3339, say};

/// How often a person who waits is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The file to make; one that is there is left as it is [default: backups/NAME-TIME.db below data_dir]
    file: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, verb: Backup) -> Result<(), CliError> {
    let config = load(global)?;
    let database = match config.database() {
        Database::Sqlite(database) => database,
        Database::Postgres { url, schema } => {
            return Err(CliError::Told(with_pg_dump(
                &config,
                url,
                schema,
                verb.file.as_deref(),
            )));
        }
    };
    let file = match verb.file {
        Some(file) => file,
        None => default_file(&config, database)?,
    };
    let mut progress = Progress::default();
    let made = backup::back_up(database, &file, |done, total| progress.tell(done, total));
    progress.end();
    let contents = made?;

    let fits = backup::fits(&config, &file, &contents);
    if global.json {
        let mut answer = as_json(&file, &contents);
        answer["secret_fits"] = fits.is_ok().into();
        answer["secret_in"] = config.secret_place().into();
        print(&answer.to_string())?;
    } else {
        print(&line(&file, &contents))?;
    }
    match fits {
        Ok(_) => say(&format!(
            "the secret is not in it: keep a copy of {} in another place, for without it this backup cannot be used.\n`vestibule restore {} --check` tries it",
            config.secret_place(),
            file.display()
        )),
        Err(why) => say(&format!("warning: the backup is made, but {why}")),
    }
    Ok(())
}

/// Below `data_dir`, by the database's name and the time.
fn default_file(config: &Config, database: &Path) -> Result<PathBuf, CliError> {
    let folder = config.data_dir().join("backups");
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(CliError::Told(format!(
                "cannot make the folder {}: {error}. Name a file elsewhere: vestibule backup FILE",
                folder.display()
            )));
        }
        _ => {}
    }
    let name = database.file_stem().unwrap_or_default().to_string_lossy();
    Ok(folder.join(format!("{name}-{}.db", stamp())))
}

/// This moment, as a part of a file's name.
pub(super) fn stamp() -> String {
    rfc3339(SystemClock::default().now())
        .chars()
        .take_while(|c| *c != '.')
        .filter(|c| !matches!(c, '-' | ':' | 'Z'))
        .chain(['Z'])
        .collect()
}

/// A backup in one line for people.
pub(super) fn line(file: &Path, contents: &Contents) -> String {
    format!(
        "{}  {}  {}, {}, {}",
        file.display(),
        size(contents.bytes),
        number(contents.users, "user", "users"),
        number(contents.identities, "identity", "identities"),
        number(contents.sessions, "session", "sessions"),
    )
}

pub(super) fn as_json(file: &Path, contents: &Contents) -> Value {
    json!({
        "file": file.display().to_string(),
        "bytes": contents.bytes,
        "users": contents.users,
        "identities": contents.identities,
        "sessions": contents.sessions,
        "newest_sign_in": contents.newest_sign_in.map(rfc3339),
        "is_older": contents.is_older,
    })
}

fn number(count: i64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "one digit behind the point is shown"
)]
fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        1e9.. => format!("{:.1} GB", bytes / 1e9),
        1e6.. => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.0} kB", bytes / 1e3),
    }
}

/// How far a copy is, for a person who waits at a terminal.
#[derive(Default)]
struct Progress {
    told: Option<Instant>,
}

impl Progress {
    fn tell(&mut self, done: u64, total: u64) {
        let mut stderr = std::io::stderr().lock();
        if done < total
            && stderr.is_terminal()
            && self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY)
        {
            self.told = Some(Instant::now());
            let _ = write!(stderr, "\rcopied {:3} %", done * 100 / total.max(1));
            let _ = stderr.flush();
        }
    }

    /// Leaves a clean line.
    fn end(&self) {
        if self.told.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r              \r");
        }
    }
}

fn with_pg_dump(config: &Config, url: &DatabaseUrl, schema: &str, file: Option<&Path>) -> String {
    format!(
        "the database is PostgreSQL, whose own tool makes backups, also of a running one. Run this; it asks for the password, or takes PGPASSWORD:\n\n  pg_dump --format=custom --schema={} --file={} --dbname={}\n\nLeave out --schema where your own tables refer to ours. The secret is not in it: keep a copy of {}",
        quoted(&exact(schema)),
        quoted(&dump(file)),
        quoted(&url.for_tools()),
        config.secret_place()
    )
}

pub(super) fn with_pg_restore(url: &DatabaseUrl, schema: &str, file: Option<&Path>) -> String {
    format!(
        "the database is PostgreSQL, whose own tool restores. Make an empty database, or one without the schema {schema}, and run this; it asks for the password, or takes PGPASSWORD:\n\n  pg_restore --exit-on-error --single-transaction --dbname={} {}\n\nThen `vestibule restore --check` says whether the secret fits what database_url names",
        quoted(&url.for_tools()),
        quoted(&dump(file)),
    )
}

fn dump(file: Option<&Path>) -> String {
    file.map_or_else(
        || "vestibule.dump".to_owned(),
        |file| file.display().to_string(),
    )
}

/// pg_dump takes patterns, and folds what is not in quotes.
fn exact(schema: &str) -> String {
    if schema
        .chars()
        .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    {
        schema.to_owned()
    } else {
        format!("\"{}\"", schema.replace('"', "\"\""))
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    if word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
    {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
