//! The rows: what a store keeps about users, identities, sessions and keys, and what it is asked to write.

use core::fmt;

use zeroize::Zeroizing;

use crate::email::{EmailAddress, EmailKey};
use crate::grants::HandOver;
use crate::ids::{SessionHash, SessionId, StateHash, UserId};
use vestibule_oidc::Timestamp;

/// Raised by every verb that changes a person's ways in, address or state. A decision carries the version that it
/// was made on and is applied only where that still holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UserVersion(pub i64);

/// A user as a decision sees one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    /// Who it is.
    pub user: UserId,
    /// What the decision is made on.
    pub version: UserVersion,
    /// Whether the operator lets this user in.
    pub is_active: bool,
}

/// A person to us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The public id.
    pub id: UserId,
    /// See [`UserVersion`].
    pub version: UserVersion,
    /// The address that this user owns: verified, and of nobody else.
    pub email: Option<EmailAddress>,
    /// An address that this user claims with a password and has not proved. It owns nothing.
    pub claimed_email: Option<EmailAddress>,
    /// Whether there is a password to sign in with.
    pub has_password: bool,
    /// The display name.
    pub name: Option<String>,
    /// An https URL of a picture; never fetched by us.
    pub picture: Option<String>,
    /// Whether the operator lets this user in.
    pub is_active: bool,
    /// Whether this user may administer others.
    pub is_superuser: bool,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl User {
    /// The user as a decision sees one.
    #[must_use]
    pub fn account(&self) -> Account {
        Account {
            user: self.id,
            version: self.version,
            is_active: self.is_active,
        }
    }
}

/// One way in: a subject at an issuer, and what that issuer last said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// Whose it is.
    pub user: UserId,
    /// What the provider said at the last sign-in.
    pub record: IdentityRecord,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub last_used_at: Timestamp,
}

/// What a provider says of a person. The key is (`issuer`, `subject`); all the rest may change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityRecord {
    /// The issuer, byte for byte.
    pub issuer: String,
    /// The subject at that issuer, case-sensitive.
    pub subject: String,
    /// The provider's label in the configuration at the last sign-in.
    pub provider: String,
    /// The claimed address as text; it owns nothing.
    pub email: Option<String>,
    /// Whether the provider called that address verified.
    pub email_verified: bool,
    /// The display name.
    pub name: Option<String>,
    /// An https URL of a picture.
    pub picture: Option<String>,
}

/// A signed-in browser.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// The public name, `sid` in our tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The provider's label at the sign-in.
    pub provider: String,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When it was last seen, to the hour.
    pub last_seen_at: Timestamp,
    /// The end in any case.
    pub expires_at: Timestamp,
    /// Idle time after which it ends, in seconds.
    pub idle_seconds: i64,
}

/// A live session and its active user, read together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedIn {
    /// The session.
    pub session: Session,
    /// Its user, active at the time of the read.
    pub user: User,
}

/// What a store knows that bears on a verified identity. Where the identity belongs to somebody, that decides, and a
/// store need not look for the address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// The user that this identity belongs to.
    pub identity: Option<Account>,
    /// The user that owns the address.
    pub owner: Option<Account>,
    /// An unverified password user that claims the address; the oldest where there are several.
    pub claimant: Option<Account>,
    /// Whether there is an invitation for the address that has not expired.
    pub invited: bool,
    /// Whether `owner` has taken this identity away, and has not added it again since.
    pub taken_away: bool,
}

/// Leave to sign up for whoever comes with this address, verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invitation {
    /// The address as the operator wrote it.
    pub email: EmailAddress,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it lets nobody in.
    pub expires_at: Timestamp,
}

/// A user to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewUser {
    /// Made by the caller.
    pub id: UserId,
    /// The address that it will own, verified.
    pub email: Option<EmailAddress>,
    /// The display name.
    pub name: Option<String>,
    /// An https URL of a picture.
    pub picture: Option<String>,
}

/// A password user to be made; it claims its address and owns none.
#[derive(Clone, Debug)]
pub struct NewPasswordUser {
    /// Made by the caller.
    pub id: UserId,
    /// The address that it claims.
    pub claimed_email: EmailAddress,
    /// The hash to verify the password with.
    pub password_hash: PasswordHash,
}

