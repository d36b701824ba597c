//! Which crate may depend on which.
//!
//! Normal and build dependencies obey every rule. Tests may use anything of a lower level, and any
//! outside crate; they too stay out of the runtime.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// What a package is: its name, its level, and whether it is logic or touches the world.
struct Room {
    package: &'static str,
    level: u8,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No clock, entropy, socket, file or task.
    Pure,
    /// Everything a pure room must not do.
    Shell,
    /// Sees no room of ours.
    Tool,
}

const fn room(package: &'static str, level: u8, kind: Kind) -> Room {
    Room { package, level, kind }
}

const ROOMS: &[Room] = &[
    room("session-core", 0, Kind::Pure),
    room("session-crypto", 1, Kind::Pure),
    // Its disk engine owns files, not tasks or sockets: the ban on those holds.
    room("session-storage", 1, Kind::Pure),
    room("session-rpc", 1, Kind::Pure),
    room("session-protocol", 2, Kind::Pure),
    room("session-runtime", 2, Kind::Shell),
    room("session-swarm", 3, Kind::Pure),
    room("session-network", 3, Kind::Pure),
    room("session-messaging", 3, Kind::Pure),
    room("session-vm", 3, Kind::Pure),
    room("session-executor", 3, Kind::Pure),
    room("session-connectors", 3, Kind::Shell),
    room("session-daemon", 4, Kind::Pure),
    room("session-client", 4, Kind::Pure),
    room("session-sim", 5, Kind::Pure),
    room("session-sdk", 5, Kind::Shell),
    room("sessiond", 6, Kind::Shell),
    room("sessionvm", 6, Kind::Shell),
    room("session-cli", 6, Kind::Shell),
    room("xtask", 0, Kind::Tool),
];

/// Outside crates, by the start of their names, and the packages that may name them.
const OWNED: &[(&[&str], &[&str])] = &[
    // Workload sessions speak JSON: guests ask in it, the world answers in it. What the library for
    // key agreement keeps is described by serde alone.
    (
        &["serde"],
        &[
            "session-rpc",
            "session-messaging",
            "session-executor",
            "session-connectors",
            "sessiond",
            "sessionvm",
            "session-cli",
            "xtask",
        ],
    ),
    (
        &["toml"],
        &[
            "session-rpc",
            "session-executor",
            "session-connectors",
            "sessiond",
            "sessionvm",
            "session-cli",
            "xtask",
        ],
    ),
    (
        &["tokio", "hyper", "quinn", "rustls"],
        &[
            "session-runtime",
            "session-connectors",
            "session-sdk",
            "sessiond",
            "sessionvm",
            "session-cli",
        ],
    ),
    (&["wasmi"], &["session-executor"]),
    // Key agreement, and the format of what it keeps, behind one trait.
    (&["openmls", "rmp", "tls_codec"], &["session-messaging"]),
    // The databases that nodes read; those of the scripted world in which authors try workloads; and
    // the vault of a device.
    (&["rusqlite"], &["session-connectors", "session-sdk", "session-cli"]),
    // The disk engine of storage touches the world already; logic gets its entropy handed in.
    (&["getrandom"], &["session-runtime", "session-storage", "sessiond", "session-cli"]),
    // TLS in the runtime, signed requests of the connectors; the second implementation for the tests
    // of crypto.
    (&["aws-lc"], &["session-runtime", "session-connectors", "session-crypto"]),
    (
        &[
            "libcrux",
            "chacha20poly1305",
            "aes-gcm",
            "hkdf",
            "hmac",
            "argon2",
            "blake",
            "ed25519",
            "x25519",
            "curve25519",
        ],
        &["session-crypto"],
    ),
];

/// Outside crates that a pure room must not even reach through others.
const WORLD: &[&str] = &["tokio", "hyper", "quinn", "rustls", "mio", "async-std", "smol"];

/// A dependency as a manifest declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: String,
    pub(super) to: String,
    /// Whether only tests, examples and benches see it.
    pub(super) dev: bool,
}

