//! Step 4: the ID token (OpenID Connect Core section 3.1.3.7). Nothing else makes a [`VerifiedIdentity`].

use subtle::ConstantTimeEq as _;
use vestibule_jose::claims::{self, TimeError};
use vestibule_jose::json::{ClaimError, Object};
use vestibule_jose::{CompactJws, JwkSet, JwsError, Timestamp};

use crate::identity::{PersonClaims, VerifiedIdentity};
use crate::metadata::Metadata;
use crate::pkce;
use crate::provider::Provider;

use super::token::WithIdToken;

/// How old the token of a fresh login may be, in seconds (S41).
const MAX_AGE: i64 = 600;
/// The longest subject in bytes (OpenID Connect Core section 2).
const MAX_SUBJECT: usize = 255;

/// Why an ID token ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdTokenError {
    /// Signature, key or algorithm.
    #[error("the ID token does not hold: {0}")]
    Jws(#[from] JwsError),
    /// `typ` of another kind of token (RFC 8725 section 3.11).
    #[error("the ID token's typ is {0:?}: it is another kind of token")]
    Type(String),
    /// `iss` of somebody else.
    #[error("the ID token's iss is {found:?}, and {expected:?} is configured")]
    Issuer {
        /// What the configuration says.
        expected: String,
        /// What the token says.
        found: String,
    },
    /// The tenant of the account is none that may come.
    #[error("the account is of the tenant {0:?}, which allowed_tenants does not hold")]
    Tenant(String),
    /// `aud` without us, or with others that we do not trust.
    #[error(
        "the ID token's aud is not our client_id alone; others are allowed by trusted_audiences"
    )]
    Audience,
    /// `azp` missing, or of another client.
    #[error("the ID token's azp is not our client_id")]
    AuthorizedParty,
    /// Not valid now.
    #[error(
        "the ID token is not valid now: {0}; compare the clocks of this machine and of the provider"
    )]
    Time(TimeError),
    /// `nonce` missing or of another attempt.
    #[error("the ID token's nonce is not that of this attempt")]
    Nonce,
    /// `at_hash` of another access token.
    #[error("the ID token's at_hash does not fit the access token")]
    AccessTokenHash,
    /// `c_hash` of another code.
    #[error("the ID token's c_hash does not fit the code")]
    CodeHash,
    /// No subject that we can keep.
    #[error("the ID token's sub is empty, over 255 bytes, or holds control characters")]
    Subject,
    /// A claim is missing or has the wrong type.
    #[error("a claim of the ID token does not do: {0}")]
    Claim(#[from] ClaimError),
}

impl IdTokenError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Jws(error) => jws_reason(error),
            Self::Type(_) => "typ",
            Self::Issuer { .. } => "issuer",
            Self::Tenant(_) => "tenant",
            Self::Audience => "audience",
            Self::AuthorizedParty => "azp",
            Self::Time(TimeError::Expired) => "expired",
            Self::Time(TimeError::IssuedInFuture) => "issued_in_future",
            Self::Time(TimeError::IssuedTooLongAgo) => "issued_too_long_ago",
            Self::Time(TimeError::NotYetValid) => "not_yet_valid",
            Self::Nonce => "nonce",
            Self::AccessTokenHash => "at_hash",
            Self::CodeHash => "c_hash",
            Self::Subject => "subject",
            Self::Claim(ClaimError::Missing(_)) => "claim_missing",
            Self::Time(_) | Self::Claim(_) => "claim_type",
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Nonce => "nonce_mismatch",
            Self::Tenant(_) => "domain_not_allowed",
            Self::Time(TimeError::IssuedInFuture | TimeError::NotYetValid) => "clock_skew",
            _ => "id_token_invalid",
        }
    }
}

pub(crate) fn jws_reason(error: &JwsError) -> &'static str {
    match error {
        JwsError::TooLarge => "too_large",
        JwsError::Algorithm => "algorithm",
        JwsError::Critical => "critical",
        JwsError::KeyUnknown => "key_unknown",
        JwsError::KeyAmbiguous => "key_ambiguous",
        JwsError::Signature => "signature",
        _ => "format",
    }
}

/// What an ID token is held against, beside its provider.
pub(crate) struct Expected<'a> {
    /// Whether `aud` and `azp` may name this client of ours.
    pub(crate) is_us: &'a dyn Fn(&str) -> bool,
    /// Whether this is the `nonce` of the attempt, in constant time.
    pub(crate) is_nonce: &'a dyn Fn(&str) -> bool,
    /// What `at_hash` is the hash of, if it came with the token.
    pub(crate) access_token: Option<&'a str>,
    /// What `c_hash` is the hash of, if it came with the token.
    pub(crate) code: Option<&'a str>,
}