/// A password's hash in PHC string form.
#[derive(Clone)]
pub struct PasswordHash(Zeroizing<String>);

impl PasswordHash {
    /// A hash made elsewhere.
    #[must_use]
    pub fn new(phc: String) -> Self {
        Self(Zeroizing::new(phc))
    }

    /// The PHC string. The only door out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A session to be made.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Made by the caller.
    pub id: SessionId,
    /// SHA-256 of the cookie's secret.
    pub hash: SessionHash,
    /// The provider's label.
    pub provider: String,
    /// The end in any case.
    pub expires_at: Timestamp,
    /// Idle time after which it ends, in seconds.
    pub idle_seconds: i64,
}

/// What is to become of the user, as decided.
#[derive(Clone, Debug)]
pub enum Act {
    /// The identity is this user's: refresh its claims.
    SignIn(Account),
    /// Make the user and the identity. `evict` is the claimant whose password, sessions, pending changes and claim go.
    /// An invitation for the address that the user owns is used up in any case.
    Create {
        /// The user to be made.
        user: NewUser,
        /// The claimant who loses the address, as it was decided on.
        evict: Option<Account>,
        /// Whether it was decided on an invitation, which must still be there.
        by_invitation: bool,
    },
    /// Give this user the identity.
    Link(Account),
}

/// A whole sign-in, written in one transaction.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// What becomes of the user.
    pub act: Act,
    /// What the provider said.
    pub identity: IdentityRecord,
    /// What the provider gave to keep, sealed; `None` leaves what is kept as it is.
    pub provider_tokens: Option<Vec<u8>>,
    /// The session that must live, and be the acting user's, when this is written: adding a way in. A user who is only
    /// being made has none.
    pub requires: Option<SessionHash>,
    /// The session that begins.
    pub session: NewSession,
    /// The browser's old session, which ends. What it gave to front ends goes over to the new one where it lives and
    /// both are the same user's, and ends with it where not.
    pub replaces: Option<SessionHash>,
    /// What a front end gets, in the same transaction.
    pub hand_over: Option<HandOver>,
    /// The attempt's claim, written beside the session.
    pub claim: StateHash,
    /// The time of the sign-in.
    pub now: Timestamp,
}

/// What [`SignIn`] left behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// The user who is signed in.
    pub user: User,
    /// The session that ended in favour of the new one.
    pub replaced: Option<SessionId>,
    /// The user's ways in, where the store had them at hand.
    pub identities: Option<Vec<Identity>>,
}

/// What a provider gave to keep for one identity: its refresh token, for example.
#[derive(Clone, Eq, PartialEq)]
pub struct ProviderTokens {
    /// The issuer of the identity.
    pub issuer: String,
    /// The subject of the identity.
    pub subject: String,
    /// The provider's label in the configuration at the identity's last sign-in.
    pub provider: String,
    /// The tokens, sealed for rest.
    pub sealed: Vec<u8>,
    /// Another one with every change, and never again an earlier one.
    pub version: i64,
}

impl fmt::Debug for ProviderTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderTokens")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("provider", &self.provider)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What an identity that was unlinked left behind.
#[derive(Clone, Eq, PartialEq)]
pub struct Unlinked {
    /// What was kept for it, sealed, to be revoked at the provider. The database has it no longer.
    pub provider_tokens: Option<Vec<u8>>,
}

impl fmt::Debug for Unlinked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unlinked(..)")
    }
}

/// One of our signing keys, its private part sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredKey {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// The JWS algorithm's name.
    pub algorithm: String,
    /// The private key, sealed for rest.
    pub sealed: Vec<u8>,
    /// The public JWK as JSON.
    pub public_jwk: String,
    /// When it was made (and published).
    pub created_at: Timestamp,
    /// From when it signs.
    pub active_from: Timestamp,
    /// From when it is no longer published.
    pub retired_at: Option<Timestamp>,
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserQuery {
    /// Part of the address or the name, in any case.
    pub search: Option<String>,
    /// The user with exactly this address, whatever its spelling.
    pub email: Option<EmailKey>,
    /// Only users made after this one.
    pub after: Option<UserId>,
    /// How many at the most.
    pub limit: u32,
}

/// One page of users, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct UserPage {
    /// The users.
    pub users: Vec<User>,
    /// Where the next page begins, if there is one.
    pub next: Option<UserId>,
}
