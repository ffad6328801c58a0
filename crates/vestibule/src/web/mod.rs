//! The web edge: requests become calls of one function of `flow.rs`, outcomes become responses. No SQL, no protocol.

mod answer;
mod cookies;
mod csrf;
mod extract;
mod login;
mod me;
pub(crate) mod pages;
mod pages_routes;
mod texts;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{MethodFilter, get, on, post};

use crate::Vestibule;

pub(crate) use self::cookies::Prefix;
pub use self::extract::{CurrentUser, OptionalUser, Rejection, Superuser, VerifiedUser};

/// The largest body that any route of ours reads, in bytes.
const MAX_BODY: usize = 64 * 1024;

impl Vestibule {
    /// The sign-in routes, under `/auth`. They carry their own state and merge into any router.
    pub fn routes<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let routes = Router::new()
            .route("/auth/providers", get(login::providers))
            .route("/auth/logout", post(login::logout))
            .route("/auth/{provider}/login", get(login::begin))
            // `get` would answer HEAD too, and a link preview would then consume the attempt (S18).
            .route(
                "/auth/{provider}/callback",
                on(MethodFilter::GET, login::callback).head(answer::method_not_allowed),
            );
        self.with_layers(routes)
    }

    /// The pages: `/login`, `/logout`, `/account`, `/error`.
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
            .route("/account", get(pages_routes::account))
            .route("/error", get(pages_routes::error));
        self.with_layers(routes)
    }

    /// The routes about users: `/users/me`.
    pub fn users_api<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.with_layers(Router::new().route("/users/me", get(me::me)))
    }

    /// Lays our layers on our own routes and nowhere else.
    fn with_layers<S>(&self, routes: Router<Vestibule>) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        routes
            .method_not_allowed_fallback(answer::method_not_allowed)
            .layer(middleware::from_fn_with_state(self.clone(), csrf::guard))
            .layer(middleware::from_fn_with_state(
                self.clone(),
                answer::headers,
            ))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self.clone())
    }
}
