//! `vestibule keys`: our own signing keys.

use clap::Subcommand;
use serde_json::{Value, json};
use vestibule::accounts::{StoredKey, Timestamp};
use vestibule::clock::{Clock as _, SystemClock};

use super::{CliError, Global, print, rfc3339, say, when};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the signing keys, the oldest first
    List,
    /// Make a new signing key; it signs from ten minutes on
    Rotate,
}

pub(crate) async fn run(global: &Global, verb: Verb) -> Result<(), CliError> {
    let vestibule = super::beside(global).await?;
    let outcome = match verb {
        Verb::List => vestibule
            .signing_keys()
            .await
            .map_err(CliError::from)
            .and_then(|keys| {
                if global.json {
                    return print(&Value::Array(keys.iter().map(as_json).collect()).to_string());
                }
                let now = SystemClock::default().now();
                keys.iter().try_for_each(|key| print(&line(key, now)))
            }),
        Verb::Rotate => vestibule
            .rotate_signing_key()
            .await
            .map_err(CliError::from)
            .and_then(|key| {
                if global.json {
                    return print(&as_json(&key).to_string());
                }
                say(&format!(
                    "{} is published now and signs in ten minutes; nobody is signed out",
                    key.kid
                ));
                Ok(())
            }),
    };
    vestibule.close().await;
    outcome
}

/// One line a key: what it does now, and since when or until when.
fn line(key: &StoredKey, now: Timestamp) -> String {
    let ends = key
        .retired_at
        .map(|at| format!(", retires {}", when(at)))
        .unwrap_or_default();
    let state = match key.retired_at {
        Some(at) if at <= now => format!("retired {}", when(at)),
        _ if key.active_from <= now => format!("signs since {}{ends}", when(key.active_from)),
        _ => format!("signs from {}{ends}", when(key.active_from)),
    };
    format!("{}  {}  {state}", key.kid, key.algorithm)
}

fn as_json(key: &StoredKey) -> Value {
    json!({
        "kid": key.kid,
        "alg": key.algorithm,
        "created_at": rfc3339(key.created_at),
        "active_from": rfc3339(key.active_from),
        "retired_at": key.retired_at.map(rfc3339),
    })
}
