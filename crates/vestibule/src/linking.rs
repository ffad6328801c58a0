//! One account for one person: an identity waits until the owner of its address has said yes, and somebody who is signed
//! in adds ways in and takes them away.

use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use vestibule_accounts::{
    Claim, EmailFact, HostedDomain, Identity, IdentityFacts, IdentityRecord, SessionKey,
    SessionToken, SignedIn, StateHash, Timestamp, UnlinkError, User, UserId,
};
use vestibule_oidc::{EmailClaim, Provider, VerifiedIdentity};

use crate::Vestibule;
use crate::admit::{Admission, Admitted};
use crate::attempt::Errand;
use crate::error::{Code, Failure};
use crate::events;
use crate::flow::AsksOwner;
use crate::seal::Purpose;

/// The page that asks.
pub(crate) const PATH: &str = "/link";
/// How long an identity waits for the owner of its address, in seconds.
pub(crate) const WAITS_SECONDS: i64 = 600;
/// How old a session may be in which ways in are changed, in seconds (S63).
const FRESH_SECONDS: i64 = 300;
/// How often a way in is taken away anew, when the account changed meanwhile.
const READINGS: usize = 3;

/// An identity whose verified address belongs to somebody here, who signs in another way. It rests sealed in the cookie of
/// the browser that brought it, and is connected by nobody but that owner: after a sign-in that is younger, and a yes.
#[derive(Deserialize, Serialize)]
pub(crate) struct PendingLink {
    issuer: String,
    subject: String,
    /// The provider's label.
    pub(crate) provider: String,
    /// The provider's word for its address, verified.
    pub(crate) email: Option<String>,
    name: Option<String>,
    /// The one user who can say yes.
    owner: [u8; 16],
    /// Where the person wanted to go.
    pub(crate) return_to: String,
    /// When it began to wait, in microseconds.
    since: i64,
}

impl PendingLink {
    pub(crate) fn new(
        provider: &Provider,
        identity: &VerifiedIdentity,
        owner: UserId,
        return_to: String,
        now: Timestamp,
    ) -> Self {
        Self {
            issuer: identity.issuer().to_owned(),
            subject: identity.subject().to_owned(),
            provider: provider.id.as_str().to_owned(),
            email: match identity.email() {
                EmailClaim::Verified(email) => Some(email.clone()),
                EmailClaim::Unverified(_) | EmailClaim::Absent => None,
            },
            // A cookie of over 4,096 bytes is none.
            name: identity.name().map(|name| name.chars().take(40).collect()),
            owner: *owner.as_bytes(),
            return_to,
            since: now.micros(),
        }
    }

    /// The one user who can say yes.
    pub(crate) fn owner(&self) -> UserId {
        UserId::from_bytes(self.owner)
    }

    /// Whether this is the owner's session, and younger than the question: whoever left a browser signed in has not
    /// said yes.
    pub(crate) fn may_be_connected_in(&self, signed_in: &SignedIn) -> bool {
        signed_in.user.id == self.owner() && signed_in.session.created_at.micros() >= self.since
    }
}

/// What the log says of a sign-in that waits.
pub(crate) fn owner_is_asked() -> Failure {
    Failure::new(
        Code::LinkRequired,
        "owner_asked",
        "the verified address belongs to an account that signs in another way; its owner is asked to sign in so, and to connect this one",
    )
}

impl Vestibule {
    /// Seals an identity that waits, and says where its owner is asked.
    pub(crate) fn ask_owner(&self, pending: &PendingLink) -> AsksOwner {
        let text = serde_json::to_vec(pending).unwrap_or_default();
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", &pending.return_to)
            .finish();
        AsksOwner {
            sealed: self.inner.sealer.seal_text(Purpose::Link, &text),
            location: format!("{}?{query}", self.inner.public_url_of("/login")),
        }
    }

    /// The identity that waits in a browser's cookie. Total: what is not ours, or waited too long, is none.
    pub(crate) fn pending_link(&self, sealed: &str) -> Option<PendingLink> {
        let text = self.inner.sealer.open_text(Purpose::Link, sealed)?;
        let pending: PendingLink = serde_json::from_slice(&text).ok()?;
        let waited = self.now().micros().saturating_sub(pending.since);
        (waited <= WAITS_SECONDS * 1_000_000).then_some(pending)
    }

