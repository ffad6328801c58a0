//! Links, unlinks and sign-ins of few people at once, in no order, and what has to be true of all of it.
//!
//! Each change of a user's ways in raises the version by one, so that the answers alone tell who owned which identity at
//! each version. `VESTIBULE_TEST_OPERATIONS` says how many there are.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vestibule_accounts::{
    Act, ApplyError, SessionHash, SessionKey, Store, UnlinkError, User, UserVersion,
};

use super::{ISSUER, NOW, at_once, created, known, linked, record, registered, sign_in};

/// How many operations there are where nobody says otherwise.
const OPERATIONS: u64 = 1_000;
const WORKERS: usize = 16;
/// How many people there are. The first one has a password.
const PEOPLE: usize = 4;
/// How many identities they share. Each person begins with the one of the same number.
const IDENTITIES: usize = 7;

/// Numbers without a pattern, the same ones in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Linked,
    Unlinked,
    SignedIn,
}

/// Something that was acknowledged. `version` is the user's after it; `began` and `ended` are moments of one clock.
#[derive(Clone, Copy, Debug)]
struct Done {
    what: What,
    person: usize,
    identity: usize,
    version: i64,
    began: u64,
    ended: u64,
}

/// What was refused, by why.
#[derive(Debug, Default)]
struct Refusals {
    taken: u32,
    stale: u32,
    session_over: u32,
    last_method: u32,
    not_theirs: u32,
}

/// What the workers share.
struct Crowd {
    store: Arc<dyn Store>,
    people: Vec<User>,
    /// Of each person: sessions, and whether somebody was told that they ended.
    sessions: Vec<Mutex<Vec<(SessionHash, bool)>>>,
    left: AtomicU64,
    clock: AtomicU64,
    done: Mutex<Vec<Done>>,
    refusals: Mutex<Refusals>,
}

fn subject(identity: usize) -> String {
    format!("identity {identity}")
}

