//! The end of the chain: somebody whom a provider vouches for.

use serde_json::Value;
use vestibule_jose::json::Object;

use crate::login::token::TokenSet;
use crate::provider::Provider;
use crate::providers::{Authoritative, Verified};

/// The longest name or URL that is kept, in bytes.
const MAX_TEXT: usize = 1_024;

/// What a provider says about a person's address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EmailClaim {
    /// It is verified, by what the preset goes by: `email_verified` is JSON `true`, for most.
    Verified(String),
    /// There is an address, and no word that it is verified.
    Unverified(String),
    /// No address.
    Absent,
}

/// A person as a provider described: in an ID token that we verified, or to an access token that our own code became.
/// Nothing else makes one.
#[derive(Clone, Debug)]
pub struct VerifiedIdentity {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) claims: PersonClaims,
    pub(crate) authoritative: bool,
    pub(crate) says_hosted_domain: bool,
    pub(crate) tokens: TokenSet,
}

/// The claims about a person that an ID token and UserInfo share (OpenID Connect Core section 5.1), and those of an API
/// that say the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PersonClaims {
    pub(crate) email: EmailClaim,
    /// Whether anything was said of whether it is verified.
    pub(crate) says_verified: bool,
    pub(crate) name: Option<String>,
    pub(crate) picture: Option<String>,
    pub(crate) hosted_domain: Option<String>,
}

impl PersonClaims {
    /// Reads those of an ID token or UserInfo.
    pub(crate) fn read(provider: &Provider, claims: &Object) -> Self {
        Self {
            email: email(
                text_at(claims, "email"),
                verified_by(provider.preset.email.verified, claims),
            ),
            says_verified: match provider.preset.email.verified {
                Verified::IfTrue(path)
                | Verified::IfTrueOrText(path)
                | Verified::IfTrueOrOne(path) => claims.at(path).is_some(),
                // No claim decides.
                Verified::Listed | Verified::Always | Verified::Never => true,
            },
            name: text_at(claims, "name")
                .or_else(|| text_at(claims, provider.preset.quirks.name_claim))
                .and_then(clean),
            picture: text_at(claims, "picture").and_then(picture),
            hosted_domain: match provider.preset.email.authoritative {
                // An empty text names none.
                Authoritative::MailboxesAndOrganisations(_) => text_at(claims, "hd")
                    .filter(|domain| !domain.is_empty())
                    .map(str::to_owned),
                Authoritative::AsConfigured | Authoritative::Never => None,
            },
        }
    }
}

/// An address and whether it is verified. What is no plain text is no address: a login does not hang on it unless an address
/// is required, and then that is what is told. PostgreSQL keeps no text with a NUL.
pub(crate) fn email(text: Option<&str>, verified: bool) -> EmailClaim {
    match text {
        None | Some("") => EmailClaim::Absent,
        Some(email) if email.len() > MAX_TEXT || has_control(email) => EmailClaim::Absent,
        Some(email) if verified => EmailClaim::Verified(email.to_owned()),
        Some(email) => EmailClaim::Unverified(email.to_owned()),
    }
}

/// Whether claims say that their address is verified, by what the preset goes by (S56).
pub(crate) fn verified_by(rule: Verified, claims: &Object) -> bool {
    match rule {
        Verified::IfTrue(path) => claims.at(path) == Some(&Value::Bool(true)),
        Verified::IfTrueOrText(path) => claims
            .at(path)
            .is_some_and(|said| *said == Value::Bool(true) || said.as_str() == Some("true")),
        Verified::IfTrueOrOne(path) => claims.at(path).is_some_and(|said| match said {
            Value::Bool(said) => *said,
            Value::Number(number) => number.as_u64() == Some(1),
            Value::String(text) => matches!(text.as_str(), "true" | "1"),
            _ => false,
        }),
        Verified::Always => true,
        Verified::Listed | Verified::Never => false,
    }
}

/// The text at the end of a path, if there is one.
pub(crate) fn text_at<'a>(claims: &'a Object, path: &str) -> Option<&'a str> {
    claims.at(path)?.as_str()
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

    /// Whether nothing was said so far that decides about the address: there is none, or no word whether it is verified.
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

    /// The provider's tokens.
    #[must_use]
    pub fn tokens(&self) -> &TokenSet {
        &self.tokens
    }

    pub(crate) fn new(
        provider: &Provider,
        issuer: String,
        subject: String,
        claims: PersonClaims,
        tokens: TokenSet,
    ) -> Self {
        let mut identity = Self {
            issuer,
            subject,
            claims,
            authoritative: false,
            says_hosted_domain: provider.says_hosted_domain(),
            tokens,
        };
        identity.judge(provider);
        identity
    }

    /// Whether the provider is authoritative for the address: verified, and of a mailbox or an organisation that it runs
    /// (S56).
    pub(crate) fn judge(&mut self, provider: &Provider) {
        self.authoritative = match &self.claims.email {
            EmailClaim::Verified(email) => {
                provider.is_authoritative_for(email, self.claims.hosted_domain.as_deref())
            }
            EmailClaim::Unverified(_) | EmailClaim::Absent => false,
        };
    }
}

