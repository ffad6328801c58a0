//! HTTP on a socket: limits on slow clients, one panic costs one request, and a shutdown that lets requests end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;
use vestibule::Vestibule;

use crate::workers::Workers;

/// How long a client may take to send its request's head, and to say anything at all.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections are served at once.
const MAX_CONNECTIONS: usize = 10_000;
/// How many connections may wait to be accepted. Where the queue is full, the system drops the request for one, and its
/// client asks again a second later. The usual 128 are fewer than one burst of callbacks brings.
const BACKLOG: u32 = 1_024;
/// How long requests may take to end at shutdown: longer than a callback may last.
const DRAIN: Duration = Duration::from_secs(15);
/// How long a connection that has said nothing yet may still do so once the listener is closed: its request is on the way.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// How often rows that are over are removed, and the age of the signing key is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// The end of the server, as signals tell it. The first one asks it to end; the second, not to wait for anybody.
#[derive(Clone)]
pub(crate) struct Ending(watch::Receiver<u32>);

impl Ending {
    /// Listens to the signals. From here on the process does not die of them.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn by_signals() -> std::io::Result<Self> {
        let (count, ending) = watch::channel(0);
        #[cfg(unix)]
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        #[cfg(unix)]
        let mut interrupt =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                #[cfg(unix)]
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                #[cfg(not(unix))]
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(ending))
    }

    /// Whether there was a signal.
    fn is_asked_for(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until there have been so many signals.
    async fn signals(&self, number: u32) {
        let mut count = self.0.clone();
        if count.wait_for(|count| *count >= number).await.is_err() {
            // Nobody is there to tell.
            std::future::pending::<()>().await;
        }
    }
}

/// All routes of the server.
pub(crate) fn router(vestibule: &Vestibule, ending: &Ending) -> Router {
    let asked = ending.clone();
    Router::new()
        // Whoever opens the bare address meets a page, the sign-in page first.
        .route("/", get(home))
        .route("/healthz", get(async || "ok"))
        .route(
            "/readyz",
            get(move |State(vestibule): State<Vestibule>| ready(vestibule, asked)),
        )
        .fallback(not_found)
        .with_state(vestibule.clone())
        .merge(vestibule.routes())
        .merge(vestibule.pages())
        .merge(vestibule.users_api())
}

/// Answers one request: what holds for all of them, whatever the route.
async fn answer(
    routes: Router,
    ending: Ending,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    if !names_one_host(&request) {
        return Ok((StatusCode::BAD_REQUEST, "a request names one Host\n").into_response());
    }
    let version = request.version();
    request
        .extensions_mut()
        .insert(ConnectInfo::<SocketAddr>(peer));
    // A panic costs its own request and no other.
    let answered = AssertUnwindSafe(routes.oneshot(request.map(Body::new))).catch_unwind();
    let mut response = match answered.await {
        Ok(Ok(response)) => response,
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Service panicked").into_response(),
    };
    // RFC 9112 section 9.6: who keeps a connection to us is told to take another one, while we still serve it.
    if version < Version::HTTP_2 && ending.is_asked_for() {
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// RFC 9112 section 3.2: exactly one `Host`, or 400. Whoever stands before us may have read the other one.
fn names_one_host<B>(request: &Request<B>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() != Version::HTTP_11 || request.uri().host().is_some(),
        hosts => hosts == 1,
    }
}

async fn home(State(vestibule): State<Vestibule>) -> Redirect {
    Redirect::to(&vestibule.public_url_of("/account"))
}

/// A page for people, JSON for programs.
async fn not_found(State(vestibule): State<Vestibule>, headers: HeaderMap) -> Response {
    let wants_page = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    if wants_page {
        return Redirect::to(&vestibule.public_url_of("/error?code=not_found")).into_response();
    }
    let problem = json!({
        "type": "about:blank",
        "title": "Nothing is here",
        "status": 404,
        "detail": "not_found",
        "code": "not_found",
    });
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "application/problem+json")],
        problem.to_string(),
    )
        .into_response()
}

/// Whether a balancer shall send people here.
async fn ready(vestibule: Vestibule, ending: Ending) -> (StatusCode, &'static str) {
    if ending.is_asked_for() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    match vestibule.ready().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database cannot be used",
        ),
    }
}

