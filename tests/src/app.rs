//! An application: our routes in this process, a real SQLite file, a stand-in provider on loopback, and one clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use tempfile::TempDir;
use vestibule::accounts::Timestamp;
use vestibule::clock::{Clock as _, TestClock};
use vestibule::config::{Config, Flags, Sources};
use vestibule::{Builder, Transport, Vestibule};
use vestibule_devidp::{DevIdp, RedirectUris, default_people};
use vestibule_store::{OpenMode, SqliteStore};

use crate::browser::Browser;
use crate::reasons;
use crate::together::Together;

/// The client secret of the stand-in: a canary that no log may hold.
pub(crate) const CLIENT_SECRET: &str = "canary-client-secret";

/// How an application is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Lines of the configuration file above its first table.
    pub top: String,
    /// Lines below `[providers.google]`.
    pub provider: String,
    /// More tables.
    pub tables: String,
    /// `public_url`.
    pub public_url: String,
    /// Whether address limits count.
    pub rate_limits: bool,
    /// Leaves the provider `google` out.
    pub without_google: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            top: String::new(),
            provider: String::new(),
            tables: String::new(),
            public_url: "http://localhost:8000".into(),
            rate_limits: false,
            without_google: false,
        }
    }
}

/// Parts in place of those that an application has by itself.
#[derive(Default)]
pub struct Parts {
    /// The way to providers.
    pub transport: Option<Arc<dyn Transport>>,
    /// So many first readers of what is known about a person all read before any of them writes.
    pub readers_together: Option<usize>,
}

/// An application and its provider.
pub struct App {
    /// The application's state.
    pub vestibule: Vestibule,
    /// The stand-in provider.
    pub idp: DevIdp,
    /// The clock of both.
    pub clock: Arc<TestClock>,
    /// All routes.
    pub routes: Router,
    /// Where the database is.
    pub folder: Arc<TempDir>,
    setup: Setup,
}

impl App {
    /// An application as it comes.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// An application set up so.
    pub async fn with(setup: Setup) -> Self {
        Self::over(setup, Parts::default()).await
    }

    /// An application with other parts.
    pub async fn over(setup: Setup, parts: Parts) -> Self {
        reasons::collect();
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is past 1970");
        let seconds =
            i64::try_from(since.as_secs()).expect("the clock is before the year 292,000,000,000");
        let clock = Arc::new(TestClock::at(Timestamp::from_seconds(seconds)));
        let theirs = clock.clone();
        let idp = DevIdp::builder()
            .listen(([127, 0, 0, 1], 0).into())
            .client("test-client", CLIENT_SECRET)
            .redirect_uris(RedirectUris::AnyLoopback)
            .people(default_people())
            .clock(Arc::new(move || theirs.now().seconds()))
            .start()
            .await
            .expect("a port on loopback is free");
        let folder = Arc::new(tempfile::tempdir().expect("a folder can be made"));
        let vestibule = open(&setup, &idp, &folder, &clock, parts)
            .await
            .expect("the configuration does");
        let routes = routes(&vestibule);
        Self {
            vestibule,
            idp,
            clock,
            routes,
            folder,
            setup,
        }
    }

    /// Another process on the same database, with another setup: a replica, or the same after a restart.
    pub async fn again(self, setup: Setup) -> Self {
        let Self {
            vestibule,
            idp,
            clock,
            folder,
            ..
        } = self;
        vestibule.close().await;
        drop(vestibule);
        let vestibule = open(&setup, &idp, &folder, &clock, Parts::default())
            .await
            .expect("the configuration does");
        let routes = routes(&vestibule);
        Self {
            vestibule,
            idp,
            clock,
            routes,
            folder,
            setup,
        }
    }

    /// How it was set up.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup.clone()
    }

    /// A browser without cookies.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser::of(self.routes.clone(), &self.setup.public_url)
    }

    /// A browser that meets an application's own routes beside ours.
    #[must_use]
    pub fn browser_of(&self, routes: Router) -> Browser {
        Browser::of(self.routes.clone().merge(routes), &self.setup.public_url)
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("vestibule.db")
    }

    /// How many rows a table has.
    #[must_use]
    pub fn count(&self, table: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.database()).expect("the file is there");
        connection
            .query_row(
                &format!("SELECT count(*) FROM vestibule_{table}"),
                [],
                |row| row.get(0),
            )
            .expect("the table is there")
    }

    /// Users, identities and sessions.
    #[must_use]
    pub fn counts(&self) -> [i64; 3] {
        ["users", "identities", "sessions"].map(|table| self.count(table))
    }
}

async fn open(
    setup: &Setup,
    idp: &DevIdp,
    folder: &TempDir,
    clock: &Arc<TestClock>,
    parts: Parts,
) -> Result<Vestibule, Box<dyn std::error::Error>> {
    let Setup {
        top,
        provider,
        tables,
        public_url,
        rate_limits,
        without_google,
    } = setup;
    let issuer = idp.issuer();
    let google = format!(
        "[providers.google]\nissuer = \"{issuer}\"\nclient_id = \"test-client\"\nclient_secret = \"{CLIENT_SECRET}\"\n{provider}\n"
    );
    let google = if *without_google { "" } else { google.as_str() };
    let file = format!(
        "public_url = \"{public_url}\"\n{top}\n{google}[rate_limits]\nenabled = {rate_limits}\n[danger]\nallow_http_loopback = true\n{tables}\n"
    );
    std::fs::write(folder.path().join("vestibule.toml"), file)?;
    let config = Config::load(&Sources::read(Flags::default(), [], folder.path())?)?;
    let mut builder = Builder::new(config).clock(clock.clone());
    if let Some(readers) = parts.readers_together {
        let store = SqliteStore::open(&folder.path().join("vestibule.db"), OpenMode::Serve)?;
        builder = builder.with_store(Arc::new(Together::new(store, readers)));
    }
    if let Some(transport) = parts.transport {
        builder = builder.transport(transport);
    }
    Ok(builder.build().await?)
}

fn routes(vestibule: &Vestibule) -> Router {
    Router::new()
        .merge(vestibule.routes())
        .merge(vestibule.pages())
        .merge(vestibule.users_api())
}
