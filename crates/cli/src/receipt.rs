//! `session receipt`: what the swarm has signed for.

mod file;

use std::path::Path;

use serde_json::json;
use session_client::StoredProof;
use session_core::Decode;
use session_messaging::thread;
use session_protocol::Membership as _;

use crate::args::Receipt;
use crate::chat::show;
use crate::desk;
use crate::exit::{Failure, Result};
use crate::home::{self, Home};
use crate::out::Out;
use crate::tui::model::progress;

use file::ReceiptFile;

pub(crate) fn run(home: &Home, out: Out, command: &Receipt) -> Result<()> {
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
        }
        Receipt::Export { of, message, out: path } => {
            let thread = desk::place(&vault, of)?.thread()?;
            let message = desk::message(&vault, thread, message)?;
            let proofs = thread::proof(&vault, thread, message.id);
            let proofs: Vec<StoredProof> =
                proofs.iter().filter_map(|bytes| StoredProof::decode_exact(bytes).ok()).collect();
            if proofs.is_empty() {
                return Err(Failure::not_found(format!(
                    "no quorum has signed for message {} yet, or it has expired",
                    message.id
                )));
            }
            let network = home::membership(&home.network()?, home.network_file())?.network();
            let count = proofs.len();
            let bytes = ReceiptFile::new(network, proofs).map_err(Failure::failed)?.to_file();
            home::write_output(path, &bytes)?;
            if path != Path::new("-") {
                out.result(
                    || format!("{count} proofs written to {}", path.display()),
                    || json!({ "id": message.id.to_string(), "proofs": count, "file": path }),
                );
            }
        }
    }
    Ok(())
}

/// Checks a file against the nodes of a network file.
pub(crate) fn verify(out: Out, path: &Path, nodes: &Path) -> Result<()> {
    let refused =
        |why: &dyn std::fmt::Display| Failure::refused(format!("{}: {why}", path.display()));
    let file = ReceiptFile::read(&home::read_input(path)?).map_err(|error| refused(&error))?;
    let membership = home::membership(&home::read_network(nodes)?, nodes)?;
    let proven = file.verify(&*membership).map_err(|error| refused(&error))?;
    for it in proven {
        out.result(
            || {
                format!(
                    "item {}: {} of {} nodes have signed that it is on their disks, {} make a quorum",
                    it.message,
                    it.good(),
                    it.of,
                    it.needed
                )
            },
            || {
                let nodes = it.receipts.iter().map(|it| it.receipt.node.to_string());
                json!({ "item": it.message.to_string(), "signed_by": it.good(), "quorum": it.needed,
                        "swarm": it.of, "expires_ms": it.expiry.as_millis(),
                        "nodes": nodes.collect::<Vec<_>>() })
            },
        );
    }
    Ok(())
}
