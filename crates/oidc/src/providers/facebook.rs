//! Facebook.
//!
//! The subject is the person's number for this app alone. The address may be absent, and nothing says that it is
//! verified: the member `verified` of old was about the person's account, not the address. Without a version in the
//! path the Graph API answers as the oldest version that the app may use. Errors are objects, not words.

use super::{
    Authoritative, ClaimPaths, ClientAuthMethod, EmailTrust, Endpoints, Facts, OAuth2, Preset,
    Profile, Protocol, Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "facebook",
    name: "Facebook",
    mark: Some(include_str!("marks/facebook.svg")),
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "https://www.facebook.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://www.facebook.com/dialog/oauth",
            token: "https://graph.facebook.com/oauth/access_token",
            revocation: None,
            profile: Profile::Get("https://graph.facebook.com/me?fields=id,name,email,picture"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "id",
            email: "email",
            name: &["name"],
            picture: "picture.data.url",
        },
    }),
    scopes: &["public_profile", "email"],
    email: EmailTrust {
        verified: Verified::Never,
        authoritative: Authoritative::Never,
        because: "Facebook does not say whether the address is verified.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Post),
        subject_of_client: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow",
            "https://developers.facebook.com/docs/graph-api/reference/user",
            "https://developers.facebook.com/documentation/facebook-login/guides/permissions/review",
        ],
    },
};
