//! What a run came to, as far as the chain is concerned.

use std::collections::BTreeMap;
use std::fmt;

use session_core::Span;
use session_swarm::coordinator::Lie;
use session_vm::query::entries;
use session_vm::records::Cases;

use super::Coordination;
use super::blocks::Counts;
use super::watch::Tally;
use crate::node::Node;

/// Figures of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How long an epoch lasts.
    pub epoch: Span,
    /// What happened to nodes.
    pub tally: Tally,
    /// What the chain did.
    pub blocks: Counts,
    /// Accusations, by kind.
    pub cases: BTreeMap<&'static str, u64>,
    /// Liars by what they do.
    pub liars: BTreeMap<String, Liars>,
    /// Beacons that some node holds a certificate of.
    pub certified: u64,
    /// Frames between nodes about duties.
    pub duty_frames: u64,
    /// Bytes of them.
    pub duty_bytes: u64,
    /// Swarms at the end.
    pub swarms: usize,
}

/// Nodes that lie in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Liars {
    /// How many.
    pub count: u64,
    /// Those of them that it had consequences for.
    pub caught: u64,
    /// Epochs that those had served by then, all together.
    pub epochs: u64,
}

impl Summary {
    pub(crate) fn of(chain: &Coordination, nodes: &[Node]) -> Self {
        let mut liars: BTreeMap<String, Liars> = BTreeMap::new();
        for (lie, seen) in chain.watch.liars() {
            let liars = liars.entry(name(lie).to_owned()).or_default();
            liars.count += 1;
            if let Some(caught) = seen.caught {
                liars.caught += 1;
                liars.epochs += caught.0 + 1;
            }
        }
        let mut cases = BTreeMap::new();
        for (_, case) in entries::<Cases>(chain.blocks.state()) {
            *cases.entry(case.kind.name()).or_default() += 1;
        }
        Self {
            epoch: chain.blocks.view().epoch.schedule.length,
            tally: chain.watch.tally.clone(),
            blocks: chain.blocks.counts.clone(),
            cases,
            liars,
            certified: chain.certified.len() as u64,
            duty_frames: nodes.iter().map(|node| node.duties.frames).sum(),
            duty_bytes: nodes.iter().map(|node| node.duties.bytes).sum(),
            swarms: chain.swarms.ids.len(),
        }
    }

    /// Returns bytes of duties that a node sends to others in an epoch, on average.
    #[must_use]
    pub fn bytes_to_nodes(&self) -> u64 {
        self.duty_bytes / self.tally.seats.max(1)
    }

    /// Returns bytes of transactions that a node sends in an epoch, on average.
    #[must_use]
    pub fn bytes_to_chain(&self) -> u64 {
        self.blocks.bytes / self.tally.seats.max(1)
    }
}

/// Returns what people call a lie.
const fn name(lie: Lie) -> &'static str {
    match lie {
        Lie::DropItems { .. } => "drop items",
        Lie::FalseReceipt => "false receipt",
        Lie::Equivocate => "equivocate",
        Lie::CommitElse => "commit else",
        Lie::FalseFail => "false fail",
        Lie::SilentDealer => "silent dealer",
        Lie::BadDealer => "bad dealer",
        Lie::LateReveal => "late reveal",
        Lie::CopyDealer => "copy dealer",
        _ => "other",
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { epochs, modes, seats, ballots, .. } = &self.tally;
        let length = self.epoch;
        writeln!(f, "  epochs        {epochs} of {length}, beacons {}", list(modes))?;
        let votes = ballots * 100 / seats.max(&1);
        writeln!(f, "  votes         {votes} % of {seats} seats, {} certificates", self.certified)?;
        let Tally { swarms_made, swarms_gone, seated, unseated, .. } = &self.tally;
        writeln!(
            f,
            "  swarms        {} at the end, {swarms_made} made, {swarms_gone} gone; {seated} nodes \
             took a seat, {unseated} left one",
            self.swarms
        )?;
        let Tally { inboxes_moved, inboxes, hand_over, .. } = &self.tally;
        writeln!(
            f,
            "  inboxes       {inboxes_moved} of {inboxes} moved, the last one at rest after \
             {hand_over}"
        )?;
        let Counts { blocks, transactions, bytes, rejected } = &self.blocks;
        let refused: u64 = rejected.values().sum();
        writeln!(
            f,
            "  chain         {blocks} blocks, {transactions} transactions, {} KiB, {refused} \
             refused: {}",
            bytes >> 10,
            list(rejected)
        )?;
        let (nodes, chain) = (self.bytes_to_nodes(), self.bytes_to_chain());
        writeln!(f, "  duties        {nodes} bytes to nodes, {chain} to the chain, each epoch")?;
        let Tally { honest_failings, other_failings, honest_payments, other_payments, .. } =
            &self.tally;
        let undeserved = self.tally.undeserved_misses;
        writeln!(
            f,
            "  honest nodes  paid {honest_payments} times, missed {undeserved} epochs without \
             being away; failed at: {}",
            list(honest_failings)
        )?;
        writeln!(
            f,
            "  liars         paid {other_payments} times, failed at: {}; cases: {}",
            list(other_failings),
            list(&self.cases)
        )?;
        for (name, Liars { count, caught, epochs }) in &self.liars {
            let mean = epochs * 10 / caught.max(&1);
            let (whole, tenth) = (mean / 10, mean % 10);
            writeln!(f, "    {name:<14} {caught} of {count} caught, after {whole}.{tenth} epochs")?;
        }
        Ok(())
    }
}

fn list<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    counts.join(", ")
}
