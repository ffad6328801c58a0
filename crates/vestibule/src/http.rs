//! The only outbound network. Requests to providers are bounded in time and size, follow no redirect, and reach private
//! addresses only where the configuration names the host (S19, S23, S24, S52).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::runtime;
use vestibule_accounts::BoxFuture;
use vestibule_oidc::{Method, OutboundRequest, OutboundResponse, Provider, ProviderId};

use crate::error::{Code, Failure};

/// How long a connection may take to stand (S24).
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection is kept for the next login.
const IDLE: Duration = Duration::from_secs(60);

/// Sends requests to providers.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request, once, and reads the whole answer within `deadline`.
    fn send<'a>(
        &'a self,
        provider: &'a Provider,
        request: OutboundRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Received, TransportError>>;
}

/// An answer, and how long it may be kept.
#[derive(Debug)]
pub struct Received {
    /// The answer.
    pub response: OutboundResponse,
    /// What `Cache-Control: max-age` says.
    pub max_age: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Not in time.
    #[error("{host} did not answer in time")]
    Deadline {
        /// Who.
        host: String,
    },
    /// No connection, or no TLS with a valid certificate.
    #[error(
        "no connection to {host}: {detail}. Check that it is up, its name, and its certificate"
    )]
    Connect {
        /// Who.
        host: String,
        /// What the system says.
        detail: String,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {detail}")]
    Broken {
        /// Who.
        host: String,
        /// What the system says.
        detail: String,
    },
    /// The answer is too long.
    #[error("the answer of {host} is over {max} bytes")]
    TooLarge {
        /// Who.
        host: String,
        /// How many bytes would have been read.
        max: usize,
    },
    /// http where https is required.
    #[error("{host} would be asked by http, which [danger] does not allow for it")]
    Http {
        /// Who.
        host: String,
    },
    /// A private address of a host that the configuration does not name.
    #[error(
        "{host} is at a private address and the configuration does not name it; if that is meant, add it to allowed_hosts of this provider"
    )]
    PrivateAddress {
        /// Who.
        host: String,
    },
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let (code, reason) = match &error {
            TransportError::Deadline { .. } => (Code::ProviderUnavailable, "provider_timeout"),
            TransportError::Connect { .. } => (Code::ProviderUnavailable, "provider_unreachable"),
            TransportError::Broken { .. } => (Code::ProviderUnavailable, "provider_connection"),
            TransportError::TooLarge { .. } => (Code::ProviderError, "answer_too_large"),
            TransportError::Http { .. } => (Code::ProviderMisconfigured, "http_refused"),
            TransportError::PrivateAddress { .. } => {
                (Code::ProviderMisconfigured, "private_address")
            }
        };
        Self::new(code, reason, error.to_string())
    }
}

/// How many clients there are at most, over all runtimes. One more takes the place of another.
const MAX_CLIENTS: usize = 4_096;

/// Requests over the network: one client for each provider, so that each reaches its own private hosts and no others.
///
/// And one for each runtime: a connection lives on the runtime that opened it, and a request from another one would
/// wake two threads for every step.
pub(crate) struct HttpClient {
    tls: rustls::ClientConfig,
    clients: Mutex<HashMap<(runtime::Id, ProviderId), reqwest::Client>>,
}

impl HttpClient {
    /// Clients for these providers.
    ///
    /// # Errors
    /// Where TLS cannot be set up; the text says why.
    pub(crate) fn new<'a>(
        providers: impl Iterator<Item = &'a Arc<Provider>>,
    ) -> Result<Self, String> {
        let transport = Self {
            tls: tls()?,
            clients: Mutex::default(),
        };
        // Here and now, so that what does not work is known at start.
        for provider in providers {
            transport.client(provider)?;
        }
        Ok(transport)
    }

    /// The client of this provider on this runtime.
    fn client(&self, provider: &Provider) -> Result<reqwest::Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (runtime::Handle::current().id(), provider.id.clone());
        if let Some(client) = clients.get(&place) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS
            && let Some(other) = clients.keys().next().cloned()
        {
            clients.remove(&other);
        }
        let client = client(provider, self.tls.clone())?;
        clients.insert(place, client.clone());
        Ok(client)
    }
}

/// TLS with the system's roots; with bundled ones where the system has none, as in an empty container.
fn tls() -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    // Never the process's default provider: another crate may have set it.
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(|error| error.to_string())?
    .with_root_certificates(roots)
    .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn client(provider: &Provider, tls: rustls::ClientConfig) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(PublicOnly {
            named: provider.allowed_hosts.clone().into(),
        })
        .build()
        .map_err(|error| error.to_string())
}

