//! The suite that every store passes: one public function a behaviour, each on a fresh store, each a panic where the
//! store does otherwise.
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each. The suite waits for no clock: time is an
//! argument of every verb.
//!
//! ```
//! use std::sync::Arc;
//! use vestibule_store::{OpenMode, SqliteStore, conformance};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
//! # let folder = tempfile::tempdir()?;
//! # runtime.block_on(async {
//! let store = SqliteStore::open(&folder.path().join("app.db"), OpenMode::Serve)?;
//! conformance::a_state_is_claimed_by_one_of_fifty(Arc::new(store)).await;
//! # Ok::<_, vestibule_store::OpenError>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "a suite of tests: what is not as expected is a panic"
)]

mod crowd;
mod grants;
mod invitations;
mod linking;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tokio::sync::Barrier;
use vestibule_accounts::{
    Account, Act, AddKey, Applied, ApplyError, BoxFuture, Claim, Decide, EmailAddress, HandOver,
    Identity, IdentityRecord, Known, NewPasswordUser, NewSession, NewUser, PasswordHash,
    RedeemError, RegisterError, RotateError, SecretCheck, SessionHash, SessionId, SessionKey,
    SignIn, StateHash, Store, StoreError, StoredKey, Timestamp, UnlinkError, User, UserId,
    UserPage, UserQuery, UserVersion,
};

pub use self::crowd::*;
pub use self::grants::*;
pub use self::invitations::*;
pub use self::linking::*;

use self::grants::{CLIENT, new_code, new_grant, redemption, rotation};

/// Makes a test of each behaviour in [`conformance`](crate::conformance).
///
/// It takes the name of an `async fn() -> (Arc<dyn Store>, K)` that makes a fresh, empty store. `K` is kept until the
/// test ends: a temporary folder, for example. The caller's crate needs `tokio` with `macros` and `rt-multi-thread`.
///
/// ```
/// # use std::sync::Arc;
/// # use vestibule_accounts::Store;
/// async fn fresh() -> (Arc<dyn Store>, ()) {
///     unimplemented!("a new and empty database")
/// }
///
/// vestibule_store::conformance_tests!(fresh);
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:path) => {
        $crate::conformance_tests! { @list @each $fresh }
    };
    (@list $($then:tt)*) => {
        $crate::conformance_tests! { $($then)*;
            a_first_sign_in_makes_a_user_an_identity_and_a_session
            a_known_identity_signs_in_and_refreshes_its_record
            a_subject_is_compared_byte_for_byte_and_within_its_issuer
            what_is_known_is_the_identity_the_owner_and_the_claimant
            a_link_adds_a_way_in_and_raises_the_version
            a_link_to_a_taken_identity_is_a_conflict
            a_user_disabled_since_the_decision_is_stale
            a_disabled_user_is_stale_even_as_it_stands
            an_identity_unlinked_since_the_decision_is_stale
            a_link_since_the_decision_is_stale
            a_decision_on_an_unknown_user_is_stale
            two_creators_of_one_identity_make_one_user
            two_creators_of_one_address_make_one_user
            admitting_decides_on_what_is_known_and_writes_it
            who_is_not_admitted_leaves_nothing_behind
            fifty_first_sign_ins_of_one_person_make_one_user
            an_evicted_claimant_loses_claim_password_and_sessions_and_keeps_its_row
            a_claimant_that_appeared_since_the_decision_is_stale
            a_claimant_that_changed_since_the_decision_is_stale
            a_state_is_claimed_by_one_of_fifty
            a_claim_is_remembered_for_a_quarter_of_an_hour
            a_replaced_session_is_gone_and_the_others_stay
            a_session_ends_at_its_end_and_when_idle
            disabling_ends_every_session_and_enabling_brings_none_back
            an_ended_session_is_gone_and_ends_once
            a_touch_moves_a_session_forwards_only
            a_touch_revives_no_ended_session
            activity_raises_the_version_only_when_it_changes
            administration_raises_the_version_only_when_it_changes
            a_session_is_found_by_its_cookie_its_name_and_its_grant
            a_sign_in_hands_over_what_it_was_given
            a_refused_sign_in_hands_nothing_over
            a_live_session_alone_hands_something_over
            a_client_has_a_hundred_grants_in_a_session_and_the_oldest_make_room
            codes_that_lapsed_unused_make_room
            a_code_is_redeemed_for_a_grant
            fifty_redemptions_of_one_code_make_one_grant
            a_code_of_another_client_target_or_verifier_stays_for_the_right_one
            a_code_cannot_be_redeemed_from_its_end_on
            a_used_code_is_told_as_used_with_what_came_of_it
            a_code_of_a_session_that_is_over_is_not_redeemed
            redemptions_beside_a_disabling_leave_no_grant
            a_rotation_raises_the_count_and_sees_the_session
            a_session_whose_grant_is_rotated_does_not_idle_out
            fifty_rotations_of_one_token_have_one_successor
            a_token_that_comes_again_within_the_grace_gets_the_same_successor
            a_token_that_comes_again_after_the_grace_ends_its_grant_for_good
            a_token_two_rotations_old_ends_its_grant_within_the_grace_too
            a_reuse_beside_rotations_ends_the_grant_once
            a_token_that_was_never_made_changes_nothing
            a_grant_ends_at_its_end_and_with_its_session
            a_grant_is_ended_by_its_own_client_alone
            signing_out_ends_codes_and_grants
            disabling_ends_codes_and_grants_and_enabling_brings_none_back
            unlinking_ends_every_session_but_the_acting_one
            a_new_sign_in_of_the_same_user_keeps_what_the_browser_was_given
            a_new_sign_in_of_another_user_ends_what_the_browser_was_given
            a_session_that_is_over_leaves_nothing_to_its_successor
            an_evicted_claimant_loses_what_it_was_given
            the_last_way_in_is_never_unlinked
            a_password_is_a_way_in_beside_an_identity
            an_unlink_on_an_old_version_is_stale
            two_unlinks_at_once_leave_a_way_in
            an_identity_of_somebody_else_is_not_unlinked
            a_link_is_written_while_the_session_that_it_needs_lives
            a_sign_in_whose_required_session_is_over_writes_nothing
            twenty_links_in_one_session_that_they_replace_add_one_way_in
            a_link_beside_signing_out_is_written_or_finds_the_session_over
            what_a_provider_gave_is_kept_beside_its_identity
            what_is_kept_is_listed_for_active_users_the_last_used_first
            a_refused_sign_in_changes_nothing_that_is_kept
            an_unlinked_identity_takes_what_was_kept_with_it
            a_refused_unlink_leaves_what_is_kept
            an_identity_that_its_user_took_away_is_known_as_that
            what_is_kept_is_leased_to_one_of_fifty
            a_lease_is_taken_over_at_its_end
            a_late_replacement_after_a_takeover_is_refused
            a_replacement_raises_the_version_and_ends_the_lease
            what_is_kept_is_removed_and_its_version_never_comes_again
            fifty_replacements_of_one_version_keep_one
            a_crowd_that_links_unlinks_and_signs_in_leaves_every_identity_one_owner
            a_password_user_claims_its_address_and_owns_none
            an_address_that_is_owned_or_claimed_is_not_registered
            fifty_registrations_of_one_address_make_one_user
            users_are_paged_the_oldest_first
            a_search_takes_its_text_literally_and_in_any_case
            an_owner_is_found_by_any_spelling_of_the_address
            identities_are_listed_the_oldest_first
            an_invitation_is_known_by_its_address_until_its_end
            a_second_invitation_for_an_address_replaces_the_first
            the_owner_of_an_address_is_not_invited_and_a_claimant_is_no_owner
            a_user_who_was_invited_uses_the_invitation_up
            any_new_owner_of_an_address_uses_its_invitation_up
            a_claim_uses_no_invitation_up
            an_invitation_gone_since_the_decision_is_stale
            a_refused_sign_in_uses_no_invitation_up
            fifty_sign_ins_with_one_invitation_make_one_user
            inviting_beside_signing_up_leaves_no_invitation_for_an_owned_address
            an_invitation_is_withdrawn_once
            invitations_are_paged_the_oldest_first
            pruning_removes_invitations_at_their_end
            a_signing_key_is_kept_as_it_was_given
            a_new_signing_key_retires_the_others_that_have_no_end
            a_new_signing_key_takes_the_place_of_those_that_wait_last
            a_first_signing_key_is_added_by_one_of_fifty
            a_next_signing_key_is_added_by_one_of_twenty
            a_revoked_signing_key_is_gone_and_somebody_signs
            a_revocation_beside_another_signer_adds_no_key
            two_revocations_at_once_leave_a_signer
            a_secret_is_checked_against_the_one_of_the_database
            pruning_removes_only_what_is_over
            pruning_removes_codes_a_day_after_their_end_and_grants_at_theirs
            an_open_store_is_ready
            a_closed_store_is_unavailable
            a_caller_that_goes_away_undoes_nothing
            a_caller_that_goes_away_brings_no_grant_back
        }
    };
    (@each $fresh:path; $($behaviour:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $behaviour() {
            let (store, _kept) = $fresh().await;
            $crate::conformance::$behaviour(store).await;
        }
    )*};
    (@names; $($behaviour:ident)*) => {
        vec![$((stringify!($behaviour), |store| Box::pin($behaviour(store)))),*]
    };
}

