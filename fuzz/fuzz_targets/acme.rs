//! A provider for targets that need one.

use std::sync::LazyLock;

use url::Url;
use vestibule_oidc::providers::generic;
use vestibule_oidc::{Provider, ProviderId, ProviderSettings};

pub const ISSUER: &str = "https://login.acme.example";

pub static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let mut settings = ProviderSettings::new(
        ProviderId::parse("acme").expect("a name"),
        &generic::OPENID,
        "client".into(),
        Url::parse("https://app.example/auth/acme/callback").expect("a URL"),
    );
    settings.issuer = Some(ISSUER.into());
    Provider::new(settings).expect("settings that do")
});
