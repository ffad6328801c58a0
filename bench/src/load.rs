//! Rounds of one operation, done by many at the same time, and what each cost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::Failed;
use crate::browser::From;
use crate::meter::{Meter, Used};
use crate::people::{Person, Seeded};
use crate::provider::Provider;
use crate::visitor::{Tokens, Visitor};

/// How many sessions or tokens one visitor uses in turn, where each was seen before.
const SEEN: usize = 4;
/// How many new access tokens are made for a round. More would fill the server's memory of them, which holds 16,384.
const NEW_TOKENS: usize = 10_000;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(200);

/// Something that people do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    FirstLogin(HandOff),
    ReturningLogin(HandOff),
    /// A request by the cookie of a session that was seen within the last second.
    CookieSeen,
    /// A request by the cookie of anybody's session.
    CookieOfAnybody,
    /// A request by a token that was seen before.
    TokenSeen,
    /// A request by a token that was never seen.
    TokenNew,
    Refresh,
}

/// How a login ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandOff {
    Cookie,
    Code,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstLogin(HandOff::Cookie) => "first login, cookie",
            Self::FirstLogin(HandOff::Code) => "first login, code",
            Self::ReturningLogin(HandOff::Cookie) => "returning login, cookie",
            Self::ReturningLogin(HandOff::Code) => "returning login, code",
            Self::CookieSeen => "request, cookie seen before",
            Self::CookieOfAnybody => "request, anybody's cookie",
            Self::TokenSeen => "request, token seen before",
            Self::TokenNew => "request, new token",
            Self::Refresh => "refresh",
        }
    }

    /// How many sessions are chosen before a round, to be used in it.
    fn sessions(self) -> usize {
        match self {
            Self::CookieSeen | Self::TokenSeen | Self::Refresh => SEEN,
            Self::FirstLogin(_)
            | Self::ReturningLogin(_)
            | Self::CookieOfAnybody
            | Self::TokenNew => 0,
        }
    }
}

/// Where it is done.
#[derive(Clone)]
pub struct Stage {
    pub servers: Vec<SocketAddr>,
    pub provider: Arc<Provider>,
    pub seeded: Seeded,
    pub concurrency: usize,
    /// The next person who was never here.
    pub next_stranger: Arc<AtomicU64>,
    /// Access tokens that no server has seen.
    new_tokens: Arc<Mutex<Vec<(String, Person)>>>,
}

/// What one round showed.
pub struct Round {
    used: Used,
    /// In ascending order.
    latencies: Vec<Duration>,
    /// The most that the servers held, in bytes.
    memory: u64,
}

/// Medians over the rounds of one operation.
#[derive(Debug, Serialize)]
pub struct Cost {
    pub operation: &'static str,
    pub replicas: usize,
    /// How many were done, in all rounds.
    pub operations: usize,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    /// The slowest of all rounds.
    pub max_ms: f64,
    /// CPU time of the servers for each operation.
    pub server_cpu_us: f64,
    /// CPU time of PostgreSQL's processes for each operation, where it is on this machine.
    pub database_cpu_us: Option<f64>,
    /// The most memory of all servers (PSS).
    pub memory_mib: f64,
    /// How many processors the driver kept busy, the provider included.
    pub driver_cores: f64,
    /// How many processors others kept busy.
    pub foreign_cores: f64,
}

impl Stage {
    pub fn new(
        servers: Vec<SocketAddr>,
        provider: Arc<Provider>,
        seeded: Seeded,
        concurrency: usize,
    ) -> Self {
        Self {
            servers,
            provider,
            seeded,
            concurrency,
            next_stranger: Arc::new(AtomicU64::new(seeded.count)),
            new_tokens: Arc::default(),
        }
    }

    /// The same on the first few servers.
    pub fn with_servers(&self, count: usize) -> Self {
        Self {
            servers: self.servers[..count].to_vec(),
            ..self.clone()
        }
    }

