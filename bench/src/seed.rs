//! Fills a database that a server made, by SQL: each person is a user with an identity and a live session. The columns are
//! those of `crates/store/migrations`.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::pin::pin;

use bytes::Bytes;
use futures_util::SinkExt as _;
use rusqlite::{Connection, params};
use tokio_postgres::Client;

use crate::Failed;
use crate::people::{Person, SESSION_IDLE, SESSION_LIFETIME, Seeded};
use crate::server::PROVIDER;

/// About so many bytes go to PostgreSQL at once.
const CHUNK: usize = 64 * 1024;

/// When somebody's session ends, in microseconds since 1970.
fn session_expires_at(seeded: Seeded, person: Person) -> u64 {
    seeded.session_created_at(person) + SESSION_LIFETIME * 1_000_000
}

/// Fills an SQLite file that no server uses.
pub fn sqlite(path: &Path, issuer: &str, seeded: Seeded) -> Result<(), Failed> {
    let mut connection = Connection::open(path)?;
    // It is filled whole or not used: nothing has to survive a crash, and a gibibyte of pages may wait in memory.
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -1048576",
    )?;
    let indexes: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('vestibule_users', 'vestibule_identities', 'vestibule_sessions')")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let transaction = connection.transaction()?;
    for (name, _) in &indexes {
        transaction.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    let time = |micros: u64| micros.cast_signed();

    let mut insert = transaction.prepare("INSERT INTO vestibule_users (id, version, email, email_key, name, picture, is_active, is_superuser, created_at, updated_at) VALUES (?1, 1, ?2, ?2, ?3, ?4, 1, 0, ?5, ?5)")?;
    for person in seeded.all() {
        insert.execute(params![
            seeded.user_id(person).as_bytes(),
            person.email(),
            person.name(),
            person.picture(),
            time(seeded.created_at(person)),
        ])?;
    }
    drop(insert);

    // These tables are trees in the order of a key that looks random: they are written in that order, which is far quicker.
    let mut insert = transaction.prepare("INSERT INTO vestibule_identities (issuer, subject, user, provider, email, email_verified, name, picture, created_at, last_used_at) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9)")?;
    for person in in_order_of(seeded, Person::subject) {
        insert.execute(params![
            issuer,
            person.subject(),
            seeded.user_id(person).as_bytes(),
            PROVIDER,
            person.email(),
            person.name(),
            person.picture(),
            time(seeded.created_at(person)),
            time(seeded.session_created_at(person)),
        ])?;
    }
    drop(insert);
    let mut insert = transaction.prepare("INSERT INTO vestibule_sessions (hash, id, user, provider, created_at, last_seen_at, expires_at, idle_seconds) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for person in in_order_of(seeded, Person::session_hash) {
        insert.execute(params![
            person.session_hash(),
            seeded.session_id(person).as_bytes(),
            seeded.user_id(person).as_bytes(),
            PROVIDER,
            time(seeded.session_created_at(person)),
            time(seeded.now),
            time(session_expires_at(seeded, person)),
            SESSION_IDLE.cast_signed(),
        ])?;
    }
    drop(insert);
    for (_, sql) in &indexes {
        transaction.execute_batch(sql)?;
    }
    transaction.commit()?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    drop(connection);
    // Nothing of this is left to be written while something is measured.
    File::open(path)?.sync_all()?;
    Ok(())
}

fn in_order_of<K: Ord>(seeded: Seeded, key: impl Fn(Person) -> K) -> Vec<Person> {
    let mut people: Vec<Person> = seeded.all().collect();
    people.sort_by_cached_key(|person| key(*person));
    people
}

/// Fills a schema of PostgreSQL that no server uses.
pub async fn postgres(
    client: &Client,
    schema: &str,
    issuer: &str,
    seeded: Seeded,
) -> Result<(), Failed> {
    // Each row refers to one that is there: to look for it again takes as long as the rest. Only an administrator may
    // leave it out.
    let _ = client
        .batch_execute("SET session_replication_role = replica")
        .await;
    copy(
        client,
        &format!("{schema}.users (id, version, email, email_key, name, picture, is_active, is_superuser, created_at, updated_at)"),
        seeded.all().map(|person| {
            let (id, email, at) = (seeded.user_id(person), person.email(), seeded.created_at(person));
            let (name, picture) = (person.name(), person.picture());
            format!("{id}\t1\t{email}\t{email}\t{name}\t{picture}\tt\tf\t{at}\t{at}\n")
        }),
    )
    .await?;
    copy(
        client,
        &format!("{schema}.identities (issuer, subject, user_id, provider, email, email_verified, name, picture, created_at, last_used_at)"),
        seeded.all().map(|person| {
            let (subject, id, email) = (person.subject(), seeded.user_id(person), person.email());
            let (name, picture) = (person.name(), person.picture());
            let (at, used) = (seeded.created_at(person), seeded.session_created_at(person));
            format!("{issuer}\t{subject}\t{id}\t{PROVIDER}\t{email}\tt\t{name}\t{picture}\t{at}\t{used}\n")
        }),
    )
    .await?;
    copy(
        client,
        &format!("{schema}.sessions (hash, id, user_id, provider, created_at, last_seen_at, expires_at, idle_seconds)"),
        seeded.all().map(|person| {
            let hash = person.session_hash().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            let (id, user) = (seeded.session_id(person), seeded.user_id(person));
            let (at, now) = (seeded.session_created_at(person), seeded.now);
            let expires = session_expires_at(seeded, person);
            format!("\\\\x{hash}\t{id}\t{user}\t{PROVIDER}\t{at}\t{now}\t{expires}\t{SESSION_IDLE}\n")
        }),
    )
    .await?;
    let _ = client.batch_execute("RESET session_replication_role").await;
    for table in ["users", "identities", "sessions"] {
        client
            .batch_execute(&format!("VACUUM (ANALYZE) {schema}.{table}"))
            .await?;
    }
    // Nothing of this is left to be written while something is measured. Only an administrator may ask for it.
    let _ = client.batch_execute("CHECKPOINT").await;
    Ok(())
}

/// Rows in the text format of COPY.
async fn copy(
    client: &Client,
    into: &str,
    rows: impl Iterator<Item = String>,
) -> Result<(), Failed> {
    let mut sink = pin!(
        client
            .copy_in::<_, Bytes>(&format!("COPY {into} FROM STDIN"))
            .await?
    );
    let mut chunk = String::with_capacity(CHUNK + 1024);
    for row in rows {
        chunk.push_str(&row);
        if chunk.len() >= CHUNK {
            sink.send(Bytes::copy_from_slice(chunk.as_bytes())).await?;
            chunk.clear();
        }
    }
    sink.send(Bytes::from(chunk)).await?;
    sink.finish().await?;
    Ok(())
}

/// The size of a schema's tables with their indexes.
pub async fn postgres_bytes(client: &Client, schema: &str) -> Result<u64, Failed> {
    let bytes: i64 = client
        .query_one(
            "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'",
            &[&schema],
        )
        .await?
        .get(0);
    Ok(bytes.try_into()?)
}
