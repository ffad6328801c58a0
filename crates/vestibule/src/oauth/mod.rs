//! Front ends as our OAuth 2.0 clients (RFC 6749), step by step: the authorization request, the answer to it, who the
//! client is, and what its tokens are exchanged for.

pub(crate) mod client;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod token;
