//! HTTP on a socket: limits on slow clients, one panic costs one request, and a shutdown that lets requests end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, Version, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tower::ServiceExt as _;
use vestibule::Vestibule;

/// How long a client may take to send its request's head, and to say anything at all.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections are served at once.
const MAX_CONNECTIONS: usize = 10_000;
/// How many connections may wait to be accepted. Where the queue is full, the system drops the request for one, and its
/// client asks again a second later. The usual 128 are fewer than one burst of callbacks brings.
const BACKLOG: u32 = 1_024;
/// How long requests may take to end at shutdown: longer than a callback may last.
const DRAIN: Duration = Duration::from_secs(15);
/// How often rows that are over are removed, and the age of the signing key is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// All routes of the server.
pub(crate) fn router(vestibule: &Vestibule) -> Router {
    Router::new()
        // Whoever opens the bare address meets a page, the sign-in page first.
        .route("/", get(home))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .with_state(vestibule.clone())
        .merge(vestibule.routes())
        .merge(vestibule.pages())
        .merge(vestibule.users_api())
        .layer(middleware::from_fn(one_host))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
}

/// RFC 9112 section 3.2: exactly one `Host`, or 400. Whoever stands before us may have read the other one.
async fn one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let is_missing =
        hosts == 0 && request.version() == Version::HTTP_11 && request.uri().host().is_none();
    if hosts > 1 || is_missing {
        return (StatusCode::BAD_REQUEST, "a request names one Host\n").into_response();
    }
    next.run(request).await
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

async fn ready(State(vestibule): State<Vestibule>) -> (StatusCode, &'static str) {
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

/// Serves until a [`signal`], then lets requests end.
pub(crate) async fn until_signal(
    listener: TcpListener,
    routes: Router,
    vestibule: Vestibule,
    signal: impl Future<Output = ()>,
) {
    let pruning = tokio::spawn(keep_tidy(vestibule.clone()));
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
    let connections = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut signal = std::pin::pin!(signal);
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut signal => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others must end before one more can begin.
                tracing::error!(event = "accept.failed", detail = %error, hint = "raise the limit of open files");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let spoke = Arc::new(AtomicBool::new(false));
        let speaks = spoke.clone();
        let service = TowerToHyperService::new(routes.clone().map_request(
            move |mut request: Request<hyper::body::Incoming>| {
                speaks.store(true, Ordering::Relaxed);
                request
                    .extensions_mut()
                    .insert(ConnectInfo::<SocketAddr>(peer));
                request.map(axum::body::Body::new)
            },
        ));
        let connection = graceful.watch(
            builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .into_owned(),
        );
        tokio::spawn(async move {
            tokio::select! {
                _ = connection => {}
                () = silence(&spoke) => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    tracing::info!(event = "server.draining");
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            event = "server.drain_timeout",
            detail = "some requests did not end in time"
        );
    }
    pruning.abort();
    vestibule.close().await;
    tracing::info!(event = "server.stopped");
}

/// Ends where a client has sent no request in time. Until the first bytes tell HTTP/1 from HTTP/2, hyper counts no time:
/// silent connections would hold their places for ever (ATTACKS J01).
async fn silence(spoke: &AtomicBool) {
    tokio::time::sleep(HEADER_TIMEOUT).await;
    if spoke.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
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

/// The signals that end a server, heard from this call on: whoever was told that it listens may end it.
///
/// # Errors
/// What the system says.
pub(crate) fn signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(windows)]
    {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        Ok(async move {
            interrupt.recv().await;
        })
    }
}

// Other systems have a lower bound of their own.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpStream;

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
}
