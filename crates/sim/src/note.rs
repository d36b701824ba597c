//! What hosts do that invariants are about.

use session_core::{InboxAddress, MessageId, NodeId, Time};
use session_protocol::receipt::StorageReceipt;

use crate::host::HostId;

/// Something worth checking. Taken down the moment it happens.
#[derive(Clone, Debug)]
pub enum Note {
    /// Signed receipts left an honest node for the first time.
    Promised {
        /// The node.
        node: HostId,
        /// The receipts.
        receipts: Vec<StorageReceipt>,
    },
    /// An honest node handed out items.
    Served {
        /// The node.
        node: HostId,
        /// Its clock when it answered, if it said so.
        clock: Option<Time>,
        /// The inbox, if it is known from the frame.
        address: Option<InboxAddress>,
        /// Ids, and the expiries that the node gave.
        items: Vec<(MessageId, Time)>,
    },
    /// An honest node disconnected another one for breaking the rules.
    Penalized {
        /// Who did.
        node: HostId,
        /// Whom.
        peer: NodeId,
        /// Why.
        why: String,
    },
    /// A person was shown a quorum of receipts for an item.
    Stored {
        /// The sender.
        person: HostId,
        /// The recipient's inbox.
        address: InboxAddress,
        /// The item.
        id: MessageId,
        /// Until when a quorum keeps it.
        expiry: Time,
        /// No member keeps it longer than this.
        latest: Time,
    },
    /// A person read items of its own inbox that it had not seen.
    Read {
        /// The owner.
        person: HostId,
        /// The items.
        ids: Vec<MessageId>,
    },
    /// A person deleted items of its own inbox, and a quorum committed it.
    Deleted {
        /// The owner's inbox.
        address: InboxAddress,
        /// The items.
        ids: Vec<MessageId>,
    },
    /// A person asks to delete items of its own inbox: some members may do so from now on.
    Deleting {
        /// The owner's inbox.
        address: InboxAddress,
        /// The items.
        ids: Vec<MessageId>,
    },
    /// A person asks to move the expiry of items: some members may do so from now on.
    Expiring {
        /// The owner's inbox.
        address: InboxAddress,
        /// The items.
        ids: Vec<MessageId>,
        /// What was asked for.
        expiry: Time,
        /// Whether later than before.
        later: bool,
    },
    /// A command of a person failed.
    Failed {
        /// The person.
        person: HostId,
        /// Why.
        why: String,
    },
}
