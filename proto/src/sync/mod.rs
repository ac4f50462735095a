//! Shared time: how nodes keep one clock, and how listeners read it and play by it.
//!
//! All of it is arithmetic on readings that callers bring: a raw clock reading is nanoseconds
//! of CLOCK_MONOTONIC_RAW of the machine it was taken on.

pub mod envelope;
mod filter;
pub mod floor;
pub mod holdover;
pub mod lead;
pub mod map;
pub mod playout;
pub mod readings;
pub mod succession;

pub use filter::{ClockFilter, Estimate, Probe};
pub use holdover::Holdover;
pub use map::SharedMap;
pub use playout::{Controller, DeviceClock, Steering};
pub use succession::{Doubt, Succession};
