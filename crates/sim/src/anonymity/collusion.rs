//! Nodes that put together what they see.
//!
//! Two people write to each other for days. Each direction has a mailbox in some swarm, a new one
//! each day. Whoever is seen to write to it and whoever is seen to read from it are linked:
//!
//! - without hops, by the members that they ask;
//! - through onions, by guards. A guard sees when something comes and goes, so two bad guards link
//!   their clients by a message that passes both, and one bad guard and one bad member of the swarm
//!   link a client with a mailbox. It is assumed that nobody's traffic is ever mistaken for another's;
//! - in a mix, where times say less, only paths are counted of which each hop is bad. How much
//!   times still say is the other half of this model ([`super::observer`]).

use super::draw::Draw;
use super::stats::Estimate;

/// Days that a guard is kept, at least and at most.
const KEPT: (u32, u32) = (30, 60);

/// Requests of a day that wait at a mailbox.
const WAITS: i32 = 24 * 60;

/// Draws of who is bad; as many pairs of people live in each.
const WORLDS: u32 = 20;

/// How requests find their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a member of the swarm, which sees the client.
    Direct,
    /// Three hops, the first one of two that are kept.
    Guards,
    /// Three hops, all drawn for each request.
    Redrawn,
    /// As with guards, and times say nothing.
    Mix,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Redrawn, Self::Guards, Self::Mix];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Guards => "onion, two guards kept",
            Self::Redrawn => "onion, paths redrawn",
            Self::Mix => "mix, whole paths only",
        }
    }
}

/// Bad nodes, and two people.
#[derive(Clone, Copy, Debug)]
pub struct Collusion {
    /// How many nodes there are.
    pub nodes: u32,
    /// How many keep a mailbox.
    pub swarm: u32,
    /// How many work together.
    pub bad: u32,
    /// Messages of a day, in each direction, on average.
    pub messages: f64,
    /// Whether guards are replaced after a time.
    pub rotated: bool,
    /// How requests find their way.
    pub way: Way,
}

impl Collusion {
    /// Plays `pairs` conversations; returns for each of `after` days how many are linked by then.
    #[must_use]
    pub fn measure(&self, pairs: u32, after: &[u32], seed: u64) -> Vec<Estimate> {
        let mut draw = Draw::new(seed);
        let days = after.iter().copied().max().unwrap_or(0);
        let mut linked = Vec::new();
        for _ in 0..WORLDS {
            let world = World::new(self, &mut draw);
            linked.extend((0..pairs / WORLDS).map(|_| self.play(&world, days, &mut draw)));
        }
        let by = |day: &u32| linked.iter().filter(|it| it.is_some_and(|on| on < *day)).count();
        after.iter().map(|day| Estimate::share(by(day), linked.len())).collect()
    }

    /// Returns the day on which two people are linked.
    fn play(&self, world: &World, days: u32, draw: &mut Draw) -> Option<u32> {
        let mut guards = [(); 4].map(|()| Guard::settled(world, draw));
        for day in 0..days {
            if self.rotated {
                guards.iter_mut().for_each(|guard| guard.turn(day, world, draw));
            }
            let [one, two, three, four] = guards.map(|guard| u32::from(guard.bad));
            let (first, second) = (one + two, three + four);
            // Both have kept guards that are good: nobody bad is told who they are.
            let unseen = first == 0 || second == 0;
            if unseen && matches!(self.way, Way::Guards | Way::Mix) {
                continue;
            }
            for (writer, reader) in [(first, second), (second, first)] {
                let members = world.members[draw.below(world.members.len() as u32) as usize];
                if self.lane(writer, reader, members, draw) {
                    return Some(day);
                }
            }
        }
        None
    }

    /// Tells whether a day's mailbox links its writer and its reader.
    fn lane(&self, writer: u32, reader: u32, members: u32, draw: &mut Draw) -> bool {
        let member = f64::from(members) / f64::from(self.swarm);
        if self.way == Way::Direct {
            // Two different members are read from.
            let left = f64::from(members) / f64::from(self.swarm - 1);
            let other = if draw.chance(member) { 1.0 } else { left };
            return draw.chance(member) && draw.chance(other);
        }
        let (writes, reads) = self.guards(writer, reader);
        let messages = draw.poisson(self.messages);
        if self.way == Way::Mix {
            let middle = self.share();
            let wrote = (0..messages).any(|_| draw.chance(writes * middle * member));
            return wrote && draw.chance(some(reads * middle * member));
        }
        let (mut wrote, mut read) = (false, draw.chance(some(reads * member)));
        for _ in 0..messages {
            let (here, there) = (draw.chance(writes), draw.chance(reads));
            if here && there {
                return true;
            }
            wrote |= here;
            read |= there;
        }
        members > 0 && wrote && read
    }

