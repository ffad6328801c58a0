//! A connection to one of several hosts. Each is given its time, so that one which hangs does not stand before the others,
//! and the one that was found last is asked first.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{ConfigConnectImpl, Connect};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use vestibule_accounts::BoxFuture;

/// The hosts of a URL, in its order.
pub(super) struct Hosts {
    hosts: Vec<Config>,
    tls: MakeRustlsConnect,
    /// How long one may take.
    limit: Duration,
    /// Which one was found last.
    found: AtomicUsize,
}

impl Hosts {
    pub(super) fn new(hosts: Vec<Config>, tls: MakeRustlsConnect, limit: Duration) -> Self {
        Self {
            hosts,
            tls,
            limit,
            found: AtomicUsize::new(0),
        }
    }
}

impl Connect for Hosts {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(async move {
            let driver = ConfigConnectImpl {
                tls: self.tls.clone(),
            };
            let first = self.found.load(Ordering::Relaxed);
            let mut failed = None;
            for at in (first..self.hosts.len()).chain(0..first) {
                let attempt = driver.connect(&self.hosts[at]);
                match timeout(self.limit, attempt).await {
                    Ok(Ok(connection)) => {
                        self.found.store(at, Ordering::Relaxed);
                        return Ok(connection);
                    }
                    Ok(Err(error)) => failed = Some(error),
                    Err(_) => {}
                }
            }
            match failed {
                Some(error) => Err(error),
                // All of them hang. The pool ends this, by its own limit.
                None => pending().await,
            }
        })
    }
}
