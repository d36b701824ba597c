//! Replies cut to what an answer has room for.

use std::collections::BTreeMap;

use session_core::{Encode as _, List};
use session_protocol::onion::ExitAnswer;
use session_protocol::request::{Outcome, Reply};

/// Encodes an answer that is a reply.
pub(super) fn encoded(reply: &Reply) -> Vec<u8> {
    ExitAnswer::Reply { reply: reply.clone() }.to_bytes()
}

/// Encodes a reply in at most `room` bytes: with receipts of a quorum only if those of all members
/// do not fit, and otherwise as what it would take.
pub(super) fn fitted(reply: Reply, quorum: usize, room: usize) -> Vec<u8> {
    let whole = encoded(&reply);
    if whole.len() <= room {
        return whole;
    }
    let cut = encoded(&of_quorum(reply, quorum));
    if cut.len() <= room {
        return cut;
    }
    let bytes = u32::try_from(cut.len()).unwrap_or(u32::MAX);
    ExitAnswer::TooLarge { bytes }.to_bytes()
}

/// Leaves out receipts beyond a quorum, and signatures that no receipt refers to any more.
fn of_quorum(reply: Reply, quorum: usize) -> Reply {
    let mut outcomes = reply.outcomes.into_vec();
    // Signatures are most of it: those stay that most items share.
    let mut shared = BTreeMap::<u16, usize>::new();
    for outcome in &outcomes {
        if let Outcome::Stored { receipts, .. } = outcome {
            receipts.iter().for_each(|receipt| *shared.entry(receipt.root).or_default() += 1);
        }
    }
    let mut kept = BTreeMap::new();
    for outcome in &mut outcomes {
        let Outcome::Stored { receipts, .. } = outcome else { continue };
        let mut left = std::mem::take(receipts).into_vec();
        left.sort_by_key(|receipt| (usize::MAX - shared[&receipt.root], receipt.root));
        left.truncate(quorum);
        for receipt in &mut left {
            let next = u16::try_from(kept.len()).expect("no more than there were");
            receipt.root = *kept.entry(receipt.root).or_insert(next);
        }
        *receipts = List::new(left).expect("no more than there were");
    }
    let mut roots = vec![None; kept.len()];
    for (before, now) in kept {
        roots[usize::from(now)] = reply.roots.get(usize::from(before)).cloned();
    }
    let roots = roots.into_iter().flatten().collect::<Vec<_>>();
    let roots = List::new(roots).expect("no more than there were");
    let outcomes = List::new(outcomes).expect("as many as before");
    Reply { roots, outcomes, ..reply }
}
