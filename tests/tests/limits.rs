//! What a bad moment may cost: a provider that hangs, a request that panics, a flood.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use vestibule::accounts::BoxFuture;
use vestibule::oidc::{OutboundRequest, OutboundResponse, Provider};
use vestibule::{Received, Transport, TransportError};
use vestibule_devidp::{DevIdp, Fault};
use vestibule_tests::{App, Parts, Setup, log_text, reason_of};

const ALICE: &str = "alice@example.com";

// S24; the limit of token requests in flight
#[tokio::test(flavor = "multi_thread")]
async fn while_a_provider_hangs_sixty_four_sign_ins_wait_ten_seconds_and_the_rest_is_told_at_once()
{
    let other = DevIdp::builder()
        .client("other-client", "other-secret")
        .start()
        .await
        .unwrap();
    let tables = format!(
        "[providers.other]\nissuer = \"{}\"\nclient_id = \"other-client\"\nclient_secret = \"other-secret\"\n",
        other.issuer()
    );
    let app = App::with(Setup {
        tables,
        ..Setup::default()
    })
    .await;
    let mut signed_in = app.browser();
    signed_in.sign_in("bob@example.com").await;
    let before = app.counts();
    let asked = app.idp.counters().token_requests;

    let mut ready = Vec::new();
    for _ in 0..100 {
        let mut browser = app.browser();
        let url = browser.begin().await;
        let callback = browser.at_provider(&url, ALICE).await;
        ready.push((browser, callback));
    }
    app.idp.set_fault(Fault::TokenSlow);
    let began = Instant::now();
    let waiting: Vec<_> = ready
        .into_iter()
        .map(|(mut browser, callback)| {
            tokio::spawn(async move { (browser.get(&callback).await.code(), began.elapsed()) })
        })
        .collect();
    while app.idp.counters().token_requests < asked + 64 {
        tokio::task::yield_now().await;
    }
    // Everybody else goes on: who is signed in, and who comes by another provider.
    assert_eq!(
        signed_in.get_json("/users/me").await.json()["email"],
        "bob@example.com"
    );
    let mut elsewhere = app.browser();
    let begun = elsewhere.get("/auth/other/login").await;
    let callback = elsewhere
        .at_provider(&begun.location().parse().unwrap(), "carol@example.com")
        .await;
    assert_eq!(elsewhere.get(&callback).await.code(), "");
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "nobody waited for the one that hangs"
    );

    let mut codes = Vec::new();
    for task in waiting {
        let (code, after) = task.await.unwrap();
        assert!(after < Duration::from_secs(12), "{code} after {after:?}");
        codes.push(code);
    }
    let of = |wanted: &str| codes.iter().filter(|code| *code == wanted).count();
    assert_eq!(
        (of("provider_unavailable"), of("rate_limited")),
        (64, 36),
        "{codes:?}"
    );
    assert_eq!(
        app.idp.counters().token_requests,
        asked + 64,
        "the rest asked nothing"
    );
    // One more person, by the other provider, and nothing of the hundred.
    assert_eq!(app.counts(), before.map(|count| count + 1));

    // Every place is free again.
    app.idp.set_fault(Fault::None);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
}

/// Tells metadata, and panics where a code is exchanged.
struct Panics;

impl Transport for Panics {
    fn send<'a>(
        &'a self,
        provider: &'a Provider,
        request: OutboundRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<Received, TransportError>> {
        assert!(
            !request.url.path().ends_with("/token"),
            "a canary-panic of the test"
        );
        let issuer = provider.issuer.as_str();
        let body = format!(
            "{{\"issuer\":\"{issuer}\",\"authorization_endpoint\":\"{issuer}/authorize\",\"token_endpoint\":\"{issuer}/token\",\
             \"jwks_uri\":\"{issuer}/jwks\",\"response_types_supported\":[\"code\"],\"subject_types_supported\":[\"public\"],\
             \"id_token_signing_alg_values_supported\":[\"RS256\"]}}"
        );
        let response = OutboundResponse {
            status: 200,
            content_type: Some("application/json".to_owned()),
            body: body.into_bytes(),
        };
        Box::pin(async {
            Ok(Received {
                response,
                max_age: None,
            })
        })
    }
}

// S96
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_panics_costs_itself_and_nothing_else() {
    let app = App::over(
        Setup::default(),
        Parts {
            transport: Some(Arc::new(Panics)),
            ..Parts::default()
        },
    )
    .await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let callback = format!("/auth/google/callback?code=x&state={state}");
    let answer = browser.get(&callback).await;
    assert_eq!(answer.code(), "internal_error");
    assert!(
        !answer.location().contains("canary"),
        "the panic's words stay inside"
    );
    assert!(
        log_text().contains("\"reason\": \"panic\""),
        "the operator finds it in the log"
    );
    assert!(browser.session().is_none());
    assert_eq!(app.counts(), [0, 0, 0]);
    // The attempt is over, and the process serves on.
    let again = browser.get(&callback).await;
    assert_ne!(again.code(), "");
    assert_ne!(again.code(), "internal_error");
    app.browser().begin().await;
}

// S10, S79: a flood from one network is cut, and its neighbours are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_callbacks_is_cut_at_thirty_a_minute_and_says_so() {
    let app = App::with(Setup {
        rate_limits: true,
        ..Setup::default()
    })
    .await;
    let mut browser = app.browser();
    let began = Instant::now();
    let mut codes = Vec::new();
    for _ in 0..100 {
        codes.push(
            browser
                .get("/auth/google/callback?code=x&state=y")
                .await
                .code(),
        );
    }
    assert!(
        codes[..30].iter().all(|code| code == "state_invalid"),
        "{codes:?}"
    );
    let let_in = codes.iter().filter(|code| *code != "rate_limited").count() as u64;
    // One more every two seconds: a slow machine sees that.
    let may_come = 30..=30 + began.elapsed().as_secs() / 2;
    assert!(may_come.contains(&let_in), "{let_in} of 100 came in");
}

// S82
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_leads_to_one_line_of_the_log_and_to_nothing_secret() {
    let app = App::start().await;
    let mut browser = app.browser();
    let url = browser.begin().await;
    let callback = browser.at_provider(&url, ALICE).await;
    let mut stranger = app.browser();
    let answer = stranger.get(&callback).await;
    assert_eq!(answer.code(), "cookie_missing");
    assert_eq!(reason_of(&answer.reference()), "cookie_missing");
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    assert!(!log_text().contains(&state));
}
