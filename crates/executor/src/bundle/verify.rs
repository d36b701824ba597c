//! A session, run again.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::committee::{MEMBERS_MIN, quorum};
use session_core::seed_ids::session_id;
use session_core::{Decode as _, Digest, Time};
use session_protocol::attestation::{Kind, Statement, committee_root};
use session_protocol::workload::manifest::Connector;
use session_protocol::workload::oracle::RequestKind;
use session_protocol::workload::receipt::receipts_root;
use session_protocol::workload::step::{StepLeaf, oracle_root};
use session_protocol::workload::{
    OracleCall, OracleResult, Receipt, SignedReceipt, blob_id, check,
};

use super::decision::Asked;
use super::{BUNDLE_VERSION, BadBundle, Bundle, Ground, Known, Outcome, ShownStep, Verdict, Wrong};
use crate::engine::{self, Job, Ran, Runner, Stop};
use crate::facts::{Answer, Facts, State};

/// Checks everything in a bundle, by running the program again.
///
/// # Errors
/// With the first thing that is wrong, and the step in which it is.
pub fn verify(bundle: &Bundle, ground: &Ground<'_>) -> Result<Verdict, BadBundle> {
    let facts = facts(bundle, ground.known).map_err(|wrong| BadBundle { step: None, wrong })?;
    let mut replay = Replay::new(bundle, ground, facts);
    let outcome = replay.run()?;
    replay.end(outcome).map_err(|wrong| BadBundle { step: None, wrong })?;
    Ok(replay.verdict())
}

/// Checks what the session is said to be made of.
fn facts(bundle: &Bundle, known: Option<&Known>) -> Result<Facts, Wrong> {
    if bundle.version != BUNDLE_VERSION {
        return Err(Wrong::Version { got: bundle.version });
    }
    let id = session_id(&bundle.service, bundle.epoch, &bundle.tx);
    let derived = "service, epoch and transaction make it";
    same("the session", bundle.session, derived, id)?;
    let module = blob_id(&bundle.module);
    same("the module", module, "the workload names", bundle.workload.module)?;
    same("the engine", bundle.workload.profile, "the one here is", engine::profile())?;
    check::check(&bundle.workload)?;
    let members = bundle.committee();
    let nodes: BTreeSet<_> = members.iter().map(|(node, _)| node).collect();
    if nodes.len() != members.len() {
        return Err(Wrong::Committee("a member is there twice"));
    }
    if nodes.len() < MEMBERS_MIN {
        return Err(Wrong::Committee("it has too few members"));
    }
    if let Some(known) = known {
        compare(bundle, known)?;
    }
    Ok(Facts {
        chain: bundle.chain,
        session: bundle.session,
        service: bundle.service,
        epoch: bundle.epoch,
        tx: bundle.tx,
        randomness: bundle.randomness,
        created: bundle.created,
        deadline: bundle.deadline,
        committee: committee_root(&members),
        members: Arc::new(members),
        workload: bundle.workload.clone(),
        module: bundle.module.to_vec().into(),
        input: bundle.input.to_vec().into(),
    })
}

/// Compares with what the chain shows.
fn compare(bundle: &Bundle, known: &Known) -> Result<(), Wrong> {
    let chain = "the chain has";
    same("the chain", bundle.chain, chain, known.chain)?;
    same("the service", bundle.service, chain, known.service)?;
    same("the epoch", bundle.epoch.0, chain, known.epoch.0)?;
    same("the transaction", bundle.tx, chain, known.tx)?;
    same("the program", bundle.program(), chain, known.program)?;
    same("the input", blob_id(&bundle.input), chain, known.input)?;
    same("the time of creation", bundle.created.as_millis(), chain, known.created.as_millis())?;
    same("the deadline", bundle.deadline.as_millis(), chain, known.deadline.as_millis())?;
    same("the randomness", bundle.randomness, chain, known.randomness)?;
    let members = bundle.committee();
    same("the number of members", members.len(), chain, known.members.len())?;
    let differs = members.iter().zip(&known.members).position(|(got, shown)| got != shown);
    differs.map_or(Ok(()), |index| Err(Wrong::Member { index }))
}

