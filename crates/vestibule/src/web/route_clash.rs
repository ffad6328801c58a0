//! Our routes beside an application's: a clash is an error with a way out, where `Router::merge` would panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use axum::Router;

use crate::Vestibule;

/// A route that the application has, and that is ours too.
#[derive(Clone, Eq, PartialEq, thiserror::Error)]
#[error(
    "the application and Vestibule both have the route {route}. Give yours another path, or leave ours out: in place of add_to, merge those of routes(), pages() and users_api() that you want, without {ours}; or put them below a path with Router::nest and that path in public_url"
)]
pub struct RouteClash {
    /// The route, as far as the router names it.
    pub route: String,
    /// Which of our calls brings it.
    pub ours: &'static str,
}

impl core::fmt::Debug for RouteClash {
    /// As `Display`: a `main` that returns it prints what to do.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl Vestibule {
    /// Adds all our routes to an application's: `/auth`, `/oauth`, `/.well-known`, the pages, and `/users/me`.
    ///
    /// # Errors
    /// A route that both have.
    pub fn add_to<S>(&self, app: Router<S>) -> Result<Router<S>, RouteClash>
    where
        S: Clone + Send + Sync + 'static,
    {
        let app = merge(app, self.routes(), "routes()")?;
        let app = merge(app, self.pages(), "pages()")?;
        merge(app, self.users_api(), "users_api()")
    }
}

/// `Router::merge` tells of a clash by a panic alone, and a router cannot be asked what it holds.
fn merge<S>(app: Router<S>, ours: Router<S>, name: &'static str) -> Result<Router<S>, RouteClash>
where
    S: Clone + Send + Sync + 'static,
{
    /// The hook that prints panics is the process's: one caller at a time takes it away.
    static HOOK: Mutex<()> = Mutex::new(());
    let _one = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let merged = catch_unwind(AssertUnwindSafe(|| app.merge(ours)));
    std::panic::set_hook(hook);
    merged.map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        RouteClash {
            route: named_in(text),
            ours: name,
        }
    })
}

/// The route in axum's words: between backticks or quotes.
fn named_in(text: &str) -> String {
    ['`', '"']
        .into_iter()
        .find_map(|quote| text.split(quote).nth(1))
        .unwrap_or(text)
        .to_owned()
}
