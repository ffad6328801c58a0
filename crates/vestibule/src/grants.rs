//! What front ends get, from the end of a sign-in to the end of a grant: the conductor of the authorization server, as
//! `flow.rs` is that of a login.
//!
//! [`Vestibule::hand_over`] gives a code or a token, [`Vestibule::token`] redeems and refreshes, [`Vestibule::revoke`]
//! ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use vestibule_accounts::{
    CodeHash, GrantId, GrantKey, HandOver, NewCode, NewGrant, OneTimeCode, RedeemError, Redemption,
    RotateError, Rotation, SessionKey, SignedIn, Timestamp,
};
use vestibule_oidc::CodeVerifier;
use zeroize::Zeroizing;

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::events;
use crate::frontend::{Frontend, HandOff, TokenFormat};
use crate::oauth::reply::OAuthError;
use crate::oauth::request::AuthorizationRequest;
use crate::oauth::token::{Refusal, TokenRequest};
use crate::tokens::{NewAccessToken, RefreshToken, SCOPE, Signer};

/// How long a code can be redeemed, in seconds (S89).
const CODE_LIFETIME: i64 = 60;
/// How long a grant lives at most, in seconds: 30 days.
const GRANT_LIFETIME: i64 = 30 * 86_400;
/// How long after a rotation a refresh token still gets the same successor: one client's own race, in seconds (S69).
const GRACE: i64 = 10;

/// What the redirect to a front end will carry.
pub(crate) enum Handed {
    /// A code.
    Code(OneTimeCode),
    /// An access token, of this grant where it has one, and what will sign it.
    Token(Option<GrantId>, Signer),
    /// Nothing: the person alone.
    Person,
}

/// A token response (RFC 6749 section 5.1). It does not print.
pub(crate) struct TokenResponse {
    pub(crate) access_token: NewAccessToken,
    pub(crate) refresh_token: Zeroizing<String>,
}

/// The codes that are being redeemed in this process.
#[derive(Debug, Default)]
pub(crate) struct Redeeming(Mutex<HashMap<CodeHash, Requests>>);

/// The requests for one code that are under way.
#[derive(Debug, Default)]
struct Requests {
    count: u32,
    /// There were two at once.
    overlapped: bool,
}

/// One request for a code, until it is answered.
struct Underway<'a> {
    all: &'a Redeeming,
    hash: CodeHash,
}

impl Redeeming {
    fn enter(&self, hash: CodeHash) -> Underway<'_> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = all.entry(hash).or_default();
        requests.count += 1;
        requests.overlapped |= requests.count > 1;
        Underway { all: self, hash }
    }
}

impl Underway<'_> {
    /// Whether another request for the same code was under way beside this one, whichever of them came first.
    fn races(&self) -> bool {
        let all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&self.hash)
            .is_some_and(|requests| requests.overlapped)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = all.get_mut(&self.hash) {
            requests.count -= 1;
            if requests.count == 0 {
                all.remove(&self.hash);
            }
        }
    }
}

impl Vestibule {
    /// What an authorization request gets: as the store writes it, and as the redirect carries it.
    ///
    /// # Errors
    /// Where nothing could sign the token: before anything is written.
    pub(crate) async fn prepare_hand_over(
        &self,
        request: &AuthorizationRequest,
        now: Timestamp,
    ) -> Result<(Option<HandOver>, Handed), Failure> {
        let (frontend, to) = (&request.reply_to.frontend, &request.reply_to);
        Ok(match (frontend.hand_off, &request.code_challenge) {
            (HandOff::Code, Some(code_challenge)) => {
                let code = OneTimeCode::new(self.random());
                let written = HandOver::Code(NewCode {
                    hash: code.hash(),
                    client_id: frontend.client_id.clone(),
                    redirect_uri: to.redirect_uri.as_str().to_owned(),
                    code_challenge: code_challenge.clone(),
                    expires_at: now.plus_seconds(CODE_LIFETIME),
                });
                (Some(written), Handed::Code(code))
            }
            (HandOff::TokenQuery | HandOff::TokenFragment, _) => {
                let signer = self.signer_for(frontend).await?;
                match frontend.token_format {
                    TokenFormat::AtJwt => {
                        // Its one token is never refreshed: the grant ends with it.
                        let grant = self.new_grant(frontend, frontend.token_lifetime, now);
                        let id = grant.id;
                        (
                            Some(HandOver::Grant(grant)),
                            Handed::Token(Some(id), signer),
                        )
                    }
                    // Nobody asks us about these: there is nothing to end.
                    TokenFormat::FastapiUsers(_) => (None, Handed::Token(None, signer)),
                }
            }
            (HandOff::Code, None) | (HandOff::Cookie, _) => (None, Handed::Person),
        })
    }

