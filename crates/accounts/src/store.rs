//! What a database does for us: acts of the domain, each atomic, each asked for once.
//!
//! A unique key, never an earlier read, is what prevents duplicates. A decision is applied only where the user is as
//! it was decided on; else [`ApplyError::Stale`], and the caller reads and decides again.

use core::future::Future;
use core::pin::Pin;

use crate::email::EmailKey;
use crate::grants::{Grant, HandOver, Redemption, Rotated, Rotation, SessionKey};
use crate::ids::{GrantId, SessionHash, SessionId, StateHash, UserId};
use crate::records::{
    Account, Applied, Identity, Invitation, Known, NewPasswordUser, ProviderTokens, SignIn,
    SignedIn, StoredKey, Unlinked, User, UserPage, UserQuery,
};
use vestibule_oidc::Timestamp;

/// What a verb returns, so that `Arc<dyn Store>` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What follows from what is known: the sign-in to write, or `None` where nobody is let in. Asked anew where the world
/// changed in between.
pub type Decide = Box<dyn FnMut(&Known) -> Option<SignIn> + Send>;

/// How often a decision is made anew when the world changed under it.
const DECISIONS: usize = 3;

/// Why a verb did not happen. Nothing was written, unless the variant says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The queue is full, the disk is full, or the database is away. To the browser: `service_unavailable`.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// What stands in the database is not what we write.
    #[error("the database holds something unexpected: {0}. Restore a backup, or report it")]
    Corrupt(String),
}

/// Why a sign-in was not written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Somebody else took the identity or the address in between. Read and decide again.
    #[error("another sign-in took the identity or the address")]
    Conflict,
    /// A user that the decision rests on has changed. Read and decide again.
    #[error("the user has changed since the decision")]
    Stale,
    /// The session that [`SignIn::requires`] is over, or is not the acting user's. No other decision helps.
    #[error("the session that this needs is over, or is another user's")]
    SessionOver,
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an identity was not unlinked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlinkError {
    /// It is this user's last way in.
    #[error("it is the last way in")]
    LastMethod,
    /// The user has changed since it was read.
    #[error("the user has changed since it was read")]
    Stale,
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a password user was not made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody owns or claims the address.
    #[error("the address belongs to somebody")]
    Exists,
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nobody was invited.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// A user owns the address.
    #[error("the address belongs to a user already")]
    Exists,
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a code was not redeemed. To the client all are `invalid_grant`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// There is no such code, or it went with its session.
    #[error("no such code: never made, pruned, or its session has ended")]
    Unknown,
    /// It is past its end, and was not used.
    #[error("the code has expired; it lives for 60 seconds")]
    Expired,
    /// It was redeemed before; this grant came of it, if it is still there.
    #[error("the code was redeemed before")]
    Used(Option<GrantId>),
    /// It was made for another client. It stays as it is.
    #[error("the code was made for another client_id")]
    OtherClient,
    /// `redirect_uri` is not the one that the code was sent to. The code stays as it is.
    #[error("the redirect_uri is not the one that the code was sent to")]
    OtherRedirectUri,
    /// The verifier does not fit the challenge. The code stays as it is.
    #[error("the code_verifier does not fit the code_challenge of the authorization request")]
    Verifier,
    /// The session is over, or its user is disabled.
    #[error("the session of the code is over, or its user is disabled")]
    Ended,
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a refresh token was not rotated. To the client all are `invalid_grant`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The token was rotated before, longer ago than the grace. The grant has ended in this transaction, and stays so.
    #[error("the refresh token was used before; everything that came of its grant has ended")]
    Reused,
    /// The grant is over, its session is, or its user is disabled.
    #[error("the grant or its session is over, or its user is disabled")]
    Ended,
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// When a signing key is added.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddKey {
    /// In any case.
    Always,
    /// In any case. Of the keys whose turn to sign is still to come when it is made, so many stay at most, it included:
    /// the ones whose turn comes last make room for it. They have signed nothing.
    AmongWaiting(u32),
    /// Only while the key made last is the one with this `kid`; `None`: while there is none. So that of several
    /// processes with the same idea one makes a key.
    IfNewestIs(Option<String>),
}