    /// Returns the probabilities that a request of the writer, and of the reader, has a bad guard.
    fn guards(&self, writer: u32, reader: u32) -> (f64, f64) {
        match self.way {
            Way::Redrawn => (self.share(), self.share()),
            _ => (f64::from(writer) / 2.0, f64::from(reader) / 2.0),
        }
    }

    /// Returns the share of bad nodes.
    fn share(&self) -> f64 {
        f64::from(self.bad) / f64::from(self.nodes)
    }

    /// Calculates what [`measure`](Self::measure) measures, for guards that are not rotated.
    #[must_use]
    pub fn expected(&self, days: u32) -> f64 {
        let day = |writer: u32, reader: u32| {
            let there = 1.0 - self.expected_lane(writer, reader);
            let back = 1.0 - self.expected_lane(reader, writer);
            1.0 - (there * back).powf(f64::from(days))
        };
        if matches!(self.way, Way::Direct | Way::Redrawn) {
            return day(0, 0);
        }
        let of_two = |bad: u32| drawn(self.nodes, self.bad, 2, bad);
        let pairs = (0..=2).flat_map(|one| (0..=2).map(move |other| (one, other)));
        pairs.map(|(one, other)| of_two(one) * of_two(other) * day(one, other)).sum()
    }

    /// Calculates the probability that a day's mailbox links its writer and its reader.
    fn expected_lane(&self, writer: u32, reader: u32) -> f64 {
        let given = |members: u32| match self.way {
            Way::Direct => {
                let member = f64::from(members) / f64::from(self.swarm);
                member * (1.0 - drawn(self.swarm, members, 2, 0))
            }
            _ => self.expected_onion(writer, reader, members),
        };
        let swarm = |members| drawn(self.nodes, self.bad, self.swarm, members);
        (0..=self.swarm).map(|members| swarm(members) * given(members)).sum()
    }

    fn expected_onion(&self, writer: u32, reader: u32, members: u32) -> f64 {
        let (writes, reads) = self.guards(writer, reader);
        let member = f64::from(members) / f64::from(self.swarm);
        let some_message = |probability: f64| 1.0 - (-self.messages * probability).exp();
        if self.way == Way::Mix {
            let rest = self.share() * member;
            return some_message(writes * rest) * some(reads * rest);
        }
        if members == 0 {
            return some_message(writes * reads);
        }
        // The writer is seen, but for when no wait and no message shows the reader.
        let unread = (1.0 - some(reads * member)) * (1.0 - some_message(reads));
        some_message(writes) - unread * some_message(writes * (1.0 - reads))
    }
}

/// Returns the probability that one of a day's waits does what each does with this probability.
fn some(probability: f64) -> f64 {
    1.0 - (1.0 - probability).powi(WAITS)
}

/// Returns the probability that of `taken` from `all`, of which `marked` are marked, `hits` are.
fn drawn(all: u32, marked: u32, taken: u32, hits: u32) -> f64 {
    if hits > marked || taken - hits > all - marked {
        return 0.0;
    }
    let choose = |from: u32, of: u32| -> f64 {
        (0..of).map(|place| f64::from(from - place) / f64::from(place + 1)).product()
    };
    choose(marked, hits) * choose(all - marked, taken - hits) / choose(all, taken)
}

/// Who is bad.
struct World {
    bad: Vec<bool>,
    /// Bad members of each swarm.
    members: Vec<u32>,
}

impl World {
    fn new(of: &Collusion, draw: &mut Draw) -> Self {
        let bad: Vec<bool> = draw.shuffled(of.nodes).iter().map(|node| *node < of.bad).collect();
        let swarms = bad.chunks_exact(of.swarm as usize);
        let members = swarms.map(|swarm| swarm.iter().map(|bad| u32::from(*bad)).sum()).collect();
        Self { bad, members }
    }
}

/// One of the two guards of somebody.
#[derive(Clone, Copy)]
struct Guard {
    bad: bool,
    /// The day on which another one takes its place.
    until: u32,
}

impl Guard {
    /// Returns a guard that has been there for a while: the longer one is kept, the likelier it is
    /// found, and any of its days is as likely.
    fn settled(world: &World, draw: &mut Draw) -> Self {
        let kept = loop {
            let kept = KEPT.0 + draw.below(KEPT.1 - KEPT.0 + 1);
            if draw.below(KEPT.1) < kept {
                break kept;
            }
        };
        Self { bad: Self::drawn(world, draw), until: 1 + draw.below(kept) }
    }

    fn turn(&mut self, day: u32, world: &World, draw: &mut Draw) {
        if day == self.until {
            let kept = KEPT.0 + draw.below(KEPT.1 - KEPT.0 + 1);
            *self = Self { bad: Self::drawn(world, draw), until: day + kept };
        }
    }

    fn drawn(world: &World, draw: &mut Draw) -> bool {
        world.bad[draw.below(world.bad.len() as u32) as usize]
    }
}
