//! Migrations: numbered, additive, remembered with their checksums, each applied once under a lock of the database.

use aws_lc_rs::digest;
use deadpool_postgres::Object;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::open::PostgresError;
use super::run::{Param, params};
use super::sql::{self, Sql};
use crate::OpenMode;

/// Every migration, in order. One is only ever added.
const MIGRATIONS: &[(i64, &str)] = &[
    (
        1,
        include_str!("../../migrations/postgres/0001_accounts.sql"),
    ),
    (2, include_str!("../../migrations/postgres/0002_grants.sql")),
    (
        3,
        include_str!("../../migrations/postgres/0003_invitations.sql"),
    ),
    (
        4,
        include_str!("../../migrations/postgres/0004_provider_tokens.sql"),
    ),
];

/// Brings the schema up to date with [`MIGRATIONS`].
pub(super) async fn run(
    client: &Object,
    schema: &str,
    sql: &Sql,
    mode: OpenMode,
) -> Result<(), PostgresError> {
    let newest = applied(client, schema, sql).await?;
    if newest == 0 && mode == OpenMode::CommandLine {
        return Err(PostgresError::Missing(schema.to_owned()));
    }
    if MIGRATIONS.last().is_none_or(|(last, _)| newest == *last) {
        return Ok(());
    }
    let result = apply(client, schema, sql).await;
    if result.is_err() {
        // What is left is closed with the connection.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    result
}

async fn apply(client: &Object, schema: &str, sql: &Sql) -> Result<(), PostgresError> {
    // At READ COMMITTED what is read after the lock is what stands after it.
    client
        .batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        .await?;
    let lock = format!("{schema}.migrations");
    let params = params![lock];
    client
        .query_typed(sql::LOCK_MIGRATIONS, &typed(params))
        .await?;
    // Another process may have been here while we waited for the lock.
    let newest = applied(client, schema, sql).await?;
    if newest == 0 {
        // Whoever may not make a schema is given one.
        if !exists(client, sql::HAS_SCHEMA, schema).await? {
            client.batch_execute(&sql::create_schema(schema)).await?;
        }
        let text = sql::in_schema(sql::CREATE_MIGRATIONS, schema);
        client.batch_execute(&text).await?;
    }
    for (number, text) in MIGRATIONS.iter().filter(|(number, _)| *number > newest) {
        client.batch_execute(&sql::in_schema(text, schema)).await?;
        let checksum = checksum(text);
        let params = params![*number, checksum];
        client
            .execute_typed(&sql.insert_migration, &typed(params))
            .await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// The newest applied migration, 0 for none, after all applied ones were compared with ours.
async fn applied(client: &Object, schema: &str, sql: &Sql) -> Result<i64, PostgresError> {
    if !exists(client, sql::HAS_MIGRATIONS, schema).await? {
        return Ok(0);
    }
    let mut newest = 0;
    for row in client.query_typed(&sql.select_migrations, &[]).await? {
        let (number, found): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        let Some((_, text)) = MIGRATIONS.iter().find(|(ours, _)| *ours == number) else {
            return Err(PostgresError::Newer {
                schema: schema.to_owned(),
                found: number,
            });
        };
        if found != checksum(text) {
            return Err(PostgresError::Checksum {
                schema: schema.to_owned(),
                number,
            });
        }
        newest = newest.max(number);
    }
    Ok(newest)
}

async fn exists(client: &Object, text: &str, schema: &str) -> Result<bool, Error> {
    let params = params![schema];
    client
        .query_typed_one(text, &typed(params))
        .await?
        .try_get(0)
}

fn typed<'a>(params: &'a [Param<'a>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params.iter().map(Param::typed).collect()
}

fn checksum(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}
