//! Google. Facts of 2026-11-24, from "OpenID Connect" and "Verify the Google ID token" of its identity documentation.
//!
//! ID tokens carry the issuer with or without `https://`. Google is authoritative for an address at `gmail.com`, and
//! for one of an organisation, which `hd` names. `hd` is a claim to check, never a parameter to trust.

use super::Preset;
use crate::identity::EmailClaim;

/// The preset.
pub static PRESET: Preset = Preset {
    id: "google",
    name: "Google",
    issuer: Some("https://accounts.google.com"),
    issuer_aliases: &["accounts.google.com"],
    scopes: &["openid", "email", "profile"],
    says_hosted_domain: true,
    authoritative,
};

fn authoritative(email: &EmailClaim, hosted_domain: Option<&str>) -> bool {
    match email {
        EmailClaim::Verified(email) => {
            hosted_domain.is_some() || email.to_ascii_lowercase().ends_with("@gmail.com")
        }
        EmailClaim::Unverified(_) | EmailClaim::Absent => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S56
    #[test]
    fn google_is_authoritative_for_gmail_and_for_organisations_and_only_when_verified() {
        let verified = |email: &str| EmailClaim::Verified(email.into());
        assert!(authoritative(&verified("a@gmail.com"), None));
        assert!(authoritative(
            &verified("a@example.com"),
            Some("example.com")
        ));
        assert!(!authoritative(&verified("a@example.com"), None));
        assert!(!authoritative(&verified("a@notgmail.com"), None));
        assert!(!authoritative(&verified("a@gmail.com.example"), None));
        assert!(!authoritative(
            &EmailClaim::Unverified("a@gmail.com".into()),
            Some("gmail.com")
        ));
        assert!(!authoritative(&EmailClaim::Absent, Some("example.com")));
    }
}
