//! The list of faults: one defect each, and everything else honest.
//!
//! A fault is a row of this table and one arm where it acts: `tokens.rs` for the ID token, the file of the endpoint for everything on the wire.
//! A defect stands alone, so that a client which lacks exactly that check signs somebody in, and a test of that check fails.

use std::{fmt, str::FromStr};

macro_rules! faults {
    ($($group:literal { $($variant:ident = $name:literal, $describe:literal;)+ })+) => {
        /// What the stand-in does wrong, from the next request on and until it is told otherwise.
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Fault {
            /// Nothing: every answer is honest.
            #[default]
            None,
            $($(#[doc = $describe] $variant,)+)+
        }

        impl Fault {
            /// Every fault, [`Fault::None`] first.
            pub const ALL: &'static [Self] = &[Self::None, $($(Self::$variant,)+)+];

            /// Its name in kebab-case, as `Display` writes it and `FromStr` reads it.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::None => "none",
                    $($(Self::$variant => $name,)+)+
                }
            }

            /// What it does, in one line.
            pub const fn describe(self) -> &'static str {
                match self {
                    Self::None => "Nothing is wrong; every answer is honest.",
                    $($(Self::$variant => $describe,)+)+
                }
            }

            /// The heading it stands under on the page of faults.
            pub(crate) const fn group(self) -> &'static str {
                match self {
                    Self::None => "",
                    $($(Self::$variant => $group,)+)+
                }
            }
        }
    };
}

faults! {
    "ID token: signature and form" {
        WrongSignature = "wrong-signature", "One bit of the signature is flipped.";
        SignatureStripped = "signature-stripped", "The signature is empty; the header still says RS256.";
        AlgNone = "alg-none", "The header says `alg` none and the signature is empty.";
        AlgHs256WithPublicKey = "alg-hs256-with-public-key", "HS256, keyed with the PEM of our public RSA key.";
        AlgHs256WithClientSecret = "alg-hs256-with-client-secret", "HS256, keyed with the client secret.";
        WrongKey = "wrong-key", "Signed by a key outside the JWKS, under the `kid` of one inside.";
        UnknownKid = "unknown-kid", "Honestly signed, under a `kid` that the JWKS does not hold; another one each time.";
        NoKid = "no-kid", "No `kid`, although the JWKS holds two keys.";
        EmbeddedJwk = "embedded-jwk", "The header brings its own key in `jwk`, and that key signs.";
        UnknownCrit = "unknown-crit", "The header says that an extension nobody knows is critical.";
        B64False = "b64-false", "The header says `b64` false (RFC 7797).";
        WrongType = "wrong-type", "The header says `typ` at+jwt: an access token, not an ID token.";
        TokenWithPadding = "token-with-padding", "The last segment has base64 padding.";
        TokenWithFourSegments = "token-with-four-segments", "The token has four segments.";
        EncryptedToken = "encrypted-token", "The token has the five segments of a JWE.";
        TokenTooLarge = "token-too-large", "The token is larger than 20 KiB.";
        DuplicateClaim = "duplicate-claim", "The claims say `sub` twice.";
        ClaimsNotAnObject = "claims-not-an-object", "The payload is a JSON array.";
    }
    "ID token: claims" {
        WrongIssuer = "wrong-issuer", "`iss` is another issuer.";
        IssuerTrailingSlash = "issuer-trailing-slash", "`iss` has a slash too many at its end.";
        MissingIssuer = "missing-issuer", "There is no `iss`.";
        WrongAudience = "wrong-audience", "`aud` is another client.";
        AudienceArrayWithStranger = "audience-array-with-stranger", "`aud` is an array of the client and a stranger, without `azp`.";
        AudienceAsArray = "audience-as-array", "`aud` is an array of the client alone. This must work.";
        EmptyAudience = "empty-audience", "`aud` is an empty array.";
        MissingAudience = "missing-audience", "There is no `aud`.";
        WrongAzp = "wrong-azp", "`azp` is another client.";
        Expired = "expired", "The token expired an hour ago.";
        ExpiresAsString = "expires-as-string", "`exp` is a string.";
        MissingExpiry = "missing-expiry", "There is no `exp`.";
        IssuedInFuture = "issued-in-future", "`iat` is an hour ahead.";
        IssuedLongAgo = "issued-long-ago", "`iat` is eight days ago; `exp` is still ahead.";
        MissingIssuedAt = "missing-issued-at", "There is no `iat`.";
        NotYetValid = "not-yet-valid", "`nbf` is an hour ahead.";
        WrongNonce = "wrong-nonce", "`nonce` is that of another login.";
        MissingNonce = "missing-nonce", "There is no `nonce`.";
        MissingSubject = "missing-subject", "There is no `sub`.";
        EmptySubject = "empty-subject", "`sub` is empty.";
        SubjectNumber = "subject-number", "`sub` is a number.";
        SubjectTooLong = "subject-too-long", "`sub` has 300 bytes; 255 are allowed.";
        SubjectControlCharacter = "subject-control-character", "`sub` holds a line break.";
        WrongAtHash = "wrong-at-hash", "`at_hash` is that of another access token.";
    }
    "E-mail and UserInfo" {
        EmailUnverified = "email-unverified", "`email_verified` is false.";
        EmailVerifiedAsString = "email-verified-as-string", "`email_verified` is the string \"true\".";
        EmailArray = "email-array", "`email` is an array.";
        NoEmail = "no-email", "The ID token has no e-mail; UserInfo has.";
        EmailVerifiedInUserinfo = "email-verified-in-userinfo", "The ID token has the e-mail and no `email_verified`; UserInfo says it. This must work.";
        NoEmailAnywhere = "no-email-anywhere", "Neither the ID token nor UserInfo has an e-mail.";
        UserinfoWrongSubject = "userinfo-wrong-subject", "The ID token has no e-mail, and UserInfo is about another `sub`.";
        UserinfoError = "userinfo-error", "The ID token has no e-mail, and UserInfo answers 500.";
        UserinfoHtml = "userinfo-html", "The ID token has no e-mail, and UserInfo labels its JSON text/html.";
    }
    "Token endpoint" {
        NoIdToken = "no-id-token", "The answer has no `id_token`.";
        TokenTypeMac = "token-type-mac", "`token_type` is mac.";
        TokenTypeLowerCase = "token-type-lower-case", "`token_type` is bearer in lower case. This must work.";
        NoExpiresIn = "no-expires-in", "The answer has no `expires_in`. This must work.";
        TokenHtml = "token-html", "200, and the JSON is labelled text/html.";
        TokenEmpty = "token-empty", "200, and no body.";
        TokenJsonArray = "token-json-array", "The answer is a JSON array around the honest one.";
        TokenDuplicateMember = "token-duplicate-member", "The answer says `access_token` twice.";
        TokenDeeplyNested = "token-deeply-nested", "The answer has a member 10,000 arrays deep.";
        TokenRedirect = "token-redirect", "302 to an address that gives the honest answer.";
        Token500 = "token-500", "500.";
        TokenSlow = "token-slow", "The answer comes after a minute.";
        TokenHuge = "token-huge", "The honest answer after two MiB of white space.";
        TokenInvalidGrant = "token-invalid-grant", "400 invalid_grant.";
        TokenInvalidClient = "token-invalid-client", "401 invalid_client.";
        TokenErrorAs200 = "token-error-as-200", "An error, with status 200.";
    }
    "Metadata" {
        Metadata500 = "metadata-500", "500.";
        MetadataHtml = "metadata-html", "200, and a page of HTML.";
        MetadataWrongIssuer = "metadata-wrong-issuer", "`issuer` is another one.";
        MetadataRedirect = "metadata-redirect", "302 to an address that gives the honest metadata.";
        MetadataHuge = "metadata-huge", "The honest metadata after two MiB of white space.";
        MetadataSlow = "metadata-slow", "The metadata comes after a minute.";
        MetadataHttpEndpoint = "metadata-http-endpoint", "`token_endpoint` is at `http://idp.example`.";
    }
    "Keys" {
        Jwks500 = "jwks-500", "500.";
        JwksEmpty = "jwks-empty", "The set holds no key.";
        JwksHtml = "jwks-html", "200, and a page of HTML.";
        JwksSlow = "jwks-slow", "The set comes after a minute.";
        JwksRedirect = "jwks-redirect", "302 to an address that gives the honest set.";
        JwksHuge = "jwks-huge", "The honest set after two MiB of white space.";
        JwksBadKeyBeside = "jwks-bad-key-beside", "Unusable keys stand beside the good ones. This must work.";
        RotatedKeys = "rotated-keys", "The keys are rotated just before each token is signed. This must work.";
    }
    "Callback" {
        CallbackErrorServerError = "callback-error-server-error", "The callback says server_error.";
        CallbackWrongIss = "callback-wrong-iss", "`iss` in the callback is another issuer.";
        CallbackMissingIss = "callback-missing-iss", "The callback has no `iss`, although the metadata promises one.";
        CallbackWrongState = "callback-wrong-state", "`state` is another one.";
        CallbackMissingState = "callback-missing-state", "The callback has no `state`.";
        CallbackDuplicateCode = "callback-duplicate-code", "The callback has two codes.";
        CallbackCodeAndError = "callback-code-and-error", "The callback has a code and an error.";
        CallbackWithIdToken = "callback-with-id-token", "The callback brings an `id_token` in its query.";
    }
}

