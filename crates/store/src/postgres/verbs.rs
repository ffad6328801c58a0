//! The verbs: each one transaction, or one statement.

use uuid::Uuid;
use vestibule_accounts::{
    Account, Act, AddKey, Applied, ApplyError, BoxFuture, Claim, EmailKey, Grant, GrantId,
    HandOver, Identity, IdentityRecord, Invitation, InviteError, Known, NewPasswordUser,
    ProviderTokens, RedeemError, Redemption, RegisterError, RotateError, Rotated, Rotation,
    SecretCheck, SessionHash, SessionId, SessionKey, SignIn, SignedIn, StateHash, Store,
    StoreError, StoredKey, Timestamp, UnlinkError, Unlinked, User, UserId, UserPage, UserQuery,
};

use super::provider_tokens::{Kept, Lease, ReplaceError, Replacement};
use super::run::{JobError, Param, Tx, VERBS, Verb, is_unique_violation, params};
use super::{PostgresStore, grants, provider_tokens, rows};

/// How many rows one pruning transaction removes, so that logins go on between two.
const PRUNE_ROWS: u64 = 500;
/// How long a claim is remembered, in microseconds: longer than a state lives.
const REMEMBER: i64 = 900 * 1_000_000;
/// How long a code is remembered after its end, in seconds: one that comes again must be known as used.
const REMEMBER_CODES: i64 = 86_400;
/// How many rows a page holds at most.
const MAX_PAGE: u32 = 1_000;

fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// A row that must be new: a unique key, never an earlier read, says whether it is.
async fn insert_new(
    tx: &Tx<'_>,
    sql: &str,
    params: &[Param<'_>],
) -> Result<(), JobError<ApplyError>> {
    match tx.execute(sql, params).await {
        Ok(_) => Ok(()),
        Err(error) if is_unique_violation(&error) => Err(JobError::Domain(ApplyError::Conflict)),
        Err(error) => Err(error.into()),
    }
}

/// Locks a user; whether it is as it was decided on.
async fn is_unchanged<E>(tx: &Tx<'_>, expected: &Account) -> Result<bool, JobError<E>> {
    let params = params![uuid(expected.user.as_bytes())];
    let row = tx.one(&tx.sql().lock_account, params).await?;
    let found = row.as_ref().map(rows::account).transpose()?;
    Ok(found.as_ref() == Some(expected))
}

async fn active(tx: &Tx<'_>, expected: &Account) -> Result<(), JobError<ApplyError>> {
    if expected.is_active && is_unchanged(tx, expected).await? {
        return Ok(());
    }
    Err(JobError::Domain(ApplyError::Stale))
}

async fn user<E>(tx: &Tx<'_>, id: UserId) -> Result<Option<User>, JobError<E>> {
    let params = params![uuid(id.as_bytes())];
    let row = tx.one(&tx.sql().select_user, params).await?;
    Ok(row.as_ref().map(rows::user).transpose()?)
}

async fn insert_identity(
    tx: &Tx<'_>,
    user: UserId,
    record: &IdentityRecord,
    now: Timestamp,
) -> Result<(), JobError<ApplyError>> {
    let params = params![
        record.issuer,
        record.subject,
        uuid(user.as_bytes()),
        record.provider,
        record.email,
        record.email_verified,
        record.name,
        record.picture,
        now.micros(),
    ];
    insert_new(tx, &tx.sql().insert_identity, params).await
}

/// Locks the user and the session that a sign-in requires: it must live and be that user's (S63).
async fn check_required(
    tx: &Tx<'_>,
    act: &Act,
    required: &SessionHash,
    now: Timestamp,
) -> Result<(), JobError<ApplyError>> {
    let user = match act {
        Act::SignIn(account) | Act::Link(account) => account.user,
        Act::Create { user, .. } => user.id,
    };
    let user = uuid(user.as_bytes());
    let row = tx.one(&tx.sql().lock_account, params![user]).await?;
    let found = row.as_ref().map(rows::account).transpose()?;
    if found.is_some_and(|found| found.is_active) {
        let params = params![required.as_bytes().as_slice(), user, now.micros()];
        if let Some(row) = tx.one(&tx.sql().lock_session, params).await?
            && rows::get(&row, 1)?
        {
            return Ok(());
        }
    }
    Err(JobError::Domain(ApplyError::SessionOver))
}

/// A whole sign-in, inside of a transaction.
async fn apply(tx: &Tx<'_>, sign_in: &SignIn) -> Result<Applied, JobError<ApplyError>> {
    let (sql, record, now) = (tx.sql(), &sign_in.identity, sign_in.now);
    if let Some(required) = &sign_in.requires {
        check_required(tx, &sign_in.act, required, now).await?;
    }
    let id = match &sign_in.act {
        Act::SignIn(account) => {
            active(tx, account).await?;
            let params = params![
                record.issuer,
                record.subject,
                uuid(account.user.as_bytes()),
                record.provider,
                record.email,
                record.email_verified,
                record.name,
                record.picture,
                now.micros(),
            ];
            if tx.execute(&sql.update_identity, params).await? == 0 {
                return Err(JobError::Domain(ApplyError::Stale));
            }
            account.user
        }
        Act::Link(account) => {
            active(tx, account).await?;
            insert_identity(tx, account.user, record, now).await?;
            let user = uuid(account.user.as_bytes());
            if sign_in.requires.is_some() {
                // Whoever adds it in a session of their own has changed their mind.
                let params = params![user, record.issuer, record.subject];
                tx.execute(&sql.delete_taken_away, params).await?;
            }
            let params = params![user, now.micros()];
            tx.execute(&sql.raise_version, params).await?;
            account.user
        }
        Act::Create {
            user,
            evict,
            by_invitation,
        } => {
            if let Some(claimant) = evict {
                if !is_unchanged(tx, claimant).await? {
                    return Err(JobError::Domain(ApplyError::Stale));
                }
                let id = uuid(claimant.user.as_bytes());
                let params = params![id, now.micros()];
                tx.execute(&sql.empty_claimant, params).await?;
                tx.execute(&sql.delete_sessions_of, params![id]).await?;
            }
            let key = user.email.as_ref().map(|email| email.key().as_str());
            let mut invited = false;
            if let Some(key) = key {
                tx.execute(&sql.lock_address, params![key]).await?;
                let params = params![key, now.micros()];
                let row = tx
                    .one(&sql.unlock_address_and_has_claimant, params)
                    .await?
                    .ok_or_else(gone)?;
                if rows::get(&row, 0)? {
                    // Somebody began to claim the address since the decision.
                    return Err(JobError::Domain(ApplyError::Stale));
                }
                invited = rows::get(&row, 1)?;
            }
            if *by_invitation && !invited {
                // Somebody used it or took it back since the decision.
                return Err(JobError::Domain(ApplyError::Stale));
            }
            let params = params![
                uuid(user.id.as_bytes()),
                user.email.as_ref().map(|email| email.as_str()),
                key,
                user.name,
                user.picture,
                now.micros(),
            ];
            insert_new(tx, &sql.insert_user, params).await?;
            insert_identity(tx, user.id, record, now).await?;
            user.id
        }
    };
    if let Some(sealed) = &sign_in.provider_tokens {
        let params = params![record.issuer, record.subject, *sealed, now.micros()];
        tx.execute(&sql.upsert_provider_tokens, params).await?;
    }
    let session = &sign_in.session;
    let params = params![
        session.hash.as_bytes().as_slice(),
        uuid(session.id.as_bytes()),
        uuid(id.as_bytes()),
        session.provider,
        now.micros(),
        session.expires_at.micros(),
        session.idle_seconds,
        sign_in.claim.as_bytes().as_slice(),
    ];
    tx.execute(&sql.insert_session, params).await?;
    let replaced = match &sign_in.replaces {
        Some(old) => replace_session(tx, old, session.id, id, now).await?,
        None => None,
    };
    if let Some(hand_over) = &sign_in.hand_over {
        grants::hand_over(tx, session.id, hand_over, now).await?;
    }
    let user = user(tx, id).await?.ok_or_else(gone)?;
    Ok(Applied {
        user,
        replaced,
        identities: None,
    })
}

fn gone() -> StoreError {
    StoreError::Corrupt("a user that was written is not there".into())
}

/// Ends the browser's old session in favour of `new`. What hangs on the old one goes over where it is a live session of
/// the same user, who is active: nobody inherits from somebody else, and what has ended stays so. The name of the old one,
/// if there was one.
async fn replace_session(
    tx: &Tx<'_>,
    old: &SessionHash,
    new: SessionId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<SessionId>, JobError<ApplyError>> {
    let old = old.as_bytes().as_slice();
    let params = params![old, uuid(user.as_bytes()), now.micros()];
    let Some(row) = tx.one(&tx.sql().lock_session, params).await? else {
        return Ok(None);
    };
    let replaced: Uuid = rows::get(&row, 0)?;
    if rows::get(&row, 1)? {
        grants::move_over(tx, replaced, new).await?;
    }
    tx.execute(&tx.sql().delete_session, params![old]).await?;
    Ok(Some(SessionId::from_bytes(*replaced.as_bytes())))
}

/// An invitation as it stands in its row.
fn written(invitation: &Invitation) -> [Param<'_>; 4] {
    let email = &invitation.email;
    *params![
        email.key().as_str(),
        email.as_str(),
        invitation.created_at.micros(),
        invitation.expires_at.micros(),
    ]
}

async fn insert_key(tx: &Tx<'_>, key: &StoredKey) -> Result<(), JobError<StoreError>> {
    let params = params![
        key.kid,
        key.algorithm,
        key.sealed,
        key.public_jwk,
        key.created_at.micros(),
        key.active_from.micros(),
        key.retired_at.map(Timestamp::micros),
    ];
    tx.execute(&tx.sql().insert_key, params).await?;
    Ok(())
}

async fn has_key(tx: &Tx<'_>, kid: &str) -> Result<bool, JobError<StoreError>> {
    Ok(tx.asks(&tx.sql().has_key, params![kid]).await?)
}

/// A `LIKE` pattern for text that somebody typed. There is no text with a zero in the database.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(if c == '\0' { '\u{fffd}' } else { c });
    }
    pattern.push('%');
    pattern
}

