//! What every store does with what front ends are given: codes, grants, and how both end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use vestibule_accounts::{
    Act, CodeHash, Grant, GrantId, GrantKey, HandOver, NewCode, NewGrant, RedeemError, Redemption,
    RotateError, Rotated, Rotation, SessionHash, SessionId, SessionKey, SignIn, SignedIn, Store,
    Timestamp, UnlinkError, User,
};

use super::{
    DAY, ISSUER, NOW, at_once, bytes, conflicts, create, created, is_stale, linked, lives,
    new_user, record, registered, sign_in,
};

pub(super) const CLIENT: &str = "spa";
const REDIRECT_URI: &str = "https://spa.example/callback";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const GRACE: i64 = 10;

/// One session by each of its keys; none by a key that is not its own.
pub async fn a_session_is_found_by_its_cookie_its_name_and_its_grant(store: Arc<dyn Store>) {
    let (user, sign_in, grant) = with_grant(&store, "ann").await;
    with_grant(&store, "bob").await;

    for key in [
        SessionKey::Cookie(sign_in.session.hash),
        SessionKey::Id(sign_in.session.id),
        SessionKey::Grant(grant.id),
    ] {
        let found = store.session(key, NOW).await.unwrap().unwrap();
        assert_eq!(found.session.id, sign_in.session.id, "{key:?}");
        assert_eq!(found.user, user, "{key:?}");
        let idled_out = NOW.plus_seconds(sign_in.session.idle_seconds);
        assert_eq!(store.session(key, idled_out).await.unwrap(), None);
    }
    for key in [
        SessionKey::Cookie(SessionHash::from_bytes(bytes())),
        SessionKey::Id(SessionId::from_bytes(*grant.id.as_bytes())),
        SessionKey::Grant(GrantId::from_bytes(*sign_in.session.id.as_bytes())),
    ] {
        assert_eq!(store.session(key, NOW).await.unwrap(), None, "{key:?}");
    }
}

/// A code or a grant comes with the session, in the same act.
pub async fn a_sign_in_hands_over_what_it_was_given(store: Arc<dyn Store>) {
    let code = new_code();
    let mut first = sign_in(create(None), record("ann"));
    first.hand_over = Some(HandOver::Code(code.clone()));
    store.apply(first.clone()).await.unwrap();
    let signed_in = store.redeem_code(redemption(&code)).await.unwrap();
    assert_eq!(signed_in.session.id, first.session.id);

    let grant = new_grant();
    let mut second = sign_in(create(None), record("bob"));
    second.hand_over = Some(HandOver::Grant(grant.clone()));
    store.apply(second.clone()).await.unwrap();
    let found = store.session(SessionKey::Grant(grant.id), NOW).await;
    assert_eq!(found.unwrap().unwrap().session.id, second.session.id);
}

/// Nothing of a sign-in that is not written can be redeemed, and the browser keeps what it has.
pub async fn a_refused_sign_in_hands_nothing_over(store: Arc<dyn Store>) {
    let (user, old, kept) = with_grant(&store, "ann").await;
    linked(&store, &user, "ann at work").await;
    let (code, grant) = (new_code(), new_grant());
    for hand_over in [HandOver::Code(code.clone()), HandOver::Grant(grant.clone())] {
        let mut taken = sign_in(create(None), record("ann"));
        taken.replaces = Some(old.session.hash);
        taken.hand_over = Some(hand_over);
        let mut stale = SignIn {
            act: Act::SignIn(user.account()),
            ..taken.clone()
        };
        stale.claim = sign_in(create(None), record("ann")).claim;
        conflicts(&store, taken).await;
        is_stale(&store, stale).await;
    }

    is_unknown(store.redeem_code(redemption(&code)).await);
    assert!(!is_alive(&store, &grant, 0).await);
    assert!(lives(&store, old.session.hash).await);
    assert!(is_alive(&store, &kept, 0).await);
}

/// A session that lives hands over; one that is over does not, and nothing is written.
pub async fn a_live_session_alone_hands_something_over(store: Arc<dyn Store>) {
    let (ann, ended) = created(&store, "ann", None).await;
    let live = sign_in(Act::SignIn(ann.account()), record("ann"));
    store.apply(live.clone()).await.unwrap();
    store.end_session(ended.session.hash).await.unwrap();
    let (bob, disabled) = created(&store, "bob", None).await;
    store.set_active(bob.id, false, NOW).await.unwrap();
    let idle = live.session.idle_seconds;

    // The live one last: what it is given, it redeems, and so is seen.
    for (session, seconds, handed) in [
        (ended.session.id, 0, false),
        (disabled.session.id, 0, false),
        (SessionId::new(NOW, bytes()), 0, false),
        (live.session.id, idle, false),
        (live.session.id, 30 * DAY, false),
        (live.session.id, 0, true),
        (live.session.id, idle - 1, true),
    ] {
        let now = NOW.plus_seconds(seconds);
        let (mut code, mut grant) = (new_code(), new_grant());
        code.expires_at = now.plus_seconds(60);
        grant.expires_at = now.plus_seconds(60);
        for hand_over in [HandOver::Code(code.clone()), HandOver::Grant(grant.clone())] {
            let done = store.hand_over(session, hand_over, now).await.unwrap();
            assert_eq!(done, handed, "{seconds}");
        }
        // Asked at a time at which the session lives: had it been written, it would be found.
        let redeemed = store.redeem_code(redemption(&code)).await;
        if handed {
            redeemed.unwrap();
        } else {
            is_unknown(redeemed);
        }
        assert_eq!(is_alive(&store, &grant, 0).await, handed, "{seconds}");
    }
}

