//! What a provider gave for its own interfaces, kept where `keep_tokens` says so: sealed in the database, renewed when it
//! is asked for, given back when its way in is taken away.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use vestibule_accounts::{IdentityRecord, ProviderTokens, Timestamp, UserId};
use vestibule_oidc::{AccessToken, Provider, RefreshToken, TokenError, TokenSet, VerifiedIdentity};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::events;
use crate::seal::Purpose;

/// How long before its end an access token is renewed, in seconds.
const EARLY_SECONDS: i64 = 60;
/// How long one of several processes may take to renew a token, in seconds; then another may.
const LEASE_SECONDS: i64 = 15;
/// How long a request to the provider may take.
const DEADLINE: Duration = Duration::from_secs(8);
/// How often whoever waits for another's renewal looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most that is kept, in bytes.
const MAX_KEPT: usize = 48 * 1024;

/// A live access token of a provider. It does not print.
pub(crate) struct ProviderToken {
    pub(crate) access_token: AccessToken,
    /// When it ends, where the provider says.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) scope: Option<String>,
}

/// What is sealed. The identity stands in it: a row that was moved to somebody else opens for nobody.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
struct Kept {
    issuer: String,
    subject: String,
    access_token: String,
    refresh_token: Option<String>,
    /// Seconds since 1970.
    expires_at: Option<i64>,
    scope: Option<String>,
}

impl Kept {
    fn new(
        (issuer, subject): (&str, &str),
        tokens: &TokenSet,
        refresh_token: Option<&str>,
        now: Timestamp,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            access_token: tokens.access_token.expose().to_owned(),
            // RFC 6749 section 6: where none comes, the old one stays.
            refresh_token: tokens
                .refresh_token
                .as_ref()
                .map(RefreshToken::expose)
                .or(refresh_token)
                .map(str::to_owned),
            expires_at: tokens
                .expires_in
                .map(|seconds| now.seconds().saturating_add(seconds)),
            scope: tokens.scope.clone(),
        }
    }

    fn is_live(&self, now: Timestamp, early: i64) -> bool {
        self.expires_at
            .is_none_or(|end| end > now.seconds().saturating_add(early))
    }

    fn token(&self) -> ProviderToken {
        ProviderToken {
            access_token: AccessToken::new(self.access_token.clone()),
            expires_at: self
                .expires_at
                .map(|seconds| Timestamp::from_micros(seconds.saturating_mul(1_000_000))),
            scope: self.scope.clone(),
        }
    }

    fn token_set(&self) -> TokenSet {
        TokenSet {
            access_token: AccessToken::new(self.access_token.clone()),
            refresh_token: self.refresh_token.clone().map(RefreshToken::new),
            expires_in: None,
            scope: None,
        }
    }
}

impl Vestibule {
    /// What is kept of a sign-in's tokens, sealed; nothing where the operator did not ask for it.
    pub(crate) async fn kept_tokens(
        &self,
        provider: &Provider,
        identity: &VerifiedIdentity,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let tokens = identity.tokens();
        if !provider.keep_tokens || tokens.access_token.expose().is_empty() {
            return Ok(None);
        }
        let (issuer, subject) = (identity.issuer(), identity.subject());
        // Many give a refresh token with the first consent alone, and it stays good.
        let earlier = match tokens.refresh_token {
            Some(_) => None,
            None => self.kept_of(issuer, subject).await?,
        };
        let refresh_token = earlier
            .as_ref()
            .and_then(|kept| kept.refresh_token.as_deref());
        let sealed = self.seal_kept(&Kept::new(
            (issuer, subject),
            tokens,
            refresh_token,
            self.now(),
        ));
        if sealed.is_none() {
            tracing::warn!(event = "provider_tokens.too_long", provider = %provider.id, max = MAX_KEPT);
        }
        Ok(sealed)
    }

