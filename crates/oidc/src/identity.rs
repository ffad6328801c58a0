//! The end of the chain: somebody whom a provider vouches for.

use vestibule_jose::json::{ClaimError, Object};

use crate::provider::Provider;
use crate::secret::AccessToken;

/// The longest name or URL that is kept, in bytes.
const MAX_TEXT: usize = 1_024;

/// What a provider says about a person's address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmailClaim {
    /// `email_verified` is JSON `true`.
    Verified(String),
    /// There is an address, and no word that it is verified.
    Unverified(String),
    /// No address.
    Absent,
}

/// A person as the provider described in a token that we verified. Only `Exchanged::verify` makes one.
#[derive(Clone, Debug)]
pub struct VerifiedIdentity {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) claims: PersonClaims,
    pub(crate) authoritative: bool,
    pub(crate) says_hosted_domain: bool,
    pub(crate) access_token: AccessToken,
}

/// The claims about a person that an ID token and UserInfo share (OpenID Connect Core section 5.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PersonClaims {
    pub(crate) email: EmailClaim,
    /// Whether `email_verified` was said at all.
    pub(crate) says_verified: bool,
    pub(crate) name: Option<String>,
    pub(crate) picture: Option<String>,
    pub(crate) hosted_domain: Option<String>,
}

impl PersonClaims {
    /// Reads them. An address of a wrong type is an error; a name or picture of one is left out, since a login does not
    /// hang on them.
    pub(crate) fn read(claims: &Object) -> Result<Self, ClaimError> {
        let email = match claims.string("email")? {
            None | Some("") => EmailClaim::Absent,
            Some(email) if email.len() > MAX_TEXT => EmailClaim::Absent,
            // The string "true" is not `true` (S56); a preset that needs it says so.
            Some(email) if claims.boolean("email_verified") == Ok(Some(true)) => {
                EmailClaim::Verified(email.to_owned())
            }
            Some(email) => EmailClaim::Unverified(email.to_owned()),
        };
        let text = |name| claims.string(name).ok().flatten();
        Ok(Self {
            email,
            says_verified: claims.contains("email_verified"),
            name: text("name").and_then(clean),
            picture: text("picture")
                .filter(|url| is_https_picture(url))
                .map(str::to_owned),
            hosted_domain: claims.string("hd")?.map(str::to_owned),
        })
    }
}

impl VerifiedIdentity {
    /// The issuer, byte for byte as configured. With the subject it is the identity's key.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject, case-sensitive.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The address.
    #[must_use]
    pub fn email(&self) -> &EmailClaim {
        &self.claims.email
    }

    /// Whether nothing was said so far that decides about the address: there is none, or no word of `email_verified`.
    #[must_use]
    pub fn lacks_address(&self) -> bool {
        match self.claims.email {
            EmailClaim::Absent => true,
            EmailClaim::Unverified(_) => !self.claims.says_verified,
            EmailClaim::Verified(_) => false,
        }
    }

    /// Whether the provider is authoritative for the verified address.
    #[must_use]
    pub fn authoritative(&self) -> bool {
        self.authoritative
    }

    /// The display name, cleaned and cut.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.claims.name.as_deref()
    }

    /// An https URL of a picture.
    #[must_use]
    pub fn picture(&self) -> Option<&str> {
        self.claims.picture.as_deref()
    }

    /// The organisation that the provider names (`hd`).
    #[must_use]
    pub fn hosted_domain(&self) -> Option<&str> {
        self.claims.hosted_domain.as_deref()
    }

    /// Whether this provider names organisations at all.
    #[must_use]
    pub fn says_hosted_domain(&self) -> bool {
        self.says_hosted_domain
    }

    pub(crate) fn judge(&mut self, provider: &Provider) {
        self.authoritative = (provider.preset.authoritative)(
            &self.claims.email,
            self.claims.hosted_domain.as_deref(),
        );
    }
}

/// A name without control and direction characters, cut at a character; `None` if nothing is left.
fn clean(text: &str) -> Option<String> {
    let mut kept = String::new();
    for c in text.chars().filter(|c| {
        !c.is_control()
            && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    }) {
        if kept.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        kept.push(c);
    }
    let kept = kept.trim().to_owned();
    (!kept.is_empty()).then_some(kept)
}

fn is_https_picture(text: &str) -> bool {
    text.len() <= MAX_TEXT
        && url::Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
        })
}

#[cfg(test)]
mod tests {
    use vestibule_jose::json::parse_object;

    use super::*;

    fn read(text: &str) -> Result<PersonClaims, ClaimError> {
        PersonClaims::read(&parse_object(text.as_bytes(), 3_000_000).unwrap())
    }

    // S56; ATTACKS E01
    #[test]
    fn an_address_is_verified_by_json_true_alone() {
        assert_eq!(
            read(r#"{"email":"a@b.org","email_verified":true}"#)
                .unwrap()
                .email,
            EmailClaim::Verified("a@b.org".into())
        );
        for said in ["false", "\"true\"", "1", "null", "\"false\"", "[true]"] {
            let claims =
                read(&format!(r#"{{"email":"a@b.org","email_verified":{said}}}"#)).unwrap();
            assert_eq!(
                claims.email,
                EmailClaim::Unverified("a@b.org".into()),
                "{said}"
            );
        }
        assert_eq!(
            read(r#"{"email":"a@b.org"}"#).unwrap().email,
            EmailClaim::Unverified("a@b.org".into())
        );
    }

    // ATTACKS E08
    #[test]
    fn an_address_of_a_wrong_type_is_an_error_and_an_empty_or_huge_one_is_none() {
        for bad in [
            r#"{"email":["a@b.org"]}"#,
            r#"{"email":{}}"#,
            r#"{"email":null}"#,
            r#"{"email":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(
            read(r#"{"email":"","email_verified":true}"#).unwrap().email,
            EmailClaim::Absent
        );
        let huge = format!(
            r#"{{"email":"{}@b.org","email_verified":true}}"#,
            "a".repeat(1_000_000)
        );
        assert_eq!(read(&huge).unwrap().email, EmailClaim::Absent);
    }

    // ATTACKS E09, I03
    #[test]
    fn names_are_cleaned_and_cut_and_pictures_are_https() {
        assert_eq!(
            read(r#"{"name":" A\u0000n\u202en\r\n "}"#)
                .unwrap()
                .name
                .as_deref(),
            Some("Ann")
        );
        assert_eq!(read(r#"{"name":7}"#).unwrap().name, None);
        assert_eq!(read(r#"{"name":"\u0000"}"#).unwrap().name, None);
        let long = format!(r#"{{"name":"{}"}}"#, "\u{1f600}".repeat(100_000));
        assert!(read(&long).unwrap().name.unwrap().len() <= MAX_TEXT);
        assert!(
            read(r#"{"picture":"https://a.example/p.png"}"#)
                .unwrap()
                .picture
                .is_some()
        );
        for bad in [
            "http://a.example/p.png",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://u@a.example/",
            "//a.example",
        ] {
            assert_eq!(
                read(&format!(r#"{{"picture":"{bad}"}}"#)).unwrap().picture,
                None,
                "{bad}"
            );
        }
    }
}
