//! A person: the client machine with a shell, and habits: it sends, reads, deletes, changes its
//! mind about expiries, and tries again what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_client::{Answer, Client, Command, Effect, Error, Inbox, InboxReader, Input, NewItem};
use session_core::{
    Context, Entropy, InboxAddress, List, Machine, MessageId, SeededEntropy, Span, Time,
};
use session_crypto::DsaPublicKey;
use session_crypto::fake::FakeVerifier;
use session_protocol::inbox::MESSAGES;
use session_protocol::owner::ExpireMode;
use session_protocol::request::{ItemBytes, Refusal};
use session_protocol::{Checker, Membership};

use crate::host::{Arrival, Departure, Host, HostId, Skew};
use crate::note::Note;

/// Pause before a failed command is tried again.
const RETRY: Span = Span::from_secs(3);

/// Time between two looks into the own inbox once nothing new is sent.
const READ_AT_LAST: Span = Span::from_secs(15);

/// Commands of one person that are under way or waiting to be tried again.
const TASKS_MAX: usize = 64;

/// What a person does, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Mean time between two messages.
    pub send_every: Span,
    /// Mean time between two looks into the own inbox.
    pub read_every: Span,
    /// Of 100 messages read, those deleted.
    pub deletes: u64,
    /// Of 100 messages read, those whose expiry is moved.
    pub expires: u64,
    /// Whether the inbox is also subscribed to.
    pub subscribes: bool,
    /// The shortest time-to-live; the longest is four times that.
    pub ttl: Span,
    /// The largest message; the smallest is 256 bytes.
    pub bytes_max: u64,
    /// Of people who talk: whether devices are taken back to an old image now and then, or copied.
    pub rolls_back: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            send_every: Span::from_secs(20),
            read_every: Span::from_secs(15),
            deletes: 20,
            expires: 10,
            subscribes: false,
            ttl: Span::from_days(1),
            bytes_max: 2048,
            rolls_back: false,
        }
    }
}

#[derive(Clone, Debug)]
enum Task {
    Store { address: InboxAddress, item: NewItem },
    Read,
    Delete { ids: Vec<MessageId> },
    Expire { ids: Vec<MessageId>, expiry: Time, mode: ExpireMode },
    Subscribe,
}

/// How many commands came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages handed to the client.
    pub sent: u64,
    /// Commands that failed and were tried again.
    pub retried: u64,
    /// Commands given up, because no try could change the answer.
    pub given_up: u64,
    /// Items that were pushed.
    pub pushed: u64,
}

/// A simulated person.
pub struct Person {
    host: HostId,
    address: InboxAddress,
    client: Client,
    checker: Checker,
    rng: SeededEntropy,
    pub(crate) skew: Skew,
    habits: Habits,
    contacts: Arc<Vec<InboxAddress>>,
    next_send: Time,
    next_read: Time,
    running: BTreeMap<u64, Task>,
    again: Vec<(Time, Task)>,
    commands: u64,
    reader: InboxReader,
    seen: BTreeSet<MessageId>,
    sends: bool,
    effects: Vec<Effect>,
    pub(crate) tally: Tally,
    pub(crate) notes: Vec<Note>,
}

impl Person {
    pub(crate) fn new(
        host: HostId,
        address: InboxAddress,
        client: session_client::Config,
        membership: Arc<dyn Membership>,
        habits: Habits,
        mut rng: SeededEntropy,
    ) -> Self {
        let mut first = |every: Span| {
            crate::host::BEGINNING + Span::from_millis(2_000 + rng.below(every.as_millis()))
        };
        let (next_send, next_read) = (first(habits.send_every), first(habits.read_every));
        let again = if habits.subscribes { vec![(next_read, Task::Subscribe)] } else { Vec::new() };
        Self {
            host,
            address,
            client: Client::new(client),
            checker: Checker::new(membership, Arc::new(FakeVerifier)),
            rng,
            skew: Skew::default(),
            habits,
            contacts: Arc::default(),
            next_send,
            next_read,
            running: BTreeMap::new(),
            again,
            commands: 0,
            reader: InboxReader::new(),
            seen: BTreeSet::new(),
            sends: true,
            effects: Vec::new(),
            tally: Tally::default(),
            notes: Vec::new(),
        }
    }

    /// Returns the address of its inbox.
    #[must_use]
    pub const fn address(&self) -> InboxAddress {
        self.address
    }

    /// Returns whether it has read an item, or was pushed it.
    #[must_use]
    pub fn has_seen(&self, id: &MessageId) -> bool {
        self.seen.contains(id)
    }

