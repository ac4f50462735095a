//! The commands and their own arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};
use jam_proto::ids::{RoomCode, TrackId};
use jam_proto::time::Flicks;

use super::{position, seconds};
use crate::audio::TRIM_MS_MAX;
use crate::songs::quality::Quality;

/// What `jam` does.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Make a room and print its code
    #[command(after_help = "Example:\n  jam create \"Friday night\"")]
    Create {
        /// What people will call it
        name: String,
    },
    /// Give a room another name; its code stays
    #[command(after_help = "Example:\n  jam rename ABCD-EFGH-JKMN \"Saturday night\"")]
    Rename {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
        /// What people will call it
        name: String,
    },
    /// List the rooms
    #[command(after_help = "Example:\n  jam rooms --json")]
    Rooms,
    /// Show what sounds now, what comes next, and who is here
    #[command(after_help = "Example:\n  jam status ABCD-EFGH-JKMN")]
    Status {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
    },
    /// Upload songs and put them in the queue; a folder is added in the order of its tags
    #[command(
        after_help = "Examples:\n  jam add ABCD-EFGH-JKMN song.flac\n  jam add ABCD-EFGH-JKMN --next song.mp3 album/"
    )]
    Add(AddArgs),
    /// Start the music
    #[command(after_help = "Example:\n  jam play ABCD-EFGH-JKMN")]
    Play {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
    },
    /// Stop the music where it is
    #[command(after_help = "Example:\n  jam pause ABCD-EFGH-JKMN")]
    Pause {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
    },
    /// Move to a position in the current song
    #[command(
        after_help = "Examples:\n  jam seek ABCD-EFGH-JKMN 1:30\n  jam seek ABCD-EFGH-JKMN 90.250"
    )]
    Seek {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
        /// As 90, 1:30 or 1:30.250
        #[arg(value_parser = position::parse)]
        position: Flicks,
    },
    /// End the current song; two people who skip at once skip one song
    #[command(
        after_help = "Examples:\n  jam skip ABCD-EFGH-JKMN\n  jam skip ABCD-EFGH-JKMN --entry 17"
    )]
    Skip {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
        /// Only if this entry is still the current one [default: what is current now]
        #[arg(long, env = "JAM_ENTRY", value_name = "ENTRY", value_parser = clap::value_parser!(u64).range(1..))]
        entry: Option<u64>,
    },
    /// Go back to the song before, from its start
    #[command(after_help = "Example:\n  jam back ABCD-EFGH-JKMN")]
    Back {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
    },
    /// List the queue, the current song first
    #[command(after_help = "Example:\n  jam queue ABCD-EFGH-JKMN")]
    Queue {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
    },
    /// Take a song out of the queue
    #[command(after_help = "Example:\n  jam remove ABCD-EFGH-JKMN 17")]
    Remove {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
        /// The entry, as `jam queue` numbers it
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        entry: u64,
    },
    /// Move a song within the queue
    #[command(
        after_help = "Examples:\n  jam move ABCD-EFGH-JKMN 17 --before 12\n  jam move ABCD-EFGH-JKMN 17 --to-end"
    )]
    Move(MoveArgs),
    /// Take all songs but the current one out of the queue
    #[command(after_help = "Example:\n  jam clear ABCD-EFGH-JKMN")]
    Clear {
        /// The room's code
        #[arg(value_parser = room)]
        room: RoomCode,
    },
    /// Listen
    #[command(
        after_help = "Examples:\n  jam join ABCD-EFGH-JKMN\n  jam join ABCD-EFGH-JKMN --output wav:heard.wav --headless --for 20\n\nKeys: + and - for the volume, m to mute, q to quit. They change nothing for others."
    )]
    Join(JoinArgs),
    /// List the audio devices that `join --output` takes
    #[command(after_help = "Example:\n  jam outputs")]
    Outputs {
        /// The audio backend, such as alsa
        #[arg(long, env = "JAM_HOST")]
        host: Option<String>,
    },
    /// Find out by how much later than it says an output sounds, and keep that
    #[command(
        after_help = "Examples:\n  jam calibrate\n  jam calibrate --output alsa:hw:1 --set 120\n\nIt clicks at each whole second. With a microphone it hears by itself how late that is; otherwise run it\non another machine too, whose output is right, and move the clicks together with the arrow keys."
    )]
    Calibrate(CalibrateArgs),
    /// For operators
    #[command(subcommand, after_help = "Example:\n  jam cluster status")]
    Cluster(ClusterVerb),
}

impl Verb {
    /// Whether it changes something that lasts when it succeeds, so that it must not be run again to see its result.
    pub fn changes_something(&self) -> bool {
        match self {
            Self::Rooms
            | Self::Status { .. }
            | Self::Queue { .. }
            | Self::Join(_)
            | Self::Outputs { .. } => false,
            Self::Cluster(verb) => !matches!(
                verb,
                ClusterVerb::Status | ClusterVerb::Nodes | ClusterVerb::Songs { lost: None }
            ),
            _ => true,
        }
    }
}

/// `jam add`
#[derive(Args, Debug, Clone)]
pub struct AddArgs {
    /// The room's code
    #[arg(value_parser = room)]
    pub room: RoomCode,
    /// Audio files, or folders of them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Right after the current song instead of at the end
    #[arg(long, env = "JAM_NEXT", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub next: bool,
}

/// `jam move`
#[derive(Args, Debug, Clone)]
pub struct MoveArgs {
    /// The room's code
    #[arg(value_parser = room)]
    pub room: RoomCode,
    /// The entry, as `jam queue` numbers it
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub entry: u64,
    /// To just before this entry
    #[arg(long, env = "JAM_BEFORE", value_name = "ENTRY", value_parser = clap::value_parser!(u64).range(1..))]
    pub before: Option<u64>,
    /// To the end of the queue
    #[arg(long, env = "JAM_TO_END", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new(), conflicts_with = "before")]
    pub to_end: bool,
}

