//! Ten members in one process: what clients are promised, and what members do to keep it.

mod cluster;
mod owners;
mod repair;
mod stores;
