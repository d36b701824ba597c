use session_core::{Digest, Epoch, Span, Text, Time, record};
use session_protocol::chain::Amount;
use session_protocol::limits::SWARM_MEMBERS_MAX;

/// Shorter epochs would turn in every block.
const EPOCH_MIN: Span = Span::from_secs(1);
const EPOCH_MAX: Span = Span::from_days(30);
const UNBONDING_MAX: Span = Span::from_days(365);
const SESSION_TIME_MAX: Span = Span::from_days(30);

record! {
    /// What never changes after genesis.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ChainRecord {
        /// What people call the chain.
        pub name: Text<64>,
        /// When epoch 0 began.
        pub genesis: Time,
        /// All LUX there is: balances, stakes and fees taken.
        pub supply: Amount,
    }

    /// The numbers that the rules use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Params {
        /// How long an epoch lasts.
        pub epoch: Span,
        /// The least that a node stakes.
        pub stake_min: Amount,
        /// What every transaction costs.
        pub fee_base: Amount,
        /// What each begun KiB of a transaction costs besides.
        pub fee_per_kib: Amount,
        /// From the decommission of a node to the return of its stake.
        pub unbonding: Span,
        /// Members with which a swarm is full.
        pub swarm_size: u16,
        /// The longest a workload session may run.
        pub session_time_max: Span,
    }

    /// A period with one randomness.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct EpochRecord {
        /// Which one, counted from genesis by the clock; empty ones are skipped.
        pub number: Epoch,
        /// When it began by the clock, though its first block may come later.
        pub start: Time,
        /// What chooses committees and swarms.
        pub randomness: Digest,
        /// Id of the beacon.
        pub beacon: Digest,
        /// Id of the beacon before.
        pub previous_beacon: Digest,
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            epoch: Span::from_secs(3600),
            stake_min: Amount::lux(100),
            // A tenth of a cent if a LUX is one: dear enough to make floods cost something.
            fee_base: Amount(1_000),
            fee_per_kib: Amount(100),
            // Items live at most 14 days without their owner: whoever lost one can say so before.
            unbonding: Span::from_days(14),
            swarm_size: 10,
            session_time_max: Span::from_days(1),
        }
    }
}

/// Numbers that the rules cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {got}, it must be {allowed}")]
pub struct BadParams {
    /// Which number.
    pub field: &'static str,
    /// What it is.
    pub got: String,
    /// What it may be.
    pub allowed: String,
}

impl Params {
    /// Checks that the rules can work with them.
    ///
    /// # Errors
    /// When one is outside its range.
    pub fn check(&self) -> Result<(), BadParams> {
        let span = |field, got: Span, min: Span, max: Span| {
            if min <= got && got <= max {
                return Ok(());
            }
            Err(BadParams { field, got: got.to_string(), allowed: format!("{min} to {max}") })
        };
        span("epoch", self.epoch, EPOCH_MIN, EPOCH_MAX)?;
        span("unbonding", self.unbonding, Span::ZERO, UNBONDING_MAX)?;
        span("session_time_max", self.session_time_max, EPOCH_MIN, SESSION_TIME_MAX)?;
        let got = self.swarm_size;
        if got == 0 || usize::from(got) > SWARM_MEMBERS_MAX {
            let allowed = format!("1 to {SWARM_MEMBERS_MAX}");
            return Err(BadParams { field: "swarm_size", got: got.to_string(), allowed });
        }
        if self.stake_min == Amount::ZERO {
            let (got, allowed) = (self.stake_min.to_string(), "more than 0 LUX".to_owned());
            return Err(BadParams { field: "stake_min", got, allowed });
        }
        Ok(())
    }
}
