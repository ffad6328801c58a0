//! A primary with one synchronous standby: what becomes of what was acknowledged when either goes away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio_postgres::Client;
use vestibule_accounts::{ApplyError, SessionKey, Store, StoreError};
use vestibule_store::{OpenMode, PostgresStore};

use crate::load::Load;
use crate::server::{Server, Stop};
use crate::{NOW, Place, sign_in};

/// How long something may take to come about, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the place's server a standby for which every COMMIT waits.
async fn standby_of(place: &Place) -> Server {
    let standby = block_in_place(|| place.server.standby());
    let primary = place.outsider().await;
    primary
        .batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        .await
        .unwrap();
    primary
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    is_so(
        &primary,
        "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync')",
    )
    .await;
    standby
}

/// Waits until a question is answered with yes.
async fn is_so(client: &Client, question: &str) {
    let began = Instant::now();
    while !client
        .query_one(question, &[])
        .await
        .unwrap()
        .get::<_, bool>(0)
    {
        assert!(began.elapsed() < PATIENCE, "{question}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Who waits for the standby, of the place's stores.
async fn waiting_for_standby(client: &Client, place: &Place) -> Vec<i32> {
    client
        .query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'",
            &[&place.schema],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// Waits until some connection of the place's stores, and not this one, waits for the standby; which one.
async fn a_commit_waits(client: &Client, place: &Place, other_than: Option<i32>) -> i32 {
    let began = Instant::now();
    loop {
        let waiting = waiting_for_standby(client, place).await;
        if let Some(pid) = waiting.into_iter().find(|pid| Some(*pid) != other_than) {
            return pid;
        }
        assert!(began.elapsed() < PATIENCE, "no COMMIT waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The primary is killed under load and its standby takes over: one URL names both, and nobody is restarted.
pub(crate) async fn a_standby_that_takes_over_has_all_that_was_acknowledged(place: Place) {
    // The schema is there before there is a standby, for which a COMMIT would wait.
    place.store("").await.close().await;
    let standby = standby_of(&place).await;
    let url = format!(
        "postgres://vestibule@127.0.0.1:{},127.0.0.1:{}/postgres?application_name={}&target_session_attrs=read-write",
        place.server.port(),
        standby.port(),
        place.schema
    );
    let opened = PostgresStore::open(&url, &place.schema, OpenMode::Serve).await;
    let store = Arc::new(opened.unwrap());
    let load = Load::start(&store);
    load.goes_on(200).await;

    let gone = Instant::now();
    block_in_place(|| place.server.stop(Stop::Kill));
    while store.ready().await.is_ok() {}
    let after = Place {
        server: Arc::new(standby),
        ..place.clone()
    };
    let promoted = after.outsider().await;
    is_so(&promoted, "SELECT pg_promote()").await;
    let healed = load.healed().await;
    load.goes_on(200).await;
    let told = load.end().await;
    told.assert_failed_between_alone(gone, healed);
    told.assert_kept(&store, &after).await;
}

/// The standby is gone and the primary lives: what COMMIT has not answered is not acknowledged and is seen by nobody;
/// reads go on; and when the standby is back, it is there once.
pub(crate) async fn what_waits_for_its_standby_is_not_acknowledged_and_reads_go_on(place: Place) {
    let store = place.store("").await;
    let user = store.apply(sign_in(1)).await.unwrap().user;
    let standby = standby_of(&place).await;
    block_in_place(|| standby.stop(Stop::Immediate));

    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.apply(sign_in(2)).await })
    };
    let outsider = place.outsider().await;
    let pid = a_commit_waits(&outsider, &place, None).await;
    assert_eq!(store.user(user.id).await.unwrap(), Some(user));
    let session = SessionKey::Cookie(sign_in(2).session.hash);
    assert!(store.session(session, NOW).await.unwrap().is_none());
    let answer = waiting.await.unwrap();
    assert!(
        matches!(answer, Err(ApplyError::Store(StoreError::Unavailable(_)))),
        "{answer:?}"
    );
    // Nobody told the server that we went away: that COMMIT waits on.
    assert_eq!(waiting_for_standby(&outsider, &place).await, [pid]);
    assert!(store.session(session, NOW).await.unwrap().is_none());

    block_in_place(|| standby.run());
    let began = Instant::now();
    while store.session(session, NOW).await.unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for table in ["users", "identities", "sessions"] {
        assert_eq!(place.count(table).await, 2, "{table}");
    }
    // Who comes again decides again, on what is there.
    let again = store.apply(sign_in(2)).await;
    assert!(matches!(again, Err(ApplyError::Conflict)), "{again:?}");
    store.apply(sign_in(3)).await.unwrap();
}

/// A connection is cut whose COMMIT is done here and not at the standby. Anybody can see its rows now, and a primary that
/// dies takes them along: they are acknowledged when the standby has them.
pub(crate) async fn what_is_found_after_a_cut_is_acknowledged_when_the_standby_has_it(
    place: Place,
) {
    let store = place.store("").await;
    let user = store.apply(sign_in(1)).await.unwrap().user;
    let standby = standby_of(&place).await;

    // One verb that asks whether it was done, and one that is done again.
    let applying = store.clone();
    cut_while_it_waits(&place, &standby, async move {
        applying.apply(sign_in(2)).await.unwrap();
    })
    .await;
    let disabling = store.clone();
    cut_while_it_waits(&place, &standby, async move {
        let disabled = disabling.set_active(user.id, false, NOW).await.unwrap();
        assert!(!disabled.unwrap().is_active);
    })
    .await;

    let after = Place {
        server: Arc::new(standby),
        ..place.clone()
    };
    for (table, rows) in [("users", 2), ("sessions", 1), ("users WHERE is_active", 1)] {
        assert_eq!(after.count(table).await, rows, "{table}");
    }
}

/// Runs a verb while the standby is gone, and cuts the connection on which it waits for it.
async fn cut_while_it_waits(
    place: &Place,
    standby: &Server,
    verb: impl Future<Output = ()> + Send + 'static,
) {
    block_in_place(|| standby.stop(Stop::Immediate));
    let verb = tokio::spawn(verb);
    let outsider = place.outsider().await;
    let cut = a_commit_waits(&outsider, place, None).await;
    outsider
        .execute("SELECT pg_terminate_backend($1)", &[&cut])
        .await
        .unwrap();
    a_commit_waits(&outsider, place, Some(cut)).await;
    assert!(!verb.is_finished(), "the standby does not have it");
    block_in_place(|| standby.run());
    verb.await.unwrap();
}
