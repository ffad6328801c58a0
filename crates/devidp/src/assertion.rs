//! The signed assertions of clients (`private_key_jwt`): RFC 7523 section 3, in its order, and OIDC Core section 9.
//!
//! Written anew for the stand-in: nothing is shared with the crates that sign such assertions.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::{
    client_auth::ClientAuthentication,
    provider::{Client, Provider},
};

/// RFC 7523 section 2.2.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The algorithms that an assertion may be signed with.
pub(crate) const ALGORITHMS: &[&str] = &["RS256", "ES256", "ES384", "ES512", "EdDSA"];

/// An assertion that lives longer is none for one request; (4) lets us refuse it.
const LONGEST_LIFE: i64 = 3600;

/// The client that an assertion proves, at the endpoint at `path`. A `client_id` beside it names the same client.
pub(crate) fn client_of<'a>(
    provider: &'a Provider,
    path: &str,
    named: Option<&str>,
    assertion: &str,
) -> Option<&'a Client> {
    let (input, signature) = assertion.rsplit_once('.')?;
    let (header, payload) = input.split_once('.')?;
    let header = json_of(header)?;
    let claims = json_of(payload)?;

    // (1), (2): iss and sub are both the client_id.
    let client_id = claims["sub"].as_str()?;
    let client = provider.client(client_id)?;
    let ClientAuthentication::PrivateKeyJwt { jwks } = &client.authentication else {
        return None;
    };
    let is_about_client =
        claims["iss"] == *client_id && named.is_none_or(|named| named == client_id);

    // (3): aud is us. The token endpoint's URL is good everywhere (RFC 9126 section 2 for pushed requests).
    let ours = [
        provider.issuer.clone(),
        provider.url("/token"),
        provider.url(path),
    ];
    let is_us = |audience: &Value| ours.iter().any(|our| *audience == **our);
    let is_for_us = match &claims["aud"] {
        Value::Array(audiences) => audiences.iter().any(is_us),
        audience => is_us(audience),
    };

    // (4), (5), (6): it lives, it has begun, and it was not made in the future.
    let now = provider.now();
    let exp = claims["exp"].as_i64()?;
    let is_alive = now < exp && exp <= now.saturating_add(LONGEST_LIFE);
    let is_not_ahead = ["nbf", "iat"]
        .iter()
        .all(|name| claims.get(name).is_none_or(|at| at.as_i64() <= Some(now)));

    // (9): the client's key signed it.
    let is_signed = is_signed(&header, jwks, input, signature);
    if !(is_about_client && is_for_us && is_alive && is_not_ahead && is_signed) {
        return None;
    }

    // (7): once. Last, so that only the client itself can use its jti up.
    let jti = claims["jti"].as_str().filter(|jti| !jti.is_empty())?;
    provider.is_new_jti(client_id, jti).then_some(client)
}

fn json_of(segment: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()?;
    value.is_object().then_some(value)
}

/// Whether a key of the set signed, by the algorithm that the header names and that fits the key.
fn is_signed(header: &Value, jwks: &Value, input: &str, signature: &str) -> bool {
    // RFC 7515 section 4.1.11: we understand no extension.
    let (Some(alg), None) = (header["alg"].as_str(), header.get("crit")) else {
        return false;
    };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
        return false;
    };
    let keys = jwks["keys"].as_array().map(Vec::as_slice).unwrap_or(&[]);
    keys.iter()
        .filter(|jwk| match (header.get("kid"), jwk.get("kid")) {
            (Some(named), Some(kid)) => named == kid,
            (None, _) | (_, None) => true,
        })
        .any(|jwk| signs(jwk, alg, input.as_bytes(), &signature).is_some())
}

/// `Some` where this key made the signature (RFC 7518 sections 3.3, 3.4 and 6; RFC 8037).
fn signs(jwk: &Value, alg: &str, message: &[u8], signature: &[u8]) -> Option<()> {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    let on_curve = |crv: &str, algorithm: &'static EcdsaVerificationAlgorithm| {
        if jwk["kty"] != "EC" || jwk["crv"] != crv {
            return None;
        }
        let point = [vec![4], part("x")?, part("y")?].concat();
        UnparsedPublicKey::new(algorithm, point)
            .verify(message, signature)
            .ok()
    };
    match alg {
        "RS256" if jwk["kty"] == "RSA" => {
            let key = RsaPublicKeyComponents {
                n: part("n")?,
                e: part("e")?,
            };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .ok()
        }
        "ES256" => on_curve("P-256", &ECDSA_P256_SHA256_FIXED),
        "ES384" => on_curve("P-384", &ECDSA_P384_SHA384_FIXED),
        "ES512" => on_curve("P-521", &ECDSA_P521_SHA512_FIXED),
        "EdDSA" if jwk["kty"] == "OKP" && jwk["crv"] == "Ed25519" => {
            UnparsedPublicKey::new(&ED25519, part("x")?)
                .verify(message, signature)
                .ok()
        }
        _ => None,
    }
}
