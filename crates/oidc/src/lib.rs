//! OpenID Connect sign-in as pure steps (RFC 6749, 7636, 9207; OpenID Connect Core 1.0 and Discovery 1.0).
//!
//! A login is a chain of values. Each step takes the one before it, and only the checking step makes the next:
//! [`start`] -> [`Started::callback`] -> [`Callback::token_response`] -> [`WithIdToken::verify`] -> [`VerifiedIdentity`].
//! Nothing here reads a clock, draws randomness, or awaits anything.

mod client_auth;
mod identity;
mod issuer;
mod login;
mod metadata;
mod outbound;
mod pkce;
mod provider;
pub mod providers;
mod secret;
mod words;

pub use vestibule_jose::{self as jose, JwkSet, Timestamp};

pub use crate::client_auth::{AssertionAudience, Credentials, Fresh, PrivateKey};
pub use crate::identity::{EmailClaim, VerifiedIdentity};
pub use crate::issuer::{HttpPolicy, Issuer, IssuerError};
pub use crate::login::callback::{Callback, CallbackError, CallbackQuery};
pub use crate::login::id_token::IdTokenError;
pub use crate::login::native::NativeIdToken;
pub use crate::login::profile::ProfileError;
pub use crate::login::start::{
    AuthorizationRequest, LoginRequest, Prompt, PushError, Started, StartedError, start,
};
pub use crate::login::token::{AccessTokenOnly, Exchanged, TokenError, TokenSet, WithIdToken};
pub use crate::login::userinfo::UserInfoError;
pub use crate::metadata::{Metadata, MetadataError};
pub use crate::outbound::{Method, OutboundRequest, OutboundResponse};
pub use crate::provider::{ApiSettings, Provider, ProviderError, ProviderId, ProviderSettings};
pub use crate::providers::Preset;
pub use crate::secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeVerifier, FlowSecret, Nonce, RefreshToken,
    SecretText, State,
};
