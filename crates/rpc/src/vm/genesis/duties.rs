//! What nodes must do in each epoch, and what it costs them not to: a part of the genesis.

use serde_json::{Map, Value};
use session_core::Span;

use crate::fields::{BadField, Fields};
use crate::vm::config::within;

const DAY_SECONDS: u64 = 86_400;
const SETTLE_RANGE: (u64, u64) = (0, DAY_SECONDS);
const EXAMINERS_RANGE: (u64, u64) = (1, 32);
const SMALL_RANGE: (u64, u64) = (0, 255);
const ACTIVATION_RANGE: (u64, u64) = (1, 255);
const BPS_RANGE: (u64, u64) = (0, 10_000);
const VETO_RANGE: (u64, u64) = (0, 365 * DAY_SECONDS);
const DRAIN_RANGE: (u64, u64) = (0, 12);

/// Duties of nodes and the price of misconduct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties {
    /// How old items are at least before a commitment holds them.
    pub settle: Span,
    /// Nodes that examine each node.
    pub examiners: u8,
    /// Examiners that must have reached a node for it to count as up.
    pub min_peers: u8,
    /// Bytes that a node must be able to take.
    pub free_bytes_min: u64,
    /// Epochs from the one of a node's registration to the first in which it serves.
    pub activation_epochs: u8,
    /// What a miss costs, in ten-thousandths of the original stake.
    pub penalty_bps: u16,
    /// The share of the original stake after whose loss a node is out, in ten-thousandths.
    pub penalty_bps_max: u16,
    /// Misses in a row that cost nothing.
    pub misses_free: u8,
    /// What proven misconduct costs, in ten-thousandths of the original stake.
    pub slash_bps: u16,
    /// How long an accusation can be dropped or refuted.
    pub veto_window: Span,
    /// Epochs that a node may be away, announced, in any 24.
    pub drain_epochs_max: u8,
}

impl Default for Duties {
    fn default() -> Self {
        Self {
            settle: Span::from_secs(600),
            examiners: 10,
            min_peers: 3,
            free_bytes_min: 1 << 30,
            activation_epochs: 2,
            penalty_bps: 50,
            penalty_bps_max: 5_000,
            misses_free: 1,
            slash_bps: 5_000,
            veto_window: Span::from_days(1),
            drain_epochs_max: 2,
        }
    }
}

impl Duties {
    /// Reads the fields of a genesis that are about duties; those that are not there have their
    /// defaults.
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, BadField> {
        let usual = Self::default();
        let seconds = |got: Option<u64>, usual| got.map_or(usual, Span::from_secs);
        let duties = Self {
            settle: seconds(within(fields, "settleSeconds", SETTLE_RANGE)?, usual.settle),
            examiners: number(fields, "examiners", EXAMINERS_RANGE, usual.examiners)?,
            min_peers: number(fields, "minPeers", EXAMINERS_RANGE, usual.min_peers)?,
            free_bytes_min: fields.integer("freeBytesMin")?.unwrap_or(usual.free_bytes_min),
            activation_epochs: number(
                fields,
                "activationEpochs",
                ACTIVATION_RANGE,
                usual.activation_epochs,
            )?,
            penalty_bps: number(fields, "penaltyBps", BPS_RANGE, usual.penalty_bps)?,
            penalty_bps_max: number(fields, "penaltyBpsMax", BPS_RANGE, usual.penalty_bps_max)?,
            misses_free: number(fields, "missesFree", SMALL_RANGE, usual.misses_free)?,
            slash_bps: number(fields, "slashBps", BPS_RANGE, usual.slash_bps)?,
            veto_window: seconds(
                within(fields, "vetoWindowSeconds", VETO_RANGE)?,
                usual.veto_window,
            ),
            drain_epochs_max: number(
                fields,
                "drainEpochsMax",
                DRAIN_RANGE,
                usual.drain_epochs_max,
            )?,
        };
        if duties.min_peers > duties.examiners {
            let (got, examiners) = (duties.min_peers, duties.examiners);
            return Err(fields.bad("minPeers", format!("it is {got}, examiners are {examiners}")));
        }
        Ok(duties)
    }

    /// Adds the fields to a genesis.
    pub(super) fn write(&self, table: &mut Map<String, Value>) {
        let entries: [(&str, Value); 11] = [
            ("settleSeconds", (self.settle.as_millis() / 1000).into()),
            ("examiners", self.examiners.into()),
            ("minPeers", self.min_peers.into()),
            ("freeBytesMin", self.free_bytes_min.into()),
            ("activationEpochs", self.activation_epochs.into()),
            ("penaltyBps", self.penalty_bps.into()),
            ("penaltyBpsMax", self.penalty_bps_max.into()),
            ("missesFree", self.misses_free.into()),
            ("slashBps", self.slash_bps.into()),
            ("vetoWindowSeconds", (self.veto_window.as_millis() / 1000).into()),
            ("drainEpochsMax", self.drain_epochs_max.into()),
        ];
        table.extend(entries.map(|(key, value)| (key.to_owned(), value)));
    }
}

fn number<T: TryFrom<u64>>(
    fields: &mut Fields<'_>,
    field: &'static str,
    range: (u64, u64),
    usual: T,
) -> Result<T, BadField> {
    let got = within(fields, field, range)?;
    let small = got.map(|got| T::try_from(got).ok());
    Ok(small.map_or(usual, |small| small.expect("its range fits its type")))
}