/// A client's hundred youngest grants stay; another client's, and another session's, are no matter of its.
pub async fn a_client_has_a_hundred_grants_in_a_session_and_the_oldest_make_room(
    store: Arc<dyn Store>,
) {
    let (_, elsewhere, other_session) = with_grant(&store, "bob").await;
    let (_, sign_in) = created(&store, "ann", None).await;
    let given = async |client_id: &str, seconds: i64| {
        let now = NOW.plus_seconds(seconds);
        let mut grant = new_grant();
        grant.id = GrantId::new(now, bytes());
        grant.client_id = client_id.into();
        let hand_over = HandOver::Grant(grant.clone());
        let done = store.hand_over(sign_in.session.id, hand_over, now).await;
        assert!(done.unwrap());
        grant
    };
    let other_client = given("another client", 0).await;
    let mut grants = Vec::new();
    for seconds in 0..102 {
        grants.push(given(CLIENT, seconds).await);
    }
    for (at, grant) in grants.iter().enumerate() {
        assert_eq!(is_alive(&store, grant, 200).await, at >= 2, "{at}");
    }
    assert!(is_alive(&store, &other_client, 200).await);
    assert!(is_alive(&store, &other_session, 200).await);
    assert!(lives(&store, elsewhere.session.hash).await);
}

/// A code that lapsed unused may go when its session is given another; a used one is remembered.
pub async fn codes_that_lapsed_unused_make_room(store: Arc<dyn Store>) {
    let (_, sign_in, used) = with_code(&store, "ann").await;
    store.redeem_code(redemption(&used)).await.unwrap();
    let fresh = given_code(&store, sign_in.session.id).await;
    let mut later = new_code();
    later.expires_at = NOW.plus_seconds(119);
    let hand_over = HandOver::Code(later.clone());
    let now = NOW.plus_seconds(59);
    assert!(
        store
            .hand_over(sign_in.session.id, hand_over, now)
            .await
            .unwrap()
    );
    store.redeem_code(redemption(&fresh)).await.unwrap();
    let mut last = new_code();
    last.expires_at = NOW.plus_seconds(1_000);
    let now = NOW.plus_seconds(119);
    let hand_over = HandOver::Code(last);
    assert!(
        store
            .hand_over(sign_in.session.id, hand_over, now)
            .await
            .unwrap()
    );
    for code in [&used, &fresh] {
        let again = store.redeem_code(redemption(code)).await;
        assert!(matches!(again, Err(RedeemError::Used(_))), "{again:?}");
    }
    let mut late = redemption(&later);
    late.now = now;
    let lapsed = store.redeem_code(late).await;
    assert!(
        matches!(lapsed, Err(RedeemError::Unknown | RedeemError::Expired)),
        "{lapsed:?}"
    );
}

/// What was asked for is there: the grant as it was given, the session seen, the user as the session has it.
pub async fn a_code_is_redeemed_for_a_grant(store: Arc<dyn Store>) {
    let (user, sign_in, code) = with_code(&store, "ann").await;
    let mut redemption = redemption(&code);
    redemption.now = NOW.plus_seconds(59);
    let signed_in = store.redeem_code(redemption.clone()).await.unwrap();

    assert_eq!(signed_in.user, user);
    assert_eq!(signed_in.session.id, sign_in.session.id);
    assert_eq!(signed_in.session.last_seen_at, redemption.now);
    let kept = granted(&store, &redemption).await.unwrap();
    assert_eq!(kept.id, redemption.grant.id);
    assert_eq!(kept.client_id, redemption.grant.client_id);
    assert_eq!(kept.key.expose(), redemption.grant.key.expose());
    assert_eq!((kept.count, kept.rotated_at), (0, None));
    assert_eq!(kept.created_at, redemption.now);
    assert_eq!(kept.expires_at, redemption.grant.expires_at);
    let by_grant = store.session(SessionKey::Grant(kept.id), NOW).await;
    assert_eq!(by_grant.unwrap(), Some(signed_in));
}

/// Fifty redemptions of one code at once: one succeeds, and the grant is that one's.
pub async fn fifty_redemptions_of_one_code_make_one_grant(store: Arc<dyn Store>) {
    let (_, _, code) = with_code(&store, "ann").await;
    let answers = at_once(&store, 50, move |store, _| {
        let redemption = redemption(&code);
        async move {
            let id = redemption.grant.id;
            (id, store.redeem_code(redemption).await)
        }
    })
    .await;

    let winners: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| answer.is_ok())
        .collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    let winner = winners[0].0;
    for (id, answer) in &answers {
        let lives = store.grant(*id, NOW).await.unwrap().is_some();
        assert_eq!(lives, *id == winner);
        if let Err(error) = answer {
            assert!(
                matches!(error, RedeemError::Used(Some(used)) if *used == winner),
                "{error:?}"
            );
        }
    }
}

