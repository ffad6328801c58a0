//! What a front end is given: a one-time code, and the grant that comes of it. A grant hangs on the session in which it
//! was made and ends with it.

use crate::ids::{CodeHash, GrantId, GrantKey, SessionHash, SessionId};
use crate::records::SignedIn;
use crate::store::RedeemError;
use vestibule_oidc::Timestamp;

/// How many grants one client has in one session at most; the oldest make room. So that nobody who is signed in fills
/// the disk.
pub const MAX_GRANTS: i64 = 100;

/// A one-time code to be made (RFC 6749 section 4.1.2). It can be redeemed by the client that it was made for alone.
#[derive(Clone, Debug)]
pub struct NewCode {
    /// SHA-256 of the code.
    pub hash: CodeHash,
    /// Whom it is for.
    pub client_id: String,
    /// Where it was sent, byte for byte.
    pub redirect_uri: String,
    /// `code_challenge` of the request, method S256 (RFC 7636 section 4.2).
    pub code_challenge: String,
    /// From when it cannot be redeemed any more.
    pub expires_at: Timestamp,
}

/// A grant to be made.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Made by the caller.
    pub id: GrantId,
    /// Whose it is.
    pub client_id: String,
    /// What its refresh tokens are made of.
    pub key: GrantKey,
    /// Its end in any case.
    pub expires_at: Timestamp,
}

/// What a front end gets at the end of a sign-in.
#[derive(Clone, Debug)]
pub enum HandOver {
    /// A code, to be redeemed for tokens.
    Code(NewCode),
    /// A grant at once, for the token that goes with the redirect.
    Grant(NewGrant),
}

/// A grant as a store keeps it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its name.
    pub id: GrantId,
    /// Whose it is.
    pub client_id: String,
    /// What its refresh tokens are made of.
    pub key: GrantKey,
    /// The count of the refresh token that is valid now. It begins with 0, and each rotation raises it by 1.
    pub count: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the count was last raised.
    pub rotated_at: Option<Timestamp>,
    /// Its end in any case.
    pub expires_at: Timestamp,
}

/// What a token request says of a code, and the grant that is to come of it.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// SHA-256 of the code.
    pub hash: CodeHash,
    /// Who asks, authenticated.
    pub client_id: String,
    /// `redirect_uri` of the token request.
    pub redirect_uri: String,
    /// The S256 challenge of the request's `code_verifier`.
    pub code_challenge: String,
    /// The grant to be made.
    pub grant: NewGrant,
    /// The time of the request.
    pub now: Timestamp,
}

/// A code as a store keeps it.
#[derive(Clone, Debug)]
pub struct Code {
    /// Whom it is for.
    pub client_id: String,
    /// Where it was sent.
    pub redirect_uri: String,
    /// `code_challenge` of the authorization request.
    pub code_challenge: String,
    /// From when it cannot be redeemed any more.
    pub expires_at: Timestamp,
    /// Whether it was redeemed.
    pub is_used: bool,
    /// What came of it, where that is still there.
    pub grant: Option<GrantId>,
}

impl Redemption {
    /// Whether the code may be redeemed so, as long as its session lives. A refusal writes nothing.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check(&self, code: &Code) -> Result<(), RedeemError> {
        // RFC 6749 section 4.1.3: issued to this client, and to this redirect_uri. Whoever only found a code in a log
        // learns nothing more about it, and cannot use it up.
        if code.client_id != self.client_id {
            return Err(RedeemError::OtherClient);
        }
        if code.redirect_uri != self.redirect_uri {
            return Err(RedeemError::OtherRedirectUri);
        }
        // RFC 7636 section 4.6.
        if code.code_challenge != self.code_challenge {
            return Err(RedeemError::Verifier);
        }
        // RFC 6749 section 4.1.2: what came of a code that comes again should end, also after the code's end.
        if code.is_used {
            return Err(RedeemError::Used(code.grant));
        }
        if code.expires_at <= self.now {
            return Err(RedeemError::Expired);
        }
        Ok(())
    }
}

/// A refresh token that was found genuine, to be replaced by its successor.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The grant that the token names.
    pub grant: GrantId,
    /// The count of the token.
    pub count: u32,
    /// How long after a rotation the predecessor still gets the same successor, in seconds.
    pub grace_seconds: i64,
    /// The time of the request.
    pub now: Timestamp,
}

/// What becomes of a live grant when a refresh token of its comes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// The token is the valid one: the count is raised to this.
    Raise(u32),
    /// The token was rotated just now: its successor, which has this count, is told once more, and nothing is written.
    Repeat(u32),
    /// The token was used before: the grant ends.
    Reused,
    /// No token of ours has this count: nothing changes.
    Unknown,
}

impl Rotation {
    /// What becomes of this grant, which lives.
    #[must_use]
    pub fn turn(&self, grant: &Grant) -> Turn {
        if self.count > grant.count {
            return Turn::Unknown;
        }
        if self.count == grant.count {
            return grant
                .count
                .checked_add(1)
                .map_or(Turn::Unknown, Turn::Raise);
        }
        let is_in_grace = grant
            .rotated_at
            .is_some_and(|at| self.now <= at.plus_seconds(self.grace_seconds));
        if self.count + 1 == grant.count && is_in_grace {
            // A client's own race, or an answer that got lost: the same successor, and no later end of the grace.
            return Turn::Repeat(grant.count);
        }
        Turn::Reused
    }
}

/// What a rotation left behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rotated {
    /// The session and its active user, read in the same transaction.
    pub signed_in: SignedIn,
    /// The count of the successor.
    pub count: u32,
    /// The grant's end in any case.
    pub expires_at: Timestamp,
}

/// How a live session is found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SessionKey {
    /// By the hash of its cookie.
    Cookie(SessionHash),
    /// By its public name.
    Id(SessionId),
    /// As the one that a live grant hangs on.
    Grant(GrantId),
}
