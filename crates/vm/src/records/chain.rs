use session_core::{Digest, Epoch, Span, Text, Time, record};
use session_protocol::chain::Amount;
use session_protocol::chain::view::{BeaconMode, DutyParams};
use session_protocol::limits::SWARM_MEMBERS_MAX;
use session_protocol::roster::EXAMINERS_MAX;

/// Shorter epochs would turn in every block.
const EPOCH_MIN: Span = Span::from_secs(1);
const EPOCH_MAX: Span = Span::from_days(30);
const UNBONDING_MAX: Span = Span::from_days(365);
const SESSION_TIME_MAX: Span = Span::from_days(30);
const SETTLE_MAX: Span = Span::from_days(1);
/// All of something, in ten-thousandths.
const BPS: u16 = 10_000;
/// Half of the epochs that count.
const DRAIN_MAX: u16 = 12;

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
        /// What nodes need for their duties.
        pub duties: DutyParams,
        /// Epochs from the one of a node's registration to the first in which it serves.
        pub activation_epochs: u8,
        /// What a miss costs, in ten-thousandths of the original stake.
        pub penalty_bps: u16,
        /// The share of the original stake after whose loss a node is out.
        pub penalty_max_bps: u16,
        /// Misses in a row from which on they cost something.
        pub misses_free: u8,
        /// What proven misconduct costs, in ten-thousandths of the original stake.
        pub slash_bps: u16,
        /// How long an accusation can be dropped or refuted.
        pub veto_window: Span,
        /// Epochs that a node may be away, announced, in any 24 epochs.
        pub drain_epochs_max: u8,
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
        /// How the randomness came about.
        pub mode: BeaconMode,
        /// Root of the committee that attests the beacon.
        pub attesters: Digest,
        /// The last epoch whose turn changed which swarms there are.
        pub swarms_since: Epoch,
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
            duties: DutyParams {
                settle: Span::from_secs(600),
                examiners: 10,
                min_peers: 3,
                free_bytes_min: 1 << 30,
            },
            activation_epochs: 2,
            penalty_bps: 50,
            penalty_max_bps: 5_000,
            // The first miss is free: six bad examiners of ten happen once in 170 epochs.
            misses_free: 1,
            slash_bps: 5_000,
            veto_window: Span::from_days(1),
            drain_epochs_max: 2,
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
        let number = |field, got: u16, (min, max): (u16, u16)| {
            if (min..=max).contains(&got) {
                return Ok(());
            }
            Err(BadParams { field, got: got.to_string(), allowed: format!("{min} to {max}") })
        };
        span("epoch", self.epoch, EPOCH_MIN, EPOCH_MAX)?;
        span("unbonding", self.unbonding, Span::ZERO, UNBONDING_MAX)?;
        span("session_time_max", self.session_time_max, EPOCH_MIN, SESSION_TIME_MAX)?;
        span("veto_window", self.veto_window, Span::ZERO, UNBONDING_MAX)?;
        number("swarm_size", self.swarm_size, (1, SWARM_MEMBERS_MAX as u16))?;
        number("activation_epochs", self.activation_epochs.into(), (1, 255))?;
        number("penalty_bps", self.penalty_bps, (0, BPS))?;
        number("penalty_max_bps", self.penalty_max_bps, (0, BPS))?;
        number("slash_bps", self.slash_bps, (0, BPS))?;
        number("drain_epochs_max", self.drain_epochs_max.into(), (0, DRAIN_MAX))?;
        let DutyParams { settle, examiners, min_peers, free_bytes_min: _ } = self.duties;
        span("settle", settle, Span::ZERO, SETTLE_MAX)?;
        number("examiners", examiners.into(), (1, EXAMINERS_MAX as u16))?;
        number("min_peers", min_peers.into(), (1, examiners.into()))?;
        if self.stake_min == Amount::ZERO {
            let (got, allowed) = (self.stake_min.to_string(), "more than 0 LUX".to_owned());
            return Err(BadParams { field: "stake_min", got, allowed });
        }
        Ok(())
    }
}