    /// What is kept for an identity by now.
    async fn kept_of(&self, issuer: &str, subject: &str) -> Result<Option<Kept>, Failure> {
        let (store, now) = (&self.inner.store, self.now());
        let known = store
            .known(issuer.to_owned(), subject.to_owned(), None, now)
            .await?;
        let Some(account) = known.identity else {
            return Ok(None);
        };
        let rows = store.provider_tokens(account.user).await?;
        Ok(rows
            .iter()
            .find(|row| row.issuer == issuer && row.subject == subject)
            .and_then(|row| self.open_kept(issuer, subject, &row.sealed)))
    }

    fn seal_kept(&self, kept: &Kept) -> Option<Vec<u8>> {
        let text = Zeroizing::new(serde_json::to_vec(kept).ok()?);
        (text.len() <= MAX_KEPT).then(|| self.inner.sealer.seal(Purpose::AtRest, &text))
    }

    fn open_kept(&self, issuer: &str, subject: &str, sealed: &[u8]) -> Option<Kept> {
        let text = self.inner.sealer.open(Purpose::AtRest, sealed)?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.issuer == issuer && kept.subject == subject).then_some(kept)
    }

    /// A live access token of a user at a provider: the kept one, or a renewed one. Of several requests at once, in
    /// whatever process, one renews; a refresh token that is used twice is taken for a stolen one by many providers.
    /// `None`: nothing is kept.
    ///
    /// # Errors
    /// `reauth_required` where the provider has ended it: the person signs in again. `provider_unavailable` where it
    /// does not answer.
    pub(crate) async fn provider_token(
        &self,
        user: UserId,
        provider: &str,
    ) -> Result<Option<ProviderToken>, Failure> {
        let provider = self.provider(provider)?;
        let until = Instant::now() + Duration::from_secs(LEASE_SECONDS.unsigned_abs());
        loop {
            let now = self.now();
            let Some((row, kept)) = self.kept_row(user, &provider).await? else {
                return Ok(None);
            };
            if kept.is_live(now, EARLY_SECONDS) {
                return Ok(Some(kept.token()));
            }
            let Some(refresh_token) = kept.refresh_token.as_deref() else {
                // Nothing to renew it with: it is good to its end.
                if kept.is_live(now, 0) {
                    return Ok(Some(kept.token()));
                }
                return Err(ended("no_refresh_token"));
            };
            let lease = self.inner.store.lease_provider_tokens(
                row.issuer.clone(),
                row.subject.clone(),
                row.version,
                now.plus_seconds(LEASE_SECONDS),
                now,
            );
            if lease.await? {
                let renewed = self.renew(&provider, &row, refresh_token).await;
                return match renewed {
                    Ok(token) => Ok(Some(token)),
                    // It does not answer, and the old one is still good for a little.
                    Err(failure)
                        if failure.code == Code::ProviderUnavailable && kept.is_live(now, 0) =>
                    {
                        Ok(Some(kept.token()))
                    }
                    Err(failure) => Err(failure),
                };
            }
            if Instant::now() >= until {
                return Err(Failure::new(
                    Code::ProviderUnavailable,
                    "renewal_elsewhere",
                    "another request renews the token and has not come to an end within 15 seconds",
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The row that is meant, opened. What does not open was sealed with a secret that is gone.
    async fn kept_row(
        &self,
        user: UserId,
        provider: &Provider,
    ) -> Result<Option<(ProviderTokens, Kept)>, Failure> {
        let rows = self.inner.store.provider_tokens(user).await?;
        let Some(row) = rows
            .into_iter()
            .find(|row| row.provider == provider.id.as_str())
        else {
            return Ok(None);
        };
        match self.open_kept(&row.issuer, &row.subject, &row.sealed) {
            Some(kept) => Ok(Some((row, kept))),
            None => Err(ended("sealed_with_another_secret")),
        }
    }

    /// Asks the provider for a new access token and keeps what comes (RFC 6749 section 6). In a task of its own: a browser
    /// that goes away must not lose a refresh token that was just rotated.
    async fn renew(
        &self,
        provider: &Arc<Provider>,
        row: &ProviderTokens,
        refresh_token: &str,
    ) -> Result<ProviderToken, Failure> {
        let (vestibule, provider, row) = (self.clone(), provider.clone(), row.clone());
        let refresh_token = RefreshToken::new(refresh_token.to_owned());
        let task = tokio::spawn(async move {
            let answer = vestibule.ask_anew(&provider, &refresh_token).await;
            let now = vestibule.now();
            let (sealed, outcome) = match answer {
                Ok(tokens) => {
                    let whose = (row.issuer.as_str(), row.subject.as_str());
                    let kept = Kept::new(whose, &tokens, Some(refresh_token.expose()), now);
                    (vestibule.seal_kept(&kept), Ok(kept.token()))
                }
                // The provider has ended it. What is of no use is not kept.
                Err(failure) if failure.code == Code::ReauthRequired => (None, Err(failure)),
                Err(failure) => {
                    // What was sealed stays; the next request may try at once.
                    (Some(row.sealed.clone()), Err(failure))
                }
            };
            let (issuer, subject) = (row.issuer.clone(), row.subject.clone());
            vestibule
                .inner
                .store
                .replace_provider_tokens(issuer, subject, row.version, sealed, now)
                .await?;
            outcome
        });
        task.await.unwrap_or_else(|_| {
            Err(Failure::new(
                Code::InternalError,
                "panic",
                "the renewal of a provider's token panicked; please report it with this log",
            ))
        })
    }

    async fn ask_anew(
        &self,
        provider: &Arc<Provider>,
        refresh_token: &RefreshToken,
    ) -> Result<TokenSet, Failure> {
        let metadata = self.inner.remote.metadata(provider).await?;
        let request = provider
            .refresh_request(&metadata, refresh_token, self.fresh())
            .map_err(|error| {
                Failure::new(
                    Code::ProviderMisconfigured,
                    "client_assertion",
                    error.to_string(),
                )
            })?;
        let _permit = self.inner.rate.token_request(&provider.id)?;
        let received = self
            .inner
            .transport
            .send(provider, request, DEADLINE)
            .await?;
        TokenSet::of_response(provider, &received.response).map_err(|error| match error {
            TokenError::InvalidGrant => ended("refresh_refused"),
            error => Failure::of_step(error.code(), error.reason(), &error),
        })
    }

    /// Gives tokens back to their provider (RFC 7009). They are forgotten here already; where the provider does not take
    /// them back, that is the operator's to know and nobody's to wait for.
    pub(crate) async fn give_back(&self, record: &IdentityRecord, sealed: &[u8]) {
        let Ok(provider) = self.provider(&record.provider) else {
            return;
        };
        let Some(kept) = self.open_kept(&record.issuer, &record.subject, sealed) else {
            return;
        };
        if let Err(failure) = self.revoke_at(&provider, &kept.token_set()).await {
            events::not_revoked(provider.id.as_str(), &failure);
        }
    }

    async fn revoke_at(&self, provider: &Arc<Provider>, tokens: &TokenSet) -> Result<(), Failure> {
        let metadata = self.inner.remote.metadata(provider).await?;
        let request = provider
            .revocation_request(&metadata, tokens, self.fresh())
            .map_err(|error| {
                Failure::new(
                    Code::ProviderMisconfigured,
                    "client_assertion",
                    error.to_string(),
                )
            })?;
        let Some(request) = request else {
            return Err(Failure::new(
                Code::ProviderMisconfigured,
                "no_revocation_endpoint",
                "the provider has nowhere to give tokens back to; the person can remove the access in the provider's own settings",
            ));
        };
        let received = self
            .inner
            .transport
            .send(provider, request, DEADLINE)
            .await?;
        match received.response.status {
            200..=299 => Ok(()),
            status => Err(Failure::new(
                Code::ProviderError,
                "revocation_status",
                format!("the revocation endpoint answered with status {status}"),
            )),
        }
    }
}

fn ended(reason: &'static str) -> Failure {
    Failure::new(
        Code::ReauthRequired,
        reason,
        "the provider gives no new access token; the person signs in with it again",
    )
}
