//! The load: workers who sign people in at a steady rate, go on to tokens, and write down what they saw succeed.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Depth, Fact, Grant, Ledger};
use super::visitor::{Act, Trouble, Visitor, Way};
use super::{Dice, SoakError};

/// How many people are on their way at once at most.
const WORKERS: u64 = 32;
/// How much more is begun than is asked for, in percent: whoever meets an outage begins anew.
const MORE: u32 = 25;
/// How long after its rotation a refresh token surely still gets its successor: a little less than the server's grace.
const GRACE: Duration = Duration::from_secs(8);

/// The load on one address.
pub(super) struct Drive {
    pub(super) ledger: Ledger,
    origin: String,
    people: u32,
    /// How many people began to sign in.
    begun: AtomicU32,
    /// A client while there is a server, and how many outages there were before it. Each server meets a client of its own:
    /// no connection is left from before.
    up: watch::Sender<Option<(Client, u64)>>,
    /// How often the server was taken away.
    outages: AtomicU64,
    began: Instant,
    every: Duration,
    /// The number of the next visit.
    next: AtomicU64,
    is_over: AtomicBool,
    logins: Mutex<Vec<Duration>>,
    failed: AtomicU64,
    interrupted: AtomicU64,
    refreshes: AtomicU64,
    endings: AtomicU64,
}

/// What a load came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) seconds: f64,
    /// How long each login took that succeeded.
    pub(super) logins: Vec<Duration>,
    /// Logins that failed while a server was there.
    pub(super) failed: u64,
    /// Logins that an outage cut off.
    pub(super) interrupted: u64,
    pub(super) refreshes: u64,
    /// Sign-outs and revocations.
    pub(super) endings: u64,
    pub(super) begun: u32,
}