/// Whoever has only the code is told what comes first, whether or not it was used, and does not use it up.
pub async fn a_code_of_another_client_target_or_verifier_stays_for_the_right_one(
    store: Arc<dyn Store>,
) {
    let (_, _, code) = with_code(&store, "ann").await;
    let right = redemption(&code);
    let refused = async |client_id: &str, redirect_uri: &str, code_challenge: &str| {
        let wrong = Redemption {
            client_id: client_id.into(),
            redirect_uri: redirect_uri.into(),
            code_challenge: code_challenge.into(),
            ..redemption(&code)
        };
        let refused = store.redeem_code(wrong.clone()).await.unwrap_err();
        assert!(granted(&store, &wrong).await.is_none());
        refused
    };
    for round in 0..2 {
        let target = format!("{REDIRECT_URI}/");
        let error = refused("other", "https://other.example/", "other").await;
        assert!(matches!(error, RedeemError::OtherClient), "{error:?}");
        let error = refused("SPA", REDIRECT_URI, CHALLENGE).await;
        assert!(matches!(error, RedeemError::OtherClient), "{error:?}");
        let error = refused(CLIENT, &target, "other").await;
        assert!(matches!(error, RedeemError::OtherRedirectUri), "{error:?}");
        for challenge in ["", "other", &CHALLENGE.to_lowercase()] {
            let error = refused(CLIENT, REDIRECT_URI, challenge).await;
            assert!(matches!(error, RedeemError::Verifier), "{error:?}");
        }
        let mut unknown = redemption(&code);
        unknown.hash = CodeHash::from_bytes(bytes());
        is_unknown(store.redeem_code(unknown).await);
        if round == 0 {
            store.redeem_code(right.clone()).await.unwrap();
        }
    }
}

/// A microsecond before its end it can; at its end it cannot, and no grant is there.
pub async fn a_code_cannot_be_redeemed_from_its_end_on(store: Arc<dyn Store>) {
    let (_, _, code) = with_code(&store, "ann").await;
    let mut redemption = redemption(&code);
    for now in [code.expires_at, code.expires_at.plus_seconds(1)] {
        redemption.now = now;
        let expired = store.redeem_code(redemption.clone()).await;
        assert!(matches!(expired, Err(RedeemError::Expired)), "{expired:?}");
        assert!(granted(&store, &redemption).await.is_none());
    }
    redemption.now = Timestamp::from_micros(code.expires_at.micros() - 1);
    store.redeem_code(redemption).await.unwrap();
}

/// A code that comes again names what came of it, while that is there: also after the code's end, and where its session
/// has moved on.
pub async fn a_used_code_is_told_as_used_with_what_came_of_it(store: Arc<dyn Store>) {
    let (user, old, code) = with_code(&store, "ann").await;
    let first = redemption(&code);
    let grant = first.grant.id;
    store.redeem_code(first).await.unwrap();
    let again = async |seconds| {
        let mut again = redemption(&code);
        again.now = NOW.plus_seconds(seconds);
        let refused = store.redeem_code(again.clone()).await;
        assert!(granted(&store, &again).await.is_none());
        match refused {
            Err(RedeemError::Used(grant)) => grant,
            other => panic!("{other:?}"),
        }
    };

    assert_eq!(again(0).await, Some(grant));
    assert_eq!(again(61).await, Some(grant));
    let mut new = sign_in(Act::SignIn(user.account()), record("ann"));
    new.replaces = Some(old.session.hash);
    store.apply(new).await.unwrap();
    assert_eq!(again(0).await, Some(grant));

    assert!(store.end_grant(grant, CLIENT.into()).await.unwrap());
    assert_eq!(again(0).await, None);
    assert_eq!(again(DAY).await, None);
    store.prune(NOW.plus_seconds(DAY)).await.unwrap();
    assert_eq!(again(DAY).await, None);
}

/// A session that idled out, expired, was signed out, or whose user was disabled since the code was made.
pub async fn a_code_of_a_session_that_is_over_is_not_redeemed(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", None).await;
    for (expires, idle) in [(100, 1_000), (1_000, 100)] {
        let mut code = new_code();
        code.expires_at = NOW.plus_seconds(200);
        let mut over = sign_in(Act::SignIn(user.account()), record("ann"));
        over.session.expires_at = NOW.plus_seconds(expires);
        over.session.idle_seconds = idle;
        over.hand_over = Some(HandOver::Code(code.clone()));
        store.apply(over).await.unwrap();

        let mut redemption = redemption(&code);
        redemption.now = NOW.plus_seconds(100);
        let ended = store.redeem_code(redemption.clone()).await;
        assert!(matches!(ended, Err(RedeemError::Ended)), "{ended:?}");
        // It was left as it was.
        redemption.now = NOW.plus_seconds(99);
        store.redeem_code(redemption).await.unwrap();
    }

    let (_, signed_out, code) = with_code(&store, "bob").await;
    store.end_session(signed_out.session.hash).await.unwrap();
    has_ended(store.redeem_code(redemption(&code)).await);

    let (user, _, code) = with_code(&store, "eve").await;
    for active in [false, true] {
        store.set_active(user.id, active, NOW).await.unwrap();
        let redemption = redemption(&code);
        has_ended(store.redeem_code(redemption.clone()).await);
        assert!(granted(&store, &redemption).await.is_none());
    }
}

