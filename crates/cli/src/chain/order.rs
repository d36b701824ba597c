//! Transactions: made, signed with the own identity, handed over, waited for.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use session_core::{
    AccountId, ChainId, Decode, Encode, Epoch, NodeId, ServiceId, SessionId, Span, Text, TxId,
};
use session_crypto::{AccountRef, Identity, PublicIdentity, Signature};
use session_protocol::chain::transaction::{
    Possession, ReceivedTransaction, TRANSACTION_BYTES_MAX, TRANSACTION_VERSION, channel_id,
    conversation_id,
};
use session_protocol::chain::{Action, Amount, Transaction};
use session_protocol::membership::ADDRESS_BYTES_MAX;
use session_protocol::owner::OwnerOperation;
use session_vm::query::required_fee;
use session_vm::records::{Only, Parameters};

use super::participants::{Hidden, Ticket};
use super::rpc::{Answer, Rpc};
use crate::args::{Order, Sending};
use crate::exit::{Code, Failure, Result};
use crate::home::{self, Home};
use crate::out::Out;
use crate::verify::EvidenceFile;

/// How long an order may wait for its block: long enough for a sequencer to be restarted.
const LIFE: Span = Span::from_secs(600);

/// How often the chain is asked whether the order is in a block.
const POLL: Duration = Duration::from_millis(100);

/// Epochs that are looked at for the one in which a session was created.
const EPOCHS_BACK: u64 = 3;

/// The one reason of a failure that needs no certificate.
const DEADLINE: &str = "deadline";

/// What an order is for, and what its giver is told besides.
struct Planned {
    action: Action,
    /// Members of the result that are known before it is sent.
    more: Map<String, Value>,
}

/// What became of an order.
pub(crate) struct Done {
    pub(crate) tx: TxId,
    /// Height and fee, once it is in a block.
    pub(crate) accepted: Option<(u64, Amount)>,
}

pub(crate) async fn run(
    rpc: &Rpc,
    home: &impl Fn() -> Result<Home>,
    out: Out,
    order: &Order,
    sending: &Sending,
) -> Result<()> {
    if let Order::Submit { file } = order {
        let bytes = home::read_input(file)?;
        let received = ReceivedTransaction::parse(&bytes)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        let transaction = &received.signed.transaction;
        let (chain, more) = (transaction.chain, Map::new());
        let sender = account(rpc, AccountRef(transaction.sender)).await?;
        warn_ahead(out, transaction.nonce, sender.number("nonce")?);
        let done = hand_over(rpc, received.id, &bytes, sending.patience()).await?;
        return tell(rpc, out, &transaction.action, &chain, &done, more).await;
    }
    let home = home()?;
    // A node speaks for itself; everything else is ordered by a person.
    let identity = match order {
        Order::Drain { keys, .. } => node_keys(&home, keys)?,
        _ => home.identity()?,
    };
    let chain = sending.check(chain_id(rpc).await?)?;
    let planned = plan(&home, &identity, &chain, order)?;
    if let Some(nonce) = sending.nonce {
        let own = account(rpc, identity.public().account_ref()).await?;
        warn_ahead(out, nonce, own.number("nonce")?);
    }
    let (id, bytes) = sign(rpc, &identity, chain, planned.action.clone(), sending).await?;
    let done = hand_over(rpc, id, &bytes, sending.patience()).await?;
    tell(rpc, out, &planned.action, &chain, &done, planned.more).await
}

/// Registers a node of `operator`, whose next nonce is `nonce`, without waiting.
pub(crate) async fn register(
    rpc: &Rpc,
    operator: &Identity,
    nonce: u64,
    node: &Identity,
    endpoint: &str,
    stake: Amount,
) -> Result<TxId> {
    let chain = chain_id(rpc).await?;
    let endpoint = Text::new(endpoint).map_err(Failure::usage)?;
    let possession = possess(node, &chain, operator.public().account_id(), endpoint.clone())?;
    let keys = node.public().clone();
    let action = Action::RegisterServiceNode { keys, endpoint, stake, possession };
    let sending =
        Sending { wait: Span::ZERO, no_wait: true, fee_max: None, chain: None, nonce: Some(nonce) };
    let (id, bytes) = sign(rpc, operator, chain, action, &sending).await?;
    hand_over(rpc, id, &bytes, None).await.map(|done| done.tx)
}

/// Returns the nonce of the next order of an account.
pub(crate) async fn next_nonce(rpc: &Rpc, of: AccountRef) -> Result<u64> {
    account(rpc, of).await?.number("nonce")
}

