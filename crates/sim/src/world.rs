//! The world: hosts, the network between them, what goes wrong, and what must hold all the while.

use session_core::{Digest, Entropy, InboxAddress, Span, SwarmId, Time};
use session_protocol::chain::Action;
use session_swarm::placement;

use crate::coordination::{Coordination, Swarms};
use crate::fault::{Fault, FaultCounts};
use crate::host::{Arrival, BEGINNING, Departure, Host, HostId, Skew};
use crate::invariants::{AFTER_EVENTS, AT_CHECKPOINTS};
use crate::ledger::Ledger;
use crate::link::Link;
use crate::messaging::device::Device;
use crate::net::{Dial, Net, Traffic};
use crate::node::{Node, Shell};
use crate::note::Note;
use crate::person::{Person, Tally};
use crate::queue::Queue;
use crate::trace::{Step, Trace, What};
use crate::violation::Violation;
use crate::wires::{End, Parcel};

mod build;
mod coordinated;
mod devices;

pub use build::{ChainPlan, Plan};

/// What is planned.
pub(crate) enum Event {
    /// A host wanted to be woken.
    Wake(HostId),
    Parcel {
        to: End,
        parcel: Parcel,
    },
    /// A host learns that a connection is no more.
    Lost {
        end: End,
    },
    /// A split may have lasted long enough to break a connection.
    Idle {
        end: End,
        split: u64,
    },
    Dialed(Dial),
    DialFailed {
        from: HostId,
        epoch: u32,
        number: u64,
        why: &'static str,
    },
    Fault(Fault),
    Checkpoint,
    /// The chain makes a block, if there is anything to put into one.
    Block,
    /// A node's order reaches the chain.
    Order {
        host: HostId,
        action: Box<Action>,
    },
    /// What the chain tells reaches a host.
    FromChain {
        host: HostId,
        epoch: u32,
        arrival: Arrival,
    },
}

/// Every host and everything between them.
pub struct World {
    seed: u64,
    now: Time,
    queue: Queue<Event>,
    trace: Trace,
    net: Net,
    nodes: Vec<Node>,
    persons: Vec<Person>,
    devices: Vec<Device>,
    seats: Vec<Seat>,
    swarms: Swarms,
    chain: Option<Box<Coordination>>,
    ledger: Ledger,
    checks: u64,
    penalties: u64,
    faults: FaultCounts,
    /// Whether everything that went wrong is over.
    healed: bool,
    checkpoint_every: Span,
    departures: Vec<Departure>,
}

/// What the world knows of each host besides the host.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    /// Whether it was ever started.
    begun: bool,
    /// When it will be woken.
    wake: Option<Time>,
    /// How often it was started anew.
    epoch: u32,
    /// Whether it lost its disk since the beginning.
    robbed: bool,
}

