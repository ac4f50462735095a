//! What stands in for threads: tasks of the machine's own runtime.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jam_world::{Apart, Pacer, Turn};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::disk::{Disk, Life};
use super::time::STEP;

/// One life's work. What would block runs in one go, after it waited for as long as the disk takes.
#[derive(Debug)]
pub(super) struct Inline {
    pub(super) disk: Arc<Disk>,
    pub(super) life: Life,
}

impl jam_world::Work for Inline {
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let disk = self.disk.clone();
        // As with a thread, it is done even if nobody waits for it any more.
        let task = tokio::spawn(async move {
            disk.pace().await;
            work();
        });
        task.map(drop).boxed()
    }

    fn worker(&self, _name: &str, task: BoxFuture<'static, ()>) -> io::Result<()> {
        self.disk.check_life(self.life)?;
        drop(tokio::spawn(task));
        Ok(())
    }

    fn apart(&self, _name: &str) -> io::Result<Apart> {
        self.disk.check_life(self.life)?;
        Ok(Apart::here())
    }

    fn paced(&self, _name: &str, mut turn: Turn) -> io::Result<Box<dyn Pacer>> {
        self.disk.check_life(self.life)?;
        let (disk, life) = (self.disk.clone(), self.life);
        let woken = Arc::new(Notify::new());
        let wake = woken.clone();
        let task = tokio::spawn(async move {
            loop {
                if !disk.goes_on(life) {
                    return;
                }
                let Some(wait) = turn() else { return };
                // No time passes within a step: whoever waits for less than one would wait for ever.
                let _ = timeout(wait.max(STEP), woken.notified()).await;
            }
        });
        Ok(Box::new(PacedTask { wake, task }))
    }
}

#[derive(Debug)]
struct PacedTask {
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Pacer for PacedTask {
    fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Drop for PacedTask {
    fn drop(&mut self) {
        // It is between two turns: there is one thread.
        self.task.abort();
    }
}
