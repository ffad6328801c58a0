//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Failed;

/// What Vestibule costs on this machine.
///
/// Builds the release binary, runs it in a temporary folder on loopback, signs people in at a provider of its own, and
/// prints what each operation costs. Linux only.
#[derive(Debug, Parser)]
#[command(name = "vestibule-bench")]
pub struct Arguments {
    #[command(subcommand)]
    pub figure: Option<Figure>,
    #[command(flatten)]
    pub options: Options,
}

/// What to measure.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Subcommand)]
pub enum Figure {
    /// Everything that follows (the default)
    #[default]
    All,
    /// Complete logins: first and returning, by cookie and by code
    Logins,
    /// Authenticated requests: by cookie and by bearer token
    Requests,
    /// Refresh tokens, each replaced by its successor
    Refresh,
    /// From the process's begin to its first answer
    Start,
    /// Memory of a server that has nothing to do
    Memory,
    /// 100,000 logins that are begun and never finished
    Flood,
    /// 500 callbacks at providers that hang
    Hung,
}

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The server to measure; without it, `cargo build --release` makes one
    #[arg(long, global = true, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// Where accounts are kept
    #[arg(long, global = true, value_enum, default_value_t = Databases::Sqlite)]
    pub database: Databases,
    /// A PostgreSQL that runs already; without it, one is started. The benchmark makes schemas named
    /// vestibule_bench_... there, and drops them
    #[arg(long, global = true, value_name = "URL")]
    pub postgres_url: Option<String>,
    /// How many users the database holds before anything is measured
    #[arg(long, global = true, value_delimiter = ',', default_value = "1000,1000000", value_name = "N,..",
        value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub users: Vec<u64>,
    /// How many people do something at the same time
    #[arg(long, global = true, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// How long a round is
    #[arg(long, global = true, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// How often each operation is measured; figures are medians
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// With PostgreSQL: measure logins also when spread over so many servers
    #[arg(long, global = true, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub replicas: u8,
    /// What the provider signs ID tokens with. Google takes RS256; ES256 takes less of this machine's time
    #[arg(long, global = true, value_enum, default_value_t = Signature::Rs256)]
    pub signature: Signature,
    /// Where the databases stand for the time; without it, the system's folder for temporary files. A commit on a disk
    /// costs another time than one in memory
    #[arg(long, global = true, value_name = "PATH")]
    pub folder: Option<PathBuf>,
    /// Print JSON in place of tables
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Databases {
    Sqlite,
    Postgres,
    Both,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Signature {
    Rs256,
    Es256,
}

impl Figure {
    /// Whether this is asked for, by name or with all.
    pub fn includes(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

impl Options {
    /// A folder of its own, which goes with its owner.
    pub fn temporary_folder(&self) -> Result<tempfile::TempDir, Failed> {
        Ok(match &self.folder {
            Some(folder) => tempfile::tempdir_in(folder)?,
            None => tempfile::tempdir()?,
        })
    }
}