    /// One round of an operation.
    pub async fn round(
        &self,
        operation: Operation,
        meter: &Meter,
        length: Duration,
    ) -> Result<Round, Failed> {
        if operation == Operation::TokenNew {
            self.make_new_tokens().await?;
        }
        let mut workers = Vec::new();
        for number in 0..self.concurrency {
            workers.push(Worker::prepare(self.clone(), operation, number).await?);
        }
        let before = meter.read()?;
        let ends_at = Instant::now() + length;
        let mut at_work = JoinSet::new();
        for worker in workers {
            at_work.spawn(worker.work(operation, ends_at));
        }
        let (mut latencies, mut memory) = (Vec::new(), 0);
        let mut sample = tokio::time::interval(SAMPLE);
        loop {
            tokio::select! {
                done = at_work.join_next() => match done {
                    Some(of_one) => latencies.extend(of_one??),
                    None => break,
                },
                _ = sample.tick() => memory = memory.max(meter.memory()?),
            }
        }
        let used = before.until(&meter.read()?);
        if latencies.is_empty() {
            return Err(format!("{}: nothing was done", operation.name()).into());
        }
        latencies.sort_unstable();
        Ok(Round {
            used,
            latencies,
            memory,
        })
    }

    /// Refreshes until there are enough access tokens.
    async fn make_new_tokens(&self) -> Result<(), Failed> {
        let mut at_work = JoinSet::new();
        for number in 0..self.concurrency {
            let stage = self.clone();
            at_work.spawn(async move {
                let mut visitor = stage.visitor(number);
                let mut tokens = visitor.tokens(stage.seeded.any()).await?;
                for _ in 0..NEW_TOKENS.div_ceil(stage.concurrency) {
                    visitor.refresh(&mut tokens).await?;
                    stage
                        .new_tokens()
                        .push((tokens.access_token.clone(), tokens.person));
                }
                Ok::<_, Failed>(())
            });
        }
        while let Some(done) = at_work.join_next().await {
            done??;
        }
        // Not the newest first, whose sessions the server has just seen, but any.
        fastrand::shuffle(&mut self.new_tokens());
        Ok(())
    }

    fn new_tokens(&self) -> std::sync::MutexGuard<'_, Vec<(String, Person)>> {
        self.new_tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn visitor(&self, number: usize) -> Visitor {
        Visitor::new(self.servers.clone(), number, Arc::clone(&self.provider))
    }
}

/// One of those who do it at the same time.
struct Worker {
    stage: Stage,
    visitor: Visitor,
    cookies: Vec<(String, Person)>,
    tokens: Vec<Tokens>,
    turn: usize,
}

impl Worker {
    async fn prepare(stage: Stage, operation: Operation, number: usize) -> Result<Self, Failed> {
        let mut visitor = stage.visitor(number);
        visitor.connect().await?;
        let (mut cookies, mut tokens) = (Vec::new(), Vec::new());
        for _ in 0..operation.sessions() {
            let person = stage.seeded.any();
            if operation == Operation::CookieSeen {
                cookies.push((cookie_of(person), person));
            } else {
                let new = visitor.tokens(person).await?;
                if !new.are_of(stage.seeded) {
                    return Err("a token of another user".into());
                }
                visitor.me(person, From::Bearer(&new.access_token)).await?;
                tokens.push(new);
            }
        }
        Ok(Self {
            stage,
            visitor,
            cookies,
            tokens,
            turn: 0,
        })
    }

    /// Does it again and again; how long each took.
    async fn work(
        mut self,
        operation: Operation,
        ends_at: Instant,
    ) -> Result<Vec<Duration>, Failed> {
        let mut latencies = Vec::new();
        loop {
            let began = Instant::now();
            if began >= ends_at || !self.perform(operation).await? {
                return Ok(latencies);
            }
            latencies.push(began.elapsed());
        }
    }

