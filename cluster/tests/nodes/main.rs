//! Whole nodes: `jamd` processes on loopback, spoken to as clients do.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs)]

mod clock_files;
mod cluster;
mod forgetting;
mod listening;
mod rooms;
mod surviving;
