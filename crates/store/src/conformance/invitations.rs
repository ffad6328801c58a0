//! Invitations: who may sign up where only the invited may, and that each is good for one user.

use std::sync::Arc;

use vestibule_accounts::{
    Act, ApplyError, Decide, Invitation, InviteError, SignIn, Store, Timestamp,
};

use super::{
    ISSUER, NOW, at_once, create, created, email, everyone, is_stale, known_with, new_user, record,
    refused, registered, sign_in,
};

fn invitation(address: &str) -> Invitation {
    Invitation {
        email: email(address),
        created_at: NOW,
        expires_at: NOW.plus_seconds(60),
    }
}

/// A first sign-in that was decided on an invitation for this address.
fn invited(subject: &str, address: &str) -> SignIn {
    let act = Act::Create {
        user: new_user(Some(address)),
        evict: None,
        by_invitation: true,
    };
    sign_in(act, record(subject))
}

async fn all(store: &Arc<dyn Store>) -> Vec<Invitation> {
    store.invitations(None, 100).await.unwrap()
}

/// An invitation is found by any spelling of its address, until its end.
pub async fn an_invitation_is_known_by_its_address_until_its_end(store: Arc<dyn Store>) {
    let invitation = invitation("Ann@X.example");
    store.invite(invitation.clone()).await.unwrap();

    assert_eq!(all(&store).await, [invitation]);
    assert!(known_with(&store, "ann@x.EXAMPLE", NOW).await.invited);
    assert!(!known_with(&store, "bob@x.example", NOW).await.invited);
    let last = NOW.plus_seconds(59);
    assert!(known_with(&store, "ann@x.example", last).await.invited);
    let end = NOW.plus_seconds(60);
    assert!(!known_with(&store, "ann@x.example", end).await.invited);
    let without = store
        .known(ISSUER.into(), "ann".into(), None, NOW)
        .await
        .unwrap();
    assert!(!without.invited);
}

/// A second invitation for one address takes the place of the first.
pub async fn a_second_invitation_for_an_address_replaces_the_first(store: Arc<dyn Store>) {
    store.invite(invitation("ann@x.example")).await.unwrap();
    let longer = Invitation {
        email: email("Ann@x.example"),
        created_at: NOW.plus_seconds(1),
        expires_at: NOW.plus_seconds(3_600),
    };
    for _ in 0..2 {
        store.invite(longer.clone()).await.unwrap();
        assert_eq!(all(&store).await, std::slice::from_ref(&longer));
    }
    let later = NOW.plus_seconds(60);
    assert!(known_with(&store, "ann@x.example", later).await.invited);
}

/// Who owns an address need not be invited; who only claims it hinders nobody.
pub async fn the_owner_of_an_address_is_not_invited_and_a_claimant_is_no_owner(
    store: Arc<dyn Store>,
) {
    created(&store, "ann", Some("ann@x.example")).await;
    registered(&store, "bob@x.example").await;

    let error = store.invite(invitation("ANN@x.example")).await.unwrap_err();
    assert!(matches!(error, InviteError::Exists), "{error:?}");
    assert!(all(&store).await.is_empty());
    assert!(!known_with(&store, "ann@x.example", NOW).await.invited);

    store.invite(invitation("bob@x.example")).await.unwrap();
    assert!(known_with(&store, "bob@x.example", NOW).await.invited);
}

/// The invitation goes in the transaction that makes the user; others stay.
pub async fn a_user_who_was_invited_uses_the_invitation_up(store: Arc<dyn Store>) {
    store.invite(invitation("ann@x.example")).await.unwrap();
    store.invite(invitation("bob@x.example")).await.unwrap();

    store.apply(invited("ann", "ANN@x.example")).await.unwrap();

    assert_eq!(all(&store).await, [invitation("bob@x.example")]);
    assert_eq!(everyone(&store).await.len(), 1);
}

/// Also a user who would have been let in without it, so that it is not there for the next owner of the address.
pub async fn any_new_owner_of_an_address_uses_its_invitation_up(store: Arc<dyn Store>) {
    store.invite(invitation("ann@x.example")).await.unwrap();
    created(&store, "nobody", None).await;
    registered(&store, "zoe@x.example").await;
    assert_eq!(all(&store).await.len(), 1, "it was for another address");

    created(&store, "ann", Some("ann@x.example")).await;

    assert!(all(&store).await.is_empty());
}

/// Whoever registers with a password claims the address and proves nothing: the invitation is for who proves it.
pub async fn a_claim_uses_no_invitation_up(store: Arc<dyn Store>) {
    store.invite(invitation("ann@x.example")).await.unwrap();
    registered(&store, "ann@x.example").await;

    assert!(known_with(&store, "ann@x.example", NOW).await.invited);
}

