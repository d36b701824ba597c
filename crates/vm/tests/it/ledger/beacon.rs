//! The beacon on the chain, with dealers of every kind.

use std::collections::{BTreeMap, BTreeSet};

use session_core::merkle::Tree;
use session_core::{Digest, Entropy as _, Epoch, List, NodeId, Span};
use session_crypto::fake::FakeIdentity;
use session_protocol::beacon::{
    self, BadBeacon, BeaconKey, Dealing, Dealt, OneTimeSecrets, Share, acknowledgements, faults,
    threshold,
};
use session_protocol::chain::Action;
use session_protocol::chain::transaction::{PostedShare, bitmap};
use session_protocol::chain::view::BeaconMode;
use session_protocol::schedule::Phase;
use session_vm::ledger::Rejection;
use session_vm::query;
use session_vm::records::Failing;

use super::world::{HOUR, World, genesis};

/// What a dealer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Does nothing at all.
    Absent,
    /// Deals and never reveals.
    Silent,
    /// Reveals when the time for it is over.
    Late,
    /// Deals what its one-time secret does not give, and reveals that secret all the same.
    OtherThenReveal,
    /// The same, but it stays silent: it chooses after it saw what the others revealed.
    OtherThenSilent,
    /// Deals shares that are on no polynomial, and reveals.
    CrookedThenReveal,
    /// The same, but it stays silent.
    CrookedThenSilent,
    /// Posts another one's dealing.
    Copier,
}

use Manner::{
    Absent, Copier, CrookedThenReveal, CrookedThenSilent, Honest, Late, OtherThenReveal,
    OtherThenSilent, Silent,
};

const BAD: [Manner; 8] = [
    Absent,
    Silent,
    Late,
    OtherThenReveal,
    OtherThenSilent,
    CrookedThenReveal,
    CrookedThenSilent,
    Copier,
];

/// What a dealer has to post.
struct Hand {
    id: NodeId,
    manner: Manner,
    dealing: Dealing,
    /// Shares by holder; none of a copied dealing open.
    shares: Vec<Option<Share>>,
    /// What it contributes if its dealing is valid.
    contributes: Option<[u8; 32]>,
    /// What it would contribute by its one-time secret.
    honest: [u8; 32],
}

struct Net {
    world: World,
    secrets: BTreeMap<NodeId, OneTimeSecrets>,
}

impl Net {
    /// Nodes whose keys are in force: it is epoch 1, and the beacon of epoch 2 is made.
    fn new(nodes: usize) -> Self {
        let mut world = World::new(nodes);
        let ids: Vec<NodeId> = world.nodes.keys().copied().collect();
        let secrets: BTreeMap<NodeId, OneTimeSecrets> = ids
            .iter()
            .map(|id| (*id, OneTimeSecrets::new(&world.nodes[id], &world.chain, Epoch(0), 64)))
            .collect();
        let register = |id: &NodeId| (*id, Action::RegisterBeaconKey { key: secrets[id].key() });
        world.duties(ids.iter().map(register).collect());
        world.next_epoch();
        Self { world, secrets }
    }

    fn next(&self) -> Epoch {
        Epoch(self.world.epoch().0 + 1)
    }

    fn dealers(&self) -> Vec<NodeId> {
        query::beacon(&self.world.state).dealers
    }