/// A behaviour, to be run on a fresh store.
pub type Behaviour = fn(Arc<dyn Store>) -> BoxFuture<'static, ()>;

/// Every behaviour with its name, for a harness of tests that makes its list when it runs.
#[must_use]
pub fn behaviours() -> Vec<(&'static str, Behaviour)> {
    conformance_tests! { @list @names }
}

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const ISSUER: &str = "https://idp.example";
const DAY: i64 = 86_400;

/// Creates a user with its identity and session in one sign-in.
pub async fn a_first_sign_in_makes_a_user_an_identity_and_a_session(store: Arc<dyn Store>) {
    let mut sign_in = sign_in(create(Some("Ann@X.example")), record("ann"));
    sign_in.identity.email = Some("ann@x.example".into());
    sign_in.identity.email_verified = true;
    sign_in.identity.picture = Some("https://x.example/ann.png".into());
    let Act::Create { user: new, .. } = sign_in.act.clone() else {
        unreachable!("it was made above")
    };

    let Applied { user, .. } = store.apply(sign_in.clone()).await.unwrap();

    assert_eq!(
        user,
        User {
            id: new.id,
            version: user.version,
            email: new.email,
            claimed_email: None,
            has_password: false,
            name: new.name,
            picture: new.picture,
            is_active: true,
            is_superuser: false,
            created_at: NOW,
            updated_at: NOW,
        }
    );
    assert_eq!(store.user(user.id).await.unwrap(), Some(user.clone()));
    assert_eq!(
        store.identities(user.id).await.unwrap(),
        [Identity {
            user: user.id,
            record: sign_in.identity,
            created_at: NOW,
            last_used_at: NOW,
        }]
    );
    let signed_in = store
        .session(SessionKey::Cookie(sign_in.session.hash), NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(signed_in.user, user);
    assert_eq!(signed_in.session.user, user.id);
    assert_eq!(signed_in.session.id, sign_in.session.id);
    assert_eq!(signed_in.session.provider, sign_in.session.provider);
    assert_eq!(signed_in.session.created_at, NOW);
    assert_eq!(signed_in.session.last_seen_at, NOW);
    assert_eq!(signed_in.session.expires_at, sign_in.session.expires_at);
    assert_eq!(signed_in.session.idle_seconds, sign_in.session.idle_seconds);
    assert_eq!(everyone(&store).await.len(), 1);
}

/// Signs in a known identity: the record is what the provider last said, the user is the same and unchanged.
pub async fn a_known_identity_signs_in_and_refreshes_its_record(store: Arc<dyn Store>) {
    let (user, first) = created(&store, "ann", Some("ann@x.example")).await;
    let later = NOW.plus_seconds(60);
    let mut again = sign_in(Act::SignIn(user.account()), record("ann"));
    again.identity.provider = "renamed".into();
    again.identity.name = Some("Ann B.".into());
    again.identity.email = Some("new@x.example".into());
    again.identity.picture = None;
    again.now = later;

    let Applied { user: same, .. } = store.apply(again.clone()).await.unwrap();

    // What the provider says now changes neither the address nor the version.
    assert_eq!(same, user);
    assert_eq!(
        store.identities(user.id).await.unwrap(),
        [Identity {
            user: user.id,
            record: again.identity,
            created_at: NOW,
            last_used_at: later,
        }]
    );
    assert!(lives(&store, again.session.hash).await);
    assert!(lives(&store, first.session.hash).await);
    assert_eq!(everyone(&store).await.len(), 1);
}

/// `Ann` and `ann` are two people, and so is `ann` at another issuer.
pub async fn a_subject_is_compared_byte_for_byte_and_within_its_issuer(store: Arc<dyn Store>) {
    let (ann, _) = created(&store, "ann", None).await;
    let (upper, _) = created(&store, "Ann", None).await;
    let mut elsewhere = sign_in(create(None), record("ann"));
    elsewhere.identity.issuer = format!("{ISSUER}/");
    let elsewhere = store.apply(elsewhere).await.unwrap().user;

    assert_eq!(known(&store, "ann").await.identity, Some(ann.account()));
    assert_eq!(known(&store, "Ann").await.identity, Some(upper.account()));
    assert_eq!(known(&store, "ann ").await.identity, None);
    assert_eq!(
        store
            .known(format!("{ISSUER}/"), "ann".into(), None, NOW)
            .await
            .unwrap()
            .identity,
        Some(elsewhere.account())
    );
}

/// Reads whom an identity belongs to, who owns an address, and who claims it. An address that is not asked for is not
/// looked up.
pub async fn what_is_known_is_the_identity_the_owner_and_the_claimant(store: Arc<dyn Store>) {
    let (ann, _) = created(&store, "ann", Some("ann@x.example")).await;
    let bob = registered(&store, "bob@x.example").await;
    let ask = async |subject: &str, address: &str| {
        let key = email(address).key().clone();
        store
            .known(ISSUER.into(), subject.into(), Some(key), NOW)
            .await
            .unwrap()
    };

    // Whose the address is decides nothing then, and a store may leave it out.
    assert_eq!(
        ask("ann", "BOB@X.example").await.identity,
        Some(ann.account())
    );
    assert_eq!(
        ask("nobody", "BOB@X.example").await,
        Known {
            identity: None,
            owner: None,
            claimant: Some(bob.account()),
            invited: false,
            taken_away: false,
        }
    );
    assert_eq!(
        ask("nobody", "ANN@x.example").await,
        Known {
            identity: None,
            owner: Some(ann.account()),
            claimant: None,
            invited: false,
            taken_away: false,
        }
    );
    assert_eq!(ask("nobody", "no@x.example").await, Known::default());
    assert_eq!(
        known(&store, "ann").await,
        Known {
            identity: Some(ann.account()),
            owner: None,
            claimant: None,
            invited: false,
            taken_away: false,
        }
    );
}

/// Gives a user a second identity, with a session in the same act.
pub async fn a_link_adds_a_way_in_and_raises_the_version(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", Some("ann@x.example")).await;
    let mut link = sign_in(Act::Link(user.account()), record("ann at work"));
    link.now = NOW.plus_seconds(60);

    let Applied { user: linked, .. } = store.apply(link.clone()).await.unwrap();

    assert_eq!(linked.id, user.id);
    assert_eq!(linked.email, user.email);
    assert!(linked.version > user.version);
    assert_eq!(linked.updated_at, link.now);
    assert!(lives(&store, link.session.hash).await);
    assert_eq!(
        known(&store, "ann at work").await.identity,
        Some(linked.account())
    );
    assert_eq!(known(&store, "ann").await.identity, Some(linked.account()));
    assert_eq!(store.identities(user.id).await.unwrap().len(), 2);
}

/// An identity has one user: neither another nor its own links it again.
pub async fn a_link_to_a_taken_identity_is_a_conflict(store: Arc<dyn Store>) {
    let (ann, _) = created(&store, "ann", None).await;
    let (bob, _) = created(&store, "bob", None).await;

    conflicts(&store, sign_in(Act::Link(bob.account()), record("ann"))).await;
    conflicts(&store, sign_in(Act::Link(ann.account()), record("ann"))).await;
}

/// Between the decision and the write, the operator disabled the user.
pub async fn a_user_disabled_since_the_decision_is_stale(store: Arc<dyn Store>) {
    created(&store, "ann", None).await;
    let decided_on = known(&store, "ann").await.identity.unwrap();
    store
        .set_active(decided_on.user, false, NOW)
        .await
        .unwrap()
        .unwrap();

    is_stale(&store, sign_in(Act::SignIn(decided_on), record("ann"))).await;
    is_stale(&store, sign_in(Act::Link(decided_on), record("other"))).await;

    // Enabled again, it still is not the user of the decision.
    store.set_active(decided_on.user, true, NOW).await.unwrap();
    is_stale(&store, sign_in(Act::SignIn(decided_on), record("ann"))).await;
}

/// A decision to let a disabled user in is never applied, however fresh it is.
pub async fn a_disabled_user_is_stale_even_as_it_stands(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", None).await;
    store.set_active(user.id, false, NOW).await.unwrap();
    let disabled = known(&store, "ann").await.identity.unwrap();
    assert!(!disabled.is_active);

    is_stale(&store, sign_in(Act::SignIn(disabled), record("ann"))).await;
    is_stale(&store, sign_in(Act::Link(disabled), record("other"))).await;

    let pretended = Account {
        is_active: true,
        ..disabled
    };
    is_stale(&store, sign_in(Act::SignIn(pretended), record("ann"))).await;
}

/// Between the decision and the write, the identity was unlinked.
pub async fn an_identity_unlinked_since_the_decision_is_stale(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", None).await;
    linked(&store, &user, "ann at work").await;
    let decided_on = known(&store, "ann").await.identity.unwrap();
    let unlinked = store
        .unlink(decided_on, ISSUER.into(), "ann".into(), None, NOW)
        .await
        .unwrap();
    assert!(unlinked.is_some());

    is_stale(&store, sign_in(Act::SignIn(decided_on), record("ann"))).await;

    // Nor does a decision on the user as it stands now bring the identity back.
    let now = known(&store, "ann at work").await.identity.unwrap();
    is_stale(&store, sign_in(Act::SignIn(now), record("ann"))).await;
}

/// Between the decision and the write, another identity was linked.
pub async fn a_link_since_the_decision_is_stale(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", None).await;
    let decided_on = known(&store, "ann").await.identity.unwrap();
    linked(&store, &user, "ann at work").await;

    is_stale(&store, sign_in(Act::SignIn(decided_on), record("ann"))).await;
    is_stale(&store, sign_in(Act::Link(decided_on), record("third"))).await;
}

/// Nobody is signed in as a user whom the database does not have.
pub async fn a_decision_on_an_unknown_user_is_stale(store: Arc<dyn Store>) {
    let nobody = Account {
        user: UserId::new(NOW, bytes()),
        version: UserVersion(1),
        is_active: true,
    };

    is_stale(&store, sign_in(Act::SignIn(nobody), record("ann"))).await;
    is_stale(&store, sign_in(Act::Link(nobody), record("ann"))).await;
    let evicting = Act::Create {
        user: new_user(Some("ann@x.example")),
        evict: Some(nobody),
        by_invitation: false,
    };
    is_stale(&store, sign_in(evicting, record("ann"))).await;
}

/// Two browsers of one person, both decided to create: one user, one `Conflict`, and no trace of the loser.
pub async fn two_creators_of_one_identity_make_one_user(store: Arc<dyn Store>) {
    one_creator_wins(
        &store,
        [
            sign_in(create(None), record("ann")),
            sign_in(create(None), record("ann")),
        ],
    )
    .await;
}

/// Two identities with one verified address, both decided to create: one user, one `Conflict`.
pub async fn two_creators_of_one_address_make_one_user(store: Arc<dyn Store>) {
    one_creator_wins(
        &store,
        [
            sign_in(create(Some("ann@x.example")), record("ann")),
            sign_in(create(Some("ANN@X.example")), record("ann at work")),
        ],
    )
    .await;
}

/// What a store knows is what is decided on, and what is decided is written.
pub async fn admitting_decides_on_what_is_known_and_writes_it(store: Arc<dyn Store>) {
    let bob = registered(&store, "ann@x.example").await;
    let first = sign_in(create(Some("ann@x.example")), record("ann"));
    let (hash, expected) = (first.session.hash, bob.account());
    let act = Act::Create {
        user: new_user(Some("ann@x.example")),
        evict: Some(expected),
        by_invitation: false,
    };
    let decide: Decide = Box::new(move |known| {
        assert_eq!(
            *known,
            Known {
                claimant: Some(expected),
                ..Known::default()
            }
        );
        Some(SignIn {
            act: act.clone(),
            ..first.clone()
        })
    });
    let ann = admitted(&store, "ann", decide).await.unwrap().unwrap();
    assert!(lives(&store, hash).await);

    let again = sign_in(Act::SignIn(ann.user.account()), record("ann"));
    let (hash, expected) = (again.session.hash, ann.user.account());
    let decide: Decide = Box::new(move |known| {
        assert_eq!(known.identity, Some(expected));
        Some(again.clone())
    });
    let same = admitted(&store, "ann", decide).await.unwrap().unwrap();
    assert_eq!(same.user, ann.user);
    assert!(lives(&store, hash).await);
    if let Some(identities) = same.identities {
        assert_eq!(identities, store.identities(ann.user.id).await.unwrap());
    }
}

/// Who is not let in leaves nothing behind, and a decision on what is over is no way in.
pub async fn who_is_not_admitted_leaves_nothing_behind(store: Arc<dyn Store>) {
    let refuse: Decide = Box::new(|_| None);
    assert_eq!(admitted(&store, "ann", refuse).await.unwrap(), None);
    assert!(everyone(&store).await.is_empty());

    let (ann, _) = created(&store, "ann", None).await;
    store.set_active(ann.id, false, NOW).await.unwrap();
    let late = sign_in(Act::SignIn(ann.account()), record("ann"));
    let hash = late.session.hash;
    let decide: Decide = Box::new(move |_| Some(late.clone()));
    let refused = admitted(&store, "ann", decide).await;
    assert!(matches!(refused, Err(ApplyError::Stale)), "{refused:?}");
    assert!(!lives(&store, hash).await);
}

/// Fifty browsers of one person at once: exactly one user, and everybody is signed in.
pub async fn fifty_first_sign_ins_of_one_person_make_one_user(store: Arc<dyn Store>) {
    let signed_in = at_once(&store, 50, |store, _| async move {
        let first = sign_in(create(Some("ann@x.example")), record("ann"));
        let hash = first.session.hash;
        let decide: Decide = Box::new(move |known| {
            Some(SignIn {
                act: match known.identity {
                    Some(account) => Act::SignIn(account),
                    None => first.act.clone(),
                },
                ..first.clone()
            })
        });
        let applied = admitted(&store, "ann", decide).await.unwrap().unwrap();
        (applied.user.id, hash)
    })
    .await;

    let everyone = everyone(&store).await;
    assert_eq!(everyone.len(), 1);
    assert_eq!(everyone[0].1.len(), 1);
    for (user, hash) in signed_in {
        assert_eq!(user, everyone[0].0.id);
        assert!(lives(&store, hash).await);
    }
}

/// Whoever proves an address takes it from a password user who only claimed it.
pub async fn an_evicted_claimant_loses_claim_password_and_sessions_and_keeps_its_row(
    store: Arc<dyn Store>,
) {
    let claimant = registered(&store, "ann@x.example").await;
    let (claimant, old) = linked(&store, &claimant, "impostor").await;
    assert!(claimant.has_password && lives(&store, old.session.hash).await);
    let bystander = registered(&store, "bob@x.example").await;

    let act = Act::Create {
        user: new_user(Some("ann@x.example")),
        evict: Some(claimant.account()),
        by_invitation: false,
    };
    let mut proved = sign_in(act, record("ann"));
    proved.now = NOW.plus_seconds(60);
    let owner = store.apply(proved.clone()).await.unwrap().user;

    assert_ne!(owner.id, claimant.id);
    assert_eq!(owner.email, Some(email("ann@x.example")));
    assert!(!owner.has_password);
    assert!(lives(&store, proved.session.hash).await);

    let evicted = store.user(claimant.id).await.unwrap().unwrap();
    assert!(evicted.version > claimant.version);
    assert_eq!(
        evicted,
        User {
            version: evicted.version,
            claimed_email: None,
            has_password: false,
            updated_at: proved.now,
            ..claimant
        }
    );
    assert!(!lives(&store, old.session.hash).await);
    assert_eq!(store.identities(claimant.id).await.unwrap().len(), 1);
    assert_eq!(
        store.user(bystander.id).await.unwrap(),
        Some(bystander.clone())
    );
}

/// Between the decision to create and the write, somebody began to claim the address.
pub async fn a_claimant_that_appeared_since_the_decision_is_stale(store: Arc<dyn Store>) {
    let decided = sign_in(create(Some("ann@x.example")), record("ann"));
    registered(&store, "ANN@x.example").await;

    is_stale(&store, decided).await;

    // A claim of another address is in nobody's way.
    store
        .apply(sign_in(create(Some("bob@x.example")), record("bob")))
        .await
        .unwrap();
}

/// Between the decision to evict and the write, the claimant changed.
pub async fn a_claimant_that_changed_since_the_decision_is_stale(store: Arc<dyn Store>) {
    let claimant = registered(&store, "ann@x.example").await;
    let (_, session) = linked(&store, &claimant, "somebody").await;

    let act = Act::Create {
        user: new_user(Some("ann@x.example")),
        evict: Some(claimant.account()),
        by_invitation: false,
    };
    is_stale(&store, sign_in(act, record("ann"))).await;
    assert!(lives(&store, session.session.hash).await);
}

/// Fifty callbacks with one `state` at once: exactly one goes on.
pub async fn a_state_is_claimed_by_one_of_fifty(store: Arc<dyn Store>) {
    let state = StateHash::from_bytes(bytes());
    let claims = at_once(&store, 50, move |store, _| async move {
        store.claim_state(state, NOW).await.unwrap()
    })
    .await;

    let firsts = claims.iter().filter(|claim| **claim == Claim::First);
    assert_eq!(firsts.count(), 1);
}

/// A claim outlives every `state`; other states are not in its way.
pub async fn a_claim_is_remembered_for_a_quarter_of_an_hour(store: Arc<dyn Store>) {
    let state = StateHash::from_bytes(bytes());
    let claim = async |state, seconds| {
        store
            .claim_state(state, NOW.plus_seconds(seconds))
            .await
            .unwrap()
    };

    assert_eq!(claim(state, 0).await, Claim::First);
    for seconds in [0, 1, 450, 899, 900] {
        assert_eq!(claim(state, seconds).await, Claim::Used, "{seconds}");
        let other = StateHash::from_bytes(bytes());
        assert_eq!(claim(other, seconds).await, Claim::First, "{seconds}");
    }
}

/// A sign-in ends the browser's old session, and only that.
pub async fn a_replaced_session_is_gone_and_the_others_stay(store: Arc<dyn Store>) {
    let (user, old) = created(&store, "ann", None).await;
    let other = sign_in(Act::SignIn(user.account()), record("ann"));
    store.apply(other.clone()).await.unwrap();

    let mut new = sign_in(Act::SignIn(user.account()), record("ann"));
    new.replaces = Some(old.session.hash);
    store.apply(new.clone()).await.unwrap();

    assert!(!lives(&store, old.session.hash).await);
    assert!(lives(&store, other.session.hash).await);
    assert!(lives(&store, new.session.hash).await);
}

/// A session lives up to its end, and up to its idle time after it was last seen; not a microsecond longer.
pub async fn a_session_ends_at_its_end_and_when_idle(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", None).await;
    let microsecond = |at: Timestamp| Timestamp::from_micros(at.micros() - 1);
    for (expires, idle, end) in [(100, 1_000, 100), (1_000, 100, 100)] {
        let mut sign_in = sign_in(Act::SignIn(user.account()), record("ann"));
        sign_in.session.expires_at = NOW.plus_seconds(expires);
        sign_in.session.idle_seconds = idle;
        let hash = sign_in.session.hash;
        store.apply(sign_in).await.unwrap();

        let end = NOW.plus_seconds(end);
        let before = store
            .session(SessionKey::Cookie(hash), microsecond(end))
            .await
            .unwrap();
        assert_eq!(before.unwrap().user, user);
        assert_eq!(
            store.session(SessionKey::Cookie(hash), end).await.unwrap(),
            None
        );
    }
    let unknown = SessionHash::from_bytes(bytes());
    assert_eq!(
        store
            .session(SessionKey::Cookie(unknown), NOW)
            .await
            .unwrap(),
        None
    );
}

/// Disabling a user ends that user's sessions for good, and nobody else's.
pub async fn disabling_ends_every_session_and_enabling_brings_none_back(store: Arc<dyn Store>) {
    let (ann, first) = created(&store, "ann", None).await;
    let second = sign_in(Act::SignIn(ann.account()), record("ann"));
    store.apply(second.clone()).await.unwrap();
    let (_, bob) = created(&store, "bob", None).await;

    let disabled = store.set_active(ann.id, false, NOW).await.unwrap().unwrap();
    assert!(!disabled.is_active);
    for session in [first.session.hash, second.session.hash] {
        assert!(!lives(&store, session).await);
    }
    assert!(lives(&store, bob.session.hash).await);

    let enabled = store.set_active(ann.id, true, NOW).await.unwrap().unwrap();
    assert!(enabled.is_active);
    for session in [first.session.hash, second.session.hash] {
        assert!(!lives(&store, session).await);
    }
    // The identity still opens.
    store
        .apply(sign_in(Act::SignIn(enabled.account()), record("ann")))
        .await
        .unwrap();
}

/// Signing out ends one session; the second time there is none.
pub async fn an_ended_session_is_gone_and_ends_once(store: Arc<dyn Store>) {
    let (user, ended) = created(&store, "ann", None).await;
    let other = sign_in(Act::SignIn(user.account()), record("ann"));
    store.apply(other.clone()).await.unwrap();

    let end = async || store.end_session(ended.session.hash).await.unwrap();
    assert_eq!(end().await, Some(ended.session.id));
    assert!(!lives(&store, ended.session.hash).await);
    assert!(lives(&store, other.session.hash).await);
    assert_eq!(end().await, None);
}

/// A touch puts idleness off. One that comes late takes nothing back, and none moves the end.
pub async fn a_touch_moves_a_session_forwards_only(store: Arc<dyn Store>) {
    let mut sign_in = sign_in(create(None), record("ann"));
    sign_in.session.expires_at = NOW.plus_seconds(1_000);
    sign_in.session.idle_seconds = 100;
    let (id, hash) = (sign_in.session.id, sign_in.session.hash);
    store.apply(sign_in).await.unwrap();
    let at = |seconds| NOW.plus_seconds(seconds);
    let seen = async || {
        let found = store
            .session(SessionKey::Cookie(hash), at(50))
            .await
            .unwrap()
            .unwrap();
        found.session.last_seen_at
    };

    store.touch_session(id, at(50)).await.unwrap();
    assert_eq!(seen().await, at(50));
    store.touch_session(id, at(20)).await.unwrap();
    assert_eq!(seen().await, at(50));
    assert!(
        store
            .session(SessionKey::Cookie(hash), at(149))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        store
            .session(SessionKey::Cookie(hash), at(150))
            .await
            .unwrap(),
        None
    );

    let mut last = 50;
    while last < 990 {
        last = (last + 90).min(990);
        store.touch_session(id, at(last)).await.unwrap();
    }
    assert!(
        store
            .session(SessionKey::Cookie(hash), at(999))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        store
            .session(SessionKey::Cookie(hash), at(1_000))
            .await
            .unwrap(),
        None
    );
}

/// A touch of a session that was ended, idled out or expired changes nothing.
pub async fn a_touch_revives_no_ended_session(store: Arc<dyn Store>) {
    let (user, ended) = created(&store, "ann", None).await;
    store.end_session(ended.session.hash).await.unwrap();
    store.touch_session(ended.session.id, NOW).await.unwrap();
    assert!(!lives(&store, ended.session.hash).await);

    for (expires, idle) in [(1_000, 100), (100, 1_000)] {
        let mut over = sign_in(Act::SignIn(user.account()), record("ann"));
        over.session.expires_at = NOW.plus_seconds(expires);
        over.session.idle_seconds = idle;
        store.apply(over.clone()).await.unwrap();

        let end = NOW.plus_seconds(100);
        assert_eq!(
            store
                .session(SessionKey::Cookie(over.session.hash), end)
                .await
                .unwrap(),
            None
        );
        store.touch_session(over.session.id, end).await.unwrap();
        assert_eq!(
            store
                .session(SessionKey::Cookie(over.session.hash), end)
                .await
                .unwrap(),
            None
        );
    }
    let unknown = SessionId::new(NOW, bytes());
    store.touch_session(unknown, NOW).await.unwrap();
}

/// The version says that something changed; what stays as it was raises nothing.
pub async fn activity_raises_the_version_only_when_it_changes(store: Arc<dyn Store>) {
    let (user, session) = created(&store, "ann", None).await;
    let later = NOW.plus_seconds(60);
    let set = async |active| {
        store
            .set_active(user.id, active, later)
            .await
            .unwrap()
            .unwrap()
    };

    assert_eq!(set(true).await, user);
    assert!(lives(&store, session.session.hash).await);
    let disabled = set(false).await;
    assert!(disabled.version > user.version);
    assert_eq!(disabled.updated_at, later);
    assert_eq!(set(false).await, disabled);
    assert!(set(true).await.version > disabled.version);

    let nobody = UserId::new(NOW, bytes());
    assert_eq!(store.set_active(nobody, false, NOW).await.unwrap(), None);
}

/// As with activity; a change of rights ends every session (S65), and what changes nothing ends none.
pub async fn administration_raises_the_version_only_when_it_changes(store: Arc<dyn Store>) {
    let (user, session) = created(&store, "ann", None).await;
    let later = NOW.plus_seconds(60);
    let set = async |superuser| {
        store
            .set_superuser(user.id, superuser, later)
            .await
            .unwrap()
            .unwrap()
    };

    assert_eq!(set(false).await, user);
    assert!(lives(&store, session.session.hash).await);
    let raised = set(true).await;
    assert!(!lives(&store, session.session.hash).await);
    assert!(raised.is_superuser && raised.version > user.version);
    assert_eq!(raised.updated_at, later);
    assert_eq!(set(true).await, raised);
    let lowered = set(false).await;
    assert!(!lowered.is_superuser && lowered.version > raised.version);

    let nobody = UserId::new(NOW, bytes());
    assert_eq!(store.set_superuser(nobody, true, NOW).await.unwrap(), None);
}

/// A user with one identity and no password keeps it.
pub async fn the_last_way_in_is_never_unlinked(store: Arc<dyn Store>) {
    let (user, session) = created(&store, "ann", Some("ann@x.example")).await;
    let before = everyone(&store).await;

    let last = store
        .unlink(user.account(), ISSUER.into(), "ann".into(), None, NOW)
        .await;
    assert!(matches!(last, Err(UnlinkError::LastMethod)), "{last:?}");
    assert_eq!(everyone(&store).await, before);
    assert!(lives(&store, session.session.hash).await);

    let (user, _) = linked(&store, &user, "ann at work").await;
    let later = NOW.plus_seconds(60);
    let unlinked = store
        .unlink(user.account(), ISSUER.into(), "ann".into(), None, later)
        .await;
    assert!(unlinked.unwrap().is_some());
    let now = store.user(user.id).await.unwrap().unwrap();
    assert!(now.version > user.version);
    assert_eq!(now.updated_at, later);
    assert_eq!(known(&store, "ann").await.identity, None);
    let last = store
        .unlink(
            now.account(),
            ISSUER.into(),
            "ann at work".into(),
            None,
            NOW,
        )
        .await;
    assert!(matches!(last, Err(UnlinkError::LastMethod)), "{last:?}");
}

/// A user with a password may give up the only identity.
pub async fn a_password_is_a_way_in_beside_an_identity(store: Arc<dyn Store>) {
    let user = registered(&store, "ann@x.example").await;
    let (user, _) = linked(&store, &user, "ann").await;

    let unlinked = store
        .unlink(user.account(), ISSUER.into(), "ann".into(), None, NOW)
        .await;
    assert!(unlinked.unwrap().is_some());
    assert_eq!(store.identities(user.id).await.unwrap(), []);
}

/// What was decided on an older version of the user is not done.
pub async fn an_unlink_on_an_old_version_is_stale(store: Arc<dyn Store>) {
    let (old, _) = created(&store, "ann", None).await;
    linked(&store, &old, "ann at work").await;
    let before = everyone(&store).await;

    let stale = store
        .unlink(old.account(), ISSUER.into(), "ann".into(), None, NOW)
        .await;
    assert!(matches!(stale, Err(UnlinkError::Stale)), "{stale:?}");
    assert_eq!(everyone(&store).await, before);
}

/// Two ways in, both given up at once: one stays.
pub async fn two_unlinks_at_once_leave_a_way_in(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "0", None).await;
    let (user, _) = linked(&store, &user, "1").await;
    let account = user.account();
    let unlinked = at_once(&store, 2, move |store, which| async move {
        store
            .unlink(account, ISSUER.into(), which.to_string(), None, NOW)
            .await
            .is_ok_and(|unlinked| unlinked.is_some())
    })
    .await;

    assert_eq!(unlinked.iter().filter(|done| **done).count(), 1);
    assert_eq!(store.identities(user.id).await.unwrap().len(), 1);
}

