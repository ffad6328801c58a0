//! One login, from the first click to the session. The only file that touches protocol, network and storage together.
//!
//! Read [`Vestibule::begin_login`], then [`Vestibule::finish_login`]: the steps stand in the order in which they
//! happen. Each takes the value that the one before it made.

use std::sync::Arc;
use std::time::Duration;

use vestibule_accounts::{Claim, SessionToken, StateHash};
use vestibule_oidc::{
    self as oidc, AccessTokenOnly, AuthorizationRequest as ProviderRequest, CallbackQuery,
    Exchanged, FlowSecret, Fresh, LoginRequest, OutboundRequest, OutboundResponse, Prompt,
    Provider, ProviderId, Started, State, Timestamp, VerifiedIdentity,
};
use zeroize::Zeroizing;

use crate::Vestibule;
use crate::admit::{Admission, NotAdmitted};
use crate::attempt::{self, Attempt, Errand, Reference};
use crate::error::{Code, Failure};
use crate::events;
use crate::grants::Handed;
use crate::linking::{self, PendingLink};
use crate::oauth::reply::ReplyTo;
use crate::oauth::request::{self, AuthorizationRequest, Refused};
use crate::return_to::ReturnTo;
use crate::seal::Purpose;

/// All outbound requests of one callback end within this time together, so that the browser has its answer within ten
/// seconds (S24).
const CALLBACK_DEADLINE: Duration = Duration::from_millis(9_500);

/// What a login start asks for.
#[derive(Debug)]
pub(crate) struct LoginStart {
    pub(crate) return_to: Option<ReturnTo>,
    pub(crate) login_hint: Option<String>,
    pub(crate) prompt: Option<Prompt>,
    /// Scopes beside the configured ones.
    pub(crate) more_scopes: Vec<String>,
    pub(crate) errand: Errand,
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
    /// Whether an identity that waited to be connected waits no longer: somebody else has signed in.
    pub(crate) drops_link: bool,
}

/// A sign-in that failed: the reference by which the operator finds it, and the attempt that is over.
#[derive(Debug)]
pub(crate) struct LoginFailed {
    pub(crate) failure: Failure,
    pub(crate) reference: Option<Reference>,
    pub(crate) state: Option<StateHash>,
    /// A used attempt of a browser that is signed in: no failure to its user.
    pub(crate) signed_in: bool,
    /// Who is told in place of our error page.
    pub(crate) instead: Option<Box<Instead>>,
}

/// Who is told how a sign-in ended, in place of our error page.
#[derive(Debug)]
pub(crate) enum Instead {
    /// The front end that waits for it, once its attempt was opened.
    FrontEnd(ReplyTo),
    /// It has not ended: the owner of the address is asked.
    Owner(AsksOwner),
}

/// An identity that waits for the owner of its address.
#[derive(Debug)]
pub(crate) struct AsksOwner {
    /// For the browser's cookie.
    pub(crate) sealed: String,
    /// The page.
    pub(crate) location: String,
}

