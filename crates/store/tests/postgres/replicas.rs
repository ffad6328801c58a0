//! Several stores on one database, and what a database must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use vestibule_accounts::{
    Act, ApplyError, Claim, CodeHash, EmailAddress, GrantId, GrantKey, HandOver, NewCode, NewGrant,
    NewPasswordUser, PasswordHash, RedeemError, Redemption, RegisterError, SecretCheck, StateHash,
    Store, StoreError, UserId, UserQuery,
};
use vestibule_store::{OpenMode, PostgresError, PostgresStore};

use crate::load::grant;
use crate::{NOW, Place, bytes, sign_in};

pub(crate) async fn a_schema_is_made_once_by_servers_that_start_together(place: Place) {
    let mut starting = Vec::new();
    for _ in 0..6 {
        let place = place.clone();
        starting.push(tokio::spawn(async move {
            place
                .store("&options=-c%20default_transaction_isolation%3Dserializable")
                .await
                .ready()
                .await
        }));
    }
    for server in starting {
        server.await.unwrap().unwrap();
    }
    assert_eq!(place.count("migrations").await, 4);
}

pub(crate) async fn the_command_line_makes_nothing(place: Place) {
    let url = place.server.url(&place.schema);
    let open = || PostgresStore::open(&url, &place.schema, OpenMode::CommandLine);
    let missing = open().await;
    assert!(
        matches!(&missing, Err(PostgresError::Missing(schema)) if *schema == place.schema),
        "{missing:?}"
    );
    place.store("").await;
    open().await.unwrap().ready().await.unwrap();
}

pub(crate) async fn a_newer_and_a_changed_schema_are_refused(place: Place) {
    place.store("").await;
    let url = place.server.url(&place.schema);
    let outsider = place.outsider().await;
    let open = || PostgresStore::open(&url, &place.schema, OpenMode::Serve);
    outsider
        .batch_execute("INSERT INTO migrations VALUES (99, '')")
        .await
        .unwrap();
    let newer = open().await;
    assert!(
        matches!(newer, Err(PostgresError::Newer { found: 99, .. })),
        "{newer:?}"
    );
    outsider
        .batch_execute("DELETE FROM migrations WHERE number = 99; UPDATE migrations SET checksum = '' WHERE number = 1")
        .await
        .unwrap();
    let changed = open().await;
    assert!(
        matches!(changed, Err(PostgresError::Checksum { number: 1, .. })),
        "{changed:?}"
    );
}

pub(crate) async fn what_does_not_do_is_refused_with_words(place: Place) {
    for schema in [
        "",
        "Vestibule",
        "pg_ours",
        "a-b",
        "a\"; DROP SCHEMA public; --",
        "1a",
    ] {
        let refused = PostgresStore::open(&place.server.url("x"), schema, OpenMode::Serve).await;
        assert!(
            matches!(refused, Err(PostgresError::Schema(_))),
            "{refused:?}"
        );
    }
    let text = place
        .server
        .url("x")
        .replace("vestibule@", "vestibule:hunter2@")
        .replace("/postgres?", "/nothing?");
    let refused = PostgresStore::open(&text, "vestibule", OpenMode::Serve).await;
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("nothing") && !said.contains("hunter2"),
        "{said}"
    );
    // It speaks no TLS, and TLS is what was asked for.
    let url = format!("{}&sslmode=require", place.server.url("x"));
    let refused = PostgresStore::open(&url, "vestibule", OpenMode::Serve).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("TLS"), "{said}");
}

