//! Transactions: what their senders order the chain to do.
//!
//! A transaction is signed with the ML-DSA-65 key of the sending account, whose id is the hash of
//! its keys; the keys travel with an account's first transaction. The id and the signature cover
//! the body alone, so that nobody can change the id of somebody else's transaction.

use session_core::{
    AccountId, Blob, ChainId, ChannelId, ConversationId, Decode, DecodeError, Digest, Domain,
    Encode, Entropy, Epoch, List, NodeId, ServiceId, SessionId, Span, Text, Time, TxId, choice,
    digest, merkle, record,
};
use session_crypto::{PublicIdentity, Signature, Signer, Verifier};

use super::amount::Amount;
use crate::attestation::QuorumCertificate;
use crate::beacon::{BeaconKey, Dealing, Reveal, Share};
use crate::commitment::Commitment;
use crate::evidence::Evidence;
use crate::membership::ADDRESS_BYTES_MAX;
use crate::owner::OwnerOperation;
use crate::roster::{BEACON_MEMBERS_MAX, TARGETS_MAX};
use crate::verified::Verified;

/// The longest signed transaction; the largest honest one carries 15 signatures of a committee.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024;
/// The version of every transaction.
pub const TRANSACTION_VERSION: u8 = 1;
/// The longest reason that a workload session failed.
pub const REASON_BYTES_MAX: usize = 256;
/// The longest name of a channel.
pub const CHANNEL_NAME_BYTES_MAX: usize = 64;

record! {
    /// What is signed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Transaction {
        /// [`TRANSACTION_VERSION`].
        pub version: u8,
        /// The chain that it is for.
        pub chain: ChainId,
        /// Who orders it, and pays for it.
        pub sender: AccountId,
        /// How many transactions the sender made before.
        pub nonce: u64,
        /// The most that the sender pays for it.
        pub fee_max: Amount,
        /// The last block time at which it may be executed.
        pub expires: Time,
        /// What is ordered.
        pub action: Action,
    }

    /// A transaction, its signature, and the sender's keys if the chain does not know them yet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedTransaction {
        /// What is signed.
        pub transaction: Transaction,
        /// The keys that make the sender's id; needed in an account's first transaction.
        pub keys: Option<PublicIdentity>,
        /// Of the sender, over the transaction.
        pub signature: Signature,
    }

    /// What a node signs to show that the keys it registers are its own. It states that the node
    /// also holds the ML-KEM key: nobody can prove that to a chain in one message (RFC 9883 takes
    /// the same way); to its peers it proves it in every handshake.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Possession {
        /// The chain.
        pub chain: ChainId,
        /// The account that will own the node.
        pub operator: AccountId,
        /// The hash of both keys.
        pub node: NodeId,
        /// Where the node is reached; empty when keys are rotated.
        pub endpoint: Text<ADDRESS_BYTES_MAX>,
    }
}

