//! `vestibule user`: what an operator does to users.

use clap::Subcommand;
use serde_json::{Value, json};
use vestibule::Vestibule;
use vestibule::accounts::{EmailAddress, User, UserId, UserQuery};

use super::{CliError, Global, invitations, link, print, rfc3339, say, when};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List users, the oldest first
    List {
        /// Part of the address or the name
        #[arg(long)]
        search: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Continue after this user
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Show one user and the ways in
    Show {
        /// The user's id or e-mail address
        user: String,
    },
    /// Keep a user out and end every session of theirs
    Disable {
        /// The user's id or e-mail address
        user: String,
    },
    /// Let a user in again
    Enable {
        /// The user's id or e-mail address
        user: String,
    },
    /// Make a user an administrator
    Admin {
        /// The user's id or e-mail address
        user: String,
        /// Take it away instead
        #[arg(long)]
        revoke: bool,
    },
    /// Let whoever signs in with this address become a user, where signup = "invite"
    ///
    /// The provider must say that the address is verified. No mail is sent: tell the person yourself. Inviting again
    /// renews the invitation; it is used up by the user who comes with it.
    Invite {
        /// The address that the person signs in with
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// How long it is good, such as 12h or 7d
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = invitations::lifetime)]
        expires: i64,
    },
    /// Say what a sign-in with some identity would lead to now, and why; nothing is written
    ///
    /// It takes the configuration and the database as they are and asks no provider. To connect a way in is for the
    /// person alone, signed in, on the account page: without --dry-run, this refuses.
    Link(link::Link),
    /// List the invitations that nobody has used, the oldest first
    Invitations,
    /// Take an invitation back
    Uninvite {
        /// The address that was invited
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
}

pub(crate) async fn run(global: &Global, verb: Verb) -> Result<(), CliError> {
    if let Verb::Link(link) = &verb {
        link::check(link)?;
    }
    let vestibule = super::beside(global).await?;
    let outcome = act(&vestibule, global, verb).await;
    vestibule.close().await;
    outcome
}

async fn act(vestibule: &Vestibule, global: &Global, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::List {
            search,
            limit,
            after,
        } => {
            let after = after
                .map(|id| {
                    UserId::parse(&id).ok_or_else(|| {
                        CliError::Told(format!(
                            "{id} is not the id of a user; `vestibule user list` shows ids"
                        ))
                    })
                })
                .transpose()?;
            let page = vestibule
                .users(UserQuery {
                    search,
                    email: None,
                    after,
                    limit,
                })
                .await?;
            if global.json {
                return print(&json!({ "users": page.users.iter().map(as_json).collect::<Vec<_>>(), "next": page.next.map(|id| id.to_string()) }).to_string());
            }
            for line in lines(&page.users) {
                print(&line)?;
            }
            if page.users.is_empty() {
                say("no users");
            }
            if let Some(next) = page.next {
                say(&format!("more: vestibule user list --after {next}"));
            }
            Ok(())
        }
        Verb::Show { user } => show(vestibule, global, &find(vestibule, &user).await?).await,
        Verb::Disable { user } => {
            let user = find(vestibule, &user).await?;
            told(
                vestibule.set_active(user.id, false).await?,
                global,
                "disabled, and signed out everywhere",
            )
        }
        Verb::Enable { user } => {
            let user = find(vestibule, &user).await?;
            told(
                vestibule.set_active(user.id, true).await?,
                global,
                "enabled",
            )
        }
        Verb::Admin { user, revoke } => {
            let user = find(vestibule, &user).await?;
            let words = if revoke {
                "no longer an administrator"
            } else {
                "an administrator"
            };
            told(
                vestibule.set_superuser(user.id, !revoke).await?,
                global,
                words,
            )
        }
        Verb::Invite { address, expires } => {
            invitations::invite(vestibule, global, &address, expires).await
        }
        Verb::Link(link) => link::run(vestibule, global, link).await,
        Verb::Invitations => invitations::list(vestibule, global).await,
        Verb::Uninvite { address } => invitations::withdraw(vestibule, global, &address).await,
    }
}

