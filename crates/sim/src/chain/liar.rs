//! Those who do not keep to the rules: a sequencer, a follower, and somebody on the way.

use std::collections::VecDeque;
use std::sync::Arc;

use session_core::{Blob, Decode, Digest, Encode, Entropy, List, SeededEntropy, Span, Time};
use session_crypto::fake::{CredulousVerifier, FakeIdentity};
use session_protocol::chain::block::{Sealed, TRANSACTIONS_MAX, block_id};
use session_protocol::chain::transaction::TRANSACTION_BYTES_MAX;
use session_protocol::chain::{Block, ReceivedTransaction, SealedBlock, SignedTransaction};
use session_storage::kv::{Batch, Database, FaultyDatabase, MemoryDatabase};
use session_vm::chain::Chain;
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::{query, solo};

use super::message::Message;
use super::node::{Disk, Node, Setting, blob, produce};
use crate::host::HostId;

/// How a sequencer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It seals two blocks for a height and shows some followers one, some the other.
    Equivocate,
    /// It seals blocks that cannot follow, and shows them to some followers.
    SealInvalid,
    /// It does not answer some, and tells others that there is nothing.
    Withhold,
}

impl Lie {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Equivocate, Self::SealInvalid, Self::Withhold];
}

/// A sequencer that lies to its victims, and is honest to the others.
pub(crate) struct Liar {
    pub(crate) lie: Lie,
    /// What is wrong with the blocks that it seals.
    flaw: u64,
    victims: Vec<bool>,
    /// The other chain.
    pub(crate) shadow: Option<Chain<Disk>>,
    setting: Arc<Setting>,
    rng: SeededEntropy,
}

impl Liar {
    /// Begins to lie, at the sequencer's last block.
    pub(crate) fn new(
        lie: Lie,
        sequencer: &Node,
        setting: Arc<Setting>,
        mut rng: SeededEntropy,
    ) -> Self {
        let victims = (0..setting.nodes).map(|_| rng.below(2) == 0).collect();
        let shadow = match lie {
            Lie::Equivocate => copy(&sequencer.disk).and_then(|disk| setting.open(disk)),
            Lie::SealInvalid | Lie::Withhold => None,
        };
        Self { lie, flaw: rng.below(5), victims, shadow, setting, rng }
    }

    pub(crate) fn is_victim(&self, host: HostId) -> bool {
        self.victims.get(host.index()).copied().unwrap_or_default()
    }

    /// Builds on the other chain.
    pub(crate) fn tick(&mut self, local: Time) {
        if let Some(shadow) = &mut self.shadow {
            // It is the liar's own business whether that works.
            let _ = produce(shadow, &self.setting, local, &mut self.rng);
        }
    }

    /// Takes a transaction for the other chain. Returns whether the first one gets it too.
    pub(crate) fn submit(&mut self, bytes: &[u8], local: Time) -> bool {
        match (self.lie, &mut self.shadow) {
            (Lie::Equivocate, Some(shadow)) => {
                let dice = self.rng.below(3);
                if dice != 0 {
                    let _ = shadow.submit(bytes, local);
                }
                dice != 1
            }
            (Lie::Withhold, _) => self.rng.below(3) != 0,
            _ => true,
        }
    }

    /// Returns what a victim is told; nothing when it gets no answer at all.
    pub(crate) fn serve(
        &mut self,
        sequencer: &Node,
        height: u64,
        local: Time,
    ) -> Option<Option<SealedBlock>> {
        let honest = sequencer.serve(height);
        match self.lie {
            Lie::Equivocate => {
                let shadow = self.shadow.as_ref()?;
                Some(solo::sealed_at(shadow, height).ok().flatten())
            }
            Lie::SealInvalid if honest.is_none() || self.rng.below(8) == 0 => {
                Some(self.invalid(sequencer, height, local).or(honest))
            }
            Lie::SealInvalid => Some(honest),
            Lie::Withhold if self.rng.below(2) == 0 => None,
            Lie::Withhold => Some(None),
        }
    }

    /// Seals a block for a height that breaks a rule.
    fn invalid(&mut self, sequencer: &Node, height: u64, local: Time) -> Option<SealedBlock> {
        let chain = sequencer.chain.as_ref()?;
        let parent = chain.id_at_height(height.checked_sub(1)?).ok()??;
        let parent = chain.block(&parent).ok()??;
        let mut block = Block::decode_exact(&parent.bytes).ok()?;
        // Transactions of the parent again: their nonces are used up.
        (block.parent, block.height) = (parent.id, height);
        block.time = local.max(parent.time);
        match self.flaw {
            0 => block.state_root = self.rng.bytes32().into(),
            // At its parent's time nothing turns: neither an epoch nor a quarter of one.
            1 => {
                block.transactions = List::new(Vec::new()).ok()?;
                block.time = parent.time;
            }
            2 => {
                block.transactions = List::new(Vec::new()).ok()?;
                block.time = parent.time - Span::from_secs(1);
            }
            3 => {
                block.transactions = self.forged(&block)?;
                block.state_root = root_after(chain, &block);
            }
            // Without transactions it could be the turn of an epoch, and right.
            _ if block.transactions.is_empty() => block.state_root = self.rng.bytes32().into(),
            _ => {
                let mut again = block.transactions.into_vec();
                let one = again.swap_remove(self.rng.below(again.len() as u64) as usize);
                block.transactions = List::new(vec![one]).ok()?;
                block.state_root = root_after(chain, &block);
            }
        }
        Some(seal(&self.setting, &block, &self.setting.sequencer, &mut self.rng))
    }

