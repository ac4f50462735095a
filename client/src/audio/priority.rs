//! Asking for a machine's attention in time, however busy it is.
//!
//! A nice value alone does not do on Linux desktops and servers that group threads by session
//! (`sched_autogroup`): it counts within the group only, and a build in another terminal then keeps a
//! player waiting for more than a second. Real-time threads are not in any group.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, unix::thread_native_id,
};

/// Where real time is not allowed; where this is not either, all works, and is only more easily
/// disturbed.
const NICE: i32 = -11;

/// Raises the priority of the calling thread as far as the system allows: the lowest of the
/// real-time ones, since all that is needed is to go before what is not. A few system calls and no
/// more, so that a device's own thread may do it in its first callback.
///
/// # Errors
/// If neither is allowed, which is usual for people who are not in a group for sound.
pub fn raise() -> rustix::io::Result<()> {
    let round_robin = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    match set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, round_robin) {
        Ok(()) => Ok(()),
        // On Linux a process id names one thread here, and none names the caller.
        Err(_) => rustix::process::setpriority_process(None, NICE),
    }
}

/// The same; says so where the system does not allow it.
pub fn raise_or_tell() {
    if let Err(error) = raise() {
        tracing::debug!("no higher priority for sound: {error}");
    }
}
