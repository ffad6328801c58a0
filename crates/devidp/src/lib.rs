//! A stand-in OpenID provider on loopback, with faults on command.
//!
//! It speaks like Google on the wire, asks nobody for a password, and does one thing wrong when told to. For development and tests:
//! whoever reaches it signs in as anybody. It signs its tokens itself and shares no code with the crates that verify them.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use vestibule_devidp::{DevIdp, Fault};
//!
//! let idp = DevIdp::builder().client("client", "secret").start().await?;
//! println!("{}/.well-known/openid-configuration", idp.issuer());
//! idp.set_fault(Fault::WrongAudience); // every login from here on gets a token for somebody else
//! idp.set_fault(Fault::None);
//! idp.stop().await;
//! # Ok(())
//! # }
//! ```

mod assertion;
mod authorize;
mod client_auth;
mod fault;
mod pages;
mod people;
mod provider;
mod pushed;
mod resources;
mod revocation;
mod routes;
mod token_endpoint;
mod tokens;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use url::Url;

pub use crate::{
    client_auth::ClientAuthentication,
    fault::{Fault, UnknownFault},
    people::{Person, default_people},
    provider::{Counters, RedirectUris, SeenTokenRequest},
};
use crate::{
    provider::{Client, Provider, PushedRequests, Settings},
    tokens::{Facts, Keys, TENANT_ID},
};

/// The issuer that faults name where ours belongs.
pub(crate) const OTHER_ISSUER: &str = "https://idp.example";

/// How long a stop waits for requests under way.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Why the stand-in does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevIdpError {
    /// The address cannot be listened on.
    #[error(
        "the stand-in provider cannot listen on {address}: {source}; choose another port, or 0 for any"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listener does not say where it listens.
    #[error("the listener of the stand-in provider has no address: {0}")]
    Listener(io::Error),
    /// The issuer is not a URL of http or https with a host, without query, fragment and slash at its end.
    #[error("the issuer of the stand-in provider is {0:?}; it must be like http://127.0.0.1:8009")]
    Issuer(String),
    /// No client was registered, so that nobody could sign in.
    #[error("the stand-in provider has no client; call Builder::client with an id and a secret")]
    NoClient,
    /// No signing key could be generated.
    #[error("the stand-in provider could not generate a signing key")]
    Keys,
}

/// How the stand-in will be. [`DevIdp::builder`] makes one; everything but the client has a default.
pub struct Builder {
    listen: SocketAddr,
    listener: Option<TcpListener>,
    issuer: Option<String>,
    settings: Settings,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("listen", &self.listen)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Where to listen. Without it, a free port on 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// A listener that is open already, in place of an address.
    #[must_use]
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// What the issuer is called, where it is not `http://` and the address. The endpoints stand at the address all the same, so
    /// that a client which is told the `metadata_url` knows the same issuer on whatever port. Its path, if any, stands before every
    /// route.
    ///
    /// With `{tenantid}` in its path it is like Microsoft's `common`: the metadata show it as it is, `iss` of a token holds the
    /// tenant of the person, the routes stand below the path with `common` in that place, and callbacks have no `iss`.
    #[must_use]
    pub fn issuer(mut self, issuer: String) -> Self {
        self.issuer = Some(issuer);
        self
    }

    /// What its pages call it. Without it, "Stand-in Google".
    #[must_use]
    pub fn name(mut self, name: String) -> Self {
        self.settings.name = name;
        self
    }

    /// Registers a client with a secret, which it sends in the header or in the form. May be called again for another.
    #[must_use]
    pub fn client(self, client_id: &str, client_secret: &str) -> Self {
        let secret = ClientAuthentication::Secret(client_secret.to_owned());
        self.client_with(client_id, secret)
    }

    /// Registers a client that proves in this way who it is, and in no other. The metadata name the ways of all clients.
    #[must_use]
    pub fn client_with(mut self, client_id: &str, authentication: ClientAuthentication) -> Self {
        self.settings.clients.push(Client {
            client_id: client_id.to_owned(),
            authentication,
        });
        self
    }

    /// Which redirect URIs are accepted. Without it, any on loopback.
    #[must_use]
    pub fn redirect_uris(mut self, redirect_uris: RedirectUris) -> Self {
        self.settings.redirect_uris = redirect_uris;
        self
    }

    /// Who can sign in. Without it, [`default_people`].
    #[must_use]
    pub fn people(mut self, people: Vec<Person>) -> Self {
        self.settings.people = people;
        self
    }

