//! The end of the story: what nodes owe each other, and what becomes of one that lies.

use std::time::Duration;

use serde_json::json;
use session_core::{Decode as _, NodeId};
use session_crypto::RealVerifier;
use session_runtime::http::client::{Client, Options};
use session_vm::bundle::CertificateFile;
use session_vm::records::NodeKeys;
use tokio::time::Instant;

use super::Teller;
use crate::chain::duties::{cases_against, evidence_of};
use crate::chain::genesis;
use crate::chain::rpc::Answer;
use crate::cluster::Cluster;
use crate::exit::{Failure, Result};
use crate::local_chain;
use crate::verify::{Rules, because};

/// How long the network may take to certify an epoch, or to punish a lie: some epochs.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(200);

/// The first epoch whose beacon is dealt: the secrets for it are registered in the epoch of the
/// genesis and are dealt with in the one after.
const FIRST_SHARED: u64 = 2;

pub(super) async fn tell(cluster: &Cluster, teller: &mut Teller) -> Result<()> {
    let lying = (0..cluster.len()).find_map(|index| Some((index, cluster.lie(index)?)));
    if let Some((index, lie)) = lying {
        punished(cluster, teller, index, lie).await?;
    }
    certified(cluster, teller).await
}

/// Fetches the certificate of an epoch's beacon from a node, and checks it with the genesis alone.
async fn certified(cluster: &Cluster, teller: &mut Teller) -> Result<()> {
    let genesis = genesis::read(&local_chain::genesis_file(cluster.dir()))?;
    let deadline = Instant::now() + PATIENCE;
    let file = loop {
        if let Some(file) = certificate(cluster).await? {
            break file;
        }
        if Instant::now() > deadline {
            return Err(Failure::failed("no node has a certificate of an epoch's beacon"));
        }
        tokio::time::sleep(POLL).await;
    };
    file.verify(&genesis, &RealVerifier, &session_core::Inline)
        .map_err(|error| Failure::failed(format!("the certificate proves nothing: {error}")))?;
    let epoch = file.certificate.statement.epoch;
    let answer = epoch_of(cluster, epoch.0).await?;
    teller.step(&format!(
        "epoch {epoch} turned with a beacon that is {}; {} of {} members certify it, checked with \
         the genesis alone",
        answer.text("mode")?,
        file.certificate.signatures.len(),
        file.members.len()
    ));
    Ok(())
}

async fn epoch_of(cluster: &Cluster, epoch: u64) -> Result<Answer> {
    cluster.chain().rpc()?.call("GetEpoch", json!({ "epoch": epoch })).await
}

/// Returns the certificate of the last epoch that some node has one of.
async fn certificate(cluster: &Cluster) -> Result<Option<CertificateFile>> {
    let current = cluster.chain().rpc()?.call("GetEpoch", json!({})).await?.number("epoch")?;
    for epoch in (FIRST_SHARED..=current).rev().take(3) {
        for index in 0..cluster.len() {
            let Ok(endpoint) = format!("http://{}", cluster.http_address(index)).parse() else {
                continue;
            };
            let client = Client::new(endpoint, Options::default());
            let Ok((status, body)) = client.get(&format!("/certificate/{epoch}")).await else {
                continue;
            };
            if status == 200 {
                let file = CertificateFile::decode_exact(&body);
                return file.map(Some).map_err(|error| {
                    Failure::failed(format!("node {index} gave a bad certificate: {error}"))
                });
            }
        }
    }
    Ok(None)
}

/// Waits until a node that lies has paid for it.
async fn punished(cluster: &Cluster, teller: &mut Teller, index: usize, lie: &str) -> Result<()> {
    let (rpc, node) = (cluster.chain().rpc()?, cluster.id(index));
    let deadline = Instant::now() + PATIENCE;
    let case = loop {
        let cases = cases_against(&rpc, &node).await?;
        let paid = cases.into_iter().find(|case| case.text("status").is_ok_and(|is| is == "paid"));
        if let Some(case) = paid {
            break case;
        }
        if Instant::now() > deadline {
            return Err(Failure::failed(format!(
                "node {index} lied ({lie}) and did not pay within {} s",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(POLL).await;
    };
    let accused: NodeId = case.parsed("accused")?;
    let evidence = evidence_of(&rpc, &case).await?;
    let keys = rpc.entry::<NodeKeys>(&accused).await?;
    let keys = keys.ok_or_else(|| case.wrong(&"the chain has no keys of the accused"))?;
    let finding = Rules::ask(&rpc).await?.check(&evidence, &keys).map_err(Failure::failed)?;
    let status = rpc.call("GetNode", json!({ "nodeId": node.to_string() })).await?.inner("node")?;
    teller.step(&format!(
        "node {index}, which lies, was caught: {}; it paid {} LUX and is {}",
        because(&evidence, &finding),
        case.amount("amount")?,
        status.text("status")?
    ));
    Ok(())
}
