//! The configuration: read from flags, environment, `.env` and a file, checked whole, then plain data.
//!
//! Everything that is wrong is told at once, each with the key, what was found, and the line that would do. A key that
//! nobody knows is an error. Secrets are never printed.

mod database;
mod dotenv;
mod errors;
mod frontends;
mod keys;
mod providers;
mod proxies;
mod resolve;
mod secret;
mod sources;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};
use vestibule_accounts::{Linking, Policy, Signup};
use vestibule_oidc::{HttpPolicy, Provider};

use crate::frontend::Frontend;
use crate::return_to::ReturnTo;

pub use self::database::{Database, DatabaseUrl};
pub use self::errors::{ConfigError, ConfigErrors};
pub use self::proxies::TrustedProxies;
pub use self::resolve::Shown;
pub(crate) use self::secret::Made;
pub use self::secret::{Secret, SecretError, SecretSource};
pub use self::sources::{Flags, Sources};

use self::resolve::{Origin, Resolver};

/// Browsers keep no cookie longer (RFC 6265bis section 5.6), in seconds.
const MAX_SESSION: i64 = 400 * 86_400;
/// Others verify our tokens by their signature alone, and so see a revocation only at their end. In seconds.
const MAX_ACCESS_TOKEN: i64 = 15 * 60;
/// In seconds. A stop that takes longer is taken for one that hangs.
const MAX_DRAIN_DELAY: i64 = 5 * 60;

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where people reach us, with a slash at its end.
    pub(crate) public_url: Url,
    pub(crate) listen: SocketAddr,
    pub(crate) app_name: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) database: Database,
    pub(crate) secret: SecretSource,
    pub(crate) previous_secret: Option<Secret>,
    pub(crate) policy: Policy,
    pub(crate) default_return_to: String,
    pub(crate) trusted_proxies: TrustedProxies,
    /// In seconds.
    pub(crate) session_lifetime: i64,
    /// In seconds.
    pub(crate) session_idle: i64,
    /// In seconds.
    drain_delay: i64,
    /// Of tokens whose front end says nothing else, in seconds.
    pub(crate) access_token_lifetime: i64,
    pub(crate) count_addresses: bool,
    pub(crate) providers: Vec<Provider>,
    pub(crate) frontends: Vec<Frontend>,
    shown: Vec<Shown>,
    warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut read = Resolver::new(sources);
        let mut warnings = Vec::new();

        let public_url = public_url(&mut read);
        let listen = listen(&mut read);
        let app_name = read
            .text("app_name")
            .map_or_else(String::new, |(name, _)| name);
        let data_dir = read.text("data_dir").map_or_else(
            || {
                read.show("data_dir", "\".\"".into(), &Origin::Default);
                ".".to_owned()
            },
            |(path, _)| path,
        );
        let data_dir = sources::plain(sources.folder.join(data_dir));
        let database = database::database(&mut read, &data_dir, &mut warnings);
        let given = secret_of(&mut read, "secret");
        if given.is_none() && matches!(database, Some(Database::Postgres { .. })) {
            database::needs_secret(&mut read);
        }
        let secret = given.map_or_else(
            || SecretSource::File(data_dir.join(secret::FILE)),
            SecretSource::Given,
        );
        let previous_secret = secret_of(&mut read, "previous_secret");
        let policy = policy(&mut read);
        let default_return_to = default_return_to(&mut read, &public_url);
        let trusted_proxies = trusted_proxies(&mut read);
        let session_lifetime = lifetime(&mut read, "session_lifetime", "30d", MAX_SESSION);
        let session_idle = lifetime(&mut read, "session_idle", "7d", MAX_SESSION);
        let access_token_lifetime =
            lifetime(&mut read, "access_token_lifetime", "10m", MAX_ACCESS_TOKEN);
        // Of a route that this version does not have; checked, so that a file stays valid.
        lifetime(&mut read, "jwt_login_lifetime", "1h", 86_400);
        let drain_delay = duration(&mut read, "drain_delay", "0s", 0..=MAX_DRAIN_DELAY);
        let count_addresses = read.boolean("rate_limits.enabled", true);
        if !count_addresses {
            warnings
                .push("rate_limits.enabled = false: nothing slows down a flood of sign-ins".into());
        }
        let http = HttpPolicy {
            allow_http_loopback: read.boolean("danger.allow_http_loopback", false),
            allow_http_hosts: read
                .list("danger.allow_http_hosts")
                .map(|(hosts, _)| hosts)
                .unwrap_or_default(),
        };
        if http.allow_http_loopback {
            warnings.push(
                "danger.allow_http_loopback: providers on this machine may be asked by http".into(),
            );
        }
        for host in &http.allow_http_hosts {
            warnings.push(format!("danger.allow_http_hosts: {host} is asked by http, and whoever stands between can sign in as anybody"));
        }
        let providers = providers::all(&mut read, &public_url, &http);
        let ours = match &secret {
            SecretSource::Given(secret) => Some(secret),
            SecretSource::File(_) => None,
        };
        let frontends = frontends::all(&mut read, access_token_lifetime, ours, &mut warnings);
        if is_loopback(&public_url) && !listen.ip().is_loopback() {
            warnings.push(format!("public_url {} is on loopback and listen {listen} is not: people on other machines cannot sign in", trimmed(&public_url)));
        }

        if !read.errors.is_empty() {
            return Err(ConfigErrors(read.errors));
        }
        let (shown, Some(database)) = (read.shown, database) else {
            return Err(ConfigErrors(Vec::new()));
        };
        Ok(Self {
            public_url,
            listen,
            app_name,
            data_dir,
            database,
            secret,
            previous_secret,
            policy,
            default_return_to,
            trusted_proxies,
            session_lifetime,
            session_idle,
            access_token_lifetime,
            drain_delay,
            count_addresses,
            providers,
            frontends,
            shown,
            warnings,
        })
    }

    /// Every key with its value and where that was found; secrets are only said to be set.
    #[must_use]
    pub fn show(&self) -> &[Shown] {
        &self.shown
    }

    /// What an operator should know before people come.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether somebody could sign in.
    ///
    /// # Errors
    /// No provider is configured.
    pub fn check_for_serving(&self) -> Result<(), ConfigErrors> {
        if !self.providers.is_empty() {
            return Ok(());
        }
        Err(ConfigErrors(vec![ConfigError {
            key: "providers.google.client_id".into(),
            found: String::new(),
            problem: "no provider is configured: nobody could sign in".into(),
            remedy: "set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET, or write [providers.acme] with issuer, client_id and client_secret; `vestibule dev` needs neither".into(),
        }]))
    }

    /// Where to listen.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// How long a server that was told to end goes on taking connections.
    #[must_use]
    pub fn drain_delay(&self) -> Duration {
        Duration::from_secs(self.drain_delay.unsigned_abs())
    }

    /// Where people reach us, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> &str {
        trimmed(&self.public_url)
    }

    /// Where relative files are kept: the database, the secret, backups.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where accounts are kept.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Where the secret is kept, in words for an operator.
    #[must_use]
    pub fn secret_place(&self) -> String {
        match &self.secret {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Given(_) => self
                .shown
                .iter()
                .find(|shown| shown.key == "secret")
                .map_or_else(
                    || "the configuration".to_owned(),
                    |shown| format!("the key secret ({})", shown.origin),
                ),
        }
    }

    /// Who may receive a sign-in, in the order of the configuration.
    #[must_use]
    pub fn frontends(&self) -> &[Frontend] {
        &self.frontends
    }

    /// The callbacks that are to be registered at each provider: its name, and ours.
    #[must_use]
    pub fn callbacks(&self) -> Vec<(&str, &str)> {
        self.providers
            .iter()
            .map(|provider| (provider.id.as_str(), provider.redirect_uri.as_str()))
            .collect()
    }
}