    /// What an app gets that has signed its person in itself: a grant, without the way over a code.
    pub(crate) fn native_grant(&self, frontend: &Frontend, now: Timestamp) -> NewGrant {
        self.new_grant(frontend, GRANT_LIFETIME, now)
    }

    /// The first tokens of a grant.
    pub(crate) fn tokens_of(
        &self,
        frontend: &Frontend,
        signer: &Signer,
        grant: &NewGrant,
        signed_in: &SignedIn,
    ) -> Result<TokenResponse, Failure> {
        Ok(TokenResponse {
            access_token: self.access_token(frontend, signer, Some(grant.id), signed_in)?,
            refresh_token: RefreshToken::text(grant.id, &grant.key, 0, &self.inner.sealer),
        })
    }

    fn new_grant(&self, frontend: &Frontend, lifetime: i64, now: Timestamp) -> NewGrant {
        NewGrant {
            id: GrantId::new(now, self.random()),
            client_id: frontend.client_id.clone(),
            key: GrantKey::new(self.random()),
            expires_at: now.plus_seconds(lifetime),
        }
    }

    /// Where the browser goes with what was handed over.
    pub(crate) fn handed_over(
        &self,
        request: &AuthorizationRequest,
        handed: Handed,
        signed_in: &SignedIn,
    ) -> Result<Zeroizing<String>, Failure> {
        let (to, issuer) = (&request.reply_to, self.inner.issuer());
        events::handed_over(&to.frontend, signed_in.user.id);
        Ok(Zeroizing::new(match handed {
            Handed::Code(code) => to.code(&code.expose(), issuer),
            Handed::Token(grant, signer) => {
                let made = self.access_token(&to.frontend, &signer, grant, signed_in)?;
                to.token(&made.token, made.expires_in, issuer)
            }
            Handed::Person => to.bare(issuer),
        }))
    }

    /// Answers a front end for somebody who is signed in already (RFC 6749 section 4.1.2): where the browser goes.
    /// `None`: the session has ended meanwhile.
    pub(crate) async fn hand_over(
        &self,
        request: &AuthorizationRequest,
        signed_in: &SignedIn,
    ) -> Result<Option<Zeroizing<String>>, Failure> {
        let now = self.now();
        let (written, handed) = self.prepare_hand_over(request, now).await?;
        if let Some(written) = written
            && !self
                .inner
                .store
                .hand_over(signed_in.session.id, written, now)
                .await?
        {
            return Ok(None);
        }
        self.handed_over(request, handed, signed_in).map(Some)
    }

    /// Answers a token request of an authenticated client (RFC 6749 sections 4.1.3 and 6).
    pub(crate) async fn token(
        &self,
        frontend: &Arc<Frontend>,
        request: TokenRequest,
    ) -> Result<TokenResponse, Refusal> {
        if frontend.hand_off != HandOff::Code {
            return Err(Refusal::new(
                OAuthError::UnauthorizedClient,
                "hand_off",
                format!(
                    "{} has handoff = {:?}; write handoff = \"code\" below its [[frontends]]",
                    frontend.client_id,
                    frontend.hand_off.word()
                ),
            ));
        }
        match request {
            TokenRequest::AuthorizationCode {
                code,
                redirect_uri,
                code_verifier,
            } => {
                self.redeem(frontend, &code, redirect_uri, &code_verifier)
                    .await
            }
            TokenRequest::RefreshToken(token) => self.refresh(frontend, &token).await,
        }
    }

