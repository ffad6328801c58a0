//! LinkedIn.
//!
//! It signs ID tokens, but they do not carry the `nonce` back, so that one could be of another attempt. UserInfo, asked
//! with the access token that our own code became, says who it is instead. A token request with a `code_verifier` is
//! refused as `invalid_client`, except of apps that LinkedIn has made native clients: `state` and our secret alone bind
//! the code to the attempt.
//!
//! Seen in the wild: <https://github.com/authlib/authlib/issues/763>,
//! <https://github.com/linkedin-developers/linkedin-api-js-client/issues/34> (no nonce),
//! <https://github.com/UsefulSoftwareCo/executor/issues/2087> (no `code_verifier`).

use super::{
    Authoritative, ClaimPaths, ClientAuthMethod, EmailTrust, Endpoints, Facts, OAuth2, Preset,
    Profile, Protocol, Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "linkedin",
    name: "LinkedIn",
    mark: Some(include_str!("marks/linkedin.svg")),
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "https://www.linkedin.com/oauth",
        issuer_aliases: &["https://www.linkedin.com"],
        endpoints: Endpoints {
            authorization: "https://www.linkedin.com/oauth/v2/authorization",
            token: "https://www.linkedin.com/oauth/v2/accessToken",
            revocation: None,
            profile: Profile::Get("https://api.linkedin.com/v2/userinfo"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "sub",
            email: "email",
            name: &["name"],
            picture: "picture",
        },
    }),
    scopes: &["openid", "profile", "email"],
    email: EmailTrust {
        verified: Verified::IfTrue("email_verified"),
        authoritative: Authoritative::Never,
        because: "LinkedIn has verified it once, by a mail to it; the mailbox is run by somebody else.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Post),
        token_type_may_lack: true,
        refuses_pkce: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://learn.microsoft.com/en-us/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2",
        ],
    },
};
