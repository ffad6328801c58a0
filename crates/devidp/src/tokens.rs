//! Signing, by hand: RS256 on aws-lc-rs, and every way to get it wrong.
//!
//! Nothing here is shared with the crates that verify, so that a bug there is not a bug here.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    error::Unspecified,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};

use crate::{fault::Fault, people::Person};

/// base64url without padding (RFC 7515 section 2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `N` random bytes in base64url: codes, tokens, key identifiers, nonces.
pub(crate) fn random<const N: usize>() -> String {
    let mut bytes = [0_u8; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    base64url(&bytes)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// OIDC Core 3.1.3.6: the left half of the hash of the access token.
pub(crate) fn at_hash(access_token: &str) -> String {
    base64url(&sha256(access_token.as_bytes())[..16])
}

/// An RSA key with its `kid`.
pub(crate) struct SigningKey {
    kid: String,
    pair: RsaKeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, Unspecified> {
        Ok(Self {
            kid: random::<15>(),
            pair: RsaKeyPair::generate(KeySize::Rsa2048)?,
        })
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half (RFC 7517, RFC 7518 section 6.3.1).
    pub(crate) fn public_jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": base64url(public.modulus().big_endian_without_leading_zero()),
            "e": base64url(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The public half as people paste it.
    fn public_pem(&self) -> String {
        let der = self
            .pair
            .public_key()
            .as_der()
            .expect("a generated key has a DER form");
        let text = STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (at, character) in text.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        pem
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .expect("a 2048-bit key signs a SHA-256 digest");
        signature
    }
}

/// The keys of the stand-in at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Signs.
    pub(crate) current: Arc<SigningKey>,
    /// Stands in the JWKS beside it and signs nothing, as at Google, where there are two as well: a token without `kid` is ambiguous.
    pub(crate) standby: Arc<SigningKey>,
    /// A key outside the JWKS, made when a fault first asks for it.
    stranger: Arc<OnceLock<SigningKey>>,
}

impl Keys {
    pub(crate) fn generate() -> Result<Self, Unspecified> {
        Ok(Self {
            current: Arc::new(SigningKey::generate()?),
            standby: Arc::new(SigningKey::generate()?),
            stranger: Arc::new(OnceLock::new()),
        })
    }

    /// The JWKS (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.current.public_jwk(), self.standby.public_jwk()] })
    }

    fn stranger(&self) -> &SigningKey {
        self.stranger
            .get_or_init(|| SigningKey::generate().expect("key generation worked at the start"))
    }
}

/// Where the tenant's id stands in an issuer with tenants, as at Microsoft.
pub(crate) const TENANT_ID: &str = "{tenantid}";

/// The tenant of whoever belongs to none: at Microsoft, that of personal accounts.
const PERSONAL_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What an ID token is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// As in the metadata.
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) person: &'a Person,
    pub(crate) scope: &'a str,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) access_token: Option<&'a str>,
    pub(crate) now: i64,
}

impl Facts<'_> {
    /// `iss`: that of the person's tenant, where the metadata leave a place for it.
    fn iss(&self) -> String {
        match self.tid() {
            Some(tenant) => self.issuer.replace(TENANT_ID, tenant),
            None => self.issuer.to_owned(),
        }
    }

    /// `tid`.
    fn tid(&self) -> Option<&str> {
        let default = self.issuer.contains(TENANT_ID).then_some(PERSONAL_TENANT);
        self.person.tenant.as_deref().or(default)
    }
}

