//! Spotify.
//!
//! The subject is `account_id`, which never changes; Spotify says not to link accounts by `id`. The address is, by
//! Spotify's own words, unverified, and a member that it has deprecated.

use super::{
    Authoritative, ClaimPaths, ClientAuthMethod, EmailTrust, Endpoints, Facts, OAuth2, Preset,
    Profile, Protocol, Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "spotify",
    name: "Spotify",
    mark: Some(include_str!("marks/spotify.svg")),
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "https://accounts.spotify.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://accounts.spotify.com/authorize",
            token: "https://accounts.spotify.com/api/token",
            revocation: None,
            profile: Profile::Get("https://api.spotify.com/v1/me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "account_id",
            email: "email",
            name: &["display_name"],
            picture: "images.0.url",
        },
    }),
    scopes: &["user-read-email"],
    email: EmailTrust {
        verified: Verified::Never,
        authoritative: Authoritative::Never,
        because: "Spotify says that nothing proves that the address is the person's.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Basic),
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://developer.spotify.com/documentation/web-api/reference/get-current-users-profile",
            "https://developer.spotify.com/documentation/web-api/concepts/spotify-uris-ids",
            "https://developer.spotify.com/documentation/web-api/tutorials/client-credentials-flow",
        ],
    },
};
