//! How a node reaches the outside world for workload sessions: HTTP, EVM chains, databases, object
//! stores.
//!
//! What it is: [`Connectors`] performs one request of a source and returns the raw answer. Every
//! address goes through one gate first.
//!
//! What it does not do: it agrees on nothing, transforms nothing, and sends no messages of people.
