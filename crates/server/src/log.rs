//! The log: lines for people at a terminal, one JSON object a line elsewhere.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Starts the log on stderr. `VESTIBULE_LOG` filters it: a level, or levels of targets, such as `info,vestibule=debug`
/// (`info` unless told).
pub(crate) fn start() {
    start_at("info");
}

/// Starts the log with what fails alone: development talks in its banner.
pub(crate) fn start_quietly() {
    start_at("warn,vestibule=info");
}

fn start_at(default: &str) {
    let wanted = std::env::var("VESTIBULE_LOG").ok();
    let filter = wanted.as_deref().map(str::parse::<Targets>);
    let is_unknown = matches!(filter, Some(Err(_)));
    let filter = match filter {
        Some(Ok(filter)) => filter,
        _ => default.parse().unwrap_or_default(),
    };
    let lines = fmt::layer().with_writer(stderr);
    let lines = if stderr().is_terminal() {
        lines.with_target(false).compact().boxed()
    } else {
        lines.json().flatten_event(true).with_ansi(false).boxed()
    };
    // A second start in one process is no reason to stop.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if is_unknown {
        tracing::warn!(
            event = "log.filter_unknown",
            hint = "VESTIBULE_LOG is a level, or levels of targets, such as info,vestibule=debug"
        );
    }
}
