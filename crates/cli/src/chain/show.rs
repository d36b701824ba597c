//! Status, blocks, accounts, nodes: what a node of the chain says, for people.

use serde_json::{Value, json};
use session_core::{AccountId, BlockId, NodeId, Time, TxId};
use session_crypto::AccountRef;
use session_protocol::chain::Amount;
use session_protocol::chain::block::block_id;
use session_rpc::vm::rfc3339;
use session_vm::records::{Chain, Only, Sequencer};

use super::network;
use super::rpc::{Answer, Rpc};
use crate::args::Given;
use crate::exit::{Failure, Result};
use crate::out::{Out, harmless, rows};
use crate::span;

/// Characters of an id in a table.
const SHORT: usize = 16;

/// Characters of a whole id.
const WHOLE: usize = 64;

/// The least characters of an id that name a node.
const PREFIX_MIN: usize = 8;

/// What in an order is an amount, in base units.
const AMOUNTS: [&str; 2] = ["amount", "stake"];

pub(super) async fn status(rpc: &Rpc, out: Out) -> Result<()> {
    let health = rpc.call("Health", json!({})).await?;
    let last = rpc.call("GetHeight", json!({})).await?;
    let epoch = rpc.call("GetEpoch", json!({})).await?;
    let chain = rpc.entry::<Chain>(&Only {}).await?;
    let chain = chain.ok_or_else(|| Failure::failed("the chain has no name"))?;
    let sequencer = rpc.entry::<Sequencer>(&Only {}).await?;
    let sequencer = sequencer.map(|keys| keys.account_ref().to_string());
    let time: Time = time(&last, "timestamp")?;
    let age = crate::person::now().since(time);
    let swarms = epoch.number("swarms")?;
    let healthy = health.flag("healthy")?;
    let fault = if health.has("fault") { health.text("fault")? } else { "" }.to_owned();
    let rows = rows(&[
        ("chain", format!("{}, {}", &*chain.name, health.text("chainId")?)),
        ("height", format!("{}, block {}", last.number("height")?, last.text("blockId")?)),
        ("time", format!("{}, {} ago", rfc3339::format(time), span::rough(age))),
        ("state root", last.text("stateRoot")?.to_owned()),
        (
            "epoch",
            format!(
                "{}, {} quarter, until {}; beacon {}",
                epoch.number("epoch")?,
                epoch.text("phase")?,
                epoch.text("end")?,
                epoch.text("mode")?
            ),
        ),
        (
            "nodes",
            format!(
                "{} active in {swarms} swarm{}, {} LUX staked",
                epoch.number("nodes")?,
                if swarms == 1 { "" } else { "s" },
                epoch.amount("stake")?
            ),
        ),
        ("supply", format!("{} LUX", chain.supply)),
        ("waiting", format!("{} transactions", health.number("mempool")?)),
        (
            "this node",
            format!(
                "{}, version {}, {} conversations, {} channels",
                health.text("phase")?,
                health.text("version")?,
                health.number("sessions")?,
                health.number("channels")?
            ),
        ),
        ("sequencer", sequencer.clone().unwrap_or_else(|| "none: a host decides".to_owned())),
        ("health", if healthy { "good".to_owned() } else { fault.clone() }),
    ]);
    out.result(
        || rows,
        || {
            json!({ "network": chain.name.to_string(), "supply": chain.supply.0.to_string(),
                    "sequencer": sequencer, "health": health.json(), "last": last.json(),
                    "epoch": epoch.json() })
        },
    );
    if healthy {
        return Ok(());
    }
    Err(Failure::failed(harmless(&format!("the node is not healthy: {fault}"))))
}

pub(super) async fn block(rpc: &Rpc, out: Out, which: Option<Given>) -> Result<()> {
    let answer = rpc.call("GetBlock", which_block(which, "json")).await?;
    let block = answer.inner("block")?;
    let transactions = block.list("txs")?;
    let sealed = if block.has("seal") { "sealed by the sequencer" } else { "no seal" };
    let mut lines = rows(&[
        ("block", block.text("blockId")?.to_owned()),
        ("height", block.number("height")?.to_string()),
        ("parent", block.text("parentId")?.to_owned()),
        ("time", block.text("timestamp")?.to_owned()),
        ("state root", block.text("stateRoot")?.to_owned()),
        ("chain", block.text("chainId")?.to_owned()),
        ("size", format!("{} bytes, {sealed}", block.number("size")?)),
        ("transactions", transactions.len().to_string()),
    ]);
    if !transactions.is_empty() {
        lines.push_str(&format!("\n  {:<64}  {:<19}  sender", "id", "order"));
    }
    for tx in &transactions {
        let (id, action) = (tx.text("txId")?, tx.text("action")?);
        lines.push_str(&format!("\n  {id}  {action:<19}  {}", tx.text("sender")?));
    }
    out.result(|| harmless(&lines), || block.json());
    Ok(())
}

