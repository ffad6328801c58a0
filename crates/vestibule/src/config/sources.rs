//! Where values come from, in the order in which they hold: flag, environment, `.env`, the file, the default.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::errors::{ConfigError, ConfigErrors};
use super::{dotenv, keys};

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "vestibule.toml";
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// Keys and their values, such as (`listen`, `127.0.0.1:8000`).
    pub values: Vec<(String, String)>,
}

/// Everything that a configuration is read from, as it was found.
#[derive(Clone, Default)]
pub struct Sources {
    pub(super) flags: Vec<(String, String)>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) dotenv: BTreeMap<String, String>,
    pub(super) dotenv_path: PathBuf,
    pub(super) file: Option<(PathBuf, toml::Table)>,
    /// Relative paths are below it.
    pub(super) folder: PathBuf,
}

impl core::fmt::Debug for Sources {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Values may be secrets.
        f.debug_struct("Sources")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// Reads the process's environment, and `.env` and the file in the working directory.
    ///
    /// # Errors
    /// A file that was named and is not there, or one that cannot be read.
    pub fn from_process(flags: Flags) -> Result<Self, ConfigErrors> {
        // A variable that is not UTF-8 is none of ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::read(flags, environment, Path::new("."))
    }

    /// Reads a given environment, and `.env` and the file in `folder`.
    ///
    /// # Errors
    /// As [`Sources::from_process`].
    pub fn read(
        flags: Flags,
        environment: impl IntoIterator<Item = (String, String)>,
        folder: &Path,
    ) -> Result<Self, ConfigErrors> {
        let environment: BTreeMap<String, String> = environment.into_iter().collect();
        let dotenv_path = folder.join(".env");
        let dotenv = match read_text(&dotenv_path)? {
            None => BTreeMap::new(),
            Some(text) => dotenv::parse(&text)
                .map_err(|bad| {
                    unusable(
                        &dotenv_path,
                        &format!("line {}: {}", bad.number, bad.problem),
                        "each line is NAME=value; quote a value with spaces",
                    )
                })?
                .into_iter()
                .collect(),
        };
        let named = flags.config.or_else(|| {
            environment
                .get("VESTIBULE_CONFIG")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
        });
        let (path, is_named) = named.map_or_else(
            || (folder.join(DEFAULT_FILE), false),
            |path| (folder.join(path), true),
        );
        let file = match read_text(&path)? {
            Some(text) => {
                let table = text
                    .parse::<toml::Table>()
                    .map_err(|error| unusable(&path, error.message(), &place(&text, &error)))?;
                Some((path, table))
            }
            None if is_named => {
                return Err(unusable(
                    &path,
                    "there is no such file",
                    "write it, or leave --config out",
                ));
            }
            None => None,
        };
        Ok(Self {
            flags: flags.values,
            environment,
            dotenv,
            dotenv_path,
            file,
            folder: folder.to_owned(),
        })
    }

    /// Takes settings that an application writes in its own code, and nothing from its environment.
    pub(crate) fn in_code(settings: toml::Table) -> Self {
        Self {
            file: Some((PathBuf::from("Vestibule::builder()"), settings)),
            folder: PathBuf::from("."),
            ..Self::default()
        }
    }

    /// Puts a value above all others, as a flag does.
    pub fn set(&mut self, key: &str, value: &str) {
        self.flags.push((key.to_owned(), value.to_owned()));
    }

    /// Whether anything but a default says something about this key.
    #[must_use]
    pub fn mentions(&self, key: &str) -> bool {
        let variable = keys::variable(key);
        let in_file = self.file.as_ref().is_some_and(|(_, table)| {
            let mut parts = key.split('.').peekable();
            let mut table = table;
            while let Some(part) = parts.next() {
                match table.get(part) {
                    Some(toml::Value::Table(below)) if parts.peek().is_some() => table = below,
                    found => return found.is_some(),
                }
            }
            true
        });
        let file_variable = format!("{variable}_FILE");
        in_file
            || self.flags.iter().any(|(name, _)| name == key)
            || [&variable, &file_variable]
                .into_iter()
                .any(|name| self.variable(name).is_some())
    }

    /// A variable of the environment, or of `.env`. Empty is unset, as compose files have it.
    pub(super) fn variable(&self, name: &str) -> Option<(&str, bool)> {
        let set = |value: &&String| !value.is_empty();
        let from_environment = self
            .environment
            .get(name)
            .filter(set)
            .map(|value| (value.as_str(), false));
        from_environment.or_else(|| {
            self.dotenv
                .get(name)
                .filter(set)
                .map(|value| (value.as_str(), true))
        })
    }
}

/// The line of a TOML error, as text.
fn place(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(0, |span| {
        let before = text.get(..span.start).unwrap_or_default();
        1 + before.matches('\n').count()
    });
    format!(
        "see line {line}; texts stand in quotes, and a table such as [providers.google] holds what follows it"
    )
}

fn read_text(path: &Path) -> Result<Option<String>, ConfigErrors> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() > MAX_FILE => {
            return Err(unusable(
                path,
                "it is over 1 MiB",
                "this cannot be a configuration",
            ));
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::InvalidData => "save it as UTF-8",
                ErrorKind::IsADirectory => "a file is expected here, not a folder",
                _ => "make it readable for this user",
            };
            Err(unusable(path, &error.to_string(), remedy))
        }
    }
}

/// A path without the `.` parts that joining leaves in its middle.
pub(super) fn plain(path: PathBuf) -> PathBuf {
    path.components().collect()
}

fn unusable(path: &Path, problem: &str, remedy: &str) -> ConfigErrors {
    ConfigErrors(vec![ConfigError {
        key: plain(path.to_owned()).display().to_string(),
        found: String::new(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }])
}
