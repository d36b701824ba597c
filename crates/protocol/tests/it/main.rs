//! The wire vocabulary: golden bytes, refusals, and what the checker believes.

mod attestation;
mod beacon;
mod chain;
mod checker;
mod checker_workload;
mod codec;
mod commitment;
mod duty;
mod evidence;
mod frame;
mod handshake;
mod inbox;
mod mailbox;
mod manifest;
mod membership;
mod numbers;
mod onion;
mod owner;
mod receipt;
mod reply;
mod request;
mod roster;
mod sizes;
mod swarm;
mod values;
mod workload;
