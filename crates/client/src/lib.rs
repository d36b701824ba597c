//! A person or bot on the network: one machine, and what a program around it needs.
//!
//! What it is: [`Client`] takes commands ("store this", "what is new?") and does what it takes to
//! carry them out with nodes that may be slow, gone, overloaded or lying: it finds the swarm, picks
//! a member, fails over, signs again when a clock differs, and believes nothing that it can check.
//!
//! What it does not do: it opens no socket, reads no clock, saves no state, and does not know what
//! is inside an item: sealing is [`session_messaging`]'s.
//!
//! *Provided:* a store that is reported done comes with receipts signed by a quorum of the swarm;
//! items are what their id says; what one node withholds is found as soon as another one is
//! read from; where requests travel over hops ([`onion`]), nodes do not learn from where they come.
//! *Not provided:* hiding from a node which inbox is asked for.
//!
//! ```
//! use std::sync::Arc;
//! use session_client::{Client, Command, Config, Effect, Input, Mode};
//! use session_core::{Context, Machine as _, SeededEntropy, SwarmId, Text, Time};
//! use session_crypto::{Identity, RealVerifier};
//! use session_protocol::{NodeRecord, StaticMembership};
//!
//! let node = Identity::from_seed(&[1; 32]).public().clone();
//! let address = Text::new("192.0.2.1:9651")?;
//! let record = NodeRecord { keys: node.clone(), address, swarm: SwarmId(0) };
//! let membership = Arc::new(StaticMembership::new("example", [record])?);
//!
//! let keys = Arc::new(Identity::from_seed(&[2; 32]));
//! let config = Config::new(keys, membership, Arc::new(RealVerifier));
//! // One node makes no path: it is asked itself.
//! let mut client = Client::new(Config { mode: Mode::Direct, ..config });
//! let (mut rng, mut effects) = (SeededEntropy::new(1), Vec::new());
//! let mut cx = Context { now: Time::ZERO, store: &mut (), rng: &mut rng, effects: &mut effects };
//! client.handle(&mut cx, Input::Command { id: 1, command: Command::Info { node: node.node_id() } });
//! assert!(matches!(&effects[..], [Effect::Dial { .. }])); // the shell dials, and so on
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`command`] | [`Command`], [`Answer`], [`Error`] |
//! | [`machine`] | [`Client`], its inputs and effects |
//! | [`reader`] | [`InboxReader`]: what was read already, on which node |
//! | [`receipts`] | [`StoredProof`], and the checks behind it |
//! | [`talk`] | [`Talker`](talk::Talker): a messenger and a client as one machine |
//! | `task` | one command on its way through nodes |
//! | `work` | what a command asks of a node, and how it judges the answer |
//! | `puzzles` | what nodes ask of strangers |
//! | [`onion`] | requests that travel over hops: modes, guards, paths |
//! | `nodes` | what is known of each node, and which one is asked next |
//! | `subscription` | live pushes, and the gaps between them |
//! | [`watch`] | many inboxes, each read from where it stopped |

pub mod command;
pub mod machine;
mod nodes;
pub mod onion;
mod puzzles;
pub mod reader;
pub mod receipts;
mod subscription;
pub mod talk;
mod task;
pub mod watch;
mod work;

pub use command::{Answer, Command, Error, Inbox, NewItem, Page};
pub use machine::{Client, Config, Effect, Input, Limits, Stats};
pub use onion::Mode;
pub use reader::InboxReader;
pub use receipts::{ReceiptProof, StoredProof};
pub use watch::Source;
