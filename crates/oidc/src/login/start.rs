//! Step 1: the authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID Connect Core section 3.1.2.1).

use aws_lc_rs::digest;
use subtle::ConstantTimeEq as _;
use url::Url;
use vestibule_jose::Timestamp;
use zeroize::Zeroizing;

use crate::metadata::Metadata;
use crate::pkce;
use crate::provider::Provider;
use crate::secret::{FlowSecret, State};

/// What an attempt begins with.
#[derive(Debug)]
pub struct LoginRequest {
    /// At least 128 random bits, new for each attempt.
    pub state: State,
    /// 32 random bytes, new for each attempt.
    pub secret: FlowSecret,
    /// Where the browser goes in the end, checked.
    pub return_to: String,
    /// Who is probably signing in.
    pub login_hint: Option<String>,
    /// What the provider shall ask for.
    pub prompt: Option<Prompt>,
    /// The time.
    pub now: Timestamp,
}

/// What the provider shall ask the person for (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prompt {
    /// Nothing: fail where it would have to.
    None,
    /// To sign in again.
    Login,
    /// To consent again.
    Consent,
    /// Which account to use.
    SelectAccount,
}

impl Prompt {
    /// The word of the specification.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }

    /// Reads the word of the specification.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Login, Self::Consent, Self::SelectAccount]
            .into_iter()
            .find(|prompt| prompt.as_str() == text)
    }
}

/// An attempt that has begun. It comes back from the browser only by opening its seal.
///
/// What is only compared is kept as its SHA-256: a cookie must hold the attempt however long an issuer is.
#[derive(Clone, Debug)]
pub struct Started {
    /// Provider, issuer and callback at the beginning (S3; S20: mix-up).
    binding: [u8; 32],
    /// The `state` that the provider must return.
    state: [u8; 32],
    /// Where the browser goes in the end.
    pub(crate) return_to: String,
    /// What verifier and nonce are derived from.
    pub(crate) secret: FlowSecret,
    /// When it began.
    pub(crate) started_at: Timestamp,
}

/// The bytes are not an attempt that we wrote.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the bytes are not a login attempt")]
pub struct StartedError;

/// Makes the authorization request.
#[must_use]
pub fn start(provider: &Provider, metadata: &Metadata, request: LoginRequest) -> (Url, Started) {
    let mut url = metadata.authorization_endpoint.clone();
    // The endpoint's own query is kept (RFC 6749 section 3.1), but it may not set what we set.
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !OURS.contains(&&**name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    {
        let mut query = url.query_pairs_mut();
        query.clear().extend_pairs(kept);
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", provider.redirect_uri.as_str())
            .append_pair("scope", &provider.scopes.join(" "))
            .append_pair("state", request.state.expose())
            .append_pair("nonce", pkce::nonce(&request.secret).expose())
            .append_pair(
                "code_challenge",
                &pkce::code_verifier(&request.secret).s256_challenge(),
            )
            .append_pair("code_challenge_method", "S256");
        if let Some(login_hint) = &request.login_hint {
            query.append_pair("login_hint", login_hint);
        }
        if let Some(prompt) = request.prompt {
            query.append_pair("prompt", prompt.as_str());
        }
    }
    let started = Started {
        binding: binding(provider),
        state: sha256(request.state.expose().as_bytes()),
        return_to: request.return_to,
        secret: request.secret,
        started_at: request.now,
    };
    (url, started)
}

/// The parameters that are ours alone to set.
const OURS: &[&str] = &[
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "login_hint",
    "prompt",
    "request",
    "request_uri",
];

impl Started {
    /// Whether it began with this `state`, in constant time (RFC 6749 section 10.12).
    #[must_use]
    pub fn is_of(&self, state: &State) -> bool {
        self.state.ct_eq(&sha256(state.expose().as_bytes())).into()
    }

    /// Whether it began with this provider, as the configuration names it now.
    pub(crate) fn began_at(&self, provider: &Provider) -> bool {
        self.binding == binding(provider)
    }

    /// Where the browser goes in the end.
    #[must_use]
    pub fn return_to(&self) -> &str {
        &self.return_to
    }

    /// The attempt as bytes, to be sealed: what has a fixed length, then the target behind its own.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(106 + self.return_to.len()));
        bytes.extend_from_slice(self.secret.expose());
        bytes.extend_from_slice(&self.started_at.micros().to_be_bytes());
        bytes.extend_from_slice(&self.binding);
        bytes.extend_from_slice(&self.state);
        // A target is bounded far below: 1,024 bytes.
        let len = u16::try_from(self.return_to.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(self.return_to.as_bytes());
        bytes
    }

    /// Reads an attempt whose seal was opened. Total.
    ///
    /// # Errors
    /// What [`Started::to_bytes`] did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StartedError> {
        Self::read(bytes).ok_or(StartedError)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (secret, bytes) = bytes.split_first_chunk::<32>()?;
        let (micros, bytes) = bytes.split_first_chunk::<8>()?;
        let (binding, bytes) = bytes.split_first_chunk::<32>()?;
        let (state, bytes) = bytes.split_first_chunk::<32>()?;
        let (len, return_to) = bytes.split_first_chunk::<2>()?;
        if return_to.len() != usize::from(u16::from_be_bytes(*len)) {
            return None;
        }
        Some(Self {
            binding: *binding,
            state: *state,
            return_to: core::str::from_utf8(return_to).ok()?.to_owned(),
            secret: FlowSecret::new(*secret),
            started_at: Timestamp::from_micros(i64::from_be_bytes(*micros)),
        })
    }
}

/// Provider, issuer and callback as one value: each behind its length, so that no two triples are one text.
fn binding(provider: &Provider) -> [u8; 32] {
    let mut bytes = Vec::new();
    for text in [
        provider.id.as_str(),
        provider.issuer.as_str(),
        provider.redirect_uri.as_str(),
    ] {
        bytes.extend_from_slice(&text.len().to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    sha256(&bytes)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
