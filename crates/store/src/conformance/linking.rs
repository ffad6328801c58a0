//! What every store does with ways in that are added and taken away, and with what their providers gave to keep.

use std::sync::Arc;

use vestibule_accounts::{
    Act, ApplyError, Decide, Known, ProviderTokens, SessionHash, SignIn, Store, Timestamp,
    UnlinkError, Unlinked, User,
};

use super::{
    DAY, ISSUER, NOW, admitted, at_once, bytes, create, created, email, everyone, known, linked,
    lives, record, refused, sign_in,
};

/// A link to this user that needs this session.
fn link_in(user: &User, session: &SignIn, subject: &str) -> SignIn {
    let mut link = sign_in(Act::Link(user.account()), record(subject));
    link.requires = Some(session.session.hash);
    link
}

async fn is_over(store: &Arc<dyn Store>, sign_in: SignIn) {
    let error = refused(store, sign_in).await;
    assert!(matches!(error, ApplyError::SessionOver), "{error:?}");
}

/// Makes a user whose provider gave these bytes to keep.
async fn keeping(store: &Arc<dyn Store>, subject: &str, sealed: &[u8]) -> (User, SignIn) {
    let mut first = sign_in(create(None), record(subject));
    first.provider_tokens = Some(sealed.into());
    let user = store.apply(first.clone()).await.unwrap().user;
    (user, first)
}

async fn kept(store: &Arc<dyn Store>, user: &User) -> Vec<ProviderTokens> {
    store.provider_tokens(user.id).await.unwrap()
}

/// The version of what is kept for the only identity of this user that has something kept.
async fn version(store: &Arc<dyn Store>, user: &User) -> i64 {
    let kept = kept(store, user).await;
    assert_eq!(kept.len(), 1, "{kept:?}");
    kept[0].version
}

async fn unlinked(store: &Arc<dyn Store>, user: &User, subject: &str) -> Option<Unlinked> {
    let account = store.user(user.id).await.unwrap().unwrap().account();
    store
        .unlink(account, ISSUER.into(), subject.into(), None, NOW)
        .await
        .unwrap()
}

/// Asks at this time, in seconds from `NOW`, for a lease of a minute on what is kept for ann.
async fn leased(store: &Arc<dyn Store>, version: i64, seconds: i64) -> bool {
    let (now, until) = (NOW.plus_seconds(seconds), NOW.plus_seconds(seconds + 60));
    store
        .lease_provider_tokens(ISSUER.into(), "ann".into(), version, until, now)
        .await
        .unwrap()
}

async fn replaced(store: &Arc<dyn Store>, version: i64, sealed: Option<&[u8]>) -> bool {
    let sealed = sealed.map(Vec::from);
    store
        .replace_provider_tokens(ISSUER.into(), "ann".into(), version, sealed, NOW)
        .await
        .unwrap()
}

/// A way in is added in a session that lives, up to its last moment, and by its user alone.
pub async fn a_link_is_written_while_the_session_that_it_needs_lives(store: Arc<dyn Store>) {
    let (user, session) = created(&store, "ann", None).await;
    let mut link = link_in(&user, &session, "ann at work");
    link.now = NOW.plus_seconds(session.session.idle_seconds - 1);
    link.session.expires_at = link.now.plus_seconds(DAY);
    let user = store.apply(link).await.unwrap().user;
    assert_eq!(store.identities(user.id).await.unwrap().len(), 2);
    assert!(lives(&store, session.session.hash).await);

    // The same of a sign-in.
    let mut again = sign_in(Act::SignIn(user.account()), record("ann"));
    again.requires = Some(session.session.hash);
    store.apply(again.clone()).await.unwrap();
    assert!(lives(&store, again.session.hash).await);
}

