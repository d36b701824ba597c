//! How nodes do their duties: marks, commitments, accusations.

use std::path::Path;

use serde_json::json;
use session_core::{Digest, Encode as _, NodeId, TxId};
use session_protocol::chain::{Action, ReceivedTransaction};
use session_protocol::evidence::Evidence;
use session_rpc::vm::rfc3339;
use session_vm::records::NodeKeys;

use super::rpc::{Answer, Rpc};
use super::show::{find_node, seconds, short};
use crate::exit::{Failure, Result};
use crate::out::{Out, harmless, rows};
use crate::verify::EvidenceFile;

/// Entries of a page; the most that is given.
const PAGE: u64 = 200;

/// Far above every chain there is; a node that lies must not fill the memory.
const ENTRIES_MAX: usize = 100_000;

pub(super) async fn marks(rpc: &Rpc, out: Out, node: &str, epochs: u64) -> Result<()> {
    let node = find_node(rpc, node).await?;
    let answer = marks_of(rpc, &node, epochs).await?;
    out.remark("epoch   reached   keeps     in a row  penalty LUX  what it missed");
    for mark in answer.list("marks")? {
        let line = mark_line(&mark)?;
        out.result(|| harmless(&line), || mark.json());
    }
    Ok(())
}

/// Asks how a node did.
pub(crate) async fn marks_of(rpc: &Rpc, node: &NodeId, epochs: u64) -> Result<Answer> {
    rpc.call("GetMarks", json!({ "nodeId": node.to_string(), "limit": epochs })).await
}

fn mark_line(mark: &Answer) -> Result<String> {
    let failings = mark.texts("failings")?;
    let failings = if failings.is_empty() { "-".to_owned() } else { failings.join(", ") };
    Ok(format!(
        "{:<6}  {:<8}  {:<8}  {:<8}  {:<11}  {failings}",
        mark.number("epoch")?,
        count(&mark.inner("reach")?)?,
        count(&mark.inner("keep")?)?,
        mark.number("misses")?,
        mark.amount("penalty")?.to_string(),
    ))
}

/// How many of those who could said yes.
pub(crate) fn count(votes: &Answer) -> Result<String> {
    let (assigned, passed) = (votes.number("assigned")?, votes.number("passed")?);
    Ok(if assigned == 0 { "-".to_owned() } else { format!("{passed}/{assigned}") })
}

pub(super) async fn commitments(rpc: &Rpc, out: Out, swarm: Option<&str>) -> Result<()> {
    let params = swarm.map_or_else(|| json!({}), |swarm| json!({ "swarm": swarm }));
    let all = list(rpc, "GetCommitments", "commitments", params).await?;
    out.remark(
        "node              swarm             epoch  items  bytes       root              agrees",
    );
    for one in &all {
        let line = commitment_line(one)?;
        out.result(|| harmless(&line), || one.json());
    }
    Ok(())
}

/// Returns every node's commitments.
pub(crate) async fn all_commitments(rpc: &Rpc) -> Result<Vec<Answer>> {
    list(rpc, "GetCommitments", "commitments", json!({})).await
}

fn commitment_line(one: &Answer) -> Result<String> {
    let head = format!("{}  {}", short(one, "nodeId")?, one.text("swarmId")?);
    if !one.has("current") {
        return Ok(format!("{head}  nothing in this epoch yet"));
    }
    let current = one.inner("current")?;
    let agrees = match one.has("agrees") {
        true if one.flag("agrees")? => "yes",
        true => "NO",
        false => "-",
    };
    Ok(format!(
        "{head}  {:<5}  {:<5}  {:<10}  {}  {agrees}",
        current.number("epoch")?,
        current.number("count")?,
        current.number("bytes")?,
        short(&current, "root")?
    ))
}

pub(super) async fn cases(rpc: &Rpc, out: Out, status: Option<&str>) -> Result<()> {
    let params = status.map_or_else(|| json!({}), |status| json!({ "status": status }));
    let cases = list(rpc, "GetCases", "cases", params).await?;
    out.remark("case              accused           of             status   until");
    for case in &cases {
        let line = format!(
            "{}  {}  {:<13}  {:<7}  {}",
            short(case, "caseId")?,
            short(case, "accused")?,
            case.text("kind")?,
            case.text("status")?,
            rfc3339::format(seconds(case.number("untilAt")?)),
        );
        out.result(|| harmless(&line), || case.json());
    }
    Ok(())
}

