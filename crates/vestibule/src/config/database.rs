//! Where accounts are kept: an SQLite file, or a schema of a PostgreSQL database. Its password is never printed.

use core::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use vestibule_store::{PostgresError, PostgresStore};
use zeroize::Zeroizing;

use super::resolve::{Origin, Resolver};
use super::sources;

/// The schema of PostgreSQL where nothing else is said.
#[cfg(any(feature = "postgres", test))]
const SCHEMA: &str = "vestibule";

/// Where accounts are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Database {
    /// In this SQLite file.
    Sqlite(PathBuf),
    /// In a PostgreSQL database.
    Postgres {
        /// How it is reached.
        url: DatabaseUrl,
        /// The schema in it that is ours.
        schema: String,
    },
}

/// The file, or the URL without its password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => fmt::Display::fmt(&path.display(), f),
            Self::Postgres { url, schema } => {
                write!(f, "{}, schema {schema}", without_password(url.expose()))
            }
        }
    }
}

/// A URL that may hold a password.
#[derive(Clone, Eq, PartialEq)]
pub struct DatabaseUrl(Zeroizing<String>);

impl DatabaseUrl {
    /// The whole of it. The only door out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// As PostgreSQL's own tools take it: without the password, which they ask for, and without what is ours.
    #[must_use]
    pub fn for_tools(&self) -> String {
        let text = self.expose();
        let after_user = text.rfind('@').unwrap_or(0);
        let (base, query) = match text[after_user..].find('?') {
            Some(at) => (&text[..after_user + at], &text[after_user + at + 1..]),
            None => (text, ""),
        };
        let base = match (base.split_once("://"), base.rfind('@')) {
            (Some((scheme, rest)), Some(at)) => {
                let user = rest.split([':', '@']).next().unwrap_or_default();
                format!("{scheme}://{user}{}", &base[at..])
            }
            _ => base.to_owned(),
        };
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                let name = pair.split('=').next().unwrap_or_default();
                !matches!(name, "" | "password" | "prepare")
            })
            .collect();
        if kept.is_empty() {
            base
        } else {
            format!("{base}?{}", kept.join("&"))
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

pub(super) fn database(
    read: &mut Resolver<'_>,
    data_dir: &Path,
    warnings: &mut Vec<String>,
) -> Option<Database> {
    let found = read.text("database_url").or_else(|| {
        // Other programs share this variable: only what is a database of a kind that we know is meant for us.
        let (text, origin) = read.variable("DATABASE_URL")?;
        let scheme = text.split([':', '+']).next().unwrap_or_default();
        let is_ours = matches!(scheme, "sqlite" | "postgres" | "postgresql");
        is_ours.then(|| {
            read.show(
                "database_url",
                format!("{:?}", without_password(&text)),
                &origin,
            );
            (text, origin)
        })
    });
    let schema = read.text("database_schema").map(|(schema, _)| schema);
    let is_postgres = found
        .as_ref()
        .is_some_and(|(text, _)| text.starts_with("postgres"));
    if schema.is_some() && !is_postgres {
        warnings.push("database_schema is for PostgreSQL; with SQLite it does nothing".into());
    }
    let Some((text, origin)) = found else {
        read.show(
            "database_url",
            "\"sqlite://vestibule.db\"".into(),
            &Origin::Default,
        );
        return Some(Database::Sqlite(data_dir.join("vestibule.db")));
    };
    let found = format!("{:?} from {origin}", without_password(&text));
    let scheme = text.split(':').next().unwrap_or_default();
    if let Some((plain, driver)) = scheme.split_once('+') {
        let line = format!(
            "{plain}:{}",
            without_password(&text)
                .split_once(':')
                .map_or("", |(_, rest)| rest)
        );
        read.wrong(
            "database_url",
            found,
            format!("+{driver} names a driver of another language"),
            format!("write VESTIBULE_DATABASE_URL={line}"),
        );
        return None;
    }
    match scheme {
        "sqlite" => {
            let path = text
                .strip_prefix("sqlite://")
                .or_else(|| text.strip_prefix("sqlite:"))
                .unwrap_or_default();
            if path.is_empty() || path.contains(":memory:") || path.contains('?') {
                read.wrong(
                    "database_url",
                    found,
                    "it names no file; accounts are kept in one",
                    "write database_url = \"sqlite://vestibule.db\"",
                );
                return None;
            }
            Some(Database::Sqlite(sources::plain(data_dir.join(path))))
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let schema = schema.unwrap_or_else(|| {
                read.show("database_schema", format!("{SCHEMA:?}"), &Origin::Default);
                SCHEMA.to_owned()
            });
            let url = DatabaseUrl(Zeroizing::new(text));
            if let Err(error) = PostgresStore::check(url.expose(), &schema) {
                let (problem, remedy) = refused(&error);
                match error {
                    PostgresError::Schema(name) => {
                        read.wrong("database_schema", format!("{name:?}"), problem, remedy);
                    }
                    _ => read.wrong("database_url", found, problem, remedy),
                }
                return None;
            }
            Some(Database::Postgres { url, schema })
        }
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => {
            read.wrong(
                "database_url",
                found,
                "this program was built without PostgreSQL",
                "write in Cargo.toml: vestibule = { version = \"..\", features = [\"postgres\"] }; or write database_url = \"sqlite://vestibule.db\"",
            );
            None
        }
        _ => {
            read.wrong(
                "database_url",
                found,
                "it is no database that Vestibule knows",
                "write database_url = \"sqlite://vestibule.db\"",
            );
            None
        }
    }
}

/// What is wrong with a PostgreSQL database that nobody has asked yet, and what would do.
#[cfg(feature = "postgres")]
fn refused(error: &PostgresError) -> (String, &'static str) {
    match error {
        PostgresError::Url(problem) => (
            problem.clone(),
            "write database_url = \"postgres://user:password@host/database\"",
        ),
        PostgresError::Schema(_) => (
            "it is no name of a schema that we take".to_owned(),
            "take lower-case letters, digits and _, at most 63, a letter first, and not pg_",
        ),
        PostgresError::Roots { path, problem } => (
            format!("sslrootcert={} cannot be used: {problem}", path.display()),
            "name a file of PEM certificates",
        ),
        error => (error.to_string(), "see docs/postgresql.md"),
    }
}

/// Says that there is no secret. One of our own making would be another on each server.
pub(super) fn needs_secret(read: &mut Resolver<'_>) {
    if read.errors.iter().any(|error| error.key == "secret") {
        return;
    }
    read.wrong(
        "secret",
        String::new(),
        "with PostgreSQL it is required: every server on one database needs the same",
        "make one with: openssl rand -hex 32; and set VESTIBULE_SECRET to it on each",
    );
}

/// A database URL without its password, wherever it stands.
pub(super) fn without_password(text: &str) -> String {
    let text = match (text.split_once("://"), text.rfind('@')) {
        (Some((scheme, rest)), Some(at)) if at > scheme.len() + 3 => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}:...{}", &text[at..])
        }
        _ => text.to_owned(),
    };
    match text.split_once("password=") {
        Some((before, after)) => {
            let rest = after.find('&').map_or("", |end| &after[end..]);
            format!("{before}password=...{rest}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        for url in [
            "postgres://u:hunter2@h/d",
            "postgres://u:hunter2@one,two/d?prepare=false",
            "postgres://u@h/d?password=hunter2&sslmode=require",
            "postgres:///d?user=u&password=hunter2",
            "postgres://u:p@hunter2@h/d",
        ] {
            let database = Database::Postgres {
                url: DatabaseUrl(Zeroizing::new(url.into())),
                schema: SCHEMA.into(),
            };
            let Database::Postgres { url: kept, .. } = &database else {
                unreachable!("it is PostgreSQL");
            };
            let said = format!(
                "{database} {database:?} {} {}",
                without_password(url),
                kept.for_tools()
            );
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn tools_get_the_url_without_the_password_and_without_what_is_ours() {
        for (url, expected) in [
            ("postgres://u:p@h/d", "postgres://u@h/d"),
            ("postgres://u:p@q@h:5433/d", "postgres://u@h:5433/d"),
            ("postgres://h/d", "postgres://h/d"),
            (
                "postgres://u:p?@one,two:5433/d?prepare=false&sslmode=require&password=p",
                "postgres://u@one,two:5433/d?sslmode=require",
            ),
            (
                "postgres:///d?host=/run/postgresql&prepare=false",
                "postgres:///d?host=/run/postgresql",
            ),
        ] {
            let url = DatabaseUrl(Zeroizing::new(url.into()));
            assert_eq!(url.for_tools(), expected);
        }
    }
}
