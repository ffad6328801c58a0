//! What a provider gave for its own interfaces, kept where `keep_tokens` says so: sealed in the database, renewed when it
//! is asked for, given back when its way in is taken away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use vestibule_accounts::{IdentityRecord, ProviderTokens, Timestamp, UserId};
use vestibule_oidc::{
    AccessToken, Metadata, Provider, ProviderId, RefreshToken, TokenError, TokenSet,
    VerifiedIdentity,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Vestibule;
use crate::error::{Code, Failure};
use crate::events;
use crate::seal::Purpose;

/// How long before its end an access token is renewed, in seconds.
const EARLY_SECONDS: i64 = 60;
/// How long one of several servers may take to renew a token, in seconds; then another may. Much longer than a renewal
/// takes, as the clocks of two servers differ.
const LEASE_SECONDS: i64 = 30;
/// How long a request to the provider may take.
const DEADLINE: Duration = Duration::from_secs(8);
/// How long a request of ours waits for a renewal, by whomever.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often whoever waits for another server's renewal looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a renewed token is written again when the database refuses: while the lease lasts.
const WRITING: Duration = Duration::from_secs(20);
/// The most that is kept, in bytes.
const MAX_KEPT: usize = 48 * 1024;

/// A live access token of a provider. It does not print.
pub(crate) struct ProviderToken {
    pub(crate) access_token: AccessToken,
    /// When it ends, where the provider says.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) scope: Option<String>,
}

/// The renewals of this process: of all who ask for one person at one provider, one asks the database and the provider.
#[derive(Debug, Default)]
pub(crate) struct Renewals(Mutex<HashMap<(UserId, ProviderId), Turn>>);

/// Held by whoever renews.
type Turn = Arc<tokio::sync::Mutex<()>>;

impl Renewals {
    fn of(&self, user: UserId, provider: &ProviderId) -> Turn {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody waits for is nobody's turn.
        all.retain(|_, turn| Arc::strong_count(turn) > 1);
        all.entry((user, provider.clone())).or_default().clone()
    }
}

/// What became of the row that a renewal is to be written to.
enum Written {
    /// It is written; or a sign-in brought others, which stay.
    Done,
    /// The same tokens, sealed anew: to be written over.
    Again(ProviderTokens),
    /// Its way in was taken away.
    TakenAway,
}

/// What is sealed. The identity stands in it: a row that was moved to somebody else opens for nobody. So does our client
/// at the provider: what one gave is shown to no other that took over its name.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
struct Kept {
    issuer: String,
    subject: String,
    provider: String,
    /// As configured: one text for all tenants.
    provider_issuer: String,
    client_id: String,
    access_token: String,
    refresh_token: Option<String>,
    /// Seconds since 1970.
    expires_at: Option<i64>,
    scope: Option<String>,
}

impl Kept {
    fn new(
        provider: &Provider,
        (issuer, subject): (&str, &str),
        tokens: &TokenSet,
        refresh_token: Option<&str>,
        now: Timestamp,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            provider: provider.id.as_str().to_owned(),
            provider_issuer: provider.issuer.as_str().to_owned(),
            client_id: provider.client_id.clone(),
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

    /// Whether it came of this provider, as it is configured now.
    fn is_of(&self, provider: &Provider) -> bool {
        self.provider == provider.id.as_str()
            && self.provider_issuer == provider.issuer.as_str()
            && self.client_id == provider.client_id
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
        // Many give a refresh token with the first consent alone, and it stays good. What stands is left so: a renewal may
        // be about to replace it.
        if tokens.refresh_token.is_none()
            && let Some((_, kept)) = self.row_of(issuer, subject).await?
            && kept.refresh_token.is_some()
            && kept.is_of(provider)
        {
            return Ok(None);
        }
        let kept = Kept::new(provider, (issuer, subject), tokens, None, self.now());
        let sealed = self.seal_kept(&kept);
        if sealed.is_none() {
            tracing::warn!(event = "provider_tokens.too_long", provider = %provider.id, max = MAX_KEPT);
        }
        Ok(sealed)
    }

    /// What is kept for an identity by now, and its row.
    async fn row_of(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<(ProviderTokens, Kept)>, Failure> {
        let (store, now) = (&self.inner.store, self.now());
        let known = store
            .known(issuer.to_owned(), subject.to_owned(), None, now)
            .await?;
        let Some(account) = known.identity else {
            return Ok(None);
        };
        let rows = store.provider_tokens(account.user).await?;
        let row = rows
            .into_iter()
            .find(|row| row.issuer == issuer && row.subject == subject);
        Ok(row.and_then(|row| {
            let kept = self.open_kept(issuer, subject, &row.sealed)?;
            Some((row, kept))
        }))
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
        let Some((row, kept)) = self.kept_row(user, &provider).await? else {
            return Ok(None);
        };
        if kept.is_live(self.now(), EARLY_SECONDS) {
            self.seal_anew(&row, &kept).await;
            return Ok(Some(kept.token()));
        }
        match self.renewed(user, &provider).await {
            // It cannot be renewed now, and is still good for a little.
            Err(failure)
                if (failure.code != Code::ReauthRequired || kept.refresh_token.is_none())
                    && kept.is_live(self.now(), 0) =>
            {
                Ok(Some(kept.token()))
            }
            outcome => outcome,
        }
    }

    /// The token, renewed by this request or by another one.
    async fn renewed(
        &self,
        user: UserId,
        provider: &Arc<Provider>,
    ) -> Result<Option<ProviderToken>, Failure> {
        let until = Instant::now() + PATIENCE;
        // First among those who ask here, then among the servers.
        let turn = self.inner.renewals.of(user, &provider.id);
        let _turn = tokio::time::timeout_at(until, turn.lock())
            .await
            .map_err(|_| renewed_elsewhere())?;
        let metadata = self.inner.remote.metadata(provider).await?;
        loop {
            let Some((row, kept)) = self.kept_row(user, provider).await? else {
                return Ok(None);
            };
            let now = self.now();
            if kept.is_live(now, EARLY_SECONDS) {
                return Ok(Some(kept.token()));
            }
            let Some(refresh_token) = kept.refresh_token.as_deref() else {
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
                let renewed = self.renew(provider, metadata, row, refresh_token);
                return renewed.await.map(Some);
            }
            if Instant::now() >= until {
                return Err(renewed_elsewhere());
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
        if !provider.keep_tokens {
            return Ok(None);
        }
        let rows = self.inner.store.provider_tokens(user).await?;
        let Some(row) = rows
            .into_iter()
            .find(|row| row.provider == provider.id.as_str())
        else {
            return Ok(None);
        };
        match self.open_kept(&row.issuer, &row.subject, &row.sealed) {
            Some(kept) if kept.is_of(provider) => Ok(Some((row, kept))),
            Some(_) => Err(ended("given_to_another_client")),
            None => Err(ended("sealed_with_another_secret")),
        }
    }

    /// Seals anew what the previous secret had sealed, so that it can be taken out. Only while it is live: a lease on it is
    /// somebody's who is renewing it. Where it does not succeed, the next request tries again.
    async fn seal_anew(&self, row: &ProviderTokens, kept: &Kept) {
        if self.inner.sealer.is_current(Purpose::AtRest, &row.sealed) {
            return;
        }
        let Some(sealed) = self.seal_kept(kept) else {
            return;
        };
        let (issuer, subject) = (row.issuer.clone(), row.subject.clone());
        let replaced = self
            .inner
            .store
            .replace_provider_tokens(issuer, subject, row.version, Some(sealed), self.now())
            .await;
        if let Err(error) = replaced {
            tracing::warn!(event = "provider_tokens.not_sealed_anew", detail = %error);
        }
    }

    /// Asks the provider for a new access token and keeps what comes (RFC 6749 section 6). In a task of its own: a browser
    /// that goes away must not lose a refresh token that was just rotated.
    async fn renew(
        &self,
        provider: &Arc<Provider>,
        metadata: Arc<Metadata>,
        row: ProviderTokens,
        refresh_token: &str,
    ) -> Result<ProviderToken, Failure> {
        let (vestibule, provider) = (self.clone(), provider.clone());
        let refresh_token = RefreshToken::new(refresh_token.to_owned());
        let task = tokio::spawn(async move {
            let answer = vestibule
                .ask_anew(&provider, &metadata, &refresh_token)
                .await;
            let used = refresh_token.expose();
            let (sealed, outcome) = match answer {
                Ok(tokens) => {
                    let whose = (row.issuer.as_str(), row.subject.as_str());
                    let kept = Kept::new(&provider, whose, &tokens, Some(used), vestibule.now());
                    (vestibule.seal_kept(&kept), Ok(kept))
                }
                // The provider has ended it. What is of no use is not kept.
                Err(failure) if failure.code == Code::ReauthRequired => (None, Err(failure)),
                // What was sealed stays; the next request may try at once.
                Err(failure) => (Some(row.sealed.clone()), Err(failure)),
            };
            let is_there = vestibule.write_renewed(row, sealed, used).await?;
            let kept = outcome?;
            if !is_there {
                // Its way in was taken away meanwhile: what came just now is given back as the rest was.
                vestibule.give_back_set(&provider, &kept.token_set()).await;
                return Err(ended("taken_away"));
            }
            Ok(kept.token())
        });
        task.await.unwrap_or_else(|_| {
            Err(Failure::new(
                Code::InternalError,
                "panic",
                "the renewal of a provider's token panicked; please report it with this log",
            ))
        })
    }

    /// Writes what a renewal brought; whether its identity is there still. The provider may take the old refresh token no
    /// more: while the lease lasts, a database that refuses is asked again.
    async fn write_renewed(
        &self,
        mut row: ProviderTokens,
        sealed: Option<Vec<u8>>,
        used: &str,
    ) -> Result<bool, Failure> {
        let until = Instant::now() + WRITING;
        loop {
            match self.write_over(&row, sealed.clone(), used).await {
                Ok(Written::Done) => return Ok(true),
                Ok(Written::TakenAway) => return Ok(false),
                Ok(Written::Again(newer)) => row = newer,
                Err(failure) if Instant::now() >= until => return Err(failure),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Writes over a row, if it is as it was read; else looks what it is by now.
    async fn write_over(
        &self,
        row: &ProviderTokens,
        sealed: Option<Vec<u8>>,
        used: &str,
    ) -> Result<Written, Failure> {
        let store = &self.inner.store;
        let (issuer, subject) = (row.issuer.clone(), row.subject.clone());
        if store
            .replace_provider_tokens(issuer, subject, row.version, sealed, self.now())
            .await?
        {
            return Ok(Written::Done);
        }
        let (issuer, subject) = (row.issuer.clone(), row.subject.clone());
        let known = store.known(issuer, subject, None, self.now()).await?;
        if known.identity.is_none() {
            return Ok(Written::TakenAway);
        }
        Ok(match self.row_of(&row.issuer, &row.subject).await? {
            Some((newer, kept)) if kept.refresh_token.as_deref() == Some(used) => {
                Written::Again(newer)
            }
            _ => Written::Done,
        })
    }

    async fn ask_anew(
        &self,
        provider: &Arc<Provider>,
        metadata: &Metadata,
        refresh_token: &RefreshToken,
    ) -> Result<TokenSet, Failure> {
        let request = provider
            .refresh_request(metadata, refresh_token, self.fresh())
            .map_err(|error| unsigned(&error))?;
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
    /// them back within some seconds, that is the operator's to know.
    pub(crate) async fn give_back(&self, record: &IdentityRecord, sealed: &[u8]) {
        let kept = self.open_kept(&record.issuer, &record.subject, sealed);
        let provider = kept
            .as_ref()
            .and_then(|kept| self.provider(&kept.provider).ok());
        match (kept, provider) {
            (Some(kept), Some(provider)) if kept.is_of(&provider) => {
                self.give_back_set(&provider, &kept.token_set()).await;
            }
            _ => events::not_revoked(
                &record.provider,
                &Failure::new(
                    Code::ProviderMisconfigured,
                    "not_ours_any_more",
                    "the tokens were given to another client_id, or sealed with another secret; the person can remove the access in the provider's own settings",
                ),
            ),
        }
    }

    async fn give_back_set(&self, provider: &Arc<Provider>, tokens: &TokenSet) {
        let revoked = tokio::time::timeout(DEADLINE, self.revoke_at(provider, tokens)).await;
        let failure = match revoked {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(
                Code::ProviderUnavailable,
                "deadline",
                "the provider did not answer within 8 seconds",
            ),
        };
        events::not_revoked(provider.id.as_str(), &failure);
    }

    async fn revoke_at(&self, provider: &Arc<Provider>, tokens: &TokenSet) -> Result<(), Failure> {
        let metadata = self.inner.remote.metadata(provider).await?;
        let request = provider
            .revocation_request(&metadata, tokens, self.fresh())
            .map_err(|error| unsigned(&error))?;
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

fn unsigned(error: &dyn core::fmt::Display) -> Failure {
    Failure::new(
        Code::ProviderMisconfigured,
        "client_assertion",
        format!("the proof of who we are cannot be signed: {error}"),
    )
}

fn renewed_elsewhere() -> Failure {
    Failure::new(
        Code::ProviderUnavailable,
        "renewal_elsewhere",
        "another request renews the token and has not come to an end within 15 seconds",
    )
}

fn ended(reason: &'static str) -> Failure {
    Failure::new(
        Code::ReauthRequired,
        reason,
        "the provider gives no new access token; the person signs in with it again",
    )
}
