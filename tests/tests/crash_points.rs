//! The process dies exactly before or after something is committed, or the provider is asked. A server on the same
//! database then finds it done wholly or not at all, and what a client had seen succeed is there.
//!
//! Each test starts this program again as a server that aborts at its point: by a store and a transport around the real
//! ones, so that nothing in the product knows of it. Where there is no PostgreSQL, its tests are listed as ignored, with
//! the reason; with `VESTIBULE_TEST_REQUIRE=all` that is a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

#[path = "../../crates/store/tests/support/server.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod server;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use libtest_mimic::{Arguments, Trial};
use tempfile::TempDir;
use url::Url;
use vestibule::accounts::{
    Account, AddKey, Applied, ApplyError, BoxFuture, Claim, Decide, EmailKey, Grant, GrantId,
    HandOver, Identity, Invitation, InviteError, Known, NewPasswordUser, ProviderTokens,
    RedeemError, Redemption, RegisterError, RotateError, Rotated, Rotation, SecretCheck,
    SessionHash, SessionId, SessionKey, SignIn, SignedIn, StateHash, Store, StoreError, StoredKey,
    Timestamp, UnlinkError, Unlinked, User, UserId, UserPage, UserQuery,
};
use vestibule::clock::TestClock;
use vestibule::config::{Config, Database, Flags, Sources};
use vestibule::oidc::{Method, OutboundRequest, OutboundResponse, Provider};
use vestibule::{Builder, Received, Transport, TransportError};
use vestibule_devidp::DevIdp;
use vestibule_store::{OpenMode, PostgresStore, SqliteStore};
use vestibule_tests::{Answer, Browser};

use server::Server;

const ALICE: &str = "alice@example.com";
const PUBLIC_URL: &str = "http://localhost:8000";
const CLIENT_SECRET: &str = "a-client-secret-of-the-tests";
const WEB_SECRET: &str = "canary-web-0123456789abcdef0123456789";
const REDIRECT_URI: &str = "https://web.example/cb";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// The first argument of a server of ours; its folder, its point and its time follow.
const CHILD: &str = "--server-that-dies";
/// What the browser here sees where the connection broke: no server sends it.
const CUT: u16 = 599;

/// Where a process dies, such as `before:admit`; empty for one that lives.
#[derive(Clone, Debug)]
struct Point(String);

impl Point {
    fn reach(&self, moment: &str, what: &str) {
        if self.0.strip_suffix(what) == Some(&format!("{moment}:")) {
            std::process::abort();
        }
    }
}

// ---- The server that dies --------------------------------------------------------------------------------------------

/// A store that dies before it does something, or after it has.
struct DyingStore {
    store: Arc<dyn Store>,
    point: Point,
}

macro_rules! verbs {
    ($(fn $verb:ident($($name:ident: $type:ty),*) -> $output:ty;)+) => {
        $(fn $verb(&self, $($name: $type),*) -> BoxFuture<'_, $output> {
            Box::pin(async move {
                self.point.reach("before", stringify!($verb));
                let outcome = self.store.$verb($($name),*).await;
                self.point.reach("after", stringify!($verb));
                outcome
            })
        })+
    };
}

