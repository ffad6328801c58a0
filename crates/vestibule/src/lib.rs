//! Sign in with Google and any other OpenID provider, on your own database.
//!
//! [`Vestibule`] is the state of the sign-in. Say where you are, who people sign in with and where users are kept, add
//! its routes to yours, and take the person as [`CurrentUser`] in your handlers:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use vestibule::{CurrentUser, Vestibule, google};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # let (id, secret) = ("id", "secret");
//! let auth = Vestibule::builder()
//!     .public_url("https://app.example")
//!     .provider(google(id, secret))
//!     .store("sqlite://app.db")
//!     .build()
//!     .await?;
//! let app = Router::new()
//!     .route("/me", get(|user: CurrentUser| async move { user.name.clone().unwrap_or_default() }));
//! let app: Router = auth.add_to(app)?.with_state(auth);
//! # Ok(()) }
//! ```
//!
//! [`Vestibule::from_env`] reads the environment, `.env` and `vestibule.toml` instead, as the server does. Where only
//! some of the routes are wanted, or below a path of their own, merge or nest [`Vestibule::routes`],
//! [`Vestibule::pages`] and [`Vestibule::users_api`] yourself.

mod admit;
mod attempt;
#[cfg(feature = "sqlite")]
pub mod backup;
pub mod clock;
pub mod config;
mod decision;
mod error;
mod events;
mod flow;
mod frontend;
mod grants;
mod http;
mod keys;
mod linking;
mod native;
mod oauth;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod parsers;
mod provider_tokens;
mod rate;
mod remote;
mod return_to;
mod seal;
mod sessions;
mod start;
mod tokens;
mod users;
mod web;

use std::net::IpAddr;
use std::sync::Arc;

use ::http::HeaderMap;
use url::Url;

pub use vestibule_accounts as accounts;
use vestibule_accounts::{Policy, SessionKey, SessionToken, SignedIn, Store, Timestamp};
/// A stand-in provider for tests of your own application, with faults on command.
#[cfg(feature = "testing")]
pub use vestibule_devidp as devidp;
/// The protocol's steps, and the requests that a [`Transport`] sends.
pub use vestibule_oidc as oidc;
use vestibule_oidc::Provider;

use crate::clock::Clock;
pub use crate::decision::{Described, Foreseen};
pub use crate::error::{Code, Failure, Fault};
pub use crate::frontend::{Frontend, HandOff, RedirectUri, RedirectUriError, TokenFormat};
pub use crate::http::{Received, Transport, TransportError};
use crate::sessions::Believed;
pub use crate::start::{Builder, ProviderChoice, StartError, google, openid_provider};
pub use crate::web::{CurrentUser, OptionalUser, Rejection, RouteClash, Superuser, VerifiedUser};

/// Sign-in for one application. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Vestibule {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    providers: Vec<Arc<Provider>>,
    remote: remote::Remote,
    transport: Arc<dyn http::Transport>,
    sealer: seal::Sealer,
    rate: rate::RateLimits,
    sessions: sessions::Sessions,
    keys: keys::KeyCache,
    verified_tokens: tokens::VerifiedTokens,
    redeeming: grants::Redeeming,
    renewals: provider_tokens::Renewals,
    frontends: Vec<Arc<Frontend>>,
    /// In seconds.
    access_token_lifetime: i64,
    clock: Arc<dyn Clock>,
    policy: Policy,
    cookies: web::Prefix,
    /// `public_url` with a slash at its end, against which paths are resolved.
    public_base: Url,
    /// Scheme, host and port of `public_url`, as browsers write them.
    public_origin: String,
    /// The path of `public_url`, without a slash at its end.
    base_path: String,
    /// `public_url` without a slash at its end: `iss` of what we give out.
    issuer: String,
    default_return_to: String,
    session_lifetime: i64,
    session_idle: i64,
    trusted_proxies: config::TrustedProxies,
    product: String,
}

impl Inner {
    /// A path of ours as an absolute URL.
    fn public_url_of(&self, path: &str) -> String {
        format!("{}{}{path}", self.public_origin, self.base_path)
    }

    /// `iss` of our tokens and answers: exactly `public_url`.
    fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A checked target as an absolute URL on our origin.
    fn absolute(&self, target: &str) -> String {
        format!("{}{target}", self.public_origin)
    }
}

impl Vestibule {
    /// The absolute URL of a path of ours, such as `/account`, below `public_url`.
    #[must_use]
    pub fn public_url_of(&self, path: &str) -> String {
        self.inner.public_url_of(path)
    }
}

impl core::fmt::Debug for Vestibule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Vestibule")
            .field("public_url", &self.inner.public_base.as_str())
            .finish_non_exhaustive()
    }
}

impl Vestibule {
    /// The live session of a cookie's secret and its user.
    pub(crate) async fn signed_in(
        &self,
        token: &SessionToken,
    ) -> Result<Option<Arc<Believed>>, Failure> {
        self.alive(SessionKey::Cookie(token.hash())).await
    }

    /// The live session that is found so and its user. What was read within the last second is believed.
    pub(crate) async fn alive(&self, key: SessionKey) -> Result<Option<Arc<Believed>>, Failure> {
        let before = self.inner.clock.monotonic();
        let ticket = match self.inner.sessions.recall(&key, before) {
            Ok(signed_in) => return Ok(Some(signed_in)),
            Err(ticket) => ticket,
        };
        let now = self.now();
        let Some(signed_in) = self.inner.store.session(key, now).await? else {
            return Ok(None);
        };
        let signed_in = Arc::new(Believed::new(signed_in));
        self.inner
            .sessions
            .remember(key, before, ticket, signed_in.clone());
        self.touch(&signed_in, now);
        Ok(Some(signed_in))
    }

    /// Ends the session of a cookie's secret, in the database first.
    pub(crate) async fn sign_out(&self, token: &SessionToken) -> Result<(), Failure> {
        let hash = token.hash();
        let ended = self.inner.store.end_session(hash).await;
        self.inner.sessions.forget_cookie(&hash);
        if let Some(session) = ended? {
            self.inner.sessions.forget_session(session);
        }
        Ok(())
    }

    /// Writes when a session was last seen, at most once an hour; nobody waits for it.
    fn touch(&self, signed_in: &SignedIn, now: Timestamp) {
        const EVERY_SECONDS: i64 = 3_600;
        if now.seconds() - signed_in.session.last_seen_at.seconds() < EVERY_SECONDS {
            return;
        }
        let (store, id) = (self.inner.store.clone(), signed_in.session.id);
        tokio::spawn(async move {
            if let Err(error) = store.touch_session(id, now).await {
                tracing::warn!(event = "session.not_touched", detail = %error);
            }
        });
    }

    /// The address that limits count: the peer, or the rightmost hop that no trusted proxy of ours added.
    pub(crate) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        rate::client_address(peer, &forwarded, &|address| {
            self.inner.trusted_proxies.contains(address)
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Random bytes of AWS-LC's generator, which the operating system seeds.
    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        seal::random()
    }
}
