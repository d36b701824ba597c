//! `session node`: look at the nodes of the network.

mod doctor;
mod past;
mod why;

use std::sync::Arc;

use serde_json::json;
use session_client::{Answer, Command};
use session_core::NodeId;
use session_crypto::Identity;
use session_protocol::Membership;
use session_sdk::agent::Agent;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::Node;
use crate::chain;
use crate::chain::rpc::Rpc;
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::members::Members;
use crate::out::Out;

pub(crate) async fn run(home: &impl Fn() -> Result<Home>, out: Out, command: &Node) -> Result<()> {
    match command {
        Node::Why { node, epochs, url } => {
            let rpc = Rpc::new(chain::url(home, url.as_ref())?);
            return why::run(&rpc, out, node, *epochs).await;
        }
        Node::Doctor { sessiond, flags } => {
            return doctor::run(out, sessiond.as_deref(), flags).await;
        }
        Node::List | Node::Ping { .. } => {}
    }
    let members = Members::find(&home()?).await?;
    let membership = members.view().clone();
    // Asking nodes how they are needs no account: a throw-away identity tells them nothing.
    let identity = Arc::new(Identity::generate(&mut crate::person::entropy()?));
    let agent = Agent::start(identity, &members.into_direct_network()).map_err(Failure::failed)?;
    let done = match command {
        Node::List => list(&agent, out, &*membership).await,
        Node::Ping { node, count } => ping(&agent, out, &*membership, node, *count).await,
        // Done above: they ask no node of the network.
        Node::Why { .. } | Node::Doctor { .. } => Ok(()),
    };
    agent.stop().await;
    done
}

async fn list(agent: &Agent, out: Out, membership: &dyn Membership) -> Result<()> {
    let nodes: Vec<_> = membership
        .nodes()
        .into_iter()
        .map(|(id, record)| (id, record.address.to_string(), record.swarm))
        .collect();
    let mut asked = JoinSet::new();
    for (index, (node, _, _)) in nodes.iter().enumerate() {
        let (agent, node) = (agent.clone(), *node);
        asked.spawn(async move { (index, agent.run(Command::Info { node }).await) });
    }
    let mut answers: Vec<_> = nodes.iter().map(|_| None).collect();
    while let Some(answer) = asked.join_next().await {
        if let Ok((index, answer)) = answer {
            answers[index] = Some(answer);
        }
    }
    out.remark("node              swarm             address                state");
    let mut up = 0;
    for ((node, address, swarm), answer) in nodes.iter().zip(answers) {
        let short = &node.to_string()[..16];
        match answer {
            Some(Ok(Answer::Info(info))) => {
                up += 1;
                out.result(
                    || {
                        format!(
                            "{short}  {swarm}  {address:<21}  up, {} items, sees {}/{} members, version {}",
                            info.items, info.members_up, info.members, info.version
                        )
                    },
                    || {
                        json!({ "node": node.to_string(), "swarm": swarm.to_string(),
                                "address": address, "up": true, "items": info.items,
                                "members_up": info.members_up, "members": info.members,
                                "version": info.version.to_string(),
                                "time_ms": info.time.as_millis() })
                    },
                );
            }
            other => {
                let why = match other {
                    Some(Err(error)) => error.to_string(),
                    _ => "no answer".to_owned(),
                };
                out.result(
                    || format!("{short}  {swarm}  {address:<21}  down: {why}"),
                    || {
                        json!({ "node": node.to_string(), "swarm": swarm.to_string(),
                                "address": address, "up": false, "why": why })
                    },
                );
            }
        }
    }
    if up == 0 {
        return Err(Failure::new(Code::Network, "no node of the network answers"));
    }
    Ok(())
}

async fn ping(
    agent: &Agent,
    out: Out,
    membership: &dyn Membership,
    wanted: &str,
    count: u32,
) -> Result<()> {
    let node = find(membership, wanted)?;
    for number in 1..=count {
        // The machine's clock counts milliseconds, which is too coarse for a near node.
        let started = Instant::now();
        match agent.run(Command::Ping { node }).await {
            Ok(Answer::Pong { .. }) => {
                let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                let name = &node.to_string()[..16];
                out.result(
                    || format!("{name} answered in {}.{:03} ms", us / 1000, us % 1000),
                    || json!({ "node": node.to_string(), "number": number, "round_trip_us": us }),
                );
            }
            Ok(_) => return Err(Failure::failed("the client answered something else")),
            Err(error) => return Err(Failure::new(Code::Network, error)),
        }
    }
    Ok(())
}

fn find(membership: &dyn Membership, wanted: &str) -> Result<NodeId> {
    let wanted = wanted.to_lowercase();
    if wanted.is_empty() {
        return Err(Failure::usage("a node is named by the start of its id"));
    }
    let fitting: Vec<NodeId> = membership
        .nodes()
        .into_iter()
        .map(|(id, _)| id)
        .filter(|id| id.to_string().starts_with(&wanted))
        .collect();
    match fitting[..] {
        [node] => Ok(node),
        [] => Err(Failure::not_found(format!("no node's id starts with {wanted}"))),
        _ => Err(Failure::usage(format!("{} nodes' ids start with {wanted}", fitting.len()))),
    }
}
