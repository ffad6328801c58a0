//! The web edge: requests become calls of one function of `flow.rs`, outcomes become responses. No SQL, no protocol.

mod answer;
mod cookies;
mod csrf;
mod edge;
mod embedded;
mod extract;
mod linking;
mod login;
mod me;
mod native;
mod oauth;
pub(crate) mod pages;
mod pages_routes;
mod route_clash;
mod texts;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodFilter, MethodRouter, get, on, post};
use http::{HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::Vestibule;
use crate::oauth::request;

pub(crate) use self::cookies::Prefix;
use self::edge::Edge;
pub use self::extract::{CurrentUser, OptionalUser, Rejection, Superuser, VerifiedUser};
pub use self::route_clash::RouteClash;

/// Where our metadata stand (RFC 8414 section 3).
const METADATA: &str = "/.well-known/oauth-authorization-server";
/// The largest body that any route of ours reads, in bytes.
const MAX_BODY: usize = 64 * 1024;

impl Vestibule {
    /// The sign-in routes, under `/auth`, `/oauth` and `/.well-known`. They carry their own state and merge into any
    /// router.
    pub fn routes<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let for_browsers = Router::new()
            .merge(self.readable_elsewhere("/auth/providers", get(login::providers), Method::GET))
            .route("/auth/logout", post(login::logout))
            .route("/auth/session/token", post(oauth::session_token))
            .route("/auth/{provider}/login", get(login::begin))
            .route("/auth/{provider}/link", post(linking::link))
            .route("/auth/{provider}/unlink", post(linking::unlink))
            .route("/auth/{provider}/nonce", post(native::nonce))
            .route("/auth/{provider}/id-token", post(native::id_token))
            .route(
                request::PATH,
                // HEAD would make a code that nobody gets.
                get(oauth::authorize)
                    .head(answer::method_not_allowed)
                    .post(oauth::authorize_confirmed),
            );
        // These read no cookie, so that no site can make a browser misuse one, or are bound in another way.
        let for_programs = Router::new()
            .merge(self.readable_elsewhere("/oauth/token", post(oauth::token), Method::POST))
            .merge(self.readable_elsewhere("/oauth/revoke", post(oauth::revoke), Method::POST))
            .route("/oauth/introspect", post(oauth::introspect))
            // Bound to the browser by the attempt, also where the provider's page posts it (S18). `get` would answer HEAD
            // too, and a link preview would then consume the attempt.
            .route(
                "/auth/{provider}/callback",
                on(MethodFilter::GET, login::callback)
                    .head(answer::method_not_allowed)
                    .post(login::callback_posted),
            )
            .route("/.well-known/jwks.json", get(oauth::jwks))
            .route(METADATA, get(oauth::metadata))
            // Where RFC 8414 section 3 puts it for a `public_url` with a path.
            .route(&format!("{METADATA}/{{*path}}"), get(oauth::metadata_below));
        self.edged(for_browsers, Edge::guarding(self))
            .merge(self.edged(for_programs, Edge::dressing(self)))
    }

    /// A route that pages of front ends may read, without cookies: on the origins of registered redirect URIs alone.
    fn readable_elsewhere(
        &self,
        path: &str,
        handlers: MethodRouter<Vestibule>,
        method: Method,
    ) -> Router<Vestibule> {
        let mut origins: Vec<HeaderValue> = self
            .inner
            .frontends
            .iter()
            .flat_map(|frontend| &frontend.redirect_uris)
            .filter_map(|uri| HeaderValue::try_from(uri.origin()?).ok())
            .collect();
        origins.sort();
        origins.dedup();
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([method])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
            .max_age(std::time::Duration::from_secs(600));
        Router::new()
            .route(path, handlers)
            // Before the layer, which answers preflights in place of it.
            .method_not_allowed_fallback(answer::method_not_allowed)
            .layer(cors)
    }

    /// The pages: `/login`, `/logout`, `/link`, `/account`, `/error`.
    pub fn pages<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let routes = Router::new()
            .route("/login", get(pages_routes::sign_in))
            .route(
                "/logout",
                get(pages_routes::sign_out).post(pages_routes::sign_out_now),
            )
            .route("/link", get(linking::question).post(linking::answered))
            .route("/account", get(pages_routes::account))
            .route("/error", get(pages_routes::error));
        self.edged(routes, Edge::guarding(self))
    }

    /// The routes about users: `/users/me`, its ways in, and its tokens of providers.
    pub fn users_api<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let routes = Router::new()
            .merge(self.readable_elsewhere("/users/me", get(me::me), Method::GET))
            .route(
                "/users/me/identities",
                get(linking::identities).delete(linking::delete_identity),
            )
            .route(
                "/users/me/providers/{provider}/token",
                // HEAD would renew a token that nobody gets.
                get(native::provider_token).head(answer::method_not_allowed),
            );
        self.edged(routes, Edge::guarding(self))
    }

    /// Lays our layers on our own routes and nowhere else.
    fn edged<S>(&self, routes: Router<Vestibule>, edge: Edge) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        routes
            .layer((DefaultBodyLimit::max(MAX_BODY), edge))
            // Outside of the guard: a method that a route does not take is that, wherever it comes from.
            .method_not_allowed_fallback(answer::method_not_allowed)
            .with_state(self.clone())
    }
}
