//! Whole nodes: `jamd` processes on loopback, spoken to as clients do.
#![allow(missing_docs)]

mod cluster;
mod listening;
mod rooms;
mod surviving;
