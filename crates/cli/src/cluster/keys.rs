//! The keys of a local network's nodes, and which of them lie.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use session_core::NodeId;
use session_crypto::{Identity, identity_file};
use session_protocol::Membership;

use crate::exit::{Doing, Failure, Result};
use crate::home;

/// What the nodes of `--bad` do, one after the other.
pub(crate) const LIES: [&str; 6] =
    ["equivocate", "drop-items=50", "silent-dealer", "commit-else", "bad-dealer", "false-fail"];

/// The keys of a node, and what is known of it without the chain.
pub(super) struct Keys {
    pub(super) index: usize,
    pub(super) identity: Identity,
    /// Where an old network file says that it is.
    pub(super) address: Option<SocketAddr>,
    /// How it lies.
    pub(super) lie: Option<String>,
}

impl Keys {
    pub(super) fn id(&self) -> NodeId {
        self.identity.public().node_id()
    }
}

pub(super) fn node_dir(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("node-{index:02}"))
}

fn lie_file(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("node-{index:02}.lie"))
}

/// Makes the keys of `good` honest nodes and of `bad` ones that lie.
pub(super) fn make(dir: &Path, good: usize, bad: usize) -> Result<()> {
    for index in 0..good + bad {
        let identity = Identity::generate(&mut crate::person::entropy()?);
        let data = node_dir(dir, index);
        std::fs::create_dir_all(&data).doing(|| format!("cannot make {}", data.display()))?;
        home::write_secret(&data.join("node.key"), &identity_file::encode_plain(&identity))?;
        if let Some(lie) = index.checked_sub(good).and_then(|place| LIES.get(place)) {
            let file = lie_file(dir, index);
            std::fs::write(&file, format!("{lie}\n"))
                .doing(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

/// Reads the keys that are in the directory, by their numbers. `network` is the network file of a
/// network that had no chain: it says where its nodes are.
pub(super) fn read(dir: &Path, network: Option<&Path>) -> Result<Vec<Keys>> {
    let read = |path: &Path| home::membership(&home::read_network(path)?, path);
    let membership = network.map(read).transpose()?;
    let mut nodes = Vec::new();
    for index in 0.. {
        let key = node_dir(dir, index).join("node.key");
        if !key.exists() {
            break;
        }
        let bytes = std::fs::read(&key).doing(|| format!("cannot read {}", key.display()))?;
        let identity = identity_file::decode(&bytes, None)
            .doing(|| format!("{} is not a node key", key.display()))?;
        let id = identity.public().node_id();
        let record = membership.as_ref().and_then(|network| network.node(&id));
        let address = record.map(|record| record.address.parse());
        let address = address.transpose().doing(|| format!("node {id}: address"))?;
        let lie = std::fs::read_to_string(lie_file(dir, index)).ok();
        let lie = lie.map(|lie| lie.trim().to_owned());
        nodes.push(Keys { index, identity, address, lie });
    }
    if let (Some(network), Some(file)) = (membership, network) {
        let here = |id: &NodeId| nodes.iter().any(|keys| keys.id() == *id);
        if !network.nodes().iter().all(|(id, _)| here(id)) {
            return Err(not_made_here(file));
        }
    }
    Ok(nodes)
}

pub(super) fn not_made_here(file: &Path) -> Failure {
    Failure::usage(format!(
        "{} is a network file without node keys beside it: this network was not made here",
        file.display()
    ))
}
