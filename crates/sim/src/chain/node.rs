//! A node of the chain: the sequencer or a follower, as the shells of `sessionvm` are.

use std::collections::VecDeque;
use std::sync::Arc;

use session_core::{Blob, ChainId, Encode, Entropy, SeededEntropy, Span, Time, TxId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::chain::SealedBlock;
use session_storage::kv::{FaultyDatabase, MemoryDatabase};
use session_vm::chain::{AcceptError, BuildError, Chain, Config, SubmitError};
use session_vm::genesis::Genesis;
use session_vm::mempool::Limits;
use session_vm::solo::{self, Refusal, Taken};

use super::message::Message;
use crate::host::{HostId, Skew};

/// What a node keeps when it crashes.
pub(crate) type Disk = FaultyDatabase<MemoryDatabase>;

/// The one who seals.
pub(crate) const SEQUENCER: HostId = HostId(0);

/// Between two blocks of the sequencer, and between two looks of a follower.
pub(crate) const TICK: Span = Span::from_millis(500);
/// When an answer that did not come is given up.
const ANSWER_TIMEOUT: Span = Span::from_secs(2);
/// How long a follower waits after a failure.
const PAUSE: Span = Span::from_millis(500);
/// Transactions that a follower remembers for the sequencer.
pub(crate) const HANDED_MAX: usize = 256;
/// Of them, handed on again at a tick.
const HANDED_AGAIN: usize = 4;

/// Small, so that pools fill up.
pub(crate) const POOL: Limits = Limits {
    bytes_max: 160 * 1024,
    sender_transactions_max: 8,
    sender_bytes_max: 96 * 1024,
    free_bytes_max: 80 * 1024,
    sender_free_max: 8,
    wait_max: Span::from_secs(120),
};

/// What all nodes agree on from the beginning.
pub(crate) struct Setting {
    pub(crate) genesis: Genesis,
    pub(crate) chain: ChainId,
    pub(crate) sequencer: FakeIdentity,
    pub(crate) nodes: usize,
}

impl Setting {
    /// Opens a chain over a disk.
    pub(crate) fn open(&self, disk: Disk) -> Option<Chain<Disk>> {
        let config = Config { mempool: POOL, ..Config::new(Arc::new(FakeVerifier)) };
        Chain::open(disk, &self.genesis, self.chain, config).ok()
    }
}

/// A process ended because of its disk or its clock; somebody starts it again.
#[derive(Debug)]
pub(crate) struct Died;

impl From<AcceptError> for Died {
    fn from(_: AcceptError) -> Self {
        Self
    }
}

/// What a node sends.
pub(crate) type Outbox = Vec<(HostId, Message)>;

/// A node and its disk.
pub struct Node {
    pub(crate) host: HostId,
    pub(crate) disk: Disk,
    /// Nothing while it is down.
    pub(crate) chain: Option<Chain<Disk>>,
    pub(crate) skew: Skew,
    /// How often it was started.
    pub(crate) life: u32,
    /// Whether it serves what it has.
    pub(crate) honest: bool,
    /// Why it follows no more.
    pub(crate) stopped: Option<Refusal>,
    follow: Follow,
    /// What was handed on to the sequencer, in case it forgets.
    handed: VecDeque<(TxId, Vec<u8>)>,
    setting: Arc<Setting>,
    rng: SeededEntropy,
}

struct Follow {
    upstream: HostId,
    asked: Option<Asked>,
    asks: u64,
    /// Whether the upstream showed that it has the same last block.
    agreed: bool,
    quiet_until: Time,
}

#[derive(Clone, Copy)]
struct Asked {
    number: u64,
    height: u64,
    at: Time,
}

impl Follow {
    const fn new(asks: u64) -> Self {
        Self { upstream: SEQUENCER, asked: None, asks, agreed: false, quiet_until: Time::ZERO }
    }
}

impl Node {
    pub(crate) fn new(host: HostId, setting: Arc<Setting>, rng: SeededEntropy) -> Self {
        Self {
            host,
            disk: FaultyDatabase::new(MemoryDatabase::default()),
            chain: None,
            skew: Skew::default(),
            life: 0,
            honest: true,
            stopped: None,
            follow: Follow::new(0),
            handed: VecDeque::new(),
            setting,
            rng,
        }
    }

    /// Stops at once; only the disk stays.
    pub(crate) fn crash(&mut self) {
        self.chain = None;
        self.stopped = None;
        self.handed.clear();
        self.follow = Follow::new(self.follow.asks);
        self.life += 1;
    }

    /// Starts over its disk. Returns whether it runs.
    pub(crate) fn start(&mut self, planned: Option<session_storage::kv::Fault>) -> bool {
        if self.chain.is_none() {
            self.disk.restart();
            if let Some(fault) = planned {
                self.disk.plan(1, fault);
            }
            self.chain = self.setting.open(self.disk.clone());
            if let Some(chain) = &mut self.chain {
                chain.set_bootstrapping(self.host != SEQUENCER);
            }
        }
        self.chain.is_some()
    }

    /// Transactions that it remembers for the sequencer.
    pub(crate) fn handed(&self) -> usize {
        self.handed.len()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Time, out: &mut Outbox) -> Result<(), Died> {
        if self.host == SEQUENCER {
            let (local, setting) = (self.skew.local(now), Arc::clone(&self.setting));
            let Some(chain) = &mut self.chain else { return Ok(()) };
            return produce(chain, &setting, local, &mut self.rng);
        }
        self.hand_on_again(out);
        self.ask(now, out);
        Ok(())
    }

    /// Takes a transaction, and says so if that can never be.
    pub(crate) fn submit(&mut self, from: HostId, bytes: &[u8], now: Time, out: &mut Outbox) {
        let local = self.skew.local(now);
        let Some(chain) = &mut self.chain else { return };
        match chain.submit(bytes, local) {
            Ok(id) if self.host != SEQUENCER => {
                if self.handed.len() >= HANDED_MAX {
                    self.handed.pop_front();
                }
                self.handed.push_back((id, bytes.to_vec()));
                out.extend(submission(bytes));
            }
            Err(SubmitError::Rejected(why)) if from.index() >= self.setting.nodes => {
                let received = session_protocol::chain::ReceivedTransaction::parse(bytes);
                if let Ok(received) = received.as_ref()
                    && !why.is_early()
                {
                    out.push((from, Message::Refused { transaction: received.id }));
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Returns what it answers to somebody who asks for a block.
    pub(crate) fn serve(&self, height: u64) -> Option<SealedBlock> {
        solo::sealed_at(self.chain.as_ref()?, height).ok().flatten()
    }

    /// Returns whether it waits for this answer.
    pub(crate) fn awaits(&self, number: u64) -> bool {
        self.follow.asked.is_some_and(|asked| asked.number == number)
    }

    /// Takes an answer.
    pub(crate) fn answered(
        &mut self,
        number: u64,
        sealed: Option<&SealedBlock>,
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), Died> {
        let Some(asked) = self.follow.asked.filter(|asked| asked.number == number) else {
            return Ok(());
        };
        self.follow.asked = None;
        let local = self.skew.local(now);
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let agreeing = asked.height == chain.last_accepted().height;
        let Some(sealed) = sealed else {
            // There is nothing new, or the upstream is behind.
            chain.set_bootstrapping(false);
            self.rest(now);
            return Ok(());
        };
        match take(chain, sealed, local) {
            Ok(()) => {
                self.follow.agreed |= agreeing;
                self.ask(now, out);
            }
            Err(refusal) if refusal.is_ours() => return Err(Died),
            Err(refusal) if refusal.is_final() => self.stopped = Some(refusal),
            Err(_) => self.rest(now),
        }
        Ok(())
    }

    /// Asks for the next block, or whether the upstream has the same last one.
    fn ask(&mut self, now: Time, out: &mut Outbox) {
        let Some(chain) = &self.chain else { return };
        let height = chain.last_accepted().height;
        if let Some(asked) = self.follow.asked {
            if now.since(asked.at) < ANSWER_TIMEOUT {
                return;
            }
            self.follow.asked = None;
            self.rest(now);
        }
        if self.stopped.is_some() || now < self.follow.quiet_until {
            return;
        }
        let known = self.follow.agreed || height == 0;
        let height = if known { height + 1 } else { height };
        self.follow.asks += 1;
        let number = self.follow.asks;
        self.follow.asked = Some(Asked { number, height, at: now });
        out.push((self.follow.upstream, Message::Ask { number, height }));
    }

    /// Waits a moment, and asks somebody else then: mostly the sequencer.
    fn rest(&mut self, now: Time) {
        self.follow.agreed = false;
        self.follow.quiet_until = now + PAUSE;
        let other = HostId(self.rng.below(self.setting.nodes as u64) as u32);
        let somebody = self.rng.below(3) == 0 && other != self.host;
        self.follow.upstream = if somebody { other } else { SEQUENCER };
    }

    fn hand_on_again(&mut self, out: &mut Outbox) {
        let Some(chain) = &self.chain else { return };
        self.handed.retain(|(id, _)| chain.waiting(id).is_some());
        for _ in 0..HANDED_AGAIN.min(self.handed.len()) {
            let Some((id, bytes)) = self.handed.pop_front() else { break };
            out.extend(submission(&bytes));
            self.handed.push_back((id, bytes));
        }
    }
}

fn submission(bytes: &[u8]) -> Option<(HostId, Message)> {
    let transaction = Blob::new(bytes).ok()?;
    Some((SEQUENCER, Message::Submit { transaction }))
}

/// Makes a block if something waits for one, as the sequencer.
pub(crate) fn produce(
    chain: &mut Chain<Disk>,
    setting: &Setting,
    local: Time,
    rng: &mut dyn Entropy,
) -> Result<(), Died> {
    if !chain.pending(local) {
        return Ok(());
    }
    let block = match chain.build(local) {
        Ok(block) => block,
        Err(BuildError::NothingToBuild) => return Ok(()),
        Err(_) => return Err(Died),
    };
    let seal = solo::seal(&setting.chain, &block, &setting.sequencer, rng);
    chain.accept(&block.id, solo::seal_entry(block.height, &seal))?;
    Ok(())
}

fn take(chain: &mut Chain<Disk>, sealed: &SealedBlock, local: Time) -> Result<(), Refusal> {
    match solo::verify_sealed(chain, sealed, local, &FakeVerifier)? {
        Taken::Known => Ok(()),
        Taken::Verified { id, extra } => {
            chain.accept(&id, extra)?;
            Ok(())
        }
    }
}

/// Returns the bytes of a block as an answer carries them.
pub(crate) fn blob<const MAX: usize>(bytes: &impl Encode) -> Blob<MAX> {
    Blob::new(bytes.to_bytes()).expect("it was built within the limits")
}
