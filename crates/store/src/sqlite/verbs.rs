//! The verbs: each one job of the writer, or one read.

use std::sync::PoisonError;

use rusqlite::{Connection, OptionalExtension as _, Params};
use vestibule_accounts::{
    Account, Act, AddKey, Applied, ApplyError, BoxFuture, Claim, Decide, EmailKey, Grant, GrantId,
    HandOver, Identity, IdentityRecord, Invitation, InviteError, Known, NewPasswordUser,
    ProviderTokens, RedeemError, Redemption, RegisterError, RotateError, Rotated, Rotation,
    SecretCheck, SessionHash, SessionId, SessionKey, SignIn, SignedIn, StateHash, Store,
    StoreError, StoredKey, Timestamp, UnlinkError, Unlinked, User, UserId, UserPage, UserQuery,
};

use super::claims::REMEMBER;
use super::writer::JobError;
use super::{Readers, SqliteStore, grants, rows, sql, unavailable};

/// How many rows one pruning job removes, so that logins go on between two.
const PRUNE_ROWS: usize = 500;
/// How long a code is remembered after its end, in seconds: one that comes again must be known as used.
const REMEMBER_CODES: i64 = 86_400;
/// How many rows a page holds at most.
const MAX_PAGE: u32 = 1_000;

impl Readers {
    /// A point read, where it is asked.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.check_open()?;
        read(&self.get()).map_err(|error| unavailable(&error))
    }
}

pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(params)
}

pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    row: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection
        .prepare_cached(sql)?
        .query_row(params, row)
        .optional()
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    row: fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map(params, row)?
        .collect()
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    matches!(error, rusqlite::Error::SqliteFailure(failure, _) if matches!(failure.extended_code, SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_UNIQUE))
}

