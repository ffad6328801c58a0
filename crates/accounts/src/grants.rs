//! What a front end is given: a one-time code, and the grant that comes of it. A grant hangs on the session in which it
//! was made and ends with it.

use crate::ids::{CodeHash, GrantId, GrantKey, SessionHash, SessionId};
use crate::records::SignedIn;
use vestibule_oidc::Timestamp;

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
