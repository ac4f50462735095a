//! Songs between three nodes.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs)]

mod cramped;
mod depots;
mod forgotten;
mod full;
mod lost;
mod moody;
mod outside;
mod repair;
mod segments;
mod trio;
mod upload;
