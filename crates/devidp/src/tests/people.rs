//! What tokens and UserInfo say about people who depart from the rule, and tokens for apps.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, json};

use super::*;

fn person(sub: &str) -> Person {
    Person {
        sub: sub.to_owned(),
        email: "ann@example.com".to_owned(),
        email_verified: true,
        name: "Ann Ash".to_owned(),
        ..Person::default()
    }
}

fn claims(members: Value) -> Map<String, Value> {
    members.as_object().unwrap().clone()
}

fn decode(segment: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(segment).unwrap()
}

fn claims_of(id_token: &str) -> Value {
    let payload = id_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&decode(payload)).unwrap()
}

/// Signs a person in: what the callback brings, the ID token, and what UserInfo says.
async fn signed_in(idp: &DevIdp, sub: &'static str) -> (Vec<(String, String)>, String, Value) {
    let base = idp.provider.url("");
    let address = Url::parse_with_params(&format!("{base}/authorize"), with(&[("user", sub)]));
    let callback = client().get(address.unwrap()).send().await.unwrap();
    let parameters = brought_back(&callback);
    let answer = client()
        .post(format!("{base}/token"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(&honest_form(value_of(&parameters, "code").unwrap())))
        .send()
        .await
        .unwrap();
    let answer = json(answer).await;
    let userinfo = client()
        .get(format!("{base}/userinfo"))
        .bearer_auth(answer["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    let id_token = answer["id_token"].as_str().unwrap().to_owned();
    (parameters, id_token, json(userinfo).await)
}

#[tokio::test]
async fn the_claims_of_a_person_lie_over_all_others() {
    let wrong = json!({ "sub": 7, "email": ["ann@example.com"], "is_superuser": true });
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .people(vec![
            Person {
                claims: claims(wrong),
                ..person("1")
            },
            Person {
                claims: claims(json!({ "name": "n".repeat(1 << 20) })),
                ..person("2")
            },
            Person {
                claims: claims(json!({ "groups": "g".repeat(9 << 10) })),
                ..person("3")
            },
            person("4"),
        ])
        .start()
        .await
        .unwrap();
    let (_, id_token, userinfo) = signed_in(&idp, "1").await;
    for said in [claims_of(&id_token), userinfo] {
        assert_eq!(said["sub"], 7);
        assert_eq!(said["email"], json!(["ann@example.com"]));
        assert_eq!(said["is_superuser"], true);
        assert_eq!(said["name"], "Ann Ash", "what is not laid over stays");
    }
    let (_, id_token, userinfo) = signed_in(&idp, "2").await;
    for said in [claims_of(&id_token), userinfo] {
        assert_eq!(said["name"].as_str().unwrap().len(), 1 << 20);
    }
    let (_, id_token, _) = signed_in(&idp, "3").await;
    assert!(id_token.len() > 12 << 10 && id_token.len() < 16 << 10);
    let (_, id_token, userinfo) = signed_in(&idp, "4").await;
    for said in [claims_of(&id_token), userinfo] {
        assert_eq!(said["sub"], "4");
        for name in ["is_superuser", "groups", "tid"] {
            assert!(said.get(name).is_none(), "{name}");
        }
    }
}

#[tokio::test]
async fn an_issuer_with_tenants_is_a_template_in_the_metadata_and_the_persons_own_in_tokens() {
    const TENANT: &str = "0c2b1a5e-6a3d-4b1c-8f57-2f6b9d1e7a10";
    let idp = DevIdp::builder()
        .client("client", "s e:cret")
        .issuer("https://login.example/{tenantid}/v2.0".to_owned())
        .people(vec![
            Person {
                tenant: Some(TENANT.to_owned()),
                ..person("1")
            },
            person("2"),
        ])
        .start()
        .await
        .unwrap();
    let base = format!("http://{}/common/v2.0", idp.addr());
    let metadata = format!("{base}/.well-known/openid-configuration");
    let metadata = json(client().get(metadata).send().await.unwrap()).await;
    assert_eq!(metadata["issuer"], "https://login.example/{tenantid}/v2.0");
    assert_eq!(metadata["token_endpoint"], format!("{base}/token"));
    let promise = "authorization_response_iss_parameter_supported";
    assert_eq!(metadata[promise], false);

    let personal = "9188040d-6c67-4c5b-b112-36a304b66dad";
    for (sub, tenant) in [("1", TENANT), ("2", personal)] {
        let (callback, id_token, _) = signed_in(&idp, sub).await;
        assert_eq!(value_of(&callback, "iss"), None);
        let said = claims_of(&id_token);
        assert_eq!(said["iss"], format!("https://login.example/{tenant}/v2.0"));
        assert_eq!(said["tid"], tenant);
    }
}

#[tokio::test]
async fn an_app_gets_a_token_of_its_own_signed_like_every_other() {
    let idp = started().await;
    let alice = &default_people()[0];
    let id_token = idp.native_id_token(alice, "the-app", "n-2");
    let said = claims_of(&id_token);
    assert_eq!(said["iss"], idp.issuer());
    assert_eq!(said["aud"], "the-app");
    assert_eq!(said["azp"], "the-app");
    assert_eq!(said["nonce"], "n-2");
    assert_eq!(said["sub"], alice.sub.as_str());
    assert_eq!(said["email"], "alice@example.com");
    assert!(said.get("at_hash").is_none());

    let jwks = json(client().get(url(&idp, "/jwks", &[])).send().await.unwrap()).await;
    let key = &jwks["keys"][0];
    let (input, signature) = id_token.rsplit_once('.').unwrap();
    let part = |name: &str| decode(key[name].as_str().unwrap());
    let components = RsaPublicKeyComponents {
        n: part("n"),
        e: part("e"),
    };
    let (input, signature) = (input.as_bytes(), decode(signature));
    let checked = components.verify(&RSA_PKCS1_2048_8192_SHA256, input, &signature);
    assert!(checked.is_ok());

    idp.set_fault(Fault::WrongAudience);
    let id_token = idp.native_id_token(alice, "the-app", "n-2");
    assert_ne!(claims_of(&id_token)["aud"], "the-app");
}
