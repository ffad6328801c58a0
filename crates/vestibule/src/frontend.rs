//! Front ends: the clients of our own that may receive a sign-in, and where.
//!
//! A redirect URI is registered once, checked once, and compared byte for byte from then on (RFC 9700 section 2.1). The
//! one exception is the port of a native application's loopback address (RFC 8252 section 7.3).

use core::fmt;
use std::sync::Arc;

use url::{Host, Position, Url};
use vestibule_jose::LegacyHs256Key;
use vestibule_oidc::ClientSecret;

/// The longest redirect URI in bytes: the whole authorization request has 1,024.
const MAX_REDIRECT_URI: usize = 512;

/// A client of ours.
#[derive(Clone, Debug)]
pub struct Frontend {
    pub(crate) client_id: String,
    /// For people, on the page that asks before a token goes out.
    pub(crate) name: String,
    /// `None`: a public client (RFC 6749 section 2.1).
    pub(crate) client_secret: Option<ClientSecret>,
    pub(crate) redirect_uris: Vec<RedirectUri>,
    pub(crate) hand_off: HandOff,
    /// Whether it receives a sign-in that names no front end and no target.
    pub(crate) is_default: bool,
    /// How long its access tokens live, in seconds.
    pub(crate) token_lifetime: i64,
    pub(crate) token_format: TokenFormat,
    /// The audience of its access tokens, in place of its `client_id`.
    pub(crate) audience: Option<String>,
}

/// How a front end receives a sign-in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandOff {
    /// It stands on our own site and has our session cookie.
    Cookie,
    /// A one-time code, redeemed at `/oauth/token` (RFC 6749 section 4.1).
    Code,
    /// An access token in the fragment of the redirect.
    TokenFragment,
    /// An access token in the query of the redirect, as the original front end reads it.
    TokenQuery,
}

impl HandOff {
    /// All of them, by the word of the configuration.
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("cookie", Self::Cookie),
        ("code", Self::Code),
        ("token-fragment", Self::TokenFragment),
        ("token-query", Self::TokenQuery),
    ];

    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Code => "code",
            Self::TokenFragment => "token-fragment",
            Self::TokenQuery => "token-query",
        }
    }

    /// Whether a token goes into a URL, where history, logs and `Referer` keep it (RFC 9700 section 4.3.2).
    #[must_use]
    pub fn puts_token_in_url(self) -> bool {
        matches!(self, Self::TokenFragment | Self::TokenQuery)
    }
}

/// The form of a front end's access tokens.
#[derive(Clone, Debug)]
pub enum TokenFormat {
    /// RFC 9068, signed with our published keys.
    AtJwt,
    /// What fastapi-users writes: HS256 under a secret that the back end shares, `sub`, `aud` and `exp` alone.
    FastapiUsers(Arc<LegacyHs256Key>),
}

impl TokenFormat {
    /// The words of the configuration, in the order of the variants.
    pub(crate) const WORDS: [&'static str; 2] = ["at+jwt", "fastapi-users"];

    /// The word of the configuration.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::AtJwt => Self::WORDS[0],
            Self::FastapiUsers(_) => Self::WORDS[1],
        }
    }
}

/// A registered redirect URI.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedirectUri {
    text: String,
    url: Url,
}

/// Why a text cannot be registered as a redirect URI.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectUriError {
    /// Over 512 bytes.
    #[error("it is over 512 bytes")]
    TooLong,
    /// It does not parse, or a browser would write it differently.
    #[error("it is not an absolute URL as browsers write it")]
    NotAbsolute,
    /// It carries a user or a fragment.
    #[error("it carries a user, a password or a fragment")]
    Decorated,
    /// `http` to another machine: codes and tokens would go in the clear.
    #[error("http is for this machine alone: write https")]
    Http,
    /// A scheme that runs script, or that any application can take.
    #[error(
        "its scheme is not https, http on loopback, or a reversed domain of the application's such as com.example.app"
    )]
    Scheme,
}

impl RedirectUri {
    /// Registers a redirect URI (RFC 6749 section 3.1.2, RFC 8252 section 7).
    ///
    /// # Errors
    /// Each says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, RedirectUriError> {
        if text.len() > MAX_REDIRECT_URI {
            return Err(RedirectUriError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| RedirectUriError::NotAbsolute)?;
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(RedirectUriError::Decorated);
        }
        match url.scheme() {
            "https" => {}
            "http" if crate::config::is_loopback(&url) => {}
            "http" => return Err(RedirectUriError::Http),
            // RFC 8252 section 7.1: a domain name reversed, so that its owner is known.
            scheme if scheme.contains('.') => {}
            _ => return Err(RedirectUriError::Scheme),
        }
        // What is compared byte for byte must be what a browser goes to. A missing slash after the host is all that may
        // differ.
        if url.as_str() != text && url.as_str() != format!("{text}/") {
            return Err(RedirectUriError::NotAbsolute);
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }

