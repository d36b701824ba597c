//! The shell around an executor: its disk, its programs, its connections, and how it dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{Context, Digest, Entropy, NodeId, SeededEntropy, Time};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_executor::engine::Runner;
use session_executor::facts::Fetch;
use session_executor::{Config, Effect, Executor, Outcome, transform};
use session_protocol::chain::view::ChainView;
use session_protocol::workload::message::{Answer, SessionRefusal};
use session_protocol::workload::oracle::{Fault, RawAnswer};
use session_protocol::{Checker, Membership};
use session_storage::Store;

use super::liar::Liar;
use super::outside::Reply;
use crate::disk::Disk;

/// Most sessions at once: fewer than people open, so that some wait.
const SESSIONS_MAX: usize = 4;
/// Most programs that wait in memory; others are run again.
const LIVE_MAX: usize = 3;

/// A node: a member of every committee, or a door through which people come.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) keys: Arc<FakeIdentity>,
    pub(crate) exec: Option<Executor>,
    pub(crate) disk: Disk,
    pub(crate) runner: Runner,
    pub(crate) checker: Checker,
    pub(crate) rng: SeededEntropy,
    /// Rises with every start: what was meant for an earlier life is lost.
    pub(crate) life: u32,
    /// To whom it wants to be connected.
    pub(crate) wants: BTreeSet<NodeId>,
    /// When it is to be woken.
    pub(crate) tick: Option<Time>,
    /// Commits that changed something.
    pub(crate) commits: u64,
    /// The last commit before it dies: it is durable, and nobody sees what it led to.
    pub(crate) dies_after: Option<u64>,
    pub(crate) liar: Option<Liar>,
    pub(crate) answers: BTreeMap<u64, Answer>,
    pub(crate) stored: BTreeMap<u64, Result<Digest, SessionRefusal>>,
}

/// What came of a call.
pub(crate) enum Called {
    /// What it wants.
    Effects(Vec<Effect>),
    /// It died after its commit.
    Died,
    /// It is down.
    Down,
}

impl Node {
    pub(crate) fn new(keys: FakeIdentity, view: &ChainView, rng: &mut SeededEntropy) -> Self {
        let keys = Arc::new(keys);
        let membership: Arc<dyn Membership> = Arc::clone(&view.membership) as _;
        let mut node = Self {
            id: keys.public().node_id(),
            keys,
            exec: None,
            disk: Disk::new(rng.next_u64()),
            runner: Runner::new(LIVE_MAX),
            checker: Checker::new(membership, Arc::new(FakeVerifier)),
            rng: SeededEntropy::from_bytes(rng.bytes32()),
            life: 0,
            wants: BTreeSet::new(),
            tick: None,
            commits: 0,
            dies_after: None,
            liar: None,
            answers: BTreeMap::new(),
            stored: BTreeMap::new(),
        };
        node.start();
        node
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.exec.is_some()
    }

    pub(crate) const fn is_honest(&self) -> bool {
        self.liar.is_none()
    }

    /// Starts over what is on the disk.
    pub(crate) fn start(&mut self) {
        self.life += 1;
        self.exec = Some(Executor::new(Config {
            node: self.id,
            keys: Arc::clone(&self.keys) as _,
            verifier: Arc::new(FakeVerifier),
            sessions_max: SESSIONS_MAX,
        }));
    }

    /// Stops at once.
    pub(crate) fn crash(&mut self) {
        self.disk.crash();
        self.exec = None;
        self.runner = Runner::new(LIVE_MAX);
        self.wants.clear();
        self.tick = None;
        self.dies_after = None;
        self.life += 1;
    }

    /// Calls the machine and makes durable what it wrote.
    pub(crate) fn call(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Executor, &mut Context<'_, dyn Store, Effect>),
    ) -> Called {
        let Some(exec) = &mut self.exec else { return Called::Down };
        let mut effects = Vec::new();
        let store: &mut dyn Store = &mut self.disk;
        act(exec, &mut Context { now, store, rng: &mut self.rng, effects: &mut effects });
        if self.disk.is_written() {
            self.disk.commit();
            self.commits += 1;
            if self.dies_after.is_some_and(|last| last <= self.commits) {
                return Called::Died;
            }
        }
        Called::Effects(effects)
    }

    /// Makes of what the world replied what the machine hears, as the threads of a shell do.
    pub(crate) fn look(&mut self, fetch: &Fetch, reply: Reply) -> Outcome {
        let outcome = match reply {
            Reply::Confirmed(confirmed) => Outcome::Confirmed(confirmed),
            Reply::Answer(answer) => self.observe(fetch, answer),
        };
        match &mut self.liar {
            Some(liar) => liar.sees(outcome),
            None => outcome,
        }
    }

    fn observe(&mut self, fetch: &Fetch, answer: Result<RawAnswer, Fault>) -> Outcome {
        let (facts, runner) = (&fetch.facts, &mut self.runner);
        let manifest = &facts.workload.manifest;
        let source = &manifest.sources[usize::from(fetch.call.source)];
        let received = answer.as_ref().map_or(0, |answer| answer.received);
        let observation = transform::observe(manifest, source, answer, &mut |function, input| {
            runner.transform(&facts.module, &manifest.limits, function, input)
        });
        Outcome::Observed { observation, received }
    }
}
