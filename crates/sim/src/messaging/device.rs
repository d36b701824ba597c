//! A device: messenger and client as one machine, with the shell that a program is around it.
//!
//! What a call wrote is committed before anything that the call led to leaves the device. A crash
//! loses what was not committed, and all of those effects.

use std::sync::Arc;

use session_client::StoredProof;
use session_client::talk::{Cx, Effect, Input, Talker, Voice};
use session_core::{AccountId, Decode as _, SeededEntropy, Span, Time};
use session_crypto::DsaPublicKey;
use session_crypto::fake::FakeVerifier;
use session_messaging::account::{self, Setup};
use session_messaging::messenger::Config;
use session_messaging::messenger::Messenger;
use session_messaging::messenger::api::{self, Answer, Command, Event, Warning};
use session_messaging::thread;
use session_messaging::vault::{MemoryVault, Vault};
use session_protocol::{Checker, Membership};

use super::journal::Journal;
use crate::host::{Arrival, Departure, Host, HostId};
use crate::note::Note;

/// What a device has to say to whoever holds it; its transaction is durable.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Answer { id: u64, result: Result<Answer, api::Error> },
    Warning(Warning),
}

/// A simulated device.
pub struct Device {
    host: HostId,
    client: session_client::Config,
    checker: Checker,
    rng: SeededEntropy,
    config: Config,
    vault: Journal,
    /// Of whose account it waits to be made a part.
    joins: Option<AccountId>,
    talker: Option<Box<Talker<Voice>>>,
    /// When the machine wants to be woken. Asking it anew is not free.
    due: Option<Time>,
    /// Effects that wait for their commit.
    held: Vec<Effect>,
    commit_at: Option<Time>,
    pub(crate) commit_after: Span,
    orders: u64,
    /// How often it was started.
    pub(crate) lives: u32,
    pub(crate) news: Vec<News>,
    pub(crate) notes: Vec<Note>,
}

