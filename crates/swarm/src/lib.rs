//! Which node keeps which inbox, and how the members of a swarm keep the same.
//!
//! What it is: one pure machine, [`Swarm`], that answers the requests of clients, hands stores and
//! owner operations to the other members, collects their signed receipts, pushes new items to
//! subscribers, and repairs differences between members in the background.
//!
//! What it does not do: it knows no connections (a client is an opaque [`Requester`], a member is
//! a [`NodeId`](session_core::NodeId)), checks no signatures (only
//! [`Verified`](session_protocol::Verified) values come in), and holds no keys: the shell signs
//! receipts after the commit ([`Effect::SignReceipts`]).
//!
//! How it is driven: the shell feeds a group of inputs, ends it with [`Input::Flush`], commits the
//! store, then performs the effects in order. What a client is told is therefore on disk.
//!
//! Invariants: no receipt without a committed item; no acknowledgement below the quorum; what the
//! owner deleted is not taken again while its tombstone lives; nothing is served past its expiry;
//! the same operations in any order give the same expiries; of an inbox that moved here nothing is
//! read before everything acknowledged is here; no receipts for two items of a slot.
//!
//! | module | holds |
//! |---|---|
//! | [`placement`] | which swarm keeps which inbox |
//! | [`machine`] | [`Swarm`], its inputs and effects |
//! | [`coordinator`] | [`Coordinator`](coordinator::Coordinator), the duties of a node in an epoch |
//! | [`stats`] | counters |
//! | `service` | requests from clients |
//! | `items` | the rules by which an item is taken, and its expiry |
//! | `slots` | which item of a slot of commits gets the receipt |
//! | `strangers` | what it costs a stranger to write where many write |
//! | `replication` | copies to the other members, quorum, receipts |
//! | `operations` | deletions and expiries signed by owners |
//! | `replay` | applying them again after a start |
//! | `reuse` | signatures that were used |
//! | `subscriptions` | live pushes |
//! | `reconcile` | finding and repairing differences between members |
//! | `complete` | whether a store that was lost is whole again |
//! | `layout` | which swarm keeps which part of the ring |
//! | `handover` | inboxes that move to another swarm |

mod batches;
mod complete;
pub mod coordinator;
mod handover;
mod items;
mod layout;
pub mod machine;
mod operations;
mod reconcile;
mod replay;
mod replication;
mod reuse;
mod service;
mod slots;
pub mod stats;
mod strangers;
mod subscriptions;
mod view;

pub use complete::{declare_complete, declare_incomplete};
pub use handover::Progress;
pub use machine::{Config, Effect, Health, Input, PeerMessage, PeerMessageOut, Requester, Swarm};
pub use session_protocol::placement;
pub use stats::Stats;
pub use view::NotANode;