/// The user with this id or address.
async fn find(vestibule: &Vestibule, name: &str) -> Result<User, CliError> {
    let nobody = || {
        CliError::Told(format!(
            "no user {name}; `vestibule user list --search ...` finds one"
        ))
    };
    if let Some(id) = UserId::parse(name) {
        return vestibule.user(id).await?.ok_or_else(nobody);
    }
    let email = EmailAddress::parse(name).map_err(|_| nobody())?;
    let query = UserQuery {
        search: None,
        email: Some(email.key().clone()),
        after: None,
        limit: 1,
    };
    vestibule
        .users(query)
        .await?
        .users
        .into_iter()
        .next()
        .ok_or_else(nobody)
}

async fn show(vestibule: &Vestibule, global: &Global, user: &User) -> Result<(), CliError> {
    let identities = vestibule.identities(user.id).await?;
    if global.json {
        let mut value = as_json(user);
        value["identities"] = identities
            .iter()
            .map(|identity| json!({ "provider": identity.record.provider, "issuer": identity.record.issuer, "subject": identity.record.subject, "email": identity.record.email, "email_verified": identity.record.email_verified }))
            .collect();
        return print(&value.to_string());
    }
    let row = |label: &str, value: &str| print(&format!("{label:<10}{value}"));
    let or_none = |text: Option<&str>| {
        text.map_or_else(|| "-".to_owned(), |text| text.escape_debug().to_string())
    };
    row("id", &user.id.to_string())?;
    row("name", &or_none(user.name.as_deref()))?;
    row(
        "e-mail",
        &or_none(user.email.as_ref().map(EmailAddress::as_str)),
    )?;
    row("state", if user.is_active { "active" } else { "disabled" })?;
    row("admin", if user.is_superuser { "yes" } else { "no" })?;
    row("created", &when(user.created_at))?;
    for identity in &identities {
        let record = &identity.record;
        let subject = record.subject.escape_debug();
        row(
            "signs in",
            &format!("{}  {}  {subject}", record.provider, record.issuer),
        )?;
    }
    Ok(())
}

fn told(user: Option<User>, global: &Global, words: &str) -> Result<(), CliError> {
    let user = user.ok_or_else(|| CliError::Told("the user is gone".into()))?;
    if global.json {
        return print(&as_json(&user).to_string());
    }
    say(&format!("{} is {words}", user.id));
    Ok(())
}

/// One line a user, in columns. Names come from outside: control characters do not reach the terminal.
fn lines(users: &[User]) -> Vec<String> {
    let rows: Vec<[String; 3]> = users
        .iter()
        .map(|user| {
            let state = match (user.is_active, user.is_superuser) {
                (true, false) => "active",
                (true, true) => "active, admin",
                (false, false) => "disabled",
                (false, true) => "disabled, admin",
            };
            let email = user.email.as_ref().map_or("-", EmailAddress::as_str);
            let name = user.name.as_deref().unwrap_or("-");
            [
                state.to_owned(),
                email.escape_debug().to_string(),
                name.escape_debug().to_string(),
            ]
        })
        .collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let (states, emails) = (width(0), width(1));
    users
        .iter()
        .zip(&rows)
        .map(|(user, [state, email, name])| {
            format!("{}  {state:states$}  {email:emails$}  {name}", user.id)
        })
        .collect()
}

fn as_json(user: &User) -> Value {
    json!({
        "id": user.id.to_string(),
        "email": user.email.as_ref().map(EmailAddress::as_str),
        "is_active": user.is_active,
        "is_superuser": user.is_superuser,
        "is_verified": user.email.is_some(),
        "name": user.name,
        "created_at": rfc3339(user.created_at),
    })
}
