//! The thread that owns vault, machine and endpoint.
//!
//! Opening sorts, commits and searches block; so the owner has a thread of its own, and the tasks of
//! the endpoint keep the runtime of the caller to themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use session_client::talk::{Cx, Effect, Input, Talker, Voice};
use session_client::{Config, command as client};
use session_core::{AccountId, Entropy as _, Time};
use session_crypto::{Identity, RealVerifier};
use session_messaging::Secret;
use session_messaging::account::{self, Setup};
use session_messaging::messenger::api::{self, Answer, Command};
use session_messaging::messenger::{self, Messenger};
use session_messaging::vault::{self, Table, Vault};
use session_protocol::NetworkId;
use session_runtime::clock::SystemClock;
use session_runtime::entropy::OsEntropy;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::kept::KeptFiles;
use crate::link::{Happened, Incoming, Link, Raw};
use crate::network::Network;
use crate::session::{NewAccount, Notice, OpenError, Options, Session};
use crate::vault::{FileVault, VaultError};

/// Orders that wait for the owner.
const ORDERS_MAX: usize = 256;

/// Inputs that share one transaction; a commit takes as long as thousands of them.
const GROUP_MAX: usize = 64;

/// One clock for the whole program, so that its time never goes backwards.
static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);

type Query = Box<dyn FnOnce(&dyn Vault) + Send>;
type Change = Box<dyn FnOnce(&mut dyn Vault) + Send>;
type Told = oneshot::Sender<Result<Answer, api::Error>>;
type Done = oneshot::Sender<Result<client::Answer, session_client::Error>>;

