//! The table of the design, row by row.

use super::*;
use crate::ids::UserId;
use crate::records::UserVersion;

fn account(n: u8, is_active: bool) -> Account {
    Account {
        user: UserId::from_bytes([n; 16]),
        version: UserVersion(i64::from(n)),
        is_active,
    }
}

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn verified(authoritative: bool) -> EmailFact {
    EmailFact::Verified {
        address: address("ann@example.com"),
        authoritative,
    }
}

fn facts(email: EmailFact) -> IdentityFacts {
    IdentityFacts {
        email,
        hosted_domain: HostedDomain::NeverSaid,
    }
}

fn policy(linking: Linking) -> Policy {
    Policy {
        linking,
        signup: Signup::Open,
        require_email: true,
    }
}

const EVERY_LINKING: [Linking; 3] = [Linking::Never, Linking::Ask, Linking::Verified];

fn every_email() -> [EmailFact; 4] {
    [
        EmailFact::Absent,
        EmailFact::Unverified,
        verified(false),
        verified(true),
    ]
}

// S54, S59: the identity decides, whatever the address says and whoever owns it.
#[test]
fn a_known_identity_of_an_active_user_signs_in_whatever_its_address() {
    let known = Known {
        identity: Some(account(1, true)),
        owner: Some(account(2, true)),
        claimant: Some(account(3, true)),
        invited: true,
        taken_away: false,
    };
    for linking in EVERY_LINKING {
        for email in every_email() {
            assert_eq!(
                decide(&facts(email), &known, &policy(linking), Intent::SignIn),
                Decision::SignIn(account(1, true))
            );
        }
    }
}

// S60
#[test]
fn a_known_identity_of_a_disabled_user_is_refused_whatever_its_address() {
    let known = Known {
        identity: Some(account(1, false)),
        ..Known::default()
    };
    for linking in EVERY_LINKING {
        for email in every_email() {
            assert_eq!(
                decide(&facts(email), &known, &policy(linking), Intent::SignIn),
                Decision::Refuse(Refusal::AccountDisabled)
            );
        }
    }
}

#[test]
fn a_stranger_without_a_verified_address_is_refused_alike_whether_or_not_the_address_is_known() {
    let somebody = Known {
        identity: None,
        owner: Some(account(2, true)),
        claimant: Some(account(3, true)),
        invited: true,
        taken_away: false,
    };
    for known in [Known::default(), somebody] {
        for linking in EVERY_LINKING {
            let decide = |email| decide(&facts(email), &known, &policy(linking), Intent::SignIn);
            assert_eq!(
                decide(EmailFact::Absent),
                Decision::Refuse(Refusal::EmailMissing)
            );
            assert_eq!(
                decide(EmailFact::Unverified),
                Decision::Refuse(Refusal::EmailUnverified)
            );
        }
    }
}

#[test]
fn where_no_address_is_required_a_stranger_without_a_verified_one_becomes_a_user_who_owns_none() {
    let somebody = Known {
        identity: None,
        owner: Some(account(2, true)),
        claimant: Some(account(3, true)),
        invited: true,
        taken_away: false,
    };
    for known in [Known::default(), somebody] {
        for email in [EmailFact::Absent, EmailFact::Unverified] {
            let policy = Policy {
                require_email: false,
                ..policy(Linking::Verified)
            };
            assert_eq!(
                decide(&facts(email), &known, &policy, Intent::SignIn),
                Decision::Create {
                    owning: None,
                    evict: None,
                    by_invitation: false,
                }
            );
        }
    }
}

#[test]
fn a_stranger_with_a_free_verified_address_becomes_a_user_who_owns_it() {
    for linking in EVERY_LINKING {
        assert_eq!(
            decide(
                &facts(verified(false)),
                &Known::default(),
                &policy(linking),
                Intent::SignIn
            ),
            Decision::Create {
                owning: Some(address("ann@example.com")),
                evict: None,
                by_invitation: false,
            }
        );
    }
}

// S57
#[test]
fn an_unverified_claimant_is_asked_about_or_evicted_and_never_joined() {
    let known = Known {
        claimant: Some(account(3, true)),
        ..Known::default()
    };
    let fresh = |claimant| Decision::Create {
        owning: Some(address("ann@example.com")),
        evict: Some(claimant),
        by_invitation: false,
    };
    for authoritative in [false, true] {
        let decide = |linking, known| {
            decide(
                &facts(verified(authoritative)),
                known,
                &policy(linking),
                Intent::SignIn,
            )
        };
        assert_eq!(decide(Linking::Never, &known), fresh(account(3, true)));
        assert_eq!(
            decide(Linking::Ask, &known),
            Decision::AskClaimant(account(3, true))
        );
        assert_eq!(
            decide(Linking::Verified, &known),
            Decision::AskClaimant(account(3, true))
        );
        let disabled = Known {
            claimant: Some(account(3, false)),
            ..Known::default()
        };
        for linking in EVERY_LINKING {
            assert_eq!(decide(linking, &disabled), fresh(account(3, false)));
        }
    }
}

