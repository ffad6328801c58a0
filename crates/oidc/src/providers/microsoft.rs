//! Microsoft Entra ID: work and school accounts of one tenant or of several, and personal accounts.
//!
//! The issuer names the tenant. With `tenant = "common"` or `"organizations"` the metadata's issuer holds `{tenantid}`: `tid` of
//! the signed token goes in its place, and only the tenants of `allowed_tenants` may come.
//!
//! `email`, `upn` and `preferred_username` are texts that an administrator of any tenant may set to anything (nOAuth). Only
//! the optional claim `xms_edov` says that the tenant has proved to own the domain; it is added to the ID token at the
//! app's registration, and comes as `true`, `1` or one of them as text.

use super::{
    Authoritative, EmailTrust, Facts, IssuerRule, OpenId, Preset, Protocol, Quirks, Setting,
    Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "microsoft",
    name: "Microsoft",
    mark: Some(include_str!("marks/microsoft.svg")),
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Tenants("https://login.microsoftonline.com/{tenantid}/v2.0"),
        issuer_aliases: &[],
    }),
    scopes: &["openid", "email", "profile"],
    email: EmailTrust {
        verified: Verified::IfTrueOrOne("xms_edov"),
        authoritative: Authoritative::AsConfigured,
        because: "An administrator of any tenant can set the address to anything; xms_edov says that the tenant owns its domain.",
    },
    needs: &[Setting::Tenant, Setting::ClientSecret],
    quirks: Quirks {
        offline_scope: Some("offline_access"),
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://learn.microsoft.com/en-us/entra/identity-platform/migrate-off-email-claim-authorization",
            "https://learn.microsoft.com/en-us/entra/identity-platform/optional-claims-reference",
        ],
    },
};
