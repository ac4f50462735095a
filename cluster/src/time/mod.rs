//! The node's side of shared time.
//!
//! Each node keeps a map from its raw monotonic clock to shared time. The leader's map is the
//! reference: it runs on untouched, at one rate. Followers bring theirs to it, by slewing, so that any of them
//! can go on as the leader without a jump. What is here:
//!
//! - [`clock`]: the node's map, and who may change it when
//! - [`slewed`]: a map on its way to a better one
//! - [`saved`]: the map on disk, for the next start
//! - [`follow`]: the task that brings a follower's map to the leader's
//! - [`leadership`]: the task that opens each leadership with a `ClockEpoch`
//! - [`leadership_log`]: what the log says of leaders
//! - [`keep`]: the task that saves the map, and sees the machine sleep
//! - [`awake`]: whether the machine slept
//! - [`voters`]: what other nodes say, for a leader that can't continue its own clock
//! - [`burst`]: which probes of a burst count

pub mod awake;
pub mod burst;
pub mod clock;
pub mod follow;
pub mod keep;
pub mod leadership;
pub mod leadership_log;
pub mod saved;
pub mod slewed;
pub mod voters;
