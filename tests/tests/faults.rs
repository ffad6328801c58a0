//! One defect of a provider, one row: the code that the browser learns, the reason that the log gives, and nothing left
//! behind. Each fault is alone in an otherwise honest login, so that a row fails when its check is taken out.

use std::time::{Duration, Instant};

use vestibule_devidp::Fault;
use vestibule_tests::{Answer, App, Setup, reason_of};

const ALICE: &str = "alice@example.com";

/// A fault, the code, the reason.
type Row = (Fault, &'static str, &'static str);

// S26 to S28, S31 to S48, S53; ATTACKS parts A to D.
const ROWS: &[Row] = &[
    // The ID token's form and signature.
    (Fault::WrongSignature, "id_token_invalid", "signature"),
    (Fault::SignatureStripped, "id_token_invalid", "signature"),
    (Fault::AlgNone, "id_token_invalid", "algorithm"),
    (
        Fault::AlgHs256WithPublicKey,
        "id_token_invalid",
        "algorithm",
    ),
    (
        Fault::AlgHs256WithClientSecret,
        "id_token_invalid",
        "algorithm",
    ),
    (Fault::WrongKey, "id_token_invalid", "signature"),
    (Fault::UnknownKid, "id_token_invalid", "key_unknown"),
    (Fault::NoKid, "id_token_invalid", "key_ambiguous"),
    (Fault::EmbeddedJwk, "id_token_invalid", "signature"),
    (Fault::UnknownCrit, "id_token_invalid", "critical"),
    (Fault::B64False, "id_token_invalid", "critical"),
    (Fault::WrongType, "id_token_invalid", "typ"),
    (Fault::TokenWithPadding, "id_token_invalid", "format"),
    (Fault::TokenWithFourSegments, "id_token_invalid", "format"),
    (Fault::EncryptedToken, "id_token_invalid", "format"),
    (Fault::TokenTooLarge, "id_token_invalid", "too_large"),
    (Fault::DuplicateClaim, "id_token_invalid", "format"),
    (Fault::ClaimsNotAnObject, "id_token_invalid", "format"),
    // Its claims.
    (Fault::WrongIssuer, "id_token_invalid", "issuer"),
    (Fault::IssuerTrailingSlash, "id_token_invalid", "issuer"),
    (Fault::MissingIssuer, "id_token_invalid", "claim_missing"),
    (Fault::WrongAudience, "id_token_invalid", "audience"),
    (
        Fault::AudienceArrayWithStranger,
        "id_token_invalid",
        "audience",
    ),
    (Fault::EmptyAudience, "id_token_invalid", "claim_missing"),
    (Fault::MissingAudience, "id_token_invalid", "claim_missing"),
    (Fault::WrongAzp, "id_token_invalid", "azp"),
    (Fault::Expired, "id_token_invalid", "expired"),
    (Fault::ExpiresAsString, "id_token_invalid", "claim_type"),
    (Fault::MissingExpiry, "id_token_invalid", "claim_missing"),
    (Fault::IssuedInFuture, "clock_skew", "issued_in_future"),
    (
        Fault::IssuedLongAgo,
        "id_token_invalid",
        "issued_too_long_ago",
    ),
    (Fault::MissingIssuedAt, "id_token_invalid", "claim_missing"),
    (Fault::NotYetValid, "clock_skew", "not_yet_valid"),
    (Fault::WrongNonce, "nonce_mismatch", "nonce"),
    (Fault::MissingNonce, "nonce_mismatch", "nonce"),
    (Fault::MissingSubject, "id_token_invalid", "claim_missing"),
    (Fault::EmptySubject, "id_token_invalid", "subject"),
    (Fault::SubjectNumber, "id_token_invalid", "claim_type"),
    (Fault::SubjectTooLong, "id_token_invalid", "subject"),
    (
        Fault::SubjectControlCharacter,
        "id_token_invalid",
        "subject",
    ),
    (Fault::WrongAtHash, "id_token_invalid", "at_hash"),
    // The address, and UserInfo.
    (
        Fault::EmailUnverified,
        "email_unverified",
        "email_unverified",
    ),
    (
        Fault::EmailVerifiedAsString,
        "email_unverified",
        "email_unverified",
    ),
    (Fault::EmailArray, "email_missing", "email_missing"),
    (Fault::NoEmailAnywhere, "email_missing", "email_missing"),
    (
        Fault::UserinfoWrongSubject,
        "sub_mismatch",
        "userinfo_subject",
    ),
    (
        Fault::UserinfoError,
        "provider_unavailable",
        "userinfo_status",
    ),
    (
        Fault::UserinfoHtml,
        "provider_error",
        "userinfo_content_type",
    ),
    // The token endpoint.
    (
        Fault::NoIdToken,
        "token_response_invalid",
        "id_token_missing",
    ),
    (Fault::TokenTypeMac, "token_response_invalid", "token_type"),
    (Fault::TokenHtml, "provider_error", "token_content_type"),
    (Fault::TokenEmpty, "token_response_invalid", "token_json"),
    (
        Fault::TokenJsonArray,
        "token_response_invalid",
        "token_json",
    ),
    (
        Fault::TokenDuplicateMember,
        "token_response_invalid",
        "token_json",
    ),
    (
        Fault::TokenDeeplyNested,
        "token_response_invalid",
        "token_json",
    ),
    (Fault::TokenRedirect, "provider_error", "token_status"),
    (Fault::Token500, "provider_unavailable", "token_status"),
    (Fault::TokenHuge, "provider_error", "answer_too_large"),
    (Fault::TokenInvalidGrant, "code_rejected", "invalid_grant"),
    (
        Fault::TokenInvalidClient,
        "client_rejected",
        "invalid_client",
    ),
    (Fault::TokenErrorAs200, "code_rejected", "invalid_grant"),
    // The callback.
    (
        Fault::CallbackErrorServerError,
        "provider_error",
        "callback_error",
    ),
    (
        Fault::CallbackWrongIss,
        "issuer_mismatch",
        "callback_issuer",
    ),
    (
        Fault::CallbackMissingIss,
        "issuer_mismatch",
        "callback_issuer",
    ),
    (Fault::CallbackWrongState, "state_invalid", "state_invalid"),
    (
        Fault::CallbackMissingState,
        "state_missing",
        "state_missing",
    ),
    (
        Fault::CallbackDuplicateCode,
        "bad_request",
        "callback_duplicate",
    ),
    (
        Fault::CallbackCodeAndError,
        "bad_request",
        "callback_contradiction",
    ),
    (
        Fault::CallbackWithIdToken,
        "bad_request",
        "callback_contradiction",
    ),
];