/// Redemptions and the operator's act at once: whoever was first, in the end nothing lives.
pub async fn redemptions_beside_a_disabling_leave_no_grant(store: Arc<dyn Store>) {
    let (user, sign_in) = created(&store, "ann", None).await;
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(given_code(&store, sign_in.session.id).await);
    }
    let grants = at_once(&store, 21, move |store, which| {
        // One in the middle disables.
        let redemption = (which != 10).then(|| redemption(&codes[which % 20]));
        async move {
            let Some(redemption) = redemption else {
                store.set_active(user.id, false, NOW).await.unwrap();
                return None;
            };
            let grant = redemption.grant.id;
            match store.redeem_code(redemption).await {
                Ok(signed_in) => assert!(signed_in.user.is_active),
                Err(RedeemError::Used(_)) => {}
                refused => has_ended(refused),
            }
            Some(grant)
        }
    })
    .await;

    for grant in grants.into_iter().flatten() {
        assert!(store.grant(grant, NOW).await.unwrap().is_none());
        let session = store.session(SessionKey::Grant(grant), NOW).await;
        assert_eq!(session.unwrap(), None);
    }
}

/// Each rotation raises the count by one and says how the user and the session are; the end stays.
pub async fn a_rotation_raises_the_count_and_sees_the_session(store: Arc<dyn Store>) {
    let (user, sign_in, grant) = with_grant(&store, "ann").await;
    for count in 0..5_u32 {
        let seconds = i64::from(count) * 100;
        let now = NOW.plus_seconds(seconds);
        let rotated = rotate(&store, &grant, count, seconds).await.unwrap();
        assert_eq!(rotated.count, count + 1);
        assert_eq!(rotated.expires_at, grant.expires_at);
        assert_eq!(rotated.signed_in.user, user);
        assert_eq!(rotated.signed_in.session.id, sign_in.session.id);
        assert_eq!(rotated.signed_in.session.last_seen_at, now);
        let read = store.session(SessionKey::Grant(grant.id), now).await;
        assert_eq!(read.unwrap(), Some(rotated.signed_in));
        let kept = store.grant(grant.id, now).await.unwrap().unwrap();
        assert_eq!((kept.count, kept.rotated_at), (count + 1, Some(now)));
        assert_eq!(kept.created_at, NOW);
        assert_eq!(kept.key.expose(), grant.key.expose());
    }

    // What the user became since is in the next answer.
    let (now_linked, _) = linked(&store, &user, "ann at work").await;
    let rotated = rotate(&store, &grant, 5, 500).await.unwrap();
    assert_eq!(rotated.signed_in.user.version, now_linked.version);
    // Other rights ask for another sign-in.
    store.set_superuser(user.id, true, NOW).await.unwrap();
    assert!(rotate(&store, &grant, 6, 500).await.is_err());
}

/// A front end that refreshes keeps the session from idling out, up to the end of the grant.
pub async fn a_session_whose_grant_is_rotated_does_not_idle_out(store: Arc<dyn Store>) {
    let (_, sign_in, grant) = with_grant(&store, "ann").await;
    let step = sign_in.session.idle_seconds - 1;
    let (mut at, mut count) = (0, 0);
    while at + step < 30 * DAY {
        at += step;
        count = rotate(&store, &grant, count, at).await.unwrap().count;
    }
    assert!(count > 3);
    is_over(rotate(&store, &grant, count, 30 * DAY).await);
}

/// Fifty rotations of one token at once: the count is raised once, and all are told the same.
pub async fn fifty_rotations_of_one_token_have_one_successor(store: Arc<dyn Store>) {
    let (_, _, grant) = with_grant(&store, "ann").await;
    for count in 0..3 {
        let raced = grant.clone();
        let answers = at_once(&store, 50, move |store, which| {
            let grant = raced.clone();
            // Not all of them look at the clock at the same time.
            let seconds = i64::from(count) * 100 + which as i64 % GRACE;
            async move { rotate(&store, &grant, count, seconds).await }
        })
        .await;

        for answer in answers {
            assert_eq!(answer.unwrap().count, count + 1);
        }
        let kept = store.grant(grant.id, NOW).await.unwrap().unwrap();
        assert_eq!(kept.count, count + 1);
    }
}

/// The predecessor gets the successor again, as often as it asks, up to the grace after the rotation; asking does not
/// put that off.
pub async fn a_token_that_comes_again_within_the_grace_gets_the_same_successor(
    store: Arc<dyn Store>,
) {
    let (_, _, grant) = with_grant(&store, "ann").await;
    rotate(&store, &grant, 0, 100).await.unwrap();
    // The first one's clock is a little behind.
    for seconds in [-1, 0, 5, GRACE, GRACE] {
        let again = rotate(&store, &grant, 0, 100 + seconds).await.unwrap();
        assert_eq!((again.count, again.expires_at), (1, grant.expires_at));
    }
    let kept = store.grant(grant.id, NOW).await.unwrap().unwrap();
    assert_eq!(kept.rotated_at, Some(NOW.plus_seconds(100)));
    // The successor is as good as ever.
    assert_eq!(rotate(&store, &grant, 1, 200).await.unwrap().count, 2);
}