/// Gives LUX of `from` to somebody, and waits until it is done.
pub(crate) async fn transfer(
    rpc: &Rpc,
    from: &Identity,
    to: AccountId,
    amount: Amount,
    patience: Duration,
) -> Result<Done> {
    carry_out(rpc, from, Action::Transfer { to, amount }, patience).await
}

/// Orders something as somebody, and waits until it is done.
pub(crate) async fn carry_out(
    rpc: &Rpc,
    from: &Identity,
    action: Action,
    patience: Duration,
) -> Result<Done> {
    let sending =
        Sending { wait: Span::ZERO, no_wait: false, fee_max: None, chain: None, nonce: None };
    let chain = chain_id(rpc).await?;
    let (id, bytes) = sign(rpc, from, chain, action, &sending).await?;
    hand_over(rpc, id, &bytes, Some(patience)).await
}

impl Sending {
    /// How long to wait; `None` for not at all.
    fn patience(&self) -> Option<Duration> {
        (!self.no_wait).then(|| self.wait.into())
    }

    /// Returns the chain that the node named, if it is the one that is meant.
    fn check(&self, named: ChainId) -> Result<ChainId> {
        match self.chain {
            Some(meant) if meant != named => Err(Failure::refused(format!(
                "the node is of chain {named}, --chain says {meant}: nothing was signed"
            ))),
            _ => Ok(named),
        }
    }
}

async fn account(rpc: &Rpc, account: AccountRef) -> Result<Answer> {
    rpc.call("GetAccount", json!({ "account": account.to_string() })).await?.inner("account")
}

/// Says that an order cannot be executed before others of its sender that are not yet executed.
fn warn_ahead(out: Out, nonce: u64, next: u64) {
    if nonce > next {
        out.warn(&format!(
            "the sender's next nonce is {next}, the order has {nonce}: it waits for the {} before it",
            nonce - next
        ));
    }
}

async fn chain_id(rpc: &Rpc) -> Result<ChainId> {
    rpc.call("Health", json!({})).await?.parsed("chainId")
}

fn plan(home: &Home, own: &Identity, chain: &ChainId, order: &Order) -> Result<Planned> {
    let operator = own.public().account_id();
    let mut more = Map::new();
    let action = match order {
        Order::Transfer { to, amount } => Action::Transfer { to: to.0, amount: *amount },
        Order::Register { keys, endpoint, stake } => {
            let node = node_keys(home, keys)?;
            more.insert("nodeId".into(), node.public().node_id().to_string().into());
            let endpoint = Text::new(endpoint.to_string()).map_err(Failure::usage)?;
            let possession = possess(&node, chain, operator, endpoint.clone())?;
            let (keys, stake) = (node.public().clone(), *stake);
            Action::RegisterServiceNode { keys, endpoint, stake, possession }
        }
        Order::Rotate { node: old, keys } => {
            let node = node_keys(home, keys)?;
            more.insert("nodeId".into(), node.public().node_id().to_string().into());
            let possession = possess(&node, chain, operator, Text::default())?;
            Action::RotateNodeKeys { node: *old, keys: node.public().clone(), possession }
        }
        Order::Decommission { node } => Action::Decommission { node: *node },
        Order::Withdraw { node } => Action::Withdraw { node: *node },
        Order::CreateChannel { name } => Action::CreateChannel {
            name: Text::new(name.as_str())
                .map_err(|error| Failure::usage(format!("the name: {error}")))?,
        },
        Order::JoinChannel { channel } => Action::JoinChannel { channel: *channel },
        Order::LeaveChannel { channel } => Action::LeaveChannel { channel: *channel },
        Order::AnchorManifest { seq, manifest } => {
            Action::AnchorManifest { seq: *seq, manifest: *manifest }
        }
        Order::OpenConversation { participant, ttl } => {
            let accounts = participant.iter().map(|account| account.0).collect();
            let hidden = Hidden::new(accounts, &mut crate::person::entropy()?)?;
            more.insert("participantsRoot".into(), hidden.root().to_string().into());
            more.insert("participants".into(), hidden.to_json());
            Action::OpenConversation {
                participants_root: hidden.root(),
                participants: hidden.count(),
                ttl: *ttl,
            }
        }
        Order::CloseConversation { conversation, salt } => {
            let Ticket { salt, proof } = Ticket::parse(salt)?;
            Action::CloseConversation { conversation: *conversation, salt, proof }
        }
        Order::CreateSession { service, program, input, time_max } => Action::CreateSession {
            service: *service,
            program: *program,
            input: *input,
            time_max: *time_max,
        },
        Order::StartSession { session } => Action::StartSession { session: *session },
        Order::FailSession { session } => Action::FailSession {
            session: *session,
            reason: Text::new(DEADLINE).expect("it is short"),
            certificate: None,
        },
        Order::Drain { epochs, .. } => Action::Drain { epochs: *epochs },
        Order::Accuse { evidence } => {
            let evidence = EvidenceFile::read(&home::read_input(evidence)?)?.evidence;
            more.insert("accused".into(), evidence.accused().to_string().into());
            more.insert("kind".into(), evidence.name().into());
            Action::Accuse { evidence: Box::new(evidence) }
        }
        Order::Refute { case, order } => {
            let operation = OwnerOperation::decode_exact(&home::read_input(order)?)
                .map_err(|error| Failure::usage(format!("{}: {error}", order.display())))?;
            Action::Refute { case: *case, operation: Box::new(operation) }
        }
        Order::Veto { case } => Action::Veto { case: *case },
        Order::Show { .. } | Order::Submit { .. } => {
            return Err(Failure::failed("this is no order that is made here"));
        }
    };
    Ok(Planned { action, more })
}

