//! Every reader of what front ends and browsers send answers, whatever the bytes (S96), and leads nowhere else than a
//! WHATWG parser says (S77, S86). `VESTIBULE_FUZZ_SECONDS` says for how long; without it, 256 cases each.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use url::{Url, form_urlencoded};
use vestibule::parsers::{self, CLIENT_SECRET, FrontEnds};

const REGISTERED: [&str; 5] = [
    "https://app.example/cb?keep=1",
    "https://app.example",
    "http://127.0.0.1/cb",
    "http://localhost:8501/",
    "com.example.app:/callback",
];
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Runs one reader: 256 cases, and on as long as it may.
fn total<T: std::fmt::Debug>(inputs: impl Strategy<Value = T>, read: impl Fn(T)) {
    let seconds = std::env::var("VESTIBULE_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut runner = TestRunner::new(Config::with_cases(256));
    loop {
        runner
            .run(&inputs, |input| {
                read(input);
                Ok(())
            })
            .unwrap();
        if Instant::now() >= until {
            return;
        }
    }
}

/// Any bytes, and something valid with a few bytes changed.
fn bytes(valid: &[String]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let valid = prop::sample::select(valid.to_vec());
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let changed = (valid, changes).prop_map(|(valid, changes)| {
        let mut bytes = valid.into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![vec(any::<u8>(), 0..600), changed]
}

fn text(valid: &[String]) -> impl Strategy<Value = String> + use<> {
    bytes(valid).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A redirect URI: a registered one, one with something put in, or the tricks by which a host is hidden.
fn presented() -> impl Strategy<Value = String> {
    let registered = || prop::sample::select(REGISTERED.to_vec());
    let put_in = "[:@/\\\\?#%0-9a-z.\\t\\n \u{a0}\u{3002}\u{ff0f}]{0,12}";
    let changed = (registered(), any::<prop::sample::Index>(), put_in).prop_map(
        |(registered, at, put_in)| {
            let at = at.index(registered.len() + 1);
            format!("{}{put_in}{}", &registered[..at], &registered[at..])
        },
    );
    let tricks = "(https?:|HTTPS:|com\\.example\\.app:|javascript:|data:)?[/\\\\]{0,4}(app\\.example|127\\.0\\.0\\.1|localhost|evil\\.example|[@:.%0-9a-z]{0,9}){0,3}(/cb|/callback|/)?[?#@:\\\\a-z]{0,6}";
    prop_oneof![registered().prop_map(str::to_owned), changed, tricks]
}

/// An authorization request, nearly right: parameters wrong, missing, twice, and more of them.
fn query() -> impl Strategy<Value = String> {
    let client_id = prop::sample::select(vec!["web", "spa", "query", "fragment", "default", "x"]);
    let any_of = |values: &[&'static str]| prop::sample::select(values.to_vec());
    let more = vec(
        (
            any_of(&[
                "client_id",
                "redirect_uri",
                "state",
                "prompt",
                "provider",
                "request",
                "response_mode",
                "scope",
                "x",
            ]),
            prop_oneof![
                any_of(&[
                    "none",
                    "login",
                    "query",
                    "form_post",
                    "https://evil.example/"
                ])
                .prop_map(str::to_owned),
                any::<String>(),
            ],
        ),
        0..3,
    );
    let parts = (
        client_id,
        presented(),
        any_of(&["code", "code", "token", ""]),
        any_of(&[CHALLENGE, CHALLENGE, "short"]),
        any_of(&["S256", "S256", "plain"]),
        prop_oneof![Just(String::new()), any::<String>(), "[&=?#/:@%a-z]{0,30}"],
        more,
    );
    parts.prop_map(
        |(client_id, uri, response_type, challenge, method, state, more)| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query
                .append_pair("client_id", client_id)
                .append_pair("redirect_uri", &uri)
                .append_pair("response_type", response_type)
                .append_pair("code_challenge", challenge)
                .append_pair("code_challenge_method", method)
                .append_pair("state", &state);
            query.extend_pairs(more);
            query.finish()
        },
    )
}

/// What a browser goes to, as it reads it: scheme, host, and port unless it may be any.
fn place(url: &Url) -> (String, Option<String>, Option<u16>, String) {
    let is_native = url.host_str() == Some("127.0.0.1");
    (
        url.scheme().to_owned(),
        url.host_str().map(str::to_owned),
        url.port().filter(|_| !is_native),
        url.path().to_owned(),
    )
}

/// Whatever leads away leads to a place that is registered, by nobody's name, and keeps what stands in its query.
fn is_registered(location: &str) {
    let url = Url::parse(location).unwrap();
    assert!(
        url.username().is_empty() && url.password().is_none(),
        "{location:?}"
    );
    assert!(!location.chars().any(char::is_control), "{location:?}");
    let registered = REGISTERED.map(|uri| Url::parse(uri).unwrap());
    let found = registered.iter().find(|known| place(known) == place(&url));
    let known = found.unwrap_or_else(|| panic!("{location:?} is registered nowhere"));
    // The browser's base does not change what an absolute URL means.
    let elsewhere = Url::parse("https://other.example/x").unwrap();
    assert_eq!(elsewhere.join(location).unwrap(), url);
    assert!(
        url.query()
            .unwrap_or_default()
            .starts_with(known.query().unwrap_or_default())
    );
}

#[test]
fn whatever_the_query_a_redirect_of_the_authorization_endpoint_goes_to_a_registered_redirect_uri() {
    let front_ends = FrontEnds::with(&REGISTERED);
    let good = format!(
        "client_id=web&redirect_uri=https%3A%2F%2Fapp.example%2Fcb%3Fkeep%3D1&response_type=code&state=x&code_challenge={CHALLENGE}&code_challenge_method=S256"
    );
    assert!(front_ends.authorization_redirect(&good).is_some());
    let inputs = prop_oneof![3 => query(), 1 => text(&[good])];
    let gone = std::cell::Cell::new(0);
    total(inputs, |query| {
        if let Some(location) = front_ends.authorization_redirect(&query) {
            gone.set(gone.get() + 1);
            is_registered(&location);
        }
    });
    assert!(gone.get() > 10, "only {} went anywhere", gone.get());
}

#[test]
fn whatever_redirect_uri_is_presented_what_is_answered_is_registered() {
    let front_ends = FrontEnds::with(&REGISTERED);
    total(presented(), |presented| {
        for uri in front_ends.matched(&presented) {
            assert_eq!(uri, presented);
            is_registered(&uri);
        }
    });
}

#[test]
fn what_is_registered_is_what_a_browser_goes_to() {
    total(presented(), |text| {
        let Some((kept, origin)) = parsers::redirect_uri(&text) else {
            return;
        };
        assert_eq!(kept, text);
        let url = Url::parse(&text).unwrap();
        assert!(url.as_str() == text || url.as_str() == format!("{text}/"));
        assert!(url.fragment().is_none() && url.username().is_empty());
        match url.scheme() {
            "https" | "http" => assert_eq!(origin, Some(url.origin().ascii_serialization())),
            own => assert!(own.contains('.') && origin.is_none(), "{text:?}"),
        }
    });
}

#[test]
fn the_reader_of_token_forms_answers_whatever_the_bytes() {
    let front_ends = FrontEnds::with(&REGISTERED);
    let forms = [
        format!(
            "grant_type=authorization_code&code={CHALLENGE}&redirect_uri=x&code_verifier={CHALLENGE}&client_id=spa"
        ),
        format!(
            "grant_type=refresh_token&refresh_token=x&client_id=web&client_secret={CLIENT_SECRET}"
        ),
        "token=x&token_type_hint=refresh_token&client_id=spa".to_owned(),
    ];
    total(bytes(&forms), |body| {
        let client = front_ends.client(None, &body);
        // Nobody is the confidential client without its secret.
        if client.as_deref() == Some("web") {
            let sent = form_urlencoded::parse(&body)
                .any(|(name, value)| name == "client_secret" && value == CLIENT_SECRET);
            assert!(sent, "{:?}", String::from_utf8_lossy(&body));
        }
    });
}

#[test]
fn the_reader_of_client_headers_answers_whatever_the_text_and_takes_no_other_secret() {
    let front_ends = FrontEnds::with(&REGISTERED);
    // base64 of web: and the secret.
    let good = "Basic d2ViOmEtc2VjcmV0LW9mLXRoZS1mcm9udC1lbmQtMDEyMzQ1Njc4OQ==".to_owned();
    assert_eq!(front_ends.client(Some(&good), b"").as_deref(), Some("web"));
    let schemes = "(Basic|basic|Bearer| ){1,2} ?[A-Za-z0-9+/=]{0,40}";
    total(
        prop_oneof![text(std::slice::from_ref(&good)), schemes],
        |header| {
            let client = front_ends.client(Some(&header), b"");
            if client.as_deref() == Some("web") {
                let (scheme, encoded) = header.split_once(' ').unwrap();
                assert!(scheme.eq_ignore_ascii_case("basic"), "{header:?}");
                assert_eq!(encoded.trim(), &good["Basic ".len()..]);
            }
        },
    );
}

#[test]
fn the_reader_of_refresh_tokens_answers_whatever_the_text_and_takes_no_other() {
    let good = parsers::good_refresh_token();
    assert!(parsers::is_refresh_token(&good));
    total(text(std::slice::from_ref(&good)), |text| {
        assert_eq!(parsers::is_refresh_token(&text), text == good, "{text:?}");
    });
}

#[test]
fn whatever_target_is_asked_for_the_browser_stays_on_our_origin() {
    let origin = Url::parse("https://app.example/door/").unwrap();
    let tricks = "(/|//|/\\\\|/\\./|/\\.\\.//|/a/\\.\\.//|/%2f|https:|https://|javascript:){1,3}(evil\\.example|app\\.example|[@:.%0-9a-z]{0,9})[/?#@\\\\a-z\\t\\n]{0,9}";
    let inputs = prop_oneof![
        tricks.prop_map(String::from),
        text(&["/account?x=1#y".to_owned()])
    ];
    total(inputs, |text| {
        let Some(target) = parsers::return_to(&text, &origin) else {
            return;
        };
        let ours = origin.origin();
        let location = format!("{}{target}", ours.ascii_serialization());
        let url = Url::parse(&location).unwrap();
        assert_eq!(url.origin(), ours, "{text:?}");
        assert!(url.username().is_empty(), "{text:?}");
        let bare = Url::parse("https://other.example/x").unwrap().join(&target);
        assert_eq!(bare.unwrap().host_str(), Some("other.example"), "{text:?}");
        // What was kept once is kept again.
        assert_eq!(parsers::return_to(&target, &origin), Some(target));
    });
}
