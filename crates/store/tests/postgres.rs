//! The PostgreSQL store on a real server: the suite of every store in three ways, and what only a server can do to one.
//! Where there is no PostgreSQL the tests are listed as ignored, with the reason; with `VESTIBULE_TEST_REQUIRE=all` that
//! is a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "postgres/failover.rs"]
mod failover;
#[path = "postgres/load.rs"]
mod load;
#[path = "postgres/login.rs"]
mod login;
#[path = "postgres/outages.rs"]
mod outages;
#[path = "support/pgbouncer.rs"]
mod pgbouncer;
#[path = "postgres/plans.rs"]
mod plans;
#[path = "postgres/pooler.rs"]
mod pooler;
#[path = "postgres/replicas.rs"]
mod replicas;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod server;
#[path = "postgres/tls.rs"]
mod tls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};
use tokio_postgres::{Client, NoTls};
use vestibule_accounts::{
    Act, IdentityRecord, NewSession, NewUser, SessionHash, SessionId, SignIn, StateHash, Store,
    Timestamp, UserId,
};
use vestibule_store::{OpenMode, PostgresStore, conformance};

use pgbouncer::PgBouncer;
use server::Server;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The ways in which the whole suite is run: their names, and what they add to the URL. Another is through a pooler.
const WAYS: &[(&str, &str)] = &[
    ("read_committed", ""),
    (
        "serializable",
        "&options=-c%20default_transaction_isolation%3Dserializable",
    ),
    (
        "repeatable_read",
        "&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read",
    ),
    ("unprepared", "&prepare=false"),
];

/// A server, and a schema of its own for each test.
#[derive(Clone)]
pub(crate) struct Place {
    server: Arc<Server>,
    schema: String,
    /// What stands between the stores and the server.
    pooler: Option<Arc<PgBouncer>>,
}

impl Place {
    fn new(server: &Arc<Server>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self {
            server: server.clone(),
            schema: format!("case_{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            pooler: None,
        }
    }

    fn behind(pooler: &Arc<PgBouncer>, server: &Arc<Server>) -> Self {
        Self {
            pooler: Some(pooler.clone()),
            ..Self::new(server)
        }
    }

    /// The URL of its stores, to which parameters may be added by `&`.
    pub(crate) fn url(&self) -> String {
        let pooler = self.pooler.as_ref().map(|pooler| pooler.port());
        server::url(pooler.unwrap_or(self.server.port()), &self.schema)
    }

    pub(crate) async fn store(&self, more: &str) -> Arc<PostgresStore> {
        let url = format!("{}{more}", self.url());
        let store = PostgresStore::open(&url, &self.schema, OpenMode::Serve).await;
        Arc::new(store.unwrap())
    }

    /// A connection beside the store's.
    pub(crate) async fn outsider(&self) -> Client {
        let url = format!(
            "{}&options=-c%20search_path%3D{}",
            self.server.url("outsider"),
            self.schema
        );
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let text = format!("SELECT count(*) FROM {table}");
        let row = self.outsider().await.query_one(&text, &[]).await;
        row.unwrap().get(0)
    }
}

pub(crate) fn bytes<const N: usize>(number: u32) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[N - 4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The first sign-in of a person with this number.
pub(crate) fn sign_in(number: u32) -> SignIn {
    SignIn {
        act: Act::Create {
            user: NewUser {
                id: UserId::new(NOW, bytes(number)),
                email: None,
                name: None,
                picture: None,
            },
            evict: None,
            by_invitation: false,
        },
        identity: IdentityRecord {
            issuer: "https://idp.example".into(),
            subject: number.to_string(),
            provider: "idp".into(),
            email: None,
            email_verified: false,
            name: None,
            picture: None,
        },
        provider_tokens: None,
        requires: None,
        session: NewSession {
            id: SessionId::new(NOW, bytes(number)),
            hash: SessionHash::from_bytes(bytes(number)),
            provider: "idp".into(),
            expires_at: NOW.plus_seconds(86_400),
            idle_seconds: 3_600,
        },
        replaces: None,
        hand_over: None,
        claim: StateHash::from_bytes(bytes(number)),
        now: NOW,
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

type Case = (
    &'static str,
    fn(Place) -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
);

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        vec![$((stringify!($name), |place| Box::pin($module::$name(place)))),*]
    };
}

/// Makes the store's connections. Where verbs meet that have one already, they really meet.
async fn connect_all(store: &Arc<PostgresStore>) {
    let asking = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.ready().await })
    });
    for ready in asking.collect::<Vec<_>>() {
        ready.await.unwrap().unwrap();
    }
}

/// What is made once, for all tests that need it.
struct Shared<T>(Arc<OnceLock<Arc<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Shared<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        self.0.get_or_init(|| Arc::new(make())).clone()
    }
}

type Trials = Vec<(String, Box<dyn FnOnce() + Send>)>;