/// What a handle wants.
pub(crate) enum Order {
    Command(Box<Command>, Told),
    Network(Box<client::Command>, Done),
    View(Query),
    Change(Change, oneshot::Sender<()>),
    Idle(oneshot::Sender<()>),
    Linked(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// A session that runs.
pub(crate) struct Started {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) account: AccountId,
    /// What a device shows that waits to be made part of its account.
    pub(crate) request: Option<String>,
}

/// Opens everything and starts the owner.
pub(crate) async fn start(
    home: PathBuf,
    network: Network,
    options: Options,
    notices: broadcast::Sender<Notice>,
) -> Result<Started, OpenError> {
    let system = |error: &dyn std::fmt::Display| OpenError::System(error.to_string());
    let (link, incoming) = Link::open(&network).map_err(|error| system(&error))?;
    let (ready, opened) = oneshot::channel();
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let runtime = tokio::runtime::Handle::current();
    let body = move || {
        // The tasks of the endpoint, of dials and of the directory run there.
        let _entered = runtime.enter();
        match Owner::open(&home, &network, &options, link, notices) {
            Ok((owner, request)) => {
                if ready.send(Ok((owner.talker.messenger().account(), request))).is_ok() {
                    runtime.block_on(owner.run(incoming, inbox));
                }
            }
            // Whoever opened it may have stopped waiting.
            Err(error) => drop(ready.send(Err(error))),
        }
    };
    let thread = std::thread::Builder::new().name("session".to_owned());
    thread.spawn(body).map_err(|error| system(&error))?;
    let (account, request) = opened.await.map_err(|_| system(&"the session's thread ended"))??;
    Ok(Started { orders, account, request })
}

/// Opens the device of a vault, or makes what is to be made there; with the text that it shows if
/// it waits for its account.
fn open_voice(
    home: &Path,
    network: &Network,
    options: &Options,
    vault: &mut FileVault,
    rng: &mut OsEntropy,
) -> Result<(Voice, Option<String>), OpenError> {
    let made_for = Table::Meta.key(&[b"sdk/network"]);
    let here = network.membership.network();
    if vault::load::<NetworkId>(vault, &made_for).is_some_and(|network| network != here) {
        return Err(OpenError::OtherNetwork(home.to_owned()));
    }
    let wanted = Table::Meta.key(&[b"sdk/account"]);
    let config = messenger::Config { read_receipts: options.read_receipts, ..Default::default() };
    let mut request = None;
    if account::account(vault).is_none()
        && let Some(new) = &options.create
    {
        vault.begin()?;
        let made = match new {
            NewAccount::Phrase { phrase, device, restored } => {
                let seed = Secret::from(*phrase.seed());
                let (device_name, restored) = (device.clone(), *restored);
                let setup = Setup { seed, network: here, device_name, restored };
                Messenger::create(vault, rng, CLOCK.now(), &setup)
            }
            NewAccount::Device { account, device } => {
                vault::save(vault, &wanted, account);
                account::new_device(vault, rng, here, device).map(|text| request = Some(text))
            }
        };
        vault::save(vault, &made_for, &here);
        if let Err(error) = made {
            vault.rollback();
            return Err(OpenError::Refused(error));
        }
        vault.commit()?;
    }
    let account = vault::load::<AccountId>(vault, &wanted);
    let voice = Voice::open(vault, account, config);
    Ok((voice.ok_or_else(|| OpenError::NoAccount(home.to_owned()))?, request))
}

struct Owner {
    vault: FileVault,
    talker: Talker<Voice>,
    kept: KeptFiles,
    link: Link,
    rng: OsEntropy,
    notices: broadcast::Sender<Notice>,
    commands: BTreeMap<u64, Told>,
    errands: BTreeMap<u64, Done>,
    numbers: u64,
    /// Who waits until nothing is on its way, and since when.
    idle: Vec<(Time, oneshot::Sender<()>)>,
    /// Who waits until the device is part of its account.
    linked: Vec<oneshot::Sender<()>>,
    /// What was asked in this transaction, answered when it is durable.
    changed: Vec<oneshot::Sender<()>>,
    /// Queries that came meanwhile: they see nothing that may still be rolled back.
    views: Vec<Query>,
}

/// What there is to do next.
enum Next {
    Raw(Raw),
    Order(Order),
    Due,
    End,
}

impl Owner {
    fn open(
        home: &Path,
        network: &Network,
        options: &Options,
        link: Link,
        notices: broadcast::Sender<Notice>,
    ) -> Result<(Self, Option<String>), OpenError> {
        let mut rng = OsEntropy::new().map_err(|error| OpenError::System(error.to_string()))?;
        let mut vault = Session::open_vault(home, options)?;
        let (voice, request) = open_voice(home, network, options, &mut vault, &mut rng)?;
        // The keys of handshakes are new each time, so that nodes cannot tell visits apart by them.
        let keys = Arc::new(Identity::from_seed(&rng.bytes32()));
        let membership = network.membership.clone();
        let config = Config {
            account: None,
            mode: network.mode,
            kept: network.kept.load_or_warn(),
            ..Config::new(keys, membership, Arc::new(RealVerifier))
        };
        let owner = Self {
            vault,
            talker: Talker::new(voice, config),
            kept: network.kept.clone(),
            link,
            rng,
            notices,
            commands: BTreeMap::new(),
            errands: BTreeMap::new(),
            numbers: 0,
            idle: Vec::new(),
            linked: Vec::new(),
            changed: Vec::new(),
            views: Vec::new(),
        };
        Ok((owner, request))
    }

    async fn run(mut self, mut incoming: Incoming, mut orders: mpsc::Receiver<Order>) {
        let mut stopped = None;
        loop {
            let deadline = self.talker.deadline(&self.vault).unwrap_or(Time::MAX);
            let next = tokio::select! {
                raw = incoming.next() => raw.map_or(Next::End, Next::Raw),
                order = orders.recv() => order.map_or(Next::End, Next::Order),
                () = CLOCK.sleep_until(deadline) => Next::Due,
            };
            match next {
                Next::End => break,
                Next::Order(Order::Stop(done)) => {
                    stopped = Some(done);
                    break;
                }
                next => {
                    if let Err(error) = self.group(next, &mut incoming, &mut orders, &mut stopped) {
                        tracing::error!(%error, "the vault failed: the session ends");
                        // Nobody listens, perhaps.
                        let _ = self.notices.send(Notice::Failed(error.to_string()));
                        break;
                    }
                    if stopped.is_some() {
                        break;
                    }
                }
            }
        }
        self.link.shutdown().await;
        // Whoever waits for the end finds the vault free.
        drop(self.vault);
        drop(stopped);
    }

