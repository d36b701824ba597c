//! What somebody who sees all links can say of where a packet went.
//!
//! Delays are exponential, and so have no memory: whichever packet leaves a node next, it is each of
//! those inside with the same probability. So a suspicion that enters with one packet leaves in
//! equal shares with all that follow, and what is left of it stays. Shares that go where the packet
//! cannot have gone (to a client half-way, past the last hop) are dropped, which after normalising
//! is Bayes' rule.
//!
//! A packet is traced until an item is stored, and each item that was stored from there to clients:
//! that it was stored is seen, for the members of a swarm pass it on to each other.

use std::collections::BTreeMap;

use super::draw::{Micros, finish};

/// A part of the suspicion that a packet is this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// The number of the trail, or behind the exit of the item.
    pub(super) of: u32,
    /// How many nodes it has been through: there 0 to h − 1, back h to 2h − 1.
    pub(super) stage: u8,
    pub(super) mass: f64,
}

/// The packets in a node, as an observer counts them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    inside: u32,
    marks: Vec<Mark>,
}

impl Pool {
    pub(super) fn enter(&mut self, marks: &[Mark]) {
        self.inside += 1;
        for mark in marks {
            let same = |held: &&mut Mark| (held.of, held.stage) == (mark.of, mark.stage);
            match self.marks.iter_mut().find(same) {
                Some(held) => held.mass += mark.mass,
                None => self.marks.push(*mark),
            }
        }
    }

    /// Lets one packet leave, and adds its share of each mark that `fits` to `shares`.
    pub(super) fn leave(
        &mut self,
        dice: &mut Dice,
        fits: impl Fn(u8) -> bool,
        shares: &mut Vec<Mark>,
    ) {
        let share = 1.0 / f64::from(self.inside);
        self.inside -= 1;
        let last = self.inside == 0;
        self.marks.retain_mut(|held| {
            let mass = held.mass * share;
            if fits(held.stage)
                && let Some(mass) = dice.keep(mass)
            {
                shares.push(Mark { mass, ..*held });
            }
            match dice.keep(held.mass - mass) {
                Some(left) if !last => held.mass = left,
                _ => return false,
            }
            true
        });
    }
}

/// Decides which small shares are followed: of those below a limit so many that their sum is right
/// on average.
pub(super) struct Dice {
    /// Of SplitMix64: it is cast for each mark of each packet.
    state: u64,
    least: f64,
}

impl Dice {
    pub(super) fn new(least: f64, seed: u64) -> Self {
        Self { state: seed, least }
    }

    fn keep(&mut self, mass: f64) -> Option<f64> {
        if mass >= self.least {
            Some(mass)
        } else {
            (self.cast() * self.least < mass).then_some(self.least)
        }
    }

    fn cast(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (finish(self.state) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Where a packet may have gone: items that were stored, and what speaks for each.
#[derive(Debug)]
pub(super) struct Trail {
    /// Whose packet it is: what the caller counts by.
    pub(super) owner: u32,
    pub(super) born: Micros,
    items: Vec<(u32, f64)>,
}

impl Trail {
    /// Returns the items that it may have become, and what speaks for each; of a packet that is a
    /// message that adds up to 1.
    pub(super) fn weights(&self, message: bool) -> impl Iterator<Item = (u32, f64)> {
        let all: f64 = if message { self.items.iter().map(|(_, mass)| mass).sum() } else { 1.0 };
        self.items.iter().map(move |(item, mass)| (*item, mass / all))
    }
}

/// Where an item may have gone.
#[derive(Debug, Default)]
struct Item {
    /// What speaks for each client.
    any: BTreeMap<u32, f64>,
    /// The same for whoever is told which packets bring clients messages.
    told: BTreeMap<u32, f64>,
}

/// All trails and items of a run.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) trails: Vec<Trail>,
    items: Vec<Item>,
}

impl Book {
    /// Begins a trail, and returns the mark of its packet.
    pub(super) fn follow(&mut self, owner: u32, born: Micros) -> Mark {
        self.trails.push(Trail { owner, born, items: Vec::new() });
        Mark { of: number(self.trails.len() - 1), stage: 0, mass: 1.0 }
    }

    /// Notes an item that was stored, and returns its mark if some trail may lead to it.
    pub(super) fn store(&mut self, shares: &[Mark]) -> Option<Mark> {
        let stage = shares.first()?.stage;
        let item = number(self.items.len());
        self.items.push(Item::default());
        for share in shares {
            self.trails[share.of as usize].items.push((item, share.mass));
        }
        Some(Mark { of: item, stage, mass: 1.0 })
    }

    /// Notes that a client got what may be an item.
    pub(super) fn reach(&mut self, mark: Mark, client: u32, brings: bool) {
        let item = &mut self.items[mark.of as usize];
        *item.any.entry(client).or_default() += mark.mass;
        if brings {
            *item.told.entry(client).or_default() += mark.mass;
        }
    }

    /// Returns what speaks for each client at the end of `trail`, a packet that is a message.
    pub(super) fn suspects(&self, trail: &Trail, told: bool, clients: u32) -> Vec<f64> {
        let mut suspects = vec![0.0; clients as usize];
        for (item, weight) in trail.weights(true) {
            self.spread(item, weight, told, &mut suspects);
        }
        suspects
    }

    /// Adds so much for those who may have got an item. Somebody has, so it adds up to `weight`.
    pub(super) fn spread(&self, item: u32, weight: f64, told: bool, suspects: &mut [f64]) {
        let item = &self.items[item as usize];
        let clients = if told { &item.told } else { &item.any };
        let weight = weight / clients.values().sum::<f64>();
        for (client, share) in clients {
            suspects[*client as usize] += weight * share;
        }
    }

    /// Forgets where items before this one may have gone.
    pub(super) fn forget(&mut self, before: usize) {
        self.items[..before].iter_mut().for_each(|item| *item = Item::default());
    }

    /// Returns how many items there are.
    pub(super) fn items(&self) -> usize {
        self.items.len()
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).expect("a run is short")
}

/// What an attack says of one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The probability that it gives the right recipient.
    pub(super) right: f64,
    /// The probability that it gives its best guess.
    pub(super) best: f64,
    /// Whether its best guess is the right recipient.
    pub(super) hit: bool,
    /// Bits that it lacks to be sure.
    pub(super) entropy: f64,
}

impl Verdict {
    /// Judges what speaks for each client; where nothing does, all are as likely.
    pub(super) fn on(suspects: &[f64], truth: u32) -> Self {
        let all: f64 = suspects.iter().sum();
        let even = 1.0 / suspects.len() as f64;
        if all <= 0.0 {
            return Self { right: even, best: even, hit: false, entropy: -even.log2() };
        }
        let (mut best, mut entropy) = ((0.0, 0), 0.0);
        for (client, mass) in suspects.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
            let belief = mass / all;
            if belief > best.0 {
                best = (belief, client);
            }
            entropy -= belief * belief.log2();
        }
        let truth = truth as usize;
        Self { right: suspects[truth] / all, best: best.0, hit: best.1 == truth, entropy }
    }
}
