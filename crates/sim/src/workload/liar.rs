//! Members that lie: they run the true machine, and say something else than it wants to say.

use session_core::{Blob, ChainId, Digest, Domain, Entropy, SeededEntropy, Span, digest};
use session_crypto::fake::FakeIdentity;
use session_crypto::{Signature, Signer};
use session_executor::Outcome;
use session_protocol::Frame;
use session_protocol::workload::message::{RecordOf, Talk, VoteOf};
use session_protocol::workload::oracle::{OracleResult, RecordHead};
use session_protocol::workload::{Message, Observation, SignedRecord};

/// How a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// It hears everything and says nothing.
    Silent,
    /// Everything it says is seconds late.
    Slow,
    /// It signs what it never saw.
    FalseRecords,
    /// It proposes what does not follow, and drops records that do not please it.
    FalseProposals,
    /// It sends bytes that are no messages, signatures that are none, and speaks for others.
    Garbage,
    /// It signs two records for one request and two votes for one ballot, and tells some one thing
    /// and some the other.
    Equivocate,
}

impl Lie {
    pub(crate) const ALL: [Self; 6] = [
        Self::Equivocate,
        Self::Silent,
        Self::FalseProposals,
        Self::FalseRecords,
        Self::Garbage,
        Self::Slow,
    ];
}

/// A member that lies.
pub(crate) struct Liar {
    pub(crate) lie: Lie,
    chain: ChainId,
    rng: SeededEntropy,
    /// Times that it said something else.
    pub(crate) told: u64,
}

/// What is to be sent, and how late.
pub(crate) type Spoken = Vec<(Span, Vec<u8>)>;

impl Liar {
    pub(crate) const fn new(lie: Lie, chain: ChainId, rng: SeededEntropy) -> Self {
        Self { lie, chain, rng, told: 0 }
    }

    /// Changes what it is said to have seen.
    pub(crate) fn sees(&mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Observed { received, .. } if self.lie == Lie::FalseRecords => {
                self.told += 1;
                let bytes = Blob::new("666666").expect("it is short");
                Outcome::Observed { observation: Observation::Value { bytes }, received }
            }
            other => other,
        }
    }

    /// Makes of a message what one other node gets.
    pub(crate) fn speak(&mut self, keys: &FakeIdentity, message: &Message) -> Spoken {
        let truth = encode(message);
        let now = |bytes| vec![(Span::ZERO, bytes)];
        match self.lie {
            Lie::Silent => {
                self.told += 1;
                Vec::new()
            }
            Lie::Slow => vec![(Span::from_millis(500 + self.rng.below(6_000)), truth)],
            Lie::FalseRecords => now(truth),
            Lie::FalseProposals => match message {
                Message::Commit(proposal) => {
                    self.told += 1;
                    let mut proposal = proposal.clone();
                    match self.rng.below(3) {
                        0 => {
                            let bytes = Blob::new("666666").expect("it is short");
                            proposal.commit.result = OracleResult::Value { bytes };
                        }
                        1 => proposal.commit.result = OracleResult::NoConsensus,
                        _ => proposal.commit.time = proposal.commit.time + Span::from_secs(3600),
                    }
                    now(encode(&Message::Commit(proposal)))
                }
                _ => now(truth),
            },
            Lie::Garbage => self.garbage(message, truth),
            Lie::Equivocate => {
                let Some(other) = self.contradict(keys, message) else { return now(truth) };
                self.told += 1;
                let other = encode(&other);
                match self.rng.below(4) {
                    0 => now(truth),
                    1 => now(other),
                    2 => vec![(Span::ZERO, truth), (Span::ZERO, other)],
                    _ => vec![(Span::ZERO, other), (Span::ZERO, truth)],
                }
            }
        }
    }

    fn garbage(&mut self, message: &Message, truth: Vec<u8>) -> Spoken {
        self.told += 1;
        let bytes = match self.rng.below(5) {
            0 => {
                let mut bytes = vec![0; self.rng.below(200) as usize];
                self.rng.fill(&mut bytes);
                bytes
            }
            1 => truth[..self.rng.below(truth.len() as u64) as usize].to_vec(),
            2 => {
                let mut bytes = truth;
                let at = self.rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.rng.below(8);
                bytes
            }
            3 => match forged(message) {
                Some(forged) => encode(&forged),
                None => truth,
            },
            _ => truth,
        };
        vec![(Span::ZERO, bytes)]
    }

    /// Signs something else in place of what was signed; all who lie sign the same instead.
    fn contradict(&mut self, keys: &FakeIdentity, message: &Message) -> Option<Message> {
        let me = keys.public().node_id();
        match message {
            Message::Record(of) if of.record.submitter == me => {
                let RecordOf { committee, request, record, .. } = &**of;
                let bytes = Blob::new("13").expect("it is short");
                let observation = Observation::Value { bytes };
                let head = RecordHead {
                    chain: self.chain,
                    committee: *committee,
                    request: *request,
                    submitter: me,
                    data_hash: observation.data_hash(),
                    pin: record.pin,
                    time: record.time,
                };
                let record = SignedRecord::sign(head, observation, keys, &mut self.rng);
                Some(Message::Record(Box::new(RecordOf { record, ..(**of).clone() })))
            }
            Message::Attestation(of) if of.vote.node == me => {
                let mut statement = of.vote.statement;
                statement.root = other(&statement.root);
                let vote = statement.sign(keys, &mut self.rng);
                Some(Message::Attestation(Box::new(VoteOf { vote, ..(**of).clone() })))
            }
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { session, step, retry, vote } if vote.node == me => {
                    let mut ballot = vote.ballot;
                    ballot.root = other(&ballot.root);
                    let (session, step, retry) = (*session, *step, *retry);
                    let vote = ballot.sign(keys, &mut self.rng);
                    let talk = Talk::RoundVote { session, step, retry, vote };
                    Some(Message::Talk(Box::new(talk)))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

fn other(root: &Digest) -> Digest {
    digest(Domain::Simulation, &[root.as_bytes()])
}

/// The same message with a signature that is none.
fn forged(message: &Message) -> Option<Message> {
    let spoil = |signature: &mut Signature| {
        let mut bytes = *signature.as_bytes();
        bytes[0] ^= 1;
        *signature = Signature::from(bytes);
    };
    let mut message = message.clone();
    match &mut message {
        Message::Record(of) => spoil(&mut of.record.signature),
        Message::Attestation(of) => spoil(&mut of.vote.signature),
        Message::Talk(talk) => match &mut **talk {
            Talk::RoundVote { vote, .. } => spoil(&mut vote.signature),
            Talk::Advance { advance, .. } => spoil(&mut advance.signature),
            _ => return None,
        },
        _ => return None,
    }
    Some(message)
}

pub(crate) fn encode(message: &Message) -> Vec<u8> {
    Frame::encode(message.kind(), message)
}
