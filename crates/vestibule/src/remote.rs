//! What providers say of themselves, remembered: metadata and keys (S48 to S51).
//!
//! What is fresh is served from memory. What is stale is served too, while one task asks anew. Where there is nothing,
//! callers wait for one request together. After a failure nobody asks again for a while. A key that is not in the set is
//! asked for at once, as often as a small bucket allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use vestibule_oidc::jose::{Header, JwksError};
use vestibule_oidc::{JwkSet, Metadata, MetadataError, OutboundRequest, Provider, ProviderId};

use crate::clock::Clock;
use crate::error::{Code, Failure};
use crate::http::{Received, Transport, TransportError};

/// How long one request for metadata or keys may take.
const FETCH: Duration = Duration::from_secs(8);
/// How long metadata are fresh, unless the provider says less.
const METADATA_FRESH: Duration = Duration::from_secs(24 * 3_600);
/// How long keys are fresh, unless the provider says otherwise.
const KEYS_FRESH: Duration = Duration::from_secs(3_600);
/// What a provider may say: no less and no more.
const FRESH: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(24 * 3_600));
/// How long the last good answer outlives its freshness while the provider is down.
const KEPT: Duration = Duration::from_secs(48 * 3_600);
/// How long nobody asks again after a failure.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// How many requests for an unknown key one issuer costs at once, and how long until one more is allowed (S49).
const BUCKET: u32 = 2;
const REFILL: Duration = Duration::from_secs(10);

/// Why a provider's metadata or keys are not there.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RemoteError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("the keys were answered with status {0}; check that the provider is up")]
    KeysStatus(u16),
    #[error("the keys are not acceptable: {0}")]
    Keys(#[from] JwksError),
    #[error("the key set holds no key that could verify an ID token")]
    NoKeys,
    #[error("no provider of this name is configured")]
    Unknown,
    #[error("a request was broken off")]
    Interrupted,
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let (code, reason) = match error {
            RemoteError::Transport(error) => return error.into(),
            RemoteError::Metadata(error) => {
                return Self::of_step(error.code(), error.reason(), &error);
            }
            RemoteError::KeysStatus(status) if status >= 500 || status == 429 => {
                (Code::ProviderUnavailable, "keys_status")
            }
            RemoteError::KeysStatus(_) => (Code::ProviderError, "keys_status"),
            RemoteError::Keys(_) => (Code::ProviderError, "keys_json"),
            RemoteError::NoKeys => (Code::ProviderError, "keys_empty"),
            RemoteError::Unknown => (Code::ProviderUnknown, "provider_unknown"),
            RemoteError::Interrupted => (Code::ProviderUnavailable, "interrupted"),
        };
        Self::new(code, reason, error.to_string())
    }
}

/// The memory of all providers' metadata and keys.
pub(crate) struct Remote {
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    sources: HashMap<ProviderId, Source>,
}

struct Source {
    /// Of a provider that publishes none.
    known: Option<Arc<Metadata>>,
    metadata: Cached<Metadata>,
    keys: Cached<JwkSet>,
    bucket: Mutex<Bucket>,
}

