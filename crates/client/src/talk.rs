//! A messenger and a client as one machine: what the one orders, the other does.
//!
//! What it is: [`Talker`] turns the orders of a [`Messenger`] into commands of a [`Client`] and the
//! answers back, and keeps the places up to which mailboxes were read in the vault, in the same
//! transaction in which the messenger took what was read. A program's own commands to the client
//! pass through.
//!
//! What it does not do: it opens no vault and judges no message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use session_core::{Context, InboxAddress, List, Machine as _, MessageId, Span, Time};
use session_crypto::DsaPublicKey;
use session_messaging::messenger::Messenger;
use session_messaging::messenger::api::{self, Event};
use session_messaging::vault::{self, Table, Vault};
use session_network::{Class, ConnId};
use session_protocol::Membership;
use session_protocol::inbox::{AccessRule, Capability, Policy, policy};
use session_protocol::limits::IDS_MAX;
use session_protocol::puzzle::{Puzzle, Solution};
use session_protocol::request::{Item, Refusal};

use crate::command::{Answer, Command, Error, Inbox, NewItem};
use crate::machine::{self, Client, Config};
use crate::onion::{GuardList, Health, HopKeyList};
use crate::reader::InboxReader;
use crate::watch::Source;

mod errand;
mod joining;

pub use joining::{Joining, Voice};

use errand::{Errand, Gathering};

/// How often the messenger is told how far its mailboxes are read.
const REPORT_PACE: Span = Span::from_secs(60);

/// The doors of one call.
pub type Cx<'a> = Context<'a, dyn Vault + 'a, Effect>;

/// What a [`Talker`] talks with; [`Messenger`], except in tests.
pub trait Talks {
    /// Handles one input.
    fn handle<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, api::Effect>, input: api::Input);

    /// Returns when [`Talks::tick`] wants to run.
    fn deadline(&self, vault: &dyn Vault) -> Option<Time>;

    /// Does what is due.
    fn tick<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, api::Effect>);
}

impl Talks for Messenger {
    fn handle<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, api::Effect>, input: api::Input) {
        Self::handle(self, cx, input);
    }

    fn deadline(&self, vault: &dyn Vault) -> Option<Time> {
        Self::deadline(self, vault)
    }

    fn tick<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, api::Effect>) {
        Self::tick(self, cx);
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// Something on the network.
    Network(session_network::Input),
    /// Somebody wants something of the messenger.
    Command {
        /// Repeated in [`Effect::Answer`].
        id: u64,
        /// What.
        command: api::Command,
    },
    /// Somebody wants something of the client; subscriptions are not for here.
    Run {
        /// Repeated in [`Effect::Done`].
        id: u64,
        /// What.
        command: Command,
    },
    /// The answer to [`Effect::Solve`].
    Solved {
        /// Which puzzle.
        puzzle: Puzzle,
        /// Nothing, if it was not found in time.
        solution: Option<Solution>,
    },
    /// Read every watched mailbox now; see [`Talker::is_idle`].
    ReadAll,
    /// Who is a node, and which swarm keeps what, has changed.
    Membership(Arc<dyn Membership>),
}

/// What the shell and the program are to do or to know, once the transaction is durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Send a frame body.
    Send {
        /// Over which connection.
        conn: ConnId,
        /// How.
        class: Class,
        /// The body.
        frame: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// Repeated in the answer.
        dial: u64,
        /// `host:port`.
        address: String,
        /// The only key that TLS may accept there.
        key: DsaPublicKey,
    },
    /// Close a connection, after what was sent over it before.
    Close {
        /// Which one.
        conn: ConnId,
        /// Why.
        why: String,
    },
    /// Solve a puzzle beside everything else; see [`machine::Effect::Solve`].
    Solve {
        /// Which one.
        puzzle: Puzzle,
    },
    /// The guards are others now: to be kept for the next start.
    Guards(GuardList),
    /// How hops and guards are has changed: to be kept for a start in the next minutes.
    Health(Health),
    /// Hop keys were read: to be kept for the next start.
    HopKeys(HopKeyList),
    /// A command of the messenger has come to its end.
    Answer {
        /// Which one.
        id: u64,
        /// What came of it.
        result: Result<api::Answer, api::Error>,
    },
    /// A command of the client has come to its end.
    Done {
        /// Which one.
        id: u64,
        /// What came of it.
        result: Result<Answer, Error>,
    },
    /// A command of the client has done a part.
    Progress {
        /// Which one.
        id: u64,
        /// Items done.
        done: usize,
        /// Items in all.
        of: usize,
    },
    /// Something to show.
    Event(Event),
}

