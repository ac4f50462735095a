//! Shared time, as a listener knows it.
//!
//! Every node is asked, each on a connection of its own that carries nothing else, so that a probe never queues behind a
//! song: the leader often, since its time is the reference, the others now and then, so that whoever leads next is
//! known already. What is published is a map from this machine's raw clock to shared time that bends but never steps
//! while something sounds (`jam_proto::sync::holdover`).
//!
//! All of it runs on a thread of its own: decoding or drawing must not delay a time stamp.

mod commits;
mod keeper;
mod link;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use jam_proto::wire::v1::ListenerReport;
use tokio::sync::{oneshot, watch};

use crate::audio::ClockView;
use crate::error::Failure;
use crate::news::Reporter;
use crate::nodes::Nodes;

pub use commits::{BEHIND_MAX, Commits};

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
    /// Where it is noted how far leaders say that the log is committed.
    pub commits: Arc<Commits>,
    /// Who hears of new leaders.
    pub reporter: Reporter,
}

/// Keeps time until it is stopped or dropped.
pub struct Clock {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Clock {
    /// Starts the thread.
    pub fn start(config: ClockConfig) -> Result<Self, Failure> {
        let world = config.nodes.dialer().world().clone();
        let (stop, until) = oneshot::channel();
        let (tell, stopped) = oneshot::channel();
        let task = async move {
            keeper::run(config, until).await;
            // Nobody has to wait for it.
            let _ = tell.send(());
        };
        world
            .worker("jam-clock", task.boxed())
            .map_err(|error| Failure::local("can't start the clock's thread", error))?;
        Ok(Self { stop, stopped })
    }

    /// Ends all exchanges, by which the leader learns that this listener has left, and waits until they are over.
    /// Whoever only drops the clock does not wait.
    pub async fn stop(self) {
        drop(self.stop);
        // If it broke, it is over as well.
        let _ = self.stopped.await;
    }
}
