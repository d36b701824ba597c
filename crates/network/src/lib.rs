//! Who talks to whom.
//!
//! What it is: the overlay as one pure machine. It decides whom to dial and when, proves and checks
//! keys ([`Handshake`](session_protocol::peer::Handshake)), watches that peers are alive, measures
//! latency, and keeps everybody within limits. The sender of a message is whoever the connection
//! was proven to belong to, never what a message claims.
//!
//! What it does not do: it opens no socket and reads no clock; it does not know what an item, an
//! inbox or a swarm is. Everything but handshakes, heartbeats and pings is handed up unread.
//!
//! ```
//! use std::sync::Arc;
//! use session_core::{Context, Machine as _, SeededEntropy, SwarmId, Text, Time};
//! use session_crypto::Identity;
//! use session_network::{Config, Effect, Input, Network, Role};
//! use session_protocol::{NodeRecord, StaticMembership};
//!
//! let node = Identity::from_seed(&[1; 32]).public().clone();
//! let record = NodeRecord {
//!     keys: node.clone(),
//!     address: Text::new("192.0.2.1:9651").unwrap(),
//!     swarm: SwarmId(0),
//! };
//! let membership = StaticMembership::new("example", [record]).unwrap();
//! let keys = Arc::new(Identity::from_seed(&[2; 32]));
//! let mut client = Network::new(Config::new(Role::Client, keys, Arc::new(membership)));
//!
//! let (mut rng, mut effects) = (SeededEntropy::new(1), Vec::new());
//! let mut cx =
//!     Context { now: Time::ZERO, store: &mut (), rng: &mut rng, effects: &mut effects };
//! client.handle(&mut cx, Input::Connect { node: node.node_id() });
//! assert!(matches!(&effects[..], [Effect::Dial { dial: 1, address, .. }] if address == "192.0.2.1:9651"));
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`io`] | what goes in and comes out: [`Input`], [`Effect`], [`Config`] |
//! | [`limits`] | every bound and interval, with the reason |
//! | [`stats`] | counters, and what is known of each peer |
//! | [`onion`] | packets that hide who asks whom; pure functions, apart from the machine |
//! | `handshake` | the three messages that prove the encryption keys, as pure functions |
//! | `connection` | one connection and the stage it is in |
//! | `peer` | one node that we know, whether or not it is connected |
//! | `network` | the machine that joins them |
//!
//! A node's life as seen from here: waiting or connecting, handshaking, up, backing off. Of two
//! nodes the one with the lower id dials, and the other only if it is not dialled; clients always dial.

mod addresses;
mod bucket;
mod connection;
mod handshake;
pub mod io;
pub mod limits;
mod network;
pub mod onion;
mod peer;
pub mod stats;
mod timers;

pub use bucket::Bucket;
pub use io::{Class, Config, ConnId, Effect, From, Input, Role};
pub use limits::{Limits, Rate};
pub use network::Network;
pub use stats::{PeerSnapshot, PeerState, Stats};
