//! Ten members in one process: what clients are promised, and what members do to keep it.

mod cluster;
mod owners;
mod repair;
mod restart;
mod stores;
mod sweep;
