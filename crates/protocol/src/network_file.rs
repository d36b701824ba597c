//! From the network file to the view of the network.

use session_core::Text;
use session_crypto::{DsaPublicKey, InvalidKey, KemPublicKey, PublicIdentity};
use session_rpc::network_file::{NetworkFile, NodeEntry};

use crate::membership::{ADDRESS_BYTES_MAX, BadMembership, Holder, NodeRecord, StaticMembership};

/// Why a network file is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadNetworkFile {
    /// A key is not a key.
    #[error("node[{index}].{field}: {source}")]
    Key {
        /// Which node of the file.
        index: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with the key.
        source: InvalidKey,
    },
    /// The id is not the hash of the keys.
    #[error("node[{index}].id: it is {listed}, but the keys of this node make {derived}")]
    Id {
        /// Which node of the file.
        index: usize,
        /// What the file says.
        listed: session_core::NodeId,
        /// What the keys say.
        derived: session_core::NodeId,
    },
    /// The address is too long.
    #[error("node[{index}].address: it has {got} bytes, the limit is {ADDRESS_BYTES_MAX}")]
    Address {
        /// Which node of the file.
        index: usize,
        /// Bytes of the address.
        got: usize,
    },
    /// The nodes do not make a network.
    #[error(transparent)]
    Membership(#[from] BadMembership),
}

/// Makes the view of the network that a file describes.
///
/// # Errors
/// When a key is malformed, an id is not that of its keys, or the nodes contradict each other.
pub fn membership(file: &NetworkFile) -> Result<StaticMembership, BadNetworkFile> {
    let records: Vec<NodeRecord> = file
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| record(index, node))
        .collect::<Result<_, _>>()?;
    let holder = |node: &NodeEntry| Holder { operator: node.operator, stake: node.stake };
    let holders = file.nodes.iter().map(|node| (node.id, holder(node)));
    Ok(StaticMembership::new(&file.network, records)?.with_holders(holders))
}

fn record(index: usize, node: &NodeEntry) -> Result<NodeRecord, BadNetworkFile> {
    let bad = |field| move |source| BadNetworkFile::Key { index, field, source };
    let kem = KemPublicKey::try_from(node.kem_public_key.as_slice());
    let dsa = DsaPublicKey::try_from(node.dsa_public_key.as_slice());
    let kem = kem.map_err(bad("kem_public_key"))?;
    let dsa = dsa.map_err(bad("dsa_public_key"))?;
    let keys = PublicIdentity::new(kem, dsa);
    if keys.node_id() != node.id {
        return Err(BadNetworkFile::Id { index, listed: node.id, derived: keys.node_id() });
    }
    let address = node.address.to_string();
    let got = address.len();
    let address = Text::new(address).map_err(|_| BadNetworkFile::Address { index, got })?;
    Ok(NodeRecord { keys, address, swarm: node.swarm })
}

/// Makes the entry of a node in the network file.
#[must_use]
pub fn entry(
    keys: &PublicIdentity,
    address: session_rpc::address::HostPort,
    swarm: session_core::SwarmId,
) -> NodeEntry {
    NodeEntry {
        id: keys.node_id(),
        kem_public_key: keys.kem().as_ref().to_vec(),
        dsa_public_key: keys.dsa().as_ref().to_vec(),
        address,
        swarm,
        operator: None,
        stake: None,
    }
}

#[cfg(test)]
mod tests;
