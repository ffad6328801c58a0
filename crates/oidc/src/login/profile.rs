//! Step 4 where there is no ID token: the person as the provider's interface describes the one whose access token our
//! own code became (S55). Nothing else makes an identity of a provider that speaks OAuth 2.0 alone.

use serde_json::Value;
use vestibule_jose::json::{self, JsonError, Object};

use crate::identity::{self, EmailClaim, PersonClaims, VerifiedIdentity};
use crate::outbound::{MAX_ANSWER, Method, OutboundRequest, OutboundResponse};
use crate::provider::{Api, ApiProfile, Provider, Source};
use crate::providers::{EmailList, Verified};

use super::id_token::is_subject;
use super::token::AccessTokenOnly;

/// Why a profile ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The provider has one, and it was not asked for.
    #[error("there is no profile, and the token response does not describe the person")]
    Missing,
    /// Another status than 200.
    #[error("the profile was answered with status {0}")]
    Status(u16),
    /// Not JSON.
    #[error("the profile is not application/json")]
    ContentType,
    /// Not an acceptable object.
    #[error("the profile is not acceptable: {0}")]
    Json(#[from] JsonError),
    /// Nobody is named whom we could find again.
    #[error(
        "the profile has no subject at {0:?}: it must be a text of 1 to 255 bytes, or a whole number where the provider has such"
    )]
    Subject(String),
    /// The provider has an ID token for that.
    #[error("the provider speaks OpenID Connect; its ID token says who it is")]
    OpenId,
}

impl ProfileError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "profile_missing",
            Self::Status(_) => "profile_status",
            Self::ContentType => "profile_content_type",
            Self::Json(_) => "profile_json",
            Self::Subject(_) => "profile_subject",
            Self::OpenId => "profile_of_openid",
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Status(status) if *status >= 500 || *status == 429 => "provider_unavailable",
            Self::Missing
            | Self::Status(_)
            | Self::ContentType
            | Self::Json(_)
            | Self::Subject(_)
            | Self::OpenId => "provider_error",
        }
    }
}

impl AccessTokenOnly {
    /// The request for the profile; `None` where the token response describes the person already.
    #[must_use]
    pub fn profile_request(&self, provider: &Provider) -> Option<OutboundRequest> {
        let (method, url) = match &api(provider)?.profile {
            ApiProfile::Get(url) => (Method::Get, url),
            ApiProfile::Post(url) => (Method::Post, url),
            ApiProfile::TokenResponse => return None,
        };
        let request = OutboundRequest::get(url.clone()).bearer(&self.tokens.access_token);
        Some(OutboundRequest { method, ..request })
    }

    /// The request for the person's addresses; `None` where the profile says all there is.
    #[must_use]
    pub fn emails_request(&self, provider: &Provider) -> Option<OutboundRequest> {
        let (url, _) = api(provider)?.emails.as_ref()?;
        Some(OutboundRequest::get(url.clone()).bearer(&self.tokens.access_token))
    }

    /// Who it is. `profile` and `emails` are the answers to the requests, where there were any. Addresses that the
    /// person did not let us see are no failure: there is none then.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn identify(
        self,
        provider: &Provider,
        profile: Option<&OutboundResponse>,
        emails: Option<&OutboundResponse>,
    ) -> Result<VerifiedIdentity, ProfileError> {
        let api = api(provider).ok_or(ProfileError::OpenId)?;
        let profile = match profile {
            Some(response) => object_of(response)?,
            None if matches!(api.profile, ApiProfile::TokenResponse) => self.response,
            None => return Err(ProfileError::Missing),
        };
        let subject = match profile.at(&api.claims.subject) {
            Some(Value::String(text)) => text.clone(),
            // A whole number: GitHub's, as text. One with a fraction or an exponent is no name of anybody.
            Some(Value::Number(number)) if number.is_u64() && api.claims.subject_may_be_number => {
                number.to_string()
            }
            _ => String::new(),
        };
        if !is_subject(&subject) {
            return Err(ProfileError::Subject(api.claims.subject.clone()));
        }
        let email = match (&api.emails, emails) {
            (Some((_, list)), Some(response)) => listed(list, response)?,
            _ => identity::email(
                identity::text_at(&profile, &api.claims.email),
                match &api.claims.email_verified {
                    Some(path) => profile.at(path) == Some(&Value::Bool(true)),
                    None => identity::verified_by(provider.preset.email.verified, &profile),
                },
            ),
        };
        let mut names = api.claims.name.iter();
        let claims = PersonClaims {
            says_verified: provider.preset.email.verified != Verified::Never,
            email,
            name: names.find_map(|path| identity::clean(identity::text_at(&profile, path)?)),
            picture: identity::text_at(&profile, &api.claims.picture).and_then(identity::picture),
            hosted_domain: None,
        };
        let issuer = provider.issuer.as_str().to_owned();
        Ok(VerifiedIdentity::new(
            provider,
            issuer,
            subject,
            claims,
            self.tokens,
        ))
    }
}

fn api(provider: &Provider) -> Option<&Api> {
    match &provider.source {
        Source::Api(api) => Some(api),
        Source::Metadata(_) => None,
    }
}

fn object_of(response: &OutboundResponse) -> Result<Object, ProfileError> {
    check(response)?;
    Ok(json::parse_object(&response.body, MAX_ANSWER)?)
}

fn check(response: &OutboundResponse) -> Result<(), ProfileError> {
    if response.status != 200 {
        return Err(ProfileError::Status(response.status));
    }
    if !response.is_json() {
        return Err(ProfileError::ContentType);
    }
    Ok(())
}

/// The one address that counts of a list: the primary one. No right to see the list is no address.
fn listed(list: &EmailList, response: &OutboundResponse) -> Result<EmailClaim, ProfileError> {
    if matches!(response.status, 401 | 403 | 404) {
        return Ok(EmailClaim::Absent);
    }
    check(response)?;
    let answer = json::parse_value(&response.body, MAX_ANSWER)?;
    let entries = if list.list.is_empty() {
        answer.as_array()
    } else {
        answer.get(list.list).and_then(Value::as_array)
    };
    let is_true = |entry: &Value, member: &str| entry.get(member) == Some(&Value::Bool(true));
    let primary = entries
        .into_iter()
        .flatten()
        .find(|entry| is_true(entry, list.primary));
    Ok(primary.map_or(EmailClaim::Absent, |entry| {
        let text = entry.get(list.email).and_then(Value::as_str);
        identity::email(text, is_true(entry, list.verified))
    }))
}
