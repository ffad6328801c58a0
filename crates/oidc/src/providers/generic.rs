//! Any OpenID provider by its issuer. Nothing is particular about it, and it is authoritative for no address.

use super::Preset;

/// The preset.
pub static PRESET: Preset = Preset {
    id: "openid",
    name: "OpenID",
    issuer: None,
    issuer_aliases: &[],
    scopes: &["openid", "email", "profile"],
    says_hosted_domain: false,
    authoritative: |_, _| false,
};
