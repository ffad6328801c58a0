//! A configured provider: checked once when it is built, then plain data.

use core::fmt;

use url::Url;
use vestibule_jose::Algorithm;

use crate::client_auth::{AssertionAudience, Credentials, PrivateKey};
use crate::issuer::{HttpPolicy, Issuer, IssuerError};
use crate::metadata::Metadata;
use crate::outbound::OutboundRequest;
use crate::providers::{
    ClaimPaths, ClientAuthMethod, EmailList, Endpoints, IssuerRule, OAuth2, Preset, Profile,
    Protocol,
};
use crate::secret::ClientSecret;

/// The words below `/auth` that are routes of ours.
const ROUTE_WORDS: &[&str] = &[
    "callback",
    "check",
    "cookie",
    "forgot-password",
    "forward",
    "jwt",
    "login",
    "logout",
    "providers",
    "register",
    "request-verify-token",
    "reset-password",
    "session",
    "verify",
];

/// The parameters that are ours alone to set in an authorization request.
pub(crate) const OURS: &[&str] = &[
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
];

/// The tenant of Microsoft's personal accounts.
const PERSONAL_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
/// Where a tenant's id stands in an issuer.
pub(crate) const TENANT_ID: &str = "{tenantid}";

/// The longest time by which clocks may differ, in seconds.
const MAX_SKEW: i64 = 300;

/// A provider's name in routes and configuration: `[a-z][a-z0-9-]{0,31}`, and no route of ours.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProviderId(String);

impl ProviderId {
    /// Reads a name.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Self, ProviderError> {
        let bytes = text.as_bytes();
        let fits = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.len() <= 32
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if !fits {
            return Err(ProviderError::Id);
        }
        if ROUTE_WORDS.contains(&text) {
            return Err(ProviderError::RouteWord(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a provider cannot be configured so.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The name does not fit.
    #[error("a provider's name is a small letter and up to 31 small letters, digits or hyphens")]
    Id,
    /// The name is a route of ours.
    #[error("a provider cannot be called {0}: /auth/{0} is a route of Vestibule")]
    RouteWord(String),
    /// The issuer or another URL does not do.
    #[error(transparent)]
    Url(#[from] IssuerError),
    /// A setting that this provider cannot do without.
    #[error("{0} is missing; {1} needs it")]
    Missing(&'static str, String),
    /// A setting that does nothing with this provider.
    #[error("{0} does nothing with {1}; take it out")]
    Idle(&'static str, String),
    /// `scopes` lacks `openid`, or holds something that is no scope.
    #[error(
        "scopes are words without spaces, quotes or backslashes, and an OpenID provider's hold openid"
    )]
    Scopes,
    /// The skew is out of range.
    #[error("the clock skew is 0 to 300 seconds")]
    Skew,
    /// A parameter of the authorization request that is ours to set.
    #[error("the authorization request's parameter {0} is set by Vestibule alone")]
    Parameter(String),
    /// `tenant` is neither an id nor one of the words.
    #[error(
        "tenant is the id of a tenant (32 hex digits with hyphens), common, organizations or consumers"
    )]
    Tenant,
    /// Everybody with an account at any organisation could come.
    #[error(
        "tenant = \"{0}\" lets the accounts of every organisation in; write allowed_tenants = [\"<tenant id>\"] with those that may, or [\"*\"] for all of them"
    )]
    AnyTenant(String),
    /// A method of client authentication for which its credentials are not there.
    #[error("client_auth = \"{0}\" does not fit: {1}")]
    ClientAuth(&'static str, &'static str),
}

