//! How PostgreSQL finds the rows of a login, a request and a refresh among many: by an index, each time.
//!
//! The server itself says how it ran each statement (`auto_explain`). With `VESTIBULE_PLANS=FILE` there are five times as
//! many people, and all of it is written to that file, with sizes, WAL and round trips.

use std::fmt::Write as _;

use tokio_postgres::Client;
use vestibule_accounts::{
    Act, CodeHash, EmailAddress, HandOver, IdentityRecord, Invitation, NewCode, Redemption,
    Rotation, SessionKey, SignIn, StateHash, Store, UserQuery,
};
use vestibule_store::{OpenMode, PostgresStore};

use crate::load::grant;
use crate::outages::Between;
use crate::{NOW, Place, bytes, server, sign_in};

/// How many people there are, and how many where it is written down.
const PEOPLE: [u32; 2] = [20_000, 100_000];
/// Tables that grow with them.
const BIG: [&str; 9] = [
    "users",
    "identities",
    "provider_tokens",
    "taken_away",
    "sessions",
    "claims",
    "codes",
    "grants",
    "invitations",
];
/// How many logins the WAL is measured over.
const LOGINS: u32 = 200;

/// People who are signed in, each at a front end, with rows as long as real ones.
const FILL: &str = "
    INSERT INTO users (id, version, email, email_key, name, picture, is_active, is_superuser, created_at, updated_at)
        SELECT md5('user' || n)::uuid, 1, 'person' || n || '@example.com', 'person' || n || '@example.com', 'Person Number ' || n,
            'https://lh3.googleusercontent.com/a/' || md5('picture' || n) || '=s96-c', true, false, $NOW, $NOW
        FROM generate_series(1, $PEOPLE) AS n;
    INSERT INTO identities (issuer, subject, user_id, provider, email, email_verified, name, picture, created_at, last_used_at)
        SELECT 'https://accounts.google.com', '1' || lpad(n::text, 20, '0'), id, 'google', email, true, name, picture, created_at, created_at
        FROM generate_series(1, $PEOPLE) AS n JOIN users ON id = md5('user' || n)::uuid;
    INSERT INTO provider_tokens (issuer, subject, sealed, version)
        SELECT issuer, subject, sha256(subject::bytea) || sha256(issuer::bytea), $NOW FROM identities;
    INSERT INTO taken_away (user_id, issuer, subject)
        SELECT user_id, issuer, '9' || subject FROM identities;
    INSERT INTO sessions (hash, id, user_id, provider, created_at, last_seen_at, expires_at, idle_seconds)
        SELECT sha256(('session' || n)::bytea), md5('session' || n)::uuid, md5('user' || n)::uuid, 'google', $NOW, $NOW, $NOW + (86400 + n) * 1000000::bigint, 604800
        FROM generate_series(1, $PEOPLE) AS n;
    INSERT INTO grants (id, session, client_id, key, count, created_at, expires_at)
        SELECT md5('grant' || n)::uuid, md5('session' || n)::uuid, 'web', sha256(('grant' || n)::bytea), 0, $NOW, $NOW + (86400 + n) * 1000000::bigint
        FROM generate_series(1, $PEOPLE) AS n;
    INSERT INTO codes (hash, session, client_id, redirect_uri, code_challenge, expires_at, grant_id)
        SELECT sha256(('code' || n)::bytea), md5('session' || n)::uuid, 'web', 'https://web.example/auth/callback', encode(sha256(n::text::bytea), 'base64'), $NOW + (60 + n) * 1000000::bigint, md5('grant' || n)::uuid
        FROM generate_series(1, $PEOPLE) AS n;
    INSERT INTO claims (state, claimed_at, claimant)
        SELECT sha256(('state' || n)::bytea), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - n, gen_random_uuid()
        FROM generate_series(1, $PEOPLE) AS n;
    INSERT INTO invitations (email_key, email, created_at, expires_at)
        SELECT 'guest' || n || '@example.com', 'guest' || n || '@example.com', $NOW - n, $NOW + (86400 + n) * 1000000::bigint
        FROM generate_series(1, $PEOPLE) AS n;
    ANALYZE;";

/// What was done, what the server said of it, and what went over the network.
struct Report {
    place: Place,
    between: Between,
    text: String,
}