/// After the grace somebody has a token that is not theirs: neither it nor its successor is worth anything from then on.
/// The session goes on, and so does what else hangs on it.
pub async fn a_token_that_comes_again_after_the_grace_ends_its_grant_for_good(
    store: Arc<dyn Store>,
) {
    let (_, sign_in, grant) = with_grant(&store, "ann").await;
    let beside = given_grant(&store, sign_in.session.id).await;
    assert_eq!(rotate(&store, &grant, 0, 100).await.unwrap().count, 1);

    let mut late = rotation(&grant, 0, 100 + GRACE);
    late.now = Timestamp::from_micros(late.now.micros() + 1);
    let reused = store.rotate_grant(late).await;
    assert!(matches!(reused, Err(RotateError::Reused)), "{reused:?}");

    assert!(!is_alive(&store, &grant, 0).await);
    for count in [0, 1, 2] {
        is_over(rotate(&store, &grant, count, 100).await);
    }
    assert!(!store.end_grant(grant.id, CLIENT.into()).await.unwrap());
    assert!(lives(&store, sign_in.session.hash).await);
    assert_eq!(rotate(&store, &beside, 0, 200).await.unwrap().count, 1);
}

/// The grace is for one client's own race, which is about the last rotation.
pub async fn a_token_two_rotations_old_ends_its_grant_within_the_grace_too(store: Arc<dyn Store>) {
    let (_, _, grant) = with_grant(&store, "ann").await;
    rotate(&store, &grant, 0, 0).await.unwrap();
    rotate(&store, &grant, 1, 0).await.unwrap();

    let reused = rotate(&store, &grant, 0, 0).await;
    assert!(matches!(reused, Err(RotateError::Reused)), "{reused:?}");
    is_over(rotate(&store, &grant, 2, 0).await);
}

/// A stolen token and its successor at once, often: one is told of the reuse, and nobody holds anything after it.
pub async fn a_reuse_beside_rotations_ends_the_grant_once(store: Arc<dyn Store>) {
    let (_, _, grant) = with_grant(&store, "ann").await;
    rotate(&store, &grant, 0, 0).await.unwrap();
    let raced = grant.clone();
    let answers = at_once(&store, 50, move |store, which| {
        let grant = raced.clone();
        async move { rotate(&store, &grant, u32::from(which % 2 == 0), 100).await }
    })
    .await;

    let reused = answers
        .iter()
        .filter(|answer| matches!(answer, Err(RotateError::Reused)));
    assert_eq!(reused.count(), 1, "{answers:?}");
    assert!(!is_alive(&store, &grant, 100).await);
    for count in 0..4 {
        is_over(rotate(&store, &grant, count, 100).await);
    }
}

/// A count that no token has, or a grant that nobody has: no successor, and nothing ends.
pub async fn a_token_that_was_never_made_changes_nothing(store: Arc<dyn Store>) {
    let (_, _, grant) = with_grant(&store, "ann").await;
    for count in [1, 2, u32::MAX] {
        is_over(rotate(&store, &grant, count, 0).await);
    }
    is_over(rotate(&store, &new_grant(), 0, 0).await);
    assert_eq!(rotate(&store, &grant, 0, 100).await.unwrap().count, 1);
}

/// A grant lives up to its own end and its session's, and not a microsecond longer, for each verb that reads it.
pub async fn a_grant_ends_at_its_end_and_with_its_session(store: Arc<dyn Store>) {
    let (user, _) = created(&store, "ann", None).await;
    for (grant_ends, session_ends, idle) in [
        (100, 1_000, 1_000),
        (1_000, 100, 1_000),
        (1_000, 1_000, 100),
    ] {
        let mut grant = new_grant();
        grant.expires_at = NOW.plus_seconds(grant_ends);
        let mut sign_in = sign_in(Act::SignIn(user.account()), record("ann"));
        sign_in.session.expires_at = NOW.plus_seconds(session_ends);
        sign_in.session.idle_seconds = idle;
        sign_in.hand_over = Some(HandOver::Grant(grant.clone()));
        store.apply(sign_in).await.unwrap();

        let end = NOW.plus_seconds(100);
        let before = Timestamp::from_micros(end.micros() - 1);
        for (now, alive) in [(before, true), (end, false)] {
            let found = store.grant(grant.id, now).await.unwrap();
            assert_eq!(found.is_some(), alive);
            let session = store.session(SessionKey::Grant(grant.id), now).await;
            assert_eq!(session.unwrap().is_some(), alive);
        }
        is_over(rotate(&store, &grant, 0, 100).await);
        // That somebody came too late has ended nothing before its time.
        assert_eq!(rotate(&store, &grant, 0, 99).await.unwrap().count, 1);
    }
}

