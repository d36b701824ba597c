//! What blocks do to the state, driven through the ledger alone.

mod accounts;
mod beacon;
mod cases;
mod channels;
mod conversations;
mod duties;
mod epochs;
mod genesis;
mod network;
mod nodes;
mod penalties;
mod property;
mod sessions;
mod swarms;
mod view;
mod world;
