//! The one writer. It drains its queue into one transaction and answers after COMMIT, never before.
//!
//! A failed COMMIT fails the whole batch. Every job but the first has a savepoint, and one that fails is rolled back to
//! it; the first needs none, for there is nothing before it to keep. Where SQLite ended the whole transaction, the batch
//! is run again one by one. A job that panics is caught, and the writer lives on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;
use vestibule_accounts::StoreError;

use super::unavailable;

/// How many jobs may wait.
const QUEUE: usize = 4_096;
/// How many jobs share one COMMIT.
const BATCH_JOBS: usize = 64;
/// How long a batch may gather.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// How long a busy writer waits for more before it begins. One commit for several costs little more than for one.
const GATHER: Duration = Duration::from_millis(1);
/// How often the log is written back into the database, in commits.
const CHECKPOINT_COMMITS: u32 = 256;
/// The size of the log, in bytes, from which it is cut.
const CUT_LOG: u64 = 64 * 1024 * 1024;

/// Why a job failed.
pub(super) enum JobError<E> {
    /// As its verb says.
    Domain(E),
    /// SQLite could not.
    Sqlite(rusqlite::Error),
}

impl<E> From<rusqlite::Error> for JobError<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// What becomes of what a job wrote.
enum Ran {
    Kept,
    Undo,
}

trait Job: Send {
    /// Does the work. May be called again after the transaction was lost.
    fn run(&mut self, connection: &Connection) -> Ran;
    /// Records that the job was not done.
    fn fail(&mut self, error: StoreError);
    /// Tells the caller. A caller that went away changes nothing.
    fn answer(self: Box<Self>);
}

struct Typed<T, E, F> {
    work: F,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Typed<T, E, F>
where
    T: Send,
    E: From<StoreError> + Send,
    F: FnMut(&Connection) -> Result<T, JobError<E>> + Send,
{
    fn run(&mut self, connection: &Connection) -> Ran {
        match catch_unwind(AssertUnwindSafe(|| (self.work)(connection))) {
            Ok(Ok(done)) => {
                self.outcome = Some(Ok(done));
                Ran::Kept
            }
            Ok(Err(JobError::Domain(error))) => {
                self.outcome = Some(Err(error));
                Ran::Undo
            }
            Ok(Err(JobError::Sqlite(error))) => {
                self.outcome = Some(Err(unavailable(&error).into()));
                Ran::Undo
            }
            Err(_) => {
                self.outcome = Some(Err(StoreError::Unavailable(
                    "a write panicked; it was undone".into(),
                )
                .into()));
                Ran::Undo
            }
        }
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        let Self {
            work,
            outcome,
            reply,
        } = *self;
        // First: what the work holds is let go before its caller goes on.
        drop(work);
        if let Some(outcome) = outcome {
            let _ = reply.send(outcome);
        }
    }
}

/// What a start finds of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Log {
    /// Who had the file before closed it.
    Absent,
    /// Who had the file before was killed, or others have it too.
    LeftBehind,
}

impl Log {
    pub(super) fn of(path: &Path) -> Self {
        match std::fs::metadata(log_of(path)) {
            Ok(log) if log.len() > 0 => Self::LeftBehind,
            _ => Self::Absent,
        }
    }
}

/// The writer thread's handle.
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the writer and, beside it, the thread that writes the log back.
    pub(super) fn start(
        connection: Connection,
        checkpoints: Connection,
        path: &Path,
        found: Log,
    ) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (wake, woken) = sync_channel(1);
        if found == Log::LeftBehind {
            // At once: killed often enough, no process would come to its turn, and each start would read more.
            let _ = wake.try_send(());
        }
        let log = log_of(path);
        let file = OpenFile::of(path);
        std::thread::Builder::new()
            .name("vestibule-checkpoint".into())
            .spawn(move || checkpoint(&checkpoints, &woken, &log))?;
        let thread = std::thread::Builder::new()
            .name("vestibule-writer".into())
            .spawn(move || write(&connection, &jobs, &wake, &file))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a job; what it did is durable when the answer comes. Dropping the future does not undo it.
    pub(super) fn submit<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&Connection) -> Result<T, JobError<E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Typed {
            work,
            outcome: None,
            reply,
        });
        let queued = match &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Err("the database is closed"),
            Some(queue) => match queue.try_send(job) {
                Ok(()) => Ok(()),
                Err(TrySendError::Full(_)) => Err("too many writes wait"),
                Err(TrySendError::Disconnected(_)) => Err("the writer has ended"),
            },
        };
        async move {
            queued.map_err(|why| StoreError::Unavailable(why.into()))?;
            answer.await.unwrap_or_else(|_| {
                Err(StoreError::Unavailable("the writer has ended".into()).into())
            })
        }
    }

    /// Ends the writer after what is queued.
    pub(super) fn close(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            // The last to let go of the store may be a job of ours.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn write(
    connection: &Connection,
    jobs: &Receiver<Box<dyn Job>>,
    wake: &SyncSender<()>,
    file: &OpenFile,
) {
    let mut commits = 0;
    let mut is_busy = false;
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        if is_busy {
            std::thread::sleep(GATHER);
        }
        if file.is_there() {
            run_batch(connection, &mut batch, Some(jobs));
        } else {
            fail_all(
                &mut batch,
                &StoreError::Unavailable(
                    "the database file was removed or replaced; put it back, then start again"
                        .into(),
                ),
            );
        }
        // Who is alone waits for nobody.
        is_busy = batch.len() > 1;
        for job in batch {
            job.answer();
        }
        commits += 1;
        if commits % CHECKPOINT_COMMITS == 0 {
            // A checkpoint that is under way will see these commits too.
            let _ = wake.try_send(());
        }
    }
}

