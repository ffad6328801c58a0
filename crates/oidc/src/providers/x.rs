//! X.
//!
//! PKCE is required. An address is there only where the app may ask for `users.email`, and it is one that X has
//! confirmed. What describes the person stands below `data`.

use super::{
    Authoritative, ClaimPaths, ClientAuthMethod, EmailTrust, Endpoints, Facts, OAuth2, Preset,
    Profile, Protocol, Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "x",
    name: "X",
    mark: Some(include_str!("marks/x.svg")),
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "https://x.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://x.com/i/oauth2/authorize",
            token: "https://api.x.com/2/oauth2/token",
            revocation: Some("https://api.x.com/2/oauth2/revoke"),
            profile: Profile::Get(
                "https://api.x.com/2/users/me?user.fields=confirmed_email,profile_image_url",
            ),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "data.id",
            email: "data.confirmed_email",
            name: &["data.name", "data.username"],
            picture: "data.profile_image_url",
        },
    }),
    scopes: &["users.read", "tweet.read", "users.email"],
    email: EmailTrust {
        verified: Verified::Always,
        authoritative: Authoritative::Never,
        because: "confirmed_email is there only where X has confirmed the address, once; the mailbox is run by somebody else.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Basic),
        offline_scope: Some("offline.access"),
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code",
            "https://docs.x.com/fundamentals/authentication/oauth-2-0/user-access-token",
            "https://docs.x.com/x-api/users/user-lookup-me",
        ],
    },
};
