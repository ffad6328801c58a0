//! `vestibule dev`: everything on loopback, a stand-in provider included, with no configuration.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use clap::Args;
use http::{Method, StatusCode, header};
use tokio::net::TcpListener;
use vestibule::Vestibule;
use vestibule::config::{Config, Sources};
use vestibule_devidp::{DevIdp, RedirectUris, default_people};

use super::{CliError, Global, say};
use crate::{log, serve};

/// Ours on one loopback name and the stand-in on another, so that cookies behave as they do across sites.
const PORT: u16 = 8000;
const STAND_IN_PORT: u16 = 8009;
/// How many ports are tried.
const TRIES: u16 = 100;
/// What the stand-in calls itself, on whatever port it is: the people in the database stay who they are.
const STAND_IN_ISSUER: &str = "http://127.0.0.1:8009";

/// What dev needs to reach the stand-in, and so chooses itself.
const HTTP_TO_STAND_IN: &str = "danger.allow_http_loopback";

#[derive(Args, Debug)]
pub(crate) struct Dev {}

pub(crate) async fn run(global: &Global, _verb: Dev) -> Result<(), CliError> {
    log::start_quietly();
    let mut sources = Sources::from_process(global.flags())?;
    let is_listen_chosen = sources.mentions("listen");
    let listener = listen(&mut sources)?;
    let stand_in_listener = free_port(STAND_IN_PORT)?;
    let stand_in_url = format!("http://{}", stand_in_listener.local_addr()?);
    let moved = [
        (!is_listen_chosen).then_some((PORT, listener.local_addr()?)),
        Some((STAND_IN_PORT, stand_in_listener.local_addr()?)),
    ];

    let is_google_real = sources.mentions("providers.google.client_id");
    let id = if is_google_real { "dev" } else { "google" };
    let client_secret = "stand-in-client-secret";
    for (key, value) in [
        ("issuer", STAND_IN_ISSUER),
        (
            "metadata_url",
            &format!("{stand_in_url}/.well-known/openid-configuration"),
        ),
        ("client_id", "vestibule-dev"),
        ("client_secret", client_secret),
        (
            "name",
            if is_google_real {
                "the stand-in"
            } else {
                "Google"
            },
        ),
    ] {
        sources.set(&format!("providers.{id}.{key}"), value);
    }
    let is_http_chosen = sources.mentions(HTTP_TO_STAND_IN);
    for (key, value) in [
        ("database_url", "sqlite://vestibule-dev.db"),
        (HTTP_TO_STAND_IN, "true"),
    ] {
        if !sources.mentions(key) {
            sources.set(key, value);
        }
    }
    let config = Config::load(&sources)?;
    let warnings: Vec<String> = config
        .warnings()
        .iter()
        // The stand-in is what is on this machine.
        .filter(|warning| is_http_chosen || !warning.starts_with(HTTP_TO_STAND_IN))
        .cloned()
        .collect();
    let stand_in = DevIdp::builder()
        .listener(stand_in_listener)
        .issuer(STAND_IN_ISSUER.to_owned())
        .client("vestibule-dev", client_secret)
        .redirect_uris(RedirectUris::AnyLoopback)
        .people(default_people())
        .start()
        .await
        .map_err(|error| CliError::Told(error.to_string()))?;

    let (public_url, database) = (
        config.public_url().to_owned(),
        config.database().to_string(),
    );
    let vestibule = Vestibule::from_config(config).await?;
    for (wanted, address) in moved.into_iter().flatten() {
        if address.port() != wanted {
            say(&format!(
                "note: port {wanted} is taken by another program; {} is used instead",
                address.port()
            ));
        }
    }
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    let signal = serve::signal()?;
    banner(&public_url, &stand_in_url, &database, is_google_real);
    let own = OwnHost {
        public_url: public_url.clone(),
        authority: authority(&public_url).to_owned(),
    };
    let routes =
        serve::router(&vestibule).layer(middleware::from_fn_with_state(own, only_our_host));
    let routes = Router::new().merge(routes);
    serve::until_signal(listener, routes, vestibule, signal).await;
    stand_in.stop().await;
    Ok(())
}

/// Listens where the configuration says, or on the next free port, and keeps `public_url` in step.
fn listen(sources: &mut Sources) -> Result<TcpListener, CliError> {
    if sources.mentions("listen") {
        let address = Config::load(sources)?.listen();
        return serve::listen(address).map_err(|error| super::cannot_listen(address, &error));
    }
    let listener = free_port(PORT)?;
    let address = listener.local_addr()?;
    sources.set("listen", &address.to_string());
    if !sources.mentions("public_url") {
        sources.set(
            "public_url",
            &format!("http://localhost:{}", address.port()),
        );
    }
    Ok(listener)
}

fn free_port(first: u16) -> Result<TcpListener, CliError> {
    for port in first..first.saturating_add(TRIES) {
        match serve::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => {
                return Err(super::cannot_listen(
                    SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                    &error,
                ));
            }
        }
    }
    Err(CliError::Told(format!(
        "no port from {first} on is free on 127.0.0.1; end what listens there"
    )))
}

fn banner(public_url: &str, stand_in_url: &str, database: &str, is_google_real: bool) {
    let stand_in = if is_google_real {
        "stand-in       "
    } else {
        "stand-in Google"
    };
    let people: Vec<String> = default_people()
        .into_iter()
        .take(2)
        .map(|person| person.email)
        .collect();
    say(&format!(
        "\nvestibule {}  development mode\n\n  sign-in page    {public_url}/login\n  {stand_in} {stand_in_url}        {}, ...\n  faults to try   {stand_in_url}/faults\n  database        {database}\n",
        env!("CARGO_PKG_VERSION"),
        people.join(", "),
    ));
    if !is_google_real {
        say("  tip  set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET to use the real Google\n");
    }
}

/// The one host that people are to use in development.
#[derive(Clone)]
struct OwnHost {
    public_url: String,
    authority: String,
}

/// Sends another loopback name to ours, so that cookies are where the callback looks for them. Any other host is a
/// name that somebody points at this machine: refused.
async fn only_our_host(State(own): State<OwnHost>, request: Request, next: Next) -> Response {
    let host = request
        .uri()
        .authority()
        .map(|authority| authority.as_str())
        // RFC 9112 section 3.2.2: a whole URL in the request line outranks Host.
        .or_else(|| {
            let host = request.headers().get(header::HOST)?;
            host.to_str().ok()
        })
        .unwrap_or_default()
        .to_ascii_lowercase();
    if host == own.authority || matches!(request.uri().path(), "/healthz" | "/readyz") {
        return next.run(request).await;
    }
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) {
            name
        } else {
            &host
        }
    });
    let is_loopback = name == "localhost"
        || name.ends_with(".localhost")
        || name == "[::1]"
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback());
    if is_loopback && *request.method() == Method::GET {
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        // The path came as the request's own: behind our origin it leads nowhere else.
        let location = format!("{}{target}", origin(&own.public_url));
        return (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    }
    (
        StatusCode::MISDIRECTED_REQUEST,
        format!(
            "this is {}; in development no other host is served\n",
            own.public_url
        ),
    )
        .into_response()
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let authority = authority(url);
    &url[..url.len() - (url.rsplit(authority).next().unwrap_or_default().len())]
}
