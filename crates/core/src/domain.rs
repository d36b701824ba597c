//! The one registry of domain labels, and the digest that uses them.
//!
//! Nothing is signed, hashed or derived without a label from [`Domain`]. Parts are
//! length-prefixed, so no two lists of parts share an encoding (the reference's unframed
//! concatenation does).

use sha2::{Digest as _, Sha256};

use crate::id::Digest;

macro_rules! domains {
    ($($(#[$meta:meta])* $name:ident = $label:literal,)*) => {
        /// What a digest, key or signature is for. Labels are unique and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Domain { $($(#[$meta])* $name,)* }

        impl Domain {
            /// Every domain, for the test that labels are unique.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the label that goes into the hash.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

domains! {
    /// The address of an inbox, from its access rule.
    InboxAddress = "lux-session/inbox-address/v1",
    /// The id of a stored item.
    MessageId = "lux-session/message-id/v1",
    /// What the owner of an inbox signs.
    OwnerOperation = "lux-session/owner-operation/v1",
    /// The seed session id under which storage receipts of one swarm are issued.
    StorageSwarm = "lux-session/storage-swarm/v1",
    /// A leaf of a storage receipt batch.
    StorageReceipt = "lux-session/storage-receipt/v1",
    /// The signed root of a storage receipt batch.
    StorageReceiptRoot = "lux-session/storage-receipt-root/v1",
    /// One element of a swarm's reconciled set.
    SyncElement = "lux-session/sync-element/v1",
    /// Transcript of the overlay handshake.
    Handshake = "lux-session/handshake/v1",
    /// Proof of the ML-KEM key in the overlay handshake.
    HandshakeProof = "lux-session/handshake-proof/v1",
    /// Signature inside a sealed envelope.
    EnvelopeSignature = "lux-session/envelope-signature/v1",
    /// Content key of a sealed envelope.
    EnvelopeKey = "lux-session/envelope-key/v1",
    /// Key of one attachment chunk.
    AttachmentChunk = "lux-session/attachment-chunk/v1",
    /// Hash of a whole attachment.
    Attachment = "lux-session/attachment/v1",
    /// Key of an encrypted identity file.
    IdentityFile = "lux-session/identity-file/v1",
    /// A key derived from an identity seed.
    IdentitySeed = "lux-session/identity-seed/v1",
    /// Identifier of a network, from its name.
    NetworkId = "lux-session/network-id/v1",
    /// The trace of a simulation.
    Simulation = "lux-session/simulation/v1",
    /// The root of a Merkle tree of ours, over its leaf count and tree hash.
    MerkleRoot = "lux-session/merkle-root/v1",
    /// The id of a coordination chain that runs alone, from its genesis.
    ChainId = "lux-session/chain-id/v1",
    /// What the sender of a transaction signs, and the transaction's id.
    Transaction = "lux-session/transaction/v1",
    /// The id of a block, from its bytes.
    Block = "lux-session/block/v1",
    /// What a sequencer signs of a block.
    BlockSeal = "lux-session/block-seal/v1",
    /// A leaf of the chain's state tree.
    StateLeaf = "lux-session/state-leaf/v1",
    /// An inner node of the chain's state tree.
    StateNode = "lux-session/state-node/v1",
    /// The root of the chain's state tree, over its entry count and top hash.
    StateRoot = "lux-session/state-root/v1",
    /// A node's statement that it holds both of its secret keys.
    NodePossession = "lux-session/node-possession/v1",
    /// An endpoint in the registry.
    Endpoint = "lux-session/endpoint/v1",
    /// The outcome of a workload session that failed.
    SessionFailure = "lux-session/session-failure/v1",
    /// Randomness of an epoch from the one before.
    EpochRandomness = "lux-session/epoch-randomness/v1",
    /// The swarm of a node that was registered.
    SwarmChoice = "lux-session/swarm-choice/v1",
    /// The id of a conversation.
    Conversation = "lux-session/conversation/v1",
    /// A participant of a conversation, hidden behind a salt.
    ConversationParticipant = "lux-session/conversation-participant/v1",
    /// The id of a message of a conversation.
    ConversationMessageId = "lux-session/conversation-message-id/v1",
    /// What the sender of a conversation's message signs.
    ConversationMessage = "lux-session/conversation-message/v1",
    /// What a participant signs to accept, read or close a conversation.
    ConversationAction = "lux-session/conversation-action/v1",
    /// The id of a channel.
    Channel = "lux-session/channel/v1",
    /// The name of a channel in the chain's state.
    ChannelName = "lux-session/channel-name/v1",
    /// The signing key of a node in the registry.
    NodeSigningKey = "lux-session/node-signing-key/v1",
    /// What a member signs to make, join or leave a channel.
    ChannelAction = "lux-session/channel-action/v1",
    /// A secret that a node derives from its keys.
    NodeSecret = "lux-session/node-secret/v1",
    /// The one-time secret of an epoch.
    BeaconOneTime = "lux-session/beacon-one-time/v1",
    /// What a one-time secret is registered as.
    BeaconLeaf = "lux-session/beacon-leaf/v1",
    /// The coefficients of a dealing's polynomial.
    BeaconCoefficient = "lux-session/beacon-coefficient/v1",
    /// What a dealer posts of the secret that it dealt.
    BeaconCommitment = "lux-session/beacon-commitment/v1",
    /// The key that seals one share of a dealing.
    BeaconShare = "lux-session/beacon-share/v1",
    /// The randomness of an epoch, from the secrets of its dealers.
    BeaconOutput = "lux-session/beacon-output/v1",
    /// The randomness of an epoch whose dealers all failed.
    BeaconDegraded = "lux-session/beacon-degraded/v1",
    /// Who deals the next beacon.
    BeaconCommittee = "lux-session/beacon-committee/v1",
    /// What a member of a committee attests.
    Attestation = "lux-session/attestation/v1",
    /// A node's place in the ring of examiners.
    ExaminerRing = "lux-session/examiner-ring/v1",
    /// When an examiner knocks.
    ProbeTime = "lux-session/probe-time/v1",
    /// Which leaves of a storage commitment must be shown.
    AuditLeaf = "lux-session/audit-leaf/v1",
    /// What a node signs when it opens leaves of its storage commitment.
    Opening = "lux-session/opening/v1",
    /// The id of an accusation.
    Case = "lux-session/case/v1",
    /// Which members move when swarms split and merge.
    SwarmMove = "lux-session/swarm-move/v1",
    /// The name of a module, a workload or an input of a session.
    WorkloadBlob = "lux-session/workload-blob/v1",
    /// How programs are run.
    EngineProfile = "lux-session/engine-profile/v1",
    /// What a program asks the world.
    OracleCall = "lux-session/oracle-call/v1",
    /// What a member observed of the world.
    OracleRecord = "LUX:OracleRecord:v1",
    /// What a committee made of its members' records.
    OracleResult = "lux-session/oracle-result/v1",
    /// Who leads an attempt at an oracle request.
    OracleLeader = "lux-session/oracle-leader/v1",
    /// A vote inside an attempt at an oracle request.
    RoundVote = "lux-session/round-vote/v1",
    /// A member of a committee moves on to another attempt.
    RoundAdvance = "lux-session/round-advance/v1",
    /// The idempotency key of a write.
    OracleWrite = "LUX:Write:v1",
    /// What a compute step was given.
    ComputeInput = "lux-session/compute-input/v1",
    /// What a compute step did.
    ComputeOutput = "lux-session/compute-output/v1",
    /// What a program keeps between its steps.
    SessionState = "lux-session/session-state/v1",
    /// Randomness of a program.
    SessionRandom = "lux-session/session-random/v1",
    /// What a program emitted.
    SessionEmitted = "lux-session/session-emitted/v1",
    /// What a program logged.
    SessionLog = "lux-session/session-log/v1",
    /// What a compute step ended with.
    ComputeEnd = "lux-session/compute-end/v1",
    /// An entry of the journal of a workload session.
    SessionJournal = "lux-session/session-journal/v1",
    /// A delivery receipt of a workload session.
    WorkloadReceipt = "lux-session/workload-receipt/v1",
    /// The id of a service that people call by a name.
    ServiceName = "lux-session/service-name/v1",
    /// What an access rule knows of a capability: its digest.
    Capability = "lux-session/capability/v1",
    /// The capabilities of a mailbox, from the seed of a route.
    Mailbox = "lux-session/mailbox/v1",
    /// What an account signs of its manifest.
    AccountManifest = "lux-session/account-manifest/v1",
    /// The digest of a signed manifest, for the next one and for the chain.
    ManifestDigest = "lux-session/manifest-digest/v1",
    /// What a device says of a classical account: both keys sign it.
    LegacyLink = "lux-session/legacy-link/v1",
    /// The id of a device, from its signing key.
    DeviceId = "lux-session/device-id/v1",
    /// The content key of an introduction.
    IntroKey = "lux-session/intro-key/v1",
    /// The number that two people compare.
    SafetyNumber = "lux-session/safety-number/v1",
    /// The first key of a sender's chain, from the secret of an epoch.
    ChainRoot = "lux-session/chain-root/v1",
    /// The next key of a chain.
    ChainStep = "lux-session/chain-step/v1",
    /// The key of one message of a chain.
    ChainMessage = "lux-session/chain-message/v1",
    /// The tag by which a message of a chain is found.
    ChainTag = "lux-session/chain-tag/v1",
    /// The key under which handshakes of an epoch are hidden.
    HeaderKey = "lux-session/header-key/v1",
    /// The slot of a commit in the mailbox of an epoch.
    CommitSlot = "lux-session/commit-slot/v1",
    /// The id of a group's commit.
    Commit = "lux-session/commit/v1",
    /// The key of a value in the store of a device.
    VaultValue = "lux-session/vault-value/v1",
    /// The key of a backup.
    Backup = "lux-session/backup/v1",
    /// The request of a device that wants to belong to an account.
    DeviceLink = "lux-session/device-link/v1",
    /// A secret that a device derives from its seed.
    DeviceSecret = "lux-session/device-secret/v1",
    /// Randomness of an encapsulation, from a seed and what it encrypts.
    HpkeSeal = "lux-session/hpke-seal/v1",
    /// What a device signs to ask for being added to a group again.
    Rejoin = "lux-session/rejoin/v1",
    /// The tag by which a box of an epoch's header key is found.
    HeaderTag = "lux-session/header-tag/v1",
    /// The name of something that is cut into pieces.
    Pieces = "lux-session/pieces/v1",
    /// What a device signs of a key package that it publishes.
    PublishedPackage = "lux-session/published-package/v1",
    /// The devices of an account, as they were when safety numbers were compared.
    DeviceSet = "lux-session/device-set/v1",
    /// What a node signs of a key for onion packets.
    HopKey = "lux-session/hop-key/v1",
    /// What one layer of an onion packet is under.
    OnionLayer = "lux-session/onion-layer/v1",
    /// A key of one layer of an onion packet, by its purpose.
    OnionKey = "lux-session/onion-key/v1",
    /// What a stranger's puzzle is about.
    Puzzle = "lux-session/puzzle/v1",
    /// What a device holds of a group, to tell whether it changed.
    MlsState = "lux-session/mls-state/v1",
}

/// Returns the SHA-256 of `data`, unlabelled: only for formats the seeds fix.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Returns the SHA-256 of parts one after another. Unambiguous only if their widths are fixed.
pub(crate) fn sha256_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Returns SHA-256 over the label and the parts, each behind its length as a `u32`.
#[must_use]
pub fn digest(domain: Domain, parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for part in core::iter::once(domain.label().as_bytes()).chain(parts.iter().copied()) {
        let length = u32::try_from(part.len()).expect("a hashed part is far below 4 GiB");
        hasher.update(length.to_be_bytes());
        hasher.update(part);
    }
    Digest::from(<[u8; 32]>::from(hasher.finalize()))
}

#[cfg(test)]
mod tests;
