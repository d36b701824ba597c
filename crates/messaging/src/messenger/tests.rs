//! Devices of people around a swarm that keeps what it should.

mod basics;
mod devices;
mod world;
