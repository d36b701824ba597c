//! The bundle of a session: fetched from a node, tied to the chain, written as a file.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use session_core::{Blob, Decode, Encode, SessionId};
use session_executor::bundle::{self, Bundle};
use session_runtime::files::{self, Existing};
use tokio::time::Instant;

use super::node::Node;
use crate::chain::rpc::Rpc;
use crate::exit::{Doing, Failure, Result};
use crate::verify::anchor::Anchor;

/// Bundles are public.
const MODE: u32 = 0o644;

/// How long the chain may take to have the end of a session that a node calls over.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a smaller block is waited for.
const ANCHORS_MAX: u32 = 10;

const POLL: Duration = Duration::from_millis(200);

/// Fetches the bundle of a session that ended, and adds what the chain says of it.
pub(super) async fn fetch(node: &Node, rpc: &Rpc, session: &SessionId) -> Result<Bundle> {
    let bytes = node.bundle(session).await?;
    let bundle = Bundle::decode_exact(&bytes).doing(|| "the node's bundle".to_owned())?;
    until_over(rpc, session).await?;
    let mut tries = 0;
    loop {
        let anchor = Anchor::fetch(rpc, session).await?.to_bytes();
        let size = anchor.len();
        tries += 1;
        match Blob::new(anchor) {
            Ok(anchor) => return Ok(Bundle { anchor, ..bundle }),
            // Any later block shows the same, and may be smaller.
            Err(_) if tries < ANCHORS_MAX => tokio::time::sleep(POLL).await,
            Err(error) => {
                let why =
                    format!("the chain's blocks are large: an anchor of {size} bytes: {error}");
                return Err(Failure::failed(why));
            }
        }
    }
}

/// Waits until the chain says how a session ended.
async fn until_over(rpc: &Rpc, session: &SessionId) -> Result<()> {
    let began = Instant::now();
    loop {
        let params = json!({ "sessionId": session.to_string() });
        let answer = rpc.call("GetWorkload", params).await?.inner("workload")?;
        let status = answer.text("state")?;
        if matches!(status, "finalized" | "failed") {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::failed(format!(
                "the chain still says that the session is {status}"
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Writes it.
pub(super) fn write(bundle: &Bundle, file: &Path) -> Result<()> {
    let text = bundle::to_json(bundle);
    files::write_atomic(file, text.as_bytes(), MODE, Existing::Replace).map_err(Failure::failed)
}
