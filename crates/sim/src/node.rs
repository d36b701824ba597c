//! A node: the daemon machine with the shell that `sessiond` is in the real world.
//!
//! The shell checks frames, feeds the machine, gathers what belongs to one commit, commits, signs
//! the receipts of that commit under one root, and only then performs the effects in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{
    Context, Decode, Digest, Entropy, Machine, NodeId, Reader, SeededEntropy, Span, Time,
};
use session_crypto::fake::FakeIdentity;
use session_crypto::{DsaPublicKey, Signer};
use session_daemon::{Daemon, Effect, Health, Input, Report, relay};
use session_network::onion::Opener;
use session_network::{ConnId, From};
use session_protocol::chain::Action;
use session_protocol::chain::view::ChainView;
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::request::{Outcome, Push, Reply};
use session_protocol::{Checker, Frame, Inbound, Kind, Membership};
use session_swarm::coordinator::Lie;

use crate::byzantine::Misbehaviour;
use crate::disk::Disk;
use crate::host::{Arrival, Departure, Host, HostId, Skew};
use crate::note::Note;

/// In which order a shell commits and performs effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// First durable, then visible: the law.
    CommitFirst,
    /// The other way round: a bug, there to show that the invariants find it.
    AnswerFirst,
}

/// How a node's shell works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shell {
    /// How long a commit takes; inputs of that time share it.
    pub commit_after: Span,
    /// What comes first.
    pub order: Order,
}

impl Default for Shell {
    fn default() -> Self {
        Self { commit_after: Span::from_millis(2), order: Order::CommitFirst }
    }
}

/// Bytes that every disk has left.
const FREE_BYTES: u64 = 1 << 40;

/// What a node sent to others about its duties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Duties {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// A simulated node.
pub struct Node {
    host: HostId,
    id: NodeId,
    identity: Arc<FakeIdentity>,
    config: session_daemon::Config,
    checker: Checker,
    rng: SeededEntropy,
    pub(crate) shell: Shell,
    pub(crate) skew: Skew,
    pub(crate) disk: Disk,
    daemon: Option<Daemon>,
    /// What opens onion packets, if the node is a hop.
    opener: Option<Arc<Opener>>,
    /// When the daemon wants to be woken, by its own clock. Asking it anew is not free.
    due: Option<Time>,
    /// Effects that wait for their commit.
    held: Vec<Effect>,
    commit_at: Option<Time>,
    conns: BTreeSet<ConnId>,
    /// What it last saw of the chain, which a crash does not take from it.
    view: Option<Arc<ChainView>>,
    misbehaviour: Option<Box<dyn Misbehaviour>>,
    /// Receipts that were signed under a root and have not left yet.
    promised: BTreeMap<Digest, Vec<StorageReceipt>>,
    pub(crate) duties: Duties,
    pub(crate) notes: Vec<Note>,
}

impl Node {
    pub(crate) fn new(
        host: HostId,
        identity: Arc<FakeIdentity>,
        config: session_daemon::Config,
        checker: Checker,
        mut rng: SeededEntropy,
    ) -> Self {
        Self {
            host,
            id: identity.public().node_id(),
            identity,
            config,
            checker,
            disk: Disk::new(rng.next_u64()),
            rng,
            shell: Shell::default(),
            skew: Skew::default(),
            daemon: None,
            opener: None,
            due: None,
            held: Vec::new(),
            commit_at: None,
            conns: BTreeSet::new(),
            view: None,
            misbehaviour: None,
            promised: BTreeMap::new(),
            duties: Duties::default(),
            notes: Vec::new(),
        }
    }

