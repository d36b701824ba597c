//! Which network the node is of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use session_core::SwarmId;
use session_crypto::PublicIdentity;
use session_protocol::network_file::{entry, membership};
use session_protocol::{Membership as _, StaticMembership};
use session_rpc::{NetworkFile, Placement};

use crate::args::Settings;
use session_runtime::failure::{Failure, Result};

/// The network of a node that was given none.
const SOLO_NAME: &str = "solo";

/// The network, and what an operator should know about it.
pub(crate) struct Network {
    pub(crate) membership: StaticMembership,
    pub(crate) name: String,
    pub(crate) warnings: Vec<String>,
}

/// Reads the network file that was asked for, or the one in the data directory; a node that has
/// neither becomes a network of its own.
pub(crate) fn load(settings: &Settings, own: &PublicIdentity) -> Result<Network> {
    let beside = settings.data_dir.as_ref().map(|dir| dir.join("network.toml"));
    let given = settings.network.clone().or_else(|| beside.clone().filter(|file| file.exists()));
    let mut network = match given {
        Some(path) => read(&path)?,
        None => solo(settings, own, beside)?,
    };
    check_own(&network, settings, own)?;
    for address in &settings.bootstrap {
        let address = address.to_string();
        let known = network.membership.nodes().iter().any(|(_, node)| *node.address == *address);
        if !known {
            let warning = format!("--bootstrap: {address} is not in the network file; not used");
            network.warnings.push(warning);
        }
    }
    Ok(network)
}

fn read(path: &Path) -> Result<Network> {
    let at = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the network file {at}: {error}")))?;
    let (file, unknown) = NetworkFile::parse(&text)
        .map_err(|error| Failure::usage(format!("the network file {at}: {error}")))?;
    if file.placement == Placement::Mod {
        let why = "placement \"mod\" is not served by this version: use \"ring\"";
        return Err(Failure::usage(format!("the network file {at}: {why}")));
    }
    let membership = membership(&file)
        .map_err(|error| Failure::usage(format!("the network file {at}: {error}")))?;
    let warnings =
        unknown.iter().map(|key| format!("the network file {at}: {key} is not known")).collect();
    Ok(Network { membership, name: file.network, warnings })
}

fn solo(settings: &Settings, own: &PublicIdentity, path: Option<PathBuf>) -> Result<Network> {
    if settings.listen.port() == 0 {
        let why = "a node that is a network of its own needs a fixed port, or name a network file";
        return Err(Failure::usage(format!("--listen: port 0: {why}")));
    }
    let address = reachable(settings.listen)
        .to_string()
        .parse()
        .expect("a socket address is a host and a port above 0");
    let file = NetworkFile::new(SOLO_NAME, vec![entry(own, address, SwarmId(0))]);
    let membership = membership(&file).map_err(|error| Failure::runtime(error.to_string()))?;
    let mut warnings = vec!["no network file: this node is a network of its own".to_owned()];
    if let Some(path) = path {
        std::fs::write(&path, file.to_toml())
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?;
        warnings.push(format!("its network file, for clients, is {}", path.display()));
    }
    Ok(Network { membership, name: file.network, warnings })
}

// "All interfaces" is no address to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn check_own(network: &Network, settings: &Settings, own: &PublicIdentity) -> Result<()> {
    if network.membership.node(&own.node_id()).is_some() {
        return Ok(());
    }
    let key = match (&settings.identity, &settings.data_dir) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(dir)) => dir.join("node.key").display().to_string(),
        (None, None) => "kept in memory".to_owned(),
    };
    Err(Failure::usage(format!(
        "node {} (its key: {key}) is not a node of the network \"{}\": sessiond keygen prints the entry to add",
        own.node_id(),
        network.name,
    )))
}