    /// The clock, in seconds since 1970. Without it, the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        self.settings.clock = clock;
        self
    }

    /// How long an access token lives. Without it, an hour less a second, as at Google.
    #[must_use]
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.access_token_seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// Refuses an authorization request that comes in a URL: clients have to push it (RFC 9126). Without it, they may.
    #[must_use]
    pub fn require_pushed_authorization_requests(mut self) -> Self {
        self.settings.pushed_requests = PushedRequests::Required;
        self
    }

    /// Starts to serve, in a task of this runtime.
    ///
    /// # Errors
    /// [`DevIdpError`]: the address is taken, the issuer is not a URL, no client is registered, or no key can be generated.
    pub async fn start(self) -> Result<DevIdp, DevIdpError> {
        if self.settings.clients.is_empty() {
            return Err(DevIdpError::NoClient);
        }
        let listener = match self.listener {
            Some(listener) => listener,
            None => TcpListener::bind(self.listen)
                .await
                .map_err(|source| DevIdpError::Listen {
                    address: self.listen,
                    source,
                })?,
        };
        let address = listener.local_addr().map_err(DevIdpError::Listener)?;
        let issuer = match self.issuer {
            Some(issuer) => issuer,
            None => format!("http://{address}"),
        };
        let path = issuer_path(&issuer).ok_or_else(|| DevIdpError::Issuer(issuer.clone()))?;
        // Two keys of 2,048 bits take a moment, in which the runtime has other things to do.
        let keys = tokio::task::spawn_blocking(Keys::generate)
            .await
            .map_err(|_| DevIdpError::Keys)?
            .map_err(|_| DevIdpError::Keys)?;

        let (stop, mut stopped) = watch::channel(false);
        let reachable = if address.ip().is_unspecified() {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        } else {
            address
        };
        let base = format!("http://{reachable}{path}");
        let provider = Arc::new(Provider::new(
            issuer,
            base,
            self.settings,
            keys,
            stopped.clone(),
        ));
        let router = routes::router(Arc::clone(&provider), &path);
        let task = tokio::spawn(async move {
            // An error of `accept` is retried inside; there is none to report.
            let _ = axum::serve(listener, router)
                .with_graceful_shutdown(async move {
                    let _ = stopped.wait_for(|stopped| *stopped).await;
                })
                .await;
        });
        Ok(DevIdp {
            provider,
            address,
            stop,
            task: Some(task),
        })
    }
}

/// The path of an issuer, empty for none; `None` when it is not an issuer (OIDC Discovery 1.0 section 3, http allowed).
fn issuer_path(issuer: &str) -> Option<String> {
    let issuer = issuer.replace(TENANT_ID, "common");
    let url = Url::parse(&issuer).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && !issuer.ends_with('/')
        && !url.path().contains(['{', '}']);
    plain.then(|| url.path().trim_end_matches('/').to_owned())
}

/// The stand-in, at work until it is stopped or dropped.
pub struct DevIdp {
    provider: Arc<Provider>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl fmt::Debug for DevIdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevIdp")
            .field("issuer", &self.provider.issuer)
            .finish_non_exhaustive()
    }
}

impl DevIdp {
    /// Begins one.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            listener: None,
            issuer: None,
            settings: Settings {
                name: "Stand-in Google".to_owned(),
                people: default_people(),
                clients: Vec::new(),
                redirect_uris: RedirectUris::AnyLoopback,
                clock: Arc::new(system_seconds),
                access_token_seconds: 3599,
                pushed_requests: PushedRequests::Allowed,
            },
        }
    }

    /// The issuer, for example `http://127.0.0.1:8009`.
    pub fn issuer(&self) -> &str {
        &self.provider.issuer
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Chooses what is wrong from the next request on. It stays until [`Fault::None`] is chosen.
    pub fn set_fault(&self, fault: Fault) {
        self.provider.set_fault(fault);
    }

    /// How often each endpoint was asked so far.
    pub fn counters(&self) -> Counters {
        self.provider.counts.read()
    }

    /// A new key with a new `kid` signs from now on; the old one leaves the JWKS.
    pub fn rotate_keys(&self) {
        self.provider.rotate_keys();
    }

    /// The last request to the token endpoint, as it came.
    pub fn last_token_request(&self) -> Option<SeenTokenRequest> {
        self.provider.last_token_request()
    }

    /// An ID token as an app gets it that signs people in with the provider's own kit: no code and no access token, for the
    /// app's `audience`. The fault that is chosen acts on it.
    pub fn native_id_token(&self, person: &Person, audience: &str, nonce: &str) -> String {
        let provider = &self.provider;
        let facts = Facts {
            issuer: &provider.issuer,
            client_id: audience,
            person,
            scope: "openid email profile",
            nonce: Some(nonce),
            access_token: None,
            now: provider.now(),
        };
        let secret = provider
            .client(audience)
            .map(|client| client.authentication.secret());
        tokens::id_token(
            &facts,
            &provider.keys(),
            secret.unwrap_or_default(),
            provider.fault(),
        )
    }

    /// Stops: no new connection is taken, and requests under way have two seconds to finish.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(STOP_WITHIN, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for DevIdp {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn system_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
