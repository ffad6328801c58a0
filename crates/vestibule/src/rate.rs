//! How much one address may ask for, and how much we ask of one provider. Counted in memory, for each process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vestibule_oidc::ProviderId;

use crate::clock::Clock;
use crate::error::{Code, Failure};

/// Login starts, and callbacks, of one address prefix in a minute.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();
/// Token requests in flight at one provider.
const IN_FLIGHT: usize = 64;
/// How often prefixes that are quiet are forgotten, in checks.
const SHRINK_EVERY: u32 = 4_096;
/// How many prefixes are counted at once; a flood from more is refused as one.
const MAX_PREFIXES: usize = 200_000;

/// What is counted apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    LoginStart,
    Callback,
}

type Limiter = RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, Ticks, NoOpMiddleware<Duration>>;

/// Our clock, as the limiters read it.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// All limits of one process.
pub(crate) struct RateLimits {
    addresses: Option<[Limiter; 2]>,
    checks: AtomicU32,
    in_flight: HashMap<ProviderId, Arc<Semaphore>>,
}

impl RateLimits {
    /// Limits for these providers; `count_addresses` is `rate_limits.enabled`.
    pub(crate) fn new<'a>(
        count_addresses: bool,
        providers: impl Iterator<Item = &'a ProviderId>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let limiter =
            || RateLimiter::hashmap_with_clock(Quota::per_minute(PER_MINUTE), Ticks(clock.clone()));
        Self {
            addresses: count_addresses.then(|| [limiter(), limiter()]),
            checks: AtomicU32::new(0),
            in_flight: providers
                .map(|id| (id.clone(), Arc::new(Semaphore::new(IN_FLIGHT))))
                .collect(),
        }
    }

    /// Counts one request of an address.
    pub(crate) fn check(&self, route: Route, address: IpAddr) -> Result<(), Failure> {
        let Some(limiters) = &self.addresses else {
            return Ok(());
        };
        let limiter = match route {
            Route::LoginStart => &limiters[0],
            Route::Callback => &limiters[1],
        };
        if self
            .checks
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(SHRINK_EVERY)
        {
            // Both: starts and callbacks take turns, and the count would meet the same one each time.
            limiters.iter().for_each(RateLimiter::retain_recent);
        }
        if limiter.len() < MAX_PREFIXES && limiter.check_key(&prefix(address)).is_ok() {
            return Ok(());
        }
        Err(Failure::new(
            Code::RateLimited,
            "address",
            "more than 30 such requests a minute from one address prefix; behind a proxy, set trusted_proxies so that people are told apart",
        ))
    }

    /// A place for one token request at a provider. There is one at once, or none.
    pub(crate) fn token_request(
        &self,
        provider: &ProviderId,
    ) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let Some(places) = self.in_flight.get(provider) else {
            return Ok(None);
        };
        places.clone().try_acquire_owned().map(Some).map_err(|_| {
            Failure::new(
                Code::RateLimited,
                "provider_in_flight",
                format!(
                    "64 token requests to {provider} are under way: it answers slowly or not at all"
                ),
            )
        })
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits (S79).
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
    }
}

/// The client behind trusted proxies: the rightmost hop that none of them added (S78). What an untrusted peer claims is
/// ignored.
pub(crate) fn client_address(
    peer: IpAddr,
    forwarded_for: &[&str],
    is_trusted: &dyn Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    for hop in forwarded_for
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(','))
    {
        if !is_trusted(client) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use vestibule_accounts::Timestamp;

    use super::*;
    use crate::clock::TestClock;

    fn standing() -> Arc<TestClock> {
        Arc::new(TestClock::at(Timestamp::from_seconds(1_700_000_000)))
    }

    fn limits<'a>(providers: impl Iterator<Item = &'a ProviderId>) -> RateLimits {
        let clock: Arc<dyn Clock> = standing();
        RateLimits::new(true, providers, &clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    // S79
    #[test]
    fn thirty_a_minute_for_each_prefix_and_route() {
        let clock = standing();
        let ticks: Arc<dyn Clock> = clock.clone();
        let limits = RateLimits::new(true, std::iter::empty(), &ticks);
        for n in 0..30 {
            assert!(
                limits
                    .check(Route::LoginStart, ip(&format!("2001:db8::{n:x}")))
                    .is_ok()
            );
        }
        assert_eq!(
            limits
                .check(Route::LoginStart, ip("2001:db8::ffff"))
                .unwrap_err()
                .code,
            Code::RateLimited
        );
        assert!(
            limits
                .check(Route::LoginStart, ip("2001:db8:0:1::1"))
                .is_ok()
        );
        assert!(limits.check(Route::Callback, ip("2001:db8::1")).is_ok());
        // One more in two seconds.
        clock.advance_seconds(2);
        let again = || limits.check(Route::LoginStart, ip("2001:db8::1")).is_ok();
        assert!(again() && !again());
        let off = RateLimits::new(false, std::iter::empty(), &ticks);
        assert!((0..100).all(|_| off.check(Route::Callback, ip("192.0.2.1")).is_ok()));
    }

    // S10: what is counted is forgotten again, of both routes.
    #[test]
    fn prefixes_that_are_quiet_are_forgotten_whatever_the_order_of_the_routes() {
        let clock = standing();
        let ticks: Arc<dyn Clock> = clock.clone();
        let limits = RateLimits::new(true, std::iter::empty(), &ticks);
        for login in 0..20_000_u32 {
            let address = IpAddr::from((0x0b00_0000 + login).to_be_bytes());
            assert!(limits.check(Route::LoginStart, address).is_ok());
            assert!(limits.check(Route::Callback, address).is_ok());
            clock.advance_seconds(3);
        }
        for limiter in limits.addresses.as_ref().unwrap() {
            assert!(limiter.len() <= SHRINK_EVERY as usize, "{}", limiter.len());
        }
    }

    // S79
    #[test]
    fn a_mapped_address_is_its_ipv4_one() {
        assert_eq!(prefix(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(prefix(ip("192.0.2.1")), prefix(ip("192.0.2.2")));
    }

    // S78; ATTACKS F17
    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        let trusted = |address: IpAddr| address == ip("10.0.0.1") || address == ip("10.0.0.2");
        for (peer, forwarded, client) in [
            ("192.0.2.1", vec!["203.0.113.9"], "192.0.2.1"),
            ("10.0.0.1", vec!["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", vec!["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                vec!["198.51.100.1, 203.0.113.9, 10.0.0.2"],
                "203.0.113.9",
            ),
            (
                "10.0.0.1",
                vec!["198.51.100.1", "203.0.113.9"],
                "203.0.113.9",
            ),
            ("10.0.0.1", vec!["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("::ffff:10.0.0.1", vec!["203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(
                client_address(ip(peer), &forwarded, &trusted),
                ip(client),
                "{peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn the_sixty_fifth_token_request_is_refused_at_once_and_another_providers_is_not() {
        let (slow, other) = (
            ProviderId::parse("slow").unwrap(),
            ProviderId::parse("other").unwrap(),
        );
        let limits = limits([&slow, &other].into_iter());
        let held: Vec<_> = (0..64)
            .map(|_| limits.token_request(&slow).unwrap())
            .collect();
        assert_eq!(
            limits.token_request(&slow).unwrap_err().code,
            Code::RateLimited
        );
        assert!(limits.token_request(&other).is_ok());
        drop(held);
        assert!(limits.token_request(&slow).is_ok());
    }
}
