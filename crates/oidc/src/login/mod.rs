//! The steps of a login, one file each, in the order in which they happen.

pub(crate) mod callback;
pub(crate) mod id_token;
pub(crate) mod native;
pub(crate) mod profile;
pub(crate) mod refresh;
pub(crate) mod start;
pub(crate) mod token;
pub(crate) mod userinfo;

#[cfg(test)]
mod tests;
