//! A database URL: what the driver knows, and what we add to it.
//!
//! `prepare=false` is ours. Where TLS is spoken the certificate and the name in it are always checked, so that
//! `verify-ca` and `verify-full` are `require`; `sslrootcert` names a file of roots. Without `sslmode` a server on this
//! machine is asked in the clear, and another with TLS where it offers that.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one server may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// From when a server counts as gone that acknowledges nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// What a URL says.
pub(super) struct Settings {
    pub(super) config: Config,
    /// The same for each host alone.
    pub(super) hosts: Vec<Config>,
    pub(super) prepare: bool,
    /// A file with the roots that are trusted, in place of the system's.
    pub(super) roots: Option<PathBuf>,
}

impl Settings {
    /// How long one server may take to be reached.
    pub(super) fn connect_timeout(&self) -> Duration {
        let given = self.config.get_connect_timeout().copied();
        given.unwrap_or(CONNECT)
    }
}

/// Reads a URL.
///
/// # Errors
/// What is wrong with it, without its password.
pub(super) fn parse(url: &str) -> Result<Settings, String> {
    let after_user = url.rfind('@').unwrap_or(0);
    let (base, query) = match url[after_user..].find('?') {
        Some(at) => (&url[..after_user + at], &url[after_user + at + 1..]),
        None => (url, ""),
    };
    let (mut kept, mut prepare, mut roots) = (Vec::new(), true, None);
    let (mut mode, mut attributes) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = ::url::form_urlencoded::parse(pair.as_bytes())
            .next()
            .unwrap_or_default();
        match &*name {
            "prepare" => {
                prepare = match &*value {
                    "true" => true,
                    "false" => false,
                    _ => return Err("prepare is true or false".into()),
                }
            }
            "sslmode" => {
                mode = Some(match &*value {
                    "disable" => SslMode::Disable,
                    "allow" | "prefer" => SslMode::Prefer,
                    "require" | "verify-ca" | "verify-full" => SslMode::Require,
                    _ => {
                        return Err("sslmode is disable, prefer, require or verify-full".into());
                    }
                });
            }
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => roots = Some(PathBuf::from(&*value)),
            "target_session_attrs" => {
                attributes = Some(match &*value {
                    "any" => TargetSessionAttrs::Any,
                    "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                    _ => return Err("target_session_attrs is any or read-write: a replica that takes no writes will not do".into()),
                });
            }
            _ => kept.push(pair),
        }
    }
    let mut text = base.to_owned();
    if !kept.is_empty() {
        text.push('?');
        text.push_str(&kept.join("&"));
    }
    let read = |text: &str| Config::from_str(text).map_err(|error| super::run::told(&error));
    let mut config = read(&text)?;
    if config.get_hosts().is_empty() {
        return Err("it names no host".into());
    }
    let mode = mode.unwrap_or(if config.get_hosts().iter().all(is_here) {
        SslMode::Disable
    } else {
        SslMode::Prefer
    });
    // Of several servers one takes writes, and which one may change.
    let several = config.get_hosts().len() > 1;
    let attributes = attributes.unwrap_or(if several {
        TargetSessionAttrs::ReadWrite
    } else {
        TargetSessionAttrs::Any
    });
    let mut hosts = if config.get_hostaddrs().is_empty() {
        let alone = each_host(&text);
        alone
            .iter()
            .map(|url| read(url))
            .collect::<Result<_, _>>()?
    } else {
        vec![config.clone()]
    };
    for config in hosts.iter_mut().chain([&mut config]) {
        config.ssl_mode(mode).target_session_attrs(attributes);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        if config.get_application_name().is_none() {
            config.application_name("vestibule");
        }
    }
    Ok(Settings {
        config,
        hosts,
        prepare,
        roots,
    })
}

/// The URL for each host of its list alone. Hosts that stand in a parameter stay together, and the driver asks them.
fn each_host(url: &str) -> Vec<String> {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let start = url.rfind('@').map_or(authority, |at| at + 1);
    let end = url[start..]
        .find(['/', '?'])
        .map_or(url.len(), |length| start + length);
    let alone = |host| format!("{}{host}{}", &url[..start], &url[end..]);
    url[start..end].split(',').map(alone).collect()
}

/// Whether what is said to a host stays on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_parameters_are_taken_out_and_the_drivers_stay() {
        let settings =
            parse("postgres://u:p%40ss@db.example:5433/app?prepare=false&application_name=a&sslmode=verify-full&sslrootcert=%2Fca.pem")
                .unwrap();
        assert!(!settings.prepare);
        assert_eq!(settings.roots, Some(PathBuf::from("/ca.pem")));
        assert_eq!(settings.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(settings.config.get_application_name(), Some("a"));
        assert_eq!(settings.config.get_ports(), [5433]);
        assert_eq!(settings.config.get_password(), Some(&b"p@ss"[..]));
    }

    #[test]
    fn of_several_hosts_the_one_that_takes_writes_is_chosen() {
        let settings = parse("postgres://u:p%40@one,two:6000/app?connect_timeout=1").unwrap();
        assert_eq!(settings.config.get_hosts().len(), 2);
        let alone: Vec<_> = settings
            .hosts
            .iter()
            .map(|host| (host.get_hosts(), host.get_ports()))
            .collect();
        let [one, two] = ["one", "two"].map(|name| [Host::Tcp(name.into())]);
        assert_eq!(alone, [(&one[..], &[5432][..]), (&two[..], &[6000][..])]);
        for host in &settings.hosts {
            assert_eq!(host.get_password(), Some(&b"p@"[..]));
            assert_eq!(host.get_dbname(), Some("app"));
            assert_eq!(host.get_ssl_mode(), SslMode::Prefer);
            assert_eq!(host.get_connect_timeout(), Some(&Duration::from_secs(1)));
            assert_eq!(
                host.get_target_session_attrs(),
                TargetSessionAttrs::ReadWrite
            );
        }
        assert_eq!(
            settings.config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        let one = parse("postgres://u@one/app").unwrap();
        assert_eq!(
            one.config.get_target_session_attrs(),
            TargetSessionAttrs::Any
        );
    }

    #[test]
    fn tls_is_offered_to_other_machines_and_not_to_this_one() {
        for (url, mode) in [
            ("postgres://u@localhost/app", SslMode::Disable),
            ("postgres://u@127.0.0.1/app", SslMode::Disable),
            ("postgres:///app?host=/run/postgresql", SslMode::Disable),
            ("postgres://u@db/app", SslMode::Prefer),
            ("postgres://u@localhost,db/app", SslMode::Prefer),
            (
                "postgres://u@localhost/app?sslmode=require",
                SslMode::Require,
            ),
        ] {
            assert_eq!(parse(url).unwrap().config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_without_the_password() {
        for url in [
            "postgres://u:hunter2@db/app?pool=7",
            "postgres://u:hunter2@db/app?prepare=no",
            "postgres://u:hunter2@db/app?sslmode=yes",
            "postgres://u:hunter2@db/app?target_session_attrs=read-only",
            "postgres://u:hunter2@db:x/app",
        ] {
            let Err(problem) = parse(url) else {
                panic!("{url}")
            };
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
