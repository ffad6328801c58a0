//! Who is that to us? From a verified identity to a session: the rule is asked ([`decide`]), and what it says is written
//! in one transaction.

use std::sync::{Arc, Mutex, PoisonError};

use vestibule_accounts::{
    Account, Act, ApplyError, Decide, Decision, EmailAddress, EmailFact, HandOver, IdentityFacts,
    IdentityRecord, Intent, NewSession, NewUser, Refusal, Session, SessionHash, SessionId,
    SessionKey, SessionToken, SignIn, SignedIn, StateHash, UserId, decide,
};
use vestibule_oidc::{EmailClaim, Provider, Timestamp, VerifiedIdentity};

use crate::Vestibule;
use crate::attempt::Errand;
use crate::decision::why;
use crate::error::{Code, Failure};
use crate::sessions::Believed;

/// How often somebody who adds a way in is read anew, when the account changed under the decision.
const READINGS: usize = 3;

/// A verified identity on its way in.
#[derive(Debug)]
pub(crate) struct Admission {
    /// What the provider said, as it is kept.
    pub(crate) record: IdentityRecord,
    /// The same, as the rule reads it.
    pub(crate) facts: IdentityFacts,
    /// What the person is doing.
    pub(crate) errand: Errand,
    /// The browser's session, which ends.
    pub(crate) replaces: Option<SessionHash>,
    /// The attempt, which is used up.
    pub(crate) claim: StateHash,
    /// What a front end gets.
    pub(crate) hand_over: Option<HandOver>,
    /// What is kept of the provider's tokens, sealed.
    pub(crate) provider_tokens: Option<Vec<u8>>,
}

/// Somebody who is in.
pub(crate) struct Admitted {
    pub(crate) signed_in: SignedIn,
    /// The secret of the session's cookie.
    pub(crate) session: SessionToken,
    /// What was decided, and why, for the log.
    pub(crate) decided: Decided,
}

/// A decision in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub(crate) word: &'static str,
    pub(crate) why: &'static str,
    /// Whether it changes what other sessions may believe: a new way in, or somebody who lost a claim and is out.
    concerns_others: bool,
}

/// Why nobody is in.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    /// No.
    Refused(Failure),
    /// Not before the owner of the address has signed in and said yes.
    AskOwner(Account),
}

impl From<Failure> for NotAdmitted {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<NotAdmitted> for Failure {
    /// Where nobody can be asked.
    fn from(not_admitted: NotAdmitted) -> Self {
        match not_admitted {
            NotAdmitted::Refused(failure) => failure,
            NotAdmitted::AskOwner(_) => Self::new(
                Code::LinkRequired,
                "owner_not_asked",
                "the verified address belongs to an account that signs in another way; its owner signs in that way and adds this one on the account page",
            ),
        }
    }
}

impl Admission {
    /// Of what a provider said.
    pub(crate) fn new(
        provider: &Provider,
        identity: &VerifiedIdentity,
        errand: Errand,
        claim: StateHash,
    ) -> Self {
        Self {
            record: record(provider, identity),
            facts: IdentityFacts::from(identity),
            replaces: errand.session(),
            errand,
            claim,
            hand_over: None,
            provider_tokens: None,
        }
    }
}

impl Vestibule {
    /// Decides who the identity is to us and writes it, in one transaction: user, identity, session, and what a front
    /// end gets.
    pub(crate) async fn admit(&self, admission: Admission) -> Result<Admitted, NotAdmitted> {
        let admission = Arc::new(admission);
        let mut contended = 0;
        loop {
            let intent = match &admission.errand {
                Errand::SignIn { .. } => Intent::SignIn,
                Errand::AddWayIn { user, session } => {
                    Intent::LinkTo(self.adding(*user, *session).await?)
                }
            };
            match self.admit_as(intent, &admission).await {
                // The store has asked the rule three times itself; but whoever adds a way in is read here.
                Err(Contended) if intent != Intent::SignIn && contended < READINGS => {
                    contended += 1;
                }
                Err(Contended) => {
                    return Err(NotAdmitted::Refused(Failure::new(
                        Code::ServiceUnavailable,
                        "decision_contended",
                        "the account changed three times while one sign-in was decided",
                    )));
                }
                Ok(outcome) => return outcome,
            }
        }
    }

