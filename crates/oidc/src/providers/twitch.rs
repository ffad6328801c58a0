//! Twitch.
//!
//! ID tokens hold what the parameter `claims` asks for and no more (OpenID Connect Core section 5.5); there is no claim
//! `name`. The token response lists its scopes in an array.

use super::{
    Authoritative, ClientAuthMethod, EmailTrust, Facts, IssuerRule, OpenId, Preset, Protocol,
    Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "twitch",
    name: "Twitch",
    mark: Some(include_str!("marks/twitch.svg")),
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Fixed("https://id.twitch.tv/oauth2"),
        issuer_aliases: &[],
    }),
    scopes: &["openid", "user:read:email"],
    email: EmailTrust {
        verified: Verified::IfTrue("email_verified"),
        authoritative: Authoritative::Never,
        because: "Twitch has verified it once, by a mail to it; the mailbox is run by somebody else.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        client_auth: Some(ClientAuthMethod::Post),
        authorization_params: &[(
            "claims",
            r#"{"id_token":{"email":null,"email_verified":null,"preferred_username":null,"picture":null}}"#,
        )],
        name_claim: "preferred_username",
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &["https://dev.twitch.tv/docs/authentication/getting-tokens-oidc"],
    },
};
