//! A configured provider: checked once when it is built, then plain data.

use core::fmt;

use url::Url;
use vestibule_jose::Algorithm;

use crate::issuer::{HttpPolicy, Issuer, IssuerError};
use crate::outbound::{MAX_ANSWER, Method, OutboundRequest};
use crate::providers::Preset;
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
    /// `client_id` is empty.
    #[error("client_id is empty")]
    ClientId,
    /// `scopes` lacks `openid`, or holds something that is no scope.
    #[error("scopes must hold openid, and each is a word without spaces, quotes or backslashes")]
    Scopes,
    /// The skew is out of range.
    #[error("the clock skew is 0 to 300 seconds")]
    Skew,
}

/// What a provider is built from.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// The name in routes.
    pub id: ProviderId,
    /// The name for people.
    pub name: String,
    /// The issuer.
    pub issuer: String,
    /// Where the metadata stand, if not below the issuer.
    pub metadata_url: Option<String>,
    /// Our name at the provider.
    pub client_id: String,
    /// Our secret at the provider; `None` for a public client.
    pub client_secret: Option<ClientSecret>,
    /// The scopes to ask for; those of the preset where empty.
    pub scopes: Vec<String>,
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
    /// What is particular about this provider.
    pub preset: &'static Preset,
}

/// A provider that people sign in with.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name in routes.
    pub id: ProviderId,
    /// The name for people.
    pub name: String,
    /// The issuer, byte for byte.
    pub issuer: Issuer,
    /// Where the metadata stand.
    pub metadata_url: Url,
    /// Our name at the provider.
    pub client_id: String,
    /// Our secret at the provider.
    pub client_secret: Option<ClientSecret>,
    /// The scopes that we ask for.
    pub scopes: Vec<String>,
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

impl Provider {
    /// Checks settings.
    ///
    /// # Errors
    /// See [`ProviderError`]; each says what would do.
    pub fn new(settings: ProviderSettings) -> Result<Self, ProviderError> {
        let issuer = Issuer::parse(&settings.issuer, &settings.http)?;
        let metadata_url = settings.http.endpoint(
            &settings
                .metadata_url
                .unwrap_or_else(|| issuer.metadata_url()),
        )?;
        if settings.client_id.is_empty() {
            return Err(ProviderError::ClientId);
        }
        let scopes = if settings.scopes.is_empty() {
            settings
                .preset
                .scopes
                .iter()
                .map(|scope| (*scope).to_owned())
                .collect()
        } else {
            settings.scopes
        };
        // RFC 6749 section 3.3.
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        if !scopes.iter().all(is_scope) || !scopes.iter().any(|scope| scope == "openid") {
            return Err(ProviderError::Scopes);
        }
        if !(0..=MAX_SKEW).contains(&settings.skew_seconds) {
            return Err(ProviderError::Skew);
        }
        let mut allowed_hosts = settings.allowed_hosts;
        for text in [issuer.as_str(), metadata_url.as_str()] {
            if let Some(host) = Url::parse(text)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned))
            {
                allowed_hosts.push(host);
            }
        }
        Ok(Self {
            id: settings.id,
            name: settings.name,
            issuer,
            metadata_url,
            client_id: settings.client_id,
            client_secret: settings.client_secret,
            scopes,
            redirect_uri: settings.redirect_uri,
            http: settings.http,
            skew_seconds: settings.skew_seconds,
            trusted_audiences: settings.trusted_audiences,
            allowed_hosts,
            preset: settings.preset,
        })
    }

    /// The request for the metadata (OpenID Connect Discovery section 4.1).
    #[must_use]
    pub fn metadata_request(&self) -> OutboundRequest {
        OutboundRequest {
            method: Method::Get,
            url: self.metadata_url.clone(),
            accept: "application/json",
            authorization: None,
            form: None,
            max_body: MAX_ANSWER,
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
