//! The command line: one file a verb.

mod backup;
mod client;
mod config;
mod dev;
mod invitations;
mod keys;
mod link;
mod providers;
mod restore;
mod serve;
mod user;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde_json::json;
use vestibule::accounts::Timestamp;
use vestibule::config::{Config, Flags, Sources};
use vestibule::{Builder, Failure, StartError, Vestibule};

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
    Backup(#[from] vestibule::backup::BackupError),
    #[error("{0}")]
    Restore(#[from] vestibule::backup::RestoreError),
    #[error("{0}")]
    Told(String),
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
}

/// Sign in with Google and any other OpenID provider, on your own database.
#[derive(Debug, Parser)]
#[command(
    name = "vestibule",
    version,
    propagate_version = true,
    after_help = "Every key is also a variable, such as VESTIBULE_PUBLIC_URL, in the environment or in .env, and a line of\nvestibule.toml; secrets and providers have no flag. `vestibule config show` says what holds and why."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Flags that every verb takes. Each key of the configuration that is no secret can be one.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The configuration file [default: vestibule.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Where people reach the server
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Configuration"
    )]
    public_url: Option<String>,
    /// Address and port to listen on
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        help_heading = "Configuration"
    )]
    listen: Option<String>,
    /// The application's name on the pages
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Configuration"
    )]
    app_name: Option<String>,
    /// Where the database and the secret are kept
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        help_heading = "Configuration"
    )]
    data_dir: Option<String>,
    /// The database
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Configuration"
    )]
    database_url: Option<String>,
    /// Who may become a user: open, invite, domains, closed
    #[arg(
        long,
        global = true,
        value_name = "WORD",
        help_heading = "Configuration"
    )]
    signup: Option<String>,
    /// Domains that may sign up, with commas
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        help_heading = "Configuration"
    )]
    allowed_domains: Option<String>,
    /// When an identity may join an account by its address: never, ask, verified
    #[arg(
        long,
        global = true,
        value_name = "WORD",
        help_heading = "Configuration"
    )]
    linking: Option<String>,
    /// Whether a user needs a verified address
    #[arg(
        long,
        global = true,
        value_name = "BOOLEAN",
        help_heading = "Configuration"
    )]
    require_email: Option<String>,
    /// Where a sign-in ends that names no target
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help_heading = "Configuration"
    )]
    default_return_to: Option<String>,
    /// Proxies whose X-Forwarded-For is believed, with commas
    #[arg(
        long,
        global = true,
        value_name = "LIST",
        help_heading = "Configuration"
    )]
    trusted_proxies: Option<String>,
    /// How long a session lasts, such as 30d
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        help_heading = "Configuration"
    )]
    session_lifetime: Option<String>,
    /// How long an unused session lasts, such as 7d
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        help_heading = "Configuration"
    )]
    session_idle: Option<String>,
}

impl Global {
    /// The flags as sources of the configuration.
    pub(crate) fn flags(&self) -> Flags {
        let values = [
            ("public_url", &self.public_url),
            ("listen", &self.listen),
            ("app_name", &self.app_name),
            ("data_dir", &self.data_dir),
            ("database_url", &self.database_url),
            ("signup", &self.signup),
            ("allowed_domains", &self.allowed_domains),
            ("linking", &self.linking),
            ("require_email", &self.require_email),
            ("default_return_to", &self.default_return_to),
            ("trusted_proxies", &self.trusted_proxies),
            ("session_lifetime", &self.session_lifetime),
            ("session_idle", &self.session_idle),
        ];
        let values = values
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
            .collect();
        Flags {
            config: self.config.clone(),
            values,
        }
    }
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
    /// List the providers that are known by name, what each needs, and what its word about an address is worth
    Providers,
    /// List, show, disable, enable, promote and invite users
    #[command(subcommand)]
    User(user::Verb),
    /// List the front ends, which may receive a sign-in
    #[command(subcommand)]
    Client(client::Verb),
    /// List, rotate and revoke the signing keys
    #[command(subcommand)]
    Keys(keys::Verb),
    /// Copy the database, beside a running server
    ///
    /// One consistent moment in one file, checked before it gets its name. The secret is not in it: keep a copy of that,
    /// too, in another place.
    Backup(backup::Backup),
    /// Put a backup in the place of the database, or with --check only try it
    ///
    /// First of all the backup is copied and the copy checked: whether it is whole, whether this version knows it, and
    /// whether the configured secret is the one it was made with. A server must be stopped for a restore, and not for
    /// --check. The database that was there is kept beside it.
    Restore(restore::Restore),
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
        Verb::Providers => providers::run(&global),
        Verb::User(verb) => block_on(user::run(&global, verb)),
        Verb::Client(verb) => client::run(&global, &verb),
        Verb::Keys(verb) => block_on(keys::run(&global, verb)),
        Verb::Backup(verb) => block_on(async { backup::run(&global, verb) }),
        Verb::Restore(verb) => block_on(restore::run(&global, &verb)),
        Verb::Version if global.json => {
            print(&json!({ "version": env!("CARGO_PKG_VERSION") }).to_string())
        }
        Verb::Version => print(&format!("vestibule {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    // Whoever serves does so on threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        outlive_limits()?;
        work.await
    })
}

/// Where a file may not grow any more (RLIMIT_FSIZE), a write fails, as on a full disk. But the system also sends a
/// signal that ends whoever does not handle it. Tokio's handler stays for as long as the process lives.
fn outlive_limits() -> Result<(), CliError> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
    }
    Ok(())
}

/// The configuration of a verb.
fn load(global: &Global) -> Result<Config, CliError> {
    Ok(Config::load(&Sources::from_process(global.flags())?)?)
}

/// Why an address cannot be listened on, and what would do.
fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> CliError {
    let remedy = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "Another program listens there; end it, or set VESTIBULE_LISTEN={}:{}",
            address.ip(),
            address.port().wrapping_add(1)
        ),
        std::io::ErrorKind::PermissionDenied => format!(
            "Ports below 1024 need rights; set VESTIBULE_LISTEN={}:8000",
            address.ip()
        ),
        _ => "Set VESTIBULE_LISTEN=127.0.0.1:8000".to_owned(),
    };
    CliError::Told(format!(
        "cannot listen on {address} (the key listen): {error}. {remedy}"
    ))
}

/// The database, opened beside a server that may be running.
async fn beside(global: &Global) -> Result<Vestibule, CliError> {
    let config = load(global)?;
    Ok(Builder::new(config).beside_a_server().build().await?)
}

/// A time for programs: RFC 3339, in UTC.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map_or_else(|_| String::new(), |time| time.to_string())
}

/// A time for people: the minute, in UTC.
pub(crate) fn when(time: Timestamp) -> String {
    let text = rfc3339(time);
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
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