    /// Returns its id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Returns whether it runs.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.daemon.is_some()
    }

    /// Returns whether it follows the protocol.
    #[must_use]
    pub const fn is_honest(&self) -> bool {
        self.misbehaviour.is_none() && self.lie().is_none()
    }

    /// Returns how it lies about its duties, if it does.
    #[must_use]
    pub const fn lie(&self) -> Option<Lie> {
        match &self.config.coordinator {
            Some(coordinator) => coordinator.lie,
            None => None,
        }
    }

    /// Lies from its next start on.
    pub(crate) const fn set_lie(&mut self, lie: Lie) {
        if let Some(coordinator) = &mut self.config.coordinator {
            coordinator.lie = Some(lie);
        }
    }

    /// Shows it what the chain says before it starts, as its own copy of the chain would.
    pub(crate) fn set_view(&mut self, view: &Arc<ChainView>) {
        self.view = Some(Arc::clone(view));
    }

    /// Returns what it last saw of the chain.
    #[must_use]
    pub const fn view(&self) -> Option<&Arc<ChainView>> {
        self.view.as_ref()
    }

    /// Returns its keys.
    pub(crate) const fn identity(&self) -> &Arc<FakeIdentity> {
        &self.identity
    }

    /// Returns how far inboxes are that are on their way to it or from it, if there are any.
    #[must_use]
    pub fn handing_over(&self) -> Option<session_swarm::Progress> {
        self.daemon.as_ref()?.handing_over()
    }

    /// Returns its disk, which is there whether it runs or not.
    #[must_use]
    pub const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Returns what its clock shows.
    #[must_use]
    pub const fn clock(&self, now: Time) -> Time {
        self.skew.local(now)
    }

    /// Returns how it is, while it runs.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        self.daemon.as_ref().map(|daemon| daemon.health(&self.disk))
    }

    pub(crate) fn corrupt(&mut self, misbehaviour: Box<dyn Misbehaviour>) {
        self.misbehaviour = Some(misbehaviour);
    }

    /// Starts the daemon over what is on the disk.
    pub(crate) fn start(&mut self, now: Time) {
        if let Some(view) = &self.view {
            let membership = Arc::clone(&view.membership) as Arc<dyn Membership>;
            self.checker.set_view(view);
            self.config.network.membership = Arc::clone(&membership);
            self.config.swarm.membership = membership;
        }
        self.daemon =
            Some(Daemon::new(self.config.clone()).expect("made from the same membership"));
        if let Some(view) = self.view.clone() {
            self.tell(now, Input::FreeBytes(FREE_BYTES));
            self.tell(now, Input::View(view));
        }
        self.due = self.daemon.as_ref().and_then(Machine::deadline);
    }

    /// Loses everything that was not committed.
    pub(crate) fn crash(&mut self) {
        self.daemon = None;
        self.opener = None;
        self.due = None;
        self.held.clear();
        self.commit_at = None;
        self.conns.clear();
        self.promised.clear();
        self.disk.crash();
    }

    /// Puts an empty disk in the place of the old one.
    pub(crate) fn lose_disk(&mut self) {
        self.disk = Disk::new(self.rng.next_u64());
    }

    fn call(&mut self, now: Time, call: impl FnOnce(&mut Daemon, &mut Cx<'_>)) {
        let Some(daemon) = &mut self.daemon else { return };
        let mut cx = Context {
            now: self.skew.local(now),
            store: &mut self.disk as &mut dyn session_storage::Store,
            rng: &mut self.rng,
            effects: &mut self.held,
        };
        call(daemon, &mut cx);
    }

    fn tell(&mut self, now: Time, input: Input) {
        self.call(now, |daemon, cx| daemon.handle(cx, input));
    }

    /// Ends a call: what needs a commit waits for it, everything else leaves at once.
    fn settle(&mut self, now: Time, out: &mut Vec<Departure>) {
        if self.shell.order == Order::AnswerFirst {
            self.tell(now, Input::Flush);
            self.perform_all(now, out);
        }
        if self.disk.is_written() {
            self.commit_at.get_or_insert(now + self.shell.commit_after);
        } else if self.commit_at.is_none() {
            self.perform_all(now, out);
        }
    }

    fn commit(&mut self, now: Time, out: &mut Vec<Departure>) {
        self.commit_at = None;
        self.tell(now, Input::Flush);
        self.disk.commit();
        if self.misbehaviour.as_ref().is_some_and(|liar| !liar.keeps()) {
            self.lose_disk();
        }
        self.perform_all(now, out);
    }

    /// Performs what is held; signing brings further effects, which need no further commit.
    fn perform_all(&mut self, now: Time, out: &mut Vec<Departure>) {
        while !self.held.is_empty() {
            let effects = std::mem::take(&mut self.held);
            let tickets = self.perform(effects, out);
            self.sign(now, tickets);
            if self.disk.is_written() && self.shell.order == Order::CommitFirst {
                self.commit_at.get_or_insert(now + self.shell.commit_after);
                return;
            }
        }
    }

    fn perform(&mut self, effects: Vec<Effect>, out: &mut Vec<Departure>) -> Vec<Ticket> {
        let mut tickets = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { conn, class, frame } => {
                    self.watch(&frame);
                    match &mut self.misbehaviour {
                        None => out.push(Departure::Send { conn, class, body: frame }),
                        Some(liar) => {
                            let bodies = liar.outbound(frame, &mut self.rng);
                            let send = |body| Departure::Send { conn, class, body };
                            out.extend(bodies.into_iter().map(send));
                        }
                    }
                }
                Effect::Dial { dial, address, key } => {
                    out.push(Departure::Dial { dial, address, key });
                }
                Effect::Close { conn, .. } => {
                    self.conns.remove(&conn);
                    out.push(Departure::Close { conn });
                }
                Effect::Submit { action } => {
                    out.push(Departure::Submit { action: Box::new(action) });
                }
                Effect::Accuse { evidence } => {
                    let action = Box::new(Action::Accuse { evidence });
                    out.push(Departure::Submit { action });
                }
                Effect::FetchCommitment { node, epoch } => {
                    out.push(Departure::Fetch { node, epoch });
                }
                Effect::Certified { certificate } => {
                    out.push(Departure::Certified { certificate });
                }
                Effect::SignReceipts { ticket, receipts } => tickets.push((ticket, receipts)),
                Effect::OpenOnions(opener) => self.opener = Some(opener),
                Effect::Report(Report::Penalized { from: From::Node(peer), why }) => {
                    self.notes.push(Note::Penalized { node: self.host, peer, why });
                }
                _ => {}
            }
        }
        tickets
    }

    fn sign(&mut self, now: Time, tickets: Vec<Ticket>) {
        if tickets.is_empty() {
            return;
        }
        let mut receipts: Vec<StorageReceipt> =
            tickets.iter().flat_map(|(_, receipts)| receipts.iter().copied()).collect();
        if let Some(liar) = &mut self.misbehaviour {
            liar.signing(&mut receipts, &mut self.rng);
        }
        let network = self.checker.membership().network();
        let (root, proofs) = sign_receipts(network, &*self.identity, &receipts, &mut self.rng);
        self.promised.insert(root.root, receipts);
        let mut proofs = proofs.into_iter();
        for (ticket, receipts) in tickets {
            let proofs = proofs.by_ref().take(receipts.len()).collect();
            self.tell(now, Input::ReceiptsSigned { ticket, root: root.clone(), proofs });
        }
    }

    /// Notes what an honest node promises and serves.
    fn watch(&mut self, frame: &[u8]) {
        if frame.get(1) == Some(&Kind::Duty.code()) {
            self.duties.frames += 1;
            self.duties.bytes += frame.len() as u64;
            return;
        }
        if self.misbehaviour.is_some() {
            return;
        }
        let Ok((kind, payload)) = Frame::split(frame) else { return };
        match kind {
            Kind::Receipt => {
                if let Some(root) = root_of_receipts(payload) {
                    self.note_promise(root);
                }
            }
            Kind::Reply => {
                if let Ok(reply) = Frame::payload::<Reply>(kind, payload) {
                    self.watch_reply(&reply);
                }
            }
            Kind::Push => {
                if let Ok(Push { address, item, .. }) = Frame::payload(kind, payload) {
                    let items = vec![(item.id, item.expiry)];
                    let address = Some(address);
                    // A push carries no clock: it is checked by the time that it was made at.
                    self.notes.push(Note::Served { node: self.host, clock: None, address, items });
                }
            }
            _ => {}
        }
    }

    fn watch_reply(&mut self, reply: &Reply) {
        for root in &reply.roots {
            if root.node == self.id {
                self.note_promise(root.root);
            }
        }
        for outcome in &reply.outcomes {
            if let Outcome::Items { items, .. } = outcome
                && !items.is_empty()
            {
                let items = items.iter().map(|item| (item.id, item.expiry)).collect();
                let clock = Some(reply.server_time);
                self.notes.push(Note::Served { node: self.host, clock, address: None, items });
            }
        }
    }

    fn note_promise(&mut self, root: Digest) {
        if let Some(receipts) = self.promised.remove(&root) {
            self.notes.push(Note::Promised { node: self.host, receipts });
        }
    }

    fn see(&mut self, now: Time, view: Arc<ChainView>) {
        let known = self.daemon.as_ref().and_then(Daemon::chain);
        if known.is_some_and(|known| known.height >= view.height) {
            return;
        }
        self.checker.set_view(&view);
        self.view = Some(Arc::clone(&view));
        self.tell(now, Input::View(view));
    }

    fn frame(&mut self, now: Time, conn: ConnId, class: session_network::Class, body: &[u8]) {
        let clock = self.skew.local(now);
        let heard = relay::read(&self.checker, self.opener.as_deref(), clock, body);
        if let (Some(liar), Ok(message)) = (&mut self.misbehaviour, &heard.frame)
            && !liar.inbound(message)
        {
            return;
        }
        let quiet =
            matches!(&heard.frame, Ok(Inbound::Heartbeat(_) | Inbound::Ping(_) | Inbound::Pong(_)));
        let size = body.len();
        self.tell(now, Input::Frame { conn, class, size, heard });
        // What only the network machine reads leaves nothing to flush.
        if !quiet && self.commit_at.is_none() && !self.disk.is_written() {
            self.tell(now, Input::Flush);
        }
    }
}