/// What a provider is built from. [`ProviderSettings::new`] leaves out all that has a default.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// The name in routes.
    pub id: ProviderId,
    /// What is particular about this provider.
    pub preset: &'static Preset,
    /// The name for people; the preset's if absent.
    pub name: Option<String>,
    /// The issuer, where the preset does not say it.
    pub issuer: Option<String>,
    /// Where the metadata stand, if not below the issuer.
    pub metadata_url: Option<String>,
    /// The address of an installation of one's own, of a provider that has no issuer.
    pub base_url: Option<String>,
    /// The tenant, of a provider with tenants.
    pub tenant: Option<String>,
    /// The tenants whose accounts may come; `*` for all.
    pub allowed_tenants: Vec<String>,
    /// Endpoints and claims of an OAuth 2.0 provider that is no preset.
    pub api: ApiSettings,
    /// Our name at the provider.
    pub client_id: String,
    /// Names of our apps at the provider: ID tokens for them are taken from the apps, and from nobody else.
    pub app_client_ids: Vec<String>,
    /// Our secret at the provider; `None` for a public client.
    pub client_secret: Option<ClientSecret>,
    /// How we prove who we are; as the metadata say where absent.
    pub client_auth: Option<ClientAuthMethod>,
    /// The private key that we sign assertions with.
    pub private_key: Option<PrivateKey>,
    /// Who assertions are for.
    pub assertion_audience: AssertionAudience,
    /// Our team at the provider, where client secrets are signed.
    pub team_id: Option<String>,
    /// The scopes to ask for; those of the preset where empty.
    pub scopes: Vec<String>,
    /// Scopes beside these.
    pub extra_scopes: Vec<String>,
    /// Scopes that a login may ask for when the application needs them (incremental consent).
    pub optional_scopes: Vec<String>,
    /// Parameters of the authorization request, such as `prompt` and `access_type`.
    pub authorization_params: Vec<(String, String)>,
    /// Whether the answer comes as a form post; as the preset says where absent.
    pub form_post: Option<bool>,
    /// Whether authorization requests are pushed (RFC 9126) although the provider does not require it.
    pub par: bool,
    /// Whether the provider's tokens are kept.
    pub keep_tokens: bool,
    /// Domains for whose addresses this provider is authoritative.
    pub authoritative_for: Vec<String>,
    /// Our callback, absolute.
    pub redirect_uri: Url,
    /// Where http is allowed.
    pub http: HttpPolicy,
    /// By how many seconds clocks may differ.
    pub skew_seconds: i64,
    /// Audiences beside us that an ID token may name.
    pub trusted_audiences: Vec<String>,
    /// Hosts beside the issuer's that the metadata may point to although they are private.
    pub allowed_hosts: Vec<String>,
}

/// Endpoints and claims of an OAuth 2.0 provider, as configured.
#[derive(Clone, Debug, Default)]
pub struct ApiSettings {
    /// Where people are sent.
    pub authorization_endpoint: Option<String>,
    /// Where codes become tokens.
    pub token_endpoint: Option<String>,
    /// Where tokens are given back.
    pub revocation_endpoint: Option<String>,
    /// Where the person is described.
    pub profile_endpoint: Option<String>,
    /// The path of the subject there.
    pub subject_claim: Option<String>,
    /// The path of the address there.
    pub email_claim: Option<String>,
    /// The path of what is `true` where the address is verified.
    pub email_verified_claim: Option<String>,
    /// The path of the name.
    pub name_claim: Option<String>,
    /// The path of the picture.
    pub picture_claim: Option<String>,
}

