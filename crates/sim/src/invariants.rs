//! What must hold, whatever happens. Each is a function with the name of what it says.
//!
//! Some look at what a host has just done ([`AFTER_EVENTS`]), the others at the whole world at
//! checkpoints ([`AT_CHECKPOINTS`]).

use session_core::{InboxAddress, MessageId, Span, Time, committee};
use session_storage::Store;

use crate::host::HostId;
use crate::note::Note;
use crate::world::World;

/// What a broken invariant says about itself.
pub type Verdict = Result<(), String>;

/// An invariant about something that has just happened.
pub type OnNote = (&'static str, fn(&World, &Note) -> Verdict);

/// An invariant about the state of the world.
pub type OnWorld = (&'static str, fn(&World) -> Verdict);

/// Invariants checked after every event that they are about.
pub const AFTER_EVENTS: &[OnNote] = &[
    ("receipt_implies_durable_copy", receipt_implies_durable_copy),
    ("expired_is_never_served", expired_is_never_served),
    ("deleted_is_not_served", deleted_is_not_served),
    ("no_honest_node_is_penalized", no_honest_node_is_penalized),
];

/// Invariants checked every few seconds of simulated time.
pub const AT_CHECKPOINTS: &[OnWorld] = &[
    ("acknowledged_is_retrievable", acknowledged_is_retrievable),
    ("deleted_stays_deleted", deleted_stays_deleted),
    ("queues_bounded", queues_bounded),
];

/// Clocks differ, retries sign later times: expiries are compared with this tolerance.
const TOLERANCE: Span = Span::from_secs(180);

/// Stores and operations that wait for other members, on one node: the swarm machine's own bound.
const WAITING_MAX: usize = 16_384;

/// Reconciliations under way, on one node: the swarm machine begins 8 and serves 32.
const RECONCILING_MAX: usize = 40;

/// Nodes known to one node; the network machine's own bound.
const PEERS_MAX: usize = 256;

/// Connections of each person to one node: one, and older ones whose end has not been noticed.
const CONNECTIONS_PER_PERSON: usize = 4;

/// Whoever lets a receipt out has the item where a crash cannot take it, unless it was deleted or
/// has expired since.
pub fn receipt_implies_durable_copy(world: &World, note: &Note) -> Verdict {
    let Note::Promised { node, receipts } = note else { return Ok(()) };
    let Some(node) = world.node(*node) else { return Ok(()) };
    let clock = node.clock(world.now());
    for receipt in receipts {
        let (address, id) = (&receipt.address, &receipt.message);
        let kept = node.disk().durable(address, id).is_some();
        let excused = receipt.expiry <= clock || node.disk().tombstone(address, id).is_some();
        if receipt.node != node.id() {
            return Err(format!("{:?} signed a receipt of {:?}", node.id(), receipt.node));
        }
        if !kept && !excused {
            let id = (node.id(), id);
            return Err(format!("{id:?}: a receipt left and the item is not on the disk"));
        }
    }
    Ok(())
}

/// No honest node hands out what has expired by its own clock, nor what must be gone by now.
pub fn expired_is_never_served(world: &World, note: &Note) -> Verdict {
    let Note::Served { node, clock, items, .. } = note else { return Ok(()) };
    let Some(node) = world.node(*node) else { return Ok(()) };
    for (id, expiry) in items {
        if clock.is_some_and(|clock| *expiry <= clock) {
            return Err(format!("{:?} served {id:?}, which expired at {expiry}", node.id()));
        }
        if let Some(message) = world.ledger().message(id)
            && message.gone_after + TOLERANCE < world.now()
        {
            let gone = message.gone_after;
            return Err(format!("{:?} served {id:?}, which nobody keeps after {gone}", node.id()));
        }
    }
    Ok(())
}

/// No honest node hands out what it knows to be deleted.
pub fn deleted_is_not_served(world: &World, note: &Note) -> Verdict {
    let Note::Served { node, address, items, .. } = note else { return Ok(()) };
    let Some(node) = world.node(*node) else { return Ok(()) };
    for (id, _) in items {
        let address = address.or_else(|| world.ledger().message(id).map(|known| known.address));
        if let Some(address) = address
            && node.disk().tombstone(&address, id).is_some()
            && node.disk().meta(&address, id).is_some()
        {
            return Err(format!("{:?} served {id:?}, which was deleted", node.id()));
        }
    }
    Ok(())
}

/// Honest nodes find nothing to punish in each other.
pub fn no_honest_node_is_penalized(world: &World, note: &Note) -> Verdict {
    let Note::Penalized { node, peer, why } = note else { return Ok(()) };
    let honest = world.nodes().iter().any(|other| other.id() == *peer && other.is_honest());
    if honest {
        return Err(format!("node {} disconnected the honest {peer:?}: {why}", node.0));
    }
    Ok(())
}

/// An acknowledged message is on an honest node that runs, while fewer members are down, lying or
/// robbed of their disk than a quorum can spare.
pub fn acknowledged_is_retrievable(world: &World) -> Verdict {
    // A message about to expire may be gone already where the clock is ahead.
    let soon = world.now() + TOLERANCE;
    for (id, message) in world.ledger().messages() {
        if message.deleting || message.keep_until <= soon {
            continue;
        }
        // While inboxes move, whoever had them before still serves them.
        let (members, former) = world.keepers(&message.address);
        let spare = spare_of(members).min(spare_of(former));
        let (mut serving, mut faulty) = (0, 0);
        let before = former.iter().filter(|member| !members.contains(member));
        let all: Vec<HostId> = members.iter().chain(before).copied().collect();
        for &member in &all {
            let Some(node) = world.node(member) else { continue };
            let has = holds(node.disk(), &message.address, id, soon);
            if !node.is_honest() || !node.is_up() || (!has && world.was_robbed(member)) {
                faulty += 1;
            } else if has {
                serving += 1;
            }
        }
        if serving == 0 && faulty <= spare {
            let (address, of) = (message.address, all.len());
            return Err(format!(
                "{id:?} of {address:?} is on no honest running node; {faulty} of {of} are faulty"
            ));
        }
    }
    Ok(())
}

/// Where a deletion was committed, the item does not live; and what was acknowledged as deleted
/// was committed by a quorum, and stays so.
///
/// The second half holds in swarms of honest members: a bad one can say that it deleted.
pub fn deleted_stays_deleted(world: &World) -> Verdict {
    for (id, message) in world.ledger().messages().filter(|(_, message)| message.deleting) {
        let (members, former) = world.keepers(&message.address);
        // Whoever has just joined does not know everything yet.
        let moving = members != former || world.chain().is_some_and(|chain| chain.is_new(members));
        let spare = spare_of(members);
        let (mut bad, mut unaware) = (0, 0);
        for &member in members {
            let Some(node) = world.node(member) else { continue };
            let dead = node.disk().tombstone(&message.address, id).is_some();
            if !node.is_honest() {
                bad += 1;
            } else if dead && node.disk().meta(&message.address, id).is_some() {
                return Err(format!("{:?} keeps {id:?}, which was deleted", node.id()));
            } else if !dead && !world.was_robbed(member) {
                unaware += 1;
            }
        }
        if message.deleted && bad == 0 && unaware > spare && !moving {
            let of = members.len();
            return Err(format!("{unaware} of {of} do not know that {id:?} was deleted"));
        }
    }
    Ok(())
}

/// Nothing that waits grows without bound.
pub fn queues_bounded(world: &World) -> Verdict {
    let people = world.persons().len() + world.devices().len();
    for node in world.nodes().iter().filter(|node| node.is_honest()) {
        let Some(health) = node.health() else { continue };
        let over = [
            ("waiting stores", health.swarm.waiting, WAITING_MAX),
            ("reconciliations", health.swarm.reconciling, RECONCILING_MAX),
            ("clients", health.clients, CONNECTIONS_PER_PERSON * people),
            ("peers", health.peers.len(), PEERS_MAX),
        ];
        for (what, got, limit) in over {
            if got > limit {
                return Err(format!("{:?} has {got} {what}, the bound is {limit}", node.id()));
            }
        }
    }
    Ok(())
}

fn spare_of(members: &[HostId]) -> usize {
    committee::quorum(members.len()).map_or(0, |quorum| members.len() - quorum)
}

fn holds(disk: &dyn Store, address: &InboxAddress, id: &MessageId, until: Time) -> bool {
    disk.meta(address, id).is_some_and(|meta| meta.expiry > until)
}
