//! Where a browser goes after a sign-in: a path of ours, checked once, by the parser that browsers use.

use url::Url;

/// The longest target in bytes: it may hold a whole authorization request.
const MAX_BYTES: usize = 1_024;

/// A path, query and fragment on our own origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ReturnTo(String);

/// Why a text is not a target of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReturnToError {
    /// Over 1,024 bytes: refused before any redirect.
    TooLong,
    /// It does not stay on our origin: the default page is used, and the operator told.
    NotOurs,
}

impl ReturnTo {
    /// Reads a target. It must begin with one `/` and stay on `origin` when a browser resolves it (WHATWG URL).
    /// What is kept is what the parser wrote, never the text that came.
    pub(crate) fn parse(text: &str, origin: &Url) -> Result<Self, ReturnToError> {
        if text.len() > MAX_BYTES {
            return Err(ReturnToError::TooLong);
        }
        // Browsers drop tabs and line ends anywhere in a URL and spaces around it; nobody honest sends them.
        if !text.starts_with('/')
            || text
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err(ReturnToError::NotOurs);
        }
        let resolved = origin.join(text).map_err(|_| ReturnToError::NotOurs)?;
        if resolved.origin() != origin.origin()
            || !resolved.username().is_empty()
            || resolved.password().is_some()
        {
            return Err(ReturnToError::NotOurs);
        }
        let path = resolved[url::Position::BeforePath..].to_owned();
        // `/a/..//evil` resolves to the path `//evil`, which the next parser would take for a host.
        if path.starts_with("//") || path.len() > MAX_BYTES {
            return Err(ReturnToError::NotOurs);
        }
        Ok(Self(path))
    }

    /// The target, to be put behind our origin.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Url {
        Url::parse("https://app.example/").unwrap()
    }

    // S77
    #[test]
    fn a_path_of_ours_is_kept_as_the_parser_writes_it() {
        for (text, kept) in [
            ("/", "/"),
            ("/account", "/account"),
            ("/a/../b?x=%2F%2Fevil#y", "/b?x=%2F%2Fevil#y"),
            (
                "/oauth/authorize?redirect_uri=http://localhost:8501/",
                "/oauth/authorize?redirect_uri=http://localhost:8501/",
            ),
            ("/../../evil", "/evil"),
        ] {
            assert_eq!(ReturnTo::parse(text, &origin()).unwrap().as_str(), kept);
        }
    }

    // S77; ATTACKS F01 to F12
    #[test]
    fn what_leaves_our_origin_is_refused() {
        for text in [
            "",
            "account",
            "//evil.com",
            "///evil.com",
            "////evil",
            "/\\evil.com",
            "\\\\evil.com",
            "/\\/evil",
            "\\/\\/",
            "https:evil.com",
            "https:/evil.com",
            "https://evil.com",
            "HTTPS://evil.com",
            "https://app.example/",
            "https://app.example@evil.com",
            "https://evil.com#app.example",
            "javascript:alert(1)",
            "JaVa\tscript:x",
            "data:,x",
            "/\t/evil.com",
            "/\n/evil.com",
            "\u{1}https://evil.com",
            " //evil.com",
            "/a/..//evil.com",
            "/.//evil.com",
            "/%2e//evil.com",
            "/\u{a0}/evil",
            "?x",
            "#x",
            ".",
        ] {
            assert_eq!(
                ReturnTo::parse(text, &origin()),
                Err(ReturnToError::NotOurs),
                "{text:?}"
            );
        }
        let long = format!("/{}", "a".repeat(MAX_BYTES));
        assert_eq!(
            ReturnTo::parse(&long, &origin()),
            Err(ReturnToError::TooLong)
        );
    }

    proptest! {
        // S77, S96
        #[test]
        fn no_text_escapes_our_origin(text in r"[/\\.:@?#%a-z\t\n 0-9]{0,40}") {
            if let Ok(kept) = ReturnTo::parse(&text, &origin()) {
                let resolved = origin().join(kept.as_str()).unwrap();
                prop_assert_eq!(resolved.origin(), origin().origin());
            }
        }
    }
}
