//! The writer: what its jobs do to each other, when it answers, and how much it holds.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rusqlite::Connection;
use vestibule_accounts::{Store, StoreError};

use super::{File, NOW, count, hold, is_in_main_file, names, put};
use crate::sqlite::SqliteStore;
use crate::sqlite::writer::{JobError, checkpoint};

type Answer = Result<(), StoreError>;

fn submit<F>(store: &SqliteStore, work: F) -> impl Future<Output = Answer> + Send + use<F>
where
    F: FnMut(&Connection) -> Result<(), JobError<StoreError>> + Send + 'static,
{
    store.writer.submit(work)
}

fn submit_put(store: &SqliteStore, name: &str) -> impl Future<Output = Answer> + Send + use<> {
    let name = name.to_owned();
    submit(store, move |connection| Ok(put(connection, &name)?))
}

fn is_unavailable(answer: &Answer) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

/// What came of a job between two that each put a row.
struct Between {
    left: Answer,
    culprit: Answer,
    right: Answer,
    /// The rows that are committed.
    names: Vec<String>,
    /// How often the job ran.
    runs: usize,
    store: SqliteStore,
    file: File,
}

/// Runs `culprit` between two neighbours, again until its first run shares a transaction with the left one, and where
/// `right_too`, the right one's as well. It is told which of its runs this is.
async fn between<F>(right_too: bool, culprit: F) -> Between
where
    F: Fn(&Connection, usize) -> Result<(), JobError<StoreError>> + Clone + Send + 'static,
{
    for _ in 0..200 {
        let file = File::new();
        let store = file.serve();
        // Each run: whether the left row is there, and not yet to be seen from another connection.
        let outsider = Arc::new(Mutex::new(file.outsider()));
        let runs = Arc::new(Mutex::new(Vec::new()));
        let right_runs = Arc::new(Mutex::new(Vec::new()));
        let shares = move |connection: &Connection| {
            let is_left = |name: &String| name == "left";
            names(connection).iter().any(is_left)
                && !names(&outsider.lock().unwrap()).iter().any(is_left)
        };

        let release = hold(&store);
        let left = submit_put(&store, "left");
        let middle = {
            let (culprit, runs, shares) = (culprit.clone(), runs.clone(), shares.clone());
            submit(&store, move |connection| {
                let run = {
                    let mut runs = runs.lock().unwrap();
                    runs.push(shares(connection));
                    runs.len()
                };
                put(connection, "culprit")?;
                culprit(connection, run)
            })
        };
        let right = {
            let right_runs = right_runs.clone();
            submit(&store, move |connection| {
                right_runs.lock().unwrap().push(shares(connection));
                Ok(put(connection, "right")?)
            })
        };
        drop(release);
        let (left, culprit, right) = (left.await, middle.await, right.await);

        let together = runs.lock().unwrap()[0] && (!right_too || right_runs.lock().unwrap()[0]);
        if together {
            let names = names(&file.outsider());
            let runs = runs.lock().unwrap().len();
            return Between {
                left,
                culprit,
                right,
                names,
                runs,
                store,
                file,
            };
        }
    }
    panic!("no batch held the jobs together")
}

