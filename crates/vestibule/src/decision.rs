//! A decision in words: what would be decided about an identity, and why. The decision is `vestibule_accounts::decide`'s;
//! here it is only told. The words hold no address, so that a log may hold them.

use vestibule_accounts::{
    Decision, EmailAddress, EmailFact, HostedDomain, IdentityFacts, Intent, Known, Linking, Policy,
    Refusal, Signup, decide,
};
use vestibule_oidc::Provider;

use crate::Vestibule;
use crate::error::{Code, Failure};

/// An identity as somebody describes it, to ask what a sign-in with it would lead to. It is no proof of anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Described {
    /// The name of a configured provider.
    pub provider: String,
    /// The provider's name of the person; `None`: one that nobody has.
    pub subject: Option<String>,
    /// The address that the provider gives.
    pub email: Option<EmailAddress>,
    /// Whether the provider says that the address is verified.
    pub says_verified: bool,
    /// The organisation that the provider names.
    pub hosted_domain: Option<String>,
}

/// What a sign-in would lead to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreseen {
    /// What the address counts as.
    pub email: EmailFact,
    /// What is decided.
    pub decision: Decision,
    /// Why.
    pub why: &'static str,
}

impl Vestibule {
    /// What a sign-in with such an identity would lead to now, by the configuration and the database. Nothing is written
    /// and no provider is asked.
    ///
    /// # Errors
    /// `provider_unknown`; `bad_request` where such an identity cannot come from this provider; `service_unavailable`
    /// while the database cannot be used.
    pub async fn foresee(&self, described: Described) -> Result<Foreseen, Failure> {
        let provider = self.provider(&described.provider)?;
        let facts = facts(&provider, &described)?;
        let key = match &facts.email {
            EmailFact::Verified { address, .. } => Some(address.key().clone()),
            EmailFact::Absent | EmailFact::Unverified => None,
        };
        let issuer = provider.issuer.as_str().to_owned();
        // No identity has an empty subject.
        let subject = described.subject.unwrap_or_default();
        let known = self.inner.store.known(issuer, subject, key, self.now());
        let (known, policy) = (known.await?, &self.inner.policy);
        let decision = decide(&facts, &known, policy, Intent::SignIn);
        let why = why(&decision, &facts, &known, policy);
        Ok(Foreseen {
            email: facts.email,
            decision,
            why,
        })
    }
}

/// What the provider would say of somebody, judged as at a sign-in.
fn facts(provider: &Provider, described: &Described) -> Result<IdentityFacts, Failure> {
    let impossible = |words: &str| {
        let text = format!("{} {words}", provider.id);
        Failure::new(Code::BadRequest, "described", text)
    };
    if described.hosted_domain.is_some() && !provider.says_hosted_domain() {
        return Err(impossible(
            "names no organisations: leave the hosted domain out",
        ));
    }
    if described.subject.is_some() && provider.has_issuer_for_each_tenant() {
        return Err(impossible(
            "has an issuer for each tenant, so that a subject alone names nobody: leave it out",
        ));
    }
    let hosted_domain = described.hosted_domain.as_deref();
    let email = match &described.email {
        None => EmailFact::Absent,
        Some(_) if !provider.takes_as_verified(described.says_verified) => EmailFact::Unverified,
        Some(address) => EmailFact::Verified {
            address: address.clone(),
            authoritative: provider.is_authoritative_for(address.as_str(), hosted_domain),
        },
    };
    let hosted_domain = match hosted_domain {
        Some(domain) => HostedDomain::Of(domain.to_ascii_lowercase()),
        None if provider.says_hosted_domain() => HostedDomain::Personal,
        None => HostedDomain::NeverSaid,
    };
    Ok(IdentityFacts {
        email,
        hosted_domain,
    })
}

