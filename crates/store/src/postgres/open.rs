//! Opening a database: TLS, the pool, what the server must be, migrations.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connect::Hosts;
use super::run::{Inner, VERBS, told};
use super::sql::{self, Sql};
use super::{PostgresStore, migrate, url};
use crate::OpenMode;

/// How many connections there are at most: six servers fit into the hundred that PostgreSQL takes unless told otherwise.
const CONNECTIONS: usize = 16;
/// How long a verb waits for one.
const WAIT: Duration = Duration::from_secs(2);
/// How long a host may take for all the rest of a connection, after it was reached.
const SPARE: Duration = Duration::from_secs(1);
/// The oldest PostgreSQL that is tested, as `server_version_num` has it.
const OLDEST: i64 = 150_000;

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL does not do.
    #[error(
        "database_url does not do: {0}. Write database_url = \"postgres://user:password@host/database\""
    )]
    Url(String),
    /// The schema has another name than we take.
    #[error(
        "database_schema = {0:?} does not do. Take lower-case letters, digits and _, at most 63, a letter first, and not pg_"
    )]
    Schema(String),
    /// The roots of `sslrootcert` cannot be used.
    #[error("cannot use the certificates of sslrootcert={}: {problem}. Name a file of PEM certificates", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The server does not let this user in.
    #[error(
        "PostgreSQL does not let the user of database_url in: {0}. Check the user and the password in it (in a password write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %), and that pg_hba.conf of the server lets this user in"
    )]
    Login(String),
    /// There is no connection, or the server refuses a statement.
    #[error(
        "cannot use the PostgreSQL of database_url: {0}. Check that it runs, and that this user may connect and may make a schema there; where its certificate is not trusted, name its roots with ?sslrootcert=FILE"
    )]
    Server(String),
    /// The server does not do.
    #[error("the PostgreSQL of database_url does not do: {0}")]
    Unfit(String),
    /// The command line finds no schema: it looks at what a server made, and makes nothing.
    #[error(
        "there is no schema {0} of Vestibule in the database of database_url. Check database_url and database_schema; `vestibule serve` makes one"
    )]
    Missing(String),
    /// The schema was written by a newer version.
    #[error(
        "the schema {schema} was written by a newer version of Vestibule (migration {found}). Use that version"
    )]
    Newer {
        /// The schema.
        schema: String,
        /// The unknown migration.
        found: i64,
    },
    /// A migration that was applied differs from ours.
    #[error(
        "migration {number} of the schema {schema} is not the one that this version has. It was changed by hand, or by an unreleased version; restore a backup"
    )]
    Checksum {
        /// The schema.
        schema: String,
        /// Which one.
        number: i64,
    },
}

impl From<tokio_postgres::Error> for PostgresError {
    fn from(error: tokio_postgres::Error) -> Self {
        let is_login = matches!(
            error.code(),
            Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
        );
        if is_login {
            return Self::Login(told(&error));
        }
        Self::Server(told(&error))
    }
}

impl PostgresStore {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// See [`PostgresError`]; each says what to do. None holds the password.
    pub async fn open(url: &str, schema: &str, mode: OpenMode) -> Result<Self, PostgresError> {
        Self::check(url, schema)?;
        let settings = url::parse(url).map_err(PostgresError::Url)?;
        let limit = settings.connect_timeout() + SPARE;
        let is_clear = settings.config.get_ssl_mode() == SslMode::Disable;
        let roots = if is_clear {
            RootCertStore::empty()
        } else {
            roots(settings.roots)?
        };
        let tls = MakeRustlsConnect::new(tls(roots)?);
        let config = ManagerConfig {
            // A connection that was cut is known by the task that reads it.
            recycling_method: RecyclingMethod::Fast,
        };
        let create = limit * u32::try_from(settings.hosts.len()).unwrap_or(1);
        let hosts = Hosts::new(settings.hosts, tls, limit);
        let pool = Pool::builder(Manager::from_connect(settings.config, hosts, config))
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(create))
            .recycle_timeout(Some(WAIT))
            .build()
            .map_err(|error| PostgresError::Server(error.to_string()))?;
        let client = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => PostgresError::from(error),
            error => PostgresError::Server(error.to_string()),
        })?;

        let row = client.query_typed_one(sql::SELECT_SETTINGS, &[]).await?;
        let (version, encoding, isolation): (i64, &str, &str) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if version < OLDEST {
            return Err(PostgresError::Unfit(
                "it is older than PostgreSQL 15. Use 15 or later".into(),
            ));
        }
        if encoding != "UTF8" {
            return Err(PostgresError::Unfit(format!(
                "the database keeps text as {encoding}. Make one with: CREATE DATABASE .. ENCODING 'UTF8' TEMPLATE template0"
            )));
        }
        // Between these two, what is locked is not what is read: with REPEATABLE READ we would decide on old rows.
        let begin = if isolation == "serializable" {
            "BEGIN ISOLATION LEVEL SERIALIZABLE"
        } else {
            "BEGIN ISOLATION LEVEL READ COMMITTED"
        };
        let sql = Sql::in_schema(schema);
        migrate::run(&client, schema, &sql, mode).await?;
        drop(client);
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                sql,
                prepare: settings.prepare,
                begin,
                verbs: Semaphore::new(VERBS as usize),
            }),
        })
    }

    /// Whether a URL and a schema could be opened, without asking anybody.
    ///
    /// # Errors
    /// [`PostgresError::Url`], [`PostgresError::Schema`] or [`PostgresError::Roots`].
    pub fn check(url: &str, schema: &str) -> Result<(), PostgresError> {
        let is_word = schema
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let is_name = is_word
            && schema.len() <= 63
            && schema.starts_with(|first: char| first.is_ascii_lowercase())
            && !schema.starts_with("pg_");
        if !is_name {
            return Err(PostgresError::Schema(schema.to_owned()));
        }
        let settings = url::parse(url).map_err(PostgresError::Url)?;
        if settings.roots.is_some() {
            roots(settings.roots)?;
        }
        Ok(())
    }
}

/// The given roots, else the system's; bundled ones where the system has none, as in an empty container.
fn roots(file: Option<PathBuf>) -> Result<RootCertStore, PostgresError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        return Ok(roots);
    };
    let wrong = |problem: String| PostgresError::Roots {
        path: path.clone(),
        problem,
    };
    let certificates =
        CertificateDer::pem_file_iter(&path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds none".into()));
    }
    Ok(roots)
}

/// TLS that checks the certificate and the name in it, by our own provider of cryptography and never the process's.
fn tls(roots: RootCertStore) -> Result<ClientConfig, PostgresError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PostgresError::Server(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