impl ApiSettings {
    /// Each key, and whether it is set.
    fn given(&self) -> [(&'static str, bool); 9] {
        [
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("revocation_endpoint", &self.revocation_endpoint),
            ("profile_endpoint", &self.profile_endpoint),
            ("subject_claim", &self.subject_claim),
            ("email_claim", &self.email_claim),
            ("email_verified_claim", &self.email_verified_claim),
            ("name_claim", &self.name_claim),
            ("picture_claim", &self.picture_claim),
        ]
        .map(|(key, setting)| (key, setting.is_some()))
    }
}

impl ProviderSettings {
    /// A public client with the preset's defaults.
    #[must_use]
    pub fn new(
        id: ProviderId,
        preset: &'static Preset,
        client_id: String,
        redirect_uri: Url,
    ) -> Self {
        Self {
            id,
            preset,
            name: None,
            issuer: None,
            metadata_url: None,
            base_url: None,
            tenant: None,
            allowed_tenants: Vec::new(),
            api: ApiSettings::default(),
            client_id,
            app_client_ids: Vec::new(),
            client_secret: None,
            client_auth: None,
            private_key: None,
            assertion_audience: AssertionAudience::default(),
            team_id: None,
            scopes: Vec::new(),
            extra_scopes: Vec::new(),
            optional_scopes: Vec::new(),
            authorization_params: Vec::new(),
            form_post: None,
            par: false,
            keep_tokens: false,
            authoritative_for: Vec::new(),
            redirect_uri,
            http: HttpPolicy::default(),
            skew_seconds: 60,
            trusted_audiences: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}

/// A provider that people sign in with.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in routes.
    pub id: ProviderId,
    /// The name for people.
    pub name: String,
    /// The issuer, byte for byte; with `{tenantid}` in it where accounts of several tenants come.
    pub issuer: Issuer,
    /// The tenants whose accounts may come, where the issuer has one each.
    pub(crate) tenants: Option<Tenants>,
    /// Where it is asked what.
    pub(crate) source: Source,
    /// Our name at the provider.
    pub client_id: String,
    /// Names of our apps at the provider.
    pub app_client_ids: Vec<String>,
    /// What we prove who we are with.
    pub(crate) credentials: Credentials,
    /// The scopes that we ask for.
    pub scopes: Vec<String>,
    /// Scopes that a login may ask for beside these.
    pub optional_scopes: Vec<String>,
    /// Parameters of the authorization request that are not ours.
    pub(crate) authorization_params: Vec<(String, String)>,
    /// Whether the answer comes as a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    pub form_post: bool,
    /// Whether authorization requests are pushed although the provider does not require it.
    pub(crate) par: bool,
    /// Whether the provider's tokens are kept.
    pub keep_tokens: bool,
    /// Domains for whose addresses it is authoritative.
    pub(crate) authoritative_for: Vec<String>,
    /// Our callback.
    pub redirect_uri: Url,
    /// Where http is allowed.
    pub http: HttpPolicy,
    /// By how many seconds clocks may differ.
    pub skew_seconds: i64,
    /// Audiences beside us that an ID token may name.
    pub trusted_audiences: Vec<String>,
    /// Hosts that may be private: the issuer's, and those of the configuration.
    pub allowed_hosts: Vec<String>,
    /// What is particular about this provider.
    pub preset: &'static Preset,
}

/// The tenants whose accounts may come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Tenants {
    All,
    These(Vec<String>),
}

/// Where a provider is asked what.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Its metadata say.
    Metadata(Url),
    /// It has none: its endpoints and what its API answers are known.
    Api(Box<Api>),
}

/// The interface of a provider that speaks OAuth 2.0 alone.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) metadata: Metadata,
    pub(crate) profile: ApiProfile,
    pub(crate) emails: Option<(Url, EmailList)>,
    pub(crate) claims: Claims,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ApiProfile {
    Get(Url),
    Post(Url),
    TokenResponse,
}

/// The paths of facts in its answer.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    /// Whether that is a whole number at this provider, or may be one.
    pub(crate) subject_may_be_number: bool,
    pub(crate) email: String,
    /// In place of what the preset says.
    pub(crate) email_verified: Option<String>,
    pub(crate) name: Vec<String>,
    pub(crate) picture: String,
}

impl Provider {
    /// Whether accounts of several tenants come, each tenant with an issuer of its own.
    #[must_use]
    pub fn has_issuer_for_each_tenant(&self) -> bool {
        self.issuer.as_str().contains(TENANT_ID)
    }

    /// Whether the configuration names the member that says that an address is verified.
    pub(crate) fn has_email_verified_claim(&self) -> bool {
        match &self.source {
            Source::Api(api) => api.claims.email_verified.is_some(),
            Source::Metadata(_) => false,
        }
    }