    /// Connects an identity that waited: its owner has signed in since, and said yes. Once.
    ///
    /// # Errors
    /// `link_required` where nothing waits, `reauth_required` where this is not its owner's younger session.
    pub(crate) async fn connect(
        &self,
        sealed: &str,
        session: &SessionToken,
    ) -> Result<Admitted, Failure> {
        let now = self.now();
        let pending = self.pending_link(sealed).ok_or_else(|| {
            Failure::new(
                Code::StateExpired,
                "link_over",
                "nothing waits to be connected, or it waited longer than ten minutes",
            )
        })?;
        let signed_in = self
            .inner
            .store
            .session(SessionKey::Cookie(session.hash()), now)
            .await?
            .filter(|signed_in| pending.may_be_connected_in(signed_in))
            .ok_or_else(|| {
                Failure::new(
                    Code::ReauthRequired,
                    "not_the_owner",
                    "the session is not one of the owner of the address, begun since the question",
                )
            })?;
        let claim = StateHash::of(sealed.as_bytes());
        if self.inner.store.claim_state(claim, now).await? == Claim::Used {
            return Err(Failure::new(
                Code::StateUsed,
                "link_used",
                "the question was answered before",
            ));
        }
        let provider = pending.provider.clone();
        // S61
        self.provider(&provider).map_err(|_| {
            Failure::new(
                Code::ProviderDisabled,
                "provider_disabled",
                "the provider was taken out of the configuration while its identity waited",
            )
        })?;
        let admission = Admission {
            record: IdentityRecord {
                issuer: pending.issuer,
                subject: pending.subject,
                provider: pending.provider,
                email_verified: pending.email.is_some(),
                email: pending.email,
                name: pending.name,
                picture: None,
            },
            // Nothing is looked up: it is decided for whoever is signed in.
            facts: IdentityFacts {
                email: EmailFact::Absent,
                hosted_domain: HostedDomain::NeverSaid,
            },
            errand: Errand::AddWayIn {
                user: signed_in.user.id,
                session: session.hash(),
            },
            replaces: Some(session.hash()),
            claim,
            hand_over: None,
            provider_tokens: None,
        };
        let admitted = self.admit(admission).await.map_err(Failure::from)?;
        events::linked(&provider, admitted.signed_in.user.id);
        Ok(admitted)
    }

    /// Whether ways in may be changed in this session: its person has signed in within five minutes (S63).
    ///
    /// # Errors
    /// `reauth_required`
    pub(crate) fn check_fresh(&self, signed_in: &SignedIn) -> Result<(), Failure> {
        let age = self.now().seconds() - signed_in.session.created_at.seconds();
        if age <= FRESH_SECONDS {
            return Ok(());
        }
        Err(Failure::new(
            Code::ReauthRequired,
            "session_too_old",
            format!("the session is {age} seconds old; ways in are changed in the first 300"),
        ))
    }

    /// Whether a person has another way in than this one. One of a provider that is configured no longer is none.
    pub(crate) fn can_lose(&self, user: &User, all: &[Identity], one: &Identity) -> bool {
        let is_way_in = |identity: &Identity| {
            self.provider(&identity.record.provider)
                .is_ok_and(|provider| provider.has_issuer(&identity.record.issuer))
        };
        let mut others = all.iter().filter(|identity| {
            (&identity.record.issuer, &identity.record.subject)
                != (&one.record.issuer, &one.record.subject)
        });
        user.has_password || others.any(is_way_in)
    }

    /// Takes a way in away from whoever is signed in; `false` where they had none there. What was kept of the provider's
    /// tokens is given back. `subject` where the person has several at this provider.
    ///
    /// # Errors
    /// `reauth_required`, `last_method`, `bad_request` where there are several and none is named.
    pub(crate) async fn unlink(
        &self,
        signed_in: &SignedIn,
        provider: &str,
        subject: Option<&str>,
    ) -> Result<bool, Failure> {
        self.check_fresh(signed_in)?;
        let user = signed_in.user.id;
        let keep = Some(signed_in.session.id);
        for _ in 0..READINGS {
            let Some(person) = self.inner.store.user(user).await? else {
                return Ok(false);
            };
            let identities = self.inner.store.identities(user).await?;
            let Some(identity) = the_one(&identities, provider, subject)? else {
                return Ok(false);
            };
            if !self.can_lose(&person, &identities, identity) {
                return Err(last_method());
            }
            let (issuer, subject) = (
                identity.record.issuer.clone(),
                identity.record.subject.clone(),
            );
            let unlinked = self
                .inner
                .store
                .unlink(person.account(), issuer, subject, keep, self.now())
                .await;
            self.inner.sessions.forget_all();
            match unlinked {
                Ok(None) => return Ok(false),
                Ok(Some(unlinked)) => {
                    events::unlinked(provider, user);
                    if let Some(sealed) = unlinked.provider_tokens {
                        self.give_back(&identity.record, &sealed).await;
                    }
                    return Ok(true);
                }
                Err(UnlinkError::LastMethod) => return Err(last_method()),
                Err(UnlinkError::Stale) => {}
                Err(UnlinkError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    return Err(Failure::new(
                        Code::InternalError,
                        "unlink",
                        error.to_string(),
                    ));
                }
            }
        }
        Err(Failure::new(
            Code::ServiceUnavailable,
            "unlink_contended",
            "the account changed three times while a way in was taken away",
        ))
    }
}

fn last_method() -> Failure {
    Failure::new(
        Code::LastMethod,
        "last_method",
        "it is the account's last way in, among the providers that are configured",
    )
}

/// The identity that is meant.
fn the_one<'a>(
    identities: &'a [Identity],
    provider: &str,
    subject: Option<&str>,
) -> Result<Option<&'a Identity>, Failure> {
    let mut meant = identities.iter().filter(|identity| {
        identity.record.provider == provider
            && subject.is_none_or(|subject| identity.record.subject == subject)
    });
    match (meant.next(), meant.next()) {
        (Some(_), Some(_)) => Err(Failure::new(
            Code::BadRequest,
            "subject_needed",
            "there are several ways in at this provider; subject names one of them",
        )),
        (first, _) => Ok(first),
    }
}
