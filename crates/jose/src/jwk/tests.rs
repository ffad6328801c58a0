use serde_json::json;

use super::*;
use crate::SigningKey;
use crate::test_keys::{jwk_with, key, set_of, token};

fn jwk(algorithm: Algorithm) -> Value {
    key(algorithm).public_jwk()
}

/// The public JWK with members changed.
fn changed(algorithm: Algorithm, changes: Value) -> Value {
    jwk_with(&jwk(algorithm), &changes)
}

fn usable(jwk: &Value) -> bool {
    !set_of(std::slice::from_ref(jwk)).is_empty()
}

/// A token of the algorithm with this `kid`.
fn signed(algorithm: Algorithm, kid: Option<&str>) -> CompactJws {
    let header = jwk_with(&json!({ "alg": algorithm.name() }), &json!({ "kid": kid }));
    let text = token(key(algorithm), &header.to_string(), br#"{"sub":"1"}"#);
    CompactJws::parse(text.as_bytes()).unwrap()
}

fn verify(keys: &[Value], token: &CompactJws) -> Result<(), JwsError> {
    set_of(keys).verify(token, &Algorithm::ALL).map(|_| ())
}

fn number(bytes: &[u8]) -> Value {
    json!(base64url::encode(bytes))
}

// S51
#[test]
fn a_set_is_an_object_with_an_array_of_keys() {
    for bad in [
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":"a"}"#,
    ] {
        assert_eq!(
            JwkSet::parse(bad.as_bytes()).err(),
            Some(JwksError::NoKeys),
            "{bad}"
        );
    }
    for bad in [
        "",
        "[]",
        "null",
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[]"#,
    ] {
        assert!(
            matches!(JwkSet::parse(bad.as_bytes()), Err(JwksError::Json(_))),
            "{bad}"
        );
    }
    let empty = JwkSet::parse(br#"{"keys":[]}"#).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.len(), 0);
    let one = set_of(&[jwk(Algorithm::Es256)]);
    assert!(!one.is_empty());
    assert_eq!(one.len(), 1);
}

// S24
#[test]
fn a_set_ends_at_512_kibibytes() {
    let of_len = |len: usize| {
        let frame = r#"{"keys":[],"x":""}"#.len();
        format!(r#"{{"keys":[],"x":"{}"}}"#, "a".repeat(len - frame))
    };
    assert!(JwkSet::parse(of_len(512 * 1024).as_bytes()).is_ok());
    assert!(matches!(
        JwkSet::parse(of_len(512 * 1024 + 1).as_bytes()),
        Err(JwksError::Json(json::JsonError::TooLarge { .. }))
    ));
}

// S51
#[test]
fn the_sixty_fifth_key_is_not_read() {
    let strange = json!({ "kty": "strange" });
    let at = |place: usize| {
        let mut keys = vec![strange.clone(); place];
        keys.push(jwk(Algorithm::Es256));
        set_of(&keys).len()
    };
    assert_eq!(at(63), 1);
    assert_eq!(at(64), 0);
}

// S51, S36
#[test]
fn a_bad_key_is_left_out_and_does_not_poison_its_set() {
    let good = jwk(Algorithm::Es256);
    let bad = [
        json!(null),
        json!(1),
        json!([]),
        json!("key"),
        json!({}),
        json!({ "kty": 1 }),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "oct" }),
        json!({ "kty": "strange" }),
        json!({ "kty": "rsa" }),
        json!({ "kty": "RSA" }),
        json!({ "kty": "RSA", "n": 1, "e": "AQAB" }),
        json!({ "kty": "RSA", "n": "", "e": "" }),
        json!({ "kty": "EC", "crv": "P-256" }),
        json!({ "kty": "OKP", "crv": "Ed25519" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "" }),
    ];
    for key in &bad {
        assert!(!usable(key), "{key}");
    }
    let mut keys = bad.to_vec();
    keys.push(good);
    keys.extend(bad);
    assert_eq!(
        verify(&keys, &signed(Algorithm::Es256, None)),
        Ok(()),
        "the good one is found among them"
    );
}

// S36: RFC 7518 section 3.3
#[test]
fn an_rsa_modulus_has_2048_to_8192_bits_and_is_odd() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] = u8::try_from((1_u32 << ((bits - 1) % 8 + 1)) - 1).unwrap();
        bytes
    };
    let with = |n: &[u8]| changed(Algorithm::Rs256, json!({ "n": number(n) }));
    for bits in [2_048, 2_049, 3_072, 4_096, 8_192] {
        assert!(usable(&with(&modulus(bits))), "{bits}");
    }
    for bits in [8, 512, 1_024, 2_040, 2_047, 8_193, 16_384] {
        assert!(!usable(&with(&modulus(bits))), "{bits}");
    }
    // Zeros in front do not lengthen a key, nor do they spoil one.
    let padded = |bits: usize| [&[0; 200][..], &modulus(bits)].concat();
    assert!(!usable(&with(&padded(1_024))));
    assert!(usable(&with(&padded(2_048))));
    let mut even = modulus(2_048);
    even[255] = 0xfe;
    assert!(!usable(&with(&even)));
    assert!(!usable(&with(&[0; 256])));
}

