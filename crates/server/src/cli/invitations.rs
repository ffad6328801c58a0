//! Invitations of `vestibule user`: who may become a user where `signup = "invite"`.

use serde_json::{Value, json};
use vestibule::Vestibule;
use vestibule::accounts::{EmailAddress, Invitation, Signup, Timestamp};
use vestibule::clock::{Clock as _, SystemClock};
use vestibule::config;

use super::{CliError, Global, print, rfc3339, say, when};

/// How many invitations are read at once.
const PAGE: u32 = 1_000;
/// The longest that one may last.
const MAX_SECONDS: i64 = 365 * 86_400;

/// Reads how long an invitation lasts, in seconds.
pub(super) fn lifetime(text: &str) -> Result<i64, &'static str> {
    config::seconds(text)
        .filter(|seconds| (60..=MAX_SECONDS).contains(seconds))
        .ok_or("it is a whole number with m, h or d, such as 7d; 365d at most")
}

pub(super) async fn invite(
    vestibule: &Vestibule,
    global: &Global,
    address: &str,
    seconds: i64,
) -> Result<(), CliError> {
    let Some(invitation) = vestibule.invite(parse(address)?, seconds).await? else {
        return Err(CliError::Told(format!(
            "{address} is the address of a user already; `vestibule user show {address}` shows who"
        )));
    };
    if let Some(hint) = no_use(vestibule.signup()) {
        say(&format!("warning: {hint}"));
    }
    if global.json {
        return print(&as_json(&invitation, invitation.created_at).to_string());
    }
    say(&format!(
        "{} is invited until {}: whoever signs in with this address, verified, becomes a user. No mail is sent",
        invitation.email.as_str(),
        when(invitation.expires_at)
    ));
    Ok(())
}

pub(super) async fn list(vestibule: &Vestibule, global: &Global) -> Result<(), CliError> {
    let mut all: Vec<Invitation> = Vec::new();
    loop {
        let page = vestibule.invitations(all.last().cloned(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let now = SystemClock::default().now();
    if global.json {
        let all: Vec<Value> = all.iter().map(|one| as_json(one, now)).collect();
        return print(&Value::Array(all).to_string());
    }
    if all.is_empty() {
        say("no invitations");
    }
    let width = |one: &Invitation| one.email.as_str().chars().count();
    let width = all.iter().map(width).max().unwrap_or_default();
    for one in &all {
        let word = if is_over(one, now) {
            "over since"
        } else {
            "until"
        };
        print(&format!(
            "{:width$}  {word} {}",
            one.email.as_str(),
            when(one.expires_at)
        ))?;
    }
    Ok(())
}

pub(super) async fn withdraw(
    vestibule: &Vestibule,
    global: &Global,
    address: &str,
) -> Result<(), CliError> {
    let email = parse(address)?;
    let withdrawn = vestibule.withdraw_invitation(email.key().clone()).await?;
    if global.json {
        return print(&json!({ "email": email.as_str(), "withdrawn": withdrawn }).to_string());
    }
    say(&if withdrawn {
        format!("{} is no longer invited", email.as_str())
    } else {
        format!("there was no invitation for {}", email.as_str())
    });
    Ok(())
}

fn parse(address: &str) -> Result<EmailAddress, CliError> {
    EmailAddress::parse(address).map_err(|error| {
        CliError::Told(format!(
            "{} is no address that can be invited: {error}",
            address.escape_debug()
        ))
    })
}

/// What an operator is told whose configuration asks for no invitation.
fn no_use(signup: &Signup) -> Option<&'static str> {
    match signup {
        Signup::Invite => None,
        Signup::Open => Some(
            "signup = \"open\" lets everybody in: the invitation changes nothing until signup = \"invite\"",
        ),
        Signup::Domains(_) => Some(
            "signup = \"domains\" lets in whom allowed_domains names: the invitation changes nothing until signup = \"invite\"",
        ),
        Signup::Closed => Some(
            "signup = \"closed\" lets nobody new in: the invitation changes nothing until signup = \"invite\"",
        ),
    }
}

fn is_over(invitation: &Invitation, now: Timestamp) -> bool {
    invitation.expires_at <= now
}

fn as_json(invitation: &Invitation, now: Timestamp) -> Value {
    json!({
        "email": invitation.email.as_str(),
        "state": if is_over(invitation, now) { "over" } else { "open" },
        "created_at": rfc3339(invitation.created_at),
        "expires_at": rfc3339(invitation.expires_at),
    })
}
