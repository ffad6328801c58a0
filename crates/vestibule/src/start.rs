//! From a checked configuration to a [`Vestibule`] that can sign people in. Beside `backup.rs`, the only file that
//! names a store.

use std::sync::Arc;

use vestibule_accounts::{SecretCheck, Store};
use vestibule_oidc::{ClientSecret, Provider};
use vestibule_store::OpenMode;
#[cfg(feature = "sqlite")]
use vestibule_store::{OpenError, SqliteStore};
#[cfg(feature = "postgres")]
use vestibule_store::{PostgresError, PostgresStore};

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigErrors, Database, Flags, Made, SecretError, Sources};
use crate::error::Failure;
use crate::grants::Redeeming;
use crate::http::{HttpClient, Transport};
use crate::keys::KeyCache;
use crate::provider_tokens::Renewals;
use crate::rate::RateLimits;
use crate::remote::Remote;
use crate::seal::Sealer;
use crate::sessions::Sessions;
use crate::tokens::VerifiedTokens;
use crate::web::Prefix;
use crate::{Inner, Vestibule};

/// Why nothing was started.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration does not do.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// There is no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database file cannot be opened.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The PostgreSQL database cannot be opened.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database is of a kind that this program was built without.
    #[error(
        "the database {0} needs the feature {1} of the crate vestibule, and this program was built without it. Enable it in Cargo.toml, or choose another database_url"
    )]
    NoStore(Database, &'static str),
    /// The database was made with another secret.
    #[error(
        "the database {0} was made with another secret. Set `secret` to that one; or, to replace it, set `secret` to the new one and `previous_secret` to the old one"
    )]
    OtherSecret(Database),
    /// TLS or the resolver cannot be set up.
    #[error("requests to providers cannot be made: {0}")]
    Network(String),
    /// The database answers with a failure.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// A task of ours ended too early.
    #[error("the start was broken off")]
    Interrupted,
}

impl core::fmt::Debug for StartError {
    /// As `Display`: a `main` that returns it prints what to do, and not how we keep it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// How a [`Vestibule`] starts.
pub struct Builder {
    settings: Settings,
    mode: OpenMode,
    clock: Arc<dyn Clock>,
    transport: Option<Arc<dyn Transport>>,
    store: Option<Arc<dyn Store>>,
}

/// Where the configuration comes from.
enum Settings {
    /// It was read and checked.
    Read(Box<Config>),
    /// The application writes it in its own code: what would stand in `vestibule.toml`.
    InCode(toml::Table, Vec<String>),
}

/// A provider that people sign in with: `google(..)`, or any other by `openid_provider(..)`.
#[derive(Clone)]
pub struct ProviderChoice {
    id: String,
    issuer: Option<String>,
    client_id: String,
    client_secret: ClientSecret,
}

/// Google, with the client that its console shows. The redirect URI to register there is
/// `{public_url}/auth/google/callback`.
#[must_use]
pub fn google(client_id: impl Into<String>, client_secret: impl Into<String>) -> ProviderChoice {
    ProviderChoice {
        id: "google".into(),
        issuer: None,
        client_id: client_id.into(),
        client_secret: ClientSecret::new(client_secret.into()),
    }
}

/// Any OpenID provider. `id` stands in its routes: `/auth/{id}/login`.
#[must_use]
pub fn openid_provider(
    id: impl Into<String>,
    issuer: impl Into<String>,
    client_id: impl Into<String>,
    client_secret: impl Into<String>,
) -> ProviderChoice {
    ProviderChoice {
        id: id.into(),
        issuer: Some(issuer.into()),
        client_id: client_id.into(),
        client_secret: ClientSecret::new(client_secret.into()),
    }
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Vestibule {
    /// Starts with what the environment, `.env` and `vestibule.toml` in the working directory say.
    ///
    /// # Errors
    /// See [`StartError`]; each says what to do.
    pub async fn from_env() -> Result<Self, StartError> {
        let config = Config::load(&Sources::from_process(Flags::default())?)?;
        config.check_for_serving()?;
        Self::from_config(config).await
    }

    /// Starts with a configuration: opens the database, brings it up to date, and asks providers in the background.
    ///
    /// # Errors
    /// See [`StartError`]; each says what to do.
    pub async fn from_config(config: Config) -> Result<Self, StartError> {
        Builder::new(config).build().await
    }

    /// Starts with what the application says in its own code. Nothing is read from its environment.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::with(Settings::InCode(toml::Table::new(), Vec::new()))
    }
}

impl Builder {
    /// Starts with a configuration that was read, and with choices.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with(Settings::Read(Box::new(config)))
    }

