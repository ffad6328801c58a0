//! `vestibule client`: the front ends, as the configuration has them. No database is asked.

use clap::Subcommand;
use serde_json::{Value, json};
use vestibule::{Frontend, HandOff};

use super::{CliError, Global, load, print, say};

/// What an operator who has no front end writes to have one.
const EXAMPLE: &str = r#"no front ends; to let one receive a sign-in, write in vestibule.toml:

  [[frontends]]
  client_id = "web"
  client_secret = "..."     # from `openssl rand -hex 32`; leave it out where the front end can keep none
  redirect_uris = ["http://localhost:3000/callback"]

`vestibule config check` then says what it may do"#;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the front ends, in the order of the configuration
    ///
    /// One line each: client id, public or confidential, hand-off, token format, token lifetime, whether it is the
    /// default, redirect URIs.
    List,
}

pub(crate) fn run(global: &Global, verb: &Verb) -> Result<(), CliError> {
    match verb {
        Verb::List => list(global),
    }
}

fn list(global: &Global) -> Result<(), CliError> {
    let config = load(global)?;
    let frontends = config.frontends();
    if global.json {
        return print(&Value::Array(frontends.iter().map(as_json).collect()).to_string());
    }
    if frontends.is_empty() {
        say(EXAMPLE);
    }
    let rows: Vec<[String; 7]> = frontends.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        print(line.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(frontend: &Frontend) -> [String; 7] {
    let uris: Vec<&str> = frontend.redirect_uris().collect();
    [
        frontend.client_id().to_owned(),
        kind(frontend).to_owned(),
        frontend.hand_off().word().to_owned(),
        frontend.token_format_word().to_owned(),
        span(frontend.token_lifetime()),
        if frontend.is_default() {
            "default"
        } else {
            "-"
        }
        .to_owned(),
        if uris.is_empty() {
            "-".to_owned()
        } else {
            uris.join(" ")
        },
    ]
}

/// What a front end may do, in one line for people.
pub(super) fn may(frontend: &Frontend, public_url: &str) -> String {
    let uris: Vec<&str> = frontend.redirect_uris().collect();
    let (uris, lifetime) = (uris.join(", "), span(frontend.token_lifetime()));
    let mut line = format!("{} ({}): ", frontend.client_id(), kind(frontend));
    line += &match frontend.hand_off() {
        HandOff::Cookie => format!("has the session's cookie on {public_url}"),
        HandOff::Code => format!("receives a code at {uris}"),
        HandOff::TokenFragment => {
            format!("receives a token of {lifetime} in the fragment at {uris}")
        }
        HandOff::TokenQuery => format!("receives a token of {lifetime} in the query at {uris}"),
    };
    if frontend.token_format_word() != "at+jwt" {
        line += &format!("; tokens as {} makes them", frontend.token_format_word());
    } else if frontend.audience() != frontend.client_id() {
        line += &format!("; tokens for {}", frontend.audience());
    }
    if frontend.is_default() {
        line += "; default";
    }
    line
}

pub(super) fn as_json(frontend: &Frontend) -> Value {
    json!({
        "client_id": frontend.client_id(),
        "name": frontend.name(),
        "kind": kind(frontend),
        "handoff": frontend.hand_off().word(),
        "token_format": frontend.token_format_word(),
        "token_lifetime": frontend.token_lifetime(),
        "audience": frontend.audience(),
        "default": frontend.is_default(),
        "redirect_uris": frontend.redirect_uris().collect::<Vec<_>>(),
    })
}

/// RFC 6749 section 2.1.
fn kind(frontend: &Frontend) -> &'static str {
    if frontend.is_public() {
        "public"
    } else {
        "confidential"
    }
}

/// Seconds as the configuration writes them.
fn span(seconds: i64) -> String {
    if seconds % 60 == 0 {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}