    /// Returns what the client machine has counted.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether nothing but reading is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let waits = |task: &Task| !matches!(task, Task::Read | Task::Subscribe);
        !self.running.values().any(waits) && !self.again.iter().any(|(_, task)| waits(task))
    }

    pub(crate) fn meet(&mut self, contacts: Arc<Vec<InboxAddress>>) {
        self.contacts = contacts;
    }

    /// Sends no further messages, and deletes nothing; reads on, and not rarely.
    pub(crate) fn fall_silent(&mut self, now: Time) {
        self.sends = false;
        self.habits.read_every = self.habits.read_every.min(READ_AT_LAST);
        self.next_read = self.next_read.min(now + READ_AT_LAST);
    }

    fn call(&mut self, now: Time, input: Input) {
        let mut cx = Context {
            now: self.skew.local(now),
            store: &mut (),
            rng: &mut self.rng,
            effects: &mut self.effects,
        };
        self.client.handle(&mut cx, input);
    }

    fn begin(&mut self, now: Time, task: Task) {
        if self.running.len() >= TASKS_MAX {
            self.again.push((now + RETRY, task));
            return;
        }
        let ids = |ids: &[MessageId]| List::new(ids.to_vec()).expect("no more than a page");
        let command = match &task {
            Task::Store { address, item } => {
                Command::Store { address: *address, item: item.clone() }
            }
            Task::Read => Command::Retrieve {
                from: Inbox::Own,
                namespace: MESSAGES,
                cursors: self.reader.cursors(MESSAGES),
                nodes: 2,
            },
            Task::Delete { ids: which } => Command::Delete { from: Inbox::Own, ids: ids(which) },
            Task::Expire { ids: which, expiry, mode } => {
                Command::Expire { from: Inbox::Own, ids: ids(which), expiry: *expiry, mode: *mode }
            }
            Task::Subscribe => Command::Subscribe {
                from: Inbox::Own,
                namespaces: vec![MESSAGES],
                reader: Box::new(self.reader.clone()),
            },
        };
        self.commands += 1;
        self.running.insert(self.commands, task);
        self.call(now, Input::Command { id: self.commands, command });
    }

    fn drain(&mut self, now: Time, out: &mut Vec<Departure>) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Send { conn, class, frame } => {
                        out.push(Departure::Send { conn, class, body: frame });
                    }
                    Effect::Dial { dial, address, key } => {
                        out.push(Departure::Dial { dial, address, key });
                    }
                    Effect::Close { conn, .. } => out.push(Departure::Close { conn }),
                    Effect::Done { id, result } => self.done(now, id, result),
                    Effect::Pushed { item, .. } => {
                        self.tally.pushed += 1;
                        self.saw(now, vec![item.id]);
                    }
                    _ => {}
                }
            }
        }
    }

    fn done(&mut self, now: Time, id: u64, result: Result<Answer, Error>) {
        let Some(task) = self.running.remove(&id) else { return };
        match (task, result) {
            (Task::Store { address, item }, Ok(Answer::Stored(proofs))) => {
                // Every try signs a later time: none can expire later than the last one.
                let latest = self.skew.local(now) + item.ttl;
                let person = self.host;
                self.notes.extend(proofs.into_iter().map(|proof| Note::Stored {
                    person,
                    address,
                    id: proof.message,
                    expiry: proof.expiry,
                    latest,
                }));
            }
            (Task::Read, Ok(Answer::Pages(pages))) => {
                let more = pages.iter().any(|page| page.more);
                let mut ids = Vec::new();
                for page in pages {
                    ids.extend(self.reader.absorb(page).into_iter().map(|item| item.id));
                }
                self.saw(now, ids);
                if more {
                    self.begin(now, Task::Read);
                }
            }
            (Task::Delete { ids }, Ok(_)) => {
                self.notes.push(Note::Deleted { address: self.address, ids });
            }
            (_, Ok(_)) => {}
            // Deleted by its owner before the last receipt came: it was there.
            (Task::Store { .. }, Err(Error::Refused { refusal: Refusal::Deleted, .. })) => {}
            (Task::Read, Err(_)) => self.tally.retried += 1,
            (_, Err(Error::Invalid(refusal))) => {
                self.tally.given_up += 1;
                self.notes.push(Note::Failed { person: self.host, why: refusal.to_string() });
            }
            (task, Err(_)) => {
                self.tally.retried += 1;
                self.again.push((now + RETRY, task));
            }
        }
    }

    fn saw(&mut self, now: Time, ids: Vec<MessageId>) {
        let ids: Vec<MessageId> = ids.into_iter().filter(|id| self.seen.insert(*id)).collect();
        if ids.is_empty() {
            return;
        }
        let (mut unwanted, mut moved) = (Vec::new(), Vec::new());
        for id in &ids {
            let dice = self.rng.below(100);
            if dice < self.habits.deletes {
                unwanted.push(*id);
            } else if dice < self.habits.deletes + self.habits.expires {
                moved.push(*id);
            }
        }
        self.notes.push(Note::Read { person: self.host, ids });
        if !self.sends {
            return;
        }
        for ids in unwanted.chunks(200) {
            let ids = ids.to_vec();
            self.notes.push(Note::Deleting { address: self.address, ids: ids.clone() });
            self.begin(now, Task::Delete { ids });
        }
        for ids in moved.chunks(200) {
            let later = self.rng.below(2) == 0;
            let mode = if later { ExpireMode::Extend } else { ExpireMode::Shorten };
            let ttl = self.habits.ttl.as_millis();
            let span = if later { 4 * ttl } else { ttl / 4 };
            let expiry = self.skew.local(now) + Span::from_millis(span);
            let ids = ids.to_vec();
            let note = Note::Expiring { address: self.address, ids: ids.clone(), expiry, later };
            self.notes.push(note);
            self.begin(now, Task::Expire { ids, expiry, mode });
        }
    }

    fn act(&mut self, now: Time) {
        if self.sends && self.next_send <= now {
            self.next_send = now + self.wait(self.habits.send_every);
            if let Some(task) = self.message() {
                self.tally.sent += 1;
                self.begin(now, task);
            }
        }
        if self.next_read <= now {
            self.next_read = now + self.wait(self.habits.read_every);
            if !self.running.values().any(|task| matches!(task, Task::Read)) {
                self.begin(now, Task::Read);
            }
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.again).into_iter().partition(|(at, _)| *at <= now);
        self.again = later;
        for (_, task) in due {
            self.begin(now, task);
        }
    }

    fn message(&mut self) -> Option<Task> {
        let to = self.rng.below(self.contacts.len() as u64);
        let address = *self.contacts.get(usize::try_from(to).ok()?)?;
        let size = 256 + self.rng.below(self.habits.bytes_max.saturating_sub(255));
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.rng.fill(&mut bytes);
        let ttl = self.habits.ttl.as_millis();
        let ttl = Span::from_millis(ttl + self.rng.below(3 * ttl + 1));
        let item = NewItem { namespace: MESSAGES, ttl, data: ItemBytes::new(bytes).ok()? };
        Some(Task::Store { address, item })
    }

    /// Between half and one and a half of the mean.
    fn wait(&mut self, mean: Span) -> Span {
        let mean = mean.as_millis();
        Span::from_millis(mean / 2 + self.rng.below(mean + 1))
    }
}

