//! The providers of a configuration: presets by their variables, others by their issuer or endpoints.

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;
use vestibule_oidc::providers::{
    self, ClientAuthMethod, IssuerRule, Preset, Protocol, Setting, generic,
};
use vestibule_oidc::{
    ApiSettings, AssertionAudience, ClientSecret, HttpPolicy, PrivateKey, Prompt, Provider,
    ProviderId, ProviderSettings,
};

use super::keys;
use super::resolve::Resolver;

/// Every provider that is spoken of anywhere, in the order of their names.
pub(super) fn all(read: &mut Resolver<'_>, public_url: &Url, http: &HttpPolicy) -> Vec<Provider> {
    let mut all: Vec<Provider> = Vec::new();
    for name in read.provider_names() {
        let before = read.errors.len();
        let provider = one(read, &name, public_url, http);
        if let Some(provider) = &provider {
            refuse_borrowed_issuer(read, provider, &all);
        }
        if read.errors.len() == before {
            all.extend(provider);
        }
    }
    all
}

/// Refuses two providers that share an issuer and are asked at different places: user 1 of the one would be user 1 of the
/// other (S54, S55).
fn refuse_borrowed_issuer(read: &mut Resolver<'_>, provider: &Provider, others: &[Provider]) {
    let same = others
        .iter()
        .find(|other| other.issuer == provider.issuer && !other.is_asked_where(provider));
    if let Some(other) = same {
        read.wrong(
            &format!("providers.{}.issuer", provider.id),
            provider.issuer.as_str(),
            format!(
                "it is the issuer of providers.{} too, which is asked elsewhere",
                other.id
            ),
            "give each its own issuer: whoever has the same subject at both would be one person",
        );
    }
}

fn one(
    read: &mut Resolver<'_>,
    name: &str,
    public_url: &Url,
    http: &HttpPolicy,
) -> Option<Provider> {
    let id = match ProviderId::parse(name) {
        Ok(id) => id,
        Err(error) => {
            read.wrong(
                &format!("providers.{name}"),
                "",
                error.to_string(),
                "give it another name",
            );
            return None;
        }
    };
    let mut keys = Keys { read, name };
    let issuer = keys.text("issuer");
    let endpoint = keys.text("authorization_endpoint");
    let preset = keys.preset(issuer.as_deref(), endpoint.is_some())?;
    for needed in preset.needs {
        keys.require(preset, *needed);
    }
    let client_id = keys.client_id();
    let mut settings = ProviderSettings::new(
        id,
        preset,
        client_id?,
        public_url.join(&format!("auth/{name}/callback")).ok()?,
    );
    settings.name = keys
        .text("name")
        .or_else(|| (preset.id != name).then(|| title(name)));
    settings.issuer = issuer;
    settings.metadata_url = keys.text("metadata_url");
    settings.base_url = keys.text("base_url");
    settings.tenant = keys.text("tenant");
    settings.allowed_tenants = keys.list("allowed_tenants");
    settings.api = ApiSettings {
        authorization_endpoint: endpoint,
        token_endpoint: keys.text("token_endpoint"),
        revocation_endpoint: keys.text("revocation_endpoint"),
        profile_endpoint: keys.text("profile_endpoint"),
        subject_claim: keys.text("subject_claim"),
        email_claim: keys.text("email_claim"),
        email_verified_claim: keys.text("email_verified_claim"),
        name_claim: keys.text("name_claim"),
        picture_claim: keys.text("picture_claim"),
    };
    settings.app_client_ids = keys.list("app_client_ids");
    settings.client_secret = keys.client_secret();
    settings.client_auth = keys.client_auth();
    settings.private_key = keys.private_key();
    settings.assertion_audience =
        match keys.word("client_assertion_audience", &["issuer", "token_endpoint"]) {
            Some("token_endpoint") => AssertionAudience::TokenEndpoint,
            _ => AssertionAudience::Issuer,
        };
    settings.team_id = keys.text("team_id");
    settings.scopes = keys.list("scopes");
    settings.extra_scopes = keys.list("extra_scopes");
    settings.optional_scopes = keys.list("optional_scopes");
    settings.authorization_params = keys.authorization_params();
    settings.form_post = keys
        .word("response_mode", &["query", "form_post"])
        .map(|mode| mode == "form_post");
    settings.par = keys.boolean("par");
    settings.keep_tokens = keys.boolean("keep_tokens");
    settings.authoritative_for = keys.list("authoritative_for");
    settings.http = http.clone();
    settings.skew_seconds = keys.number("clock_skew_seconds").unwrap_or(60);
    settings.trusted_audiences = keys.list("trusted_audiences");
    settings.allowed_hosts = keys.list("allowed_hosts");
    match Provider::new(settings) {
        Ok(provider) => Some(provider),
        Err(error) => {
            read.wrong(
                &format!("providers.{name}"),
                "",
                error.to_string(),
                format!(
                    "see [providers.{name}] and the variables {}_...",
                    keys::provider_variable(name)
                ),
            );
            None
        }
    }
}

