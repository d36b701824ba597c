//! The chain as a driver sees it, with the simulator's signatures.

mod building;
mod crashes;
mod deciding;
mod duties;
mod harness;
mod opening;
mod pooling;
mod replicas;
mod verifying;