/// `jam join`
#[derive(Args, Debug, Clone)]
pub struct JoinArgs {
    /// The room's code
    #[arg(value_parser = room)]
    pub room: RoomCode,
    /// Plain lines of what happens instead of a live line
    #[arg(long, env = "JAM_HEADLESS", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub headless: bool,
    /// Leave after so many seconds
    #[arg(long = "for", env = "JAM_FOR", value_name = "SECONDS", value_parser = seconds)]
    pub stay: Option<Duration>,
    /// From 0 to 100
    #[arg(long, env = "JAM_VOLUME", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub volume: u8,
    /// The best quality to fetch: the line may carry less
    #[arg(long, env = "JAM_QUALITY", value_enum, default_value_t = Quality::default())]
    pub quality: Quality,
    /// Play songs as loud as they are, instead of at an even loudness
    #[arg(long, env = "JAM_NO_NORMALIZE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub no_normalize: bool,
    /// DEVICE, virtual[:drift=PPM][,wav=FILE], wav:FILE, or none [default: the system's device]
    #[arg(long, env = "JAM_OUTPUT", value_name = "OUTPUT")]
    pub output: Option<String>,
    /// The audio backend, such as alsa
    #[arg(long, env = "JAM_HOST")]
    pub host: Option<String>,
    /// How many milliseconds later than it says the device sounds [default: what `jam calibrate` found]
    #[arg(long, env = "JAM_TRIM_MS", allow_negative_numbers = true, value_name = "MS", value_parser = trim)]
    pub trim_ms: Option<f64>,
    /// Write what sounds when, as JSON lines
    #[arg(long, env = "JAM_TRACE", value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How much disk the song cache may take, in MiB
    #[arg(long, env = "JAM_CACHE_MB", default_value_t = 1024, value_name = "MIB")]
    pub cache_mb: u64,
}

/// `jam calibrate`
#[derive(Args, Debug, Clone)]
pub struct CalibrateArgs {
    /// Which of `jam outputs` [default: the system's device]
    #[arg(long, env = "JAM_OUTPUT", value_name = "DEVICE")]
    pub output: Option<String>,
    /// The audio backend, such as alsa
    #[arg(long, env = "JAM_HOST")]
    pub host: Option<String>,
    /// Keep this many milliseconds, without any clicks
    #[arg(long, env = "JAM_SET", allow_negative_numbers = true, value_name = "MS", value_parser = trim, conflicts_with = "clear")]
    pub set: Option<f64>,
    /// Forget what was kept
    #[arg(long, env = "JAM_CLEAR", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub clear: bool,
    /// Do without the microphone
    #[arg(long, env = "JAM_BY_EAR", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub by_ear: bool,
}

/// `jam cluster`
#[derive(Subcommand, Debug, Clone)]
pub enum ClusterVerb {
    /// Show who leads and how the nodes are
    #[command(after_help = "Example:\n  jam cluster status --json")]
    Status,
    /// List the nodes, one a line
    #[command(after_help = "Example:\n  jam cluster nodes")]
    Nodes,
    /// Hand leadership to another node
    #[command(after_help = "Examples:\n  jam cluster transfer\n  jam cluster transfer 2")]
    Transfer {
        /// The node that shall lead [default: the most up-to-date one]
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        to: Option<u64>,
    },
    /// Let a node whose disk was lost come back, under a new node id
    #[command(after_help = "Example:\n  jam cluster replace 3")]
    Replace {
        /// The node whose disk was lost
        #[arg(value_parser = clap::value_parser!(u64).range(1..))]
        node: u64,
    },
    /// Raise the feature level of the cluster, once every node runs a build that knows it
    ///
    /// The leader does this by itself within a second, unless a node is down or holds it back with --level-max.
    #[command(after_help = "Examples:\n  jam cluster raise\n  jam cluster raise --force")]
    Raise {
        /// Don't wait for nodes that are down: they must not start again before they are upgraded
        #[arg(long, env = "JAM_FORCE", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
        force: bool,
    },
    /// List the songs whose bytes the nodes have lost, or say that one is lost
    #[command(after_help = "Examples:\n  jam cluster songs\n  jam cluster songs --lost 9f2c…")]
    Songs {
        /// Mark this song as lost, though not every node has said so: rooms skip it, and new nodes vote without it, until
        /// somebody adds the file again
        #[arg(long, env = "JAM_LOST", value_name = "SONG", value_parser = song)]
        lost: Option<TrackId>,
    },
    /// Make a node build a snapshot of its state now
    #[command(after_help = "Example:\n  jam cluster snapshot")]
    Snapshot,
}

/// Milliseconds that an output may be late or early.
fn trim(text: &str) -> Result<f64, String> {
    let ms: Option<f64> = text.parse().ok().filter(|ms: &f64| ms.abs() <= TRIM_MS_MAX);
    ms.ok_or_else(|| format!("must be milliseconds, from -{TRIM_MS_MAX} to {TRIM_MS_MAX}"))
}

/// A song's id, as `jam cluster songs` shows it.
fn song(text: &str) -> Result<TrackId, String> {
    let wrong = || "must be a song's id: 64 hex digits".to_owned();
    let hash = blake3::Hash::from_hex(text).map_err(|_| wrong())?;
    Ok(TrackId(*hash.as_bytes()))
}

fn room(text: &str) -> Result<RoomCode, String> {
    RoomCode::parse(text).map_err(|invalid| invalid.to_string())
}
