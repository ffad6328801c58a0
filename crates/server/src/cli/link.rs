//! `vestibule user link --dry-run`: what a sign-in with some identity would lead to, and why.

use clap::Args;
use serde_json::json;
use vestibule::accounts::{Decision, EmailAddress, EmailFact, UserId};
use vestibule::{Described, Failure, Vestibule};

use super::{CliError, Global, print};

#[derive(Args, Debug)]
pub(super) struct Link {
    /// Only say what would be decided, and why
    #[arg(long)]
    dry_run: bool,
    /// The provider that the person signs in with, as the configuration names it
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// The provider's name of the person; without it, a person who was never here
    #[arg(long)]
    subject: Option<String>,
    /// The address that the provider gives
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The provider says that the address is verified
    #[arg(long, requires = "email")]
    verified: bool,
    /// The organisation that the provider names, such as Google's hd
    #[arg(long, value_name = "DOMAIN")]
    hosted_domain: Option<String>,
}

/// What cannot be done from here. Nothing is opened to say so.
pub(super) fn check(link: &Link) -> Result<(), CliError> {
    if link.dry_run {
        return Ok(());
    }
    Err(CliError::Told(
        "only the person can connect a way in: signed in, on the account page. `vestibule user link --dry-run` says what a sign-in would lead to".into(),
    ))
}

pub(super) async fn run(
    vestibule: &Vestibule,
    global: &Global,
    link: Link,
) -> Result<(), CliError> {
    let email = match link.email {
        None => None,
        Some(text) => Some(EmailAddress::parse(&text).map_err(|error| {
            CliError::Told(format!("{} is no address: {error}", text.escape_debug()))
        })?),
    };
    let foreseen = vestibule.foresee(Described {
        provider: link.provider,
        subject: link.subject,
        email,
        says_verified: link.verified,
        hosted_domain: link.hosted_domain,
    });
    let foreseen = foreseen.await?;
    let told = Told::of(foreseen.decision);
    if global.json {
        let counts_as = match foreseen.email {
            EmailFact::Absent => "none",
            EmailFact::Unverified => "unverified",
            EmailFact::Verified {
                authoritative: false,
                ..
            } => "verified",
            EmailFact::Verified {
                authoritative: true,
                ..
            } => "authoritative",
        };
        return print(
            &json!({
                "decision": told.word,
                "user": told.user.map(|user| user.to_string()),
                "code": told.code,
                "email_counts_as": counts_as,
                "why": foreseen.why,
            })
            .to_string(),
        );
    }
    print(&format!("{}: {}", told.sentence, foreseen.why))
}

/// A decision, for programs and for people.
struct Told {
    word: &'static str,
    user: Option<UserId>,
    /// The public code of a refusal.
    code: Option<&'static str>,
    sentence: String,
}

impl Told {
    fn of(decision: Decision) -> Self {
        let (word, user, sentence) = match decision {
            Decision::SignIn(account) => (
                "sign_in",
                Some(account.user),
                format!("Sign in as {}", account.user),
            ),
            Decision::Create { owning, .. } => {
                let sentence = match owning {
                    Some(_) => "Create a user who owns the address",
                    None => "Create a user without an address",
                };
                ("create", None, sentence.to_owned())
            }
            Decision::Link(account) => (
                "link",
                Some(account.user),
                format!("Link to {}", account.user),
            ),
            Decision::AskToLink(account) => (
                "ask_to_link",
                Some(account.user),
                format!("Ask {} to sign in and confirm", account.user),
            ),
            Decision::AskClaimant(account) => (
                "ask_claimant",
                Some(account.user),
                format!("Ask for the password of {}", account.user),
            ),
            Decision::Refuse(refusal) => {
                let code = Failure::from(refusal).code.as_str();
                return Self {
                    word: "refuse",
                    user: None,
                    code: Some(code),
                    sentence: format!("Refuse with {code}"),
                };
            }
        };
        Self {
            word,
            user,
            code: None,
            sentence,
        }
    }
}