    async fn redeem(
        &self,
        frontend: &Frontend,
        code: &OneTimeCode,
        redirect_uri: String,
        code_verifier: &CodeVerifier,
    ) -> Result<TokenResponse, Refusal> {
        let underway = self.inner.redeeming.enter(code.hash());
        let now = self.now();
        // What signs is asked for first: a code that was used up for nothing would end what it never became.
        let signer = self.signer_for(frontend).await?;
        let grant = self.new_grant(frontend, GRANT_LIFETIME, now);
        let redeemed = self
            .inner
            .store
            .redeem_code(Redemption {
                hash: code.hash(),
                client_id: frontend.client_id.clone(),
                redirect_uri,
                code_challenge: code_verifier.s256_challenge(),
                grant: grant.clone(),
                now,
            })
            .await;
        let signed_in = match redeemed {
            Ok(signed_in) => signed_in,
            Err(RedeemError::Store(error)) => return Err(Failure::from(error).into()),
            Err(RedeemError::Used(grant)) => {
                // RFC 6749 section 4.1.2: what came of a code that is used again ends. A client's own double click
                // overlaps with the first request, and ends nothing.
                if let Some(grant) = grant
                    && !underway.races()
                {
                    self.end_grant(grant, &frontend.client_id).await?;
                    events::grant_ended(frontend, grant, "code_reused");
                }
                return Err(invalid_grant("code_used", &RedeemError::Used(grant)));
            }
            Err(error) => return Err(invalid_grant(reason_of(&error), &error)),
        };
        Ok(self.tokens_of(frontend, &signer, &grant, &signed_in)?)
    }

    /// Rotates a refresh token (RFC 9700 section 4.14.2). Whether the person may still come in is asked each time (S91).
    async fn refresh(&self, frontend: &Frontend, text: &str) -> Result<TokenResponse, Refusal> {
        let now = self.now();
        let token = RefreshToken::parse(text).ok_or_else(|| {
            Refusal::new(
                OAuthError::InvalidGrant,
                "refresh_format",
                "the refresh token is none that we make",
            )
        })?;
        let grant = self
            .inner
            .store
            .grant(token.grant, now)
            .await
            .map_err(Failure::from)?
            .filter(|grant| token.is_of(grant, &self.inner.sealer))
            .ok_or_else(|| {
                Refusal::new(
                    OAuthError::InvalidGrant,
                    "refresh_unknown",
                    "the refresh token is of no grant: its session has ended, it was revoked, or it is forged",
                )
            })?;
        if grant.client_id != frontend.client_id {
            return Err(Refusal::new(
                OAuthError::InvalidGrant,
                "refresh_other_client",
                format!(
                    "{} presents a refresh token of another client",
                    frontend.client_id
                ),
            ));
        }
        // First: a rotation that is answered with a fault of ours would be tried again, and taken for reuse.
        let signer = self.signer_for(frontend).await?;
        let rotated = self
            .inner
            .store
            .rotate_grant(Rotation {
                grant: grant.id,
                count: token.count,
                grace_seconds: GRACE,
                now,
            })
            .await;
        match rotated {
            Ok(rotated) => Ok(TokenResponse {
                access_token: self.access_token(
                    frontend,
                    &signer,
                    Some(grant.id),
                    &rotated.signed_in,
                )?,
                refresh_token: RefreshToken::text(
                    grant.id,
                    &grant.key,
                    rotated.count,
                    &self.inner.sealer,
                ),
            }),
            Err(RotateError::Store(error)) => Err(Failure::from(error).into()),
            Err(error @ RotateError::Reused) => {
                self.inner.sessions.forget(&SessionKey::Grant(grant.id));
                events::grant_ended(frontend, grant.id, "refresh_reused");
                Err(invalid_grant("refresh_reused", &error))
            }
            Err(error) => Err(invalid_grant("grant_ended", &error)),
        }
    }

    /// Ends what a token stands for (RFC 7009). A token that is none of ours, or dead already, is revoked by now.
    pub(crate) async fn revoke(&self, frontend: &Frontend, token: &str) -> Result<(), Refusal> {
        let other_client = || {
            Refusal::new(
                OAuthError::InvalidGrant,
                "revoke_other_client",
                format!("{} presents a token of another client", frontend.client_id),
            )
        };
        if let Some(refresh) = RefreshToken::parse(token) {
            let grant = self
                .inner
                .store
                .grant(refresh.grant, self.now())
                .await
                .map_err(Failure::from)?;
            let Some(grant) = grant.filter(|grant| refresh.is_of(grant, &self.inner.sealer)) else {
                return Ok(());
            };
            if grant.client_id != frontend.client_id {
                return Err(other_client());
            }
            self.end_grant(grant.id, &frontend.client_id).await?;
            events::grant_ended(frontend, grant.id, "revoked");
            return Ok(());
        }
        let Some(access) = self.verify_access_token(token).await? else {
            if let TokenFormat::FastapiUsers(key) = &frontend.token_format
                && key.verify(token.as_bytes()).is_ok()
            {
                return Err(Refusal::new(
                    OAuthError::UnsupportedTokenType,
                    "fastapi_users_token",
                    "tokens in the format of fastapi-users end at their exp and not before; sign the person out there",
                ));
            }
            return Ok(());
        };
        match access.key {
            SessionKey::Grant(grant) if access.client_id == frontend.client_id => {
                self.end_grant(grant, &frontend.client_id).await?;
                events::grant_ended(frontend, grant, "revoked");
                Ok(())
            }
            _ => Err(other_client()),
        }
    }

