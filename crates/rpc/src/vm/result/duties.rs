//! What the methods about epochs, swarms, duties and accusations give.

use serde_json::{Value, json};
use session_core::{
    AccountId, Digest, Epoch, InboxAddress, MessageId, NodeId, SwarmId, Time, TxId,
};

use super::NodeStatus;
use crate::vm::shape::{
    Amount, Form, Maybe, Plain, Rfc3339, Shape, Unix, UnixMillis, explained, objects, words,
};

words! {
    /// How the randomness of an epoch came about.
    BeaconMode {
        /// From dealings that a quorum held shares of.
        Shared = "shared",
        /// From those who revealed: too few had acknowledged.
        Revealed = "revealed",
        /// From the beacon before: nobody contributed.
        Degraded = "degraded",
        /// From the genesis.
        Genesis = "genesis",
    }

    /// A quarter of an epoch.
    EpochPhase {
        /// Dealings and storage commitments.
        Deal = "deal",
        /// Acknowledgements, and storage commitments again.
        Ack = "ack",
        /// Reveals.
        Reveal = "reveal",
        /// Shares of silent dealers, and votes.
        Recover = "recover",
    }

    /// How a dealer revealed.
    Revealing {
        /// What it revealed makes what it dealt.
        Good = "good",
        /// It does not.
        Bad = "bad",
    }

    /// How an accusation stands.
    CaseStatus {
        /// It can be refuted or dropped.
        Open = "open",
        /// The accused paid.
        Paid = "paid",
        /// The authority dropped it.
        Vetoed = "vetoed",
        /// The owner's order explains it.
        Refuted = "refuted",
    }
}