impl Store for DyingStore {
    verbs! {
        fn claim_state(state: StateHash, now: Timestamp) -> Result<Claim, StoreError>;
        fn known(issuer: String, subject: String, email: Option<EmailKey>, now: Timestamp) -> Result<Known, StoreError>;
        fn apply(sign_in: SignIn) -> Result<Applied, ApplyError>;
        fn admit(issuer: String, subject: String, email: Option<EmailKey>, now: Timestamp, decide: Decide) -> Result<Option<Applied>, ApplyError>;
        fn session(key: SessionKey, now: Timestamp) -> Result<Option<SignedIn>, StoreError>;
        fn touch_session(id: SessionId, now: Timestamp) -> Result<(), StoreError>;
        fn end_session(hash: SessionHash) -> Result<Option<SessionId>, StoreError>;
        fn hand_over(session: SessionId, hand_over: HandOver, now: Timestamp) -> Result<bool, StoreError>;
        fn redeem_code(redemption: Redemption) -> Result<SignedIn, RedeemError>;
        fn grant(id: GrantId, now: Timestamp) -> Result<Option<Grant>, StoreError>;
        fn rotate_grant(rotation: Rotation) -> Result<Rotated, RotateError>;
        fn end_grant(id: GrantId, client_id: String) -> Result<bool, StoreError>;
        fn user(id: UserId) -> Result<Option<User>, StoreError>;
        fn users(query: UserQuery) -> Result<UserPage, StoreError>;
        fn identities(user: UserId) -> Result<Vec<Identity>, StoreError>;
        fn set_active(user: UserId, active: bool, now: Timestamp) -> Result<Option<User>, StoreError>;
        fn set_superuser(user: UserId, superuser: bool, now: Timestamp) -> Result<Option<User>, StoreError>;
        fn unlink(account: Account, issuer: String, subject: String, keep: Option<SessionId>, now: Timestamp) -> Result<Option<Unlinked>, UnlinkError>;
        fn provider_tokens(user: UserId) -> Result<Vec<ProviderTokens>, StoreError>;
        fn lease_provider_tokens(issuer: String, subject: String, version: i64, until: Timestamp, now: Timestamp) -> Result<bool, StoreError>;
        fn replace_provider_tokens(issuer: String, subject: String, version: i64, sealed: Option<Vec<u8>>, now: Timestamp) -> Result<bool, StoreError>;
        fn register(user: NewPasswordUser, now: Timestamp) -> Result<User, RegisterError>;
        fn invite(invitation: Invitation) -> Result<(), InviteError>;
        fn invitations(after: Option<Invitation>, limit: u32) -> Result<Vec<Invitation>, StoreError>;
        fn withdraw_invitation(email: EmailKey) -> Result<bool, StoreError>;
        fn signing_keys() -> Result<Vec<StoredKey>, StoreError>;
        fn add_signing_key(key: StoredKey, retire_others_at: Timestamp, add: AddKey) -> Result<bool, StoreError>;
        fn revoke_signing_key(kid: String, replacement: StoredKey, now: Timestamp) -> Result<bool, StoreError>;
        fn check_secret(ours: [u8; 32], previous: Option<[u8; 32]>) -> Result<SecretCheck, StoreError>;
        fn prune(now: Timestamp) -> Result<u64, StoreError>;
        fn ready() -> Result<(), StoreError>;
        fn close() -> ();
    }
}

/// A way to the provider that dies around the token request: the one that carries a form.
struct DyingTransport {
    client: reqwest::Client,
    point: Point,
}

impl Transport for DyingTransport {
    fn send<'a>(
        &'a self,
        _provider: &'a Provider,
        request: OutboundRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<Received, TransportError>> {
        Box::pin(async move {
            let is_token_request = request.form.is_some();
            if is_token_request {
                self.point.reach("before", "token_request");
            }
            let host = request.url.host_str().unwrap_or_default().to_owned();
            let exchanged = self.exchange(request).await;
            if is_token_request {
                self.point.reach("after", "token_request");
            }
            let response = exchanged.map_err(|error| TransportError::Connect {
                host,
                detail: error.to_string(),
            })?;
            let max_age = Some(Duration::from_secs(600));
            Ok(Received { response, max_age })
        })
    }
}

impl DyingTransport {
    async fn exchange(&self, request: OutboundRequest) -> Result<OutboundResponse, reqwest::Error> {
        let mut asking = match request.method {
            Method::Get => self.client.get(request.url),
            Method::Post => self.client.post(request.url),
        }
        .header(header::ACCEPT, request.accept);
        if let Some(authorization) = &request.authorization {
            asking = asking.header(header::AUTHORIZATION, authorization.expose());
        }
        if let Some(form) = &request.form {
            asking = asking
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.expose().to_owned());
        }
        let answer = asking.send().await?;
        Ok(OutboundResponse {
            status: answer.status().as_u16(),
            content_type: answer
                .headers()
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            body: answer.bytes().await?.to_vec(),
        })
    }
}

