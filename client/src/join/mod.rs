//! `jam join`: listen, in a terminal.
//!
//! A [`Listener`] does it; here are the line that shows how it goes, the keys, and the signals that end it.

mod followed;
pub(crate) mod keys;
mod line;
mod notices;
mod presence;
pub(crate) mod screen;
mod summary;
mod sync;
mod unheard;

use std::time::Duration;

use jam_proto::wire::v1 as wire;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::audio::{self, OutputSpec, PlayerConfig};
use crate::cli::{JoinArgs, Options};
use crate::error::Failure;
use crate::listener::{Listener, ListenerConfig};
use crate::news::{News, Unheard};
use crate::output::Output;
use crate::signals::EndSignals;
use crate::songs::disk::DiskCache;
use crate::text;
use keys::Key;
use line::LineView;
use notices::Notices;
use screen::Screen;
use summary::Summary;
use sync::Sync;

/// How often the line is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);
const VOLUME_STEP: u8 = 5;
/// How often programs are told how well it is in time.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Lists the devices that `--output` takes.
pub fn outputs(options: &Options, host: Option<&str>, output: Output) -> Result<(), Failure> {
    let trims = options.trims()?;
    let found =
        audio::list_outputs(host).map_err(|error| Failure::refused("audio", error.to_string()))?;
    if found.is_empty() {
        output.remark("no audio device was found; `jam join --output virtual` plays without one");
    }
    for device in found {
        let default = if device.default { "  (default)" } else { "" };
        let trim_ms = trims.ms(&device.id);
        let trim = trim_ms.map_or_else(String::new, |ms| format!("  trim {ms:+} ms"));
        output.show(
            || json!({"id": device.id, "name": device.name, "default": device.default, "trim_ms": trim_ms}),
            || format!("{}  {}{default}{trim}", text::pad(&device.id, 32), text::clean(&device.name)),
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
    let dialer = options.dialer()?;
    let bytes_max = args.cache_mb.saturating_mul(1 << 20);
    let cache = DiskCache::open(dialer.world(), cache_dir.clone(), bytes_max).map_err(cannot)?;
    let cluster = options.find().await?;
    let listener = Listener::start(ListenerConfig {
        dialer: cluster.dialer().clone(),
        cluster: cluster.id().to_vec(),
        addresses: cluster.addresses(),
        room: args.room.clone(),
        user,
        cache,
        quality: args.quality,
        player: PlayerConfig {
            output: spec,
            host: args.host.clone(),
            volume: f32::from(args.volume) / 100.0,
            normalizes: !args.no_normalize,
            trim_ns: args.trim_ms.map(|ms| (ms * 1e6) as i64),
            trims: options.trims()?,
            trace: args.trace.clone(),
            sink: None,
            urgent: true,
        },
    })?;

    let mut tasks = JoinSet::new();
    let mut listening = Listening {
        here: presence::watch(listener.nodes().clone(), args.room, &mut tasks),
        listener,
        notices: Notices::new(output.is_json()),
        summary: Summary::default(),
        volume: args.volume,
        muted: false,
        in_detail: false,
        unheard: None,
        is_json: output.is_json(),
        synced_at: None,
        screen: Screen::open(output, args.headless),
    };
    let ended = listening.run(leave_at).await;
    let Listening { listener, mut screen, summary, .. } = listening;
    let status = listener.stop().await;
    tasks.shutdown().await;
    screen.close();
    ended?;
    output.show(|| summary.to_json(&status), || summary.to_text(&status));
    Ok(())
}

struct Listening {
    listener: Listener,
    here: watch::Receiver<Vec<wire::Listener>>,
    screen: Screen,
    notices: Notices,
    summary: Summary,
    volume: u8,
    muted: bool,
    in_detail: bool,
    /// Why no leader's clock is heard, while none is.
    unheard: Option<Unheard>,
    is_json: bool,
    /// When programs were told last how well it is in time.
    synced_at: Option<Instant>,
}

impl Listening {
    async fn run(&mut self, leave_at: Option<Instant>) -> Result<(), Failure> {
        let no_signals = |error| Failure::local("can't listen for signals", error);
        let mut end = EndSignals::listen().map_err(no_signals)?;
        let mut keys = keys::read(self.screen.is_live(), keys::meaning, || Key::Quit);
        let over = async {
            match leave_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut over = std::pin::pin!(over);
        loop {
            let within =
                if self.screen.is_live() { DRAW_EVERY } else { self.listener.look_every() };
            tokio::select! {
                happened = self.listener.next(within) => {
                    if let Some(news) = happened? {
                        match &news {
                            News::Unheard { why, .. } => self.unheard = Some(why.clone()),
                            News::Leader { .. } => self.unheard = None,
                            _ => {}
                        }
                        let room = self.listener.room();
                        let lines = self.notices.of(&news, room.as_deref());
                        lines.into_iter().for_each(|line| self.screen.tell(line));
                    }
                    self.look();
                }
                Some(key) = keys.recv() => {
                    if self.press(key) {
                        return Ok(());
                    }
                }
                () = &mut over => return Ok(()),
                () = end.recv() => return Ok(()),
            }
        }
    }

    /// Shows how it goes.
    fn look(&mut self) {
        let look = self.listener.look();
        let room = look.room.as_deref();
        let bound_ns = look.clock.as_ref().map(|view| view.bound_ns);
        self.summary.look(&look.status, bound_ns);
        for line in self.notices.of_status(&look.status, look.song_here, room) {
            self.screen.tell(line);
        }
        let sync = Sync { clock: look.clock.as_deref(), raw_ns: look.raw_ns, status: &look.status };
        if self.is_json && self.synced_at.is_none_or(|at| at.elapsed() >= SYNC_EVERY) {
            self.synced_at = Some(Instant::now());
            let mut line = sync.to_json();
            followed::put_into(&mut line, look.followed);
            self.screen.tell(line.to_string());
        }
        if self.screen.is_live() {
            let line = LineView {
                room,
                now: look.now,
                followed: look.followed,
                unheard: self.unheard.as_ref(),
                sync,
                in_detail: self.in_detail,
                status: &look.status,
                song_here: look.song_here,
                here: &self.here.borrow(),
                volume: self.volume,
                muted: self.muted,
            };
            self.screen.draw(line.lines(screen::width()));
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
                self.listener.player().set_muted(self.muted);
            }
            Key::Detail => self.in_detail = !self.in_detail,
            Key::Redraw => {}
        }
        self.look();
        false
    }

    fn set_volume(&mut self, volume: u8) {
        self.volume = volume;
        self.listener.player().set_volume(f32::from(volume) / 100.0);
    }
}
