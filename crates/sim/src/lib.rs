//! The whole network in one thread from one seed.
//!
//! What it is: a discrete-event simulator that runs the same machines as `sessiond` and `session`
//! (daemon and client), with the same bytes between them, over links that lose, repeat and delay,
//! between nodes that crash, lose their disks, have wrong clocks or lie. Named
//! [`invariants`] are checked all the while.
//!
//! What it does not do: it opens no socket, reads no clock, and simulates neither TLS nor QUIC, but
//! what they promise. Signatures and key encapsulation are fakes of the true sizes, except for
//! those of people who talk.
//!
//! ```
//! use session_sim::{Options, Story, run};
//!
//! let options = Options { seed: 7, minutes: 1, persons: 4, story: Story::Lossy, ..Options::default() };
//! let report = run(&options)?;
//! assert_eq!(report, run(&options)?, "the same seed is the same run");
//! # Ok::<(), Box<session_sim::Violation>>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`mod@run`] | [`run()`], [`Options`], [`Report`] |
//! | [`scenario`] | [`Scenario`]: what goes wrong when |
//! | [`world`] | [`World`]: hosts, network, events |
//! | [`invariants`] | what must hold |
//! | [`anonymity`] | who can tell who talks to whom: a model without machines |
//! | [`chain`] | the coordination chain: a world of its own |
//! | [`coordination`] | swarms whose nodes live on a chain |
//! | [`messaging`] | people who talk, on devices that crash, over nodes that lie |
//! | [`workload`] | committees that run programs: a world of its own |
//! | [`byzantine`] | nodes that do not follow the protocol |
//! | [`fault`] | everything else that goes wrong |
//! | [`node`], [`person`] | the shells around daemon and client |
//! | [`disk`] | the store of a node, which knows what is committed |
//! | [`ledger`] | what persons were promised |
//! | [`link`] | delay, loss, repetition |

pub mod anonymity;
pub mod byzantine;
pub mod chain;
pub mod coordination;
pub mod disk;
pub mod fault;
pub mod host;
pub mod invariants;
pub mod ledger;
pub mod link;
pub mod messaging;
#[cfg(test)]
mod model;
mod net;
pub mod node;
pub mod note;
pub mod person;
mod queue;
pub mod run;
pub mod scenario;
mod set;
mod trace;
mod violation;
mod wires;
pub mod workload;
pub mod world;

pub use net::Traffic;
pub use run::{Options, Report, play, run};
pub use scenario::{Scenario, Story};
pub use violation::Violation;
pub use world::{Plan, World};