/// `false`, and it stays where it is.
pub async fn an_identity_of_somebody_else_is_not_unlinked(store: Arc<dyn Store>) {
    created(&store, "ann", None).await;
    let (bob, _) = created(&store, "bob", None).await;
    let (bob, _) = linked(&store, &bob, "bob at work").await;
    let before = everyone(&store).await;

    for subject in ["ann", "nobody"] {
        let unlinked = store
            .unlink(bob.account(), ISSUER.into(), subject.into(), None, NOW)
            .await;
        assert_eq!(unlinked.unwrap(), None, "{subject}");
    }
    assert_eq!(everyone(&store).await, before);
}

/// A password user has claimed an address and proved nothing.
pub async fn a_password_user_claims_its_address_and_owns_none(store: Arc<dyn Store>) {
    let user = registered(&store, "Ann@X.example").await;

    assert_eq!(user.claimed_email, Some(email("Ann@X.example")));
    assert_eq!(user.email, None);
    assert!(user.has_password && user.is_active && !user.is_superuser);
    assert_eq!((user.created_at, user.updated_at), (NOW, NOW));
    assert_eq!(store.user(user.id).await.unwrap(), Some(user.clone()));
    assert_eq!(store.identities(user.id).await.unwrap(), []);
    let key = email("ann@x.example").key().clone();
    let known = store
        .known(ISSUER.into(), "ann".into(), Some(key), NOW)
        .await
        .unwrap();
    assert_eq!((known.owner, known.claimant), (None, Some(user.account())));
}