/// The file that was opened, by what the system calls it. Written to after it was removed, it would take sign-ins that
/// nobody finds after the next start.
struct OpenFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl OpenFile {
    fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            identity: identity(path),
        }
    }

    fn is_there(&self) -> bool {
        identity(&self.path) == self.identity
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Runs a batch in one transaction. With `more`, jobs that arrive meanwhile join it.
fn run_batch(
    connection: &Connection,
    batch: &mut Vec<Box<dyn Job>>,
    more: Option<&Receiver<Box<dyn Job>>>,
) {
    if let Err(error) = run(connection, BEGIN) {
        return fail_all(batch, &unavailable(&error));
    }
    let began = Instant::now();
    let mut next = 0;
    while next < batch.len() {
        let is_there = match next {
            0 => run_first(connection, &mut batch[0]),
            _ => run_next(connection, &mut batch[next]),
        };
        if !is_there {
            // The transaction is gone, and with it what the others did.
            return alone(connection, batch);
        }
        next += 1;
        if next == batch.len() && next < BATCH_JOBS && began.elapsed() < BATCH_TIME {
            batch.extend(more.and_then(|more| more.try_recv().ok()));
        }
    }
    if let Err(error) = run(connection, COMMIT) {
        roll_back(connection);
        fail_all(batch, &unavailable(&error));
    }
}

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";

/// Runs a statement of the transaction itself, prepared once.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Runs the first job of a transaction: to undo it, the transaction begins anew. `false`: the transaction is lost.
fn run_first(connection: &Connection, job: &mut Box<dyn Job>) -> bool {
    let ran = job.run(connection);
    if connection.is_autocommit() {
        return false;
    }
    if let Ran::Undo = ran
        && let Err(error) = run(connection, "ROLLBACK").and_then(|()| run(connection, BEGIN))
    {
        job.fail(unavailable(&error));
        return false;
    }
    true
}

/// Runs a later job in its savepoint. `false`: the whole transaction is lost.
fn run_next(connection: &Connection, job: &mut Box<dyn Job>) -> bool {
    if let Err(error) = run(connection, "SAVEPOINT job") {
        job.fail(unavailable(&error));
        return !connection.is_autocommit();
    }
    let ran = job.run(connection);
    // SQLITE_FULL, IOERR, NOMEM and BUSY end the transaction, not the savepoint.
    if connection.is_autocommit() {
        return false;
    }
    let undone = match ran {
        Ran::Kept => Ok(()),
        Ran::Undo => run(connection, "ROLLBACK TO job"),
    };
    if let Err(error) = undone.and_then(|()| run(connection, "RELEASE job")) {
        job.fail(unavailable(&error));
        return false;
    }
    true
}

/// Runs each job of a lost batch in a transaction of its own.
fn alone(connection: &Connection, batch: &mut [Box<dyn Job>]) {
    // Where even that fails, so does every BEGIN, and nothing of what was done is committed.
    roll_back(connection);
    for job in batch {
        if let Err(error) = run(connection, BEGIN) {
            job.fail(unavailable(&error));
            continue;
        }
        match job.run(connection) {
            // Where the database ended the transaction, the job knows why: the disk is full, for one.
            Ran::Undo => roll_back(connection),
            Ran::Kept if connection.is_autocommit() => job.fail(StoreError::Unavailable(
                "the database ended the transaction".into(),
            )),
            Ran::Kept => {
                if let Err(error) = run(connection, COMMIT) {
                    roll_back(connection);
                    job.fail(unavailable(&error));
                }
            }
        }
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(event = "database.rollback_failed", detail = %error);
    }
}

fn fail_all(batch: &mut [Box<dyn Job>], error: &StoreError) {
    for job in batch {
        job.fail(error.clone());
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Writes the log back into the database, on a connection of its own.
pub(super) fn checkpoint(connection: &Connection, woken: &Receiver<()>, log: &Path) {
    loop {
        match woken.recv_timeout(Duration::from_secs(30)) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let size = std::fs::metadata(log).map_or(0, |log| log.len());
        if size == 0 {
            continue;
        }
        if let Err(error) = write_back(connection, size > CUT_LOG) {
            tracing::warn!(event = "database.checkpoint_failed", detail = %error);
        }
    }
}

/// Cutting the log locks writers out until nobody reads from it, and so waits for a long read such as a backup. Without
/// cutting nobody waits; and where that wrote everything back, no such read is under way.
fn write_back(connection: &Connection, cut: bool) -> rusqlite::Result<()> {
    let all = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
    })?;
    if cut && all {
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}