/// Listens at an address.
///
/// # Errors
/// What the system says: the address is in use, or not ours.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart need not wait for old connections. On Windows the option means another thing.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until a signal. Then, in this order: `/readyz` says so, and for `drain_delay` nothing else changes, so that
/// balancers can send people elsewhere; connections that wait are taken, and the listener is closed; requests end. A
/// second signal ends all of it at once. A sign-in whose browser has gone away is not waited for.
pub(crate) async fn until_signal(
    listener: TcpListener,
    routes: Router,
    vestibule: Vestibule,
    workers: Workers,
    ending: Ending,
    drain_delay: Duration,
) {
    let pruning = tokio::spawn(keep_tidy(vestibule.clone()));
    let server = Server::new(routes, ending.clone(), workers, MAX_CONNECTIONS);
    server.accept(&listener, ending.signals(1)).await;
    tracing::info!(
        event = "server.draining",
        delay_seconds = drain_delay.as_secs()
    );
    let drained = async {
        server
            .accept(&listener, tokio::time::sleep(drain_delay))
            .await;
        server.close(listener);
        server.drained().await
    };
    tokio::select! {
        in_time = drained => if !in_time {
            tracing::warn!(
                event = "server.drain_timeout",
                detail = "some requests did not end in time"
            );
        },
        () = ending.signals(2) => tracing::warn!(
            event = "server.drain_cut_short",
            detail = "a second signal: requests under way are not answered"
        ),
    }
    pruning.abort();
    server.workers.end();
    vestibule.close().await;
    tracing::info!(event = "server.stopped");
}

/// The connections.
struct Server {
    routes: Router,
    ending: Ending,
    workers: Workers,
    builder: auto::Builder<TokioExecutor>,
    /// One place a connection.
    places: Arc<Semaphore>,
    number_of_places: usize,
    /// Whether the listener is closed.
    closed: watch::Sender<bool>,
}