    fn hand(&self, place: usize, manner: Manner, dealers: &[NodeId]) -> Hand {
        let (id, count) = (dealers[place], dealers.len());
        let honest = self.contribution(&id);
        let other = session_core::sha256(&honest);
        let (mut dealt, mut contributes) = (Dealt::new(&honest, count), Some(honest));
        if matches!(manner, OtherThenReveal | OtherThenSilent) {
            (dealt, contributes) = (Dealt::new(&other, count), Some(other));
        }
        let mut shares: Vec<Option<Share>> = (0..count).map(|at| dealt.share(at)).collect();
        let mut dealing = dealt.dealing();
        if matches!(manner, CrookedThenReveal | CrookedThenSilent) {
            let stray = Dealt::new(&other, count);
            let value =
                |at: usize| if at.is_multiple_of(2) { dealt.share(at) } else { stray.share(at) };
            let values: Vec<[u8; 32]> = (0..count).map(|at| value(at).unwrap().value).collect();
            let tree = Tree::new(&values);
            dealing.shares = tree.root();
            let share = |(at, value): (usize, &[u8; 32])| {
                Some(Share { value: *value, path: tree.prove(at as u64).unwrap() })
            };
            shares = values.iter().enumerate().map(share).collect();
            contributes = None;
        }
        if manner == Copier {
            let copied = self.contribution(&dealers[(place + 1) % count]);
            dealing = Dealt::new(&copied, count).dealing();
            shares = vec![None; count];
            contributes = None;
        }
        Hand { id, manner, dealing, shares, contributes, honest }
    }

    fn contribution(&self, id: &NodeId) -> [u8; 32] {
        let reveal = self.secrets[id].reveal(self.next()).unwrap();
        beacon::contribution(&reveal.secret, &query::epoch(&self.world.state).beacon)
    }

    fn reveal_of(&self, id: &NodeId) -> Action {
        let epoch = self.next();
        Action::BeaconReveal { epoch, reveal: self.secrets[id].reveal(epoch).unwrap() }
    }

    fn ack(&self, at: usize, hands: &[Hand]) -> Action {
        let good = |hand: &Hand| {
            let share = hand.shares[at].as_ref().filter(|_| hand.manner != Absent);
            share.is_some_and(|share| hand.dealing.verify_share(at, share).is_ok())
        };
        let held = hands.iter().enumerate().filter(|(_, hand)| good(hand));
        let dealings = bitmap(hands.len(), held.map(|(place, _)| place));
        Action::BeaconAck { epoch: self.next(), dealings }
    }

    /// Plays a round to the turn of the epoch. The first `acks` of those that are there
    /// acknowledge. Returns what the randomness must be, by the rules of the reference.
    fn play(&mut self, manner: impl Fn(usize) -> Manner, acks: usize) -> Digest {
        let (epoch, dealers) = (self.next(), self.dealers());
        let hands: Vec<Hand> =
            (0..dealers.len()).map(|place| self.hand(place, manner(place), &dealers)).collect();
        let there: Vec<usize> =
            (0..hands.len()).filter(|place| hands[*place].manner != Absent).collect();
        let deal = |place: &usize| {
            let hand = &hands[*place];
            (hand.id, Action::BeaconDeal { epoch, dealing: hand.dealing })
        };
        self.world.duties(there.iter().map(deal).collect());
        self.world.until(Phase::Ack);
        let ack = |place: &usize| (hands[*place].id, self.ack(*place, &hands));
        let acks = there.iter().take(acks).map(ack).collect();
        self.world.duties(acks);

        self.world.until(Phase::Reveal);
        let reveals = [Honest, OtherThenReveal, CrookedThenReveal, Copier];
        let revealing = hands.iter().filter(|hand| reveals.contains(&hand.manner));
        let revealing = revealing.map(|hand| (hand.id, self.reveal_of(&hand.id))).collect();
        self.world.duties(revealing);

        self.world.until(Phase::Recover);
        for hand in hands.iter().filter(|hand| hand.manner == Late) {
            let late = self.world.duty(&hand.id, self.reveal_of(&hand.id));
            assert_eq!(late, Err(Rejection::WrongPhase { phase: Phase::Recover }));
        }
        let good = (0..).zip(&hands).filter(|(_, hand)| hand.manner == Honest);
        let shown = query::beacon(&self.world.state).revealed;
        assert_eq!(shown, good.map(|(place, _)| place).collect::<BTreeSet<u16>>());
        let valid = query::beacon(&self.world.state).valid();
        let missing: Vec<u16> =
            valid.iter().copied().filter(|at| hands[usize::from(*at)].manner != Honest).collect();
        let show = |place: &usize| {
            let share = |dealer: &u16| PostedShare {
                dealer: *dealer,
                share: hands[usize::from(*dealer)].shares[*place].clone().unwrap(),
            };
            let shares = List::new(missing.iter().map(share).collect::<Vec<_>>()).unwrap();
            (hands[*place].id, Action::BeaconShares { epoch, shares })
        };
        if !missing.is_empty() {
            self.world.duties(there.iter().map(show).collect());
        }
        let previous = query::epoch(&self.world.state).beacon;
        self.world.next_epoch();
        self.check_failings(&hands);
        let shared: Vec<[u8; 32]> =
            valid.iter().filter_map(|at| hands[usize::from(*at)].contributes).collect();
        let revealed: Vec<[u8; 32]> =
            hands.iter().filter(|hand| hand.manner == Honest).map(|hand| hand.honest).collect();
        match () {
            () if valid.len() >= threshold(hands.len()) => beacon::output(epoch, &shared),
            () if revealed.is_empty() => beacon::degraded(epoch, &previous),
            () => beacon::output(epoch, &revealed),
        }
    }

