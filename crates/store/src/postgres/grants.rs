//! Codes and grants: how a session is found, what hangs on it, and what becomes of a code and of a refresh token.
//!
//! Each function here runs inside of its caller's transaction.

use uuid::Uuid;
use vestibule_accounts::{
    Grant, GrantId, HandOver, MAX_GRANTS, NewGrant, RedeemError, Redemption, RotateError, Rotated,
    Rotation, SessionId, SessionKey, SignedIn, Timestamp, Turn,
};

use super::rows;
use super::run::{JobError, Tx, params};

/// How often a row is looked for that was moved to another session while we waited for its lock.
const LOOKS: u32 = 3;

/// The live session of an active user.
pub(super) async fn session<E>(
    tx: &Tx<'_>,
    key: SessionKey,
    now: Timestamp,
) -> Result<Option<SignedIn>, JobError<E>> {
    let (sql, now) = (tx.sql(), now.micros());
    let row = match key {
        SessionKey::Cookie(hash) => {
            let params = params![hash.as_bytes().as_slice(), now];
            tx.one(&sql.select_session, params).await?
        }
        SessionKey::Id(id) => {
            let params = params![Uuid::from_bytes(*id.as_bytes()), now];
            tx.one(&sql.select_session_by_id, params).await?
        }
        SessionKey::Grant(id) => {
            let params = params![Uuid::from_bytes(*id.as_bytes()), now];
            tx.one(&sql.select_session_by_grant, params).await?
        }
    };
    Ok(row.as_ref().map(rows::signed_in).transpose()?)
}

/// The grant, while it and its session live and the user is active.
pub(super) async fn alive<E>(
    tx: &Tx<'_>,
    id: GrantId,
    now: Timestamp,
) -> Result<Option<Grant>, JobError<E>> {
    let params = params![Uuid::from_bytes(*id.as_bytes()), now.micros()];
    let row = tx.one(&tx.sql().select_grant, params).await?;
    Ok(row.as_ref().map(rows::grant).transpose()?)
}

/// Writes what a front end gets in this session.
pub(super) async fn hand_over<E>(
    tx: &Tx<'_>,
    session: SessionId,
    hand_over: &HandOver,
    now: Timestamp,
) -> Result<(), JobError<E>> {
    match hand_over {
        HandOver::Code(code) => {
            let params = params![
                code.hash.as_bytes().as_slice(),
                Uuid::from_bytes(*session.as_bytes()),
                code.client_id,
                code.redirect_uri,
                code.code_challenge,
                code.expires_at.micros(),
            ];
            tx.execute(&tx.sql().insert_code, params).await?;
            let lapsed = params![Uuid::from_bytes(*session.as_bytes()), now.micros()];
            tx.execute(&tx.sql().delete_lapsed_codes, lapsed).await?;
        }
        HandOver::Grant(grant) => insert(tx, session, grant, now).await?,
    }
    Ok(())
}

/// Whether what a front end was to get is there.
pub(super) async fn was_handed_over<E>(
    tx: &Tx<'_>,
    hand_over: &HandOver,
) -> Result<bool, JobError<E>> {
    Ok(match hand_over {
        HandOver::Code(code) => {
            let params = params![code.hash.as_bytes().as_slice()];
            tx.asks(&tx.sql().has_code, params).await?
        }
        HandOver::Grant(grant) => has(tx, grant.id).await?,
    })
}

/// Whether a grant is there, alive or not.
pub(super) async fn has<E>(tx: &Tx<'_>, id: GrantId) -> Result<bool, JobError<E>> {
    let params = params![Uuid::from_bytes(*id.as_bytes())];
    Ok(tx.asks(&tx.sql().has_grant, params).await?)
}

/// Hangs the codes and grants of one session on another.
pub(super) async fn move_over<E>(
    tx: &Tx<'_>,
    from: Uuid,
    to: SessionId,
) -> Result<(), JobError<E>> {
    let to = Uuid::from_bytes(*to.as_bytes());
    tx.execute(&tx.sql().move_codes, params![from, to]).await?;
    tx.execute(&tx.sql().move_grants, params![from, to]).await?;
    Ok(())
}

