//! What cannot be configured: each setting that is missing, wrong, or does nothing has its error.

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

use url::Url;
use vestibule_oidc::jose::{Algorithm, SigningKey};
use vestibule_oidc::providers::{ClientAuthMethod, Preset, apple, generic, github, microsoft};
use vestibule_oidc::{
    ClientSecret, IssuerError, PrivateKey, Provider, ProviderError, ProviderId, ProviderSettings,
};

const TENANT: &str = "11111111-aaaa-4bbb-8ccc-dddddddddddd";

type Change = fn(&mut ProviderSettings);

/// What does: each test changes one thing of it.
fn settings(preset: &'static Preset) -> ProviderSettings {
    let mut settings = ProviderSettings::new(
        ProviderId::parse("acme").unwrap(),
        preset,
        "us".into(),
        Url::parse("https://app.example/auth/acme/callback").unwrap(),
    );
    settings.client_secret = Some(ClientSecret::new("secret".into()));
    match preset.id {
        "openid" => settings.issuer = Some("https://acme.example".into()),
        "oauth2" => {
            settings.api.authorization_endpoint = Some("https://hub.example/authorize".into());
            settings.api.token_endpoint = Some("https://hub.example/token".into());
            settings.api.profile_endpoint = Some("https://hub.example/user".into());
            settings.api.subject_claim = Some("id".into());
        }
        "microsoft" => settings.tenant = Some(TENANT.into()),
        "apple" => {
            settings.client_secret = None;
            settings.private_key = Some(key());
            settings.team_id = Some("TEAM".into());
        }
        _ => {}
    }
    settings
}

fn key() -> PrivateKey {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    PrivateKey::from_pkcs8(&key.pkcs8(), None).unwrap()
}

fn error(preset: &'static Preset, change: Change) -> Option<ProviderError> {
    let mut settings = settings(preset);
    change(&mut settings);
    Provider::new(settings).err()
}

#[test]
fn what_a_provider_cannot_do_without_is_missed_by_its_name() {
    let presets = [&generic::OPENID, &generic::OAUTH2, &microsoft::PRESET];
    for preset in presets.into_iter().chain([&apple::PRESET, &github::PRESET]) {
        assert_eq!(error(preset, |_| {}), None, "{}", preset.id);
        let missing = ProviderError::Missing("client_id", preset.name.into());
        assert_eq!(error(preset, |s| s.client_id.clear()), Some(missing));
    }
    for (preset, key, change) in [
        (&generic::OPENID, "issuer", (|s| s.issuer = None) as Change),
        (&microsoft::PRESET, "tenant", |s| s.tenant = None),
        (&apple::PRESET, "private_key", |s| s.private_key = None),
        (&apple::PRESET, "team_id", |s| s.team_id = None),
        (&generic::OAUTH2, "authorization_endpoint", |s| {
            s.api.authorization_endpoint = None;
        }),
        (&generic::OAUTH2, "token_endpoint", |s| {
            s.api.token_endpoint = None
        }),
        (&generic::OAUTH2, "profile_endpoint", |s| {
            s.api.profile_endpoint = None
        }),
        (&generic::OAUTH2, "subject_claim", |s| {
            s.api.subject_claim = None
        }),
        (&generic::OAUTH2, "subject_claim", |s| {
            s.api.subject_claim = Some(String::new())
        }),
        (&generic::OPENID, "private_key", |s| {
            s.client_auth = Some(ClientAuthMethod::PrivateKeyJwt);
        }),
        (&generic::OPENID, "client_secret", |s| {
            s.client_auth = Some(ClientAuthMethod::Basic);
            s.client_secret = None;
        }),
        (&generic::OPENID, "client_secret", |s| {
            s.client_auth = Some(ClientAuthMethod::Post);
            s.client_secret = None;
        }),
    ] {
        let missing = ProviderError::Missing(key, preset.name.into());
        assert_eq!(error(preset, change), Some(missing), "{}", preset.id);
    }
}

