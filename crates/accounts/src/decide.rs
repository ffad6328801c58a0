//! Who is this to us: the one rule, as one pure function.
//!
//! The identity's key is (`issuer`, `subject`). An address is owned by at most one user; an unverified claim owns
//! nothing, blocks nobody and is never looked up. Nothing links to an account by address alone unless the operator
//! says so and the provider is authoritative for the address.

use crate::email::EmailAddress;
use crate::records::{Account, Known};
use vestibule_oidc::{EmailClaim, VerifiedIdentity};

/// What a verified identity says, as far as the rule needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityFacts {
    /// The e-mail claim, parsed.
    pub email: EmailFact,
    /// The organisation that the provider says the account belongs to (Google's `hd`).
    pub hosted_domain: HostedDomain,
}

/// The e-mail claim of an identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmailFact {
    /// No claim, or not an address.
    Absent,
    /// The provider does not say that it is verified. It is never looked up.
    Unverified,
    /// The provider says that it is verified.
    Verified {
        /// The address.
        address: EmailAddress,
        /// Whether the provider is authoritative for it: it runs the mailbox or the organisation.
        authoritative: bool,
    },
}

/// What the provider says about the organisation of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostedDomain {
    /// This provider never says.
    NeverSaid,
    /// It would say, and says nothing: a personal account.
    Personal,
    /// The organisation's domain.
    Of(String),
}

impl From<&VerifiedIdentity> for IdentityFacts {
    fn from(identity: &VerifiedIdentity) -> Self {
        let email = match identity.email() {
            EmailClaim::Absent => EmailFact::Absent,
            EmailClaim::Unverified(_) => EmailFact::Unverified,
            EmailClaim::Verified(text) => match EmailAddress::parse(text) {
                Ok(address) => EmailFact::Verified {
                    address,
                    authoritative: identity.authoritative(),
                },
                Err(_) => EmailFact::Absent,
            },
        };
        let hosted_domain = match identity.hosted_domain() {
            Some(domain) => HostedDomain::Of(domain.to_ascii_lowercase()),
            None if identity.says_hosted_domain() => HostedDomain::Personal,
            None => HostedDomain::NeverSaid,
        };
        Self {
            email,
            hosted_domain,
        }
    }
}

/// What the operator chose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// When an identity may join an account by its address.
    pub linking: Linking,
    /// Who may become a user.
    pub signup: Signup,
    /// Whether a user needs an owned address.
    pub require_email: bool,
}

impl Policy {
    /// Whether a stranger without an address is refused: where an address is required, or decides who may come.
    #[must_use]
    pub fn needs_address(&self) -> bool {
        self.require_email || matches!(self.signup, Signup::Domains(_) | Signup::Invite)
    }
}

/// When an identity may join an account by its address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Linking {
    /// Never.
    Never,
    /// After the owner's own sign-in and consent.
    Ask,
    /// By itself where the provider is authoritative for the address and the owner has not taken the identity away; else
    /// as `Ask`.
    Verified,
}

/// Who may become a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signup {
    /// Everybody.
    Open,
    /// Whoever comes with a verified address for which there is an invitation.
    Invite,
    /// Verified addresses of these domains, lower-case ASCII, exact.
    Domains(Vec<String>),
    /// Nobody.
    Closed,
}

/// What the person at the browser is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Intent {
    /// Signing in.
    SignIn,
    /// Adding a way in, signed in as this user.
    LinkTo(Account),
}

/// What is to happen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Sign this user in.
    SignIn(Account),
    /// Make a user, owning the address if there is one. The claimant in `evict` loses password, sessions, pending
    /// changes and claim in the same transaction; its row is never reused.
    Create {
        /// The address that the new user owns.
        owning: Option<EmailAddress>,
        /// The unverified claimant of that address.
        evict: Option<Account>,
        /// Whether it rests on an invitation for that address, which is used up by it.
        by_invitation: bool,
    },
    /// Give the identity to this user.
    Link(Account),
    /// Ask the owner of the address to sign in and to confirm.
    AskToLink(Account),
    /// Ask: sign in with the password of this unverified claimant, or start fresh.
    AskClaimant(Account),
    /// No.
    Refuse(Refusal),
}

