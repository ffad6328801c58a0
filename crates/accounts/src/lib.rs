//! Users, identities and sessions: who a verified identity is to us, and the verbs that a store offers.
//!
//! Nothing here reads a clock, draws randomness, or awaits anything. [`decide`] is the one rule of who is who;
//! [`Store`] names the acts that a database performs, each of them atomic.

mod decide;
mod email;
mod grants;
mod ids;
mod records;
mod store;

pub use crate::decide::{
    Decision, EmailFact, HostedDomain, IdentityFacts, Intent, Linking, Policy, Refusal, Signup,
    decide,
};
pub use crate::email::{EmailAddress, EmailError, EmailKey};
pub use crate::grants::{
    Code, Grant, HandOver, MAX_GRANTS, NewCode, NewGrant, Redemption, Rotated, Rotation,
    SessionKey, Turn,
};
pub use crate::ids::{
    CodeHash, GrantId, GrantKey, OneTimeCode, SessionHash, SessionId, SessionToken, StateHash,
    UserId,
};
pub use crate::records::{
    Account, Act, Applied, Identity, IdentityRecord, Invitation, Known, NewPasswordUser,
    NewSession, NewUser, PasswordHash, ProviderTokens, Session, SignIn, SignedIn, StoredKey,
    Unlinked, User, UserPage, UserQuery, UserVersion,
};
pub use crate::store::{
    AddKey, ApplyError, BoxFuture, Claim, Decide, InviteError, RedeemError, RegisterError,
    RotateError, SecretCheck, Store, StoreError, UnlinkError,
};
pub use vestibule_oidc::Timestamp;