    /// Somebody's transaction with the next nonce, which its sender never signed.
    fn forged(&self, block: &Block) -> Option<List<Blob<TRANSACTION_BYTES_MAX>, TRANSACTIONS_MAX>> {
        let mut signed = SignedTransaction::decode_exact(block.transactions.first()?).ok()?;
        signed.transaction.nonce += 1;
        List::new(vec![blob(&signed)]).ok()
    }
}

/// The state that a block leads to for those who believe every signature: only what the rules
/// forbid is wrong with it then.
fn root_after(chain: &Chain<Disk>, block: &Block) -> Digest {
    let (parent, height, time) = (block.parent, block.height, block.time);
    let context = BlockContext { chain: *chain.id(), parent, height, time };
    let mut ledger = Ledger::begin(chain.state(), context);
    for bytes in &block.transactions {
        let Ok(received) = ReceivedTransaction::parse(bytes) else { continue };
        let keys = query::keys(chain.state(), &received.sender());
        if let Ok(believed) = received.check(chain.id(), keys.as_ref(), &CredulousVerifier) {
            // What cannot be executed stays in the block.
            let _ = ledger.execute(&believed, &CredulousVerifier);
        }
    }
    ledger.finish().0.root()
}

fn seal(
    setting: &Setting,
    block: &Block,
    keys: &FakeIdentity,
    rng: &mut dyn Entropy,
) -> SealedBlock {
    let bytes = blob(block);
    let statement = Sealed { chain: setting.chain, height: block.height, block: block_id(&bytes) };
    SealedBlock { block: bytes, seal: statement.sign(keys, rng) }
}

fn copy(disk: &Disk) -> Option<Disk> {
    let (mut to, mut batch) = (MemoryDatabase::default(), Batch::new());
    disk.visit(b"", &mut |key, value| {
        batch.put(key, value);
        true
    })
    .ok()?;
    to.write(&batch).ok()?;
    Some(FaultyDatabase::new(to))
}

/// Returns what a follower that serves garbage answers.
pub(crate) fn garbage(
    node: &mut Node,
    setting: &Setting,
    height: u64,
    now: Time,
    rng: &mut dyn Entropy,
) -> Option<SealedBlock> {
    let honest = node.serve(height);
    let local = node.skew.local(now);
    let chain = node.chain.as_mut()?;
    let own = FakeIdentity::new(&[0xba; 32]);
    match (rng.below(6), honest) {
        (0, honest) => honest,
        (1, Some(mut sealed)) => {
            let mut bytes = sealed.block.into_vec();
            flip(&mut bytes, rng);
            sealed.block = Blob::new(bytes).ok()?;
            Some(sealed)
        }
        (2, _) => solo::sealed_at(chain, rng.below(height + 1)).ok().flatten(),
        (3, Some(sealed)) => {
            let block = Block::decode_exact(&sealed.block).ok()?;
            Some(seal(setting, &block, &own, rng))
        }
        (4, _) => {
            let noise: Vec<u8> = (0..rng.below(400)).map(|_| rng.next_u64() as u8).collect();
            let seal =
                seal(setting, &Block::decode_exact(&chain.last_accepted().bytes).ok()?, &own, rng);
            Some(SealedBlock { block: Blob::new(noise).ok()?, seal: seal.seal })
        }
        // A valid block of its own making, which only lacks the right seal.
        (5, None) => {
            let block = Block::decode_exact(&chain.build(local).ok()?.bytes).ok()?;
            Some(seal(setting, &block, &own, rng))
        }
        _ => None,
    }
}

/// Somebody on the way who changes bits, and plays old answers again.
pub(crate) struct Meddler {
    answers: VecDeque<SealedBlock>,
    pub(crate) changed: u64,
    rng: SeededEntropy,
}

/// Old answers that are kept.
const ANSWERS_MAX: usize = 64;

impl Meddler {
    pub(crate) const fn new(rng: SeededEntropy) -> Self {
        Self { answers: VecDeque::new(), changed: 0, rng }
    }

    /// Returns what arrives instead of a packet.
    pub(crate) fn meddle(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let dice = self.rng.below(100);
        if dice < 4 {
            flip(&mut bytes, &mut self.rng);
            self.changed += 1;
            return bytes;
        }
        let Some(Message::Answer { number, sealed }) = Message::parse(&bytes) else { return bytes };
        if let Some(sealed) = sealed {
            if self.answers.len() >= ANSWERS_MAX {
                self.answers.pop_front();
            }
            self.answers.push_back(sealed);
        }
        let old = self.rng.below(self.answers.len() as u64) as usize;
        match self.answers.get(old) {
            Some(old) if dice < 10 => {
                self.changed += 1;
                Message::Answer { number, sealed: Some(old.clone()) }.to_bytes()
            }
            _ => bytes,
        }
    }
}

fn flip(bytes: &mut [u8], rng: &mut dyn Entropy) {
    let at = rng.below(bytes.len() as u64 * 8) as usize;
    if let Some(byte) = bytes.get_mut(at / 8) {
        *byte ^= 1 << (at % 8);
    }
}