fn same<T: PartialEq + ToString>(
    what: &'static str,
    got: T,
    says: &'static str,
    expected: T,
) -> Result<(), Wrong> {
    if got == expected {
        return Ok(());
    }
    Err(Wrong::Differs { what, says, got: got.to_string(), expected: expected.to_string() })
}

struct Replay<'a> {
    bundle: &'a Bundle,
    ground: &'a Ground<'a>,
    facts: Arc<Facts>,
    runner: Runner,
    /// The place of the next step.
    index: u32,
    clock: Time,
    segment: Segment,
    leaves: Vec<StepLeaf>,
    receipts: Vec<(Receipt, Option<bool>)>,
    counts: Counts,
    logs: Vec<String>,
}

#[derive(Default)]
struct Segment {
    number: u32,
    state: Arc<State>,
    began: Time,
    first_step: u32,
    answers: Arc<Vec<Answer>>,
}

#[derive(Default)]
struct Counts {
    requests: u32,
    retries: u32,
    records: u32,
    signatures: u32,
    fuel: u64,
}

impl<'a> Replay<'a> {
    fn new(bundle: &'a Bundle, ground: &'a Ground<'a>, facts: Facts) -> Self {
        let clock = facts.created;
        Self {
            bundle,
            ground,
            facts: Arc::new(facts),
            runner: Runner::new(1),
            index: 0,
            clock,
            segment: Segment { began: clock, ..Segment::default() },
            leaves: Vec::new(),
            receipts: Vec::new(),
            counts: Counts::default(),
            logs: Vec::new(),
        }
    }

    /// Runs the program to its end.
    fn run(&mut self) -> Result<Stop, BadBundle> {
        loop {
            let index = self.index;
            let at = |wrong| BadBundle { step: Some(index), wrong };
            match self.compute().map_err(at)? {
                Stop::Asks { kind, call } => {
                    let index = self.index;
                    let at = |wrong| BadBundle { step: Some(index), wrong };
                    self.ask(kind, &call).map_err(at)?;
                }
                Stop::Checkpoint { state } => {
                    self.segment = Segment {
                        number: self.segment.number + 1,
                        state,
                        began: self.clock,
                        first_step: self.index,
                        answers: Arc::default(),
                    };
                }
                end => return Ok(end),
            }
        }
    }

