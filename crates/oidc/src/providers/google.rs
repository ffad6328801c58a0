//! Google.
//!
//! ID tokens carry the issuer with or without `https://`. `hd` names the organisation of an account: a claim to check,
//! never a parameter to trust. A refresh token comes with `access_type=offline`, and again only after `prompt=consent`.

use super::{
    Authoritative, EmailTrust, Facts, IssuerRule, OpenId, Preset, Protocol, Quirks, Setting,
    Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "google",
    name: "Google",
    mark: Some(include_str!("marks/google.svg")),
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Fixed("https://accounts.google.com"),
        issuer_aliases: &["accounts.google.com"],
    }),
    scopes: &["openid", "email", "profile"],
    email: EmailTrust {
        verified: Verified::IfTrue("email_verified"),
        authoritative: Authoritative::MailboxesAndOrganisations(&["gmail.com"]),
        because: "Google runs the mailboxes of gmail.com and the organisations that hd names; of another address it knows that it was verified once.",
    },
    needs: &[Setting::ClientSecret],
    quirks: Quirks {
        offline_params: &[("access_type", "offline"), ("prompt", "consent")],
        refuses_embedded_browsers: true,
        // Documented are none, consent and select_account.
        no_prompt_login: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-24"),
        sources: &[
            "https://developers.google.com/identity/openid-connect/openid-connect",
            "https://developers.google.com/identity/gsi/web/guides/verify-google-id-token",
        ],
    },
};