    /// Checks settings.
    ///
    /// # Errors
    /// See [`ProviderError`]; each says what would do.
    pub fn new(settings: ProviderSettings) -> Result<Self, ProviderError> {
        let preset = settings.preset;
        let name = settings
            .name
            .clone()
            .unwrap_or_else(|| preset.name.to_owned());
        if settings.client_id.is_empty() {
            return Err(ProviderError::Missing("client_id", name));
        }
        let (issuer, tenants, source) = match &preset.protocol {
            Protocol::OpenId(openid) => {
                let (issuer, tenants) = issuer_of(openid.issuer, &settings, &name)?;
                let metadata_url = match (&settings.metadata_url, &tenants, &settings.tenant) {
                    (Some(url), _, _) => url.clone(),
                    (None, Some(_), Some(tenant)) => {
                        Issuer::parse(&issuer.as_str().replace(TENANT_ID, tenant), &settings.http)?
                            .metadata_url()
                    }
                    (None, _, _) => issuer.metadata_url(),
                };
                let source = Source::Metadata(settings.http.endpoint(&metadata_url)?);
                (issuer, tenants, source)
            }
            Protocol::OAuth2(oauth2) => {
                let (issuer, api) = api_of(oauth2, &settings, &name)?;
                (issuer, None, Source::Api(Box::new(api)))
            }
        };
        let scopes = scopes_of(&settings)?;
        if !(0..=MAX_SKEW).contains(&settings.skew_seconds) {
            return Err(ProviderError::Skew);
        }
        let credentials = credentials_of(&settings, &name)?;
        let authorization_params = params_of(&settings)?;
        let mut allowed_hosts = settings.allowed_hosts;
        let mut allow = |text: &str| {
            let host = Url::parse(text)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned));
            allowed_hosts.extend(host);
        };
        allow(issuer.as_str());
        match &source {
            Source::Metadata(url) => allow(url.as_str()),
            // The configuration names each of them.
            Source::Api(api) => {
                allow(api.metadata.token_endpoint.as_str());
                match &api.profile {
                    ApiProfile::Get(url) | ApiProfile::Post(url) => allow(url.as_str()),
                    ApiProfile::TokenResponse => {}
                }
            }
        }
        Ok(Self {
            id: settings.id,
            name,
            issuer,
            tenants,
            source,
            client_id: settings.client_id,
            app_client_ids: settings.app_client_ids,
            credentials,
            scopes,
            optional_scopes: settings.optional_scopes,
            authorization_params,
            form_post: settings.form_post.unwrap_or(preset.quirks.form_post),
            par: settings.par,
            keep_tokens: settings.keep_tokens,
            authoritative_for: settings
                .authoritative_for
                .iter()
                .map(|domain| domain.trim_start_matches('@').to_ascii_lowercase())
                .collect(),
            redirect_uri: settings.redirect_uri,
            http: settings.http,
            skew_seconds: settings.skew_seconds,
            trusted_audiences: settings.trusted_audiences,
            allowed_hosts,
            preset,
        })
    }

    /// The request for the metadata (OpenID Connect Discovery section 4.1); `None` for a provider that has none.
    #[must_use]
    pub fn metadata_request(&self) -> Option<OutboundRequest> {
        match &self.source {
            Source::Metadata(url) => Some(OutboundRequest::get(url.clone())),
            Source::Api(_) => None,
        }
    }

    /// What is known of a provider without metadata.
    #[must_use]
    pub fn known_metadata(&self) -> Option<&Metadata> {
        match &self.source {
            Source::Metadata(_) => None,
            Source::Api(api) => Some(&api.metadata),
        }
    }

    /// Whether both are asked at the same places, so that a subject of the one is the same person at the other.
    #[must_use]
    pub fn is_asked_where(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Metadata(one), Source::Metadata(other)) => one == other,
            (Source::Api(here), Source::Api(there)) => {
                here.profile == there.profile
                    && here.metadata.token_endpoint == there.metadata.token_endpoint
                    && here.claims.subject == there.claims.subject
                    && (!self.preset.quirks.subject_of_client || self.client_id == other.client_id)
            }
            _ => false,
        }
    }

    /// Whether this issuer is the provider's, or that of one of its tenants.
    #[must_use]
    pub fn has_issuer(&self, issuer: &str) -> bool {
        match self.issuer.as_str().split_once(TENANT_ID) {
            Some((before, after)) => issuer.starts_with(before) && issuer.ends_with(after),
            None => issuer == self.issuer.as_str(),
        }
    }

    /// Whether we are a public client there, with nothing to prove who we are.
    #[must_use]
    pub fn is_public_client(&self) -> bool {
        matches!(self.credentials, Credentials::None)
    }

    /// Whether it signs ID tokens.
    #[must_use]
    pub fn is_openid(&self) -> bool {
        matches!(self.source, Source::Metadata(_))
    }

    /// Whether a text is the issuer with somebody's tenant in its place. Who that may be is asked of the signed token.
    pub(crate) fn is_issuer_of_some_tenant(&self, text: &str) -> bool {
        self.tenant_in(text).is_some()
    }

    /// The tenant that an issuer names.
    pub(crate) fn tenant_in<'a>(&self, issuer: &'a str) -> Option<&'a str> {
        let (before, after) = self.issuer.as_str().split_once(TENANT_ID)?;
        issuer
            .strip_prefix(before)?
            .strip_suffix(after)
            .filter(|tenant| is_tenant_id(tenant))
    }

    /// Whether accounts of a tenant may come.
    pub(crate) fn takes_tenant(&self, tenant: &str) -> bool {
        match &self.tenants {
            Some(Tenants::All) => true,
            Some(Tenants::These(these)) => these.iter().any(|one| one == tenant),
            None => false,
        }
    }

    /// Other spellings of the issuer, in ID tokens and callbacks.
    pub(crate) fn issuer_aliases(&self) -> &'static [&'static str] {
        match &self.preset.protocol {
            Protocol::OpenId(openid) => openid.issuer_aliases,
            Protocol::OAuth2(oauth2) => oauth2.issuer_aliases,
        }
    }

    /// The algorithms that its ID tokens may have: those of ours that the metadata list, and RS256 in any case (OpenID
    /// Connect Discovery section 3). All of ours are signatures by a key of the provider's, so that a provider with any
    /// of them works by its issuer alone.
    pub(crate) fn allowed_algorithms(&self, advertised: &[String]) -> Vec<Algorithm> {
        let is_advertised =
            |algorithm: &Algorithm| advertised.iter().any(|name| name == algorithm.name());
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| *algorithm == Algorithm::Rs256 || is_advertised(algorithm))
            .collect()
    }
}