    fn check_failings(&self, hands: &[Hand]) {
        let (silent, bad) = (Failing::BeaconSilent as u8, Failing::BeaconBad as u8);
        // What more than half do is nobody's failing.
        let silence = hands.iter().filter(|hand| {
            matches!(hand.manner, Absent | Silent | Late | OtherThenSilent | CrookedThenSilent)
        });
        let counts = (hands.len() - silence.count()) * 2 >= hands.len();
        for Hand { id, manner, .. } in hands {
            let expected = match manner {
                Honest => 0,
                OtherThenReveal | CrookedThenReveal | Copier => bad,
                _ if counts => silent,
                _ => 0,
            };
            let mark = self.world.last_mark(id).failings;
            assert_eq!(mark & (silent | bad), expected, "{manner:?}");
        }
    }

    fn mode(&self) -> BeaconMode {
        query::epoch(&self.world.state).mode
    }

    fn randomness(&self) -> Digest {
        query::epoch(&self.world.state).randomness
    }
}

#[test]
fn honest_dealers_make_the_beacon_whatever_their_number() {
    for nodes in [1, 2, 3, 4, 7, 21, 32] {
        let mut net = Net::new(nodes);
        assert_eq!(net.mode(), BeaconMode::Degraded, "no keys were in force for epoch 1");
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let expected = net.play(|_| Honest, nodes);
            assert_eq!((net.randomness(), net.mode()), (expected, BeaconMode::Shared), "{nodes}");
            assert!(seen.insert(expected));
            let beacon = query::beacon(&net.world.state);
            assert!(beacon.dealings.is_empty() && beacon.acknowledged.is_empty());
            assert!(beacon.revealed.is_empty() && beacon.shown.is_empty());
        }
    }
}

#[test]
fn fewer_than_a_third_of_the_dealers_change_nothing() {
    for nodes in [4, 7, 10] {
        let bad = faults(nodes);
        for first in BAD {
            for second in BAD {
                let mut net = Net::new(nodes);
                let manner = |place| match place {
                    _ if place >= bad => Honest,
                    0 => first,
                    _ => second,
                };
                let expected = net.play(manner, nodes);
                let got = (net.randomness(), net.mode());
                assert_eq!(got, (expected, BeaconMode::Shared), "{first:?} {second:?}");
            }
        }
    }
}

#[test]
fn nobody_chooses_by_staying_silent() {
    let outcome = |manner: Manner| {
        let mut net = Net::new(7);
        net.play(|place| if place == 2 { manner } else { Honest }, 7);
        net.randomness()
    };
    assert_eq!(outcome(OtherThenReveal), outcome(OtherThenSilent));
    assert_eq!(outcome(CrookedThenReveal), outcome(CrookedThenSilent));
    assert_eq!(outcome(Honest), outcome(Silent));
    assert_eq!(outcome(Honest), outcome(Late));
    assert_ne!(outcome(Honest), outcome(Absent));
}

