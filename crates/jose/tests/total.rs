//! Every parser answers, whatever the bytes (S96). `VESTIBULE_FUZZ_SECONDS` says for how long; without it, 256 cases each.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use vestibule_jose::{
    Algorithm, CompactJws, JwkSet, LegacyHs256Key, SigningKey, base64url, json as strict,
    thumbprint,
};

/// Any bytes, and something valid with a few bytes changed.
fn inputs(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changed = vec((any::<prop::sample::Index>(), any::<u8>()), 0..6).prop_map(move |changes| {
        let mut bytes = valid.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![vec(any::<u8>(), 0..600), changed]
}

/// Runs one parser: 256 cases, and on as long as it may.
fn total(valid: Vec<u8>, parse: impl Fn(&[u8])) {
    let seconds = std::env::var("VESTIBULE_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut runner = TestRunner::new(Config::with_cases(256));
    let inputs = inputs(valid);
    loop {
        runner
            .run(&inputs, |bytes| {
                parse(&bytes);
                Ok(())
            })
            .unwrap();
        if Instant::now() >= until {
            return;
        }
    }
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

#[test]
fn a_token_parser_answers_whatever_the_bytes() {
    let token = key().sign("JWT", &json!({ "sub": "1" })).unwrap();
    total(token.into_bytes(), |bytes| {
        let _ = CompactJws::parse(bytes);
    });
}

#[test]
fn a_key_set_parser_answers_whatever_the_bytes() {
    let set = json!({ "keys": [key().public_jwk(), SigningKey::generate(Algorithm::EdDsa).unwrap().public_jwk()] });
    total(set.to_string().into_bytes(), |bytes| {
        let _ = JwkSet::parse(bytes);
    });
}

#[test]
fn a_json_parser_answers_whatever_the_bytes() {
    let text = json!({ "a": [1, -2.5, true, null, { "b": "\u{1f600}" }] }).to_string();
    total(text.into_bytes(), |bytes| {
        let _ = strict::parse_object(bytes, 512);
    });
}

#[test]
fn a_base64url_parser_answers_whatever_the_bytes_and_what_it_takes_it_gives_back() {
    total(
        b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_vec(),
        |bytes| {
            if let Ok(decoded) = base64url::decode(bytes) {
                assert_eq!(base64url::encode(&decoded).as_bytes(), bytes);
            }
        },
    );
}

#[test]
fn the_reader_of_old_tokens_answers_whatever_the_bytes() {
    let key = LegacyHs256Key::new(&[7; 32]).unwrap();
    let token = key.sign(&json!({ "sub": "1" })).into_bytes();
    total(token.clone(), |bytes| {
        assert_eq!(key.verify(bytes).is_ok(), bytes == token.as_slice());
    });
}

#[test]
fn a_thumbprint_is_taken_of_whatever_is_json() {
    total(key().public_jwk().to_string().into_bytes(), |bytes| {
        if let Ok(value) = serde_json::from_slice(bytes) {
            let _ = thumbprint(&value);
        }
    });
}