// S56
#[test]
fn an_owned_address_links_by_itself_only_where_the_operator_says_so_and_the_provider_is_authoritative()
 {
    // A claimant beside an owner changes nothing.
    for claimant in [None, Some(account(3, true))] {
        let known = Known {
            identity: None,
            owner: Some(account(2, true)),
            claimant,
            invited: true,
            taken_away: false,
        };
        let decide = |linking, authoritative| {
            decide(
                &facts(verified(authoritative)),
                &known,
                &policy(linking),
                Intent::SignIn,
            )
        };
        for authoritative in [false, true] {
            assert_eq!(
                decide(Linking::Never, authoritative),
                Decision::Refuse(Refusal::AccountExists)
            );
            assert_eq!(
                decide(Linking::Ask, authoritative),
                Decision::AskToLink(account(2, true))
            );
        }
        assert_eq!(
            decide(Linking::Verified, false),
            Decision::AskToLink(account(2, true))
        );
        assert_eq!(
            decide(Linking::Verified, true),
            Decision::Link(account(2, true))
        );
    }
}

// S56
#[test]
fn an_identity_that_the_owner_took_away_is_asked_about_whatever_the_provider_says() {
    let known = |is_active| Known {
        owner: Some(account(2, is_active)),
        taken_away: true,
        ..Known::default()
    };
    for authoritative in [false, true] {
        let decide = |linking, is_active, intent| {
            decide(
                &facts(verified(authoritative)),
                &known(is_active),
                &policy(linking),
                intent,
            )
        };
        assert_eq!(
            decide(Linking::Never, true, Intent::SignIn),
            Decision::Refuse(Refusal::AccountExists)
        );
        for linking in [Linking::Ask, Linking::Verified] {
            assert_eq!(
                decide(linking, true, Intent::SignIn),
                Decision::AskToLink(account(2, true))
            );
            assert_eq!(
                decide(linking, false, Intent::SignIn),
                Decision::Refuse(Refusal::AccountDisabled)
            );
        }
        // The owner may add it again, and so may somebody else who has it.
        for me in [account(2, true), account(1, true)] {
            for linking in EVERY_LINKING {
                let added = decide(linking, true, Intent::LinkTo(me));
                assert_eq!(added, Decision::Link(me));
            }
        }
    }
}

// S56, S60
#[test]
fn nothing_links_to_a_disabled_owner_and_the_address_stays_theirs() {
    let known = Known {
        owner: Some(account(2, false)),
        ..Known::default()
    };
    let decide = |linking| {
        decide(
            &facts(verified(true)),
            &known,
            &policy(linking),
            Intent::SignIn,
        )
    };
    assert_eq!(
        decide(Linking::Never),
        Decision::Refuse(Refusal::AccountExists)
    );
    assert_eq!(
        decide(Linking::Ask),
        Decision::Refuse(Refusal::AccountDisabled)
    );
    assert_eq!(
        decide(Linking::Verified),
        Decision::Refuse(Refusal::AccountDisabled)
    );
}

// S63
#[test]
fn linking_while_signed_in_gives_a_free_identity_to_oneself_and_never_takes_one() {
    let me = account(1, true);
    for linking in EVERY_LINKING {
        for email in every_email() {
            let decide = |identity, me| {
                let known = Known {
                    identity,
                    owner: Some(account(2, true)),
                    claimant: None,
                    invited: true,
                    taken_away: false,
                };
                decide(
                    &facts(email.clone()),
                    &known,
                    &policy(linking),
                    Intent::LinkTo(me),
                )
            };
            assert_eq!(decide(None, me), Decision::Link(me));
            assert_eq!(decide(Some(me), me), Decision::SignIn(me));
            assert_eq!(
                decide(Some(account(2, true)), me),
                Decision::Refuse(Refusal::IdentityInUse)
            );
            assert_eq!(
                decide(Some(account(2, false)), me),
                Decision::Refuse(Refusal::IdentityInUse)
            );
            assert_eq!(
                decide(None, account(1, false)),
                Decision::Refuse(Refusal::AccountDisabled)
            );
        }
    }
}

#[test]
fn closed_sign_up_refuses_every_new_user_and_lets_known_ones_in() {
    let closed = Policy {
        signup: Signup::Closed,
        require_email: false,
        ..policy(Linking::Never)
    };
    let claimed = Known {
        claimant: Some(account(3, true)),
        ..Known::default()
    };
    for known in [Known::default(), claimed] {
        for email in every_email() {
            assert_eq!(
                decide(&facts(email), &known, &closed, Intent::SignIn),
                Decision::Refuse(Refusal::SignupClosed)
            );
        }
    }
    let known = Known {
        identity: Some(account(1, true)),
        ..Known::default()
    };
    assert_eq!(
        decide(&facts(EmailFact::Absent), &known, &closed, Intent::SignIn),
        Decision::SignIn(account(1, true))
    );
}

