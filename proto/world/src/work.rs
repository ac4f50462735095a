//! Who does what takes long.

use std::fmt::Debug;
use std::io;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Threads, or what stands in for them.
pub trait Work: Debug + Send + Sync {
    /// Does `work`, and is ready when it is done, or when it panicked.
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
    /// Runs `task` on a thread of its own, where it may block, with `tokio::time` at hand.
    ///
    /// # Errors
    /// If there is no thread.
    fn worker(&self, name: &str, task: BoxFuture<'static, ()>) -> io::Result<()>;
}

/// The operating system's. Needs tokio's runtime.
#[derive(Debug)]
pub(crate) struct Threads;

impl Work for Threads {
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // A panic was reported by its hook; whoever waits finds that there is no result.
        tokio::task::spawn_blocking(work).map(drop).boxed()
    }

    fn worker(&self, name: &str, task: BoxFuture<'static, ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || runtime.block_on(task)).map(drop)
    }
}
