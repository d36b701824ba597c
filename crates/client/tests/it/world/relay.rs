//! Nodes as hops: keys, packets on their way out and back, and an exit's services.

use session_client::onion::{Kept, Mode};
use session_client::{Client, Config};
use session_core::{
    Blob, Decode as _, Encode as _, Entropy as _, Epoch, NodeId, Span, SwarmId, Time,
};
use session_crypto::fake::FakeIdentity;
use session_network::ConnId;
use session_network::onion::{
    AnswerKey, BackKey, Hop, Packet, Peeled, Service, SignedHopKey, Size, TAGS_MAX,
};
use session_protocol::inbound::CheckedRequest;
use session_protocol::onion::{ExitAnswer, Onion, Wait, service};
use session_protocol::request::{Outcome, Reply, Request};
use session_protocol::{Kind, Membership as _};

use super::{Driven, Event, LATENCY, World};

/// How long a hop key's epoch lasts.
pub(crate) const EPOCH: Span = Span::from_millis(3_600_000);

/// How much longer the key is taken.
const OVERLAP: Span = Span::from_millis(600_000);

/// Bytes of a published key.
const KEY_BYTES: usize = 4_614;

/// What a hop sees of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Onward,
    Here,
    Back,
}

/// What a hop does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
    Spoil,
    Late(Span),
}

/// Decides for a bad hop.
pub(crate) type Meddle = Box<dyn FnMut(Seen) -> Fate>;

/// A node as a hop.
pub(crate) struct Relay {
    hop: Hop,
    signed: Vec<SignedHopKey>,
    pub(crate) meddle: Option<Meddle>,
    /// Whether it publishes keys.
    pub(crate) publishes: bool,
    /// What it hands out when it is asked for hop keys, if not the truth.
    pub(crate) directory: Option<Vec<SignedHopKey>>,
    /// Packets that it took, of each kind.
    pub(crate) taken: Vec<Seen>,
    /// Times at which packets of clients came.
    pub(crate) from_clients: Vec<(Time, usize)>,
    /// What it was asked as an exit.
    pub(crate) services: Vec<u16>,
}

impl Relay {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            hop: Hop::new(node, TAGS_MAX),
            signed: Vec::new(),
            meddle: None,
            publishes: true,
            directory: None,
            taken: Vec::new(),
            from_clients: Vec::new(),
            services: Vec::new(),
        }
    }

    pub(crate) fn signed(&self) -> Vec<SignedHopKey> {
        self.signed.clone()
    }
}

/// The way back of an answer.
pub(crate) struct Trail {
    conn: ConnId,
    circuit: u64,
    /// The guard first.
    hops: Vec<(usize, BackKey)>,
}

/// A request that an exit answers later.
pub(crate) struct Waiting {
    node: usize,
    request: Request,
    answer: AnswerKey,
    trail: Trail,
    number: u64,
}

impl World {
    /// A swarm of some nodes that are hops, too, and a client whose requests go over them.
    pub(crate) fn over(seed: u64, nodes: usize, mode: Mode) -> Self {
        Self::over_with(seed, &[(SwarmId(1), nodes)], mode, Kept::default())
    }

    /// As [`World::over`], with what was kept of the last time.
    pub(crate) fn over_with(
        seed: u64,
        swarms: &[(SwarmId, usize)],
        mode: Mode,
        kept: Kept,
    ) -> Self {
        let mut world =
            Self::around(seed, swarms, |config| Client::new(Config { mode, kept, ..config }));
        world.publish_keys();
        world
    }
}

impl<C: Driven> World<C> {
    /// Has every node publish the keys of this epoch and of the next one, if it has not.
    pub(crate) fn publish_keys(&mut self) {
        for node in 0..self.nodes.len() {
            self.publish_key_of(node, false);
        }
    }

    /// Has a node publish other keys: it was restarted, and has lost its own.
    pub(crate) fn renew_keys(&mut self, node: usize) {
        self.publish_key_of(node, true);
    }

