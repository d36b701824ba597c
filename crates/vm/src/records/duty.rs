use session_core::{AccountId, Epoch, List, NodeId, Time, TxId, choice, record};
use session_protocol::chain::Amount;
use session_protocol::chain::transaction::Bitmap;
use session_protocol::commitment::Leaf;
use session_protocol::roster::TARGETS_MAX;

record! {
    /// An examiner's vote, until the epoch ends.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Ballot {
        /// The epoch.
        pub epoch: Epoch,
        /// Targets that did what they should.
        pub passed: Bitmap,
        /// Targets that did not.
        pub failed: Bitmap,
        /// The signed transaction.
        pub tx: TxId,
    }

    /// The key of a node's mark in an epoch.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MarkAt {
        /// The node.
        pub node: NodeId,
        /// The epoch.
        pub epoch: Epoch,
    }

    /// How a node did in an epoch.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Mark {
        /// What it failed at: see [`Failing`]; none set if it did well.
        pub failings: u8,
        /// Examiners that could vote on whether it is there; those that said so; those that denied.
        pub reach: Count,
        /// The same for what it keeps.
        pub keep: Count,
        /// Misses in a row, this one included.
        pub misses: u32,
        /// What it paid for this epoch.
        pub penalty: Amount,
        /// The votes against it, where it failed: each a signed transaction of the chain.
        pub votes: List<VoteAgainst, TARGETS_MAX>,
    }

    /// Votes on one duty of one node.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Count {
        /// Who could vote.
        pub assigned: u8,
        /// Who said that it did its duty.
        pub passed: u8,
        /// Who said that it did not.
        pub failed: u8,
    }

    /// A vote against a node.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct VoteAgainst {
        /// Who.
        pub examiner: NodeId,
        /// The signed transaction.
        pub tx: TxId,
    }

    /// An accusation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Case {
        /// Who is accused, by the id that it had when it signed.
        pub accused: NodeId,
        /// Of what: the name of the kind of evidence.
        pub kind: CaseKind,
        /// The epoch of what it signed; where that names none, the epoch of the accusation.
        pub epoch: Epoch,
        /// Who accuses.
        pub accuser: AccountId,
        /// The transaction with the evidence.
        pub tx: TxId,
        /// When it was opened.
        pub opened: Time,
        /// Until when it can be dropped; the first epoch after it makes the accused pay.
        pub until: Time,
        /// The item that is said to be missing: an owner's order about it refutes the case.
        pub missing: Option<Leaf>,
        /// How it stands.
        pub status: CaseStatus,
    }
}

choice! {
    /// What somebody is accused of.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CaseKind {
        /// Two votes that contradict each other.
        1 => Equivocation,
        /// An opening that does not fit its commitment.
        2 => BadOpening,
        /// A receipt for what the commitment does not hold.
        3 => FalseReceipt,
        /// Two observations for one request of a workload session.
        4 => Records,
        /// Two votes inside one attempt at such a request.
        5 => RoundVotes,
    }

    /// How an accusation stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum CaseStatus {
        /// It waits.
        1 => Open,
        /// The accused paid.
        2 => Paid {
            /// When.
            at: Time,
            /// How much.
            amount: Amount,
        },
        /// The authority dropped it.
        3 => Vetoed {
            /// When.
            at: Time,
        },
        /// The owner's order explains it.
        4 => Refuted {
            /// When.
            at: Time,
        },
    }
}

/// What a node can fail at in an epoch: bits of [`Mark::failings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failing {
    /// Most of its examiners could not reach it.
    Unreachable = 1,
    /// Most of its mates say that it does not keep what it committed to.
    Storage = 2,
    /// It did not vote.
    NoVote = 4,
    /// It committed to nothing.
    NoCommitment = 8,
    /// For several epochs it committed to something else than two thirds of its swarm. No miss: one
    /// item whose copies say different times is enough for it. Its mates look into it.
    Deviant = 16,
    /// It dealt and did not reveal, or did not deal though it was to.
    BeaconSilent = 32,
    /// What it revealed does not make what it dealt.
    BeaconBad = 64,
}

impl Failing {
    /// Every one, in the order of bits.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Storage,
        Self::NoVote,
        Self::NoCommitment,
        Self::Deviant,
        Self::BeaconSilent,
        Self::BeaconBad,
    ];

    /// Returns what people and tools call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Storage => "storage",
            Self::NoVote => "no vote",
            Self::NoCommitment => "no commitment",
            Self::Deviant => "deviant",
            Self::BeaconSilent => "beacon silent",
            Self::BeaconBad => "beacon bad",
        }
    }

    /// Returns those whose bits are set.
    #[must_use]
    pub fn of(bits: u8) -> Vec<Self> {
        Self::ALL.into_iter().filter(|failing| bits & *failing as u8 != 0).collect()
    }
}

impl Mark {
    /// Returns whether the node failed at this.
    #[must_use]
    pub const fn failed_at(&self, failing: Failing) -> bool {
        self.failings & failing as u8 != 0
    }
}

impl CaseKind {
    /// Returns what people and tools call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equivocation => "equivocation",
            Self::BadOpening => "bad opening",
            Self::FalseReceipt => "false receipt",
            Self::Records => "conflicting records",
            Self::RoundVotes => "conflicting round votes",
        }
    }
}

impl CaseStatus {
    /// Returns what people and tools call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid { .. } => "paid",
            Self::Vetoed { .. } => "vetoed",
            Self::Refuted { .. } => "refuted",
        }
    }
}