// Nobody shall believe that a line of the configuration keeps people out, or asks for more, while nothing reads it.
#[test]
fn a_setting_that_does_nothing_with_a_provider_is_refused() {
    let openid: [(&str, Change); 16] = [
        ("base_url", |s| {
            s.base_url = Some("https://acme.example".into())
        }),
        ("tenant", |s| s.tenant = Some(TENANT.into())),
        ("allowed_tenants", |s| {
            s.allowed_tenants = vec![TENANT.into()]
        }),
        ("team_id", |s| s.team_id = Some("TEAM".into())),
        ("private_key", |s| {
            s.client_auth = Some(ClientAuthMethod::Basic);
            s.client_secret = None;
            s.private_key = Some(key());
        }),
        ("private_key", |s| {
            s.client_auth = Some(ClientAuthMethod::None);
            s.client_secret = None;
            s.private_key = Some(key());
        }),
        ("authorization_endpoint", |s| {
            s.api.authorization_endpoint = Some("https://x.example".into())
        }),
        ("token_endpoint", |s| {
            s.api.token_endpoint = Some("https://x.example".into())
        }),
        ("revocation_endpoint", |s| {
            s.api.revocation_endpoint = Some("https://x.example".into())
        }),
        ("profile_endpoint", |s| {
            s.api.profile_endpoint = Some("https://x.example".into())
        }),
        ("subject_claim", |s| {
            s.api.subject_claim = Some("oid".into())
        }),
        ("email_claim", |s| s.api.email_claim = Some("upn".into())),
        ("email_verified_claim", |s| {
            s.api.email_verified_claim = Some("yes".into())
        }),
        ("name_claim", |s| s.api.name_claim = Some("nickname".into())),
        ("picture_claim", |s| {
            s.api.picture_claim = Some("avatar".into())
        }),
        ("base_url", |s| s.base_url = Some(String::new())),
    ];
    let oauth2: [(&str, Change); 6] = [
        ("base_url", |s| {
            s.base_url = Some("https://hub.example".into())
        }),
        ("metadata_url", |s| {
            s.metadata_url = Some("https://hub.example".into())
        }),
        ("tenant", |s| s.tenant = Some(TENANT.into())),
        ("allowed_tenants", |s| {
            s.allowed_tenants = vec![TENANT.into()]
        }),
        ("app_client_ids", |s| {
            s.app_client_ids = vec!["android".into()]
        }),
        ("par", |s| s.par = true),
    ];
    let microsoft: [(&str, Change); 3] = [
        ("issuer", |s| s.issuer = Some("https://acme.example".into())),
        ("allowed_tenants", |s| {
            s.allowed_tenants = vec![TENANT.into()]
        }),
        ("allowed_tenants", |s| {
            s.tenant = Some("consumers".into());
            s.allowed_tenants = vec!["*".into()];
        }),
    ];
    let apple: [(&str, Change); 1] = [("client_secret", |s| {
        s.client_secret = Some(ClientSecret::new("secret".into()));
    })];
    for (preset, rows) in [
        (&generic::OPENID, openid.as_slice()),
        (&generic::OAUTH2, &oauth2),
        (&microsoft::PRESET, &microsoft),
        (&apple::PRESET, &apple),
    ] {
        for (key, change) in rows {
            let idle = ProviderError::Idle(key, preset.name.into());
            assert_eq!(error(preset, *change), Some(idle), "{} {key}", preset.id);
        }
    }
}

// S19
#[test]
fn an_address_that_is_not_https_is_refused_wherever_it_stands() {
    let is_http = |found: Option<ProviderError>, url: &str| {
        let http = ProviderError::Url(IssuerError::Http(url.into()));
        assert_eq!(found, Some(http));
    };
    let url = "http://hub.example";
    let openid: [Change; 2] = [
        |s| s.issuer = Some("http://hub.example".into()),
        |s| s.metadata_url = Some("http://hub.example".into()),
    ];
    let oauth2: [Change; 5] = [
        |s| s.issuer = Some("http://hub.example".into()),
        |s| s.api.authorization_endpoint = Some("http://hub.example".into()),
        |s| s.api.token_endpoint = Some("http://hub.example".into()),
        |s| s.api.revocation_endpoint = Some("http://hub.example".into()),
        |s| s.api.profile_endpoint = Some("http://hub.example".into()),
    ];
    for change in openid {
        is_http(error(&generic::OPENID, change), url);
    }
    for change in oauth2 {
        is_http(error(&generic::OAUTH2, change), url);
    }
    let installed = |s: &mut ProviderSettings| s.base_url = Some("http://hub.example/".into());
    is_http(
        error(&github::PRESET, installed),
        "http://hub.example/api/v3/user",
    );
}

