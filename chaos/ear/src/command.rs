//! The command line of the judge: `jam-ear`, and `jam-chaos sound`.

use std::path::{Path, PathBuf};

use crate::report::{Listener, report};
use crate::{Recording, Reference, Song, listen, read_song};

/// Exit codes, after Jepsen's.
const BROKEN: u8 = 1;
const INCONCLUSIVE: u8 = 2;

/// What to judge.
#[derive(Debug, clap::Args)]
pub struct Sound {
    /// The songs that may sound.
    #[arg(long = "song", value_name = "FILE", num_args = 1.., required = true)]
    songs: Vec<PathBuf>,
    /// A recording by `jam join --output wav:FILE`; its index FILE.idx lies beside it. A trace named
    /// FILE.trace there is compared with it.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    heard: Vec<PathBuf>,
    /// When the leader was lost, in nanoseconds of CLOCK_MONOTONIC.
    #[arg(long, value_name = "NS")]
    leader_lost: Option<i64>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl Sound {
    /// Judges, and prints what was heard. The exit code: 0, 1 if a promise was broken, 2 if that can't be told.
    ///
    /// # Errors
    /// If a song or a recording can't be read.
    pub fn run(&self) -> anyhow::Result<u8> {
        let songs = self.songs.iter().map(|path| read_song(path)).collect::<Result<Vec<_>, _>>()?;
        let listeners = self
            .heard
            .iter()
            .map(|path| listener(path, &songs))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let report = report(&listeners, self.leader_lost);
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            print!("{report}");
        }
        Ok(match (report.broken.is_empty(), report.open.is_empty()) {
            (false, _) => BROKEN,
            (true, false) => INCONCLUSIVE,
            (true, true) => 0,
        })
    }
}

fn listener(path: &Path, songs: &[Song]) -> anyhow::Result<Listener> {
    let recording = Recording::open(path)?;
    let reference = Reference::new(songs.to_vec(), recording.sample_rate);
    let heard = listen(&reference, recording);
    let mut trace = path.as_os_str().to_owned();
    trace.push(".trace");
    let trace = match std::fs::read_to_string(&trace) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let name =
        path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Listener::new(name, heard, trace.as_deref())?)
}
