//! What `jamd` is started with: flags, or `JAM_<FLAG>` from the environment.

mod access;
mod values;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jam_proto::level::FeatureLevel;
use jam_proto::limits::PLACE_MAX;
use jam_world::Detours;

use crate::blobs::StoreUrl;
use crate::raft::handle::Timing;
pub use access::{Access, AccessFlags};
pub use values::{ElectionMs, Ladder, Peers};
use values::{address, grace, ladder};

/// A Jam node: it keeps rooms and songs together with its peers.
#[derive(Clone, Debug, Parser)]
#[command(name = "jamd", version, after_help = EXAMPLE)]
pub struct Args {
    /// This node's place in --peers
    #[arg(long, env = "JAM_ID", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=PLACE_MAX))]
    pub id: u64,
    /// The folder that holds all that this node keeps
    #[arg(long, env = "JAM_DATA", value_name = "DIR")]
    pub data: PathBuf,
    /// Where to listen; other than loopback needs --token-file and --peer-token-file
    #[arg(long, env = "JAM_LISTEN", value_name = "HOST:PORT")]
    pub listen: String,
    /// The address that clients are told, and nodes too without --peer-listen [default: this node's in --peers; with --peer-listen: that of --listen]
    #[arg(long, env = "JAM_ADVERTISE", value_name = "HOST:PORT", value_parser = address)]
    pub advertise: Option<String>,
    /// Where to listen for the other nodes, apart from clients [default: where clients are listened for]
    #[arg(long, env = "JAM_PEER_LISTEN", value_name = "HOST:PORT")]
    pub peer_listen: Option<String>,
    /// The address that nodes are told, with --peer-listen [default: this node's in --peers]
    #[arg(long, env = "JAM_PEER_ADVERTISE", value_name = "HOST:PORT", value_parser = address, requires = "peer_listen")]
    pub peer_advertise: Option<String>,
    /// All the nodes of the cluster, this one included, and where nodes reach them
    #[arg(long, env = "JAM_PEERS", value_name = "1=HOST:PORT,2=…")]
    pub peers: Peers,
    /// Addresses and where to connect instead, for peers behind tunnels or forwarded ports
    #[arg(
        long,
        env = "JAM_CONNECT_TO",
        default_value = "",
        hide_default_value = true,
        value_name = "HOST:PORT=HOST:PORT,…"
    )]
    pub connect_to: Detours,
    /// Who may come in
    #[command(flatten)]
    pub access: AccessFlags,
    /// How often a leader says that it is there
    #[arg(long, env = "JAM_HEARTBEAT_MS", value_name = "MS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub heartbeat_ms: u64,
    /// After how long without a leader a follower asks for votes; nodes far apart need more
    #[arg(long, env = "JAM_ELECTION_MS", value_name = "MIN..MAX", default_value = "60..95")]
    pub election_ms: ElectionMs,
    /// The highest feature level that the cluster may rise to, to hold an upgrade back [default: what this build knows]
    #[arg(long, env = "JAM_LEVEL_MAX", value_name = "LEVEL")]
    pub level_max: Option<u32>,
    /// Log entries between two snapshots
    #[arg(long, env = "JAM_SNAPSHOT_EVERY", value_name = "ENTRIES", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(10..))]
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot, for followers that lag
    #[arg(long, env = "JAM_KEEP_ENTRIES", value_name = "ENTRIES", hide = true, default_value_t = Timing::default().keep_entries)]
    pub keep_entries: u64,
    /// How to log to standard error
    #[arg(long, env = "JAM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to log, as a tracing filter
    #[arg(
        long,
        env = "JAM_LOG",
        value_name = "FILTER",
        default_value = "info,openraft=error,sled=warn,h2=warn,object_store=warn"
    )]
    pub log: String,
    /// Threads that serve requests; the disk and decoding have their own [default: half the cores, 1 to 4]
    #[arg(long, env = "JAM_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// How fast songs on the disk are read to check them, in megabytes a second
    #[arg(long, env = "JAM_SCRUB_MB_PER_S", value_name = "MB", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub scrub_mb_per_s: u64,
    /// The bitrates that songs are rendered at for poor lines, in kbit/s of Opus, or none
    #[arg(long, env = "JAM_RENDITIONS", value_name = "24,96,…|none", default_value = "24,96,160,320", value_parser = ladder)]
    pub renditions: Ladder,
    /// How much of the disk the songs' segments may take, in megabytes: they are cut again when they are missing
    #[arg(long, env = "JAM_PACKS_MB", value_name = "MB", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(1..))]
    pub packs_mb: u64,
    /// How much memory the segments that are asked for most may take, in megabytes
    #[arg(long, env = "JAM_HOT_MB", value_name = "MB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub hot_mb: u64,
    /// After how long a song that no room needs goes: queued, current and played songs are needed
    #[arg(long, env = "JAM_FORGET_AFTER", value_name = "7d|12h|30m", default_value = "7d", value_parser = grace)]
    pub forget_after: Duration,
    /// Where to keep a copy of every song besides the nodes: s3://BUCKET/PREFIX (with AWS_ENDPOINT and the like) or file:///FOLDER
    #[arg(long, env = "JAM_SONGS_STORE", value_name = "URL")]
    pub songs_store: Option<StoreUrl>,
    /// Where to write down all that this node applies and what it says of the time, for `jam-chaos`
    #[arg(long, env = "JAM_RECORD", value_name = "FILE", hide = true)]
    pub record: Option<PathBuf>,
    /// After how long without a listener a playing room is paused
    #[arg(long, env = "JAM_UNHEARD_MS", hide = true, default_value_t = 60_000)]
    pub unheard_ms: u64,
}