/// What this program is when it is started with [`CHILD`].
#[allow(
    clippy::print_stdout,
    reason = "whoever started it reads there where it listens"
)]
async fn serve(folder: &Path, point: Point, seconds: i64) {
    let config = Config::load(&Sources::read(Flags::default(), [], folder).unwrap()).unwrap();
    let store: Arc<dyn Store> = match config.database() {
        Database::Sqlite(path) => Arc::new(SqliteStore::open(path, OpenMode::Serve).unwrap()),
        Database::Postgres { url, schema } => Arc::new(
            PostgresStore::open(url.expose(), schema, OpenMode::Serve)
                .await
                .unwrap(),
        ),
    };
    let transport = DyingTransport {
        client: client(),
        point: point.clone(),
    };
    let vestibule = Builder::new(config)
        .clock(Arc::new(TestClock::at(Timestamp::from_seconds(seconds))))
        .with_store(Arc::new(DyingStore { store, point }))
        .transport(Arc::new(transport))
        .build()
        .await
        .unwrap();
    let routes = Router::new()
        .merge(vestibule.routes())
        .merge(vestibule.pages())
        .merge(vestibule.users_api());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, routes).await.unwrap();
}

// ---- Who watches it --------------------------------------------------------------------------------------------------

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// A database, a provider, and one time for all.
struct Place {
    folder: TempDir,
    idp: DevIdp,
    seconds: i64,
    postgres: Option<(Arc<Server>, String)>,
}

impl Place {
    async fn new(postgres: Option<Arc<Server>>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seconds = i64::try_from(since.as_secs()).unwrap();
        let idp = DevIdp::builder()
            .client("client", CLIENT_SECRET)
            .clock(Arc::new(move || seconds))
            .start()
            .await
            .unwrap();
        let postgres = postgres.map(|server| {
            let schema = format!("crash_{}", NEXT.fetch_add(1, Ordering::Relaxed));
            (server, schema)
        });
        let database = match &postgres {
            Some((server, schema)) => format!(
                "database_url = \"{}\"\ndatabase_schema = \"{schema}\"\n",
                server.url(schema)
            ),
            None => String::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "public_url = \"{PUBLIC_URL}\"\nsecret = \"0f2d6a9c4b8e71350f2d6a9c4b8e7135\"\n{database}\
             [providers.google]\nissuer = \"{}\"\nclient_id = \"client\"\nclient_secret = \"{CLIENT_SECRET}\"\n\
             [[frontends]]\nclient_id = \"web\"\nclient_secret = \"{WEB_SECRET}\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n\
             [rate_limits]\nenabled = false\n[danger]\nallow_http_loopback = true\n",
            idp.issuer()
        );
        std::fs::write(folder.path().join("vestibule.toml"), text).unwrap();
        Self {
            folder,
            idp,
            seconds,
            postgres,
        }
    }

    fn is_sqlite(&self) -> bool {
        self.postgres.is_none()
    }

    /// A server that dies at this point.
    fn dying(&self, point: &str) -> Running {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(CHILD)
            .arg(self.folder.path())
            .args([point, &self.seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let address = line.trim().to_owned();
        assert!(!address.is_empty(), "the server at {point:?} starts");
        Running { child, address }
    }

    /// A server that lives.
    fn living(&self) -> Running {
        self.dying("")
    }

    /// One number out of the database; `{}` stands for what our tables' names begin with.
    async fn number(&self, query: &str) -> i64 {
        match &self.postgres {
            None => rusqlite::Connection::open(self.folder.path().join("vestibule.db"))
                .unwrap()
                .query_row(&query.replace("{}", "vestibule_"), [], |row| row.get(0))
                .unwrap(),
            Some((server, schema)) => {
                let url = server.url("watcher");
                let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
                    .await
                    .unwrap();
                tokio::spawn(connection);
                let query = query.replace("{}", &format!("{schema}."));
                client.query_one(&query, &[]).await.unwrap().get(0)
            }
        }
    }

    async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {{}}{table}"))
            .await
    }

    /// Users, identities and sessions.
    async fn counts(&self) -> [i64; 3] {
        [
            self.count("users").await,
            self.count("identities").await,
            self.count("sessions").await,
        ]
    }
}

/// A server, killed when it is dropped.
struct Running {
    child: Child,
    address: String,
}

impl Running {
    fn browser(&self) -> Browser {
        let routes = Router::new()
            .fallback(forward)
            .with_state((client(), self.address.clone()));
        Browser::of(routes, PUBLIC_URL)
    }

