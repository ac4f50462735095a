//! `jam join`: listen.
//!
//! Starts the parts that need each other only through what they publish, and then only looks on: the follower keeps the room,
//! the clock keeps shared time, the cache fetches songs, and the player plays from these three. Whatever falls silent, the others
//! go on with what they have.

mod keys;
mod line;
mod notices;
mod presence;
mod screen;
mod summary;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jam_proto::ids::TrackId;
use jam_proto::room::Room;
use jam_proto::time::SharedTime;
use jam_proto::wire::v1 as wire;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::audio::{
    self, ClockView, OutputSpec, Player, PlayerConfig, PlayerInputs, PlayerState, PlayerStatus,
    SongSource,
};
use crate::cli::{JoinArgs, Options};
use crate::clock::{Clock, ClockConfig};
use crate::error::Failure;
use crate::follow::Follower;
use crate::news::{News, Reporter};
use crate::nodes::Nodes;
use crate::output::Output;
use crate::songs::cache::SongCache;
use crate::songs::disk::DiskCache;
use crate::text;
use keys::Key;
use line::LineView;
use notices::Notices;
use screen::Screen;
use summary::Summary;

/// How often the line is drawn and the parts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Without a line to draw, while nothing is waited for.
const CALM_LOOK_EVERY: Duration = Duration::from_millis(500);
/// Songs that are fetched ahead, the current one included.
const SONGS_AHEAD: usize = 4;
const VOLUME_STEP: u8 = 5;

/// Lists the devices that `--output` takes.
pub fn outputs(host: Option<&str>, output: Output) -> Result<(), Failure> {
    let found =
        audio::list_outputs(host).map_err(|error| Failure::refused("audio", error.to_string()))?;
    if found.is_empty() {
        output.remark("no audio device was found; `jam join --output virtual` plays without one");
    }
    for device in found {
        let default = if device.default { "  (default)" } else { "" };
        output.show(
            || json!({"id": device.id, "name": device.name, "default": device.default}),
            || format!("{}  {}{default}", text::pad(&device.id, 32), text::clean(&device.name)),
        );
    }
    Ok(())
}

/// Listens until the time is over, a key or a signal ends it.
pub async fn join(options: &Options, args: JoinArgs, output: Output) -> Result<(), Failure> {
    let spec = OutputSpec::parse(args.output.as_deref().unwrap_or("default"));
    let spec = spec.map_err(|error| Failure::Usage(error.to_string()))?;
    let user = options.user()?;
    let leave_at = args.stay.map(|stay| Instant::now() + stay);
    let cache_dir = options.cache_dir()?.join("songs");
    let cannot = |error| {
        Failure::local(format!("can't use the song cache in {}", cache_dir.display()), error)
    };
    let disk = DiskCache::open(cache_dir.clone(), args.cache_mb.saturating_mul(1 << 20))
        .map_err(cannot)?;
    let cluster = options.find().await?;

    let nodes = Nodes::new(cluster.dialer().clone(), cluster.addresses());
    let (reporter, news) = Reporter::new();
    let room: Arc<ArcSwapOption<Room>> = Arc::default();
    let view: Arc<ArcSwapOption<ClockView>> = Arc::default();
    let sounding = Arc::new(AtomicBool::new(false));
    let (report, reports) = watch::channel(None);
    let (wanted, wants) = watch::channel(Vec::new());
    let songs = SongCache::new(disk, nodes.clone(), reporter.clone());

    let clock = Clock::start(ClockConfig {
        nodes: nodes.clone(),
        cluster: cluster.id().to_vec(),
        view: view.clone(),
        sounding: sounding.clone(),
        report: reports,
        reporter: reporter.clone(),
    })?;
    let follower = Follower::new(
        nodes.clone(),
        args.room.clone(),
        room.clone(),
        cluster.id().to_vec(),
        reporter.clone(),
    );
    let config = PlayerConfig {
        output: spec,
        host: args.host.clone(),
        volume: f32::from(args.volume) / 100.0,
        trim_ns: (args.trim_ms * 1e6) as i64,
        trace: args.trace.clone(),
    };
    let inputs = PlayerInputs { room: room.clone(), clock: view.clone(), songs: songs.clone() };
    let player = Player::start(config, inputs)
        .map_err(|error| Failure::refused("audio", error.to_string()))?;

    let mut tasks = JoinSet::new();
    tasks.spawn(songs.clone().run(wants));
    let here = presence::watch(nodes, args.room.clone(), &mut tasks);
    let screen = Screen::open(output, args.headless);
    let mut listening = Listening {
        machine: cluster.dialer().world().clock.clone(),
        notices: Notices::new(output.is_json()),
        summary: Summary::default(),
        volume: args.volume,
        muted: false,
        args,
        user,
        room,
        view,
        sounding,
        report,
        wanted,
        songs,
        here,
        player,
        screen,
    };
    let ended = listening.run(follower, news, leave_at).await;
    let Listening { player, mut screen, summary, .. } = listening;
    let status = player.status();
    player.stop();
    // Ends the time exchange, by which the leader learns that we have left.
    drop(clock);
    tasks.shutdown().await;
    screen.close();
    ended?;
    output.show(|| summary.to_json(&status), || summary.to_text(&status));
    Ok(())
}

