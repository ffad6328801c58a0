//! A preset in words, for people. The pages in `docs/` and `vestibule providers` say the same.

use crate::providers::{Authoritative, Preset, Protocol, Setting, Verified};

impl Preset {
    /// The protocol by its name.
    #[must_use]
    pub fn speaks(&self) -> &'static str {
        match self.protocol {
            Protocol::OpenId(_) => "OpenID Connect",
            Protocol::OAuth2(_) => "OAuth 2.0",
        }
    }

    /// The keys of the configuration that its operator has to give beside `client_id`.
    #[must_use]
    pub fn needed_keys(&self) -> Vec<&'static str> {
        self.needs
            .iter()
            .flat_map(|needed| needed.keys())
            .copied()
            .collect()
    }

    /// When an address counts as verified.
    #[must_use]
    pub fn verified_when(&self) -> String {
        if self.needs.contains(&Setting::Endpoints) {
            return "where the member that `email_verified_claim` names is JSON `true`".into();
        }
        match self.email.verified {
            Verified::IfTrue(path) => format!("where `{path}` is JSON `true`"),
            Verified::IfTrueOrText(path) => {
                format!("where `{path}` is JSON `true` or the text `\"true\"`")
            }
            Verified::IfTrueOrOne(path) => {
                format!("where `{path}` is JSON `true` or `1`, or one of them as text")
            }
            Verified::Listed => {
                "the primary address of its list, where the list says `true`".into()
            }
            Verified::Always => "always: it hands out no other in this place".into(),
            Verified::Never => "never".into(),
        }
    }

    /// When the provider is authoritative for a verified address.
    #[must_use]
    pub fn authoritative_when(&self) -> String {
        match self.email.authoritative {
            Authoritative::AsConfigured => "for the domains of `authoritative_for`".into(),
            Authoritative::MailboxesAndOrganisations(mailboxes) => format!(
                "for {}, where `hd` names an organisation, and for the domains of `authoritative_for`",
                mailboxes.join(", ")
            ),
            Authoritative::Never => "never".into(),
        }
    }
}