// S36
#[test]
fn an_rsa_exponent_is_odd_at_least_three_and_short() {
    let with = |e: &[u8]| changed(Algorithm::Rs256, json!({ "e": number(e) }));
    for good in [
        &[3][..],
        &[1, 0, 1],
        &[0, 1, 0, 1],
        &[0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(usable(&with(good)), "{good:?}");
    }
    for bad in [
        &[][..],
        &[0],
        &[1],
        &[0, 1],
        &[2],
        &[1, 0, 0],
        &[1, 0, 0, 0, 1],
    ] {
        assert!(!usable(&with(bad)), "{bad:?}");
    }
}

// S36
#[test]
fn a_point_lies_on_its_curve_and_has_the_full_length() {
    for (algorithm, len) in [
        (Algorithm::Es256, 32),
        (Algorithm::Es384, 48),
        (Algorithm::Es512, 66),
    ] {
        let own = jwk(algorithm);
        assert!(usable(&own));
        let bytes = |name: &str| base64url::decode(own[name].as_str().unwrap().as_bytes()).unwrap();
        for name in ["x", "y"] {
            let right = bytes(name);
            assert_eq!(right.len(), len);
            let mut off_curve = right.clone();
            off_curve[len - 1] ^= 1;
            for bad in [
                off_curve,
                vec![0; len],
                vec![0xff; len],
                right[1..].to_vec(),
                [&[0][..], &right].concat(),
            ] {
                let key = changed(algorithm, json!({ name: number(&bad) }));
                assert!(!usable(&key), "{name}: {bad:?}");
            }
        }
        // The point at infinity has no coordinates; zeros stand for no point.
        let zeros = number(&vec![0; len]);
        assert!(!usable(&changed(
            algorithm,
            json!({ "x": zeros, "y": zeros })
        )));
    }
}

// S34
#[test]
fn a_curve_that_we_do_not_know_is_left_out() {
    for crv in ["secp256k1", "P-192", "p-256", "P-384", "Ed25519", ""] {
        let key = changed(Algorithm::Es256, json!({ "crv": crv, "alg": null }));
        assert!(!usable(&key), "{crv}");
    }
    for crv in ["X25519", "Ed448", "ed25519", "P-256"] {
        let key = changed(Algorithm::EdDsa, json!({ "crv": crv, "alg": null }));
        assert!(!usable(&key), "{crv}");
    }
}

#[test]
fn an_ed25519_key_has_32_bytes() {
    for len in [0, 31, 33, 64] {
        let key = changed(Algorithm::EdDsa, json!({ "x": number(&vec![1; len]) }));
        assert!(!usable(&key), "{len}");
    }
}

// S33, S36
#[test]
fn a_key_that_holds_private_or_shared_secrets_is_left_out() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(
            !usable(&changed(Algorithm::Rs256, json!({ name: "AQAB" }))),
            "{name}"
        );
    }
}

// S33
#[test]
fn a_key_is_for_signatures() {
    for (name, good) in [
        ("use", json!("sig")),
        ("use", json!(null)),
        ("key_ops", json!(["verify"])),
        ("key_ops", json!(["sign", "verify"])),
        ("key_ops", json!(null)),
    ] {
        assert!(
            usable(&changed(Algorithm::Es256, json!({ name: good }))),
            "{name} {good}"
        );
    }
    for (name, bad) in [
        ("use", json!("enc")),
        ("use", json!("")),
        ("use", json!("SIG")),
        ("use", json!(["sig"])),
        ("use", json!(1)),
        ("key_ops", json!([])),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!("verify")),
        ("key_ops", json!({ "verify": true })),
        ("key_ops", json!([1])),
    ] {
        assert!(
            !usable(&changed(Algorithm::Es256, json!({ name: bad }))),
            "{name} {bad}"
        );
    }
}