impl Crowd {
    async fn of(store: Arc<dyn Store>, operations: u64) -> Self {
        let password = registered(&store, "ann@x.example").await;
        let (first, session) = linked(&store, &password, &subject(0)).await;
        let mut people = vec![(first, session)];
        for person in 1..PEOPLE {
            people.push(created(&store, &subject(person), None).await);
        }
        let sessions = people.iter().map(|(_, first)| first.session.hash);
        Self {
            sessions: sessions
                .map(|hash| Mutex::new(vec![(hash, false)]))
                .collect(),
            people: people.into_iter().map(|(user, _)| user).collect(),
            store,
            left: AtomicU64::new(operations),
            clock: AtomicU64::new(1),
            done: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, what: What, person: usize, identity: usize, version: UserVersion, began: u64) {
        let ended = self.tick();
        self.done.lock().unwrap().push(Done {
            what,
            person,
            identity,
            version: version.0,
            began,
            ended,
        });
    }

    fn refuse(&self, count: impl FnOnce(&mut Refusals)) {
        count(&mut self.refusals.lock().unwrap());
    }

    /// One of the person's sessions, and whether it had ended by now.
    fn session(&self, person: usize, dice: &mut Dice) -> (SessionHash, bool) {
        let sessions = self.sessions[person].lock().unwrap();
        // The youngest, for most.
        let at = sessions.len() - 1 - dice.roll(sessions.len().min(3));
        sessions[at]
    }

    fn ended(&self, person: usize, hash: SessionHash) {
        for (other, ended) in self.sessions[person].lock().unwrap().iter_mut() {
            *ended |= *other == hash;
        }
    }

    async fn work(&self, mut dice: Dice) {
        let more = |left: u64| left.checked_sub(1);
        while self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
        {
            match dice.roll(20) {
                0..7 => self.sign_in(&mut dice).await,
                7..13 => self.link(&mut dice).await,
                13..18 => self.unlink(&mut dice).await,
                18 => self.sign_out(&mut dice).await,
                _ => self.look(&mut dice).await,
            }
        }
    }

    async fn sign_in(&self, dice: &mut Dice) {
        let identity = dice.roll(IDENTITIES);
        let Some(owner) = known(&self.store, &subject(identity)).await.identity else {
            return self.refuse(|refusals| refusals.not_theirs += 1);
        };
        let person = self.people.iter().position(|user| user.id == owner.user);
        let person = person.unwrap();
        let mut sign_in = sign_in(Act::SignIn(owner), record(&subject(identity)));
        if dice.roll(2) == 0 {
            sign_in.provider_tokens = Some(vec![identity as u8]);
        }
        let (hash, began) = (sign_in.session.hash, self.tick());
        match self.store.apply(sign_in).await {
            Ok(applied) => {
                assert_eq!(applied.user.id, owner.user);
                let version = applied.user.version;
                self.note(What::SignedIn, person, identity, version, began);
                // Where the identity was unlinked since, the session is over.
                let found = self.store.session(SessionKey::Cookie(hash), NOW).await;
                assert!(
                    found
                        .unwrap()
                        .is_none_or(|found| found.user.id == owner.user)
                );
                self.sessions[person].lock().unwrap().push((hash, false));
            }
            Err(ApplyError::Stale) => self.refuse(|refusals| refusals.stale += 1),
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn link(&self, dice: &mut Dice) {
        let (person, identity) = (dice.roll(PEOPLE), dice.roll(IDENTITIES));
        // One in eight comes with a session of somebody else.
        let holder = match dice.roll(8) {
            0 => (person + 1) % PEOPLE,
            _ => person,
        };
        let (required, has_ended) = self.session(holder, dice);
        let replaces = dice.roll(4) == 0;
        let user = self.user(person).await;
        let mut link = sign_in(Act::Link(user.account()), record(&subject(identity)));
        link.requires = Some(required);
        link.replaces = replaces.then_some(required);
        link.provider_tokens = Some(vec![identity as u8]);
        let (hash, began) = (link.session.hash, self.tick());
        match self.store.apply(link).await {
            Ok(applied) => {
                assert!(!has_ended && holder == person, "a session that was over");
                assert_eq!(applied.user.id, user.id);
                assert_eq!(applied.user.version.0, user.version.0 + 1);
                let version = applied.user.version;
                self.note(What::Linked, person, identity, version, began);
                self.sessions[person].lock().unwrap().push((hash, false));
                if replaces {
                    self.ended(person, required);
                }
            }
            Err(ApplyError::SessionOver) => self.refuse(|refusals| refusals.session_over += 1),
            Err(ApplyError::Conflict) => self.refuse(|refusals| refusals.taken += 1),
            Err(ApplyError::Stale) => self.refuse(|refusals| refusals.stale += 1),
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn unlink(&self, dice: &mut Dice) {
        let (person, identity) = (dice.roll(PEOPLE), dice.roll(IDENTITIES));
        let account = self.user(person).await.account();
        // All began at the one provider.
        let sessions = self.sessions[person].lock().unwrap().clone();
        let began = self.tick();
        let unlinked = self
            .store
            .unlink(account, ISSUER.into(), subject(identity), None, NOW)
            .await;
        match unlinked {
            Ok(Some(unlinked)) => {
                let expected = vec![identity as u8];
                assert!(unlinked.provider_tokens.is_none_or(|kept| kept == expected));
                let version = UserVersion(account.version.0 + 1);
                self.note(What::Unlinked, person, identity, version, began);
                for (hash, _) in sessions {
                    self.ended(person, hash);
                }
            }
            Ok(None) => self.refuse(|refusals| refusals.not_theirs += 1),
            Err(UnlinkError::LastMethod) => self.refuse(|refusals| refusals.last_method += 1),
            Err(UnlinkError::Stale) => self.refuse(|refusals| refusals.stale += 1),
            Err(error) => panic!("{error:?}"),
        }
    }

    async fn sign_out(&self, dice: &mut Dice) {
        let person = dice.roll(PEOPLE);
        let (hash, _) = self.session(person, dice);
        self.store.end_session(hash).await.unwrap();
        self.ended(person, hash);
    }

    /// Whoever has no password has a way in, whenever one looks.
    async fn look(&self, dice: &mut Dice) {
        let person = dice.roll(PEOPLE);
        let identities = self.store.identities(self.people[person].id).await.unwrap();
        assert!(person == 0 || !identities.is_empty(), "{person} is out");
    }

    async fn user(&self, person: usize) -> User {
        let user = self.store.user(self.people[person].id).await;
        user.unwrap().unwrap()
    }

    /// What each person owned at each version follows from the links and unlinks; all else must fit.
    async fn assert_owners(&self) {
        let done = self.done.lock().unwrap().clone();
        for (person, before) in self.people.iter().enumerate() {
            let mut changes: Vec<_> = done
                .iter()
                .filter(|done| done.person == person && done.what != What::SignedIn)
                .collect();
            changes.sort_by_key(|done| done.version);
            let mut owned = vec![BTreeSet::from([person])];
            for (at, change) in changes.iter().enumerate() {
                assert_eq!(
                    change.version,
                    before.version.0 + 1 + at as i64,
                    "{change:?}"
                );
                let mut now = owned[at].clone();
                let fits = match change.what {
                    What::Unlinked => now.remove(&change.identity),
                    _ => now.insert(change.identity),
                };
                assert!(fits, "{change:?} of {now:?}");
                assert!(
                    person == 0 || !now.is_empty(),
                    "{change:?}: the last way in"
                );
                owned.push(now);
            }
            for done in &done {
                if done.person == person && done.what == What::SignedIn {
                    let at = (done.version - before.version.0) as usize;
                    assert!(owned[at].contains(&done.identity), "{done:?}");
                }
            }
            let last = owned[changes.len()].iter().map(|at| subject(*at));
            let last: BTreeSet<_> = last.collect();
            let found = self.store.identities(before.id).await.unwrap();
            let found: BTreeSet<_> = found.into_iter().map(|way| way.record.subject).collect();
            assert_eq!(found, last, "{person}");
            for kept in self.store.provider_tokens(before.id).await.unwrap() {
                assert!(found.contains(&kept.subject), "{kept:?}");
                assert_eq!(subject(kept.sealed[0].into()), kept.subject);
            }
        }
    }

    /// No identity was given to anybody while it was somebody's all the time.
    fn assert_one_owner_each(&self) {
        let done = self.done.lock().unwrap();
        for identity in 0..IDENTITIES {
            let of = |what| {
                let these = done.iter().filter(move |done| done.what == what);
                these.filter(move |done| done.identity == identity)
            };
            for link in of(What::Linked) {
                let given = of(What::Linked).filter(|other| other.ended < link.began);
                let taken = of(What::Unlinked).filter(|other| other.began < link.ended);
                let given = given.count() + usize::from(identity < PEOPLE);
                assert!(given <= taken.count(), "{link:?}: it was somebody's");
            }
        }
    }
}

// S54, S63.
/// Nobody loses the last way in, no identity is two people's, nobody is signed in as somebody else, no link is written in
/// a session that is over, and every refusal is one that the verbs name.
pub async fn a_crowd_that_links_unlinks_and_signs_in_leaves_every_identity_one_owner(
    store: Arc<dyn Store>,
) {
    let asked = std::env::var("VESTIBULE_TEST_OPERATIONS");
    let operations = asked.map_or(OPERATIONS, |text| text.parse().unwrap());
    let crowd = Arc::new(Crowd::of(store.clone(), operations).await);
    at_once(&store, WORKERS, |_, worker| {
        let crowd = crowd.clone();
        async move { crowd.work(Dice(0x9e37_79b9 + worker as u64)).await }
    })
    .await;

    crowd.assert_owners().await;
    crowd.assert_one_owner_each();
    let refusals = crowd.refusals.lock().unwrap();
    let done = crowd.done.lock().unwrap();
    for what in [What::Linked, What::Unlinked, What::SignedIn] {
        assert!(done.iter().any(|done| done.what == what), "{what:?}");
    }
    // They met.
    assert!(
        refusals.taken > 0 && refusals.session_over > 0 && refusals.stale > 0,
        "{refusals:?}"
    );
}
