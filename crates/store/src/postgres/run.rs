//! How a verb is run: in a task of its own, in one transaction, again where the database could not order it, and to a
//! known end where the connection was cut during COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};
use uuid::Uuid;
use vestibule_accounts::{BoxFuture, StoreError};

use super::sql::Sql;

/// How many verbs may run or wait for a connection.
pub(super) const VERBS: u32 = 4_096;
/// How long a verb may take, with all its attempts.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a verb is tried again that the database cannot order (40001, 40P01).
const UNORDERED: u32 = 200;
/// How often a verb is tried again whose connections are cut, while the database gives new ones: more often than there
/// are old ones in the pool.
const CUTS: u32 = 20;
/// The longest pause before another attempt.
const PAUSE: Duration = Duration::from_millis(40);

/// What the verbs of one store share.
pub(super) struct Inner {
    pub(super) pool: Pool,
    pub(super) sql: Sql,
    /// Whether statements are prepared by name and kept with their connection.
    pub(super) prepare: bool,
    /// How a transaction begins.
    pub(super) begin: &'static str,
    /// A permit a running verb; closed with the store.
    pub(super) verbs: Semaphore,
}

/// Why a verb stopped.
pub(super) enum JobError<E> {
    /// As its verb says.
    Domain(E),
    /// A row that we never write, for one.
    Store(StoreError),
    /// PostgreSQL could not.
    Postgres(Error),
    /// The connection leads to a server that takes no writes.
    ReadOnly,
}

impl<E> From<Error> for JobError<E> {
    fn from(error: Error) -> Self {
        Self::Postgres(error)
    }
}

impl<E> From<StoreError> for JobError<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a verb's work returns.
pub(super) type Work<'a, T, E> = BoxFuture<'a, Result<T, JobError<E>>>;

/// The work of a verb. It may be done again, with the same input and so with the same ids.
type WorkOf<I, T, E> = for<'a> fn(&'a Tx<'_>, &'a I) -> Work<'a, T, E>;
/// Whether what the work left behind is there.
type IsThere<I, T, E> = for<'a> fn(&'a Tx<'_>, &'a I, &'a T) -> Work<'a, bool, E>;

/// What to do, and how to know afterwards whether it was done.
pub(super) struct Verb<I, T, E> {
    extent: Extent,
    work: WorkOf<I, T, E>,
    is_there: Option<IsThere<I, T, E>>,
}

impl<I, T, E> Verb<I, T, E> {
    /// Statements that each are a transaction, and may be repeated: a read, for one.
    pub(super) fn single(work: WorkOf<I, T, E>) -> Self {
        Self {
            extent: Extent::Statement,
            work,
            is_there: None,
        }
    }

    /// One transaction that may be repeated: done twice, it leaves behind and answers the same.
    pub(super) fn repeatable(work: WorkOf<I, T, E>) -> Self {
        Self {
            extent: Extent::Transaction,
            work,
            is_there: None,
        }
    }

