//! Songs between three nodes.
#![allow(clippy::disallowed_methods)]
#![allow(missing_docs)]

mod cramped;
mod depots;
mod forgotten;
mod moody;
mod outside;
mod repair;
mod trio;
mod upload;
