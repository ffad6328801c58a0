//! The readers of what comes from outside, for fuzzing and for nothing else: they are no part of the API. Each takes
//! what came and tells what a browser or a client would get.

use std::sync::Arc;

use url::Url;
use vestibule_accounts::{Grant, GrantId, GrantKey, Timestamp};
use vestibule_oidc::ClientSecret;

use crate::frontend::{Frontend, HandOff, RedirectUri, TokenFormat};
use crate::oauth::client;
use crate::oauth::request::{AuthorizationRequest, Refused};
use crate::oauth::token::{Form, TokenRequest, token_parameter};
use crate::return_to::ReturnTo;
use crate::seal::Sealer;
use crate::tokens::RefreshToken;

/// `iss` of the answers.
const ISSUER: &str = "https://auth.example";
/// The secret of the front ends that have one.
pub const CLIENT_SECRET: &str = "a-secret-of-the-front-end-0123456789";

/// Front ends of every hand-off, with and without a secret.
pub struct FrontEnds(Vec<Arc<Frontend>>);

impl FrontEnds {
    /// Registers these redirect URIs for all of them: those that may be.
    #[must_use]
    pub fn with(redirect_uris: &[&str]) -> Self {
        let frontend = |client_id: &str, hand_off, secret: Option<&str>| {
            let redirect_uris = redirect_uris.iter();
            Arc::new(Frontend {
                client_id: client_id.into(),
                name: client_id.into(),
                client_secret: secret.map(|secret| ClientSecret::new(secret.into())),
                redirect_uris: redirect_uris
                    .filter_map(|uri| RedirectUri::parse(uri).ok())
                    .collect(),
                hand_off,
                is_default: client_id == "default",
                token_lifetime: 300,
                token_format: TokenFormat::AtJwt,
                audience: None,
            })
        };
        Self(vec![
            frontend("web", HandOff::Code, Some(CLIENT_SECRET)),
            frontend("spa", HandOff::Code, None),
            frontend("query", HandOff::TokenQuery, None),
            frontend("fragment", HandOff::TokenFragment, None),
            frontend("default", HandOff::Cookie, None),
        ])
    }

    /// Where a browser goes with an authorization request: back to the front end, with what it asked for or with an
    /// error. `None`: to our own page.
    #[must_use]
    pub fn authorization_redirect(&self, query: &str) -> Option<String> {
        match AuthorizationRequest::parse(query, &self.0) {
            Ok(request) => {
                // What is on its way through the sign-in page comes back as the same request.
                let again = AuthorizationRequest::at(&request.to_path(), &self.0);
                let again = again.and_then(Result::ok).map(|request| request.to_path());
                assert_eq!(again, Some(request.to_path()));
                let to = &request.reply_to;
                Some(match to.frontend.hand_off {
                    HandOff::Code => to.code("a-code", ISSUER),
                    HandOff::TokenQuery | HandOff::TokenFragment => to.token("t", 300, ISSUER),
                    HandOff::Cookie => to.bare(ISSUER),
                })
            }
            Err(Refused::Here(_)) => None,
            Err(Refused::There(to, error, failure)) => {
                Some(to.error(error, failure.code, "words", None, ISSUER))
            }
        }
    }

    /// Where the answer to any request with this `redirect_uri` may go.
    #[must_use]
    pub fn matched(&self, presented: &str) -> Vec<String> {
        let matched = self.0.iter();
        matched
            .filter_map(|frontend| frontend.redirect_uri(presented))
            .map(|uri| uri.as_str().to_owned())
            .collect()
    }

    /// The name of the client that a request to the token endpoint comes from, if it proves to be that one.
    #[must_use]
    pub fn client(&self, authorization: Option<&str>, body: &[u8]) -> Option<String> {
        let form = Form::parse(body).ok()?;
        let _ = TokenRequest::parse(&form);
        let _ = token_parameter(&form);
        let frontend = client::authenticate(authorization, &form, &self.0).ok()?;
        Some(frontend.client_id.clone())
    }
}

/// A redirect URI as it is registered, with its origin.
#[must_use]
pub fn redirect_uri(text: &str) -> Option<(String, Option<String>)> {
    let uri = RedirectUri::parse(text).ok()?;
    Some((uri.as_str().to_owned(), uri.origin()))
}

/// Where a browser goes after a sign-in, as a path of ours.
#[must_use]
pub fn return_to(text: &str, origin: &Url) -> Option<String> {
    let target = ReturnTo::parse(text, origin).ok()?;
    Some(target.as_str().to_owned())
}

/// A refresh token of the one grant that there is here.
#[must_use]
pub fn good_refresh_token() -> String {
    let grant = grant();
    RefreshToken::text(grant.id, &grant.key, 7, &sealer()).to_string()
}

/// Whether a text is a refresh token of that grant.
#[must_use]
pub fn is_refresh_token(text: &str) -> bool {
    RefreshToken::parse(text).is_some_and(|token| token.is_of(&grant(), &sealer()))
}

fn sealer() -> Sealer {
    Sealer::new(b"one secret of at least thirty-two bytes", None)
}

fn grant() -> Grant {
    Grant {
        id: GrantId::from_bytes([1; 16]),
        client_id: "web".into(),
        key: GrantKey::new([2; 32]),
        count: 7,
        created_at: Timestamp::from_seconds(0),
        rotated_at: None,
        expires_at: Timestamp::from_seconds(1),
    }
}
