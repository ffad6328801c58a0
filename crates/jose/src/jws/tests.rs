use aws_lc_rs::hmac;
use serde_json::json;

use super::*;
use crate::test_keys::{jwk_with, key, set_of, token};

const PLAIN: &str = r#"{"alg":"ES256"}"#;

fn signed(header: &str) -> String {
    token(key(Algorithm::Es256), header, br#"{"sub":"1"}"#)
}

fn parse(text: &str) -> Result<Header, JwsError> {
    CompactJws::parse(text.as_bytes()).map(|token| token.header().clone())
}

/// What the set of our ES256 key says about a token.
fn verify(text: &str) -> Result<Object, JwsError> {
    set_of(&[key(Algorithm::Es256).public_jwk()])
        .verify(&CompactJws::parse(text.as_bytes())?, &Algorithm::ALL)
}

#[test]
fn an_honest_token_gives_its_header_and_its_claims() {
    let text = signed(r#"{"alg":"ES256","kid":"k","typ":"JWT","x":1}"#);
    let header = Header {
        alg: Algorithm::Es256,
        kid: Some("k".into()),
        typ: Some("JWT".into()),
    };
    assert_eq!(parse(&text), Ok(header));
    assert_eq!(verify(&signed(PLAIN)).unwrap().string("sub"), Ok(Some("1")));
}

// S31
#[test]
fn a_token_has_exactly_three_segments() {
    let good = signed(PLAIN);
    let (two, signature) = good.rsplit_once('.').unwrap();
    let one = two.split_once('.').unwrap().0;
    for bad in [
        String::new(),
        one.to_owned(),
        two.to_owned(),
        format!("{good}."),
        format!("{good}.{signature}"),
        // The five segments of JWE.
        format!("{good}.{signature}.{signature}"),
    ] {
        assert_eq!(parse(&bad), Err(JwsError::Format), "{bad}");
    }
}

// S31
#[test]
fn json_serialization_is_refused() {
    let good = signed(PLAIN);
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let general = json!({
        "payload": parts[1],
        "signatures": [{ "protected": parts[0], "signature": parts[2] }],
    });
    for bad in [flattened, general] {
        assert_eq!(parse(&bad.to_string()), Err(JwsError::Format), "{bad}");
    }
}

// S31
#[test]
fn each_segment_is_strict_base64url() {
    // Lengths that leave bits over in the last character of each segment.
    let good = token(
        key(Algorithm::Es256),
        r#"{"alg":"ES256" }"#,
        br#"{"sub":"12" }"#,
    );
    assert!(verify(&good).is_ok());
    for segment in 0..3 {
        let parts: Vec<&str> = good.split('.').collect();
        let own = parts[segment];
        assert_ne!(own.len() % 4, 0, "no bits are left over in {own}");
        for bad in [
            format!("{own}="),
            format!("{own}=="),
            format!("{own}\n"),
            format!("{own}\r\n"),
            format!(" {own}"),
            format!("{} {}", &own[..4], &own[4..]),
            format!("{}+{}", &own[..4], &own[5..]),
            format!("{}/{}", &own[..4], &own[5..]),
            format!("{}%{}", &own[..4], &own[5..]),
            format!("{}\0{}", &own[..4], &own[5..]),
            format!("{}\u{e9}{}", &own[..4], &own[5..]),
            not_canonical(own),
            "A".into(),
        ] {
            let mut parts = parts.clone();
            parts[segment] = &bad;
            assert_eq!(parse(&parts.join(".")), Err(JwsError::Format), "{bad:?}");
        }
    }
}

/// The same bytes with a bit set in the last character that stands for nothing.
fn not_canonical(segment: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = segment.split_at(segment.len() - 1);
    let index = ALPHABET
        .iter()
        .position(|byte| *byte == last.as_bytes()[0])
        .unwrap();
    format!("{rest}{}", char::from(ALPHABET[index + 1]))
}

// S31
#[test]
fn a_token_ends_at_sixteen_kibibytes() {
    let header = base64url::encode(PLAIN.as_bytes());
    let of_len = |len: usize| {
        let left = len - header.len() - 2;
        let payload = left / 4 * 4 - 4;
        format!(
            "{header}.{}.{}",
            "A".repeat(payload),
            "A".repeat(left - payload)
        )
    };
    // The lengths of a signature that base64url can have.
    let possible = |len: &usize| (len - header.len() - 2) % 4 != 1;
    for len in (16_381..=16_384).filter(possible) {
        let text = of_len(len);
        assert_eq!(text.len(), len);
        assert!(parse(&text).is_ok(), "{len}");
    }
    for len in (16_385..=16_388).chain([100_000]).filter(possible) {
        assert_eq!(parse(&of_len(len)), Err(JwsError::TooLarge), "{len}");
    }
}

// S31
#[test]
fn a_header_ends_at_two_kibibytes() {
    let of_len = |len: usize| {
        let frame = r#"{"alg":"ES256","x":""}"#.len();
        format!(r#"{{"alg":"ES256","x":"{}"}}"#, "a".repeat(len - frame))
    };
    assert!(parse(&signed(&of_len(2_048))).is_ok());
    for len in [2_049, 2_052, 8_000] {
        assert_eq!(
            parse(&signed(&of_len(len))),
            Err(JwsError::TooLarge),
            "{len}"
        );
    }
    // It is measured before it is decoded.
    let undecodable = |len: usize| format!("{}.e30.AA", "=".repeat(len));
    assert_eq!(parse(&undecodable(2_731)), Err(JwsError::Format));
    assert_eq!(parse(&undecodable(2_732)), Err(JwsError::TooLarge));
}

// S26
#[test]
fn a_header_is_one_object_with_each_member_once() {
    for bad in [
        "",
        "null",
        "[]",
        r#""ES256""#,
        r#"{"alg":"ES256""#,
        r#"{"alg":"ES256"}{}"#,
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","\u0061lg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
    ] {
        assert_eq!(parse(&signed(bad)), Err(JwsError::Json), "{bad}");
    }
}

// S32
#[test]
fn no_algorithm_but_an_asymmetric_one_that_we_know_is_accepted() {
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!("HS256"),
        json!("HS384"),
        json!("HS512"),
        json!("es256"),
        json!("ES256 "),
        json!("ES256K"),
        json!("RS1"),
        json!("RSA-OAEP"),
        json!("dir"),
        json!(null),
        json!(256),
        json!(true),
        json!(["ES256"]),
        json!({ "ES256": true }),
    ] {
        let header = json!({ "alg": alg }).to_string();
        assert_eq!(parse(&signed(&header)), Err(JwsError::Algorithm), "{alg}");
    }
    assert_eq!(parse(&signed("{}")), Err(JwsError::Algorithm));
    // An unsecured JWS (RFC 7515 appendix A.5).
    assert_eq!(parse("eyJhbGciOiJub25lIn0.e30."), Err(JwsError::Algorithm));
}

// S34: CVE-2022-29217
#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let jwk = key(Algorithm::Rs256).public_jwk();
    let text = jwk.to_string();
    let modulus = base64url::decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
    for secret in [text.as_bytes(), modulus.as_slice()] {
        let input = format!(
            "{}.{}",
            base64url::encode(
                json!({ "alg": "HS256", "kid": jwk["kid"] })
                    .to_string()
                    .as_bytes()
            ),
            base64url::encode(br#"{"sub":"1"}"#)
        );
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        let forged = format!("{input}.{}", base64url::encode(tag.as_ref()));
        assert_eq!(parse(&forged), Err(JwsError::Algorithm));
    }
}

// S37: CVE-2025-59420
#[test]
fn extensions_are_refused() {
    for extension in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":"exp""#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
    ] {
        let header = format!(r#"{{"alg":"ES256",{extension}}}"#);
        assert_eq!(
            parse(&signed(&header)),
            Err(JwsError::Critical),
            "{extension}"
        );
    }
}

// S31, S33
#[test]
fn a_header_member_of_a_wrong_type_is_an_error_and_never_absent() {
    for name in ["kid", "typ"] {
        for value in [json!(null), json!(1), json!(true), json!(["a"]), json!({})] {
            let header = json!({ "alg": "ES256", name: value }).to_string();
            assert_eq!(
                parse(&signed(&header)),
                Err(JwsError::HeaderType),
                "{header}"
            );
        }
    }
}

// S33: CVE-2026-27962
#[test]
fn a_key_that_the_token_brings_along_is_never_used() {
    let attacker = crate::SigningKey::generate(Algorithm::Es256).unwrap();
    let ours = key(Algorithm::Es256);
    let own = attacker.public_jwk();
    for (kid, expected) in [
        (Some(ours.kid()), JwsError::Signature),
        (Some(attacker.kid()), JwsError::KeyUnknown),
        (None, JwsError::Signature),
    ] {
        let header = json!({
            "alg": "ES256",
            "jwk": own,
            "jku": "https://attacker.example/keys",
            "x5u": "https://attacker.example/chain",
            "x5c": ["AAAA"],
        });
        let header = jwk_with(&header, &json!({ "kid": kid }));
        let forged = token(&attacker, &header.to_string(), br#"{"sub":"1"}"#);
        assert_eq!(verify(&forged), Err(expected), "{kid:?}");
    }
}

// S46
#[test]
fn a_token_with_any_character_changed_is_refused() {
    let good = signed(r#"{"alg":"ES256","typ":"JWT"}"#);
    assert!(verify(&good).is_ok());
    for at in 0..good.len() {
        for other in ["A", "_", "."] {
            if &good[at..=at] != other {
                let bad = format!("{}{other}{}", &good[..at], &good[at + 1..]);
                assert!(verify(&bad).is_err(), "{bad}");
            }
        }
    }
}

// S46
#[test]
fn the_payload_of_another_token_does_not_fit_a_signature() {
    let (one, other) = (
        signed(PLAIN),
        token(key(Algorithm::Es256), PLAIN, br#"{"sub":"2"}"#),
    );
    let (input, _) = one.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    assert_eq!(
        verify(&format!("{input}.{signature}")),
        Err(JwsError::Signature)
    );
}

#[test]
fn a_signature_of_another_length_is_refused() {
    let good = signed(PLAIN);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let signature = base64url::decode(signature.as_bytes()).unwrap();
    // DER, as other libraries write ECDSA signatures: JWS has r and s alone (RFC 7518 section 3.4).
    let der = |integer: &[u8]| [&[2, 33, 0][..], integer].concat();
    let sequence = [der(&signature[..32]), der(&signature[32..])].concat();
    for bad in [
        Vec::new(),
        signature[..63].to_vec(),
        [&signature[..], &[0]].concat(),
        vec![0; 64],
        [&[0x30, 70][..], &sequence].concat(),
    ] {
        let text = format!("{input}.{}", base64url::encode(&bad));
        assert_eq!(verify(&text), Err(JwsError::Signature), "{bad:?}");
    }
}

// S26, S46
#[test]
fn a_payload_is_one_object_and_is_read_only_after_the_signature_holds() {
    for payload in [
        &b""[..],
        b"null",
        b"[]",
        br#""x""#,
        br#"{"sub":"1","sub":"2"}"#,
        br#"{"a":{"b":1,"b":1}}"#,
        b"{\"a\":\"\xff\"}",
        b"{} {}",
    ] {
        let good = token(key(Algorithm::Es256), PLAIN, payload);
        assert_eq!(verify(&good), Err(JwsError::Json), "{payload:?}");
        let (input, _) = good.rsplit_once('.').unwrap();
        let unsigned = format!("{input}.{}", base64url::encode(&[1; 64]));
        assert_eq!(verify(&unsigned), Err(JwsError::Signature), "{payload:?}");
    }
}

#[test]
fn an_unverified_token_does_not_print_its_payload() {
    let text = token(key(Algorithm::Es256), PLAIN, br#"{"email":"canary"}"#);
    let debug = format!("{:?}", CompactJws::parse(text.as_bytes()).unwrap());
    assert!(debug.contains("Es256") && !debug.contains("canary"));
    let segment = text.split('.').nth(1).unwrap();
    assert!(!debug.contains(segment) && !debug.contains("99, 97, 110"));
}

/// Every error has its own text.
#[test]
fn errors_differ_in_words() {
    let texts: Vec<String> = [
        JwsError::TooLarge,
        JwsError::Format,
        JwsError::Json,
        JwsError::Algorithm,
        JwsError::Critical,
        JwsError::HeaderType,
        JwsError::KeyUnknown,
        JwsError::KeyAmbiguous,
        JwsError::Signature,
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    for (at, text) in texts.iter().enumerate() {
        assert!(!texts[at + 1..].contains(text), "{text}");
    }
}
