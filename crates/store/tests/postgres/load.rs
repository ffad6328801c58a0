//! People who sign in, refresh and sign out without a pause, and what they were told. Whatever happens to the database
//! meanwhile: what was acknowledged is there, and is there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use vestibule_accounts::{
    ApplyError, GrantId, GrantKey, HandOver, NewGrant, RotateError, Rotation, SessionKey, Store,
    StoreError,
};
use vestibule_store::PostgresStore;

use crate::{NOW, Place, bytes, sign_in};

/// How many people come at once.
const AT_ONCE: u32 = 6;
/// How often each refreshes.
const REFRESHES: u32 = 3;
/// How long something may take to come about, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// People without end, until they are told to.
pub(crate) struct Load {
    store: Arc<PostgresStore>,
    workers: Vec<JoinHandle<Told>>,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU32>,
}

/// What people were told.
#[derive(Default)]
pub(crate) struct Told {
    people: Vec<Person>,
    failures: Vec<Failure>,
}

/// One person, as far as the store has answered.
struct Person {
    number: u32,
    signed_in: bool,
    refreshed: u32,
    left: Option<Left>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Left {
    SessionEnded,
    GrantEnded,
}

/// A verb that was refused, and when.
struct Failure {
    began: Instant,
    ended: Instant,
    why: String,
}

impl Load {
    pub(crate) fn start(store: &Arc<PostgresStore>) -> Self {
        let (over, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let worker = |worker: u32| {
            let (store, over, acknowledged) = (store.clone(), over.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut told = Told::default();
                let mut number = worker * 1_000_000;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    let person = told.live(&store, number, &acknowledged).await;
                    told.people.push(person);
                }
                told
            })
        };
        Self {
            store: store.clone(),
            workers: (0..AT_ONCE).map(worker).collect(),
            over,
            acknowledged,
        }
    }

    /// Waits until so many more verbs were acknowledged.
    pub(crate) async fn goes_on(&self, verbs: u32) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + verbs;
        let began = Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) < enough {
            assert!(began.elapsed() < PATIENCE, "nothing is acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the store answers again; from when on no verb may fail.
    pub(crate) async fn healed(&self) -> Instant {
        let began = Instant::now();
        while let Err(error) = self.store.ready().await {
            assert!(began.elapsed() < PATIENCE, "it does not heal: {error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Instant::now()
    }

    /// Ends it.
    pub(crate) async fn end(self) -> Told {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Told::default();
        for worker in self.workers {
            let told = worker.await.unwrap();
            all.people.extend(told.people);
            all.failures.extend(told.failures);
        }
        all
    }
}

pub(crate) fn grant(number: u32) -> NewGrant {
    NewGrant {
        id: GrantId::new(NOW, bytes(number)),
        client_id: "spa".into(),
        key: GrantKey::new(bytes(number)),
        expires_at: NOW.plus_seconds(3_600),
    }
}

impl Told {
    /// Signs in, refreshes and perhaps leaves. A refresh or a departure that failed is asked for again, as a front end
    /// does; a person whose sign-in failed is not seen again.
    async fn live(
        &mut self,
        store: &PostgresStore,
        number: u32,
        acknowledged: &AtomicU32,
    ) -> Person {
        let mut person = Person {
            number,
            signed_in: false,
            refreshed: 0,
            left: None,
        };
        let mut first = sign_in(number);
        first.hand_over = Some(HandOver::Grant(grant(number)));
        let began = Instant::now();
        match store.apply(first.clone()).await {
            Ok(_) => person.signed_in = true,
            Err(ApplyError::Store(error)) => {
                self.failed(began, error).await;
                return person;
            }
            Err(error) => panic!("{number}: {error}"),
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        while person.refreshed < REFRESHES {
            let rotation = Rotation {
                grant: grant(number).id,
                count: person.refreshed,
                grace_seconds: 60,
                now: NOW,
            };
            let began = Instant::now();
            match store.rotate_grant(rotation).await {
                Ok(rotated) => {
                    person.refreshed += 1;
                    assert_eq!(rotated.count, person.refreshed, "{number}");
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(RotateError::Store(error)) => self.failed(began, error).await,
                Err(error) => panic!("{number}: {error}"),
            }
        }
        let leaves = match number % 3 {
            0 => return person,
            1 => Left::SessionEnded,
            _ => Left::GrantEnded,
        };
        loop {
            let began = Instant::now();
            let left = match leaves {
                Left::SessionEnded => store.end_session(first.session.hash).await.map(drop),
                Left::GrantEnded => {
                    let grant = grant(number);
                    store.end_grant(grant.id, grant.client_id).await.map(drop)
                }
            };
            match left {
                Ok(()) => break,
                Err(error) => self.failed(began, error).await,
            }
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        person.left = Some(leaves);
        person
    }

    async fn failed(&mut self, began: Instant, error: StoreError) {
        let StoreError::Unavailable(why) = error else {
            panic!("{error}");
        };
        let ended = Instant::now();
        self.failures.push(Failure { began, ended, why });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// No verb failed.
    pub(crate) fn assert_unbroken(&self) {
        let failure = self.failures.first().map(|failure| &failure.why);
        assert_eq!(failure, None, "of {}", self.failures.len());
    }

    /// No verb failed that ended before the database was gone, or began when it was back. Nor need any have failed: one that
    /// waits for the answer to its COMMIT may outlast the outage, which `ready` has told.
    pub(crate) fn assert_failed_between_alone(&self, gone: Instant, healed: Instant) {
        for failure in &self.failures {
            assert!(
                failure.ended >= gone && failure.began <= healed,
                "{} {:?} after it was back: {}",
                failure.ended >= gone,
                failure.began.saturating_duration_since(healed),
                failure.why
            );
        }
    }

    /// What was acknowledged is there, once; the rest is there as a whole or not at all.
    pub(crate) async fn assert_kept(&self, store: &PostgresStore, place: &Place) {
        let mut users = 0;
        for person in &self.people {
            let number = person.number;
            let cookie = SessionKey::Cookie(sign_in(number).session.hash);
            let session = store.session(cookie, NOW).await.unwrap();
            let grant = store.grant(grant(number).id, NOW).await.unwrap();
            let identity = &sign_in(number).identity;
            let known = store
                .known(identity.issuer.clone(), identity.subject.clone(), None, NOW)
                .await
                .unwrap();
            users += u32::from(known.identity.is_some());

            let count = grant.map(|grant| grant.count);
            let found = (known.identity.is_some(), session.is_some(), count);
            let expected = match (person.signed_in, person.left) {
                (true, None) => (true, true, Some(person.refreshed)),
                (true, Some(Left::GrantEnded)) => (true, true, None),
                (true, Some(Left::SessionEnded)) => (true, false, None),
                (false, _) if known.identity.is_some() => (true, true, Some(0)),
                (false, _) => (false, false, None),
            };
            assert_eq!(found, expected, "{number}");
        }
        let acknowledged = self.people.iter().filter(|person| person.signed_in).count();
        assert!(acknowledged > 0);
        for table in ["users", "identities"] {
            assert_eq!(place.count(table).await, i64::from(users), "{table}");
        }
        assert_eq!(place.count("address_locks").await, 0);
    }
}
