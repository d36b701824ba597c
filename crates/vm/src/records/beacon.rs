use session_core::{List, NodeId, record};
use session_protocol::roster::BEACON_MEMBERS_MAX;

record! {
    /// Who deals the beacon of the next epoch, in the order of ids.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct DealerList {
        /// The dealers; a dealer's place is its index.
        pub dealers: List<NodeId, BEACON_MEMBERS_MAX>,
    }

    /// What a dealer revealed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Revealed {
        /// Its contribution; none if that does not make its dealing, which counts as silence.
        pub contribution: Option<[u8; 32]>,
    }

    /// A place in the table of shares that were shown.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ShownAt {
        /// The dealer's place.
        pub dealer: u16,
        /// The place of who showed its share.
        pub holder: u16,
    }
}
