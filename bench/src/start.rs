//! How long a start takes, and what a server holds that has nothing to do.

use std::time::Duration;

use serde::Serialize;

use crate::load::percentile;
use crate::meter::memory;
use crate::people::Person;
use crate::site::Site;
use crate::visitor::Visitor;
use crate::{Bench, Failed};

const STARTS: usize = 21;
/// After this long a server has nothing left to do.
const REST: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
pub struct Start {
    pub starts: usize,
    pub median_ms: f64,
    pub slowest_ms: f64,
}

/// From the process's begin to its first answer, on this database.
pub async fn start(site: &Site) -> Result<Start, Failed> {
    eprintln!("{}: start ...", site.title());
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let server = site.serve().await?;
        times.push(server.first_answer);
        server.stop().await?;
    }
    times.sort_unstable();
    let milliseconds = |hundredths| percentile(&times, hundredths).as_secs_f64() * 1e3;
    Ok(Start {
        starts: STARTS,
        median_ms: milliseconds(50),
        slowest_ms: milliseconds(100),
    })
}

/// Memory in MiB after a start and two logins, one of each hand-off.
pub async fn idle_memory(bench: &Bench, site: &Site) -> Result<f64, Failed> {
    eprintln!("{}: memory ...", site.title());
    let server = site.serve().await?;
    let mut visitor = Visitor::new(vec![server.address], 0, bench.provider.clone());
    visitor.sign_in_by_cookie(Person(0)).await?;
    visitor.sign_in_by_code(Person(0)).await?;
    tokio::time::sleep(REST).await;
    let bytes = memory(server.pid)?;
    server.stop().await?;
    Ok(bytes as f64 / 1024.0 / 1024.0)
}