    /// The account that somebody adds a way in to, signed in with this session still (S63).
    async fn adding(&self, user: UserId, session: SessionHash) -> Result<Account, Failure> {
        let key = SessionKey::Cookie(session);
        let account = self
            .inner
            .store
            .session(key, self.now())
            .await?
            .filter(|signed_in| signed_in.user.id == user)
            .map(|signed_in| signed_in.user.account());
        match account {
            Some(account) => Ok(account),
            // Keeping somebody out ends their sessions: that is what they are told.
            None => match self.inner.store.user(user).await? {
                Some(user) if !user.is_active => Err(Refusal::AccountDisabled.into()),
                _ => Err(session_over()),
            },
        }
    }

    async fn admit_as(
        &self,
        intent: Intent,
        admission: &Arc<Admission>,
    ) -> Result<Result<Admitted, NotAdmitted>, Contended> {
        let now = self.now();
        let token = SessionToken::new(self.random());
        let new_user = UserId::new(now, self.random());
        let provider = &admission.record.provider;
        let new_session = NewSession {
            id: SessionId::new(now, self.random()),
            hash: token.hash(),
            provider: provider.clone(),
            expires_at: now.plus_seconds(self.inner.session_lifetime),
            idle_seconds: self.inner.session_idle,
        };
        let session = session_of(&new_session, new_user, now);
        let key = SessionKey::Cookie(new_session.hash);
        // No address is looked up for somebody who is signed in: it decides nothing.
        let address = match (&intent, &admission.facts.email) {
            (Intent::SignIn, EmailFact::Verified { address, .. }) => Some(address.key().clone()),
            _ => None,
        };

        let verdict = Arc::new(Mutex::new(None));
        let decide: Decide = Box::new({
            // No more than it needs: the store may drop it last.
            let (policy, verdict) = (self.inner.policy.clone(), verdict.clone());
            let admission = admission.clone();
            move |known| {
                let decision = decide(&admission.facts, known, &policy, intent);
                let why = match intent {
                    Intent::SignIn => why(&decision, &admission.facts, known, &policy),
                    Intent::LinkTo(_) => "the person is signed in and adds it",
                };
                let act = act(decision, new_user, &admission.record);
                let mut verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner);
                match act {
                    Ok(act) => {
                        *verdict = Some(Ok(Decided::of(&act, why)));
                        Some(SignIn {
                            act,
                            identity: admission.record.clone(),
                            session: new_session.clone(),
                            replaces: admission.replaces,
                            hand_over: admission.hand_over.clone(),
                            claim: admission.claim,
                            requires: admission.errand.required_session(),
                            provider_tokens: admission.provider_tokens.clone(),
                            now,
                        })
                    }
                    Err(not_admitted) => {
                        *verdict = Some(Err(not_admitted));
                        None
                    }
                }
            }
        });
        let (before, ticket) = (self.inner.clock.monotonic(), self.inner.sessions.ticket());
        let (issuer, subject) = (
            admission.record.issuer.clone(),
            admission.record.subject.clone(),
        );
        let applied = self
            .inner
            .store
            .admit(issuer, subject, address, now, decide)
            .await;
        let verdict = verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_else(|| Err(undecided().into()));
        let (applied, decided) = match (applied, verdict) {
            (Ok(Some(applied)), Ok(decided)) => (applied, decided),
            (Ok(_), Err(not_admitted)) => return Ok(Err(not_admitted)),
            (Ok(None), Ok(_)) => return Ok(Err(undecided().into())),
            (Err(ApplyError::Conflict | ApplyError::Stale), _) => return Err(Contended),
            (Err(ApplyError::SessionOver), _) => return Ok(Err(session_over().into())),
            (Err(ApplyError::Store(error)), _) => return Ok(Err(Failure::from(error).into())),
            (Err(error), _) => {
                let failure = Failure::new(Code::InternalError, "apply", error.to_string());
                return Ok(Err(failure.into()));
            }
        };

