//! A listener: everything of `jam join` but the terminal.
//!
//! Starts the parts that need each other only through what they publish, and passes on what they want of each other: the
//! follower keeps the room, the clock keeps shared time, the cache fetches songs, and the player plays from these three.
//! Whatever falls silent, the others go on with what they have.
//!
//! All that it asks of its machine it asks of its dialer's [`World`](jam_world::World), and it waits for no thread before it
//! is stopped: it runs as well in one thread and in simulated time.
//!
//! ```no_run
//! # async fn listen(config: jam_client::listener::ListenerConfig) -> Result<(), jam_client::error::Failure> {
//! let mut listener = jam_client::listener::Listener::start(config)?;
//! let refused = listener.run(|look, _news| println!("{:?}", look.status)).await;
//! # Err(refused)
//! # }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse};
use jam_proto::ids::RoomCode;
use jam_proto::room::Room;
use jam_proto::time::{Flicks, SharedTime};
use jam_proto::wire::v1 as wire;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::audio::{
    ClockView, Player, PlayerConfig, PlayerInputs, PlayerState, PlayerStatus, SongSource,
};
use crate::clock::{Clock, ClockConfig, Commits};
use crate::connection::{Address, Dialer};
use crate::error::Failure;
use crate::follow::{FollowConfig, Followed, Follower};
use crate::news::{News, Reporter};
use crate::nodes::Nodes;
use crate::songs::cache::SongCache;
use crate::songs::disk::DiskCache;
use crate::songs::plan::Wish;
use crate::songs::quality::Quality;

/// How often the parts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// While a song sounds and nothing is waited for.
const CALM_LOOK_EVERY: Duration = Duration::from_millis(500);
/// Songs that are fetched ahead, the current one included.
const SONGS_AHEAD: usize = 4;

/// Whom to listen to, and how.
pub struct ListenerConfig {
    /// How nodes are reached, and on which machine this is.
    pub dialer: Dialer,
    /// The cluster's id: nodes of another one don't count. [`Cluster::id`](crate::connection::Cluster::id) has it.
    pub cluster: Vec<u8>,
    /// The nodes that are known already; they tell of others.
    pub addresses: Vec<Address>,
    /// The room.
    pub room: RoomCode,
    /// Who listens, for those who look.
    pub user: String,
    /// Where songs are kept.
    pub cache: DiskCache,
    /// The best quality that is fetched.
    pub quality: Quality,
    /// What they are played on.
    pub player: PlayerConfig,
}

/// Listens until it is stopped. Dropping it ends everything as well, without waiting for the last exchanges.
pub struct Listener {
    room_code: RoomCode,
    user: String,
    nodes: Arc<Nodes>,
    room: Arc<ArcSwapOption<Room>>,
    view: Arc<ArcSwapOption<ClockView>>,
    followed: Arc<ArcSwapOption<Followed>>,
    songs: Arc<SongCache>,
    player: Player,
    clock: Clock,
    sounding: Arc<AtomicBool>,
    report: watch::Sender<Option<wire::ListenerReport>>,
    wanted: watch::Sender<Vec<Wish>>,
    news: mpsc::Receiver<News>,
    following: Fuse<BoxFuture<'static, Failure>>,
    tasks: JoinSet<()>,
}

/// How it goes at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// The room as far as it is known.
    pub room: Option<Arc<Room>>,
    /// Which node sends it; `None`: none does.
    pub followed: Option<Followed>,
    /// What is known of shared time.
    pub clock: Option<Arc<ClockView>>,
    /// Shared time, by that.
    pub now: Option<SharedTime>,
    /// The raw clock at the same moment, ns.
    pub raw_ns: i64,
    /// What sounds.
    pub status: PlayerStatus,
    /// Whether the song that is current for the player is on this machine, for the next second at least.
    pub song_here: bool,
}

