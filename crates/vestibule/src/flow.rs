//! One login, from the first click to the session. The only file that touches protocol, network and storage together.
//!
//! Read [`Vestibule::begin_login`], then [`Vestibule::finish_login`]: the steps stand in the order in which they
//! happen. Each takes the value that the one before it made.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vestibule_accounts::{
    Act, ApplyError, Claim, Decide, Decision, EmailFact, IdentityFacts, IdentityRecord, Intent,
    Known, NewSession, NewUser, Policy, Session, SessionHash, SessionId, SessionKey, SessionToken,
    SignIn, SignedIn, StateHash, UserId, decide,
};
use vestibule_oidc::{
    self as oidc, AccessTokenOnly, AuthorizationRequest as ProviderRequest, CallbackQuery,
    EmailClaim, Exchanged, FlowSecret, Fresh, LoginRequest, OutboundRequest, OutboundResponse,
    Prompt, Provider, ProviderId, Started, State, Timestamp, VerifiedIdentity,
};
use zeroize::Zeroizing;

use crate::Vestibule;
use crate::attempt::{self, Attempt, Reference};
use crate::error::{Code, Failure};
use crate::events;
use crate::grants::Handed;
use crate::oauth::reply::ReplyTo;
use crate::oauth::request::{self, AuthorizationRequest, Refused};
use crate::return_to::ReturnTo;
use crate::seal::Purpose;
use crate::sessions::Believed;

/// All outbound requests of one callback end within this time together, so that the browser has its answer within ten
/// seconds (S24).
const CALLBACK_DEADLINE: Duration = Duration::from_millis(9_500);

/// What a login start asks for.
#[derive(Debug, Default)]
pub(crate) struct LoginStart {
    pub(crate) return_to: Option<ReturnTo>,
    pub(crate) login_hint: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    /// Scopes beside the configured ones.
    pub(crate) more_scopes: Vec<String>,
    /// The session that this browser has already.
    pub(crate) session: Option<SessionToken>,
}

/// A login that has begun: where the browser goes, and the cookie that binds it to this browser.
#[derive(Debug)]
pub(crate) struct LoginBegun {
    pub(crate) authorization_url: url::Url,
    pub(crate) state: StateHash,
    pub(crate) flow_cookie: String,
    /// Whether the provider's page posts the answer.
    pub(crate) form_post: bool,
}

/// What a browser brings to the callback.
#[derive(Debug)]
pub(crate) struct CallbackRequest {
    /// The raw query.
    pub(crate) query: Vec<u8>,
    /// The values of our flow cookies, by the first 8 hex digits of their state's hash.
    pub(crate) flow_cookies: Vec<(String, String)>,
    /// The session that this browser has already.
    pub(crate) session: Option<SessionToken>,
}

/// Who waits for the outcome of a login.
pub(crate) enum Target {
    /// A page of our own site: its path.
    Page(String),
    /// A front end.
    FrontEnd(Box<AuthorizationRequest>),
}

/// A sign-in that succeeded.
pub(crate) struct LoginFinished {
    /// Where the browser goes. It may hold a code or a token.
    pub(crate) location: Zeroizing<String>,
    pub(crate) session: SessionToken,
    pub(crate) max_age: i64,
    pub(crate) state: StateHash,
}

/// A sign-in that failed: the reference by which the operator finds it, and the attempt that is over.
#[derive(Debug)]
pub(crate) struct LoginFailed {
    pub(crate) failure: Failure,
    pub(crate) reference: Option<Reference>,
    pub(crate) state: Option<StateHash>,
    /// A used attempt of a browser that is signed in: no failure to its user.
    pub(crate) signed_in: bool,
    /// The front end that is told, once its attempt was opened.
    pub(crate) reply_to: Option<Box<ReplyTo>>,
}