/// The claims about a person that `scope` asks for (OIDC Core 5.4), for the ID token and for UserInfo.
pub(crate) fn person_claims(person: &Person, scope: &str) -> Map<String, Value> {
    let mut claims = Map::new();
    let asked = |word: &str| scope.split(' ').any(|scope| scope == word);
    claims.insert("sub".into(), person.sub.clone().into());
    if asked("email") {
        claims.insert("email".into(), person.email.clone().into());
        claims.insert("email_verified".into(), person.email_verified.into());
    }
    if asked("profile") {
        claims.insert("name".into(), person.name.clone().into());
        if let Some((given, family)) = person.name.split_once(' ') {
            claims.insert("given_name".into(), given.into());
            claims.insert("family_name".into(), family.into());
        }
        if let Some(picture) = &person.picture {
            claims.insert("picture".into(), picture.clone().into());
        }
    }
    if let Some(domain) = &person.hosted_domain {
        claims.insert("hd".into(), domain.clone().into());
    }
    claims
}

/// The faults that lie in how an e-mail address is told, here and in UserInfo.
pub(crate) fn spoil_email(claims: &mut Map<String, Value>, fault: Fault) {
    match fault {
        Fault::EmailUnverified => set(claims, "email_verified", false),
        Fault::EmailVerifiedAsString => set(claims, "email_verified", "true"),
        Fault::EmailArray => {
            if let Some(email) = claims.remove("email") {
                set(claims, "email", vec![email]);
            }
        }
        Fault::NoEmailAnywhere => remove_email(claims),
        _ => {}
    }
}

