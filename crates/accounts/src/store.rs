//! What a database does for us: acts of the domain, each atomic, each asked for once.
//!
//! A unique key, never an earlier read, is what prevents duplicates. A decision is applied only where the user is as
//! it was decided on; else [`ApplyError::Stale`], and the caller reads and decides again.

use core::future::Future;
use core::pin::Pin;

use crate::email::EmailKey;
use crate::ids::{SessionHash, SessionId, StateHash, UserId};
use crate::records::{
    Account, Applied, Identity, Known, NewPasswordUser, SignIn, SignedIn, StoredKey, User,
    UserPage, UserQuery,
};
use vestibule_oidc::Timestamp;

/// What a verb returns, so that `Arc<dyn Store>` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

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

    /// Reads in one snapshot what is known about an identity and its verified address.
    fn known(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
    ) -> BoxFuture<'_, Result<Known, StoreError>>;

    /// Writes a whole sign-in: user, identity, session, the end of the old session, and the claim, or none of them.
    /// A user that is not as it was decided on, or not active, is [`ApplyError::Stale`]; a taken identity or address
    /// is [`ApplyError::Conflict`].
    fn apply(&self, sign_in: SignIn) -> BoxFuture<'_, Result<Applied, ApplyError>>;

    /// The live session with this secret and its active user; `None` where it ended, expired, idled out, or the user
    /// is disabled.
    fn session(
        &self,
        hash: SessionHash,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<SignedIn>, StoreError>>;

    /// Writes when a session was last seen. A session that ended stays ended.
    fn touch_session(&self, id: SessionId, now: Timestamp)
    -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the session with this secret; whether there was one.
    fn end_session(&self, hash: SessionHash) -> BoxFuture<'_, Result<bool, StoreError>>;

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

    /// Takes an identity from its user, raising the version; `false` if it was not that user's. Never the last way in.
    fn unlink(
        &self,
        account: Account,
        issuer: String,
        subject: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, UnlinkError>>;

    /// Makes a password user that claims an address.
    fn register(
        &self,
        user: NewPasswordUser,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<User, RegisterError>>;

    /// Our signing keys, the oldest first.
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>>;

    /// Adds a signing key; every other one that has no end gets `retire_others_at`. With `only_if_none`, nothing
    /// happens where there is a key already. Whether it was added.
    fn add_signing_key(
        &self,
        key: StoredKey,
        retire_others_at: Timestamp,
        only_if_none: bool,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Compares the check value of our secret with the database's. An empty place takes `ours`; that of `previous` is
    /// replaced by `ours`.
    fn check_secret(
        &self,
        ours: [u8; 32],
        previous: Option<[u8; 32]>,
    ) -> BoxFuture<'_, Result<SecretCheck, StoreError>>;

    /// Removes what is over: sessions and claims past their end, keys past theirs. In chunks, so that logins go on
    /// between them. How many rows went.
    fn prune(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Whether the database answers and takes writes.
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Finishes what is queued and closes. Later verbs are [`StoreError::Unavailable`].
    fn close(&self) -> BoxFuture<'_, ()>;
}
