//! Discord.
//!
//! `/users/@me` says who it is, by a number as text. Callbacks carry `iss` (RFC 9207). The picture is a hash and no URL.

use super::{
    Authoritative, ClaimPaths, EmailTrust, Endpoints, Facts, OAuth2, Preset, Profile, Protocol,
    Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "discord",
    name: "Discord",
    mark: Some(include_str!("marks/discord.svg")),
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "https://discord.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://discord.com/api/oauth2/authorize",
            token: "https://discord.com/api/oauth2/token",
            revocation: Some("https://discord.com/api/oauth2/token/revoke"),
            profile: Profile::Get("https://discord.com/api/users/@me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "id",
            email: "email",
            name: &["global_name", "username"],
            picture: "",
        },
    }),
    scopes: &["identify", "email"],
    email: EmailTrust {
        verified: Verified::IfTrue("verified"),
        authoritative: Authoritative::Never,
        because: "Discord has verified it once, by a mail to it; the mailbox is run by somebody else.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks::NONE,
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &["https://discord.com/.well-known/oauth-authorization-server"],
    },
};