impl Report {
    /// Runs a verb and notes its statements, with their plans.
    async fn note<T>(&mut self, what: &str, verb: impl Future<Output = T>) -> T {
        let (said, turns) = (self.place.server.log().len(), self.between.turns());
        let done = verb.await;
        let plans = self.place.server.log()[said..].to_owned();
        // Those of foreign keys come from the server itself.
        let statements = plans
            .lines()
            .filter(|line| line.contains("Query Text:") && !line.contains(" ONLY "))
            .count();
        assert!(statements > 0, "{what}: nothing was explained");
        for table in BIG {
            let whole = format!("Seq Scan on {table}");
            assert!(!plans.contains(&whole), "{what}: {plans}");
        }
        let turns = self.between.turns() - turns;
        write!(
            self.text,
            "\n== {what}: {turns} round trips, {statements} statements beside BEGIN and COMMIT\n{plans}"
        )
        .unwrap();
        done
    }
}

/// A first login of this person, with an address and what a real one holds.
fn first_login(number: u32) -> SignIn {
    let mut first = sign_in(number);
    let address = format!("new{number}@example.com");
    if let Act::Create { user, .. } = &mut first.act {
        user.email = Some(EmailAddress::parse(&address).unwrap());
        user.name = Some(format!("New Person {number}"));
        user.picture = Some(format!(
            "https://lh3.googleusercontent.com/a/{number:032}=s96-c"
        ));
    }
    first.identity = IdentityRecord {
        issuer: "https://accounts.google.com".into(),
        subject: format!("2{number:020}"),
        provider: "google".into(),
        email: Some(address.clone()),
        email_verified: true,
        name: Some(format!("New Person {number}")),
        picture: Some(format!(
            "https://lh3.googleusercontent.com/a/{number:032}=s96-c"
        )),
    };
    first
}

/// The same person again.
fn next_login(first: &SignIn, number: u32, account: vestibule_accounts::Account) -> SignIn {
    let mut next = sign_in(number);
    next.identity = first.identity.clone();
    next.act = Act::SignIn(account);
    next
}

fn code(number: u32) -> NewCode {
    NewCode {
        hash: CodeHash::from_bytes(bytes(number)),
        client_id: "spa".into(),
        redirect_uri: "https://spa.example/".into(),
        code_challenge: "challenge".into(),
        expires_at: NOW.plus_seconds(60),
    }
}

pub(crate) async fn no_statement_of_a_login_a_request_or_a_refresh_reads_a_whole_table(
    place: Place,
) {
    place.store("").await.close().await;
    let outsider = place.outsider().await;
    let file = std::env::var_os("VESTIBULE_PLANS");
    let people = PEOPLE[usize::from(file.is_some())];
    let fill = FILL
        .replace("$NOW", &NOW.micros().to_string())
        .replace("$PEOPLE", &people.to_string());
    outsider.batch_execute(&fill).await.unwrap();

    let mut report = Report {
        text: String::new(),
        between: Between::start(place.server.port()).await,
        place: place.clone(),
    };
    // A plan is made for the values of one execution, or, when a statement has come often, for all.
    for (number, mode) in [(1, "force_generic_plan"), (100, "auto")] {
        let explained = format!(
            "&options=-c%20session_preload_libraries%3Dauto_explain%20-c%20auto_explain.log_min_duration%3D0\
             %20-c%20auto_explain.log_nested_statements%3Don%20-c%20log_min_messages%3Dlog%20-c%20plan_cache_mode%3D{mode}"
        );
        let url = server::url(report.between.port(), &place.schema) + &explained;
        let store = PostgresStore::open(&url, &place.schema, OpenMode::Serve).await;
        let store = store.unwrap();
        verbs(&mut report, &store, number).await;
        // The first use of a statement prepares it: what is counted comes after.
        report.text = sizes(&outsider).await;
        verbs(&mut report, &store, number + 10).await;
        store.close().await;
    }
    if let Some(file) = file {
        report.text.push_str(&wal(&outsider, &place).await);
        std::fs::write(file, &report.text).unwrap();
    }
}

