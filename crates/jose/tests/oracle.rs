//! Beside another implementation, `jsonwebtoken`: what one signs the other verifies, and ours accepts nothing that it refuses.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use proptest::prelude::*;
use serde_json::{Value, json};
use vestibule_jose::{Algorithm, CompactJws, JwkSet, SigningKey};

/// The algorithms that both know.
const BOTH: [(Algorithm, jsonwebtoken::Algorithm); 9] = [
    (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
    (Algorithm::Rs384, jsonwebtoken::Algorithm::RS384),
    (Algorithm::Rs512, jsonwebtoken::Algorithm::RS512),
    (Algorithm::Ps256, jsonwebtoken::Algorithm::PS256),
    (Algorithm::Ps384, jsonwebtoken::Algorithm::PS384),
    (Algorithm::Ps512, jsonwebtoken::Algorithm::PS512),
    (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
    (Algorithm::Es384, jsonwebtoken::Algorithm::ES384),
    (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
];

/// A public key as each of them holds it.
struct Both {
    ours: JwkSet,
    theirs: DecodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

impl Both {
    fn of(jwk: &Value, algorithm: jsonwebtoken::Algorithm) -> Self {
        let theirs: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        Self {
            ours: JwkSet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap(),
            theirs: DecodingKey::from_jwk(&theirs).unwrap(),
            algorithm,
        }
    }

    fn ours(&self, token: &str) -> Option<String> {
        let token = CompactJws::parse(token.as_bytes()).ok()?;
        let claims = self.ours.verify(&token, &Algorithm::ALL).ok()?;
        claims.string("sub").ok()?.map(str::to_owned)
    }

    fn theirs(&self, token: &str) -> Option<String> {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let data = jsonwebtoken::decode::<Value>(token, &self.theirs, &validation).ok()?;
        data.claims["sub"].as_str().map(str::to_owned)
    }
}

#[test]
fn what_we_sign_the_other_verifies_and_the_other_way_round() {
    for (ours, theirs) in BOTH {
        let key = SigningKey::generate(ours).unwrap();
        let both = Both::of(&key.public_jwk(), theirs);
        let token = key.sign("JWT", &json!({ "sub": "one" })).unwrap();
        assert_eq!(both.ours(&token).as_deref(), Some("one"), "{ours:?}");
        assert_eq!(both.theirs(&token).as_deref(), Some("one"), "{ours:?}");

        let pkcs8 = key.pkcs8();
        // For RSA the other wants the key without its PKCS#8 frame, and our keys have one.
        let encoding = match ours {
            Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_der(&pkcs8),
            Algorithm::EdDsa => EncodingKey::from_ed_der(&pkcs8),
            _ => EncodingKey::from_rsa_der(&unframed(&pkcs8)),
        };
        let mut header = Header::new(theirs);
        header.kid = Some(key.kid().to_owned());
        let token = jsonwebtoken::encode(&header, &json!({ "sub": "two" }), &encoding).unwrap();
        assert_eq!(both.theirs(&token).as_deref(), Some("two"), "{ours:?}");
        assert_eq!(both.ours(&token).as_deref(), Some("two"), "{ours:?}");
    }
}

/// The `RSAPrivateKey` inside of a PKCS#8 key: the octet string that ends it (RFC 5208 section 5).
fn unframed(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8
        .windows(2)
        .enumerate()
        .skip(10)
        .find(|(_, pair)| *pair == [0x04, 0x82])
        .unwrap()
        .0;
    pkcs8[at + 4..].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // S31 to S37
    #[test]
    fn ours_accepts_no_changed_token_that_the_other_refuses(
        at in 0_usize..400,
        byte in proptest::sample::select(b"AQgwz09-_=.+/ \n{\"".to_vec()),
        insert in any::<bool>(),
        cut in 0_usize..4,
    ) {
        static KEY: std::sync::LazyLock<(Both, String)> = std::sync::LazyLock::new(|| {
            let key = SigningKey::generate(Algorithm::Es256).unwrap();
            let token = key.sign("JWT", &json!({ "sub": "one", "n": [1, { "a": null }] })).unwrap();
            (Both::of(&key.public_jwk(), jsonwebtoken::Algorithm::ES256), token)
        });
        let (both, honest) = &*KEY;
        let mut bytes = honest.as_bytes().to_vec();
        let at = at % bytes.len();
        if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        bytes.truncate(bytes.len() - cut);
        let token = String::from_utf8(bytes).unwrap();
        if let Some(accepted) = both.ours(&token) {
            prop_assert_eq!(both.theirs(&token), Some(accepted), "{}", token);
        }
    }
}
