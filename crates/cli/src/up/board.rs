//! What `session up` shows while it runs: a table in each epoch, and what happens in between.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use session_core::{NodeId, TxId};
use session_protocol::chain::Amount;

use crate::chain::duties::{all_commitments, evidence_of, marks_of, transaction};
use crate::chain::network;
use crate::chain::rpc::{Answer, Rpc};
use crate::cluster::Cluster;
use crate::exit::Result;
use crate::out::{Out, harmless};

/// Digits of an id that name a node in commands.
const SHORT: usize = 16;

/// Quarters of an epoch in which all commitments of honest nodes are there.
const LATE_PHASES: [&str; 2] = ["reveal", "recover"];

/// What was shown already.
pub(super) struct Board {
    out: Out,
    /// How people call this program.
    program: PathBuf,
    /// The epoch of the last table.
    shown: Option<u64>,
    /// The epoch whose marks were told.
    told: Option<u64>,
    /// The status of every accusation that was told.
    cases: BTreeMap<String, String>,
    /// The status of every node.
    statuses: BTreeMap<NodeId, String>,
}

impl Board {
    pub(super) fn new(out: Out) -> Self {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("session"));
        let (cases, statuses) = (BTreeMap::new(), BTreeMap::new());
        Self { out, program, shown: None, told: None, cases, statuses }
    }

    /// Looks at the chain, and shows what is new.
    pub(super) async fn look(&mut self, cluster: &mut Cluster) -> Result<()> {
        let rpc = cluster.chain().rpc()?;
        let epoch = rpc.call("GetEpoch", json!({})).await?;
        let number = epoch.number("epoch")?;
        if self.told != Some(number) {
            self.turned(&rpc, cluster, number).await?;
            self.told = Some(number);
        }
        self.tell_cases(&rpc, cluster).await?;
        let late = LATE_PHASES.contains(&epoch.maybe_text("phase")?.unwrap_or_default());
        if late && self.shown != Some(number) {
            self.table(&rpc, cluster, &epoch).await?;
            self.shown = Some(number);
        }
        Ok(())
    }

    fn event(&self, what: &str, line: &str, more: Value) {
        self.out.result(
            || harmless(&format!("  ! {line}")),
            || json!({ "event": what, "what": line, "of": more }),
        );
    }

    fn why(&self, node: &str) -> String {
        let program = self.program.display();
        format!("{program} node why {}", node.get(..SHORT).unwrap_or(node))
    }

    /// Tells who missed something in the epoch that is over, and whose state is another.
    async fn turned(&mut self, rpc: &Rpc, cluster: &mut Cluster, number: u64) -> Result<()> {
        if cluster.refresh().await? {
            self.out.remark("  the swarms have changed: the network file is written again");
        }
        for node in network::list(rpc, json!({})).await? {
            let id: NodeId = node.parsed("nodeId")?;
            let status = node.text("status")?.to_owned();
            let name = name(cluster, &id);
            if let Some(before) = self.statuses.insert(id, status.clone())
                && before != status
            {
                let line =
                    format!("{name} was {before} and is {status}: {}", self.why(&id.to_string()));
                self.event("status", &line, without_keys(&node));
            }
            let Some(last) = number.checked_sub(1) else { continue };
            let marks = marks_of(rpc, &id, 1).await?.list("marks")?;
            let failed =
                marks.iter().filter(|mark| mark.number("epoch").is_ok_and(|of| of == last));
            for mark in failed {
                self.missed(&name, &id, mark)?;
            }
        }
        Ok(())
    }

    fn missed(&self, name: &str, id: &NodeId, mark: &Answer) -> Result<()> {
        let failings = mark.texts("failings")?;
        if failings.is_empty() {
            return Ok(());
        }
        let line = format!(
            "{name} missed in epoch {}: {}; {} in a row, penalty {} LUX: {}",
            mark.number("epoch")?,
            failings.join(", "),
            mark.number("misses")?,
            mark.amount("penalty")?,
            self.why(&id.to_string())
        );
        let mut object = mark.json();
        object["nodeId"] = id.to_string().into();
        self.event("missed", &line, object);
        Ok(())
    }

    /// Tells of accusations that are new, or stand otherwise than before.
    async fn tell_cases(&mut self, rpc: &Rpc, cluster: &Cluster) -> Result<()> {
        for case in rpc.call("GetCases", json!({})).await?.list("cases")? {
            let (id, status) = (case.text("caseId")?.to_owned(), case.text("status")?.to_owned());
            if self.cases.insert(id, status.clone()).as_ref() == Some(&status) {
                continue;
            }
            let accused: NodeId = case.parsed("accused")?;
            let (name, kind) = (name(cluster, &accused), case.text("kind")?);
            let line = match status.as_str() {
                "open" => {
                    let accuser = accuser(rpc, cluster, &case).await?;
                    let evidence = evidence_of(rpc, &case).await?;
                    format!("{name} is accused of {} by {accuser}", evidence.name())
                }
                "paid" if case.amount("amount")? == Amount::ZERO => {
                    format!("{name} is guilty of {kind} again, and had paid before")
                }
                "paid" => format!("{name} paid {} LUX for {kind}", case.amount("amount")?),
                other => format!("the accusation of {name} of {kind} is {other}"),
            };
            let line = format!("{line}: {}", self.why(&accused.to_string()));
            self.event("case", &line, case.json());
        }
        Ok(())
    }

    async fn table(&self, rpc: &Rpc, cluster: &Cluster, epoch: &Answer) -> Result<()> {
        let mut agrees = BTreeMap::new();
        for one in all_commitments(rpc).await? {
            let said = match (one.has("current"), one.has("agrees")) {
                (false, _) => "none",
                (true, false) => "made",
                (true, true) if one.flag("agrees")? => "agreed",
                (true, true) => "DIFFERS",
            };
            agrees.insert(one.parsed::<NodeId>("nodeId")?, said);
        }
        let mut lines = vec![format!(
            "\nepoch {}: beacon {} ({}), {} nodes in {} swarms\n\
             node  id                status           swarm             uptime    commitment  misses  stake LUX",
            epoch.number("epoch")?,
            &epoch.text("beacon")?[..SHORT],
            epoch.text("mode")?,
            epoch.number("nodes")?,
            epoch.number("swarms")?,
        )];
        let mut nodes = network::list(rpc, json!({})).await?;
        let mut ordered = Vec::new();
        for node in nodes.drain(..) {
            let id: NodeId = node.parsed("nodeId")?;
            ordered.push((cluster.number(&id), id, node));
        }
        ordered.sort_by_key(|(number, id, _)| (number.is_none(), *number, *id));
        let mut objects = Vec::new();
        for (number, id, node) in ordered {
            let commitment = agrees.get(&id).copied().unwrap_or("-");
            lines.push(row(number, &node, commitment)?);
            let mut object = without_keys(&node);
            object["commitment"] = commitment.into();
            object["index"] = number.into();
            objects.push(object);
        }
        self.out.result(
            || harmless(&lines.join("\n")),
            || json!({ "epoch": epoch.json(), "nodes": objects }),
        );
        Ok(())
    }
}