/// Another client's word ends nothing; its own does, once.
pub async fn a_grant_is_ended_by_its_own_client_alone(store: Arc<dyn Store>) {
    let (_, sign_in, grant) = with_grant(&store, "ann").await;
    let beside = given_grant(&store, sign_in.session.id).await;
    let end = async |id, client: &str| store.end_grant(id, client.into()).await.unwrap();

    assert!(!end(grant.id, "other").await);
    assert!(!end(GrantId::new(NOW, bytes()), CLIENT).await);
    assert!(is_alive(&store, &grant, 0).await);
    assert!(end(grant.id, CLIENT).await);
    assert!(!end(grant.id, CLIENT).await);
    assert!(!is_alive(&store, &grant, 0).await);
    is_over(rotate(&store, &grant, 0, 0).await);
    assert!(is_alive(&store, &beside, 0).await);
    assert!(lives(&store, sign_in.session.hash).await);
}

/// What a session gave to front ends goes with it, and nothing else does.
pub async fn signing_out_ends_codes_and_grants(store: Arc<dyn Store>) {
    let (user, ended, grant) = with_grant(&store, "ann").await;
    let code = given_code(&store, ended.session.id).await;
    let other = sign_in(Act::SignIn(user.account()), record("ann"));
    store.apply(other.clone()).await.unwrap();
    let others = given_grant(&store, other.session.id).await;

    let name = store.end_session(ended.session.hash).await.unwrap();

    assert_eq!(name, Some(ended.session.id));
    has_ended(store.redeem_code(redemption(&code)).await);
    assert!(!is_alive(&store, &grant, 0).await);
    is_over(rotate(&store, &grant, 0, 0).await);
    assert!(!store.end_grant(grant.id, CLIENT.into()).await.unwrap());
    assert!(is_alive(&store, &others, 0).await);
}

/// Disabling a user takes everything from that user's front ends, for good.
pub async fn disabling_ends_codes_and_grants_and_enabling_brings_none_back(store: Arc<dyn Store>) {
    let (ann, sign_in, grant) = with_grant(&store, "ann").await;
    let code = given_code(&store, sign_in.session.id).await;
    let (_, _, bobs) = with_grant(&store, "bob").await;

    for active in [false, true] {
        store.set_active(ann.id, active, NOW).await.unwrap();
        has_ended(store.redeem_code(redemption(&code)).await);
        assert!(!is_alive(&store, &grant, 0).await);
        is_over(rotate(&store, &grant, 0, 0).await);
    }
    assert!(is_alive(&store, &bobs, 0).await);
}

// S63
/// Whoever came in by an identity that is taken away is out, with all that front ends were given there, and however the
/// session is named by now: every one of the user ends but the acting one. Nobody else's does.
pub async fn unlinking_ends_every_session_but_the_acting_one(store: Arc<dyn Store>) {
    let (ann, acting, of_acting) = with_grant(&store, "ann").await;
    let mut at_work = sign_in(Act::Link(ann.account()), record("ann at work"));
    at_work.identity.provider = "work".into();
    at_work.session.provider = "work".into();
    let ann = store.apply(at_work.clone()).await.unwrap().user;
    let of_work = given_grant(&store, at_work.session.id).await;
    let intruder = sign_in(Act::SignIn(ann.account()), record("ann"));
    store.apply(intruder.clone()).await.unwrap();
    let of_intruder = given_grant(&store, intruder.session.id).await;
    let code = given_code(&store, intruder.session.id).await;
    let (_, bob, of_bob) = with_grant(&store, "bob").await;
    let unlink = async |account, subject: &str, keep| {
        let subject = subject.to_owned();
        store
            .unlink(account, ISSUER.into(), subject, keep, NOW)
            .await
    };

    // Where nothing is taken away, nobody is out.
    assert_eq!(unlink(ann.account(), "bob", None).await.unwrap(), None);
    assert!(lives(&store, intruder.session.hash).await);

    let unlinked = unlink(ann.account(), "ann", Some(acting.session.id)).await;
    assert!(unlinked.unwrap().is_some());
    assert!(!lives(&store, intruder.session.hash).await);
    has_ended(store.redeem_code(redemption(&code)).await);
    assert!(!is_alive(&store, &of_intruder, 0).await);
    is_over(rotate(&store, &of_intruder, 0, 0).await);
    // Its label is another provider's: whoever adds a way in and takes it away again may name a session as they like.
    assert!(!lives(&store, at_work.session.hash).await);
    assert!(!is_alive(&store, &of_work, 0).await);
    for (session, grant) in [(&acting, &of_acting), (&bob, &of_bob)] {
        assert!(lives(&store, session.session.hash).await);
        assert!(is_alive(&store, grant, 0).await);
    }

    // The last way in stays, and who came in by it.
    let ann = store.user(ann.id).await.unwrap().unwrap();
    let last = unlink(ann.account(), "ann at work", None).await;
    assert!(matches!(last, Err(UnlinkError::LastMethod)), "{last:?}");
    assert!(lives(&store, acting.session.hash).await);

    // Where nobody's session is to stay, none does.
    let (ann, at_home) = linked(&store, &ann, "ann at home").await;
    let unlinked = unlink(ann.account(), "ann at work", None).await;
    assert!(unlinked.unwrap().is_some());
    for session in [&acting, &at_home] {
        assert!(!lives(&store, session.session.hash).await);
    }
}