#[test]
fn without_a_quorum_those_who_reveal_make_it_and_without_anybody_it_follows_from_the_last() {
    let nodes = 7;
    let mut net = Net::new(nodes);
    let expected = net.play(|_| Honest, acknowledgements(nodes) - 1);
    assert_eq!((net.randomness(), net.mode()), (expected, BeaconMode::Revealed));
    let expected = net.play(|place| if place < 5 { Silent } else { Honest }, 2);
    assert_eq!((net.randomness(), net.mode()), (expected, BeaconMode::Revealed));
    let expected = net.play(|_| Absent, 0);
    assert_eq!((net.randomness(), net.mode()), (expected, BeaconMode::Degraded));
    let expected = net.play(|_| Honest, nodes);
    assert_eq!((net.randomness(), net.mode()), (expected, BeaconMode::Shared));
}

#[test]
fn every_step_has_its_time_and_its_people() {
    let mut net = Net::new(4);
    let (epoch, dealers) = (net.next(), net.dealers());
    let id = dealers[0];
    let hands: Vec<Hand> = (0..4).map(|place| net.hand(place, Honest, &dealers)).collect();
    let deal = |epoch| Action::BeaconDeal { epoch, dealing: hands[0].dealing };
    let share = |dealer: u16, of: usize| PostedShare {
        dealer,
        share: hands[of].shares[0].clone().unwrap(),
    };
    let shares = |epoch, list: Vec<PostedShare>| Action::BeaconShares {
        epoch,
        shares: List::new(list).unwrap(),
    };
    let ack = net.ack(0, &hands);
    let reveal = net.reveal_of(&id);
    let world = &mut net.world;

    let phase = Phase::Deal;
    for early in [ack.clone(), reveal.clone(), shares(epoch, vec![share(1, 1)])] {
        assert_eq!(world.duty(&id, early), Err(Rejection::WrongPhase { phase }));
    }
    for got in [Epoch(1), Epoch(3)] {
        let refused = world.duty(&id, deal(got)).unwrap_err();
        assert_eq!(refused, Rejection::BeaconEpoch { what: "dealing", got, due: epoch });
    }
    let refused = world.duty(&id, shares(Epoch(1), vec![share(1, 1)])).unwrap_err();
    assert!(refused.to_string().starts_with("beacon share for the wrong epoch"), "{refused}");
    let stranger = session_crypto::Signer::public(&world.people[3]).node_id();
    let not_a_dealer = Rejection::Beacon(BadBeacon::NotADealer(stranger));
    assert_eq!(world.run(3, deal(epoch)), Err(not_a_dealer));
    world.duty(&id, deal(epoch)).unwrap();
    assert_eq!(world.duty(&id, deal(epoch)), Err(Rejection::DutyDone));
    world.duty(&dealers[1], Action::BeaconDeal { epoch, dealing: hands[1].dealing }).unwrap();

    world.until(Phase::Ack);
    assert_eq!(world.duty(&id, deal(epoch)), Err(Rejection::WrongPhase { phase: Phase::Ack }));
    // Dealings that nobody posted, bits of nobody, bytes too many.
    let of = |bits, set: &[usize]| Action::BeaconAck {
        epoch,
        dealings: bitmap(bits, set.iter().copied()),
    };
    let missing = |place| Rejection::Dealing { place, why: "was not posted" };
    assert_eq!(world.duty(&id, of(4, &[1, 3])), Err(missing(3)));
    assert_eq!(world.duty(&id, of(8, &[5])), Err(Rejection::Bitmap { bits: 4 }));
    assert_eq!(world.duty(&id, of(16, &[0])), Err(Rejection::Bitmap { bits: 4 }));
    world.duty(&id, of(4, &[0, 1])).unwrap();
    assert_eq!(world.duty(&id, of(4, &[0])), Err(Rejection::DutyDone));
    for other in &dealers[1..3] {
        world.duty(other, of(4, &[0])).unwrap();
    }

    world.until(Phase::Reveal);
    assert_eq!(net.world.duty(&dealers[2], net.reveal_of(&dealers[2])), Err(missing(2)));
    let foreign = net.world.duty(&id, net.reveal_of(&dealers[1]));
    assert!(matches!(foreign, Err(Rejection::Beacon(BadBeacon::Secret(_)))), "{foreign:?}");
    let earlier =
        Action::BeaconReveal { epoch, reveal: net.secrets[&id].reveal(Epoch(1)).unwrap() };
    let place = BadBeacon::Place { got: 1, expected: 2 };
    let world = &mut net.world;
    assert_eq!(world.duty(&id, earlier), Err(Rejection::Beacon(place)));

    world.until(Phase::Recover);
    let why = |place, why| Err(Rejection::Dealing { place, why });
    assert_eq!(world.duty(&id, shares(epoch, vec![])), Err(Rejection::ShareOrder));
    for disordered in [vec![share(1, 1), share(0, 0)], vec![share(0, 0), share(0, 0)]] {
        assert_eq!(world.duty(&id, shares(epoch, disordered)), Err(Rejection::ShareOrder));
    }
    let few = why(1, "was acknowledged by too few");
    assert_eq!(world.duty(&id, shares(epoch, vec![share(0, 0), share(1, 1)])), few);
    assert_eq!(world.duty(&id, shares(epoch, vec![share(9, 1)])), why(9, "was not posted"));
    let foreign = world.duty(&id, shares(epoch, vec![share(0, 1)]));
    assert!(matches!(foreign, Err(Rejection::Beacon(BadBeacon::Share(_)))), "{foreign:?}");
    let others = world.duty(&dealers[1], shares(epoch, vec![share(0, 0)]));
    let place = BadBeacon::Place { got: 0, expected: 1 };
    assert_eq!(others, Err(Rejection::Beacon(place)));
    world.duty(&id, shares(epoch, vec![share(0, 0)])).unwrap();
    assert_eq!(world.duty(&id, shares(epoch, vec![share(0, 0)])), Err(Rejection::DutyDone));
}