/// The issuer, and the tenants where it has one each.
fn issuer_of(
    rule: IssuerRule,
    settings: &ProviderSettings,
    name: &str,
) -> Result<(Issuer, Option<Tenants>), ProviderError> {
    if !matches!(rule, IssuerRule::Tenants(_)) {
        refuse_idle(
            name,
            &[
                ("tenant", settings.tenant.is_some()),
                ("allowed_tenants", !settings.allowed_tenants.is_empty()),
            ],
        )?;
    }
    refuse_idle(name, &[("base_url", settings.base_url.is_some())])?;
    refuse_idle(name, &settings.api.given())?;
    let configured = settings.issuer.as_deref();
    let text = match rule {
        IssuerRule::Fixed(own) | IssuerRule::Installed(own) => configured.unwrap_or(own).to_owned(),
        IssuerRule::Configured => configured
            .ok_or_else(|| ProviderError::Missing("issuer", name.to_owned()))?
            .to_owned(),
        IssuerRule::Tenants(template) => {
            refuse_idle(name, &[("issuer", configured.is_some())])?;
            let tenant = settings
                .tenant
                .as_deref()
                .ok_or_else(|| ProviderError::Missing("tenant", name.to_owned()))?;
            let several = matches!(tenant, "common" | "organizations");
            let idle = !several && !settings.allowed_tenants.is_empty();
            refuse_idle(name, &[("allowed_tenants", idle)])?;
            return tenants_of(template, tenant, settings);
        }
    };
    Ok((Issuer::parse(&text, &settings.http)?, None))
}

/// The issuer of one tenant; or the template, with those who may come.
fn tenants_of(
    template: &str,
    tenant: &str,
    settings: &ProviderSettings,
) -> Result<(Issuer, Option<Tenants>), ProviderError> {
    let one = |id: &str| Issuer::parse(&template.replace(TENANT_ID, id), &settings.http);
    match tenant {
        "consumers" => Ok((one(PERSONAL_TENANT)?, None)),
        "common" | "organizations" => {
            let tenants = match settings.allowed_tenants.as_slice() {
                [] => return Err(ProviderError::AnyTenant(tenant.to_owned())),
                [all] if all == "*" => Tenants::All,
                these if these.iter().all(|id| is_tenant_id(id)) => Tenants::These(these.to_vec()),
                _ => return Err(ProviderError::Tenant),
            };
            Ok((Issuer::of_template(template), Some(tenants)))
        }
        id if is_tenant_id(id) => Ok((one(id)?, None)),
        _ => Err(ProviderError::Tenant),
    }
}