/// Signing in again where one is signed in logs no front end out: codes and grants hang on the new session, and end with
/// that one.
pub async fn a_new_sign_in_of_the_same_user_keeps_what_the_browser_was_given(
    store: Arc<dyn Store>,
) {
    let (user, old, grant) = with_grant(&store, "ann").await;
    let code = given_code(&store, old.session.id).await;
    assert_eq!(rotate(&store, &grant, 0, 0).await.unwrap().count, 1);

    let added = new_code();
    let mut new = sign_in(Act::SignIn(user.account()), record("ann"));
    new.replaces = Some(old.session.hash);
    new.hand_over = Some(HandOver::Code(added.clone()));
    store.apply(new.clone()).await.unwrap();

    assert!(!lives(&store, old.session.hash).await);
    let rotated = rotate(&store, &grant, 1, 0).await.unwrap();
    assert_eq!((rotated.count, rotated.expires_at), (2, grant.expires_at));
    assert_eq!(rotated.signed_in.session.id, new.session.id);
    for code in [code, added] {
        let signed_in = store.redeem_code(redemption(&code)).await.unwrap();
        assert_eq!(signed_in.session.id, new.session.id);
    }

    store.end_session(new.session.hash).await.unwrap();
    is_over(rotate(&store, &grant, 2, 0).await);
}

/// Another person at the same browser inherits nothing.
pub async fn a_new_sign_in_of_another_user_ends_what_the_browser_was_given(store: Arc<dyn Store>) {
    let (bob, _) = created(&store, "bob", None).await;
    for (act, subject) in [(Act::SignIn(bob.account()), "bob"), (create(None), "eve")] {
        let (_, old, grant) = with_grant(&store, &format!("before {subject}")).await;
        let code = given_code(&store, old.session.id).await;

        let mut new = sign_in(act, record(subject));
        new.replaces = Some(old.session.hash);
        store.apply(new.clone()).await.unwrap();

        assert!(!lives(&store, old.session.hash).await);
        assert!(lives(&store, new.session.hash).await);
        has_ended(store.redeem_code(redemption(&code)).await);
        assert!(!is_alive(&store, &grant, 0).await);
        is_over(rotate(&store, &grant, 0, 0).await);
    }
}

/// What ended with its session stays so: a cookie that outlived the session brings nothing back.
pub async fn a_session_that_is_over_leaves_nothing_to_its_successor(store: Arc<dyn Store>) {
    let (user, old, grant) = with_grant(&store, "ann").await;
    let idle = old.session.idle_seconds;
    let mut code = new_code();
    code.expires_at = NOW.plus_seconds(30 * DAY);
    let hand_over = HandOver::Code(code.clone());
    let handed = store.hand_over(old.session.id, hand_over, NOW).await;
    assert!(handed.unwrap());

    let mut new = sign_in(Act::SignIn(user.account()), record("ann"));
    new.replaces = Some(old.session.hash);
    new.now = NOW.plus_seconds(idle);
    store.apply(new).await.unwrap();

    let mut redemption = redemption(&code);
    redemption.now = NOW.plus_seconds(idle);
    has_ended(store.redeem_code(redemption).await);
    assert!(!is_alive(&store, &grant, idle).await);
    is_over(rotate(&store, &grant, 0, idle).await);
}

/// With the sessions of a claimant goes what they gave to front ends, also where both sat at one browser.
pub async fn an_evicted_claimant_loses_what_it_was_given(store: Arc<dyn Store>) {
    let claimant = registered(&store, "ann@x.example").await;
    let (claimant, old) = linked(&store, &claimant, "impostor").await;
    let grant = given_grant(&store, old.session.id).await;
    let code = given_code(&store, old.session.id).await;

    let act = Act::Create {
        user: new_user(Some("ann@x.example")),
        evict: Some(claimant.account()),
        by_invitation: false,
    };
    let mut proved = sign_in(act, record("ann"));
    proved.replaces = Some(old.session.hash);
    store.apply(proved).await.unwrap();

    has_ended(store.redeem_code(redemption(&code)).await);
    assert!(!is_alive(&store, &grant, 0).await);
}

/// A code is remembered for a day after its end, and as long a used one is told as used. A grant goes at its end, and
/// its session stays.
pub async fn pruning_removes_codes_a_day_after_their_end_and_grants_at_theirs(
    store: Arc<dyn Store>,
) {
    let (_, sign_in, used) = with_code(&store, "ann").await;
    let unused = given_code(&store, sign_in.session.id).await;
    let mut first = redemption(&used);
    first.grant.expires_at = NOW.plus_seconds(60 + DAY);
    store.redeem_code(first.clone()).await.unwrap();
    let redeem = async |code: &NewCode| {
        let mut again = redemption(code);
        again.now = NOW.plus_seconds(60 + DAY);
        store.redeem_code(again).await
    };

    // The sign-in's claim may be over, which some databases decide by their own clock; nothing else is.
    let before = NOW.plus_seconds(59 + DAY);
    assert!(store.prune(before).await.unwrap() <= 1);
    assert_eq!(store.prune(before).await.unwrap(), 0);
    let again = redeem(&used).await;
    assert!(
        matches!(again, Err(RedeemError::Used(Some(id))) if id == first.grant.id),
        "{again:?}"
    );
    let again = redeem(&unused).await;
    assert!(matches!(again, Err(RedeemError::Expired)), "{again:?}");

    // Two codes and the grant.
    assert_eq!(store.prune(NOW.plus_seconds(60 + DAY)).await.unwrap(), 3);
    is_unknown(redeem(&used).await);
    is_unknown(redeem(&unused).await);
    assert!(!is_alive(&store, &first.grant, 0).await);
    assert!(lives(&store, sign_in.session.hash).await);
}

