//! The threads that serve: one a core, each with a runtime of its own. A request is answered on the thread that its
//! connection came to, so that no step of it wakes another thread.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// All threads that serve.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// Held by every task that runs here.
    here: Arc<()>,
    /// Dropped to end the thread.
    _until: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts one thread for each core that this process may use.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let workers = (0..cores)
            .map(|_| Worker::start())
            .collect::<Result<_, _>>()?;
        Ok(Self(workers))
    }

    /// Runs a task on the thread that has the fewest.
    pub(crate) fn run<Task: Future<Output = ()> + Send + 'static>(&self, task: Task) {
        let freest = self
            .0
            .iter()
            .min_by_key(|worker| Arc::strong_count(&worker.here));
        if let Some(worker) = freest {
            let here = worker.here.clone();
            worker.runtime.spawn(async move {
                let _here = here;
                task.await;
            });
        }
    }

    /// Ends the threads, and with them what still runs there. Blocks until they are gone.
    pub(crate) fn end(self) {
        let threads: Vec<_> = self.0.into_iter().map(|worker| worker.thread).collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("vestibule-serve".into())
            .spawn(move || {
                // Whatever it says, it is the end.
                let _ = runtime.block_on(ended);
                // What waits on other threads, such as the resolver of names, is not waited for.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            runtime: handle,
            here: Arc::new(()),
            _until: until,
            thread,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn tasks_are_spread_over_the_threads_and_a_thread_that_is_free_again_is_used() {
        let workers = Workers(vec![Worker::start().unwrap(), Worker::start().unwrap()]);
        let (sender, receiver) = mpsc::channel();
        let stay = || {
            let (leave, left) = oneshot::channel::<()>();
            let sender = sender.clone();
            workers.run(async move {
                sender.send(std::thread::current().id()).unwrap();
                let _ = left.await;
            });
            (receiver.recv().unwrap(), leave)
        };
        let (first, leave_first) = stay();
        let (second, leave_second) = stay();
        assert_ne!(first, second);

        drop(leave_first);
        let counted = |workers: &Workers| -> usize {
            workers
                .0
                .iter()
                .map(|worker| Arc::strong_count(&worker.here))
                .sum()
        };
        while counted(&workers) > 3 {
            std::thread::yield_now();
        }
        assert_eq!(stay().0, first);
        drop(leave_second);
        workers.end();
    }
}
