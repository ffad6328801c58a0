//! A provider for targets that need one.

use std::sync::LazyLock;

use url::Url;
use vestibule_oidc::providers::generic;
use vestibule_oidc::{HttpPolicy, Provider, ProviderId, ProviderSettings};

pub const ISSUER: &str = "https://login.acme.example";

pub static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    Provider::new(ProviderSettings {
        id: ProviderId::parse("acme").expect("a name"),
        name: "Acme".into(),
        issuer: ISSUER.into(),
        metadata_url: None,
        client_id: "client".into(),
        client_secret: None,
        scopes: Vec::new(),
        redirect_uri: Url::parse("https://app.example/auth/acme/callback").expect("a URL"),
        http: HttpPolicy::default(),
        skew_seconds: 60,
        trusted_audiences: Vec::new(),
        allowed_hosts: Vec::new(),
        preset: &generic::PRESET,
    })
    .expect("settings that do")
});
