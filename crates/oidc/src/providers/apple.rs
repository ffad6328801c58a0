//! Sign in with Apple.
//!
//! The client secret is a token that we sign with the key of the developer console. The answer comes as a form that the
//! browser posts from Apple's page, because Apple hands out `name` and `email` in no other way; the name comes in it the
//! first time alone. `email_verified` is `true` or the text `"true"`. An address may be one of Apple's private relay: it
//! reaches the person, and nobody else has it.

use super::{
    Authoritative, ClientAuthMethod, EmailTrust, Facts, IssuerRule, OpenId, Preset, Protocol,
    Quirks, Setting, Verified,
};

/// The preset.
pub static PRESET: Preset = Preset {
    id: "apple",
    name: "Apple",
    mark: Some(include_str!("marks/apple.svg")),
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Fixed("https://appleid.apple.com"),
        issuer_aliases: &[],
    }),
    scopes: &["openid", "email", "name"],
    email: EmailTrust {
        verified: Verified::IfTrueOrText("email_verified"),
        authoritative: Authoritative::Never,
        because: "Apple has verified every address that it names, once; most are mailboxes that others run.",
    },
    needs: &[Setting::TeamId, Setting::KeyId, Setting::PrivateKey],
    quirks: Quirks {
        form_post: true,
        client_auth: Some(ClientAuthMethod::Post),
        signed_client_secret: true,
        name_in_form: true,
        ..Quirks::NONE
    },
    facts: Facts {
        checked: Some("2026-11-25"),
        sources: &[
            "https://developer.apple.com/documentation/signinwithapplerestapi/request-an-authorization-to-the-sign-in-with-apple-server.",
            "https://developer.apple.com/documentation/signinwithapplerestapi/generate-and-validate-tokens",
            "https://developer.apple.com/documentation/signinwithapplerestapi/revoke-tokens",
            "https://developer.apple.com/forums/thread/121411",
        ],
    },
};