/// Keys are long, and the chain tells them to whoever asks.
fn without_keys(node: &Answer) -> Value {
    let mut object = node.json();
    if let Some(members) = object.as_object_mut() {
        members.retain(|name, _| !["publicKey", "encryptionKey"].contains(&name.as_str()));
    }
    object
}

fn row(number: Option<usize>, node: &Answer, commitment: &str) -> Result<String> {
    let uptime = node.number("uptimeScore")?;
    let (stake, original) = (node.amount("stake")?, node.amount("originalStake")?);
    let lost = if stake == original { String::new() } else { format!(" of {original}") };
    Ok(format!(
        "{:>4}  {}  {:<15}  {:<16}  {:>3}.{:02} %  {commitment:<10}  {:<6}  {stake}{lost}",
        number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        &node.text("nodeId")?[..SHORT],
        node.text("status")?,
        node.maybe_text("swarmId")?.unwrap_or("-"),
        uptime / 100,
        uptime % 100,
        node.number("misses")?,
    ))
}

fn name(cluster: &Cluster, id: &NodeId) -> String {
    match cluster.number(id) {
        Some(number) => format!("node {number} ({})", &id.to_string()[..SHORT]),
        None => format!("node {}", &id.to_string()[..SHORT]),
    }
}

/// Names who accused: a node if the account is that of its keys.
async fn accuser(rpc: &Rpc, cluster: &Cluster, case: &Answer) -> Result<String> {
    let tx: TxId = case.parsed("txId")?;
    let sender = transaction(rpc, &tx).await?.sender();
    let node = NodeId::from(*sender.as_bytes());
    Ok(match cluster.number(&node) {
        Some(number) => format!("node {number}"),
        None => format!("account {}", &sender.to_string()[..SHORT]),
    })
}