    /// A browser with the cookies of another one.
    fn browser_of(&self, other: &Browser) -> Browser {
        let mut browser = self.browser();
        browser.cookies = other.cookies.clone();
        browser
    }

    /// Waits for the end that the server makes itself.
    fn died(mut self) {
        let status = self.child.wait().unwrap();
        assert!(is_abort(status), "{status}");
    }
}

#[cfg(unix)]
fn is_abort(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    // SIGABRT.
    status.signal() == Some(6)
}

#[cfg(not(unix))]
fn is_abort(status: ExitStatus) -> bool {
    !status.success()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks the server; where no answer comes, the browser sees [`CUT`].
async fn forward(
    State((client, address)): State<(reqwest::Client, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
    let answer = client
        .request(parts.method, format!("http://{address}{}", parts.uri))
        .headers(parts.headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = answer else {
        return StatusCode::from_u16(CUT).unwrap().into_response();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = answer.bytes().await.unwrap().into();
    response
}

fn was_cut(answer: &Answer) -> bool {
    answer.status.as_u16() == CUT
}

/// A login that ends on our own page, and whose session is that of the person.
async fn signs_in(mut browser: Browser) {
    let answer = browser.sign_in(ALICE).await;
    assert_eq!(
        answer.location(),
        format!("{PUBLIC_URL}/account"),
        "{answer:?}"
    );
    assert_eq!(who(&mut browser).await, ALICE);
}

/// Whose session a browser has; empty for nobody's.
async fn who(browser: &mut Browser) -> String {
    let answer = browser.get_json("/users/me").await;
    let is_known = matches!(answer.status, StatusCode::OK | StatusCode::UNAUTHORIZED);
    assert!(is_known, "{answer:?}");
    answer.json()["email"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The front end `web` at a server.
struct Web(Browser);

impl Web {
    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("client_id", "web"), ("client_secret", WEB_SECRET)])
            .extend_pairs(form)
            .finish();
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body));
        self.0.send(request.unwrap()).await
    }

    async fn redeem(&mut self, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth/token", &form).await
    }

    async fn refresh(&mut self, token: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/oauth/token", &form).await
    }

    async fn revoke(&mut self, token: &str) -> Answer {
        self.post("/oauth/revoke", &[("token", token)]).await
    }

    async fn is_active(&mut self, token: &str) -> bool {
        let answer = self.post("/oauth/introspect", &[("token", token)]).await;
        answer.json()["active"].as_bool().unwrap()
    }
}

fn refresh_token(answer: &Answer) -> String {
    let token = answer.json()["refresh_token"].as_str().map(str::to_owned);
    token.unwrap_or_else(|| panic!("{answer:?}"))
}

fn is_invalid_grant(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_REQUEST && answer.json()["error"] == "invalid_grant"
}

/// A sign-in at the front end: its code.
async fn code(browser: &mut Browser) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", "web"),
            ("redirect_uri", REDIRECT_URI),
            ("state", "x"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ])
        .finish();
    let begun = browser.get(&format!("/auth/google/login?{query}")).await;
    let url = Url::parse(begun.location()).unwrap();
    let callback = browser.at_provider(&url, ALICE).await;
    let arrived = browser.get(&callback).await;
    let target = Url::parse(arrived.location()).unwrap_or_else(|_| panic!("{arrived:?}"));
    let code = target.query_pairs().find(|(name, _)| name == "code");
    code.unwrap_or_else(|| panic!("{arrived:?}")).1.into_owned()
}

// ---- The stories -----------------------------------------------------------------------------------------------------