    /// The text as it was registered.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port, as a browser's `Origin` has them; `None` for an application's own scheme.
    pub(crate) fn origin(&self) -> Option<String> {
        let origin = self.url.origin();
        origin.is_tuple().then(|| origin.ascii_serialization())
    }

    /// The same, and for an application's own scheme that scheme: what a content security policy names.
    pub(crate) fn origin_or_scheme(&self) -> String {
        self.origin()
            .unwrap_or_else(|| format!("{}:", self.url.scheme()))
    }

    /// The same with another port, where it is a loopback address (RFC 8252 section 7.3). `localhost` is a name and may
    /// lead elsewhere.
    fn with_port_of(&self, presented: &str) -> Option<Self> {
        let is_loopback_address = match self.url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(_)) | None => false,
        };
        if !is_loopback_address || self.url.scheme() != "http" {
            return None;
        }
        let other = Self::parse(presented).ok()?;
        let same_but_port = other.url.scheme() == self.url.scheme()
            && other.url.host() == self.url.host()
            && other.url[Position::BeforePath..] == self.url[Position::BeforePath..]
            && other.text.ends_with('/') == self.text.ends_with('/');
        same_but_port.then_some(other)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Frontend {
    /// Where a request may be answered, if `redirect_uri` is registered (S86).
    pub(crate) fn redirect_uri(&self, presented: &str) -> Option<RedirectUri> {
        let native = self.client_secret.is_none() && self.hand_off == HandOff::Code;
        self.redirect_uris.iter().find_map(|registered| {
            if registered.text == presented {
                return Some(registered.clone());
            }
            native.then(|| registered.with_port_of(presented)).flatten()
        })
    }

    /// What it calls itself (RFC 6749 section 2.2).
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has no secret (RFC 6749 section 2.1).
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.client_secret.is_none()
    }

    /// How it receives a sign-in.
    #[must_use]
    pub fn hand_off(&self) -> HandOff {
        self.hand_off
    }

    /// Where it may be answered, as it was registered.
    pub fn redirect_uris(&self) -> impl Iterator<Item = &str> {
        self.redirect_uris.iter().map(RedirectUri::as_str)
    }

    /// Whether it receives a sign-in that names no front end and no target.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// How long its access tokens live, in seconds.
    #[must_use]
    pub fn token_lifetime(&self) -> i64 {
        self.token_lifetime
    }

    /// The form of its access tokens, by the word of the configuration.
    #[must_use]
    pub fn token_format_word(&self) -> &'static str {
        self.token_format.word()
    }

    /// The audience that its own access tokens carry beside ours.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(&self.client_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frontend(uris: &[&str], secret: Option<&str>) -> Frontend {
        Frontend {
            client_id: "web".into(),
            name: "Web".into(),
            client_secret: secret.map(|secret| ClientSecret::new(secret.into())),
            redirect_uris: uris
                .iter()
                .map(|uri| RedirectUri::parse(uri).unwrap())
                .collect(),
            hand_off: HandOff::Code,
            is_default: false,
            token_lifetime: 300,
            token_format: TokenFormat::AtJwt,
            audience: None,
        }
    }

    // S86
    #[test]
    fn what_cannot_be_a_redirect_uri_is_refused_when_it_is_registered() {
        use RedirectUriError::{Decorated, Http, NotAbsolute, Scheme, TooLong};
        for (text, error) in [
            ("", NotAbsolute),
            ("/callback", NotAbsolute),
            ("//app.example/", NotAbsolute),
            ("https:app.example/", NotAbsolute),
            ("https:\\\\app.example\\", NotAbsolute),
            ("HTTPS://app.example/", NotAbsolute),
            ("https://APP.example/", NotAbsolute),
            ("https://app.example:443/", NotAbsolute),
            ("https://app.example/a/../b", NotAbsolute),
            (" https://app.example/", NotAbsolute),
            ("https://app.example/\t", NotAbsolute),
            ("https://app.example/#", Decorated),
            ("https://app.example/#x", Decorated),
            ("https://user@app.example/", Decorated),
            ("https://app.example:x@evil.example/", Decorated),
            ("http://app.example/", Http),
            ("http://localhost.evil.example/", Http),
            ("javascript:alert(1)", Scheme),
            ("data:text/html,x", Scheme),
            ("vbscript:x", Scheme),
            ("file:///etc/passwd", Scheme),
            ("myapp:/callback", Scheme),
        ] {
            assert_eq!(RedirectUri::parse(text).unwrap_err(), error, "{text:?}");
        }
        let long = format!("https://app.example/{}", "a".repeat(MAX_REDIRECT_URI));
        assert_eq!(RedirectUri::parse(&long).unwrap_err(), TooLong);
        for text in [
            "https://app.example",
            "https://app.example/callback?x=1",
            "http://localhost:8501/",
            "http://127.0.0.1:9499/code",
            "http://[::1]/",
            "com.example.app:/callback",
        ] {
            assert_eq!(RedirectUri::parse(text).unwrap().as_str(), text);
        }
    }

    // S86; ATTACKS O01, F15
    #[test]
    fn near_matches_of_a_registered_redirect_uri_are_refused() {
        let frontend = frontend(&["https://app.example/cb?x=1"], Some("s"));
        assert!(
            frontend
                .redirect_uri("https://app.example/cb?x=1")
                .is_some()
        );
        for near in [
            "https://app.example/cb",
            "https://app.example/cb?x=1&y=2",
            "https://app.example/cb/?x=1",
            "https://app.example/CB?x=1",
            "https://app.example/cb?x=1#",
            "https://app.example/cb?x=%31",
            "https://app.example:443/cb?x=1",
            "https://app.example:8443/cb?x=1",
            "http://app.example/cb?x=1",
            "https://app.example.evil.example/cb?x=1",
            "https://evil.example/https://app.example/cb?x=1",
            "https://app.example@evil.example/cb?x=1",
            "https://app.example/x/../cb?x=1",
            "https://app.example/cb?x=1 ",
            "HTTPS://app.example/cb?x=1",
            "",
        ] {
            assert!(frontend.redirect_uri(near).is_none(), "{near:?}");
        }
    }

    // S86; RFC 8252 section 7.3
    #[test]
    fn a_native_client_on_a_loopback_address_may_use_any_port_and_nobody_else() {
        let native = frontend(&["http://127.0.0.1/cb", "http://[::1]:1/cb"], None);
        for any in [
            "http://127.0.0.1/cb",
            "http://127.0.0.1:51004/cb",
            "http://[::1]:51004/cb",
        ] {
            assert_eq!(native.redirect_uri(any).unwrap().as_str(), any);
        }
        for no in [
            "http://127.0.0.1:51004/",
            "http://127.0.0.1:51004/cb?x",
            "http://127.0.0.2:51004/cb",
            "http://localhost:51004/cb",
            "https://127.0.0.1:51004/cb",
            "http://127.0.0.1:51004@evil.example/cb",
            "http://127.1:51004/cb",
            "http://2130706433:51004/cb",
        ] {
            assert!(native.redirect_uri(no).is_none(), "{no}");
        }
        let with_secret = frontend(&["http://127.0.0.1/cb"], Some("s"));
        assert!(
            with_secret
                .redirect_uri("http://127.0.0.1:51004/cb")
                .is_none()
        );
        let by_name = frontend(&["http://localhost/cb"], None);
        assert!(by_name.redirect_uri("http://localhost:51004/cb").is_none());
        let mut token = frontend(&["http://127.0.0.1/cb"], None);
        token.hand_off = HandOff::TokenQuery;
        assert!(token.redirect_uri("http://127.0.0.1:51004/cb").is_none());
    }

    proptest! {
        // S86: whatever is presented, a browser that follows what we return stays where it was registered.
        #[test]
        fn no_presented_redirect_uri_leads_to_another_host(
            start in "(https?://)?(app\\.example|127\\.0\\.0\\.1|[a-z.@:/\\\\]{0,12})",
            rest in "[:@/\\\\?#%0-9a-z.\\t ]{0,20}",
        ) {
            let frontend = frontend(&["https://app.example/cb", "http://127.0.0.1/cb"], None);
            let presented = format!("{start}{rest}");
            if let Some(uri) = frontend.redirect_uri(&presented) {
                let url = Url::parse(uri.as_str()).unwrap();
                prop_assert!(
                    matches!(url.host_str(), Some("app.example" | "127.0.0.1")) && url.path() == "/cb",
                    "{presented:?} leads to {url}"
                );
            }
        }
    }
}
