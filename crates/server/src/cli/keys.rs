//! `vestibule keys`: our own signing keys.

use clap::Subcommand;
use serde_json::{Value, json};
use vestibule::accounts::StoredKey;

use super::{CliError, Global, print, say};

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
                keys.iter().try_for_each(|key| {
                    print(&format!(
                        "{}  {}  signs from {}",
                        key.kid,
                        key.algorithm,
                        key.active_from.seconds()
                    ))
                })
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

fn as_json(key: &StoredKey) -> Value {
    json!({
        "kid": key.kid,
        "alg": key.algorithm,
        "created_at": key.created_at.seconds(),
        "active_from": key.active_from.seconds(),
        "retired_at": key.retired_at.map(|at| at.seconds()),
    })
}