/// What an identity is unlinked by: whose it is, its key, the session that stays, and when.
type Unlinking = (Account, String, String, Option<SessionId>, Timestamp);

/// What a pruning transaction removes.
#[derive(Clone, Copy)]
enum Over {
    Keys,
    Codes,
    Grants,
    Sessions,
    Invitations,
    Claims,
}

impl Store for PostgresStore {
    fn claim_state(
        &self,
        state: StateHash,
        _now: Timestamp,
    ) -> BoxFuture<'_, Result<Claim, StoreError>> {
        let claimant = Uuid::now_v7();
        let verb = Verb::single(|tx, (state, claimant): &(StateHash, Uuid)| {
            Box::pin(async move {
                let state = state.as_bytes().as_slice();
                let params = params![state, *claimant];
                if tx.execute(&tx.sql().claim_state, params).await? > 0 {
                    return Ok(Claim::First);
                }
                // Ours it is where the answer to an earlier attempt got lost.
                let params = params![state];
                let found = tx.one(&tx.sql().select_claimant_of_state, params).await?;
                let found: Option<Uuid> = found.map(|row| rows::get(&row, 0)).transpose()?;
                Ok(if found == Some(*claimant) {
                    Claim::First
                } else {
                    Claim::Used
                })
            })
        });
        self.inner.run((state, claimant), verb)
    }

    fn known(
        &self,
        issuer: String,
        subject: String,
        email: Option<EmailKey>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Known, StoreError>> {
        let verb = Verb::single(
            |tx, (issuer, subject, email, now): &(String, String, Option<EmailKey>, Timestamp)| {
                Box::pin(async move {
                    let email = email.as_ref().map(|key| key.as_str());
                    let params = params![*issuer, *subject, email, now.micros()];
                    let mut known = Known::default();
                    for row in tx.all(&tx.sql().select_known, params).await? {
                        match rows::get::<&str>(&row, 3)? {
                            "identity" => known.identity = Some(rows::account(&row)?),
                            "owner" => known.owner = Some(rows::account(&row)?),
                            "claimant" => known.claimant = Some(rows::account(&row)?),
                            "invitation" => known.invited = true,
                            _ => known.taken_away = true,
                        }
                    }
                    Ok(known)
                })
            },
        );
        self.inner.run((issuer, subject, email, now), verb)
    }

    fn apply(&self, sign_in: SignIn) -> BoxFuture<'_, Result<Applied, ApplyError>> {
        let verb = Verb::once(
            |tx, sign_in: &SignIn| Box::pin(apply(tx, sign_in)),
            |tx, sign_in, _| {
                Box::pin(async move {
                    let params = params![sign_in.session.hash.as_bytes().as_slice()];
                    Ok(tx.asks(&tx.sql().has_session, params).await?)
                })
            },
        );
        self.inner.run(sign_in, verb)
    }

    fn session(
        &self,
        key: SessionKey,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<SignedIn>, StoreError>> {
        let verb = Verb::single(|tx, (key, now): &(SessionKey, Timestamp)| {
            Box::pin(grants::session(tx, *key, *now))
        });
        self.inner.run((key, now), verb)
    }

    fn touch_session(
        &self,
        id: SessionId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let verb = Verb::single(|tx, (id, now): &(SessionId, Timestamp)| {
            Box::pin(async move {
                let params = params![uuid(id.as_bytes()), now.micros()];
                tx.execute(&tx.sql().touch_session, params).await?;
                Ok(())
            })
        });
        self.inner.run((id, now), verb)
    }

    fn end_session(
        &self,
        hash: SessionHash,
    ) -> BoxFuture<'_, Result<Option<SessionId>, StoreError>> {
        let verb = Verb::once(
            |tx, hash: &SessionHash| {
                Box::pin(async move {
                    let params = params![hash.as_bytes().as_slice()];
                    let row = tx.one(&tx.sql().delete_session, params).await?;
                    let id: Option<Uuid> = row.map(|row| rows::get(&row, 0)).transpose()?;
                    Ok(id.map(|id| SessionId::from_bytes(id.into_bytes())))
                })
            },
            |tx, hash, _| {
                Box::pin(async move {
                    let params = params![hash.as_bytes().as_slice()];
                    Ok(!tx.asks(&tx.sql().has_session, params).await?)
                })
            },
        );
        self.inner.run(hash, verb)
    }

    fn hand_over(
        &self,
        session: SessionId,
        hand_over: HandOver,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let verb = Verb::once(
            |tx, (session, hand_over, now): &(SessionId, HandOver, Timestamp)| {
                Box::pin(async move {
                    let key = SessionKey::Id(*session);
                    if grants::session(tx, key, *now).await?.is_none() {
                        return Ok(false);
                    }
                    grants::hand_over(tx, *session, hand_over, *now).await?;
                    Ok(true)
                })
            },
            |tx, (_, hand_over, _), done| {
                Box::pin(async move { Ok(!done || grants::was_handed_over(tx, hand_over).await?) })
            },
        );
        self.inner.run((session, hand_over, now), verb)
    }

    fn redeem_code(&self, redemption: Redemption) -> BoxFuture<'_, Result<SignedIn, RedeemError>> {
        let verb = Verb::once(
            |tx, redemption: &Redemption| Box::pin(grants::redeem(tx, redemption)),
            |tx, redemption, _| Box::pin(grants::was_redeemed(tx, redemption)),
        );
        self.inner.run(redemption, verb)
    }

    fn grant(
        &self,
        id: GrantId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Grant>, StoreError>> {
        let verb = Verb::single(|tx, (id, now): &(GrantId, Timestamp)| {
            Box::pin(grants::alive(tx, *id, *now))
        });
        self.inner.run((id, now), verb)
    }

    fn rotate_grant(&self, rotation: Rotation) -> BoxFuture<'_, Result<Rotated, RotateError>> {
        let verb = Verb::<_, _, StoreError>::once(
            |tx, rotation: &Rotation| Box::pin(grants::rotate(tx, rotation)),
            |tx, rotation, answer| Box::pin(grants::was_rotated(tx, rotation, answer)),
        );
        let answer = self.inner.run(rotation, verb);
        Box::pin(async move { answer.await? })
    }

    fn end_grant(&self, id: GrantId, client_id: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        let verb = Verb::once(
            |tx, (id, client_id): &(GrantId, String)| {
                Box::pin(async move {
                    let params = params![uuid(id.as_bytes()), *client_id];
                    Ok(tx.execute(&tx.sql().delete_grant_of, params).await? > 0)
                })
            },
            |tx, (id, _), done| Box::pin(async move { Ok(!done || !grants::has(tx, *id).await?) }),
        );
        self.inner.run((id, client_id), verb)
    }

    fn user(&self, id: UserId) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        let verb = Verb::single(|tx, id: &UserId| Box::pin(user(tx, *id)));
        self.inner.run(id, verb)
    }

    fn users(&self, query: UserQuery) -> BoxFuture<'_, Result<UserPage, StoreError>> {
        let verb = Verb::single(|tx, query: &UserQuery| {
            Box::pin(async move {
                if let Some(key) = &query.email {
                    let params = params![key.as_str()];
                    let row = tx.one(&tx.sql().select_user_by_email, params).await?;
                    let user = row.as_ref().map(rows::user).transpose()?;
                    return Ok(UserPage {
                        users: user.into_iter().collect(),
                        next: None,
                    });
                }
                let limit = query.limit.clamp(1, MAX_PAGE);
                let search = query.search.as_deref().map(containing);
                let params = params![
                    query.after.map(|id| uuid(id.as_bytes())),
                    search,
                    i64::from(limit) + 1,
                ];
                let found = tx.all(&tx.sql().select_users, params).await?;
                let more = found.len() > limit as usize;
                let users = found
                    .iter()
                    .take(limit as usize)
                    .map(rows::user)
                    .collect::<Result<Vec<_>, _>>()?;
                let next = if more {
                    users.last().map(|user| user.id)
                } else {
                    None
                };
                Ok(UserPage { users, next })
            })
        });
        self.inner.run(query, verb)
    }

    fn identities(&self, user: UserId) -> BoxFuture<'_, Result<Vec<Identity>, StoreError>> {
        let verb = Verb::single(|tx, user: &UserId| {
            Box::pin(async move {
                let params = params![uuid(user.as_bytes())];
                let found = tx.all(&tx.sql().select_identities, params).await?;
                Ok(found.iter().map(rows::identity).collect::<Result<_, _>>()?)
            })
        });
        self.inner.run(user, verb)
    }

    fn set_active(
        &self,
        user: UserId,
        active: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        let verb = Verb::repeatable(|tx, (id, active, now): &(UserId, bool, Timestamp)| {
            Box::pin(async move {
                let user = uuid(id.as_bytes());
                let params = params![user, *active, now.micros()];
                tx.execute(&tx.sql().set_active, params).await?;
                if !active {
                    tx.execute(&tx.sql().delete_sessions_of, params![user])
                        .await?;
                }
                self::user(tx, *id).await
            })
        });
        self.inner.run((user, active, now), verb)
    }

    fn set_superuser(
        &self,
        user: UserId,
        superuser: bool,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<User>, StoreError>> {
        let verb = Verb::repeatable(|tx, (id, superuser, now): &(UserId, bool, Timestamp)| {
            Box::pin(async move {
                let user = uuid(id.as_bytes());
                let params = params![user, *superuser, now.micros()];
                if tx.execute(&tx.sql().set_superuser, params).await? > 0 {
                    tx.execute(&tx.sql().delete_sessions_of, params![user])
                        .await?;
                }
                self::user(tx, *id).await
            })
        });
        self.inner.run((user, superuser, now), verb)
    }

    fn unlink(
        &self,
        account: Account,
        issuer: String,
        subject: String,
        keep: Option<SessionId>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Option<Unlinked>, UnlinkError>> {
        let verb = Verb::once(
            |tx, (account, issuer, subject, keep, now): &Unlinking| {
                Box::pin(async move {
                    let (sql, user) = (tx.sql(), uuid(account.user.as_bytes()));
                    if !account.is_active || !is_unchanged(tx, account).await? {
                        return Err(JobError::Domain(UnlinkError::Stale));
                    }
                    let params = params![user, *issuer, *subject];
                    // First: what is kept goes with the identity.
                    let kept = tx.one(&sql.take_provider_tokens, params).await?;
                    let provider_tokens = kept.map(|row| rows::get(&row, 0)).transpose()?;
                    if tx.execute(&sql.delete_identity, params).await? == 0 {
                        return Ok(None);
                    }
                    // S63: not the last way in.
                    if !tx.asks(&sql.has_way_in, params![user]).await? {
                        return Err(JobError::Domain(UnlinkError::LastMethod));
                    }
                    tx.execute(&sql.insert_taken_away, params).await?;
                    let params = params![user, now.micros()];
                    tx.execute(&sql.raise_version, params).await?;
                    // S63: nor does anybody stay who came in by it, however their session is named by now.
                    let keep = keep.map(|keep| uuid(keep.as_bytes()));
                    tx.execute(&sql.delete_other_sessions, params![user, keep])
                        .await?;
                    Ok(Some(Unlinked { provider_tokens }))
                })
            },
            |tx, (account, issuer, subject, ..), done| {
                Box::pin(async move {
                    let params = params![uuid(account.user.as_bytes()), *issuer, *subject];
                    Ok(done.is_none() || !tx.asks(&tx.sql().has_identity, params).await?)
                })
            },
        );
        self.inner.run((account, issuer, subject, keep, now), verb)
    }

    fn provider_tokens(
        &self,
        user: UserId,
    ) -> BoxFuture<'_, Result<Vec<ProviderTokens>, StoreError>> {
        let verb = Verb::single(|tx, user: &UserId| Box::pin(provider_tokens::of(tx, *user)));
        self.inner.run(user, verb)
    }

    fn lease_provider_tokens(
        &self,
        issuer: String,
        subject: String,
        version: i64,
        until: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let lease = Lease {
            of: Kept {
                issuer,
                subject,
                version,
            },
            until,
            lessee: Uuid::now_v7(),
            now,
        };
        let verb = Verb::single(|tx, lease: &Lease| Box::pin(provider_tokens::lease(tx, lease)));
        self.inner.run(lease, verb)
    }

    fn replace_provider_tokens(
        &self,
        issuer: String,
        subject: String,
        version: i64,
        sealed: Option<Vec<u8>>,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let replacement = Replacement {
            of: Kept {
                issuer,
                subject,
                version,
            },
            sealed,
            now,
        };
        let verb = Verb::once(
            |tx, replacement: &Replacement| Box::pin(provider_tokens::replace(tx, replacement)),
            |tx, replacement, ()| Box::pin(provider_tokens::was_replaced(tx, replacement)),
        );
        let answer = self.inner.run(replacement, verb);
        Box::pin(async move {
            match answer.await {
                Ok(()) => Ok(true),
                Err(ReplaceError::Moved) => Ok(false),
                Err(ReplaceError::Store(error)) => Err(error),
            }
        })
    }

    fn register(
        &self,
        user: NewPasswordUser,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<User, RegisterError>> {
        let verb = Verb::once(
            |tx, (user, now): &(NewPasswordUser, Timestamp)| {
                Box::pin(async move {
                    let (sql, email) = (tx.sql(), &user.claimed_email);
                    let key = email.key().as_str();
                    tx.execute(&sql.lock_address, params![key]).await?;
                    if tx
                        .asks(&sql.unlock_address_and_is_taken, params![key])
                        .await?
                    {
                        return Err(JobError::Domain(RegisterError::Exists));
                    }
                    let params = params![
                        uuid(user.id.as_bytes()),
                        email.as_str(),
                        key,
                        user.password_hash.expose(),
                        now.micros(),
                    ];
                    tx.execute(&sql.insert_password_user, params).await?;
                    Ok(self::user(tx, user.id).await?.ok_or_else(gone)?)
                })
            },
            |tx, (user, _), _| {
                Box::pin(async move { Ok(self::user(tx, user.id).await?.is_some()) })
            },
        );
        self.inner.run((user, now), verb)
    }

    fn invite(&self, invitation: Invitation) -> BoxFuture<'_, Result<(), InviteError>> {
        let verb = Verb::once(
            |tx, invitation: &Invitation| {
                Box::pin(async move {
                    let (sql, email) = (tx.sql(), &invitation.email);
                    let key = email.key().as_str();
                    tx.execute(&sql.lock_address, params![key]).await?;
                    if tx
                        .asks(&sql.unlock_address_and_is_owned, params![key])
                        .await?
                    {
                        return Err(JobError::Domain(InviteError::Exists));
                    }
                    tx.execute(&sql.upsert_invitation, &written(invitation))
                        .await?;
                    Ok(())
                })
            },
            |tx, invitation, ()| {
                Box::pin(async move {
                    let sql = tx.sql();
                    Ok(tx
                        .asks(&sql.has_invitation_of, &written(invitation))
                        .await?)
                })
            },
        );
        self.inner.run(invitation, verb)
    }

    fn invitations(
        &self,
        after: Option<Invitation>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<Invitation>, StoreError>> {
        let verb = Verb::single(|tx, (after, limit): &(Option<Invitation>, u32)| {
            Box::pin(async move {
                let limit = i64::from((*limit).clamp(1, MAX_PAGE));
                let (created_at, key) = after.as_ref().map_or((i64::MIN, ""), |after| {
                    (after.created_at.micros(), after.email.key().as_str())
                });
                let params = params![created_at, key, limit];
                let found = tx.all(&tx.sql().select_invitations, params).await?;
                Ok(found
                    .iter()
                    .map(rows::invitation)
                    .collect::<Result<_, _>>()?)
            })
        });
        self.inner.run((after, limit), verb)
    }

    fn withdraw_invitation(&self, email: EmailKey) -> BoxFuture<'_, Result<bool, StoreError>> {
        let verb = Verb::once(
            |tx, email: &EmailKey| {
                Box::pin(async move {
                    let params = params![email.as_str()];
                    Ok(tx.execute(&tx.sql().delete_invitation, params).await? > 0)
                })
            },
            |tx, email, done| {
                Box::pin(async move {
                    let params = params![email.as_str()];
                    Ok(!done || !tx.asks(&tx.sql().has_invitation, params).await?)
                })
            },
        );
        self.inner.run(email, verb)
    }

    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        let verb = Verb::single(|tx, (): &()| {
            Box::pin(async move {
                let found = tx.all(&tx.sql().select_keys, params![]).await?;
                Ok(found.iter().map(rows::key).collect::<Result<_, _>>()?)
            })
        });
        self.inner.run((), verb)
    }

    fn add_signing_key(
        &self,
        key: StoredKey,
        retire_others_at: Timestamp,
        add: AddKey,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let verb = Verb::once(
            |tx, (key, retire_others_at, add): &(StoredKey, Timestamp, AddKey)| {
                Box::pin(async move {
                    let sql = tx.sql();
                    tx.one(&sql.lock_keys, params![]).await?;
                    match add {
                        AddKey::Always => {}
                        AddKey::AmongWaiting(at_most) => {
                            let others = i64::from(at_most.saturating_sub(1));
                            let params = params![key.created_at.micros(), others];
                            tx.execute(&sql.delete_waiting_keys, params).await?;
                        }
                        AddKey::IfNewestIs(expected) => {
                            let newest = tx.one(&sql.select_newest_key, params![]).await?;
                            let newest: Option<String> =
                                newest.map(|row| rows::get(&row, 0)).transpose()?;
                            if newest != *expected {
                                return Ok(false);
                            }
                        }
                    }
                    let params = params![retire_others_at.micros()];
                    tx.execute(&sql.retire_keys, params).await?;
                    insert_key(tx, key).await?;
                    Ok(true)
                })
            },
            |tx, (key, ..), done| {
                Box::pin(async move { Ok(!done || has_key(tx, &key.kid).await?) })
            },
        );
        self.inner.run((key, retire_others_at, add), verb)
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
        let verb = Verb::once(
            |tx, (kid, replacement, now): &(String, StoredKey, Timestamp)| {
                Box::pin(async move {
                    let sql = tx.sql();
                    tx.one(&sql.lock_keys, params![]).await?;
                    if tx.execute(&sql.delete_key, params![*kid]).await? == 0 {
                        return Ok(false);
                    }
                    if !tx.asks(&sql.has_signer, params![now.micros()]).await? {
                        insert_key(tx, replacement).await?;
                    }
                    Ok(true)
                })
            },
            |tx, (kid, ..), done| Box::pin(async move { Ok(!done || !has_key(tx, kid).await?) }),
        );
        self.inner.run((kid, replacement, now), verb)
    }

    fn check_secret(
        &self,
        ours: [u8; 32],
        previous: Option<[u8; 32]>,
    ) -> BoxFuture<'_, Result<SecretCheck, StoreError>> {
        let verb = Verb::repeatable(|tx, (ours, previous): &([u8; 32], Option<[u8; 32]>)| {
            Box::pin(async move {
                let sql = tx.sql();
                let params = params![ours.as_slice()];
                tx.execute(&sql.insert_secret_check, params).await?;
                let row = tx.one(&sql.lock_secret_check, params![]).await?;
                let row = row.ok_or_else(|| {
                    StoreError::Unavailable("its check value is being written".into())
                })?;
                let found: &[u8] = rows::get(&row, 0)?;
                if found == ours.as_slice() {
                    return Ok(SecretCheck::Ours);
                }
                if !previous.is_some_and(|previous| found == previous.as_slice()) {
                    return Ok(SecretCheck::Other);
                }
                tx.execute(&sql.update_secret_check, params).await?;
                Ok(SecretCheck::Ours)
            })
        });
        self.inner.run((ours, previous), verb)
    }

    fn prune(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut removed = 0;
            // What hangs on sessions first: then few rows go with a session.
            for over in [
                Over::Keys,
                Over::Codes,
                Over::Grants,
                Over::Sessions,
                Over::Invitations,
                Over::Claims,
            ] {
                loop {
                    let verb = Verb::repeatable(|tx, (over, now): &(Over, Timestamp)| {
                        Box::pin(async move {
                            let (sql, rows) = (tx.sql(), PRUNE_ROWS as i64);
                            let codes = now.minus_seconds(REMEMBER_CODES).micros();
                            let now = now.micros();
                            Ok(match over {
                                Over::Keys => tx.execute(&sql.prune_keys, params![now]).await?,
                                Over::Codes => {
                                    tx.execute(&sql.prune_codes, params![codes, rows]).await?
                                }
                                Over::Grants => {
                                    tx.execute(&sql.prune_grants, params![now, rows]).await?
                                }
                                Over::Sessions => {
                                    tx.execute(&sql.prune_sessions, params![now, rows]).await?
                                }
                                Over::Invitations => {
                                    tx.execute(&sql.prune_invitations, params![now, rows])
                                        .await?
                                }
                                Over::Claims => {
                                    let params = params![REMEMBER, rows];
                                    tx.execute(&sql.prune_claims, params).await?
                                }
                            })
                        })
                    });
                    let chunk = self
                        .inner
                        .run::<_, _, StoreError>((over, now), verb)
                        .await?;
                    removed += chunk;
                    if chunk < PRUNE_ROWS {
                        break;
                    }
                }
            }
            Ok(removed)
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let verb = Verb::single(|tx, (): &()| {
            Box::pin(async move {
                if tx.asks(&tx.sql().takes_writes, params![]).await? {
                    return Ok(());
                }
                Err(JobError::ReadOnly)
            })
        });
        self.inner.run((), verb)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let inner = self.inner.clone();
        Box::pin(async move {
            // All permits are back when the last verb has answered.
            if let Ok(all) = inner.verbs.acquire_many(VERBS).await {
                inner.verbs.close();
                drop(all);
            }
            inner.pool.close();
        })
    }
}