/// A thief who hangs up when the reuse is found does not keep the grant alive.
pub async fn a_caller_that_goes_away_brings_no_grant_back(store: Arc<dyn Store>) {
    let (_, _, grant) = with_grant(&store, "ann").await;
    rotate(&store, &grant, 0, 0).await.unwrap();
    let mut reuse = store.rotate_grant(rotation(&grant, 0, 100));
    poll_fn(|context| {
        let _ = reuse.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    drop(reuse);

    for _ in 0..10_000 {
        store.ready().await.unwrap();
        // One read: between two it may end.
        let at = NOW.plus_seconds(100);
        if store.grant(grant.id, at).await.unwrap().is_none() {
            is_over(rotate(&store, &grant, 1, 100).await);
            return;
        }
    }
    panic!("the grant lives on")
}

/// A code of sixty seconds.
pub(super) fn new_code() -> NewCode {
    NewCode {
        hash: CodeHash::from_bytes(bytes()),
        client_id: CLIENT.into(),
        redirect_uri: REDIRECT_URI.into(),
        code_challenge: CHALLENGE.into(),
        expires_at: NOW.plus_seconds(60),
    }
}

/// A grant of thirty days.
pub(super) fn new_grant() -> NewGrant {
    NewGrant {
        id: GrantId::new(NOW, bytes()),
        client_id: CLIENT.into(),
        key: GrantKey::new(bytes()),
        expires_at: NOW.plus_seconds(30 * DAY),
    }
}

/// What the right client says of a code, for a grant of its own.
pub(super) fn redemption(code: &NewCode) -> Redemption {
    Redemption {
        hash: code.hash,
        client_id: code.client_id.clone(),
        redirect_uri: code.redirect_uri.clone(),
        code_challenge: code.code_challenge.clone(),
        grant: new_grant(),
        now: NOW,
    }
}

pub(super) fn rotation(grant: &NewGrant, count: u32, seconds: i64) -> Rotation {
    Rotation {
        grant: grant.id,
        count,
        grace_seconds: GRACE,
        now: NOW.plus_seconds(seconds),
    }
}

async fn rotate(
    store: &Arc<dyn Store>,
    grant: &NewGrant,
    count: u32,
    seconds: i64,
) -> Result<Rotated, RotateError> {
    store.rotate_grant(rotation(grant, count, seconds)).await
}

async fn given_code(store: &Arc<dyn Store>, session: SessionId) -> NewCode {
    let code = new_code();
    let hand_over = HandOver::Code(code.clone());
    assert!(store.hand_over(session, hand_over, NOW).await.unwrap());
    code
}

async fn given_grant(store: &Arc<dyn Store>, session: SessionId) -> NewGrant {
    let grant = new_grant();
    let hand_over = HandOver::Grant(grant.clone());
    assert!(store.hand_over(session, hand_over, NOW).await.unwrap());
    grant
}

async fn with_code(store: &Arc<dyn Store>, subject: &str) -> (User, SignIn, NewCode) {
    let (user, sign_in) = created(store, subject, None).await;
    let code = given_code(store, sign_in.session.id).await;
    (user, sign_in, code)
}

async fn with_grant(store: &Arc<dyn Store>, subject: &str) -> (User, SignIn, NewGrant) {
    let (user, sign_in) = created(store, subject, None).await;
    let grant = given_grant(store, sign_in.session.id).await;
    (user, sign_in, grant)
}

/// The grant that a redemption asked for, at a time at which it lives if it was made.
async fn granted(store: &Arc<dyn Store>, redemption: &Redemption) -> Option<Grant> {
    store.grant(redemption.grant.id, NOW).await.unwrap()
}

/// Whether a grant lives, as both verbs say that look for it.
async fn is_alive(store: &Arc<dyn Store>, grant: &NewGrant, seconds: i64) -> bool {
    let now = NOW.plus_seconds(seconds);
    let found = store.grant(grant.id, now).await.unwrap().is_some();
    let session = store.session(SessionKey::Grant(grant.id), now).await;
    assert_eq!(session.unwrap().is_some(), found);
    found
}

fn is_unknown(answer: Result<SignedIn, RedeemError>) {
    assert!(matches!(answer, Err(RedeemError::Unknown)), "{answer:?}");
}

/// A code that went with its session is either gone, or known as one whose session is over.
fn has_ended(answer: Result<SignedIn, RedeemError>) {
    assert!(
        matches!(answer, Err(RedeemError::Unknown | RedeemError::Ended)),
        "{answer:?}"
    );
}

fn is_over(answer: Result<Rotated, RotateError>) {
    assert!(matches!(answer, Err(RotateError::Ended)), "{answer:?}");
}
