//! The log: lines for people at a terminal, one JSON object a line elsewhere.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

/// Starts the log on stderr. `VESTIBULE_LOG` filters it (`info` unless told).
pub(crate) fn start() {
    start_at("info");
}

/// Starts the log with what fails alone: development talks in its banner.
pub(crate) fn start_quietly() {
    start_at("warn,vestibule=info");
}

fn start_at(default: &str) {
    let filter =
        EnvFilter::try_from_env("VESTIBULE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    // A second start in one process is no reason to stop.
    let _ = if stderr().is_terminal() {
        log.with_target(false).compact().try_init()
    } else {
        log.json().flatten_event(true).with_ansi(false).try_init()
    };
}