impl Between {
    /// The writer goes on as if nothing had been.
    async fn lives_on(self) {
        submit_put(&self.store, "afterwards").await.unwrap();
        assert!(names(&self.file.outsider()).contains(&"afterwards".to_owned()));
        self.store.ready().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_committed() {
    let file = File::new();
    let store = file.serve();
    let outsider = file.outsider();
    for number in 0..100 {
        submit_put(&store, &format!("{number:03}")).await.unwrap();
        assert_eq!(names(&outsider).len(), number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_comes_before_the_commit() {
    for _ in 0..200 {
        let file = File::new();
        let store = file.serve();
        let outsider = file.outsider();
        let beside = file.outsider();
        let (seen, is_seen) = channel();
        let (release_second, second_released) = channel::<()>();

        let release = hold(&store);
        let mut first = Box::pin(submit_put(&store, "first"));
        let second = submit(&store, move |_| {
            let _ = seen.send(names(&beside).is_empty());
            let _ = second_released.recv();
            Ok(())
        });
        drop(release);

        let together = is_seen.recv().unwrap();
        if together {
            // The first has run; its transaction is open.
            assert!(first.as_mut().now_or_never().is_none());
            assert!(names(&outsider).is_empty());
        }
        drop(release_second);
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(names(&outsider), ["first"]);
        if together {
            return;
        }
    }
    panic!("no batch held the jobs together")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_fails_its_whole_batch() {
    let between = between(true, |connection, _| Ok(owe_a_user(connection)?)).await;

    assert!(is_unavailable(&between.left), "{:?}", between.left);
    assert!(is_unavailable(&between.culprit), "{:?}", between.culprit);
    assert!(is_unavailable(&between.right), "{:?}", between.right);
    assert!(between.names.is_empty(), "{:?}", between.names);
    assert_eq!(count(&between.file.outsider(), "vestibule_sessions"), 0);
    between.lives_on().await;
}

/// A row that only COMMIT finds fault with.
fn owe_a_user(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA defer_foreign_keys = ON;
         INSERT INTO vestibule_sessions VALUES (randomblob(32), randomblob(16), randomblob(16), 'idp', 0, 0, 0, 0)",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_job_is_undone_and_its_neighbours_stay() {
    let refusal = || StoreError::Corrupt("as its verb says".into());
    let between = between(true, move |_, _| Err(JobError::Domain(refusal()))).await;

    assert!(matches!(between.culprit, Err(StoreError::Corrupt(_))));
    assert_eq!(
        (&between.left.is_ok(), &between.right.is_ok()),
        (&true, &true)
    );
    assert_eq!(between.names, ["left", "right"]);
    assert_eq!(between.runs, 1);
    between.lives_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_sqlite_refuses_is_undone_and_its_neighbours_stay() {
    let between = between(true, |connection, _| {
        Ok(connection.execute_batch("INSERT INTO no_such_table VALUES (1)")?)
    })
    .await;

    assert!(is_unavailable(&between.culprit), "{:?}", between.culprit);
    assert!(between.left.is_ok() && between.right.is_ok());
    assert_eq!(between.names, ["left", "right"]);
    between.lives_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_job_is_undone_and_its_neighbours_stay() {
    let between = between(true, |_, _| resume_unwind(Box::new("made to happen"))).await;

    assert!(is_unavailable(&between.culprit), "{:?}", between.culprit);
    assert!(between.left.is_ok() && between.right.is_ok());
    assert_eq!(between.names, ["left", "right"]);
    assert_eq!(between.runs, 1);
    between.lives_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_the_transaction_loses_only_its_own_work() {
    let between = between(false, |connection, _| {
        Ok(connection.execute_batch("ROLLBACK")?)
    })
    .await;

    assert!(is_unavailable(&between.culprit), "{:?}", between.culprit);
    assert!(between.left.is_ok() && between.right.is_ok());
    assert_eq!(between.names, ["left", "right"]);
    assert_eq!(between.runs, 2);
    between.lives_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_batch_is_run_again_one_by_one() {
    let between = between(false, |connection, run| {
        if run == 1 {
            connection.execute_batch("ROLLBACK")?;
            return Err(JobError::Domain(StoreError::Corrupt("run 1".into())));
        }
        Ok(())
    })
    .await;

    // What counts is the run that stays.
    assert!(between.culprit.is_ok(), "{:?}", between.culprit);
    assert!(between.left.is_ok() && between.right.is_ok());
    assert_eq!(between.names, ["culprit", "left", "right"]);
    assert_eq!(between.runs, 2);
    between.lives_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_lost_batch_fails_alone() {
    for fault in ["refused", "panics", "commit"] {
        let between = between(false, move |connection, run| {
            if run == 1 {
                connection.execute_batch("ROLLBACK")?;
                return Ok(());
            }
            match fault {
                "refused" => Err(JobError::Domain(StoreError::Unavailable(fault.into()))),
                "panics" => resume_unwind(Box::new("made to happen")),
                _ => Ok(owe_a_user(connection)?),
            }
        })
        .await;

        assert!(is_unavailable(&between.culprit), "{fault}");
        assert!(between.left.is_ok() && between.right.is_ok(), "{fault}");
        assert_eq!(between.names, ["left", "right"], "{fault}");
        between.lives_on().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_for_which_the_disk_is_too_full_fails_alone() {
    let between = between(false, |connection, _| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        connection.query_row(
            &format!("PRAGMA max_page_count = {}", pages + 8),
            [],
            |_| Ok(()),
        )?;
        connection.execute_batch("UPDATE vestibule_meta SET value = zeroblob(1000000)")?;
        Ok(())
    })
    .await;

    let Err(StoreError::Unavailable(why)) = &between.culprit else {
        panic!("{:?}", between.culprit);
    };
    assert!(why.contains("full"), "{why}");
    assert!(between.left.is_ok() && between.right.is_ok());
    assert_eq!(between.names, ["left", "right"]);
    between.lives_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_holds_sixty_four_jobs_at_most() {
    for _ in 0..200 {
        let file = File::new();
        let store = file.serve();
        let outsider = Arc::new(Mutex::new(file.outsider()));

        let release = hold(&store);
        // What a job sees committed says with which others it shares a transaction.
        let jobs: Vec<_> = (0..300)
            .map(|number: i32| {
                let outsider = outsider.clone();
                store.writer.submit::<_, StoreError, _>(move |connection| {
                    put(connection, &number.to_string())?;
                    Ok(count(&outsider.lock().unwrap(), "vestibule_meta"))
                })
            })
            .collect();
        drop(release);
        let seen: Vec<i64> = join_all(jobs)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();

        let batches: Vec<_> = seen
            .chunk_by(|one, next| one == next)
            .map(<[_]>::len)
            .collect();
        let largest = *batches.iter().max().unwrap();
        assert!(largest <= 64, "{batches:?}");
        assert_eq!(names(&file.outsider()).len(), 300);
        // A batch ends after 5 ms, too; a busy machine may need another go.
        if largest == 64 {
            return;
        }
    }
    panic!("no batch was full")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_unavailable_at_once() {
    let file = File::new();
    let store = file.serve();
    let release = hold(&store);
    let waiting: Vec<_> = (0..4_096).map(|_| store.ready()).collect();

    let refused = submit_put(&store, "refused").now_or_never();
    assert!(is_unavailable(&refused.unwrap()));
    let refused = store.end_session(vestibule_accounts::SessionHash::from_bytes([1; 32]));
    assert!(refused.now_or_never().unwrap().is_err());
    // A read needs no place in the queue.
    assert_eq!(store.signing_keys().await.unwrap(), []);

    drop(release);
    for answer in join_all(waiting).await {
        answer.unwrap();
    }
    submit_put(&store, "accepted").await.unwrap();
    assert_eq!(names(&file.outsider()), ["accepted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_caller_undoes_nothing() {
    let file = File::new();
    let store = file.serve();
    let release = hold(&store);
    drop(submit_put(&store, "dropped"));
    let kept = submit_put(&store, "kept");
    drop(release);

    kept.await.unwrap();
    assert_eq!(names(&file.outsider()), ["dropped", "kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_is_queued() {
    let file = File::new();
    let store = Arc::new(file.serve());
    let release = hold(&store);
    let queued: Vec<_> = (0..200)
        .map(|number| submit_put(&store, &number.to_string()))
        .collect();
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    drop(release);
    closing.await.unwrap();

    assert_eq!(names(&file.outsider()).len(), 200);
    for answer in join_all(queued).await {
        answer.unwrap();
    }
    assert!(is_unavailable(&submit_put(&store, "late").await));
}

#[tokio::test]
async fn a_store_closes_on_a_runtime_of_one_thread() {
    let file = File::new();
    let store = file.serve();
    submit_put(&store, "kept").await.unwrap();
    store.close().await;
    assert_eq!(names(&file.outsider()), ["kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_store_finishes_what_is_queued() {
    let file = File::new();
    let store = file.serve();
    let release = hold(&store);
    let queued = submit_put(&store, "kept");
    drop(release);
    drop(store);

    assert_eq!(names(&file.outsider()), ["kept"]);
    queued.await.unwrap();
    // And another server may have the file.
    file.serve().ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_waits_for_the_disk_and_leaves_checkpoints_to_others() {
    let file = File::new();
    let store = file.serve();
    let settings = store
        .writer
        .submit::<_, StoreError, _>(|connection| {
            let mut found = Vec::new();
            for setting in [
                "synchronous",
                "foreign_keys",
                "wal_autocheckpoint",
                "trusted_schema",
            ] {
                let value: i64 =
                    connection.query_row(&format!("PRAGMA {setting}"), [], |row| row.get(0))?;
                found.push(value);
            }
            let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
            Ok((found, mode))
        })
        .await;
    // FULL, on, none, off.
    assert_eq!(settings.unwrap(), (vec![2, 1, 0, 0], "wal".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_cannot_write() {
    let file = File::new();
    let store = file.serve();
    let written = put(&store.readers.get(), "never");
    assert!(written.is_err());
    assert!(names(&file.outsider()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_written_back_while_the_writer_goes_on() {
    let file = File::new();
    let store = file.serve();
    submit_put(&store, "early").await.unwrap();
    assert!(!is_in_main_file(&file.path, "early"));

    for _ in 0..1_000 {
        for answer in join_all((0..256).map(|_| store.ready())).await {
            answer.unwrap();
        }
        if is_in_main_file(&file.path, "early") {
            return;
        }
    }
    panic!("the log was never written back")
}

/// A server that is killed again and again, each time before its turn to write the log back, would make it grow for ever,
/// and every start reads it whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_left_behind_is_written_back_at_the_next_start() {
    let file = File::new();
    drop(file.serve());
    // Whoever closes last writes the log back: this connection stays, as if a process had been killed.
    let killed = file.outsider();
    killed.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    put(&killed, "left behind").unwrap();
    assert!(!is_in_main_file(&file.path, "left behind"));

    let _store = file.serve();
    // Far below the time after which an idle server does it.
    let began = Instant::now();
    while !is_in_main_file(&file.path, "left behind") {
        assert!(began.elapsed() < Duration::from_secs(20), "it is not");
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&killed), ["left behind"]);
}

#[test]
fn a_checkpoint_needs_no_pause_of_a_write_under_way() {
    let file = File::new();
    drop(file.serve());
    let (writer, checkpoints) = (file.outsider(), file.outsider());
    for connection in [&writer, &checkpoints] {
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .unwrap();
    }
    put(&writer, "committed").unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    put(&writer, "under way").unwrap();
    assert!(!is_in_main_file(&file.path, "committed"));

    wake_once(&checkpoints, &file);

    assert!(is_in_main_file(&file.path, "committed"));
    assert!(!is_in_main_file(&file.path, "under way"));
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(names(&file.outsider()), ["committed", "under way"]);
}

#[test]
fn a_log_above_64_mib_is_cut() {
    let file = File::new();
    drop(file.serve());
    let (writer, checkpoints) = (file.outsider(), file.outsider());
    for connection in [&writer, &checkpoints] {
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .unwrap();
    }
    let log = || {
        std::fs::metadata(file.folder.path().join("app.db-wal"))
            .unwrap()
            .len()
    };

    put(&writer, "small").unwrap();
    let small = log();
    wake_once(&checkpoints, &file);
    assert_eq!(log(), small);

    writer
        .execute_batch("UPDATE vestibule_meta SET value = zeroblob(68000000)")
        .unwrap();
    assert!(log() > 64 << 20);
    wake_once(&checkpoints, &file);
    assert_eq!(log(), 0);
    assert!(is_in_main_file(&file.path, "small"));
}

/// To cut the log, SQLite locks writers out and waits until nobody reads from it: with a backup under way, for seconds.
#[test]
fn a_log_that_a_long_read_needs_is_written_back_and_cut_once_nobody_needs_it() {
    static WAITED: AtomicBool = AtomicBool::new(false);
    let file = File::new();
    drop(file.serve());
    let (writer, mut checkpoints) = (file.outsider(), file.outsider());
    for connection in [&writer, &checkpoints] {
        connection
            .pragma_update(None, "wal_autocheckpoint", 0)
            .unwrap();
    }
    checkpoints
        .busy_handler(Some(|_| {
            WAITED.store(true, Ordering::SeqCst);
            false
        }))
        .unwrap();
    let log = || {
        std::fs::metadata(file.folder.path().join("app.db-wal"))
            .unwrap()
            .len()
    };
    put(&writer, "early").unwrap();
    let reader = file.outsider();
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(names(&reader), ["early"]);
    writer
        .execute_batch("UPDATE vestibule_meta SET value = zeroblob(68000000)")
        .unwrap();

    wake_once(&checkpoints, &file);

    assert!(!WAITED.load(Ordering::SeqCst), "writers were locked out");
    assert!(log() > 64 << 20);
    assert_eq!(names(&reader), ["early"]);
    reader.execute_batch("COMMIT").unwrap();
    wake_once(&checkpoints, &file);
    assert_eq!(log(), 0);
    assert!(is_in_main_file(&file.path, "early"));
}

/// One checkpoint, here and now: the other end of the channel is gone when it is done.
fn wake_once(checkpoints: &Connection, file: &File) {
    let (wake, woken) = sync_channel(1);
    wake.send(()).unwrap();
    drop(wake);
    checkpoint(checkpoints, &woken, &file.folder.path().join("app.db-wal"));
}

#[test]
fn no_statement_is_planned_again_for_a_value_that_is_bound() {
    let file = File::new();
    drop(file.serve());
    let reader = super::super::open::connect(&file.path, super::super::open::Role::Reader).unwrap();
    for (statement, values) in [
        (super::super::sql::SELECT_SESSION, 2),
        (super::super::sql::SELECT_IDENTITIES, 1),
        (super::super::sql::SELECT_KNOWN, 4),
        (super::super::sql::SELECT_USERS, 3),
    ] {
        let mut prepared = reader.prepare(statement).unwrap();
        for round in 0..3 {
            for value in 1..=values {
                prepared.raw_bind_parameter(value, round).unwrap();
            }
            assert!(prepared.raw_query().next().unwrap().is_none());
        }
        let again = prepared.get_status(rusqlite::StatementStatus::RePrepare);
        assert_eq!(again, 0, "{statement}");
    }
}

/// Says when it is gone.
struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_decision_holds_is_let_go_before_its_answer_comes() {
    let file = File::new();
    let store = file.serve();
    // Often, since the answer and the end are close together.
    for _ in 0..300 {
        let gone = Arc::new(AtomicBool::new(false));
        let held = Held(gone.clone());
        let decide = Box::new(move |_: &_| {
            let _ = &held;
            None
        });
        let nobody = store.admit(
            "https://idp.example".into(),
            "ann".into(),
            None,
            NOW,
            decide,
        );
        assert_eq!(nobody.await.unwrap(), None);
        assert!(gone.load(Ordering::SeqCst));
    }
}
