//! Issuers and the URLs below them: https, and http only where the operator says so in long words.

use core::fmt;

use url::Url;

/// Where http is allowed beside https. Everything but `Never` is a dangerous choice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HttpPolicy {
    /// At 127.0.0.1, `[::1]` and localhost.
    pub allow_http_loopback: bool,
    /// At these hosts, such as `keycloak` in a compose network.
    pub allow_http_hosts: Vec<String>,
}

/// Why a text is not an issuer or an endpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// Not an absolute URL with a host, or with a user, a query or a fragment.
    #[error("{0} is not a plain absolute URL: https, a host, perhaps a path")]
    NotAUrl(String),
    /// http where https is required.
    #[error(
        "{0} is http. Use https; for a provider on this machine set [danger] allow_http_loopback = true, for others allow_http_hosts"
    )]
    Http(String),
}

impl HttpPolicy {
    /// Whether a request may go there (S19).
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        match url.scheme() {
            "https" => true,
            "http" => {
                (self.allow_http_loopback && is_loopback(url))
                    || self.allow_http_hosts.iter().any(|allowed| allowed == host)
            }
            _ => false,
        }
    }

    /// An endpoint: absolute, with a host, without user or fragment, and allowed.
    pub(crate) fn endpoint(&self, text: &str) -> Result<Url, IssuerError> {
        let url = Url::parse(text).map_err(|_| IssuerError::NotAUrl(shown(text)))?;
        if url.host_str().is_none_or(str::is_empty)
            || !url.username().is_empty()
            || url.password().is_some()
            || url.fragment().is_some()
        {
            return Err(IssuerError::NotAUrl(shown(text)));
        }
        match url.scheme() {
            "https" | "http" if self.allows(&url) => Ok(url),
            "http" => Err(IssuerError::Http(shown(text))),
            _ => Err(IssuerError::NotAUrl(shown(text))),
        }
    }
}

/// As much of a text as a log needs: metadata may hold a quarter of a mebibyte in the place of a URL.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An issuer identifier. It is compared byte for byte, so that its text is kept as it was configured.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Issuer(String);

impl Issuer {
    /// Reads an issuer (OpenID Connect Core section 2: https, no query, no fragment).
    ///
    /// # Errors
    /// Not such a URL, or http where the policy does not allow it.
    pub fn parse(text: &str, http: &HttpPolicy) -> Result<Self, IssuerError> {
        let url = http.endpoint(text)?;
        if url.query().is_some() {
            return Err(IssuerError::NotAUrl(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }

    /// The issuers of a provider with tenants, as its metadata name them: a preset's text, with a place for the tenant.
    pub(crate) fn of_template(template: &str) -> Self {
        Self(template.to_owned())
    }

    /// The issuer's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its metadata stand (OpenID Connect Discovery section 4: a slash at the end of the issuer is dropped).
    #[must_use]
    pub fn metadata_url(&self) -> String {
        format!(
            "{}/.well-known/openid-configuration",
            self.0.trim_end_matches('/')
        )
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S19
    #[test]
    fn http_is_refused_unless_the_operator_named_the_place() {
        let never = HttpPolicy::default();
        let loopback = HttpPolicy {
            allow_http_loopback: true,
            ..HttpPolicy::default()
        };
        let host = HttpPolicy {
            allow_http_hosts: vec!["keycloak".into()],
            ..HttpPolicy::default()
        };
        for (text, allowed) in [
            ("https://login.example", [true, true, true]),
            ("http://127.0.0.1:8009", [false, true, false]),
            ("http://localhost:8009", [false, true, false]),
            ("http://[::1]:8009", [false, true, false]),
            ("http://keycloak:8080/realms/a", [false, false, true]),
            ("http://localhost.evil.example", [false, false, false]),
            ("http://127.0.0.1.evil.example", [false, false, false]),
            ("ftp://login.example", [false, false, false]),
            ("https://a@login.example", [false, false, false]),
            ("https://login.example#x", [false, false, false]),
            ("https://login.example?x", [false, false, false]),
            ("login.example", [false, false, false]),
        ] {
            let found =
                [&never, &loopback, &host].map(|policy| Issuer::parse(text, policy).is_ok());
            assert_eq!(found, allowed, "{text}");
        }
    }

    #[test]
    fn metadata_stand_below_the_issuer() {
        let policy = HttpPolicy::default();
        for (issuer, url) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/",
                "https://a.example/.well-known/openid-configuration",
            ),
            (
                "https://a.example/realms/x",
                "https://a.example/realms/x/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(Issuer::parse(issuer, &policy).unwrap().metadata_url(), url);
        }
    }
}
