//! Ten members in one process: what clients are promised, and what members do to keep it.

mod cluster;
mod complete;
mod mailboxes;
mod moves;
mod owners;
mod repair;
mod restart;
mod seats;
mod stores;
mod sweep;
