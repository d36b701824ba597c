//! What is due when.

use session_core::NodeId;

use crate::io::ConnId;

/// What a timer is about; each has at most one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The deadline of a handshake, or the next heartbeat.
    Connection(ConnId),
    /// The deadline of a dial, or the end of a wait.
    Peer(NodeId),
}