/// An address that belongs to somebody, or that somebody claims, in any spelling, makes no second user.
pub async fn an_address_that_is_owned_or_claimed_is_not_registered(store: Arc<dyn Store>) {
    created(&store, "ann", Some("ann@x.example")).await;
    registered(&store, "bob@x.example").await;
    let before = everyone(&store).await;

    for taken in [
        "ann@x.example",
        "ANN@x.example",
        "bob@x.example",
        "Bob@X.example",
    ] {
        let refused = store.register(password_user(taken), NOW).await;
        assert!(matches!(refused, Err(RegisterError::Exists)), "{refused:?}");
    }
    assert_eq!(everyone(&store).await, before);
}

/// Fifty registrations of one address at once: one user, the others are told that it exists.
pub async fn fifty_registrations_of_one_address_make_one_user(store: Arc<dyn Store>) {
    let registered = at_once(&store, 50, |store, _| async move {
        match store.register(password_user("ann@x.example"), NOW).await {
            Ok(_) => true,
            Err(RegisterError::Exists) => false,
            Err(error) => panic!("{error}"),
        }
    })
    .await;

    assert_eq!(registered.iter().filter(|made| **made).count(), 1);
    assert_eq!(everyone(&store).await.len(), 1);
}

/// Every user is on one page, the oldest first, and the last page says so.
pub async fn users_are_paged_the_oldest_first(store: Arc<dyn Store>) {
    let mut expected = Vec::new();
    for age in [3, 1, 4, 0, 2] {
        let mut new = new_user(None);
        new.id = UserId::new(NOW.minus_seconds(age), bytes());
        let act = Act::Create {
            user: new,
            evict: None,
            by_invitation: false,
        };
        let sign_in = sign_in(act, record(&format!("{age}")));
        expected.push(store.apply(sign_in).await.unwrap().user.id);
    }
    expected.sort();

    for limit in [1, 2, 4, 5, 6] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store
                .users(UserQuery {
                    after,
                    limit,
                    ..UserQuery::default()
                })
                .await
                .unwrap();
            assert!(page.users.len() <= limit as usize);
            assert!(!page.users.is_empty(), "a page after the last, by {limit}");
            found.extend(page.users.iter().map(|user| user.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "by {limit}");
    }
}