impl Listener {
    /// Starts all parts. Needs tokio's runtime.
    ///
    /// # Errors
    /// If the output can't be opened, or there is no thread.
    pub fn start(config: ListenerConfig) -> Result<Self, Failure> {
        let ListenerConfig {
            dialer,
            cluster,
            addresses,
            room: room_code,
            user,
            cache,
            quality,
            player,
        } = config;
        let world = dialer.world().clone();
        let nodes = Nodes::new(dialer, addresses);
        let (reporter, news) = Reporter::new();
        let room: Arc<ArcSwapOption<Room>> = Arc::default();
        let view: Arc<ArcSwapOption<ClockView>> = Arc::default();
        let sounding = Arc::new(AtomicBool::new(false));
        let (report, reports) = watch::channel(None);
        let (wanted, wants) = watch::channel(Vec::new());
        let songs = SongCache::new(cache, nodes.clone(), quality, reporter.clone());
        let commits = Arc::<Commits>::default();
        let clock = Clock::start(ClockConfig {
            nodes: nodes.clone(),
            cluster: cluster.clone(),
            view: view.clone(),
            sounding: sounding.clone(),
            report: reports,
            commits: commits.clone(),
            reporter: reporter.clone(),
        })?;
        let followed: Arc<ArcSwapOption<Followed>> = Arc::default();
        let follower = Follower::new(FollowConfig {
            nodes: nodes.clone(),
            cluster,
            code: room_code.clone(),
            room: room.clone(),
            followed: followed.clone(),
            commits,
            reporter,
        });
        let inputs = PlayerInputs { room: room.clone(), clock: view.clone(), songs: songs.clone() };
        let player = Player::start(&world, player, inputs)
            .map_err(|error| Failure::refused("audio", error.to_string()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(songs.clone().run(wants));
        Ok(Self {
            room_code,
            user,
            nodes,
            room,
            view,
            followed,
            songs,
            player,
            clock,
            sounding,
            report,
            wanted,
            news,
            following: follower.run().boxed().fuse(),
            tasks,
        })
    }

    /// Listens until the nodes refuse the room, which they do at the beginning or never. `hear` is told how it goes, a few
    /// times a second and whenever there are news.
    pub async fn run(&mut self, mut hear: impl FnMut(Look, Option<News>)) -> Failure {
        loop {
            match self.next(self.look_every()).await {
                Ok(news) => hear(self.look(), news),
                Err(refused) => return refused,
            }
        }
    }

    /// The next news, or none `within` that time. Whoever has a loop of their own calls this and [`Listener::look`] in turn:
    /// the room is followed only meanwhile. May be called off at any time.
    ///
    /// # Errors
    /// If the nodes refuse the room.
    pub async fn next(&mut self, within: Duration) -> Result<Option<News>, Failure> {
        tokio::select! {
            refused = &mut self.following => Err(refused),
            Some(news) = self.news.recv() => {
                // Most of them change what is to be played.
                self.player.wake();
                Ok(Some(news))
            }
            () = sleep(within) => Ok(None),
        }
    }

    /// How long the parts do without another look.
    pub fn look_every(&self) -> Duration {
        if self.sounding.load(Ordering::Relaxed) { CALM_LOOK_EVERY } else { LOOK_EVERY }
    }

    /// Looks at how it goes, and passes on what the parts want of each other.
    pub fn look(&self) -> Look {
        let status = self.player.status();
        let (room, clock) = (self.room.load_full(), self.view.load_full());
        let machine = &self.nodes.dialer().world().clock;
        let clock = clock.filter(|view| view.holds(machine.as_ref()));
        let raw_ns = machine.raw_ns();
        let now = clock.as_ref().map(|view| view.map.at(raw_ns));
        self.sounding.store(status.state == PlayerState::Playing, Ordering::Relaxed);
        if let Some(room) = &room {
            // Without a clock the room's own last instant is the best guess at what will be needed first.
            self.want(room, now.unwrap_or_else(|| room.last_effective()));
        }
        self.report.send_replace(Some(self.own_report(&status, clock.as_deref())));
        let current = room.as_deref().zip(status.entry).and_then(|(room, entry)| room.entry(entry));
        let song_here = current.is_some_and(|entry| {
            let enough = status.frame + u64::from(entry.sample_rate);
            self.songs.has(&entry.track, status.frame, enough)
        });
        let followed = self.followed.load().as_deref().copied();
        Look { room, followed, clock, now, raw_ns, status, song_here }
    }

    /// What plays, to change its volume.
    pub fn player(&self) -> &Player {
        &self.player
    }

    /// The nodes that it knows.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// The room as far as it is known.
    pub fn room(&self) -> Option<Arc<Room>> {
        self.room.load_full()
    }

    /// Stops all parts, and waits until they have; what sounded last.
    pub async fn stop(mut self) -> PlayerStatus {
        let status = self.player.status();
        self.player.stop();
        self.clock.stop().await;
        self.tasks.shutdown().await;
        status
    }

    fn want(&self, room: &Room, now: SharedTime) {
        let mut wishes: Vec<Wish> = Vec::with_capacity(SONGS_AHEAD);
        let sounding = room.at(now);
        let following = room.next_after(now, SONGS_AHEAD).into_iter().map(|(_, entry)| entry);
        let current = sounding.entry.as_ref().map(|current| current.id);
        for entry in sounding.entry.clone().into_iter().chain(following).take(SONGS_AHEAD) {
            let position = if current == Some(entry.id) { sounding.position } else { Flicks(0) };
            let (frames, rate) = (entry.frames, entry.sample_rate);
            let frame = u64::try_from(position.as_frames(rate)).unwrap_or(0).min(frames);
            if wishes.iter().all(|wish| wish.track != entry.track) {
                wishes.push(Wish { track: entry.track, frame, frames, rate });
            }
        }
        self.wanted.send_if_modified(|old| {
            let changed = *old != wishes;
            *old = wishes;
            changed
        });
    }

    fn own_report(&self, status: &PlayerStatus, clock: Option<&ClockView>) -> wire::ListenerReport {
        wire::ListenerReport {
            room: self.room_code.as_str().to_owned(),
            user: self.user.clone(),
            device: status.device.clone(),
            state: status.state.as_str().to_owned(),
            offset_error_ns: clock.map(|view| view.bound_ns),
            buffer_ms: status.buffer_ms,
            underruns: status.underruns,
            kbps: status.kbps,
            silences: status.silence.times,
            silent_ns: status.silence.total_ns,
            receipt: self.songs.receipt(),
        }
    }
}
