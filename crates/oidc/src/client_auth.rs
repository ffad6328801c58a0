//! How we prove to a provider who we are (RFC 6749 section 2.3.1). One method a request, never in the URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::metadata::Metadata;
use crate::provider::Provider;
use crate::secret::SecretText;

/// A method of client authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientAuth {
    /// `client_secret_basic`: in the header.
    Basic,
    /// `client_secret_post`: in the form.
    Post,
    /// A public client: only its id, in the form.
    None,
}

impl ClientAuth {
    /// The method that a provider takes from us: Basic, unless it takes Post and not Basic.
    #[must_use]
    pub fn choose(provider: &Provider, metadata: &Metadata) -> Self {
        let takes = |name: &str| {
            metadata
                .token_endpoint_auth_methods_supported
                .iter()
                .any(|method| method == name)
        };
        match &provider.client_secret {
            None => Self::None,
            Some(_) if !takes("client_secret_basic") && takes("client_secret_post") => Self::Post,
            Some(_) => Self::Basic,
        }
    }

    /// Puts the proof into a request: the `Authorization` value if there is one, the rest into the form.
    pub(crate) fn apply(
        self,
        provider: &Provider,
        form: &mut Serializer<'_, String>,
    ) -> Option<SecretText> {
        match (self, &provider.client_secret) {
            (Self::Basic, Some(secret)) => {
                // RFC 6749 section 2.3.1: each form-url-encoded, then joined, then base64.
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!(
                    "{}:{}",
                    encode(&provider.client_id),
                    encode(secret.expose())
                ));
                Some(SecretText::new(format!(
                    "Basic {}",
                    STANDARD.encode(pair.as_bytes())
                )))
            }
            (Self::Post, Some(secret)) => {
                form.append_pair("client_id", &provider.client_id)
                    .append_pair("client_secret", secret.expose());
                None
            }
            (Self::None, _) | (_, None) => {
                form.append_pair("client_id", &provider.client_id);
                None
            }
        }
    }
}