impl Device {
    pub(crate) fn new(
        host: HostId,
        client: session_client::Config,
        membership: Arc<dyn Membership>,
        config: Config,
        rng: SeededEntropy,
    ) -> Self {
        Self {
            host,
            client,
            checker: Checker::new(membership, Arc::new(FakeVerifier)),
            rng,
            config,
            vault: Journal::default(),
            joins: None,
            talker: None,
            due: None,
            held: Vec::new(),
            commit_at: None,
            commit_after: Span::from_millis(2),
            orders: 0,
            lives: 0,
            news: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Returns whether it runs.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.talker.is_some()
    }

    /// Returns whether it has an account, or waits for one.
    #[must_use]
    pub fn is_anybodys(&self) -> bool {
        self.joins.is_some() || account::account(&self.vault).is_some()
    }

    /// Returns what is on it, with what is not committed yet.
    #[must_use]
    pub fn vault(&self) -> &dyn Vault {
        &self.vault
    }

    /// Returns its messenger, while it runs and has an account.
    #[must_use]
    pub fn messenger(&self) -> Option<&Messenger> {
        match self.talker.as_ref()?.messenger() {
            Voice::Member(messenger) => Some(messenger),
            Voice::Joining(_) => None,
        }
    }

    /// Makes it the first device of an account.
    pub(crate) fn create(&mut self, now: Time) {
        let network = self.checker.membership().network();
        let seed = session_messaging::Secret::generate(&mut self.rng);
        let setup = Setup { seed, network, device_name: "first".to_owned(), restored: false };
        Messenger::create(&mut self.vault, &mut self.rng, now, &setup).expect("an empty vault");
        self.vault.commit();
    }

    /// Has it ask to be made part of an account; returns what it shows.
    pub(crate) fn ask(&mut self, account: AccountId) -> String {
        let network = self.checker.membership().network();
        self.joins = Some(account);
        let request = account::new_device(&mut self.vault, &mut self.rng, network, "another");
        self.vault.commit();
        request.expect("an empty vault")
    }

    /// Starts it over what is in the vault.
    pub(crate) fn start(&mut self) {
        let voice = Voice::open(&self.vault, self.joins, self.config.clone())
            .expect("it has an account or asked for one");
        self.talker = Some(Box::new(Talker::new(voice, self.client.clone())));
        self.lives += 1;
        self.ask_when();
    }

    /// Loses everything that was not committed.
    pub(crate) fn crash(&mut self) {
        self.talker = None;
        self.due = None;
        self.held.clear();
        self.commit_at = None;
        self.vault.crash();
    }

    /// Copies what a crash would leave.
    pub(crate) fn image(&self) -> MemoryVault {
        self.vault.image()
    }

    /// Puts another image in the place of its disk. It must be down.
    pub(crate) fn restore(&mut self, image: MemoryVault) {
        self.vault = Journal::over(image);
        self.joins = None;
    }

    /// Gives a command; the answer is news with the number that is returned.
    pub(crate) fn order(&mut self, now: Time, command: Command, out: &mut Vec<Departure>) -> u64 {
        self.orders += 1;
        let id = self.orders;
        self.tell(now, Input::Command { id, command });
        self.settle(now, out);
        id
    }

    fn tell(&mut self, now: Time, input: Input) {
        self.call(now, |talker, cx| talker.handle(cx, input));
    }

    fn call(&mut self, now: Time, call: impl FnOnce(&mut Talker<Voice>, &mut Cx<'_>)) {
        let Some(talker) = &mut self.talker else { return };
        let (store, rng, effects) = (&mut self.vault, &mut self.rng, &mut self.held);
        call(talker, &mut Cx { now, store, rng, effects });
    }

    fn ask_when(&mut self) {
        self.due = self.talker.as_ref().and_then(|talker| talker.deadline(&self.vault));
    }

    /// Ends a call: what needs a commit waits for it, everything else leaves at once.
    fn settle(&mut self, now: Time, out: &mut Vec<Departure>) {
        self.ask_when();
        if self.vault.is_written() {
            self.commit_at.get_or_insert(now + self.commit_after);
        } else if self.commit_at.is_none() {
            self.perform(now, out);
        }
    }

    fn perform(&mut self, now: Time, out: &mut Vec<Departure>) {
        let mut puzzles = Vec::new();
        for effect in std::mem::take(&mut self.held) {
            match effect {
                Effect::Solve { puzzle } => puzzles.push(puzzle),
                Effect::Send { conn, class, frame } => {
                    out.push(Departure::Send { conn, class, body: frame });
                }
                Effect::Dial { dial, address, key } => {
                    out.push(Departure::Dial { dial, address, key });
                }
                Effect::Close { conn, .. } => out.push(Departure::Close { conn }),
                Effect::Answer { id, result } => self.news.push(News::Answer { id, result }),
                Effect::Event(Event::Warning(warning)) => self.news.push(News::Warning(warning)),
                Effect::Event(Event::Status { thread, place, status })
                    if status.stored.is_some() =>
                {
                    self.note_stored(thread, place);
                }
                _ => {}
            }
        }
        for puzzle in puzzles {
            self.tell(now, Input::Solved { puzzle, solution: puzzle.solve() });
            self.settle(now, out);
        }
    }

    /// What its owner is shown to be stored is held against the nodes from now on.
    fn note_stored(&mut self, thread: thread::ThreadId, place: u64) {
        let Some(message) = thread::message(&self.vault, thread, place) else { return };
        for proof in thread::proof(&self.vault, thread, message.id) {
            let Ok(proof) = StoredProof::decode_exact(&proof) else { continue };
            let Some(first) = proof.receipts.first() else { continue };
            self.notes.push(Note::Stored {
                person: self.host,
                address: first.receipt.address,
                id: proof.message,
                expiry: proof.expiry,
                latest: Time::MAX,
            });
        }
    }
}

impl Host for Device {
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
            // No story has both conversations and a chain.
            Arrival::View(_) | Arrival::CommitmentTx { .. } => return,
        };
        self.tell(now, Input::Network(input));
        self.settle(now, out);
    }

    fn deadline(&self) -> Option<Time> {
        [self.due, self.commit_at].into_iter().flatten().min()
    }

    fn woken(&mut self, now: Time, out: &mut Vec<Departure>) {
        if self.commit_at.is_some_and(|at| at <= now) {
            self.commit_at = None;
            self.vault.commit();
            self.perform(now, out);
        }
        if self.due.is_some_and(|at| at <= now) {
            self.call(now, |talker, cx| talker.tick(cx));
            self.settle(now, out);
        }
    }

    fn transport_key(&self) -> Option<&DsaPublicKey> {
        None
    }
}
