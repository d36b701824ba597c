//! Actions of transactions member by member, for people who look at them.

use serde_json::{Map, Value, json};
use session_core::AccountId;
use session_crypto::{AccountRef, PublicIdentity};
use session_protocol::chain::Action;
use session_protocol::chain::transaction::bit;

/// Returns what an action says. Keys and signatures are left out: the bytes have them.
pub(super) fn details(action: &Action) -> Map<String, Value> {
    let details = match action {
        Action::Transfer { to, amount } => {
            json!({"to": account(to), "amount": amount.0.to_string()})
        }
        Action::RegisterServiceNode { keys, endpoint, stake, .. } => json!({
            "nodeId": node(keys),
            "endpoint": endpoint.to_string(),
            "stake": stake.0.to_string(),
        }),
        Action::RotateNodeKeys { node: old, keys, .. } => {
            json!({"nodeId": old.to_string(), "newNodeId": node(keys)})
        }
        Action::Decommission { node } | Action::Withdraw { node } => {
            json!({"nodeId": node.to_string()})
        }
        Action::CreateSession { service, program, input, time_max } => json!({
            "serviceId": service.to_string(),
            "program": program.to_string(),
            "input": input.to_string(),
            "timeMaxMs": time_max.as_millis(),
        }),
        Action::StartSession { session } => json!({"sessionId": session.to_string()}),
        Action::FinalizeSession { session, output, oracle_root, receipts_root, certificate } => {
            json!({
                "sessionId": session.to_string(),
                "outputHash": output.to_string(),
                "oracleRoot": oracle_root.to_string(),
                "receiptsRoot": receipts_root.to_string(),
                "signers": certificate.signatures.len(),
            })
        }
        Action::FailSession { session, reason, certificate } => json!({
            "sessionId": session.to_string(),
            "reason": reason.to_string(),
            "signers": certificate.as_ref().map_or(0, |certificate| certificate.signatures.len()),
        }),
        Action::OpenConversation { participants_root, participants, ttl } => json!({
            "participantsRoot": participants_root.to_string(),
            "participants": participants,
            "ttlMs": ttl.as_millis(),
        }),
        Action::CloseConversation { conversation, .. } => {
            json!({"conversationId": conversation.to_string()})
        }
        Action::CreateChannel { name } => json!({"name": name.to_string()}),
        Action::JoinChannel { channel } | Action::LeaveChannel { channel } => {
            json!({"channelId": channel.to_string()})
        }
        Action::AnchorManifest { seq, manifest } => {
            json!({"seq": seq, "manifest": manifest.to_string()})
        }
        duty => return duty_details(duty),
    };
    object(details)
}

/// Returns what a duty of a node says, or an order about an accusation.
fn duty_details(action: &Action) -> Map<String, Value> {
    let details = match action {
        Action::UptimeVote { epoch, passed, failed } => json!({
            "epoch": epoch.0, "passed": bits(passed), "failed": bits(failed),
        }),
        Action::StorageCommitment { commitment } => json!({
            "epoch": commitment.epoch.0,
            "swarmId": commitment.swarm.to_string(),
            "count": commitment.count,
            "bytes": commitment.bytes,
            "root": commitment.root.to_string(),
        }),
        Action::Accuse { evidence } => {
            json!({"kind": evidence.name(), "accused": evidence.accused().to_string()})
        }
        Action::BeaconShares { epoch, shares } => {
            let dealers: Vec<u16> = shares.iter().map(|share| share.dealer).collect();
            json!({"epoch": epoch.0, "dealers": dealers})
        }
        Action::RegisterBeaconKey { key } => json!({
            "root": key.root.to_string(), "firstEpoch": key.first.0, "count": key.count,
        }),
        Action::BeaconDeal { epoch, dealing } => json!({
            "epoch": epoch.0,
            "sharesRoot": dealing.shares.to_string(),
            "commitment": dealing.commitment.to_string(),
        }),
        Action::BeaconAck { epoch, dealings } => {
            json!({"epoch": epoch.0, "dealings": bits(dealings)})
        }
        Action::BeaconReveal { epoch, reveal } => {
            json!({"epoch": epoch.0, "secret": hex::encode(reveal.secret)})
        }
        Action::Drain { epochs } => json!({"epochs": epochs}),
        Action::Refute { case, .. } | Action::Veto { case } => {
            json!({"caseId": case.to_string()})
        }
        _ => json!({}),
    };
    object(details)
}

fn object(details: Value) -> Map<String, Value> {
    match details {
        Value::Object(details) => details,
        _ => Map::new(),
    }
}

/// Returns the places of the bits that are set.
fn bits(bitmap: &[u8]) -> Vec<usize> {
    (0..bitmap.len() * 8).filter(|place| bit(bitmap, *place)).collect()
}

fn account(id: &AccountId) -> String {
    AccountRef(*id).to_string()
}

fn node(keys: &PublicIdentity) -> String {
    keys.node_id().to_string()
}