/// Never made, ended, expired, idle, somebody else's, a disabled user's: nothing is written, whatever the act, and also
/// where the decision is stale or the identity taken.
pub async fn a_sign_in_whose_required_session_is_over_writes_nothing(store: Arc<dyn Store>) {
    let (ann, session) = created(&store, "ann", None).await;
    let (bob, of_bob) = created(&store, "bob", None).await;
    let ended = sign_in(Act::SignIn(ann.account()), record("ann"));
    store.apply(ended.clone()).await.unwrap();
    store.end_session(ended.session.hash).await.unwrap();
    let unknown = SessionHash::from_bytes(bytes());
    let idle = session.session.idle_seconds;

    for (required, seconds) in [
        (unknown, 0),
        (ended.session.hash, 0),
        (of_bob.session.hash, 0),
        (session.session.hash, idle),
        (session.session.hash, 30 * DAY),
    ] {
        let now = NOW.plus_seconds(seconds);
        let stale = vestibule_accounts::Account {
            version: vestibule_accounts::UserVersion(ann.version.0 + 1),
            ..ann.account()
        };
        for (act, subject) in [
            (Act::Link(ann.account()), "ann at work"),
            (Act::Link(ann.account()), "bob"),
            (Act::Link(stale), "ann at work"),
            (Act::SignIn(ann.account()), "ann"),
            (create(None), "carol"),
        ] {
            let mut sign_in = sign_in(act, record(subject));
            (sign_in.requires, sign_in.now) = (Some(required), now);
            sign_in.provider_tokens = Some(vec![1]);
            sign_in.replaces = Some(session.session.hash);
            is_over(&store, sign_in).await;
        }
    }
    assert!(lives(&store, session.session.hash).await);
    assert_eq!(kept(&store, &ann).await, []);

    // Whoever is being made has no session, and so none that lives.
    let mut carol = sign_in(create(None), record("carol"));
    carol.requires = Some(session.session.hash);
    is_over(&store, carol).await;

    store.set_active(bob.id, false, NOW).await.unwrap();
    is_over(&store, link_in(&bob, &of_bob, "bob at work")).await;
    let now = known(&store, "bob").await.identity.unwrap();
    let mut disabled = link_in(&bob, &of_bob, "bob at work");
    disabled.act = Act::Link(now);
    is_over(&store, disabled).await;
}

/// Twenty links at once, each in the same session, which it takes the place of: one is written, the others come too late.
pub async fn twenty_links_in_one_session_that_they_replace_add_one_way_in(store: Arc<dyn Store>) {
    let (user, session) = created(&store, "ann", None).await;
    let answers = at_once(&store, 20, move |store, which| {
        let mut link = link_in(&user, &session, &format!("ann {which}"));
        link.replaces = link.requires;
        async move { store.apply(link).await }
    })
    .await;

    let written = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(written, 1, "{answers:?}");
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(matches!(error, ApplyError::SessionOver), "{error:?}");
    }
    assert_eq!(everyone(&store).await[0].1.len(), 2);
}

