//! OpenID Connect sign-in as pure steps.