    fn with(settings: Settings) -> Self {
        Self {
            settings,
            mode: OpenMode::Serve,
            clock: Arc::new(SystemClock::default()),
            transport: None,
            store: None,
        }
    }

    /// Where people reach the application, such as `https://app.example`.
    #[must_use]
    pub fn public_url(self, url: &str) -> Self {
        self.set("public_url", url.into())
    }

    /// The database, such as `sqlite://app.db`.
    #[must_use]
    pub fn store(self, url: &str) -> Self {
        self.set("database_url", url.into())
    }

    /// The secret that seals, of 32 bytes or more. Without one it is made once and kept beside the database.
    #[must_use]
    pub fn secret(self, secret: &str) -> Self {
        self.set("secret", secret.into())
    }

    /// A provider that people sign in with.
    #[must_use]
    pub fn provider(self, provider: ProviderChoice) -> Self {
        let key = |field: &str| format!("providers.{}.{field}", provider.id);
        let mut builder = self.set(&key("client_id"), provider.client_id.as_str().into());
        builder = builder.set(
            &key("client_secret"),
            provider.client_secret.expose().into(),
        );
        match &provider.issuer {
            Some(issuer) => builder.set(&key("issuer"), issuer.as_str().into()),
            None => builder,
        }
    }

    /// More settings, as they would stand in `vestibule.toml`.
    #[must_use]
    pub fn settings(mut self, text: &str) -> Self {
        if let Settings::InCode(table, problems) = &mut self.settings {
            match text.parse::<toml::Table>() {
                Ok(more) => merge(table, more),
                Err(error) => problems.push(error.message().to_owned()),
            }
        }
        self
    }

