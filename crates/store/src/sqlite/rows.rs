//! Rows into records.

use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use vestibule_accounts::{
    Account, Code, EmailAddress, Grant, GrantId, GrantKey, Identity, IdentityRecord, Invitation,
    ProviderTokens, Session, SessionId, SignedIn, StoredKey, Timestamp, User, UserId, UserVersion,
};

fn time(row: &Row<'_>, at: usize) -> Result<Timestamp> {
    Ok(Timestamp::from_micros(row.get(at)?))
}

fn email(row: &Row<'_>, at: usize) -> Result<Option<EmailAddress>> {
    let text: Option<String> = row.get(at)?;
    text.map(|text| parsed(&text, at)).transpose()
}

fn parsed(text: &str, at: usize) -> Result<EmailAddress> {
    EmailAddress::parse(text)
        .map_err(|error| Error::FromSqlConversionFailure(at, Type::Text, Box::new(error)))
}

pub(super) fn account(row: &Row<'_>) -> Result<Account> {
    Ok(Account {
        user: UserId::from_bytes(row.get(0)?),
        version: UserVersion(row.get(1)?),
        is_active: row.get(2)?,
    })
}

pub(super) fn user(row: &Row<'_>) -> Result<User> {
    Ok(User {
        id: UserId::from_bytes(row.get(0)?),
        version: UserVersion(row.get(1)?),
        email: email(row, 2)?,
        claimed_email: email(row, 3)?,
        has_password: row.get(4)?,
        name: row.get(5)?,
        picture: row.get(6)?,
        is_active: row.get(7)?,
        is_superuser: row.get(8)?,
        created_at: time(row, 9)?,
        updated_at: time(row, 10)?,
    })
}

pub(super) fn signed_in(row: &Row<'_>) -> Result<SignedIn> {
    let user = user(row)?;
    Ok(SignedIn {
        session: Session {
            id: SessionId::from_bytes(row.get(11)?),
            user: user.id,
            provider: row.get(12)?,
            created_at: time(row, 13)?,
            last_seen_at: time(row, 14)?,
            expires_at: time(row, 15)?,
            idle_seconds: row.get(16)?,
        },
        user,
    })
}

pub(super) fn identity(row: &Row<'_>) -> Result<Identity> {
    Ok(Identity {
        user: UserId::from_bytes(row.get(0)?),
        record: IdentityRecord {
            issuer: row.get(1)?,
            subject: row.get(2)?,
            provider: row.get(3)?,
            email: row.get(4)?,
            email_verified: row.get(5)?,
            name: row.get(6)?,
            picture: row.get(7)?,
        },
        created_at: time(row, 8)?,
        last_used_at: time(row, 9)?,
    })
}

pub(super) fn provider_tokens(row: &Row<'_>) -> Result<ProviderTokens> {
    Ok(ProviderTokens {
        issuer: row.get(0)?,
        subject: row.get(1)?,
        provider: row.get(2)?,
        sealed: row.get(3)?,
        version: row.get(4)?,
    })
}

pub(super) fn invitation(row: &Row<'_>) -> Result<Invitation> {
    Ok(Invitation {
        email: parsed(&row.get::<_, String>(0)?, 0)?,
        created_at: time(row, 1)?,
        expires_at: time(row, 2)?,
    })
}

pub(super) fn key(row: &Row<'_>) -> Result<StoredKey> {
    Ok(StoredKey {
        kid: row.get(0)?,
        algorithm: row.get(1)?,
        sealed: row.get(2)?,
        public_jwk: row.get(3)?,
        created_at: time(row, 4)?,
        active_from: time(row, 5)?,
        retired_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros),
    })
}

/// A code, and the session that it hangs on.
pub(super) fn code(row: &Row<'_>) -> Result<(SessionId, Code)> {
    let code = Code {
        client_id: row.get(1)?,
        redirect_uri: row.get(2)?,
        code_challenge: row.get(3)?,
        expires_at: time(row, 4)?,
        is_used: row.get(5)?,
        grant: row.get::<_, Option<[u8; 16]>>(6)?.map(GrantId::from_bytes),
    };
    Ok((SessionId::from_bytes(row.get(0)?), code))
}

pub(super) fn grant(row: &Row<'_>) -> Result<Grant> {
    Ok(Grant {
        id: GrantId::from_bytes(row.get(0)?),
        client_id: row.get(1)?,
        key: GrantKey::new(row.get(2)?),
        count: row.get(3)?,
        created_at: time(row, 4)?,
        rotated_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_micros),
        expires_at: time(row, 6)?,
    })
}

pub(super) fn session_id(row: &Row<'_>) -> Result<SessionId> {
    Ok(SessionId::from_bytes(row.get(0)?))
}