/// A search is for part of a name or an address, owned or claimed. `%`, `_` and `\` stand for themselves.
pub async fn a_search_takes_its_text_literally_and_in_any_case(store: Arc<dyn Store>) {
    for (name, address) in [
        ("100% Ann", "one@x.example"),
        ("1000 Ann", "a_b@x.example"),
        ("back\\slash", "axb@x.example"),
        ("backslash", "four@x.example"),
    ] {
        let mut new = new_user(Some(address));
        new.name = Some(name.into());
        let act = Act::Create {
            user: new,
            evict: None,
            by_invitation: false,
        };
        store.apply(sign_in(act, record(address))).await.unwrap();
    }
    registered(&store, "claimed@y.example").await;

    for (text, expected) in [
        ("0%", &["100% Ann"][..]),
        ("%", &["100% Ann"]),
        ("a_b", &["1000 Ann"]),
        ("_", &["1000 Ann"]),
        ("\\", &["back\\slash"]),
        ("k\\s", &["back\\slash"]),
        ("ANN", &["100% Ann", "1000 Ann"]),
        ("FOUR@X", &["backslash"]),
        ("Claimed@Y", &[""]),
        ("' OR 1=1 --", &[]),
        ("nobody", &[]),
    ] {
        let page = found(&store, text).await;
        let mut names: Vec<_> = page
            .users
            .iter()
            .map(|user| user.name.as_deref().unwrap_or_default())
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{text}");
        assert_eq!(page.next, None);
    }
    assert_eq!(found(&store, "").await.users.len(), 5);
}

