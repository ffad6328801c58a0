//! Codes and grants: how a session is found, what hangs on it, and what becomes of a code and of a refresh token.
//!
//! Each function here runs inside of its caller's transaction.

use rusqlite::Connection;
use vestibule_accounts::{
    CodeHash, Grant, GrantId, HandOver, MAX_GRANTS, NewGrant, RedeemError, Redemption, RotateError,
    Rotated, Rotation, SessionId, SessionKey, SignedIn, StoreError, Timestamp, Turn,
};

use super::verbs::{execute, one};
use super::writer::JobError;
use super::{rows, sql};

/// The live session of an active user.
pub(super) fn session(
    connection: &Connection,
    key: SessionKey,
    now: Timestamp,
) -> rusqlite::Result<Option<SignedIn>> {
    let now = now.micros();
    match key {
        SessionKey::Cookie(hash) => one(
            connection,
            sql::SELECT_SESSION,
            (hash.as_bytes(), now),
            rows::signed_in,
        ),
        SessionKey::Id(id) => one(
            connection,
            sql::SELECT_SESSION_BY_ID,
            (id.as_bytes(), now),
            rows::signed_in,
        ),
        SessionKey::Grant(id) => one(
            connection,
            sql::SELECT_SESSION_BY_GRANT,
            (id.as_bytes(), now),
            rows::signed_in,
        ),
    }
}

/// The grant, while it and its session live and the user is active.
pub(super) fn alive(
    connection: &Connection,
    id: GrantId,
    now: Timestamp,
) -> rusqlite::Result<Option<Grant>> {
    let params = (id.as_bytes(), now.micros());
    one(connection, sql::SELECT_GRANT, params, rows::grant)
}

/// Writes what a front end gets in this session.
pub(super) fn hand_over(
    connection: &Connection,
    session: SessionId,
    hand_over: &HandOver,
    now: Timestamp,
) -> rusqlite::Result<()> {
    match hand_over {
        HandOver::Code(code) => {
            let params = (
                code.hash.as_bytes(),
                session.as_bytes(),
                &code.client_id,
                &code.redirect_uri,
                &code.code_challenge,
                code.expires_at.micros(),
            );
            execute(connection, sql::INSERT_CODE, params)?;
            let lapsed = (session.as_bytes(), now.micros());
            execute(connection, sql::DELETE_LAPSED_CODES, lapsed)?;
        }
        HandOver::Grant(grant) => insert(connection, session, grant, now)?,
    }
    Ok(())
}

/// Hangs the codes and grants of one session on another.
pub(super) fn move_over(
    connection: &Connection,
    from: SessionId,
    to: SessionId,
) -> rusqlite::Result<()> {
    let params = (from.as_bytes(), to.as_bytes());
    execute(connection, sql::MOVE_CODES, params)?;
    execute(connection, sql::MOVE_GRANTS, params)?;
    Ok(())
}

/// Whether there is such a code, used or not.
pub(super) fn knows_code(connection: &Connection, hash: CodeHash) -> rusqlite::Result<bool> {
    Ok(one(connection, sql::SELECT_CODE, [hash.as_bytes()], rows::code)?.is_some())
}

/// Redeems a code. A refusal writes nothing.
pub(super) fn redeem(
    connection: &Connection,
    redemption: &Redemption,
) -> Result<SignedIn, JobError<RedeemError>> {
    let (hash, now) = (redemption.hash.as_bytes(), redemption.now);
    let refuse = |error| Err(JobError::Domain(error));
    let Some((of, code)) = one(connection, sql::SELECT_CODE, [hash], rows::code)? else {
        return refuse(RedeemError::Unknown);
    };
    redemption.check(&code).map_err(JobError::Domain)?;
    let Some(mut signed_in) = session(connection, SessionKey::Id(of), now)? else {
        return refuse(RedeemError::Ended);
    };

    let grant = &redemption.grant;
    insert(connection, of, grant, now)?;
    execute(connection, sql::USE_CODE, (hash, grant.id.as_bytes()))?;
    see(connection, &mut signed_in, now)?;
    Ok(signed_in)
}

/// Replaces a refresh token by its successor, or ends the grant of one that was used before. The refusal is what the
/// job answers and not its error: an error would be undone, and bring the grant back.
pub(super) fn rotate(
    connection: &Connection,
    rotation: &Rotation,
) -> Result<Result<Rotated, RotateError>, JobError<StoreError>> {
    let (id, now) = (rotation.grant, rotation.now);
    let Some(grant) = alive(connection, id, now)? else {
        return Ok(Err(RotateError::Ended));
    };
    let Some(mut signed_in) = session(connection, SessionKey::Grant(id), now)? else {
        return Ok(Err(RotateError::Ended));
    };
    let count = match rotation.turn(&grant) {
        Turn::Raise(next) => {
            let params = (id.as_bytes(), next, now.micros());
            execute(connection, sql::ROTATE_GRANT, params)?;
            see(connection, &mut signed_in, now)?;
            next
        }
        Turn::Repeat(count) => count,
        Turn::Reused => {
            execute(connection, sql::DELETE_GRANT, [id.as_bytes()])?;
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

fn insert(
    connection: &Connection,
    session: SessionId,
    grant: &NewGrant,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let params = (
        grant.id.as_bytes(),
        session.as_bytes(),
        &grant.client_id,
        grant.key.expose(),
        now.micros(),
        grant.expires_at.micros(),
    );
    execute(connection, sql::INSERT_GRANT, params)?;
    let params = (session.as_bytes(), &grant.client_id, MAX_GRANTS);
    execute(connection, sql::TRIM_GRANTS, params)?;
    Ok(())
}

/// Writes that a session was seen, and says so in what was read of it.
fn see(connection: &Connection, signed_in: &mut SignedIn, now: Timestamp) -> rusqlite::Result<()> {
    let session = &mut signed_in.session;
    let params = (session.id.as_bytes(), now.micros());
    execute(connection, sql::TOUCH_SESSION, params)?;
    session.last_seen_at = session.last_seen_at.max(now);
    Ok(())
}
