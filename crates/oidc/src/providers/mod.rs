//! THE list of presets: one file a provider with quirks, one line each here.

pub mod generic;
pub mod google;

use crate::identity::EmailClaim;

/// What is particular about a provider. Plain data and plain functions.
#[derive(Debug)]
pub struct Preset {
    /// Its name in routes and configuration.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Its issuer, where it has one of its own.
    pub issuer: Option<&'static str>,
    /// Other spellings of the issuer that its ID tokens carry.
    pub issuer_aliases: &'static [&'static str],
    /// What is asked for unless the configuration says otherwise.
    pub scopes: &'static [&'static str],
    /// Whether it names the organisation of an account in `hd`.
    pub says_hosted_domain: bool,
    /// Whether it is authoritative for a verified address, given `hd`: it runs the mailbox or the organisation.
    pub authoritative: fn(email: &EmailClaim, hosted_domain: Option<&str>) -> bool,
}

/// Every preset.
pub static ALL: &[&Preset] = &[&google::PRESET, &generic::PRESET];

/// The preset of a provider's name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Preset> {
    ALL.iter()
        .copied()
        .find(|preset| preset.id == id && preset.issuer.is_some())
}
