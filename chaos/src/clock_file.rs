//! A node's saved clock that is lost, damaged or wrong, in a simulation or on a real disk.

use std::path::Path;

use jam_cluster::time::saved::Saved;
use jam_proto::time::Flicks;
use serde::{Deserialize, Serialize};

use crate::seed::Stream;

/// What becomes of a saved clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Nothing is left of it.
    Lost,
    /// A bit flips.
    Flipped,
    /// Its time is off by up to 40 days, of another boot, and its checksum is right: as if a node had written it so.
    Wrong,
}

/// How far off a wrong one is at most, s.
const WRONG_SECS_MAX: i64 = 40 * 86_400;

impl Harm {
    /// What a file holds after that.
    pub fn done_to(self, bytes: &[u8], draws: &mut Stream) -> Vec<u8> {
        let mut harmed = bytes.to_vec();
        match self {
            Self::Lost => harmed.clear(),
            Self::Flipped if harmed.is_empty() => {}
            Self::Flipped => {
                let bit = draws.below(harmed.len() as u64 * 8);
                harmed[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            Self::Wrong => {
                let off = Flicks::from_secs(draws.within(-WRONG_SECS_MAX..=WRONG_SECS_MAX));
                // One that can't be used before can't be made worse.
                if let Ok(mut saved) = Saved::parse(bytes) {
                    saved.shared = saved.shared.saturating_add(off.0);
                    saved.boot_id = "another boot".to_owned();
                    harmed = saved.to_text().unwrap_or_default();
                }
            }
        }
        harmed
    }
}

/// Whether a file of a node's data folder is a saved clock.
pub fn is_clock_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("clock.") && name.ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved {
            boot_id: "boot".to_owned(),
            raw_ns: 5,
            boottime_ahead_ns: 0,
            shared: 77,
            drift: 0.0,
            set_raw_ns: 3,
            epoch: 4,
            error_bound_ns: 9,
            drift_bound_ppb: 5,
            term: 3,
            reference: Default::default(),
            last_epoch: 4,
        }
    }

    #[test]
    fn what_is_wrong_can_be_read_and_the_rest_cannot() {
        let text = saved().to_text().expect("it is text");
        let mut draws = Stream::new(1, "clock files");
        for _ in 0..100 {
            let wrong = Saved::parse(&Harm::Wrong.done_to(&text, &mut draws)).expect("readable");
            assert_ne!((wrong.shared, wrong.boot_id.as_str()), (77, "boot"));
            for harm in [Harm::Lost, Harm::Flipped] {
                assert!(Saved::parse(&harm.done_to(&text, &mut draws)).is_err(), "{harm:?}");
            }
        }
        assert_eq!(Harm::Flipped.done_to(b"", &mut draws), b"");
    }

    #[test]
    fn both_files_are_known_by_their_names() {
        for (name, is) in [
            ("data/clock.json", true),
            ("data/clock.synced.json", true),
            ("data/clock.json.new", false),
            ("data/identity.json", false),
        ] {
            assert_eq!(is_clock_file(Path::new(name)), is, "{name}");
        }
    }
}
