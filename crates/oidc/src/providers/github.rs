//! GitHub, and GitHub Enterprise Server by `base_url`.
//!
//! There is no ID token: `/user` says who it is, by a number that stays when the login is renamed. Errors of the token
//! endpoint come with status 200 and in GitHub's own words. The address of `/user` is what its owner chose to show;
//! the one that counts is the primary one of `/user/emails`, if it is verified.

use super::{
    Authoritative, ClaimPaths, ClientAuthMethod, EmailList, EmailTrust, Endpoints, Facts, OAuth2,
    Preset, Profile, Protocol, Quirks, Setting, TokenFault, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "github",
    name: "GitHub",
    mark: Some(include_str!("marks/github.svg")),
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "https://github.com",
        issuer_aliases: &["https://github.com/login/oauth"],
        endpoints: Endpoints {
            authorization: "https://github.com/login/oauth/authorize",
            token: "https://github.com/login/oauth/access_token",
            revocation: None,
            profile: Profile::Get("https://api.github.com/user"),
            emails: Some(emails("https://api.github.com/user/emails")),
        },
        installed: Some(Endpoints {
            authorization: "{base_url}/login/oauth/authorize",
            token: "{base_url}/login/oauth/access_token",
            revocation: None,
            profile: Profile::Get("{base_url}/api/v3/user"),
            emails: Some(emails("{base_url}/api/v3/user/emails")),
        }),
        claims: ClaimPaths {
            subject: "id",
            email: "",
            name: &["name", "login"],
            picture: "avatar_url",
        },
    }),
    scopes: &["read:user", "user:email"],
    email: EmailTrust {
        verified: Verified::Listed,
        authoritative: Authoritative::AsConfigured,
        because: "GitHub has verified it once, by a mail to it; the mailbox is run by somebody else.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Post),
        token_errors: &[
            ("incorrect_client_credentials", TokenFault::Client),
            ("bad_verification_code", TokenFault::Code),
            ("bad_refresh_token", TokenFault::Code),
        ],
        numeric_subject: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
            "https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors",
            "https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens",
            "https://docs.github.com/en/rest/users/emails",
            "https://github.blog/changelog/2025-07-14-pkce-support-for-oauth-and-github-app-authentication",
        ],
    },
};

const fn emails(url: &'static str) -> EmailList {
    EmailList {
        url,
        list: "",
        email: "email",
        primary: "primary",
        verified: "verified",
    }
}
