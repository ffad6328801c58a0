//! Rows into records. What does not fit was never written by us.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;
use vestibule_accounts::{
    Account, Code, EmailAddress, Grant, GrantId, GrantKey, Identity, IdentityRecord, Invitation,
    ProviderTokens, Session, SessionId, SignedIn, StoreError, StoredKey, Timestamp, User, UserId,
    UserVersion,
};

type Result<T> = core::result::Result<T, StoreError>;

/// One column.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at)
        .map_err(|error| StoreError::Corrupt(super::run::told(&error)))
}

fn time(row: &Row, at: usize) -> Result<Timestamp> {
    Ok(Timestamp::from_micros(get(row, at)?))
}

fn bytes16(row: &Row, at: usize) -> Result<[u8; 16]> {
    Ok(get::<Uuid>(row, at)?.into_bytes())
}

fn email(row: &Row, at: usize) -> Result<Option<EmailAddress>> {
    get::<Option<&str>>(row, at)?.map(parsed).transpose()
}

fn parsed(text: &str) -> Result<EmailAddress> {
    EmailAddress::parse(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(super) fn account(row: &Row) -> Result<Account> {
    Ok(Account {
        user: UserId::from_bytes(bytes16(row, 0)?),
        version: UserVersion(get(row, 1)?),
        is_active: get(row, 2)?,
    })
}

pub(super) fn user(row: &Row) -> Result<User> {
    Ok(User {
        id: UserId::from_bytes(bytes16(row, 0)?),
        version: UserVersion(get(row, 1)?),
        email: email(row, 2)?,
        claimed_email: email(row, 3)?,
        has_password: get(row, 4)?,
        name: get(row, 5)?,
        picture: get(row, 6)?,
        is_active: get(row, 7)?,
        is_superuser: get(row, 8)?,
        created_at: time(row, 9)?,
        updated_at: time(row, 10)?,
    })
}

pub(super) fn signed_in(row: &Row) -> Result<SignedIn> {
    let user = user(row)?;
    Ok(SignedIn {
        session: Session {
            id: SessionId::from_bytes(bytes16(row, 11)?),
            user: user.id,
            provider: get(row, 12)?,
            created_at: time(row, 13)?,
            last_seen_at: time(row, 14)?,
            expires_at: time(row, 15)?,
            idle_seconds: get(row, 16)?,
        },
        user,
    })
}

pub(super) fn identity(row: &Row) -> Result<Identity> {
    Ok(Identity {
        user: UserId::from_bytes(bytes16(row, 0)?),
        record: IdentityRecord {
            issuer: get(row, 1)?,
            subject: get(row, 2)?,
            provider: get(row, 3)?,
            email: get(row, 4)?,
            email_verified: get(row, 5)?,
            name: get(row, 6)?,
            picture: get(row, 7)?,
        },
        created_at: time(row, 8)?,
        last_used_at: time(row, 9)?,
    })
}

pub(super) fn provider_tokens(row: &Row) -> Result<ProviderTokens> {
    Ok(ProviderTokens {
        issuer: get(row, 0)?,
        subject: get(row, 1)?,
        provider: get(row, 2)?,
        sealed: get(row, 3)?,
        version: get(row, 4)?,
    })
}

pub(super) fn invitation(row: &Row) -> Result<Invitation> {
    Ok(Invitation {
        email: parsed(get(row, 0)?)?,
        created_at: time(row, 1)?,
        expires_at: time(row, 2)?,
    })
}

pub(super) fn key(row: &Row) -> Result<StoredKey> {
    Ok(StoredKey {
        kid: get(row, 0)?,
        algorithm: get(row, 1)?,
        sealed: get(row, 2)?,
        public_jwk: get(row, 3)?,
        created_at: time(row, 4)?,
        active_from: time(row, 5)?,
        retired_at: get::<Option<i64>>(row, 6)?.map(Timestamp::from_micros),
    })
}

/// A code, and the session that it hangs on. `grant` is what it was redeemed as, there or not.
pub(super) fn code(row: &Row) -> Result<(SessionId, Code)> {
    let grant: Option<Uuid> = get(row, 5)?;
    let code = Code {
        client_id: get(row, 1)?,
        redirect_uri: get(row, 2)?,
        code_challenge: get(row, 3)?,
        expires_at: time(row, 4)?,
        is_used: grant.is_some(),
        grant: grant.map(|id| GrantId::from_bytes(id.into_bytes())),
    };
    Ok((SessionId::from_bytes(bytes16(row, 0)?), code))
}

pub(super) fn grant(row: &Row) -> Result<Grant> {
    let key: &[u8] = get(row, 2)?;
    let key: [u8; 32] = key
        .try_into()
        .map_err(|_| StoreError::Corrupt("the key of a grant has not 32 bytes".into()))?;
    let count = u32::try_from(get::<i64>(row, 3)?)
        .map_err(|_| StoreError::Corrupt("the count of a grant is none".into()))?;
    Ok(Grant {
        id: GrantId::from_bytes(bytes16(row, 0)?),
        client_id: get(row, 1)?,
        key: GrantKey::new(key),
        count,
        created_at: time(row, 4)?,
        rotated_at: get::<Option<i64>>(row, 5)?.map(Timestamp::from_micros),
        expires_at: time(row, 6)?,
    })
}