/// The keys below `providers.<name>`.
struct Keys<'a, 'b> {
    read: &'a mut Resolver<'b>,
    name: &'a str,
}

impl Keys<'_, '_> {
    fn key(&self, field: &str) -> String {
        format!("providers.{}.{field}", self.name)
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let key = self.key(field);
        self.read.text(&key).map(|(text, _)| text)
    }

    fn list(&mut self, field: &str) -> Vec<String> {
        let key = self.key(field);
        self.read
            .list(&key)
            .map(|(list, _)| list)
            .unwrap_or_default()
    }

    fn number(&mut self, field: &str) -> Option<i64> {
        let key = self.key(field);
        self.read.number(&key).map(|(number, _)| number)
    }

    /// A choice that is off unless it is made; shown only then.
    fn boolean(&mut self, field: &str) -> bool {
        let key = self.key(field);
        self.read.choice(&key)
    }

    /// One of some words, if it is said.
    fn word(&mut self, field: &str, words: &[&'static str]) -> Option<&'static str> {
        let text = self.text(field)?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let near = keys::nearest(&text, words.iter().copied()).unwrap_or(words[0]);
            let key = self.key(field);
            self.read.wrong(
                &key,
                format!("{text:?}"),
                format!("it is one of {}", words.join(", ")),
                format!("write {field} = \"{near}\""),
            );
        }
        found
    }

    /// The preset: the one that `preset` names, else the one of the provider's own name, else the general one. What is
    /// particular about a provider holds for its own issuer alone, or for an installation of it.
    fn preset(&mut self, issuer: Option<&str>, has_endpoints: bool) -> Option<&'static Preset> {
        let named = self.text("preset");
        if let Some(named) = &named {
            let Some(preset) = providers::find(named) else {
                let near = keys::nearest_preset(named);
                let remedy = near.map_or_else(
                    || "`vestibule providers` lists all of them".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                let key = self.key("preset");
                self.read.wrong(
                    &key,
                    format!("{named:?}"),
                    "there is no such preset",
                    remedy,
                );
                return None;
            };
            return Some(preset);
        }
        let own = providers::find(self.name).filter(|preset| match (&preset.protocol, issuer) {
            (Protocol::OpenId(openid), Some(issuer)) => match openid.issuer {
                IssuerRule::Fixed(own) => own == issuer,
                IssuerRule::Installed(_) | IssuerRule::Tenants(_) | IssuerRule::Configured => true,
            },
            (Protocol::OAuth2(_), Some(_)) => has_endpoints,
            (_, None) => true,
        });
        match (own, issuer, has_endpoints) {
            (Some(preset), _, _) => Some(preset),
            (None, _, true) => Some(&generic::OAUTH2),
            (None, Some(_), false) => Some(&generic::OPENID),
            (None, None, false) => {
                let key = self.key("issuer");
                let (name, variable) = (self.name, keys::variable(&key));
                let near = keys::nearest_preset(name);
                let remedy = match near {
                    Some(near) => format!("did you mean [providers.{near}]?"),
                    None => format!(
                        "write issuer = \"https://login.{name}.example\" below [providers.{name}], or set {variable}; for a provider without OpenID Connect, authorization_endpoint and the like; for a second {name} of a known kind, preset = \"...\""
                    ),
                };
                self.read.wrong(
                    &key,
                    "",
                    "it is missing, and no provider of this name is known",
                    remedy,
                );
                None
            }
        }
    }

    /// Tells what a preset needs and has not.
    fn require(&mut self, preset: &Preset, needed: Setting) {
        for field in needed.keys() {
            let key = self.key(field);
            if self.read.has(&key)
                || needed == Setting::ClientSecret && self.read.has(&self.key("private_key"))
            {
                continue;
            }
            let variable = keys::variable(&key);
            let remedy = match needed {
                Setting::Tenant => format!(
                    "set {variable} to the tenant's id, or to consumers, organizations or common"
                ),
                Setting::PrivateKey => {
                    format!("set {variable}_FILE to the file that the console gave you")
                }
                _ => format!("set {variable}=..., which the provider's console shows"),
            };
            self.read.wrong(
                &key,
                "",
                format!(
                    "it is missing, and {} asks every client for one",
                    preset.name
                ),
                remedy,
            );
        }
    }

    fn client_id(&mut self) -> Option<String> {
        let key = self.key("client_id");
        let variable = keys::variable(&key);
        let name = self.name;
        match self.read.text(&key) {
            Some((text, _)) if !is_sample(&text) => Some(text),
            Some((text, origin)) => {
                self.read.wrong(
                    &key,
                    format!("{text:?} from {origin}"),
                    "it is a sample",
                    format!("set {variable} to the client id that {name} gave you"),
                );
                None
            }
            None => {
                self.read.wrong(
                    &key,
                    "",
                    "it is missing",
                    format!("set {variable}=..., or write client_id below [providers.{name}]"),
                );
                None
            }
        }
    }

    fn client_secret(&mut self) -> Option<ClientSecret> {
        let text = self.text("client_secret")?;
        if is_sample(&text) {
            let key = self.key("client_secret");
            let variable = keys::variable(&key);
            self.read.wrong(
                &key,
                "a sample value",
                "it is not what the provider gave",
                format!("set {variable} to the secret of the client that you made at the provider"),
            );
        }
        Some(ClientSecret::new(text))
    }

    fn client_auth(&mut self) -> Option<ClientAuthMethod> {
        let word = self.word(
            "client_auth",
            &[
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
                "none",
            ],
        )?;
        Some(match word {
            "client_secret_basic" => ClientAuthMethod::Basic,
            "client_secret_post" => ClientAuthMethod::Post,
            "private_key_jwt" => ClientAuthMethod::PrivateKeyJwt,
            _ => ClientAuthMethod::None,
        })
    }

    fn private_key(&mut self) -> Option<PrivateKey> {
        let kid = self.text("key_id");
        let pem = self.text("private_key")?;
        let read = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .ok()
            .and_then(|der| PrivateKey::from_pkcs8(der.secret_pkcs8_der(), kid).ok());
        if read.is_none() {
            let key = self.key("private_key");
            self.read.wrong(
                &key,
                "a value",
                "it is no private key in PEM (PKCS#8: -----BEGIN PRIVATE KEY-----) of P-256, RSA or Ed25519",
                "convert it: openssl pkcs8 -topk8 -nocrypt -in key.pem",
            );
        }
        read
    }

    /// `prompt`, `access_type` and the like.
    fn authorization_params(&mut self) -> Vec<(String, String)> {
        let mut params = Vec::new();
        for text in self.list("authorization_params") {
            match text.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    params.push((name.to_owned(), value.to_owned()));
                }
                _ => {
                    let key = self.key("authorization_params");
                    self.read.wrong(
                        &key,
                        format!("{text:?}"),
                        "each is a name and a value",
                        "write authorization_params = [\"name=value\"]",
                    );
                }
            }
        }
        if let Some(prompt) = self.text("prompt") {
            if !prompt.split(' ').all(|word| Prompt::parse(word).is_some()) {
                let key = self.key("prompt");
                self.read.wrong(
                    &key,
                    format!("{prompt:?}"),
                    "it is none, login, consent, select_account, or several with a space between",
                    "write prompt = \"select_account\"",
                );
            }
            params.push(("prompt".to_owned(), prompt));
        }
        if let Some(access_type) = self.text("access_type") {
            params.push(("access_type".to_owned(), access_type));
        }
        params
    }
}

/// What stands in documentation instead of a value.
pub(super) fn is_sample(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.trim_matches('.').is_empty()
        || [
            "your-",
            "your_",
            "<",
            "changeme",
            "change-me",
            "change_me",
            "xxxx",
            "todo",
            "replace-me",
            "replace_me",
        ]
        .iter()
        .any(|start| lower.starts_with(start))
        || matches!(
            lower.as_str(),
            "client_id" | "client-id" | "client_secret" | "client-secret" | "secret" | "example"
        )
}

/// A name for people from the name in routes.
pub(super) fn title(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in name.split('-').filter(|word| !word.is_empty()) {
        let mut chars = word.chars();
        words.extend(
            chars
                .next()
                .map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()),
        );
    }
    words.join(" ")
}
