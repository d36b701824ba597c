//! Inboxes move between swarms: nothing acknowledged is lost or unreachable on the way.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use session_core::{
    Entropy as _, InboxAddress, List, MessageId, SeededEntropy, Span, SwarmId, Time,
};
use session_protocol::inbox::MESSAGES;
use session_protocol::owner::{ExpireMode, OwnerAction};
use session_protocol::peer::Sync;
use session_protocol::placement;
use session_protocol::request::{Outcome, Refusal, Select};
use session_storage::{Store as _, Table};
use session_swarm::{Input, PeerMessageOut};

use crate::cluster::{Cluster, Owner};
use crate::seats::Seats;

const FAR: u64 = 1 << 63;
const QUARTER: u64 = 1 << 62;

/// A cluster, and what its clients were promised.
struct Scene {
    /// Named when something fails.
    name: String,
    cluster: Cluster,
    seats: Vec<(u64, Vec<usize>)>,
    owners: Vec<Owner>,
    /// When each acknowledged item expires.
    kept: BTreeMap<(usize, MessageId), Time>,
    deleted: BTreeSet<(usize, MessageId)>,
    rng: SeededEntropy,
    stored: usize,
}

impl Scene {
    fn new(name: &str, count: usize, seats: &Seats, seed: u64) -> Self {
        let mut scene = Self {
            name: format!("{name}, seed {seed}"),
            cluster: Cluster::seated(count, seats, seed),
            seats: seats.to_vec(),
            owners: (0..60).map(Owner::new).collect(),
            kept: BTreeMap::new(),
            deleted: BTreeSet::new(),
            rng: SeededEntropy::new(seed),
            stored: 0,
        };
        for owner in 0..scene.owners.len() {
            for _ in 0..3 {
                scene.store(owner);
            }
        }
        for owner in 0..20 {
            scene.delete(owner);
            scene.shorten(owner);
        }
        scene
    }

    fn turn(&mut self, seats: &Seats) {
        self.seats = seats.to_vec();
        self.cluster.turn(seats);
    }

    fn pass(&mut self, seconds: u64) {
        self.cluster.advance(Span::from_secs(seconds));
    }

    fn swarm_of(&self, address: &InboxAddress) -> SwarmId {
        let ids: Vec<SwarmId> = self.seats.iter().map(|(swarm, _)| SwarmId(*swarm)).collect();
        placement::nearest(address, &ids).unwrap()
    }

    fn members(&self, address: &InboxAddress) -> Vec<usize> {
        let swarm = self.swarm_of(address);
        let of = self.seats.iter().find(|(id, _)| SwarmId(*id) == swarm);
        let mut members = of.unwrap().1.clone();
        members.retain(|index| self.cluster.nodes[*index].is_up);
        members
    }

    /// Asks the members in turn, as a client does.
    fn ask(
        &mut self,
        owner: usize,
        action: &dyn Fn(&mut Cluster, &Owner, usize) -> session_protocol::request::Operation,
    ) -> Option<Outcome> {
        let address = self.owners[owner].address();
        let mut members = self.members(&address);
        let count = members.len().max(1);
        members.rotate_left(self.rng.below(count as u64) as usize);
        for index in members {
            let operation = action(&mut self.cluster, &self.owners[owner], index);
            match self.cluster.ask_one(index, operation) {
                Outcome::Refused { .. } => {}
                outcome => return Some(outcome),
            }
        }
        None
    }

    /// Stores something; what is refused is not promised.
    fn store(&mut self, owner: usize) -> bool {
        self.stored += 1;
        let text = format!("message {}", self.stored);
        let outcome = self.ask(owner, &|cluster, owner, _| {
            cluster.store_operation(owner, &text, Span::from_days(1))
        });
        if let Some(Outcome::Stored { message, expiry, .. }) = &outcome {
            self.kept.insert((owner, *message), *expiry);
        }
        outcome.is_some()
    }

    fn one_of(&mut self, owner: usize) -> Option<MessageId> {
        let ids: Vec<MessageId> =
            self.kept.keys().filter(|(of, _)| *of == owner).map(|(_, id)| *id).collect();
        let chosen = self.rng.below(ids.len().max(1) as u64) as usize;
        ids.get(chosen).copied()
    }