/// Why not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The operator disabled the account.
    AccountDisabled,
    /// An address is needed and none came.
    EmailMissing,
    /// A verified address is needed.
    EmailUnverified,
    /// The address belongs to a user, and linking is off.
    AccountExists,
    /// The identity belongs to another user.
    IdentityInUse,
    /// Nobody new may come.
    SignupClosed,
    /// Nobody of this domain may come.
    DomainNotAllowed,
}

/// Decides who a verified identity is to us. Rows as in the table of the design, in its order.
#[must_use]
pub fn decide(facts: &IdentityFacts, known: &Known, policy: &Policy, intent: Intent) -> Decision {
    match (known.identity, intent) {
        (Some(user), Intent::LinkTo(me)) if user.user != me.user => {
            Decision::Refuse(Refusal::IdentityInUse)
        }
        (Some(user), _) if !user.is_active => Decision::Refuse(Refusal::AccountDisabled),
        (Some(user), _) => Decision::SignIn(user),
        (None, Intent::LinkTo(me)) if !me.is_active => Decision::Refuse(Refusal::AccountDisabled),
        (None, Intent::LinkTo(me)) => Decision::Link(me),
        (None, Intent::SignIn) => stranger(facts, known, policy),
    }
}

/// An identity that nobody has.
fn stranger(facts: &IdentityFacts, known: &Known, policy: &Policy) -> Decision {
    match &facts.email {
        EmailFact::Absent if policy.require_email => Decision::Refuse(Refusal::EmailMissing),
        // The same whether or not the address is known here: an unverified claim must not tell who has an account.
        EmailFact::Unverified if policy.require_email => Decision::Refuse(Refusal::EmailUnverified),
        EmailFact::Absent | EmailFact::Unverified => create(facts, known, policy, None, None),
        EmailFact::Verified {
            address,
            authoritative,
        } => match (known.owner, known.claimant) {
            (Some(owner), _) => {
                // What a person has taken away comes back by that person's word alone, whatever the provider says.
                let vouched = *authoritative && !known.taken_away;
                owned(owner, vouched, policy.linking)
            }
            (None, Some(claimant)) => match policy.linking {
                // A disabled claimant has no password to sign in with; an unproved claim blocks nobody.
                Linking::Ask | Linking::Verified if claimant.is_active => {
                    Decision::AskClaimant(claimant)
                }
                _ => create(facts, known, policy, Some(address), Some(claimant)),
            },
            (None, None) => create(facts, known, policy, Some(address), None),
        },
    }
}

/// Somebody owns the verified address. `vouched`: nobody else can have it, and the owner has said nothing against.
fn owned(owner: Account, vouched: bool, linking: Linking) -> Decision {
    match linking {
        Linking::Never => Decision::Refuse(Refusal::AccountExists),
        Linking::Ask | Linking::Verified if !owner.is_active => {
            Decision::Refuse(Refusal::AccountDisabled)
        }
        Linking::Verified if vouched => Decision::Link(owner),
        Linking::Ask | Linking::Verified => Decision::AskToLink(owner),
    }
}

/// The sign-up policy, then a new user.
fn create(
    facts: &IdentityFacts,
    known: &Known,
    policy: &Policy,
    owning: Option<&EmailAddress>,
    evict: Option<Account>,
) -> Decision {
    match &policy.signup {
        // An invitation is for a verified address: whoever owns none after this was not invited.
        Signup::Invite if owning.is_none() || !known.invited => {
            return Decision::Refuse(Refusal::SignupClosed);
        }
        Signup::Closed => return Decision::Refuse(Refusal::SignupClosed),
        Signup::Domains(domains) if !is_of(facts, owning, domains) => {
            return Decision::Refuse(Refusal::DomainNotAllowed);
        }
        Signup::Open | Signup::Invite | Signup::Domains(_) => {}
    }
    Decision::Create {
        owning: owning.cloned(),
        evict,
        by_invitation: policy.signup == Signup::Invite,
    }
}

/// Whether the person belongs to one of the domains: a verified address there, and where the provider names the
/// organisation of its accounts, that organisation. A personal account with a company's address has left it maybe.
fn is_of(facts: &IdentityFacts, owning: Option<&EmailAddress>, domains: &[String]) -> bool {
    let allowed = |domain: &str| domains.iter().any(|one| one == domain);
    let organisation = match &facts.hosted_domain {
        HostedDomain::NeverSaid => true,
        HostedDomain::Personal => false,
        HostedDomain::Of(domain) => allowed(domain),
    };
    organisation && owning.is_some_and(|address| allowed(address.domain()))
}

#[cfg(test)]
mod tests;