/// Signing out beside a link that replaces the session: one of the two ends it, and who comes second finds it gone.
pub async fn a_link_beside_signing_out_is_written_or_finds_the_session_over(store: Arc<dyn Store>) {
    for round in 0..20 {
        let (user, session) = created(&store, &format!("ann {round}"), None).await;
        let mut link = link_in(&user, &session, &format!("work {round}"));
        link.replaces = link.requires;
        let (one, other) = (store.clone(), store.clone());
        let ends = tokio::spawn(async move { other.end_session(session.session.hash).await });
        let links = tokio::spawn(async move { one.apply(link).await });
        let ended = ends.await.unwrap().unwrap().is_some();
        let identities = async || store.identities(user.id).await.unwrap().len();
        match links.await.unwrap() {
            Ok(_) => assert_eq!((ended, identities().await), (false, 2)),
            Err(ApplyError::SessionOver) => assert_eq!((ended, identities().await), (true, 1)),
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// It is there after the sign-in that brought it, for its user alone; a sign-in that brings nothing leaves it, another
/// takes its place.
pub async fn what_a_provider_gave_is_kept_beside_its_identity(store: Arc<dyn Store>) {
    let (ann, _) = keeping(&store, "ann", b"one").await;
    let (bob, _) = created(&store, "bob", None).await;
    let first = kept(&store, &ann).await;
    assert_eq!(
        first,
        [ProviderTokens {
            issuer: ISSUER.into(),
            subject: "ann".into(),
            provider: "idp".into(),
            sealed: b"one".to_vec(),
            version: first[0].version,
        }]
    );
    assert_eq!(kept(&store, &bob).await, []);
    assert!(!format!("{first:?}").contains("111"), "{first:?}");

    let mut again = sign_in(Act::SignIn(ann.account()), record("ann"));
    again.identity.provider = "renamed".into();
    store.apply(again).await.unwrap();
    let same = kept(&store, &ann).await;
    assert_eq!(same[0].provider, "renamed");
    assert_eq!(
        (&same[0].sealed, same[0].version),
        (&b"one".to_vec(), first[0].version)
    );

    let mut other = sign_in(Act::SignIn(ann.account()), record("ann"));
    other.provider_tokens = Some(b"two".to_vec());
    store.apply(other).await.unwrap();
    let second = kept(&store, &ann).await;
    assert_eq!((second.len(), &second[0].sealed[..]), (1, &b"two"[..]));
    assert!(second[0].version > first[0].version);
    assert_eq!(kept(&store, &bob).await, []);
}

/// Of several identities that which was used last comes first; of a disabled user none comes.
pub async fn what_is_kept_is_listed_for_active_users_the_last_used_first(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"home").await;
    let mut link = sign_in(Act::Link(user.account()), record("ann at work"));
    (link.provider_tokens, link.now) = (Some(b"work".to_vec()), NOW.plus_seconds(1));
    let user = store.apply(link).await.unwrap().user;
    let (user, _) = linked(&store, &user, "without").await;
    let subjects = async || {
        let kept = kept(&store, &user).await.into_iter();
        kept.map(|kept| kept.subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects().await, ["ann at work", "ann"]);

    let mut again = sign_in(Act::SignIn(user.account()), record("ann"));
    again.now = NOW.plus_seconds(2);
    store.apply(again).await.unwrap();
    assert_eq!(subjects().await, ["ann", "ann at work"]);

    store.set_active(user.id, false, NOW).await.unwrap();
    assert_eq!(subjects().await, [""; 0]);
    store.set_active(user.id, true, NOW).await.unwrap();
    assert_eq!(subjects().await, ["ann", "ann at work"]);
}

/// What a refused sign-in brought is not kept, and what was kept stays.
pub async fn a_refused_sign_in_changes_nothing_that_is_kept(store: Arc<dyn Store>) {
    let (ann, _) = keeping(&store, "ann", b"one").await;
    let (bob, _) = created(&store, "bob", None).await;
    let before = kept(&store, &ann).await;
    let old = ann.account();
    linked(&store, &ann, "ann at work").await;

    for (act, subject) in [
        (Act::SignIn(old), "ann"),
        (Act::Link(old), "ann at home"),
        (Act::Link(bob.account()), "ann"),
        (create(None), "ann"),
    ] {
        let mut taken = sign_in(act, record(subject));
        taken.provider_tokens = Some(b"two".to_vec());
        refused(&store, taken).await;
    }
    assert_eq!(kept(&store, &ann).await, before);
    assert_eq!(kept(&store, &bob).await, []);
}

/// It is told to whoever unlinks, once, and is gone: no lease, no replacement and no new link brings it back.
pub async fn an_unlinked_identity_takes_what_was_kept_with_it(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"one").await;
    let (user, _) = linked(&store, &user, "without").await;
    let old = version(&store, &user).await;

    let gone = unlinked(&store, &user, "ann").await.unwrap();
    assert_eq!(gone.provider_tokens.as_deref(), Some(&b"one"[..]));
    assert!(!format!("{gone:?}").contains("111"), "{gone:?}");
    assert_eq!(kept(&store, &user).await, []);
    assert_eq!(unlinked(&store, &user, "ann").await, None);
    assert!(!leased(&store, old, 0).await);
    assert!(!replaced(&store, old, Some(b"late")).await);
    assert!(!replaced(&store, old, None).await);

    let user = store.user(user.id).await.unwrap().unwrap();
    let (user, _) = linked(&store, &user, "ann").await;
    assert_eq!(kept(&store, &user).await, []);
    let mut again = sign_in(Act::SignIn(user.account()), record("ann"));
    again.provider_tokens = Some(b"two".to_vec());
    again.now = NOW.plus_seconds(1);
    store.apply(again).await.unwrap();
    assert!(version(&store, &user).await > old);
    assert!(!replaced(&store, old, Some(b"late")).await);
    assert_eq!(kept(&store, &user).await[0].sealed, b"two");

    let without = unlinked(&store, &user, "without").await.unwrap();
    assert_eq!(without.provider_tokens, None);
}

/// A refused unlink gives nothing out and takes nothing away: of the last way in, of somebody else's, of a disabled user.
pub async fn a_refused_unlink_leaves_what_is_kept(store: Arc<dyn Store>) {
    let (ann, _) = keeping(&store, "ann", b"one").await;
    let (bob, _) = created(&store, "bob", None).await;
    let (bob, _) = linked(&store, &bob, "bob at work").await;
    let before = kept(&store, &ann).await;
    let unlink = async |account, subject: &str| {
        store
            .unlink(account, ISSUER.into(), subject.into(), None, NOW)
            .await
    };

    let last = unlink(ann.account(), "ann").await;
    assert!(matches!(last, Err(UnlinkError::LastMethod)), "{last:?}");
    assert_eq!(unlink(bob.account(), "ann").await.unwrap(), None);
    assert_eq!(kept(&store, &ann).await, before);

    let (ann, _) = linked(&store, &ann, "ann at work").await;
    let disabled = store.set_active(ann.id, false, NOW).await.unwrap().unwrap();
    for account in [ann.account(), disabled.account()] {
        let stale = unlink(account, "ann").await;
        assert!(matches!(stale, Err(UnlinkError::Stale)), "{stale:?}");
    }
    store.set_active(ann.id, true, NOW).await.unwrap();
    assert_eq!(store.identities(ann.id).await.unwrap().len(), 2);
    assert_eq!(kept(&store, &ann).await, before);
}

// S56
/// What a user took away is known as that to the decision about the address of that user, and about no other; and is there
/// to be added again.
pub async fn an_identity_that_its_user_took_away_is_known_as_that(store: Arc<dyn Store>) {
    let (ann, session) = created(&store, "ann", Some("ann@x.example")).await;
    let (bob, of_bob) = created(&store, "bob", Some("bob@x.example")).await;
    let (ann, _) = linked(&store, &ann, "work").await;
    let taken = async |subject: &str, address: &str| {
        let key = email(address).key().clone();
        let known = store.known(ISSUER.into(), subject.into(), Some(key), NOW);
        let known = known.await.unwrap();
        assert!(known.identity.is_some() || known.owner.is_some());
        known.taken_away
    };
    let nobody_elses = async || {
        assert!(!taken("home", "ann@x.example").await);
        assert!(!taken("Work", "ann@x.example").await);
        assert!(!taken("work", "bob@x.example").await);
        assert!(!known(&store, "work").await.taken_away);
        let key = email("ann@x.example").key().clone();
        let elsewhere = store.known(
            "https://other.example".into(),
            "work".into(),
            Some(key),
            NOW,
        );
        assert!(!elsewhere.await.unwrap().taken_away);
    };
    nobody_elses().await;

    // What was refused took nothing away.
    assert_eq!(unlinked(&store, &bob, "work").await, None);
    nobody_elses().await;

    unlinked(&store, &ann, "work").await.unwrap();
    assert!(taken("work", "ANN@x.example").await);
    nobody_elses().await;
    let ann = store.user(ann.id).await.unwrap().unwrap();
    let expected = Known {
        owner: Some(ann.account()),
        taken_away: true,
        ..Known::default()
    };
    let decide: Decide = Box::new(move |known| {
        assert_eq!(*known, expected);
        None
    });
    assert_eq!(admitted(&store, "work", decide).await.unwrap(), None);

    // Added again and taken away again, by either: it is so of both.
    let again = sign_in(Act::SignIn(ann.account()), record("ann"));
    store.apply(again.clone()).await.unwrap();
    let ann = store
        .apply(link_in(&ann, &again, "work"))
        .await
        .unwrap()
        .user;
    assert_eq!(known(&store, "work").await.identity, Some(ann.account()));
    unlinked(&store, &ann, "work").await.unwrap();
    store.apply(link_in(&bob, &of_bob, "work")).await.unwrap();
    unlinked(&store, &bob, "work").await.unwrap();
    for address in ["ann@x.example", "bob@x.example"] {
        assert!(taken("work", address).await, "{address}");
    }
    assert!(!taken("home", "bob@x.example").await);
    assert!(!lives(&store, session.session.hash).await);
}

/// Fifty ask at once for the lease: one has it.
pub async fn what_is_kept_is_leased_to_one_of_fifty(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"one").await;
    let version = version(&store, &user).await;
    let leases = at_once(&store, 50, move |store, _| async move {
        leased(&store, version, 0).await
    })
    .await;
    assert_eq!(leases.iter().filter(|leased| **leased).count(), 1);
}

/// While it lasts nobody else has it; at its end, not a microsecond before, somebody takes it over. There is none on
/// another version, nor where nothing is kept.
pub async fn a_lease_is_taken_over_at_its_end(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"one").await;
    let version = version(&store, &user).await;
    assert!(!leased(&store, version - 1, 0).await);
    assert!(!leased(&store, version + 1, 0).await);
    assert!(leased(&store, version, 0).await);
    assert!(!leased(&store, version, 0).await);
    let end = NOW.plus_seconds(60);
    let until = end.plus_seconds(60);
    let at = async |now| {
        store
            .lease_provider_tokens(ISSUER.into(), "ann".into(), version, until, now)
            .await
            .unwrap()
    };
    assert!(!at(Timestamp::from_micros(end.micros() - 1)).await);
    assert!(at(end).await);
    assert!(!at(end).await);

    created(&store, "bob", None).await;
    for subject in ["bob", "Ann", "nobody"] {
        let leased = store
            .lease_provider_tokens(ISSUER.into(), subject.into(), version, until, NOW)
            .await;
        assert!(!leased.unwrap(), "{subject}");
    }
}

