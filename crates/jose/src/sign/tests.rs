use super::*;
use crate::json::parse_object;
use crate::test_keys::{key, set_of};
use crate::{CompactJws, JwsError};

// S32
#[test]
fn what_a_key_signs_its_public_half_verifies_and_no_other() {
    for algorithm in Algorithm::ALL {
        let own = key(algorithm);
        let text = own.sign("JWT", &json!({ "sub": "1" })).unwrap();
        let token = CompactJws::parse(text.as_bytes()).unwrap();
        let header = token.header();
        assert_eq!(header.alg, algorithm);
        assert_eq!(header.kid.as_deref(), Some(own.kid()));
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        let set = set_of(&[own.public_jwk()]);
        assert!(set.has_key_for(header));
        let claims = set.verify(&token, &[algorithm]).unwrap();
        assert_eq!(claims.string("sub"), Ok(Some("1")), "{algorithm:?}");

        let mut other = SigningKey::generate(algorithm).unwrap().public_jwk();
        other["kid"] = json!(own.kid());
        assert_eq!(
            set_of(&[other]).verify(&token, &[algorithm]),
            Err(JwsError::Signature),
            "{algorithm:?}"
        );
    }
}

#[test]
fn the_header_holds_alg_kid_and_typ_and_nothing_else() {
    let own = key(Algorithm::Es256);
    let text = own.sign("at+jwt", &json!({})).unwrap();
    let header = base64url::decode(text.split('.').next().unwrap().as_bytes()).unwrap();
    let header = parse_object(&header, 1_000).unwrap();
    let mut names: Vec<&str> = header.names().collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "kid", "typ"]);
    assert_eq!(header.string("typ"), Ok(Some("at+jwt")));
}

#[test]
fn a_key_comes_back_from_its_pkcs8() {
    for algorithm in Algorithm::ALL {
        let own = key(algorithm);
        let again = SigningKey::from_pkcs8(algorithm, &own.pkcs8()).unwrap();
        assert_eq!(again.kid(), own.kid());
        assert_eq!(again.public_jwk(), own.public_jwk());
        let text = again.sign("JWT", &json!({})).unwrap();
        let token = CompactJws::parse(text.as_bytes()).unwrap();
        assert!(
            set_of(&[own.public_jwk()])
                .verify(&token, &[algorithm])
                .is_ok()
        );
    }
}

// S34
#[test]
fn bytes_that_are_no_key_of_the_algorithm_are_refused() {
    for algorithm in Algorithm::ALL {
        for bad in [&b""[..], b"key", &[0x30; 64]] {
            assert_eq!(
                SigningKey::from_pkcs8(algorithm, bad).err(),
                Some(SigningError::Key)
            );
        }
        for other in Algorithm::ALL {
            let fits = SigningKey::from_pkcs8(algorithm, &key(other).pkcs8()).is_ok();
            assert_eq!(
                fits,
                algorithm.key_kind() == other.key_kind(),
                "{algorithm:?} {other:?}"
            );
        }
    }
}

// S71
#[test]
fn the_public_jwk_is_public_and_names_its_use() {
    for algorithm in Algorithm::ALL {
        let own = key(algorithm);
        let jwk = own.public_jwk();
        let expected: &[&str] = match algorithm.key_kind() {
            KeyKind::Rsa => &["alg", "e", "kid", "kty", "n", "use"],
            KeyKind::Ed25519 => &["alg", "crv", "kid", "kty", "use", "x"],
            _ => &["alg", "crv", "kid", "kty", "use", "x", "y"],
        };
        let mut names: Vec<&str> = jwk
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(jwk["alg"], algorithm.name());
        assert_eq!(jwk["use"], "sig");
        assert_eq!(jwk["kid"], own.kid());
        assert_eq!(thumbprint(&jwk).as_deref(), Some(own.kid()));
    }
}

#[test]
fn every_key_that_is_made_is_new() {
    let [one, other] = [(); 2].map(|()| SigningKey::generate(Algorithm::Es256).unwrap());
    assert_ne!(one.kid(), other.kid());
}

// S82
#[test]
fn a_signing_key_prints_its_name_alone() {
    let own = key(Algorithm::EdDsa);
    let debug = format!("{own:?}");
    assert!(debug.contains(own.kid()) && debug.len() < 120, "{debug}");
}