impl Target {
    /// What a page's `form-action` names beside ourselves, so that the answer to its form may go there.
    pub(crate) fn form_action(&self) -> String {
        match self {
            Self::Page(_) => String::new(),
            Self::FrontEnd(request) => request.reply_to.redirect_uri.origin_or_scheme(),
        }
    }
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
            note: noted(request.errand, &provider).to_bytes(),
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
                instead: None,
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
            instead: None,
        };
        match self.finish_steps(provider, request, &mut trace).await {
            Ok(finished) => Ok(finished),
            Err(failure) => {
                match &trace.reference {
                    Some(reference) if trace.signed_in => events::login_repeated(reference),
                    Some(reference)
                        if matches!(trace.instead.as_deref(), Some(Instead::Owner(_))) =>
                    {
                        events::owner_asked(provider, reference, &failure);
                    }
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
        let return_to = started.return_to().to_owned();
        let target = self.target(&return_to)?;
        if let Target::FrontEnd(request) = &target {
            trace.instead = Some(Box::new(Instead::FrontEnd(request.reply_to.clone())));
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

        let errand = errand(&started, &provider, request.session.as_ref())?;

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
        let (hand_over, handed) = match &target {
            Target::Page(_) => (None, Handed::Person),
            Target::FrontEnd(request) => self.prepare_hand_over(request, self.now()).await?,
        };
        let admission = Admission {
            hand_over,
            provider_tokens: self.kept_tokens(&provider, &identity).await?,
            ..Admission::new(&provider, &identity, errand.clone(), state)
        };
        let admitted = match self.admit(admission).await {
            Ok(admitted) => admitted,
            Err(NotAdmitted::Refused(failure)) => return Err(failure),
            Err(NotAdmitted::AskOwner(owner)) => {
                let pending = PendingLink::new(&provider, &identity, owner.user, return_to, now);
                trace.instead = Some(Box::new(Instead::Owner(self.ask_owner(&pending))));
                return Err(linking::owner_is_asked());
            }
        };
        let signed_in = &admitted.signed_in;
        events::login_succeeded(&provider, trace.reference.as_ref(), &admitted);

        // Where does the person go? First to the question, where an identity waits for them.
        let connects = match errand {
            Errand::SignIn { connects, .. } => connects,
            Errand::AddWayIn { .. } => None,
        };
        let location = match &target {
            _ if connects == Some(signed_in.user.id) => {
                Zeroizing::new(self.inner.public_url_of(linking::PATH))
            }
            Target::Page(path) => Zeroizing::new(self.inner.absolute(path)),
            Target::FrontEnd(request) => self.handed_over(request, handed, signed_in)?,
        };
        Ok(LoginFinished {
            location,
            drops_link: connects.is_some_and(|owner| owner != signed_in.user.id),
            session: admitted.session,
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
    pub(crate) fn fresh(&self) -> Fresh {
        Fresh {
            now: self.now(),
            random: self.random(),
        }
    }

    /// Where a sign-in ends that names no target: at the default front end, or else at the default page.
    fn default_target(&self) -> String {
        match AuthorizationRequest::of_default(&self.inner.frontends) {
            Some(_) => format!("{}{}", self.inner.base_path, request::PATH),
            None => self.inner.default_return_to.clone(),
        }
    }

    /// Who waits behind a path of ours.
    pub(crate) fn target(&self, return_to: &str) -> Result<Target, Failure> {
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

/// What an attempt notes. The browser's session comes back with the callback, except where another site posts a form.
fn noted(errand: Errand, provider: &Provider) -> Errand {
    match errand {
        Errand::SignIn { connects, .. } if !provider.form_post => Errand::SignIn {
            previous: None,
            connects,
        },
        errand => errand,
    }
}

/// What the person is doing, and with which session.
fn errand(
    started: &Started,
    provider: &Provider,
    session: Option<&SessionToken>,
) -> Result<Errand, Failure> {
    let session = session.map(SessionToken::hash);
    match Errand::from_bytes(started.note()) {
        Some(Errand::SignIn { previous, connects }) => Ok(Errand::SignIn {
            previous: session.or(previous),
            connects,
        }),
        // The browser is signed in as it was when it began, so that no way in is added to another account (S63). A form
        // that another site posts brings no session: there the attempt's cookie alone names this browser.
        Some(errand @ Errand::AddWayIn { .. })
            if session == errand.session() || (session.is_none() && provider.form_post) =>
        {
            Ok(errand)
        }
        Some(Errand::AddWayIn { .. }) => Err(Failure::new(
            Code::SessionExpired,
            "session_of_link_changed",
            "the browser is not signed in as it was when it began to add a way in",
        )),
        None => Err(Failure::new(
            Code::StateInvalid,
            "attempt_note",
            "the attempt was made by another version",
        )),
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
