//! A swarm in memory, devices around it, and what must hold whatever the swarm does.

mod commits;
mod endurance;
mod lost;
mod members;
mod secrecy;
mod slots;
mod talk;
mod trust;
mod world;
