//! Why a node was marked, punished or accused: votes and evidence, verified here.
//!
//! A node's id is the hash of its keys, so keys that make the voter's id are its own, whoever says
//! so. What this cannot see is whether the chain left something out.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use session_core::{AccountId, Digest, Epoch, NodeId, TxId};
use session_crypto::{PublicIdentity, RealVerifier};
use session_protocol::chain::transaction::bit;
use session_protocol::chain::{Action, Amount};
use session_protocol::roster::{Duty, Roster};
use session_vm::records::{NodeKeys, Only, Parameters};

use super::past::Past;
use crate::chain::duties::{
    cases_against, count, evidence_hex, evidence_of, marks_of, transaction,
};
use crate::chain::rpc::{Answer, Rpc};
use crate::chain::show::find_node;
use crate::exit::{Failure, Result};
use crate::out::{Out, harmless};
use crate::verify::{Rules, because, finding_json};

/// Characters of an id in a line.
const SHORT: usize = 16;

pub(super) async fn run(rpc: &Rpc, out: Out, named: &str, epochs: u64) -> Result<()> {
    let node = find_node(rpc, named).await?;
    let mut asked = Asked::new(rpc, node).await?;
    let mut told = Told::default();
    head(&asked, &mut told).await?;
    for mark in marks_of(rpc, &node, epochs).await?.list("marks")? {
        asked.mark(&mark, &mut told).await?;
    }
    if told.objects.is_empty() {
        told.line("nothing: no epoch with it has been judged yet");
    }
    for case in cases_against(rpc, &node).await? {
        asked.case(&case, &mut told).await?;
    }
    told.line(&match told.bad {
        0 => format!("{} votes and pieces of evidence, every one verified here", told.good),
        bad => format!("{bad} of {} do NOT verify", told.good + bad),
    });
    let (good, bad) = (told.good, told.bad);
    out.result(
        || harmless(&told.lines.join("\n")),
        || {
            json!({ "node": node.to_string(), "now": asked.node.json(),
                    "entries": Value::Array(told.objects), "verified": good, "bad": bad })
        },
    );
    match bad {
        0 => Ok(()),
        _ => Err(Failure::refused("what the chain says of this node is not all signed")),
    }
}

/// What is printed.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    objects: Vec<Value>,
    good: usize,
    bad: usize,
}

impl Told {
    fn line(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// Counts something that was verified, and returns what to say of it.
    fn judged(&mut self, outcome: &std::result::Result<String, String>) -> String {
        match outcome {
            Ok(what) => {
                self.good += 1;
                format!("{what} [verified]")
            }
            Err(why) => {
                self.bad += 1;
                format!("NOT VERIFIED: {why}")
            }
        }
    }
}

async fn head(asked: &Asked<'_>, told: &mut Told) -> Result<()> {
    let node = &asked.node;
    let uptime = node.number("uptimeScore")?;
    let (stake, original) = (node.amount("stake")?, node.amount("originalStake")?);
    told.line(&format!("node {}", asked.id));
    told.line(&format!(
        "{}, up {}.{:02} % of the time, {} misses in a row, {stake} of {original} LUX left",
        node.text("status")?,
        uptime / 100,
        uptime % 100,
        node.number("misses")?,
    ));
    Ok(())
}

/// What was asked about one node, so as not to ask twice.
struct Asked<'a> {
    rpc: &'a Rpc,
    id: NodeId,
    node: Answer,
    rules: Rules,
    examiners: usize,
    keys: BTreeMap<NodeId, Option<PublicIdentity>>,
    past: Past,
}

impl<'a> Asked<'a> {
    async fn new(rpc: &'a Rpc, id: NodeId) -> Result<Self> {
        let node = rpc.call("GetNode", json!({ "nodeId": id.to_string() })).await?.inner("node")?;
        let params = rpc.entry::<Parameters>(&Only {}).await?;
        let params = params.ok_or_else(|| Failure::failed("the chain has no rules"))?;
        Ok(Self {
            rpc,
            id: node.parsed("nodeId")?,
            node,
            rules: Rules::ask(rpc).await?,
            examiners: params.duties.examiners.into(),
            keys: BTreeMap::new(),
            past: Past::learn(rpc).await?,
        })
    }

