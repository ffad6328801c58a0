//! What the log says, for tests: the reason of each failed login by its reference, and every line as text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

#[derive(Default)]
struct Seen {
    reasons: HashMap<String, String>,
    text: String,
}

static SEEN: OnceLock<Mutex<Seen>> = OnceLock::new();

fn seen() -> &'static Mutex<Seen> {
    SEEN.get_or_init(Mutex::default)
}

/// Collects from now on what this process logs, at `trace`.
pub(crate) fn collect() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Collector);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else collects in tests");
    });
}

/// The reason that the log gives for a failed login; empty where it says nothing of it.
#[must_use]
pub fn reason_of(reference: &str) -> String {
    seen()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .reasons
        .get(reference)
        .cloned()
        .unwrap_or_default()
}

/// Everything that was logged so far, at `trace`, of every crate.
#[must_use]
pub fn log_text() -> String {
    seen()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .text
        .clone()
}

struct Collector;

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let mut seen = seen().lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(reference), Some(reason)) = (line.fields.get("ref"), line.fields.get("reason"))
        {
            seen.reasons.insert(reference.clone(), reason.clone());
        }
        // A flood of another crate's traces must not fill the memory.
        if seen.text.len() < 64 * 1024 * 1024 {
            let target = event.metadata().target();
            let _ = writeln!(seen.text, "{target} {:?}", line.fields);
        }
    }

    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _id: &tracing::span::Id,
        _context: Context<'_, S>,
    ) {
        let mut line = Line::default();
        attributes.record(&mut line);
        let mut seen = seen().lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(seen.text, "span {:?}", line.fields);
    }
}

#[derive(Default)]
struct Line {
    fields: HashMap<String, String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.fields
            .insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields
            .insert(field.name().to_owned(), value.to_owned());
    }
}
