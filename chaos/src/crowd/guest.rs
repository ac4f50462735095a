//! A listener: the real one, all of it but the terminal, with an ear on its device.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jam_client::audio::{OutputSpec, PlayerConfig, Sink, Trims, VIRTUAL_RATE, VirtualSpec};
use jam_client::connection::{Address, Bearer, Cluster, Dialer};
use jam_client::error::Failure;
use jam_client::listener::{Listener, ListenerConfig, Look};
use jam_client::news::News;
use jam_client::songs::disk::DiskCache;
use jam_client::songs::quality::Quality;
use jam_proto::ids::RoomCode;
use jam_world::World;
use tokio::time::{Instant, sleep};

use super::ear::{Ear, Known};
use super::{Scene, Song};
use crate::history::{ListenerSample, What};
use crate::promises::sometimes;
use crate::seed::Stream;

/// Where a listener keeps its songs, in its home.
const CACHE: &str = "songs";
const CACHE_BYTES: u64 = 64 << 20;
/// Between two looks at how it goes.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Somebody who could not join tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);
/// What devices are off, parts per million.
const DRIFT_PPM_MAX: i64 = 120;

/// True time by the clocks of one machine.
pub trait TrueClock: Send + Sync {
    /// When its CLOCK_MONOTONIC_RAW read so much, ns.
    fn true_at_raw(&self, raw_ns: i64) -> f64;
    /// When its CLOCK_MONOTONIC read so much, ns.
    fn true_at_mono(&self, mono_ns: i64) -> f64;
    /// How fast its CLOCK_MONOTONIC runs; true time: 1.
    fn mono_rate(&self) -> f64;
}

/// Somebody who listens to the scene's last room.
#[derive(Clone)]
pub struct Guest {
    name: String,
    clock: Arc<dyn TrueClock>,
    scene: Scene,
    room: RoomCode,
    drift_ppm: f64,
    lives: Arc<AtomicU32>,
}

impl Guest {
    /// On a machine with these clocks.
    pub fn new(name: &str, clock: Arc<dyn TrueClock>, scene: &Scene) -> Self {
        let mut draws = Stream::new(scene.seed, &format!("device of {name}"));
        let drift_ppm = draws.within(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX) as f64;
        let room = scene.rooms.last().expect("there is the host's").clone();
        let (name, scene) = (name.to_owned(), scene.clone());
        Self { name, clock, scene, room, drift_ppm, lives: Arc::default() }
    }