impl Remote {
    pub(crate) fn new<'a>(
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        providers: impl Iterator<Item = &'a Arc<Provider>>,
    ) -> Self {
        let source = |provider: &Provider| Source {
            known: provider.known_metadata().cloned().map(Arc::new),
            metadata: Cached::default(),
            keys: Cached::default(),
            bucket: Mutex::new(Bucket {
                tokens: BUCKET,
                since: Duration::ZERO,
            }),
        };
        Self {
            transport,
            clock,
            sources: providers
                .map(|provider| (provider.id.clone(), source(provider)))
                .collect(),
        }
    }

    /// A provider's metadata.
    pub(crate) async fn metadata(
        &self,
        provider: &Arc<Provider>,
    ) -> Result<Arc<Metadata>, RemoteError> {
        let source = self.source(&provider.id)?;
        if let Some(known) = &source.known {
            return Ok(known.clone());
        }
        let now = self.clock.monotonic();
        match source.metadata.look(now) {
            Look::Fresh(metadata) => Ok(metadata),
            Look::Stale(metadata) => {
                drop(self.ask_metadata(source, provider, now));
                Ok(metadata)
            }
            Look::Failed(error) => Err(error),
            Look::Nothing => self.ask_metadata(source, provider, now).await,
        }
    }

    /// Keys among which there is one for this header, if the provider has one.
    pub(crate) async fn keys_for(
        &self,
        provider: &Arc<Provider>,
        metadata: &Arc<Metadata>,
        header: &Header,
    ) -> Result<Arc<JwkSet>, RemoteError> {
        let source = self.source(&provider.id)?;
        let now = self.clock.monotonic();
        let keys = match source.keys.look(now) {
            Look::Fresh(keys) => keys,
            Look::Stale(keys) => {
                drop(self.ask_keys(source, provider, metadata, now));
                keys
            }
            Look::Failed(error) => return Err(error),
            Look::Nothing => return self.ask_keys(source, provider, metadata, now).await,
        };
        if keys.has_key_for(header) {
            return Ok(keys);
        }
        // The provider may have a new key (S50). A flood of made-up names costs two requests, then one in ten seconds.
        if let Some(flight) = source.keys.under_way() {
            return flight.await;
        }
        let allowed = source
            .bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(now);
        if allowed {
            self.ask_keys(source, provider, metadata, now).await
        } else {
            Ok(keys)
        }
    }

    /// Whether a sign-in with this provider can be begun now, as far as we know. Where it cannot, asks again.
    pub(crate) fn is_available(&self, provider: &Arc<Provider>) -> bool {
        let Ok(source) = self.source(&provider.id) else {
            return false;
        };
        if source.known.is_some() {
            return true;
        }
        let now = self.clock.monotonic();
        match source.metadata.look(now) {
            Look::Fresh(_) | Look::Stale(_) => true,
            Look::Failed(_) => false,
            Look::Nothing => {
                drop(self.ask_metadata(source, provider, now));
                !source.metadata.has_failed()
            }
        }
    }

    fn source(&self, id: &ProviderId) -> Result<&Source, RemoteError> {
        self.sources.get(id).ok_or(RemoteError::Unknown)
    }

    fn ask_metadata(
        &self,
        source: &Source,
        provider: &Arc<Provider>,
        now: Duration,
    ) -> Flight<Metadata> {
        let (transport, asked) = (self.transport.clone(), provider.clone());
        source.metadata.ask(
            now,
            self.clock.clone(),
            METADATA_FRESH,
            provider.id.clone(),
            "metadata",
            async move {
                let request = asked.metadata_request().ok_or(RemoteError::Unknown)?;
                let received = fetch(&*transport, &asked, request).await?;
                Ok((
                    Metadata::of_response(&received.response, &asked)?,
                    received.max_age,
                ))
            },
        )
    }

    fn ask_keys(
        &self,
        source: &Source,
        provider: &Arc<Provider>,
        metadata: &Arc<Metadata>,
        now: Duration,
    ) -> Flight<JwkSet> {
        let (transport, asked, request) = (
            self.transport.clone(),
            provider.clone(),
            metadata.jwks_request(),
        );
        source.keys.ask(
            now,
            self.clock.clone(),
            KEYS_FRESH,
            provider.id.clone(),
            "keys",
            async move {
                let request = request.ok_or(RemoteError::NoKeys)?;
                let received = fetch(&*transport, &asked, request).await?;
                // Whatever its media type, a valid set is one (S25).
                if received.response.status != 200 {
                    return Err(RemoteError::KeysStatus(received.response.status));
                }
                let keys = JwkSet::parse(&received.response.body)?;
                if keys.is_empty() {
                    return Err(RemoteError::NoKeys);
                }
                Ok((keys, received.max_age))
            },
        )
    }
}

async fn fetch(
    transport: &dyn Transport,
    provider: &Provider,
    request: OutboundRequest,
) -> Result<Received, RemoteError> {
    Ok(transport.send(provider, request, FETCH).await?)
}

/// One request that all who need its answer wait for.
type Flight<T> = Shared<BoxFuture<'static, Result<Arc<T>, RemoteError>>>;

