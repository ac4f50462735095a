//! Who does what takes long.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Threads, or what stands in for them.
pub trait Work: Debug + Send + Sync {
    /// Does `work`, and is ready when it is done, or when it panicked.
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
    /// As [`Work::blocking`], for what takes the processor for long: all else goes before it.
    fn heavy(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        self.blocking(work)
    }
    /// Runs `task` on a thread of its own, where it may block, with tokio's time and network at hand.
    ///
    /// # Errors
    /// If there is no thread.
    fn worker(&self, name: &str, task: BoxFuture<'static, ()>) -> io::Result<()>;
    /// Takes turns on a thread of its own, the first one at once, until one says that it was the last. A turn
    /// that panics is the last.
    ///
    /// # Errors
    /// If there is no thread.
    fn paced(&self, name: &str, turn: Turn) -> io::Result<Box<dyn Pacer>>;
    /// A runtime that nothing else holds up, with tokio's time and network at hand.
    ///
    /// # Errors
    /// If there is no thread.
    fn apart(&self, name: &str) -> io::Result<Apart>;
}

/// A runtime for what nothing else may hold up. What runs there ends when it is dropped.
#[derive(Debug)]
pub struct Apart {
    handle: Handle,
    /// Of a thread of its own.
    _ends: Option<oneshot::Sender<()>>,
}

impl Apart {
    /// The runtime of whoever asks: all that is to be done is done there.
    pub fn here() -> Self {
        Self { handle: Handle::current(), _ends: None }
    }

    /// What to start things with.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Something done again and again. Each call says how long to wait until the next one; `None`: there is none.
pub type Turn = Box<dyn FnMut() -> Option<Duration> + Send>;

/// What takes turns. Ends when it is dropped: a thread has then dropped what it did.
pub trait Pacer: Debug + Send + Sync {
    /// Brings the next turn forward to now; during a turn, the one after it.
    fn wake(&self);
}

/// The lowest there is.
const HEAVY_NICE: i32 = 19;

/// The operating system's. Needs tokio's runtime.
#[derive(Debug)]
pub(crate) struct Threads;

impl Work for Threads {
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // A panic was reported by its hook; whoever waits finds that there is no result.
        tokio::task::spawn_blocking(work).map(drop).boxed()
    }

    fn heavy(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let (done, told) = oneshot::channel::<()>();
        // A thread of its own: one whose priority was lowered can't raise it again.
        let thread = std::thread::Builder::new().name("jam-heavy".to_owned());
        let started = thread.spawn(move || {
            // On Linux a process id names one thread here, and none names the caller. Where it is not allowed the
            // work is done all the same.
            let _ = rustix::process::setpriority_process(None, HEAVY_NICE);
            work();
            drop(done);
        });
        match started {
            Ok(_) => told.map(drop).boxed(),
            // Then what was to be done is gone, and whoever waits finds that there is no result.
            Err(_) => futures_util::future::ready(()).boxed(),
        }
    }

    fn worker(&self, name: &str, task: BoxFuture<'static, ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || runtime.block_on(task)).map(drop)
    }

    fn apart(&self, name: &str) -> io::Result<Apart> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || {
            // An error is the end, too.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Apart { handle, _ends: Some(ends) })
    }

    fn paced(&self, name: &str, mut turn: Turn) -> io::Result<Box<dyn Pacer>> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let Some(wait) = turn() else { return };
                std::thread::park_timeout(wait);
            }
        })?;
        Ok(Box::new(PacedThread { stop, thread: Some(thread) }))
    }
}

#[derive(Debug)]
struct PacedThread {
    stop: Arc<AtomicBool>,
    /// Until it is dropped.
    thread: Option<JoinHandle<()>>,
}

impl Pacer for PacedThread {
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for PacedThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by its hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_runs_apart_goes_on_while_everybody_else_is_held_up() {
        let apart = Threads.apart("apart").expect("a thread");
        let (tell, told) = mpsc::channel();
        let running = apart.handle().spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = tell.send(());
            std::future::pending::<()>().await;
        });
        // The only thread of this test's own runtime stands still for it.
        told.recv().expect("it went on");
        drop(apart);
        assert!(running.await.expect_err("it ended").is_cancelled());
    }

    #[test]
    fn turns_are_taken_when_they_are_woken_and_end_with_the_pacer() {
        let (tell, told) = mpsc::channel();
        let turn = move || tell.send(()).ok().map(|()| Duration::from_secs(3600));
        let pacer = Threads.paced("turns", Box::new(turn)).expect("a thread");
        for _ in 0..3 {
            told.recv().expect("a turn");
            pacer.wake();
        }
        told.recv().expect("a turn");
        drop(pacer);
        assert!(told.recv().is_err(), "what took the turns is gone, and none came after");
    }
}
