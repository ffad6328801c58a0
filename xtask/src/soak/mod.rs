//! Soaking: sign-ins under load while servers are killed or replaced, and a ledger of everything that a client saw succeed.
//!
//! [`kills()`] ends a server as a power cut does, again and again; [`rolling()`] replaces two replicas behind nginx, one after
//! the other. Both end with the same question: does the server still know everything that it acknowledged, and nothing
//! twice?

mod drive;
mod kills;
mod ledger;
mod nginx;
mod place;
#[path = "../../../crates/store/tests/support/server.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests of the store use the rest, and it fails where the machine does not do"
)]
mod postgres;
mod process;
mod rolling;
mod visitor;

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

pub use self::kills::{Kills, KillsReport, kills};
pub use self::ledger::Problems;
pub use self::place::{Database, Missing, missing};
pub use self::rolling::{Rolling, RollingReport, rolling};

/// Why a run could not be made, or not be finished. What a run finds is in its report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoakError {
    /// A part that was written by others is not on this machine.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The system refused.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The provider does not start.
    #[error("{0}")]
    Provider(#[from] vestibule_devidp::DevIdpError),
    /// No client can be made.
    #[error("{0}")]
    Client(#[from] reqwest::Error),
    /// The SQLite file cannot be read.
    #[error("the database cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The PostgreSQL database cannot be read.
    #[error("the database cannot be read: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// Anything else.
    #[error("{0}")]
    Told(String),
}

/// How long some things took.
#[derive(Clone, Debug, Default)]
pub struct Durations(Vec<Duration>);

impl Durations {
    fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The one below which so many of a hundred are.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent).div_ceil(100);
        self.0
            .get(place.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    fn json(&self) -> Value {
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 10_000.0).round() / 10.0;
        json!({
            "median_ms": milliseconds(self.percentile(50)),
            "p99_ms": milliseconds(self.percentile(99)),
            "max_ms": milliseconds(self.max()),
        })
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p99, max] = [self.percentile(50), self.percentile(99), self.max()]
            .map(|duration| duration.as_secs_f64() * 1_000.0);
        write!(f, "{median:.0} ms (p99 {p99:.0}, max {max:.0})")
    }
}

/// Random enough to choose a moment, and the same for the same seed.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

/// What is wrong with a rate, where it is lower than it has to be.
fn too_slow(achieved: f64, minimum: u32) -> Option<String> {
    (achieved < f64::from(minimum))
        .then(|| format!("only {achieved:.1} logins a second, and {minimum} were to be kept up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let hundred = Durations::new((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(hundred.percentile(50), Duration::from_millis(50));
        assert_eq!(hundred.percentile(99), Duration::from_millis(99));
        assert_eq!(hundred.max(), Duration::from_millis(100));
        let one = Durations::new(vec![Duration::from_millis(7)]);
        assert_eq!(one.percentile(50), one.max());
        assert_eq!(Durations::default().percentile(99), Duration::ZERO);
    }

    #[test]
    fn a_rate_below_the_minimum_is_told() {
        assert!(too_slow(99.9, 100).is_some() && too_slow(100.0, 100).is_none());
    }
}
