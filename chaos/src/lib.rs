//! Breaks real Jam clusters and judges, from the sound itself, whether the promises held.

pub mod attack;
pub mod bench;
pub mod book;
pub mod clock_file;
pub mod cluster;
pub mod crowd;
pub mod ear;
pub mod history;
pub mod live;
pub mod page;
pub mod promises;
pub mod seed;
pub mod sim;
pub mod tellsong;
pub mod testsong;
pub mod witness;
