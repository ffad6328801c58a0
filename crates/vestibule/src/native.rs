//! Native sign-in: an app, or a page with One Tap, has signed the person in with the provider itself and brings the ID
//! token. It counts once, for a nonce of ours.

use std::sync::Arc;
use std::time::Duration;

use vestibule_accounts::{Claim, HandOver, SessionToken, StateHash, Timestamp};
use vestibule_oidc::{NativeIdToken, Nonce, ProviderId};

use crate::Vestibule;
use crate::admit::Admission;
use crate::attempt::{Errand, Reference};
use crate::error::{Code, Failure};
use crate::events;
use crate::frontend::{Frontend, HandOff};
use crate::grants::TokenResponse;
use crate::seal::Purpose;

/// How long a nonce can be used, in seconds.
pub(crate) const NONCE_SECONDS: i64 = 300;
/// How long the provider's keys may be waited for.
const DEADLINE: Duration = Duration::from_secs(9);

/// A nonce for one sign-in, and what binds it to the browser that asked.
pub(crate) struct IssuedNonce {
    pub(crate) nonce: String,
    /// The cookie's value.
    pub(crate) binding: Option<String>,
}

/// What an app or a page brings.
pub(crate) struct NativeRequest {
    pub(crate) id_token: String,
    /// As we gave it, whatever the platform made of it.
    pub(crate) nonce: String,
    /// The front end that gets tokens; without one a session's cookie is set.
    pub(crate) client_id: Option<String>,
    /// The browser's binding cookie.
    pub(crate) binding: Option<String>,
    /// Whether a browser asks.
    pub(crate) is_browser: bool,
    /// The session that this browser has already.
    pub(crate) session: Option<SessionToken>,
}

/// What comes of it.
pub(crate) enum NativeSignedIn {
    /// For the page's own site.
    Session(SessionToken),
    /// For the front end that was named.
    Tokens(TokenResponse),
}

/// What is sealed in a nonce.
struct Sealed {
    random: [u8; 16],
    issued_at: Timestamp,
    /// The SHA-256 of the browser's cookie; zeros for an app, which keeps none.
    binding: [u8; 32],
    provider: ProviderId,
}

/// Of an app.
const UNBOUND: [u8; 32] = [0; 32];

impl Sealed {
    fn to_bytes(&self) -> Vec<u8> {
        [
            &self.random[..],
            &self.issued_at.micros().to_be_bytes(),
            &self.binding,
            self.provider.as_str().as_bytes(),
        ]
        .concat()
    }

    /// Total: what we did not write is `None`.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (random, rest) = bytes.split_first_chunk::<16>()?;
        let (micros, rest) = rest.split_first_chunk::<8>()?;
        let (binding, provider) = rest.split_first_chunk::<32>()?;
        Some(Self {
            random: *random,
            issued_at: Timestamp::from_micros(i64::from_be_bytes(*micros)),
            binding: *binding,
            provider: ProviderId::parse(core::str::from_utf8(provider).ok()?).ok()?,
        })
    }
}

impl Vestibule {
    /// Gives a nonce for one native sign-in. In a browser it is bound to a cookie, so that no site can sign a person in as
    /// somebody else. Writes nothing.
    pub(crate) fn native_nonce(
        &self,
        provider: &str,
        is_browser: bool,
    ) -> Result<IssuedNonce, Failure> {
        let provider = self.provider(provider)?;
        if !provider.is_openid() {
            return Err(no_id_tokens());
        }
        let binding = is_browser.then(|| SessionToken::new(self.random()).expose().to_string());
        let sealed = Sealed {
            random: self.random(),
            issued_at: self.now(),
            binding: binding.as_deref().map_or(UNBOUND, hash),
            provider: provider.id.clone(),
        };
        Ok(IssuedNonce {
            nonce: self
                .inner
                .sealer
                .seal_text(Purpose::Nonce, &sealed.to_bytes()),
            binding,
        })
    }

    /// Signs in whom the ID token names; or the code why not, and the reference under which the log says more. Runs in a task of its own, so that an app that goes away does not split it.
    pub(crate) async fn native_sign_in(
        self,
        provider: String,
        request: NativeRequest,
    ) -> Result<NativeSignedIn, (Code, Reference)> {
        let named = provider.clone();
        let random = self.random();
        let task = tokio::spawn(async move {
            // Until the nonce has said its own.
            let mut reference = Reference::of_request(random);
            let outcome = self.native_steps(&provider, request, &mut reference).await;
            outcome.map_err(|failure| {
                events::login_failed(&provider, Some(&reference), &failure);
                (failure.code, reference)
            })
        });
        task.await.unwrap_or_else(|_| {
            let failure = Failure::new(
                Code::InternalError,
                "panic",
                "a native sign-in panicked; please report it with this log",
            );
            let reference = Reference::of_request(random);
            events::login_failed(&named, Some(&reference), &failure);
            Err((failure.code, reference))
        })
    }