const EXAMPLE: &str = "\
Example, three nodes on one machine (start each in its own terminal, with its own --id, --data and --listen):
  jamd --id 1 --data ./n1 --listen 127.0.0.1:7701 --peers 1=127.0.0.1:7701,2=127.0.0.1:7702,3=127.0.0.1:7703

The cluster forms by itself once all of them are up. A node with data on disk resumes.";

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// The flags, checked against each other.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's place.
    pub place: u64,
    /// Its data folder.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What clients are told.
    pub advertise: String,
    /// Where it listens for nodes, if they have a door of their own.
    pub peer_listen: Option<SocketAddr>,
    /// What nodes are told.
    pub peer_advertise: String,
    /// All places, this one included.
    pub peers: BTreeMap<u64, String>,
    /// Who may come in.
    pub access: Access,
    /// Raft's numbers.
    pub timing: Timing,
    /// The highest feature level that the cluster may rise to.
    pub level_max: FeatureLevel,
    /// Threads that serve requests.
    pub workers: usize,
    /// When an unheard room is paused.
    pub unheard_ms: u64,
    /// How fast songs are read to check them.
    pub scrub_mb_per_s: u64,
    /// The bitrates that songs are rendered at, in kbit/s.
    pub renditions: Vec<u32>,
    /// Bytes of packs of segments on the disk.
    pub packs_bytes: u64,
    /// Bytes of segments in memory.
    pub hot_bytes: u64,
    /// When a song that no room needs is forgotten.
    pub forget_after: Duration,
    /// Where songs are kept besides the nodes.
    pub songs_store: Option<StoreUrl>,
}

/// Half the cores, since the store's threads and decoding need some too, and more than a few only
/// wake each other.
fn workers_by_default() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4)
}

/// What is wrong with the flags.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// They don't fit together.
    #[error("{0}")]
    Usage(String),
    /// A file they name can't be used.
    #[error("{0}")]
    File(String),
}

impl Args {
    /// Checks what the flags say together, and reads the tokens.
    pub fn check(self) -> Result<Config, ConfigError> {
        let usage = |message: String| Err(ConfigError::Usage(message));
        let Some(own) = self.peers.0.get(&self.id) else {
            return usage(format!(
                "--peers does not name node {}; it lists all nodes, this one included",
                self.id
            ));
        };
        let listen = resolve("--listen", &self.listen)?;
        let peer_listen = self.peer_listen.as_deref();
        let peer_listen = peer_listen.map(|at| resolve("--peer-listen", at)).transpose()?;
        if self.heartbeat_ms * 2 > self.election_ms.min {
            return usage(format!(
                "--election-ms {} must be at least twice --heartbeat-ms {}",
                self.election_ms.min, self.heartbeat_ms
            ));
        }
        let (advertise, peer_advertise) = match (peer_listen, self.advertise.clone()) {
            (None, advertise) => {
                let advertise = advertise.unwrap_or_else(|| own.clone());
                (advertise.clone(), advertise)
            }
            (Some(_), Some(advertise)) => {
                (advertise, self.peer_advertise.clone().unwrap_or_else(|| own.clone()))
            }
            (Some(_), None) if listen.ip().is_unspecified() || listen.port() == 0 => {
                return usage(format!(
                    "--listen {} is no address to tell clients; give it with --advertise",
                    self.listen
                ));
            }
            (Some(_), None) => {
                (self.listen.clone(), self.peer_advertise.clone().unwrap_or_else(|| own.clone()))
            }
        };
        if peer_listen == Some(listen) {
            return usage(format!("--peer-listen {listen} is where clients are listened for"));
        }
        let doors = [Some(("--listen", listen)), peer_listen.map(|at| ("--peer-listen", at))];
        let access = self.access.check(&self.listen, doors.into_iter().flatten(), &advertise)?;
        Ok(Config {
            place: self.id,
            data: self.data,
            listen,
            advertise,
            peer_listen,
            peer_advertise,
            peers: self.peers.0,
            access,
            timing: Timing {
                heartbeat_ms: self.heartbeat_ms,
                election_ms_min: self.election_ms.min,
                election_ms_max: self.election_ms.max,
                snapshot_every: self.snapshot_every,
                keep_entries: self.keep_entries,
                ..Timing::default()
            },
            // A level above what this build knows would stop it, and every node of its release.
            level_max: self.level_max.map_or(FeatureLevel::CURRENT, |level| {
                FeatureLevel(level).min(FeatureLevel::CURRENT)
            }),
            workers: self.workers.map_or_else(workers_by_default, usize::from),
            unheard_ms: self.unheard_ms,
            scrub_mb_per_s: self.scrub_mb_per_s,
            renditions: self.renditions.0.clone(),
            packs_bytes: self.packs_mb.saturating_mul(1_000_000),
            hot_bytes: self.hot_mb * 1_000_000,
            forget_after: self.forget_after,
            songs_store: self.songs_store,
        })
    }
}

