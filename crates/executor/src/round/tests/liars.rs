//! Members that lie. Each runs an honest machine, and what that says is twisted on its way out.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Blob, Digest, Entropy, List, Span};
use session_protocol::workload::message::{Message, Talk};
use session_protocol::workload::oracle::{
    Commit, Observation, OracleResult, RecordHead, SignedRecord,
};
use session_protocol::workload::round::{LockedTo, Phase, Proposal};

use super::super::Scene;

/// How a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Says nothing.
    Silent,
    /// Says everything ten seconds later.
    Late,
    /// Tells one half of the others something else than the other half.
    Equivocates,
    /// Proposes two commits to two halves, and votes for both.
    TwoCommits,
    /// Proposes what does not follow from the records.
    WrongResult,
    /// Moves on to all attempts at once.
    FloodsAdvances,
    /// Is locked to what nobody prepared, or forgets its lock.
    WrongLocks,
    /// All of it by chance, and votes for everything that it hears of.
    Chaos,
}

/// A member that lies.
pub(super) struct Liar {
    lie: Lie,
    scene: Scene,
    /// The second commit of each attempt that it leads.
    second: BTreeMap<u32, Digest>,
    heard: BTreeSet<(u32, Digest)>,
    flooded: u32,
}

type Said = Vec<(usize, Span, Message)>;

impl Liar {
    pub(super) fn new(lie: Lie, scene: Scene) -> Self {
        Self { lie, scene, second: BTreeMap::new(), heard: BTreeSet::new(), flooded: 0 }
    }