    async fn native_steps(
        &self,
        provider: &str,
        request: NativeRequest,
        reference: &mut Reference,
    ) -> Result<NativeSignedIn, Failure> {
        let provider = self.provider(provider)?;
        if !provider.is_openid() {
            return Err(no_id_tokens());
        }
        // Who gets tokens? Asked before anything is used up.
        let frontend = request
            .client_id
            .as_deref()
            .map(|client_id| self.native_front_end(client_id))
            .transpose()?;

        // For which of our nonces was it made, and is this the browser that was given it?
        let sealed = self.open_nonce(&provider.id, &request)?;
        *reference = Reference::of_random(&sealed.random);
        let claim = StateHash::of(request.nonce.as_bytes());
        if self.inner.store.claim_state(claim, self.now()).await? == Claim::Used {
            return Err(Failure::new(
                Code::StateUsed,
                "nonce_used",
                "the nonce was used before; each sign-in asks for its own",
            ));
        }

        // Who is it? (OpenID Connect Core section 3.1.3.7)
        let token = NativeIdToken::parse(&request.id_token)
            .map_err(|error| not_believed("id_token_format", &error))?;
        let read = async {
            let metadata = self.inner.remote.metadata(&provider).await?;
            let keys = self
                .inner
                .remote
                .keys_for(&provider, &metadata, token.header())
                .await?;
            Ok::<_, Failure>((metadata, keys))
        };
        let (metadata, keys) = tokio::time::timeout(DEADLINE, read).await.map_err(|_| {
            Failure::new(
                Code::ProviderUnavailable,
                "deadline",
                "the provider did not answer within 10 seconds",
            )
        })??;
        let nonce = Nonce::new(request.nonce.clone());
        let identity = token
            .verify(&provider, &metadata, &keys, &nonce, self.now())
            .map_err(|error| match Code::named(error.code()) {
                // It is not the provider that brings it.
                Some(Code::IdTokenInvalid) | None => not_believed(error.reason(), &error),
                Some(_) => Failure::of_step(error.code(), error.reason(), &error),
            })?;

        // Who is that to us?
        // A front end gets tokens; the browser, if it is one, stays signed in as it is.
        let previous = match frontend {
            Some(_) => None,
            None => request.session.as_ref().map(SessionToken::hash),
        };
        let errand = Errand::SignIn {
            previous,
            connects: None,
        };
        let now = self.now();
        // What signs is asked for before anything is written.
        let granted = match &frontend {
            Some(frontend) => {
                let signer = self.signer_for(frontend).await?;
                Some((frontend, self.native_grant(frontend, now), signer))
            }
            None => None,
        };
        let admission = Admission {
            hand_over: granted
                .as_ref()
                .map(|(_, grant, _)| HandOver::Grant(grant.clone())),
            ..Admission::new(&provider, &identity, errand, claim)
        };
        let admitted = self.admit(admission).await.map_err(Failure::from)?;
        events::login_succeeded(&provider, Some(reference), &admitted);
        match granted {
            Some((frontend, grant, signer)) => {
                events::handed_over(frontend, admitted.signed_in.user.id);
                self.tokens_of(frontend, &signer, &grant, &admitted.signed_in)
                    .map(NativeSignedIn::Tokens)
            }
            None => Ok(NativeSignedIn::Session(admitted.session)),
        }
    }

    /// The front end that an app is: it cannot keep a secret, and redeems no code here.
    fn native_front_end(&self, client_id: &str) -> Result<Arc<Frontend>, Failure> {
        self.inner
            .frontends
            .iter()
            .find(|frontend| {
                frontend.client_id == client_id
                    && frontend.client_secret.is_none()
                    && frontend.hand_off == HandOff::Code
            })
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    Code::BadRequest,
                    "native_client",
                    "client_id names no public front end with handoff = \"code\"; see `vestibule client list`",
                )
            })
    }

    fn open_nonce(
        &self,
        provider: &ProviderId,
        request: &NativeRequest,
    ) -> Result<Sealed, Failure> {
        let sealed = self
            .inner
            .sealer
            .open_text(Purpose::Nonce, &request.nonce)
            .and_then(|bytes| Sealed::from_bytes(&bytes))
            .filter(|sealed| sealed.provider == *provider)
            .ok_or_else(|| {
                Failure::new(
                    Code::NonceMismatch,
                    "nonce_seal",
                    "the nonce is not one that /auth/{provider}/nonce gave; it is sent here as it was given, not hashed",
                )
            })?;
        let age = self.now().seconds() - sealed.issued_at.seconds();
        if age > NONCE_SECONDS {
            return Err(Failure::new(
                Code::StateExpired,
                "nonce_expired",
                "the nonce is older than five minutes",
            ));
        }
        // A nonce of an app is none for a browser: a site could have asked for it.
        let binding = request.binding.as_deref().map_or(UNBOUND, hash);
        let is_bound = sealed.binding != UNBOUND || request.is_browser;
        if is_bound && (binding == UNBOUND || binding != sealed.binding) {
            return Err(Failure::new(
                Code::StateOtherBrowser,
                "nonce_other_browser",
                "the nonce was given to another browser, or its cookie is gone",
            ));
        }
        Ok(sealed)
    }
}

fn hash(text: &str) -> [u8; 32] {
    *StateHash::of(text.as_bytes()).as_bytes()
}

fn no_id_tokens() -> Failure {
    Failure::new(
        Code::BadRequest,
        "no_id_tokens",
        "the provider signs no ID tokens; people sign in with it in a browser",
    )
}

fn not_believed(reason: &'static str, error: &dyn core::fmt::Display) -> Failure {
    Failure::new(
        Code::Unauthorized,
        reason,
        format!("an app's ID token is refused: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nonce_survives_its_seal() {
        let sealed = Sealed {
            random: [1; 16],
            issued_at: Timestamp::from_micros(5),
            binding: [2; 32],
            provider: ProviderId::parse("apple").unwrap(),
        };
        let read = Sealed::from_bytes(&sealed.to_bytes()).unwrap();
        assert_eq!(
            (read.random, read.issued_at, read.binding, read.provider),
            ([1; 16], sealed.issued_at, [2; 32], sealed.provider.clone())
        );
    }

    proptest! {
        // S96
        #[test]
        fn reading_a_nonce_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Sealed::from_bytes(&bytes);
        }
    }
}