fn trimmed(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// Whether a URL names this machine alone.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn default_public_url() -> Url {
    #[expect(clippy::expect_used, reason = "a constant that parses")]
    Url::parse("http://localhost:8000/").expect("the default is a URL")
}

fn public_url(read: &mut Resolver<'_>) -> Url {
    const EXAMPLE: &str = "write public_url = \"https://app.example\", as people type it";
    let Some((text, origin)) = read.text("public_url") else {
        read.show(
            "public_url",
            "\"http://localhost:8000\"".into(),
            &Origin::Default,
        );
        return default_public_url();
    };
    let found = format!("{text:?} from {origin}");
    let problem = match Url::parse(&text) {
        Ok(url)
            if url.cannot_be_a_base()
                || url.host_str().is_none_or(str::is_empty)
                || !matches!(url.scheme(), "http" | "https") =>
        {
            return near_url(read, &text, found);
        }
        Ok(url)
            if !url.username().is_empty()
                || url.password().is_some()
                || url.query().is_some()
                || url.fragment().is_some() =>
        {
            "it carries a user, a query or a fragment"
        }
        Ok(url) if url.host() == Some(Host::Ipv4(std::net::Ipv4Addr::UNSPECIFIED)) => {
            "no browser can open 0.0.0.0"
        }
        Ok(url) if url.scheme() == "http" && !is_loopback(&url) => {
            read.wrong(
                "public_url",
                found,
                "http is refused except on this machine: session cookies would go in the clear",
                format!(
                    "write public_url = \"{}\" and let your proxy speak TLS",
                    text.replacen("http:", "https:", 1)
                ),
            );
            return default_public_url();
        }
        Ok(url) => {
            let mut url = url;
            let path = format!("{}/", url.path().trim_end_matches('/'));
            url.set_path(&path);
            return url;
        }
        Err(_) => return near_url(read, &text, found),
    };
    read.wrong("public_url", found, problem, EXAMPLE);
    default_public_url()
}