/// The owner of an address is found by what its spellings have in common.
pub async fn an_owner_is_found_by_any_spelling_of_the_address(store: Arc<dyn Store>) {
    let (ann, _) = created(&store, "ann", Some("Ann@X.example")).await;
    created(&store, "bob", Some("bob@x.example")).await;
    let by = async |text: &str| {
        store
            .users(UserQuery {
                email: Some(email(text).key().clone()),
                limit: 10,
                ..UserQuery::default()
            })
            .await
            .unwrap()
            .users
    };

    assert_eq!(by("ANN@x.EXAMPLE").await, [ann]);
    assert_eq!(by("nn@x.example").await, []);
}

/// A user's ways in stand in the order in which they were added.
pub async fn identities_are_listed_the_oldest_first(store: Arc<dyn Store>) {
    let (mut user, _) = created(&store, "z", None).await;
    for (seconds, subject) in [(1, "m"), (2, "a")] {
        let mut link = sign_in(Act::Link(user.account()), record(subject));
        link.now = NOW.plus_seconds(seconds);
        user = store.apply(link).await.unwrap().user;
    }
    // Using the oldest one changes nothing about it.
    let mut again = sign_in(Act::SignIn(user.account()), record("z"));
    again.now = NOW.plus_seconds(3);
    store.apply(again).await.unwrap();

    let identities = store.identities(user.id).await.unwrap();
    let subjects: Vec<_> = identities
        .iter()
        .map(|identity| identity.record.subject.as_str())
        .collect();
    assert_eq!(subjects, ["z", "m", "a"]);
    let nobody = UserId::new(NOW, bytes());
    assert_eq!(store.identities(nobody).await.unwrap(), []);
}

/// Every field of a key comes back as it went in, the oldest key first.
pub async fn a_signing_key_is_kept_as_it_was_given(store: Arc<dyn Store>) {
    assert_eq!(store.signing_keys().await.unwrap(), []);
    let mut young = key("young", 10);
    young.retired_at = Some(NOW.plus_seconds(DAY));
    let old = key("old", 0);
    assert!(
        store
            .add_signing_key(young.clone(), NOW, AddKey::Always)
            .await
            .unwrap()
    );
    assert!(
        store
            .add_signing_key(old.clone(), NOW, AddKey::Always)
            .await
            .unwrap()
    );
    assert_eq!(store.signing_keys().await.unwrap(), [old, young]);
}

/// The keys before a new one get their end; an end that a key has already stays. A key that is there already is not
/// added again, and retires nobody.
pub async fn a_new_signing_key_retires_the_others_that_have_no_end(store: Arc<dyn Store>) {
    let end = |days| NOW.plus_seconds(days * DAY);
    let (first, second, third) = (key("1", 1), key("2", 2), key("3", 3));
    store
        .add_signing_key(first.clone(), end(0), AddKey::Always)
        .await
        .unwrap();
    store
        .add_signing_key(second.clone(), end(1), AddKey::Always)
        .await
        .unwrap();
    store
        .add_signing_key(third.clone(), end(2), AddKey::Always)
        .await
        .unwrap();
    let expected = [
        StoredKey {
            retired_at: Some(end(1)),
            ..first
        },
        StoredKey {
            retired_at: Some(end(2)),
            ..second
        },
        third.clone(),
    ];
    assert_eq!(store.signing_keys().await.unwrap(), expected);

    let again = store.add_signing_key(third, end(3), AddKey::Always).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(store.signing_keys().await.unwrap(), expected);
}

/// Of those that wait for their turn, the ones whose turn comes last make room. Whoever signs or has signed stays.
pub async fn a_new_signing_key_takes_the_place_of_those_that_wait_last(store: Arc<dyn Store>) {
    // Each key's turn comes 60 seconds after it is made.
    for (kid, age, at_most, expected) in [
        ("a", 0, 2, "a"),
        ("b", 30, 2, "a b"),
        ("c", 40, 2, "a c"),
        ("d", 59, 2, "a d"),
        // The turn of `a` has come.
        ("e", 60, 2, "a d e"),
        ("f", 118, 2, "a d f"),
        ("g", 118, 1, "a g"),
        ("h", 1_000, 1, "a g h"),
    ] {
        let end = NOW.plus_seconds(DAY);
        let added = store.add_signing_key(key(kid, age), end, AddKey::AmongWaiting(at_most));
        assert!(added.await.unwrap(), "{kid}");
        let kids: Vec<String> = store
            .signing_keys()
            .await
            .unwrap()
            .into_iter()
            .map(|key| key.kid)
            .collect();
        assert_eq!(kids.join(" "), expected, "{kid}");
    }
}

/// Fifty processes that find no key and make one: one is added.
pub async fn a_first_signing_key_is_added_by_one_of_fifty(store: Arc<dyn Store>) {
    let added = at_once(&store, 50, |store, which| async move {
        let key = key(&format!("{which}"), 0);
        store
            .add_signing_key(key, NOW.plus_seconds(DAY), AddKey::IfNewestIs(None))
            .await
            .unwrap()
    })
    .await;

    assert_eq!(added.iter().filter(|added| **added).count(), 1);
    let keys = store.signing_keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    // The forty-nine retired nothing either.
    assert_eq!(keys[0].retired_at, None);
}

/// Twenty processes that find the newest key too old and make the next: one is added. A newest key of another name, or
/// none, is not what they saw.
pub async fn a_next_signing_key_is_added_by_one_of_twenty(store: Arc<dyn Store>) {
    let end = NOW.plus_seconds(DAY);
    let add = async |kid: &str, age, add| {
        let added = store.add_signing_key(key(kid, age), end, add).await;
        added.unwrap()
    };
    let newest_is = |kid: &str| AddKey::IfNewestIs(Some(kid.into()));
    assert!(!add("none", 0, newest_is("newest")).await);
    // The one made last is not the one added last.
    assert!(add("newest", 10, AddKey::Always).await);
    assert!(add("older", 5, AddKey::Always).await);
    for other in [AddKey::IfNewestIs(None), newest_is("older"), newest_is("")] {
        assert!(!add("none", 20, other).await);
    }

    let added = at_once(&store, 20, |store, which| async move {
        let key = key(&format!("next {which}"), 20);
        let newest = AddKey::IfNewestIs(Some("newest".into()));
        let end = NOW.plus_seconds(2 * DAY);
        store.add_signing_key(key, end, newest).await.unwrap()
    })
    .await;

    assert_eq!(added.iter().filter(|added| **added).count(), 1);
    let keys = store.signing_keys().await.unwrap();
    assert_eq!(keys.len(), 3);
    assert!(keys[2].kid.starts_with("next ") && keys[2].retired_at.is_none());
}

