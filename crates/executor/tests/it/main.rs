//! Committees of executors in one process, with a small chain, a scripted world and a seed.

mod program;
mod world;

mod agreement;
mod blobs;
mod questions;
mod restart;
mod sessions;