fn main() {
    let arguments = Arguments::from_args();
    let server: Shared<Server> = Shared::new();
    let start = {
        let server = server.clone();
        move || server.get(own_server)
    };

    let mut trials: Trials = Vec::new();
    for (way, more) in WAYS {
        for (name, behaviour) in conformance::behaviours() {
            let start = start.clone();
            let test = move || {
                let place = Place::new(&start());
                run(async {
                    let store = place.store(more).await;
                    connect_all(&store).await;
                    behaviour(store).await;
                });
            };
            trials.push((format!("{way}::{name}"), Box::new(test)));
        }
    }
    let cases: Vec<Case> = cases![
        replicas::a_schema_is_made_once_by_servers_that_start_together,
        replicas::the_command_line_makes_nothing,
        replicas::a_newer_and_a_changed_schema_are_refused,
        replicas::what_does_not_do_is_refused_with_words,
        replicas::two_replicas_make_one_user_of_one_person,
        replicas::a_state_is_used_on_every_replica,
        replicas::a_second_secret_is_refused,
        replicas::registering_beside_creating_leaves_one_holder_of_an_address,
        replicas::a_code_that_moves_to_a_new_session_is_still_redeemed,
        replicas::of_two_redemptions_that_meet_one_succeeds,
        replicas::pruning_goes_by_the_clock_of_the_database,
        replicas::pruning_removes_five_hundred_rows_at_a_time,
        replicas::an_application_may_refer_to_our_users,
        replicas::a_server_that_takes_no_writes_is_not_ready,
        replicas::of_several_servers_the_one_that_takes_writes_is_used,
        replicas::a_server_that_says_nothing_is_passed_over,
        outages::connections_that_are_cut_do_not_split_or_fail_a_verb,
        outages::a_commit_whose_answer_is_lost_is_known,
        outages::a_commit_that_never_arrived_is_done_once,
        outages::a_pool_that_is_used_up_fails_fast,
    ];
    for (name, case) in cases {
        let start = start.clone();
        let test = move || run(case(Place::new(&start())));
        trials.push((name.into(), Box::new(test)));
    }
    // They change their server: each has one of its own.
    let cases: Vec<Case> = cases![
        outages::a_server_that_restarts_is_missed_while_it_is_away_alone,
        failover::a_standby_that_takes_over_has_all_that_was_acknowledged,
        failover::what_waits_for_its_standby_is_not_acknowledged_and_reads_go_on,
        failover::what_is_found_after_a_cut_is_acknowledged_when_the_standby_has_it,
        login::a_password_lets_in_and_a_wrong_one_is_refused_with_what_to_do,
        plans::no_statement_of_a_login_a_request_or_a_refresh_reads_a_whole_table,
        tls::a_certificate_that_does_not_hold_is_never_spoken_to,
    ];
    for (name, case) in cases {
        let test = move || run(case(Place::new(&Arc::new(own_server()))));
        trials.push((name.into(), Box::new(test)));
    }

    let pooler: Shared<PgBouncer> = Shared::new();
    let mut pooled: Trials = Vec::new();
    for (name, behaviour) in conformance::behaviours() {
        let (start, pooler) = (start.clone(), pooler.clone());
        let test = move || {
            let server = start();
            let pooler = pooler.get(|| own_pooler(&server));
            let place = Place::behind(&pooler, &server);
            run(async {
                let store: Arc<dyn Store> = place.store("&prepare=false").await;
                behaviour(store).await;
            });
        };
        pooled.push((format!("pooled::{name}"), Box::new(test)));
    }
    let cases: Vec<Case> = cases![
        pooler::a_pooler_that_restarts_is_missed_while_it_is_away_alone,
        pooler::prepared_statements_behind_a_pooler_are_an_error_that_says_what_to_do,
    ];
    for (name, case) in cases {
        let start = start.clone();
        let test = move || {
            let server = start();
            let pooler = Arc::new(own_pooler(&server));
            run(case(Place::behind(&pooler, &server)));
        };
        pooled.push((name.into(), Box::new(test)));
    }

    let mut missing = Vec::new();
    if server::programs().is_none() {
        missing.push("PostgreSQL is missing: apt-get install postgresql");
    }
    let mut all = with_parts(trials, &missing);
    if pgbouncer::program().is_none() {
        missing.push("PgBouncer is missing: apt-get install pgbouncer");
    }
    all.extend(with_parts(pooled, &missing));
    let conclusion = libtest_mimic::run(&arguments, all);
    // `exit` runs no destructors, and what was started is to end.
    drop((start, server, pooler));
    conclusion.exit();
}

fn own_server() -> Server {
    Server::start(&server::programs().unwrap())
}

fn own_pooler(server: &Server) -> PgBouncer {
    PgBouncer::start(&pgbouncer::program().unwrap(), server.port())
}

/// Tests that need parts: run, ignored with the reason, or failed where everything is required.
fn with_parts(trials: Trials, missing: &[&str]) -> Vec<Trial> {
    let required = std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let reason = missing.join("; ");
    let trial = |(name, test): (String, Box<dyn FnOnce() + Send>)| {
        if missing.is_empty() {
            return Trial::test(name, move || {
                test();
                Ok(())
            });
        }
        let reason = reason.clone();
        if required {
            return Trial::test(name, move || Err(reason.into()));
        }
        Trial::test(name, || Ok(()))
            .with_kind(reason)
            .with_ignored_flag(true)
    };
    trials.into_iter().map(trial).collect()
}