type Cx<'a> = Context<'a, dyn session_storage::Store, Effect>;

type Ticket = (u64, Vec<StorageReceipt>);

impl Host for Node {
    fn arrived(&mut self, now: Time, arrival: Arrival, out: &mut Vec<Departure>) {
        if self.daemon.is_none() {
            return;
        }
        use session_network::Input as Net;
        match arrival {
            Arrival::Connected { conn, inbound, remote, peer_key, exporter, dial } => {
                self.conns.insert(conn);
                let input = Net::Connected { conn, inbound, remote, peer_key, exporter, dial };
                self.tell(now, Input::Network(input));
            }
            Arrival::Frame { conn, class, body } => self.frame(now, conn, class, &body),
            Arrival::Disconnected { conn } => {
                self.conns.remove(&conn);
                self.tell(now, Input::Network(Net::Disconnected { conn }));
            }
            Arrival::DialFailed { dial, why } => {
                let why = why.to_owned();
                self.tell(now, Input::Network(Net::DialFailed { dial, why }));
            }
            Arrival::View(view) => self.see(now, view),
            Arrival::CommitmentTx { node, epoch, bytes } => {
                self.tell(now, Input::CommitmentTx { node, epoch, bytes });
            }
        }
        self.settle(now, out);
        self.due = self.daemon.as_ref().and_then(Machine::deadline);
    }