choice! {
    /// What can be ordered. Those from 32 on are duties of nodes: the sender is the account of the
    /// node's own keys, and they cost nothing while they are due.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Action {
        /// Gives LUX to another account.
        1 => Transfer {
            /// To whom.
            to: AccountId,
            /// How much.
            amount: Amount,
        },
        /// Makes a service node of the sender's, with a stake out of its balance.
        2 => RegisterServiceNode {
            /// The node's own keys.
            keys: PublicIdentity,
            /// Where it is reached: `host:port`.
            endpoint: Text<ADDRESS_BYTES_MAX>,
            /// What it stakes.
            stake: Amount,
            /// The node's signature over its [`Possession`].
            possession: Signature,
        },
        /// Gives a node of the sender's new keys, and so a new id.
        3 => RotateNodeKeys {
            /// The node.
            node: NodeId,
            /// The new keys.
            keys: PublicIdentity,
            /// The new keys' signature over their [`Possession`].
            possession: Signature,
        },
        /// Takes a node of the sender's out of service and starts unbonding its stake.
        4 => Decommission {
            /// The node.
            node: NodeId,
        },
        /// Returns what is left of the stake after unbonding.
        5 => Withdraw {
            /// The node.
            node: NodeId,
        },
        /// Anchors a workload session; the chain chooses its committee.
        6 => CreateSession {
            /// The service that it belongs to.
            service: ServiceId,
            /// Hash of the program.
            program: Digest,
            /// Hash of the input.
            input: Digest,
            /// How long it may run after it was created.
            time_max: Span,
        },
        /// Says that the committee began.
        7 => StartSession {
            /// The session.
            session: SessionId,
        },
        /// Ends a session well, by a quorum of its committee.
        8 => FinalizeSession {
            /// The session.
            session: SessionId,
            /// Hash of the output.
            output: Digest,
            /// Root over the oracle commits.
            oracle_root: Digest,
            /// Root over the delivery receipts.
            receipts_root: Digest,
            /// Who of the committee attests it.
            certificate: QuorumCertificate,
        },
        /// Ends a session badly: by a quorum of its committee, or by anybody after its time.
        9 => FailSession {
            /// The session.
            session: SessionId,
            /// Why.
            reason: Text<REASON_BYTES_MAX>,
            /// Who of the committee attests it; none once the time is over.
            certificate: Option<QuorumCertificate>,
        },
        /// Anchors a conversation without naming its participants.
        10 => OpenConversation {
            /// Root of the Merkle tree over the hidden participants.
            participants_root: Digest,
            /// How many participants there are.
            participants: u16,
            /// How long it lasts.
            ttl: Span,
        },
        /// Closes a conversation; the sender shows that it is a participant.
        11 => CloseConversation {
            /// The conversation.
            conversation: ConversationId,
            /// What hid the sender in the tree.
            salt: [u8; 32],
            /// From the hidden sender to the root.
            proof: merkle::Proof,
        },
        /// Makes a channel; the sender is its first member.
        12 => CreateChannel {
            /// Its name, unique on the chain.
            name: Text<CHANNEL_NAME_BYTES_MAX>,
        },
        /// Joins a channel.
        13 => JoinChannel {
            /// The channel.
            channel: ChannelId,
        },
        /// Leaves a channel; the last member takes it away.
        14 => LeaveChannel {
            /// The channel.
            channel: ChannelId,
        },
        /// Anchors the manifest of the sender, so that nobody is shown another one.
        15 => AnchorManifest {
            /// The number of the manifest, higher than that of the one anchored before.
            seq: u64,
            /// Its digest: [`SignedManifest::digest`](crate::manifest::SignedManifest::digest).
            manifest: Digest,
        },
        /// What an examiner found in an epoch, about its targets in their order
        /// ([`Roster::targets`](crate::roster::Roster::targets)). Bit i of byte i / 8, from the
        /// lowest, is about the i-th; a target in neither is one of which it cannot tell.
        32 => UptimeVote {
            /// The epoch.
            epoch: Epoch,
            /// Those that did what they should.
            passed: Bitmap,
            /// Those that did not.
            failed: Bitmap,
        },
        /// What a node keeps.
        33 => StorageCommitment {
            /// It.
            commitment: Commitment,
        },
        /// Accuses a node; anybody may, for the usual fee.
        34 => Accuse {
            /// What it signed.
            evidence: Box<Evidence>,
        },
        /// Shows shares of dealers that did not reveal.
        35 => BeaconShares {
            /// The epoch whose randomness is made.
            epoch: Epoch,
            /// The dealers' places, ascending, and the sender's shares of their dealings.
            shares: List<PostedShare, BEACON_MEMBERS_MAX>,
        },
        /// Registers one-time secrets for the beacon; they count from the second epoch after this.
        36 => RegisterBeaconKey {
            /// Their root.
            key: BeaconKey,
        },
        /// Posts a dealing.
        37 => BeaconDeal {
            /// The epoch whose randomness is made.
            epoch: Epoch,
            /// The dealing.
            dealing: Dealing,
        },
        /// Acknowledges shares: bit i is about the dealing of the i-th dealer.
        38 => BeaconAck {
            /// The epoch whose randomness is made.
            epoch: Epoch,
            /// The dealings of which the sender holds a good share.
            dealings: Bitmap,
        },
        /// Reveals a one-time secret.
        39 => BeaconReveal {
            /// The epoch whose randomness is made.
            epoch: Epoch,
            /// The secret.
            reveal: Reveal,
        },
        /// Says that the node will be away for up to so many epochs from now, or is back (0).
        40 => Drain {
            /// How many; the rest of the current one is the first.
            epochs: u8,
        },
        /// Refutes an accusation of a false receipt with the owner's order; anybody may.
        41 => Refute {
            /// The case.
            case: Digest,
            /// The order.
            operation: Box<OwnerOperation>,
        },
        /// Drops an accusation; only the authority of the genesis may.
        42 => Veto {
            /// The case.
            case: Digest,
        },
    }
}

/// One bit for each target or dealing.
pub type Bitmap = Blob<{ TARGETS_MAX / 8 }>;

record! {
    /// A share of a dealer that did not reveal.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PostedShare {
        /// The dealer's place.
        pub dealer: u16,
        /// The sender's share.
        pub share: Share,
    }
}

/// Returns bit `index` of a bitmap; those beyond its end are not set.
#[must_use]
pub fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Returns whether a bitmap is the one encoding of its bits: as many bytes as `bits` need, and no bit
/// behind the last one.
#[must_use]
pub fn fits(bitmap: &[u8], bits: usize) -> bool {
    bitmap.len() == bits.div_ceil(8) && !(bits..8 * bitmap.len()).any(|index| bit(bitmap, index))
}

