//! Between JSON-RPC and the binary protocol: the same operations, limits and refusals.

use serde_json::Value;
use session_core::{Decode as _, Encode as _, InboxAddress, List, NodeId, Time};
use session_crypto::{PublicIdentity, Signature};
use session_protocol::AccessRule;
use session_protocol::inbox::Capability;
use session_protocol::owner::{Authorization, ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::request::{
    self, Cursor, Item, Operation, Outcome, Push, Refusal, Reply, Request, Select,
};
use session_rpc::api::{self, Encoding, Inbox, Method, Proof, result};
use session_rpc::json_rpc::ErrorObject;

mod refusal;
pub(crate) mod sessions;

pub use refusal::error;

/// Makes the request of a call; `node` is who answers it, and `now` its clock.
///
/// # Errors
/// When a value is over a limit of the protocol.
pub fn request(method: Method, node: NodeId, now: Time) -> Result<Request, ErrorObject> {
    let operation = operation(method, node, now).map_err(|refusal| error(&refusal))?;
    let operations = List::new([operation]).expect("one operation is within every batch");
    Ok(Request { id: 0, operations })
}

fn operation(method: Method, node: NodeId, now: Time) -> Result<Operation, Refusal> {
    Ok(match method {
        Method::Store { inbox, namespace, timestamp, ttl, data, token } => {
            let timestamp = timestamp.unwrap_or(now);
            let data = bounded("data", data.len(), request::ItemBytes::new(data))?;
            match token.map(capability) {
                None => {
                    let address = address(inbox);
                    Operation::Store { address, namespace, timestamp, ttl, data }
                }
                Some(token) => {
                    let rule = rule(inbox)?;
                    Operation::Deposit { rule, token, namespace, timestamp, ttl, data }
                }
            }
        }
        Method::Retrieve { inbox, namespace, select, bytes_max, audience, proof, .. } => {
            let select = selection(select)?;
            let Some(proof) = proof else {
                let address = address(inbox);
                return Ok(Operation::RetrievePublic { address, namespace, select, bytes_max });
            };
            let audience = audience.unwrap_or(node);
            let action = OwnerAction::Retrieve { namespace, select, bytes_max, audience };
            owner(inbox, action, proof, now)?
        }
        Method::Delete { inbox, ids, proof } => {
            owner(inbox, OwnerAction::Delete { ids: list("ids", ids)? }, proof, now)?
        }
        Method::Expire { inbox, ids, expiry, mode, proof } => {
            let mode = match mode {
                api::ExpireMode::Shorten => ExpireMode::Shorten,
                api::ExpireMode::Extend => ExpireMode::Extend,
            };
            let ids = list("ids", ids)?;
            owner(inbox, OwnerAction::Expire { ids, expiry, mode }, proof, now)?
        }
        Method::GetSwarm { inbox } => Operation::GetSwarm { address: address(inbox) },
        Method::Info => Operation::Info,
        Method::Subscribe { inbox, namespaces, audience, proof, .. } => {
            let namespaces = list("namespaces", namespaces)?;
            let audience = audience.unwrap_or(node);
            owner(inbox, OwnerAction::Subscribe { namespaces, audience }, proof, now)?
        }
        _ => return Err(Refusal::bad_request("method", "this node does not serve it")),
    })
}

fn address(inbox: Inbox) -> InboxAddress {
    match inbox {
        Inbox::Account(account) => AccessRule::from(account).address(),
        Inbox::Address(address) => address,
        Inbox::Mailbox(mailbox) => mailbox_rule(mailbox).address(),
    }
}

/// Returns the rule of an inbox that is named by more than its address.
fn rule(inbox: Inbox) -> Result<AccessRule, Refusal> {
    match inbox {
        Inbox::Account(account) => Ok(AccessRule::from(account)),
        Inbox::Mailbox(mailbox) => Ok(mailbox_rule(mailbox)),
        Inbox::Address(_) => {
            Err(Refusal::bad_request("address", "name the account, or the mailbox by its rule"))
        }
    }
}

const fn mailbox_rule(api::Mailbox { reader, writer, eraser }: api::Mailbox) -> AccessRule {
    AccessRule::Mailbox { reader, writer, eraser }
}

fn capability(api::Token(bytes): api::Token) -> Capability {
    Capability::new(bytes)
}

fn selection(select: api::Select) -> Result<Select, Refusal> {
    Ok(match select {
        api::Select::After(api::Cursor { incarnation, arrival }) => {
            Select::After { cursor: Cursor { incarnation, arrival } }
        }
        api::Select::Ids(ids) => Select::Ids { ids: list("ids", ids)? },
    })
}

fn owner(inbox: Inbox, action: OwnerAction, proof: Proof, now: Time) -> Result<Operation, Refusal> {
    let rule = rule(inbox)?;
    let authorization = match proof {
        Proof::Signed { keys, timestamp, nonce, signature } => {
            let keys = keys.map(|keys| public_keys(&keys)).transpose()?;
            let signature = Signature::try_from(signature.as_slice())
                .map_err(|error| Refusal::bad_request("signature", &error.to_string()))?;
            Authorization::Signed { keys, timestamp, nonce, signature }
        }
        Proof::Token { token, timestamp, nonce } => {
            let (token, timestamp) = (capability(token), timestamp.unwrap_or(now));
            Authorization::Token { token, timestamp, nonce }
        }
    };
    let operation = OwnerOperation { rule, action, authorization };
    Ok(Operation::Owner { operation: Box::new(operation) })
}

fn public_keys(bytes: &[u8]) -> Result<PublicIdentity, Refusal> {
    PublicIdentity::decode_exact(bytes)
        .map_err(|error| Refusal::bad_request("keys", &error.to_string()))
}

fn list<T, const MAX: usize>(field: &str, values: Vec<T>) -> Result<List<T, MAX>, Refusal> {
    let got = values.len();
    List::new(values).map_err(|_| Refusal::too_large(field, got as u64, MAX as u64))
}

fn bounded<const MAX: usize>(
    field: &str,
    got: usize,
    blob: Result<session_core::Blob<MAX>, session_core::codec::OverLimit>,
) -> Result<session_core::Blob<MAX>, Refusal> {
    blob.map_err(|_| Refusal::too_large(field, got as u64, MAX as u64))
}

/// Returns the result of a call from the reply to its request.
///
/// # Errors
/// When the operation was refused.
pub fn result(reply: Reply, encoding: Encoding) -> Result<Value, ErrorObject> {
    let Reply { server_time, roots, outcomes, .. } = reply;
    let outcome = outcomes.into_iter().next();
    let outcome = outcome.ok_or_else(|| error(&Refusal::internal("the reply has no outcome")))?;
    Ok(match outcome {
        Outcome::Stored { message, expiry, duplicate, receipts } => {
            let node = |root: u16| roots.get(usize::from(root)).map(|root| root.node);
            let receipts = receipts.into_iter().filter_map(|receipt| {
                Some(result::Receipt {
                    node: node(receipt.root)?,
                    root: receipt.root,
                    expiry: receipt.expiry,
                    stored_at: receipt.stored_at,
                    proof: receipt.proof.to_bytes(),
                })
            });
            let receipts = receipts.collect();
            let roots = roots.iter().map(|root| result::Root {
                node: root.node,
                root: root.root,
                signature: root.signature.to_bytes(),
            });
            let roots = roots.collect();
            result::to_json(&result::Stored {
                id: message,
                expiry,
                duplicate,
                receipts,
                roots,
                server_time,
            })
        }
        Outcome::Items { items, cursor, more } => {
            let incarnation = cursor.incarnation;
            let items = items.into_iter().map(|item| self::item(item, incarnation, encoding));
            let items = items.collect();
            let cursor = self::cursor(cursor);
            result::to_json(&result::Items { items, cursor, more, server_time })
        }
        Outcome::Deleted { ids, nodes } => {
            result::to_json(&result::Deleted { deleted: ids.into_vec(), nodes, server_time })
        }
        Outcome::Expiring { expiries, nodes } => {
            let expiries = expiries
                .into_iter()
                .map(|one| result::Expiry { id: one.id, expiry: one.expiry })
                .collect();
            result::to_json(&result::Expiring { expiries, nodes, server_time })
        }
        Outcome::Swarm { swarm, members } => {
            let members = members.into_iter().map(|member| result::Member {
                node: member.node,
                address: member.address.to_string(),
            });
            let members = members.collect();
            result::to_json(&result::Swarm { swarm, members, server_time })
        }
        Outcome::Info { info } => result::to_json(&result::Info {
            node: info.node,
            network: info.network,
            swarm: info.swarm,
            version: info.version.to_string(),
            items: info.items,
            members_up: info.members_up,
            members: info.members,
            server_time,
        }),
        Outcome::Subscribed { cursor } => {
            let cursor = self::cursor(cursor);
            result::to_json(&result::Subscribed { cursor, server_time })
        }
        Outcome::Refused { refusal } => return Err(error(&refusal)),
        _ => return Err(error(&Refusal::internal("the outcome has no JSON form"))),
    })
}

/// Returns the JSON of a pushed item.
#[must_use]
pub fn pushed(push: Push, encoding: Encoding) -> Value {
    let mut json = result::to_json(&item(push.item, push.incarnation, encoding));
    json["address"] = push.address.to_string().into();
    json
}

fn item(item: Item, incarnation: u64, encoding: Encoding) -> result::Item {
    result::Item {
        id: item.id,
        namespace: item.namespace.0,
        timestamp: item.timestamp,
        expiry: item.expiry,
        cursor: api::Cursor { incarnation, arrival: item.arrival },
        data: result::Data { bytes: item.data.into_vec(), encoding },
    }
}

const fn cursor(cursor: Cursor) -> api::Cursor {
    api::Cursor { incarnation: cursor.incarnation, arrival: cursor.arrival }
}

#[cfg(test)]
mod tests;