// S33
#[test]
fn a_member_of_a_wrong_type_spoils_its_key() {
    for name in ["kid", "alg", "use", "crv", "x", "y"] {
        for bad in [json!(1), json!(true), json!([]), json!({})] {
            assert!(
                !usable(&changed(Algorithm::Es256, json!({ name: bad }))),
                "{name}: {bad}"
            );
        }
    }
    // `null` is a wrong type too.
    let mut key = jwk(Algorithm::Es256);
    key["alg"] = json!(null);
    assert!(!usable(&key));
}

// S34
#[test]
fn a_key_whose_alg_is_of_another_kind_is_left_out() {
    for own in Algorithm::ALL {
        for other in Algorithm::ALL {
            let key = changed(own, json!({ "alg": other.name() }));
            assert_eq!(
                usable(&key),
                own.key_kind() == other.key_kind(),
                "{own:?} {other:?}"
            );
        }
        for unknown in ["HS256", "none", "RSA-OAEP", "ECDH-ES", "", "rs256"] {
            assert!(
                !usable(&changed(own, json!({ "alg": unknown }))),
                "{own:?} {unknown}"
            );
        }
    }
}

// S33
#[test]
fn a_key_that_names_its_alg_serves_no_other() {
    let token = signed(Algorithm::Rs256, None);
    assert_eq!(verify(&[jwk(Algorithm::Rs256)], &token), Ok(()));
    assert_eq!(
        verify(&[changed(Algorithm::Rs256, json!({ "alg": null }))], &token),
        Ok(())
    );
    let other = jwk(Algorithm::Ps256);
    assert_eq!(
        verify(std::slice::from_ref(&other), &token),
        Err(JwsError::KeyUnknown)
    );
    let set = set_of(&[other]);
    assert_eq!(token.verify(&set.keys[0]), Err(JwsError::Algorithm));
}

// S34: CVE-2024-37568
#[test]
fn an_algorithm_and_a_key_of_another_kind_never_meet() {
    for of_token in Algorithm::ALL {
        let token = signed(of_token, None);
        for of_key in Algorithm::ALL {
            let plain = changed(of_key, json!({ "alg": null }));
            let set = set_of(std::slice::from_ref(&plain));
            if of_token.key_kind() == of_key.key_kind() {
                assert_eq!(verify(&[plain], &token), Ok(()), "{of_token:?} {of_key:?}");
            } else {
                assert_eq!(verify(&[plain], &token), Err(JwsError::KeyUnknown));
                assert_eq!(token.verify(&set.keys[0]), Err(JwsError::Algorithm));
                assert!(!set.has_key_for(token.header()));
            }
        }
    }
}

// S34
#[test]
fn a_signature_of_one_rsa_algorithm_is_none_of_another() {
    let plain = changed(Algorithm::Rs256, json!({ "alg": null }));
    let rsa = Algorithm::ALL
        .into_iter()
        .filter(|algorithm| algorithm.key_kind() == KeyKind::Rsa);
    for made_by in rsa.clone() {
        for claimed in rsa.clone() {
            let header = json!({ "alg": claimed.name() }).to_string();
            let text = token(key(made_by), &header, b"{}");
            let token = CompactJws::parse(text.as_bytes()).unwrap();
            let expected = if made_by == claimed {
                Ok(())
            } else {
                Err(JwsError::Signature)
            };
            assert_eq!(
                verify(std::slice::from_ref(&plain), &token),
                expected,
                "{made_by:?} {claimed:?}"
            );
        }
    }
}

// S32
#[test]
fn the_caller_says_which_algorithms_may_be() {
    let token = signed(Algorithm::Es256, None);
    let set = set_of(&[jwk(Algorithm::Es256)]);
    assert!(set.verify(&token, &[Algorithm::Es256]).is_ok());
    for allowed in [&[][..], &[Algorithm::Rs256, Algorithm::EdDsa]] {
        assert_eq!(set.verify(&token, allowed), Err(JwsError::Algorithm));
    }
}