    fn delete(&mut self, owner: usize) {
        let Some(id) = self.one_of(owner) else { return };
        let ids = List::new([id]).unwrap();
        let outcome = self.ask(owner, &|cluster, owner, _| {
            cluster.signed(owner, OwnerAction::Delete { ids: ids.clone() })
        });
        // Whether it happened is not known when too few answered in time.
        self.kept.remove(&(owner, id));
        if outcome.is_some() {
            self.deleted.insert((owner, id));
        }
    }

    fn shorten(&mut self, owner: usize) {
        let Some(id) = self.one_of(owner) else { return };
        let expiry = self.cluster.now + Span::from_secs(5 * 3600);
        let ids = List::new([id]).unwrap();
        let outcome = self.ask(owner, &|cluster, owner, _| {
            let (ids, mode) = (ids.clone(), ExpireMode::Shorten);
            cluster.signed(owner, OwnerAction::Expire { ids, expiry, mode })
        });
        match outcome {
            Some(_) => {
                self.kept.entry((owner, id)).and_modify(|it| *it = expiry.min(*it));
            }
            None => {
                self.kept.remove(&(owner, id));
            }
        }
    }

    /// Reads an inbox at one member.
    fn read_at(
        &mut self,
        owner: usize,
        index: usize,
    ) -> Result<BTreeMap<MessageId, Time>, Refusal> {
        let mut cursor = session_protocol::request::Cursor { incarnation: 0, arrival: 0 };
        let mut found = BTreeMap::new();
        loop {
            let audience = self.cluster.nodes[index].id;
            let (namespace, select) = (MESSAGES, Select::After { cursor });
            let action = OwnerAction::Retrieve { namespace, select, bytes_max: 1 << 19, audience };
            let operation = self.cluster.signed(&self.owners[owner], action);
            match self.cluster.ask_one(index, operation) {
                Outcome::Items { items, cursor: next, more } => {
                    found.extend(items.iter().map(|item| (item.id, item.expiry)));
                    cursor = next;
                    if !more {
                        return Ok(found);
                    }
                }
                Outcome::Refused { refusal } => return Err(refusal),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Asserts that a client that asks all current members finds everything within a while, and
    /// nothing that was deleted.
    #[track_caller]
    fn assert_reachable(&mut self, seconds: u64) {
        for owner in 0..self.owners.len() {
            let until = self.cluster.now + Span::from_secs(seconds);
            loop {
                let missing = self.missing(owner);
                if missing.is_empty() {
                    break;
                }
                assert!(
                    self.cluster.now < until,
                    "{}: inbox {owner} lacks or still shows {missing:?}",
                    self.name
                );
                self.pass(1);
            }
        }
    }

    /// Returns the items of an inbox that no member shows, or that one shows though they are gone.
    #[track_caller]
    fn missing(&mut self, owner: usize) -> Vec<MessageId> {
        let mut missing: BTreeMap<MessageId, Time> = self
            .kept
            .iter()
            .filter(|((of, _), _)| *of == owner)
            .map(|((_, id), expiry)| (*id, *expiry))
            .collect();
        let mut shown = Vec::new();
        for index in self.members(&self.owners[owner].address()) {
            if missing.is_empty() {
                break;
            }
            for (id, expiry) in self.read_at(owner, index).unwrap_or_default() {
                if self.deleted.contains(&(owner, id)) {
                    // A member that lost the order shows the item until it has compared.
                    assert!(self.cluster.loss > 0, "{}: inbox {owner} shows {id}", self.name);
                    shown.push(id);
                }
                if missing.get(&id).is_some_and(|expected| expiry >= *expected) {
                    missing.remove(&id);
                }
            }
        }
        missing.into_keys().chain(shown).collect()
    }

    /// Asserts that all members keep what they are to keep, and nobody anything else.
    #[track_caller]
    fn assert_settled(&self) {
        for (index, node) in self.cluster.nodes.iter().enumerate().filter(|(_, it)| it.is_up) {
            assert_eq!(node.swarm.handing_over(), None, "{}: node {index}", self.name);
            let seat = self.seats.iter().find(|(_, members)| members.contains(&index));
            let mine = |owner: usize| {
                seat.is_some_and(|seat| self.swarm_of(&self.owners[owner].address()).0 == seat.0)
            };
            let (items, operations) = self.cluster.contents(index);
            for ((owner, id), expiry) in &self.kept {
                let found = items.contains(&(self.owners[*owner].address(), *id, *expiry));
                assert_eq!(found, mine(*owner), "{}: item of {owner} at node {index}", self.name);
            }
            for (owner, id) in &self.deleted {
                let address = self.owners[*owner].address();
                assert_eq!(node.store.meta(&address, id), None, "deleted, at node {index}");
                if mine(*owner) {
                    assert!(node.store.tombstone(&address, id).is_some(), "of {owner} at {index}");
                }
            }
            for (address, id, _) in &items {
                let owner = self.owners.iter().position(|it| it.address() == *address).unwrap();
                assert!(mine(owner), "item {id} of inbox {owner} left at node {index}");
            }
            for key in operations {
                let address = InboxAddress::from(*key.first_chunk::<32>().unwrap());
                assert_eq!(seat.map(|seat| SwarmId(seat.0)), Some(self.swarm_of(&address)));
            }
            let bounds = node.store.records(Table::Meta, b"e");
            let at = |key: &[u8]| InboxAddress::from(*key[1..].first_chunk::<32>().unwrap());
            let foreign = bounds.iter().filter(|(key, _)| {
                Some(self.swarm_of(&at(key))) != seat.map(|seat| SwarmId(seat.0))
            });
            assert_eq!(foreign.count(), 0, "bounds left at node {index}");
        }
        // Members of a swarm are the same in everything, also in what nobody was promised.
        for (_, members) in &self.seats {
            let up = members.iter().filter(|index| self.cluster.nodes[**index].is_up);
            let all: BTreeSet<_> = up.map(|index| self.cluster.contents(*index)).collect();
            assert!(all.len() <= 1, "{}: members that differ", self.name);
        }
    }

    /// Lets the hand-over end, and looks at everything.
    #[track_caller]
    fn finish(&mut self) {
        self.assert_reachable(20);
        self.pass(150);
        // What a member missed while it was a member is found by the sweep, or at once when asked.
        let ids: Vec<_> = self.cluster.nodes.iter().map(|node| node.id).collect();
        for index in 0..ids.len() {
            if self.cluster.nodes[index].is_up {
                self.cluster.feed(index, vec![Input::Compare { nodes: ids.clone() }]);
            }
        }
        self.pass(40);
        self.assert_reachable(0);
        self.assert_settled();
        assert_eq!(self.cluster.misbehaved, vec![]);
    }
}

fn seats(swarms: &[(u64, &[usize])]) -> Vec<(u64, Vec<usize>)> {
    swarms.iter().map(|(swarm, members)| (*swarm, members.to_vec())).collect()
}

/// From which seats to which, with nodes that run.
type Change = (&'static str, usize, Vec<(u64, Vec<usize>)>, Vec<(u64, Vec<usize>)>);

fn changes() -> Vec<Change> {
    let two = || seats(&[(0, &[0, 1, 2, 3]), (FAR, &[4, 5, 6, 7])]);
    let eight = || seats(&[(0, &[0, 1, 2, 3, 4, 5, 6, 7]), (FAR, &[8, 9, 10, 11])]);
    vec![
        ("join", 9, two(), seats(&[(0, &[0, 1, 2, 3, 8]), (FAR, &[4, 5, 6, 7])])),
        ("leave", 8, two(), seats(&[(0, &[0, 1, 2]), (FAR, &[4, 5, 6, 7])])),
        ("steal", 8, two(), seats(&[(0, &[0, 1, 2]), (FAR, &[3, 4, 5, 6, 7])])),
        (
            "split",
            12,
            eight(),
            seats(&[(0, &[0, 1, 2, 3]), (QUARTER, &[4, 5, 6, 7]), (FAR, &[8, 9, 10, 11])]),
        ),
        (
            "dissolve",
            10,
            seats(&[(0, &[0, 1, 2, 3]), (QUARTER, &[8, 9]), (FAR, &[4, 5, 6, 7])]),
            seats(&[(0, &[0, 1, 2, 3, 8]), (FAR, &[4, 5, 6, 7, 9])]),
        ),
        ("new swarm", 12, two(), {
            seats(&[(0, &[0, 1, 2, 3]), (QUARTER, &[8, 9, 10, 11]), (FAR, &[4, 5, 6, 7])])
        }),
        ("exchange", 8, two(), seats(&[(0, &[4, 5, 6, 7]), (FAR, &[0, 1, 2, 3])])),
    ]
}

#[test]
fn every_change_ends_with_everything_in_its_place() {
    for (seed, (name, count, before, after)) in (100..).zip(changes()) {
        let mut scene = Scene::new(name, count, &before, seed);
        scene.turn(&after);
        scene.assert_reachable(5);
        for owner in 0..scene.owners.len() {
            assert!(scene.store(owner), "{name}: stores are taken at once");
            scene.delete(owner);
        }
        scene.finish();
    }
}

#[test]
fn a_change_that_is_heard_of_one_by_one_loses_nothing() {
    for (seed, (name, count, before, after)) in (200..).zip(changes()) {
        let mut scene = Scene::new(name, count, &before, seed);
        scene.cluster.move_to(&after);
        for index in 0..count {
            // Clients ask by the old view, then by the new one.
            scene.store((index * 7) % 60);
            scene.seats = after.clone();
            scene.store((index * 7 + 1) % 60);
            scene.cluster.tell(index);
            scene.cluster.connect();
            scene.pass(1);
            scene.seats = before.clone();
        }
        scene.seats = after;
        scene.finish();
    }
}

#[test]
fn messages_that_are_lost_delay_only() {
    for (seed, (name, count, before, after)) in (300..).zip(changes()) {
        let mut scene = Scene::new(name, count, &before, seed);
        scene.cluster.loss = 50;
        scene.turn(&after);
        scene.pass(30);
        scene.assert_reachable(60);
        scene.cluster.loss = 0;
        scene.finish();
    }
}

#[test]
fn a_restart_in_the_middle_goes_on() {
    for (seed, (name, count, before, after)) in (400..).zip(changes()) {
        let mut scene = Scene::new(name, count, &before, seed);
        // Nothing comes through until all have crashed once.
        scene.cluster.tamper = Some(Box::new(|_, _, message| match message {
            PeerMessageOut::Sync(Sync::Give { .. }) => None,
            message => Some(message),
        }));
        scene.turn(&after);
        scene.pass(1);
        for index in 0..count {
            scene.cluster.stop(index);
        }
        for index in 0..count {
            scene.cluster.start(index);
        }
        scene.pass(1);
        for owner in 0..scene.owners.len() {
            for index in scene.members(&scene.owners[owner].address()) {
                // An empty page would be a lie.
                let read = scene.read_at(owner, index);
                let complete = scene
                    .kept
                    .keys()
                    .filter(|(of, _)| *of == owner)
                    .all(|(_, id)| read.as_ref().is_ok_and(|found| found.contains_key(id)));
                assert!(complete || matches!(read, Err(Refusal::NotReady { .. })), "{read:?}");
            }
            if owner > 5 {
                break;
            }
        }
        scene.cluster.tamper = None;
        scene.pass(15);
        scene.finish();
    }
}

#[test]
fn a_former_member_that_serves_nothing_hides_nothing() {
    for (seed, (name, count, before, after)) in (500..).zip(changes()) {
        for lie in 0..3 {
            let mut scene = Scene::new(name, count, &before, seed);
            // One of those that the new members ask.
            let liar = match name {
                "steal" => 4,
                "leave" => 3,
                "dissolve" => 8,
                _ => 0,
            };
            let lies = Rc::new(Cell::new(0));
            let counted = Rc::clone(&lies);
            scene.cluster.tamper = Some(Box::new(move |from, _, message| {
                let PeerMessageOut::Sync(sync) = message else { return Some(message) };
                if from != liar {
                    return Some(PeerMessageOut::Sync(sync));
                }
                counted.set(counted.get() + 1);
                match (lie, sync) {
                    // It says that there is nothing, hands out nothing, or says nothing at all.
                    (0, Sync::Differs { session, .. }) => {
                        Some(PeerMessageOut::Sync(Sync::Same { session, whole: true }))
                    }
                    (1, Sync::Give { session, last, .. }) => {
                        let elements = List::new([]).unwrap();
                        Some(PeerMessageOut::Sync(Sync::Give { session, elements, last }))
                    }
                    (2, _) => None,
                    (_, sync) => Some(PeerMessageOut::Sync(sync)),
                }
            }));
            scene.turn(&after);
            scene.assert_reachable(20);
            assert!(lies.get() > 0, "{name}: nobody asked the liar");
            scene.cluster.tamper = None;
            scene.finish();
        }
    }
}

#[test]
fn two_changes_at_once_lose_nothing() {
    let all = changes();
    for (seed, pause) in (600..).zip([0, 1, 3, 30]) {
        // Every change there and back again, so that parts return that were just given away.
        for (name, count, before, after) in &all {
            let mut scene = Scene::new(name, *count, before, seed);
            scene.turn(after);
            scene.pass(pause);
            scene.store(7);
            scene.turn(before);
            scene.assert_reachable(10);
            scene.finish();
        }
    }
}

#[test]
fn parts_that_wander_arrive() {
    // One part of the ring goes through the hands of three groups, each new to it, in a moment.
    let groups: [&[usize]; 4] = [&[0, 1, 2, 3], &[4, 5, 6, 7], &[8, 9, 10], &[11, 12, 13, 14]];
    for (seed, pause) in (700..).zip([0, 1, 2, 40]) {
        let mut scene = Scene::new("wander", 15, &seats(&[(5, groups[0])]), seed);
        for group in &groups[1..] {
            scene.turn(&seats(&[(5, group)]));
            scene.pass(pause);
            scene.store(3);
        }
        scene.assert_reachable(20);
        scene.finish();
        let moved = scene.cluster.contents(11).0.len();
        assert_eq!(moved, scene.kept.len(), "after {pause} s each");
    }
}

#[test]
fn those_that_left_for_good_are_not_waited_for() {
    let before = seats(&[(0, &[0, 1, 2, 3])]);
    let after = seats(&[(0, &[3, 4, 5, 6])]);
    let mut scene = Scene::new("for good", 7, &before, 800);
    scene.seats = after.clone();
    // Three of four vanish with the change: no quorum is left to ask.
    for index in 0..3 {
        scene.cluster.stop(index);
    }
    scene.cluster.move_without(&after, &[0, 1, 2]);
    scene.cluster.tell_all();
    scene.assert_reachable(5);
    scene.pass(10);
    for index in 4..7 {
        let swarm = &scene.cluster.nodes[index].swarm;
        assert_eq!(swarm.handing_over(), None);
        assert_eq!(swarm.stats().filled_short, 256, "and it says so");
    }
    scene.finish();
}

#[test]
fn a_node_that_was_away_during_a_change_catches_up() {
    for (seed, (name, count, before, after)) in (900..).zip(changes()) {
        let mut scene = Scene::new(name, count, &before, seed);
        let away = after[0].1[after[0].1.len() - 1];
        scene.cluster.stop(away);
        scene.turn(&after);
        scene.assert_reachable(20);
        // The others are done, and what they held is gone.
        scene.pass(600);
        scene.cluster.start(away);
        scene.pass(12);
        for owner in 0..20 {
            if scene.members(&scene.owners[owner].address()).contains(&away) {
                let expected = scene.kept.keys().filter(|(of, _)| *of == owner).count();
                let found = scene.read_at(owner, away).unwrap();
                assert_eq!(found.len(), expected, "{name}: inbox {owner}");
            }
        }
        scene.finish();
    }
}

/// Cuts the nodes into swarms at random, as an epoch might.
fn any_seats(rng: &mut SeededEntropy, count: usize) -> Vec<(u64, Vec<usize>)> {
    let mut nodes: Vec<usize> = (0..count).collect();
    for index in (1..count).rev() {
        nodes.swap(index, rng.below(index as u64 + 1) as usize);
    }
    nodes.truncate(count - rng.below(3) as usize);
    let swarms = 1 + rng.below(3) as usize;
    let size = nodes.len() / swarms;
    let ids = [0, QUARTER, FAR, FAR + QUARTER, 77];
    (0..swarms)
        .map(|index| {
            let end = if index + 1 == swarms { nodes.len() } else { (index + 1) * size };
            let id = ids[(rng.below(2) as usize) * 2 + index];
            (id, nodes[index * size..end].to_vec())
        })
        .collect::<BTreeMap<u64, Vec<usize>>>()
        .into_iter()
        .collect()
}

#[test]
fn whatever_changes_whenever_nothing_is_lost() {
    for seed in 1000..1006 {
        let mut rng = SeededEntropy::new(seed);
        let first = any_seats(&mut rng, 12);
        let mut scene = Scene::new("any", 12, &first, seed);
        scene.cluster.loss = rng.below(3) * 10;
        for _ in 0..6 {
            let next = any_seats(&mut rng, 12);
            scene.turn(&next);
            scene.pass(rng.below(40));
            for _ in 0..5 {
                let owner = rng.below(60) as usize;
                scene.store(owner);
                scene.delete(rng.below(60) as usize);
                scene.shorten(rng.below(60) as usize);
            }
            if rng.below(2) == 0 {
                let index = rng.below(12) as usize;
                scene.cluster.stop(index);
                scene.pass(rng.below(3));
                scene.cluster.start(index);
            }
            scene.assert_reachable(60);
        }
        scene.cluster.loss = 0;
        scene.finish();
    }
}
