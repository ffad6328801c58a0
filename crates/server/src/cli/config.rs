//! `vestibule config`: what holds, where it comes from, and whether it would do.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CliError, Global, client, load, print, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show every key with its value and where it comes from; secrets are not shown
    Show,
    /// Say whether `serve` would start with this configuration, what to register at each provider, and what each front end may do
    Check,
}

pub(crate) fn run(global: &Global, verb: &Verb) -> Result<(), CliError> {
    let outcome = read(global, verb);
    if let (true, Err(CliError::Config(errors))) = (global.json, &outcome) {
        // For programs, what is wrong is the answer; people read it on stderr as ever.
        let errors: Vec<Value> = errors.all().iter().map(|error| json!({ "key": error.key, "found": error.found, "problem": error.problem, "remedy": error.remedy })).collect();
        print(&json!({ "ok": false, "errors": errors }).to_string())?;
    }
    outcome
}

fn read(global: &Global, verb: &Verb) -> Result<(), CliError> {
    let config = load(global)?;
    match verb {
        Verb::Show => {
            if global.json {
                let keys: Vec<Value> = config.show().iter().map(|shown| json!({ "key": shown.key, "value": shown.value, "origin": shown.origin })).collect();
                return print(&Value::Array(keys).to_string());
            }
            let width = config
                .show()
                .iter()
                .map(|shown| shown.key.len() + shown.value.len() + 3)
                .max()
                .unwrap_or(0)
                .min(72);
            config.show().iter().try_for_each(|shown| {
                let assignment = format!("{} = {}", shown.key, shown.value);
                print(&format!("{assignment:width$}  # {}", shown.origin))
            })
        }
        Verb::Check => {
            config.check_for_serving()?;
            if global.json {
                let callbacks: Vec<Value> = config
                    .callbacks()
                    .iter()
                    .map(|(provider, uri)| json!({ "provider": provider, "redirect_uri": uri }))
                    .collect();
                let frontends: Vec<Value> =
                    config.frontends().iter().map(client::as_json).collect();
                return print(
                    &json!({ "ok": true, "warnings": config.warnings(), "callbacks": callbacks, "frontends": frontends })
                        .to_string(),
                );
            }
            for warning in config.warnings() {
                say(&format!("warning: {warning}"));
            }
            for (provider, redirect_uri) in config.callbacks() {
                print(&format!(
                    "{provider}: register this redirect URI at the provider: {redirect_uri}"
                ))?;
            }
            for frontend in config.frontends() {
                print(&client::may(frontend, config.public_url()))?;
            }
            say("the configuration is good");
            Ok(())
        }
    }
}