impl World {
    /// Returns the simulated time.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Returns the nodes, by the number of their host.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns how many hosts there are: nodes, persons, devices.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.seats.len()
    }

    /// Returns one node.
    #[must_use]
    pub fn node(&self, host: HostId) -> Option<&Node> {
        self.nodes.get(host.index())
    }

    /// Returns the persons.
    #[must_use]
    pub fn persons(&self) -> &[Person] {
        &self.persons
    }

    /// Returns the acknowledged messages.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the swarms.
    #[must_use]
    pub fn swarms(&self) -> &[SwarmId] {
        &self.swarms.ids
    }

    /// Returns the members of a swarm.
    #[must_use]
    pub fn members(&self, swarm: SwarmId) -> &[HostId] {
        self.swarms.members.get(&swarm).map_or(&[], Vec::as_slice)
    }

    /// Returns the chain below the swarms, if there is one.
    #[must_use]
    pub fn chain(&self) -> Option<&Coordination> {
        self.chain.as_deref()
    }

    /// Returns the members of the swarm that keeps an inbox, and of the swarm that did in the
    /// epoch before; the same where no chain moves inboxes.
    #[must_use]
    pub fn keepers(&self, address: &InboxAddress) -> (&[HostId], &[HostId]) {
        match &self.chain {
            Some(chain) => chain.keepers(address),
            None => {
                let keepers = self.swarms.keepers(address);
                (keepers, keepers)
            }
        }
    }

    /// Returns whether a node ever lost its disk.
    #[must_use]
    pub fn was_robbed(&self, host: HostId) -> bool {
        self.seats.get(host.index()).is_some_and(|seat| seat.robbed)
    }

    /// Returns the digest over everything that happened.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.trace.digest()
    }

    /// Returns how many events there were.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.trace.steps()
    }

    /// Returns how many checks of invariants there were.
    #[must_use]
    pub const fn checks(&self) -> u64 {
        self.checks
    }

    /// Returns how often an honest node disconnected another one for breaking the rules.
    #[must_use]
    pub const fn penalties(&self) -> u64 {
        self.penalties
    }

    /// Returns what went wrong on purpose.
    #[must_use]
    pub const fn faults(&self) -> FaultCounts {
        self.faults
    }

    /// Returns what the network carried.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.net.traffic
    }

    /// Returns what all persons did.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.persons.iter().fold(Tally::default(), |sum, person| sum.plus(&person.tally))
    }

    /// Plans a fault. It does not happen if everything has healed by then.
    pub fn plan(&mut self, after: Span, fault: Fault) {
        self.queue.plan(BEGINNING + after, Event::Fault(fault));
    }

    /// Gives a node another shell.
    pub fn set_shell(&mut self, host: HostId, shell: Shell) {
        if let Some(node) = self.nodes.get_mut(host.index()) {
            node.shell = shell;
        }
    }

    /// No person sends anything new; what is under way is finished.
    pub fn fall_silent(&mut self) {
        self.persons.iter_mut().for_each(|person| person.fall_silent(self.now));
        (0..self.seats.len()).for_each(|index| self.arm(host_id(index)));
    }

    /// Ends every fault: everybody honest runs, hears everybody, and knows the time. The others
    /// are gone for good: the honest ones must make do without them.
    pub fn heal(&mut self) {
        self.healed = true;
        self.net.link = Link::good();
        self.rejoin();
        for index in 0..self.seats.len() {
            let host = host_id(index);
            self.set_skew(host, Skew::default());
            if self.nodes.get(index).is_none_or(Node::is_honest) {
                if self.has_begun(host) {
                    self.restart(host);
                }
            } else {
                self.stop(host);
            }
        }
        (0..self.devices.len()).for_each(|device| self.start_device(device));
    }

    /// Runs until a time after the beginning.
    ///
    /// # Errors
    /// When an invariant is broken.
    pub fn run_until(&mut self, after: Span) -> Result<(), Violation> {
        let until = BEGINNING + after;
        while let Some((at, event)) = self.queue.next(until) {
            self.now = at;
            self.happen(event).map_err(|(invariant, what)| self.violation(invariant, what))?;
        }
        self.now = until;
        Ok(())
    }

    pub(crate) fn violation(&self, invariant: &'static str, what: String) -> Violation {
        let after = self.now.since(BEGINNING);
        Violation { invariant, what, seed: self.seed, after, events: self.trace.to_string() }
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Wake(host) => return self.wake(host),
            Event::Parcel { to, parcel } => return self.deliver(to, parcel),
            Event::Lost { end } => return self.lose(end),
            Event::Idle { end, split } => {
                if self.net.is_split(split) {
                    self.lose(end)?;
                    self.lose(end.other())?;
                }
            }
            Event::Dialed(dial) => return self.dialed(dial),
            Event::DialFailed { from, epoch, number, why } => {
                if self.seats[from.index()].epoch == epoch {
                    self.net.traffic.dials_failed += 1;
                    self.record(What::DialFailed, from, number, &[]);
                    return self.arrive(from, Arrival::DialFailed { dial: number, why });
                }
            }
            // What was planned to go wrong after everything healed does not.
            Event::Fault(_) if self.healed => {}
            Event::Fault(fault) => {
                self.record(What::Fault, HostId(0), u64::from(fault.code()), &[]);
                self.strike(fault);
            }
            Event::Checkpoint => {
                self.queue.plan(self.now + self.checkpoint_every, Event::Checkpoint);
                return self.check_world();
            }
            Event::Block => return self.block(),
            Event::Order { host, action } => self.ordered(host, *action),
            Event::FromChain { host, epoch, arrival } => {
                return self.told_by_chain(host, epoch, arrival);
            }
        }
        Ok(())
    }

    fn wake(&mut self, host: HostId) -> Result<(), Broken> {
        let seat = &mut self.seats[host.index()];
        // Planned before the host changed its mind.
        if seat.wake != Some(self.now) {
            return Ok(());
        }
        seat.wake = None;
        self.record(What::Woken, host, 0, &[]);
        let (now, mut out) = (self.now, std::mem::take(&mut self.departures));
        self.host(host).woken(now, &mut out);
        self.after(host, out)
    }

    fn arrive(&mut self, host: HostId, arrival: Arrival) -> Result<(), Broken> {
        let (now, mut out) = (self.now, std::mem::take(&mut self.departures));
        self.host(host).arrived(now, arrival, &mut out);
        self.after(host, out)
    }

    /// Takes what a host leaves behind: departures, notes, and its next wish to be woken.
    fn after(&mut self, host: HostId, mut out: Vec<Departure>) -> Result<(), Broken> {
        let epoch = self.seats[host.index()].epoch;
        for departure in out.drain(..) {
            match departure {
                Departure::Send { conn, class, body } => {
                    self.net.send(&mut self.queue, self.now, conn, class, body);
                }
                Departure::Close { conn } => self.net.close(&mut self.queue, self.now, conn),
                Departure::Dial { dial, address, key } => {
                    let nodes = &self.nodes;
                    let up = |host: HostId| nodes.get(host.index()).is_some_and(Node::is_up);
                    let (queue, what) = (&mut self.queue, (dial, address.as_str(), key));
                    self.net.dial(queue, self.now, (host, epoch), what, up);
                }
                Departure::Submit { action } => self.submit(host, action),
                Departure::Fetch { node, epoch } => self.fetch(host, node, epoch),
                Departure::Certified { certificate } => self.certified(&certificate)?,
            }
        }
        self.departures = out;
        self.arm(host);
        self.take_notes(host)
    }

    fn arm(&mut self, host: HostId) {
        if let Some(at) = self.host(host).deadline() {
            self.wake_at(host, at);
        }
    }

    fn wake_at(&mut self, host: HostId, at: Time) {
        // A host that wants more at once than it can do still lets time pass.
        let at = at.max(self.now + Span::from_millis(1));
        let seat = &mut self.seats[host.index()];
        if seat.wake.is_none_or(|planned| planned > at) {
            seat.wake = Some(at);
            self.queue.plan(at, Event::Wake(host));
        }
    }

    fn host(&mut self, host: HostId) -> &mut dyn Host {
        if let Some(device) = self.device_of_host(host) {
            return &mut self.devices[device];
        }
        let persons = self.nodes.len();
        match host.index().checked_sub(persons) {
            None => &mut self.nodes[host.index()],
            Some(index) => &mut self.persons[index],
        }
    }

    /// Tells whether a host would notice what arrives.
    fn is_up(&self, host: HostId) -> bool {
        match self.device_of_host(host) {
            Some(device) => self.devices[device].is_up(),
            None => self.nodes.get(host.index()).is_none_or(Node::is_up),
        }
    }

    fn deliver(&mut self, to: End, parcel: Parcel) -> Result<(), Broken> {
        let host = self.net.wires.host(to);
        if !self.net.wires.is_open(to) {
            // A host that runs and does not know the connection says so.
            if self.is_up(host) && self.net.wires.is_open(to.other()) {
                self.net.reset(&mut self.queue, self.now, to.other());
            }
            return Ok(());
        }
        match parcel {
            Parcel::Fin => self.lose(to),
            Parcel::Frame { class, body } => {
                self.record(What::Frame, host, to.conn().0, &body);
                self.arrive(host, Arrival::Frame { conn: to.conn(), class, body })
            }
        }
    }

    fn lose(&mut self, end: End) -> Result<(), Broken> {
        if !self.net.wires.close(end) {
            return Ok(());
        }
        let host = self.net.wires.host(end);
        self.record(What::Disconnected, host, end.conn().0, &[]);
        self.arrive(host, Arrival::Disconnected { conn: end.conn() })
    }

    fn dialed(&mut self, dial: Dial) -> Result<(), Broken> {
        let Dial { from, epoch, number, to, key } = dial;
        if self.seats[from.index()].epoch != epoch {
            return Ok(());
        }
        let fits = self.host(to).transport_key() == Some(&*key);
        let up = self.nodes.get(to.index()).is_some_and(Node::is_up);
        if !up || !fits {
            self.record(What::DialFailed, from, number, &[]);
            let why = if up { "another key" } else { "connection refused" };
            return self.arrive(from, Arrival::DialFailed { dial: number, why });
        }
        let exporter = self.net.rng().bytes32();
        let end = self.net.wires.connect(from, to);
        self.net.traffic.connections += 1;
        let dialer_key = self.host(from).transport_key().cloned();
        for (end, inbound) in [(end.other(), true), (end, false)] {
            let (here, there) = if inbound { (to, from) } else { (from, to) };
            self.record(What::Connected, here, end.conn().0, &exporter);
            let peer_key = if inbound { dialer_key.clone() } else { Some((*key).clone()) };
            self.arrive(
                here,
                Arrival::Connected {
                    conn: end.conn(),
                    inbound,
                    remote: there.ip(),
                    peer_key,
                    exporter,
                    dial: (!inbound).then_some(number),
                },
            )?;
        }
        Ok(())
    }

    fn strike(&mut self, fault: Fault) {
        self.faults.count(&fault);
        match fault {
            Fault::Crash { node, disk_lost } => {
                self.stop(node);
                if let Some(victim) = self.nodes.get_mut(node.index()).filter(|_| disk_lost) {
                    victim.lose_disk();
                    self.seats[node.index()].robbed = true;
                    if let Some(chain) = &mut self.chain {
                        chain.watch.set_robbed(node);
                    }
                }
            }
            Fault::Restart { node } => self.restart(node),
            Fault::Split { apart } => {
                self.net.split(&mut self.queue, self.now, apart);
                self.watch_all();
            }
            Fault::Heal => self.rejoin(),
            Fault::Break { share } => {
                self.faults.broken += self.net.break_some(&mut self.queue, self.now, share);
            }
            Fault::Rot { node } => {
                if let Some(node) = self.nodes.get_mut(node.index()) {
                    node.lose_disk();
                }
            }
            Fault::Skew { host, ahead_ms } => self.set_skew(host, Skew { ahead_ms }),
            Fault::Misbehave { node, kind } => {
                if let Some(node) = self.nodes.get_mut(node.index()) {
                    node.corrupt(kind.make());
                }
                self.arm(node);
            }
            Fault::Lie { node, lie } => self.make_lie(node, lie),
            Fault::Join { node } => self.join(node),
            Fault::Leave { node } => self.leave(node),
        }
    }

    /// The two sides of a split hear each other again.
    fn rejoin(&mut self) {
        self.net.heal(&mut self.queue, self.now);
        self.watch_all();
        self.show_all();
    }

    fn stop(&mut self, host: HostId) {
        if let Some(device) = self.device_of_host(host) {
            return self.stop_device(device);
        }
        let Some(node) = self.nodes.get_mut(host.index()) else { return };
        node.crash();
        self.seats[host.index()].wake = None;
        self.seats[host.index()].epoch += 1;
        self.net.vanish(&mut self.queue, self.now, host);
        self.watch_one(host);
    }

    fn restart(&mut self, host: HostId) {
        if let Some(device) = self.device_of_host(host) {
            return self.start_device(device);
        }
        if let Some(node) = self.nodes.get_mut(host.index())
            && !node.is_up()
        {
            if let Some(chain) = &self.chain
                && (node.view().is_none() || !self.net.is_cut_off(host))
            {
                node.set_view(chain.blocks().view());
            }
            node.start(self.now);
            self.seats[host.index()].epoch += 1;
            self.arm(host);
            self.watch_one(host);
            self.show(host);
        }
    }

    fn set_skew(&mut self, host: HostId, skew: Skew) {
        let persons = self.nodes.len();
        match host.index().checked_sub(persons) {
            None => self.nodes[host.index()].skew = skew,
            Some(index) => {
                if let Some(person) = self.persons.get_mut(index) {
                    person.skew = skew;
                }
            }
        }
        self.arm(host);
    }

    fn record(&mut self, what: What, host: HostId, number: u64, bytes: &[u8]) {
        let kind = bytes.get(1).copied().unwrap_or_default();
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.trace.record(Step { at: self.now, what, host, number, kind, size }, bytes);
    }

    fn take_notes(&mut self, host: HostId) -> Result<(), Broken> {
        let persons = self.nodes.len();
        let notes = match (self.device_of_host(host), host.index().checked_sub(persons)) {
            (Some(device), _) => std::mem::take(&mut self.devices[device].notes),
            (None, None) => std::mem::take(&mut self.nodes[host.index()].notes),
            (None, Some(index)) => std::mem::take(&mut self.persons[index].notes),
        };
        for note in notes {
            self.write_down(&note);
            for (name, invariant) in AFTER_EVENTS {
                self.checks += 1;
                invariant(self, &note).map_err(|what| (*name, what))?;
            }
        }
        Ok(())
    }

    fn write_down(&mut self, note: &Note) {
        match note {
            Note::Stored { address, id, expiry, latest, .. } => {
                let ids = self.chain.as_ref().map_or(&self.swarms.ids, |chain| &chain.swarms.ids);
                let swarm = placement::nearest(address, ids).unwrap_or_default();
                self.ledger.stored(*id, *address, swarm, (*expiry, *latest));
            }
            Note::Penalized { .. } => self.penalties += 1,
            Note::Deleting { ids, .. } => self.ledger.deleting(ids),
            Note::Deleted { ids, .. } => self.ledger.deleted(ids),
            Note::Expiring { ids, expiry, later, .. } => {
                self.ledger.expiring(ids, *expiry, *later);
            }
            _ => {}
        }
    }

    fn check_world(&mut self) -> Result<(), Broken> {
        self.watch_hand_over();
        for (name, invariant) in AT_CHECKPOINTS {
            self.checks += 1;
            invariant(self).map_err(|what| (*name, what))?;
        }
        Ok(())
    }

    /// Returns how the first two honest nodes that should keep the same, and do not, differ.
    #[must_use]
    pub fn disagreement(&self) -> Option<String> {
        let swarms = self.chain.as_ref().map_or(&self.swarms, |chain| &chain.swarms);
        swarms.members.values().find_map(|members| {
            let mut honest = members
                .iter()
                .filter_map(|member| self.node(*member))
                .filter(|node| node.is_honest())
                .map(|node| (node.id(), crate::set::of(node.disk(), self.now)));
            let (first, set) = honest.next()?;
            honest.find(|(_, other)| *other != set).map(|(second, other)| {
                format!("{first:?} keeps, against {second:?}, {}", set.difference(&other))
            })
        })
    }
}

fn host_id(index: usize) -> HostId {
    HostId(u32::try_from(index).expect("fewer than 2^32 hosts"))
}

/// The name of an invariant, and what contradicts it.
type Broken = (&'static str, String);