#[test]
fn who_revealed_needs_no_shares() {
    let mut net = Net::new(4);
    let (epoch, dealers) = (net.next(), net.dealers());
    let hands: Vec<Hand> = (0..4).map(|place| net.hand(place, Honest, &dealers)).collect();
    let deal = |hand: &Hand| (hand.id, Action::BeaconDeal { epoch, dealing: hand.dealing });
    net.world.duties(hands.iter().map(deal).collect());
    net.world.until(Phase::Ack);
    let acks = (0..4).map(|place| (dealers[place], net.ack(place, &hands))).collect();
    net.world.duties(acks);
    net.world.until(Phase::Reveal);
    let reveal = net.reveal_of(&dealers[1]);
    net.world.duty(&dealers[1], reveal.clone()).unwrap();
    assert_eq!(net.world.duty(&dealers[1], reveal), Err(Rejection::DutyDone));
    net.world.until(Phase::Recover);
    let share = PostedShare { dealer: 1, share: hands[1].shares[0].clone().unwrap() };
    let shares = List::new(vec![share]).unwrap();
    let refused = net.world.duty(&dealers[0], Action::BeaconShares { epoch, shares });
    let why = "needs no shares, its dealer revealed";
    assert_eq!(refused, Err(Rejection::Dealing { place: 1, why }));
}

