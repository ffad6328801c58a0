//! The command line: one file a verb.

mod config;
mod dev;
mod keys;
mod serve;
mod user;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use vestibule::config::{Config, Flags, Sources};
use vestibule::{Failure, StartError, Vestibule};

/// Why a command failed. It prints as what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Config(#[from] vestibule::config::ConfigErrors),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Failed(#[from] Failure),
    #[error("{0}")]
    Told(String),
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
}

/// Sign in with Google and any other OpenID provider, on your own database.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The configuration file [default: vestibule.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Everything on loopback, a stand-in provider included; no configuration needed
    Dev(dev::Dev),
    /// Serve sign-ins
    Serve(serve::Serve),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(config::Verb),
    /// List, show, disable, enable and promote users
    #[command(subcommand)]
    User(user::Verb),
    /// List and rotate the signing keys
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Print the version
    Version,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Result<(), CliError> {
    let cli = Cli::parse();
    let global = cli.global;
    match cli.verb {
        Verb::Dev(verb) => block_on(dev::run(&global, verb)),
        Verb::Serve(verb) => block_on(serve::run(&global, verb)),
        Verb::Config(verb) => config::run(&global, &verb),
        Verb::User(verb) => block_on(user::run(&global, verb)),
        Verb::Keys(verb) => block_on(keys::run(&global, verb)),
        Verb::Version => print(&format!("vestibule {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)
}

/// The configuration of a verb.
fn load(global: &Global, mut flags: Flags) -> Result<Config, CliError> {
    flags.config.clone_from(&global.config);
    Ok(Config::load(&Sources::from_process(flags)?)?)
}

/// The database, opened beside a server that may be running.
async fn beside(global: &Global) -> Result<Vestibule, CliError> {
    let config = load(global, Flags::default())?;
    Ok(Vestibule::builder(config).beside_a_server().start().await?)
}

/// Data, on stdout.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Talk, on stderr. Nobody to talk to is no failure.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
