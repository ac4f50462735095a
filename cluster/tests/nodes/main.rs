//! Whole nodes: `jamd` processes on loopback, spoken to as clients do.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs)]

mod admission;
mod browsers;
mod clock_files;
mod cluster;
mod cut_off;
mod doors;
mod forgetting;
mod limits;
mod listening;
mod logging;
mod media_types;
mod rooms;
mod surviving;
mod tokens;
mod upgrading;