/// Prints the bytes of a block, after checking that they are those of the block that was named.
pub(super) async fn raw_block(rpc: &Rpc, out: Out, which: Option<Given>) -> Result<()> {
    let bytes = block_bytes(rpc, which).await?;
    let id = block_id(&bytes);
    let text = hex::encode(&bytes);
    out.result(|| text.clone(), || json!({ "blockId": id.to_string(), "bytes": text }));
    Ok(())
}

pub(crate) async fn block_bytes(rpc: &Rpc, which: Option<Given>) -> Result<Vec<u8>> {
    let answer = rpc.call("GetBlock", which_block(which, "hex")).await?;
    let bytes = answer.bytes("bytes")?;
    match which {
        Some(Given::Id(id)) if block_id(&bytes) != id => {
            Err(answer.wrong(&format!("the bytes are those of block {}", block_id(&bytes))))
        }
        _ => Ok(bytes),
    }
}

pub(super) fn which_block(which: Option<Given>, encoding: &str) -> Value {
    match which {
        None => json!({ "encoding": encoding }),
        Some(Given::Height(height)) => json!({ "encoding": encoding, "height": height }),
        Some(Given::Id(id)) => json!({ "encoding": encoding, "blockId": id.to_string() }),
    }
}

pub(super) async fn account(rpc: &Rpc, out: Out, id: AccountId) -> Result<()> {
    let params = json!({ "account": AccountRef(id).to_string() });
    let account = rpc.call("GetAccount", params).await?.inner("account")?;
    let keys = if account.flag("hasKeys")? { "known" } else { "not known yet" };
    let rows = rows(&[
        ("account", AccountRef(id).to_string()),
        ("balance", format!("{} LUX", account.amount("balance")?)),
        ("orders", account.number("nonce")?.to_string()),
        ("keys", keys.to_owned()),
    ]);
    out.result(|| rows, || account.json());
    Ok(())
}

pub(super) async fn transaction(rpc: &Rpc, out: Out, id: &TxId) -> Result<()> {
    let tx = rpc.call("GetTx", json!({ "txId": id.to_string() })).await?.inner("tx")?;
    let at = match tx.text("status")? {
        "accepted" => format!("accepted in block {}", tx.number("height")?),
        other => other.to_owned(),
    };
    let fee = match tx.has("fee") {
        true => format!("{} LUX", tx.amount("fee")?),
        false => format!("at most {} LUX", tx.amount("feeMax")?),
    };
    let mut lines = rows(&[
        ("order", tx.text("action")?.to_owned()),
        ("id", tx.text("txId")?.to_owned()),
        ("status", at),
        ("sender", format!("{}, nonce {}", tx.text("sender")?, tx.number("nonce")?)),
        ("fee", fee),
        ("expires", tx.text("expires")?.to_owned()),
        ("size", format!("{} bytes", tx.number("size")?)),
    ]);
    if let Some(Value::Object(details)) = tx.json().get("details") {
        for (name, value) in details {
            let value = match value.as_str() {
                Some(units) if AMOUNTS.contains(&name.as_str()) => {
                    let units = units.parse().map_err(|error| tx.wrong(&error));
                    units.map(Amount).map(|amount| format!("{amount} LUX"))?
                }
                Some(text) => text.to_owned(),
                None => value.to_string(),
            };
            lines.push_str(&format!("\n  {}: {}", name, harmless(&value)));
        }
    }
    out.result(|| lines, || tx.json());
    Ok(())
}

pub(super) async fn nodes(rpc: &Rpc, out: Out, active: bool) -> Result<()> {
    let params = if active { json!({ "status": "active" }) } else { json!({}) };
    let nodes = network::list(rpc, params).await?;
    out.remark(&format!(
        "{:<WHOLE$}  {:<SHORT$}  {:<15}  stake LUX  {:<SHORT$}  endpoint",
        "node", "swarm", "status", "operator"
    ));
    for node in &nodes {
        let swarm = if node.has("swarmId") { node.text("swarmId")? } else { "-" };
        let line = format!(
            "{}  {swarm:<SHORT$}  {:<15}  {:>9}  {}  {}",
            node.text("nodeId")?,
            node.text("status")?,
            node.amount("stake")?.to_string(),
            short(node, "operator")?,
            node.text("endpoint")?,
        );
        out.result(|| harmless(&line), || node.json());
    }
    Ok(())
}