struct Listening {
    machine: Arc<dyn jam_world::Clock>,
    args: JoinArgs,
    user: String,
    room: Arc<ArcSwapOption<Room>>,
    view: Arc<ArcSwapOption<ClockView>>,
    sounding: Arc<AtomicBool>,
    report: watch::Sender<Option<wire::ListenerReport>>,
    wanted: watch::Sender<Vec<TrackId>>,
    songs: Arc<SongCache>,
    here: watch::Receiver<Vec<wire::Listener>>,
    player: Player,
    screen: Screen,
    notices: Notices,
    summary: Summary,
    volume: u8,
    muted: bool,
}

impl Listening {
    async fn run(
        &mut self,
        follower: Follower,
        mut news: mpsc::Receiver<News>,
        leave_at: Option<Instant>,
    ) -> Result<(), Failure> {
        let no_signals = |error| Failure::local("can't listen for signals", error);
        let mut interrupted = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut hung_up = signal(SignalKind::hangup()).map_err(no_signals)?;
        let mut keys = keys::read(self.screen.is_live());
        let mut following = std::pin::pin!(follower.run());
        let over = async {
            match leave_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        loop {
            tokio::select! {
                refused = &mut following => return Err(refused),
                Some(news) = news.recv() => {
                    self.player.wake();
                    let room = self.room.load_full();
                    let lines = self.notices.of(&news, room.as_deref());
                    lines.into_iter().for_each(|line| self.screen.tell(line));
                    self.look();
                }
                () = sleep(self.look_every()) => self.look(),
                Some(key) = keys.recv() => {
                    if self.press(key) {
                        return Ok(());
                    }
                }
                () = &mut over => return Ok(()),
                _ = interrupted.recv() => return Ok(()),
                _ = terminated.recv() => return Ok(()),
                _ = hung_up.recv() => return Ok(()),
            }
        }
    }

    fn look_every(&self) -> Duration {
        let calm = self.sounding.load(Ordering::Relaxed) && !self.screen.is_live();
        if calm { CALM_LOOK_EVERY } else { LOOK_EVERY }
    }

    /// Looks at how it goes, and passes on what the parts want of each other.
    fn look(&mut self) {
        let status = self.player.status();
        let playing = status.state == PlayerState::Playing;
        self.sounding.store(playing, Ordering::Relaxed);
        let view = self.view.load_full();
        let room = self.room.load_full();
        let now = view.as_ref().map(|view| view.map.at(self.machine.raw_ns()));
        if let Some(room) = &room {
            // Without a clock the room's own last instant is the best guess at what will be needed first.
            self.want(room, now.unwrap_or_else(|| room.last_effective()));
        }
        let bound_ns = view.as_ref().map(|view| view.bound_ns);
        self.summary.look(&status, bound_ns);
        self.report.send_replace(Some(self.own_report(&status, bound_ns)));
        let current = room.as_deref().zip(status.entry).and_then(|(room, entry)| room.entry(entry));
        let song_here = current.is_some_and(|entry| self.songs.path(&entry.track).is_some());
        for line in self.notices.of_status(&status, song_here, room.as_deref()) {
            self.screen.tell(line);
        }
        if self.screen.is_live() {
            let line = LineView {
                room: room.as_deref(),
                now,
                bound_ns,
                status: &status,
                song_here,
                here: &self.here.borrow(),
                volume: self.volume,
                muted: self.muted,
            };
            self.screen.draw(line.lines(screen::width()));
        }
    }

    fn want(&self, room: &Room, now: SharedTime) {
        let mut tracks: Vec<TrackId> = Vec::with_capacity(SONGS_AHEAD);
        for entry in room.queue_at(now).into_iter().take(SONGS_AHEAD) {
            if !tracks.contains(&entry.track) {
                tracks.push(entry.track);
            }
        }
        self.wanted.send_if_modified(|old| {
            let changed = *old != tracks;
            *old = tracks;
            changed
        });
    }

    fn own_report(&self, status: &PlayerStatus, bound_ns: Option<i64>) -> wire::ListenerReport {
        wire::ListenerReport {
            room: self.args.room.as_str().to_owned(),
            user: self.user.clone(),
            device: status.device.clone(),
            state: status.state.as_str().to_owned(),
            offset_error_ns: bound_ns.unwrap_or(0),
            buffer_ms: status.buffer_ms,
            underruns: status.underruns,
        }
    }

    /// Does what a key says; true: leave.
    fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => return true,
            Key::Louder => self.set_volume(self.volume.saturating_add(VOLUME_STEP).min(100)),
            Key::Softer => self.set_volume(self.volume.saturating_sub(VOLUME_STEP)),
            Key::Mute => {
                self.muted = !self.muted;
                self.player.set_muted(self.muted);
            }
            Key::Redraw => {}
        }
        self.look();
        false
    }

    fn set_volume(&mut self, volume: u8) {
        self.volume = volume;
        self.player.set_volume(f32::from(volume) / 100.0);
    }
}