impl Server {
    fn new(routes: Router, ending: Ending, workers: Workers, number_of_places: usize) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(64 * 1024);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .max_concurrent_streams(128);
        Self {
            routes,
            ending,
            workers,
            builder,
            places: Arc::new(Semaphore::new(number_of_places)),
            number_of_places,
            closed: watch::Sender::new(false),
        }
    }

    /// Takes connections until `end`.
    async fn accept(&self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            let next = async {
                let place = self.places.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = &mut end => return,
            };
            match (place, accepted) {
                (Ok(place), Ok((stream, peer))) => match stream.into_std() {
                    Ok(stream) => self.serve(stream, peer, place),
                    Err(error) => tracing::error!(event = "accept.failed", detail = %error),
                },
                (_, Err(error)) => {
                    // Out of file descriptors, most likely: others must end before one more can begin.
                    tracing::error!(event = "accept.failed", detail = %error, hint = "raise the limit of open files");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                // Nobody closes the semaphore.
                (Err(_), _) => return,
            }
        }
    }

    /// Closes the listener. What the system has accepted for us would be reset by that: it is taken first.
    fn close(&self, listener: TcpListener) {
        // tokio answers from what it heard last; here the system itself is asked, until it has no more.
        if let Ok(listener) = listener.into_std() {
            while let Ok(place) = self.places.clone().try_acquire_owned() {
                match listener.accept() {
                    Ok((stream, peer)) => {
                        if stream.set_nonblocking(true).is_ok() {
                            self.serve(stream, peer, place);
                        }
                    }
                    // Its client went away while it waited, or a signal came between.
                    Err(error)
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::Interrupted
                        ) => {}
                    Err(_) => break,
                }
            }
        }
        self.closed.send_replace(true);
    }

    /// Waits until every connection has ended; whether that was in time.
    async fn drained(&self) -> bool {
        let all = u32::try_from(self.number_of_places).unwrap_or(u32::MAX);
        tokio::time::timeout(DRAIN, self.places.acquire_many(all))
            .await
            .is_ok()
    }

    /// Serves one connection, in a task of its own on one of the threads.
    fn serve(&self, stream: std::net::TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let (speaks, spoke) = watch::channel(false);
        let (routes, ending) = (self.routes.clone(), self.ending.clone());
        let service = service_fn(move |request| {
            speaks.send_if_modified(|spoke| !std::mem::replace(spoke, true));
            answer(routes.clone(), ending.clone(), peer, request)
        });
        let builder = self.builder.clone();
        let closed = self.closed.subscribe();
        self.workers.run(async move {
            let _place = place;
            // Only now: it belongs to the thread that it is made on.
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => {
                    tracing::error!(event = "accept.failed", detail = %error);
                    return;
                }
            };
            let mut connection = pin!(builder.serve_connection_with_upgrades(stream, service));
            // Until the first bytes tell HTTP/1 from HTTP/2, hyper counts no time: silent connections would hold their
            // places for ever (ATTACKS J01). And told to end before the first request, it would not wait for it.
            let patience = async {
                tokio::select! {
                    () = tokio::time::sleep(HEADER_TIMEOUT) => {}
                    () = is_so(closed.clone()) => tokio::time::sleep(FIRST_WORD).await,
                }
            };
            tokio::select! {
                // In this order: a request that came in the last moment is served.
                biased;
                _ = connection.as_mut() => return,
                () = is_so(spoke) => {}
                () = patience => return,
            }
            tokio::select! {
                _ = connection.as_mut() => return,
                () = is_so(closed.clone()) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

/// Waits until something is so, or until nobody can say so any more.
async fn is_so(mut what: watch::Receiver<bool>) {
    let _ = what.wait_for(|it| *it).await;
}

/// Removes what is over, and renews what is old.
async fn keep_tidy(vestibule: Vestibule) {
    let mut every = tokio::time::interval(TIDY_EVERY);
    loop {
        every.tick().await;
        if let Err(error) = vestibule.prune().await {
            tracing::warn!(event = "prune.failed", detail = %error);
        }
        if let Err(error) = vestibule.rotate_old_signing_key().await {
            tracing::warn!(event = "key.not_rotated", detail = %error);
        }
    }
}

// Other systems have a lower bound of their own.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_burst_of_five_hundred_connections_waits_and_none_is_dropped() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        for n in 0..500 {
            let connecting = TcpStream::connect(address);
            match tokio::time::timeout(Duration::from_secs(10), connecting).await {
                Ok(connection) => waiting.push(connection.unwrap()),
                Err(_) => panic!("{n} wait, and no more"),
            }
        }
    }

    /// What comes back, to the end of the connection.
    async fn answer(connection: &mut TcpStream) -> String {
        let mut answer = String::new();
        let read = connection.read_to_string(&mut answer).await;
        read.expect("the connection ends, and is not reset");
        answer
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn routes() -> Router {
        Router::new().route("/", get(async || "here"))
    }

    fn server(number_of_places: usize) -> Server {
        let nobody_asks = Ending(watch::channel(0).1);
        Server::new(
            routes(),
            nobody_asks,
            Workers::start().expect("threads start"),
            number_of_places,
        )
    }

    #[tokio::test]
    async fn who_waits_to_be_accepted_when_the_listener_closes_is_served_and_who_comes_later_is_refused()
     {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(REQUEST).await.unwrap();
            waiting.push(connection);
        }
        // Connected, and its request is still on the way.
        let mut late = TcpStream::connect(address).await.unwrap();

        let server = server(100);
        server.close(listener);
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        late.write_all(REQUEST).await.unwrap();
        for connection in waiting.iter_mut().chain([&mut late]) {
            let answer = answer(connection).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"),
                "{answer:?}"
            );
        }
        assert!(server.drained().await);
    }

    #[tokio::test]
    async fn an_idle_connection_ends_with_the_listener_and_is_not_waited_for() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut connection = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let server = server(100);
        let (asked, ending) = watch::channel(0);
        connection.write_all(REQUEST).await.unwrap();
        let first = async {
            let mut answer = [0; 1_024];
            let length = connection.read(&mut answer).await.unwrap();
            asked.send_replace(1);
            String::from_utf8_lossy(&answer[..length]).into_owned()
        };
        let ending = Ending(ending);
        let ((), first) = tokio::join!(server.accept(&listener, ending.signals(1)), first);
        assert!(
            first.starts_with("HTTP/1.1 200") && !first.contains("connection: close"),
            "{first}"
        );
        server.close(listener);
        assert_eq!(answer(&mut connection).await, "");
        assert!(server.drained().await);
    }

    #[tokio::test]
    async fn a_signal_is_heard_while_every_place_is_taken() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let _only = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let server = server(1);
        let (asked, ending) = watch::channel(0);
        let places = server.places.clone();
        let full = async {
            while places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            asked.send_replace(1);
        };
        let ending = Ending(ending);
        let accepted = async {
            tokio::join!(server.accept(&listener, ending.signals(1)), full);
        };
        tokio::time::timeout(Duration::from_secs(5), accepted)
            .await
            .unwrap();
    }
}