/// Faults of what is remembered: each meets a process that knows nothing of the provider yet.
const COLD: &[Row] = &[
    (Fault::Metadata500, "provider_unavailable", ""),
    (Fault::MetadataHtml, "provider_misconfigured", ""),
    (Fault::MetadataWrongIssuer, "provider_misconfigured", ""),
    (Fault::MetadataRedirect, "provider_misconfigured", ""),
    (Fault::MetadataHuge, "provider_error", ""),
    (Fault::MetadataHttpEndpoint, "provider_misconfigured", ""),
    (Fault::MetadataSlow, "provider_unavailable", ""),
    (Fault::Jwks500, "provider_unavailable", "keys_status"),
    (Fault::JwksEmpty, "provider_error", "keys_empty"),
    (Fault::JwksHtml, "provider_error", "keys_json"),
    (Fault::JwksRedirect, "provider_error", "keys_status"),
    (Fault::JwksHuge, "provider_error", "answer_too_large"),
    (Fault::JwksSlow, "provider_unavailable", "provider_timeout"),
];

/// What the answer has against its row; empty where it is as told.
fn wrong(row: Row, answer: &Answer) -> Option<String> {
    let (fault, code, reason) = row;
    let found = (answer.code(), reason_of(&answer.reference()));
    let is_told = found.0 == code
        && (reason.is_empty() || answer.reference().is_empty() || found.1 == reason);
    let sets_a_session = answer
        .set_cookies()
        .iter()
        .any(|cookie| cookie.contains("vestibule_session=") && !cookie.contains("Max-Age=0"));
    (!is_told || sets_a_session).then(|| format!("{fault}: {found:?}, not ({code:?}, {reason:?})"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_defect_of_a_login_is_refused_with_its_own_reason_and_leaves_nothing_behind() {
    let app = App::start().await;
    // The keys are known, as in a process that has been running.
    app.browser().sign_in("bob@example.com").await;
    let before = app.counts();
    let mut complaints = Vec::new();
    for row in ROWS {
        app.idp.set_fault(row.0);
        let mut browser = app.browser();
        let answer = browser.sign_in(ALICE).await;
        complaints.extend(wrong(*row, &answer));
        assert_eq!(app.counts(), before, "{}", row.0);
        assert!(browser.session().is_none(), "{}", row.0);
        // The attempt is consumed (S12): the same callback is not tried again.
        app.clock.advance_seconds(11);
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
    app.idp.set_fault(Fault::None);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_specifications_allow_signs_people_in() {
    for fault in Fault::ALL.iter().filter(|fault| fault.is_harmless()) {
        let app = App::start().await;
        app.idp.set_fault(*fault);
        for _ in 0..2 {
            let answer = app.browser().sign_in(ALICE).await;
            assert_eq!(
                answer.code(),
                "",
                "{fault}: {}",
                reason_of(&answer.reference())
            );
        }
        assert_eq!(app.counts(), [1, 1, 2], "{fault}");
    }
}

// S23 to S25, S48, S49: metadata and keys that cannot be used.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_keys_that_do_not_do_end_the_login_in_time_and_are_asked_for_again_later() {
    let tasks: Vec<_> = COLD
        .iter()
        .copied()
        .map(|row| tokio::spawn(cold(row)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn cold(row: Row) {
    let app = App::start().await;
    let is_metadata = row.0.to_string().starts_with("metadata");
    // What the start asked for in the background must not have been honest.
    app.idp.set_fault(row.0);
    let setup = app.setup();
    let app = app.again(setup).await;
    let mut browser = app.browser();
    let begun = Instant::now();
    let answer = if is_metadata {
        browser.get("/auth/google/login").await
    } else {
        browser.sign_in(ALICE).await
    };
    assert!(begun.elapsed() < Duration::from_secs(11), "{}", row.0);
    assert_eq!(wrong(row, &answer), None);
    assert_eq!(app.counts(), [0, 0, 0], "{}", row.0);
    // Nobody asks again at once.
    let fetches = app.idp.counters().metadata_fetches + app.idp.counters().jwks_fetches;
    if is_metadata {
        browser.get("/auth/google/login").await;
        assert_eq!(
            app.idp.counters().metadata_fetches + app.idp.counters().jwks_fetches,
            fetches,
            "{}",
            row.0
        );
    }
    // It heals by itself.
    app.idp.set_fault(Fault::None);
    app.clock.advance_seconds(6);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "", "{}", row.0);
}

// S24, S29
#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_hangs_ends_the_login_within_ten_seconds_and_is_asked_once() {
    let app = App::start().await;
    app.browser().sign_in("bob@example.com").await;
    app.idp.set_fault(Fault::TokenSlow);
    let begun = Instant::now();
    let answer = app.browser().sign_in(ALICE).await;
    assert_eq!(
        (
            answer.code().as_str(),
            reason_of(&answer.reference()).as_str()
        ),
        ("provider_unavailable", "provider_timeout")
    );
    assert!(begun.elapsed() < Duration::from_secs(11));
    assert_eq!(app.idp.counters().token_requests, 2);
}

#[test]
fn every_fault_has_a_row() {
    let here = |fault: &Fault| ROWS.iter().chain(COLD).any(|(known, _, _)| known == fault);
    for fault in Fault::ALL {
        let elsewhere =
            fault.is_harmless() || matches!(fault, Fault::None | Fault::TokenSlow | Fault::NoEmail);
        assert_ne!(here(fault), elsewhere, "{fault}");
    }
}

// Issue text: UserInfo is asked only when the ID token lacks a claim that the policy needs.
#[tokio::test(flavor = "multi_thread")]
async fn userinfo_is_asked_only_for_an_address_that_the_id_token_lacks() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    assert_eq!(app.idp.counters().userinfo_requests, 0);
    app.idp.set_fault(Fault::NoEmail);
    let mut browser = app.browser();
    assert_eq!(browser.sign_in("bob@example.com").await.code(), "");
    assert_eq!(app.idp.counters().userinfo_requests, 1);
    assert_eq!(
        browser.get_json("/users/me").await.json()["email"],
        "bob@example.com"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn userinfo_is_asked_where_the_id_token_does_not_say_whether_its_address_is_verified() {
    let app = App::start().await;
    app.idp.set_fault(Fault::EmailVerifiedInUserinfo);
    let mut browser = app.browser();
    assert_eq!(browser.sign_in(ALICE).await.code(), "");
    assert_eq!(app.idp.counters().userinfo_requests, 1);
    assert_eq!(browser.get_json("/users/me").await.json()["email"], ALICE);
    // Where it says no, nobody else is asked.
    app.idp.set_fault(Fault::EmailUnverified);
    let refused = app.browser().sign_in("bob@example.com").await;
    assert_eq!(refused.code(), "email_unverified");
    assert_eq!(app.idp.counters().userinfo_requests, 1);
}

// The same: who may come is decided by the domain of an address, which then is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn userinfo_is_asked_where_only_people_of_some_domains_may_sign_up() {
    let app = App::with(Setup {
        top: "require_email = false\nsignup = \"domains\"\nallowed_domains = [\"example.com\"]"
            .into(),
        ..Setup::default()
    })
    .await;
    app.idp.set_fault(Fault::NoEmail);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    assert_eq!(app.idp.counters().userinfo_requests, 1);
    app.idp.set_fault(Fault::NoEmailAnywhere);
    let answer = app.browser().sign_in("bob@example.com").await;
    assert_eq!(answer.code(), "domain_not_allowed");
    assert_eq!(app.counts(), [1, 1, 1]);
}

// S50, S51
#[tokio::test(flavor = "multi_thread")]
async fn keys_may_rotate_between_logins() {
    let app = App::start().await;
    for round in 0..3 {
        assert_eq!(app.browser().sign_in(ALICE).await.code(), "", "{round}");
        app.idp.rotate_keys();
        app.clock.advance_seconds(11);
    }
}

// S48 to S50: what is fresh is not asked for, and what is stale is, so that a key that was taken out does not last.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_keys_are_remembered_as_long_as_the_provider_says_and_then_asked_for_again() {
    let app = App::start().await;
    let fetches = || {
        let counters = app.idp.counters();
        (counters.metadata_fetches, counters.jwks_fetches)
    };
    for _ in 0..3 {
        assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
        app.clock.advance_seconds(1_000);
    }
    assert_eq!(fetches(), (1, 1));
    // The stand-in says an hour. Who comes first after it does not wait for the answer.
    app.clock.advance_seconds(601);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    let asked_again = async {
        while fetches() != (2, 2) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), asked_again).await;
    assert!(in_time.is_ok(), "{:?}", fetches());
}

// S49
#[tokio::test(flavor = "multi_thread")]
async fn twenty_sign_ins_at_once_that_need_the_keys_ask_for_them_once() {
    let app = App::start().await;
    let mut ready = Vec::new();
    for _ in 0..20 {
        let mut browser = app.browser();
        let url = browser.begin().await;
        let callback = browser.at_provider(&url, ALICE).await;
        ready.push((browser, callback));
    }
    let tasks: Vec<_> = ready
        .into_iter()
        .map(|(mut browser, callback)| {
            tokio::spawn(async move { browser.get(&callback).await.code() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "");
    }
    assert_eq!(app.idp.counters().jwks_fetches, 1);
    assert_eq!(app.counts(), [1, 1, 20]);
}

// S49
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_costs_two_requests_and_then_one_in_ten_seconds() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    let before = app.idp.counters().jwks_fetches;
    app.idp.set_fault(Fault::UnknownKid);
    for _ in 0..10 {
        assert_eq!(
            app.browser().sign_in(ALICE).await.code(),
            "id_token_invalid"
        );
    }
    assert_eq!(app.idp.counters().jwks_fetches - before, 2);
    app.clock.advance_seconds(10);
    for _ in 0..5 {
        app.browser().sign_in(ALICE).await;
    }
    assert_eq!(app.idp.counters().jwks_fetches - before, 3);
}

// S48
#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_metadata_and_keys_serve_for_a_day_while_the_provider_is_down() {
    let app = App::start().await;
    app.browser().sign_in(ALICE).await;
    app.idp.set_fault(Fault::Metadata500);
    app.clock.advance_seconds(24 * 3_600 + 60);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
    app.idp.set_fault(Fault::Jwks500);
    app.clock.advance_seconds(3_600 * 12);
    assert_eq!(app.browser().sign_in(ALICE).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_starts_and_serves_while_its_provider_is_down_and_signs_in_when_it_is_back() {
    let app = App::start().await;
    app.idp.set_fault(Fault::Metadata500);
    let setup = app.setup();
    let app = app.again(setup).await;
    let mut browser = app.browser();
    assert_eq!(
        browser.get("/auth/google/login").await.code(),
        "provider_unavailable"
    );
    let page = browser.get("/login").await;
    assert_eq!(page.status.as_u16(), 200);
    assert!(page.body.contains("Does not answer"), "{}", page.body);
    app.idp.set_fault(Fault::None);
    app.clock.advance_seconds(6);
    assert_eq!(browser.sign_in(ALICE).await.code(), "");
}
