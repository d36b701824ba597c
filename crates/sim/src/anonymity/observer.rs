//! Somebody who sees when a packet is on which link, everywhere, and no more.

use std::collections::BTreeMap;

use super::Traffic;
use super::draw::{Micros, SECOND};
use super::flow::HOPS_MAX;
use super::flow::{Flow, Message, Watched};
use super::people::{Chat, People};
use super::stats::Estimate;
use super::trace::{Trail, Verdict};

/// Shares of a suspicion below this are not followed.
const LEAST: f64 = 1e-7;

/// The same where only sums over many packets count.
const LEAST_OF_MANY: f64 = 1e-5;

/// Bins of the times from sending to reading, as somebody at both ends knows them.
const BINS: usize = 20;

/// How well single messages are linked.
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    /// Probability that the attack gives the right recipient.
    pub right: Estimate,
    /// Probability that it gives its best guess; if the attack knows what it knows, [`hit`](Self::hit).
    pub best: Estimate,
    /// Share of messages whose right recipient is the best guess.
    pub hit: Estimate,
    /// Bits that the observer lacks to be sure.
    pub entropy: Estimate,
}

impl Linked {
    fn of(verdicts: &[Verdict]) -> Self {
        let each = |of: fn(&Verdict) -> f64| verdicts.iter().map(of).collect::<Vec<_>>();
        Self {
            right: Estimate::mean(&each(|verdict| verdict.right)),
            best: Estimate::mean(&each(|verdict| verdict.best)),
            hit: Estimate::share(verdicts.iter().filter(|v| v.hit).count(), verdicts.len()),
            entropy: Estimate::mean(&each(|verdict| verdict.entropy)),
        }
    }

    /// Returns how many recipients that are all as likely would leave as much doubt.
    #[must_use]
    pub fn set(&self) -> Estimate {
        let Estimate { value, low, high } = self.entropy;
        Estimate { value: value.exp2(), low: low.exp2(), high: high.exp2() }
    }
}

/// What becomes of messages that are looked at one by one.
#[derive(Clone, Copy, Debug)]
pub struct Single {
    /// Who sees all links, and follows packets from node to node.
    pub links: Linked,
    /// The same, told which of the packets that clients get bring messages.
    pub told: Linked,
    /// Who sees the links of clients only, and is told the same.
    pub ends: Linked,
    /// From sending to reading, in seconds.
    pub seconds: Estimate,
    /// Packets that a node holds.
    pub inside: f64,
    /// Messages that were looked at, and read.
    pub messages: usize,
    /// Those that nobody had read at the end.
    pub unread: usize,
}

/// Looks at about `count` messages of `seconds`, all of them known to be messages.
#[must_use]
pub fn single(traffic: &Traffic, seconds: u64, count: u32, seed: u64) -> Single {
    let people = People::new(traffic, 0, seed);
    let patience = traffic.delay * 2 * HOPS_MAX as u64;
    let (from, length) = (SECOND + patience, seconds * SECOND);
    let said = length / traffic.say_every * u64::from(traffic.clients)
        + length % traffic.say_every * u64::from(traffic.clients) / traffic.say_every;
    let one_in = u32::try_from(said / u64::from(count)).unwrap_or(u32::MAX).max(1);
    let watched = Watched::Messages { one_in, from, until: from + length };
    let mut flow = Flow::new(traffic, &people, watched, LEAST, seed + 1);
    let end = from + length + 5 * SECOND + 4 * patience;
    flow.run(end);

    let inside = flow.passed as f64 / traffic.nodes as f64 / (end as f64 / traffic.delay as f64);
    let ends = Ends::learn(&flow.messages);
    let said = |trail: &&Trail| flow.messages[trail.owner as usize];
    let read = |trail: &&Trail| said(trail).read.is_some();
    let verdicts = |told: bool| {
        let on = |trail: &Trail| {
            let suspects = flow.book.suspects(trail, told, traffic.clients);
            Verdict::on(&suspects, said(&trail).to)
        };
        flow.book.trails.iter().filter(read).map(on).collect::<Vec<_>>()
    };
    let (links, told) = (verdicts(false), verdicts(true));
    let messages = || flow.book.trails.iter().filter(read).map(|trail| said(&trail));
    let at_ends: Vec<Verdict> =
        messages().map(|message| ends.verdict(&message, traffic.clients)).collect();
    let times: Vec<f64> = messages().filter_map(|message| message.seconds()).collect();
    Single {
        links: Linked::of(&links),
        told: Linked::of(&told),
        ends: Linked::of(&at_ends),
        seconds: Estimate::mean(&times),
        inside,
        messages: links.len(),
        unread: flow.book.trails.len() - links.len(),
    }
}

/// What somebody at both ends goes by: how long messages take, and when who got one.
struct Ends {
    /// Reader of each message and when, in order.
    readings: Vec<(Micros, u32)>,
    bin: Micros,
    /// How often a message takes so many bins, or more than all of them.
    taken: [f64; BINS + 1],
}

impl Ends {
    fn learn(messages: &[Message]) -> Self {
        let time = |message: &Message| Some(message.read? - message.sent);
        let mut times: Vec<Micros> = messages.iter().filter_map(time).collect();
        times.sort_unstable();
        // Few take much longer than most: those that nobody waited for when they came.
        let long = times.get(times.len() * 99 / 100).copied().unwrap_or(0);
        let bin = long / BINS as u64 + 1;
        let mut taken = [0.0; BINS + 1];
        times.iter().for_each(|time| taken[place(*time, bin)] += 1.0);
        let reading = |message: &Message| Some((message.read?, message.to));
        let mut readings: Vec<_> = messages.iter().filter_map(reading).collect();
        readings.sort_unstable();
        Self { readings, bin, taken }
    }

