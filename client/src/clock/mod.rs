//! Shared time, as a listener knows it.
//!
//! Every node is asked, each on a connection of its own that carries nothing else, so that a probe never queues behind a
//! song: the leader often, since its time is the reference, the others now and then, so that whoever leads next is
//! known already. What is published is a map from this machine's raw clock to shared time that bends but never steps
//! while something sounds (`jam_proto::sync::holdover`).
//!
//! All of it runs on a thread of its own: decoding or drawing must not delay a time stamp.

mod keeper;
mod link;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwapOption;
use jam_proto::wire::v1::ListenerReport;
use tokio::sync::{oneshot, watch};

use crate::audio::ClockView;
use crate::error::Failure;
use crate::news::Reporter;
use crate::nodes::Nodes;

/// What keeping time needs, and where it shows.
pub struct ClockConfig {
    /// Whom to ask.
    pub nodes: Arc<Nodes>,
    /// Only nodes of this cluster count.
    pub cluster: Vec<u8>,
    /// Where shared time is published.
    pub view: Arc<ArcSwapOption<ClockView>>,
    /// Something sounds: no steps.
    pub sounding: Arc<AtomicBool>,
    /// What the leader is told of this listener, about once a second.
    pub report: watch::Receiver<Option<ListenerReport>>,
    /// Who hears of new leaders.
    pub reporter: Reporter,
}

/// Keeps time until it is dropped.
pub struct Clock {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Clock {
    /// Starts the thread.
    pub fn start(config: ClockConfig) -> Result<Self, Failure> {
        let failed = |error| Failure::local("can't start the clock's thread", error);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("jam-clock".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = keeper::run(config) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(failed)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // Ending the streams tells the leader that this listener has left.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