/// An ID token like Google's (OIDC Core section 2), with at most one thing wrong.
pub(crate) fn id_token(
    facts: &Facts<'_>,
    keys: &Keys,
    client_secret: &str,
    fault: Fault,
) -> String {
    let mut header = Map::new();
    set(&mut header, "alg", "RS256");
    set(&mut header, "kid", keys.current.kid());
    set(&mut header, "typ", "JWT");
    let mut claims = honest_claims(facts);
    spoil_header(&mut header, keys, fault);
    spoil_claims(&mut claims, facts, fault);

    let mut payload = Value::Object(claims).to_string();
    match fault {
        // The honest one comes last, where a parser that forgives finds it.
        Fault::DuplicateClaim => payload.insert_str(1, r#""sub":"100000000000000000000","#),
        Fault::ClaimsNotAnObject => payload = format!("[{payload}]"),
        _ => {}
    }
    let header = Value::Object(header).to_string();
    if fault == Fault::EncryptedToken {
        let [key, iv, text, tag] = [
            random::<256>(),
            random::<12>(),
            random::<512>(),
            random::<16>(),
        ];
        return format!("{}.{key}.{iv}.{text}.{tag}", base64url(header.as_bytes()));
    }
    let input = format!(
        "{}.{}",
        base64url(header.as_bytes()),
        base64url(payload.as_bytes())
    );
    let signature = base64url(&signature(&input, keys, client_secret, fault));
    match fault {
        // 256 bytes leave two places of padding; the signature is outside what is signed.
        Fault::TokenWithPadding => format!("{input}.{signature}=="),
        Fault::TokenWithFourSegments => format!("{input}.{signature}.{}", random::<16>()),
        _ => format!("{input}.{signature}"),
    }
}

fn honest_claims(facts: &Facts<'_>) -> Map<String, Value> {
    let mut claims = person_claims(facts.person, facts.scope);
    set(&mut claims, "iss", facts.iss());
    set(&mut claims, "aud", facts.client_id);
    set(&mut claims, "azp", facts.client_id);
    set(&mut claims, "iat", facts.now);
    set(&mut claims, "exp", facts.now.saturating_add(3600));
    if let Some(nonce) = facts.nonce {
        set(&mut claims, "nonce", nonce);
    }
    if let Some(access_token) = facts.access_token {
        set(&mut claims, "at_hash", at_hash(access_token));
    }
    if let Some(tenant) = facts.tid() {
        set(&mut claims, "tid", tenant);
    }
    claims.extend(facts.person.claims.clone());
    claims
}

fn spoil_header(header: &mut Map<String, Value>, keys: &Keys, fault: Fault) {
    match fault {
        Fault::AlgNone => set(header, "alg", "none"),
        Fault::AlgHs256WithPublicKey | Fault::AlgHs256WithClientSecret => {
            set(header, "alg", "HS256")
        }
        Fault::UnknownKid => set(header, "kid", random::<15>()),
        Fault::NoKid => {
            header.remove("kid");
        }
        Fault::EmbeddedJwk => set(header, "jwk", keys.stranger().public_jwk()),
        Fault::UnknownCrit => {
            set(header, "crit", json!(["https://idp.example/extension"]));
            set(header, "https://idp.example/extension", true);
        }
        // Without `crit`, so that only a client that looks at `b64` itself refuses it.
        Fault::B64False => set(header, "b64", false),
        Fault::WrongType => set(header, "typ", "at+jwt"),
        Fault::EncryptedToken => {
            set(header, "alg", "RSA-OAEP-256");
            set(header, "enc", "A256GCM");
            set(header, "cty", "JWT");
        }
        _ => {}
    }
}

fn spoil_claims(claims: &mut Map<String, Value>, facts: &Facts<'_>, fault: Fault) {
    const STRANGER: &str = "another-client.example";
    let now = facts.now;
    spoil_email(claims, fault);
    if fault == Fault::EmailVerifiedInUserinfo {
        claims.remove("email_verified");
    }
    if fault.hides_email() {
        remove_email(claims);
    }
    match fault {
        Fault::WrongIssuer => set(claims, "iss", crate::OTHER_ISSUER),
        Fault::IssuerTrailingSlash => set(claims, "iss", format!("{}/", facts.iss())),
        Fault::MissingIssuer => remove(claims, "iss"),
        Fault::WrongAudience => set(claims, "aud", STRANGER),
        Fault::AudienceArrayWithStranger => {
            set(claims, "aud", json!([facts.client_id, STRANGER]));
            remove(claims, "azp");
        }
        Fault::AudienceAsArray => set(claims, "aud", json!([facts.client_id])),
        Fault::EmptyAudience => set(claims, "aud", json!([])),
        Fault::MissingAudience => remove(claims, "aud"),
        Fault::WrongAzp => set(claims, "azp", STRANGER),
        Fault::Expired => {
            set(claims, "iat", now.saturating_sub(7200));
            set(claims, "exp", now.saturating_sub(3600));
        }
        Fault::ExpiresAsString => set(claims, "exp", now.saturating_add(3600).to_string()),
        Fault::MissingExpiry => remove(claims, "exp"),
        Fault::IssuedInFuture => {
            set(claims, "iat", now.saturating_add(3600));
            set(claims, "exp", now.saturating_add(7200));
        }
        Fault::IssuedLongAgo => set(claims, "iat", now.saturating_sub(8 * 86_400)),
        Fault::MissingIssuedAt => remove(claims, "iat"),
        Fault::NotYetValid => set(claims, "nbf", now.saturating_add(3600)),
        Fault::WrongNonce => set(claims, "nonce", random::<32>()),
        Fault::MissingNonce => remove(claims, "nonce"),
        Fault::MissingSubject => remove(claims, "sub"),
        Fault::EmptySubject => set(claims, "sub", ""),
        Fault::SubjectNumber => set(claims, "sub", 1_082_042_680_333_113_i64),
        Fault::SubjectTooLong => set(claims, "sub", "1".repeat(300)),
        Fault::SubjectControlCharacter => set(claims, "sub", format!("{}\n1", facts.person.sub)),
        Fault::WrongAtHash => set(claims, "at_hash", at_hash(&random::<32>())),
        Fault::TokenTooLarge => set(claims, "filler", "x".repeat(20 * 1024)),
        _ => {}
    }
}

fn signature(input: &str, keys: &Keys, client_secret: &str, fault: Fault) -> Vec<u8> {
    let hs256 = |secret: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes())
            .as_ref()
            .to_vec()
    };
    match fault {
        Fault::AlgNone | Fault::SignatureStripped => Vec::new(),
        Fault::AlgHs256WithPublicKey => hs256(keys.current.public_pem().as_bytes()),
        Fault::AlgHs256WithClientSecret => hs256(client_secret.as_bytes()),
        Fault::WrongKey | Fault::EmbeddedJwk => keys.stranger().sign(input.as_bytes()),
        Fault::WrongSignature => {
            let mut signature = keys.current.sign(input.as_bytes());
            signature[100] ^= 1;
            signature
        }
        _ => keys.current.sign(input.as_bytes()),
    }
}