fn node_keys(home: &Home, path: &Path) -> Result<Identity> {
    let bytes = home::read_input(path)?;
    home.decode(path, &bytes)
}

fn possess(
    node: &Identity,
    chain: &ChainId,
    operator: AccountId,
    endpoint: Text<ADDRESS_BYTES_MAX>,
) -> Result<Signature> {
    let (chain, id): (_, NodeId) = (*chain, node.public().node_id());
    let possession = Possession { chain, operator, node: id, endpoint };
    Ok(possession.sign(node, &mut crate::person::entropy()?))
}

/// Signs an order with the sender's next nonce and the fee that it costs.
async fn sign(
    rpc: &Rpc,
    identity: &Identity,
    chain: ChainId,
    action: Action,
    sending: &Sending,
) -> Result<(TxId, Vec<u8>)> {
    let sender = identity.public().account_id();
    let account = account(rpc, identity.public().account_ref()).await?;
    let rules = rpc.entry::<Parameters>(&Only {}).await?;
    let rules = rules.ok_or_else(|| Failure::failed("the chain has no rules"))?;
    let transaction = Transaction {
        version: TRANSACTION_VERSION,
        chain,
        sender,
        nonce: match sending.nonce {
            Some(nonce) => nonce,
            None => account.number("nonce")?,
        },
        fee_max: Amount::ZERO,
        expires: crate::person::now() + LIFE,
        action,
    };
    let with_keys = !account.flag("hasKeys")?;
    let size = signed_size(&transaction, with_keys);
    if size > TRANSACTION_BYTES_MAX {
        return Err(Failure::usage(format!(
            "the order has {size} bytes, the limit is {TRANSACTION_BYTES_MAX}"
        )));
    }
    // Keys are free: they come along once.
    let costs = match transaction.action.is_duty() {
        true => Amount::ZERO,
        false => required_fee(&rules, signed_size(&transaction, false)),
    };
    let fee_max = sending.fee_max.unwrap_or(costs);
    if fee_max < costs {
        let why = format!("it costs {costs} LUX, --fee-max allows {fee_max}");
        return Err(Failure::usage(why));
    }
    let mut rng = crate::person::entropy()?;
    let signed = Transaction { fee_max, ..transaction }.sign(identity, with_keys, &mut rng);
    Ok((signed.transaction.id(), signed.to_bytes()))
}

/// Bytes of the transaction once it is signed: all its other parts have fixed sizes.
fn signed_size(transaction: &Transaction, with_keys: bool) -> usize {
    let keys = if with_keys { PublicIdentity::SIZE } else { 0 };
    transaction.to_bytes().len() + 1 + keys + Signature::SIZE
}

/// Hands the bytes over, and waits until they are in a block.
async fn hand_over(rpc: &Rpc, id: TxId, bytes: &[u8], patience: Option<Duration>) -> Result<Done> {
    let issued = rpc.call("IssueTx", json!({ "tx": hex::encode(bytes) })).await?;
    let named: TxId = issued.parsed("txId")?;
    if named != id {
        return Err(issued.wrong(&format!("it names the order {named}, it is {id}")));
    }
    match patience {
        Some(patience) => executed(rpc, id, patience).await,
        None => Ok(Done { tx: id, accepted: None }),
    }
}