#[test]
fn sign_up_by_invitation_needs_a_verified_address_that_was_invited() {
    let by_invitation = Policy {
        signup: Signup::Invite,
        require_email: false,
        ..policy(Linking::Never)
    };
    let invited = Known {
        invited: true,
        ..Known::default()
    };
    let refused = Decision::Refuse(Refusal::SignupClosed);
    let decide =
        |email, known: &Known| decide(&facts(email), known, &by_invitation, Intent::SignIn);
    for authoritative in [false, true] {
        assert_eq!(
            decide(verified(authoritative), &invited),
            Decision::Create {
                owning: Some(address("ann@example.com")),
                evict: None,
                by_invitation: true,
            }
        );
        assert_eq!(decide(verified(authoritative), &Known::default()), refused);
    }
    // Nobody proves an address by claiming it.
    for email in [EmailFact::Absent, EmailFact::Unverified] {
        assert_eq!(decide(email, &invited), refused);
    }
    // The claimant of an invited address was not invited; who proves it was.
    let claimed = Known {
        claimant: Some(account(3, true)),
        ..invited
    };
    assert_eq!(
        decide(verified(true), &claimed),
        Decision::Create {
            owning: Some(address("ann@example.com")),
            evict: Some(account(3, true)),
            by_invitation: true,
        }
    );
    // An invitation opens no account that is there already.
    let owned = Known {
        owner: Some(account(2, true)),
        ..invited
    };
    assert_eq!(
        decide(verified(true), &owned),
        Decision::Refuse(Refusal::AccountExists)
    );
    let known = Known {
        identity: Some(account(1, true)),
        ..Known::default()
    };
    assert_eq!(
        decide(EmailFact::Absent, &known),
        Decision::SignIn(account(1, true))
    );
}

#[test]
fn an_invitation_gets_around_no_other_policy() {
    for (signup, refusal) in [
        (Signup::Closed, Refusal::SignupClosed),
        (
            Signup::Domains(vec!["other.example".into()]),
            Refusal::DomainNotAllowed,
        ),
    ] {
        let policy = Policy {
            signup,
            ..policy(Linking::Ask)
        };
        let invited = Known {
            invited: true,
            ..Known::default()
        };
        assert_eq!(
            decide(&facts(verified(true)), &invited, &policy, Intent::SignIn),
            Decision::Refuse(refusal)
        );
    }
}

#[test]
fn sign_up_by_domain_needs_a_verified_address_of_exactly_that_domain_and_the_organisation_where_it_is_said()
 {
    let domains = Policy {
        signup: Signup::Domains(vec!["good.com".into()]),
        require_email: false,
        ..policy(Linking::Ask)
    };
    let refused = Decision::Refuse(Refusal::DomainNotAllowed);
    let of = |text: &str, hosted_domain| IdentityFacts {
        email: EmailFact::Verified {
            address: address(text),
            authoritative: true,
        },
        hosted_domain,
    };
    let decide = |facts| decide(&facts, &Known::default(), &domains, Intent::SignIn);
    for hosted_domain in [HostedDomain::NeverSaid, HostedDomain::Of("good.com".into())] {
        assert_eq!(
            decide(of("x@Good.com", hosted_domain)),
            Decision::Create {
                owning: Some(address("x@Good.com")),
                evict: None,
                by_invitation: false,
            }
        );
    }
    for text in [
        "x@notgood.com",
        "x@good.com.evil.org",
        "x@sub.good.com",
        "x@gmail.com",
    ] {
        assert_eq!(
            decide(of(text, HostedDomain::Of("good.com".into()))),
            refused,
            "{text}"
        );
        assert_eq!(decide(of(text, HostedDomain::NeverSaid)), refused, "{text}");
    }
    assert_eq!(decide(of("x@good.com", HostedDomain::Personal)), refused);
    assert_eq!(
        decide(of("x@good.com", HostedDomain::Of("evil.com".into()))),
        refused
    );
    assert_eq!(decide(facts(EmailFact::Unverified)), refused);
    assert_eq!(decide(facts(EmailFact::Absent)), refused);
}

#[test]
fn an_address_is_needed_where_the_policy_requires_one_or_judges_by_it() {
    let domains = || Signup::Domains(vec!["example.com".into()]);
    for (require_email, signup, needed) in [
        (false, Signup::Open, false),
        (false, Signup::Closed, false),
        (false, domains(), true),
        (false, Signup::Invite, true),
        (true, Signup::Open, true),
        (true, domains(), true),
    ] {
        let policy = Policy {
            signup,
            require_email,
            ..policy(Linking::Never)
        };
        assert_eq!(policy.needs_address(), needed, "{policy:?}");
    }
}
