//! Follows a room: a follower of the log without a vote.
//!
//! Folds the committed events with the very code that the nodes apply them with, from whichever node answers.
//! Losing the connection changes nothing that is heard: the room that is known stays, and following goes on where it
//! was, for ever if need be.
//!
//! A node that is cut off from the leader, or that is late with what the leader committed, is left for one that is up to date. The
//! old stream stays until the new one has begun; where no node is better, it stays altogether.

mod freshness;
mod search;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jam_proto::event::Event;
use jam_proto::ids::RoomCode;
use jam_proto::room::Room;
use jam_proto::wire::v1 as wire;
use jam_proto::wire::v1::watch_message::Kind;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::clock::Commits;
use crate::connection::Backoff;
use crate::error::Failure;
use crate::news::{News, Reporter};
use crate::nodes::Nodes;

use freshness::Leaving;
pub use freshness::Outdated;
use search::{Ended, Search, Watch, ended};

/// Nodes send a mark about each second; one that is silent for so long is stopped or cut off.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often it is asked whether the node is up to date.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Which room is followed, and where it shows.
pub struct FollowConfig {
    /// Whom to ask.
    pub nodes: Arc<Nodes>,
    /// Of the cluster that the room is in; empty: not known yet.
    pub cluster: Vec<u8>,
    /// The room.
    pub code: RoomCode,
    /// Where the room is published.
    pub room: Arc<ArcSwapOption<Room>>,
    /// Where it is published who sends the room.
    pub followed: Arc<ArcSwapOption<Followed>>,
    /// What leaders named as committed: a node that is late with it is left.
    pub commits: Arc<Commits>,
    /// Who hears of it.
    pub reporter: Reporter,
}

/// The node that sends the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its id.
    pub node: u64,
    /// Why the room may be old, if so.
    pub outdated: Option<Outdated>,
}

/// The room as committed so far, kept up to date.
pub struct Follower {
    config: FollowConfig,
    /// What is known does not fit on what came: start over from a snapshot.
    start_over: bool,
    was_following: bool,
    /// It was told that no node is better than the one that is followed.
    stays: bool,
}

impl Follower {
    /// Follows a room once it runs.
    pub fn new(config: FollowConfig) -> Self {
        Self { config, start_over: false, was_following: false, stays: false }
    }

    /// Follows for ever. Ends only if the nodes refuse before the room was ever known.
    pub async fn run(mut self) -> Failure {
        let mut backoff = Backoff::default();
        loop {
            let before = self.config.room.load().as_ref().map(|room| room.revision());
            let ended = match self.search().any().await {
                Ok(watch) => self.follow(watch).await,
                Err(ended) => ended,
            };
            self.config.followed.store(None);
            match ended {
                Ended::Refused(failure) if self.config.room.load().is_none() => return failure,
                Ended::Refused(failure) => self.lost(failure.to_string()),
                Ended::Lost(why) => self.lost(why),
            }
            if self.config.room.load().as_ref().map(|room| room.revision()) != before {
                backoff.reset();
            }
            sleep(backoff.next_pause(PAUSE_MAX)).await;
        }
    }

    fn search(&self) -> Search {
        let known = self.config.room.load().as_ref().map_or(0, |room| room.revision().0);
        Search {
            nodes: self.config.nodes.clone(),
            commits: self.config.commits.clone(),
            request: wire::WatchRequest {
                cluster_id: self.config.cluster.clone(),
                room: self.config.code.as_str().to_owned(),
                after_revision: if self.start_over { 0 } else { known },
            },
        }
    }

    fn lost(&mut self, why: String) {
        if self.was_following {
            self.was_following = false;
            self.config.reporter.tell(News::Lost(why));
        }
    }

