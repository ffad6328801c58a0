//! Sign in with any OpenID provider, on your own database: an axum library.