fn set(object: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    object.insert(name.to_owned(), value.into());
}

fn remove(object: &mut Map<String, Value>, name: &str) {
    object.remove(name);
}

fn remove_email(claims: &mut Map<String, Value>) {
    remove(claims, "email");
    remove(claims, "email_verified");
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    use super::*;

    fn facts(person: &Person) -> Facts<'_> {
        Facts {
            issuer: "http://127.0.0.1:8009",
            client_id: "client",
            person,
            scope: "openid email profile",
            nonce: Some("n-1"),
            access_token: Some("token"),
            now: 1_700_000_000,
        }
    }

    fn decode(segment: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(segment).unwrap()
    }

    fn holds(token: &str, jwk: &Value) -> bool {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let part = |name: &str| decode(jwk[name].as_str().unwrap());
        RsaPublicKeyComponents {
            n: part("n"),
            e: part("e"),
        }
        .verify(
            &RSA_PKCS1_2048_8192_SHA256,
            input.as_bytes(),
            &decode(signature),
        )
        .is_ok()
    }

    #[test]
    fn an_honest_token_is_signed_by_the_key_its_kid_names() {
        let keys = Keys::generate().unwrap();
        let person = &crate::default_people()[0];
        let token = id_token(&facts(person), &keys, "secret", Fault::None);
        let segments: Vec<&str> = token.split('.').collect();
        assert_eq!(segments.len(), 3);
        assert!(!token.contains('='));
        let header: Value = serde_json::from_slice(&decode(segments[0])).unwrap();
        let claims: Value = serde_json::from_slice(&decode(segments[1])).unwrap();
        assert_eq!(header["kid"], keys.jwks()["keys"][0]["kid"]);
        assert_eq!(claims["sub"], person.sub.as_str());
        assert_eq!(claims["nonce"], "n-1");
        assert!(holds(&token, &keys.jwks()["keys"][0]));
        assert!(!holds(&token, &keys.jwks()["keys"][1]));
    }

    #[test]
    fn a_fault_in_the_claims_is_honestly_signed_and_one_in_the_signature_is_not() {
        let keys = Keys::generate().unwrap();
        let person = &crate::default_people()[0];
        let jwk = &keys.jwks()["keys"][0];
        let honest = id_token(&facts(person), &keys, "secret", Fault::None);
        for fault in Fault::ALL
            .iter()
            .filter(|fault| fault.group() == "ID token: claims")
        {
            let token = id_token(&facts(person), &keys, "secret", *fault);
            assert!(holds(&token, jwk), "{fault}");
            assert_ne!(token, honest, "{fault}");
        }
        for fault in [
            Fault::WrongSignature,
            Fault::WrongKey,
            Fault::EmbeddedJwk,
            Fault::AlgNone,
            Fault::SignatureStripped,
        ] {
            let token = id_token(&facts(person), &keys, "secret", fault);
            assert!(!holds(&token, jwk), "{fault}");
        }
        for (fault, segments) in [
            (Fault::TokenWithFourSegments, 4),
            (Fault::EncryptedToken, 5),
        ] {
            let token = id_token(&facts(person), &keys, "secret", fault);
            assert_eq!(token.split('.').count(), segments, "{fault}");
        }
        assert!(id_token(&facts(person), &keys, "secret", Fault::TokenTooLarge).len() > 20 * 1024);
    }
}