/// Whoever was too slow and lost the lease does not overwrite what its successor wrote.
pub async fn a_late_replacement_after_a_takeover_is_refused(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"one").await;
    let old = version(&store, &user).await;
    assert!(leased(&store, old, 0).await);
    assert!(leased(&store, old, 60).await);
    assert!(replaced(&store, old, Some(b"successor")).await);
    let now = kept(&store, &user).await;
    assert_eq!(now[0].sealed, b"successor");

    assert!(!replaced(&store, old, Some(b"late")).await);
    assert!(!replaced(&store, old, None).await);
    assert_eq!(kept(&store, &user).await, now);
}

/// The new version is another one, and can be leased at once.
pub async fn a_replacement_raises_the_version_and_ends_the_lease(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"0").await;
    let mut old = version(&store, &user).await;
    // All within one microsecond.
    for round in 1..4 {
        assert!(leased(&store, old, 0).await);
        assert!(replaced(&store, old, Some(&[round])).await);
        let new = kept(&store, &user).await;
        assert!(new[0].version > old);
        assert_eq!(new[0].sealed, [round]);
        assert!(!leased(&store, old, 0).await);
        old = new[0].version;
    }
    // So does a sign-in that brings something.
    assert!(leased(&store, old, 0).await);
    let mut again = sign_in(Act::SignIn(user.account()), record("ann"));
    again.provider_tokens = Some(b"new".to_vec());
    store.apply(again).await.unwrap();
    let new = version(&store, &user).await;
    assert!(new > old);
    assert!(!replaced(&store, old, Some(b"late")).await);
    assert!(leased(&store, new, 0).await);
    assert_eq!(kept(&store, &user).await[0].sealed, b"new");
}

