//! The wire vocabulary: golden bytes, refusals, and what the checker believes.

mod chain;
mod checker;
mod codec;
mod frame;
mod handshake;
mod inbox;
mod membership;
mod numbers;
mod owner;
mod receipt;
mod reply;
mod request;
mod sizes;
mod swarm;
mod values;
