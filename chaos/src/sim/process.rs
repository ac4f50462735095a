//! A process: a tokio runtime of its own, which goes on only when it is stepped.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, LocalSet};

use super::time::STEP;

/// A running process. Dropping it ends it: all that it holds is dropped.
pub(super) struct Process {
    runtime: Runtime,
    tasks: LocalSet,
    main: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it; nothing of it runs before the first step.
    ///
    /// # Errors
    /// If the operating system gives no runtime.
    pub(super) fn start(main: impl Future<Output = ()> + 'static) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let tasks = LocalSet::new();
        let main = tasks.spawn_local(main);
        Ok(Self { runtime, tasks, main: Some(main) })
    }

    /// Lets it do what it can within [`STEP`] of its time.
    pub(super) fn step(&mut self) {
        self.runtime.block_on(self.tasks.run_until(async { tokio::time::sleep(STEP).await }));
        if self.main.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(Err(broken)) = self.main.take().and_then(FutureExt::now_or_never)
        {
            std::panic::resume_unwind(broken.into_panic());
        }
    }

    /// Its clocks have gone on while it stood still: all timers of that time are due at once. By whole milliseconds, since
    /// tokio rounds timers up to those: a step would take two of them from then on.
    pub(super) fn leap(&mut self, by: Duration) {
        let by = Duration::from_millis(by.as_millis() as u64);
        // Polled once: it has leapt then. Waiting for it to yield would let time go on to the next timer, too.
        self.runtime.block_on(async {
            let _ = tokio::time::advance(by).now_or_never();
        });
    }

    /// Whether `main` is still under way.
    pub(super) fn is_running(&self) -> bool {
        self.main.is_some()
    }
}