impl Transport for HttpClient {
    fn send<'a>(
        &'a self,
        provider: &'a Provider,
        request: OutboundRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Received, TransportError>> {
        Box::pin(async move {
            let host = request.url.host_str().unwrap_or_default().to_owned();
            if !provider.http.allows(&request.url) {
                return Err(TransportError::Http { host });
            }
            // The resolver never sees a literal address.
            let literal = match request.url.host() {
                Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
                Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
                _ => None,
            };
            if literal.is_some_and(|address| !is_public(address))
                && !provider.allowed_hosts.contains(&host)
            {
                return Err(TransportError::PrivateAddress { host });
            }
            let client = match self.client(provider) {
                Ok(client) => client,
                Err(detail) => return Err(TransportError::Connect { host, detail }),
            };
            match tokio::time::timeout(deadline, exchange(&client, request, &host)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(TransportError::Deadline { host }),
            }
        })
    }
}

async fn exchange(
    client: &reqwest::Client,
    request: OutboundRequest,
    host: &str,
) -> Result<Received, TransportError> {
    let max = request.max_body;
    let mut response = match build(client, &request).send().await {
        // Nothing was sent yet: a second try is safe even for a code (S29).
        Err(error) if error.is_connect() && !error.is_timeout() && !is_private(&error) => {
            build(client, &request).send().await
        }
        outcome => outcome,
    }
    .map_err(|error| told(host, error))?;

    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let content_type = header(reqwest::header::CONTENT_TYPE).map(str::to_owned);
    let max_age = header(reqwest::header::CACHE_CONTROL).and_then(max_age);
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| told(host, error))? {
        if body.len() + chunk.len() > max {
            return Err(TransportError::TooLarge {
                host: host.to_owned(),
                max,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received {
        response: OutboundResponse {
            status,
            content_type,
            body,
        },
        max_age,
    })
}

fn build(client: &reqwest::Client, request: &OutboundRequest) -> reqwest::RequestBuilder {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
    };
    let mut built = client
        .request(method, request.url.clone())
        .header(reqwest::header::ACCEPT, request.accept);
    if let Some(authorization) = &request.authorization
        && let Ok(mut value) = reqwest::header::HeaderValue::from_str(authorization.expose())
    {
        value.set_sensitive(true);
        built = built.header(reqwest::header::AUTHORIZATION, value);
    }
    if let Some(form) = &request.form {
        built = built
            .header(
                reqwest::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded",
            )
            .body(form.expose().to_owned());
    }
    built
}

/// `max-age` in seconds; `no-store` and `no-cache` are zero.
fn max_age(cache_control: &str) -> Option<Duration> {
    let mut found = None;
    for directive in cache_control.split(',').map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        {
            return Some(Duration::ZERO);
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
        {
            found = seconds
                .trim_matches('"')
                .parse()
                .ok()
                .map(Duration::from_secs);
        }
    }
    found
}

/// The error in words, without the URL.
fn told(host: &str, error: reqwest::Error) -> TransportError {
    let host = host.to_owned();
    if is_private(&error) {
        return TransportError::PrivateAddress { host };
    }
    let (timeout, connect) = (error.is_timeout(), error.is_connect());
    let error = error.without_url();
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        detail = cause.to_string();
        source = cause.source();
    }
    match (timeout, connect) {
        (true, _) => TransportError::Deadline { host },
        (false, true) => TransportError::Connect { host, detail },
        (false, false) => TransportError::Broken { host, detail },
    }
}

/// The name resolves to private addresses alone.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a private address")]
struct Private;

fn is_private(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<Private>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Resolves names by the system, and drops private addresses of hosts that the configuration does not name. The
/// addresses that are left are those that the connection uses: a second answer of the name server changes nothing.
struct PublicOnly {
    named: Arc<[String]>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let named = self.named.clone();
        Box::pin(async move {
            let may_be_private = named.iter().any(|host| host == name.as_str());
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let kept: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| may_be_private || is_public(address.ip()))
                .collect();
            if kept.is_empty() {
                return Err(Private.into());
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public Internet (the special-purpose registries of RFC 6890, IPv4 in IPv6 looked
/// through).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) carry an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(embedded(high, low)),
        [0x2002, high, low, ..] => is_public_v4(embedded(high, low)),
        [0x2001, 0xdb8, ..] | [0x2001, 0, ..] => false,
        // Global unicast is 2000::/3; the rest is local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S52; ATTACKS part M
    #[test]
    fn private_addresses_are_told_from_public_ones_in_every_spelling() {
        for private in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "0.1.2.3",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn max_age_is_read_as_the_seconds_that_an_answer_may_be_kept() {
        assert_eq!(
            max_age("public, max-age=3600"),
            Some(Duration::from_secs(3600))
        );
        assert_eq!(max_age("Max-Age=\"60\""), Some(Duration::from_secs(60)));
        assert_eq!(max_age("max-age=60, no-cache"), Some(Duration::ZERO));
        assert_eq!(max_age("public"), None);
        assert_eq!(max_age("max-age=x"), None);
    }
}