objects! {
    /// The reply of GetEpoch. What only the current epoch has is left out of one of the past.
    EpochReply {
        /// Which epoch it is.
        epoch: Epoch = "epoch" as Plain;
        /// When it began.
        start: Time = "start" as Rfc3339, "startAt" as Unix, "startMs" as UnixMillis;
        /// When the next one begins, in the first block from then on.
        end: Time = "end" as Rfc3339, "endAt" as Unix, "endMs" as UnixMillis;
        /// When its quarters begin: deal, ack, reveal, recover.
        phases: Vec<u64> = "phasesMs" as Plain;
        /// What chooses its committees.
        randomness: Digest = "randomness" as Plain;
        /// Id of its beacon.
        beacon: Digest = "beacon" as Plain;
        /// Id of the beacon before.
        previous_beacon: Digest = "previousBeacon" as Plain;
        /// How its randomness came about.
        mode: BeaconMode = "mode" as Plain;
        /// Root of the committee that attests its beacon.
        attesters_root: Digest = "attestersRoot" as Plain;
        /// The last epoch whose turn changed which swarms there are.
        swarms_since: Epoch = "swarmsSince" as Plain;
        /// The quarter that it is in, by the clock.
        phase: Option<EpochPhase> = "phase" as Maybe<Plain>;
        /// Who attests its beacon, in the committee's order.
        attesters: Option<Vec<NodeId>> = "attesters" as Maybe<Plain>;
        /// Who deals the beacon of the next epoch, and how far each is.
        dealers: Option<Vec<Dealer>> = "dealers" as Maybe<Plain>;
        /// Acknowledgements that make a dealing count.
        acknowledgements_needed: Option<u64> = "acknowledgementsNeeded" as Maybe<Plain>;
        /// Nodes that have voted on others in this epoch.
        ballots: Option<u64> = "ballots" as Maybe<Plain>;
        /// Nodes that serve.
        nodes: Option<u64> = "nodes" as Maybe<Plain>;
        /// Swarms.
        swarms: Option<u64> = "swarms" as Maybe<Plain>;
        /// What all nodes stake.
        stake: Option<u64> = "stake" as Maybe<Amount>;
        /// All LUX there is: balances, stakes and fees taken.
        supply: Option<u64> = "supply" as Maybe<Amount>;
        /// Fees and penalties taken.
        treasury: Option<u64> = "treasury" as Maybe<Amount>;
    }

    /// A dealer of the beacon of the next epoch.
    Dealer {
        /// The node.
        node: NodeId = "nodeId" as Plain;
        /// Whether it has a one-time secret for that epoch.
        has_key: bool = "hasKey" as Plain;
        /// Whether its dealing is on the chain.
        dealt: bool = "dealt" as Plain;
        /// Members that hold a good share of its dealing.
        acknowledged_by: u64 = "acknowledgedBy" as Plain;
        /// Whether it has acknowledged the shares of others.
        acknowledged: bool = "acknowledged" as Plain;
        /// How it revealed, if it did.
        revealed: Option<Revealing> = "revealed" as Maybe<Plain>;
        /// Shares of its dealing that others have shown.
        shares_shown: u64 = "sharesShown" as Plain;
    }

    /// The reply of GetMarks.
    MarksReply {
        /// The node, by its current id.
        node: NodeId = "nodeId" as Plain;
        /// The last epoch first.
        marks: Vec<Mark> = "marks" as Plain;
    }

    /// How a node did in an epoch.
    Mark {
        /// The epoch.
        epoch: Epoch = "epoch" as Plain;
        /// What it failed at; empty if it did well.
        failings: Vec<String> = "failings" as Plain;
        /// Examiners on whether it is there.
        reach: VoteCount = "reach" as Plain;
        /// Members of its swarm on whether it keeps what it committed to.
        keep: VoteCount = "keep" as Plain;
        /// Misses in a row, this one included.
        misses: u32 = "misses" as Plain;
        /// What it paid for this epoch.
        penalty: u64 = "penalty" as Amount;
        /// The votes against it, where it failed.
        votes: Vec<VoteAgainst> = "votes" as Plain;
    }

    /// Votes on one duty of one node.
    VoteCount {
        /// Who could vote.
        assigned: u16 = "assigned" as Plain;
        /// Who said that it did its duty.
        passed: u16 = "passed" as Plain;
        /// Who said that it did not.
        failed: u16 = "failed" as Plain;
    }

    /// A vote against a node.
    VoteAgainst {
        /// Who.
        examiner: NodeId = "examiner" as Plain;
        /// The transaction, which it signed.
        tx: TxId = "txId" as Plain;
    }

    /// The reply of GetCommitments.
    CommitmentPage {
        /// The epoch of the commitments called current.
        epoch: Epoch = "epoch" as Plain;
        /// In the order of the nodes' ids.
        commitments: Vec<NodeCommitments> = "commitments" as Plain;
        /// What to give as `after` for the next page; left out on the last one.
        next: Option<NodeId> = "next" as Maybe<Plain>;
    }

    /// The last two commitments of a node.
    NodeCommitments {
        /// The node.
        node: NodeId = "nodeId" as Plain;
        /// The swarm that it serves.
        swarm: SwarmId = "swarmId" as Plain;
        /// That of this epoch.
        current: Option<Commitment> = "current" as Maybe<Plain>;
        /// That of the epoch before: what is audited now.
        previous: Option<Commitment> = "previous" as Maybe<Plain>;
        /// Whether the current root is that of two thirds of its swarm; left out without such a
        /// root.
        agrees: Option<bool> = "agrees" as Maybe<Plain>;
        /// Epochs in a row that ended with another root than that of two thirds of its swarm.
        deviant: u16 = "deviant" as Plain;
    }

    /// What a node says it keeps.
    Commitment {
        /// In which epoch.
        epoch: Epoch = "epoch" as Plain;
        /// Of which swarm.
        swarm: SwarmId = "swarmId" as Plain;
        /// Items.
        count: u64 = "count" as Plain;
        /// Bytes of them.
        bytes: u64 = "bytes" as Plain;
        /// Root over them.
        root: Digest = "root" as Plain;
    }

    /// The reply of GetSwarms.
    SwarmsReply {
        /// The current epoch.
        epoch: Epoch = "epoch" as Plain;
        /// The last epoch whose turn changed which swarms there are.
        swarms_since: Epoch = "swarmsSince" as Plain;
        /// Members with which a swarm is full.
        swarm_size: u16 = "swarmSize" as Plain;
        /// In the order of their ids, which is their order on the ring.
        swarms: Vec<Swarm> = "swarms" as Plain;
        /// Nodes whose swarm is another one since the last epoch turned, or that have none now.
        moved: Vec<FormerSeat> = "moved" as Plain;
    }

    /// A swarm.
    Swarm {
        /// Its id: its place on the ring.
        id: SwarmId = "swarmId" as Plain;
        /// Of a million inboxes, how many it keeps.
        share: u64 = "sharePerMillion" as Plain;
        /// Its members, in the order of their ids.
        members: Vec<SwarmMember> = "members" as Plain;
    }

    /// A member of a swarm.
    SwarmMember {
        /// The node.
        node: NodeId = "nodeId" as Plain;
        /// The epoch in which it took its place.
        since: Epoch = "since" as Plain;
        /// Where it is in its life.
        status: NodeStatus = "status" as Plain;
        /// Where it is reached.
        endpoint: String = "endpoint" as Plain;
        /// 0 to 10000 basis points.
        uptime_score: u32 = "uptimeScore" as Plain;
    }

    /// A place that a node had until the last epoch turned.
    FormerSeat {
        /// The node.
        node: NodeId = "nodeId" as Plain;
        /// The swarm that it served.
        swarm: SwarmId = "swarmId" as Plain;
    }

    /// The reply of GetCases.
    CasePage {
        /// In the order of their ids.
        cases: Vec<Case> = "cases" as Plain;
        /// What to give as `after` for the next page; left out on the last one.
        next: Option<Digest> = "next" as Maybe<Plain>;
    }

    /// The reply of GetCase.
    CaseReply {
        /// The accusation.
        case: Case = "case" as Plain;
    }

    /// An accusation.
    Case {
        /// Its id: the same for the same deed, whoever reports it.
        id: Digest = "caseId" as Plain;
        /// Who is accused, by the id that it had when it signed.
        accused: NodeId = "accused" as Plain;
        /// Of what.
        kind: String = "kind" as Plain;
        /// The epoch of what it signed.
        epoch: Epoch = "epoch" as Plain;
        /// Who accuses.
        accuser: AccountId = "accuser" as Plain;
        /// The transaction with the evidence.
        tx: TxId = "txId" as Plain;
        /// When it was opened.
        opened: Time = "openedAt" as Unix;
        /// Until when it can be refuted or dropped; the first epoch after it makes the accused pay.
        until: Time = "untilAt" as Unix;
        /// The item that is said to be missing.
        missing: Option<MissingItem> = "missing" as Maybe<Plain>;
        /// How it stands.
        status: CaseStatus = "status" as Plain;
        /// When it was closed.
        closed: Option<Time> = "closedAt" as Maybe<Unix>;
        /// What the accused paid.
        amount: Option<u64> = "amount" as Maybe<Amount>;
    }

    /// An item that is said to be missing.
    MissingItem {
        /// The inbox.
        address: InboxAddress = "address" as Plain;
        /// The item.
        message: MessageId = "messageId" as Plain;
    }
}