/// Nothing is kept from then on, and the identity stays; what comes later has a version that was not there before.
pub async fn what_is_kept_is_removed_and_its_version_never_comes_again(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"one").await;
    let old = version(&store, &user).await;
    assert!(!replaced(&store, old + 1, None).await);
    assert!(replaced(&store, old, None).await);
    assert!(!replaced(&store, old, None).await);
    assert!(!replaced(&store, old, Some(b"late")).await);
    assert_eq!(kept(&store, &user).await, []);
    assert_eq!(store.identities(user.id).await.unwrap().len(), 1);

    let mut again = sign_in(Act::SignIn(user.account()), record("ann"));
    (again.provider_tokens, again.now) = (Some(b"two".to_vec()), NOW.plus_seconds(1));
    store.apply(again).await.unwrap();
    assert!(version(&store, &user).await > old);
    assert!(!leased(&store, old, 0).await);
    assert!(!replaced(&store, old, None).await);
}

/// Fifty replace the same version at once: one does, and what is kept is what it wrote.
pub async fn fifty_replacements_of_one_version_keep_one(store: Arc<dyn Store>) {
    let (user, _) = keeping(&store, "ann", b"one").await;
    let old = version(&store, &user).await;
    let answers = at_once(&store, 50, move |store, which| async move {
        replaced(&store, old, Some(format!("of {which}").as_bytes())).await
    })
    .await;
    let winners: Vec<_> = (0..50).filter(|which| answers[*which]).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let now = kept(&store, &user).await;
    assert_eq!(now.len(), 1);
    assert_eq!(now[0].sealed, format!("of {}", winners[0]).as_bytes());
    assert!(now[0].version > old);
}
