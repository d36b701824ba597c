//! Nodes that the chain does not know yet are registered by the operator.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::json;
use session_core::TxId;
use session_crypto::Identity;

use super::keys::Keys;
use crate::chain::order;
use crate::chain::rpc::Rpc;
use crate::exit::{Code, Doing, Failure, Result};
use crate::local_chain::STAKE;

/// How long registrations may take to be in a block.
const PATIENCE: Duration = Duration::from_secs(30);

/// States of nodes that still run, or will.
const RUNNING: [&str; 4] = ["registered", "active", "suspended", "leaving"];

/// What the chain says of a node.
pub(super) enum Known {
    /// Where it is reached.
    At(SocketAddr),
    /// It is out, and in which state.
    Out(String),
}

/// Registers the nodes that the chain does not know; returns where each is, and how many are new.
pub(super) async fn all(
    rpc: &Rpc,
    operator: &Identity,
    nodes: &[Keys],
) -> Result<(Vec<Known>, usize)> {
    let mut known = Vec::with_capacity(nodes.len());
    let mut last: Option<TxId> = None;
    let mut new = 0;
    let mut nonce = order::next_nonce(rpc, operator.public().account_ref()).await?;
    // Held until all are chosen, so that no port is chosen twice.
    let mut sockets = Vec::new();
    for node in nodes {
        if let Some(found) = find(rpc, node).await? {
            known.push(found);
            continue;
        }
        let address = match node.address {
            Some(address) => address,
            None => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
                let socket = socket.doing(|| "cannot find a free UDP port".to_owned())?;
                let address = socket.local_addr();
                sockets.push(socket);
                address.doing(|| "cannot find a free UDP port".to_owned())?
            }
        };
        let endpoint = address.to_string();
        let id = order::register(rpc, operator, nonce, &node.identity, &endpoint, STAKE).await?;
        known.push(Known::At(address));
        last = Some(id);
        nonce += 1;
        new += 1;
    }
    // Orders of one sender are executed in order: the last one stands for all.
    if let Some(last) = last {
        order::executed(rpc, last, PATIENCE).await?;
    }
    Ok((known, new))
}

async fn find(rpc: &Rpc, node: &Keys) -> Result<Option<Known>> {
    let params = json!({ "nodeId": node.id().to_string() });
    let found = match rpc.call("GetNode", params).await {
        Ok(answer) => answer.inner("node")?,
        Err(unknown) if unknown.code == Code::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let status = found.text("status")?;
    if !RUNNING.contains(&status) {
        return Ok(Some(Known::Out(status.to_owned())));
    }
    let endpoint = found.text("endpoint")?;
    let address = endpoint.parse().map_err(|_| {
        Failure::failed(format!(
            "node {} is at {endpoint}: this network was not made here",
            node.id()
        ))
    })?;
    Ok(Some(Known::At(address)))
}