/// Redeems a code. A refusal writes nothing.
pub(super) async fn redeem(
    tx: &Tx<'_>,
    redemption: &Redemption,
) -> Result<SignedIn, JobError<RedeemError>> {
    let (sql, now) = (tx.sql(), redemption.now);
    let hash = redemption.hash.as_bytes().as_slice();
    let mut looks = 0;
    let (of, mut code) = loop {
        if let Some(row) = tx.one(&sql.lock_code, params![hash]).await? {
            break rows::code(&row)?;
        }
        looks += 1;
        // A sign-in that replaces the session takes the code over to the new one.
        if looks == LOOKS || !tx.asks(&sql.has_code, params![hash]).await? {
            return Err(JobError::Domain(RedeemError::Unknown));
        }
    };
    if let Some(grant) = code.grant
        && !has(tx, grant).await?
    {
        code.grant = None;
    }
    redemption.check(&code).map_err(JobError::Domain)?;
    let Some(mut signed_in) = session(tx, SessionKey::Id(of), now).await? else {
        return Err(JobError::Domain(RedeemError::Ended));
    };

    let grant = &redemption.grant;
    insert(tx, of, grant, now).await?;
    let params = params![hash, Uuid::from_bytes(*grant.id.as_bytes())];
    tx.execute(&sql.use_code, params).await?;
    see(tx, &mut signed_in, now).await?;
    Ok(signed_in)
}

/// Whether this redemption is the one that used the code.
pub(super) async fn was_redeemed<E>(
    tx: &Tx<'_>,
    redemption: &Redemption,
) -> Result<bool, JobError<E>> {
    let params = params![
        redemption.hash.as_bytes().as_slice(),
        Uuid::from_bytes(*redemption.grant.id.as_bytes()),
    ];
    Ok(tx.asks(&tx.sql().has_code_used_for, params).await?)
}

/// Replaces a refresh token by its successor, or ends the grant of one that was used before. The refusal is what the
/// work answers and not its error: an error would be undone, and bring the grant back.
pub(super) async fn rotate<E>(
    tx: &Tx<'_>,
    rotation: &Rotation,
) -> Result<Result<Rotated, RotateError>, JobError<E>> {
    let (sql, now) = (tx.sql(), rotation.now);
    let id = Uuid::from_bytes(*rotation.grant.as_bytes());
    let mut looks = 0;
    while tx.one(&sql.lock_grant, params![id]).await?.is_none() {
        looks += 1;
        // A sign-in that replaces the session takes the grant over to the new one.
        if looks == LOOKS || !has(tx, rotation.grant).await? {
            return Ok(Err(RotateError::Ended));
        }
    }
    let Some(grant) = alive(tx, rotation.grant, now).await? else {
        return Ok(Err(RotateError::Ended));
    };
    let Some(mut signed_in) = session(tx, SessionKey::Grant(rotation.grant), now).await? else {
        return Ok(Err(RotateError::Ended));
    };
    let count = match rotation.turn(&grant) {
        Turn::Raise(next) => {
            let params = params![id, i64::from(next), now.micros()];
            tx.execute(&sql.rotate_grant, params).await?;
            see(tx, &mut signed_in, now).await?;
            next
        }
        Turn::Repeat(count) => count,
        Turn::Reused => {
            tx.execute(&sql.delete_grant, params![id]).await?;
            return Ok(Err(RotateError::Reused));
        }
        Turn::Unknown => return Ok(Err(RotateError::Ended)),
    };
    Ok(Ok(Rotated {
        signed_in,
        count,
        expires_at: grant.expires_at,
    }))
}

/// Whether what a rotation answers is what the database holds.
pub(super) async fn was_rotated<E>(
    tx: &Tx<'_>,
    rotation: &Rotation,
    answer: &Result<Rotated, RotateError>,
) -> Result<bool, JobError<E>> {
    match answer {
        Ok(rotated) => {
            let params = params![
                Uuid::from_bytes(*rotation.grant.as_bytes()),
                i64::from(rotated.count),
            ];
            Ok(tx.asks(&tx.sql().has_grant_of_count, params).await?)
        }
        Err(_) => Ok(!has(tx, rotation.grant).await?),
    }
}

async fn insert<E>(
    tx: &Tx<'_>,
    session: SessionId,
    grant: &NewGrant,
    now: Timestamp,
) -> Result<(), JobError<E>> {
    let params = params![
        Uuid::from_bytes(*grant.id.as_bytes()),
        Uuid::from_bytes(*session.as_bytes()),
        grant.client_id,
        grant.key.expose().as_slice(),
        now.micros(),
        grant.expires_at.micros(),
    ];
    tx.execute(&tx.sql().insert_grant, params).await?;
    let session = Uuid::from_bytes(*session.as_bytes());
    let params = params![session, grant.client_id, MAX_GRANTS];
    tx.execute(&tx.sql().trim_grants, params).await?;
    Ok(())
}

/// Writes that a session was seen, and says so in what was read of it.
async fn see<E>(tx: &Tx<'_>, signed_in: &mut SignedIn, now: Timestamp) -> Result<(), JobError<E>> {
    let session = &mut signed_in.session;
    let params = params![Uuid::from_bytes(*session.id.as_bytes()), now.micros()];
    tx.execute(&tx.sql().touch_session, params).await?;
    session.last_seen_at = session.last_seen_at.max(now);
    Ok(())
}
