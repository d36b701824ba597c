//! Devices of people around a swarm that keeps what it should.

mod basics;
mod devices;
mod intruders;
mod late;
mod requests;
mod unsaid;
mod world;