impl Vestibule {
    /// Begins a login at a provider (RFC 6749 section 4.1.1). Writes nothing: the attempt lives in the browser.
    pub(crate) async fn begin_login(
        &self,
        provider: &str,
        request: LoginStart,
    ) -> Result<LoginBegun, Failure> {
        let provider = self.provider(provider)?;
        let metadata = self.inner.remote.metadata(&provider).await?;
        let now = self.now();

        let attempt = Attempt {
            random: self.random(),
            started_at: now,
            provider: provider.id.clone(),
        };
        let state = State::new(
            self.inner
                .sealer
                .seal_text(Purpose::State, &attempt.to_bytes()),
        );
        let hash = StateHash::of(state.expose().as_bytes());
        let return_to = match request.return_to {
            Some(target) => target.as_str().to_owned(),
            None => self.default_target(),
        };
        // What the callback will refuse is refused before the person goes anywhere.
        self.target(&return_to)?;
        let login = LoginRequest {
            state,
            secret: FlowSecret::new(self.random()),
            return_to,
            login_hint: request.login_hint,
            prompt: request.prompt,
            more_scopes: request.more_scopes,
            note: previous_session(&provider, request.session.as_ref()),
            now,
        };
        let (authorization, started) = oidc::start(&provider, &metadata, login);
        let authorization_url = self.push(&provider, &metadata, authorization).await?;

        events::login_started(&provider, &attempt.reference());
        let flow_cookie = self
            .inner
            .sealer
            .seal_text(Purpose::Flow, &started.to_bytes());
        Ok(LoginBegun {
            authorization_url,
            state: hash,
            flow_cookie,
            form_post: provider.form_post,
        })
    }