/// Why a decision about somebody who signs in is what it is.
pub(crate) fn why(
    decision: &Decision,
    facts: &IdentityFacts,
    known: &Known,
    policy: &Policy,
) -> &'static str {
    match decision {
        Decision::SignIn(_) => "the identity is a way in of this user",
        Decision::Create {
            by_invitation: true,
            ..
        } => "nobody has the identity or owns the address, and the address is invited",
        Decision::Create { evict: Some(_), .. } => {
            "nobody has the identity or owns the address; who claims the address never proved it, and loses the claim"
        }
        Decision::Create {
            owning: Some(_), ..
        } => "nobody has the identity or owns the address, and signup lets in whoever comes so",
        Decision::Create { owning: None, .. } => match facts.email {
            EmailFact::Unverified => {
                "nobody has the identity; the address does not count as verified, so that it is not looked up, and require_email = false"
            }
            EmailFact::Absent | EmailFact::Verified { .. } => {
                "nobody has the identity; it comes without an address, and require_email = false"
            }
        },
        Decision::Link(_) => {
            "the address belongs to this user; linking = \"verified\", and the provider is authoritative for the address"
        }
        Decision::AskToLink(_) => match policy.linking {
            Linking::Verified if known.taken_away => {
                "the address belongs to this user, who has taken the identity away: not even linking = \"verified\" connects it again without asking"
            }
            Linking::Verified => {
                "the address belongs to this user; linking = \"verified\", but the provider is not authoritative for the address"
            }
            Linking::Ask | Linking::Never => {
                "the address belongs to this user, and linking = \"ask\""
            }
        },
        Decision::AskClaimant(_) => {
            "the address is claimed by this user, who has a password and never proved the address"
        }
        Decision::Refuse(refusal) => why_not(*refusal, facts, known, policy),
    }
}

