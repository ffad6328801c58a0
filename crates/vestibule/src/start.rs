//! From a checked configuration to a [`Vestibule`] that can sign people in. The only file that names a store.

use std::path::PathBuf;
use std::sync::Arc;

use vestibule_accounts::{SecretCheck, Store};
use vestibule_oidc::Provider;
use vestibule_store::{OpenError, OpenMode, SqliteStore};

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Made, SecretError};
use crate::error::Failure;
use crate::http::{HttpClient, Transport};
use crate::rate::RateLimits;
use crate::remote::Remote;
use crate::seal::Sealer;
use crate::sessions::Sessions;
use crate::web::Prefix;
use crate::{Inner, Vestibule};

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The database was made with another secret.
    #[error(
        "the database {} was made with another secret. Set `secret` to that one; or, to replace it, set `secret` to the new one and `previous_secret` to the old one",
        .0.display()
    )]
    OtherSecret(PathBuf),
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

/// How a [`Vestibule`] starts.
pub struct Builder {
    config: Config,
    mode: OpenMode,
    clock: Arc<dyn Clock>,
    transport: Option<Arc<dyn Transport>>,
    store: Option<Arc<dyn Store>>,
}

impl core::fmt::Debug for Builder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Builder")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Vestibule {
    /// Starts with a configuration: opens the database, brings it up to date, and asks providers in the background.
    ///
    /// # Errors
    /// See [`StartError`]; each says what to do.
    pub async fn from_config(config: Config) -> Result<Self, StartError> {
        Self::builder(config).start().await
    }

    /// The same, with choices.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        Builder {
            config,
            mode: OpenMode::Serve,
            clock: Arc::new(SystemClock::default()),
            transport: None,
            store: None,
        }
    }
}

impl Builder {
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
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Starts. Idempotent: a second start on the same files finds what the first one made.
    ///
    /// # Errors
    /// See [`StartError`]; each says what to do.
    pub async fn start(self) -> Result<Vestibule, StartError> {
        let Self {
            config,
            mode,
            clock,
            transport,
            store,
        } = self;
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
                remote: Remote::new(transport.clone(), clock.clone(), ids()),
                rate: RateLimits::new(config.count_addresses, ids()),
                store,
                transport,
                sealer,
                sessions: Sessions::default(),
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
            vestibule.ensure_signing_key().await?;
            // A provider that is down must not keep us from starting: this only begins to ask.
            for provider in &vestibule.inner.providers {
                vestibule.inner.remote.is_available(provider);
            }
        }
        Ok(vestibule)
    }
}

/// Opens the database off the async threads: a migration may take its time.
async fn open(path: PathBuf, mode: OpenMode) -> Result<Arc<dyn Store>, StartError> {
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path, mode)).await;
    Ok(Arc::new(opened.map_err(|_| StartError::Interrupted)??))
}
