//! `vestibule keys`: our own signing keys.

use clap::Subcommand;
use serde_json::{Value, json};
use vestibule::Vestibule;
use vestibule::accounts::{StoredKey, Timestamp};
use vestibule::clock::{Clock as _, SystemClock};

use super::{CliError, Global, print, rfc3339, say, when};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the signing keys and what each does now, the oldest first
    List,
    /// Make a new signing key; it signs from ten minutes on
    ///
    /// Four wait for their turn at most: a fifth takes the place of the last of them, so that the published set stays
    /// small however often somebody rotates.
    Rotate,
    /// Take a signing key out of use at once, as when its private half got out; nobody is signed out
    ///
    /// Our own routes refuse what it signed within a second; who verifies by the published keys, as soon as they are
    /// read again: five minutes at the latest. Where it was the key that signs, a new one takes its place.
    Revoke {
        /// The key's id, as `vestibule keys list` shows it
        // It is base64url and may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

pub(crate) async fn run(global: &Global, verb: Verb) -> Result<(), CliError> {
    let vestibule = super::beside(global).await?;
    let outcome = act(&vestibule, global, verb).await;
    vestibule.close().await;
    outcome
}

async fn act(vestibule: &Vestibule, global: &Global, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::List => {
            let keys = vestibule.signing_keys().await?;
            let now = SystemClock::default().now();
            if global.json {
                let keys = keys
                    .iter()
                    .map(|key| as_json(key, State::of(key, &keys, now)));
                return print(&Value::Array(keys.collect()).to_string());
            }
            if keys.is_empty() {
                say("no signing keys; `vestibule serve` makes one when it starts");
            }
            for key in &keys {
                let state = State::of(key, &keys, now);
                print(&line(key, state))?;
            }
            Ok(())
        }
        Verb::Rotate => {
            let key = vestibule.rotate_signing_key().await?;
            if global.json {
                return print(&as_json(&key, State::Waits).to_string());
            }
            say(&format!(
                "{} is published now and signs in ten minutes; nobody is signed out",
                key.kid
            ));
            Ok(())
        }
        Verb::Revoke { kid } => {
            if !vestibule.revoke_signing_key(&kid).await? {
                return Err(CliError::Told(format!(
                    "no signing key {}; `vestibule keys list` shows them",
                    kid.escape_debug()
                )));
            }
            if global.json {
                return print(&json!({ "revoked": kid }).to_string());
            }
            say(&format!(
                "{kid} is revoked: our own routes refuse what it signed, and others do as soon as they read the published keys again; nobody is signed out"
            ));
            Ok(())
        }
    }
}

/// What a key does now.
#[derive(Clone, Copy)]
enum State {
    /// Its time to sign is still to come.
    Waits,
    Signs,
    /// Another one signs; what this one signed is still verified.
    Published,
    Retired,
}

impl State {
    /// `all` are all keys: of those that could sign, the one whose time came last does.
    fn of(key: &StoredKey, all: &[StoredKey], now: Timestamp) -> Self {
        let is_published = |key: &StoredKey| key.retired_at.is_none_or(|at| at > now);
        let signer = all
            .iter()
            .filter(|key| key.active_from <= now && is_published(key))
            .max_by_key(|key| (key.active_from, key.created_at));
        if !is_published(key) {
            Self::Retired
        } else if key.active_from > now {
            Self::Waits
        } else if signer.is_some_and(|signer| signer.kid == key.kid) {
            Self::Signs
        } else {
            Self::Published
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Signs => "signs",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }
}

fn line(key: &StoredKey, state: State) -> String {
    let does = match state {
        State::Waits => format!("signs from {}", when(key.active_from)),
        State::Signs => "signs".to_owned(),
        State::Published => "published".to_owned(),
        State::Retired => "no longer published".to_owned(),
    };
    let until = match (state, key.retired_at) {
        (State::Published, Some(at)) => format!(" until {}", when(at)),
        (State::Waits | State::Signs, Some(at)) => format!(", published until {}", when(at)),
        (State::Retired, _) | (_, None) => String::new(),
    };
    format!(
        "{}  {}  made {}  {does}{until}",
        key.kid,
        key.algorithm,
        when(key.created_at)
    )
}

fn as_json(key: &StoredKey, state: State) -> Value {
    json!({
        "kid": key.kid,
        "alg": key.algorithm,
        "state": state.word(),
        "created_at": rfc3339(key.created_at),
        "active_from": rfc3339(key.active_from),
        "retired_at": key.retired_at.map(rfc3339),
    })
}