    async fn mark(&mut self, mark: &Answer, told: &mut Told) -> Result<()> {
        let epoch = mark.number("epoch")?;
        let failings = mark.texts("failings")?;
        let (reach, keep) = (mark.inner("reach")?, mark.inner("keep")?);
        let seen = format!("reached by {}, storage confirmed by {}", count(&reach)?, count(&keep)?);
        if failings.is_empty() {
            told.line(&format!("epoch {epoch}: well; {seen}"));
        } else {
            let penalty = match mark.amount("penalty")? {
                Amount::ZERO => "no penalty".to_owned(),
                penalty => format!("penalty {penalty} LUX"),
            };
            told.line(&format!(
                "epoch {epoch}: MISSED: {}; {seen}; {} in a row, {penalty}",
                failings.join(", "),
                mark.number("misses")?
            ));
        }
        let roster = self.roster(epoch).await?;
        let mut votes = Vec::new();
        for vote in mark.list("votes")? {
            let (examiner, tx): (NodeId, TxId) = (vote.parsed("examiner")?, vote.parsed("txId")?);
            let outcome = self.vote(&examiner, &tx, epoch, roster.as_ref()).await;
            let said = told.judged(&outcome);
            told.line(&format!("  {} votes against it: {said}", &examiner.to_string()[..SHORT]));
            told.line(&format!("    transaction {tx}"));
            votes.push(json!({
                "examiner": examiner.to_string(), "txId": tx.to_string(),
                "verified": outcome.is_ok(), "says": outcome.unwrap_or_else(|why| why),
            }));
        }
        let mut object = mark.json();
        object["votes"] = Value::Array(votes);
        told.objects.push(object);
        Ok(())
    }

    /// Checks that an examiner signed its vote, and says what it is about.
    async fn vote(
        &mut self,
        examiner: &NodeId,
        tx: &TxId,
        epoch: u64,
        roster: Option<&Roster>,
    ) -> std::result::Result<String, String> {
        let received = transaction(self.rpc, tx).await.map_err(|failure| failure.why)?;
        let keys = self.keys_of(examiner).await.map_err(|failure| failure.why)?;
        let keys = keys.ok_or_else(|| "nobody knows the examiner's keys".to_owned())?;
        if received.sender() != AccountId::from(*examiner.as_bytes()) {
            return Err(format!("the transaction is of account {}", received.sender()));
        }
        let checked = received.check(self.rules.chain(), Some(&keys), &RealVerifier);
        let checked = checked.map_err(|error| error.to_string())?;
        let Action::UptimeVote { epoch: of, failed, .. } = &checked.signed.transaction.action
        else {
            return Err("the transaction is no vote".to_owned());
        };
        if of.0 != epoch {
            return Err(format!("the vote is of epoch {of}"));
        }
        let Some(roster) = roster else {
            let fails = (0..failed.len() * 8).filter(|place| bit(failed, *place)).count();
            return Ok(format!(
                "its ballot fails {fails} duties; which ones, only the seats of that epoch tell"
            ));
        };
        let targets = roster.targets(examiner);
        let about = targets
            .iter()
            .enumerate()
            .filter(|(place, target)| target.node == self.id && bit(failed, *place));
        let about: Vec<&str> = about.map(|(_, target)| what(target.duty)).collect();
        if about.is_empty() {
            Err("its ballot does not fail this node".to_owned())
        } else {
            Ok(about.join(", "))
        }
    }

    async fn keys_of(&mut self, node: &NodeId) -> Result<Option<PublicIdentity>> {
        if let Some(keys) = self.keys.get(node) {
            return Ok(keys.clone());
        }
        let keys = self.rpc.entry::<NodeKeys>(node).await?;
        let keys = keys.filter(|keys| keys.node_id() == *node);
        self.keys.insert(*node, keys.clone());
        Ok(keys)
    }

    /// Returns who examined whom in an epoch, as far as its seats are known.
    async fn roster(&self, epoch: u64) -> Result<Option<Roster>> {
        let Some(seats) = self.past.seats(epoch) else { return Ok(None) };
        let answer = self.rpc.call("GetEpoch", json!({ "epoch": epoch })).await?;
        let randomness: Digest = answer.parsed("randomness")?;
        Ok(Some(Roster::new(&randomness, Epoch(epoch), &seats, self.examiners)))
    }

    async fn case(&mut self, case: &Answer, told: &mut Told) -> Result<()> {
        let accused: NodeId = case.parsed("accused")?;
        let keys = self.keys_of(&accused).await?;
        let found = match evidence_of(self.rpc, case).await {
            Err(failure) => Err(failure.why),
            Ok(evidence) => match keys {
                None => Err("nobody knows the keys of the accused".to_owned()),
                Some(keys) => self.rules.check(&evidence, &keys).map(|finding| (evidence, finding)),
            },
        };
        let outcome = found.as_ref().map_err(Clone::clone);
        let outcome = outcome.map(|(evidence, finding)| because(evidence, finding));
        let said = told.judged(&outcome);
        let id = case.text("caseId")?;
        let paid = match case.has("amount") {
            true => format!(", {} LUX", case.amount("amount")?),
            false => String::new(),
        };
        told.line(&format!(
            "ACCUSED of {} ({}{paid}): {said}",
            case.text("kind")?,
            case.text("status")?
        ));
        told.line(&format!("  case {id}, evidence in transaction {}", case.text("txId")?));
        let mut object = case.json();
        object["verified"] = outcome.is_ok().into();
        if let Ok((evidence, finding)) = &found {
            object["finding"] = finding_json(evidence, finding);
            object["evidence"] = evidence_hex(evidence).into();
        }
        told.objects.push(object);
        Ok(())
    }
}

const fn what(duty: Duty) -> &'static str {
    match duty {
        Duty::Reach => "it could not be reached as it should",
        Duty::Keep => "it does not show what it committed to keep",
    }
}
