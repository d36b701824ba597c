//! `session chain`: the coordination chain, looked at and ordered.
//!
//! | module | holds |
//! |---|---|
//! | [`rpc`] | questions to a node of the chain, and its answers |
//! | [`show`] | status, blocks, accounts, nodes |
//! | [`epoch`] | epochs, their beacons, the swarms |
//! | [`duties`] | marks, commitments, accusations |
//! | [`order`] | transactions: made, signed, handed over, waited for |
//! | [`participants`] | the hidden participants of a conversation |
//! | [`network`] | the network file |
//! | [`proof`] | proofs in files: exported, and checked without a network |
//! | [`record`] | entries of the state, for people and programs |
//! | [`genesis`] | from the genesis file to the rules' genesis |

pub(crate) mod duties;
mod epoch;
pub(crate) mod genesis;
pub(crate) mod network;
pub(crate) mod order;
mod participants;
pub(crate) mod proof;
mod record;
pub(crate) mod rpc;
pub(crate) mod show;

use crate::args::{Chain, ChainCommand, Order};
use crate::exit::Result;
use crate::home::Home;
use crate::local_chain;
use crate::out::Out;

use rpc::Rpc;
use session_runtime::http::client::Endpoint;

/// Where a chain is when nobody says otherwise.
const USUAL: &str = "http://127.0.0.1:9652";

/// Carries out a command; only those that sign need a home.
pub(crate) async fn run(home: &impl Fn() -> Result<Home>, out: Out, args: &Chain) -> Result<()> {
    if let ChainCommand::Check { file, genesis, sequencer, root, present, subject, id, .. } =
        &args.command
    {
        let trust = proof::Trust::find(genesis.as_deref(), sequencer.as_deref(), *root)?;
        let about = subject.zip(id.as_deref());
        return proof::check(out, file, &trust, &proof::Wanted { present: *present, about });
    }
    let rpc = Rpc::new(url(home, args.url.as_ref())?);
    match &args.command {
        ChainCommand::Status => show::status(&rpc, out).await,
        ChainCommand::Block { block, raw: false } => show::block(&rpc, out, *block).await,
        ChainCommand::Block { block, raw: true } => show::raw_block(&rpc, out, *block).await,
        ChainCommand::Account { account } => {
            let id = match account {
                Some(account) => account.0,
                None => home()?.identity()?.public().account_id(),
            };
            show::account(&rpc, out, id).await
        }
        ChainCommand::Tx(tx) => match &tx.order {
            Order::Show { tx } => show::transaction(&rpc, out, tx).await,
            order => order::run(&rpc, home, out, order, &tx.sending).await,
        },
        ChainCommand::Nodes { active } => show::nodes(&rpc, out, *active).await,
        ChainCommand::Node { node } => show::node(&rpc, out, node).await,
        ChainCommand::Epoch { epoch } => epoch::epoch(&rpc, out, *epoch).await,
        ChainCommand::Swarms => epoch::swarms(&rpc, out).await,
        ChainCommand::Marks { node, epochs } => duties::marks(&rpc, out, node, *epochs).await,
        ChainCommand::Commitments { swarm } => {
            duties::commitments(&rpc, out, swarm.as_deref()).await
        }
        ChainCommand::Cases { case: Some(case), out: file, .. } => {
            duties::case(&rpc, out, case, file.as_deref()).await
        }
        ChainCommand::Cases { case: None, status, .. } => {
            duties::cases(&rpc, out, status.as_deref()).await
        }
        ChainCommand::Network { out: file } => network::run(&rpc, out, file.as_deref()).await,
        ChainCommand::Proof { subject, id, out: file } => {
            proof::export(&rpc, out, (*subject, id), file.as_deref()).await
        }
        // Done above: it asks nobody.
        ChainCommand::Check { .. } => Ok(()),
    }
}

/// Returns where the chain is: as it was named, as the local network says, or the usual place.
pub(crate) fn url(home: &impl Fn() -> Result<Home>, named: Option<&Endpoint>) -> Result<Endpoint> {
    if let Some(url) = named {
        return Ok(url.clone());
    }
    // Nobody needs a home to look at the chain of this machine.
    let beside = home().ok().map(|home| local_chain::url_beside(home.network_file()));
    match beside.transpose()?.flatten() {
        Some(url) => Ok(url),
        None => Ok(usual()),
    }
}

/// Returns where a chain is when nobody says otherwise.
pub(crate) fn usual() -> Endpoint {
    USUAL.parse().expect("it is a URL")
}
