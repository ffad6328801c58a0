//! Keys and tokens for tests. RSA keys are slow to make: one is made, and all RSA algorithms share it.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::algorithm::KeyKind;
use crate::{Algorithm, JwkSet, SigningKey, base64url};

static KEYS: LazyLock<Vec<(Algorithm, SigningKey)>> = LazyLock::new(|| {
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap().pkcs8();
    Algorithm::ALL
        .into_iter()
        .map(|algorithm| {
            let key = if algorithm.key_kind() == KeyKind::Rsa {
                SigningKey::from_pkcs8(algorithm, &rsa)
            } else {
                SigningKey::generate(algorithm)
            };
            (algorithm, key.unwrap())
        })
        .collect()
});

/// The key of an algorithm, the same in all tests.
pub(crate) fn key(algorithm: Algorithm) -> &'static SigningKey {
    &KEYS.iter().find(|(of, _)| *of == algorithm).unwrap().1
}

/// A public JWK with members added, replaced, or, by `null`, taken away.
pub(crate) fn jwk_with(jwk: &Value, changes: &Value) -> Value {
    let mut jwk = jwk.clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk
}

/// A set of these keys.
pub(crate) fn set_of(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// A token of any header and payload, well signed.
pub(crate) fn token(key: &SigningKey, header: &str, payload: &[u8]) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(payload)
    );
    let signature = key.signature(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(&signature))
}
