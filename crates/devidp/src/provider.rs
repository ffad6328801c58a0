//! What the stand-in knows: its people, clients, keys, codes and access tokens. All of it in memory, all of it bounded.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use url::{Host, Url};

use crate::{
    client_auth::ClientAuthentication,
    fault::Fault,
    people::Person,
    tokens::{self, Keys, SigningKey, TENANT_ID},
};

/// How long a code lives. RFC 6749 section 4.1.2 allows ten minutes; a client needs a second.
const CODE_SECONDS: i64 = 60;
/// How long a pushed request waits for the person's browser. RFC 9126 section 2.2 speaks of 5 to 600 seconds.
pub(crate) const PUSHED_SECONDS: i64 = 60;
/// How long a person may take over the pages of a pushed request.
const VISIT_SECONDS: i64 = 600;
/// So many codes, and so many tokens of each kind, are kept; the oldest go.
const KEPT: usize = 10_000;
/// How long a slow answer takes.
const SLOW: Duration = Duration::from_secs(60);

/// Which redirect URIs the stand-in accepts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum RedirectUris {
    /// Any http or https address on this computer: `localhost`, `127.0.0.0/8` and `[::1]`, any port, any path.
    #[default]
    AnyLoopback,
    /// These and no others, compared as text (OIDC Core 3.1.2.1).
    Exactly(Vec<String>),
}

impl RedirectUris {
    pub(crate) fn accept(&self, redirect_uri: &str) -> bool {
        match self {
            Self::Exactly(known) => known.iter().any(|known| known == redirect_uri),
            Self::AnyLoopback => Url::parse(redirect_uri).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && is_loopback(url.host())
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none()
            }),
        }
    }
}

/// Whether a host is this computer.
pub(crate) fn is_loopback(host: Option<Host<&str>>) -> bool {
    match host {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// How often each endpoint was asked, honest answer or not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Requests to `/authorize`, each step on its pages included.
    pub authorize_requests: u64,
    /// Requests to `/par`.
    pub pushed_requests: u64,
    /// Requests to `/token`.
    pub token_requests: u64,
    /// Requests to `/jwks`.
    pub jwks_fetches: u64,
    /// Requests to `/.well-known/openid-configuration`.
    pub metadata_fetches: u64,
    /// Requests to `/userinfo`.
    pub userinfo_requests: u64,
    /// Requests to `/token` that bring a refresh token.
    pub refresh_requests: u64,
    /// Requests to `/revoke`.
    pub revocation_requests: u64,
    /// Requests to `/api/calendar`.
    pub calendar_requests: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) authorize: AtomicU64,
    pub(crate) pushed: AtomicU64,
    pub(crate) token: AtomicU64,
    pub(crate) jwks: AtomicU64,
    pub(crate) metadata: AtomicU64,
    pub(crate) userinfo: AtomicU64,
    pub(crate) refresh: AtomicU64,
    pub(crate) revocation: AtomicU64,
    pub(crate) calendar: AtomicU64,
}

impl Counts {
    pub(crate) fn read(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Counters {
            authorize_requests: read(&self.authorize),
            pushed_requests: read(&self.pushed),
            token_requests: read(&self.token),
            jwks_fetches: read(&self.jwks),
            metadata_fetches: read(&self.metadata),
            userinfo_requests: read(&self.userinfo),
            refresh_requests: read(&self.refresh),
            revocation_requests: read(&self.revocation),
            calendar_requests: read(&self.calendar),
        }
    }
}

/// A token request as it came, for a test that asks how a client authenticates. It holds secrets: `Debug` shows none of them.
#[derive(Clone, Eq, PartialEq)]
pub struct SeenTokenRequest {
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The form as it was sent, undecoded.
    pub form: String,
}

impl fmt::Debug for SeenTokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeenTokenRequest(..)")
    }
}

/// Whether an authorization request may come in a URL, where every client may push it first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PushedRequests {
    Allowed,
    Required,
}

/// An authorization request that came by itself, not in a URL (RFC 9126).
#[derive(Clone, Debug)]
struct PushedRequest {
    parameters: HashMap<String, String>,
    expires_at: i64,
}

/// What a code stands for.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) code_challenge: String,
    /// Whether a refresh token comes with the access token.
    pub(crate) is_offline: bool,
    pub(crate) person: Person,
    pub(crate) issued_at: i64,
}