/// Returns the accusations against a node.
pub(crate) async fn cases_against(rpc: &Rpc, node: &NodeId) -> Result<Vec<Answer>> {
    list(rpc, "GetCases", "cases", json!({ "accused": node.to_string() })).await
}

/// Shows an accusation, or writes its evidence with the keys of the accused.
pub(super) async fn case(rpc: &Rpc, out: Out, id: &Digest, file: Option<&Path>) -> Result<()> {
    let case = rpc.call("GetCase", json!({ "caseId": id.to_string() })).await?.inner("case")?;
    let Some(file) = file else {
        let lines = case_rows(&case)?;
        out.result(|| lines, || case.json());
        return Ok(());
    };
    let accused: NodeId = case.parsed("accused")?;
    let evidence = evidence_of(rpc, &case).await?;
    let keys = rpc.entry::<NodeKeys>(&accused).await?;
    let keys = keys.filter(|keys| keys.node_id() == accused);
    let keys = keys.ok_or_else(|| case.wrong(&"the chain has no keys of the accused"))?;
    let text = EvidenceFile { evidence, keys: Some(keys) }.to_text();
    std::fs::write(file, text)
        .map_err(|error| Failure::failed(format!("cannot write {}: {error}", file.display())))?;
    out.result(
        || format!("evidence against {accused} written to {}", file.display()),
        || json!({ "file": file, "caseId": id.to_string(), "accused": accused.to_string() }),
    );
    Ok(())
}

fn case_rows(case: &Answer) -> Result<String> {
    let optional_time = |field| {
        case.has(field).then(|| case.number(field).map(seconds).map(rfc3339::format)).transpose()
    };
    let amount = match case.has("amount") {
        true => format!("{} LUX", case.amount("amount")?),
        false => String::new(),
    };
    let missing = match case.has("missing") {
        true => {
            let item = case.inner("missing")?;
            format!("{} in inbox {}", item.text("messageId")?, item.text("address")?)
        }
        false => String::new(),
    };
    Ok(rows(&[
        ("case", case.text("caseId")?.to_owned()),
        ("accused", case.text("accused")?.to_owned()),
        ("of", case.text("kind")?.to_owned()),
        ("epoch", case.number("epoch")?.to_string()),
        ("missing", missing),
        ("accuser", case.text("accuser")?.to_owned()),
        ("evidence", format!("in transaction {}", case.text("txId")?)),
        ("opened", optional_time("openedAt")?.unwrap_or_default()),
        ("until", optional_time("untilAt")?.unwrap_or_default()),
        ("status", case.text("status")?.to_owned()),
        ("closed", optional_time("closedAt")?.unwrap_or_default()),
        ("paid", amount),
    ]))
}

/// Returns the evidence of an accusation, from its transaction.
pub(crate) async fn evidence_of(rpc: &Rpc, case: &Answer) -> Result<Evidence> {
    let tx: TxId = case.parsed("txId")?;
    let received = transaction(rpc, &tx).await?;
    match received.signed.transaction.action {
        Action::Accuse { evidence } => Ok(*evidence),
        other => Err(case.wrong(&format!("transaction {tx} is a {}", other.name()))),
    }
}

/// Returns a transaction by its id, which is checked.
pub(crate) async fn transaction(rpc: &Rpc, id: &TxId) -> Result<ReceivedTransaction> {
    let tx = rpc.call("GetTx", json!({ "txId": id.to_string() })).await?.inner("tx")?;
    let received = ReceivedTransaction::parse(&tx.bytes("bytes")?);
    let received = received.map_err(|error| tx.wrong(&error))?;
    if received.id == *id {
        Ok(received)
    } else {
        Err(tx.wrong(&format!("its bytes are those of transaction {}", received.id)))
    }
}

/// Returns every entry that fits `params`, page by page.
async fn list(
    rpc: &Rpc,
    method: &'static str,
    field: &'static str,
    mut params: serde_json::Value,
) -> Result<Vec<Answer>> {
    params["limit"] = PAGE.into();
    let mut all = Vec::new();
    loop {
        let page = rpc.call(method, params.clone()).await?;
        all.extend(page.list(field)?);
        let Some(next) = page.maybe_text("next")? else { return Ok(all) };
        if all.len() > ENTRIES_MAX {
            return Err(page.wrong(&format!("there are more than {ENTRIES_MAX} entries")));
        }
        if params["after"] == next {
            return Err(page.wrong(&"the next page is this one"));
        }
        params["after"] = next.into();
    }
}

/// Returns the bytes of evidence in hex, for programs.
pub(crate) fn evidence_hex(evidence: &Evidence) -> String {
    hex::encode(evidence.to_bytes())
}
