//! How clients prove who they are, each way alone.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::*;
use crate::tokens::{SigningKey, base64url};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A key of a client, by which algorithm it signs.
enum Key {
    Rs256(SigningKey),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Key {
    fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn jwk(&self) -> Value {
        match self {
            Self::Rs256(key) => key.public_jwk(),
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Self::EdDsa(key) => {
                let x = base64url(key.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let segment = |value: &Value| base64url(value.to_string().as_bytes());
        let input = format!("{}.{}", segment(header), segment(claims));
        let signature = match self {
            Self::Rs256(key) => key.sign(input.as_bytes()),
            Self::Es256(key) => key
                .sign(&SystemRandom::new(), input.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Self::EdDsa(key) => key.sign(input.as_bytes()).as_ref().to_vec(),
        };
        format!("{input}.{}", base64url(&signature))
    }
}

async fn started_with(authentication: ClientAuthentication) -> DevIdp {
    DevIdp::builder()
        .client_with("client", authentication)
        .clock(Arc::new(|| NOW))
        .start()
        .await
        .unwrap()
}

const NOW: i64 = 1_700_000_000;

/// The claims of an honest assertion.
fn honest_claims(idp: &DevIdp) -> Value {
    json!({
        "iss": "client", "sub": "client", "aud": idp.issuer(),
        "exp": NOW + 300, "iat": NOW, "jti": crate::tokens::random::<16>(),
    })
}

/// Redeems a new code with these parameters as the proof.
async fn redeem_by(idp: &DevIdp, proof: &[(&str, &str)]) -> Response {
    redeem_with(idp, None, proof).await
}

async fn redeem_with(idp: &DevIdp, basic: Option<&str>, proof: &[(&str, &str)]) -> Response {
    let code = code(idp).await;
    let mut parameters = honest_form(&code);
    parameters.retain(|(name, _)| !matches!(*name, "client_id" | "client_secret"));
    parameters.extend(proof);
    let mut request = client()
        .post(url(idp, "/token", &[]))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(&parameters));
    if let Some(credentials) = basic {
        request = request.header(
            "authorization",
            format!("Basic {}", STANDARD.encode(credentials)),
        );
    }
    request.send().await.unwrap()
}

async fn assert_unknown(response: Response, why: &str) {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{why}");
    let answer = json(response).await;
    assert_eq!(answer["error"], "invalid_client", "{why}");
    assert!(answer.get("access_token").is_none(), "{why}");
}

async fn redeem_asserting(idp: &DevIdp, assertion: &str) -> Response {
    let proof = [
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    redeem_by(idp, &proof).await
}

#[tokio::test]
async fn a_secret_that_is_for_one_way_is_refused_in_the_other() {
    let by_post = [("client_id", "client"), ("client_secret", "secret")];
    let basic = Some("client:secret");

    let idp = started_with(ClientAuthentication::SecretBasic("secret".to_owned())).await;
    let answer = redeem_with(&idp, basic, &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_unknown(redeem_by(&idp, &by_post).await, "post where basic is meant").await;
    let stranger = [("client_id", "stranger")];
    let answer = redeem_with(&idp, basic, &stranger).await;
    assert_unknown(answer, "two client_ids").await;

    let idp = started_with(ClientAuthentication::SecretPost("secret".to_owned())).await;
    let answer = redeem_by(&idp, &by_post).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = redeem_with(&idp, basic, &[]).await;
    assert_unknown(answer, "basic where post is meant").await;
}

#[tokio::test]
async fn a_public_client_sends_its_name_alone() {
    let idp = started_with(ClientAuthentication::None).await;
    let answer = redeem_by(&idp, &[("client_id", "client")]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_unknown(redeem_by(&idp, &[]).await, "nobody").await;
    let with_secret = [("client_id", "client"), ("client_secret", "")];
    let answer = redeem_by(&idp, &with_secret).await;
    assert_unknown(answer, "a secret that nobody gave it").await;
}

#[tokio::test]
async fn the_metadata_name_the_ways_of_the_clients() {
    let metadata = async |idp: &DevIdp| {
        let address = url(idp, "/.well-known/openid-configuration", &[]);
        json(client().get(address).send().await.unwrap()).await
    };
    let with_secrets = metadata(&started().await).await;
    assert_eq!(
        with_secrets["token_endpoint_auth_methods_supported"],
        json!(["client_secret_post", "client_secret_basic"])
    );
    let algorithms = "token_endpoint_auth_signing_alg_values_supported";
    assert!(with_secrets.get(algorithms).is_none());

    let jwks = json!({ "keys": [] });
    let idp = DevIdp::builder()
        .client_with("basic", ClientAuthentication::SecretBasic(String::new()))
        .client_with("signs", ClientAuthentication::PrivateKeyJwt { jwks })
        .client_with("public", ClientAuthentication::None)
        .start()
        .await
        .unwrap();
    let with_keys = metadata(&idp).await;
    assert_eq!(
        with_keys["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "private_key_jwt", "none"])
    );
    assert_eq!(
        with_keys[algorithms],
        json!(["RS256", "ES256", "ES384", "ES512", "EdDSA"])
    );
}

#[tokio::test]
async fn a_client_signs_with_any_kind_of_key_for_the_issuer_or_the_endpoint() {
    let keys = [
        Key::Rs256(SigningKey::generate().unwrap()),
        Key::es256(),
        Key::EdDsa(Ed25519KeyPair::generate().unwrap()),
    ];
    let jwks = json!({ "keys": keys.each_ref().map(Key::jwk) });
    let idp = started_with(ClientAuthentication::PrivateKeyJwt { jwks }).await;
    let endpoint = format!("{}/token", idp.issuer());
    for key in keys {
        for audience in [
            json!(idp.issuer()),
            json!(endpoint),
            json!(["x", idp.issuer()]),
        ] {
            let mut claims = honest_claims(&idp);
            claims["aud"] = audience;
            let assertion = key.sign(&json!({ "alg": key.alg() }), &claims);
            let answer = redeem_asserting(&idp, &assertion).await;
            assert_eq!(answer.status(), StatusCode::OK, "{}: {claims}", key.alg());
        }
    }
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    let key = Key::es256();
    let jwks = json!({ "keys": [key.jwk()] });
    let idp = started_with(ClientAuthentication::PrivateKeyJwt { jwks }).await;
    let claims = honest_claims(&idp);
    let header = json!({ "alg": "ES256" });
    // A forgery with the same jti does not use it up.
    let forged = Key::es256().sign(&header, &claims);
    assert_unknown(redeem_asserting(&idp, &forged).await, "forged").await;
    let assertion = key.sign(&header, &claims);
    let answer = redeem_asserting(&idp, &assertion).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_unknown(redeem_asserting(&idp, &assertion).await, "again").await;
    // Signed anew, and the jti is the same.
    let again = key.sign(&header, &claims);
    assert_unknown(redeem_asserting(&idp, &again).await, "signed anew").await;
}

#[tokio::test]
async fn an_assertion_with_one_thing_wrong_proves_nobody() {
    let key = Key::es256();
    let mut jwk = key.jwk();
    jwk["kid"] = "k-1".into();
    let jwks = json!({ "keys": [jwk] });
    let idp = started_with(ClientAuthentication::PrivateKeyJwt { jwks }).await;
    let header = json!({ "alg": "ES256", "kid": "k-1" });

    for (name, value) in [
        ("iss", json!("another")),
        ("sub", json!("another")),
        ("aud", json!("https://idp.example")),
        ("aud", json!([])),
        ("exp", json!(NOW)),
        ("exp", json!(NOW + 3601)),
        ("exp", json!("1700000300")),
        ("nbf", json!(NOW + 1)),
        ("iat", json!(NOW + 1)),
        ("jti", json!("")),
        ("jti", json!(7)),
    ] {
        let mut claims = honest_claims(&idp);
        claims[name] = value;
        let assertion = key.sign(&header, &claims);
        assert_unknown(
            redeem_asserting(&idp, &assertion).await,
            &claims.to_string(),
        )
        .await;
    }
    for name in ["iss", "sub", "aud", "exp", "jti"] {
        let mut claims = honest_claims(&idp);
        claims.as_object_mut().unwrap().remove(name);
        let assertion = key.sign(&header, &claims);
        assert_unknown(redeem_asserting(&idp, &assertion).await, name).await;
    }
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "ES384" }),
        json!({ "alg": "RS256" }),
        json!({ "kid": "k-1" }),
        json!({ "alg": "ES256", "kid": "k-2" }),
        json!({ "alg": "ES256", "crit": ["exp"] }),
    ] {
        let assertion = key.sign(&header, &honest_claims(&idp));
        assert_unknown(
            redeem_asserting(&idp, &assertion).await,
            &header.to_string(),
        )
        .await;
    }
    let stranger = Key::es256().sign(&header, &honest_claims(&idp));
    assert_unknown(redeem_asserting(&idp, &stranger).await, "another key").await;
    let honest = key.sign(&header, &honest_claims(&idp));
    let stripped = format!("{}.", honest.rsplit_once('.').unwrap().0);
    assert_unknown(redeem_asserting(&idp, &stripped).await, "no signature").await;
    assert_unknown(redeem_asserting(&idp, "x").await, "no token").await;

    let another_type = [
        ("client_assertion_type", "password"),
        ("client_assertion", honest.as_str()),
    ];
    assert_unknown(redeem_by(&idp, &another_type).await, "another type").await;
    let by_name = [("client_id", "client")];
    assert_unknown(redeem_by(&idp, &by_name).await, "no proof").await;
    let another = [
        ("client_id", "another"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", honest.as_str()),
    ];
    assert_unknown(redeem_by(&idp, &another).await, "another client_id").await;

    let two_ways = [
        ("client_secret", "secret"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", honest.as_str()),
    ];
    let answer = redeem_by(&idp, &two_ways).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json(answer).await["error"], "invalid_request");
}