    /// Listens for as long as the process lives; joins again when it was refused.
    pub async fn listen(self, world: World) {
        loop {
            let life = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
            if let Err(failure) = self.join(&world, life).await {
                tracing::info!(listener = self.name, %failure, "can't listen");
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn join(&self, world: &World, life: u32) -> Result<(), Failure> {
        let dialer = Dialer::new(world.clone(), Bearer::default());
        let servers: Result<Vec<Address>, _> =
            self.scene.addresses.iter().map(|address| Address::parse(address)).collect();
        let servers = servers.map_err(|error| Failure::Usage(error.to_string()))?;
        let cluster = Cluster::find(dialer, servers, PATIENCE).await?;
        let cache = DiskCache::open(world, self.scene.home.join(CACHE), CACHE_BYTES);
        let ear = self.ear(life);
        let mut listener = Listener::start(ListenerConfig {
            dialer: cluster.dialer().clone(),
            cluster: cluster.id().to_vec(),
            addresses: cluster.addresses(),
            room: self.room.clone(),
            user: self.name.clone(),
            cache: cache.map_err(|error| Failure::local("no cache", error))?,
            quality: Quality::Original,
            player: PlayerConfig {
                normalizes: true,
                output: OutputSpec::Virtual(VirtualSpec { drift_ppm: self.drift_ppm, wav: None }),
                host: None,
                volume: 1.0,
                trim_ns: None,
                trims: Trims::default(),
                trace: None,
                sink: Some(Box::new(ear.clone())),
                urgent: false,
            },
        })?;
        let mut next = Instant::now();
        loop {
            next += LOOK_EVERY;
            loop {
                match listener.next(next.saturating_duration_since(Instant::now())).await {
                    Ok(Some(News::Changed { .. })) => {
                        self.scene.book.sometimes(sometimes::LEFT_OUTDATED_NODE);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(failure) => return self.leave(listener, &ear, failure).await,
                }
            }
            self.note(world, life, &listener.look(), &ear);
            // It stood still: nobody looks at what it was.
            next = next.max(Instant::now());
        }
    }

    async fn leave(&self, listener: Listener, ear: &Device, why: Failure) -> Result<(), Failure> {
        listener.stop().await;
        ear.ear().end();
        self.tell(ear);
        Err(why)
    }

    fn note(&self, world: &World, life: u32, look: &Look, ear: &Device) {
        let clock = look.clock.as_deref();
        // Readings take some of the step.
        let raw_ns = world.clock.raw_ns();
        self.scene.book.note(What::Listens(ListenerSample {
            listener: self.name.clone(),
            life,
            at_ns: self.clock.true_at_raw(raw_ns).round() as i64,
            room: self.room.as_str().to_owned(),
            revision: look.room.as_ref().map_or(0, |room| room.revision().0),
            epoch: clock.map_or(0, |clock| clock.epoch),
            term: clock.map_or(0, |clock| clock.term),
            shared: clock.map(|clock| clock.map.at(raw_ns).0),
            bound_ns: clock.map_or(i64::MAX, |clock| clock.bound_ns),
            unheard_ns: clock.map(|clock| (raw_ns - clock.standing.heard_raw_ns).max(0)),
            state: look.status.state.as_str().to_owned(),
            song_here: look.song_here || look.status.entry.is_none(),
        }));
        self.tell(ear);
    }

    fn tell(&self, ear: &Device) {
        let heard = ear.ear().heard();
        heard.into_iter().for_each(|stretch| self.scene.book.note(What::Heard(stretch)));
    }

    fn ear(&self, life: u32) -> Device {
        let known = |song: &Song| Known { track: song.track, length_ns: song.length_ns };
        let songs = self.scene.concert.iter().map(known).collect();
        Device {
            clock: self.clock.clone(),
            mono_frame_ns: 1e9 / (f64::from(VIRTUAL_RATE) * (1.0 + self.drift_ppm * 1e-6)),
            ear: Arc::new(Mutex::new(Ear::new(&self.name, life, songs))),
            begun: None,
        }
    }
}

/// What the device hands its sound to.
#[derive(Clone)]
struct Device {
    clock: Arc<dyn TrueClock>,
    mono_frame_ns: f64,
    ear: Arc<Mutex<Ear>>,
    /// A frame, and CLOCK_MONOTONIC when it began to sound, ns.
    begun: Option<(u64, i64)>,
}

impl Device {
    fn ear(&self) -> MutexGuard<'_, Ear> {
        self.ear.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, at_mono_ns: i64, sound: &[f32]) {
        let frame_ns = self.mono_frame_ns / self.clock.mono_rate();
        self.ear().hear(self.clock.true_at_mono(at_mono_ns), frame_ns, sound);
    }
}

impl Sink for Device {
    fn take(&mut self, first_frame: u64, at_mono_ns: i64, sound: &[f32]) {
        self.begun = Some((first_frame, at_mono_ns));
        self.hear(at_mono_ns, sound);
    }

    fn silence(&mut self, first_frame: u64, frames: u64) {
        let Some((frame, at_mono_ns)) = self.begun else { return };
        let since_ns = (first_frame - frame) as f64 * self.mono_frame_ns;
        self.hear(at_mono_ns + since_ns as i64, &vec![0.0; frames as usize * 2]);
    }
}
