//! Any OpenID provider by its issuer, and any OAuth 2.0 provider by its endpoints. Nothing is particular about them.

use super::{
    Authoritative, ClaimPaths, EmailTrust, Endpoints, Facts, IssuerRule, OAuth2, OpenId, Preset,
    Profile, Protocol, Quirks, Setting, Verified,
};

/// An OpenID provider by its issuer.
pub static OPENID: Preset = Preset {
    id: "openid",
    name: "OpenID",
    mark: None,
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Configured,
        issuer_aliases: &[],
    }),
    scopes: &["openid", "email", "profile"],
    email: EmailTrust {
        verified: Verified::IfTrue("email_verified"),
        authoritative: Authoritative::AsConfigured,
        because: "The claim means what OpenID Connect Core section 5.1 says; who runs the mailboxes is for the operator to say.",
    },
    needs: &[Setting::Issuer],
    quirks: Quirks {
        // OpenID Connect Core section 11. Who does not give refresh tokens so ignores it.
        offline_scope: Some("offline_access"),
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &["https://openid.net/specs/openid-connect-core-1_0.html"],
    },
};

/// An OAuth 2.0 provider by its endpoints and claim paths; the configuration replaces all of them.
pub static OAUTH2: Preset = Preset {
    id: "oauth2",
    name: "OAuth 2.0",
    mark: None,
    protocol: Protocol::OAuth2(OAuth2 {
        issuer: "",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "",
            token: "",
            revocation: None,
            profile: Profile::Get(""),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "",
            email: "",
            name: &[],
            picture: "",
        },
    }),
    scopes: &[],
    email: EmailTrust {
        verified: Verified::Never,
        authoritative: Authoritative::AsConfigured,
        because: "Nothing is known of it: the key email_verified_claim names the member that says so.",
    },
    needs: &[Setting::Endpoints],
    quirks: Quirks {
        // Nobody knows.
        subject_of_client: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &["https://www.rfc-editor.org/rfc/rfc6749"],
    },
};
