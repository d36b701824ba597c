//! The network file: which nodes the chain knows, with keys that are checked.

use std::path::Path;

use serde_json::json;
use session_core::NodeId;
use session_crypto::AccountRef;
use session_protocol::network_file;
use session_rpc::network_file::{NetworkFile, NodeEntry};
use session_runtime::files::{self, Existing};
use session_vm::records::{Chain, Only};

use super::rpc::{Answer, Rpc};
use crate::exit::{Failure, Result};
use crate::out::Out;

/// Everybody may read it: it holds public keys.
const MODE: u32 = 0o644;

/// Nodes in a page; the most that is given.
const PAGE: u64 = 200;

/// Far above every network there is; a node that lies must not fill the memory.
const NODES_MAX: usize = 100_000;

pub(crate) async fn run(rpc: &Rpc, out: Out, file: Option<&Path>) -> Result<()> {
    let network = fetch(rpc).await?;
    let Some(file) = file else {
        out.result(
            || network.to_toml().trim_end().to_owned(),
            || json!({ "network": network.network, "toml": network.to_toml() }),
        );
        return Ok(());
    };
    write(file, &network)?;
    let nodes = network.nodes.len();
    out.result(
        || format!("{nodes} nodes written to {}", file.display()),
        || json!({ "network": network.network, "nodes": nodes, "file": file }),
    );
    Ok(())
}

/// Returns the network that the chain knows: the nodes with a place in a swarm, each with keys that make its id.
pub(crate) async fn fetch(rpc: &Rpc) -> Result<NetworkFile> {
    let chain = rpc.entry::<Chain>(&Only {}).await?;
    let chain = chain.ok_or_else(|| Failure::failed("the chain has no name"))?;
    let nodes = list(rpc, json!({})).await?;
    // Also those that are away for a while or leave soon have their place until the epoch turns.
    let nodes =
        nodes.iter().filter(|node| node.has("swarmId")).map(entry).collect::<Result<Vec<_>>>()?;
    if nodes.is_empty() {
        return Err(Failure::not_found("the chain has no active nodes: a network needs some"));
    }
    let file = NetworkFile::new(chain.name.to_string(), nodes);
    // Keys that are none or make another id, and nodes that contradict each other, end here.
    network_file::membership(&file)
        .map_err(|error| Failure::failed(format!("the chain's nodes make no network: {error}")))?;
    Ok(file)
}

/// Writes it, all of it or nothing.
pub(crate) fn write(path: &Path, network: &NetworkFile) -> Result<()> {
    let text = network.to_toml();
    files::write_atomic(path, text.as_bytes(), MODE, Existing::Replace).map_err(Failure::failed)
}

/// Returns every node that fits `params`, page by page.
pub(crate) async fn list(rpc: &Rpc, mut params: serde_json::Value) -> Result<Vec<Answer>> {
    params["limit"] = PAGE.into();
    let mut nodes = Vec::new();
    loop {
        let page = rpc.call("ListNodes", params.clone()).await?;
        nodes.extend(page.list("nodes")?);
        if !page.has("next") {
            return Ok(nodes);
        }
        let next: NodeId = page.parsed("next")?;
        if nodes.len() > NODES_MAX {
            return Err(page.wrong(&format!("there are more than {NODES_MAX} nodes")));
        }
        if params["after"] == next.to_string() {
            return Err(page.wrong(&"the next page is this one"));
        }
        params["after"] = next.to_string().into();
    }
}

fn entry(node: &Answer) -> Result<NodeEntry> {
    let swarm = node.text("swarmId")?;
    Ok(NodeEntry {
        id: node.parsed("nodeId")?,
        kem_public_key: node.bytes("encryptionKey")?,
        dsa_public_key: node.bytes("publicKey")?,
        address: node.parsed("endpoint")?,
        swarm: session_rpc::network_file::swarm_id(swarm)
            .ok_or_else(|| node.wrong(&"swarmId: it must be hex digits"))?,
        operator: Some(node.parsed::<AccountRef>("operator")?.0),
        stake: Some(node.amount("stake")?.0),
    })
}
