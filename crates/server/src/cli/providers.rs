//! `vestibule providers`: who can be signed in with. Neither a configuration nor a database is asked.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vestibule::oidc::providers::{ALL, Preset, Protocol};

use super::{CliError, Global, print, say};

/// The columns of a terminal that the answer fits.
const WIDTH: usize = 100;
/// Where the words of an entry begin.
const INDENT: usize = 19;

pub(crate) fn run(global: &Global) -> Result<(), CliError> {
    if global.json {
        return print(&Value::Array(ALL.iter().copied().map(as_json).collect()).to_string());
    }
    let width = |text: fn(&Preset) -> &'static str| {
        let widths = ALL.iter().map(|preset| text(preset).chars().count());
        widths.max().unwrap_or_default()
    };
    let widths = (width(|preset| preset.id), width(|preset| preset.name));
    for preset in ALL {
        for line in entry(preset, widths) {
            print(&line)?;
        }
    }
    say(
        "\nverified, authoritative: when an e-mail address counts as that, and so what it leads to (docs/email-trust.md).\nunchecked: compared with no documentation of the provider's.\nTo use one, set its variables, such as GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or write [providers.github].",
    );
    Ok(())
}

/// A line of the table, and below it what does not fit into columns.
fn entry(preset: &Preset, (ids, names): (usize, usize)) -> Vec<String> {
    let checked = match preset.facts.checked {
        Some(day) => format!("checked {day}"),
        None => "unchecked".to_owned(),
    };
    let mut lines = vec![format!(
        "{:ids$}  {:names$}  {:14}  {checked}",
        preset.id,
        preset.name,
        preset.speaks()
    )];
    let mut needs = vec!["client_id"];
    needs.extend(preset.needed_keys());
    lines.extend(wrapped("needs", &needs.join(", ")));
    lines.extend(wrapped("verified", &preset.verified_when()));
    lines.extend(wrapped("authoritative", &preset.authoritative_when()));
    let sources: Vec<&str> = sources(preset).into_iter().collect();
    if !sources.is_empty() {
        lines.extend(wrapped("against", &sources.join(", ")));
    }
    lines
}

/// The sites whose pages the facts were read from; the pages themselves are in JSON.
fn sources(preset: &Preset) -> BTreeSet<&'static str> {
    let site = |url: &&'static str| url.trim_start_matches("https://").split('/').next();
    preset.facts.sources.iter().filter_map(site).collect()
}

/// Words behind a label, in lines that fit.
fn wrapped(label: &str, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = format!("    {label:width$}", width = INDENT - 5);
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(INDENT - 1)));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn as_json(preset: &Preset) -> Value {
    let protocol = match preset.protocol {
        Protocol::OpenId(_) => "openid",
        Protocol::OAuth2(_) => "oauth2",
    };
    let mut needs = vec!["client_id"];
    needs.extend(preset.needed_keys());
    json!({
        "id": preset.id,
        "name": preset.name,
        "protocol": protocol,
        "needs": needs,
        "scopes": preset.scopes,
        "email": {
            "verified": preset.verified_when(),
            "authoritative": preset.authoritative_when(),
            "because": preset.email.because,
        },
        "checked": preset.facts.checked,
        "sources": preset.facts.sources,
    })
}
