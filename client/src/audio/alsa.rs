//! What ALSA prints and lists that is of no use to a person.

use alsa::pcm::PCM;
use alsa::{Direction, Output};
use rustix::io::Errno;

/// What opening an output fails with when there is no card or sound server behind it.
const NOTHING_THERE: [Errno; 6] = [
    Errno::NOENT,
    Errno::NODEV,
    Errno::NXIO,
    Errno::CONNREFUSED,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
];

/// Does `work`. What ALSA would print to standard error meanwhile, on this thread, goes to the log. Calls must not be nested.
pub(crate) fn without_its_prints<T>(work: impl FnOnce() -> T) -> T {
    let printed = Output::local_error_handler();
    let done = work();
    if let Ok(printed) = printed {
        printed.borrow().to_string().lines().for_each(|line| tracing::debug!("ALSA: {line}"));
    }
    done
}

/// Whether nobody could ever hear the output of this name: it discards what it gets, or there is nothing behind it.
pub(super) fn is_silent(pcm: &str) -> bool {
    // These are there for as long as their card is, and some can't be opened twice.
    if pcm.contains("CARD=") {
        return false;
    }
    match PCM::new(pcm, Direction::Playback, true) {
        Ok(open) => discards(&open),
        Err(error) => NOTHING_THERE.iter().any(|errno| errno.raw_os_error() == error.errno()),
    }
}

/// Whether it leads to ALSA's null device and to no file, whatever else there is on the way.
fn discards(open: &PCM) -> bool {
    let Ok(mut description) = Output::buffer_open() else { return false };
    let described = open.dump(&mut description).map(|()| description.to_string());
    described.is_ok_and(|text| text.contains("Null PCM") && !text.contains("File PCM"))
}