/// What a person allowed a client in one login. Its tokens end together.
#[derive(Clone, Debug)]
pub(crate) struct Consent {
    /// Tells this consent from every other.
    id: String,
    pub(crate) client_id: String,
    pub(crate) person: Person,
    pub(crate) scope: String,
}

impl Consent {
    pub(crate) fn new(client_id: String, person: Person, scope: String) -> Self {
        Self {
            id: tokens::random::<16>(),
            client_id,
            person,
            scope,
        }
    }
}

/// What an access token opens.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) consent: Consent,
    expires_at: i64,
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct Recent<T> {
    entries: HashMap<String, T>,
    order: VecDeque<String>,
    kept: usize,
}

impl<T> Recent<T> {
    fn new(kept: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            kept,
        }
    }

    /// Whether it was new.
    fn insert(&mut self, key: String, value: T) -> bool {
        // The order also names what was taken since; it is cut by its own length, so that both are bounded.
        while self.order.len() >= self.kept {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, value).is_none()
    }
}

/// A client as it was registered.
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) authentication: ClientAuthentication,
}

/// The clock, in seconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How the stand-in is to be: what [`crate::Builder`] gathers.
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) people: Vec<Person>,
    pub(crate) clients: Vec<Client>,
    pub(crate) redirect_uris: RedirectUris,
    pub(crate) clock: Clock,
    pub(crate) access_token_seconds: i64,
    pub(crate) pushed_requests: PushedRequests,
}