    /// The URL that the browser is sent to. Where the provider wants it so, the request goes there before, over our own
    /// connection (RFC 9126).
    async fn push(
        &self,
        provider: &Provider,
        metadata: &oidc::Metadata,
        authorization: ProviderRequest,
    ) -> Result<url::Url, Failure> {
        let Some(request) = authorization
            .push(provider, metadata, self.fresh())
            .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))?
        else {
            return Ok(authorization.into_url());
        };
        let _permit = self.inner.rate.token_request(&provider.id)?;
        let response = self
            .inner
            .transport
            .send(provider, request, CALLBACK_DEADLINE)
            .await?
            .response;
        authorization
            .into_pushed_url(provider, &response)
            .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))
    }

    /// Ends a login: the provider has sent the browser back (RFC 6749 section 4.1.2 and on). Runs in a task of its
    /// own, so that a browser that goes away does not split it.
    pub(crate) async fn finish_login(
        self,
        provider: String,
        request: CallbackRequest,
    ) -> Result<LoginFinished, LoginFailed> {
        let named = provider.clone();
        let task = tokio::spawn(async move { self.finish(&provider, request).await });
        task.await.unwrap_or_else(|_| {
            let failure = Failure::new(
                Code::InternalError,
                "panic",
                "a sign-in panicked; please report it with this log",
            );
            events::login_failed(&named, None, &failure);
            Err(LoginFailed {
                failure,
                reference: None,
                state: None,
                signed_in: false,
                reply_to: None,
            })
        })
    }

    async fn finish(
        &self,
        provider: &str,
        request: CallbackRequest,
    ) -> Result<LoginFinished, LoginFailed> {
        let mut trace = LoginFailed {
            failure: Failure::new(Code::InternalError, "unfinished", ""),
            reference: None,
            state: None,
            signed_in: false,
            reply_to: None,
        };
        match self.finish_steps(provider, request, &mut trace).await {
            Ok(finished) => Ok(finished),
            Err(failure) => {
                match &trace.reference {
                    Some(reference) if trace.signed_in => events::login_repeated(reference),
                    reference => events::login_failed(provider, reference.as_ref(), &failure),
                }
                Err(LoginFailed { failure, ..trace })
            }
        }
    }

    async fn finish_steps(
        &self,
        provider: &str,
        request: CallbackRequest,
        trace: &mut LoginFailed,
    ) -> Result<LoginFinished, Failure> {
        let deadline = tokio::time::Instant::now() + CALLBACK_DEADLINE;
        let now = self.now();

        // Whose attempt is it, and is this the browser that began it?
        let query = CallbackQuery::parse(&request.query);
        let (started, state) = self
            .open_attempt(
                provider,
                query.as_ref().ok().and_then(CallbackQuery::state),
                &request,
                now,
                trace,
            )
            .await?;
        // Who waits for the outcome? Checked anew: the configuration may have changed since the start.
        let target = self.target(started.return_to())?;
        if let Target::FrontEnd(request) = &target {
            trace.reply_to = Some(Box::new(request.reply_to.clone()));
        }
        let query =
            query.map_err(|error| Failure::of_step(error.code(), error.reason(), &error))?;
        // The attempt is one of ours: its provider was configured when it began (S61).
        let provider = self.provider(provider).map_err(|_| {
            Failure::new(
                Code::ProviderDisabled,
                "provider_disabled",
                "the provider was taken out of the configuration after the attempt began",
            )
        })?;

        let replaces = match &request.session {
            Some(session) => Some(session.hash()),
            None => noted_session(started.note()),
        };

        // What did the provider answer? (RFC 6749 section 4.1.2, RFC 9207)
        let metadata = within(deadline, self.inner.remote.metadata(&provider)).await?;
        let callback = started
            .callback(&provider, &metadata, query, now)
            .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))?;
        // The code for tokens (RFC 6749 section 4.1.3). Never sent twice.
        let exchanged = {
            let _permit = self.inner.rate.token_request(&provider.id)?;
            let request = callback
                .token_request(&provider, &metadata, self.fresh())
                .map_err(|error| {
                    let operator = format!("the proof of who we are cannot be signed: {error}");
                    Failure::new(Code::ProviderMisconfigured, "client_assertion", operator)
                })?;
            let response = self.ask(&provider, request, deadline).await?;
            callback
                .token_response(&provider, response)
                .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))?
        };

        // Who is it?
        let identity = match exchanged {
            // OpenID Connect Core section 3.1.3.7.
            Exchanged::WithIdToken(exchanged) => {
                let header = exchanged.header();
                let keys = self.inner.remote.keys_for(&provider, &metadata, header);
                let keys = within(deadline, keys).await?;
                let identity = exchanged
                    .verify(&provider, &metadata, &keys, self.now())
                    .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))?;
                self.complete(&provider, &metadata, identity, deadline)
                    .await?
            }
            Exchanged::AccessTokenOnly(exchanged) => {
                self.identify(&provider, exchanged, deadline).await?
            }
        };

        // Who is that to us?
        let session = SessionToken::new(self.random());
        let (signed_in, handed) = self
            .admit(&provider, &identity, &session, replaces, state, &target)
            .await?;
        events::login_succeeded(&provider, trace.reference.as_ref(), signed_in.user.id);

        // Where does the person go?
        let location = match &target {
            Target::Page(path) => Zeroizing::new(self.inner.absolute(path)),
            Target::FrontEnd(request) => self.handed_over(request, handed, &signed_in)?,
        };
        Ok(LoginFinished {
            location,
            session,
            max_age: self.inner.session_lifetime,
            state,
        })
    }

    /// Opens the attempt that a callback names and consumes it. Each way to lose an attempt has a code of its own,
    /// so that the page can say what to do.
    async fn open_attempt(
        &self,
        provider: &str,
        state: Option<&State>,
        request: &CallbackRequest,
        now: Timestamp,
        trace: &mut LoginFailed,
    ) -> Result<(Started, StateHash), Failure> {
        let Some(state) = state else {
            // A query that does not parse keeps its state out of reach: nothing of it can be believed.
            return Err(match CallbackQuery::parse(&request.query) {
                Ok(_) => Failure::new(
                    Code::StateMissing,
                    "state_missing",
                    "the callback carries no state; the provider must return the one that it was sent",
                ),
                Err(error) => Failure::of_step(error.code(), error.reason(), &error),
            });
        };
        let attempt = self
            .inner
            .sealer
            .open_text(Purpose::State, state.expose())
            .and_then(|bytes| Attempt::from_bytes(&bytes))
            .ok_or_else(|| Failure::new(Code::StateInvalid, "state_seal", "the state was not made by us, or with another secret; check that all replicas have the same `secret`"))?;
        trace.reference = Some(attempt.reference());
        let hash = StateHash::of(state.expose().as_bytes());
        trace.state = Some(hash);

        if now.seconds().saturating_sub(attempt.started_at.seconds()) > attempt::LIFETIME_SECONDS {
            return Err(Failure::new(
                Code::StateExpired,
                "state_expired",
                "the person took longer than ten minutes at the provider",
            ));
        }
        // One winner, before anything is sent (S12). Nothing after this line can be tried twice.
        if self.inner.store.claim_state(hash, now).await? == Claim::Used {
            trace.signed_in = match &request.session {
                Some(session) => self.signed_in(session).await?.is_some(),
                None => false,
            };
            return Err(Failure::new(
                Code::StateUsed,
                "state_used",
                "the callback was loaded before: the back button, a reload, or a replay",
            ));
        }
        if attempt.provider.as_str() != provider {
            return Err(Failure::new(
                Code::ProviderMismatch,
                "provider_path",
                format!(
                    "the attempt began with provider {}, and the callback is that of {provider}",
                    attempt.provider
                ),
            ));
        }
        if request.flow_cookies.is_empty() {
            return Err(Failure::new(
                Code::CookieMissing,
                "cookie_missing",
                "the browser sent no cookie of ours: cookies are blocked, or the login began under another host name than public_url's",
            ));
        }
        let suffix = attempt::cookie_suffix(&hash);
        let started = request
            .flow_cookies
            .iter()
            .filter(|(name, _)| *name == suffix)
            .find_map(|(_, value)| Started::from_bytes(&self.inner.sealer.open_text(Purpose::Flow, value)?).ok())
            // In constant time: the state is the one that this browser was given (S11).
            .filter(|started| started.is_of(state))
            .ok_or_else(|| Failure::new(Code::StateOtherBrowser, "state_other_browser", "the attempt began in another browser, or its cookie was pushed out by newer attempts"))?;
        Ok((started, hash))
    }

    /// Asks UserInfo where the ID token lacks a claim that the policy needs. If it then fails, so does the login.
    async fn complete(
        &self,
        provider: &Provider,
        metadata: &oidc::Metadata,
        identity: VerifiedIdentity,
        deadline: tokio::time::Instant,
    ) -> Result<VerifiedIdentity, Failure> {
        if !self.inner.policy.needs_address() || !identity.lacks_address() {
            return Ok(identity);
        }
        let Some(request) = identity.userinfo_request(metadata) else {
            return Ok(identity);
        };
        let response = self.ask(provider, request, deadline).await?;
        identity
            .with_userinfo(provider, response)
            .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))
    }

    /// Asks the interface of a provider that signs no ID tokens who it is. The person's addresses stand in a second
    /// answer at some.
    async fn identify(
        &self,
        provider: &Provider,
        exchanged: AccessTokenOnly,
        deadline: tokio::time::Instant,
    ) -> Result<VerifiedIdentity, Failure> {
        let profile = match exchanged.profile_request(provider) {
            Some(request) => Some(self.ask(provider, request, deadline).await?),
            None => None,
        };
        let emails = match exchanged.emails_request(provider) {
            Some(request) => Some(self.ask(provider, request, deadline).await?),
            None => None,
        };
        exchanged
            .identify(provider, profile.as_ref(), emails.as_ref())
            .map_err(|error| Failure::of_step(error.code(), error.reason(), &error))
    }

    /// One request to a provider, in what is left of the callback's time.
    async fn ask(
        &self,
        provider: &Provider,
        request: OutboundRequest,
        deadline: tokio::time::Instant,
    ) -> Result<OutboundResponse, Failure> {
        let received = self
            .inner
            .transport
            .send(provider, request, remaining(deadline))
            .await?;
        Ok(received.response)
    }

    /// What makes one proof of who we are unlike every other.
    fn fresh(&self) -> Fresh {
        Fresh {
            now: self.now(),
            random: self.random(),
        }
    }

    /// Decides who the identity is to us and writes it, in one transaction. What a front end gets is written with it.
    async fn admit(
        &self,
        provider: &Provider,
        identity: &VerifiedIdentity,
        session: &SessionToken,
        replaces: Option<SessionHash>,
        claim: StateHash,
        target: &Target,
    ) -> Result<(SignedIn, Handed), Failure> {
        let now = self.now();
        let (hand_over, handed) = match target {
            Target::Page(_) => (None, Handed::Person),
            Target::FrontEnd(request) => self.prepare_hand_over(request, now).await?,
        };
        let facts = IdentityFacts::from(identity);
        let address = match &facts.email {
            EmailFact::Verified { address, .. } => Some(address.key().clone()),
            EmailFact::Absent | EmailFact::Unverified => None,
        };
        let record = record(provider, identity);
        let (issuer, subject) = (record.issuer.clone(), record.subject.clone());
        let new_user = UserId::new(now, self.random());
        let new_session = NewSession {
            id: SessionId::new(now, self.random()),
            hash: session.hash(),
            provider: provider.id.as_str().to_owned(),
            expires_at: now.plus_seconds(self.inner.session_lifetime),
            idle_seconds: self.inner.session_idle,
        };
        let session = Session {
            id: new_session.id,
            user: new_user,
            provider: new_session.provider.clone(),
            created_at: now,
            last_seen_at: now,
            expires_at: new_session.expires_at,
            idle_seconds: new_session.idle_seconds,
        };
        let key = SessionKey::Cookie(new_session.hash);

        let refused = Arc::new(Mutex::new(None));
        let decide: Decide = Box::new({
            // No more than it needs: the store may drop it last.
            let (policy, refused) = (self.inner.policy.clone(), refused.clone());
            move |known| match act(&facts, known, &policy, new_user, &record) {
                Ok(act) => Some(SignIn {
                    act,
                    identity: record.clone(),
                    provider_tokens: None,
                    requires: None,
                    session: new_session.clone(),
                    replaces,
                    hand_over: hand_over.clone(),
                    claim,
                    now,
                }),
                Err(failure) => {
                    *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                    None
                }
            }
        });
        let (before, ticket) = (self.inner.clock.monotonic(), self.inner.sessions.ticket());
        let admitted = self
            .inner
            .store
            .admit(issuer, subject, address, now, decide)
            .await;
        let applied = match admitted {
            Ok(Some(applied)) => applied,
            Ok(None) => {
                let refused = refused
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
                return Err(refused.unwrap_or_else(|| {
                    Failure::new(Code::InternalError, "decision", "no decision was made")
                }));
            }
            Err(ApplyError::Conflict | ApplyError::Stale) => {
                return Err(Failure::new(
                    Code::ServiceUnavailable,
                    "decision_contended",
                    "the account changed three times while one sign-in was decided",
                ));
            }
            Err(ApplyError::Store(error)) => return Err(error.into()),
            Err(error) => {
                return Err(Failure::new(
                    Code::InternalError,
                    "apply",
                    error.to_string(),
                ));
            }
        };

        let signed_in = SignedIn {
            session: Session {
                user: applied.user.id,
                ..session
            },
            user: applied.user,
        };
        // What was just written need not be read for the request that follows.
        let believed = Believed::with(signed_in.clone(), applied.identities);
        self.inner
            .sessions
            .remember(key, before, ticket, Arc::new(believed));
        // Also by its grants, which hang on the new session now: a later sign-out must find them.
        if let Some(old) = applied.replaced {
            self.inner.sessions.forget_session(old);
        }
        Ok((signed_in, handed))
    }

    /// Where a sign-in ends that names no target: at the default front end, or else at the default page.
    fn default_target(&self) -> String {
        match AuthorizationRequest::of_default(&self.inner.frontends) {
            Some(_) => format!("{}{}", self.inner.base_path, request::PATH),
            None => self.inner.default_return_to.clone(),
        }
    }

    /// Who waits behind a path of ours.
    fn target(&self, return_to: &str) -> Result<Target, Failure> {
        let path = return_to
            .strip_prefix(&self.inner.base_path)
            .unwrap_or(return_to);
        match AuthorizationRequest::at(path, &self.inner.frontends) {
            None => Ok(Target::Page(return_to.to_owned())),
            Some(Ok(request)) => Ok(Target::FrontEnd(Box::new(request))),
            Some(Err(Refused::Here(failure) | Refused::There(_, _, failure))) => Err(failure),
        }
    }

    /// The configured provider with this name.
    pub(crate) fn provider(&self, id: &str) -> Result<Arc<Provider>, Failure> {
        ProviderId::parse(id)
            .ok()
            .and_then(|id| {
                self.inner
                    .providers
                    .iter()
                    .find(|provider| provider.id == id)
                    .cloned()
            })
            .ok_or_else(|| {
                Failure::new(
                    Code::ProviderUnknown,
                    "provider_unknown",
                    "no provider of this name is configured; see `vestibule config show`",
                )
            })
    }
}

