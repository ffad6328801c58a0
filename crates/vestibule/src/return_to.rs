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

    // S77; ATTACKS F13: every way that we know to begin a URL, to write a host and to hide either, with each other.
    #[test]
    fn no_combination_of_known_tricks_leaves_our_origin() {
        let beginnings = [
            "",
            "/",
            "//",
            "///",
            "////",
            "/\\",
            "\\",
            "\\\\",
            "\\/",
            "/\\/",
            "//\\",
            "/./",
            "/.//",
            "/..//",
            "/a/..//",
            "/%2f",
            "/%2f/",
            "/%5c",
            "%2f%2f",
            "/%2e//",
            "/%09/",
            "/\t/",
            "\t//",
            " //",
            "/ /",
            "\r\n//",
            "/\n/",
            "/\u{0}/",
            "/\u{a0}/",
            "/\u{3000}/",
            "/\u{ff0f}",
            "/\u{2215}/",
            "/\u{200b}/",
            "/;/",
            "/?//",
            "/#//",
            ".//",
            "..//",
            "?",
            "#",
            "@",
            "/@",
            "//@",
            "http:",
            "http:/",
            "http://",
            "https:",
            "https:/",
            "https://",
            "https:\\\\",
            "hTTps://",
            "ht\ttps://",
            "\u{1}https://",
            "https://app.example@",
            "https://app.example:x@",
            "https://app.example.",
            "https://app.example%2e",
            "https://app.example\\@",
            "//app.example@",
            "//app.example%00.",
            "//app.example\\.",
            "javascript:",
            "java\nscript:",
            "javascript://",
            "data:text/html,",
            "vbscript:",
            "blob:",
            "intent://",
            "file:///",
            "ftp://",
            "ws://",
            "mailto:",
            "view-source:",
            "about:",
            "x:",
            "///;@",
            "//;@",
        ];
        let hosts = [
            "evil.example",
            "evil.example/",
            "evil.example:443/x",
            "evil%2eexample",
            "evil\u{3002}example",
            "user:pw@evil.example",
            "0x7f.1",
            "2130706433",
            "[::1]",
            "evil.example#app.example",
            "evil.example?app.example",
            "evil.example\\app.example",
            "app.example.evil.example",
            "\u{2100}.example",
            "",
        ];
        let mut kept = 0;
        for beginning in beginnings {
            for host in hosts {
                let text = format!("{beginning}{host}");
                if let Ok(target) = ReturnTo::parse(&text, &origin()) {
                    kept += 1;
                    // As a browser reads the Location that we write, and as a sloppy one would read the bare path.
                    let location = format!("https://app.example{}", target.as_str());
                    let resolved = Url::parse(&location).unwrap();
                    assert_eq!(resolved.origin(), origin().origin(), "{text:?}");
                    assert!(resolved.username().is_empty(), "{text:?}");
                    let bare = Url::parse("https://other.example/x")
                        .unwrap()
                        .join(target.as_str());
                    assert_eq!(bare.unwrap().host_str(), Some("other.example"), "{text:?}");
                }
            }
        }
        assert!(
            beginnings.len() * hosts.len() > 1_000 && kept > 50,
            "{kept} kept"
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