/// The whole of the stand-in, shared by its handlers.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    /// Where the endpoints stand: the address it listens on, whatever the issuer is called.
    base: String,
    pub(crate) settings: Settings,
    /// Where each person stands in the list, by address in lower case and by `sub`: there may be a crowd.
    by_name: HashMap<String, usize>,
    keys: Mutex<Keys>,
    fault: Mutex<Fault>,
    pub(crate) counts: Counts,
    /// By `request_uri`, until a browser comes with it.
    pushed: Mutex<Recent<PushedRequest>>,
    /// From then on, by what the links on our pages name.
    visits: Mutex<Recent<PushedRequest>>,
    codes: Mutex<Recent<Grant>>,
    access_tokens: Mutex<Recent<Access>>,
    refresh_tokens: Mutex<Recent<Consent>>,
    /// The `jti` of assertions that clients used.
    used_jti: Mutex<Recent<()>>,
    /// Who signed in to which client before.
    known_to: Mutex<Recent<()>>,
    last_token_request: Mutex<Option<SeenTokenRequest>>,
    /// The honest token answer that a faulty redirect leads to.
    pub(crate) elsewhere: Mutex<Option<String>>,
    stopped: watch::Receiver<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics with a lock in hand that would leave half a change behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    pub(crate) fn new(
        issuer: String,
        base: String,
        settings: Settings,
        keys: Keys,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let mut by_name = HashMap::new();
        // Of several with one name, the first.
        for (place, person) in settings.people.iter().enumerate().rev() {
            by_name.insert(person.email.to_ascii_lowercase(), place);
            by_name.insert(person.sub.clone(), place);
        }
        Self {
            issuer,
            base,
            settings,
            by_name,
            keys: Mutex::new(keys),
            fault: Mutex::new(Fault::None),
            counts: Counts::default(),
            pushed: Mutex::new(Recent::new(KEPT)),
            visits: Mutex::new(Recent::new(KEPT)),
            codes: Mutex::new(Recent::new(KEPT)),
            access_tokens: Mutex::new(Recent::new(KEPT)),
            refresh_tokens: Mutex::new(Recent::new(KEPT)),
            used_jti: Mutex::new(Recent::new(KEPT)),
            known_to: Mutex::new(Recent::new(KEPT)),
            last_token_request: Mutex::new(None),
            elsewhere: Mutex::new(None),
            stopped,
        }
    }

    /// The address of a route.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `iss` of an answer to the client (RFC 9207). None where the issuer is the tenant's, as at Microsoft.
    pub(crate) fn callback_issuer(&self) -> Option<&str> {
        (!self.issuer.contains(TENANT_ID)).then_some(&self.issuer)
    }

    pub(crate) fn now(&self) -> i64 {
        (self.settings.clock)()
    }

    pub(crate) fn fault(&self) -> Fault {
        *lock(&self.fault)
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        *lock(&self.fault) = fault;
    }

    pub(crate) fn keys(&self) -> Keys {
        lock(&self.keys).clone()
    }

    /// A new key signs from now on, and the one that signed leaves the JWKS.
    pub(crate) fn rotate_keys(&self) {
        let key = SigningKey::generate().expect("key generation worked at the start");
        lock(&self.keys).current = Arc::new(key);
    }

    pub(crate) fn client(&self, client_id: &str) -> Option<&Client> {
        self.settings
            .clients
            .iter()
            .find(|client| client.client_id == client_id)
    }

    /// The ways in which our clients prove who they are, each named once.
    pub(crate) fn client_authentication_methods(&self) -> Vec<&'static str> {
        let mut methods = Vec::new();
        for client in &self.settings.clients {
            for method in client.authentication.methods() {
                if !methods.contains(method) {
                    methods.push(*method);
                }
            }
        }
        methods
    }

    /// Whether a client uses the `jti` of an assertion for the first time.
    pub(crate) fn is_new_jti(&self, client_id: &str, jti: &str) -> bool {
        lock(&self.used_jti).insert(format!("{client_id} {jti}"), ())
    }

    pub(crate) fn accepts_redirect_uri(&self, redirect_uri: &str) -> bool {
        self.settings.redirect_uris.accept(redirect_uri)
    }

    /// Who `user=` or `login_hint` means: by an e-mail address in any case, or by a `sub`.
    pub(crate) fn person(&self, hint: &str) -> Option<&Person> {
        let exact = self.by_name.get(hint);
        let place = exact.or_else(|| self.by_name.get(&hint.to_ascii_lowercase()));
        self.settings.people.get(*place?)
    }

    /// Keeps a request that a client pushed, and gives its `request_uri`.
    pub(crate) fn push(&self, parameters: HashMap<String, String>) -> String {
        let request_uri = format!(
            "urn:ietf:params:oauth:request_uri:{}",
            tokens::random::<32>()
        );
        let request = PushedRequest {
            parameters,
            expires_at: self.now().saturating_add(PUSHED_SECONDS),
        };
        lock(&self.pushed).insert(request_uri.clone(), request);
        request_uri
    }

    /// A browser comes with a `request_uri`, which is gone by that, whoever brings it (RFC 9126 section 4: once). Gives the
    /// name by which our pages go on, if the request is this client's and lives.
    pub(crate) fn begin_visit(&self, request_uri: &str, client_id: &str) -> Option<String> {
        let mut request = lock(&self.pushed).entries.remove(request_uri)?;
        let is_theirs = request.parameters.get("client_id").map(String::as_str) == Some(client_id);
        if !is_theirs || self.now() >= request.expires_at {
            return None;
        }
        let visit = tokens::random::<32>();
        request.expires_at = self.now().saturating_add(VISIT_SECONDS);
        lock(&self.visits).insert(visit.clone(), request);
        Some(visit)
    }

    /// The parameters of the request that a visit is about.
    pub(crate) fn visited(&self, visit: &str) -> Option<HashMap<String, String>> {
        let request = lock(&self.visits).entries.get(visit).cloned()?;
        (self.now() < request.expires_at).then_some(request.parameters)
    }

    /// A visit is over: its request is answered.
    pub(crate) fn end_visit(&self, visit: &str) {
        lock(&self.visits).entries.remove(visit);
    }

    /// Issues a code for a grant.
    pub(crate) fn issue_code(&self, grant: Grant) -> String {
        let code = format!("4/0A{}", tokens::random::<32>());
        lock(&self.codes).insert(code.clone(), grant);
        code
    }

    /// Takes a code, which is gone whatever comes of it (RFC 6749 section 4.1.2: at most once), and gives what it stood for if it lives.
    pub(crate) fn take_code(&self, code: &str) -> Option<Grant> {
        let grant = lock(&self.codes).entries.remove(code)?;
        let age = self.now().saturating_sub(grant.issued_at);
        (age <= CODE_SECONDS).then_some(grant)
    }

    /// Whether a client had no answer about this person yet.
    pub(crate) fn is_first_answer(&self, client_id: &str, person: &Person) -> bool {
        lock(&self.known_to).insert(format!("{client_id} {}", person.sub), ())
    }

    /// Issues an access token.
    pub(crate) fn issue_access_token(&self, consent: Consent) -> String {
        let token = format!("ya29.{}", tokens::random::<48>());
        let lifetime = self.settings.access_token_seconds;
        let access = Access {
            consent,
            expires_at: self.now().saturating_add(lifetime),
        };
        lock(&self.access_tokens).insert(token.clone(), access);
        token
    }

    /// Issues a refresh token, which lives until it is used or its consent ends.
    pub(crate) fn issue_refresh_token(&self, consent: Consent) -> String {
        let token = format!("1//{}", tokens::random::<48>());
        lock(&self.refresh_tokens).insert(token.clone(), consent);
        token
    }

    /// Takes a client's refresh token, which is gone by that: the next one comes with the answer (RFC 9700 section 4.14.2).
    pub(crate) fn take_refresh_token(&self, token: &str, client: &Client) -> Option<Consent> {
        let mut tokens = lock(&self.refresh_tokens);
        let consent = tokens.entries.get(token)?;
        if consent.client_id != client.client_id {
            return None;
        }
        tokens.entries.remove(token)
    }

    /// The consent behind an access token or a refresh token.
    pub(crate) fn consent_of(&self, token: &str) -> Option<Consent> {
        let refresh = lock(&self.refresh_tokens).entries.get(token).cloned();
        refresh.or_else(|| self.access(token).map(|access| access.consent))
    }

    /// Ends every token of a consent.
    pub(crate) fn end(&self, consent: &Consent) {
        let is_other = |other: &Consent| other.id != consent.id;
        lock(&self.refresh_tokens)
            .entries
            .retain(|_, other| is_other(other));
        lock(&self.access_tokens)
            .entries
            .retain(|_, access| is_other(&access.consent));
    }

    /// What an access token opens, if it lives.
    pub(crate) fn access(&self, token: &str) -> Option<Access> {
        let access = lock(&self.access_tokens).entries.get(token).cloned()?;
        (self.now() < access.expires_at).then_some(access)
    }

    pub(crate) fn saw_token_request(&self, seen: SeenTokenRequest) {
        *lock(&self.last_token_request) = Some(seen);
    }

    pub(crate) fn last_token_request(&self) -> Option<SeenTokenRequest> {
        lock(&self.last_token_request).clone()
    }

    pub(crate) fn put_elsewhere(&self, answer: String) {
        *lock(&self.elsewhere) = Some(answer);
    }

    pub(crate) fn elsewhere(&self) -> Option<String> {
        lock(&self.elsewhere).clone()
    }

    /// Waits a minute, or until the stand-in stops.
    pub(crate) async fn be_slow(&self) {
        let mut stopped = self.stopped.clone();
        let _ = tokio::time::timeout(SLOW, stopped.wait_for(|stopped| *stopped)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_loopback_address_is_a_redirect_uri_and_nothing_else_is() {
        let any = RedirectUris::AnyLoopback;
        for accepted in [
            "http://localhost:8000/auth/google/callback",
            "http://127.0.0.1/cb",
            "https://[::1]:1/",
            "http://127.9.9.9:2/x",
        ] {
            assert!(any.accept(accepted), "{accepted}");
        }
        for refused in [
            "",
            "/cb",
            "http://example.com/cb",
            "http://localhost.example.com/cb",
            "http://localhost@example.com/cb",
            "http://user@localhost/cb",
            "http://localhost/cb#fragment",
            "javascript:alert(1)//localhost",
            "myapp://localhost/cb",
        ] {
            assert!(!any.accept(refused), "{refused}");
        }
    }

    #[test]
    fn an_exact_list_is_compared_as_text() {
        let list = RedirectUris::Exactly(vec!["https://app.example/cb".to_owned()]);
        assert!(list.accept("https://app.example/cb"));
        assert!(!list.accept("https://app.example/cb/"));
        assert!(!list.accept("https://APP.example/cb"));
    }

    #[test]
    fn the_oldest_entries_go_first() {
        let mut recent = Recent::new(3);
        for number in 0..5 {
            recent.insert(number.to_string(), number);
        }
        assert_eq!(recent.entries.len(), 3);
        assert!(!recent.entries.contains_key("1"));
        assert!(recent.entries.contains_key("4"));
    }
}
