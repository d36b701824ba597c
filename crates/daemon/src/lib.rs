//! A service node as one machine: who is connected ([`session_network`]) joined with what is kept
//! ([`session_swarm`]).
//!
//! What it is: [`Daemon`] routes. Messages go from connections to the swarm machine and back, every
//! other member of the swarm is kept connected, and what both machines know about the node is put
//! together into heartbeats, replies and [`Health`].
//!
//! A node of a chain gets the chain's views with [`Input::View`]: who is a node, which swarm it
//! serves, and what it is to do in the epoch follow from them. Duties are those of
//! [`session_swarm::coordinator`]; here they find their way to connections and back.
//!
//! Workload sessions are those of [`session_executor`]; what they ask of threads and of the world,
//! the shell does ([`Effect::RunProgram`], [`Effect::Fetch`]).
//!
//! Onion packets are those of [`relay`]: this node as a hop of other people's paths and as their
//! end. What is asked at the end of a path is asked of the swarm machine as a client would.
//!
//! What it does not do: it opens no sockets, follows no chain and signs no receipts or
//! transactions; the shell does, see [`Effect`].
//! A local caller, such as the HTTP interface, asks with [`Input::Local`] and gets the same answers
//! as a client over the network.
//!
//! How it is driven: many inputs, one [`Input::Flush`], one commit of the store, then the effects
//! in order. The first [`tick`](session_core::Machine::tick) is due at once and starts the
//! connections.

mod daemon;
mod health;
mod io;
pub mod relay;

pub use daemon::Daemon;
pub use health::{ChainHealth, Health};
pub use io::{Config, Effect, Input, Report};
