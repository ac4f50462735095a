//! Asking for a larger share of a busy machine.

/// As far as the system allows; where it does not, all works, and is only more easily disturbed.
const NICE: i32 = -11;

/// Raises the priority of the calling thread. One system call and no more, so that a device's own
/// thread may do it in its first callback.
pub fn raise() -> rustix::io::Result<()> {
    // On Linux a process id names one thread here, and none names the caller.
    rustix::process::setpriority_process(None, NICE)
}

/// The same; says so where the system does not allow it.
pub fn raise_or_tell() {
    if let Err(error) = raise() {
        tracing::debug!("no higher priority for sound: {error}");
    }
}
