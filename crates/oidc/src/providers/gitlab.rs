//! GitLab.com, and an installation of one's own by `issuer`.
//!
//! An ordinary OpenID provider. Whoever runs an installation can confirm any address by hand.

use super::{
    Authoritative, EmailTrust, Facts, IssuerRule, OpenId, Preset, Protocol, Quirks, Setting,
    Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "gitlab",
    name: "GitLab",
    mark: Some(include_str!("marks/gitlab.svg")),
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Installed("https://gitlab.com"),
        issuer_aliases: &[],
    }),
    scopes: &["openid", "email", "profile"],
    email: EmailTrust {
        verified: Verified::IfTrue("email_verified"),
        authoritative: Authoritative::AsConfigured,
        because: "GitLab has verified it once, or an administrator has confirmed it; the mailbox is run by somebody else.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks::NONE,
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &["https://docs.gitlab.com/integration/openid_connect_provider"],
    },
};