    /// Ends a grant in the database, then in what this process believes.
    async fn end_grant(&self, grant: GrantId, client_id: &str) -> Result<(), Failure> {
        let ended = self
            .inner
            .store
            .end_grant(grant, client_id.to_owned())
            .await;
        self.inner.sessions.forget(&SessionKey::Grant(grant));
        ended?;
        Ok(())
    }

    /// What a token is worth now (RFC 7662 section 2.2), told to those whom it is meant for. To everybody else, and of
    /// every other token: `active: false` and nothing more.
    pub(crate) async fn introspect(
        &self,
        frontend: &Frontend,
        token: &str,
    ) -> Result<Value, Refusal> {
        let inactive = json!({ "active": false });
        let now = self.now();
        if let Some(refresh) = RefreshToken::parse(token) {
            let grant = self
                .inner
                .store
                .grant(refresh.grant, now)
                .await
                .map_err(Failure::from)?;
            let Some(grant) = grant.filter(|grant| {
                grant.client_id == frontend.client_id
                    && grant.count == refresh.count
                    && refresh.is_of(grant, &self.inner.sealer)
            }) else {
                return Ok(inactive);
            };
            let Some(signed_in) = self.alive(SessionKey::Grant(grant.id)).await? else {
                return Ok(inactive);
            };
            return Ok(json!({
                "active": true,
                "scope": SCOPE,
                "client_id": grant.client_id,
                "sub": signed_in.user.id.to_string(),
                "exp": grant.expires_at.seconds(),
                "iat": grant.created_at.seconds(),
                "iss": self.inner.issuer(),
            }));
        }
        let Some(access) = self.verify_access_token(token).await? else {
            return Ok(inactive);
        };
        let is_for_them = access
            .audiences
            .iter()
            .any(|audience| *audience == frontend.client_id || audience == frontend.audience());
        if !is_for_them || self.alive(access.key).await?.is_none() {
            return Ok(inactive);
        }
        Ok(json!({
            "active": true,
            "scope": SCOPE,
            "client_id": access.client_id,
            "token_type": "Bearer",
            "sub": access.subject,
            "aud": access.audiences,
            "iss": self.inner.issuer(),
            "exp": access.expires_at,
            "iat": access.issued_at,
            "jti": access.jti,
        }))
    }
}

fn invalid_grant(reason: &'static str, error: &dyn core::fmt::Display) -> Refusal {
    let mut refusal = Refusal::new(OAuthError::InvalidGrant, reason, error.to_string());
    refusal.failure.code = Code::HandoffCodeInvalid;
    refusal
}

fn reason_of(error: &RedeemError) -> &'static str {
    match error {
        RedeemError::Unknown => "code_unknown",
        RedeemError::Expired => "code_expired",
        RedeemError::Used(_) => "code_used",
        RedeemError::OtherClient => "code_other_client",
        RedeemError::OtherRedirectUri => "code_other_redirect_uri",
        RedeemError::Verifier => "code_verifier",
        _ => "session_ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S89: which of two requests the database serves first is not which came first.
    #[test]
    fn of_two_requests_at_once_each_knows_of_the_other_and_a_later_one_of_none() {
        let (all, code) = (Redeeming::default(), OneTimeCode::new([1; 32]).hash());
        let first = all.enter(code);
        assert!(!first.races());
        let second = all.enter(code);
        assert!(first.races() && second.races());
        drop(second);
        assert!(first.races());
        drop(first);
        assert!(all.0.lock().unwrap().is_empty());
        assert!(!all.enter(code).races());
    }
}
