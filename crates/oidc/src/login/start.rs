//! Step 1: the authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID Connect Core section 3.1.2.1).

use aws_lc_rs::digest;
use subtle::ConstantTimeEq as _;
use url::Url;
use url::form_urlencoded::Serializer;
use vestibule_jose::json::{self, JsonError};
use vestibule_jose::{SigningError, Timestamp};
use zeroize::Zeroizing;

use crate::client_auth::Fresh;
use crate::metadata::Metadata;
use crate::outbound::{MAX_ANSWER, OutboundRequest, OutboundResponse};
use crate::pkce;
use crate::provider::{OURS, Provider};
use crate::secret::{FlowSecret, State};

/// The longest note of the caller in an attempt, in bytes.
const MAX_NOTE: usize = 255;
/// The longest `request_uri` in bytes: twice what RFC 9101 section 5.2 advises. It goes into the browser's URL.
const MAX_REQUEST_URI: usize = 1_024;

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
    /// Scopes beside the configured ones; those that the provider's `optional_scopes` do not hold are left out (S6).
    pub more_scopes: Vec<String>,
    /// What the caller wants to find in the attempt again, at most 255 bytes.
    pub note: Vec<u8>,
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
    /// The caller's.
    note: Vec<u8>,
}

/// An authorization request, on its way to the provider: in the URL, or pushed before.
#[derive(Debug)]
pub struct AuthorizationRequest {
    endpoint: Url,
    params: Vec<(String, String)>,
}

/// The bytes are not an attempt that we wrote.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the bytes are not a login attempt")]
pub struct StartedError;

/// Makes the authorization request. The first value of a parameter stands: ours, then the configuration's, then those
/// that the endpoint's own query carries (RFC 6749 section 3.1).
#[must_use]
pub fn start(
    provider: &Provider,
    metadata: &Metadata,
    request: LoginRequest,
) -> (AuthorizationRequest, Started) {
    let mut scopes = provider.scopes.clone();
    for scope in request.more_scopes {
        if provider.optional_scopes.contains(&scope) && !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    let challenge = pkce::code_verifier(&request.secret).s256_challenge();
    let mut params: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| {
        if !params.iter().any(|(known, _)| known == name) {
            params.push((name.to_owned(), value.to_owned()));
        }
    };
    set("response_type", "code");
    set("client_id", &provider.client_id);
    set("redirect_uri", provider.redirect_uri.as_str());
    if !scopes.is_empty() {
        set("scope", &scopes.join(" "));
    }
    set("state", request.state.expose());
    if provider.is_openid() {
        set("nonce", pkce::nonce(&request.secret).expose());
    }
    if !provider.preset.quirks.refuses_pkce {
        set("code_challenge", &challenge);
        set("code_challenge_method", "S256");
    }
    if provider.form_post {
        set("response_mode", "form_post");
    }
    if let Some(login_hint) = &request.login_hint {
        set("login_hint", login_hint);
    }
    if let Some(prompt) = prompt(provider, request.prompt) {
        set("prompt", &prompt);
    }
    for (name, value) in &provider.authorization_params {
        set(name, value);
    }
    let mut endpoint = metadata.authorization_endpoint.clone();
    for (name, value) in metadata.authorization_endpoint.query_pairs() {
        // It may not say what is ours to say, not even where we say nothing.
        if !OURS.contains(&&*name) && name != "prompt" {
            set(&name, &value);
        }
    }
    endpoint.set_query(None);
    let started = Started {
        binding: binding(provider),
        state: sha256(request.state.expose().as_bytes()),
        return_to: request.return_to,
        secret: request.secret,
        started_at: request.now,
        note: request.note.into_iter().take(MAX_NOTE).collect(),
    };
    (AuthorizationRequest { endpoint, params }, started)
}

/// What the provider shall ask for: what the login wants, and consent too where the provider gives no refresh token
/// without it (OpenID Connect Core section 3.1.2.1: a list).
fn prompt(provider: &Provider, wanted: Option<Prompt>) -> Option<String> {
    let wanted = match wanted? {
        Prompt::Login if provider.preset.quirks.no_prompt_login => Prompt::SelectAccount,
        wanted => wanted,
    };
    let asks_consent = provider
        .authorization_params
        .iter()
        .any(|(name, value)| name == "prompt" && value.split(' ').any(|word| word == "consent"));
    Some(match wanted {
        Prompt::Login | Prompt::SelectAccount if asks_consent => {
            format!("{} consent", wanted.as_str())
        }
        _ => wanted.as_str().to_owned(),
    })
}

/// Why a pushed authorization request ends the login.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The provider requires it, and its metadata say not where.
    #[error(
        "the provider is to get pushed authorization requests, and its metadata name no endpoint for them"
    )]
    NoEndpoint,
    /// Our proof could not be signed.
    #[error("the client assertion could not be signed: {0}")]
    Signing(#[from] SigningError),
    /// It was refused; the provider's word for why.
    #[error("the pushed authorization request was refused: {0:?}")]
    Refused(String),
    /// Another status.
    #[error("the pushed authorization request was answered with status {0}")]
    Status(u16),
    /// Not what RFC 9126 section 2.2 says.
    #[error("the answer to the pushed authorization request is not acceptable: {0}")]
    Answer(String),
}