    pub(super) fn hears(&mut self, message: &Message) {
        let heard = match message {
            Message::Commit(it) => Some((it.retry, self.scene.root(&it.commit))),
            Message::Attestation(it) => Some((it.retry, it.vote.statement.root)),
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { retry, vote, .. } if vote.ballot.phase == Phase::Prepare => {
                    Some((*retry, vote.ballot.root))
                }
                _ => None,
            },
            _ => None,
        };
        self.heard.extend(heard.filter(|_| self.heard.len() < 64));
    }

    pub(super) fn says(&mut self, rng: &mut dyn Entropy, to: Vec<usize>, message: Message) -> Said {
        let all = |message: Message| -> Said {
            to.iter().map(|to| (*to, Span::ZERO, message.clone())).collect()
        };
        match self.lie {
            Lie::Silent => Vec::new(),
            Lie::Late => {
                to.into_iter().map(|to| (to, Span::from_secs(10), message.clone())).collect()
            }
            Lie::Equivocates => {
                let other = self.twisted(rng, &message);
                halves(&to, message, other)
            }
            Lie::TwoCommits => self.two_commits(rng, &to, message),
            Lie::WrongResult => all(match message {
                Message::Commit(mut proposal) => {
                    let bytes = Blob::new(*b"a lie").expect("short");
                    proposal.commit.result = OracleResult::Value { bytes };
                    Message::Commit(proposal)
                }
                other => other,
            }),
            Lie::FloodsAdvances => {
                let mut said = all(message);
                said.extend(self.flood(rng).into_iter().flat_map(all));
                said
            }
            Lie::WrongLocks => all(self.wrong_lock(rng, message)),
            Lie::Chaos => self.chaos(rng, to, message),
        }
    }

    fn chaos(&mut self, rng: &mut dyn Entropy, to: Vec<usize>, message: Message) -> Said {
        let mut said = match rng.below(6) {
            0 => Vec::new(),
            1 => {
                let other = self.twisted(rng, &message);
                halves(&to, message, other)
            }
            2 => {
                let message = self.wrong_lock(rng, message);
                to.iter().map(|to| (*to, Span::ZERO, message.clone())).collect()
            }
            3 => to.iter().map(|to| (*to, Span::ZERO, message.clone())).collect(),
            _ => self.two_commits(rng, &to, message),
        };
        for (_, late, _) in &mut said {
            if rng.below(5) == 0 {
                *late = Span::from_millis(rng.below(9000));
            }
        }
        said.retain(|_| rng.below(4) != 0);
        // Whatever anybody votes for, it votes for.
        for (retry, root) in self.heard.clone() {
            for to in &to {
                if rng.below(4) == 0 {
                    let votes = self.votes(rng, retry, root);
                    said.extend(votes.map(|message| (*to, Span::ZERO, message)));
                }
            }
        }
        said
    }

    fn votes(&self, rng: &mut dyn Entropy, retry: u32, root: Digest) -> [Message; 2] {
        let keys = &*self.scene.keys;
        let prepare = self.scene.ballot(retry, Phase::Prepare, root).sign(keys, rng);
        let attest = self.scene.statement(retry, root).sign(keys, rng);
        [self.scene.voting(retry, &prepare), self.scene.attesting(retry, &attest)]
    }

    /// Returns what contradicts a message, signed as well.
    fn twisted(&self, rng: &mut dyn Entropy, message: &Message) -> Message {
        let root = Digest::from(rng.bytes32());
        match message {
            Message::Record(of) => {
                let mut of = of.clone();
                of.record = self.other_record(rng, of.retry, &of.record);
                Message::Record(of)
            }
            Message::Attestation(of) => {
                let vote = self.scene.statement(of.retry, root).sign(&*self.scene.keys, rng);
                self.scene.attesting(of.retry, &vote)
            }
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { retry, vote, .. } => {
                    let ballot = self.scene.ballot(*retry, vote.ballot.phase, root);
                    self.scene.voting(*retry, &ballot.sign(&*self.scene.keys, rng))
                }
                _ => message.clone(),
            },
            other => other.clone(),
        }
    }

    fn other_record(
        &self,
        rng: &mut dyn Entropy,
        retry: u32,
        record: &SignedRecord,
    ) -> SignedRecord {
        let observation = Observation::Value { bytes: Blob::new(*b"666").expect("short") };
        let head = RecordHead {
            chain: self.scene.facts.chain,
            committee: self.scene.facts.committee,
            request: self.scene.request(retry),
            submitter: self.scene.me,
            data_hash: observation.data_hash(),
            pin: record.pin,
            time: record.time + Span::from_secs(5),
        };
        SignedRecord::sign(head, observation, &*self.scene.keys, rng)
    }

    /// Proposes two commits where two can be made that hold, and votes for each to its half.
    fn two_commits(&mut self, rng: &mut dyn Entropy, to: &[usize], message: Message) -> Said {
        if let Message::Commit(proposal) = &message
            && let Some(second) = self.second_commit(rng, proposal)
        {
            self.second.insert(proposal.retry, self.scene.root(&second));
            let other = Message::Commit(Box::new(Proposal { commit: second, ..*proposal.clone() }));
            return halves(to, message, other);
        }
        let voted = match &message {
            Message::Attestation(of) => Some(of.retry),
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { retry, vote, .. } if vote.ballot.phase == Phase::Prepare => {
                    Some(*retry)
                }
                _ => None,
            },
            _ => None,
        };
        let first = to.iter().map(|to| (*to, Span::ZERO, message.clone()));
        let mut said: Said = first.collect();
        if let Some((retry, root)) = voted.and_then(|it| self.second.get_key_value(&it)) {
            for message in self.votes(rng, *retry, *root) {
                let other = to.iter().filter(|to| *to % 2 == 1);
                // They come first there: the half that heard of the second sees votes for it.
                said.splice(0..0, other.map(|to| (*to, Span::ZERO, message.clone())));
            }
        }
        said
    }

    fn second_commit(&self, rng: &mut dyn Entropy, proposal: &Proposal) -> Option<Commit> {
        let Commit { retry, records, .. } = &proposal.commit;
        let mut records: Vec<SignedRecord> = records.iter().cloned().collect();
        let own = records.iter_mut().find(|record| record.submitter == self.scene.me)?;
        *own = self.other_record(rng, *retry, own);
        let request = self.scene.request(*retry);
        records.sort_by_key(|record| record.id(&request));
        let commit = Commit {
            retry: *retry,
            result: self.scene.decide(&records)?,
            time: self.scene.agreed_time(&records),
            records: List::new(records).ok()?,
        };
        let holds = self.scene.check_commit(&commit).is_ok();
        (holds && proposal.lock.is_none()).then_some(commit)
    }

    /// Returns a commit that would hold if there were no lock.
    fn fresh(&self, rng: &mut dyn Entropy, proposal: &Proposal) -> Option<Commit> {
        let retry = proposal.retry;
        let (records, result, time) = if self.scene.gives_up(retry) {
            (Vec::new(), self.scene.given_up(), self.scene.before)
        } else {
            let model = proposal.commit.records.first().filter(|_| self.scene.writes())?;
            let records = vec![self.other_record(rng, retry, model)];
            let time = self.scene.agreed_time(&records);
            (records.clone(), self.scene.decide(&records)?, time)
        };
        let records = List::new(records).ok()?;
        let commit = Commit { retry, records, result, time };
        self.scene.check_commit(&commit).is_ok().then_some(commit)
    }

    fn flood(&mut self, rng: &mut dyn Entropy) -> Vec<Message> {
        self.flooded += 1;
        let retries = [self.flooded, self.flooded + 1, self.flooded * 1000, u32::MAX];
        let retries = retries.into_iter().take(if self.flooded < 200 { 4 } else { 0 });
        let moves = retries.map(|retry| {
            let head = self.scene.advance_head(retry, None);
            self.scene.moving(&head.sign(&*self.scene.keys, rng), None)
        });
        moves.collect()
    }

    fn wrong_lock(&self, rng: &mut dyn Entropy, message: Message) -> Message {
        match message {
            Message::Talk(talk) => match *talk {
                Talk::Advance { advance, lock } => {
                    let retry = advance.head.retry;
                    let forgets = lock.is_some() && rng.below(2) == 0;
                    let root = Digest::from(rng.bytes32());
                    let locked = (!forgets).then_some(LockedTo { retry: retry - 1, root });
                    let head = self.scene.advance_head(retry, locked);
                    let advance = head.sign(&*self.scene.keys, rng);
                    Message::Talk(Box::new(Talk::Advance { advance, lock }))
                }
                other => Message::Talk(Box::new(other)),
            },
            // As a leader it passes over a lock if there is one.
            Message::Commit(mut proposal) if proposal.lock.is_some() => {
                if let Some(commit) = self.fresh(rng, &proposal) {
                    proposal.commit = commit;
                }
                Message::Commit(proposal)
            }
            other => other,
        }
    }
}

fn halves(to: &[usize], one: Message, other: Message) -> Said {
    let half = |to: &usize| if to.is_multiple_of(2) { one.clone() } else { other.clone() };
    to.iter().map(|to| (*to, Span::ZERO, half(to))).collect()
}