impl Host for Person {
    fn arrived(&mut self, now: Time, arrival: Arrival, out: &mut Vec<Departure>) {
        use session_network::Input as Net;
        let input = match arrival {
            Arrival::Connected { conn, inbound, remote, peer_key, exporter, dial } => {
                Net::Connected { conn, inbound, remote, peer_key, exporter, dial }
            }
            Arrival::Frame { conn, class, body } => {
                let frame = self.checker.check(&body);
                Net::Frame { conn, class, size: body.len(), frame }
            }
            Arrival::Disconnected { conn } => Net::Disconnected { conn },
            Arrival::DialFailed { dial, why } => Net::DialFailed { dial, why: why.to_owned() },
            Arrival::View(view) => {
                let membership = view.membership.clone() as Arc<dyn Membership>;
                // News may overtake each other.
                if membership.height() > self.checker.membership().height() {
                    self.checker.set_membership(Arc::clone(&membership));
                    self.call(now, Input::Membership(membership));
                    self.drain(now, out);
                }
                return;
            }
            // Nobody asks on behalf of persons.
            Arrival::CommitmentTx { .. } => return,
        };
        self.call(now, Input::Network(input));
        self.drain(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        let machine = self.client.deadline().map(|local| self.skew.world(local));
        let send = self.sends.then_some(self.next_send);
        let again = self.again.iter().map(|(at, _)| *at).min();
        [machine, send, again, Some(self.next_read)].into_iter().flatten().min()
    }

    fn woken(&mut self, now: Time, out: &mut Vec<Departure>) {
        let local = self.skew.local(now);
        if self.client.deadline().is_some_and(|at| at <= local) {
            let mut cx = Context {
                now: local,
                store: &mut (),
                rng: &mut self.rng,
                effects: &mut self.effects,
            };
            self.client.tick(&mut cx);
        }
        self.drain(now, out);
        self.act(now);
        self.drain(now, out);
    }

    fn transport_key(&self) -> Option<&DsaPublicKey> {
        None
    }
}

impl Tally {
    pub(crate) const fn plus(self, other: &Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            retried: self.retried + other.retried,
            given_up: self.given_up + other.given_up,
            pushed: self.pushed + other.pushed,
        }
    }
}
