//! What must hold on the chain, whatever happens: checked after every event, at the node that it
//! happened to.

use std::collections::BTreeMap;

use session_core::{AccountId, BlockId, Domain, Encode, TxId, committee};
use session_crypto::Verifier;
use session_crypto::fake::FakeVerifier;
use session_protocol::chain::block::{Sealed, block_id};
use session_protocol::chain::{Action, Block, ReceivedTransaction, SealedBlock};
use session_vm::chain::Chain;
use session_vm::ledger::invariants as ledger;
use session_vm::query;
use session_vm::solo::{self, Refusal};

use super::node::{Disk, HANDED_MAX, Node, POOL};
use super::world::World;
use crate::invariants::Verdict;

/// An invariant about a node to which something has just happened.
pub type OnNode = (&'static str, fn(&World, &Node, &News) -> Verdict);

/// Invariants checked after every event.
pub const AFTER_EVENTS: &[OnNode] = &[
    ("heights_never_go_back", heights_never_go_back),
    ("only_sealed_valid_blocks_are_accepted", only_sealed_valid_blocks_are_accepted),
    ("same_height_same_block", same_height_same_block),
    ("supply_is_conserved", supply_is_conserved),
    ("indexes_agree", indexes_agree),
    ("executed_at_most_once", executed_at_most_once),
    ("sessions_end_by_a_quorum", sessions_end_by_a_quorum),
    ("accepted_is_never_lost", accepted_is_never_lost),
    ("followers_stop_for_a_cause_only", followers_stop_for_a_cause_only),
    ("whoever_is_shown_a_fork_stops", whoever_is_shown_a_fork_stops),
    ("whoever_stopped_keeps_what_it_has", whoever_stopped_keeps_what_it_has),
    ("waiting_is_bounded", waiting_is_bounded),
];

/// What a node was seen to have accepted, over all its lives.
#[derive(Default)]
pub(crate) struct Seen {
    /// By height, from genesis on.
    pub(crate) blocks: Vec<BlockId>,
    /// Where each transaction is.
    pub(crate) places: BTreeMap<TxId, (u64, u32)>,
    /// How many of each sender.
    pub(crate) counts: BTreeMap<AccountId, u64>,
    /// The last block when it stopped following.
    pub(crate) stopped_at: Option<BlockId>,
}

/// What is new at a node since it was last looked at.
pub struct News {
    /// Whether it was just shown another sealed block for a height that it has.
    pub shown_fork: bool,
    /// Whether it was started meanwhile.
    pub started: bool,
    /// What it accepted, in order.
    pub blocks: Vec<NewBlock>,
}

/// A block that was accepted.
pub struct NewBlock {
    /// Its id.
    pub id: BlockId,
    /// The block.
    pub block: Block,
    /// Its transactions.
    pub transactions: Vec<ReceivedTransaction>,
}

/// Returns whether a sealed block contradicts one that a node has.
pub(crate) fn is_fork(world: &World, node: &Node, sealed: &SealedBlock) -> bool {
    let Some(chain) = &node.chain else { return false };
    let Ok(block) = Block::parse(&sealed.block, chain.id()) else { return false };
    let (id, height) = (block_id(&sealed.block), block.height);
    let statement = Sealed { chain: *chain.id(), height, block: id };
    let ours = world.seen(node).blocks.get(usize::try_from(height).unwrap_or(usize::MAX));
    ours.is_some_and(|ours| *ours != id)
        && statement.verify(world.sequencer_keys().dsa(), &sealed.seal, &FakeVerifier).is_ok()
}

/// Reads what a node accepted after the first `known` blocks.
pub(crate) fn news(chain: &Chain<Disk>, known: u64, started: bool) -> Result<News, String> {
    let mut news = News { shown_fork: false, started, blocks: Vec::new() };
    for height in known..=chain.last_accepted().height {
        let read = || {
            let id = chain.id_at_height(height).ok()??;
            let block = Block::parse(&chain.block(&id).ok()??.bytes, chain.id()).ok()?;
            let parse = |bytes: &_| ReceivedTransaction::parse(bytes).ok();
            let parsed: Vec<_> =
                block.transactions.iter().map(|bytes| parse(&**bytes)).collect::<Option<_>>()?;
            Some(NewBlock { id, block, transactions: parsed })
        };
        let block = read().ok_or_else(|| format!("the block at height {height} is not there"))?;
        news.blocks.push(block);
    }
    Ok(news)
}

/// No node's last accepted block ever goes back, nor changes, not even by a crash.
pub fn heights_never_go_back(world: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    let seen = &world.seen(node).blocks;
    let last = chain.last_accepted().height;
    if last + 1 < seen.len() as u64 {
        return Err(format!("{:?} has {last}, it had {}", node.host, seen.len() - 1));
    }
    let from = if news.started { 0 } else { seen.len().saturating_sub(1) };
    for (height, had) in (0_u64..).zip(seen).skip(from) {
        let has = chain.id_at_height(height).map_err(|error| error.to_string())?;
        if has != Some(*had) {
            return Err(format!("{:?} has {has:?} at height {height}, it had {had}", node.host));
        }
    }
    Ok(())
}

/// Whatever is accepted follows the rules, carries the sequencer's seal, which is kept with it, and
/// its senders' signatures.
pub fn only_sealed_valid_blocks_are_accepted(world: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    for new in news.blocks.iter().filter(|new| new.block.height > 0) {
        let NewBlock { id, block, transactions } = new;
        let height = block.height;
        for transaction in transactions {
            let (host, id, signed) = (node.host, transaction.id, &transaction.signed);
            let keys = query::keys(chain.state(), &transaction.sender());
            let keys = keys.ok_or_else(|| format!("{host:?}: nobody's keys signed {id}"))?;
            let body = signed.transaction.to_bytes();
            FakeVerifier
                .verify(keys.dsa(), Domain::Transaction, &body, &signed.signature)
                .map_err(|_| format!("{host:?} accepted {id}, which its sender did not sign"))?;
        }
        if !world.sealed().is_valid(height, id) {
            return Err(format!("{:?} accepted {id}, nobody sealed that", node.host));
        }
        let seal = solo::seal_at(chain, height).map_err(|error| error.to_string())?;
        let seal = seal.ok_or_else(|| format!("{:?} has no seal for {height}", node.host))?;
        Sealed { chain: *chain.id(), height, block: *id }
            .verify(world.sequencer_keys().dsa(), &seal, &FakeVerifier)
            .map_err(|_| format!("{:?} accepted {id} with somebody else's seal", node.host))?;
    }
    Ok(())
}

/// Nodes that have the same height have the same block and state; once the sequencer sealed two
/// blocks for a height, from there on each has one of them.
pub fn same_height_same_block(world: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    for NewBlock { id, block, .. } in &news.blocks {
        if let Some(first) = world.first_at(block.height)
            && first != *id
            && world.sealed().fork().is_none_or(|fork| block.height < fork)
        {
            let (host, height) = (node.host, block.height);
            return Err(format!("{host:?} has {id} at height {height}, another one {first}"));
        }
    }
    let (got, named) = (chain.state().root(), chain.last_accepted().state_root);
    if (news.started || !news.blocks.is_empty()) && got != named {
        return Err(format!("{:?} has state {got}, its block names {named}", node.host));
    }
    Ok(())
}

/// Balances, stakes and fees are what genesis had.
pub fn supply_is_conserved(world: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = node.chain.as_ref().filter(|_| news.is_some()) else { return Ok(()) };
    let (got, supply) = (query::supply(chain.state()), world.supply());
    if got != supply {
        return Err(format!("{:?} says the supply is {got}, it was {supply}", node.host));
    }
    ledger::supply_is_conserved(chain.state()).map_err(|why| format!("{:?}: {why}", node.host))
}

/// Every index of the state agrees with the records that it is about.
pub fn indexes_agree(_: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = node.chain.as_ref().filter(|_| news.is_some()) else { return Ok(()) };
    ledger::indexes_agree(chain.state()).map_err(|why| format!("{:?}: {why}", node.host))
}

/// No transaction is in two blocks, and an account's nonce is the number of its transactions.
pub fn executed_at_most_once(world: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    let seen = world.seen(node);
    let mut new: BTreeMap<TxId, u64> = BTreeMap::new();
    let mut counts: BTreeMap<AccountId, u64> = BTreeMap::new();
    for NewBlock { block, transactions, .. } in &news.blocks {
        for transaction in transactions {
            let (id, height) = (transaction.id, block.height);
            let before = seen.places.get(&id).map(|(height, _)| *height);
            if let Some(before) = new.insert(id, height).or(before) {
                return Err(format!("{:?}: {id} is at heights {before} and {height}", node.host));
            }
            *counts.entry(transaction.sender()).or_default() += 1;
        }
    }
    for (sender, count) in counts {
        let made = count + seen.counts.get(&sender).copied().unwrap_or_default();
        let nonce = query::account(chain.state(), &sender).nonce;
        if nonce != made {
            return Err(format!("{:?}: {sender} has nonce {nonce} after {made}", node.host));
        }
    }
    Ok(())
}

/// A workload session ends well only by a quorum of its committee.
pub fn sessions_end_by_a_quorum(_: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    for transaction in news.blocks.iter().flat_map(|new| &new.transactions) {
        let Action::FinalizeSession { session, certificate, .. } =
            &transaction.signed.transaction.action
        else {
            continue;
        };
        let record = query::session(chain.state(), session);
        let members = record.map_or(0, |record| record.committee.len());
        let needed = committee::quorum(members).unwrap_or(usize::MAX);
        let bits = certificate.signers.iter().map(|byte| byte.count_ones() as usize);
        let got: usize = bits.sum();
        if got < needed {
            let host = node.host;
            return Err(format!("{host:?}: {session} ended by {got} of {members}"));
        }
    }
    Ok(())
}

/// What is in a block is found there by its id, also after a crash.
pub fn accepted_is_never_lost(world: &World, node: &Node, news: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    let check = |id: &TxId, place: (u64, u32)| {
        let found = chain.transaction(id).map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| format!("{:?} lost {id} of {}", node.host, place.0))?;
        let read = ReceivedTransaction::parse(&found.bytes).map_err(|error| error.to_string())?;
        let right = read.id == *id && (found.height, found.index) == place;
        if right { Ok(()) } else { Err(format!("{:?} has something else for {id}", node.host)) }
    };
    for NewBlock { block, transactions, .. } in &news.blocks {
        for (index, transaction) in (0_u32..).zip(transactions) {
            check(&transaction.id, (block.height, index))?;
        }
    }
    if news.started {
        world.seen(node).places.iter().try_for_each(|(id, place)| check(id, *place))?;
    }
    Ok(())
}