    fn publish_key_of(&mut self, node: usize, anew: bool) {
        let network = self.membership.network();
        let epoch = self.now.since(Time::ZERO).as_millis() / EPOCH.as_millis();
        for epoch in [epoch, epoch + 1] {
            let start = Time::from_millis(epoch * EPOCH.as_millis());
            let from = if anew { start.max(self.now) } else { start };
            let this = &mut self.nodes[node];
            let known = |key: &SignedHopKey| key.record.epoch == Epoch(epoch);
            if !anew && this.relay.signed.iter().any(known) {
                continue;
            }
            let life = (from, start + EPOCH + OVERLAP);
            let record = this.relay.hop.rotate(&mut self.rng, network, Epoch(epoch), life);
            let keys: &FakeIdentity = &this.keys;
            let signed = record.sign(keys, &mut self.rng);
            this.relay.signed.retain(|known| known.record.epoch != Epoch(epoch));
            this.relay.signed.push(signed);
            let now = self.now;
            this.relay.signed.retain(|key| now < key.record.until);
        }
    }

    /// Returns what a node knows of hop keys.
    pub(super) fn hop_keys(
        &self,
        node: usize,
        (bits, bucket): (u8, u16),
        after: Option<NodeId>,
        bytes_max: u32,
    ) -> Outcome {
        let mut all: Vec<SignedHopKey> = match &self.nodes[node].relay.directory {
            Some(keys) => keys.clone(),
            None => {
                let publishing = self.nodes.iter().filter(|node| node.relay.publishes);
                publishing.flat_map(|node| node.relay.signed.clone()).collect()
            }
        };
        all.sort_by_key(|key| (key.record.node, key.record.epoch));
        all.retain(|key| after.is_none_or(|after| key.record.node > after));
        all.retain(|key| {
            let [first, second, ..] = *key.record.node.as_bytes();
            bits == 0 || u16::from_be_bytes([first, second]) >> (16 - bits) == bucket
        });
        // Two of a node.
        let most = (bytes_max as usize / KEY_BYTES).clamp(2, 64) / 2 * 2;
        let more = all.len() > most;
        all.truncate(most);
        Outcome::HopKeys { keys: session_core::List::new(all).unwrap(), more }
    }

    /// A packet of the client came to its guard.
    pub(super) fn packet_came(&mut self, node: usize, conn: ConnId, onion: Onion) {
        let length = onion.packet.len();
        let now = self.now;
        self.nodes[node].relay.from_clients.push((now, length));
        let trail = Trail { conn, circuit: onion.circuit, hops: Vec::new() };
        self.hop(node, onion.packet.into_vec(), trail);
    }

    pub(super) fn hop(&mut self, node: usize, bytes: Vec<u8>, mut trail: Trail) {
        if !self.nodes[node].up {
            return;
        }
        let Ok(packet) = Packet::try_from(bytes) else { panic!("clients send packets") };
        let relay = &mut self.nodes[node].relay;
        let Ok(peeled) = relay.hop.peel(self.now, &packet) else { return };
        let seen = if matches!(peeled, Peeled::Forward { .. }) { Seen::Onward } else { Seen::Here };
        relay.taken.push(seen);
        let fate = self.fate(node, seen);
        match (peeled, fate) {
            (_, Fate::Drop) => {}
            (Peeled::Forward { next, delay, packet, back }, fate) => {
                trail.hops.push((node, back.expect("requests only")));
                let (bytes, late) = meddled(packet.into_bytes(), fate);
                let next = self.index(next);
                let takes = LATENCY + delay + self.nodes[node].slow + late;
                self.after(takes, Event::Packet(next, bytes, trail));
            }
            (Peeled::Deliver { service, payload, answer, delay }, fate) => {
                let (_, late) = meddled(Vec::new(), fate);
                let takes = delay + self.nodes[node].slow + late;
                self.after(takes, Event::Exit(node, service, payload, answer, trail));
            }
            _ => {}
        }
    }

    fn fate(&mut self, node: usize, seen: Seen) -> Fate {
        let meddle = self.nodes[node].relay.meddle.as_mut();
        meddle.map_or(Fate::Pass, |meddle| meddle(seen))
    }

    pub(super) fn exit(
        &mut self,
        node: usize,
        Service(service): Service,
        payload: &[u8],
        answer: AnswerKey,
        trail: Trail,
    ) {
        self.nodes[node].relay.services.push(service);
        match service {
            service::ECHO => self.send_back(node, answer.seal_reply(&[]).unwrap(), trail),
            service::REQUEST => {
                let request = Request::decode_exact(payload).expect("a request");
                assert_eq!(request.id, 0, "numbers would link requests");
                let reply = self.reply_to(node, request);
                self.seal(node, reply, answer, trail);
            }
            service::WAIT => {
                let Wait { wait, request } = Wait::decode_exact(payload).expect("a wait");
                self.events_made += 1;
                let number = self.events_made;
                let waiting = Waiting { node, request, answer, trail, number };
                self.waiting.push(waiting);
                self.after(wait, Event::WaitOver(number));
                self.wake(node);
            }
            other => panic!("no such service: {other}"),
        }
    }

