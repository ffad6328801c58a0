//! Codes and grants as rows: what a refusal leaves as it was, what survives a cut, and which index each search takes.

use std::sync::mpsc::channel;

use rusqlite::Connection;
use rusqlite::types::Value;
use vestibule_accounts::{
    Act, CodeHash, GrantId, GrantKey, HandOver, NewCode, NewGrant, RedeemError, Redemption,
    RotateError, Rotation, SessionHash, SessionKey, Store, StoreError, Timestamp,
};

use super::{File, NOW, count, hold, sign_in};
use crate::sqlite::migrate::{MIGRATIONS, apply, copy_name};
use crate::sqlite::{SqliteStore, sql};

fn code(number: u8) -> NewCode {
    NewCode {
        hash: CodeHash::from_bytes([number; 32]),
        client_id: "spa".into(),
        redirect_uri: "https://spa.example/".into(),
        code_challenge: "challenge".into(),
        expires_at: NOW.plus_seconds(60),
    }
}

fn grant(number: u8) -> NewGrant {
    NewGrant {
        id: GrantId::new(NOW, [number; 10]),
        client_id: "spa".into(),
        key: GrantKey::new([number; 32]),
        expires_at: NOW.plus_seconds(86_400),
    }
}

fn redemption(code: &NewCode, number: u8) -> Redemption {
    Redemption {
        hash: code.hash,
        client_id: code.client_id.clone(),
        redirect_uri: code.redirect_uri.clone(),
        code_challenge: code.code_challenge.clone(),
        grant: grant(number),
        now: NOW,
    }
}

fn rotation(grant: &NewGrant, count: u32, now: Timestamp) -> Rotation {
    Rotation {
        grant: grant.id,
        count,
        grace_seconds: 10,
        now,
    }
}

/// A session with one code and one grant.
async fn signed_in(store: &SqliteStore) -> (NewCode, NewGrant) {
    let (code, grant) = (code(1), grant(1));
    let mut sign_in = sign_in(1);
    let session = sign_in.session.id;
    sign_in.hand_over = Some(HandOver::Code(code.clone()));
    store.apply(sign_in).await.unwrap();
    let hand_over = HandOver::Grant(grant.clone());
    assert!(store.hand_over(session, hand_over, NOW).await.unwrap());
    (code, grant)
}

