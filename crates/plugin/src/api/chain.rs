//! What the chain holds: transactions, blocks, nodes, epochs, proofs.

use std::sync::Arc;

use serde_json::Value;
use session_core::{AccountId, ChannelId, ConversationId, Encode as _, NodeId, SessionId};
use session_protocol::chain::{Block, ReceivedTransaction};
use session_rpc::json_rpc::ErrorObject;
use session_rpc::vm::ErrorCode;
use session_rpc::vm::api::{self, Encoding};
use session_rpc::vm::group::{BlockAt, Key, StateTable};
use session_rpc::vm::result::{self, AnchorStatus, Shape as _, TxStatus, WorkloadStatus};
use session_vm::chain::{BlockInfo, ReadError, SubmitError};
use session_vm::mempool;
use session_vm::records::{
    AccountKeys, Accounts, Channels, Conversations, NodeKeys, Nodes, SessionState, Sessions,
    Table as _,
};
use session_vm::{query, solo};

use super::{Answer, blocking, describe, internal};
use crate::engine::{Engine, Refused};
use crate::http::App;

pub(super) async fn issue(app: &App, call: api::IssueTx) -> Answer {
    let engine = Arc::clone(app.engine());
    let submitted = blocking(move || engine.submit(&call.tx)).await?;
    let tx = submitted.map_err(submit_error)?;
    Ok(result::TxIssued { tx }.to_json())
}

fn submit_error(error: Refused) -> ErrorObject {
    let refused = |why: &dyn core::fmt::Display| ErrorCode::TransactionRefused.because(why);
    match error {
        Refused::Submit(SubmitError::Refused(full)) if is_full(&full) => {
            ErrorCode::MempoolFull.because(full)
        }
        Refused::Submit(SubmitError::Closed(closed)) => ErrorCode::NotReady.because(closed),
        Refused::Submit(SubmitError::Read(error)) => internal(&error),
        Refused::Submit(SubmitError::Rejected(why)) => refused(&why).with("rejection", why.code()),
        error => refused(&error),
    }
}

pub(super) async fn transaction(app: &App, call: api::GetTx) -> Answer {
    let engine = Arc::clone(app.engine());
    let found = blocking(move || find_transaction(&engine, call.tx)).await?;
    let tx = found.map_err(|error| internal(&error))?;
    let tx = tx.ok_or_else(|| ErrorCode::UnknownTransaction.error())?;
    Ok(result::TxReply { tx }.to_json())
}

fn find_transaction(
    engine: &Engine,
    id: session_core::TxId,
) -> Result<Option<result::Tx>, ReadError> {
    let chain = engine.chain();
    let (bytes, height, block) = match chain.waiting(&id) {
        Some(entry) => (entry.transaction.signed.to_bytes(), None, None),
        None => match chain.transaction(&id)? {
            None => return Ok(None),
            Some(found) => {
                let block = chain.id_at_height(found.height)?;
                (found.bytes, Some(found.height), block)
            }
        },
    };
    let params = query::params(chain.state());
    drop(chain);
    let received = parsed(&bytes)?;
    let fee = height.map(|_| query::required_fee(&params, received.charged()).0);
    let status = if height.is_some() { TxStatus::Accepted } else { TxStatus::Pending };
    let details = Some(describe::details(&received.signed.transaction.action));
    let tx = result::Tx {
        fee,
        status,
        height,
        block,
        bytes: Some(bytes),
        details,
        ..summary(&received)
    };
    Ok(Some(tx))
}

fn parsed(bytes: &[u8]) -> Result<ReceivedTransaction, ReadError> {
    ReceivedTransaction::parse(bytes).map_err(|error| ReadError::Damaged {
        what: "an accepted transaction",
        why: error.to_string(),
    })
}

