//! Sign in with Slack.
//!
//! An OpenID provider whose token endpoint answers errors with status 200 and `"ok": false`, in words of its own.

use super::{
    Authoritative, ClientAuthMethod, EmailTrust, Facts, IssuerRule, OpenId, Preset, Protocol,
    Quirks, Setting, TokenFault, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "slack",
    name: "Slack",
    mark: Some(include_str!("marks/slack.svg")),
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Fixed("https://slack.com"),
        issuer_aliases: &[],
    }),
    scopes: &["openid", "email", "profile"],
    email: EmailTrust {
        verified: Verified::IfTrue("email_verified"),
        authoritative: Authoritative::AsConfigured,
        because: "Slack has verified it once, or the workspace's organisation vouches for it; which workspace it is, anybody may choose.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Post),
        token_errors: &[
            ("invalid_client_id", TokenFault::Client),
            ("bad_client_secret", TokenFault::Client),
            ("invalid_code", TokenFault::Code),
            ("code_already_used", TokenFault::Code),
            ("bad_redirect_uri", TokenFault::Code),
        ],
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://docs.slack.dev/reference/methods/openid.connect.token",
            "https://docs.slack.dev/reference/methods/openid.connect.userInfo",
            "https://api.slack.com/.well-known/openid-configuration",
        ],
    },
};