/// Nobody but the sequencer can stop a follower, and only by contradicting itself or the rules.
pub fn followers_stop_for_a_cause_only(world: &World, node: &Node, _: &News) -> Verdict {
    let Some(refusal) = &node.stopped else { return Ok(()) };
    let guilty = match refusal {
        Refusal::Fork { height, ours, theirs } => {
            ours != theirs
                && world.sealed().is_sealed(*height, ours)
                && world.sealed().is_sealed(*height, theirs)
        }
        Refusal::Invalid { height, .. } => world.sealed().has_invalid(*height),
        _ => false,
    };
    if guilty { Ok(()) } else { Err(format!("{:?} stopped for nothing: {refusal}", node.host)) }
}

/// Two seals for one height end the following, whichever came first.
pub fn whoever_is_shown_a_fork_stops(_: &World, node: &Node, news: &News) -> Verdict {
    if news.shown_fork && !matches!(node.stopped, Some(Refusal::Fork { .. })) {
        return Err(format!("{:?} was shown a fork and goes on", node.host));
    }
    Ok(())
}

/// A follower that stopped neither takes blocks nor drops them.
pub fn whoever_stopped_keeps_what_it_has(world: &World, node: &Node, _: &News) -> Verdict {
    let (Some(chain), Some(_)) = (&node.chain, &node.stopped) else { return Ok(()) };
    match world.seen(node).stopped_at {
        Some(at) if at != chain.last_accepted().id => {
            Err(format!("{:?} stopped at {at}, and went on", node.host))
        }
        _ => Ok(()),
    }
}

/// What waits at a node stays within its bounds.
pub fn waiting_is_bounded(_: &World, node: &Node, _: &News) -> Verdict {
    let Some(chain) = &node.chain else { return Ok(()) };
    let stats = chain.mempool_stats();
    let most = stats.senders * POOL.sender_transactions_max;
    let over = [
        ("bytes in the mempool", stats.bytes, POOL.bytes_max),
        ("transactions in the mempool", stats.transactions, most),
        ("undecided blocks", chain.undecided(), 2),
        ("transactions to hand on", node.handed(), HANDED_MAX),
    ];
    for (what, got, limit) in over {
        if got > limit {
            return Err(format!("{:?} has {got} {what}, the bound is {limit}", node.host));
        }
    }
    Ok(())
}

impl News {
    const fn is_some(&self) -> bool {
        self.started || !self.blocks.is_empty()
    }
}
