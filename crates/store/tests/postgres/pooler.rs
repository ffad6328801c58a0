//! Behind a pooler that hands out its connections by transaction.

use std::time::Instant;

use tokio::task::block_in_place;
use tokio_postgres::NoTls;
use vestibule_accounts::{Store as _, StoreError};

use crate::load::Load;
use crate::{Place, server};

/// A pooler ends and comes back: what fails fails while it is away, nothing acknowledged is lost, and the pool heals by
/// itself.
pub(crate) async fn a_pooler_that_restarts_is_missed_while_it_is_away_alone(place: Place) {
    let store = place.store("&prepare=false").await;
    let pooler = place.pooler.as_ref().unwrap();
    let load = Load::start(&store);
    load.goes_on(100).await;
    let gone = Instant::now();
    block_in_place(|| pooler.kill());
    while store.ready().await.is_ok() {}
    block_in_place(|| pooler.run());
    let healed = load.healed().await;
    load.goes_on(100).await;
    let told = load.end().await;
    told.assert_failed_between_alone(gone, healed);
    told.assert_kept(&store, &place).await;
}

/// What was prepared on one connection is unknown to another, and the operator reads what to do about it.
pub(crate) async fn prepared_statements_behind_a_pooler_are_an_error_that_says_what_to_do(
    place: Place,
) {
    let store = place.store("").await;
    store.ready().await.unwrap();
    // The server's connection on which that was prepared goes to somebody else, who keeps it.
    let url = server::url(place.pooler.as_ref().unwrap().port(), "outsider");
    let (mut other, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let kept = other.transaction().await.unwrap();
    kept.batch_execute("SELECT 1").await.unwrap();

    let refused = store.ready().await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("end database_url with ?prepare=false")),
        "{refused:?}"
    );
    place.store("&prepare=false").await.ready().await.unwrap();
}
