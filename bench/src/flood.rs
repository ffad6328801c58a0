//! Logins that are begun and never finished: they must cost no memory and write nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::browser::{Browser, From};
use crate::meter::memory;
use crate::people::Person;
use crate::server::PROVIDER;
use crate::site::Site;
use crate::visitor::Visitor;
use crate::{Bench, Failed};

const FLOOD: usize = 100_000;
const AT_ONCE: usize = 64;

#[derive(Debug, Serialize)]
pub struct Flood {
    pub login_starts: usize,
    pub per_second: f64,
    pub memory_growth_mib: f64,
    /// Whether the database's files are other than before.
    pub files_changed: bool,
}

pub async fn flood(bench: &Bench, site: &Site) -> Result<Flood, Failed> {
    eprintln!("{}: a flood of login starts ...", site.title());
    let server = site.serve().await?;
    // Whatever the first login fetches and makes is there already.
    Visitor::new(vec![server.address], 0, bench.provider.clone())
        .sign_in_by_cookie(Person(0))
        .await?;
    let (files, memory_before) = (site.files()?, memory(server.pid)?);
    let (address, next) = (server.address, Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut at_work = JoinSet::new();
    for _ in 0..AT_ONCE {
        let next = Arc::clone(&next);
        at_work.spawn(async move {
            let (mut browser, path) = (Browser::default(), format!("/auth/{PROVIDER}/login"));
            while next.fetch_add(1, Ordering::Relaxed) < FLOOD {
                let answer = browser.get(address, &path, From::Nobody).await?;
                if !answer.location()?.contains("/authorize?") {
                    return Err(Failed::from(answer.told()));
                }
            }
            Ok(())
        });
    }
    while let Some(done) = at_work.join_next().await {
        done??;
    }
    let per_second = FLOOD as f64 / began.elapsed().as_secs_f64();
    let grown = memory(server.pid)? as f64 - memory_before as f64;
    let files_changed = site.files()? != files;
    server.stop().await?;
    Ok(Flood {
        login_starts: FLOOD,
        per_second,
        memory_growth_mib: grown / 1024.0 / 1024.0,
        files_changed,
    })
}