/// The only signer is replaced in the same act, by one that signs from then on. A key that is not there is not revoked,
/// and brings no replacement.
pub async fn a_revoked_signing_key_is_gone_and_somebody_signs(store: Arc<dyn Store>) {
    let now = NOW.plus_seconds(1_000);
    let revoke = async |kid: &str, replacement: StoredKey| {
        let revoked = store.revoke_signing_key(kid.into(), replacement, now).await;
        revoked.unwrap()
    };
    assert!(!revoke("leaked", key("none", 1_000)).await);
    assert_eq!(store.signing_keys().await.unwrap(), []);

    // One past its end, and one that is published and does not sign yet: they sign nothing.
    let over = StoredKey {
        retired_at: Some(now),
        ..key("over", 0)
    };
    let coming = StoredKey {
        active_from: Timestamp::from_micros(now.micros() + 1),
        ..key("coming", 10)
    };
    for added in [over.clone(), key("leaked", 5), coming.clone()] {
        let end = now.plus_seconds(DAY);
        let added = store.add_signing_key(added, end, AddKey::Always).await;
        assert!(added.unwrap());
    }
    let before = store.signing_keys().await.unwrap();
    assert!(!revoke("unknown", key("none", 1_000)).await);
    assert_eq!(store.signing_keys().await.unwrap(), before);

    let replacement = key("replacement", 1_000);
    assert!(revoke("leaked", replacement.clone()).await);
    let replacement = StoredKey {
        active_from: now,
        ..replacement
    };
    let after = [over, coming, replacement];
    assert_eq!(store.signing_keys().await.unwrap(), after);
    assert!(!revoke("leaked", key("none", 1_000)).await);
    assert_eq!(store.signing_keys().await.unwrap(), after);
}

/// Where somebody else signs, also one whose end is set, no replacement is needed.
pub async fn a_revocation_beside_another_signer_adds_no_key(store: Arc<dyn Store>) {
    let now = NOW.plus_seconds(1_000);
    // The last moment at which it signs, and the first.
    let ending = StoredKey {
        retired_at: Some(Timestamp::from_micros(now.micros() + 1)),
        ..key("ending", 0)
    };
    let beginning = StoredKey {
        active_from: now,
        ..key("beginning", 10)
    };
    for added in [ending.clone(), key("leaked", 5), beginning] {
        let end = now.plus_seconds(DAY);
        let added = store.add_signing_key(added, end, AddKey::Always).await;
        assert!(added.unwrap());
    }
    let revoke = async |kid: &str| {
        let replacement = key("replacement", 1_000);
        let revoked = store.revoke_signing_key(kid.into(), replacement, now).await;
        assert!(revoked.unwrap(), "{kid}");
        let keys = store.signing_keys().await.unwrap();
        keys.into_iter().map(|key| key.kid).collect::<Vec<_>>()
    };

    assert_eq!(revoke("leaked").await, ["ending", "beginning"]);
    assert_eq!(revoke("ending").await, ["beginning"]);
    assert_eq!(revoke("beginning").await, ["replacement"]);
    let end = now.plus_seconds(DAY);
    let added = store.add_signing_key(ending, end, AddKey::Always).await;
    assert!(added.unwrap());
    assert_eq!(revoke("replacement").await, ["ending"]);
}

/// Two keys sign, and both are revoked at once: whoever came second found no other signer.
pub async fn two_revocations_at_once_leave_a_signer(store: Arc<dyn Store>) {
    let now = NOW.plus_seconds(1_000);
    for kid in ["0", "1"] {
        let end = now.plus_seconds(DAY);
        let added = store
            .add_signing_key(key(kid, 0), end, AddKey::Always)
            .await;
        assert!(added.unwrap());
    }
    let revoked = at_once(&store, 2, move |store, which| async move {
        let replacement = key(&format!("for {which}"), 1_000);
        store
            .revoke_signing_key(which.to_string(), replacement, now)
            .await
            .unwrap()
    })
    .await;

    assert_eq!(revoked, [true, true]);
    let keys = store.signing_keys().await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys[0].kid.starts_with("for "));
}

/// The first secret is taken; another one is `Other` and changes nothing; naming the previous one replaces it.
pub async fn a_secret_is_checked_against_the_one_of_the_database(store: Arc<dyn Store>) {
    let check = async |ours: u8, previous: Option<u8>| {
        let previous = previous.map(|previous| [previous; 32]);
        store.check_secret([ours; 32], previous).await.unwrap()
    };

    assert_eq!(check(1, None).await, SecretCheck::Ours);
    assert_eq!(check(1, None).await, SecretCheck::Ours);
    assert_eq!(check(2, None).await, SecretCheck::Other);
    assert_eq!(check(2, Some(3)).await, SecretCheck::Other);
    assert_eq!(check(1, Some(3)).await, SecretCheck::Ours);
    assert_eq!(check(2, Some(1)).await, SecretCheck::Ours);
    assert_eq!(check(1, None).await, SecretCheck::Other);
    assert_eq!(check(2, Some(1)).await, SecretCheck::Ours);
}

/// Sessions and keys past their end go; what lives, and every user and identity, stays.
pub async fn pruning_removes_only_what_is_over(store: Arc<dyn Store>) {
    let mut short = sign_in(create(None), record("ann"));
    short.session.expires_at = NOW.plus_seconds(100);
    let ann = store.apply(short.clone()).await.unwrap().user;
    let mut long = sign_in(Act::SignIn(ann.account()), record("ann"));
    long.session.expires_at = NOW.plus_seconds(101);
    store.apply(long.clone()).await.unwrap();
    for (kid, retired) in [("over", Some(100)), ("later", Some(101)), ("never", None)] {
        let mut key = key(kid, 0);
        key.retired_at = retired.map(|seconds| NOW.plus_seconds(seconds));
        let end = NOW.plus_seconds(DAY);
        store
            .add_signing_key(key, end, AddKey::Always)
            .await
            .unwrap();
    }
    let before = everyone(&store).await;
    let kids = async || {
        let keys = store.signing_keys().await.unwrap();
        let mut kids: Vec<_> = keys.into_iter().map(|key| key.kid).collect();
        kids.sort();
        kids
    };

    assert_eq!(store.prune(NOW.plus_seconds(99)).await.unwrap(), 0);
    assert!(lives(&store, short.session.hash).await);
    assert_eq!(kids().await, ["later", "never", "over"]);

    // The session and the key; the claims are not over yet.
    assert_eq!(store.prune(NOW.plus_seconds(100)).await.unwrap(), 2);
    assert!(!lives(&store, short.session.hash).await);
    assert!(lives(&store, long.session.hash).await);
    assert_eq!(kids().await, ["later", "never"]);
    assert_eq!(everyone(&store).await, before);
    assert_eq!(store.prune(NOW.plus_seconds(100)).await.unwrap(), 0);
}

/// It answers and takes writes.
pub async fn an_open_store_is_ready(store: Arc<dyn Store>) {
    store.ready().await.unwrap();
}

/// After the end, no verb pretends: each is `Unavailable`. Closing twice is closing.
pub async fn a_closed_store_is_unavailable(store: Arc<dyn Store>) {
    let (user, sign_in) = created(&store, "ann", None).await;
    store.close().await;
    store.close().await;

    macro_rules! unavailable {
        ($($error:pat => $verb:expr;)*) => {$(
            let answer = $verb.await;
            assert!(matches!(answer, Err($error)), "{}: {answer:?}", stringify!($verb));
        )*};
    }
    let (id, account) = (user.id, user.account());
    let (hash, session) = (sign_in.session.hash, sign_in.session.id);
    let grant = new_grant();
    let (issuer, ann) = (|| ISSUER.to_owned(), || "ann".to_owned());
    let again = self::sign_in(Act::SignIn(account), record("ann"));
    unavailable! {
        StoreError::Unavailable(_) => store.ready();
        StoreError::Unavailable(_) => store.claim_state(sign_in.claim, NOW);
        StoreError::Unavailable(_) => store.known(issuer(), ann(), None, NOW);
        ApplyError::Store(StoreError::Unavailable(_)) => store.apply(again);
        StoreError::Unavailable(_) => store.session(SessionKey::Cookie(hash), NOW);
        StoreError::Unavailable(_) => store.touch_session(session, NOW);
        StoreError::Unavailable(_) => store.end_session(hash);
        StoreError::Unavailable(_) => store.hand_over(session, HandOver::Code(new_code()), NOW);
        RedeemError::Store(StoreError::Unavailable(_)) => store.redeem_code(redemption(&new_code()));
        StoreError::Unavailable(_) => store.grant(grant.id, NOW);
        RotateError::Store(StoreError::Unavailable(_)) => store.rotate_grant(rotation(&grant, 0, 0));
        StoreError::Unavailable(_) => store.end_grant(grant.id, CLIENT.into());
        StoreError::Unavailable(_) => store.user(id);
        StoreError::Unavailable(_) => store.users(UserQuery::default());
        StoreError::Unavailable(_) => store.identities(id);
        StoreError::Unavailable(_) => store.set_active(id, false, NOW);
        StoreError::Unavailable(_) => store.set_superuser(id, true, NOW);
        UnlinkError::Store(StoreError::Unavailable(_)) => store.unlink(account, issuer(), ann(), None, NOW);
        StoreError::Unavailable(_) => store.provider_tokens(id);
        StoreError::Unavailable(_) => store.lease_provider_tokens(issuer(), ann(), 1, NOW, NOW);
        StoreError::Unavailable(_) => store.replace_provider_tokens(issuer(), ann(), 1, None, NOW);
        RegisterError::Store(StoreError::Unavailable(_)) => store.register(password_user("b@x.example"), NOW);
        StoreError::Unavailable(_) => store.signing_keys();
        StoreError::Unavailable(_) => store.add_signing_key(key("1", 0), NOW, AddKey::Always);
        StoreError::Unavailable(_) => store.revoke_signing_key("1".into(), key("2", 0), NOW);
        StoreError::Unavailable(_) => store.check_secret([1; 32], None);
        StoreError::Unavailable(_) => store.prune(NOW);
    }
}