// S33
#[test]
fn a_token_is_verified_by_the_key_that_it_names() {
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let named = |kid: &str| changed(Algorithm::Es256, json!({ "kid": kid }));
    let set = [named("ours"), other.public_jwk()];
    assert_eq!(
        verify(&set, &signed(Algorithm::Es256, Some("ours"))),
        Ok(())
    );
    for unknown in ["OURS", "our", "ours ", ""] {
        let token = signed(Algorithm::Es256, Some(unknown));
        assert_eq!(verify(&set, &token), Err(JwsError::KeyUnknown), "{unknown}");
        assert!(!set_of(&set).has_key_for(token.header()));
    }
    assert_eq!(
        verify(&set, &signed(Algorithm::Es256, Some(other.kid()))),
        Err(JwsError::Signature)
    );
    // A key without a name is not the one that a token names.
    let nameless = changed(Algorithm::Es256, json!({ "kid": null }));
    assert_eq!(
        verify(&[nameless], &signed(Algorithm::Es256, Some("ours"))),
        Err(JwsError::KeyUnknown)
    );
}

// S35
#[test]
fn a_token_that_names_no_key_needs_exactly_one_that_fits() {
    let token = signed(Algorithm::Es256, None);
    let other = SigningKey::generate(Algorithm::Es256).unwrap().public_jwk();
    let own = jwk(Algorithm::Es256);
    assert_eq!(verify(std::slice::from_ref(&own), &token), Ok(()));
    assert_eq!(
        verify(
            &[jwk(Algorithm::Rs256), own.clone(), jwk(Algorithm::Es384)],
            &token
        ),
        Ok(())
    );
    assert_eq!(
        verify(&[own.clone(), other.clone()], &token),
        Err(JwsError::KeyAmbiguous)
    );
    assert_eq!(verify(&[other, own], &token), Err(JwsError::KeyAmbiguous));
    assert_eq!(
        verify(&[jwk(Algorithm::Rs256)], &token),
        Err(JwsError::KeyUnknown)
    );
    assert_eq!(verify(&[], &token), Err(JwsError::KeyUnknown));
}

// S36
#[test]
fn two_keys_of_one_name_and_kind_are_both_left_out() {
    let token = signed(Algorithm::Es256, Some("same"));
    let named = |jwk: &Value| jwk_with(jwk, &json!({ "kid": "same" }));
    let own = named(&jwk(Algorithm::Es256));
    let other = named(&SigningKey::generate(Algorithm::Es256).unwrap().public_jwk());
    let rsa = named(&jwk(Algorithm::Rs256));
    assert_eq!(
        verify(&[own.clone(), other.clone()], &token),
        Err(JwsError::KeyUnknown)
    );
    assert!(set_of(&[own.clone(), other.clone(), own.clone()]).is_empty());
    assert_eq!(set_of(&[own.clone(), rsa.clone(), other]).len(), 1);
    // Of different kinds they are told apart by `alg`.
    assert_eq!(verify(&[rsa, own.clone()], &token), Ok(()));
    // Two without a name are two.
    let nameless = |jwk: &Value| jwk_with(jwk, &json!({ "kid": null }));
    assert_eq!(
        set_of(&[nameless(&own), nameless(&jwk(Algorithm::Es256))]).len(),
        2
    );
}

#[test]
fn a_key_prints_its_name_and_kind() {
    let set = set_of(&[changed(Algorithm::Es256, json!({ "kid": "k7" }))]);
    let debug = format!("{:?}", set.keys[0]);
    assert!(debug.contains("k7") && debug.contains("P256"), "{debug}");
}

// RFC 7638 section 3
#[test]
fn a_thumbprint_is_of_the_required_members_alone() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es384, Algorithm::EdDsa] {
        let own = jwk(algorithm);
        let required: &[&str] = match algorithm.key_kind() {
            KeyKind::Rsa => &["e", "n", "kty"],
            KeyKind::Ed25519 => &["crv", "x", "kty"],
            _ => &["crv", "x", "y", "kty"],
        };
        let thumb = thumbprint(&own);
        assert_eq!(thumb.as_ref().map(String::len), Some(43));
        assert_eq!(
            thumbprint(&changed(
                algorithm,
                json!({ "kid": "other", "alg": null, "use": null, "zzz": 1 })
            )),
            thumb
        );
        for name in required {
            assert_eq!(
                thumbprint(&changed(algorithm, json!({ *name: null }))),
                None
            );
            assert_eq!(thumbprint(&changed(algorithm, json!({ *name: 1 }))), None);
            if *name != "kty" {
                assert_ne!(
                    thumbprint(&changed(algorithm, json!({ *name: "AA" }))),
                    thumb
                );
            }
        }
    }
    for unknown in [json!({ "kty": "oct", "k": "AA" }), json!([]), json!(null)] {
        assert_eq!(thumbprint(&unknown), None);
    }
}