/// Most often a scheme is all that is missing.
fn near_url(read: &mut Resolver<'_>, text: &str, found: String) -> Url {
    let near = ["http", "https"]
        .into_iter()
        .filter(|_| !text.contains("://"))
        .filter_map(|scheme| Url::parse(&format!("{scheme}://{text}")).ok())
        .find(|url| url.scheme() == "https" || is_loopback(url));
    let remedy = near.map_or_else(
        || "write public_url = \"https://app.example\", as people type it".to_owned(),
        |url| format!("write public_url = \"{}\"", trimmed(&url)),
    );
    read.wrong(
        "public_url",
        found,
        "it is not an http or https URL with a host",
        remedy,
    );
    default_public_url()
}

fn listen(read: &mut Resolver<'_>) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], 8000));
    if let Some((text, origin)) = read.text("listen") {
        // `:8000` is every address, as other servers have it.
        let whole = if text.starts_with(':') {
            format!("0.0.0.0{text}")
        } else {
            text.replacen("localhost:", "127.0.0.1:", 1)
        };
        return whole.parse().unwrap_or_else(|_| {
            read.wrong(
                "listen",
                format!("{text:?} from {origin}"),
                "it is not an address and a port",
                "write listen = \"127.0.0.1:8000\"",
            );
            default
        });
    }
    // What hosting platforms set; they send requests from elsewhere.
    if let Some((port, origin)) = read.variable("PORT") {
        return match port.parse() {
            Ok(port) => {
                let listen = SocketAddr::from(([0, 0, 0, 0], port));
                read.show("listen", format!("\"{listen}\""), &origin);
                listen
            }
            Err(_) => {
                read.wrong(
                    "PORT",
                    format!("{port:?}"),
                    "it is not a port",
                    "set PORT=8000, or VESTIBULE_LISTEN=127.0.0.1:8000",
                );
                default
            }
        };
    }
    read.show("listen", format!("\"{default}\""), &Origin::Default);
    default
}

fn secret_of(read: &mut Resolver<'_>, key: &str) -> Option<Secret> {
    let (text, origin) = read.text(key)?;
    match Secret::parse(&text) {
        Ok(secret) => Some(secret),
        Err(problem) => {
            read.wrong(key, format!("a value from {origin}"), problem, "make one: openssl rand -hex 32; or leave it out, and one is made and kept in data_dir");
            None
        }
    }
}

