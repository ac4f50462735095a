//! Songs between three nodes.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs)]

mod cramped;
mod forgotten;
mod full;
mod repair;
mod segments;
mod trio;
mod upload;