fn resolve(flag: &str, listen: &str) -> Result<SocketAddr, ConfigError> {
    let addresses = listen.to_socket_addrs().map_err(|error| {
        ConfigError::Usage(format!(
            "{flag} '{listen}' is no address: {error}; it looks like 127.0.0.1:7701"
        ))
    })?;
    addresses
        .into_iter()
        .next()
        .ok_or_else(|| ConfigError::Usage(format!("{flag} '{listen}' has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("jamd").chain(flags.split_whitespace()))
    }

    const GOOD: &str = "--id 2 --data d --listen 127.0.0.1:0 --peers 1=a:1,2=b:2,3=c:3";

    #[test]
    fn the_flags_and_their_defaults() {
        let config = parse(GOOD).expect("flags").check().expect("they fit");
        assert_eq!(config.advertise, "b:2");
        assert_eq!(
            (
                config.timing.election_ms_min,
                config.timing.election_ms_max,
                config.timing.heartbeat_ms
            ),
            (60, 95, 30)
        );
        assert!(config.access.token.is_none());
        assert_eq!(config.forget_after, Duration::from_secs(7 * 24 * 3600));
    }

    #[test]
    fn a_node_allows_no_level_that_its_build_does_not_know() {
        for (flag, allowed) in [
            ("", FeatureLevel::CURRENT),
            ("--level-max 0", FeatureLevel::FIRST),
            ("--level-max 99", FeatureLevel::CURRENT),
        ] {
            let config =
                parse(&format!("{GOOD} {flag}")).expect("flags").check().expect("they fit");
            assert_eq!(config.level_max, allowed, "{flag}");
        }
    }

    #[test]
    fn each_door_has_an_address() {
        let checked = |flags: &str| parse(&format!("{GOOD} {flags}")).expect("flags").check();
        let told = |flags: &str| {
            let config = checked(flags).expect("they fit");
            (config.advertise, config.peer_advertise)
        };
        let both = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(told("--advertise x:9"), both("x:9", "x:9"));
        let apart = "--peer-listen 127.0.0.1:8";
        assert_eq!(told(&format!("{apart} --advertise x:9")), both("x:9", "b:2"));
        let all = format!("{apart} --advertise x:9 --peer-advertise y:9");
        assert_eq!(told(&all), both("x:9", "y:9"));
        let refusal = |flags: &str| checked(flags).expect_err(flags).to_string();
        assert!(refusal(apart).contains("--advertise"), "a port that the system chooses");
        let open = refusal("--advertise x:9 --peer-listen 0.0.0.0:8");
        assert!(open.contains("--peer-listen 0.0.0.0:8 is reachable"), "{open}");
        assert!(parse(&format!("{GOOD} --peer-advertise y:9")).is_err());
    }

    #[test]
    fn wrong_flags_are_named() {
        for (flags, said) in [
            (GOOD.replace("2=b:2", "2=b"), "'b' is no address"),
            (GOOD.replace("2=b:2", "1=b:2"), "named twice"),
            (GOOD.replace("--id 2", "--id 0"), "0"),
            (format!("{GOOD} --election-ms 120..75"), "60..95"),
            (format!("{GOOD} --forget-after 0m"), "7d, 12h or 30m"),
            (format!("{GOOD} --forget-after ä"), "7d, 12h or 30m"),
            (format!("{GOOD} --scrub-mb-per-s 0"), "1..=10000"),
            (format!("{GOOD} --renditions 24,5"), "6 to 510"),
            (format!("{GOOD} --packs-mb 0"), "1.."),
            (format!("{GOOD} --hot-mb x"), "x"),
            (format!("{GOOD} --songs-store /srv/songs"), "file:///folder"),
            (format!("{GOOD} --public-url jam.local"), "http://jam.example.net:7701"),
        ] {
            let error = parse(&flags).expect_err(&flags).to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse(&GOOD.replace("--id 2", "--id 100")).is_err(), "ids above are replacements'");
        let strange = parse(&GOOD.replace("--id 2", "--id 9")).expect("flags").check();
        assert!(strange.expect_err("not a peer").to_string().contains("node 9"));
    }
}