/// Between the decision and the write, the invitation was taken back, ran out, or was never there.
pub async fn an_invitation_gone_since_the_decision_is_stale(store: Arc<dyn Store>) {
    is_stale(&store, invited("ann", "ann@x.example")).await;

    store.invite(invitation("ann@x.example")).await.unwrap();
    let taken_back = store
        .withdraw_invitation(email("Ann@x.example").key().clone())
        .await;
    assert!(taken_back.unwrap());
    is_stale(&store, invited("ann", "ann@x.example")).await;

    store.invite(invitation("ann@x.example")).await.unwrap();
    let mut late = invited("ann", "ann@x.example");
    late.now = NOW.plus_seconds(60);
    is_stale(&store, late).await;
    // What was refused used nothing up.
    assert_eq!(all(&store).await, [invitation("ann@x.example")]);

    // Nor is an invitation for somebody else's address one.
    is_stale(&store, invited("bob", "bob@x.example")).await;
    let nobodys = Act::Create {
        user: new_user(None),
        evict: None,
        by_invitation: true,
    };
    is_stale(&store, sign_in(nobodys, record("nobody"))).await;
}

/// A sign-in that is refused for another reason leaves the invitation as it was.
pub async fn a_refused_sign_in_uses_no_invitation_up(store: Arc<dyn Store>) {
    created(&store, "ann", None).await;
    store.invite(invitation("ann@x.example")).await.unwrap();

    let error = refused(&store, invited("ann", "ann@x.example")).await;

    assert!(matches!(error, ApplyError::Conflict), "{error:?}");
    assert_eq!(all(&store).await, [invitation("ann@x.example")]);
}

/// Fifty people come at once with one invited address, at fifty identities: one becomes a user.
pub async fn fifty_sign_ins_with_one_invitation_make_one_user(store: Arc<dyn Store>) {
    store.invite(invitation("ann@x.example")).await.unwrap();
    let outcomes = at_once(&store, 50, |store, which| async move {
        let subject = format!("ann {which}");
        let key = email("ann@x.example").key().clone();
        let sign_in = invited(&subject, "ann@x.example");
        let decide: Decide = Box::new(move |known| {
            (known.invited && known.owner.is_none()).then(|| sign_in.clone())
        });
        store
            .admit(ISSUER.into(), subject, Some(key), NOW, decide)
            .await
    })
    .await;

    let mut users = 0;
    for outcome in outcomes {
        match outcome {
            Ok(Some(_)) => users += 1,
            Ok(None) | Err(ApplyError::Conflict | ApplyError::Stale) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(users, 1);
    assert_eq!(everyone(&store).await.len(), 1);
    assert!(all(&store).await.is_empty());
}

/// However an invitation and the sign-up of its address meet, no invitation for an address with an owner is left.
pub async fn inviting_beside_signing_up_leaves_no_invitation_for_an_owned_address(
    store: Arc<dyn Store>,
) {
    for round in 0..10 {
        let address = format!("ann{round}@x.example");
        at_once(&store, 2, |store, which| {
            let address = address.clone();
            async move {
                if which == 0 {
                    let create = sign_in(create(Some(&address)), record(&address));
                    store.apply(create).await.unwrap();
                } else {
                    match store.invite(invitation(&address)).await {
                        Ok(()) | Err(InviteError::Exists) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        })
        .await;
        assert!(all(&store).await.is_empty(), "round {round}");
    }
    assert_eq!(everyone(&store).await.len(), 10);
}

/// A withdrawal says whether there was something to withdraw.
pub async fn an_invitation_is_withdrawn_once(store: Arc<dyn Store>) {
    store.invite(invitation("ann@x.example")).await.unwrap();
    store.invite(invitation("bob@x.example")).await.unwrap();
    let key = email("ANN@x.example").key().clone();

    assert!(store.withdraw_invitation(key.clone()).await.unwrap());
    assert!(!store.withdraw_invitation(key).await.unwrap());

    assert!(!known_with(&store, "ann@x.example", NOW).await.invited);
    assert_eq!(all(&store).await, [invitation("bob@x.example")]);
}

/// Pages join without a gap, also between invitations of one moment.
pub async fn invitations_are_paged_the_oldest_first(store: Arc<dyn Store>) {
    let mut expected = Vec::new();
    for (age, name) in [(0, "b"), (0, "c"), (0, "d"), (1, "a")] {
        let invitation = Invitation {
            created_at: NOW.plus_seconds(age),
            ..invitation(&format!("{name}@x.example"))
        };
        store.invite(invitation.clone()).await.unwrap();
        expected.push(invitation);
    }
    let mut found = Vec::new();
    loop {
        let page = store.invitations(found.last().cloned(), 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected);
}

/// Pruning removes invitations from their end on, and no other.
pub async fn pruning_removes_invitations_at_their_end(store: Arc<dyn Store>) {
    let ends = |address: &str, at: Timestamp| Invitation {
        expires_at: at,
        ..invitation(address)
    };
    let later = NOW.plus_seconds(10);
    store.invite(ends("ann@x.example", later)).await.unwrap();
    let lives = ends("bob@x.example", later.plus_seconds(1));
    store.invite(lives.clone()).await.unwrap();

    assert_eq!(store.prune(later).await.unwrap(), 1);
    assert_eq!(all(&store).await, [lives]);
}