impl Fault {
    /// Whether a login must succeed in spite of it: the answer is unusual and allowed.
    ///
    /// What a client makes of the faults about e-mail is its own policy; they are not in this list.
    pub fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::None
                | Self::AudienceAsArray
                | Self::EmailVerifiedInUserinfo
                | Self::TokenTypeLowerCase
                | Self::NoExpiresIn
                | Self::JwksBadKeyBeside
                | Self::RotatedKeys
        )
    }

    /// What it does, cut where code begins and ends; `true` for code.
    pub(crate) fn described(self) -> impl Iterator<Item = (bool, &'static str)> {
        self.describe()
            .split('`')
            .enumerate()
            .map(|(at, part)| (at % 2 == 1, part))
    }

    /// Whether the ID token of this fault is without e-mail, so that the client has to ask UserInfo.
    pub(crate) fn hides_email(self) -> bool {
        matches!(
            self,
            Self::NoEmail
                | Self::NoEmailAnywhere
                | Self::UserinfoWrongSubject
                | Self::UserinfoError
                | Self::UserinfoHtml
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no fault of this name; [`Fault::ALL`] lists them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no fault named {0:?}; the page /faults of the stand-in lists them")]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        Self::ALL
            .iter()
            .copied()
            .find(|fault| fault.name() == name)
            .ok_or_else(|| UnknownFault(name.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_by_the_name_it_prints() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse::<Fault>().as_ref(), Ok(fault));
            assert!(
                fault
                    .name()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
            assert!(!fault.describe().is_empty());
        }
        assert!("no-such-fault".parse::<Fault>().is_err());
    }

    #[test]
    fn a_harmless_fault_says_so_where_a_person_reads_it() {
        for fault in Fault::ALL.iter().filter(|fault| **fault != Fault::None) {
            assert_eq!(
                fault.is_harmless(),
                fault.describe().ends_with("This must work."),
                "{fault}"
            );
        }
    }
}
