//! The hop keys of nodes, and which are asked for next.
//!
//! Nobody is ever asked for the key of one node: the question would be the path. Small networks are
//! read as a whole. Of large ones a guard is asked for some parts drawn at random, and whatever part
//! an exit is in is asked for over a path, of somebody who does not know who asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_core::{Entropy, Epoch, List, NodeId, Span, Time, record};
use session_crypto::Verifier;
use session_network::onion::{HopKey, KEY_LIFE_MAX, SignedHopKey};
use session_protocol::Membership;
use session_protocol::onion::BUCKET_BITS_MAX;

/// Networks of up to so many nodes are read as a whole.
const WHOLE_MAX: usize = 256;

/// Nodes in one part of a larger one.
const PART_NODES: usize = 32;

/// Parts that a guard is asked for: more nodes than any path needs, and the same for everybody.
const PARTS: usize = 8;

/// Parts that wait to be asked for; more than these are asked for when they are missed again.
const PARTS_QUEUED_MAX: usize = 64;

/// Epochs whose keys are kept: the last one, this one, the next one, and one that somebody made up.
const EPOCHS_MAX: usize = 4;

/// Pages of one part; nobody has more.
const PAGES_MAX: usize = 64;

/// Time for one answer.
const ANSWER: Span = Span::from_secs(6);

/// After so long the same is asked of somebody else, too; doubled with each who is asked.
const PATIENCE: Span = Span::from_secs(1);

/// Wait after a question that nobody answered, or an answer that was too little; doubled each time.
const AGAIN_MIN: Span = Span::from_secs(1);

/// Most doublings of that wait: about a minute.
const AGAIN_DOUBLINGS_MAX: u32 = 6;

/// Keys that are missing or did not work are asked for again after so long, which is doubled each
/// time that brings nothing: right after the start of a network some are not spread yet.
const HURRY_MIN: Span = Span::from_secs(1);

/// Most doublings of that: half a minute.
const HURRY_DOUBLINGS_MAX: u32 = 5;

/// Keys that are kept for the next start: those of 512 nodes for two epochs, 4.7 MB.
pub const KEYS_KEPT_MAX: usize = 1_024;

record! {
    /// The hop keys that are known, for their owner's disk. Each is checked again when it is read.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct HopKeyList {
        /// When they were read from the network.
        pub read: Time,
        /// When they are to be read again.
        pub next: Time,
        /// They.
        pub keys: List<SignedHopKey, KEYS_KEPT_MAX>,
    }
}

/// A part of the network: all nodes whose ids begin with these bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    bits: u8,
    bucket: u16,
    /// Whether it is asked for over a path.
    hidden: bool,
}

/// What is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// How many bits.
    pub(crate) bits: u8,
    /// Which.
    pub(crate) bucket: u16,
    /// Behind whom the page starts.
    pub(crate) after: Option<NodeId>,
    /// Whether it goes over a path.
    pub(crate) hidden: bool,
}

/// The question that is out.
#[derive(Debug)]
struct Asked {
    part: Part,
    after: Option<NodeId>,
    pages: usize,
    /// Under which numbers, and of whom; of nobody that is known, where it went over a path.
    out: Vec<(u64, Option<NodeId>)>,
    /// When somebody else is asked, too.
    patient_until: Time,
    until: Time,
}

struct Known {
    key: HopKey,
    until: Time,
    /// As it came, to be kept.
    signed: Box<SignedHopKey>,
}

/// The keys, bounded by the network's nodes times [`EPOCHS_MAX`].
#[derive(Default)]
pub(crate) struct Directory {
    keys: BTreeMap<Epoch, BTreeMap<NodeId, Known>>,
    parts: VecDeque<Part>,
    /// The part that is being read, and how far.
    reading: Option<(Part, Option<NodeId>, usize)>,
    asked: Option<Asked>,
    /// Nodes that let us wait when they were last asked.
    silent: BTreeSet<NodeId>,
    /// When to read again; at once, where it was never read.
    next: Option<Time>,
    read_at: Option<Time>,
    failures: u32,
    /// Whether it is read sooner than it was to be, and how often that brought nothing.
    hurrying: bool,
    hurried: u32,
    changed: bool,
}

/// What came of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Keys that are new.
    pub(crate) new: usize,
    /// Keys that are not their nodes'.
    pub(crate) bad: usize,
}

impl Directory {
    /// Goes on where the last start ended. A list that is not all true is one that tells less.
    pub(crate) fn restore(
        &mut self,
        list: HopKeyList,
        context: (&dyn Membership, &dyn Verifier),
        now: Time,
    ) {
        let HopKeyList { read, next, keys } = list;
        let learned = keys.into_iter().filter_map(|signed| self.learn(signed, context, now));
        if learned.filter(|new| *new).count() > 0 && read <= now {
            // Behind a clock that was wrong keys would never be read again.
            self.next = Some(next.min(read + KEY_LIFE_MAX));
            self.read_at = Some(read);
        }
    }