impl WithIdToken {
    /// Verifies the ID token.
    ///
    /// # Errors
    /// See [`IdTokenError`].
    pub fn verify(
        self,
        provider: &Provider,
        metadata: &Metadata,
        keys: &JwkSet,
        now: Timestamp,
    ) -> Result<VerifiedIdentity, IdTokenError> {
        let nonce = pkce::nonce(&self.started.secret);
        let expected = Expected {
            is_us: &|audience| audience == provider.client_id,
            is_nonce: &|text| nonce.is_text(text),
            access_token: Some(self.tokens.access_token.expose()),
            code: Some(self.code.expose()),
        };
        let (issuer, subject, mut claims) =
            verify(&self.id_token, provider, metadata, keys, now, &expected)?;
        claims.name = claims.name.or(self.name);
        Ok(VerifiedIdentity::new(
            provider,
            issuer,
            subject,
            claims,
            self.tokens,
        ))
    }
}

/// Verifies an ID token: the identity's issuer, its subject, and its claims. The checks stand in the order of the
/// specification; the signature comes before any claim is looked at (S46).
pub(crate) fn verify(
    id_token: &CompactJws,
    provider: &Provider,
    metadata: &Metadata,
    keys: &JwkSet,
    now: Timestamp,
    expected: &Expected<'_>,
) -> Result<(String, String, PersonClaims), IdTokenError> {
    // RFC 8725 section 3.11: an access token or logout token is no ID token.
    let header = id_token.header();
    if let Some(typ) = header
        .typ
        .as_deref()
        .filter(|typ| !typ.eq_ignore_ascii_case("JWT"))
    {
        return Err(IdTokenError::Type(typ.chars().take(64).collect()));
    }
    // (6), (7), (8): signature, with an algorithm that we allow for this provider.
    let allowed = provider.allowed_algorithms(&metadata.id_token_signing_alg_values_supported);
    let algorithm = header.alg;
    let claims = keys.verify(id_token, &allowed)?;

    // (2): iss.
    let issuer = issuer(provider, &claims)?;
    // (3): aud holds our client_id, and nobody whom we do not trust.
    let audiences = claims::audiences(&claims)?;
    let us = expected.is_us;
    if !audiences.iter().any(|audience| us(audience))
        || !audiences.iter().all(|audience| {
            us(audience)
                || provider
                    .trusted_audiences
                    .iter()
                    .any(|trusted| trusted == audience)
        })
    {
        return Err(IdTokenError::Audience);
    }
    // (4), (5): with more than one audience, azp is there; where it is, it is us.
    match claims.string("azp")? {
        Some(azp) if !us(azp) => return Err(IdTokenError::AuthorizedParty),
        None if audiences.len() > 1 => return Err(IdTokenError::AuthorizedParty),
        _ => {}
    }
    // (9), (10) and nbf.
    let skew = provider.skew_seconds;
    claims::check_expiry(&claims, now, skew).map_err(time)?;
    claims::check_issued(&claims, now, skew, MAX_AGE).map_err(time)?;
    claims::check_not_before(&claims, now, skew).map_err(time)?;
    // (11): nonce, in constant time.
    match claims.string("nonce") {
        Ok(Some(nonce)) if (expected.is_nonce)(nonce) => {}
        _ => return Err(IdTokenError::Nonce),
    }
    // Sections 3.1.3.8 and 3.3.2.10: at_hash and c_hash, where they are there.
    for (name, value, error) in [
        (
            "at_hash",
            expected.access_token,
            IdTokenError::AccessTokenHash,
        ),
        ("c_hash", expected.code, IdTokenError::CodeHash),
    ] {
        if let (Some(hash), Some(value)) = (claims.string(name)?, value)
            && !bool::from(
                algorithm
                    .half_hash(value.as_bytes())
                    .as_bytes()
                    .ct_eq(hash.as_bytes()),
            )
        {
            return Err(error);
        }
    }
    // Section 2: sub, kept as it is.
    let subject = claims.require_string("sub")?;
    if !is_subject(subject) {
        return Err(IdTokenError::Subject);
    }
    let person = PersonClaims::read(provider, &claims);
    Ok((issuer, subject.to_owned(), person))
}

/// The issuer as it stands in the identity's key: `iss` is the configured one byte for byte, or a spelling of it that the
/// preset knows, or that of a tenant whose accounts may come (S38).
fn issuer(provider: &Provider, claims: &Object) -> Result<String, IdTokenError> {
    let iss = claims.require_string("iss")?;
    let other = || IdTokenError::Issuer {
        expected: provider.issuer.to_string(),
        found: iss.chars().take(200).collect(),
    };
    if provider.tenants.is_none() {
        let is_ours = iss == provider.issuer.as_str() || provider.issuer_aliases().contains(&iss);
        return if is_ours {
            Ok(provider.issuer.as_str().to_owned())
        } else {
            Err(other())
        };
    }
    let tenant = provider.tenant_in(iss).ok_or_else(other)?;
    // The claim and the issuer speak of the same tenant.
    if claims.require_string("tid")? != tenant {
        return Err(other());
    }
    if !provider.takes_tenant(tenant) {
        return Err(IdTokenError::Tenant(tenant.to_owned()));
    }
    Ok(iss.to_owned())
}

/// Whether a text can be a subject: some bytes, not too many, none of them for terminals.
pub(crate) fn is_subject(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_SUBJECT && !text.chars().any(char::is_control)
}

fn time(error: TimeError) -> IdTokenError {
    match error {
        TimeError::Claim(error) => IdTokenError::Claim(error),
        error => IdTokenError::Time(error),
    }
}
