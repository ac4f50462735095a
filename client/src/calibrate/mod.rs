//! `jam calibrate`: by how much later than it says an output sounds.
//!
//! Sound cards tell when a frame sounds, but not what headphones or receivers behind them add. Clicks at every whole second of
//! shared time show it: to a microphone, or to an ear beside another machine that clicks too.

mod clicks;
mod ear;
mod microphone;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use cpal::traits::DeviceTrait;
use jam_proto::time::{Flicks, SharedTime};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::audio::cpal_device::{find, open_host};
use crate::audio::{AudioError, ClockView, OutputSpec, Player, PlayerConfig, PlayerInputs, Trims};
use crate::cli::{CalibrateArgs, Options};
use crate::clock::{Clock, ClockConfig};
use crate::error::Failure;
use crate::news::Reporter;
use crate::nodes::Nodes;
use crate::output::Output;
use clicks::Clicks;
use microphone::{LISTEN_S, Microphone, NotHeard};

/// How long the leader's clock is waited for.
const CLOCK_WAIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Until the clicks are in place.
const SETTLES: Duration = Duration::from_secs(3);

/// Finds out an output's trim and keeps it.
pub async fn run(options: &Options, args: CalibrateArgs, output: Output) -> Result<(), Failure> {
    let refused = |error: AudioError| Failure::refused("audio", error.to_string());
    let host = open_host(args.host.as_deref()).map_err(refused)?;
    let wanted = args.output.as_deref().filter(|name| *name != "default");
    let device = find(&host, wanted).map_err(refused)?;
    let id = device.id().map_err(|error| Failure::refused("audio", error.to_string()))?.to_string();
    let mut trims = options.trims()?;
    let trim_ms = match (args.clear, args.set) {
        (true, _) => None,
        (_, Some(ms)) => Some(ms),
        _ => {
            let bench = Bench::start(options, &args, trims.clone()).await?;
            let found = bench.measure(&host, &args, output, trims.ms(&id)).await;
            bench.stop().await;
            match found? {
                Some(ms) => Some(ms),
                None => return Ok(()),
            }
        }
    };
    let path = Trims::path(&options.state_dir()?);
    trims.set(&id, trim_ms);
    trims
        .save(&path)
        .map_err(|error| Failure::local(format!("can't write {}", path.display()), error))?;
    output.show(
        || json!({"output": id, "trim_ms": trim_ms}),
        || match trim_ms {
            Some(ms) => format!("{id} sounds {ms:+} ms later than it says; kept for `jam join`"),
            None => format!("{id} is taken at its word again"),
        },
    );
    Ok(())
}

/// Shared time, and clicks by it.
struct Bench {
    clock: Clock,
    view: Arc<ArcSwapOption<ClockView>>,
    machine: Arc<dyn jam_world::Clock>,
    player: Player,
}

impl Bench {
    async fn start(options: &Options, args: &CalibrateArgs, trims: Trims) -> Result<Self, Failure> {
        let cluster = options.find().await?;
        let nodes = Nodes::new(cluster.dialer().clone(), cluster.addresses());
        let world = cluster.dialer().world().clone();
        let view: Arc<ArcSwapOption<ClockView>> = Arc::default();
        let (reporter, _news) = Reporter::new();
        let clock = Clock::start(ClockConfig {
            nodes,
            cluster: cluster.id().to_vec(),
            view: view.clone(),
            sounding: Arc::default(),
            report: watch::channel(None).1,
            commits: Arc::default(),
            reporter,
        })?;
        let machine = world.clock.clone();
        let now = shared_now(&view, machine.as_ref()).await?;
        let config = PlayerConfig {
            output: OutputSpec::Device(args.output.clone().filter(|name| name != "default")),
            host: args.host.clone(),
            volume: 1.0,
            normalizes: false,
            trim_ns: None,
            trims,
            trace: None,
            sink: None,
            urgent: true,
        };
        let inputs = PlayerInputs {
            room: Arc::new(ArcSwapOption::new(Some(clicks::room(now)))),
            clock: view.clone(),
            songs: Arc::new(Clicks),
        };
        let player = Player::start(&world, config, inputs)
            .map_err(|error| Failure::refused("audio", error.to_string()))?;
        Ok(Self { clock, view, machine, player })
    }

    /// The trim in milliseconds; none if whoever listens gave up.
    async fn measure(
        &self,
        host: &cpal::Host,
        args: &CalibrateArgs,
        output: Output,
        known_ms: Option<f64>,
    ) -> Result<Option<f64>, Failure> {
        if !args.by_ear {
            match self.hear(host, output).await {
                Ok(delay_ns) => return Ok(Some((delay_ns as f64 / 1e5).round() / 10.0)),
                Err(why) => output.remark(&format!("{why}; by ear then")),
            }
        }
        ear::adjust(&self.player, known_ms.unwrap_or(0.0), output).await
    }

    /// By microphone.
    async fn hear(&self, host: &cpal::Host, output: Output) -> Result<i64, NotHeard> {
        let microphone = Microphone::open(host)?;
        self.player.set_trim(0);
        output.remark(&format!(
            "listening to {LISTEN_S} clicks; keep the microphone near the speaker"
        ));
        sleep(SETTLES).await;
        let lost = || NotHeard::NoMicrophone("the leader's clock is lost".to_owned());
        let began = self.view.load_full().ok_or_else(lost)?.map.at(self.machine.raw_ns());
        sleep(Duration::from_secs(LISTEN_S / 2)).await;
        // In the middle of it, so that two clocks that run apart matter least.
        let (heard_ns, raw_ns) = (microphone.now_ns(), self.machine.raw_ns());
        let view = self.view.load_full().ok_or_else(lost)?;
        sleep(Duration::from_secs(LISTEN_S / 2 + 1)).await;
        let recording = microphone.stop();
        let first = u64::try_from(began.as_nanos() / 1_000_000_000).unwrap_or(0) + 1;
        microphone::delay(&recording, first, LISTEN_S, |second| {
            let at = SharedTime(Flicks::from_secs(second as i64).0);
            view.map.raw_at(at) - raw_ns + heard_ns
        })
    }

    async fn stop(self) {
        self.player.stop();
        self.clock.stop().await;
    }
}

/// Shared time, as soon as it is known.
async fn shared_now(
    view: &ArcSwapOption<ClockView>,
    machine: &dyn jam_world::Clock,
) -> Result<SharedTime, Failure> {
    let began = Instant::now();
    loop {
        if let Some(view) = view.load_full() {
            return Ok(view.map.at(machine.raw_ns()));
        }
        if began.elapsed() > CLOCK_WAIT {
            return Err(Failure::refused(
                "unavailable",
                "no leader's clock answers; see `jam cluster status`, and try again",
            ));
        }
        sleep(LOOK_EVERY).await;
    }
}
