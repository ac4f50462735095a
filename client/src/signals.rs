//! The signals that end a listener.

use std::fs;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Interrupt, termination and hang-up, save those that this process was started to ignore: by `nohup`, or by a shell that
/// starts it in the background.
pub(crate) struct EndSignals(Vec<Signal>);

impl EndSignals {
    /// Listens for them from now on. To be called once: afterwards none is ignored by the process any more.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let ends = ends.into_iter().filter(|kind| !is_in(ignored, *kind));
        ends.map(signal).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for one. May be called off at any time.
    pub async fn recv(&mut self) {
        std::future::poll_fn(|context| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The set of ignored signals, from what Linux says of a process (proc_pid_status(5)); where that can't be read, none.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(set: u64, kind: SignalKind) -> bool {
    set >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_and_shells_have_ignored_is_found() {
        let status = "Name:\tjam\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000003\nSigCgt:\t0000000180004002\n";
        let set = ignored(status);
        assert!(is_in(set, SignalKind::hangup()) && is_in(set, SignalKind::interrupt()));
        assert!(!is_in(set, SignalKind::terminate()));
        assert_eq!(ignored(""), 0);
    }
}