    /// One transaction, and the question that is asked after a COMMIT whose answer got lost.
    pub(super) fn once(work: WorkOf<I, T, E>, is_there: IsThere<I, T, E>) -> Self {
        Self {
            extent: Extent::Transaction,
            work,
            is_there: Some(is_there),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extent {
    Statement,
    Transaction,
}

/// What became of one attempt.
enum Attempt<T, E> {
    Done(T),
    /// What an earlier COMMIT without an answer left behind is there.
    Stands,
    Refused(E),
    /// The database could not order it. It was undone.
    Unordered(StoreError),
    /// The connection was cut before COMMIT.
    Cut(StoreError),
    /// The connection was cut during COMMIT. This is what it leaves behind, if it was done.
    Unknown(T, StoreError),
    /// There is no connection.
    Away(StoreError),
    Failed(StoreError),
}

impl Inner {
    /// Runs a verb to its end, whatever becomes of the caller.
    pub(super) fn run<I, T, E>(
        self: &Arc<Self>,
        input: I,
        verb: Verb<I, T, E>,
    ) -> BoxFuture<'static, Result<T, E>>
    where
        I: Send + Sync + 'static,
        T: Send + Sync + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let inner = self.clone();
        Box::pin(async move {
            let task = tokio::spawn(async move { inner.to_its_end(&input, &verb).await });
            task.await.unwrap_or_else(|_| {
                Err(StoreError::Unavailable("a verb panicked; it was undone".into()).into())
            })
        })
    }

    async fn to_its_end<I, T, E>(&self, input: &I, verb: &Verb<I, T, E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        let _running = self.verbs.try_acquire().map_err(|_| {
            StoreError::Unavailable("it is closed, or too much waits for it".into())
        })?;
        let end = Instant::now() + DEADLINE;
        let (mut unordered, mut cuts) = (0, 0);
        let mut doubt = None;
        loop {
            let attempt = timeout_at(end, self.attempt(input, verb, doubt.as_ref())).await;
            let error = match attempt {
                Ok(Attempt::Done(done)) => return Ok(done),
                Ok(Attempt::Stands) => match doubt {
                    Some(done) => return Ok(done),
                    None => StoreError::Unavailable("nothing was in doubt".into()),
                },
                Ok(Attempt::Refused(error)) => return Err(error),
                Ok(Attempt::Failed(error)) => return Err(error.into()),
                Ok(Attempt::Unknown(done, error)) => {
                    doubt = Some(done);
                    cuts += 1;
                    error
                }
                Ok(Attempt::Cut(error)) => {
                    cuts += 1;
                    error
                }
                Ok(Attempt::Unordered(error)) => {
                    unordered += 1;
                    error
                }
                // Who has to know what became of a COMMIT waits for the database; all others fail fast.
                Ok(Attempt::Away(error)) if doubt.is_some() => error,
                Ok(Attempt::Away(error)) => return Err(error.into()),
                Err(_) => StoreError::Unavailable("it does not answer in time".into()),
            };
            let enough = unordered > UNORDERED || (cuts > CUTS && doubt.is_none());
            if enough || Instant::now() >= end {
                return Err(error.into());
            }
            sleep(pause(unordered + cuts)).await;
        }
    }

    /// One attempt, on one connection.
    async fn attempt<I, T, E>(
        &self,
        input: &I,
        verb: &Verb<I, T, E>,
        doubt: Option<&T>,
    ) -> Attempt<T, E> {
        let tx = match self.connection().await {
            Ok(tx) => tx,
            Err(attempt) => return attempt,
        };
        match tx.stands(input, verb, doubt).await {
            Ok(true) => return tx.end(Attempt::Stands),
            Ok(false) => {}
            Err(error) => return tx.broken(error),
        }
        if verb.extent == Extent::Transaction {
            tx.state.store(TO_BEGIN, Ordering::Relaxed);
        }
        let ended = match (verb.work)(&tx, input).await {
            Ok(done) => match tx.commit().await {
                // Done again, it may have found nothing left to do, and so have waited for nothing.
                Ok(()) if doubt.is_some() => match tx.settle().await {
                    Ok(()) => return tx.end(Attempt::Done(done)),
                    Err(error) => return tx.broken(error.into()),
                },
                Ok(()) => return tx.end(Attempt::Done(done)),
                Err(error) => match Kind::of(&error) {
                    Kind::Cut => return Attempt::Unknown(done, unavailable(&error)),
                    _ => tx.broken(error.into()),
                },
            },
            Err(JobError::Domain(error)) => Attempt::Refused(error),
            Err(error) => tx.broken(error),
        };
        // What could not be done again may be what was done before: by now that has come to its end.
        if let Attempt::Refused(_) | Attempt::Failed(_) = ended {
            if tx.rollback().await.is_err() {
                return ended;
            }
            return match tx.stands(input, verb, doubt).await {
                Ok(true) => tx.end(Attempt::Stands),
                Ok(false) => tx.end(ended),
                Err(error) => tx.broken(error),
            };
        }
        if let Attempt::Unordered(_) = ended
            && tx.rollback().await.is_ok()
        {
            return tx.end(ended);
        }
        ended
    }

    async fn connection<T, E>(&self) -> Result<Tx<'_>, Attempt<T, E>> {
        let object = self.pool.get().await.map_err(|error| match error {
            // Somebody ends connections while we make one; a server that goes down or comes up says another code.
            PoolError::Backend(error) if error.code() == Some(&SqlState::ADMIN_SHUTDOWN) => {
                Attempt::Cut(unavailable(&error))
            }
            PoolError::Backend(error) => Attempt::Away(unavailable(&error)),
            PoolError::Timeout(_) => Attempt::Away(StoreError::Unavailable(
                "no connection became free in time".into(),
            )),
            error => Attempt::Away(StoreError::Unavailable(error.to_string())),
        })?;
        Ok(Tx {
            inner: self,
            object: Some(object),
            state: AtomicU8::new(OUTSIDE),
        })
    }
}

/// No transaction; each statement is one.
const OUTSIDE: u8 = 0;
/// The next statement begins one.
const TO_BEGIN: u8 = 1;
const INSIDE: u8 = 2;

/// A connection, and the transaction that a verb has on it. Dropped before its end, the connection is closed.
pub(super) struct Tx<'a> {
    inner: &'a Inner,
    object: Option<Object>,
    state: AtomicU8,
}