// S6, RFC 6749 section 3.3
#[test]
fn scopes_are_words_and_hold_openid_where_there_are_id_tokens() {
    for word in ["", "a b", "a\"b", "a\\b", "a\n", "\u{e9}"] {
        for change in [
            (|s, word| s.scopes = vec!["openid".into(), word]) as fn(&mut ProviderSettings, String),
            |s, word| s.extra_scopes = vec![word],
            |s, word| s.optional_scopes = vec![word],
        ] {
            let mut settings = settings(&generic::OPENID);
            change(&mut settings, word.to_owned());
            let error = Provider::new(settings).err();
            assert_eq!(error, Some(ProviderError::Scopes), "{word:?}");
        }
    }
    let without: Change = |s| s.scopes = vec!["email".into()];
    assert_eq!(
        error(&generic::OPENID, without),
        Some(ProviderError::Scopes)
    );
    assert_eq!(error(&generic::OAUTH2, without), None);
    let mut doubled = settings(&generic::OPENID);
    doubled.extra_scopes = vec!["email".into(), "files".into(), "files".into()];
    let scopes = Provider::new(doubled).unwrap().scopes;
    assert_eq!(scopes, ["openid", "email", "profile", "files"]);
}

// S6
#[test]
fn no_parameter_of_the_protocol_is_set_by_the_configuration() {
    for name in [
        "response_type",
        "response_mode",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "login_hint",
        "request",
        "request_uri",
    ] {
        let mut settings = settings(&generic::OPENID);
        settings.authorization_params = vec![(name.into(), "x".into())];
        let error = Provider::new(settings).err();
        assert_eq!(error, Some(ProviderError::Parameter(name.into())));
    }
}

// S41
#[test]
fn clocks_may_differ_by_five_minutes_at_most() {
    for (seconds, does) in [(0, true), (300, true), (-1, false), (301, false)] {
        let mut settings = settings(&generic::OPENID);
        settings.skew_seconds = seconds;
        let error = Provider::new(settings).err();
        assert_eq!(error, (!does).then_some(ProviderError::Skew), "{seconds}");
    }
}

// S21
#[test]
fn one_proof_and_one_method_go_together_or_not_at_all() {
    for (word, change) in [
        (
            "private_key_jwt",
            (|s| s.private_key = Some(key())) as Change,
        ),
        ("private_key_jwt", |s| {
            s.client_auth = Some(ClientAuthMethod::PrivateKeyJwt);
            s.private_key = Some(key());
        }),
        ("none", |s| s.client_auth = Some(ClientAuthMethod::None)),
    ] {
        let error = error(&generic::OPENID, change);
        let refused = matches!(&error, Some(ProviderError::ClientAuth(found, _)) if *found == word);
        assert!(refused, "{word}: {error:?}");
    }
    let public = |change: Change| {
        let mut settings = settings(&generic::OPENID);
        change(&mut settings);
        Provider::new(settings).unwrap().is_public_client()
    };
    assert!(!public(|_| {}));
    assert!(public(|s| s.client_secret = None));
    assert!(public(|s| {
        s.client_secret = None;
        s.client_auth = Some(ClientAuthMethod::None);
    }));
    assert!(!public(|s| {
        s.client_secret = None;
        s.private_key = Some(key());
    }));
}

// S54, S55
#[test]
fn two_realms_of_one_host_are_two_issuers() {
    let issuer = |endpoint: &str| {
        let mut settings = settings(&generic::OAUTH2);
        settings.api.authorization_endpoint = Some(endpoint.into());
        Provider::new(settings).unwrap().issuer.as_str().to_owned()
    };
    let one = issuer("https://sso.example/a/authorize?x=1");
    assert_eq!(one, "https://sso.example/a/authorize");
    assert_ne!(one, issuer("https://sso.example/b/authorize"));
}