/// What a provider's word about an address is worth.
impl Provider {
    /// Whether an address counts as verified where the provider says so, or does not.
    #[must_use]
    pub fn takes_as_verified(&self, says_so: bool) -> bool {
        if self.has_email_verified_claim() {
            return says_so;
        }
        match self.preset.email.verified {
            Verified::Always => true,
            Verified::Never => false,
            Verified::IfTrue(_)
            | Verified::IfTrueOrText(_)
            | Verified::IfTrueOrOne(_)
            | Verified::Listed => says_so,
        }
    }

    /// Whether it is authoritative for a verified address of somebody of this organisation.
    #[must_use]
    pub fn is_authoritative_for(&self, email: &str, hosted_domain: Option<&str>) -> bool {
        let domain = email
            .rsplit_once('@')
            .map_or_else(String::new, |(_, domain)| domain.to_ascii_lowercase());
        let configured = self.authoritative_for.contains(&domain);
        match self.preset.email.authoritative {
            Authoritative::AsConfigured => configured,
            Authoritative::MailboxesAndOrganisations(mailboxes) => {
                configured || mailboxes.contains(&domain.as_str()) || hosted_domain.is_some()
            }
            Authoritative::Never => false,
        }
    }

    /// Whether it names the organisation of an account.
    #[must_use]
    pub fn says_hosted_domain(&self) -> bool {
        matches!(
            self.preset.email.authoritative,
            Authoritative::MailboxesAndOrganisations(_)
        )
    }
}