/// A row that must be new: a unique key, never an earlier read, says whether it is.
fn insert_new(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<(), JobError<ApplyError>> {
    match execute(connection, sql, params) {
        Ok(_) => Ok(()),
        Err(error) if is_unique_violation(&error) => Err(JobError::Domain(ApplyError::Conflict)),
        Err(error) => Err(error.into()),
    }
}

/// What bears on an identity and its verified address.
fn known(
    connection: &Connection,
    issuer: &str,
    subject: &str,
    email: Option<&EmailKey>,
    now: Timestamp,
) -> rusqlite::Result<Known> {
    let mut select = connection.prepare_cached(sql::SELECT_KNOWN)?;
    let mut found = select.query((issuer, subject, email.map(EmailKey::as_str), now.micros()))?;
    let mut known = Known::default();
    while let Some(row) = found.next()? {
        match row.get(3)? {
            0 => {
                known.identity = Some(rows::account(row)?);
                // Whose address it is decides nothing for an identity that is known.
                break;
            }
            1 => known.owner = Some(rows::account(row)?),
            2 => known.claimant = Some(rows::account(row)?),
            3 => known.invited = true,
            _ => known.taken_away = true,
        }
    }
    Ok(known)
}

fn identities(connection: &Connection, user: UserId) -> rusqlite::Result<Vec<Identity>> {
    let select = sql::SELECT_IDENTITIES;
    all(connection, select, [user.as_bytes()], rows::identity)
}

/// The user as it was decided on, or `Stale`.
fn unchanged(connection: &Connection, expected: &Account) -> Result<User, JobError<ApplyError>> {
    match read_user(connection, expected.user)? {
        Some(found) if found.account() == *expected => Ok(found),
        _ => Err(JobError::Domain(ApplyError::Stale)),
    }
}

fn read_user(connection: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    one(connection, sql::SELECT_USER, [id.as_bytes()], rows::user)
}

fn active(connection: &Connection, expected: &Account) -> Result<User, JobError<ApplyError>> {
    if !expected.is_active {
        return Err(JobError::Domain(ApplyError::Stale));
    }
    unchanged(connection, expected)
}

fn insert_identity(
    connection: &Connection,
    user: UserId,
    record: &IdentityRecord,
    now: Timestamp,
) -> Result<(), JobError<ApplyError>> {
    let params = (
        &record.issuer,
        &record.subject,
        user.as_bytes(),
        &record.provider,
        &record.email,
        record.email_verified,
        &record.name,
        &record.picture,
        now.micros(),
    );
    insert_new(connection, sql::INSERT_IDENTITY, params)
}

/// The session that a sign-in requires, which must live and be the acting user's (S63).
fn check_required(
    connection: &Connection,
    act: &Act,
    required: SessionHash,
    now: Timestamp,
) -> Result<(), JobError<ApplyError>> {
    let user = match act {
        Act::SignIn(account) | Act::Link(account) => account.user,
        Act::Create { user, .. } => user.id,
    };
    match grants::session(connection, SessionKey::Cookie(required), now)? {
        Some(found) if found.user.id == user => Ok(()),
        _ => Err(JobError::Domain(ApplyError::SessionOver)),
    }
}

/// A whole sign-in, inside of a savepoint.
fn apply(connection: &Connection, sign_in: &SignIn) -> Result<Applied, JobError<ApplyError>> {
    let (record, now) = (&sign_in.identity, sign_in.now);
    if let Some(required) = sign_in.requires {
        check_required(connection, &sign_in.act, required, now)?;
    }
    let user = match &sign_in.act {
        Act::SignIn(account) => {
            let user = active(connection, account)?;
            let params = (
                &record.issuer,
                &record.subject,
                account.user.as_bytes(),
                &record.provider,
                &record.email,
                record.email_verified,
                &record.name,
                &record.picture,
                now.micros(),
            );
            if execute(connection, sql::UPDATE_IDENTITY, params)? == 0 {
                return Err(JobError::Domain(ApplyError::Stale));
            }
            Some(user)
        }
        Act::Link(account) => {
            active(connection, account)?;
            insert_identity(connection, account.user, record, now)?;
            if sign_in.requires.is_some() {
                // Whoever adds it in a session of their own has changed their mind.
                let key = (account.user.as_bytes(), &record.issuer, &record.subject);
                execute(connection, sql::DELETE_TAKEN_AWAY, key)?;
            }
            execute(
                connection,
                sql::RAISE_VERSION,
                (account.user.as_bytes(), now.micros()),
            )?;
            read_user(connection, account.user)?
        }
        Act::Create {
            user,
            evict,
            by_invitation,
        } => {
            if let Some(claimant) = evict {
                unchanged(connection, claimant)?;
                execute(
                    connection,
                    sql::EMPTY_CLAIMANT,
                    (claimant.user.as_bytes(), now.micros()),
                )?;
                execute(
                    connection,
                    sql::DELETE_SESSIONS_OF,
                    [claimant.user.as_bytes()],
                )?;
            }
            let key = user.email.as_ref().map(|email| email.key().as_str());
            if let Some(key) = key
                && one(connection, sql::SELECT_CLAIMANT, [key], rows::account)?.is_some()
            {
                // Somebody began to claim the address since the decision.
                return Err(JobError::Domain(ApplyError::Stale));
            }
            let invitation = match key {
                Some(key) => one(connection, sql::DELETE_INVITATION, [key], rows::invitation)?,
                None => None,
            };
            if *by_invitation && invitation.is_none_or(|invitation| invitation.expires_at <= now) {
                // Somebody used it or took it back since the decision.
                return Err(JobError::Domain(ApplyError::Stale));
            }
            let email = user.email.as_ref().map(|email| email.as_str());
            insert_new(
                connection,
                sql::INSERT_USER,
                (
                    user.id.as_bytes(),
                    email,
                    key,
                    &user.name,
                    &user.picture,
                    now.micros(),
                ),
            )?;
            insert_identity(connection, user.id, record, now)?;
            read_user(connection, user.id)?
        }
    };
    let user = user.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    if let Some(sealed) = &sign_in.provider_tokens {
        let params = (&record.issuer, &record.subject, sealed, now.micros());
        execute(connection, sql::UPSERT_PROVIDER_TOKENS, params)?;
    }
    let session = &sign_in.session;
    execute(
        connection,
        sql::INSERT_SESSION,
        (
            session.hash.as_bytes(),
            session.id.as_bytes(),
            user.id.as_bytes(),
            &session.provider,
            now.micros(),
            session.expires_at.micros(),
            session.idle_seconds,
        ),
    )?;
    let replaced = match &sign_in.replaces {
        Some(old) => replace_session(connection, old, session.id, user.id, now)?,
        None => None,
    };
    if let Some(hand_over) = &sign_in.hand_over {
        grants::hand_over(connection, session.id, hand_over, now)?;
    }
    execute(
        connection,
        sql::INSERT_CLAIM,
        (now.micros(), sign_in.claim.as_bytes()),
    )?;
    // Its pages are at hand here, and a request of the person follows.
    let identities = identities(connection, user.id)?;
    Ok(Applied {
        user,
        replaced,
        identities: Some(identities),
    })
}

/// Ends the browser's old session in favour of `new`. What hangs on the old one goes over where it is a live session of
/// the same user: nobody inherits from somebody else, and what has ended stays so. The name of the old one, if there was
/// one.
fn replace_session(
    connection: &Connection,
    old: &SessionHash,
    new: SessionId,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Option<SessionId>> {
    let params = (old.as_bytes(), now.micros());
    let alive = one(connection, sql::SELECT_SESSION, params, rows::signed_in)?;
    if let Some(SignedIn { session, .. }) = alive
        && session.user == user
    {
        grants::move_over(connection, session.id, new)?;
    }
    one(
        connection,
        sql::DELETE_SESSION,
        [old.as_bytes()],
        rows::session_id,
    )
}

fn insert_key(connection: &Connection, key: &StoredKey) -> rusqlite::Result<()> {
    let params = (
        &key.kid,
        &key.algorithm,
        &key.sealed,
        &key.public_jwk,
        key.created_at.micros(),
        key.active_from.micros(),
        key.retired_at.map(Timestamp::micros),
    );
    execute(connection, sql::INSERT_KEY, params)?;
    Ok(())
}

/// A `LIKE` pattern for text that somebody typed.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

impl Store for SqliteStore {
    fn claim_state(
        &self,
        state: StateHash,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Claim, StoreError>> {
        Box::pin(async move {
            self.readers.check_open()?;
            self.claims.claim(state, now)
        })
    }

    fn known(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Known, StoreError>> {
        Box::pin(async move {
            self.readers
                .read(|connection| known(connection, &issuer, &subject, email.as_ref(), now))
        })
    }

    fn admit(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
        now: Timestamp,
        mut decide: Decide,
    ) -> BoxFuture<'_, Result<Option<Applied>, ApplyError>> {
        Box::pin(self.writer.submit(move |connection| {
            match decide(&known(connection, &issuer, &subject, email.as_ref(), now)?) {
                Some(sign_in) => apply(connection, &sign_in).map(Some),
                None => Ok(None),
            }
        }))
    }

    fn apply(&self, sign_in: SignIn) -> BoxFuture<'_, Result<Applied, ApplyError>> {
        Box::pin(
            self.writer
                .submit(move |connection| apply(connection, &sign_in)),
        )
    }

    fn session(
        &self,
        key: SessionKey,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<SignedIn>, StoreError>> {
        Box::pin(async move {
            self.readers
                .read(|connection| grants::session(connection, key, now))
        })
    }

    fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            execute(
                connection,
                sql::TOUCH_SESSION,
                (id.as_bytes(), now.micros()),
            )?;
            Ok(())
        }))
    }

    fn end_session(
        &self,
        hash: SessionHash,
    ) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            Ok(one(
                connection,
                sql::DELETE_SESSION,
                [hash.as_bytes()],
                rows::session_id,
            )?)
        }))
    }

    fn hand_over(
        &self,
        session: SessionId,
        hand_over: HandOver,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            if grants::session(connection, SessionKey::Id(session), now)?.is_none() {
                return Ok(false);
            }
            grants::hand_over(connection, session, &hand_over, now)?;
            Ok(true)
        }))
    }

    fn redeem_code(&self, redemption: Redemption) -> BoxFuture<'_, Result<SignedIn, RedeemError>> {
        // A code that nobody was given costs a read: anybody can send one, and the writer's queue is for people.
        let known = self
            .readers
            .read(|connection| grants::knows_code(connection, redemption.hash));
        let answer = match known {
            Ok(true) => self
                .writer
                .submit(move |connection| grants::redeem(connection, &redemption)),
            Ok(false) => return Box::pin(async { Err(RedeemError::Unknown) }),
            Err(error) => return Box::pin(async { Err(error.into()) }),
        };
        Box::pin(answer)
    }

    fn grant(
        &self,
        id: GrantId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Grant>, StoreError>> {
        Box::pin(async move {
            self.readers
                .read(|connection| grants::alive(connection, id, now))
        })
    }

    fn rotate_grant(&self, rotation: Rotation) -> BoxFuture<'_, Result<Rotated, RotateError>> {
        let answer = self
            .writer
            .submit::<_, StoreError, _>(move |connection| grants::rotate(connection, &rotation));
        Box::pin(async move { answer.await? })
    }

    fn end_grant(&self, id: GrantId, client_id: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            let params = (id.as_bytes(), &client_id);
            Ok(execute(connection, sql::DELETE_GRANT_OF, params)? > 0)
        }))
    }

    fn user(&self, id: UserId) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        Box::pin(async move {
            self.readers
                .read(|connection| one(connection, sql::SELECT_USER, [id.as_bytes()], rows::user))
        })
    }

    fn users(&self, query: UserQuery) -> BoxFuture<'_, Result<UserPage, StoreError>> {
        let readers = self.readers.clone();
        Box::pin(async move {
            if let Some(key) = &query.email {
                let user = readers.read(|connection| {
                    one(
                        connection,
                        sql::SELECT_USER_BY_EMAIL,
                        [key.as_str()],
                        rows::user,
                    )
                })?;
                return Ok(UserPage {
                    users: user.into_iter().collect(),
                    next: None,
                });
            }
            // A search reads every row: not on a thread that serves others.
            let page = tokio::task::spawn_blocking(move || {
                let limit = query.limit.clamp(1, MAX_PAGE);
                let after = query.after.map(|id| *id.as_bytes());
                let search = query.search.as_deref().map(containing);
                let mut users = readers.read(|connection| {
                    all(
                        connection,
                        sql::SELECT_USERS,
                        (after, search, limit + 1),
                        rows::user,
                    )
                })?;
                let more = users.len() > limit as usize;
                users.truncate(limit as usize);
                let next = if more {
                    users.last().map(|user| user.id)
                } else {
                    None
                };
                Ok(UserPage { users, next })
            });
            page.await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("the read was cut off".into())))
        })
    }

    fn identities(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Identity>, StoreError>> {
        Box::pin(async move { self.readers.read(|connection| identities(connection, user)) })
    }

    fn set_active(
        &self,
        user: UserId,
        active: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            execute(
                connection,
                sql::SET_ACTIVE,
                (user.as_bytes(), active, now.micros()),
            )?;
            if !active {
                execute(connection, sql::DELETE_SESSIONS_OF, [user.as_bytes()])?;
            }
            Ok(one(
                connection,
                sql::SELECT_USER,
                [user.as_bytes()],
                rows::user,
            )?)
        }))
    }

    fn set_superuser(
        &self,
        user: UserId,
        superuser: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            let changed = execute(
                connection,
                sql::SET_SUPERUSER,
                (user.as_bytes(), superuser, now.micros()),
            )?;
            if changed > 0 {
                execute(connection, sql::DELETE_SESSIONS_OF, [user.as_bytes()])?;
            }
            Ok(one(
                connection,
                sql::SELECT_USER,
                [user.as_bytes()],
                rows::user,
            )?)
        }))
    }

    fn unlink(
        &self,
        account: Account,
        issuer: String,
        subject: String,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Unlinked>, UnlinkError>> {
        Box::pin(self.writer.submit(move |connection| {
            let id = account.user.as_bytes();
            let found = one(connection, sql::SELECT_ACCOUNT, [id], rows::account)?;
            if !account.is_active || found != Some(account) {
                return Err(JobError::Domain(UnlinkError::Stale));
            }
            // Read first: what is kept goes with the identity.
            let key = (&issuer, &subject);
            let provider_tokens = one(connection, sql::SELECT_SEALED, key, |row| row.get(0))?;
            let key = (id, &issuer, &subject);
            if execute(connection, sql::DELETE_IDENTITY, key)? == 0 {
                return Ok(None);
            }
            let left: i64 = connection
                .prepare_cached(sql::COUNT_WAYS_IN)?
                .query_row([id], |row| row.get(0))?;
            // S63: not the last way in.
            if left == 0 {
                return Err(JobError::Domain(UnlinkError::LastMethod));
            }
            execute(connection, sql::RAISE_VERSION, (id, now.micros()))?;
            execute(connection, sql::INSERT_TAKEN_AWAY, key)?;
            // S63: nor does anybody stay who came in by it, however their session is named by now.
            let keep = keep.as_ref().map(SessionId::as_bytes);
            execute(connection, sql::DELETE_OTHER_SESSIONS, (id, keep))?;
            Ok(Some(Unlinked { provider_tokens }))
        }))
    }

    fn provider_tokens(
        &self,
        user: UserId,
    ) -> BoxFuture<'_, Result<Vec<ProviderTokens>, StoreError>> {
        Box::pin(async move {
            self.readers.read(|connection| {
                all(
                    connection,
                    sql::SELECT_PROVIDER_TOKENS,
                    [user.as_bytes()],
                    rows::provider_tokens,
                )
            })
        })
    }

    fn lease_provider_tokens(
        &self,
        issuer: String,
        subject: String,
        version: i64,
        until: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            let params = (&issuer, &subject, version, until.micros(), now.micros());
            Ok(execute(connection, sql::LEASE_PROVIDER_TOKENS, params)? > 0)
        }))
    }

    fn replace_provider_tokens(
        &self,
        issuer: String,
        subject: String,
        version: i64,
        sealed: Option<Vec<u8>>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            let written = match &sealed {
                Some(sealed) => {
                    let params = (&issuer, &subject, version, sealed, now.micros());
                    execute(connection, sql::UPDATE_PROVIDER_TOKENS, params)?
                }
                None => {
                    let params = (&issuer, &subject, version);
                    execute(connection, sql::DELETE_PROVIDER_TOKENS, params)?
                }
            };
            Ok(written > 0)
        }))
    }

    fn register(
        &self,
        user: NewPasswordUser,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<User, RegisterError>> {
        Box::pin(self.writer.submit(move |connection| {
            let (id, email) = (user.id.as_bytes(), &user.claimed_email);
            let taken: bool = connection
                .prepare_cached(sql::SELECT_HAS_ADDRESS)?
                .query_row([email.key().as_str()], |row| row.get(0))?;
            if taken {
                return Err(JobError::Domain(RegisterError::Exists));
            }
            execute(
                connection,
                sql::INSERT_PASSWORD_USER,
                (
                    id,
                    email.as_str(),
                    email.key().as_str(),
                    user.password_hash.expose(),
                    now.micros(),
                ),
            )?;
            Ok(one(connection, sql::SELECT_USER, [id], rows::user)?
                .ok_or(rusqlite::Error::QueryReturnedNoRows)?)
        }))
    }

    fn invite(&self, invitation: Invitation) -> BoxFuture<'_, Result<(), InviteError>> {
        Box::pin(self.writer.submit(move |connection| {
            let email = &invitation.email;
            let owned: bool = connection
                .prepare_cached(sql::SELECT_HAS_OWNER)?
                .query_row([email.key().as_str()], |row| row.get(0))?;
            if owned {
                return Err(JobError::Domain(InviteError::Exists));
            }
            execute(
                connection,
                sql::UPSERT_INVITATION,
                (
                    email.key().as_str(),
                    email.as_str(),
                    invitation.created_at.micros(),
                    invitation.expires_at.micros(),
                ),
            )?;
            Ok(())
        }))
    }

    fn invitations(
        &self,
        after: Option<Invitation>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Invitation>, StoreError>> {
        Box::pin(async move {
            let limit = limit.clamp(1, MAX_PAGE);
            let (created_at, key) = after.as_ref().map_or((i64::MIN, ""), |after| {
                (after.created_at.micros(), after.email.key().as_str())
            });
            self.readers.read(|connection| {
                all(
                    connection,
                    sql::SELECT_INVITATIONS,
                    (created_at, key, limit),
                    rows::invitation,
                )
            })
        })
    }

    fn withdraw_invitation(&self, email: EmailKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            let delete = sql::DELETE_INVITATION;
            Ok(one(connection, delete, [email.as_str()], rows::invitation)?.is_some())
        }))
    }

    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        Box::pin(async move {
            self.readers
                .read(|connection| all(connection, sql::SELECT_KEYS, [], rows::key))
        })
    }

    fn add_signing_key(
        &self,
        key: StoredKey,
        retire_others_at: Timestamp,
        add: AddKey,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            match &add {
                AddKey::Always => {}
                AddKey::AmongWaiting(at_most) => {
                    let others = at_most.saturating_sub(1);
                    let params = (key.created_at.micros(), others);
                    execute(connection, sql::DELETE_WAITING_KEYS, params)?;
                }
                AddKey::IfNewestIs(expected) => {
                    let newest: Option<String> =
                        one(connection, sql::SELECT_NEWEST_KEY, [], |row| row.get(0))?;
                    if newest != *expected {
                        return Ok(false);
                    }
                }
            }
            execute(connection, sql::RETIRE_KEYS, [retire_others_at.micros()])?;
            insert_key(connection, &key)?;
            Ok(true)
        }))
    }

    fn revoke_signing_key(
        &self,
        kid: String,
        replacement: StoredKey,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let replacement = StoredKey {
            active_from: now,
            ..replacement
        };
        Box::pin(self.writer.submit(move |connection| {
            if execute(connection, sql::DELETE_KEY, [&kid])? == 0 {
                return Ok(false);
            }
            let has_signer: bool = connection
                .prepare_cached(sql::HAS_SIGNER)?
                .query_row([now.micros()], |row| row.get(0))?;
            if !has_signer {
                insert_key(connection, &replacement)?;
            }
            Ok(true)
        }))
    }

    fn check_secret(
        &self,
        ours: [u8; 32],
        previous: Option<[u8; 32]>,
    ) -> BoxFuture<'_, Result<SecretCheck, StoreError>> {
        Box::pin(self.writer.submit(move |connection| {
            let found: Option<Vec<u8>> = connection
                .prepare_cached(sql::SELECT_SECRET_CHECK)?
                .query_row([], |row| row.get(0))
                .optional()?;
            let replace = match &found {
                Some(found) if *found == ours => false,
                Some(found) if previous.is_some_and(|previous| *found == previous) => true,
                Some(_) => return Ok(SecretCheck::Other),
                None => true,
            };
            if replace {
                execute(connection, sql::UPSERT_SECRET_CHECK, [ours])?;
            }
            Ok(SecretCheck::Ours)
        }))
    }

    fn prune(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut removed = self
                .writer
                .submit::<_, StoreError, _>(move |connection| {
                    Ok(execute(connection, sql::PRUNE_KEYS, [now.micros()])?)
                })
                .await?;
            // What hangs on sessions first: then few rows go with a session.
            for (statement, until) in [
                (sql::PRUNE_CODES, now.minus_seconds(REMEMBER_CODES)),
                (sql::PRUNE_GRANTS, now),
                (sql::PRUNE_SESSIONS, now),
                (sql::PRUNE_INVITATIONS, now),
                (sql::PRUNE_CLAIMS, now.minus_seconds(REMEMBER)),
            ] {
                loop {
                    let chunk = self
                        .writer
                        .submit::<_, StoreError, _>(move |connection| {
                            Ok(execute(
                                connection,
                                statement,
                                (until.micros(), PRUNE_ROWS as i64),
                            )?)
                        })
                        .await?;
                    removed += chunk;
                    if chunk < PRUNE_ROWS {
                        break;
                    }
                }
            }
            Ok(removed as u64)
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.writer.submit(|connection| {
            connection.query_row("SELECT 1", [], |_| Ok(()))?;
            Ok(())
        }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let close = || {
                self.writer.close();
                self.readers.close();
                // Another server may have the file from here on.
                self.lock
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
            };
            match tokio::runtime::Handle::current().runtime_flavor() {
                // There is no other thread to which the other tasks could go.
                tokio::runtime::RuntimeFlavor::CurrentThread => close(),
                _ => tokio::task::block_in_place(close),
            }
        })
    }
}