    /// Does what there is and what waits behind it in one transaction; then, when it is durable, what
    /// came of it.
    fn group(
        &mut self,
        first: Next,
        incoming: &mut Incoming,
        orders: &mut mpsc::Receiver<Order>,
        stopped: &mut Option<oneshot::Sender<()>>,
    ) -> Result<(), VaultError> {
        let mut effects = Vec::new();
        self.vault.begin()?;
        let mut next = Some(first);
        for _ in 0..GROUP_MAX {
            match next.take() {
                Some(Next::Order(Order::Stop(done))) => {
                    *stopped = Some(done);
                    break;
                }
                Some(Next::Order(order)) => self.order(order, &mut effects),
                Some(Next::Raw(raw)) => self.raw(raw, &mut effects),
                Some(Next::Due) => self.call(&mut effects, |talker, cx| talker.tick(cx)),
                Some(Next::End) | None => break,
            }
            next = incoming.try_next().map(Next::Raw);
            if next.is_none() {
                next = orders.try_recv().ok().map(Next::Order);
            }
        }
        self.vault.commit()?;
        self.perform(effects);
        if self.talker.messenger().is_member() {
            self.changed.append(&mut self.linked);
        }
        for done in std::mem::take(&mut self.changed) {
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
        self.show()?;
        let (talker, vault, now) = (&self.talker, &self.vault, CLOCK.now());
        for (_, done) in self.idle.extract_if(.., |(since, _)| talker.is_idle(vault, now, *since)) {
            let _ = done.send(());
        }
        Ok(())
    }

    /// Runs queries. A value that does not open fails the transaction, as it does elsewhere.
    fn show(&mut self) -> Result<(), VaultError> {
        if self.views.is_empty() {
            return Ok(());
        }
        self.vault.begin()?;
        for query in std::mem::take(&mut self.views) {
            query(&self.vault);
        }
        self.vault.commit()
    }

    fn order(&mut self, order: Order, effects: &mut Vec<Effect>) {
        self.numbers += 1;
        let id = self.numbers;
        match order {
            Order::Command(command, told) => {
                self.commands.insert(id, told);
                let command = *command;
                self.call(effects, |talker, cx| talker.handle(cx, Input::Command { id, command }));
            }
            Order::Network(command, done) => {
                self.errands.insert(id, done);
                let command = *command;
                self.call(effects, |talker, cx| talker.handle(cx, Input::Run { id, command }));
            }
            Order::View(query) => self.views.push(query),
            Order::Change(change, done) => {
                change(&mut self.vault);
                self.changed.push(done);
            }
            Order::Idle(done) => {
                self.idle.push((CLOCK.now(), done));
                self.call(effects, |talker, cx| {
                    // What has not begun yet would look idle.
                    talker.tick(cx);
                    talker.handle(cx, Input::ReadAll);
                });
            }
            Order::Linked(done) => self.linked.push(done),
            Order::Stop(_) => unreachable!("ends the loop before it comes here"),
        }
    }

    fn raw(&mut self, raw: Raw, effects: &mut Vec<Effect>) {
        let input = match self.link.take(raw) {
            Some(Happened::Network(input)) => Input::Network(input),
            Some(Happened::Membership(members)) => Input::Membership(members),
            Some(Happened::Solved { puzzle, solution }) => Input::Solved { puzzle, solution },
            Some(Happened::SameMembership) | None => return,
        };
        self.call(effects, |talker, cx| talker.handle(cx, input));
    }

    fn call(
        &mut self,
        effects: &mut Vec<Effect>,
        call: impl FnOnce(&mut Talker<Voice>, &mut Cx<'_>),
    ) {
        let (now, rng) = (CLOCK.now(), &mut self.rng);
        call(&mut self.talker, &mut Cx { now, store: &mut self.vault, rng, effects });
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { conn, class, frame } => self.link.send(conn, class, frame),
                Effect::Dial { dial, address, key } => self.link.dial(dial, address, &key),
                Effect::Close { conn, why } => self.link.close(conn, why),
                Effect::Solve { puzzle } => self.link.solve(puzzle),
                Effect::Guards(guards) => self.kept.save_guards(&guards),
                Effect::Health(health) => self.kept.save_health(&health),
                Effect::HopKeys(keys) => self.kept.save_hop_keys(&keys),
                Effect::Answer { id, result } => {
                    if let Some(told) = self.commands.remove(&id) {
                        // Whoever asked may have stopped waiting.
                        let _ = told.send(result);
                    }
                }
                Effect::Done { id, result } => {
                    if let Some(done) = self.errands.remove(&id) {
                        let _ = done.send(result);
                    }
                }
                Effect::Event(event) => {
                    // Nobody listens, perhaps.
                    let _ = self.notices.send(Notice::Event(event));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
