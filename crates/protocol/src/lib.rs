//! Every byte that crosses a trust boundary, and what it takes to believe it.
//!
//! What it is: frames, requests, replies, storage receipts, peer messages and membership records,
//! each with one canonical encoding and a limit on every length. What comes from outside is
//! parsed first ([`Frame::split`]), then checked ([`inbound::Checker`]); only
//! [`Verified`] values reach the machines.
//!
//! What it does not do: it keeps no state about peers and decides no policy.
//!
//! ```
//! use session_protocol::peer::Ping;
//! use session_protocol::{Frame, Kind};
//!
//! let body = Frame::encode(Kind::Ping, &Ping { nonce: 7 });
//! let (kind, payload) = Frame::split(&body)?;
//! assert_eq!(kind, Kind::Ping);
//! assert_eq!(Frame::payload::<Ping>(kind, payload)?, Ping { nonce: 7 });
//! # Ok::<(), session_protocol::frame::BadFrame>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`limits`] | every bound of the protocol, with the reason |
//! | [`frame`] | version, kind and payload of a frame |
//! | [`inbox`] | access rules, addresses, namespaces, item ids |
//! | [`owner`] | operations that the owner of an inbox signs |
//! | [`puzzle`] | what it costs a stranger to be heard where many write |
//! | [`request`] | what clients ask and what nodes answer |
//! | [`receipt`] | signed promises that an item is on disk |
//! | [`peer`] | what nodes say to each other |
//! | [`membership`] | who is a node, behind one trait |
//! | [`manifest`] | what an account says of itself |
//! | [`placement`] | which swarm keeps which inbox |
//! | [`network_file`] | from the network file to the view of the network |
//! | [`onion`] | onion packets on links, keys of hops, what exits are asked |
//! | [`inbound`] | bytes to checked messages |
//! | [`schedule`] | what happens when in an epoch |
//! | [`roster`] | who does what in an epoch |
//! | [`beacon`] | randomness that nobody can bias |
//! | [`commitment`] | what a node says it keeps, and how it shows it |
//! | [`duty`] | what nodes say to each other about the duties of an epoch |
//! | [`attestation`] | votes of committees, quorum certificates |
//! | [`evidence`] | what a node signed that no honest node signs |
//! | [`workload`] | workload sessions: what is run, observed, agreed on and delivered |
//! | [`chain`] | transactions, blocks and certificates of the coordination chain |

pub mod attestation;
pub mod beacon;
pub mod chain;
pub mod commitment;
pub mod duty;
pub mod evidence;
pub mod frame;
pub mod inbound;
pub mod inbox;
pub mod limits;
pub mod manifest;
pub mod membership;
pub mod network_file;
pub mod onion;
pub mod owner;
pub mod peer;
pub mod placement;
pub mod puzzle;
pub mod receipt;
pub mod request;
pub mod roster;
pub mod schedule;
mod verified;
pub mod workload;

pub use frame::{Frame, Kind};
pub use inbound::{Checker, Inbound};
pub use inbox::AccessRule;
pub use membership::{Membership, NetworkId, NodeRecord, StaticMembership};
pub use verified::Verified;
