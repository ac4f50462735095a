//! Asking for a larger share of a busy machine.

/// As far as the system allows; where it does not, all works, and is only more easily disturbed.
const NICE: i32 = -11;

/// Raises the priority of the calling thread.
pub fn raise() {
    // On Linux a process id names one thread here, and none names the caller.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("no higher priority for sound: {error}");
    }
}