pub(super) async fn node(rpc: &Rpc, out: Out, named: &str) -> Result<()> {
    let id = find_node(rpc, named).await?;
    let node = rpc.call("GetNode", json!({ "nodeId": id.to_string() })).await?.inner("node")?;
    let optional = |field| if node.has(field) { node.text(field) } else { Ok("") };
    let stake = (node.amount("stake")?, node.amount("originalStake")?);
    let unbonds = match node.has("unbondsAt") {
        true => rfc3339::format(seconds(node.number("unbondsAt")?)),
        false => String::new(),
    };
    let rows = rows(&[
        ("node", node.text("nodeId")?.to_owned()),
        ("status", status_words(&node)?),
        ("operator", node.text("operator")?.to_owned()),
        ("endpoint", node.text("endpoint")?.to_owned()),
        ("swarm", optional("swarmId")?.to_owned()),
        ("stake", staked(stake)),
        ("stake free", unbonds),
        (
            "uptime",
            format!(
                "{}.{:02} %",
                node.number("uptimeScore")? / 100,
                node.number("uptimeScore")? % 100
            ),
        ),
        ("misses", node.number("misses")?.to_string()),
        ("last ping", rfc3339::format(seconds(node.number("lastPingAt")?))),
        ("registered", rfc3339::format(seconds(node.number("registeredAt")?))),
    ]);
    out.result(|| rows, || node.json());
    Ok(())
}

/// The status in our word, and in those of the proposal and of the reference where they differ.
fn status_words(node: &Answer) -> Result<String> {
    let status = node.text("status")?;
    let names = node.inner("statusNames")?;
    let (lp, seed) = (names.text("lp")?, names.text("go")?);
    let back = match node.has("suspendedUntil") {
        true => format!(", back in epoch {}", node.number("suspendedUntil")?),
        false => String::new(),
    };
    Ok(format!("{status}{back} (LP: {lp}, seed: {seed})"))
}

/// Finds the node with this id, or whose id alone begins so.
pub(crate) async fn find_node(rpc: &Rpc, named: &str) -> Result<NodeId> {
    let named = named.to_lowercase();
    let digits = named.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits || !(PREFIX_MIN..=WHOLE).contains(&named.len()) {
        return Err(Failure::usage(format!(
            "a node is named by {PREFIX_MIN} to {WHOLE} hex digits of its id, from its beginning"
        )));
    }
    if named.len() == WHOLE {
        return named.parse().map_err(Failure::usage);
    }
    let nodes = network::list(rpc, json!({})).await?;
    let ids = nodes.iter().map(|node| node.parsed("nodeId")).collect::<Result<Vec<NodeId>>>()?;
    let fitting: Vec<_> = ids.iter().filter(|id| id.to_string().starts_with(&named)).collect();
    match fitting[..] {
        [id] => Ok(*id),
        [] => Err(Failure::not_found(format!("no node's id begins with {named}"))),
        _ => Err(Failure::usage(format!("{} nodes' ids begin with {named}", fitting.len()))),
    }
}

fn staked((left, original): (Amount, Amount)) -> String {
    if left == original { format!("{left} LUX") } else { format!("{left} of {original} LUX") }
}

pub(super) fn seconds(seconds: u64) -> Time {
    Time::from_millis(seconds.saturating_mul(1000))
}

fn time(answer: &Answer, field: &'static str) -> Result<Time> {
    rfc3339::parse(answer.text(field)?).map_err(|error| answer.wrong(&error))
}

pub(super) fn short<'a>(answer: &'a Answer, field: &'static str) -> Result<&'a str> {
    let text = answer.text(field)?;
    Ok(text.get(..SHORT).unwrap_or(text))
}

/// Returns the seal of a block, or nothing where nobody seals, as at the genesis.
pub(crate) async fn seal(rpc: &Rpc, id: &BlockId) -> Result<Option<Vec<u8>>> {
    let block = rpc.call("GetBlock", which_block(Some(Given::Id(*id)), "json")).await?;
    let block = block.inner("block")?;
    if block.has("seal") { block.bytes("seal").map(Some) } else { Ok(None) }
}
