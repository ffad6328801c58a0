//! Callbacks at providers that hang: how each ends, and what others notice of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;
use url::Url;
use vestibule_devidp::{DevIdp, Fault};

use crate::browser::{Browser, From};
use crate::load::percentile;
use crate::meter::memory;
use crate::people::Person;
use crate::provider::{CLIENT_ID, CLIENT_SECRET};
use crate::server::Server;
use crate::site::Site;
use crate::visitor::{Visitor, path_of};
use crate::{Bench, Failed};

/// How many token requests Vestibule has under way at one provider.
const IN_FLIGHT: usize = 64;
const CALLBACKS: usize = 500;
/// So many providers that hang can hold all callbacks.
const PROVIDERS: usize = 8;
const REQUESTS: usize = 5_000;
const LOGINS: usize = 400;

#[derive(Debug, Serialize)]
pub struct Hung {
    pub callbacks: usize,
    pub providers: usize,
    /// So many ended as `provider_unavailable`, when the provider's time was up.
    pub unavailable: usize,
    /// So many ended as `rate_limited`, at once.
    pub limited: usize,
    pub slowest_s: f64,
    /// A request of others, one after the other.
    pub request: Beside,
    /// A login of others by a provider that answers.
    pub login: Beside,
    pub memory_growth_mib: f64,
}

/// Times in milliseconds before, and while callbacks hang.
#[derive(Debug, Serialize)]
pub struct Beside {
    pub p50_before: f64,
    pub p50_then: f64,
    pub p99_before: f64,
    pub p99_then: f64,
}

/// Measures with one provider that hangs, then with as many as hold all callbacks.
pub async fn hung(bench: &Bench, site: &Site) -> Result<[Hung; 2], Failed> {
    let mut providers = Vec::new();
    for number in 0..PROVIDERS {
        let idp = DevIdp::builder().client(CLIENT_ID, CLIENT_SECRET);
        providers.push((format!("hung-{number}"), idp.start().await?));
    }
    let more: Vec<(String, String)> = providers
        .iter()
        .map(|(name, idp)| (name.clone(), idp.issuer().to_owned()))
        .collect();
    site.configure(&more)?;
    let mut outcomes = Vec::new();
    for count in [1, PROVIDERS] {
        eprintln!(
            "{}: {CALLBACKS} callbacks at {count} that hang ...",
            site.title()
        );
        let server = site.serve().await?;
        outcomes.push(measure(bench, &server, &providers[..count]).await?);
        server.stop().await?;
    }
    for (_, idp) in providers {
        idp.stop().await;
    }
    outcomes.try_into().map_err(|_| "two were measured".into())
}

async fn measure(
    bench: &Bench,
    server: &Server,
    providers: &[(String, DevIdp)],
) -> Result<Hung, Failed> {
    let mut visitor = Visitor::new(vec![server.address], 0, bench.provider.clone());
    visitor.connect().await?;
    let requests = times_of_requests(&mut visitor).await?;
    let logins = times_of_logins(&mut visitor).await?;

    let (mut browser, mut callbacks) = (Browser::default(), Vec::new());
    for (name, idp) in providers.iter().cycle().take(CALLBACKS) {
        callbacks.push(ready(&mut browser, server.address, name, idp).await?);
    }
    let memory_before = memory(server.pid)?;
    let asked = || -> u64 {
        let of = |(_, idp): &(String, DevIdp)| idp.counters().token_requests;
        providers.iter().map(of).sum()
    };
    for (_, idp) in providers {
        idp.set_fault(Fault::TokenSlow);
    }
    let (asked_before, places) = (asked(), CALLBACKS.min(IN_FLIGHT * providers.len()));
    let hung: Vec<_> = callbacks
        .into_iter()
        .map(|(path, cookies)| tokio::spawn(finish(server.address, path, cookies)))
        .collect();
    // Those that find no place are told at once; what is measured is what the others notice of those that hang.
    let told = || hung.iter().filter(|task| task.is_finished()).count();
    while asked() < asked_before + places as u64 || told() < CALLBACKS - places {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let requests_then = times_of_requests(&mut visitor).await?;
    let logins_then = times_of_logins(&mut visitor).await?;
    let grown = memory(server.pid)? as f64 - memory_before as f64;

    let (mut unavailable, mut limited, mut slowest) = (0, 0, Duration::ZERO);
    for task in hung {
        let (to, took) = task.await??;
        unavailable += usize::from(to.contains("provider_unavailable"));
        limited += usize::from(to.contains("rate_limited"));
        slowest = slowest.max(took);
    }
    for (_, idp) in providers {
        idp.set_fault(Fault::None);
    }
    Ok(Hung {
        callbacks: CALLBACKS,
        providers: providers.len(),
        unavailable,
        limited,
        slowest_s: slowest.as_secs_f64(),
        request: beside(&requests, &requests_then),
        login: beside(&logins, &logins_then),
        memory_growth_mib: grown / 1024.0 / 1024.0,
    })
}

/// A login up to the callback: its path, and the cookie that belongs to it.
async fn ready(
    browser: &mut Browser,
    server: SocketAddr,
    provider: &str,
    idp: &DevIdp,
) -> Result<(String, String), Failed> {
    let begun = browser
        .get(server, &format!("/auth/{provider}/login"), From::Nobody)
        .await?;
    let mut url = Url::parse(begun.location()?)?;
    url.query_pairs_mut()
        .append_pair("user", "alice@example.com");
    let consented = browser
        .get(idp.addr(), &path_of(url.as_str())?, From::Nobody)
        .await?;
    let cookies: Vec<&str> = begun.cookies().collect();
    Ok((path_of(consented.location()?)?, cookies.join("; ")))
}

/// Comes back from a provider that hangs: where the browser is sent, and after how long.
async fn finish(
    server: SocketAddr,
    path: String,
    cookies: String,
) -> Result<(String, Duration), Failed> {
    let began = Instant::now();
    let answer = Browser::default()
        .get(server, &path, From::Cookie(&cookies))
        .await?;
    if answer.session().is_some() {
        return Err("a hung login succeeded".into());
    }
    Ok((answer.location()?.to_owned(), began.elapsed()))
}

async fn times_of_requests(visitor: &mut Visitor) -> Result<Vec<Duration>, Failed> {
    let person = Person(0);
    let cookie = format!("vestibule_session={}", person.session_token());
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let began = Instant::now();
        visitor.me(person, From::Cookie(&cookie)).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn times_of_logins(visitor: &mut Visitor) -> Result<Vec<Duration>, Failed> {
    let mut times = Vec::with_capacity(LOGINS);
    for _ in 0..LOGINS {
        let began = Instant::now();
        visitor.sign_in_by_cookie(Person(0)).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn beside(before: &[Duration], then: &[Duration]) -> Beside {
    let of = |times: &[Duration], hundredths| {
        let mut times = times.to_vec();
        times.sort_unstable();
        percentile(&times, hundredths).as_secs_f64() * 1e3
    };
    Beside {
        p50_before: of(before, 50),
        p50_then: of(then, 50),
        p99_before: of(before, 99),
        p99_then: of(then, 99),
    }
}