/// Returns a bitmap of `bits` bits in which those of `set` are set.
///
/// # Panics
/// When one of `set` is not below `bits`, or `bits` is over [`TARGETS_MAX`].
#[must_use]
pub fn bitmap(bits: usize, set: impl IntoIterator<Item = usize>) -> Bitmap {
    let mut bytes = vec![0_u8; bits.div_ceil(8)];
    for index in set {
        bytes[index / 8] |= 1 << (index % 8);
    }
    Blob::new(bytes).expect("no more bits than targets")
}

/// Returns the id of the conversation that a transaction opens.
#[must_use]
pub fn conversation_id(chain: &ChainId, tx: &TxId) -> ConversationId {
    ConversationId::from(*created(Domain::Conversation, chain, tx).as_bytes())
}

/// Returns the id of the channel that a transaction makes.
#[must_use]
pub fn channel_id(chain: &ChainId, tx: &TxId) -> ChannelId {
    ChannelId::from(*created(Domain::Channel, chain, tx).as_bytes())
}

// No other transaction has its id.
fn created(domain: Domain, chain: &ChainId, tx: &TxId) -> Digest {
    digest(domain, &[chain.as_bytes(), tx.as_bytes()])
}

/// Returns the leaf of a participant in the tree of a conversation: nobody without the salt can
/// tell whose it is.
#[must_use]
pub fn hidden_participant(salt: &[u8; 32], account: &AccountId) -> Digest {
    digest(Domain::ConversationParticipant, &[salt, account.as_bytes()])
}

impl Action {
    /// Returns the name that people and tools use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "Transfer",
            Self::RegisterServiceNode { .. } => "RegisterServiceNode",
            Self::RotateNodeKeys { .. } => "RotateNodeKeys",
            Self::Decommission { .. } => "Decommission",
            Self::Withdraw { .. } => "Withdraw",
            Self::CreateSession { .. } => "CreateSession",
            Self::StartSession { .. } => "StartSession",
            Self::FinalizeSession { .. } => "FinalizeSession",
            Self::FailSession { .. } => "FailSession",
            Self::OpenConversation { .. } => "OpenConversation",
            Self::CloseConversation { .. } => "CloseConversation",
            Self::CreateChannel { .. } => "CreateChannel",
            Self::JoinChannel { .. } => "JoinChannel",
            Self::LeaveChannel { .. } => "LeaveChannel",
            Self::AnchorManifest { .. } => "AnchorManifest",
            Self::UptimeVote { .. } => "UptimeVote",
            Self::StorageCommitment { .. } => "StorageCommitment",
            Self::Accuse { .. } => "Accuse",
            Self::BeaconShares { .. } => "BeaconShares",
            Self::RegisterBeaconKey { .. } => "RegisterBeaconKey",
            Self::BeaconDeal { .. } => "BeaconDeal",
            Self::BeaconAck { .. } => "BeaconAck",
            Self::BeaconReveal { .. } => "BeaconReveal",
            Self::Drain { .. } => "Drain",
            Self::Refute { .. } => "Refute",
            Self::Veto { .. } => "Veto",
        }
    }

    /// Returns whether this is a duty of a node, which costs nothing while it is due.
    #[must_use]
    pub const fn is_duty(&self) -> bool {
        matches!(
            self,
            Self::UptimeVote { .. }
                | Self::StorageCommitment { .. }
                | Self::BeaconShares { .. }
                | Self::RegisterBeaconKey { .. }
                | Self::BeaconDeal { .. }
                | Self::BeaconAck { .. }
                | Self::BeaconReveal { .. }
                | Self::Drain { .. }
        )
    }

    /// Returns the workload session that this begins or ends, which costs the members of its
    /// committee nothing.
    #[must_use]
    pub const fn begins_or_ends(&self) -> Option<&SessionId> {
        match self {
            Self::StartSession { session }
            | Self::FinalizeSession { session, .. }
            | Self::FailSession { session, .. } => Some(session),
            _ => None,
        }
    }
}

/// Why a transaction is not even worth executing. All of these are the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTransaction {
    /// It is too long to be read.
    #[error("a transaction of {got} bytes is too large, the limit is {TRANSACTION_BYTES_MAX}")]
    TooLarge {
        /// Its bytes.
        got: usize,
    },
    /// It is not a transaction.
    #[error("the transaction is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// It is of a version that nobody defined.
    #[error("transaction version {got} is not known, this is {TRANSACTION_VERSION}")]
    Version {
        /// Its version.
        got: u8,
    },
    /// It is for another chain.
    #[error("the transaction is for chain {got}, this is {chain}")]
    Chain {
        /// Its chain.
        got: ChainId,
        /// This chain.
        chain: ChainId,
    },
    /// The keys that came with it are not the sender's.
    #[error("the keys make account {derived}, the sender is {sender}")]
    Keys {
        /// The account of the keys.
        derived: AccountId,
        /// The sender.
        sender: AccountId,
    },
    /// Nobody knows the sender's keys.
    #[error("the keys of account {sender} are not known: its first transaction must carry them")]
    KeysMissing {
        /// The sender.
        sender: AccountId,
    },
    /// The sender did not sign it.
    #[error("the signature of account {sender} does not verify")]
    Signature {
        /// The sender.
        sender: AccountId,
    },
    /// The node did not sign that it holds its keys.
    #[error("node {node} has not signed that it holds its keys")]
    Possession {
        /// The node.
        node: NodeId,
    },
}