fn summary(received: &ReceivedTransaction) -> result::Tx {
    let transaction = &received.signed.transaction;
    result::Tx {
        id: received.id,
        action: transaction.action.name().to_owned(),
        sender: transaction.sender,
        nonce: transaction.nonce,
        fee_max: transaction.fee_max.0,
        fee: None,
        expires: transaction.expires,
        size: received.size as u64,
        status: TxStatus::Accepted,
        height: None,
        block: None,
        bytes: None,
        details: None,
    }
}

pub(super) async fn block(app: &App, call: api::GetBlock) -> Answer {
    let engine = Arc::clone(app.engine());
    let encoding = call.encoding;
    let found = blocking(move || -> Result<Option<Value>, ReadError> {
        let block = {
            let chain = engine.chain();
            match call.block {
                BlockAt::Last => Some(chain.last_accepted().clone()),
                BlockAt::Id(id) => accepted_only(&chain, chain.block(&id)?)?,
                BlockAt::Height(height) => match chain.id_at_height(height)? {
                    None => None,
                    Some(id) => chain.block(&id)?,
                },
            }
        };
        let Some(block) = block else { return Ok(None) };
        let reply = match encoding {
            Encoding::Hex => result::BlockReply { block: None, bytes: Some(block.bytes.to_vec()) },
            Encoding::Json => {
                result::BlockReply { block: Some(block_result(&engine, &block)?), bytes: None }
            }
        };
        Ok(Some(reply.to_json()))
    });
    let found = found.await?.map_err(|error| internal(&error))?;
    found.ok_or_else(|| ErrorCode::UnknownBlock.error())
}

// Blocks that are only verified may still be decided against: people are shown decisions.
fn accepted_only(
    chain: &session_vm::chain::Chain<crate::engine::AnyDatabase>,
    block: Option<BlockInfo>,
) -> Result<Option<BlockInfo>, ReadError> {
    let Some(block) = block else { return Ok(None) };
    let accepted = chain.id_at_height(block.height)? == Some(block.id);
    Ok(accepted.then_some(block))
}

/// Writes a block as results and pushes show it.
pub(crate) fn block_result(engine: &Engine, block: &BlockInfo) -> Result<result::Block, ReadError> {
    let parsed_block = Block::parse(&block.bytes, engine.chain_id()).map_err(|error| {
        ReadError::Damaged { what: "an accepted block", why: error.to_string() }
    })?;
    let seal = solo::seal_at(&engine.chain(), block.height)?;
    let transactions = parsed_block.transactions.iter().map(|bytes| {
        let received = parsed(bytes)?;
        let tx = summary(&received);
        Ok(result::Tx { height: Some(block.height), block: Some(block.id), ..tx })
    });
    Ok(result::Block {
        id: block.id,
        chain: *engine.chain_id(),
        parent: block.parent,
        height: block.height,
        time: block.time,
        state_root: block.state_root,
        size: block.bytes.len() as u64,
        seal: seal.map(|seal| seal.as_ref().to_vec()),
        txs: transactions.collect::<Result<_, ReadError>>()?,
    })
}

pub(super) fn height(app: &App) -> Value {
    let chain = app.engine().chain();
    let last = chain.last_accepted();
    let (height, block, time, state_root) = (last.height, last.id, last.time, last.state_root);
    result::Height { height, block, time, state_root }.to_json()
}

pub(super) fn proof(app: &App, call: &api::GetProof) -> Value {
    let key = match &call.key {
        Key::Raw(key) => key.clone(),
        Key::Of { table, id } => state_key(*table, *id),
    };
    let chain = app.engine().chain();
    let value = chain.state().get(&key).map(<[u8]>::to_vec);
    let last = chain.last_accepted();
    result::Proof {
        exists: value.is_some(),
        value,
        proof: chain.prove(&key).to_bytes(),
        key,
        state_root: last.state_root,
        height: last.height,
        block: last.id,
    }
    .to_json()
}