    fn verdict(&self, message: &Message, clients: u32) -> Verdict {
        let first = self.readings.partition_point(|(time, _)| *time < message.sent);
        let mut taken = self.taken;
        // Of the message itself nothing was learned.
        if let Some(read) = message.read {
            taken[place(read - message.sent, self.bin)] -= 1.0;
        }
        let mut suspects = vec![0.0; clients as usize];
        for (time, reader) in &self.readings[first..] {
            let bin = place(time - message.sent, self.bin);
            if bin == BINS {
                break;
            }
            if *reader != message.from {
                suspects[*reader as usize] += taken[bin];
            }
        }
        Verdict::on(&suspects, message.to)
    }
}

fn place(time: Micros, bin: Micros) -> usize {
    usize::try_from(time / bin).unwrap_or(BINS).min(BINS)
}

/// What an observer is told besides what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: any packet of a client may be a message.
    Nothing,
    /// Which packets of those who chat are messages.
    Sent,
    /// And which of the packets that clients get bring some.
    Both,
}

/// After how many messages of a chat its recipient stands out among all clients.
///
/// Of `chats` pairs somebody follows the packets of the first one; of each client it sums up what
/// speaks for it, and compares with what speaks for it in the other chats. Returns for each of
/// `after` messages the share of chats whose recipient has the highest score.
#[must_use]
pub fn disclosure(
    traffic: &Traffic,
    chats: u32,
    after: &[u32],
    told: Told,
    seed: u64,
) -> Vec<Estimate> {
    let people = People::new(traffic, chats, seed);
    let watched = if told == Told::Nothing { Watched::AllOfChats } else { Watched::Chats };
    let mut flow = Flow::new(traffic, &people, watched, LEAST_OF_MANY, seed + 1);
    let mut scores = vec![vec![0.0; traffic.clients as usize]; people.chats().len()];
    let mut chats: Vec<Progress> = people.chats().iter().map(|_| Progress::default()).collect();
    // Nobody waits longer but where one request ended and the next is on its way.
    let patience = 3 * SECOND + 24 * traffic.delay;
    let (mut ended, mut forgotten) = (0, [0, 0]);
    while chats.iter().any(|chat| chat.found.len() < after.len()) {
        flow.run(flow.now() + patience);
        let items = flow.book.items();
        let old = |trail: &&Trail| trail.born + patience < flow.now();
        let mut weights = BTreeMap::new();
        for trail in flow.book.trails[ended..].iter().take_while(old) {
            for (item, weight) in trail.weights(told != Told::Nothing) {
                *weights.entry((trail.owner, item)).or_insert(0.0) += weight;
            }
            ended += 1;
        }
        for ((owner, item), weight) in weights {
            let scores = &mut scores[owner as usize];
            flow.book.spread(item, weight, told == Told::Both, scores);
        }
        flow.book.forget(forgotten[0]);
        forgotten = [forgotten[1], items];
        count(&flow, &people, patience, &mut chats);
        let usual = usual(&scores);
        for (number, chat) in chats.iter_mut().enumerate() {
            while after.get(chat.found.len()).is_some_and(|messages| *messages <= chat.read) {
                chat.found.push(stands_out(&scores[number], &usual, people.chats()[number]));
            }
        }
    }
    let shares = (0..after.len()).map(|place| {
        let hits = chats.iter().filter(|chat| chat.found[place]).count();
        Estimate::share(hits, chats.len())
    });
    shares.collect()
}

/// How far a chat is.
#[derive(Default)]
struct Progress {
    /// Messages whose trails ended.
    read: u32,
    /// Whether the recipient stood out, each time that somebody looked.
    found: Vec<bool>,
}

fn count(flow: &Flow<'_>, people: &People, patience: Micros, chats: &mut [Progress]) {
    chats.iter_mut().for_each(|chat| chat.read = 0);
    for message in flow.messages.iter().filter(|message| message.sent + patience < flow.now()) {
        if let Some(chat) = people.chat_of(message.from)
            && people.chats()[chat as usize].to == message.to
        {
            chats[chat as usize].read += 1;
        }
    }
}

/// What speaks for each client in the mean of all chats.
fn usual(scores: &[Vec<f64>]) -> Vec<f64> {
    let chats = scores.len() as f64;
    let clients = 0..scores.first().map_or(0, Vec::len);
    clients.map(|client| scores.iter().map(|of| of[client]).sum::<f64>() / chats).collect()
}

/// Whether nobody is more suspect than the recipient of `chat`.
fn stands_out(scores: &[f64], usual: &[f64], chat: Chat) -> bool {
    // Sums of shares vary as their mean does; whoever is hardly ever suspect proves little.
    let floor = usual.iter().sum::<f64>() / usual.len() as f64;
    let score = |(mass, usual): (&f64, &f64)| (mass - usual) / (usual + floor).sqrt();
    let mut best = (0.0, None);
    for (client, score) in scores.iter().zip(usual).map(score).enumerate() {
        if client != chat.from as usize && score > best.0 {
            best = (score, Some(client));
        }
    }
    best.1 == Some(chat.to as usize)
}
