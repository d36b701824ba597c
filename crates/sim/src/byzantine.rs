//! Nodes that do not follow the protocol: a daemon behind a filter that lies for it.
//!
//! | module | does |
//! |---|---|
//! | [`liar`] | signs receipts for items that it does not store, or for other items |
//! | [`withholder`] | acknowledges, drops what it took, and answers reads with nothing |
//! | [`equivocator`] | tells each member something else, and brings back what was deleted |
//! | [`stale`] | serves out of order, twice, and without the newest |
//! | [`hop`] | marks, repeats or drops onion packets |
//! | [`flooder`] | sends as much as it can, sense and nonsense |

use session_core::{Entropy, Time};
use session_network::ConnId;
use session_protocol::Inbound;
use session_protocol::receipt::StorageReceipt;

use crate::host::Departure;

pub mod equivocator;
pub mod flooder;
pub mod hop;
pub mod liar;
pub mod stale;
pub mod withholder;

/// What a node does instead of what it should. Everything left out is done honestly.
pub(crate) trait Misbehaviour {
    /// Looks at a message that came in; `false` keeps it from the daemon.
    fn inbound(&mut self, message: &Inbound) -> bool {
        let _ = message;
        true
    }

    /// Sends other frames than the daemon wanted.
    fn outbound(&mut self, body: Vec<u8>, rng: &mut dyn Entropy) -> Vec<Vec<u8>> {
        let _ = rng;
        vec![body]
    }

    /// Signs other receipts than the daemon wanted; as many as there were.
    fn signing(&mut self, receipts: &mut [StorageReceipt], rng: &mut dyn Entropy) {
        let _ = (receipts, rng);
    }

    /// Tells whether the disk keeps what is committed.
    fn keeps(&self) -> bool {
        true
    }

    /// When it wants to act by itself, in the world's time.
    fn deadline(&self) -> Option<Time> {
        None
    }

    /// Acts by itself.
    fn woken(
        &mut self,
        now: Time,
        conns: &[ConnId],
        rng: &mut dyn Entropy,
        out: &mut Vec<Departure>,
    ) {
        let _ = (now, conns, rng, out);
    }
}

/// A kind of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// See [`liar`].
    Liar,
    /// See [`withholder`].
    Withholder,
    /// See [`equivocator`].
    Equivocator,
    /// See [`flooder`].
    Flooder,
    /// See [`stale`].
    Stale,
    /// See [`hop`].
    Tagger,
    /// See [`hop`].
    Replayer,
    /// See [`hop`].
    Dropper,
}

impl Kind {
    /// The kinds that any swarm has to bear.
    pub const ALL: [Self; 4] = [Self::Liar, Self::Withholder, Self::Equivocator, Self::Flooder];

    /// The kinds that matter to people who talk. Whoever keeps nothing also signs for every commit
    /// of a slot.
    pub const OF_CONVERSATIONS: [Self; 4] =
        [Self::Stale, Self::Liar, Self::Withholder, Self::Equivocator];

    /// The kinds of hops that paths lead around.
    pub const OF_PATHS: [Self; 3] = [Self::Tagger, Self::Replayer, Self::Dropper];

    pub(crate) fn make(self) -> Box<dyn Misbehaviour> {
        match self {
            Self::Liar => Box::new(liar::Liar),
            Self::Withholder => Box::new(withholder::Withholder),
            Self::Equivocator => Box::new(equivocator::Equivocator::default()),
            Self::Flooder => Box::new(flooder::Flooder::default()),
            Self::Stale => Box::new(stale::Stale),
            Self::Tagger => Box::new(hop::Hop::Tags),
            Self::Replayer => Box::new(hop::Hop::Replays),
            Self::Dropper => Box::new(hop::Hop::Drops),
        }
    }
}