    /// Returns the next step of the bundle.
    fn shown(&self) -> Result<&'a ShownStep, Wrong> {
        self.bundle
            .steps
            .get(self.index as usize)
            .ok_or(Wrong::Course { did: "goes on here", has: "no further step" })
    }

    /// Runs a compute step.
    fn compute(&mut self) -> Result<Stop, Wrong> {
        let shown = self.shown()?;
        if shown.decision.is_some() {
            return Err(Wrong::Course { did: "computes", has: "a decision" });
        }
        let Segment { number, state, began, first_step, answers } = &self.segment;
        let job = Job {
            facts: Arc::clone(&self.facts),
            segment: *number,
            state: Arc::clone(state),
            began: *began,
            first_step: *first_step,
            answers: Arc::clone(answers),
        };
        let ran = self.runner.run(&job);
        compare_leaves(&shown.leaf, &ran.leaf(&job, self.index))?;
        self.leaves.push(shown.leaf);
        let ends = !matches!(ran.stop, Stop::Asks { .. });
        let Ran { fuel, emitted, logs, stop, .. } = ran;
        self.receipts.extend(emitted.into_iter().map(|sent| {
            let receipt = Receipt {
                session: self.facts.session,
                step: self.index,
                message_hash: sent.message_hash,
                sender: *self.facts.service.as_bytes(),
                receiver: sent.receiver,
                time: self.clock,
            };
            (receipt, None)
        }));
        self.logs.extend(logs);
        if ends {
            self.counts.fuel = self.counts.fuel.saturating_add(fuel);
        }
        self.index += 1;
        Ok(stop)
    }

    /// Checks what was decided about a request, and answers the program with it.
    fn ask(&mut self, kind: RequestKind, call: &OracleCall) -> Result<(), Wrong> {
        let shown = self.shown()?;
        let Some(decision) = &shown.decision else {
            return Err(Wrong::Course { did: "asks the world", has: "no decision" });
        };
        let facts = Arc::clone(&self.facts);
        let (step, before) = (self.index, self.clock);
        let asked = Asked { facts: &facts, step, kind, call, before };
        let (root, signatures) = asked.check(decision, self.ground)?;
        let leaf = decision.leaf(self.index, kind, call.input_hash());
        debug_assert_eq!(leaf.commit_root, root, "the certificate attests the commit's root");
        compare_leaves(&shown.leaf, &leaf)?;
        self.leaves.push(leaf);
        let commit = &decision.commit;
        self.counts.requests += 1;
        self.counts.retries = self.counts.retries.saturating_add(decision.retry);
        self.counts.records += u32::try_from(commit.records.len()).unwrap_or(u32::MAX);
        self.counts.signatures = self.counts.signatures.saturating_add(signatures);
        self.deliver(call, &commit.result);
        self.clock = commit.time;
        let answer = Answer { result: commit.result.clone(), time: commit.time };
        Arc::make_mut(&mut self.segment.answers).push(answer);
        self.index += 1;
        Ok(())
    }

    /// Takes the receipt of a message that a write sent.
    fn deliver(&mut self, call: &OracleCall, result: &OracleResult) {
        let source = self.facts.workload.manifest.sources.get(usize::from(call.source));
        let sends = source.is_some_and(|it| matches!(it.connector, Connector::Message { .. }));
        let OracleResult::Value { bytes } = result else { return };
        let signed = SignedReceipt::decode_exact(bytes).ok().filter(|_| sends);
        let Some(signed) = signed else { return };
        if (signed.receipt.session, signed.receipt.step) != (self.facts.session, self.index) {
            return;
        }
        let member = self.facts.members.iter().find(|(node, _)| *node == signed.node);
        let verifies = member
            .is_some_and(|(_, key)| signed.verify(self.facts.chain, key, self.ground.verifier));
        self.counts.signatures += 1;
        self.receipts.push((signed.receipt, Some(verifies)));
    }

    /// Checks what the session came to.
    fn end(&mut self, stop: Stop) -> Result<(), Wrong> {
        if self.bundle.steps.len() != self.index as usize {
            return Err(Wrong::Course { did: "ended", has: "further steps" });
        }
        let receipts: Vec<Receipt> = self.receipts.iter().map(|(receipt, _)| *receipt).collect();
        let differs = receipts.iter().zip(self.bundle.receipts.iter()).position(|(a, b)| a != b);
        let replayed = "the steps make it";
        same("the number of receipts", self.bundle.receipts.len(), replayed, receipts.len())?;
        if let Some(index) = differs {
            let shown = self.bundle.receipts[index].id();
            same("a receipt", shown, replayed, receipts[index].id())?;
            let time = |receipt: &Receipt| receipt.time.as_millis();
            let shown = time(&self.bundle.receipts[index]);
            same("the time of a receipt", shown, replayed, time(&receipts[index]))?;
        }
        match (stop, &self.bundle.outcome) {
            (Stop::Finished { output }, Outcome::Finished { output: shown, .. }) => {
                let hash = |bytes: &[u8]| Digest::from(session_core::sha256(bytes));
                same("the output's hash", hash(shown), "the program makes it", hash(&output))?;
            }
            (Stop::Failed { reason }, Outcome::Failed { reason: shown }) => {
                same("the reason", shown.to_string(), "the program fails with", reason)?;
            }
            (Stop::Finished { .. }, _) => {
                return Err(Wrong::Course { did: "ended well", has: "a failure" });
            }
            _ => return Err(Wrong::Course { did: "failed", has: "an output" }),
        }
        if let Outcome::Finished { oracle_root: oracle, receipts_root: delivered, .. } =
            self.bundle.outcome
        {
            same("the oracle root", oracle, "the steps make it", oracle_root(&self.leaves))?;
            let receipts = receipts_root(&receipts);
            same("the receipts root", delivered, "the receipts make it", receipts)?;
        }
        self.certificate()
    }

    /// Checks that a quorum attests the outcome.
    fn certificate(&mut self) -> Result<(), Wrong> {
        let statement = Statement {
            chain: self.facts.chain,
            committee: self.facts.committee,
            kind: Kind::SessionComplete,
            subject: Digest::from(*self.facts.session.as_bytes()),
            root: self.bundle.outcome.root(),
            epoch: self.facts.epoch,
        };
        let certificate = &self.bundle.certificate;
        certificate
            .check_statement(&statement)
            .and_then(|()| {
                certificate.verify(&self.facts.members, self.ground.verifier, self.ground.workers)
            })
            .map_err(Wrong::Certificate)?;
        let signed = u32::try_from(certificate.signatures.len()).unwrap_or(u32::MAX);
        self.counts.signatures = self.counts.signatures.saturating_add(signed);
        Ok(())
    }

    fn verdict(self) -> Verdict {
        let Counts { requests, retries, records, signatures, fuel } = self.counts;
        let mut verdict = Verdict {
            session: self.facts.session,
            outcome: self.bundle.outcome.clone(),
            steps: self.index,
            requests,
            retries,
            records,
            signatures,
            fuel,
            logs: self.logs,
            receipts: self.receipts,
            checked: Vec::new(),
            trusted: Vec::new(),
        };
        verdict.checked = checked(&verdict, &self.facts);
        verdict.trusted = trusted(&verdict, &self.facts, self.ground.known);
        verdict
    }
}

