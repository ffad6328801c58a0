//! E-mail addresses: which text is one, and when two are the same.
//!
//! The address is kept as it was given. Its [`EmailKey`] is the documented fold (NFC, IDNA domain, lower case) by
//! which two spellings are one address. Look-alikes of other scripts never fold together.

use core::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// The longest address in bytes (RFC 5321 section 4.5.3.1.3: a path of 256 holds 254).
const MAX_BYTES: usize = 254;
/// The longest part before the `@` in bytes (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// An address as somebody gave it, known to be well-formed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmailAddress {
    text: String,
    key: EmailKey,
}

/// What two spellings of one address have in common. The database keeps it unique.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct EmailKey(String);

/// Why a text is not an address that we accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EmailError {
    /// Empty, or longer than 254 bytes (64 before the `@`).
    #[error("an e-mail address has 1 to 254 bytes, 64 at most before the @")]
    Length,
    /// Not exactly one `@` with something on both sides.
    #[error("an e-mail address has exactly one @, with a name before it and a domain behind it")]
    Shape,
    /// A character that only mischief puts into an address.
    #[error("the e-mail address holds a space, a quote, a comma, a bracket or a control character")]
    Character,
    /// The domain is not a name of the DNS.
    #[error("the domain of the e-mail address is not a valid domain name")]
    Domain,
}

impl EmailAddress {
    /// Reads an address. Only ASCII spaces around it are cut off.
    ///
    /// # Errors
    /// What is not one plain `local@domain`: quoted local parts, lists, comments, address literals.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim_matches(' ');
        if text.is_empty() || text.len() > MAX_BYTES {
            return Err(EmailError::Length);
        }
        let (local, domain) = text.split_once('@').ok_or(EmailError::Shape)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(EmailError::Shape);
        }
        if local.len() > MAX_LOCAL_BYTES {
            return Err(EmailError::Length);
        }
        if text.chars().any(is_forbidden) {
            return Err(EmailError::Character);
        }
        if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
            return Err(EmailError::Shape);
        }
        // The Kelvin sign is no k: what would fold into ASCII is a look-alike (CVE-2019-19844).
        if local
            .chars()
            .any(|c| !c.is_ascii() && fold(c.encode_utf8(&mut [0; 4])).is_ascii())
        {
            return Err(EmailError::Character);
        }
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| EmailError::Domain)?;
        if !domain.contains('.') || domain.ends_with('.') || domain.len() > 253 {
            return Err(EmailError::Domain);
        }
        let local = fold(local);
        Ok(Self {
            text: text.to_owned(),
            key: EmailKey(format!("{local}@{domain}")),
        })
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it has in common with its other spellings.
    #[must_use]
    pub fn key(&self) -> &EmailKey {
        &self.key
    }

    /// The domain in lower-case ASCII (IDNA).
    #[must_use]
    pub fn domain(&self) -> &str {
        self.key.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl EmailKey {
    /// The text that a store keeps.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// NFC and lower case, until nothing changes: lower-casing can undo NFC for a few letters.
fn fold(local: &str) -> String {
    // Nearly all of them; the long way says the same of them.
    if local.is_ascii() {
        return local.to_ascii_lowercase();
    }
    fold_any(local)
}

fn fold_any(local: &str) -> String {
    let once = |text: &str| {
        text.nfc()
            .collect::<String>()
            .to_lowercase()
            .nfc()
            .collect::<String>()
    };
    let first = once(local);
    once(&first)
}

fn is_forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '"' | '`' | ',' | ';' | ':' | '<' | '>' | '(' | ')' | '[' | ']' | '\\' | '%')
        // Invisible and direction-changing characters: two texts that look alike must not differ by them.
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        // Full-width forms of the characters with a meaning.
        || matches!(c, '\u{ff20}' | '\u{fe6b}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        EmailAddress::parse(text).unwrap().key().as_str().to_owned()
    }

    proptest! {
        #[test]
        fn the_short_way_of_folding_says_what_the_long_way_does(local in "[ -~]{0,40}") {
            prop_assert_eq!(fold(&local), fold_any(&local));
        }
    }

    // S58
    #[test]
    fn spellings_of_one_address_have_one_key_and_keep_their_text() {
        assert_eq!(key("Ann@X.com"), key(" ann@x.COM "));
        assert_eq!(key("a@b\u{fc}cher.example"), key("a@xn--bcher-kva.example"));
        assert_eq!(key("caf\u{e9}@x.org"), key("cafe\u{301}@x.org"));
        assert_eq!(
            EmailAddress::parse(" Ann@X.com ").unwrap().as_str(),
            "Ann@X.com"
        );
        assert_eq!(EmailAddress::parse("Ann@X.com").unwrap().domain(), "x.com");
        // People are called so.
        assert_eq!(key("Nuala.O'Brien+x@x.org"), "nuala.o'brien+x@x.org");
    }

    // S58
    #[test]
    fn look_alikes_are_other_addresses() {
        // Cyrillic a; dotless i; long s; a full-width a.
        for (one, other) in [
            ("ann@x.org", "\u{430}nn@x.org"),
            ("mike@x.org", "m\u{131}ke@x.org"),
            ("ross@x.org", "ro\u{17f}s@x.org"),
            ("ann@x.org", "\u{ff41}nn@x.org"),
            ("a@b.org", "a+x@b.org"),
            ("a.b@x.org", "ab@x.org"),
        ] {
            assert_ne!(key(one), key(other), "{other}");
        }
    }

    // S58
    #[test]
    fn what_is_not_one_plain_address_is_refused() {
        let long_local = format!("{}@x.org", "a".repeat(65));
        let long = format!("a@{}.org", "b".repeat(260));
        for bad in [
            "",
            " ",
            "a",
            "@",
            "a@",
            "@b.org",
            "a@b@c.org",
            "a b@c.org",
            "a@b.org,c@d.org",
            "\"a\"@b.org",
            "a@[127.0.0.1]",
            "a@b.org\r\nBcc: c@d.org",
            "a\0@b.org",
            "<a@b.org>",
            "a@b",
            "a@b.org.",
            ".a@b.org",
            "a..b@c.org",
            "a@-b.org",
            "a@b_c.org",
            "a\u{200b}@b.org",
            "a@b.org\u{202e}",
            "a%b@c.org",
            // By NFC the Kelvin sign would be the K of mike.
            "mi\u{212a}e@x.org",
            "a\u{1fef}@x.org",
            &long_local,
            &long,
        ] {
            assert!(EmailAddress::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        // S96
        #[test]
        fn parsing_is_total_and_a_key_is_its_own_key(text in ".{0,80}") {
            if let Ok(address) = EmailAddress::parse(&text) {
                let again = EmailAddress::parse(address.key().as_str());
                if let Ok(again) = again {
                    prop_assert_eq!(again.key(), address.key());
                }
            }
        }

        #[test]
        fn case_of_ascii_addresses_never_matters(local in "[a-zA-Z0-9+_-]{1,20}", domain in "[a-z]{1,10}\\.[a-z]{2,5}") {
            let lower = format!("{local}@{domain}");
            prop_assert_eq!(key(&lower), key(&lower.to_uppercase()));
        }
    }
}
