//! What Vestibule costs on this machine. `README.md` beside this says how to read it.

mod args;
mod browser;
mod flood;
mod hung;
mod load;
mod meter;
mod people;
mod postgres;
mod provider;
mod report;
mod seed;
mod server;
mod site;
mod start;
mod visitor;

use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser as _, ValueEnum as _};

use args::{Arguments, Databases, Figure, Options};
use load::{Cost, HandOff, Operation, Stage};
use meter::Meter;
use postgres::Postgres;
use provider::Provider;
use report::{Database, Report};
use server::Server;
use site::Site;

/// Whatever ends the run.
type Failed = Box<dyn Error + Send + Sync>;

/// What all figures need.
struct Bench {
    options: Options,
    figure: Figure,
    binary: PathBuf,
    provider: Arc<Provider>,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    tokio::select! {
        done = run(arguments) => done,
        // What was started ends with its owners, which are dropped here.
        _ = tokio::signal::ctrl_c() => Err("broken off".into()),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failed> {
    let options = arguments.options;
    let bench = Bench {
        figure: arguments.figure.unwrap_or_default(),
        binary: server::binary(options.binary.as_deref()).await?,
        provider: Provider::start(options.signature).await?,
        options,
    };
    let mut report = bench.report();
    if bench.measures_databases() {
        for postgres in bench.databases().await? {
            for users in &bench.options.users {
                let site = Site::new(&bench, postgres.clone(), *users).await?;
                let database = bench.database(&site).await?;
                site.clear().await?;
                bench.show(&database);
                report.databases.push(database);
            }
        }
        let growth = report::growth(&report.databases);
        if !growth.is_empty() {
            bench.show(&growth);
        }
    }
    if bench.figure.includes(Figure::Flood) || bench.figure.includes(Figure::Hung) {
        let site = Site::new(&bench, None, 1_000).await?;
        if bench.figure.includes(Figure::Flood) {
            let flood = flood::flood(&bench, &site).await?;
            bench.show(&flood);
            report.flood = Some(flood);
        }
        if bench.figure.includes(Figure::Hung) {
            let hung = hung::hung(&bench, &site).await?;
            hung.iter().for_each(|hung| bench.show(hung));
            report.hung = Some(hung);
        }
    }
    if bench.options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(())
}

impl Bench {
    /// A report with nothing measured yet.
    fn report(&self) -> Report {
        let signature = self.options.signature.to_possible_value();
        Report {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            concurrency: self.options.concurrency,
            seconds: self.options.seconds,
            rounds: self.options.rounds,
            signature: signature.map_or_else(String::new, |value| value.get_name().to_owned()),
            ..Report::default()
        }
    }

    /// Prints a table, unless JSON is to come.
    fn show(&self, table: &dyn std::fmt::Display) {
        if !self.options.json {
            println!("{table}");
        }
    }

    fn measures_databases(&self) -> bool {
        !matches!(self.figure, Figure::Flood | Figure::Hung)
    }

    /// SQLite (`None`) and PostgreSQL, as far as they are asked for.
    async fn databases(&self) -> Result<Vec<Option<Rc<Postgres>>>, Failed> {
        let mut databases = Vec::new();
        if self.options.database != Databases::Postgres {
            databases.push(None);
        }
        if self.options.database != Databases::Sqlite {
            databases.push(Some(Rc::new(Postgres::find(&self.options).await?)));
        }
        Ok(databases)
    }

    /// Measures what is asked for on one database.
    async fn database(&self, site: &Site) -> Result<Database, Failed> {
        let mut database = Database {
            database: site.database_name(),
            users: site.seeded.count,
            bytes_per_user: site.bytes as f64 / site.seeded.count as f64,
            seeding_seconds: site.seeding.as_secs_f64(),
            start: None,
            idle_memory_mib: None,
            costs: Vec::new(),
        };
        if self.figure.includes(Figure::Start) {
            database.start = Some(start::start(site).await?);
        }
        if self.figure.includes(Figure::Memory) {
            database.idle_memory_mib = Some(start::idle_memory(self, site).await?);
        }
        if !self.cases(site).is_empty() {
            database.costs = self.costs(site).await?;
        }
        Ok(database)
    }

    /// The operations that are asked for, each with the number of servers that it is spread over.
    fn cases(&self, site: &Site) -> Vec<(Operation, usize)> {
        let mut cases = Vec::new();
        if self.figure.includes(Figure::Logins) {
            let replicas = usize::from(self.options.replicas);
            for login in [
                Operation::FirstLogin(HandOff::Cookie),
                Operation::ReturningLogin(HandOff::Cookie),
                Operation::FirstLogin(HandOff::Code),
                Operation::ReturningLogin(HandOff::Code),
            ] {
                cases.push((login, 1));
                // Only one server at a time may use an SQLite file.
                if replicas > 1 && site.is_postgres() {
                    cases.push((login, replicas));
                }
            }
        }
        if self.figure.includes(Figure::Requests) {
            cases.extend([
                (Operation::CookieSeen, 1),
                (Operation::CookieOfAnybody, 1),
                (Operation::TokenSeen, 1),
                (Operation::TokenNew, 1),
            ]);
        }
        if self.figure.includes(Figure::Refresh) {
            cases.push((Operation::Refresh, 1));
        }
        cases
    }

    /// Measures all operations in turn, round by round, so that what else the machine does meets all of them alike.
    async fn costs(&self, site: &Site) -> Result<Vec<Cost>, Failed> {
        let cases = self.cases(site);
        let most = cases.iter().map(|(_, replicas)| *replicas).max();
        let mut servers: Vec<Server> = Vec::new();
        for _ in 0..most.unwrap_or_default() {
            servers.push(site.serve().await?);
        }
        let all = Stage::new(
            servers.iter().map(|server| server.address).collect(),
            Arc::clone(&self.provider),
            site.seeded,
            self.options.concurrency.into(),
        );
        let mut rounds: Vec<_> = cases.iter().map(|_| Vec::new()).collect();
        for number in 1..=self.options.rounds {
            for ((operation, replicas), rounds) in cases.iter().zip(&mut rounds) {
                let (title, name) = (site.title(), operation.name());
                eprintln!("{title}: round {number}, {name}, servers: {replicas} ...");
                let stage = all.with_servers(*replicas);
                let meter = Meter {
                    servers: servers[..*replicas].iter().map(|one| one.pid).collect(),
                    postmaster: site.postmaster(),
                };
                let length = Duration::from_secs(self.options.seconds);
                rounds.push(stage.round(*operation, &meter, length).await?);
            }
        }
        for server in servers {
            server.stop().await?;
        }
        Ok(cases
            .iter()
            .zip(&rounds)
            .map(|((operation, replicas), rounds)| Cost::of(*operation, *replicas, rounds))
            .collect())
    }
}