    fn deadline(&self) -> Option<Time> {
        self.daemon.as_ref()?;
        let due = self.due.map(|local| self.skew.world(local));
        let liar = self.misbehaviour.as_ref().and_then(|liar| liar.deadline());
        [due, self.commit_at, liar].into_iter().flatten().min()
    }

    fn woken(&mut self, now: Time, out: &mut Vec<Departure>) {
        if self.daemon.is_none() {
            return;
        }
        if self.due.is_some_and(|local| local <= self.skew.local(now)) {
            self.call(now, |daemon, cx| daemon.tick(cx));
            self.settle(now, out);
        }
        if self.commit_at.is_some_and(|at| at <= now) {
            self.commit(now, out);
        }
        if let Some(liar) = &mut self.misbehaviour
            && liar.deadline().is_some_and(|at| at <= now)
        {
            let conns: Vec<ConnId> = self.conns.iter().copied().collect();
            liar.woken(now, &conns, &mut self.rng, out);
        }
        self.due = self.daemon.as_ref().and_then(Machine::deadline);
    }

    fn transport_key(&self) -> Option<&DsaPublicKey> {
        Some(self.identity.public().dsa())
    }
}

/// Reads no further than the root: id, whether there is one, node, root.
fn root_of_receipts(payload: &[u8]) -> Option<Digest> {
    let mut reader = Reader::new(payload);
    u64::decode(&mut reader).ok()?;
    if !bool::decode(&mut reader).ok()? {
        return None;
    }
    NodeId::decode(&mut reader).ok()?;
    Digest::decode(&mut reader).ok()
}