fn is_tenant_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// The interface of a provider without metadata: the preset's, that of an installation, or as configured.
fn api_of(
    oauth2: &'static OAuth2,
    settings: &ProviderSettings,
    name: &str,
) -> Result<(Issuer, Api), ProviderError> {
    refuse_idle(
        name,
        &[
            ("tenant", settings.tenant.is_some()),
            ("allowed_tenants", !settings.allowed_tenants.is_empty()),
            ("metadata_url", settings.metadata_url.is_some()),
            ("app_client_ids", !settings.app_client_ids.is_empty()),
            ("par", settings.par),
        ],
    )?;
    let http = &settings.http;
    let given = &settings.api;
    let endpoints: &Endpoints = match (&settings.base_url, &oauth2.installed) {
        (Some(_), Some(installed)) => installed,
        (Some(_), None) => return Err(ProviderError::Idle("base_url", name.to_owned())),
        (None, _) => &oauth2.endpoints,
    };
    let base = settings
        .base_url
        .as_deref()
        .unwrap_or_default()
        .trim_end_matches('/');
    let placed = |text: &str| text.replace("{base_url}", base);
    // What is missing of a provider that is no preset has no text.
    let text = |configured: &Option<String>, preset: &str, key: &'static str| {
        let text = configured.clone().unwrap_or_else(|| placed(preset));
        if text.is_empty() {
            return Err(ProviderError::Missing(key, name.to_owned()));
        }
        Ok(text)
    };
    let authorization = text(
        &given.authorization_endpoint,
        endpoints.authorization,
        "authorization_endpoint",
    )?;
    let token = text(&given.token_endpoint, endpoints.token, "token_endpoint")?;
    let revocation = given
        .revocation_endpoint
        .clone()
        .or_else(|| endpoints.revocation.map(placed));
    let profile = match (&given.profile_endpoint, endpoints.profile) {
        (Some(url), _) => ApiProfile::Get(http.endpoint(url)?),
        (None, Profile::Get(url)) => {
            ApiProfile::Get(http.endpoint(&text(&None, url, "profile_endpoint")?)?)
        }
        (None, Profile::Post(url)) => ApiProfile::Post(http.endpoint(&placed(url))?),
        (None, Profile::TokenResponse) => ApiProfile::TokenResponse,
    };
    let authorization = http.endpoint(&authorization)?;
    let issuer = match (&settings.issuer, base, oauth2.issuer) {
        (Some(issuer), _, _) => issuer.clone(),
        // Not its origin: one host may serve several realms, each with a user 1 of its own (S54).
        (None, "", "") => without_query(&authorization),
        (None, "", own) => own.to_owned(),
        (None, base, _) => base.to_owned(),
    };
    let emails = match &endpoints.emails {
        Some(list) => Some((http.endpoint(&placed(list.url))?, *list)),
        None => None,
    };
    let revocation = match revocation {
        Some(url) => Some(http.endpoint(&url)?),
        None => None,
    };
    let ClaimPaths {
        subject,
        email,
        name: names,
        picture,
    } = oauth2.claims;
    let or = |configured: &Option<String>, preset: &str| {
        configured.clone().unwrap_or_else(|| preset.to_owned())
    };
    let api = Api {
        metadata: Metadata::known(authorization, http.endpoint(&token)?, revocation),
        profile,
        emails,
        claims: Claims {
            subject: text(&given.subject_claim, subject, "subject_claim")?,
            // What the configuration names may be of either kind.
            subject_may_be_number: given.subject_claim.is_some()
                || settings.preset.quirks.numeric_subject,
            email: or(&given.email_claim, email),
            email_verified: given.email_verified_claim.clone(),
            name: match &given.name_claim {
                Some(path) => vec![path.clone()],
                None => names.iter().map(|path| (*path).to_owned()).collect(),
            },
            picture: or(&given.picture_claim, picture),
        },
    };
    Ok((Issuer::parse(&issuer, http)?, api))
}