/// Waits until an order is in a block.
pub(crate) async fn executed(rpc: &Rpc, id: TxId, patience: Duration) -> Result<Done> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let mut code = Code::Failed;
        match rpc.call("GetTx", json!({ "txId": id.to_string() })).await {
            Ok(answer) => {
                let tx = answer.inner("tx")?;
                if tx.text("status")? == "accepted" {
                    let accepted = Some((tx.number("height")?, tx.amount("fee")?));
                    return Ok(Done { tx: id, accepted });
                }
            }
            Err(gone) if gone.code == Code::NotFound => {
                return Err(Failure::refused(format!(
                    "the chain has dropped the order {id}: it could not be executed when its turn \
                     came, or the node was restarted before"
                )));
            }
            // It was taken: a node that does not answer for a moment has not forgotten it.
            Err(away) if away.code == Code::Network => code = Code::Network,
            Err(failure) => return Err(failure),
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Failure::new(
                code,
                format!(
                    "the order {id} is in no block that was seen within {} s; it may still wait, in the \
                     memory of nodes only, which a restart empties: 'session chain tx show' tells",
                    patience.as_secs()
                ),
            ));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn tell(
    rpc: &Rpc,
    out: Out,
    action: &Action,
    chain: &ChainId,
    done: &Done,
    mut more: Map<String, Value>,
) -> Result<()> {
    if let Some((name, id)) = made(rpc, action, chain, done).await? {
        more.insert(name.to_owned(), id.into());
    }
    let Done { tx, accepted } = done;
    let what = match accepted {
        Some((height, fee)) => {
            format!("{} is in block {height}, for {fee} LUX: {tx}", action.name())
        }
        None => format!("{} was handed over: {tx}", action.name()),
    };
    out.result(
        || std::iter::once(what).chain(lines(&more)).collect::<Vec<_>>().join("\n"),
        || {
            let mut object = json!({
                "txId": tx.to_string(), "action": action.name(),
                "status": if accepted.is_some() { "accepted" } else { "pending" },
            });
            if let Some((height, fee)) = accepted {
                object["height"] = (*height).into();
                object["fee"] = fee.0.to_string().into();
            }
            for (name, value) in &more {
                object[name] = value.clone();
            }
            object
        },
    );
    Ok(())
}

/// What the giver of the order must know, line by line.
fn lines(more: &Map<String, Value>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in more {
        match value {
            Value::Array(participants) => {
                lines.push(
                    "give each participant its salt; it closes the conversation with it".into(),
                );
                let member = |one: &Value, name: &str| {
                    one.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
                };
                lines.extend(participants.iter().map(|one| {
                    format!("  {}\n    --salt {}", member(one, "account"), member(one, "salt"))
                }));
            }
            value => {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                lines.push(format!("{name}: {value}"));
            }
        }
    }
    lines
}

/// Returns the name and the id of what the order made.
async fn made(
    rpc: &Rpc,
    action: &Action,
    chain: &ChainId,
    done: &Done,
) -> Result<Option<(&'static str, String)>> {
    Ok(match action {
        Action::OpenConversation { .. } => {
            Some(("conversationId", conversation_id(chain, &done.tx).to_string()))
        }
        Action::CreateChannel { .. } => {
            Some(("channelId", channel_id(chain, &done.tx).to_string()))
        }
        Action::CreateSession { service, .. } if done.accepted.is_some() => {
            let id = find_session(rpc, service, &done.tx).await?;
            id.map(|(_, id)| ("sessionId", id.to_string()))
        }
        _ => None,
    })
}

/// Finds the id of a session by the epoch that is part of it: the current one, or one just over.
pub(crate) async fn find_session(
    rpc: &Rpc,
    service: &ServiceId,
    tx: &TxId,
) -> Result<Option<(Epoch, SessionId)>> {
    let current = rpc.call("GetEpoch", json!({})).await?.number("epoch")?;
    for epoch in (current.saturating_sub(EPOCHS_BACK)..=current).rev() {
        let id = session_core::seed_ids::session_id(service, Epoch(epoch), tx);
        match rpc.call("GetWorkload", json!({ "sessionId": id.to_string() })).await {
            Ok(_) => return Ok(Some((Epoch(epoch), id))),
            Err(unknown) if unknown.code == Code::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use session_core::{SeededEntropy, Time};
    use session_protocol::chain::SignedTransaction;

    use super::*;

    #[test]
    fn the_size_is_known_before_the_signature_is() {
        let mut rng = SeededEntropy::new(1);
        let identity = Identity::generate(&mut rng);
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: ChainId::default(),
            sender: identity.public().account_id(),
            nonce: 7,
            fee_max: Amount::ZERO,
            expires: Time::ZERO,
            action: Action::Transfer { to: AccountId::default(), amount: Amount::lux(1) },
        };
        for with_keys in [false, true] {
            let size = signed_size(&transaction, with_keys);
            let signed: SignedTransaction =
                transaction.clone().sign(&identity, with_keys, &mut rng);
            assert_eq!(signed.to_bytes().len(), size);
        }
    }
}