/// The verbs of the hot path, and of the rarer requests of people and operators.
async fn verbs(report: &mut Report, store: &PostgresStore, number: u32) {
    let first = first_login(number);
    let identity = &first.identity;
    let address = EmailAddress::parse(identity.email.as_ref().unwrap()).unwrap();
    let known = || {
        let (issuer, subject) = (identity.issuer.clone(), identity.subject.clone());
        store.known(issuer, subject, Some(address.key().clone()), NOW)
    };
    let claim = |number| store.claim_state(StateHash::from_bytes(bytes(number)), NOW);
    report
        .note("login: claim_state", claim(number))
        .await
        .unwrap();
    report.note("login: known", known()).await.unwrap();
    let applied = report
        .note("login: apply, a first login", store.apply(first.clone()))
        .await;
    let user = applied.unwrap().user;

    let mut next = next_login(&first, number + 1, user.account());
    next.replaces = Some(first.session.hash);
    next.hand_over = Some(HandOver::Code(code(number)));
    claim(number + 1).await.unwrap();
    report
        .note(
            "login: apply, a returning login with a code in place of an old session",
            store.apply(next.clone()),
        )
        .await
        .unwrap();
    let plain = next_login(&first, number + 2, user.account());
    claim(number + 2).await.unwrap();
    report
        .note("login: apply, a returning login", store.apply(plain))
        .await
        .unwrap();

    let mut link = next_login(&first, number + 3, user.account());
    link.act = Act::Link(user.account());
    link.identity.subject = format!("3{number:020}");
    link.requires = Some(next.session.hash);
    link.provider_tokens = Some(vec![1; 512]);
    claim(number + 3).await.unwrap();
    let linked = report
        .note(
            "link: apply, with what the provider gave",
            store.apply(link.clone()),
        )
        .await;
    let account = linked.unwrap().user.account();
    let identity = || (link.identity.issuer.clone(), link.identity.subject.clone());
    let kept = report
        .note("provider_tokens", store.provider_tokens(user.id))
        .await
        .unwrap();
    let (issuer, subject) = identity();
    let (version, until) = (kept[0].version, NOW.plus_seconds(60));
    let leased = store.lease_provider_tokens(issuer, subject, version, until, NOW);
    assert!(report.note("lease_provider_tokens", leased).await.unwrap());
    let (issuer, subject) = identity();
    let sealed = Some(vec![2; 512]);
    let replaced = store.replace_provider_tokens(issuer, subject, version, sealed, NOW);
    assert!(
        report
            .note("replace_provider_tokens", replaced)
            .await
            .unwrap()
    );
    let (issuer, subject) = identity();
    let removed = store.replace_provider_tokens(issuer, subject, version + 1, None, NOW);
    assert!(
        report
            .note("replace_provider_tokens, by none", removed)
            .await
            .unwrap()
    );
    let (issuer, subject) = identity();
    let unlinked = store.unlink(account, issuer, subject, Some(next.session.id), NOW);
    let unlinked = report.note("unlink", unlinked).await;
    assert!(unlinked.unwrap().is_some());

    let redemption = Redemption {
        hash: code(number).hash,
        client_id: "spa".into(),
        redirect_uri: "https://spa.example/".into(),
        code_challenge: "challenge".into(),
        grant: grant(number),
        now: NOW,
    };
    report
        .note("token: redeem_code", store.redeem_code(redemption))
        .await
        .unwrap();
    let rotation = Rotation {
        grant: grant(number).id,
        count: 0,
        grace_seconds: 10,
        now: NOW,
    };
    report
        .note("refresh: rotate_grant", store.rotate_grant(rotation))
        .await
        .unwrap();
    for (what, key) in [
        ("cookie", SessionKey::Cookie(next.session.hash)),
        ("name", SessionKey::Id(next.session.id)),
        ("grant", SessionKey::Grant(grant(number).id)),
    ] {
        let found = report
            .note(
                &format!("request: session by its {what}"),
                store.session(key, NOW),
            )
            .await;
        assert!(found.unwrap().is_some(), "{what}");
    }
    report
        .note("request: grant", store.grant(grant(number).id, NOW))
        .await
        .unwrap();
    let seen = store.touch_session(next.session.id, NOW.plus_seconds(60));
    report.note("request: touch_session", seen).await.unwrap();
    report.note("user", store.user(user.id)).await.unwrap();
    report
        .note("identities", store.identities(user.id))
        .await
        .unwrap();
    let page = store.users(UserQuery {
        limit: 100,
        ..UserQuery::default()
    });
    report.note("users, a page", page).await.unwrap();
    let one = store.users(UserQuery {
        email: Some(address.key().clone()),
        limit: 1,
        ..UserQuery::default()
    });
    report.note("users, by address", one).await.unwrap();
    let invitation = Invitation {
        email: EmailAddress::parse(&format!("guest{number}@example.com")).unwrap(),
        created_at: NOW,
        expires_at: NOW.plus_seconds(60),
    };
    let invited = store.invite(invitation.clone());
    report.note("invite", invited).await.unwrap();
    let page = store.invitations(Some(invitation.clone()), 100);
    report.note("invitations, a page", page).await.unwrap();
    let withdrawn = store.withdraw_invitation(invitation.email.key().clone());
    assert!(report.note("withdraw_invitation", withdrawn).await.unwrap());
    let said = report.place.server.log().len();
    report.note("prune", store.prune(NOW)).await.unwrap();
    // In its order alone, an index would be read to its end when nothing is over.
    for over in ["(claimed_at <", "(expires_at <="] {
        let by_index = format!("Index Cond: {over}");
        assert!(
            report.place.server.log()[said..].contains(&by_index),
            "{over}"
        );
    }
    let ended = store.end_grant(grant(number).id, "spa".into());
    assert!(report.note("end_grant", ended).await.unwrap());
    let ended = store.end_session(next.session.hash);
    assert!(report.note("end_session", ended).await.unwrap().is_some());
    report
        .note("set_active", store.set_active(user.id, false, NOW))
        .await
        .unwrap();
}

