//! What stands in for threads: tasks of the machine's own runtime.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::disk::{Disk, Life};

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
}
