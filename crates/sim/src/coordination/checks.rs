//! What must hold when an epoch has turned.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{Epoch, InboxAddress, NodeId, Time};
use session_protocol::Membership;
use session_protocol::beacon::faults;
use session_protocol::chain::Amount;
use session_protocol::chain::view::{BeaconMode, ChainView};
use session_swarm::coordinator::Lie;
use session_swarm::placement;
use session_vm::query::{self, entries, get};
use session_vm::records::{Cases, Failing, Mark, MarkAt, Marks, NodeStatus};

use super::Coordination;
use super::watch::Tally;
use crate::host::HostId;
use crate::node::Node;

/// The name of an invariant, and what contradicts it.
type Broken = (&'static str, String);

/// The first epoch in whose beacon the secrets count that nodes registered in epoch 0.
const FIRST_SHARED: Epoch = Epoch(2);

/// Looks at an epoch that has just ended. `last` is the view before the block that ended it.
pub(crate) fn turned(
    chain: &mut Coordination,
    nodes: &[Node],
    inboxes: &[InboxAddress],
    last: &Arc<ChainView>,
    now: Time,
) -> Result<(), Broken> {
    let view = Arc::clone(chain.blocks.view());
    same_as_fresh(&view, &chain.blocks.fresh_view())?;
    chain.watch.turn(now, view.epoch.schedule.length, view.epoch.number);
    chain.watch.turnout = (last.voted.len(), last.seats.len());
    count_moves(&mut chain.watch.tally, last, &view, inboxes);
    beacon_is_shared(chain, last, &view)?;
    for node in nodes {
        let Some(host) = chain.hosts.get(&node.id()).copied() else { continue };
        judge(chain, node, host, last)?;
    }
    cases(chain, nodes, last.epoch.number)
}

/// Whoever joins late and sees everything for the first time sees the same as those that followed.
fn same_as_fresh(view: &ChainView, fresh: &ChainView) -> Result<(), Broken> {
    let swarms = |members: &dyn Membership| -> BTreeMap<_, _> {
        members.swarms().into_iter().map(|id| (id, members.members(id))).collect()
    };
    let nodes = |members: &dyn Membership| -> Vec<NodeId> {
        members.nodes().into_iter().map(|(id, _)| id).collect()
    };
    let differs = [
        ("swarms", swarms(&*view.membership) != swarms(&*fresh.membership)),
        ("former swarms", swarms(&*view.former) != swarms(&*fresh.former)),
        ("nodes", nodes(&*view.membership) != nodes(&*fresh.membership)),
        ("seats", view.seats != fresh.seats),
        ("commitments", view.commitments != fresh.commitments),
        ("beacon", view.beacon != fresh.beacon),
        ("roster", view.roster != fresh.roster),
        ("keys", view.beacon_keys != fresh.beacon_keys),
        ("votes", view.voted != fresh.voted),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => {
            let height = view.height;
            Err((
                "nodes_agree_on_assignment",
                format!("{what} of height {height} depend on history"),
            ))
        }
        None => Ok(()),
    }
}

fn count_moves(tally: &mut Tally, last: &ChainView, view: &ChainView, inboxes: &[InboxAddress]) {
    let (before, after) = (last.membership.swarms(), view.membership.swarms());
    tally.epochs += 1;
    tally.swarms_made += after.iter().filter(|id| !before.contains(id)).count() as u64;
    tally.swarms_gone += before.iter().filter(|id| !after.contains(id)).count() as u64;
    tally.inboxes += inboxes.len() as u64;
    if before != after {
        let moved = |inbox: &&InboxAddress| {
            placement::nearest(inbox, &before) != placement::nearest(inbox, &after)
        };
        tally.inboxes_moved += inboxes.iter().filter(moved).count() as u64;
    }
    let (old, new) = (&last.seats, &view.seats);
    tally.seated += new.keys().filter(|node| !old.contains_key(node)).count() as u64;
    tally.unseated += old.keys().filter(|node| !new.contains_key(node)).count() as u64;
    tally.seats += old.len() as u64;
    tally.ballots += last.voted.len() as u64;
}

/// The next beacon is unbiased while fewer than a third of the dealers are bad, and never missing
/// while anybody is good.
fn beacon_is_shared(
    chain: &mut Coordination,
    last: &ChainView,
    view: &ChainView,
) -> Result<(), Broken> {
    let mode = view.epoch.mode;
    let name = match mode {
        BeaconMode::Shared => "shared",
        BeaconMode::Revealed => "revealed",
        BeaconMode::Degraded => "degraded",
        BeaconMode::Genesis => "genesis",
    };
    *chain.watch.tally.modes.entry(name).or_default() += 1;
    if view.epoch.number < FIRST_SHARED {
        return Ok(());
    }
    let ended = last.epoch.number;
    let dealers = &last.beacon.dealers;
    let is_bad = |dealer: &&NodeId| {
        let Some(host) = chain.hosts.get(dealer).copied() else { return true };
        let lie = chain.watch.seen(host).and_then(|seen| seen.lie);
        !last.beacon.keys.contains_key(dealer)
            || lie.is_some_and(spoils_beacons)
            || chain.watch.was_disturbed(host, ended)
    };
    let (of, bad) = (dealers.len(), dealers.iter().filter(is_bad).count());
    if bad <= faults(of) && mode != BeaconMode::Shared {
        let why = format!("the beacon of {} is {name}; {bad} of {of} are bad", view.epoch.number);
        return Err(("beacon_is_shared", why));
    }
    if bad < of && mode == BeaconMode::Degraded {
        let why = format!("nobody revealed for {}; {bad} of {of} are bad", view.epoch.number);
        return Err(("beacon_is_never_missing", why));
    }
    Ok(())
}

const fn spoils_beacons(lie: Lie) -> bool {
    matches!(lie, Lie::SilentDealer | Lie::BadDealer | Lie::LateReveal | Lie::CopyDealer)
}

/// Honest nodes pay only for an epoch in which they were away for long, and for the second one in
/// a row.
fn judge(
    chain: &mut Coordination,
    node: &Node,
    host: HostId,
    last: &ChainView,
) -> Result<(), Broken> {
    let (id, epoch) = (node.id(), last.epoch.number);
    let state = chain.blocks.state();
    let status = query::node(state, &id).map(|(_, record)| record.status);
    let slashed = matches!(status, Some(NodeStatus::Slashed { .. }));
    if node.is_honest() && slashed {
        return Err(("no_honest_node_is_slashed", format!("{id:?} is honest and slashed")));
    }
    let Some(mark) = get::<Marks>(state, &MarkAt { node: id, epoch }) else { return Ok(()) };
    let before = Epoch(epoch.0.saturating_sub(1));
    let (now_away, before_away) =
        (chain.watch.was_disturbed(host, epoch), chain.watch.was_disturbed(host, before));
    let paid = mark.penalty > Amount::ZERO;
    if node.is_honest() && paid && !(now_away && before_away) {
        let failed = names(&mark);
        let why = format!(
            "{id:?} paid {} for epoch {epoch} ({failed}), disturbed then: {now_away}, before: \
             {before_away}; its mark: {mark:?}",
            mark.penalty
        );
        return Err(("no_honest_node_pays", why));
    }
    let tally = &mut chain.watch.tally;
    let failings = Failing::of(mark.failings);
    if node.is_honest() {
        tally.honest_payments += u64::from(paid);
        tally.undeserved_misses += u64::from(!failings.is_empty() && !now_away && !before_away);
    } else {
        tally.other_payments += u64::from(paid);
    }
    let counts =
        if node.is_honest() { &mut tally.honest_failings } else { &mut tally.other_failings };
    for failing in &failings {
        *counts.entry(failing.name()).or_default() += 1;
    }
    let seen = chain.watch.get_mut(host);
    seen.served += u64::from(last.seats.contains_key(&id));
    if let Some(lie) = seen.lie
        && failings.iter().any(|failing| gives_away(lie, *failing))
    {
        seen.caught.get_or_insert(epoch);
    }
    Ok(())
}

fn names(mark: &Mark) -> String {
    let names: Vec<&str> = Failing::of(mark.failings).into_iter().map(Failing::name).collect();
    names.join(", ")
}

/// Returns whether this is what a liar of this kind is to be caught at.
const fn gives_away(lie: Lie, failing: Failing) -> bool {
    match lie {
        Lie::DropItems { .. } => matches!(failing, Failing::Storage),
        Lie::CommitElse | Lie::FalseReceipt => {
            matches!(failing, Failing::Storage | Failing::Deviant)
        }
        Lie::SilentDealer | Lie::BadDealer | Lie::LateReveal | Lie::CopyDealer => {
            matches!(failing, Failing::BeaconSilent | Failing::BeaconBad)
        }
        // Votes against everybody are outvoted and cost nothing; equivocation makes a case.
        _ => false,
    }
}

/// Nobody honest is accused; whoever is, is caught.
fn cases(chain: &mut Coordination, nodes: &[Node], ended: Epoch) -> Result<(), Broken> {
    let cases: Vec<_> = entries::<Cases>(chain.blocks.state()).map(|(_, case)| case).collect();
    for case in cases {
        let Some(host) = chain.hosts.get(&case.accused).copied() else { continue };
        if nodes.get(host.index()).is_some_and(Node::is_honest) {
            let why = format!("{:?} is honest, the case is {case:?}", case.accused);
            return Err(("no_honest_node_is_accused", why));
        }
        chain.watch.get_mut(host).caught.get_or_insert(ended);
    }
    Ok(())
}
