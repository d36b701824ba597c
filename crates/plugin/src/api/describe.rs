//! Actions of transactions member by member, for people who look at them.

use serde_json::{Map, Value, json};
use session_core::AccountId;
use session_crypto::{AccountRef, PublicIdentity};
use session_protocol::chain::Action;

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
    };
    match details {
        Value::Object(details) => details,
        _ => Map::new(),
    }
}

fn account(id: &AccountId) -> String {
    AccountRef(*id).to_string()
}

fn node(keys: &PublicIdentity) -> String {
    keys.node_id().to_string()
}