    /// Returns the keys if they have to be written: those that are valid longest, if there are many.
    pub(crate) fn take_changed(&mut self) -> Option<HopKeyList> {
        let (true, Some(read), Some(next)) = (self.changed, self.read_at, self.next) else {
            return None;
        };
        self.changed = false;
        let mut keys: Vec<&Known> = self.keys.values().flat_map(BTreeMap::values).collect();
        keys.sort_by_key(|known| core::cmp::Reverse(known.until));
        let keys = keys.into_iter().take(KEYS_KEPT_MAX).map(|known| (*known.signed).clone());
        let keys = List::new(keys.collect::<Vec<_>>()).expect("taken up to the bound");
        Some(HopKeyList { read, next, keys })
    }

    /// Returns the nodes whose keys of an epoch can be used now.
    pub(crate) fn nodes(&self, epoch: Epoch, now: Time) -> impl Iterator<Item = NodeId> + '_ {
        let of_epoch = self.keys.get(&epoch).into_iter().flatten();
        of_epoch.filter(move |(_, known)| known.key.valid_at(now)).map(|(node, _)| *node)
    }

    pub(crate) fn key(&self, epoch: Epoch, node: &NodeId, now: Time) -> Option<&HopKey> {
        let known = self.keys.get(&epoch)?.get(node)?;
        Some(&known.key).filter(|key| key.valid_at(now))
    }

    /// Returns the epochs that paths can be made in, the newest first; those that few nodes have
    /// keys of come last, for there an enemy's nodes would be among few.
    pub(crate) fn epochs(&self, now: Time) -> Vec<Epoch> {
        let counts: Vec<(Epoch, usize)> = self
            .keys
            .keys()
            .map(|epoch| (*epoch, self.nodes(*epoch, now).count()))
            .filter(|(_, count)| *count > 0)
            .collect();
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let is_full = |count: usize| count * 4 >= most * 3;
        let newest = counts.into_iter().rev();
        let (full, rest): (Vec<_>, Vec<_>) = newest.partition(|(_, count)| is_full(*count));
        full.into_iter().chain(rest).map(|(epoch, _)| epoch).collect()
    }

    /// Tells whether some usable key of a node is known.
    pub(crate) fn has(&self, node: &NodeId, now: Time) -> bool {
        self.keys.keys().any(|epoch| self.key(*epoch, node, now).is_some())
    }

    /// Begins to read the network anew, if it is time. Of a large one the parts that guards are in
    /// and some others.
    pub(crate) fn refresh(
        &mut self,
        nodes: usize,
        guards: &[NodeId],
        now: Time,
        rng: &mut dyn Entropy,
    ) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + ANSWER);
        let bits = bits(nodes);
        if bits == 0 {
            return self.add(Part { bits, bucket: 0, hidden: false });
        }
        let drawn = (0..PARTS).map(|_| u16::try_from(rng.below(1 << bits)).unwrap_or(0));
        let mut buckets: Vec<u16> = drawn.collect();
        buckets.extend(guards.iter().map(|guard| bucket_of(guard, bits)));
        while let Some(last) = buckets.len().checked_sub(1) {
            let place = usize::try_from(rng.below(buckets.len() as u64)).unwrap_or(last);
            let bucket = buckets.swap_remove(place);
            self.add(Part { bits, bucket, hidden: false });
        }
    }

    fn add(&mut self, part: Part) {
        let reading = self.reading.is_some_and(|(reading, ..)| reading == part);
        let asked = self.asked.as_ref().is_some_and(|asked| asked.part == part);
        let room = self.parts.len() < PARTS_QUEUED_MAX;
        if room && !reading && !asked && !self.parts.contains(&part) {
            self.parts.push_back(part);
        }
    }

    /// Notes that the key of a node is missing.
    pub(crate) fn miss(&mut self, node: &NodeId, nodes: usize, now: Time) {
        let bits = bits(nodes);
        if bits == 0 {
            return self.hurry(now);
        }
        let bucket = bucket_of(node, bits);
        self.add(Part { bits, bucket, hidden: true });
    }

    /// Keys seem to be out of date: reads them again soon.
    pub(crate) fn hurry(&mut self, now: Time) {
        let wait = HURRY_MIN.as_millis() << self.hurried.min(HURRY_DOUBLINGS_MAX);
        let soon = self.read_at.map_or(now, |read| (read + Span::from_millis(wait)).max(now));
        if self.next.is_none_or(|next| soon < next) {
            self.next = Some(soon);
            self.hurrying = true;
        }
    }

    fn is_busy(&self) -> bool {
        self.asked.is_some() || self.reading.is_some() || !self.parts.is_empty()
    }

    /// Returns what is to be asked next, unless a question is out.
    pub(crate) fn question(&mut self) -> Option<Question> {
        if self.asked.is_some() {
            return None;
        }
        // What is asked over a path needs the keys of one: the other parts come first.
        if self.parts.iter().any(|part| !part.hidden)
            && let Some((waiting, ..)) = self.reading.take_if(|(part, ..)| part.hidden)
        {
            self.parts.push_back(waiting);
        }
        if self.reading.is_none() {
            let open = self.parts.iter().position(|part| !part.hidden).unwrap_or(0);
            self.reading = self.parts.remove(open).map(|part| (part, None, 0));
        }
        let (Part { bits, bucket, hidden }, after, _) = self.reading?;
        Some(Question { bits, bucket, after, hidden })
    }

    /// Returns the question that is out, if its answer takes so long that somebody else is asked,
    /// too.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Question> {
        let asked = self.asked.as_ref()?;
        if asked.part.hidden || now < asked.patient_until {
            return None;
        }
        self.silent.extend(asked.out.iter().filter_map(|(_, node)| *node));
        let (Part { bits, bucket, hidden }, after) = (asked.part, asked.after);
        Some(Question { bits, bucket, after, hidden })
    }

    /// Returns who is asked best: of those that are not asked already, whoever answers.
    pub(crate) fn best(&self, mut links: Vec<NodeId>, rng: &mut dyn Entropy) -> Option<NodeId> {
        let out = self.asked.iter().flat_map(|asked| &asked.out);
        let out: Vec<NodeId> = out.filter_map(|(_, node)| *node).collect();
        links.retain(|node| !out.contains(node));
        if links.iter().any(|node| !self.silent.contains(node)) {
            links.retain(|node| !self.silent.contains(node));
        }
        links.get(usize::try_from(rng.below(links.len() as u64)).ok()?).copied()
    }

    /// Notes that the question was asked of a node under a number.
    pub(crate) fn asked(&mut self, number: u64, node: NodeId, now: Time) {
        if let Some((part, after, pages)) = self.reading.take() {
            let (patient_until, until) = (now + PATIENCE, now + ANSWER);
            let out = vec![(number, Some(node))];
            self.asked = Some(Asked { part, after, pages, out, patient_until, until });
        } else if let Some(asked) = &mut self.asked {
            let wait = PATIENCE.as_millis() << asked.out.len().min(AGAIN_DOUBLINGS_MAX as usize);
            asked.out.push((number, Some(node)));
            (asked.patient_until, asked.until) = (now + Span::from_millis(wait), now + ANSWER);
        }
    }

    /// Notes that the question was asked under a number over a path.
    pub(crate) fn asked_hidden(&mut self, number: u64, now: Time, extra: Span) {
        if let Some((part, after, pages)) = self.reading.take() {
            let (patient_until, until) = (Time::MAX, now + ANSWER + extra);
            let out = vec![(number, None)];
            self.asked = Some(Asked { part, after, pages, out, patient_until, until });
        }
    }

    /// Tells whether a number is that of the question that is out.
    pub(crate) fn is_asked(&self, number: u64) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.out.iter().any(|(it, _)| *it == number))
    }

    /// A link is gone. Where nobody else is asked what was asked there, it is asked anew at once.
    pub(crate) fn went_down(&mut self, node: &NodeId) {
        let Some(asked) = &mut self.asked else { return };
        asked.out.retain(|(_, of)| of.as_ref() != Some(node));
        if asked.out.is_empty() {
            self.reading = Some((asked.part, asked.after, asked.pages));
            self.asked = None;
        }
    }

    /// Notes that a node answered.
    pub(crate) fn heard(&mut self, node: &NodeId) {
        self.silent.remove(node);
    }

    /// Takes an answer to the question that is out.
    pub(crate) fn answered(
        &mut self,
        keys: impl IntoIterator<Item = SignedHopKey>,
        more: bool,
        context: (&dyn Membership, &dyn Verifier),
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Learned {
        let Some(asked) = self.asked.take() else { return Learned { new: 0, bad: 0 } };
        let mut learned = Learned { new: 0, bad: 0 };
        let mut last = asked.after;
        for signed in keys {
            last = last.max(Some(signed.record.node));
            match self.learn(signed, context, now) {
                Some(true) => learned.new += 1,
                Some(false) => {}
                None => learned.bad += 1,
            }
        }
        // A page that does not move on would be asked for without end.
        if more && last > asked.after && asked.pages < PAGES_MAX {
            self.reading = Some((asked.part, last, asked.pages + 1));
        }
        if !self.is_busy() {
            self.read(now, rng);
        }
        learned
    }

    // Returns whether a key is new; none for one that is not its node's.
    fn learn(
        &mut self,
        signed: SignedHopKey,
        (membership, verifier): (&dyn Membership, &dyn Verifier),
        now: Time,
    ) -> Option<bool> {
        let (node, until) = (signed.record.node, signed.record.until);
        let (epoch, from) = (signed.record.epoch, signed.record.from);
        // Of a node that has left, or joined a moment ago; or of a clock that differs from ours.
        let Some(record) = membership.node(&node) else { return Some(false) };
        if until <= now || from > now + KEY_LIFE_MAX {
            return Some(false);
        }
        let known = self.keys.get(&epoch).and_then(|keys| keys.get(&node));
        if known.is_some_and(|known| known.key.valid_from() >= from) {
            return Some(false);
        }
        let signed = Box::new(signed);
        let key = signed.clone().verify(&membership.network(), &record.keys, verifier).ok()?;
        self.keys.entry(epoch).or_default().insert(node, Known { key, until, signed });
        self.hurried = 0;
        Some(true)
    }

    // Everything was read: finds out when it is read again. Half of what is left of the newest keys'
    // time has passed by then, so that the next ones are there; and not all clients ask at once.
    fn read(&mut self, now: Time, rng: &mut dyn Entropy) {
        self.read_at = Some(now);
        if core::mem::take(&mut self.hurrying) {
            self.hurried = self.hurried.saturating_add(1);
        }
        self.keys.values_mut().for_each(|keys| keys.retain(|_, known| now < known.until));
        self.keys.retain(|_, keys| !keys.is_empty());
        while self.keys.len() > EPOCHS_MAX {
            let fewest = self.keys.iter().min_by_key(|(_, keys)| keys.len()).map(|(it, _)| *it);
            fewest.map(|epoch| self.keys.remove(&epoch));
        }
        let most = self.keys.values().map(BTreeMap::len).max().unwrap_or(0);
        let full = self.keys.values().filter(|keys| keys.len() * 4 >= most * 3);
        let Some(until) = full.flat_map(BTreeMap::values).map(|known| known.until).max() else {
            return self.again(now);
        };
        self.failures = 0;
        let left = until.since(now).as_millis();
        let wait = left / 2 + rng.below(left * 3 / 10 + 1);
        self.next = Some(now + Span::from_millis(wait.max(AGAIN_MIN.as_millis())));
        self.changed = true;
    }

    fn again(&mut self, now: Time) {
        let wait = AGAIN_MIN.as_millis() << self.failures.min(AGAIN_DOUBLINGS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.next = Some(now + Span::from_millis(wait));
    }

    /// What was asked under a number came to nothing.
    pub(crate) fn lost(&mut self, number: u64, now: Time) {
        let Some(asked) = &mut self.asked else { return };
        let of = asked.out.iter().find(|(it, _)| *it == number);
        self.silent.extend(of.and_then(|(_, node)| *node));
        asked.out.retain(|(it, _)| *it != number);
        if asked.out.is_empty() {
            self.failed(now);
        }
    }

    /// The question that is out, or the one that is next, came to nothing.
    fn failed(&mut self, now: Time) {
        (self.asked, self.reading) = (None, None);
        self.parts.clear();
        self.again(now);
    }

    /// Gives a question up that nobody answered in time.
    pub(crate) fn expire(&mut self, now: Time) {
        if let Some(asked) = self.asked.take_if(|asked| asked.until <= now) {
            self.silent.extend(asked.out.iter().filter_map(|(_, node)| *node));
            self.failed(now);
        }
    }

    /// Returns when an answer is overdue, or everything is to be read again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let asked = self.asked.as_ref();
        asked.map(|asked| asked.patient_until.min(asked.until)).or(self.next)
    }
}

/// Returns the first bits of an id, at least one, as a number.
fn bucket_of(node: &NodeId, bits: u8) -> u16 {
    let [first, second, ..] = *node.as_bytes();
    u16::from_be_bytes([first, second]) >> (16 - bits)
}

/// Returns how many bits name a part of a network.
fn bits(nodes: usize) -> u8 {
    if nodes <= WHOLE_MAX {
        return 0;
    }
    let parts = (nodes / PART_NODES).max(2).ilog2();
    u8::try_from(parts).map_or(BUCKET_BITS_MAX, |bits| bits.min(BUCKET_BITS_MAX))
}