fn refuse_idle(name: &str, given: &[(&'static str, bool)]) -> Result<(), ProviderError> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((key, _)) => Err(ProviderError::Idle(key, name.to_owned())),
        None => Ok(()),
    }
}

fn scopes_of(settings: &ProviderSettings) -> Result<Vec<String>, ProviderError> {
    let mut scopes: Vec<String> = if settings.scopes.is_empty() {
        let preset = settings.preset.scopes.iter();
        preset.map(|scope| (*scope).to_owned()).collect()
    } else {
        settings.scopes.clone()
    };
    let offline = settings.preset.quirks.offline_scope;
    scopes.extend(offline.filter(|_| settings.keep_tokens).map(str::to_owned));
    scopes.extend(settings.extra_scopes.iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    scopes.retain(|scope| seen.insert(scope.clone()));
    // RFC 6749 section 3.3.
    let is_scope = |scope: &String| {
        !scope.is_empty()
            && scope
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    let needs_openid = matches!(settings.preset.protocol, Protocol::OpenId(_));
    if !scopes.iter().chain(&settings.optional_scopes).all(is_scope)
        || needs_openid && !scopes.iter().any(|scope| scope == "openid")
    {
        return Err(ProviderError::Scopes);
    }
    Ok(scopes)
}

fn credentials_of(settings: &ProviderSettings, name: &str) -> Result<Credentials, ProviderError> {
    let missing = |key| ProviderError::Missing(key, name.to_owned());
    if settings.preset.quirks.signed_client_secret {
        refuse_idle(name, &[("client_secret", settings.client_secret.is_some())])?;
        return Ok(Credentials::SignedSecret {
            key: settings
                .private_key
                .clone()
                .ok_or_else(|| missing("private_key"))?,
            team_id: settings.team_id.clone().ok_or_else(|| missing("team_id"))?,
        });
    }
    refuse_idle(name, &[("team_id", settings.team_id.is_some())])?;
    let method = settings.client_auth.or(settings.preset.quirks.client_auth);
    match (method, &settings.client_secret, &settings.private_key) {
        (_, Some(_), Some(_)) => Err(ProviderError::ClientAuth(
            "private_key_jwt",
            "both client_secret and private_key are set, and one request carries one proof",
        )),
        (None | Some(ClientAuthMethod::PrivateKeyJwt), None, Some(key)) => Ok(
            Credentials::PrivateKey(key.clone(), settings.assertion_audience),
        ),
        (Some(ClientAuthMethod::PrivateKeyJwt), _, None) => Err(missing("private_key")),
        (_, None, Some(_)) => Err(ProviderError::Idle("private_key", name.to_owned())),
        (Some(ClientAuthMethod::None), Some(_), None) => Err(ProviderError::ClientAuth(
            "none",
            "client_secret is set; take one of them out",
        )),
        (method, Some(secret), None) => Ok(Credentials::Secret(secret.clone(), method)),
        (Some(ClientAuthMethod::Basic | ClientAuthMethod::Post), None, None)
            if settings.client_auth.is_some() =>
        {
            Err(missing("client_secret"))
        }
        // RFC 9700 section 2.1.1: a public client is safe by PKCE alone.
        (_, None, None) if settings.preset.quirks.refuses_pkce => Err(missing("client_secret")),
        (_, None, None) => Ok(Credentials::None),
    }
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The preset's parameters, then those for a refresh token, then the configuration's; what comes later replaces.
fn params_of(settings: &ProviderSettings) -> Result<Vec<(String, String)>, ProviderError> {
    let quirks = &settings.preset.quirks;
    let offline = quirks
        .offline_params
        .iter()
        .filter(|_| settings.keep_tokens);
    let preset = quirks.authorization_params.iter().chain(offline);
    let mut params: Vec<(String, String)> = Vec::new();
    let given = preset
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .chain(settings.authorization_params.iter().cloned());
    for (name, value) in given {
        if OURS.contains(&name.as_str()) {
            return Err(ProviderError::Parameter(name));
        }
        params.retain(|(known, _)| *known != name);
        params.push((name, value));
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_name_is_short_plain_and_no_route_of_ours() {
        for good in ["google", "a", "acme-2", "x23456789012345678901234567890ab"] {
            assert!(ProviderId::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Google",
            "2a",
            "-a",
            "a_b",
            "a/b",
            "x234567890123456789012345678901abc",
            "login",
            "providers",
            "jwt",
            "g\u{f6}",
        ] {
            assert!(ProviderId::parse(bad).is_err(), "{bad}");
        }
    }
}