/// A name without control and direction characters, cut at a character; `None` if nothing is left.
pub(crate) fn clean(text: &str) -> Option<String> {
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

/// Whether a text has a control character, which nobody has in an address of any kind.
fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// An https URL, as it came. The parser forgives control characters, and they would be kept.
pub(crate) fn picture(text: &str) -> Option<String> {
    let is_https = text.len() <= MAX_TEXT
        && !has_control(text)
        && url::Url::parse(text).is_ok_and(|url| {
            url.scheme() == "https"
                && url.host_str().is_some()
                && url.username().is_empty()
                && url.password().is_none()
        });
    is_https.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use vestibule_jose::json::parse_object;

    use super::*;
    use crate::provider::{ProviderId, ProviderSettings};
    use crate::providers::{Preset, generic, google};

    fn at(preset: &'static Preset, change: fn(&mut ProviderSettings)) -> Provider {
        let mut settings = ProviderSettings::new(
            ProviderId::parse("acme").unwrap(),
            preset,
            "us".into(),
            url::Url::parse("https://app.example/auth/acme/callback").unwrap(),
        );
        settings.client_secret = Some(crate::ClientSecret::new("s".into()));
        change(&mut settings);
        Provider::new(settings).unwrap()
    }

    fn acme() -> Provider {
        at(&generic::OPENID, |settings| {
            settings.issuer = Some("https://acme.example".into());
        })
    }

    fn read(text: &str) -> PersonClaims {
        PersonClaims::read(&acme(), &parse_object(text.as_bytes(), 3_000_000).unwrap())
    }

    // S56
    #[test]
    fn a_provider_is_authoritative_for_verified_addresses_that_it_runs_alone() {
        let google = at(&google::PRESET, |_| {});
        let company = at(&generic::OPENID, |settings| {
            settings.issuer = Some("https://acme.example".into());
            settings.authoritative_for = vec!["Acme.example".into()];
        });
        let judged = |provider: &Provider, email: EmailClaim, hd: Option<&str>| {
            let claims = PersonClaims {
                email,
                says_verified: true,
                name: None,
                picture: None,
                hosted_domain: hd.map(str::to_owned),
            };
            let (issuer, tokens) = (provider.issuer.to_string(), TokenSet::none());
            VerifiedIdentity::new(provider, issuer, "1".into(), claims, tokens).authoritative()
        };
        let verified = |email: &str| EmailClaim::Verified(email.into());
        for (email, hd, expected) in [
            (verified("a@gmail.com"), None, true),
            (verified("a@GMAIL.com"), None, true),
            (verified("a@example.com"), Some("example.com"), true),
            (verified("a@example.com"), None, false),
            (verified("a@notgmail.com"), None, false),
            (verified("a@gmail.com.example"), None, false),
            (
                EmailClaim::Unverified("a@gmail.com".into()),
                Some("gmail.com"),
                false,
            ),
            (EmailClaim::Absent, Some("example.com"), false),
        ] {
            assert_eq!(
                judged(&google, email.clone(), hd),
                expected,
                "{email:?} {hd:?}"
            );
            assert!(!judged(&acme(), email, hd));
        }
        assert!(judged(&company, verified("a@acme.EXAMPLE"), None));
        assert!(!judged(&company, verified("a@sub.acme.example"), None));
        assert!(!judged(
            &company,
            EmailClaim::Unverified("a@acme.example".into()),
            None
        ));
    }

    // S56; ATTACKS E01
    #[test]
    fn an_address_is_verified_by_json_true_alone() {
        assert_eq!(
            read(r#"{"email":"a@b.org","email_verified":true}"#).email,
            EmailClaim::Verified("a@b.org".into())
        );
        for said in ["false", "\"true\"", "1", "null", "\"false\"", "[true]"] {
            let claims = read(&format!(r#"{{"email":"a@b.org","email_verified":{said}}}"#));
            assert_eq!(
                claims.email,
                EmailClaim::Unverified("a@b.org".into()),
                "{said}"
            );
        }
        assert_eq!(
            read(r#"{"email":"a@b.org"}"#).email,
            EmailClaim::Unverified("a@b.org".into())
        );
    }

    // S56: what each rule makes of what is said. One column a rule, in the order of the enum.
    #[test]
    fn each_rule_takes_its_own_words_for_verified_and_no_others() {
        let rules = [
            Verified::IfTrue("a.said"),
            Verified::IfTrueOrText("a.said"),
            Verified::IfTrueOrOne("a.said"),
            Verified::Listed,
            Verified::Always,
            Verified::Never,
        ];
        let none = [false, false, false, false, true, false];
        let text = [false, true, true, false, true, false];
        let one = [false, false, true, false, true, false];
        for (said, expected) in [
            ("true", [true, true, true, false, true, false]),
            ("\"true\"", text),
            ("1", one),
            ("\"1\"", one),
            ("false", none),
            ("\"false\"", none),
            ("\"True\"", none),
            ("\"true \"", none),
            ("\"\"", none),
            ("\"yes\"", none),
            ("0", none),
            ("\"0\"", none),
            ("2", none),
            ("-1", none),
            ("1.0", none),
            ("null", none),
            ("[true]", none),
            ("{\"said\":true}", none),
        ] {
            let text = format!(r#"{{"said":true,"a":{{"said":{said}}}}}"#);
            let claims = parse_object(text.as_bytes(), 1_000).unwrap();
            let found = rules.map(|rule| verified_by(rule, &claims));
            assert_eq!(found, expected, "{said}");
        }
        let elsewhere = parse_object(br#"{"said":true,"a":[true]}"#, 1_000).unwrap();
        let found = rules.map(|rule| verified_by(rule, &elsewhere));
        assert_eq!(found, none, "nothing is said");
    }

    // S56; ATTACKS E15
    #[test]
    fn an_organisation_is_a_text_in_the_claim_of_a_provider_that_names_some() {
        let google = at(&google::PRESET, |_| {});
        let of = |provider: &Provider, claims: &str| {
            let claims = parse_object(claims.as_bytes(), 1_000).unwrap();
            PersonClaims::read(provider, &claims).hosted_domain
        };
        let said = r#"{"hd":"good.com"}"#;
        assert_eq!(of(&google, said).as_deref(), Some("good.com"));
        assert_eq!(of(&acme(), said), None);
        for none in [
            r#"{"hd":""}"#,
            r#"{"hd":null}"#,
            r#"{"hd":true}"#,
            r#"{"hd":["good.com"]}"#,
            r#"{"HD":"good.com"}"#,
        ] {
            assert_eq!(of(&google, none), None, "{none}");
        }
    }

    // ATTACKS E08
    #[test]
    fn an_address_of_a_wrong_type_or_an_empty_or_huge_one_is_none() {
        for bad in [
            r#"{"email":["a@b.org"]}"#,
            r#"{"email":{}}"#,
            r#"{"email":null}"#,
            r#"{"email":1}"#,
        ] {
            assert_eq!(read(bad).email, EmailClaim::Absent, "{bad}");
        }
        for no_text in ["", "a\\u0000@b.org", "a@b.org\\r\\nx: y", "a@b.org\\u0085"] {
            let claims = read(&format!(r#"{{"email":"{no_text}","email_verified":true}}"#));
            assert_eq!(claims.email, EmailClaim::Absent, "{no_text}");
        }
        let huge = format!(
            r#"{{"email":"{}@b.org","email_verified":true}}"#,
            "a".repeat(1_000_000)
        );
        assert_eq!(read(&huge).email, EmailClaim::Absent);
    }

    // ATTACKS E09, I03
    #[test]
    fn names_are_cleaned_and_cut_and_pictures_are_https() {
        assert_eq!(
            read(r#"{"name":" A\u0000n\u202en\r\n "}"#).name.as_deref(),
            Some("Ann")
        );
        assert_eq!(read(r#"{"name":7}"#).name, None);
        assert_eq!(read(r#"{"name":"\u0000"}"#).name, None);
        let long = format!(r#"{{"name":"{}"}}"#, "\u{1f600}".repeat(100_000));
        assert!(read(&long).name.unwrap().len() <= MAX_TEXT);
        assert!(
            read(r#"{"picture":"https://a.example/p.png"}"#)
                .picture
                .is_some()
        );
        for bad in [
            "http://a.example/p.png",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://u@a.example/",
            "//a.example",
            "https://a.example/\\u0000",
            "https://a.example/\\r\\np.png",
        ] {
            assert_eq!(
                read(&format!(r#"{{"picture":"{bad}"}}"#)).picture,
                None,
                "{bad}"
            );
        }
    }
}