/// Every row of the tables that hold what a browser and its front ends have.
fn rows(connection: &Connection) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for table in ["sessions", "codes", "grants", "claims"] {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM vestibule_{table} ORDER BY 1, 2"))
            .unwrap();
        let columns = statement.column_count();
        let found = statement
            .query_map([], |row| (0..columns).map(|at| row.get(at)).collect())
            .unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_writes_nothing() {
    let file = File::new();
    let store = file.serve();
    let (code, grant) = signed_in(&store).await;
    store.rotate_grant(rotation(&grant, 0, NOW)).await.unwrap();
    let outsider = file.outsider();
    let before = rows(&outsider);
    let (at, session) = (|seconds| NOW.plus_seconds(seconds), sign_in(1).session.id);

    let right = redemption(&code, 2);
    for wrong in [
        Redemption {
            hash: CodeHash::from_bytes([9; 32]),
            ..right.clone()
        },
        Redemption {
            client_id: "other".into(),
            ..right.clone()
        },
        Redemption {
            redirect_uri: "https://spa.example".into(),
            ..right.clone()
        },
        Redemption {
            code_challenge: "other".into(),
            ..right.clone()
        },
        Redemption {
            now: at(60),
            ..right.clone()
        },
    ] {
        let refused = store.redeem_code(wrong.clone()).await;
        assert!(refused.is_err(), "{wrong:?}");
        assert_eq!(rows(&outsider), before, "{wrong:?}");
    }
    // The first is within the grace: answered, and nothing to write.
    for (count, now) in [(0, at(5)), (2, at(5)), (7, at(5)), (1, at(86_400))] {
        let _ = store.rotate_grant(rotation(&grant, count, now)).await;
        assert_eq!(rows(&outsider), before, "{count}");
    }
    let late = store.hand_over(session, HandOver::Code(self::code(3)), at(86_400));
    assert!(!late.await.unwrap());
    assert!(!store.end_grant(grant.id, "other".into()).await.unwrap());
    assert_eq!(rows(&outsider), before);
    assert!(store.redeem_code(right).await.is_ok());
}

// A grant whose id is taken cannot be written; then the code is not used up either.
#[tokio::test(flavor = "multi_thread")]
async fn a_redemption_is_whole_or_not_at_all() {
    let file = File::new();
    let store = file.serve();
    let (code, _) = signed_in(&store).await;
    let before = rows(&file.outsider());

    let failed = store.redeem_code(redemption(&code, 1)).await;
    assert!(matches!(failed, Err(RedeemError::Store(_))), "{failed:?}");
    assert_eq!(rows(&file.outsider()), before);

    // The same in a sign-in: no session without what it hands over, and the old one and all of its stay.
    let mut other = sign_in(3);
    other.hand_over = Some(HandOver::Grant(grant(3)));
    store.apply(other).await.unwrap();
    let before = rows(&file.outsider());
    let mut failing = sign_in(2);
    failing.hand_over = Some(HandOver::Grant(grant(3)));
    failing.replaces = Some(sign_in(1).session.hash);
    assert!(store.apply(failing).await.is_err());
    assert_eq!(rows(&file.outsider()), before);
    store.redeem_code(redemption(&code, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_a_session_that_ended() {
    let file = File::new();
    let store = file.serve();
    let left = || {
        let outsider = file.outsider();
        ["sessions", "codes", "grants"].map(|table| count(&outsider, &format!("vestibule_{table}")))
    };
    let (code, _) = signed_in(&store).await;
    store.redeem_code(redemption(&code, 2)).await.unwrap();
    assert_eq!(left(), [1, 1, 2]);

    // The same user in the same browser: the rows are the same ones, on the new session.
    let user = store.session(SessionKey::Grant(grant(1).id), NOW).await;
    let user = user.unwrap().unwrap().user;
    let mut again = sign_in(2);
    again.act = Act::SignIn(user.account());
    again.identity.subject = "1".into();
    again.replaces = Some(sign_in(1).session.hash);
    store.apply(again).await.unwrap();
    assert_eq!(left(), [1, 1, 2]);

    let ended = store.end_session(SessionHash::from_bytes([2; 32])).await;
    assert_eq!(ended.unwrap(), Some(sign_in(2).session.id));
    assert_eq!(left(), [0, 0, 0]);
}

// An operator's own UPDATE, which ends no session.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_disabled_by_hand_gets_nothing_more() {
    let file = File::new();
    let store = file.serve();
    let (code, grant) = signed_in(&store).await;
    file.outsider()
        .execute_batch("UPDATE vestibule_users SET is_active = 0")
        .unwrap();
    let before = rows(&file.outsider());

    let redeemed = store.redeem_code(redemption(&code, 2)).await;
    assert!(matches!(redeemed, Err(RedeemError::Ended)), "{redeemed:?}");
    let rotated = store.rotate_grant(rotation(&grant, 0, NOW)).await;
    assert!(matches!(rotated, Err(RotateError::Ended)), "{rotated:?}");
    assert!(store.grant(grant.id, NOW).await.unwrap().is_none());
    let (session, other) = (sign_in(1).session, self::grant(2));
    for key in [
        SessionKey::Cookie(session.hash),
        SessionKey::Id(session.id),
        SessionKey::Grant(grant.id),
    ] {
        assert_eq!(store.session(key, NOW).await.unwrap(), None, "{key:?}");
    }
    let handed = store.hand_over(session.id, HandOver::Grant(other), NOW);
    assert!(!handed.await.unwrap());
    assert_eq!(rows(&file.outsider()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_codes_and_grants_is_there_after_reopening() {
    let file = File::new();
    let store = file.serve();
    let (code, reused) = signed_in(&store).await;
    store.redeem_code(redemption(&code, 2)).await.unwrap();
    let rotated = grant(2);
    for (grant, count) in [(&rotated, 0), (&rotated, 1), (&reused, 0)] {
        store
            .rotate_grant(rotation(grant, count, NOW))
            .await
            .unwrap();
    }
    let late = NOW.plus_seconds(11);
    let answer = store.rotate_grant(rotation(&reused, 0, late)).await;
    assert!(matches!(answer, Err(RotateError::Reused)), "{answer:?}");
    // Answered is committed: another connection sees it already.
    assert_eq!(count(&file.outsider(), "vestibule_grants"), 1);
    store.close().await;
    drop(store);

    let store = file.serve();
    let again = store.redeem_code(redemption(&code, 3)).await;
    assert!(
        matches!(again, Err(RedeemError::Used(Some(id))) if id == rotated.id),
        "{again:?}"
    );
    assert_eq!(
        store.grant(rotated.id, NOW).await.unwrap().unwrap().count,
        2
    );
    for count in [0, 1, 2] {
        let over = store.rotate_grant(rotation(&reused, count, NOW)).await;
        assert!(matches!(over, Err(RotateError::Ended)), "{over:?}");
    }
}

/// What `verb` answers where, behind it, a job ends the transaction of both; and whether it did.
async fn lost<T, F>(file: &File, store: &SqliteStore, verb: impl FnOnce() -> F) -> (T, bool)
where
    F: Future<Output = T>,
{
    let beside = file.outsider();
    let (mut runs, (tell, told)) = (0, channel());
    let release = hold(store);
    let verb = verb();
    let fault = store.writer.submit::<(), StoreError, _>(move |connection| {
        runs += 1;
        if runs == 1 {
            // Done, and not yet to be seen from another connection.
            let _ = tell.send(rows(connection) != rows(&beside));
            connection.execute_batch("ROLLBACK")?;
        }
        Ok(())
    });
    drop(release);
    let answer = verb.await;
    fault.await.unwrap();
    (answer, told.recv().unwrap())
}

// A lost batch runs its jobs again: each must be what it would have been the first time.
#[tokio::test(flavor = "multi_thread")]
async fn a_verb_whose_transaction_was_lost_is_done_once() {
    for _ in 0..200 {
        let file = File::new();
        let store = file.serve();
        let (code, grant) = signed_in(&store).await;

        let (redeemed, one) = lost(&file, &store, || store.redeem_code(redemption(&code, 2))).await;
        redeemed.unwrap();
        assert_eq!(count(&file.outsider(), "vestibule_grants"), 2);
        let (rotated, two) = lost(&file, &store, || {
            store.rotate_grant(rotation(&grant, 0, NOW))
        })
        .await;
        assert_eq!(rotated.unwrap().count, 1);
        let late = NOW.plus_seconds(11);
        let (reused, three) = lost(&file, &store, || {
            store.rotate_grant(rotation(&grant, 0, late))
        })
        .await;
        assert!(matches!(reused, Err(RotateError::Reused)), "{reused:?}");
        assert_eq!(count(&file.outsider(), "vestibule_grants"), 1);
        if one && two && three {
            return;
        }
    }
    panic!("no batch held the jobs together")
}

// A rotation that is not on disk is not answered; the token stays the one that counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_whose_commit_fails_leaves_the_token_as_it_was() {
    for _ in 0..200 {
        let file = File::new();
        let store = file.serve();
        let (_, grant) = signed_in(&store).await;
        let before = rows(&file.outsider());

        let release = hold(&store);
        let rotate = store.rotate_grant(rotation(&grant, 0, NOW));
        let owe = store
            .writer
            .submit::<(), StoreError, _>(|connection| {
                // Only COMMIT finds fault with it.
                Ok(connection.execute_batch(
                    "PRAGMA defer_foreign_keys = ON;
                     INSERT INTO vestibule_grants VALUES (randomblob(16), randomblob(16), 'spa', zeroblob(32), 0, 0, NULL, 0)",
                )?)
            });
        drop(release);
        let (rotated, owed) = (rotate.await, owe.await);
        assert!(owed.is_err());
        let Err(error) = rotated else {
            // They were not in one batch.
            continue;
        };

        assert!(matches!(error, RotateError::Store(_)), "{error:?}");
        assert_eq!(rows(&file.outsider()), before);
        let again = store.rotate_grant(rotation(&grant, 0, NOW)).await;
        assert_eq!(again.unwrap().count, 1);
        return;
    }
    panic!("no batch held the two together")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_first_version_keeps_its_people_and_takes_codes() {
    let file = File::new();
    let mut connection = file.outsider();
    apply(&mut connection, &file.path, &MIGRATIONS[..1]).unwrap();
    connection
        .execute_batch(
            "INSERT INTO vestibule_users (id, version, is_active, is_superuser, created_at, updated_at) VALUES (zeroblob(16), 1, 1, 0, 0, 0);
             INSERT INTO vestibule_sessions VALUES (zeroblob(32), zeroblob(16), zeroblob(16), 'idp', 0, 1800000000000000, 1900000000000000, 3600)",
        )
        .unwrap();
    drop(connection);

    let store = file.serve();
    assert!(copy_name(&file.path, 1).exists());
    let cookie = SessionKey::Cookie(SessionHash::from_bytes([0; 32]));
    let session = store.session(cookie, NOW).await.unwrap().unwrap().session;
    let code = code(1);
    let hand_over = HandOver::Code(code.clone());
    assert!(store.hand_over(session.id, hand_over, NOW).await.unwrap());
    store.redeem_code(redemption(&code, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_search_for_what_a_person_has_reads_a_whole_table() {
    let file = File::new();
    drop(file.serve());
    let connection = file.outsider();
    connection
        .pragma_update(None, "foreign_keys", "ON")
        .unwrap();
    for statement in [
        sql::SELECT_SESSION,
        sql::SELECT_SESSION_BY_ID,
        sql::SELECT_SESSION_BY_GRANT,
        sql::TOUCH_SESSION,
        sql::DELETE_SESSION,
        sql::DELETE_SESSIONS_OF,
        sql::SELECT_CODE,
        sql::USE_CODE,
        sql::MOVE_CODES,
        sql::PRUNE_CODES,
        sql::SELECT_GRANT,
        sql::ROTATE_GRANT,
        sql::MOVE_GRANTS,
        sql::DELETE_GRANT,
        sql::DELETE_GRANT_OF,
        sql::PRUNE_GRANTS,
        sql::UPDATE_IDENTITY,
        sql::DELETE_IDENTITY,
        sql::DELETE_OTHER_SESSIONS,
        sql::DELETE_TAKEN_AWAY,
        sql::SELECT_SEALED,
        sql::LEASE_PROVIDER_TOKENS,
        sql::UPDATE_PROVIDER_TOKENS,
        sql::DELETE_PROVIDER_TOKENS,
        // What a cascade looks for.
        "DELETE FROM vestibule_provider_tokens WHERE issuer = ?1 AND subject = ?2",
        "DELETE FROM vestibule_taken_away WHERE user = ?1",
        "DELETE FROM vestibule_codes WHERE session = ?1",
        "DELETE FROM vestibule_grants WHERE session = ?1",
    ] {
        let mut plan = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .unwrap();
        // Parameters have no part in the plan; NULL will do.
        let steps: Vec<String> = plan
            .query_map(
                rusqlite::params_from_iter(vec![Value::Null; plan.parameter_count()]),
                |row| row.get(3),
            )
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(
            steps.iter().any(|step| step.starts_with("SEARCH"))
                && !steps
                    .iter()
                    .any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE")),
            "{statement}: {steps:?}"
        );
    }
}