fn why_not(
    refusal: Refusal,
    facts: &IdentityFacts,
    known: &Known,
    policy: &Policy,
) -> &'static str {
    match refusal {
        Refusal::AccountDisabled if known.identity.is_some() => {
            "the identity is a way in of a user who is disabled"
        }
        Refusal::AccountDisabled => "the address belongs to a user who is disabled",
        Refusal::EmailMissing => "an address is required (require_email), and none comes",
        Refusal::EmailUnverified => {
            "an address is required (require_email), and this one does not count as verified"
        }
        Refusal::AccountExists => "the address belongs to a user, and linking = \"never\"",
        Refusal::IdentityInUse => "the identity is a way in of another user",
        Refusal::SignupClosed => match (&policy.signup, &facts.email) {
            (Signup::Invite, EmailFact::Verified { .. }) => {
                "nobody has the identity or owns the address; signup = \"invite\", and there is no invitation for the address"
            }
            (Signup::Invite, EmailFact::Absent | EmailFact::Unverified) => {
                "nobody has the identity; signup = \"invite\", and without a verified address nobody is invited"
            }
            (Signup::Open | Signup::Domains(_) | Signup::Closed, _) => {
                "it would be a new user, and signup = \"closed\""
            }
        },
        Refusal::DomainNotAllowed => match (&facts.email, &facts.hosted_domain) {
            (EmailFact::Absent | EmailFact::Unverified, _) => {
                "it would be a new user; signup = \"domains\", and no verified address comes"
            }
            (EmailFact::Verified { .. }, HostedDomain::Personal) => {
                "it would be a new user; signup = \"domains\", and to the provider it is an account of no organisation"
            }
            (EmailFact::Verified { .. }, HostedDomain::NeverSaid | HostedDomain::Of(_)) => {
                "it would be a new user; signup = \"domains\", and allowed_domains lacks its domain"
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vestibule_accounts::{Account, UserId, UserVersion};

    use super::*;

    fn account(number: u8, is_active: bool) -> Account {
        Account {
            user: UserId::from_bytes([number; 16]),
            version: UserVersion(1),
            is_active,
        }
    }

    fn all_facts() -> Vec<IdentityFacts> {
        let verified = |authoritative| EmailFact::Verified {
            address: EmailAddress::parse("ann@example.com").unwrap(),
            authoritative,
        };
        let emails = [
            EmailFact::Absent,
            EmailFact::Unverified,
            verified(false),
            verified(true),
        ];
        let organisations = [
            HostedDomain::NeverSaid,
            HostedDomain::Personal,
            HostedDomain::Of("other.example".into()),
        ];
        let of = |email: EmailFact| {
            organisations.clone().map(|hosted_domain| IdentityFacts {
                email: email.clone(),
                hosted_domain,
            })
        };
        emails.into_iter().flat_map(of).collect()
    }

    fn all_known() -> Vec<Known> {
        let nobody = Known::default();
        let mut all = vec![
            nobody,
            Known {
                invited: true,
                ..nobody
            },
        ];
        for is_active in [true, false] {
            let someone = Some(account(1, is_active));
            all.extend([
                Known {
                    identity: someone,
                    ..nobody
                },
                Known {
                    owner: someone,
                    ..nobody
                },
                Known {
                    owner: someone,
                    taken_away: true,
                    ..nobody
                },
                Known {
                    claimant: someone,
                    ..nobody
                },
            ]);
        }
        all
    }

    fn all_policies() -> Vec<Policy> {
        let mut all = Vec::new();
        for linking in [Linking::Never, Linking::Ask, Linking::Verified] {
            for require_email in [true, false] {
                for signup in [
                    Signup::Open,
                    Signup::Invite,
                    Signup::Domains(vec!["acme.example".into()]),
                    Signup::Closed,
                ] {
                    all.push(Policy {
                        linking,
                        signup,
                        require_email,
                    });
                }
            }
        }
        all
    }

    /// Every setting that the words could name, and whether it is so.
    fn settings(policy: &Policy) -> [(&'static str, bool); 8] {
        [
            ("linking = \"never\"", policy.linking == Linking::Never),
            ("linking = \"ask\"", policy.linking == Linking::Ask),
            (
                "linking = \"verified\"",
                policy.linking == Linking::Verified,
            ),
            ("signup = \"invite\"", policy.signup == Signup::Invite),
            (
                "signup = \"domains\"",
                matches!(policy.signup, Signup::Domains(_)),
            ),
            ("signup = \"closed\"", policy.signup == Signup::Closed),
            ("require_email = false", !policy.require_email),
            ("(require_email)", policy.require_email),
        ]
    }

    #[test]
    fn the_words_name_no_setting_and_no_fact_that_is_not_so() {
        let mut told = BTreeSet::new();
        for facts in all_facts() {
            for known in all_known() {
                for policy in all_policies() {
                    let decision = decide(&facts, &known, &policy, Intent::SignIn);
                    let why = why(&decision, &facts, &known, &policy);
                    told.insert(why);
                    let verified = matches!(facts.email, EmailFact::Verified { .. });
                    let authoritative = matches!(
                        facts.email,
                        EmailFact::Verified {
                            authoritative: true,
                            ..
                        }
                    );
                    let things = [
                        ("the identity is a way in", known.identity.is_some()),
                        ("nobody has the identity", known.identity.is_none()),
                        ("the address belongs to", known.owner.is_some()),
                        ("owns the address", known.owner.is_none()),
                        ("claim", known.claimant.is_some()),
                        ("has taken the identity away", known.taken_away),
                        ("the address is invited", known.invited),
                        ("there is no invitation", !known.invited),
                        ("does not count as verified", !verified),
                        ("is authoritative for", authoritative),
                        ("is not authoritative for", !authoritative),
                    ];
                    for (words, is_so) in things.into_iter().chain(settings(&policy)) {
                        assert!(
                            is_so || !why.contains(words),
                            "{decision:?} of {facts:?}, {known:?}, {policy:?}: {why}"
                        );
                    }
                }
            }
        }
        // All of the words but those of a person who connects a way in.
        assert_eq!(told.len(), 22, "{told:#?}");
    }
}
