//! The report of a run: a page for people, JSON for scripts, JUnit for CI systems.
//!
//! | what | file |
//! | --- | --- |
//! | what a history does not tell of its run | [`facts`] |
//! | the page: verdict, promises, lanes, what broke, tables | [`html`], [`explain`], [`tables`] |
//! | its picture: all that happened along one time axis | [`lanes`] |
//! | `result.json` | [`result`](mod@result) |
//! | JUnit | [`junit`](mod@junit) |
//!
//! All text of a history is foreign: it goes into a page through [`text::escape`] only.

mod explain;
mod facts;
mod html;
mod junit;
mod lanes;
mod outcome;
mod requests;
mod result;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use facts::{Facts, Figure, Link};
pub use html::html;
pub use junit::junit;
pub use outcome::Outcome;
pub use result::result;
