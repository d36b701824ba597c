//! What a node that lies does, for demonstrations and simulations: each lie is one small change to
//! what an honest node says, so that what is caught is the lie and nothing else.

use session_core::{Domain, NodeId, digest};
use session_protocol::attestation::Statement;
use session_protocol::beacon::{Dealing, Dealt, Reveal, contribution};
use session_protocol::commitment::Leaf;

use super::scene::Scene;

/// One way of lying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lie {
    /// It lost this share of what it committed to, and does not say so.
    DropItems {
        /// Of 100.
        percent: u8,
    },
    /// It signs receipts, keeps only half of what it promised, and says so when it is asked.
    FalseReceipt,
    /// It attests two roots for one beacon.
    Equivocate,
    /// It commits to half of what it keeps, and opens leaves of the whole.
    CommitElse,
    /// It says of everybody that they failed.
    FalseFail,
    /// It deals and never reveals.
    SilentDealer,
    /// It deals shares of another secret than the one that it can reveal.
    BadDealer,
    /// It reveals only when the time for it is over.
    LateReveal,
    /// It posts the dealing of another dealer as its own.
    CopyDealer,
}

/// Returns whether a node that drops items has lost this one.
pub(super) fn is_lost(lie: Option<Lie>, node: &NodeId, leaf: &Leaf) -> bool {
    let Some(Lie::DropItems { percent }) = lie else { return false };
    is_among(percent, node, leaf)
}

/// Returns the leaves of what a node that forgets its promises has kept.
pub(super) fn remembered(scene: &Scene<'_>, mut leaves: Vec<Leaf>) -> Vec<Leaf> {
    if scene.config.lie == Some(Lie::FalseReceipt) {
        leaves.retain(|leaf| is_among(50, &scene.me(), leaf));
    }
    leaves
}

fn is_among(percent: u8, node: &NodeId, leaf: &Leaf) -> bool {
    let drawn = digest(Domain::Simulation, &[node.as_bytes(), leaf.message.as_bytes()]);
    let [high, low, ..] = *drawn.as_bytes();
    u16::from_be_bytes([high, low]) % 100 < u16::from(percent)
}

/// Returns the leaves that a node commits to that admits to half of them only.
pub(super) fn half(leaves: &[Leaf]) -> &[Leaf] {
    &leaves[..leaves.len() / 2]
}

/// Returns the statement that contradicts an honest one.
pub(super) fn contradiction(honest: &Statement) -> Statement {
    let root = digest(Domain::Simulation, &[honest.root.as_bytes()]);
    Statement { root, ..*honest }
}

/// What a dealer deals: what it posts, and the shares that it sends.
pub(super) struct Hand {
    pub(super) dealing: Dealing,
    pub(super) shares: Dealt,
}

/// Returns what a dealer with this one-time secret deals.
pub(super) fn hand(scene: &Scene<'_>, reveal: &Reveal) -> Hand {
    let view = &scene.view;
    let (secret, dealers) =
        (contribution(&reveal.secret, &view.epoch.beacon), view.beacon.dealers.len());
    let honest = Dealt::new(&secret, dealers);
    let dealing = honest.dealing();
    match scene.config.lie {
        Some(Lie::BadDealer) => {
            let other = Dealt::new(digest(Domain::Simulation, &[&secret]).as_bytes(), dealers);
            // The shares fit what is posted; only the secret behind them is not the one promised.
            let dealing = Dealing { shares: other.dealing().shares, ..dealing };
            Hand { dealing, shares: other }
        }
        _ => Hand { dealing, shares: honest },
    }
}

/// Returns the dealing to post: a copier waits for one that it can copy.
pub(super) fn dealing(scene: &Scene<'_>, place: u16, hand: &Hand) -> Option<Dealing> {
    if scene.config.lie != Some(Lie::CopyDealer) {
        return Some(hand.dealing);
    }
    let mut others = scene.view.beacon.dealings.iter().filter(|(other, _)| **other != place);
    others.next().map(|(_, dealing)| *dealing)
}