fn policy(read: &mut Resolver<'_>) -> Policy {
    let domains: Vec<String> = read
        .list("allowed_domains")
        .map(|(list, _)| list)
        .unwrap_or_default()
        .iter()
        .map(|domain| domain.trim_start_matches('@').to_ascii_lowercase())
        .collect();
    let word = word(read, "signup", &["open", "invite", "domains", "closed"]);
    let signup = match word {
        "closed" => Signup::Closed,
        "invite" => Signup::Invite,
        "domains" => {
            if domains.is_empty() {
                read.wrong(
                    "allowed_domains",
                    "an empty list",
                    "signup = \"domains\" lets nobody in without it",
                    "write allowed_domains = [\"example.com\"]",
                );
            }
            Signup::Domains(domains.clone())
        }
        _ => Signup::Open,
    };
    if !domains.is_empty() && word != "domains" {
        read.wrong(
            "allowed_domains",
            format!("{domains:?}"),
            format!("it does nothing while signup = {word:?}"),
            "write signup = \"domains\", or take it out",
        );
    }
    let linking = match self::word(read, "linking", &["ask", "never", "verified"]) {
        "never" => Linking::Never,
        "verified" => Linking::Verified,
        _ => Linking::Ask,
    };
    Policy {
        linking,
        signup,
        require_email: read.boolean("require_email", true),
    }
}

/// A key that is one of some words; the first is the default.
fn word(read: &mut Resolver<'_>, key: &str, words: &[&'static str]) -> &'static str {
    let Some((text, origin)) = read.text(key) else {
        read.show(key, format!("{:?}", words[0]), &Origin::Default);
        return words[0];
    };
    words
        .iter()
        .find(|word| **word == text)
        .copied()
        .unwrap_or_else(|| {
            let near = keys::nearest(&text, words.iter().copied()).unwrap_or(words[0]);
            read.wrong(
                key,
                format!("{text:?} from {origin}"),
                format!("it is one of {}", words.join(", ")),
                format!("write {key} = \"{near}\""),
            );
            words[0]
        })
}

fn default_return_to(read: &mut Resolver<'_>, public_url: &Url) -> String {
    let Some((text, origin)) = read.text("default_return_to") else {
        read.show("default_return_to", "\"/account\"".into(), &Origin::Default);
        return format!("{}account", public_url.path());
    };
    match ReturnTo::parse(&text, public_url) {
        Ok(target) => target.as_str().to_owned(),
        Err(_) => {
            read.wrong(
                "default_return_to",
                format!("{text:?} from {origin}"),
                "it is no path on public_url",
                "write default_return_to = \"/account\"",
            );
            String::new()
        }
    }
}

fn trusted_proxies(read: &mut Resolver<'_>) -> TrustedProxies {
    let Some((list, origin)) = read.list("trusted_proxies") else {
        return TrustedProxies::default();
    };
    TrustedProxies::parse(&list).unwrap_or_else(|bad| {
        read.wrong(
            "trusted_proxies",
            format!("{bad:?} from {origin}"),
            "it is no address and no network",
            "write trusted_proxies = [\"10.0.0.1\", \"192.168.0.0/16\"]",
        );
        TrustedProxies::default()
    })
}

/// How long something lives, such as `10m`, in seconds.
fn lifetime(read: &mut Resolver<'_>, key: &str, default: &str, max: i64) -> i64 {
    duration(read, key, default, 1..=max)
}

/// A time such as `10m`, in seconds.
fn duration(
    read: &mut Resolver<'_>,
    key: &str,
    default: &str,
    allowed: RangeInclusive<i64>,
) -> i64 {
    let (text, origin) = read.text(key).unwrap_or_else(|| {
        read.show(key, format!("{default:?}"), &Origin::Default);
        (default.to_owned(), Origin::Default)
    });
    let problem = match seconds(&text) {
        Some(seconds) if allowed.contains(&seconds) => return seconds,
        Some(_) => format!("it is between {}s and {}s", allowed.start(), allowed.end()),
        None => "it is a whole number with s, m, h or d".to_owned(),
    };
    read.wrong(
        key,
        format!("{text:?} from {origin}"),
        problem,
        format!("write {key} = {default:?}"),
    );
    *allowed.start()
}

/// A time such as `7d` in seconds: a whole number with s, m, h or d.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let each = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.trim().parse::<i64>().ok()?.checked_mul(each)
}

/// The address that a listener on this one is reached by.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port()))
        }
        _ => address,
    }
}