    /// Follows until a stream ends, from one node or from better ones.
    async fn follow(&mut self, mut watch: Watch) -> Ended {
        self.greet(&watch);
        let mut heard = Instant::now();
        let mut leaving = Leaving::default();
        let mut search: Option<BoxFuture<'static, Option<Watch>>> = None;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let searched = async {
                match &mut search {
                    Some(search) => search.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Messages first: what came while this process stood still is not silence.
                biased;
                message = watch.stream.message() => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ended::Lost("the node ended the stream".into()),
                        Err(status) => return ended(&status),
                    };
                    heard = Instant::now();
                    if let Err(why) = self.take(message, &mut watch) {
                        return Ended::Lost(why);
                    }
                }
                found = searched => {
                    search = None;
                    let now = Instant::now();
                    match (found, self.look(&watch, now)) {
                        (Some(found), Some(why)) => {
                            self.change(&watch, &found, why);
                            (watch, heard, leaving) = (found, now, Leaving::default());
                        }
                        (None, Some(why)) => self.stay(&watch, why),
                        // It has caught up meanwhile.
                        (_, None) => {}
                    }
                }
                _ = look.tick() => {
                    let now = Instant::now();
                    if now.saturating_duration_since(heard) > SILENCE_MAX {
                        return Ended::Lost("the node fell silent".into());
                    }
                    let is_outdated = self.look(&watch, now).is_some();
                    let is_due = leaving.is_due(is_outdated, now, rand::random_range(0.0..1.0));
                    if !is_outdated {
                        search = None;
                    } else if is_due && search.is_none() {
                        let current = watch.address.clone();
                        search = Some(self.search().better_than(current).boxed());
                    }
                }
            }
        }
    }

    /// A stream begins after there was none. The room counts as followed once something of it is known: a node may greet
    /// and then have to wait.
    fn greet(&mut self, watch: &Watch) {
        self.config.cluster.clone_from(&watch.cluster);
        self.look(watch, Instant::now());
        if !self.was_following {
            let again = self.config.room.load().is_some();
            self.was_following = true;
            self.config.reporter.tell(News::Following { node: watch.node, again });
        }
    }

    /// Publishes who sends the room, and whether that may be old.
    fn look(&mut self, watch: &Watch, now: Instant) -> Option<Outdated> {
        let outdated = watch.freshness.outdated(self.config.commits.due(now));
        let followed = Followed { node: watch.node, outdated };
        if self.config.followed.load().as_deref() != Some(&followed) {
            self.config.followed.store(Some(Arc::new(followed)));
        }
        if outdated.is_none() && std::mem::take(&mut self.stays) {
            self.config.reporter.tell(News::UpToDate { node: watch.node });
        }
        outdated
    }

    /// Another node sends the room from now on.
    fn change(&mut self, from: &Watch, to: &Watch, why: Outdated) {
        self.config.reporter.tell(News::Changed { from: from.node, to: to.node, why });
        self.config.nodes.shun(&from.address);
        self.stays = false;
        self.look(to, Instant::now());
    }

    /// No node is better than the one that is followed.
    fn stay(&mut self, watch: &Watch, why: Outdated) {
        if !std::mem::replace(&mut self.stays, true) {
            self.config.reporter.tell(News::Outdated { node: watch.node, why });
        }
    }

    /// Takes one message in; an error ends the stream.
    fn take(&mut self, message: wire::WatchMessage, watch: &mut Watch) -> Result<(), String> {
        match message.kind {
            Some(Kind::Snapshot(snapshot)) => self.replace(&snapshot),
            Some(Kind::Events(events)) => {
                self.fold(&events.events)?;
                watch.freshness.reach(events.index);
                Ok(())
            }
            Some(Kind::Progress(progress)) => {
                watch.freshness.stale = progress.stale_ms.is_some();
                watch.freshness.reach(progress.applied);
                Ok(())
            }
            Some(Kind::Hello(_)) | None => Ok(()),
        }
    }

    fn replace(&mut self, snapshot: &wire::RoomSnapshot) -> Result<(), String> {
        let room = Room::from_wire(snapshot)
            .map_err(|error| format!("a snapshot makes no sense: {error}"))?;
        if room.code() != &self.config.code {
            return Err("the node sent another room".into());
        }
        if self.config.room.load().as_ref().is_some_and(|known| known.revision() > room.revision())
        {
            return Err("the node is behind what is known already".into());
        }
        self.start_over = false;
        let (name, revision) = (room.name().to_owned(), room.revision().0);
        self.config.reporter.tell(News::Snapshot { room: room.code().clone(), name, revision });
        self.config.room.store(Some(Arc::new(room)));
        Ok(())
    }

    /// All the events of one log entry become visible together.
    fn fold(&mut self, events: &[wire::Event]) -> Result<(), String> {
        let known = self.config.room.load_full();
        let mut room: Option<Room> = known.as_deref().cloned();
        let mut folded = Vec::with_capacity(events.len());
        for event in events {
            let event = Event::from_wire(event)
                .map_err(|error| format!("an event makes no sense: {error}"))?;
            match &mut room {
                Some(room) if event.revision <= room.revision() => continue,
                Some(room) => {
                    if let Err(out_of_order) = room.fold(&event) {
                        self.start_over = true;
                        return Err(out_of_order.to_string());
                    }
                }
                None => room = Some(Room::begin(&event).ok_or("events came before the room")?),
            }
            folded.push(event);
        }
        self.config.room.store(room.map(Arc::new));
        folded.into_iter().for_each(|event| self.config.reporter.tell(News::Happened(event)));
        Ok(())
    }
}