async fn a_login(place: Place, point: &str) {
    let is_done = i64::from(point == "after:admit");
    let server = place.dying(point);
    let mut browser = server.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let before = browser.clone();
    assert!(was_cut(&browser.get(&callback).await));
    assert_eq!(browser.session(), None);
    server.died();
    let asked = u64::from(point != "before:token_request");
    assert_eq!(place.idp.counters().token_requests, asked);

    let server = place.living();
    assert_eq!(place.counts().await, [is_done; 3]);
    // The same callback once more. PostgreSQL keeps every claim; SQLite the claim of what was written, and then the
    // provider is who takes its code once.
    let mut again = server.browser_of(&before);
    let answer = again.get(&callback).await;
    match (place.is_sqlite(), point) {
        (true, "before:token_request") => assert_eq!(who(&mut again).await, ALICE),
        (true, "after:token_request" | "before:admit") => {
            assert_eq!(answer.code(), "code_rejected");
        }
        _ => assert_eq!(answer.code(), "state_used"),
    }
    let is_signed_in = again.session().is_some();
    assert_eq!(
        is_signed_in,
        place.is_sqlite() && point == "before:token_request"
    );
    let sessions = is_done + i64::from(is_signed_in);
    // And anew, in the same browser: one person is one user, whatever was there.
    signs_in(server.browser_of(&browser)).await;
    assert_eq!(place.counts().await, [1, 1, sessions + 1]);
    let mut late = server.browser_of(&before);
    let answer = late.get(&callback).await;
    assert!(late.session().is_none() && !answer.code().is_empty());
}

async fn a_redemption(place: Place, point: &str) {
    let is_done = point == "after:redeem_code";
    let server = place.dying(point);
    let mut browser = server.browser();
    let code_seen = code(&mut browser).await;
    assert!(was_cut(&Web(server.browser()).redeem(&code_seen).await));
    server.died();

    let server = place.living();
    assert_eq!(place.count("grants").await, i64::from(is_done));
    let mut browser = server.browser_of(&browser);
    assert_eq!(who(&mut browser).await, ALICE);
    let mut web = Web(server.browser());
    let again = web.redeem(&code_seen).await;
    if is_done {
        // RFC 6749 section 4.1.2: what came of a code that is used twice ends.
        assert!(is_invalid_grant(&again), "{again:?}");
        assert_eq!(place.count("grants").await, 0);
    } else {
        assert!(web.is_active(&refresh_token(&again)).await);
        assert_eq!(place.count("grants").await, 1);
    }
    let anew = code(&mut server.browser()).await;
    let redeemed = web.redeem(&anew).await;
    assert!(web.is_active(&refresh_token(&redeemed)).await);
    assert_eq!(place.counts().await, [1, 1, 2]);
}

async fn a_rotation(place: Place, point: &str) {
    let is_done = point == "after:rotate_grant";
    let server = place.dying(point);
    let mut browser = server.browser();
    let code = code(&mut browser).await;
    let mut web = Web(server.browser());
    let first = refresh_token(&web.redeem(&code).await);
    assert!(was_cut(&web.refresh(&first).await));
    server.died();

    let server = place.living();
    let count = "SELECT CAST(count AS bigint) FROM {}grants";
    assert_eq!(place.number(count).await, i64::from(is_done));
    let mut web = Web(server.browser());
    let second = refresh_token(&web.refresh(&first).await);
    assert_eq!(place.number(count).await, 1);
    // The answer may be lost again: the successor stays the same.
    assert_eq!(refresh_token(&web.refresh(&first).await), second);
    assert_eq!(place.number(count).await, 1);
    assert!(web.is_active(&second).await && !web.is_active(&first).await);
    let third = refresh_token(&web.refresh(&second).await);
    assert!(third != second && web.is_active(&third).await);
    // Two rotations ago is no lost answer.
    assert!(is_invalid_grant(&web.refresh(&first).await));
    assert!(!web.is_active(&third).await);
    assert_eq!(place.counts().await, [1, 1, 1]);
}

