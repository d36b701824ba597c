//! The shell: everything that touches the world, and understands nothing of it.
//!
//! What it is: the system clock, the system's entropy, the QUIC endpoint, the HTTP server, secret
//! files, signals, metrics and logging.
//!
//! What it does not do: it knows no message, no session and no node. Payloads are opaque.
//!
//! | module | holds |
//! |---|---|
//! | [`bind`] | why an address could not be listened on |
//! | [`quic`] | authenticated connections that carry frames |

pub mod bind;
pub mod quic;

pub use bind::BindError;