impl PushError {
    /// One word for the check that failed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "par_endpoint",
            Self::Signing(_) => "client_assertion",
            Self::Refused(_) => "par_refused",
            Self::Status(_) => "par_status",
            Self::Answer(_) => "par_answer",
        }
    }

    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoEndpoint | Self::Signing(_) => "provider_misconfigured",
            Self::Refused(error) if error == "invalid_client" => "client_rejected",
            Self::Status(status) if *status >= 500 || *status == 429 => "provider_unavailable",
            Self::Refused(_) | Self::Status(_) | Self::Answer(_) => "provider_error",
        }
    }
}

impl AuthorizationRequest {
    /// The whole request as a URL.
    #[must_use]
    pub fn into_url(self) -> Url {
        let mut url = self.endpoint;
        url.query_pairs_mut().extend_pairs(self.params);
        url
    }

    /// The request that pushes it, where the provider or the configuration wants it pushed (RFC 9126 section 2.1).
    ///
    /// # Errors
    /// There is nowhere to push it, or our proof cannot be signed.
    pub fn push(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        fresh: Fresh,
    ) -> Result<Option<OutboundRequest>, PushError> {
        if !provider.par && !metadata.require_pushed_authorization_requests {
            return Ok(None);
        }
        let endpoint = metadata
            .pushed_authorization_request_endpoint
            .clone()
            .ok_or(PushError::NoEndpoint)?;
        let mut form = Serializer::new(String::new());
        // The proof carries the client_id where it belongs.
        form.extend_pairs(self.params.iter().filter(|(name, _)| name != "client_id"));
        let authorization = provider.authenticate(metadata, fresh, &mut form)?;
        if authorization.is_some() {
            form.append_pair("client_id", &provider.client_id);
        }
        Ok(Some(OutboundRequest::post(
            endpoint,
            form.finish(),
            authorization,
        )))
    }

    /// The request as a URL that names what was pushed (RFC 9126 section 4).
    ///
    /// # Errors
    /// See [`PushError`].
    pub fn into_pushed_url(
        self,
        provider: &Provider,
        response: &OutboundResponse,
    ) -> Result<Url, PushError> {
        let members = if response.is_json() {
            json::parse_object(&response.body, MAX_ANSWER)
        } else {
            Err(JsonError::NotAnObject)
        };
        // 201 by the specification; some answer 200.
        if !matches!(response.status, 200 | 201) {
            let error = members.ok().and_then(|members| {
                let error = members.string("error").ok().flatten()?;
                Some(error.chars().take(64).collect())
            });
            return Err(match error {
                Some(error) if response.status < 500 => PushError::Refused(error),
                _ => PushError::Status(response.status),
            });
        }
        let members = members.map_err(|error| PushError::Answer(error.to_string()))?;
        let request_uri = members
            .require_string("request_uri")
            .map_err(|error| PushError::Answer(error.to_string()))?;
        // RFC 3986 section 2: a URI is of printable ASCII.
        if request_uri.is_empty()
            || request_uri.len() > MAX_REQUEST_URI
            || !request_uri.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(PushError::Answer(
                "request_uri is no URI of 1 to 1,024 bytes".to_owned(),
            ));
        }
        let mut url = self.endpoint;
        url.query_pairs_mut()
            .append_pair("client_id", &provider.client_id)
            .append_pair("request_uri", request_uri);
        Ok(url)
    }
}

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

    /// What the caller noted at the start.
    #[must_use]
    pub fn note(&self) -> &[u8] {
        &self.note
    }

    /// The attempt as bytes, to be sealed: what has a fixed length, then the note and the target behind theirs.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            107 + self.note.len() + self.return_to.len(),
        ));
        bytes.extend_from_slice(self.secret.expose());
        bytes.extend_from_slice(&self.started_at.micros().to_be_bytes());
        bytes.extend_from_slice(&self.binding);
        bytes.extend_from_slice(&self.state);
        bytes.push(u8::try_from(self.note.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&self.note);
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
        let (len, bytes) = bytes.split_first()?;
        let (note, bytes) = bytes.split_at_checked(usize::from(*len))?;
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
            note: note.to_vec(),
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