/// Reads the declared dependencies out of `cargo metadata --no-deps`.
///
/// A package without dependencies is kept as an edge to itself, so that it is still looked up.
pub(super) fn parse(metadata: &[u8]) -> anyhow::Result<Vec<Edge>> {
    let metadata: Value = serde_json::from_slice(metadata).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut edges = Vec::new();
    for package in packages {
        let from = package["name"].as_str().context("a package has no name")?;
        let dependencies = package["dependencies"].as_array().context("no dependencies listed")?;
        let edge = |to: &str, dev| Edge { from: from.to_owned(), to: to.to_owned(), dev };
        edges.push(edge(from, true));
        for dependency in dependencies {
            let to = dependency["name"].as_str().context("a dependency has no name")?;
            let dev = match &dependency["kind"] {
                Value::Null => false,
                Value::String(kind) if kind == "build" => false,
                Value::String(kind) if kind == "dev" => true,
                kind => bail!("{from} depends on {to} in an unknown way: {kind}"),
            };
            edges.push(edge(to, dev));
        }
    }
    Ok(edges)
}

/// Returns one line for each edge that breaks a rule.
pub(super) fn complaints(edges: &[Edge]) -> Vec<String> {
    edges
        .iter()
        .filter_map(|edge| {
            let broken = broken_rule(edge)?;
            let kind = if edge.dev { "dev-depends" } else { "depends" };
            Some(format!("{} {kind} on {}: {broken}", edge.from, edge.to))
        })
        .collect()
}

/// Returns the names of the packages of `edges` that are pure.
pub(super) fn pure_packages(edges: &[Edge]) -> BTreeSet<&str> {
    let names = edges.iter().map(|edge| edge.from.as_str());
    names.filter(|name| find(name).is_some_and(|room| room.kind == Kind::Pure)).collect()
}

/// Returns a line for each crate in the printed dependency tree of a pure package that belongs to
/// the world outside.
pub(super) fn reaches_the_world(package: &str, tree: &str) -> Vec<String> {
    let reached: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    reached
        .into_iter()
        .filter(|name| WORLD.iter().any(|world| is_of_family(name, world)))
        .map(|name| format!("{package} reaches {name}: a pure crate has no sockets and no tasks"))
        .collect()
}

fn find(package: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.package == package)
}

fn broken_rule(edge: &Edge) -> Option<String> {
    let Some(from) = find(&edge.from) else {
        return Some(format!("{} has no level; give it one in the table of tidy", edge.from));
    };
    match find(&edge.to) {
        // Tests may turn on features of their own crate.
        Some(to) if to.package == from.package && edge.dev => None,
        Some(to) => broken_room_rule(from, to, edge.dev),
        None if edge.to.starts_with("session") => {
            Some(format!("{} has no level; give it one in the table of tidy", edge.to))
        }
        None if edge.dev => None,
        None => broken_owner_rule(from, &edge.to),
    }
}

fn broken_room_rule(from: &Room, to: &Room, dev: bool) -> Option<String> {
    if from.kind == Kind::Tool || to.kind == Kind::Tool {
        return Some("tools and rooms do not see each other".to_owned());
    }
    if to.level >= from.level {
        return Some(format!(
            "a crate uses lower levels only, and these are {} and {}",
            from.level, to.level
        ));
    }
    if to.package == "session-runtime" && from.kind == Kind::Pure {
        return Some("only binaries see the runtime".to_owned());
    }
    if dev {
        return None;
    }
    let broken = match (from.package, to.package) {
        ("session-runtime", "session-core" | "session-crypto") => return None,
        ("session-runtime", _) => "the runtime understands nothing: it sees core and crypto",
        // The network file is text for people and membership of the protocol: they meet here. So do
        // the genesis file and the rules.
        ("session-protocol" | "session-vm", "session-rpc") => return None,
        // The operator's file says what may be reached.
        ("session-connectors", "session-rpc") => return None,
        (_, "session-rpc") if from.level < 4 => "shapes for people are for levels 4 and above",
        ("session-daemon", "session-messaging") => "a node does not know what people say",
        ("sessiond", "session-sim") => "a node carries no simulator",
        ("session-client", "session-storage") => "a client keeps no node's tables",
        _ => return None,
    };
    Some(broken.to_owned())
}

fn broken_owner_rule(from: &Room, outside: &str) -> Option<String> {
    let (_, owners) =
        OWNED.iter().find(|(names, _)| names.iter().any(|name| is_of_family(outside, name)))?;
    let allowed = owners.contains(&from.package);
    (!allowed).then(|| format!("{outside} belongs to {}", owners.join(", ")))
}

/// Whether a crate is `family` or one of its relatives, as `hyper-util` is of `hyper` and `blake3` of
/// `blake`; `mionic` is none of `mio`.
fn is_of_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphabetic()))
}

#[cfg(test)]
mod tests;