#[test]
fn one_time_secrets_count_from_the_second_epoch_on() {
    let mut world = World::new(4);
    let id = world.roster().nodes()[0];
    let key =
        |first, count| BeaconKey { root: [first as u8; 32].into(), first: Epoch(first), count };
    let register = |key| Action::RegisterBeaconKey { key };
    let sender = world.id(1);
    assert_eq!(world.run(1, register(key(0, 64))), Err(Rejection::NotANode { sender }));
    for (first, count) in [(3, 64), (0, 2), (0, 17), (2, 15), (0, 0), (u64::MAX, u32::MAX)] {
        let refused = world.duty(&id, register(key(first, count)));
        assert!(matches!(refused, Err(Rejection::BeaconKey { .. })), "{first} {count}");
    }
    let first = key(0, 18);
    world.duty(&id, register(first)).unwrap();
    assert_eq!(world.duty(&id, register(first)), Err(Rejection::DutyDone));
    assert_eq!(world.duty(&id, register(key(1, 64))), Err(Rejection::DutyDone));
    let at = |world: &World, epoch| query::beacon_keys(&world.state, &id).at(Epoch(epoch));
    assert_eq!(
        [1, 2, 17, 18].map(|epoch| at(&world, epoch)),
        [None, Some(first), Some(first), None]
    );

    world.next_epoch();
    let second = key(2, 64);
    world.duty(&id, register(second)).unwrap();
    // The beacon of the next epoch is being made with the first ones.
    assert_eq!([2, 3, 40].map(|epoch| at(&world, epoch)), [first, second, second].map(Some));
    assert_eq!(world.duty(&id, register(key(3, 64))), Err(Rejection::DutyDone), "one an epoch");
    world.next_epoch();
    assert_eq!(world.duty(&id, register(second)), Err(Rejection::DutyDone), "they are known");
    // Who leaves registers nothing.
    world.run(0, Action::Decommission { node: id }).unwrap();
    world.next_epoch();
    let refused = world.duty(&id, register(key(3, 64)));
    assert_eq!(refused, Err(Rejection::NodeNotActive { status: "decommissioning" }));
}

#[test]
fn nobody_deals_without_one_time_secrets() {
    let mut world = World::new(4);
    world.next_epoch();
    let id = query::beacon(&world.state).dealers[0];
    let dealing = Dealt::new(&[1; 32], 4).dealing();
    let epoch = Epoch(2);
    let refused = world.duty(&id, Action::BeaconDeal { epoch, dealing });
    assert_eq!(refused, Err(Rejection::NoBeaconKey { epoch }));
    world.next_epoch();
    assert_eq!(world.last_mark(&id).failings, 0);
}

#[test]
fn a_chain_that_stood_still_blames_nobody() {
    let mut net = Net::new(4);
    let (epoch, dealers) = (net.next(), net.dealers());
    let hands: Vec<Hand> = (0..4).map(|place| net.hand(place, Honest, &dealers)).collect();
    let deal = |hand: &Hand| (hand.id, Action::BeaconDeal { epoch, dealing: hand.dealing });
    net.world.duties(hands.iter().map(deal).collect());
    net.world.until(Phase::Ack);
    let acks = (0..4).map(|place| (dealers[place], net.ack(place, &hands))).collect();
    net.world.duties(acks);
    net.world.until(Phase::Reveal);
    net.world.duty(&dealers[0], net.reveal_of(&dealers[0])).unwrap();
    let before = query::epoch(&net.world.state);
    net.world.pass(Span::from_millis(HOUR.as_millis() * 5));
    let now = query::epoch(&net.world.state);
    assert_eq!((now.number, now.mode), (Epoch(6), BeaconMode::Shared));
    let expected = beacon::output(Epoch(6), &[hands[0].honest]);
    assert_eq!((now.randomness, now.previous_beacon), (expected, before.beacon));
    for id in dealers {
        assert_eq!(
            query::marks(&net.world.state, &id, 9).first().map(|(_, mark)| mark.failings),
            Some(0)
        );
        assert_eq!(query::commitments(&net.world.state, &id).previous, None);
    }
}

/// Anything at any time, from anybody.
fn anything(net: &mut Net, hands: &[Hand]) -> Action {
    let mut below = |bound: usize| net.world.rng.below(bound as u64) as usize;
    let (place, other, kind, near) = (below(hands.len()), below(hands.len()), below(5), below(8));
    let (bits, set) = ([hands.len(), hands.len() + 8][below(2)], below(hands.len()));
    let dealer = [other, below(40)][usize::from(near == 0)] as u16;
    let next = net.next();
    let epoch = if near == 1 { Epoch(net.world.rng.below(next.0 + 2)) } else { next };
    let honest = net.hand(place, Honest, &net.dealers());
    match kind {
        0 => Action::BeaconDeal { epoch, dealing: honest.dealing },
        1 => Action::BeaconAck { epoch, dealings: bitmap(bits, set..hands.len()) },
        2 => net.reveal_of(&hands[place].id),
        3 => {
            let value = honest.shares[other].clone().unwrap();
            let shares = List::new(vec![PostedShare { dealer, share: value }]).unwrap();
            Action::BeaconShares { epoch, shares }
        }
        _ => {
            let first = Epoch(net.world.rng.below(next.0 + 3));
            let count = net.world.rng.below(100) as u32;
            Action::RegisterBeaconKey { key: BeaconKey { root: [9; 32].into(), first, count } }
        }
    }
}

