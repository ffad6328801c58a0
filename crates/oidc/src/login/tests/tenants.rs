//! An issuer a tenant (S38).

use super::*;
use crate::ProviderError;
use crate::providers::{
    Authoritative, EmailTrust, Facts, IssuerRule, OpenId, Protocol, Quirks, Verified,
};

const ONE: &str = "11111111-aaaa-4bbb-8ccc-dddddddddddd";
const TWO: &str = "22222222-aaaa-4bbb-8ccc-dddddddddddd";

static TENANTS: Preset = Preset {
    id: "tenants",
    name: "Tenants",
    mark: None,
    protocol: Protocol::OpenId(OpenId {
        issuer: IssuerRule::Tenants("https://ms.example/{tenantid}/v2.0"),
        issuer_aliases: &[],
    }),
    scopes: &["openid"],
    email: EmailTrust {
        verified: Verified::Never,
        authoritative: Authoritative::Never,
        because: "",
    },
    needs: &[Setting::Tenant],
    quirks: Quirks::NONE,
    facts: Facts {
        checked: None,
        sources: &[],
    },
};

fn of(tenant: &str, allowed: &[&str]) -> Result<Provider, ProviderError> {
    let mut settings = settings(&TENANTS);
    settings.tenant = Some(tenant.into());
    settings.allowed_tenants = allowed.iter().map(|id| (*id).to_owned()).collect();
    Provider::new(settings)
}

fn issuer(tenant: &str) -> String {
    format!("https://ms.example/{tenant}/v2.0")
}

fn verify(provider: &Provider, iss: &str, tid: Value) -> Result<String, &'static str> {
    let text = metadata_text(json!({ "issuer": provider.issuer.as_str() }));
    let metadata = Metadata::parse(text.as_bytes(), provider).unwrap();
    let claims = claims(&json!({ "iss": iss, "tid": tid, "nonce": "n" }));
    let token = key(Algorithm::Es256).sign("JWT", &claims).unwrap();
    NativeIdToken::parse(&token)
        .unwrap()
        .verify(provider, &metadata, &keys(), &Nonce::new("n".into()), NOW)
        .map(|identity| identity.issuer().to_owned())
        .map_err(|error| error.reason())
}

// S38
#[test]
fn an_identity_is_of_its_own_tenants_issuer_and_tid_and_allow_list_agree() {
    let some = of("organizations", &[ONE]).unwrap();
    assert_eq!(some.issuer.as_str(), issuer("{tenantid}"));
    assert_eq!(verify(&some, &issuer(ONE), json!(ONE)), Ok(issuer(ONE)));
    assert_eq!(verify(&some, &issuer(TWO), json!(TWO)), Err("tenant"));
    assert_eq!(verify(&some, &issuer(ONE), json!(TWO)), Err("issuer"));
    assert_eq!(verify(&some, &issuer(TWO), json!(ONE)), Err("issuer"));
    assert_eq!(
        verify(&some, &issuer(ONE), json!(null)),
        Err("claim_missing")
    );
    for iss in [
        issuer(&ONE.to_uppercase()),
        issuer("common"),
        issuer("{tenantid}"),
        issuer(""),
        issuer(&ONE.replace('-', "")),
        format!("{}/", issuer(ONE)),
        format!("https://evil.example/{ONE}/v2.0"),
    ] {
        assert_eq!(verify(&some, &iss, json!(ONE)), Err("issuer"), "{iss}");
    }
    let all = of("common", &["*"]).unwrap();
    assert_eq!(verify(&all, &issuer(TWO), json!(TWO)), Ok(issuer(TWO)));
}

// S38
#[test]
fn one_tenant_is_one_issuer_byte_for_byte() {
    let one = of(ONE, &[]).unwrap();
    assert_eq!(one.issuer.as_str(), issuer(ONE));
    assert_eq!(verify(&one, &issuer(ONE), json!(ONE)), Ok(issuer(ONE)));
    assert_eq!(verify(&one, &issuer(TWO), json!(TWO)), Err("issuer"));
}

// S38
#[test]
fn a_tenant_is_an_id_or_a_word_and_every_organisation_is_let_in_by_name_alone() {
    for bad in ["", "acme.example", &ONE.to_uppercase(), "Common"] {
        assert_eq!(of(bad, &[]).err(), Some(ProviderError::Tenant), "{bad}");
    }
    for word in ["common", "organizations"] {
        assert_eq!(
            of(word, &[]).err(),
            Some(ProviderError::AnyTenant(word.into()))
        );
        assert_eq!(of(word, &["*", ONE]).err(), Some(ProviderError::Tenant));
    }
}

// S13, S20: RFC 9207. Which tenant it is, the signed token says.
#[test]
fn a_callback_of_a_tenant_names_an_issuer_of_the_same_provider() {
    let one = of(ONE, &[]).unwrap();
    let some = of("organizations", &[ONE]).unwrap();
    let answered = |provider: &Provider, promised: bool, outcome: &str, iss: &str| {
        let text = metadata_text(json!({
            "issuer": provider.issuer.as_str(),
            "authorization_response_iss_parameter_supported": promised,
        }));
        let metadata = Metadata::parse(text.as_bytes(), provider).unwrap();
        let (_, started) = start(provider, &metadata, login());
        let query = format!("{outcome}&state={STATE}{iss}");
        let query = CallbackQuery::parse(query.as_bytes()).unwrap();
        let answered = started.callback(provider, &metadata, query, NOW);
        answered.map(drop).map_err(|error| error.reason())
    };
    let refused = Err("callback_issuer");
    for (iss, of_one, of_some) in [
        (issuer(ONE), Ok(()), Ok(())),
        (issuer(TWO), refused, Ok(())),
        (issuer("common"), refused, refused),
        (issuer(""), refused, refused),
        (issuer(&format!("{ONE}/evil")), refused, refused),
        (issuer(&ONE.to_uppercase()), refused, refused),
        (format!("{}/", issuer(ONE)), refused, refused),
        (format!("https://evil.example/{ONE}/v2.0"), refused, refused),
        (String::new(), refused, refused),
    ] {
        let iss = format!("&iss={iss}");
        for promised in [false, true] {
            assert_eq!(answered(&one, promised, "code=c", &iss), of_one, "{iss}");
            assert_eq!(answered(&some, promised, "code=c", &iss), of_some, "{iss}");
        }
        // Whose error it is, is asked first.
        let of_error = of_one.and(Err("access_denied"));
        assert_eq!(answered(&one, false, "error=access_denied", &iss), of_error);
    }
    for provider in [&one, &some] {
        assert_eq!(answered(provider, false, "code=c", ""), Ok(()));
        assert_eq!(answered(provider, true, "code=c", ""), refused);
    }
}