/// A device: its messenger and its connections.
///
/// As [`Machine`](session_core::Machine), which cannot be told a vault's lifetime. After a failed
/// transaction it is dropped, and a new one is made from what is in the vault.
pub struct Talker<M = Messenger> {
    messenger: M,
    client: Client,
    /// What the client is doing, by its numbers.
    errands: BTreeMap<u64, Errand>,
    errands_made: u64,
    /// What the messenger ordered and nobody has carried out yet.
    orders: VecDeque<api::Effect>,
    /// What the client said and nobody has heard yet.
    heard: VecDeque<machine::Effect>,
    /// When the messenger was last told how far its mailboxes are read.
    reported: Option<Time>,
}

impl<M: Talks> Talker<M> {
    /// Joins a messenger to a client. The client's account, if its configuration has one, serves the
    /// program's own commands; the messenger needs none.
    #[must_use]
    pub fn new(messenger: M, config: Config) -> Self {
        Self {
            messenger,
            client: Client::new(config),
            errands: BTreeMap::new(),
            errands_made: 0,
            orders: VecDeque::new(),
            heard: VecDeque::new(),
            reported: None,
        }
    }

    /// Returns the messenger.
    pub const fn messenger(&self) -> &M {
        &self.messenger
    }

    /// Returns the client, for its counters.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Tells whether nothing is on its way or about to be, and every mailbox was read since a time, or
    /// could not be.
    ///
    /// What could not be stored and waits for another try is not on its way.
    #[must_use]
    pub fn is_idle(&self, vault: &dyn Vault, now: Time, since: Time) -> bool {
        self.errands.is_empty()
            && self.messenger.deadline(vault).is_none_or(|due| due > now)
            && self.client.unread_since(since) == 0
    }