async fn a_sign_out(place: Place, point: &str) {
    let is_done = point == "after:end_session";
    let server = place.dying(point);
    let mut browser = server.browser();
    let code = code(&mut browser).await;
    let token = refresh_token(&Web(server.browser()).redeem(&code).await);
    assert!(was_cut(&browser.post("/auth/logout").await));
    server.died();

    let server = place.living();
    let mut browser = server.browser_of(&browser);
    let mut web = Web(server.browser());
    let left = i64::from(!is_done);
    assert_eq!(place.counts().await, [1, 1, left]);
    assert_eq!(place.count("grants").await, left);
    assert_eq!(web.is_active(&token).await, !is_done);
    let cookies = browser.cookies.clone();
    assert_eq!(who(&mut browser).await.is_empty(), is_done);
    let signed_out = browser.post("/auth/logout").await;
    assert_eq!(signed_out.status, StatusCode::SEE_OTHER, "{signed_out:?}");
    browser.cookies = cookies;
    assert_eq!(who(&mut browser).await, "");
    assert!(is_invalid_grant(&web.refresh(&token).await));
    signs_in(server.browser()).await;
    assert_eq!(place.counts().await, [1, 1, 1]);
}

async fn a_revocation(place: Place, point: &str) {
    let is_done = point == "after:end_grant";
    let server = place.dying(point);
    let mut browser = server.browser();
    let code = code(&mut browser).await;
    let mut web = Web(server.browser());
    let token = refresh_token(&web.redeem(&code).await);
    assert!(was_cut(&web.revoke(&token).await));
    server.died();

    let server = place.living();
    let mut web = Web(server.browser());
    assert_eq!(place.count("grants").await, i64::from(!is_done));
    assert_eq!(web.is_active(&token).await, !is_done);
    assert_eq!(web.revoke(&token).await.status, StatusCode::OK);
    assert!(!web.is_active(&token).await);
    assert!(is_invalid_grant(&web.refresh(&token).await));
    assert_eq!(place.count("grants").await, 0);
    let mut browser = server.browser_of(&browser);
    assert_eq!(who(&mut browser).await, ALICE);
}

/// Each point, and what happens around it.
async fn story(place: Place, point: &str) {
    match point.split(':').next_back().unwrap() {
        "token_request" | "admit" => a_login(place, point).await,
        "redeem_code" => a_redemption(place, point).await,
        "rotate_grant" => a_rotation(place, point).await,
        "end_session" => a_sign_out(place, point).await,
        "end_grant" => a_revocation(place, point).await,
        other => panic!("no story of {other}"),
    }
}

const POINTS: &[&str] = &[
    "before:token_request",
    "after:token_request",
    "before:admit",
    "after:admit",
    "before:redeem_code",
    "after:redeem_code",
    "before:rotate_grant",
    "after:rotate_grant",
    "before:end_session",
    "after:end_session",
    "before:end_grant",
    "after:end_grant",
];

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, child, folder, point, seconds] = arguments.as_slice()
        && child == CHILD
    {
        return run(serve(
            Path::new(folder),
            Point(point.clone()),
            seconds.parse().unwrap(),
        ));
    }

    let programs = server::programs();
    let reason = "PostgreSQL is missing: apt-get install postgresql";
    let is_required = std::env::var("VESTIBULE_TEST_REQUIRE").is_ok_and(|value| value == "all");
    let server: Arc<OnceLock<Arc<Server>>> = Arc::default();
    let mut trials = Vec::new();
    for point in POINTS {
        let (moment, what) = point.split_once(':').unwrap();
        let name = |store: &str| format!("{store}::a_crash_{moment}_{what}_leaves_all_or_nothing");
        trials.push(Trial::test(name("sqlite"), || {
            run(async { story(Place::new(None).await, point).await });
            Ok(())
        }));
        trials.push(match &programs {
            Some(programs) => {
                let (server, programs) = (server.clone(), programs.clone());
                Trial::test(name("postgres"), move || {
                    let server = server.get_or_init(|| Arc::new(Server::start(&programs)));
                    run(async { story(Place::new(Some(server.clone())).await, point).await });
                    Ok(())
                })
            }
            None if is_required => Trial::test(name("postgres"), move || Err(reason.into())),
            None => Trial::test(name("postgres"), || Ok(()))
                .with_kind(reason)
                .with_ignored_flag(true),
        });
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    // `exit` runs no destructors, and the server is to end.
    drop(server);
    conclusion.exit();
}
