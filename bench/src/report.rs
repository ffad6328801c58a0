//! What was measured, as tables for people and as JSON for programs.

use std::fmt::{Display, Formatter, Result};

use serde::Serialize;

use crate::flood::Flood;
use crate::hung::{Beside, Hung};
use crate::load::Cost;
use crate::start::Start;

/// One run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub cores: usize,
    pub concurrency: u16,
    pub seconds: u64,
    pub rounds: u32,
    pub signature: String,
    pub databases: Vec<Database>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<Flood>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hung: Option<[Hung; 2]>,
}

/// What was measured on one database.
#[derive(Debug, Serialize)]
pub struct Database {
    pub database: &'static str,
    pub users: u64,
    pub bytes_per_user: f64,
    pub seeding_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_memory_mib: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<Cost>,
}

impl Database {
    fn title(&self) -> String {
        format!("{}, {} users", self.database, grouped(self.users))
    }
}

impl Display for Database {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "{}", self.title())?;
        writeln!(
            f,
            "  {:.0} bytes a user; filled in {:.1} s",
            self.bytes_per_user, self.seeding_seconds
        )?;
        if let Some(start) = &self.start {
            writeln!(
                f,
                "  start to first answer: median {:.1} ms, slowest {:.1} ms of {}",
                start.median_ms, start.slowest_ms, start.starts
            )?;
        }
        if let Some(memory) = self.idle_memory_mib {
            writeln!(f, "  idle memory after two logins: {memory:.1} MiB")?;
        }
        if self.costs.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n  {:<36}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "",
            "a second",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms",
            "CPU us",
            "db us",
            "MiB",
            "driver",
            "foreign"
        )?;
        for cost in &self.costs {
            let database = cost
                .database_cpu_us
                .map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"));
            writeln!(
                f,
                "  {:<36}{:>9}{:>9.2}{:>9.2}{:>9.2}{:>9.1}{:>9.1}{:>9}{:>9.1}{:>9.2}{:>9.2}",
                name(cost),
                grouped(cost.per_second as u64),
                cost.p50_ms,
                cost.p90_ms,
                cost.p99_ms,
                cost.max_ms,
                cost.server_cpu_us,
                database,
                cost.memory_mib,
                cost.driver_cores,
                cost.foreign_cores
            )?;
        }
        self.compare_replicas(f)
    }
}

impl Database {
    fn compare_replicas(&self, f: &mut Formatter<'_>) -> Result {
        for spread in self.costs.iter().filter(|cost| cost.replicas > 1) {
            let one = self
                .costs
                .iter()
                .find(|cost| cost.replicas == 1 && cost.operation == spread.operation);
            if let Some(one) = one {
                writeln!(
                    f,
                    "  {}: {} servers do {:.2} times what one does",
                    spread.operation,
                    spread.replicas,
                    spread.per_second / one.per_second
                )?;
            }
        }
        Ok(())
    }
}

fn name(cost: &Cost) -> String {
    if cost.replicas == 1 {
        cost.operation.to_owned()
    } else {
        format!("{}, {} servers", cost.operation, cost.replicas)
    }
}

/// What each size costs beside the smallest one of the same database: what grows is the database's part.
pub fn growth(databases: &[Database]) -> String {
    let mut text = String::new();
    for larger in databases.iter().filter(|one| !one.costs.is_empty()) {
        let smallest = databases
            .iter()
            .filter(|other| other.database == larger.database)
            .min_by_key(|other| other.users);
        let Some(smallest) = smallest.filter(|smallest| smallest.users < larger.users) else {
            continue;
        };
        let users = grouped(smallest.users);
        text.push_str(&format!("{}, beside {users}\n", larger.title()));
        for cost in &larger.costs {
            let same = |other: &&Cost| name(other) == name(cost);
            if let Some(before) = smallest.costs.iter().find(same) {
                text.push_str(&format!(
                    "  {:<36}{:.2} times the CPU time, {:.2} times the rate\n",
                    name(cost),
                    cost.server_cpu_us / before.server_cpu_us,
                    cost.per_second / before.per_second
                ));
            }
        }
    }
    text
}

impl Display for Flood {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "{} login starts: {} a second, memory {:+.1} MiB, the database's files {}",
            grouped(self.login_starts as u64),
            grouped(self.per_second as u64),
            self.memory_growth_mib,
            if self.files_changed {
                "CHANGED"
            } else {
                "as they were"
            }
        )
    }
}

impl Display for Hung {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(
            f,
            "{} callbacks at {} that {}: {} provider_unavailable, {} rate_limited; the slowest took {:.2} s, memory {:+.1} MiB",
            self.callbacks,
            self.providers,
            if self.providers == 1 { "hangs" } else { "hang" },
            self.unavailable,
            self.limited,
            self.slowest_s,
            self.memory_growth_mib
        )?;
        for (what, beside) in [("request", &self.request), ("login", &self.login)] {
            writeln!(f, "  a {what} of others: {beside}")?;
        }
        Ok(())
    }
}

impl Display for Beside {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(
            f,
            "p50 {:.2} ms, then {:.2} ({:.2} times); p99 {:.2} ms, then {:.2} ({:.2} times)",
            self.p50_before,
            self.p50_then,
            self.p50_then / self.p50_before,
            self.p99_before,
            self.p99_then,
            self.p99_then / self.p99_before
        )
    }
}

/// 1234567 as 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