/// One remembered answer.
struct Cached<T> {
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    value: Option<Value<T>>,
    failed: Option<(Duration, RemoteError)>,
    flight: Option<Flight<T>>,
}

struct Value<T> {
    answer: Arc<T>,
    fresh_until: Duration,
}

enum Look<T> {
    Fresh(Arc<T>),
    Stale(Arc<T>),
    /// There is nothing, and it is too early to ask again.
    Failed(RemoteError),
    Nothing,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                value: None,
                failed: None,
                flight: None,
            })),
        }
    }
}

impl<T: Differs + Send + Sync + 'static> Cached<T> {
    fn look(&self, now: Duration) -> Look<T> {
        let state = lock(&self.state);
        match (&state.value, &state.failed) {
            (Some(value), _) if now < value.fresh_until => Look::Fresh(value.answer.clone()),
            (Some(value), _) if now < value.fresh_until + KEPT => Look::Stale(value.answer.clone()),
            (_, Some((at, error))) if now < *at + COOL_DOWN && state.flight.is_none() => {
                Look::Failed(error.clone())
            }
            _ => Look::Nothing,
        }
    }

    fn has_failed(&self) -> bool {
        lock(&self.state).failed.is_some()
    }

    fn under_way(&self) -> Option<Flight<T>> {
        lock(&self.state).flight.clone()
    }

    /// Joins the request that is under way, or begins one in a task of its own: no caller that goes away ends it.
    fn ask(
        &self,
        now: Duration,
        clock: Arc<dyn Clock>,
        fresh: Duration,
        provider: ProviderId,
        what: &'static str,
        request: impl Future<Output = Result<(T, Option<Duration>), RemoteError>> + Send + 'static,
    ) -> Flight<T> {
        let mut state = lock(&self.state);
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        if let Some((at, error)) = &state.failed
            && now < *at + COOL_DOWN
        {
            return std::future::ready(Err(error.clone())).boxed().shared();
        }
        let shared = self.state.clone();
        let task = tokio::spawn(async move {
            let outcome = request.await;
            let now = clock.monotonic();
            let mut state = lock(&shared);
            state.flight = None;
            match outcome {
                Ok((answer, max_age)) => {
                    let fresh = max_age.unwrap_or(fresh).clamp(FRESH.0, FRESH.1);
                    let changed = state
                        .value
                        .as_ref()
                        .is_some_and(|value| value.answer.differs(&answer));
                    let answer = Arc::new(answer);
                    state.value = Some(Value {
                        answer: answer.clone(),
                        fresh_until: now + fresh,
                    });
                    let recovered = state.failed.take().is_some();
                    drop(state);
                    if changed || recovered {
                        tracing::info!(event = "provider.refreshed", %provider, what, changed, recovered);
                    }
                    Ok(answer)
                }
                Err(error) => {
                    state.failed = Some((now, error.clone()));
                    drop(state);
                    tracing::warn!(event = "provider.not_refreshed", %provider, what, detail = %error);
                    Err(error)
                }
            }
        });
        let cleared = self.state.clone();
        let flight = async move {
            match task.await {
                Ok(outcome) => outcome,
                Err(_) => {
                    lock(&cleared).flight = None;
                    Err(RemoteError::Interrupted)
                }
            }
        }
        .boxed()
        .shared();
        state.flight = Some(flight.clone());
        flight
    }
}

/// Whether a refreshed answer says something else: worth a line in the log for metadata, expected of keys.
trait Differs {
    fn differs(&self, other: &Self) -> bool;
}

impl Differs for Metadata {
    fn differs(&self, other: &Self) -> bool {
        self != other
    }
}

impl Differs for JwkSet {
    fn differs(&self, other: &Self) -> bool {
        self.len() != other.len()
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often unknown keys may be asked for.
struct Bucket {
    tokens: u32,
    since: Duration,
}

impl Bucket {
    fn take(&mut self, now: Duration) -> bool {
        let refilled = now.saturating_sub(self.since).as_secs() / REFILL.as_secs();
        if refilled > 0 {
            self.tokens = self
                .tokens
                .saturating_add(u32::try_from(refilled).unwrap_or(u32::MAX))
                .min(BUCKET);
            self.since = now;
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}
