//! `session workload run`: a session from the upload to its result.

use std::time::Duration;

use serde_json::json;
use session_core::{Digest, Domain, Epoch, ServiceId, SessionId, Span, TxId, digest};
use session_crypto::Identity;
use session_protocol::chain::{Action, Amount};
use tokio::time::Instant;

use super::follow::{POLL_FIRST, Seen, Watch};
use super::node::Node;
use super::place::Place;
use super::project::Package;
use crate::args::Run;
use crate::chain::order;
use crate::chain::rpc::Rpc;
use crate::exit::{Code, Failure, Result};
use crate::out::{Out, harmless, rows};

/// How long the transaction may take to be in a block.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a committee may take to know a session of which the chain knows.
const CREATION: Duration = Duration::from_secs(20);

/// What an account of a local network is given that cannot pay.
const GIFT: Amount = Amount::lux(10);

/// Less does not pay for a session.
const ENOUGH: Amount = Amount::lux(1);

/// A session that was created.
#[derive(Clone, Copy, Debug)]
pub(super) struct Created {
    pub(super) session: SessionId,
    pub(super) epoch: Epoch,
    pub(super) tx: TxId,
}

pub(super) async fn run(place: &Place, out: Out, args: &Run) -> Result<()> {
    let package = Package::find(&args.module, args.manifest.as_deref(), args.input.as_deref())?;
    let named = args.service.as_deref().unwrap_or(&package.manifest.name);
    let service = service_id(named);
    let (node, rpc) = (place.node().await?, place.rpc(args.url.as_ref())?);
    let identity = place.identity(&rpc).await?;
    let began = Instant::now();
    let created = begin(&node, &rpc, &identity, &package, service, args.time_max).await?;
    let session = created.session;
    if args.detach {
        out.result(
            || format!("session {session} runs: 'session workload status {session}'"),
            || json!({ "sessionId": session.to_string(), "txId": created.tx.to_string() }),
        );
        return Ok(());
    }
    out.remark(&format!("session {session}, epoch {}", created.epoch));
    let time_max: Duration = args.time_max.into();
    let watch = Watch { node: &node, session, time_max, verbose: args.follow, out };
    let seen = watch.until_over().await?;
    tell(out, &created, &seen, began.elapsed())
}

/// Uploads everything, has the chain choose a committee, and lets it begin.
pub(super) async fn begin(
    node: &Node,
    rpc: &Rpc,
    identity: &Identity,
    package: &Package,
    service: ServiceId,
    time_max: Span,
) -> Result<Created> {
    node.put(&package.module).await?;
    let program = node.put(&package.workload).await?;
    let input = node.put(&package.input).await?;
    let action = Action::CreateSession { service, program, input, time_max };
    let done = order::carry_out(rpc, identity, action, PATIENCE).await?;
    let found = order::find_session(rpc, &service, &done.tx).await?;
    let (epoch, session) =
        found.ok_or_else(|| Failure::failed("the chain does not know the session it created"))?;
    tell_committee(node, (&service, epoch, &done.tx), (&program, &input)).await?;
    match node.start(&session).await {
        // Members begin by themselves, too.
        Err(started) if started.code == Code::Refused => {}
        // Whoever has not heard of it yet will hear.
        Err(early) if early.code == Code::NotFound => {}
        other => other?,
    }
    Ok(Created { session, epoch, tx: done.tx })
}

/// Tells the committee; the node may be a block behind the chain's.
async fn tell_committee(
    node: &Node,
    of: (&ServiceId, Epoch, &TxId),
    what: (&Digest, &Digest),
) -> Result<()> {
    let began = Instant::now();
    loop {
        match node.create(of, what).await {
            Err(early) if early.code == Code::NotFound && began.elapsed() < CREATION => {}
            Err(there) if there.why.contains("already exists") => return Ok(()),
            other => return other.map(drop),
        }
        tokio::time::sleep(POLL_FIRST).await;
    }
}

/// Shows how a session ended.
pub(super) fn tell(out: Out, created: &Created, seen: &Seen, took: Duration) -> Result<()> {
    let output = seen.output();
    let (rounds, retries) = seen.rounds();
    out.result(
        || {
            rows(&[
                ("state", seen.state.clone()),
                ("steps", seen.steps.len().to_string()),
                ("oracle rounds", format!("{rounds}, {retries} retries")),
                ("took", format!("{:.1} s", took.as_secs_f64())),
                ("result", output.as_ref().map(|bytes| readable(bytes)).unwrap_or_default()),
            ])
        },
        || {
            let mut object = json!({
                "sessionId": created.session.to_string(), "txId": created.tx.to_string(),
                "state": seen.state, "steps": seen.steps.len(), "oracleRounds": rounds,
                "retries": retries, "ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            });
            if let Ok(bytes) = &output {
                object["output"] = hex::encode(bytes).into();
                object["text"] = std::str::from_utf8(bytes).ok().into();
            }
            object
        },
    );
    output.map(drop)
}

/// Shows bytes as text if they are.
pub(super) fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => harmless(text),
        Err(_) => format!("{} bytes: {}", bytes.len(), hex::encode(bytes)),
    }
}

/// Returns the id of a service: itself, or the one that a name stands for.
pub(super) fn service_id(named: &str) -> ServiceId {
    named.parse().unwrap_or_else(|_| {
        ServiceId::from(*digest(Domain::ServiceName, &[named.as_bytes()]).as_bytes())
    })
}

/// Gives an account of a local network what it needs, if it has less.
pub(super) async fn fund(rpc: &Rpc, operator: &Identity, own: &Identity) -> Result<()> {
    let account = own.public().account_ref();
    let asked = rpc.call("GetAccount", json!({ "account": account.to_string() })).await?;
    if asked.inner("account")?.amount("balance")? >= ENOUGH {
        return Ok(());
    }
    order::transfer(rpc, operator, own.public().account_id(), GIFT, PATIENCE).await.map(drop)
}