    /// Does it once; `false` where nothing is left to do it with.
    async fn perform(&mut self, operation: Operation) -> Result<bool, Failed> {
        self.turn = self.turn.wrapping_add(1);
        let seeded = self.stage.seeded;
        match operation {
            Operation::FirstLogin(hand_off) => {
                let number = self.stage.next_stranger.fetch_add(1, Ordering::Relaxed);
                self.sign_in(Person(number), hand_off).await?;
            }
            Operation::ReturningLogin(hand_off) => {
                self.sign_in(seeded.any(), hand_off).await?;
            }
            Operation::CookieSeen => {
                let (cookie, person) = &self.cookies[self.turn % SEEN];
                self.visitor.me(*person, From::Cookie(cookie)).await?;
            }
            Operation::CookieOfAnybody => {
                let person = seeded.any();
                let cookie = cookie_of(person);
                self.visitor.me(person, From::Cookie(&cookie)).await?;
            }
            Operation::TokenSeen => {
                let tokens = &self.tokens[self.turn % SEEN];
                let bearer = From::Bearer(&tokens.access_token);
                self.visitor.me(tokens.person, bearer).await?;
            }
            Operation::TokenNew => {
                let Some((token, person)) = self.stage.new_tokens().pop() else {
                    return Ok(false);
                };
                self.visitor.me(person, From::Bearer(&token)).await?;
            }
            Operation::Refresh => {
                let tokens = &mut self.tokens[self.turn % SEEN];
                self.visitor.refresh(tokens).await?;
            }
        }
        Ok(true)
    }

    async fn sign_in(&mut self, person: Person, hand_off: HandOff) -> Result<(), Failed> {
        match hand_off {
            HandOff::Cookie => self.visitor.sign_in_by_cookie(person).await,
            HandOff::Code => self.visitor.sign_in_by_code(person).await,
        }
    }
}

fn cookie_of(person: Person) -> String {
    format!("vestibule_session={}", person.session_token())
}

impl Cost {
    /// The medians of some rounds, at least one.
    pub fn of(operation: Operation, replicas: usize, rounds: &[Round]) -> Self {
        let median = |figure: &dyn Fn(&Round) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            // Of an even number the mean of the two in the middle.
            let (low, high) = ((figures.len() - 1) / 2, figures.len() / 2);
            (figures[low] + figures[high]) / 2.0
        };
        let of_each = |time: Duration, round: &Round| micros(time) / round.latencies.len() as f64;
        let at = |hundredths: usize| {
            median(&|round| micros(percentile(&round.latencies, hundredths)) / 1e3)
        };
        let of_wall =
            |time: Duration, round: &Round| time.as_secs_f64() / round.used.wall.as_secs_f64();
        let slowest = rounds
            .iter()
            .map(|round| micros(percentile(&round.latencies, 100)) / 1e3)
            .fold(0.0, f64::max);
        let has_database = rounds.iter().all(|round| round.used.database.is_some());
        Self {
            operation: operation.name(),
            replicas,
            operations: rounds.iter().map(|round| round.latencies.len()).sum(),
            per_second: median(&|round| {
                round.latencies.len() as f64 / round.used.wall.as_secs_f64()
            }),
            p50_ms: at(50),
            p90_ms: at(90),
            p99_ms: at(99),
            max_ms: slowest,
            server_cpu_us: median(&|round| of_each(round.used.servers, round)),
            database_cpu_us: has_database
                .then(|| median(&|round| of_each(round.used.database.unwrap_or_default(), round))),
            memory_mib: median(&|round| round.memory as f64 / 1024.0 / 1024.0),
            driver_cores: median(&|round| of_wall(round.used.driver, round)),
            foreign_cores: median(&|round| of_wall(round.used.foreign, round)),
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of times in ascending order, at least one, the one below which so many hundredths lie.
pub fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    sorted[(sorted.len() * hundredths / 100).min(sorted.len() - 1)]
}