fn state_key(table: StateTable, id: [u8; 32]) -> Vec<u8> {
    match table {
        StateTable::Account => Accounts::key(&AccountId::from(id)),
        StateTable::AccountKeys => AccountKeys::key(&AccountId::from(id)),
        StateTable::Node => Nodes::key(&NodeId::from(id)),
        StateTable::NodeKeys => NodeKeys::key(&NodeId::from(id)),
        StateTable::Workload => Sessions::key(&SessionId::from(id)),
        StateTable::Conversation => Conversations::key(&ConversationId::from(id)),
        StateTable::Channel => Channels::key(&ChannelId::from(id)),
    }
}

pub(super) fn account(app: &App, call: &api::GetAccount) -> Value {
    let chain = app.engine().chain();
    let account = query::account(chain.state(), &call.account);
    let keys = query::keys(chain.state(), &call.account);
    let account = result::Account {
        id: call.account,
        balance: account.balance.0,
        nonce: account.nonce,
        has_keys: keys.is_some(),
        public_key: keys.as_ref().map(|keys| keys.kem().as_ref().to_vec()),
        signing_key: keys.as_ref().map(|keys| keys.dsa().as_ref().to_vec()),
    };
    result::AccountReply { account }.to_json()
}

pub(super) fn workload(app: &App, call: &api::GetWorkload) -> Answer {
    let chain = app.engine().chain();
    let session = query::session(chain.state(), &call.session)
        .ok_or_else(|| ErrorCode::UnknownWorkload.error())?;
    let mut workload = result::Workload {
        id: call.session,
        service: session.service,
        epoch: session.epoch,
        tx: session.tx,
        creator: session.creator,
        committee: session.committee.into_vec(),
        status: WorkloadStatus::Pending,
        program: session.program,
        input: session.input,
        output: None,
        oracle_root: None,
        receipts_root: None,
        attestation: None,
        created: session.created,
        started: None,
        deadline: session.deadline,
        finalized: None,
        error: None,
    };
    match session.state {
        SessionState::Pending => {}
        SessionState::Running { started } => {
            workload.status = WorkloadStatus::Running;
            workload.started = Some(started);
        }
        SessionState::Finalized {
            started,
            ended,
            output,
            oracle_root,
            receipts_root,
            attestation,
        } => {
            workload.status = WorkloadStatus::Finalized;
            workload.started = Some(started);
            workload.finalized = Some(ended);
            workload.output = Some(output);
            workload.oracle_root = Some(oracle_root);
            workload.receipts_root = Some(receipts_root);
            workload.attestation = Some(attestation);
        }
        SessionState::Failed { started, ended, reason } => {
            workload.status = WorkloadStatus::Failed;
            workload.started = started;
            workload.finalized = Some(ended);
            workload.error = Some(reason.to_string());
        }
    }
    Ok(result::WorkloadReply { workload }.to_json())
}

pub(super) fn conversation(app: &App, call: &api::GetConversation) -> Answer {
    let now = app.engine().now();
    let chain = app.engine().chain();
    let anchor = query::conversation(chain.state(), &call.conversation)
        .ok_or_else(|| ErrorCode::UnknownConversation.error())?;
    let status = match anchor.closed {
        Some(_) => AnchorStatus::Closed,
        None if now >= anchor.expires => AnchorStatus::Expired,
        None => AnchorStatus::Open,
    };
    let conversation = result::Conversation {
        id: call.conversation,
        opener: anchor.opened_by,
        participants_root: anchor.participants_root,
        participants: anchor.participants,
        opened: anchor.created,
        expires: anchor.expires,
        closed: anchor.closed,
        status,
    };
    Ok(result::ConversationReply { conversation }.to_json())
}

/// Whether the pool, and not the transaction, is why it was refused.
const fn is_full(refused: &mempool::Refused) -> bool {
    use mempool::Refused::{Full, SenderBytes, SenderTransactions};
    matches!(refused, Full { .. } | SenderBytes { .. } | SenderTransactions { .. })
}