fn compare_leaves(shown: &StepLeaf, made: &StepLeaf) -> Result<(), Wrong> {
    let replayed = "running it again makes it";
    same("its place", shown.index, replayed, made.index)?;
    if shown.kind != made.kind {
        return Err(Wrong::Differs {
            what: "its kind",
            says: replayed,
            got: format!("{:?}", shown.kind),
            expected: format!("{:?}", made.kind),
        });
    }
    same("its attempt", shown.retry, replayed, made.retry)?;
    same("its input hash", shown.input_hash, replayed, made.input_hash)?;
    same("its output hash", shown.output_hash, replayed, made.output_hash)?;
    same("its commit root", shown.commit_root, replayed, made.commit_root)
}

fn checked(verdict: &Verdict, facts: &Facts) -> Vec<String> {
    let Verdict { steps, requests, records, signatures, fuel, receipts, .. } = verdict;
    let members = facts.members.len();
    let needed = quorum(members).unwrap_or(members);
    let mut checked = vec![
        format!("the program was run again: {steps} steps, {fuel} fuel, the same hash at each"),
        format!(
            "{requests} answers of the world follow from {records} records that members signed, \
             and a quorum of {needed} of {members} attests each"
        ),
    ];
    if !receipts.is_empty() {
        let signed = receipts.iter().filter(|(_, signed)| *signed == Some(true)).count();
        checked.push(format!(
            "{} receipts are under the receipts root; {signed} are signed by who sent the message",
            receipts.len()
        ));
        let unsigned = receipts.iter().filter(|(_, signed)| *signed == Some(false)).count();
        if unsigned > 0 {
            checked.push(format!("{unsigned} receipts carry a signature that does NOT verify"));
        }
    }
    let end = match verdict.outcome {
        Outcome::Finished { .. } => "output, steps and receipts",
        Outcome::Failed { .. } => "the failure",
    };
    checked.push(format!("a quorum of {needed} of {members} attests {end}"));
    checked.push(format!("{signatures} signatures in all"));
    checked
}

fn trusted(verdict: &Verdict, facts: &Facts, known: Option<&Known>) -> Vec<String> {
    let members = facts.members.len();
    let liars = members.saturating_sub(quorum(members).unwrap_or(members));
    let mut trusted = vec![match known {
        Some(known) => format!(
            "the chain: that this is the session's program and input, and that it chose this \
             committee with these keys, this randomness and these times, is shown by {}",
            known.shown_by
        ),
        None => "the bundle itself, for what the session was made of: program, committee, keys, \
                 randomness and times are taken as they stand; an anchor in a chain would prove \
                 them"
            .to_owned(),
    }];
    if verdict.requests > 0 {
        trusted.push(format!(
            "the committee, for what it saw of the world: that at most {liars} of its {members} \
             members lie"
        ));
    }
    let writes = verdict.receipts.iter().any(|(_, signed)| signed.is_some());
    if writes {
        trusted.push("the writer of each message, for when it was sent".to_owned());
    }
    trusted
        .push("this machine: the engine that ran the program, and the signature checks".to_owned());
    trusted
}