/// A browser that hangs up in the middle of a sign-in does not undo it.
pub async fn a_caller_that_goes_away_undoes_nothing(store: Arc<dyn Store>) {
    let sign_in = sign_in(create(None), record("ann"));
    let hash = sign_in.session.hash;
    let mut apply = store.apply(sign_in);
    poll_fn(|context| {
        let _ = apply.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    drop(apply);

    for _ in 0..10_000 {
        store.ready().await.unwrap();
        if lives(&store, hash).await {
            let everyone = everyone(&store).await;
            assert_eq!((everyone.len(), everyone[0].1.len()), (1, 1));
            return;
        }
    }
    panic!("the sign-in was undone")
}

/// Bytes that no earlier call returned.
fn bytes<const N: usize>() -> [u8; N] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; N];
    bytes[N - 8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn record(subject: &str) -> IdentityRecord {
    IdentityRecord {
        issuer: ISSUER.into(),
        subject: subject.into(),
        provider: "idp".into(),
        email: None,
        email_verified: false,
        name: Some(subject.into()),
        picture: None,
    }
}

fn new_user(address: Option<&str>) -> NewUser {
    NewUser {
        id: UserId::new(NOW, bytes()),
        email: address.map(email),
        name: Some("Ann".into()),
        picture: Some("https://x.example/picture.png".into()),
    }
}

fn create(address: Option<&str>) -> Act {
    Act::Create {
        user: new_user(address),
        evict: None,
        by_invitation: false,
    }
}

fn password_user(address: &str) -> NewPasswordUser {
    NewPasswordUser {
        id: UserId::new(NOW, bytes()),
        claimed_email: email(address),
        password_hash: PasswordHash::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".into()),
    }
}

fn key(kid: &str, age: i64) -> StoredKey {
    StoredKey {
        kid: kid.into(),
        algorithm: "ES256".into(),
        sealed: vec![0, 1, 2, 255],
        public_jwk: format!("{{\"kid\":\"{kid}\"}}"),
        created_at: NOW.plus_seconds(age),
        active_from: NOW.plus_seconds(age + 60),
        retired_at: None,
    }
}

/// A sign-in with a session of thirty days.
fn sign_in(act: Act, identity: IdentityRecord) -> SignIn {
    SignIn {
        act,
        identity,
        provider_tokens: None,
        requires: None,
        session: NewSession {
            id: SessionId::new(NOW, bytes()),
            hash: SessionHash::from_bytes(bytes()),
            provider: "idp".into(),
            expires_at: NOW.plus_seconds(30 * DAY),
            idle_seconds: 7 * DAY,
        },
        replaces: None,
        hand_over: None,
        claim: StateHash::from_bytes(bytes()),
        now: NOW,
    }
}

async fn created(store: &Arc<dyn Store>, subject: &str, address: Option<&str>) -> (User, SignIn) {
    let sign_in = sign_in(create(address), record(subject));
    let applied = store.apply(sign_in.clone()).await.unwrap();
    (applied.user, sign_in)
}

async fn linked(store: &Arc<dyn Store>, user: &User, subject: &str) -> (User, SignIn) {
    let link = sign_in(Act::Link(user.account()), record(subject));
    let applied = store.apply(link.clone()).await.unwrap();
    (applied.user, link)
}

async fn registered(store: &Arc<dyn Store>, address: &str) -> User {
    store.register(password_user(address), NOW).await.unwrap()
}

/// Admits an identity whose verified address is ann@x.example.
async fn admitted(
    store: &Arc<dyn Store>,
    subject: &str,
    decide: Decide,
) -> Result<Option<Applied>, ApplyError> {
    let key = email("ann@x.example").key().clone();
    store
        .admit(ISSUER.into(), subject.into(), Some(key), NOW, decide)
        .await
}

async fn known(store: &Arc<dyn Store>, subject: &str) -> Known {
    store
        .known(ISSUER.into(), subject.into(), None, NOW)
        .await
        .unwrap()
}

/// What is known of a stranger with this verified address.
async fn known_with(store: &Arc<dyn Store>, address: &str, now: Timestamp) -> Known {
    let key = email(address).key().clone();
    store
        .known(ISSUER.into(), "stranger".into(), Some(key), now)
        .await
        .unwrap()
}

async fn lives(store: &Arc<dyn Store>, hash: SessionHash) -> bool {
    store
        .session(SessionKey::Cookie(hash), NOW)
        .await
        .unwrap()
        .is_some()
}

async fn found(store: &Arc<dyn Store>, text: &str) -> UserPage {
    store
        .users(UserQuery {
            search: Some(text.into()),
            limit: 100,
            ..UserQuery::default()
        })
        .await
        .unwrap()
}

/// Every user with every identity.
async fn everyone(store: &Arc<dyn Store>) -> Vec<(User, Vec<Identity>)> {
    let page = store
        .users(UserQuery {
            limit: 1_000,
            ..UserQuery::default()
        })
        .await
        .unwrap();
    assert_eq!(page.next, None);
    let mut everyone = Vec::new();
    for user in page.users {
        let identities = store.identities(user.id).await.unwrap();
        everyone.push((user, identities));
    }
    everyone
}

/// What a sign-in is refused with, after a look that it wrote nothing.
async fn refused(store: &Arc<dyn Store>, sign_in: SignIn) -> ApplyError {
    let (hash, claim) = (sign_in.session.hash, sign_in.claim);
    let before = everyone(store).await;
    let refused = store.apply(sign_in).await.unwrap_err();
    assert_eq!(everyone(store).await, before);
    assert!(!lives(store, hash).await);
    assert_eq!(store.claim_state(claim, NOW).await.unwrap(), Claim::First);
    refused
}

async fn is_stale(store: &Arc<dyn Store>, sign_in: SignIn) {
    let error = refused(store, sign_in).await;
    assert!(matches!(error, ApplyError::Stale), "{error:?}");
}

async fn conflicts(store: &Arc<dyn Store>, sign_in: SignIn) {
    let error = refused(store, sign_in).await;
    assert!(matches!(error, ApplyError::Conflict), "{error:?}");
}

/// Two creators at once: one is applied whole, the other not at all.
async fn one_creator_wins(store: &Arc<dyn Store>, creators: [SignIn; 2]) {
    let tried = creators.clone();
    let outcomes = at_once(store, 2, move |store, which| {
        let sign_in = tried[which].clone();
        async move { store.apply(sign_in).await }
    })
    .await;

    let winner = outcomes.iter().position(Result::is_ok).unwrap();
    let (won, lost) = (&creators[winner], &creators[1 - winner]);
    assert!(
        matches!(outcomes[1 - winner], Err(ApplyError::Conflict)),
        "{outcomes:?}"
    );
    let everyone = everyone(store).await;
    assert_eq!((everyone.len(), everyone[0].1.len()), (1, 1));
    assert_eq!(everyone[0].1[0].record, won.identity);
    assert!(lives(store, won.session.hash).await);
    assert!(!lives(store, lost.session.hash).await);
}

/// What so many tasks answer that begin together, by their numbers.
async fn at_once<T, Fut>(
    store: &Arc<dyn Store>,
    tasks: usize,
    task: impl Fn(Arc<dyn Store>, usize) -> Fut,
) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(tasks));
    let mut running = Vec::new();
    for number in 0..tasks {
        let (start, task) = (start.clone(), task(store.clone(), number));
        running.push(tokio::spawn(async move {
            start.wait().await;
            task.await
        }));
    }
    let mut answers = Vec::new();
    for task in running {
        answers.push(task.await.unwrap());
    }
    answers
}
