//! The provider's tokens after a login: a new access token for a refresh token (RFC 6749 section 6), and giving them back
//! (RFC 7009).

use url::form_urlencoded::Serializer;
use vestibule_jose::SigningError;

use crate::client_auth::Fresh;
use crate::metadata::Metadata;
use crate::outbound::OutboundRequest;
use crate::provider::Provider;
use crate::secret::RefreshToken;

use super::token::TokenSet;

impl Provider {
    /// The request for a new access token.
    ///
    /// # Errors
    /// Our proof cannot be signed.
    pub fn refresh_request(
        &self,
        metadata: &Metadata,
        refresh_token: &RefreshToken,
        fresh: Fresh,
    ) -> Result<OutboundRequest, SigningError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh_token.expose());
        let authorization = self.authenticate(metadata, fresh, &mut form)?;
        let endpoint = metadata.token_endpoint.clone();
        Ok(OutboundRequest::post(
            endpoint,
            form.finish(),
            authorization,
        ))
    }

    /// The request that gives tokens back: the refresh token where there is one, with which the access tokens go (RFC
    /// 7009 section 2.1). `None` where there are none, or the provider has nowhere to give them back to.
    ///
    /// # Errors
    /// Our proof cannot be signed.
    pub fn revocation_request(
        &self,
        metadata: &Metadata,
        tokens: &TokenSet,
        fresh: Fresh,
    ) -> Result<Option<OutboundRequest>, SigningError> {
        let endpoint = metadata.revocation_endpoint.clone();
        let Some(endpoint) = endpoint.filter(|_| !tokens.is_none()) else {
            return Ok(None);
        };
        let (token, hint) = match &tokens.refresh_token {
            Some(token) => (token.expose(), "refresh_token"),
            None => (tokens.access_token.expose(), "access_token"),
        };
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token)
            .append_pair("token_type_hint", hint);
        let authorization = self.authenticate(metadata, fresh, &mut form)?;
        Ok(Some(OutboundRequest::post(
            endpoint,
            form.finish(),
            authorization,
        )))
    }
}
