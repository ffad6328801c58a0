//! A database full of people, and a folder from which servers run on it.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::unistd::Pid;
use tempfile::TempDir;

use crate::people::Seeded;
use crate::postgres::Postgres;
use crate::server::{self, Server};
use crate::{Bench, Failed, seed};

pub struct Site {
    folder: TempDir,
    binary: PathBuf,
    issuer: String,
    place: Place,
    pub seeded: Seeded,
    /// How long it took to fill the database.
    pub seeding: Duration,
    /// The size of the database when it was filled.
    pub bytes: u64,
}

/// Where accounts are kept.
#[derive(Clone)]
enum Place {
    /// In `vestibule.db` in the folder.
    Sqlite,
    Postgres(Rc<Postgres>, String),
}

impl Site {
    /// Lets a server make its database, and fills it. PostgreSQL, or else SQLite.
    pub async fn new(
        bench: &Bench,
        postgres: Option<Rc<Postgres>>,
        users: u64,
    ) -> Result<Self, Failed> {
        let place = match postgres {
            None => Place::Sqlite,
            Some(postgres) => {
                let schema = format!("vestibule_bench_{users}");
                let found = postgres
                    .connect()
                    .await?
                    .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[&schema])
                    .await?;
                if found.is_some() {
                    return Err(format!(
                        "the schema {schema} is there already, from a run that was broken off; drop it"
                    )
                    .into());
                }
                Place::Postgres(postgres, schema)
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let mut site = Self {
            folder: bench.options.temporary_folder()?,
            binary: bench.binary.clone(),
            issuer: bench.provider.issuer.clone(),
            place,
            seeded: Seeded {
                count: users,
                now: now.try_into()?,
            },
            seeding: Duration::ZERO,
            bytes: 0,
        };
        site.configure(&[])?;
        site.serve().await?.stop().await?;

        eprintln!("{}: filling the database ...", site.title());
        let began = Instant::now();
        match &site.place {
            Place::Sqlite => {
                let (path, issuer, seeded) =
                    (site.database_file(), site.issuer.clone(), site.seeded);
                tokio::task::spawn_blocking(move || seed::sqlite(&path, &issuer, seeded)).await??;
                site.bytes = std::fs::metadata(site.database_file())?.len();
            }
            Place::Postgres(postgres, schema) => {
                let client = postgres.connect().await?;
                seed::postgres(&client, schema, &site.issuer, site.seeded).await?;
                site.bytes = seed::postgres_bytes(&client, schema).await?;
            }
        }
        site.seeding = began.elapsed();
        Ok(site)
    }

    /// Writes the configuration, with providers besides our own.
    pub fn configure(&self, more: &[(String, String)]) -> Result<(), Failed> {
        let database = match &self.place {
            Place::Sqlite => String::new(),
            Place::Postgres(postgres, schema) => format!(
                "database_url = {:?}\ndatabase_schema = {schema:?}",
                postgres.url
            ),
        };
        server::configure(self.folder.path(), &database, &self.issuer, more)
    }

    pub async fn serve(&self) -> Result<Server, Failed> {
        Server::start(&self.binary, self.folder.path()).await
    }

    /// "SQLite, 1,000 users"
    pub fn title(&self) -> String {
        let users = crate::report::grouped(self.seeded.count);
        format!("{}, {users} users", self.database_name())
    }

    pub fn database_name(&self) -> &'static str {
        match self.place {
            Place::Sqlite => "SQLite",
            Place::Postgres(..) => "PostgreSQL",
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(..))
    }

    /// The first process of the database, where that is one of ours.
    pub fn postmaster(&self) -> Option<Pid> {
        match &self.place {
            Place::Sqlite => None,
            Place::Postgres(postgres, _) => postgres.postmaster(),
        }
    }

    fn database_file(&self) -> PathBuf {
        self.folder.path().join("vestibule.db")
    }

    /// The database's files with their sizes and times, SQLite's alone.
    pub fn files(&self) -> Result<Vec<(PathBuf, u64, SystemTime)>, Failed> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains("vestibule.db") {
                let metadata = entry.metadata()?;
                files.push((entry.path(), metadata.len(), metadata.modified()?));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Takes out of PostgreSQL what was made there. Files go by themselves.
    pub async fn clear(self) -> Result<(), Failed> {
        if let Place::Postgres(postgres, schema) = &self.place {
            let client = postgres.connect().await?;
            client
                .batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))
                .await?;
        }
        Ok(())
    }
}