#[test]
fn whatever_is_posted_the_epoch_turns() {
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..12 {
        let mut net = Net::new(3 + seed as usize % 5);
        net.world.rng = session_core::SeededEntropy::new(seed);
        for _ in 0..250 {
            let dealers = net.dealers();
            let hands: Vec<Hand> =
                (0..dealers.len()).map(|place| net.hand(place, Honest, &dealers)).collect();
            let sender = dealers[net.world.rng.below(dealers.len() as u64) as usize];
            // Mostly what the phase is for, by who it is for.
            let place = dealers.iter().position(|id| *id == sender).unwrap();
            let epoch = net.next();
            let fitting = match net.world.schedule().phase(net.world.now) {
                Phase::Deal => Action::BeaconDeal { epoch, dealing: hands[place].dealing },
                Phase::Ack => net.ack(place, &hands),
                Phase::Reveal => net.reveal_of(&sender),
                Phase::Recover => {
                    let shown = |dealer: usize| PostedShare {
                        dealer: dealer as u16,
                        share: hands[dealer].shares[place].clone().unwrap(),
                    };
                    let dealer = net.world.rng.below(dealers.len() as u64) as usize;
                    Action::BeaconShares { epoch, shares: List::new(vec![shown(dealer)]).unwrap() }
                }
            };
            let odd = net.world.rng.below(3) == 0;
            let action = if odd { anything(&mut net, &hands) } else { fitting };
            let name = action.name();
            let result = match net.world.duty(&sender, action) {
                Ok(_) => name,
                Err(refused) => refused.code(),
            };
            *outcomes.entry(result).or_default() += 1;
            let before = query::beacon(&net.world.state);
            let number = net.world.epoch();
            let step = net.world.rng.below(HOUR.as_millis() / 16);
            net.world.pass(Span::from_millis(step));
            if net.world.epoch() > number {
                let enough = before.valid().len() >= threshold(before.dealers.len());
                let mode = net.mode();
                assert!(enough || mode != BeaconMode::Shared);
                assert!(
                    mode != BeaconMode::Degraded || before.revealed.len() <= before.dealers.len()
                );
                let name = match mode {
                    BeaconMode::Shared => "shared",
                    BeaconMode::Revealed => "revealed",
                    _ => "degraded",
                };
                *outcomes.entry(name).or_default() += 1;
            }
        }
    }
    for name in [
        "BeaconDeal",
        "BeaconAck",
        "BeaconReveal",
        "BeaconShares",
        "wrong_phase",
        "beacon_epoch",
        "duty_done",
        "dealing",
        "bitmap",
        "beacon",
        "beacon_key",
        "shared",
        "degraded",
    ] {
        assert!(outcomes.contains_key(name), "no {name} in {outcomes:?}");
    }
}

#[test]
fn more_nodes_than_dealers() {
    let mut genesis = genesis(0);
    genesis.nodes = (0..80)
        .map(|number| session_vm::genesis::GenesisNode {
            operator: genesis.accounts[0].account,
            keys: session_crypto::Signer::public(&FakeIdentity::new(&[100 + number; 32])).clone(),
            endpoint: session_core::Text::new(format!("n{number}:1")).unwrap(),
            stake: session_protocol::chain::Amount::lux(100),
            swarm: session_core::SwarmId(u64::from(number) / 10),
        })
        .collect();
    let world = World::of(&genesis, 0, 0);
    let dealers = query::beacon(&world.state).dealers;
    assert_eq!(dealers.len(), 64);
    assert!(dealers.is_sorted());
    assert_eq!(dealers, query::roster(&world.state).dealers());
}
