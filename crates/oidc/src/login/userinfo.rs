//! Step 5, where it is needed: UserInfo (OpenID Connect Core section 5.3).

use vestibule_jose::json::{self, ClaimError, JsonError};

use crate::identity::{EmailClaim, PersonClaims, VerifiedIdentity};
use crate::metadata::Metadata;
use crate::outbound::{MAX_ANSWER, OutboundRequest, OutboundResponse};
use crate::provider::Provider;

/// Why UserInfo ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UserInfoError {
    /// Another status than 200.
    #[error("UserInfo was answered with status {0}")]
    Status(u16),
    /// Not JSON.
    #[error("UserInfo is not application/json")]
    ContentType,
    /// Not an acceptable object.
    #[error("UserInfo is not acceptable: {0}")]
    Json(#[from] JsonError),
    /// A claim is missing or has the wrong type.
    #[error("a claim of UserInfo does not do: {0}")]
    Claim(#[from] ClaimError),
    /// It speaks of somebody else (section 5.3.2).
    #[error("UserInfo speaks of another subject than the ID token")]
    Subject,
}

impl UserInfoError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Status(_) => "userinfo_status",
            Self::ContentType => "userinfo_content_type",
            Self::Json(_) => "userinfo_json",
            Self::Claim(_) => "userinfo_claim",
            Self::Subject => "userinfo_subject",
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Status(status) if *status >= 500 || *status == 429 => "provider_unavailable",
            Self::Status(_)
            | Self::ContentType
            | Self::Json(_)
            | Self::Claim(ClaimError::WrongType { .. }) => "provider_error",
            Self::Subject | Self::Claim(_) => "sub_mismatch",
        }
    }
}

impl VerifiedIdentity {
    /// The request for more claims; `None` where the provider has no such endpoint, or an app kept the tokens.
    #[must_use]
    pub fn userinfo_request(&self, metadata: &Metadata) -> Option<OutboundRequest> {
        if self.tokens.is_none() {
            return None;
        }
        let endpoint = metadata.userinfo_endpoint.clone()?;
        Some(OutboundRequest::get(endpoint).bearer(&self.tokens.access_token))
    }

    /// Adds what UserInfo says. The ID token's word stands where both speak.
    ///
    /// # Errors
    /// See [`UserInfoError`].
    pub fn with_userinfo(
        mut self,
        provider: &Provider,
        response: OutboundResponse,
    ) -> Result<Self, UserInfoError> {
        if response.status != 200 {
            return Err(UserInfoError::Status(response.status));
        }
        if !response.is_json() {
            return Err(UserInfoError::ContentType);
        }
        let claims = json::parse_object(&response.body, MAX_ANSWER)?;
        // Section 5.3.2: sub is there and the same, or nothing of it may be used.
        if claims.require_string("sub")? != self.subject {
            return Err(UserInfoError::Subject);
        }
        let more = PersonClaims::read(provider, &claims);
        match (&self.claims.email, &more.email) {
            (EmailClaim::Absent, _) => self.claims.email = more.email,
            // The ID token names the address, and UserInfo alone says that this one is verified.
            (EmailClaim::Unverified(address), EmailClaim::Verified(verified))
                if !self.claims.says_verified && address == verified =>
            {
                self.claims.email = more.email;
            }
            _ => {}
        }
        self.claims.name = self.claims.name.or(more.name);
        self.claims.picture = self.claims.picture.or(more.picture);
        // `hd` is believed from the signed token alone.
        self.judge(provider);
        Ok(self)
    }
}
