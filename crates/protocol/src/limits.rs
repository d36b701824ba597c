//! Every bound of the protocol in one place.

use session_core::Span;

/// Version byte that starts every frame.
pub const PROTOCOL_VERSION: u8 = 1;

/// Longest frame body; the reference's limit.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Longest item; what clients of the existing network are tuned to.
pub const ITEM_BYTES_MAX: usize = 76_800;

/// Shortest time-to-live of an item.
pub const TTL_MIN: Span = Span::from_secs(10);

/// Longest time-to-live of an item that anyone may store.
pub const TTL_MAX: Span = Span::from_days(14);

/// Longest time-to-live of the owner's own data, and of an extended item.
pub const TTL_OWNER_MAX: Span = Span::from_days(30);

/// How long a deletion is remembered: longer than any copy of the item can live.
pub const TOMBSTONE_TTL: Span = Span::from_days(31);

/// Most operations in one request.
pub const OPERATIONS_MAX: usize = 20;

/// Most ids in one delete, expire or selective retrieve.
pub const IDS_MAX: usize = 256;

/// Most namespaces in one subscription.
pub const SUBSCRIBED_NAMESPACES_MAX: usize = 8;

/// How far the timestamp of a request may be from the node's clock.
pub const CLOCK_TOLERANCE: Span = Span::from_secs(60);

/// The same for copies that another node forwards, who may have waited.
pub const FORWARDED_CLOCK_TOLERANCE: Span = Span::from_secs(70);

/// Most items in one page of a retrieve.
pub const PAGE_ITEMS_MAX: usize = 1000;

/// Most item bytes in one reply, all operations together; leaves room in a frame for the rest.
pub const PAGE_BYTES_MAX: usize = 768 * 1024;

/// Most members of a swarm; ten is usual, the rest is room for merges.
pub const SWARM_MEMBERS_MAX: usize = 32;

/// Most items in one replication message.
pub const REPLICA_ITEMS_MAX: usize = 256;

/// Item bytes after which a replication message is closed and the next one begun.
pub const REPLICA_BYTES_TARGET: usize = 512 * 1024;

/// Longest message of a reconciliation round.
pub const SYNC_ROUND_BYTES_MAX: usize = 256 * 1024;

/// Most element keys in one reconciliation want.
pub const SYNC_KEYS_MAX: usize = 4096;

/// Most items one inbox holds in the namespaces of one class (`inbox::room_of`), so that nobody
/// fills a node through one address.
pub const INBOX_ITEMS_MAX: u64 = 100_000;

/// Most bytes one inbox holds in the namespaces of one class.
pub const INBOX_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most owner operations remembered for one inbox.
pub const INBOX_OPERATIONS_MAX: usize = 10_000;