/// How much each table and its indexes take for one row.
async fn sizes(outsider: &Client) -> String {
    let mut text = String::from("bytes a row: table, indexes\n");
    for table in BIG {
        let row = outsider
            .query_one(
                &format!(
                    "SELECT pg_relation_size('{table}') / (SELECT count(*) FROM {table}), pg_indexes_size('{table}') / (SELECT count(*) FROM {table})"
                ),
                &[],
            )
            .await
            .unwrap();
        let (rows, indexes): (i64, i64) = (row.get(0), row.get(1));
        writeln!(text, "  {table}: {rows}, {indexes}").unwrap();
    }
    text
}

/// How much WAL a login and a refresh write, on average: once right after a checkpoint, when whole pages are copied, and
/// once after that.
async fn wal(outsider: &Client, place: &Place) -> String {
    let store = place.store("").await;
    let written = async || -> i64 {
        let row = outsider
            .query_one("SELECT (pg_current_wal_lsn() - '0/0')::bigint", &[])
            .await;
        row.unwrap().get(0)
    };
    outsider.batch_execute("CHECKPOINT").await.unwrap();
    let mut text = String::from("\nWAL bytes of each\n");
    for (when, from) in [("after a checkpoint", 1_000), ("then", 2_000)] {
        let numbers = from..from + LOGINS;
        let mut marks = vec![written().await];
        let mut accounts = Vec::new();
        for number in numbers.clone() {
            let mut first = first_login(number);
            first.hand_over = Some(HandOver::Grant(grant(number)));
            store.claim_state(first.claim, NOW).await.unwrap();
            accounts.push(store.apply(first).await.unwrap().user.account());
        }
        marks.push(written().await);
        for (number, account) in numbers.clone().zip(accounts) {
            let next = next_login(&first_login(number), number + 1_000_000, account);
            store.claim_state(next.claim, NOW).await.unwrap();
            store.apply(next).await.unwrap();
        }
        marks.push(written().await);
        for number in numbers {
            let rotation = Rotation {
                grant: grant(number).id,
                count: 0,
                grace_seconds: 10,
                now: NOW,
            };
            store.rotate_grant(rotation).await.unwrap();
        }
        marks.push(written().await);
        let whats = [
            "a first login with a grant",
            "a returning login",
            "a refresh",
        ];
        for (what, mark) in whats.iter().zip(marks.windows(2)) {
            let bytes = (mark[1] - mark[0]) / i64::from(LOGINS);
            writeln!(text, "  {when}: {what}: {bytes}").unwrap();
        }
    }
    text
}