/// Fifty browsers of one person on two replicas, each reading, deciding and writing, again after a refusal.
pub(crate) async fn two_replicas_make_one_user_of_one_person(place: Place) {
    let replicas = [place.store("").await, place.store("").await];
    let mut browsers = Vec::new();
    for number in 1..=50 {
        let store = replicas[number as usize % 2].clone();
        browsers.push(tokio::spawn(async move {
            for _ in 0..3 {
                let mut sign_in = sign_in(number);
                sign_in.identity.subject = "ann".into();
                let identity = &sign_in.identity;
                let known = store
                    .known(identity.issuer.clone(), "ann".into(), None, NOW)
                    .await
                    .unwrap();
                if let Some(account) = known.identity {
                    sign_in.act = Act::SignIn(account);
                }
                match store.apply(sign_in).await {
                    Ok(applied) => return applied.user.id,
                    Err(ApplyError::Conflict | ApplyError::Stale) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            panic!("three attempts were not enough")
        }));
    }
    let mut users = Vec::new();
    for browser in browsers {
        users.push(browser.await.unwrap());
    }
    users.dedup();
    assert_eq!(users.len(), 1);
    assert_eq!(place.count("users").await, 1);
    assert_eq!(place.count("sessions").await, 50);
}

pub(crate) async fn a_state_is_used_on_every_replica(place: Place) {
    let replicas = [place.store("").await, place.store("&prepare=false").await];
    for number in 0..20 {
        let state = StateHash::from_bytes(bytes(number));
        let (one, other) = tokio::join!(
            replicas[0].claim_state(state, NOW),
            replicas[1].claim_state(state, NOW)
        );
        let firsts = [one.unwrap(), other.unwrap()]
            .iter()
            .filter(|claim| **claim == Claim::First)
            .count();
        assert_eq!(firsts, 1);
    }
}

pub(crate) async fn a_second_secret_is_refused(place: Place) {
    let replicas = [place.store("").await, place.store("").await];
    let (one, other) = tokio::join!(
        replicas[0].check_secret([1; 32], None),
        replicas[1].check_secret([2; 32], None)
    );
    let mut checks = [one.unwrap(), other.unwrap()];
    checks.sort_by_key(|check| *check == SecretCheck::Other);
    assert_eq!(checks, [SecretCheck::Ours, SecretCheck::Other]);
}

/// Whoever proves an address and whoever only claims it, at once: one of them holds it.
pub(crate) async fn registering_beside_creating_leaves_one_holder_of_an_address(place: Place) {
    let replicas = [place.store("").await, place.store("").await];
    for number in 1..=40 {
        let address = format!("ann{number}@x.example");
        let mut create = sign_in(number);
        if let Act::Create { user, .. } = &mut create.act {
            user.email = Some(EmailAddress::parse(&address).unwrap());
        }
        let register = NewPasswordUser {
            id: UserId::new(NOW, bytes(1_000 + number)),
            claimed_email: EmailAddress::parse(&address).unwrap(),
            password_hash: PasswordHash::new("hash".into()),
        };
        let (created, registered) = tokio::join!(
            replicas[0].apply(create),
            replicas[1].register(register, NOW)
        );
        match (&created, &registered) {
            (Ok(_), Err(RegisterError::Exists)) | (Err(ApplyError::Stale), Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(place.count("users").await, 40);
    assert_eq!(place.count("address_locks").await, 0);
}

/// A browser signs in again while its front end redeems the code of before: the code went over, and is redeemed.
pub(crate) async fn a_code_that_moves_to_a_new_session_is_still_redeemed(place: Place) {
    let replicas = [place.store("").await, place.store("").await];
    let mut old = sign_in(1);
    let user = replicas[0].apply(old.clone()).await.unwrap().user;
    for number in 2..40 {
        let code = NewCode {
            hash: CodeHash::from_bytes(bytes(number)),
            client_id: "spa".into(),
            redirect_uri: "https://spa.example/".into(),
            code_challenge: "challenge".into(),
            expires_at: NOW.plus_seconds(60),
        };
        let handed = replicas[0]
            .hand_over(old.session.id, HandOver::Code(code.clone()), NOW)
            .await;
        assert!(handed.unwrap());
        let mut again = sign_in(number);
        again.act = Act::SignIn(user.account());
        again.identity.subject = "1".into();
        again.replaces = Some(old.session.hash);
        let redemption = Redemption {
            hash: code.hash,
            client_id: code.client_id,
            redirect_uri: code.redirect_uri,
            code_challenge: code.code_challenge,
            grant: NewGrant {
                id: GrantId::new(NOW, bytes(number)),
                client_id: "spa".into(),
                key: GrantKey::new(bytes(number)),
                expires_at: NOW.plus_seconds(3_600),
            },
            now: NOW,
        };
        let grant = redemption.grant.id;
        let (applied, redeemed) = tokio::join!(
            replicas[0].apply(again.clone()),
            replicas[1].redeem_code(redemption)
        );
        applied.unwrap();
        redeemed.unwrap();
        // Whichever was first, the grant hangs on the session that lives.
        assert!(replicas[0].grant(grant, NOW).await.unwrap().is_some());
        old = again;
    }
    assert_eq!(place.count("sessions").await, 1);
}

/// The clocks of replicas differ; when a claim is forgotten, the database says.
pub(crate) async fn pruning_goes_by_the_clock_of_the_database(place: Place) {
    let store = place.store("").await;
    let outsider = place.outsider().await;
    for number in 0..3 {
        let state = StateHash::from_bytes(bytes(number));
        store.claim_state(state, NOW).await.unwrap();
    }
    for (seconds, left) in [(890, 3), (20, 0)] {
        let text = format!("UPDATE claims SET claimed_at = claimed_at - {seconds} * 1000000");
        outsider.batch_execute(&text).await.unwrap();
        store.prune(NOW).await.unwrap();
        assert_eq!(place.count("claims").await, left, "{seconds}");
    }
}

pub(crate) async fn pruning_removes_five_hundred_rows_at_a_time(place: Place) {
    let store = place.store("").await;
    store.apply(sign_in(1)).await.unwrap();
    let outsider = place.outsider().await;
    outsider
        .batch_execute(
            "INSERT INTO claims SELECT sha256(n::text::bytea), n, gen_random_uuid() FROM generate_series(1, 1200) AS n;
             INSERT INTO sessions SELECT sha256(n::text::bytea), gen_random_uuid(), (SELECT id FROM users), 'idp', 0, 0, n, 1 FROM generate_series(1, 1200) AS n;
             CREATE TABLE chunks (rows bigint);
             CREATE FUNCTION count_chunk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO chunks SELECT count(*) FROM gone; RETURN NULL; END $$;
             CREATE TRIGGER chunk AFTER DELETE ON claims REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_chunk();",
        )
        .await
        .unwrap();
    // The trigger finds its table by the search path of who deletes.
    outsider
        .batch_execute(&format!(
            "ALTER FUNCTION count_chunk() SET search_path TO {}",
            place.schema
        ))
        .await
        .unwrap();
    assert_eq!(store.prune(NOW).await.unwrap(), 2_400);
    let rows = outsider
        .query("SELECT rows FROM chunks", &[])
        .await
        .unwrap();
    let chunks: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(chunks, [500, 500, 200]);
}

/// DESIGN 3: foreign keys from the application's tables, also while somebody signs in.
pub(crate) async fn an_application_may_refer_to_our_users(place: Place) {
    let store = place.store("").await;
    let user = store.apply(sign_in(1)).await.unwrap().user;
    let mut outsider = place.outsider().await;
    outsider
        .batch_execute("CREATE TABLE orders (id serial, buyer uuid NOT NULL REFERENCES users (id))")
        .await
        .unwrap();
    let order = outsider.transaction().await.unwrap();
    order
        .execute("INSERT INTO orders (buyer) SELECT id FROM users", &[])
        .await
        .unwrap();
    // Its transaction is open, and in nobody's way.
    let mut again = sign_in(2);
    again.act = Act::SignIn(user.account());
    again.identity.subject = "1".into();
    store.apply(again).await.unwrap();
    order.commit().await.unwrap();
    assert_eq!(
        store
            .users(UserQuery {
                limit: 9,
                ..UserQuery::default()
            })
            .await
            .unwrap()
            .users
            .len(),
        1
    );
}

pub(crate) async fn a_server_that_takes_no_writes_is_not_ready(place: Place) {
    let store = place.store("").await;
    store.ready().await.unwrap();
    let replica: Arc<PostgresStore> = place
        .store("&options=-c%20default_transaction_read_only%3Don")
        .await;
    let refused = replica.ready().await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let refused = replica.apply(sign_in(1)).await;
    assert!(
        matches!(refused, Err(ApplyError::Store(StoreError::Unavailable(_)))),
        "{refused:?}"
    );
}

pub(crate) async fn of_several_servers_the_one_that_takes_writes_is_used(place: Place) {
    // Nobody listens on the first port.
    let port = place.server.port();
    let one = format!("127.0.0.1:{port}");
    let url = place
        .server
        .url(&place.schema)
        .replace(&one, &format!("127.0.0.1:1,{one}"));
    let store = PostgresStore::open(&url, &place.schema, OpenMode::Serve).await;
    store.unwrap().apply(sign_in(1)).await.unwrap();

    let none_writes = format!("{url}&options=-c%20default_transaction_read_only%3Don");
    let refused = PostgresStore::open(&none_writes, &place.schema, OpenMode::Serve).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("writ"), "{said}");
}

/// A host that accepts connections and says nothing, as one with a hung disk does: the next one is asked, and from then on
/// asked first.
pub(crate) async fn a_server_that_says_nothing_is_passed_over(place: Place) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let one = format!("127.0.0.1:{}", place.server.port());
    let several = format!("{},{one},{one}", silent.local_addr().unwrap());
    let url = format!("{}&connect_timeout=1", place.url()).replace(&one, &several);
    let accepted = Arc::<AtomicU32>::default();
    let counting = accepted.clone();
    let accepting = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(connection) = silent.accept().await {
            kept.push(connection);
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    let opened = PostgresStore::open(&url, &place.schema, OpenMode::Serve).await;
    let store = Arc::new(opened.unwrap());
    let mut at_once = Vec::new();
    for number in 1..=20 {
        let store = store.clone();
        at_once.push(tokio::spawn(
            async move { store.apply(sign_in(number)).await },
        ));
    }
    for sign_in in at_once {
        sign_in.await.unwrap().unwrap();
    }
    assert_eq!(place.count("users").await, 20);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    accepting.abort();
}

/// Two replicas redeem one code at the same moment: both have begun before either can go on.
pub(crate) async fn of_two_redemptions_that_meet_one_succeeds(place: Place) {
    let replicas = [place.store("").await, place.store("").await];
    let first = sign_in(1);
    replicas[0].apply(first.clone()).await.unwrap();
    let code = NewCode {
        hash: CodeHash::from_bytes(bytes(1)),
        client_id: "spa".into(),
        redirect_uri: "https://spa.example/".into(),
        code_challenge: "challenge".into(),
        expires_at: NOW.plus_seconds(60),
    };
    let handed = replicas[0].hand_over(first.session.id, HandOver::Code(code.clone()), NOW);
    assert!(handed.await.unwrap());

    let mut outsider = place.outsider().await;
    let lock = outsider.transaction().await.unwrap();
    lock.execute("SELECT FROM codes FOR NO KEY UPDATE", &[])
        .await
        .unwrap();
    let mut redemptions = Vec::new();
    for (number, replica) in replicas.iter().enumerate() {
        let redemption = Redemption {
            hash: code.hash,
            client_id: code.client_id.clone(),
            redirect_uri: code.redirect_uri.clone(),
            code_challenge: code.code_challenge.clone(),
            grant: grant(number as u32),
            now: NOW,
        };
        let replica = replica.clone();
        redemptions.push(tokio::spawn(async move {
            replica.redeem_code(redemption).await
        }));
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    let other = place.outsider().await;
    let began = Instant::now();
    while other
        .query_one(waiting, &[&place.schema])
        .await
        .unwrap()
        .get::<_, i64>(0)
        < 2
    {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "they do not meet"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lock.commit().await.unwrap();

    let mut redeemed = 0;
    for redemption in redemptions {
        match redemption.await.unwrap() {
            Ok(_) => redeemed += 1,
            Err(refused) => assert!(matches!(refused, RedeemError::Used(Some(_))), "{refused:?}"),
        }
    }
    assert_eq!(redeemed, 1);
    assert_eq!(place.count("grants").await, 1);
}