impl Totals {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a count of logins is far below 2^52"
    )]
    pub(super) fn rate(&self) -> f64 {
        self.logins.len() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// A client that follows nothing by itself.
pub(super) fn client() -> Result<Client, SoakError> {
    Ok(Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()?)
}

impl Drive {
    /// Begins a load of so many logins a second.
    pub(super) fn start(
        origin: &str,
        people: u32,
        logins_per_second: u32,
        seed: u64,
        client: Client,
    ) -> (Arc<Self>, JoinSet<()>) {
        let per_second = f64::from(logins_per_second) * f64::from(100 + MORE) / 100.0;
        let drive = Arc::new(Self {
            ledger: Ledger::default(),
            origin: origin.to_owned(),
            people,
            begun: AtomicU32::new(0),
            up: watch::Sender::new(Some((client, 0))),
            outages: AtomicU64::new(0),
            began: Instant::now(),
            every: Duration::from_secs_f64(1.0 / per_second),
            next: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            logins: Mutex::default(),
            failed: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            endings: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for number in 0..WORKERS {
            let (drive, dice) = (drive.clone(), Dice::new(seed ^ (number << 48)));
            workers.spawn(async move { drive.work(dice).await });
        }
        (drive, workers)
    }

    /// The server is about to be taken away: what fails from here on, fails because of that.
    pub(super) fn down(&self) {
        self.outages.fetch_add(1, Ordering::SeqCst);
        self.up.send_replace(None);
    }

    /// It is there again.
    pub(super) fn up(&self, client: Client) {
        let outages = self.outages.load(Ordering::SeqCst);
        self.up.send_replace(Some((client, outages)));
    }

    /// Waits for a server. Somebody who asks it, and how many outages there were before it.
    pub(super) async fn visitor(&self) -> (Visitor, u64) {
        let mut up = self.up.subscribe();
        let found = match up.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            // The sender is ours.
            Err(_) => None,
        };
        let (client, outages) = found.unwrap_or_default();
        let origin = self.origin.clone();
        (Visitor { client, origin }, outages)
    }

    /// Asks for all facts from this one on. How many there were.
    pub(super) async fn check(&self, from: usize, depth: Depth) -> usize {
        let (visitor, _) = self.visitor().await;
        self.ledger.check(&visitor, from, depth).await
    }

    /// How many logins were seen to succeed so far.
    pub(super) fn logins(&self) -> usize {
        self.logins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Lets everybody finish. What it came to.
    pub(super) async fn stop(&self, mut workers: JoinSet<()>) -> Totals {
        let seconds = self.began.elapsed().as_secs_f64();
        self.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                self.ledger.problem(format!("a worker of the run: {error}"));
            }
        }
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        Totals {
            seconds,
            logins: logins.clone(),
            failed: self.failed.load(Ordering::SeqCst),
            interrupted: self.interrupted.load(Ordering::SeqCst),
            refreshes: self.refreshes.load(Ordering::SeqCst),
            endings: self.endings.load(Ordering::SeqCst),
            begun: self.begun.load(Ordering::SeqCst),
        }
    }

    async fn work(&self, mut dice: Dice) {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let due = self.began + self.every * number;
            tokio::time::sleep_until(due.into()).await;
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            self.visit(&mut dice).await;
        }
    }

    /// One person comes, signs in, and perhaps goes on.
    async fn visit(&self, dice: &mut Dice) {
        let way = if dice.one_in(2) {
            Way::Cookie
        } else {
            Way::FrontEnd
        };
        let person = self.somebody(dice);
        let (visitor, outages) = self.visitor().await;
        let began = Instant::now();
        let login = match visitor.sign_in(person, way).await {
            Ok(login) => login,
            Err(trouble) => {
                if self.is_excused(&trouble, outages) {
                    self.interrupted.fetch_add(1, Ordering::SeqCst);
                } else {
                    self.failed.fetch_add(1, Ordering::SeqCst);
                    self.ledger
                        .problem(format!("a login of person {person} fails: {trouble:?}"));
                }
                return;
            }
        };
        self.logins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(began.elapsed());
        let mut fact = Fact {
            person,
            cookie: login.cookie,
            lives: true,
            grant: None,
        };
        if let Some(code) = login.code {
            fact.grant = self.tokens(dice, code).await;
        }
        if dice.one_in(8) {
            let cookie = fact.cookie.clone();
            if self.done(&Act::SignOut { cookie }).await.is_some() {
                self.endings.fetch_add(1, Ordering::SeqCst);
                fact.lives = false;
            } else {
                return;
            }
        }
        self.ledger.write(fact);
    }

    /// The front end redeems, perhaps refreshes, perhaps revokes. `None`: what came of it is in doubt.
    async fn tokens(&self, dice: &mut Dice, code: String) -> Option<Grant> {
        let mut grant = Grant {
            token: self.done(&Act::Redeem { code }).await??,
            before: None,
            lives: true,
        };
        if dice.one_in(2) {
            let token = grant.token.clone();
            let next = self.done(&Act::Refresh { token }).await??;
            grant.before = Some(std::mem::replace(&mut grant.token, next));
            self.refreshes.fetch_add(1, Ordering::SeqCst);
        }
        if dice.one_in(8) {
            let token = grant.token.clone();
            self.done(&Act::Revoke { token }).await?;
            self.endings.fetch_add(1, Ordering::SeqCst);
            grant.lives = false;
        }
        Some(grant)
    }

    /// A new person one time in four; else one who began before, perhaps a moment ago.
    fn somebody(&self, dice: &mut Dice) -> u32 {
        let begun = self.begun.load(Ordering::SeqCst);
        if begun
            < self
                .people
                .saturating_sub(u32::try_from(WORKERS).unwrap_or(u32::MAX))
            && (begun == 0 || dice.one_in(4))
        {
            return self.begun.fetch_add(1, Ordering::SeqCst);
        }
        u32::try_from(dice.below(u64::from(begun))).unwrap_or_default()
    }

    /// Asks until there is an answer, over outages. `None`: it was refused; a problem, unless an earlier request that an
    /// outage cut off may have done it.
    async fn done(&self, act: &Act) -> Option<Option<String>> {
        let mut may_be_done = None;
        loop {
            let (visitor, outages) = self.visitor().await;
            match visitor.ask(act).await {
                Ok(token) => return Some(token),
                Err(Trouble::Cut { may_be_heard, .. })
                    if self.outages.load(Ordering::SeqCst) > outages =>
                {
                    if may_be_heard {
                        may_be_done.get_or_insert_with(Instant::now);
                    }
                }
                Err(trouble) => {
                    // A code is used up once. A refresh token that was rotated unheard gets the same successor for a while.
                    let is_in_doubt = may_be_done.is_some_and(|since: Instant| match act {
                        Act::Redeem { .. } => true,
                        Act::Refresh { .. } => since.elapsed() > GRACE,
                        Act::SignOut { .. } | Act::Revoke { .. } => false,
                    });
                    if !is_in_doubt {
                        self.ledger.problem(format!("after a login: {trouble:?}"));
                    }
                    return None;
                }
            }
        }
    }

    fn is_excused(&self, trouble: &Trouble, outages: u64) -> bool {
        matches!(trouble, Trouble::Cut { .. }) && self.outages.load(Ordering::SeqCst) > outages
    }
}
