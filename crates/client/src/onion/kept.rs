//! What is kept from one start to the next, so that the second one need not find it out again. It tells
//! through whom somebody is reached, and is for the owner's disk alone.

use session_core::{List, Span, Time, record};

use super::blame::{SUSPECTS_MAX, Suspect};
use super::directory::HopKeyList;
use super::guards::{GUARDS_KEPT_MAX, GuardList, Missing};

/// How long it is believed how hops and guards are.
pub(super) const HEALTH_LIFE: Span = Span::from_secs(600);

record! {
    /// How hops and guards were lately.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Health {
        /// When that was.
        pub seen: Time,
        /// Of ten answers nine took no longer.
        pub usual: Option<Span>,
        /// Hops that packets were lost with.
        pub suspects: List<Suspect, SUSPECTS_MAX>,
        /// Guards that could not be reached.
        pub missing: List<Missing, GUARDS_KEPT_MAX>,
    }
}

/// Everything that is kept. Without the last two a start takes longer; without the first one an enemy
/// is met sooner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The nodes that packets are given to.
    pub guards: GuardList,
    /// How hops and guards were.
    pub health: Health,
    /// Hop keys.
    pub hop_keys: HopKeyList,
}

impl Health {
    /// Tells whether it is still to be believed.
    pub(super) fn is_fresh(&self, now: Time) -> bool {
        self.seen <= now && now.since(self.seen) < HEALTH_LIFE
    }
}