        let signed_in = SignedIn {
            session: Session {
                user: applied.user.id,
                ..session
            },
            user: applied.user,
        };
        if decided.concerns_others {
            self.inner.sessions.forget_all();
        }
        // What was just written need not be read for the request that follows.
        let believed = Believed::with(signed_in.clone(), applied.identities);
        self.inner
            .sessions
            .remember(key, before, ticket, Arc::new(believed));
        // Also by its grants, which hang on the new session now: a later sign-out must find them.
        if let Some(old) = applied.replaced {
            self.inner.sessions.forget_session(old);
        }
        Ok(Ok(Admitted {
            signed_in,
            session: token,
            decided,
        }))
    }
}

/// The world changed under each decision that was made.
struct Contended;

impl Decided {
    fn of(act: &Act, why: &'static str) -> Self {
        let (word, concerns_others) = match act {
            Act::SignIn(_) => ("signed_in", false),
            Act::Create { evict, .. } => ("created", evict.is_some()),
            Act::Link(_) => ("linked", true),
        };
        Self {
            word,
            why,
            concerns_others,
        }
    }
}

/// What is written of a decision, or why nobody is let in.
fn act(decision: Decision, new_user: UserId, record: &IdentityRecord) -> Result<Act, NotAdmitted> {
    match decision {
        Decision::SignIn(account) => Ok(Act::SignIn(account)),
        Decision::Link(account) => Ok(Act::Link(account)),
        Decision::Create {
            owning,
            evict,
            by_invitation,
        } => Ok(Act::Create {
            user: NewUser {
                id: new_user,
                email: owning,
                name: record.name.clone(),
                picture: record.picture.clone(),
            },
            evict,
            by_invitation,
        }),
        Decision::AskToLink(owner) => Err(NotAdmitted::AskOwner(owner)),
        Decision::AskClaimant(_) => Err(NotAdmitted::Refused(Failure::new(
            Code::AccountExists,
            "claimed_by_password",
            "a password account that never proved the address claims it; linking = \"never\" gives the address to whom the provider vouches for",
        ))),
        Decision::Refuse(refusal) => Err(Failure::from(refusal).into()),
    }
}

fn session_of(new: &NewSession, user: UserId, now: Timestamp) -> Session {
    Session {
        id: new.id,
        user,
        provider: new.provider.clone(),
        created_at: now,
        last_seen_at: now,
        expires_at: new.expires_at,
        idle_seconds: new.idle_seconds,
    }
}

/// What a verified identity leaves in the database.
fn record(provider: &Provider, identity: &VerifiedIdentity) -> IdentityRecord {
    let (email, email_verified) = match identity.email() {
        // The rule takes what is no address for none; it is kept as said, and whoever reads it shall not trust it.
        EmailClaim::Verified(email) => (Some(email.clone()), EmailAddress::parse(email).is_ok()),
        EmailClaim::Unverified(email) => (Some(email.clone()), false),
        EmailClaim::Absent => (None, false),
    };
    IdentityRecord {
        issuer: identity.issuer().to_owned(),
        subject: identity.subject().to_owned(),
        provider: provider.id.as_str().to_owned(),
        email,
        email_verified,
        name: identity.name().map(str::to_owned),
        picture: identity.picture().map(str::to_owned),
    }
}

fn undecided() -> Failure {
    Failure::new(Code::InternalError, "decision", "no decision was made")
}

fn session_over() -> Failure {
    Failure::new(
        Code::SessionExpired,
        "session_of_link_over",
        "the session that adds a way in has ended, or another sign-in took its place",
    )
}