    /// Writes one setting. A configuration that was read is whole already.
    fn set(mut self, key: &str, value: toml::Value) -> Self {
        if let Settings::InCode(table, _) = &mut self.settings {
            let mut at = table;
            let mut parts = key.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    at.insert(part.to_owned(), value);
                    break;
                }
                let below = at
                    .entry(part)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                match below.as_table_mut() {
                    Some(below) => at = below,
                    None => break,
                }
            }
        }
        self
    }

    /// Opens the database beside a server that may be running, as the command line does.
    #[must_use]
    pub fn beside_a_server(mut self) -> Self {
        self.mode = OpenMode::CommandLine;
        self
    }

    /// Another clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another way to providers, for tests.
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Another store than the configured one.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Starts. Idempotent: a second start on the same files finds what the first one made.
    ///
    /// # Errors
    /// See [`StartError`]; each says what to do.
    pub async fn build(self) -> Result<Vestibule, StartError> {
        let Self {
            settings,
            mode,
            clock,
            transport,
            store,
        } = self;
        let config = settings.config()?;
        let store = match store {
            Some(store) => store,
            None => open(config.database.clone(), mode).await?,
        };
        // The command line looks at what a server made, and makes nothing.
        let (secret, made) = match mode {
            OpenMode::Serve => config.secret.load_or_create()?,
            OpenMode::CommandLine => (config.secret.load()?, Made::Before),
        };
        let sealer = Sealer::new(
            secret.expose(),
            config
                .previous_secret
                .as_ref()
                .map(|secret| secret.expose()),
        );
        let check = store
            .check_secret(sealer.check_value(), sealer.previous_check_value())
            .await
            .map_err(Failure::from)?;
        if check == SecretCheck::Other {
            // A fresh secret beside an old database helps nobody, and would hide that the old one is gone.
            if made == Made::Now
                && let Some(missing) = config.secret.take_back()
            {
                return Err(missing.into());
            }
            return Err(StartError::OtherSecret(config.database));
        }

        let issuer = config.public_url().to_owned();
        let providers: Vec<Arc<Provider>> = config.providers.into_iter().map(Arc::new).collect();
        let transport = match transport {
            Some(transport) => transport,
            None => Arc::new(HttpClient::new(providers.iter()).map_err(StartError::Network)?),
        };
        let ids = || providers.iter().map(|provider| &provider.id);
        let cookies = if config.public_url.scheme() == "https" {
            Prefix::Host
        } else {
            Prefix::None
        };
        let vestibule = Vestibule {
            inner: Arc::new(Inner {
                remote: Remote::new(transport.clone(), clock.clone(), providers.iter()),
                rate: RateLimits::new(config.count_addresses, ids(), &clock),
                store,
                transport,
                sealer,
                sessions: Sessions::default(),
                keys: KeyCache::default(),
                verified_tokens: VerifiedTokens::default(),
                redeeming: Redeeming::default(),
                renewals: Renewals::default(),
                frontends: config.frontends.into_iter().map(Arc::new).collect(),
                access_token_lifetime: config.access_token_lifetime,
                issuer,
                clock,
                policy: config.policy,
                cookies,
                public_origin: config.public_url.origin().ascii_serialization(),
                base_path: config.public_url.path().trim_end_matches('/').to_owned(),
                public_base: config.public_url,
                default_return_to: config.default_return_to,
                session_lifetime: config.session_lifetime,
                session_idle: config.session_idle,
                trusted_proxies: config.trusted_proxies,
                product: config.app_name,
                providers,
            }),
        };
        if mode == OpenMode::Serve {
            vestibule.rotate_old_signing_key().await?;
            // A provider that is down must not keep us from starting: this only begins to ask.
            for provider in &vestibule.inner.providers {
                vestibule.inner.remote.is_available(provider);
            }
        }
        Ok(vestibule)
    }
}

impl Settings {
    fn config(self) -> Result<Config, StartError> {
        match self {
            Self::Read(config) => Ok(*config),
            Self::InCode(_, problems) if !problems.is_empty() => {
                Err(StartError::Config(ConfigErrors::of_settings(&problems)))
            }
            Self::InCode(table, _) => {
                let config = Config::load(&Sources::in_code(table))?;
                config.check_for_serving()?;
                Ok(config)
            }
        }
    }
}

/// Adds settings to settings; what was said later holds.
fn merge(into: &mut toml::Table, more: toml::Table) {
    for (name, value) in more {
        match (into.get_mut(&name), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => merge(there, more),
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    allow(unused_variables, reason = "the application brings its own store")
)]
async fn open(database: Database, mode: OpenMode) -> Result<Arc<dyn Store>, StartError> {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(path) => {
            // Off the async threads: a migration may take its time.
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, mode)).await;
            Ok(Arc::new(opened.map_err(|_| StartError::Interrupted)??))
        }
        #[cfg(feature = "postgres")]
        Database::Postgres { url, schema } => {
            let store = PostgresStore::open(url.expose(), &schema, mode).await?;
            Ok(Arc::new(store))
        }
        #[cfg(not(feature = "sqlite"))]
        Database::Sqlite(_) => Err(StartError::NoStore(database, "sqlite")),
        #[cfg(not(feature = "postgres"))]
        Database::Postgres { .. } => Err(StartError::NoStore(database, "postgres")),
    }
}