impl Transaction {
    /// Returns the id: what the signature covers.
    #[must_use]
    pub fn id(&self) -> TxId {
        TxId::from(*digest(Domain::Transaction, &[&self.to_bytes()]).as_bytes())
    }

    /// Signs it. `with_keys` adds the sender's keys, for its first transaction.
    pub fn sign(
        self,
        signer: &dyn Signer,
        with_keys: bool,
        rng: &mut dyn Entropy,
    ) -> SignedTransaction {
        let signature = signer.sign(Domain::Transaction, &self.to_bytes(), rng);
        let keys = with_keys.then(|| signer.public().clone());
        SignedTransaction { transaction: self, keys, signature }
    }

    /// Returns what a node must have signed, if this registers or rotates keys.
    #[must_use]
    pub fn possession(&self) -> Option<(Possession, &PublicIdentity, &Signature)> {
        let (keys, endpoint, signature) = match &self.action {
            Action::RegisterServiceNode { keys, endpoint, possession, .. } => {
                (keys, endpoint.clone(), possession)
            }
            Action::RotateNodeKeys { keys, possession, .. } => (keys, Text::default(), possession),
            _ => return None,
        };
        let (chain, operator, node) = (self.chain, self.sender, keys.node_id());
        Some((Possession { chain, operator, node, endpoint }, keys, signature))
    }
}

impl Possession {
    /// Signs it with the keys that it is about.
    pub fn sign(&self, node: &dyn Signer, rng: &mut dyn Entropy) -> Signature {
        node.sign(Domain::NodePossession, &self.to_bytes(), rng)
    }
}

/// A transaction as it was received: parsed, not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedTransaction {
    /// The transaction.
    pub signed: SignedTransaction,
    /// Its id.
    pub id: TxId,
    /// Bytes of its encoding.
    pub size: usize,
}

impl ReceivedTransaction {
    /// Parses the bytes of a signed transaction.
    ///
    /// # Errors
    /// When they are too many, no transaction, or of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadTransaction> {
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(BadTransaction::TooLarge { got: bytes.len() });
        }
        if let Some(&got) = bytes.first().filter(|&&version| version != TRANSACTION_VERSION) {
            return Err(BadTransaction::Version { got });
        }
        let signed = SignedTransaction::decode_exact(bytes)?;
        let id = signed.transaction.id();
        Ok(Self { signed, id, size: bytes.len() })
    }

    /// Returns the sender.
    #[must_use]
    pub fn sender(&self) -> AccountId {
        self.signed.transaction.sender
    }

    /// Returns the bytes that it pays for: all but the keys. The signature does not cover those, so
    /// somebody else could add them on the way.
    #[must_use]
    pub fn charged(&self) -> usize {
        let keys = if self.signed.keys.is_some() { PublicIdentity::SIZE } else { 0 };
        self.size - keys
    }

    /// Checks everything that needs no state but the sender's keys: `known`, if the chain has
    /// them.
    ///
    /// # Errors
    /// When it is for another chain, the keys are missing or others, or a signature does not
    /// verify.
    pub fn check(
        self,
        chain: &ChainId,
        known: Option<&PublicIdentity>,
        verifier: &dyn Verifier,
    ) -> Result<Verified<Self>, BadTransaction> {
        let SignedTransaction { transaction, keys, signature } = &self.signed;
        let sender = transaction.sender;
        if transaction.chain != *chain {
            return Err(BadTransaction::Chain { got: transaction.chain, chain: *chain });
        }
        let keys = keys.as_ref().or(known).ok_or(BadTransaction::KeysMissing { sender })?;
        if keys.account_id() != sender {
            return Err(BadTransaction::Keys { derived: keys.account_id(), sender });
        }
        verifier
            .verify(keys.dsa(), Domain::Transaction, &transaction.to_bytes(), signature)
            .map_err(|_| BadTransaction::Signature { sender })?;
        if let Some((possession, keys, signature)) = transaction.possession() {
            verifier
                .verify(keys.dsa(), Domain::NodePossession, &possession.to_bytes(), signature)
                .map_err(|_| BadTransaction::Possession { node: keys.node_id() })?;
        }
        Ok(Verified::new(self))
    }
}