    /// Handles one input.
    pub fn handle<'a>(&mut self, cx: &mut Cx<'a>, input: Input) {
        match input {
            Input::Network(input) => {
                self.tell_client(cx, machine::Input::Network(input));
                self.settle(cx);
                self.report(cx);
            }
            Input::Command { id, command } => {
                self.tell_messenger(cx, api::Input::Command { id, command });
            }
            Input::Run { id, command: Command::Subscribe { .. } } => {
                let refusal = Refusal::bad_request("command", "mailboxes are watched already");
                let result = Err(Error::Invalid(refusal));
                cx.effects.push(Effect::Done { id, result });
            }
            Input::Run { id, command } => self.run(cx, Errand::Program { id }, command),
            Input::Solved { puzzle, solution } => {
                self.tell_client(cx, machine::Input::Solved { puzzle, solution });
            }
            Input::ReadAll => self.tell_client(cx, machine::Input::ReadWatched),
            Input::Membership(members) => {
                self.tell_client(cx, machine::Input::Membership(members));
            }
        }
        self.settle(cx);
    }

    /// Returns when [`Talker::tick`] wants to run.
    #[must_use]
    pub fn deadline(&self, vault: &dyn Vault) -> Option<Time> {
        self.client.deadline().into_iter().chain(self.messenger.deadline(vault)).min()
    }

    /// Does what is due; the first call starts everything.
    pub fn tick<'a>(&mut self, cx: &mut Cx<'a>) {
        if self.client.deadline().is_some_and(|due| due <= cx.now) {
            self.ask_client(cx, |client, cx| client.tick(cx));
        }
        self.settle(cx);
        if self.messenger.deadline(&*cx.store).is_some_and(|due| due <= cx.now) {
            self.ask_messenger(cx, |messenger, cx| messenger.tick(cx));
        }
        self.settle(cx);
    }

    // Says how far the mailboxes are read: as soon as all of them are, then now and again.
    fn report(&mut self, cx: &mut Cx<'_>) {
        if self.reported.is_some_and(|at| cx.now < at + REPORT_PACE) {
            return;
        }
        if let Some(at) = self.client.read_through() {
            self.reported = Some(cx.now);
            self.tell_messenger(cx, api::Input::CaughtUp { at });
        }
    }

    fn tell_messenger(&mut self, cx: &mut Cx<'_>, input: api::Input) {
        self.ask_messenger(cx, |messenger, cx| messenger.handle(cx, input));
    }

    fn ask_messenger(
        &mut self,
        cx: &mut Cx<'_>,
        ask: impl for<'b> FnOnce(&mut M, &mut Context<'b, dyn Vault + 'b, api::Effect>),
    ) {
        let mut effects = Vec::new();
        talk_with(&mut self.messenger, cx, &mut effects, ask);
        self.orders.extend(effects);
    }

    fn tell_client(&mut self, cx: &mut Cx<'_>, input: machine::Input) {
        self.ask_client(cx, |client, cx| client.handle(cx, input));
    }

    fn ask_client(
        &mut self,
        cx: &mut Cx<'_>,
        ask: impl FnOnce(&mut Client, &mut Context<'_, (), machine::Effect>),
    ) {
        let mut effects = Vec::new();
        let (now, rng) = (cx.now, &mut *cx.rng);
        ask(&mut self.client, &mut Context { now, store: &mut (), rng, effects: &mut effects });
        self.heard.extend(effects);
    }

    fn run(&mut self, cx: &mut Cx<'_>, errand: Errand, command: Command) {
        self.errands_made += 1;
        let id = self.errands_made;
        self.errands.insert(id, errand);
        self.tell_client(cx, machine::Input::Command { id, command });
    }

    // Carries out orders and hears what comes of them, until neither is left.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        loop {
            if let Some(order) = self.orders.pop_front() {
                self.carry_out(cx, order);
            } else if let Some(effect) = self.heard.pop_front() {
                self.hear(cx, effect);
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, cx: &mut Cx<'_>, order: api::Effect) {
        match order {
            api::Effect::Store { id, to, ttl, data } => {
                let item = NewItem { namespace: to.namespace, ttl, data };
                self.run(cx, Errand::Store { id }, store(to, item));
            }
            api::Effect::Read { id, from } => {
                let gathering = Gathering::new(id, inbox(&from), from.namespace);
                let command = gathering.command();
                self.run(cx, Errand::Read(Box::new(gathering)), command);
            }
            api::Effect::Watch { sources } => self.watch(cx, sources),
            api::Effect::Erase { rule, erase, ids } => self.erase(cx, rule, &erase, &ids),
            api::Effect::Answer { id, result } => cx.effects.push(Effect::Answer { id, result }),
            api::Effect::Event(event) => cx.effects.push(Effect::Event(event)),
            // Orders of a later messenger that this one does not know of.
            _ => {}
        }
    }

    fn watch(&mut self, cx: &mut Cx<'_>, sources: BTreeMap<InboxAddress, api::Source>) {
        let mut gone = Vec::new();
        cx.store.scan(&Table::Reader.key(&[]), &[], false, &mut |key, _| {
            let address = key[1..].try_into().ok().map(|bytes: [u8; 32]| InboxAddress::from(bytes));
            if address.is_none_or(|address| !sources.contains_key(&address)) {
                gone.push(key.to_vec());
            }
            true
        });
        for key in gone {
            cx.store.remove(&key);
        }
        let sources = sources.into_iter().map(|(address, source)| {
            let reader = vault::load::<InboxReader>(&*cx.store, &reader_key(&address));
            let reader = Box::new(reader.unwrap_or_default());
            let (from, namespace) = (inbox(&source), source.namespace);
            (address, Source { from, namespace, reader })
        });
        let sources = sources.collect();
        self.tell_client(cx, machine::Input::Watch { sources });
    }

    fn erase(&mut self, cx: &mut Cx<'_>, rule: AccessRule, erase: &Capability, ids: &[MessageId]) {
        for some in ids.chunks(IDS_MAX) {
            let from = Inbox::Mailbox { rule, token: erase.clone() };
            let ids = List::new(some).expect("chunks of at most the bound");
            self.run(cx, Errand::Erase, Command::Delete { from, ids });
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>, effect: machine::Effect) {
        match effect {
            machine::Effect::Send { conn, class, frame } => {
                cx.effects.push(Effect::Send { conn, class, frame });
            }
            machine::Effect::Dial { dial, address, key } => {
                cx.effects.push(Effect::Dial { dial, address, key });
            }
            machine::Effect::Solve { puzzle } => cx.effects.push(Effect::Solve { puzzle }),
            machine::Effect::Close { conn, why } => cx.effects.push(Effect::Close { conn, why }),
            machine::Effect::Guards(guards) => cx.effects.push(Effect::Guards(guards)),
            machine::Effect::Health(health) => cx.effects.push(Effect::Health(health)),
            machine::Effect::HopKeys(keys) => cx.effects.push(Effect::HopKeys(keys)),
            machine::Effect::Arrived { address, items } => self.arrived(cx, address, items),
            machine::Effect::Progress { id, done, of } => {
                if let Some(Errand::Program { id }) = self.errands.get(&id) {
                    cx.effects.push(Effect::Progress { id: *id, done, of });
                }
            }
            machine::Effect::Done { id, result } => {
                if let Some(errand) = self.errands.remove(&id) {
                    self.done(cx, errand, result);
                }
            }
            // Of subscriptions, which nobody has.
            _ => {}
        }
    }

    // The messenger first: where it fails, the place stays before the items, too.
    fn arrived(&mut self, cx: &mut Cx<'_>, address: InboxAddress, items: Vec<Item>) {
        self.tell_messenger(cx, api::Input::Arrived { address, items });
        if let Some(reader) = self.client.reader(&address) {
            vault::save(cx.store, &reader_key(&address), reader);
        }
    }

    fn done(&mut self, cx: &mut Cx<'_>, errand: Errand, result: Result<Answer, Error>) {
        match errand {
            Errand::Program { id } => cx.effects.push(Effect::Done { id, result }),
            Errand::Store { id } => {
                let outcome = errand::stored(result);
                self.tell_messenger(cx, api::Input::Stored { id, outcome });
            }
            // The items expire by themselves.
            Errand::Erase => {}
            Errand::Read(mut gathering) => match gathering.take(result) {
                Some(outcome) => {
                    let id = gathering.id();
                    self.tell_messenger(cx, api::Input::Read { id, outcome });
                }
                None => {
                    let command = gathering.command();
                    self.run(cx, Errand::Read(gathering), command);
                }
            },
        }
    }
}

// A function of its own, so that the lifetime of the vault can shrink to that of the call.
fn talk_with<'b, M: Talks>(
    messenger: &mut M,
    cx: &'b mut Cx<'_>,
    effects: &'b mut Vec<api::Effect>,
    ask: impl FnOnce(&mut M, &mut Context<'b, dyn Vault + 'b, api::Effect>),
) {
    let (now, rng) = (cx.now, &mut *cx.rng);
    let store: &'b mut (dyn Vault + 'b) = &mut *cx.store;
    ask(messenger, &mut Context { now, store, rng, effects });
}

fn reader_key(address: &InboxAddress) -> Vec<u8> {
    Table::Reader.key(&[address.as_bytes()])
}

fn inbox(source: &api::Source) -> Inbox {
    match &source.read {
        Some(token) => Inbox::Mailbox { rule: source.rule, token: token.clone() },
        None => Inbox::Public { address: source.rule.address() },
    }
}

// Some namespaces of a mailbox take items of everyone, and no capability.
fn store(to: api::Target, item: NewItem) -> Command {
    let api::Target { rule, write, namespace } = to;
    let takes = policy(namespace).is_some_and(Policy::takes_capability);
    match write.filter(|_| takes) {
        Some(token) => Command::Deposit { rule, token, items: vec![item] },
        None => Command::Store { address: rule.address(), item },
    }
}
