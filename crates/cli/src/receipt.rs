//! `session receipt`: what the swarm has signed for.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use session_client::StoredProof;
use session_client::receipts::{ANCHOR_BYTES_MAX, ReceiptFile, Verdict};
use session_core::{Blob, Decode, Encode as _};
use session_crypto::RealVerifier;
use session_messaging::thread::{self, Message, ThreadId};
use session_messaging::vault::Vault;
use session_protocol::Membership as _;
use session_vm::records::{Chain, Only};

use crate::args::Receipt;
use crate::chain::genesis;
use crate::chain::rpc::Rpc;
use crate::chat::show;
use crate::desk;
use crate::exit::{Failure, Result};
use crate::home::{self, Home};
use crate::local_chain;
use crate::out::Out;
use crate::tui::model::progress;
use crate::verify::swarms::Swarms;

pub(crate) async fn run(home: &Home, out: Out, command: &Receipt) -> Result<()> {
    let vault = desk::open_vault(home)?;
    match command {
        Receipt::Show { of, message } => {
            let thread = desk::place(&vault, of)?.thread()?;
            let message = desk::message(&vault, thread, message)?;
            out.result(
                || format!("[{}] {}", &message.id.to_string()[..8], progress(&message.status)),
                || {
                    json!({ "thread": thread.number, "id": message.id.to_string(),
                            "status": show::status_json(&message.status),
                            "proofs": thread::proof(&vault, thread, message.id).len() })
                },
            );
            Ok(())
        }
        Receipt::Export { of, message, out: path } => {
            let thread = desk::place(&vault, of)?.thread()?;
            let message = desk::message(&vault, thread, message)?;
            export(home, out, &vault, (thread, &message), path).await
        }
    }
}

async fn export(
    home: &Home,
    out: Out,
    vault: &dyn Vault,
    (thread, message): (ThreadId, &Message),
    path: &Path,
) -> Result<()> {
    let proofs = thread::proof(vault, thread, message.id);
    let proofs = proofs.iter().filter_map(|bytes| StoredProof::decode_exact(bytes).ok());
    let network = home::membership(&home.network()?, home.network_file())?.network();
    let mut file = ReceiptFile::new(network, proofs).ok_or_else(|| {
        Failure::not_found(format!(
            "no quorum has signed for message {} yet, or it has expired",
            message.id
        ))
    })?;
    let chain = local_chain::known(home)?;
    if let Some(chain) = chain {
        match swarms(&Rpc::new(chain), &file).await {
            Ok(anchor) => file.anchor = Some(anchor),
            Err(why) => out.warn(&format!(
                "the file does not show from the chain who the members of the swarm are: {why}"
            )),
        }
    }
    home::write_output(path, &file.to_file())?;
    if path != Path::new("-") {
        let (count, anchored) = (file.parts.len(), file.anchor.is_some());
        out.result(
            || {
                let how = if anchored {
                    "with the chain's proof of who the members are"
                } else {
                    "without a chain's proof of who the members are"
                };
                format!("{count} proofs written to {}, {how}", path.display())
            },
            || {
                json!({ "id": message.id.to_string(), "proofs": count, "file": path,
                        "anchored": anchored })
            },
        );
    }
    Ok(())
}

/// Returns what shows, from the chain, the members of the swarms that signed: only if the file holds
/// against them.
async fn swarms(rpc: &Rpc, file: &ReceiptFile) -> Result<Blob<ANCHOR_BYTES_MAX>> {
    let first = file.parts.iter().filter_map(|part| part.proof.receipts.first());
    let wanted: BTreeSet<_> = first.map(|it| it.receipt.swarm).collect();
    let swarms = Swarms::fetch(rpc, &wanted).await?;
    let chain = rpc.entry::<Chain>(&Only {}).await?;
    let chain = chain.ok_or_else(|| Failure::failed("the chain has no name"))?;
    // Members may have changed since they signed: the chain of today shows those of today.
    file.verify(&swarms.membership(&chain.name)?, &RealVerifier).map_err(Failure::failed)?;
    Blob::new(swarms.to_bytes()).map_err(Failure::failed)
}

/// Checks a file against a chain, from its genesis on, or against the nodes of a network file.
pub(crate) fn verify(
    out: Out,
    path: &Path,
    nodes: Option<&Path>,
    genesis: Option<&Path>,
) -> Result<()> {
    let refused =
        |why: &dyn std::fmt::Display| Failure::refused(format!("{}: {why}", path.display()));
    let file = ReceiptFile::from_file(&home::read_input(path)?).map_err(|error| refused(&error))?;
    let (membership, shown_by, height) = match (genesis, nodes) {
        (Some(genesis), _) => {
            let anchor = file.anchor.as_ref().ok_or_else(|| {
                refused(
                    &"NOT PROVEN: nothing in it shows who the members of the swarm were: export it \
                      where the chain is known, or name the nodes that you believe with --nodes",
                )
            })?;
            let swarms = Swarms::decode_exact(anchor).map_err(|error| {
                refused(&format!("NOT PROVEN: its proof of the chain: {error}"))
            })?;
            let (membership, height) = swarms.verify(genesis::read(genesis)?)?;
            let shown_by = format!("block {height} of the chain shows who the members are");
            (membership, shown_by, Some(height))
        }
        (None, Some(nodes)) => {
            let membership = home::membership(&home::read_network(nodes)?, nodes)?;
            let shown_by = format!("{} is believed for who the members are", nodes.display());
            ((*membership).clone(), shown_by, None)
        }
        (None, None) => {
            return Err(Failure::usage("what is believed is missing: --genesis or --nodes FILE"));
        }
    };
    let verdict = file.verify(&membership, &RealVerifier).map_err(|error| refused(&error))?;
    tell(out, &file, &verdict, &shown_by, height);
    Ok(())
}

fn tell(out: Out, file: &ReceiptFile, verdict: &Verdict, shown_by: &str, height: Option<u64>) {
    out.remark(shown_by);
    for (part, it) in file.parts.iter().zip(&verdict.parts) {
        out.result(
            || {
                format!(
                    "item {}: {} of {} nodes have signed that it is on their disks, {} make a quorum",
                    it.item, it.good, it.of, it.needed
                )
            },
            || {
                let nodes = part.proof.receipts.iter().map(|it| it.receipt.node.to_string());
                json!({ "item": it.item.to_string(), "signed_by": it.good, "quorum": it.needed,
                        "swarm": it.of, "expires_ms": it.expiry.as_millis(),
                        "stored_ms": it.stored_at.as_millis(),
                        "against": if height.is_some() { "chain" } else { "nodes" },
                        "height": height, "nodes": nodes.collect::<Vec<_>>() })
            },
        );
    }
}
