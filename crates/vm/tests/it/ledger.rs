//! What blocks do to the state, driven through the ledger alone.

mod accounts;
mod channels;
mod conversations;
mod epochs;
mod genesis;
mod nodes;
mod property;
mod sessions;
mod world;
