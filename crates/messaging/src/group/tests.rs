//! A swarm in memory, devices around it, and what must hold whatever the swarm does.

mod commits;
mod members;
mod secrecy;
mod talk;
mod world;
