//! One value for each key: the first source that has one, in its shape, and where it was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use vestibule_oidc::providers::Setting;

use super::database;
use super::errors::ConfigError;
use super::keys::{self, Key, Shape};
use super::sources::Sources;

/// The longest value that a `_FILE` variable points to, in bytes.
const MAX_VALUE_FILE: u64 = 64 * 1024;

/// Where a value was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    Flag(String),
    Variable(String),
    DotEnv(String, PathBuf),
    File(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{}", name.replace(['_', '.'], "-")),
            Self::Variable(name) => f.write_str(name),
            Self::DotEnv(name, path) => write!(f, "{name} in {}", path.display()),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as it was found.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Text(String),
    Boolean(bool),
    List(Vec<String>),
    Number(i64),
}

/// A key with its value, for `config show`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// The key.
    pub key: String,
    /// Its value; for a secret, whether there is one.
    pub value: String,
    /// Where it was found.
    pub origin: String,
}

/// Takes values out of the sources, and collects what is wrong.
pub(super) struct Resolver<'a> {
    sources: &'a Sources,
    pub(super) errors: Vec<ConfigError>,
    pub(super) shown: Vec<Shown>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        let mut resolver = Self {
            sources,
            errors: Vec::new(),
            shown: Vec::new(),
        };
        resolver.refuse_unknown();
        resolver
    }

    /// Notes something that is wrong with a key.
    pub(super) fn wrong(
        &mut self,
        key: &str,
        found: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors.push(ConfigError {
            key: key.to_owned(),
            found: found.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn text(&mut self, key: &str) -> Option<(String, Origin)> {
        match self.take(key)? {
            (Found::Text(text), origin) => Some((text, origin)),
            _ => None,
        }
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.take(key) {
            Some((Found::Boolean(value), _)) => value,
            _ => {
                self.show(key, default.to_string(), &Origin::Default);
                default
            }
        }
    }

    /// A choice that is off unless it is made; shown only where it is.
    pub(super) fn choice(&mut self, key: &str) -> bool {
        matches!(self.take(key), Some((Found::Boolean(true), _)))
    }

    /// Whether a key has a value anywhere.
    pub(super) fn has(&mut self, name: &str) -> bool {
        let (errors, shown) = (self.errors.len(), self.shown.len());
        let has = self.take(name).is_some();
        // What is wrong with it is told where it is read.
        self.errors.truncate(errors);
        self.shown.truncate(shown);
        has
    }

    pub(super) fn list(&mut self, key: &str) -> Option<(Vec<String>, Origin)> {
        match self.take(key)? {
            (Found::List(list), origin) => Some((list, origin)),
            _ => None,
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Option<(i64, Origin)> {
        match self.take(key)? {
            (Found::Number(number), origin) => Some((number, origin)),
            _ => None,
        }
    }

    /// The value of a key, shown as it was found.
    fn take(&mut self, name: &str) -> Option<(Found, Origin)> {
        let key = keys::find(name)?;
        let (found, origin) = self.look(name, key)?;
        let value = match &found {
            _ if key.secret => "(set)".to_owned(),
            // All of it but the password.
            Found::Text(text) if name == "database_url" => {
                format!("{:?}", database::without_password(text))
            }
            Found::Text(text) => format!("{text:?}"),
            Found::Boolean(value) => value.to_string(),
            Found::List(list) => format!("{list:?}"),
            Found::Number(number) => number.to_string(),
        };
        self.show(name, value, &origin);
        Some((found, origin))
    }

    /// Remembers a value for `config show`.
    pub(super) fn show(&mut self, key: &str, value: String, origin: &Origin) {
        self.shown.push(Shown {
            key: key.to_owned(),
            value,
            origin: origin.to_string(),
        });
    }

    fn look(&mut self, name: &str, key: Key) -> Option<(Found, Origin)> {
        let sources = self.sources;
        if let Some((_, text)) = sources.flags.iter().rev().find(|(flag, _)| flag == name) {
            return self.read_text(name, key, text.clone(), Origin::Flag(name.to_owned()));
        }
        if let Some((text, origin)) = self.variable(&keys::variable(name)) {
            return self.read_text(name, key, text, origin);
        }
        let (path, table) = sources.file.as_ref()?;
        let mut value = None;
        let mut below = Some(table);
        for part in name.split('.') {
            value = below?.get(part);
            below = value.and_then(toml::Value::as_table);
        }
        let origin = Origin::File(path.clone());
        let found = match (key.shape, value?) {
            (Shape::Text, toml::Value::String(text)) => Found::Text(text.clone()),
            (Shape::Boolean, toml::Value::Boolean(value)) => Found::Boolean(*value),
            (Shape::Number, toml::Value::Integer(number)) => Found::Number(*number),
            (Shape::List, toml::Value::Array(list)) if list.iter().all(toml::Value::is_str) => {
                Found::List(
                    list.iter()
                        .filter_map(toml::Value::as_str)
                        .map(str::to_owned)
                        .collect(),
                )
            }
            (shape, other) => {
                let (expected, example) = match shape {
                    Shape::Text => ("a text in quotes", "\"...\""),
                    Shape::Boolean => ("true or false", "true"),
                    Shape::List => ("a list of texts", "[\"a\", \"b\"]"),
                    Shape::Number => ("a whole number", "60"),
                };
                let found = if key.secret || other.is_table() || other.is_array() {
                    format!("{} in {origin}", other.type_str())
                } else {
                    let text: String = other.to_string().chars().take(60).collect();
                    format!("{text} in {origin}")
                };
                let last = name.rsplit('.').next().unwrap_or(name);
                self.wrong(
                    name,
                    found,
                    format!("it must be {expected}"),
                    format!("write {last} = {example} in {origin}"),
                );
                return None;
            }
        };
        match &found {
            // An empty text is what templates leave behind.
            Found::Text(text) if text.is_empty() => None,
            _ => Some((found, origin)),
        }
    }

    /// A value of a flag or a variable in the key's shape.
    fn read_text(
        &mut self,
        name: &str,
        key: Key,
        text: String,
        origin: Origin,
    ) -> Option<(Found, Origin)> {
        let text = text.trim().to_owned();
        let found = match key.shape {
            Shape::Text => Some(Found::Text(text.clone())),
            Shape::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(Found::Boolean(true)),
                "false" | "0" | "no" | "off" => Some(Found::Boolean(false)),
                _ => None,
            },
            Shape::List => Some(Found::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
            Shape::Number => text.parse().ok().map(Found::Number),
        };
        if found.is_none() {
            let expected = if key.shape == Shape::Boolean {
                "true or false"
            } else {
                "a whole number"
            };
            self.wrong(
                name,
                format!("{text:?} from {origin}"),
                format!("it must be {expected}"),
                format!(
                    "write {}={}",
                    keys::variable(name),
                    if key.shape == Shape::Boolean {
                        "true"
                    } else {
                        "60"
                    }
                ),
            );
        }
        Some((found?, origin))
    }

    /// A variable, or the content of the file that its `_FILE` names.
    pub(super) fn variable(&mut self, name: &str) -> Option<(String, Origin)> {
        let origin = |name: &str, from_dotenv: bool| {
            if from_dotenv {
                Origin::DotEnv(name.to_owned(), self.sources.dotenv_path.clone())
            } else {
                Origin::Variable(name.to_owned())
            }
        };
        let file_name = format!("{name}_FILE");
        let plain = self
            .sources
            .variable(name)
            .map(|(text, dotenv)| (text.to_owned(), origin(name, dotenv)));
        let file = self
            .sources
            .variable(&file_name)
            .map(|(path, dotenv)| (path.to_owned(), origin(&file_name, dotenv)));
        match (plain, file) {
            (plain, None) => plain,
            (Some((_, plain)), Some((_, file))) => {
                self.wrong(
                    name,
                    format!("both {plain} and {file}"),
                    "only one of them can hold",
                    format!("take {name} or {file_name} out"),
                );
                None
            }
            (None, Some((path, origin))) => match self.value_file(&path) {
                Ok(text) => Some((text, origin)),
                Err(problem) => {
                    self.wrong(
                        &file_name,
                        format!("{path:?}"),
                        problem,
                        "name a file that this user may read and that holds the value alone",
                    );
                    None
                }
            },
        }
    }

    /// The providers that are spoken of anywhere, in the order of their names.
    pub(super) fn provider_names(&mut self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        if let Some((_, table)) = &self.sources.file
            && let Some(toml::Value::Table(providers)) = table.get("providers")
        {
            names.extend(providers.keys().cloned());
        }
        for (flag, _) in &self.sources.flags {
            if let Some((name, _)) = flag
                .strip_prefix("providers.")
                .and_then(|rest| rest.split_once('.'))
            {
                names.insert(name.to_owned());
            }
        }
        if let Some((list, _)) = self.variable("VESTIBULE_PROVIDERS") {
            names.extend(
                list.split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned),
            );
        }
        for preset in vestibule_oidc::providers::ALL.iter().filter(|preset| {
            // `OPENID_CLIENT_ID` and `OAUTH2_CLIENT_ID` say not whose.
            !preset.needs.contains(&Setting::Issuer) && !preset.needs.contains(&Setting::Endpoints)
        }) {
            let prefix = keys::provider_variable(preset.id);
            let is_named = [
                "CLIENT_ID",
                "CLIENT_SECRET",
                "CLIENT_ID_FILE",
                "CLIENT_SECRET_FILE",
            ]
            .iter()
            .any(|field| {
                self.sources
                    .variable(&format!("{prefix}_{field}"))
                    .is_some()
            });
            if is_named {
                names.insert(preset.id.to_owned());
            }
        }
        names
    }

    /// The front ends, from the file or as JSON in their variable, and where they were found.
    pub(super) fn frontends(&mut self) -> Option<(Vec<toml::Table>, Origin)> {
        if let Some((text, origin)) = self.variable("VESTIBULE_FRONTENDS") {
            return match serde_json::from_str::<Vec<toml::Table>>(&text) {
                Ok(tables) => Some((tables, origin)),
                Err(error) => {
                    // Its own words may quote a secret.
                    let place = format!("line {}, column {}", error.line(), error.column());
                    self.wrong("VESTIBULE_FRONTENDS", format!("from {origin}"), format!("it is no JSON list of objects: {place}"), r#"write VESTIBULE_FRONTENDS='[{"client_id":"web","redirect_uris":["http://localhost:3000/"]}]'"#);
                    None
                }
            };
        }
        let (path, table) = self.sources.file.as_ref()?;
        match table.get("frontends")? {
            toml::Value::Array(list) if list.iter().all(toml::Value::is_table) => {
                let tables = list.iter().filter_map(toml::Value::as_table).cloned();
                Some((tables.collect(), Origin::File(path.clone())))
            }
            _ => {
                let path = path.display().to_string();
                self.wrong(
                    "frontends",
                    path,
                    "front ends are tables of a list",
                    "begin each with a line [[frontends]]",
                );
                None
            }
        }
    }

    /// The content of a file that holds one value, named as the configuration names it.
    pub(super) fn value_file(&self, path: &str) -> Result<String, String> {
        read_value_file(&self.sources.folder.join(path))
    }

    /// What no version of ours knows is refused: a key that does nothing hides what its writer meant.
    fn refuse_unknown(&mut self) {
        let sources = self.sources;
        if let Some((path, table)) = &sources.file {
            let mut names = Vec::new();
            flatten("", table, &mut names);
            for name in names {
                if keys::TABLES.contains(&name.as_str()) {
                    self.wrong(
                        &name,
                        format!("in {}", path.display()),
                        "it is a table",
                        format!(
                            "begin it with a line [{}]",
                            if name == "providers" {
                                "providers.google"
                            } else {
                                &name
                            }
                        ),
                    );
                } else if keys::find(&name).is_none() {
                    let remedy = keys::nearest_key(&name).map_or_else(
                        || "take it out".to_owned(),
                        |near| format!("did you mean {near}?"),
                    );
                    self.wrong(
                        &name,
                        format!("in {}", path.display()),
                        "there is no such key",
                        remedy,
                    );
                }
            }
        }
        let variables: BTreeMap<&String, &String> =
            sources.dotenv.iter().chain(&sources.environment).collect();
        for (name, value) in variables {
            if name.starts_with("VESTIBULE_")
                && !keys::is_ours(name)
                && !keys::is_service_link(name, value)
            {
                let remedy = keys::nearest_variable(name).map_or_else(
                    || "take it out".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                self.wrong(name, "", "there is no such variable", remedy);
            }
        }
        for (name, _) in &sources.flags {
            if keys::find(name).is_none() {
                self.wrong(
                    name,
                    "from the command line",
                    "there is no such key",
                    "see vestibule serve --help",
                );
            }
        }
    }
}

/// The dotted names of all values, front ends apart.
fn flatten(prefix: &str, table: &toml::Table, names: &mut Vec<String>) {
    for (name, value) in table {
        let full = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            _ if full == "frontends" => {}
            toml::Value::Table(below) if prefix.is_empty() || prefix == "providers" => {
                flatten(&full, below, names)
            }
            _ => names.push(full),
        }
    }
}

fn read_value_file(path: &std::path::Path) -> Result<String, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if found.len() > MAX_VALUE_FILE {
        return Err("the file is over 64 KiB".into());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.trim_end_matches(['\n', '\r']).to_owned();
    if text.is_empty() {
        Err("the file is empty".into())
    } else {
        Ok(text)
    }
}
