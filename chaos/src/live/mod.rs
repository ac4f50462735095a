//! Real clusters: processes, sockets and disks that are broken on purpose, under load.
//!
//! | what | file |
//! | --- | --- |
//! | a kind of run, as people write it | [`scenario`], [`fault`] |
//! | what is going to break in one run, and when | [`schedule`] |
//! | one run, and its folder | [`run`], [`perform`] |
//! | who takes part | [`stage`], [`seat`], [`joiner`], [`stuck`], [`impostor`], [`attackers`] with [`crate::attack`], and [`crate::crowd`] |
//! | who breaks it | [`director`], by [`wiring`], [`links`] and [`machine`] |
//! | who leads | [`lookout`] |
//! | one history of it all | [`gather`], [`fetch`] |
//! | how it stands | [`verdict`], [`figures`], [`under_attack`], and [`crate::promises`] |
//! | the command line | [`command`], [`batch`] and its [`totals`], [`selftest`] |

pub mod attackers;
pub mod batch;
pub mod command;
pub mod director;
pub mod fault;
pub mod fetch;
pub mod figures;
pub mod gather;
pub mod impostor;
pub mod joiner;
pub mod links;
pub mod lookout;
pub mod machine;
pub mod perform;
mod ring;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod seat;
pub mod selftest;
pub mod stage;
pub mod stuck;
pub mod totals;
pub mod under_attack;
pub mod verdict;
pub mod wiring;
