//! A store whose first readers all read before any of them writes: the worst moment for a decision, every time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Barrier;
use vestibule::accounts::{
    Account, AddKey, Applied, ApplyError, BoxFuture, Claim, EmailKey, Grant, GrantId, HandOver,
    Identity, Invitation, InviteError, Known, NewPasswordUser, ProviderTokens, RedeemError,
    Redemption, RegisterError, RotateError, Rotated, Rotation, SecretCheck, SessionHash, SessionId,
    SessionKey, SignIn, SignedIn, StateHash, Store, StoreError, StoredKey, Timestamp, UnlinkError,
    Unlinked, User, UserId, UserPage, UserQuery,
};
use vestibule_store::SqliteStore;

pub(crate) struct Together {
    store: SqliteStore,
    readers: usize,
    read: AtomicUsize,
    all_have_read: Barrier,
}

impl Together {
    pub(crate) fn new(store: SqliteStore, readers: usize) -> Self {
        Self {
            store,
            readers,
            read: AtomicUsize::new(0),
            all_have_read: Barrier::new(readers),
        }
    }
}

/// Passes verbs on as they are.
macro_rules! pass_on {
    ($(fn $verb:ident($($name:ident: $type:ty),*) -> $output:ty;)+) => {
        $(fn $verb(&self, $($name: $type),*) -> BoxFuture<'_, $output> {
            self.store.$verb($($name),*)
        })+
    };
}

impl Store for Together {
    fn known(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Known, StoreError>> {
        Box::pin(async move {
            let known = self.store.known(issuer, subject, email, now).await;
            if self.read.fetch_add(1, Ordering::SeqCst) < self.readers {
                self.all_have_read.wait().await;
            }
            known
        })
    }

    pass_on! {
        fn claim_state(state: StateHash, now: Timestamp) -> Result<Claim, StoreError>;
        fn apply(sign_in: SignIn) -> Result<Applied, ApplyError>;
        fn session(key: SessionKey, now: Timestamp) -> Result<Option<SignedIn>, StoreError>;
        fn touch_session(id: SessionId, now: Timestamp) -> Result<(), StoreError>;
        fn end_session(hash: SessionHash) -> Result<Option<SessionId>, StoreError>;
        fn hand_over(session: SessionId, hand_over: HandOver, now: Timestamp) -> Result<bool, StoreError>;
        fn redeem_code(redemption: Redemption) -> Result<SignedIn, RedeemError>;
        fn grant(id: GrantId, now: Timestamp) -> Result<Option<Grant>, StoreError>;
        fn rotate_grant(rotation: Rotation) -> Result<Rotated, RotateError>;
        fn end_grant(id: GrantId, client_id: String) -> Result<bool, StoreError>;
        fn user(id: UserId) -> Result<Option<User>, StoreError>;
        fn users(query: UserQuery) -> Result<UserPage, StoreError>;
        fn identities(user: UserId) -> Result<Vec<Identity>, StoreError>;
        fn set_active(user: UserId, active: bool, now: Timestamp) -> Result<Option<User>, StoreError>;
        fn set_superuser(user: UserId, superuser: bool, now: Timestamp) -> Result<Option<User>, StoreError>;
        fn unlink(account: Account, issuer: String, subject: String, keep: Option<SessionId>, now: Timestamp) -> Result<Option<Unlinked>, UnlinkError>;
        fn provider_tokens(user: UserId) -> Result<Vec<ProviderTokens>, StoreError>;
        fn lease_provider_tokens(issuer: String, subject: String, version: i64, until: Timestamp, now: Timestamp) -> Result<bool, StoreError>;
        fn replace_provider_tokens(issuer: String, subject: String, version: i64, sealed: Option<Vec<u8>>, now: Timestamp) -> Result<bool, StoreError>;
        fn register(user: NewPasswordUser, now: Timestamp) -> Result<User, RegisterError>;
        fn invite(invitation: Invitation) -> Result<(), InviteError>;
        fn invitations(after: Option<Invitation>, limit: u32) -> Result<Vec<Invitation>, StoreError>;
        fn withdraw_invitation(email: EmailKey) -> Result<bool, StoreError>;
        fn signing_keys() -> Result<Vec<StoredKey>, StoreError>;
        fn add_signing_key(key: StoredKey, retire_others_at: Timestamp, add: AddKey) -> Result<bool, StoreError>;
        fn revoke_signing_key(kid: String, replacement: StoredKey, now: Timestamp) -> Result<bool, StoreError>;
        fn check_secret(ours: [u8; 32], previous: Option<[u8; 32]>) -> Result<SecretCheck, StoreError>;
        fn prune(now: Timestamp) -> Result<u64, StoreError>;
        fn ready() -> Result<(), StoreError>;
        fn close() -> ();
    }
}