/// What an attempt notes of the browser's session. A form that another site posts carries no cookie of it, and a new
/// sign-in ends the old one all the same (S65).
fn previous_session(provider: &Provider, session: Option<&SessionToken>) -> Vec<u8> {
    match session {
        Some(session) if provider.form_post => session.hash().as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

fn noted_session(note: &[u8]) -> Option<SessionHash> {
    Some(SessionHash::from_bytes(note.try_into().ok()?))
}

/// What is written of a decision, or why nobody is let in.
fn act(
    facts: &IdentityFacts,
    known: &Known,
    policy: &Policy,
    new_user: UserId,
    record: &IdentityRecord,
) -> Result<Act, Failure> {
    match decide(facts, known, policy, Intent::SignIn) {
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
        Decision::AskToLink(_) => Err(Failure::new(
            Code::AccountExists,
            "link_not_confirmed",
            "the verified address belongs to an account that signs in another way; linking = \"verified\" joins them where the provider is authoritative for the address",
        )),
        Decision::AskClaimant(_) => Err(Failure::new(
            Code::AccountExists,
            "claimed_by_password",
            "a password account that never proved the address claims it; linking = \"never\" gives the address to whom the provider vouches for",
        )),
        Decision::Refuse(refusal) => Err(refusal.into()),
    }
}

/// What a verified identity leaves in the database.
fn record(provider: &Provider, identity: &VerifiedIdentity) -> IdentityRecord {
    let (email, email_verified) = match identity.email() {
        EmailClaim::Verified(email) => (Some(email.clone()), true),
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

fn remaining(deadline: tokio::time::Instant) -> Duration {
    deadline.saturating_duration_since(tokio::time::Instant::now())
}

/// Waits for a cache that may have to ask the provider, no longer than the callback may last.
async fn within<T>(
    deadline: tokio::time::Instant,
    work: impl Future<Output = Result<T, crate::remote::RemoteError>>,
) -> Result<T, Failure> {
    match tokio::time::timeout_at(deadline, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Failure::new(
            Code::ProviderUnavailable,
            "deadline",
            "the provider did not answer within 10 seconds",
        )),
    }
}
