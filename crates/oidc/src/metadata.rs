//! A provider's metadata (OpenID Connect Discovery section 3 and 4.3, RFC 8414).

use url::Url;
use vestibule_jose::json::{self, ClaimError, JsonError, Object};

use crate::issuer::IssuerError;
use crate::outbound::{MAX_ANSWER, OutboundRequest, OutboundResponse};
use crate::provider::Provider;

/// The longest key set in bytes (S24).
const MAX_KEY_SET: usize = 512 * 1024;

/// Why metadata cannot be used. To the browser: `provider_misconfigured`, or `provider_unavailable` for a bad status.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Another status than 200.
    #[error(
        "the metadata were answered with status {0}; check `issuer` and `metadata_url`, and whether the provider is up"
    )]
    Status(u16),
    /// Not JSON.
    #[error("the metadata are not application/json; check `issuer` and `metadata_url`")]
    ContentType,
    /// Not an acceptable object.
    #[error("the metadata are not acceptable: {0}")]
    Json(#[from] JsonError),
    /// A member is missing or has the wrong type.
    #[error("the metadata are not acceptable: {0}")]
    Member(#[from] ClaimError),
    /// They name another issuer.
    #[error(
        "the metadata name the issuer {found:?}, and {expected:?} is configured; write it exactly as the provider does"
    )]
    Issuer {
        /// What the configuration says.
        expected: String,
        /// What the metadata say.
        found: String,
    },
    /// An endpoint is no URL that we may ask.
    #[error("an endpoint of the metadata does not do: {0}")]
    Endpoint(#[from] IssuerError),
}

impl MetadataError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Status(_) => "metadata_status",
            Self::ContentType => "metadata_content_type",
            Self::Json(_) => "metadata_json",
            Self::Member(_) => "metadata_member",
            Self::Issuer { .. } => "metadata_issuer",
            Self::Endpoint(_) => "metadata_endpoint",
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Status(status) if *status >= 500 || *status == 429 => "provider_unavailable",
            _ => "provider_misconfigured",
        }
    }
}

/// What a provider says of itself, checked. All later requests of an attempt go where these say (S20).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// Where people are sent.
    pub authorization_endpoint: Url,
    /// Where codes become tokens.
    pub token_endpoint: Url,
    /// Where the keys stand; `None` where no ID tokens are signed.
    pub jwks_uri: Option<Url>,
    /// Where more claims stand.
    pub userinfo_endpoint: Option<Url>,
    /// Where authorization requests are pushed (RFC 9126 section 5).
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// Whether it takes no others.
    pub require_pushed_authorization_requests: bool,
    /// Where tokens are given back (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// The algorithms of its ID tokens.
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// How clients may prove who they are; `client_secret_basic` where it does not say.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// Whether `iss` stands in its answers (RFC 9207 section 3).
    pub authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    /// Reads an answer to [`Provider::metadata_request`].
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn of_response(
        response: &OutboundResponse,
        provider: &Provider,
    ) -> Result<Self, MetadataError> {
        if response.status != 200 {
            return Err(MetadataError::Status(response.status));
        }
        if !response.is_json() {
            return Err(MetadataError::ContentType);
        }
        Self::parse(&response.body, provider)
    }

    /// Reads metadata.
    ///
    /// # Errors
    /// See [`MetadataError`]. Total: whatever the bytes, there is an answer.
    pub fn parse(bytes: &[u8], provider: &Provider) -> Result<Self, MetadataError> {
        let members = json::parse_object(bytes, MAX_ANSWER)?;
        // Discovery section 4.3, RFC 8414 section 3.3: identical, byte for byte.
        let issuer = members.require_string("issuer")?;
        if issuer != provider.issuer.as_str() {
            return Err(MetadataError::Issuer {
                expected: provider.issuer.to_string(),
                found: issuer.chars().take(200).collect(),
            });
        }
        let endpoint = |name| -> Result<Url, MetadataError> {
            Ok(provider.http.endpoint(members.require_string(name)?)?)
        };
        let optional = |name| -> Result<Option<Url>, MetadataError> {
            match members.string(name)? {
                Some(text) => Ok(Some(provider.http.endpoint(text)?)),
                None => Ok(None),
            }
        };
        let list = |name| -> Result<Option<Vec<String>>, ClaimError> {
            Ok(members.strings(name)?.map(owned))
        };
        Ok(Self {
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            jwks_uri: Some(endpoint("jwks_uri")?),
            userinfo_endpoint: optional("userinfo_endpoint")?,
            pushed_authorization_request_endpoint: optional(
                "pushed_authorization_request_endpoint",
            )?,
            require_pushed_authorization_requests: flag(
                &members,
                "require_pushed_authorization_requests",
            )?,
            revocation_endpoint: optional("revocation_endpoint")?,
            id_token_signing_alg_values_supported: list("id_token_signing_alg_values_supported")?
                .unwrap_or_default(),
            token_endpoint_auth_methods_supported: list("token_endpoint_auth_methods_supported")?
                .unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
            authorization_response_iss_parameter_supported: flag(
                &members,
                "authorization_response_iss_parameter_supported",
            )?,
        })
    }

    /// What is known of a provider that publishes no metadata.
    pub(crate) fn known(
        authorization_endpoint: Url,
        token_endpoint: Url,
        revocation_endpoint: Option<Url>,
    ) -> Self {
        Self {
            authorization_endpoint,
            token_endpoint,
            jwks_uri: None,
            userinfo_endpoint: None,
            pushed_authorization_request_endpoint: None,
            require_pushed_authorization_requests: false,
            revocation_endpoint,
            id_token_signing_alg_values_supported: Vec::new(),
            token_endpoint_auth_methods_supported: vec!["client_secret_basic".to_owned()],
            authorization_response_iss_parameter_supported: false,
        }
    }

    /// The request for the keys; `None` where there are none.
    #[must_use]
    pub fn jwks_request(&self) -> Option<OutboundRequest> {
        Some(OutboundRequest {
            accept: "application/json, application/jwk-set+json",
            max_body: MAX_KEY_SET,
            ..OutboundRequest::get(self.jwks_uri.clone()?)
        })
    }
}

fn owned(list: Vec<&str>) -> Vec<String> {
    list.into_iter().map(str::to_owned).collect()
}

fn flag(members: &Object, name: &str) -> Result<bool, ClaimError> {
    Ok(members.boolean(name)?.unwrap_or(false))
}