    /// Answers whoever waits at a node for something that is there now.
    pub(super) fn wake(&mut self, node: usize) {
        let waiting = core::mem::take(&mut self.waiting);
        for waiting in waiting {
            if waiting.node != node || !self.nodes[node].up {
                self.waiting.push(waiting);
                continue;
            }
            let reply = self.reply_to(node, waiting.request.clone());
            let found = reply.as_ref().is_some_and(|reply| {
                let items = |outcome: &Outcome| {
                    matches!(outcome, Outcome::Items { items, .. } if !items.is_empty())
                };
                reply.outcomes.iter().any(items)
            });
            if found {
                self.seal(node, reply, waiting.answer, waiting.trail);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    pub(super) fn wait_over(&mut self, number: u64) {
        let Some(place) = self.waiting.iter().position(|it| it.number == number) else { return };
        let waiting = self.waiting.remove(place);
        let reply = self.reply_to(waiting.node, waiting.request);
        self.seal(waiting.node, reply, waiting.answer, waiting.trail);
    }

    fn reply_to(&mut self, node: usize, request: Request) -> Option<Reply> {
        let checked: CheckedRequest = self.nodes[node].checker.check_request(request);
        // Nobody is connected that could be pushed to.
        self.answer_to(node, ConnId(u64::MAX), &checked)
    }

    fn seal(&mut self, node: usize, reply: Option<Reply>, answer: AnswerKey, trail: Trail) {
        let Some(reply) = reply else { return };
        let mut content = ExitAnswer::Reply { reply }.to_bytes();
        if content.len() > answer.size().answer_bytes_max() {
            let bytes = u32::try_from(content.len()).unwrap();
            content = ExitAnswer::TooLarge { bytes }.to_bytes();
        }
        self.send_back(node, answer.seal_reply(&content).expect("it fits"), trail);
    }

    // Lets an answer go back one hop.
    fn send_back(&mut self, from: usize, packet: Packet, mut trail: Trail) {
        let takes = LATENCY + self.nodes[from].slow;
        match trail.hops.pop() {
            Some((node, back)) => {
                self.after(takes, Event::Back(node, packet.into_bytes(), back, trail));
            }
            None => {
                let packet = Blob::new(packet.into_bytes()).unwrap();
                let onion = Onion { circuit: trail.circuit, packet };
                self.tell(from, trail.conn, Kind::Onion, &onion);
            }
        }
    }

    pub(super) fn back(&mut self, node: usize, bytes: Vec<u8>, back: BackKey, trail: Trail) {
        if !self.nodes[node].up {
            return;
        }
        self.nodes[node].relay.taken.push(Seen::Back);
        let (bytes, late) = match self.fate(node, Seen::Back) {
            Fate::Drop => return,
            fate => meddled(bytes, fate),
        };
        let packet = back.wrap_reply(&Packet::try_from(bytes).unwrap()).unwrap();
        if late > Span::ZERO {
            return self.after(late, Event::Late(node, packet, trail));
        }
        self.send_back(node, packet, trail);
    }

    pub(super) fn late(&mut self, node: usize, packet: Packet, trail: Trail) {
        self.send_back(node, packet, trail);
    }

    /// Returns the nodes that took packets of clients.
    pub(crate) fn guards_used(&self) -> Vec<usize> {
        let used = |node: &usize| !self.nodes[*node].relay.from_clients.is_empty();
        (0..self.nodes.len()).filter(used).collect()
    }

    /// Has a node drop, spoil or delay what it is given.
    pub(crate) fn meddle(&mut self, node: usize, meddle: impl FnMut(Seen) -> Fate + 'static) {
        self.nodes[node].relay.meddle = Some(Box::new(meddle));
    }

    /// Draws a number below a bound.
    pub(crate) fn draw(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap()
    }
}

fn meddled(mut bytes: Vec<u8>, fate: Fate) -> (Vec<u8>, Span) {
    match fate {
        Fate::Spoil => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            (bytes, Span::ZERO)
        }
        Fate::Late(span) => (bytes, span),
        Fate::Pass | Fate::Drop => (bytes, Span::ZERO),
    }
}

/// The lengths of packets.
pub(crate) fn packet_lengths() -> Vec<usize> {
    Size::ALL.map(Size::bytes).to_vec()
}