/// The outcome of claiming a `state`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Claim {
    /// The caller is the first, and the only one who may go on.
    First,
    /// Somebody was here before.
    Used,
}

/// Whether the database was made with the secret that we run with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretCheck {
    /// It was, or it had none and now has ours.
    Ours,
    /// It was made with another one. Nothing was changed.
    Other,
}

/// A database of users, identities, sessions and keys. Used as `Arc<dyn Store>`.
///
/// Each verb is one transaction and runs to its end even when the caller goes away. A verb that returned `Ok` is
/// durable, `claim_state` excepted.
pub trait Store: Send + Sync + 'static {
    /// Claims a `state` for one callback. Exactly one caller is ever told [`Claim::First`], for 15 minutes at least.
    /// It need not be durable: [`SignIn::claim`] writes the row with the session.
    fn claim_state(
        &self,
        state: StateHash,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Claim, StoreError>>;

    /// Reads in one snapshot what is known about an identity and its verified address, at this time.
    fn known(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Known, StoreError>>;

    /// Writes a whole sign-in: user, identity, session, the end of the old session, and the claim, or none of them.
    /// A user that is not as it was decided on, or not active, is [`ApplyError::Stale`], and so is an invitation that it
    /// was decided on and that is gone or over; a taken identity or address is [`ApplyError::Conflict`]. Before all that,
    /// where the session that it requires does not live or is not the acting user's, it is [`ApplyError::SessionOver`].
    fn apply(&self, sign_in: SignIn) -> BoxFuture<'_, Result<Applied, ApplyError>>;

    /// Reads what is known about an identity and its verified address, lets `decide` say what follows, and writes it.
    /// `None` where it said so. Where the world changes under each of three decisions, what [`Store::apply`] says of the
    /// last.
    ///
    /// A store that can do all of it in one transaction does.
    fn admit(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
        now: Timestamp,
        mut decide: Decide,
    ) -> BoxFuture<'_, Result<Option<Applied>, ApplyError>> {
        Box::pin(async move {
            let mut outcome = Err(ApplyError::Stale);
            for _ in 0..DECISIONS {
                let known = self.known(issuer.clone(), subject.clone(), email.clone(), now);
                let Some(sign_in) = decide(&known.await?) else {
                    return Ok(None);
                };
                outcome = self.apply(sign_in).await;
                if !matches!(outcome, Err(ApplyError::Conflict | ApplyError::Stale)) {
                    break;
                }
            }
            outcome.map(Some)
        })
    }

    /// The live session that is found so and its active user; `None` where it ended, expired, idled out, or the user
    /// is disabled, and by a grant also where the grant is over.
    fn session(
        &self,
        key: SessionKey,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<SignedIn>, StoreError>>;

    /// Writes when a session was last seen. A session that ended stays ended.
    fn touch_session(&self, id: SessionId, now: Timestamp)
    -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the session with this secret, and with it every code and grant of its; its name, if there was one.
    fn end_session(
        &self,
        hash: SessionHash,
    ) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>>;

    /// Gives a front end what it gets in a session that lives already; `false` where the session is over or its user
    /// disabled, and then nothing was written. The session's codes that lapsed unused may go in exchange.
    fn hand_over(
        &self,
        session: SessionId,
        hand_over: HandOver,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Redeems a code: it is used up, and the grant is there, or nothing happened. Of many callers at once exactly one
    /// succeeds. A code is remembered as used until it is pruned, a day after its end at the earliest. A client keeps 100
    /// grants in one session; the oldest make room.
    fn redeem_code(&self, redemption: Redemption) -> BoxFuture<'_, Result<SignedIn, RedeemError>>;

    /// A grant that has not ended: it and its session live, and the user is active.
    fn grant(
        &self,
        id: GrantId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Grant>, StoreError>>;

    /// Replaces a refresh token by its successor, and counts as the session being seen. Of many callers at once one
    /// raises the count; the others, and whoever comes within the grace after it, are told the same successor. Later
    /// the token is [`RotateError::Reused`], and the grant is gone when that is answered.
    fn rotate_grant(&self, rotation: Rotation) -> BoxFuture<'_, Result<Rotated, RotateError>>;

    /// Ends a grant of this client, and all that came of it; whether there was one.
    fn end_grant(&self, id: GrantId, client_id: String) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// One user.
    fn user(&self, id: UserId) -> BoxFuture<'_, Result<Option<User>, StoreError>>;

    /// A page of users, the oldest first.
    fn users(&self, query: UserQuery) -> BoxFuture<'_, Result<UserPage, StoreError>>;

    /// A user's ways in, the oldest first.
    fn identities(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Identity>, StoreError>>;

    /// Lets a user in or keeps one out, raising the version; keeping out ends every session. `None`: no such user.
    fn set_active(
        &self,
        user: UserId,
        active: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<User>, StoreError>>;

    /// Makes a user an administrator or not, raising the version. A change ends every session: one that was stolen
    /// before must not become an administrator's (S65). `None`: no such user.
    fn set_superuser(
        &self,
        user: UserId,
        superuser: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<User>, StoreError>>;

    /// Takes an identity from its user, raising the version, and with it what was kept of its provider; `None` if it was
    /// not that user's. Never the last way in; a password is one. A user who is disabled is [`UnlinkError::Stale`].
    ///
    /// Whoever came in by it is out: every session of the user ends, with all that hangs on it. Only `keep` stays, the
    /// session of the person who asks. From then on the identity is
    /// [`Known::taken_away`], until a sign-in links it to the user again that requires a session of that user.
    fn unlink(
        &self,
        account: Account,
        issuer: String,
        subject: String,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Unlinked>, UnlinkError>>;

    /// What the providers of an active user gave to keep, that of the identity that was used last first.
    fn provider_tokens(
        &self,
        user: UserId,
    ) -> BoxFuture<'_, Result<Vec<ProviderTokens>, StoreError>>;

    /// Takes the lease on what is kept for an identity, so that of all servers one at a time asks the provider for more.
    /// `true` for exactly one caller while the version is this one and no earlier lease lasts: at its end it is over.
    fn lease_provider_tokens(
        &self,
        issuer: String,
        subject: String,
        version: i64,
        until: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Replaces what is kept for an identity, or with `None` removes it, raising the version and ending the lease;
    /// `false`, and nothing was written, where the version is another one: somebody was faster, or it is gone.
    fn replace_provider_tokens(
        &self,
        issuer: String,
        subject: String,
        version: i64,
        sealed: Option<Vec<u8>>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Makes a password user that claims an address.
    fn register(
        &self,
        user: NewPasswordUser,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<User, RegisterError>>;

    /// Invites whoever comes with this address, verified. It takes the place of an earlier invitation for the address,
    /// whatever its spelling. A claim to the address hinders nobody.
    fn invite(&self, invitation: Invitation) -> BoxFuture<'_, Result<(), InviteError>>;

    /// So many invitations at most, those that are over included, the oldest first; only those that come after `after`.
    fn invitations(
        &self,
        after: Option<Invitation>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Invitation>, StoreError>>;

    /// Takes back the invitation for an address; whether there was one.
    fn withdraw_invitation(&self, email: EmailKey) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Our signing keys, the oldest first.
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>>;

    /// Adds a signing key; every other one that has no end gets `retire_others_at`. Whether it was added.
    fn add_signing_key(
        &self,
        key: StoredKey,
        retire_others_at: Timestamp,
        add: AddKey,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Removes a signing key at once. Where no other one signs at `now`, `replacement` takes its place in the same
    /// transaction and signs from `now`. Whether there was such a key; without one nothing is written.
    fn revoke_signing_key(
        &self,
        kid: String,
        replacement: StoredKey,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Compares the check value of our secret with the database's. An empty place takes `ours`; that of `previous` is
    /// replaced by `ours`.
    fn check_secret(
        &self,
        ours: [u8; 32],
        previous: Option<[u8; 32]>,
    ) -> BoxFuture<'_, Result<SecretCheck, StoreError>>;

    /// Removes what is over: sessions, grants, invitations and claims past their end, keys past theirs, codes a day past
    /// theirs. In chunks, so that logins go on between them. How many rows went.
    fn prune(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Whether the database answers and takes writes.
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Finishes what is queued and closes. Later verbs are [`StoreError::Unavailable`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