impl Tx<'_> {
    /// The statements, as text.
    pub(super) fn sql(&self) -> &Sql {
        &self.inner.sql
    }

    #[expect(
        clippy::expect_used,
        reason = "only `end` and `drop` take it, and nothing follows them"
    )]
    fn client(&self) -> &Object {
        self.object.as_ref().expect("it is taken at the end alone")
    }

    pub(super) async fn all(&self, text: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let client = self.client();
        self.begun(text, async {
            if !self.inner.prepare {
                let params: Vec<_> = params.iter().map(Param::typed).collect();
                return client.query_typed(text, &params).await;
            }
            let (values, types): (Vec<_>, Vec<_>) = params.iter().map(Param::typed).unzip();
            let statement = client.prepare_typed_cached(text, &types).await?;
            client.query(&statement, &values).await
        })
        .await
    }

    /// The first row.
    pub(super) async fn one(&self, text: &str, params: &[Param<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.all(text, params).await?.into_iter().next())
    }

    /// A statement that answers yes or no.
    pub(super) async fn asks(&self, text: &str, params: &[Param<'_>]) -> Result<bool, Error> {
        match self.one(text, params).await? {
            Some(row) => row.try_get(0),
            None => Ok(false),
        }
    }

    /// How many rows were written.
    pub(super) async fn execute(&self, text: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let client = self.client();
        self.begun(text, async {
            if !self.inner.prepare {
                let params: Vec<_> = params.iter().map(Param::typed).collect();
                return client.execute_typed(text, &params).await;
            }
            let (values, types): (Vec<_>, Vec<_>) = params.iter().map(Param::typed).unzip();
            let statement = client.prepare_typed_cached(text, &types).await?;
            client.execute(&statement, &values).await
        })
        .await
    }

    /// The first statement of a transaction, if it only reads and locks, travels with its BEGIN. One that writes waits:
    /// where BEGIN fails and the connection lives, it would be a transaction of its own.
    async fn begun<T>(
        &self,
        text: &str,
        statement: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if self.state.load(Ordering::Relaxed) != TO_BEGIN {
            return statement.await;
        }
        self.state.store(INSIDE, Ordering::Relaxed);
        let begin = self.client().batch_execute(self.inner.begin);
        if !text.starts_with("SELECT") {
            begin.await?;
            return statement.await;
        }
        let (begun, done) = tokio::join!(begin, statement);
        begun.and(done)
    }

    /// Whether what a COMMIT without an answer may have left behind is there, and stays.
    async fn stands<I, T, E>(
        &self,
        input: &I,
        verb: &Verb<I, T, E>,
        doubt: Option<&T>,
    ) -> Result<bool, JobError<E>> {
        let is_there = match (doubt, verb.is_there) {
            (Some(done), Some(is_there)) => is_there(self, input, done).await?,
            _ => false,
        };
        if is_there {
            self.settle().await?;
        }
        Ok(is_there)
    }

    /// Waits until all that can be seen is as safe as an answered COMMIT makes it. Where a connection was cut while its
    /// COMMIT waited for a synchronous standby, anybody sees its rows, and the standby may not have them yet.
    async fn settle(&self) -> Result<(), Error> {
        self.execute(&self.sql().settle, params![]).await.map(drop)
    }

    async fn commit(&self) -> Result<(), Error> {
        self.finish("COMMIT").await
    }

    async fn rollback(&self) -> Result<(), Error> {
        self.finish("ROLLBACK").await
    }

    async fn finish(&self, how: &str) -> Result<(), Error> {
        if self.state.swap(OUTSIDE, Ordering::Relaxed) != INSIDE {
            return Ok(());
        }
        self.client().batch_execute(how).await
    }

    /// Gives the connection back: no transaction is open on it.
    fn end<T>(mut self, outcome: T) -> T {
        drop(self.object.take());
        outcome
    }

    fn broken<T, E>(&self, error: JobError<E>) -> Attempt<T, E> {
        match error {
            JobError::Domain(error) => Attempt::Refused(error),
            JobError::Store(error) => Attempt::Failed(error),
            JobError::ReadOnly => Attempt::Cut(StoreError::Unavailable(READ_ONLY.into())),
            JobError::Postgres(error) => match Kind::of(&error) {
                Kind::Unordered => Attempt::Unordered(unavailable(&error)),
                Kind::Cut => Attempt::Cut(unavailable(&error)),
                Kind::ReadOnly => Attempt::Cut(StoreError::Unavailable(READ_ONLY.into())),
                Kind::Other => Attempt::Failed(unavailable(&error)),
            },
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        // A transaction may be open on it, or an answer outstanding.
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

const READ_ONLY: &str = "it takes no writes: it is a replica, or set to be read only. With several hosts in database_url, the one that takes writes is chosen";

/// What an error of the driver means for a verb.
enum Kind {
    /// Another transaction was in the way. Again, it may go.
    Unordered,
    /// The connection is gone.
    Cut,
    /// The server was made a replica. Another connection may lead to the new primary.
    ReadOnly,
    Other,
}

impl Kind {
    fn of(error: &Error) -> Self {
        let Some(code) = error.code() else {
            return Self::Cut;
        };
        if matches!(
            *code,
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED
        ) {
            return Self::Unordered;
        }
        // What a row refers to went away since it was read: read again.
        if *code == SqlState::FOREIGN_KEY_VIOLATION {
            return Self::Unordered;
        }
        if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::ReadOnly;
        }
        let is_cut = matches!(
            *code,
            SqlState::ADMIN_SHUTDOWN
                | SqlState::CRASH_SHUTDOWN
                | SqlState::CANNOT_CONNECT_NOW
                | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        );
        if is_cut || code.code().starts_with("08") {
            return Self::Cut;
        }
        Self::Other
    }
}

/// Whether a unique key was taken.
pub(super) fn is_unique_violation(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// What PostgreSQL reports, as the caller may see it.
pub(super) fn unavailable(error: &Error) -> StoreError {
    match error.code() {
        Some(code) if matches!(*code, SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED) => {
            StoreError::Corrupt(told(error))
        }
        Some(code)
            if matches!(
                *code,
                SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT
            ) =>
        {
            StoreError::Unavailable(format!(
                "{}. Behind a pooler that hands out connections by transaction, end database_url with ?prepare=false",
                told(error)
            ))
        }
        _ => StoreError::Unavailable(told(error)),
    }
}

/// An error of the driver with its causes. It holds no password.
pub(super) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}

/// Longer with each attempt, and of random length, so that two do not meet again.
fn pause(attempts: u32) -> Duration {
    let random = u32::from(Uuid::now_v7().into_bytes()[15]);
    let longest = PAUSE.min(Duration::from_millis(u64::from(attempts) * 2));
    longest * random / 255
}

/// A parameter that knows its type: a statement without a name is sent with its types, and so in one round trip.
#[derive(Clone, Copy, Debug)]
pub(super) enum Param<'a> {
    Bool(bool),
    Int(Option<i64>),
    Uuid(Option<Uuid>),
    Text(Option<&'a str>),
    Bytes(&'a [u8]),
}

impl Param<'_> {
    fn postgres_type(&self) -> Type {
        match self {
            Self::Bool(_) => Type::BOOL,
            Self::Int(_) => Type::INT8,
            Self::Uuid(_) => Type::UUID,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
        }
    }

    pub(super) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        (self.value(), self.postgres_type())
    }

    fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Bool(value) => value,
            Self::Int(value) => value,
            Self::Uuid(value) => value,
            Self::Text(value) => value,
            Self::Bytes(value) => value,
        }
    }
}

macro_rules! param_from {
    ($($rust:ty: $value:ident => $param:expr;)*) => {
        $(impl<'a> From<$rust> for Param<'a> {
            fn from($value: $rust) -> Self {
                $param
            }
        })*
    };
}

param_from! {
    &bool: value => Self::Bool(*value);
    &i64: value => Self::Int(Some(*value));
    &Option<i64>: value => Self::Int(*value);
    &Uuid: value => Self::Uuid(Some(*value));
    &Option<Uuid>: value => Self::Uuid(*value);
    &'a String: value => Self::Text(Some(value));
    &'a Option<String>: value => Self::Text(value.as_deref());
    &&'a str: value => Self::Text(Some(value));
    &Option<&'a str>: value => Self::Text(*value);
    &&'a [u8]: value => Self::Bytes(value);
    &'a Vec<u8>: value => Self::Bytes(value);
}

/// Parameters in the order of `$1..$n`.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::postgres::run::Param::from(&$value)),*]
    };
}
pub(super) use params;
