//! This machine: ports, disk, version.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use session_runtime::disk;

use super::Found;
use crate::args::orders::Checkup;

/// What nodes must be able to take where no chain says.
pub(super) const FREE_BYTES_MIN: u64 = 1 << 30;

/// A store is acknowledged after one write: slower disks make slow nodes.
const LATENCY_GOOD: Duration = Duration::from_millis(100);
const LATENCY_BAD: Duration = Duration::from_secs(2);

pub(super) fn version(running: Option<&Value>) -> Found {
    let own = env!("CARGO_PKG_VERSION");
    match running.and_then(|health| health["version"].as_str()) {
        Some(version) if version != own => Found::warning(
            "version",
            format!("the running node is {version}, this program is {own}"),
            "restart the node with the program that is installed now",
        ),
        _ => Found::good("version", own),
    }
}

pub(super) fn udp_port(checkup: &Checkup, running: Option<&Value>) -> Found {
    let bound = UdpSocket::bind(checkup.listen).map(drop);
    port("udp port", checkup.listen, bound, running)
}

pub(super) fn http_port(checkup: &Checkup, running: Option<&Value>) -> Found {
    let Some(http) = checkup.http else {
        return Found::skipped("http port", "the node has none");
    };
    port("http port", http, TcpListener::bind(http).map(drop), running)
}

fn port(
    check: &'static str,
    address: SocketAddr,
    bound: std::io::Result<()>,
    running: Option<&Value>,
) -> Found {
    match bound {
        Err(error) if error.kind() == ErrorKind::AddrInUse && running.is_some() => {
            Found::good(check, format!("{address} is held, and the node runs"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Found::bad(
            check,
            format!("{address} is held by another program"),
            "stop it, or choose another port",
        ),
        Err(error) => Found::bad(
            check,
            format!("{address} cannot be listened on: {error}"),
            "choose an address of this machine",
        ),
        Ok(()) if running.is_some() => Found::warning(
            check,
            format!("{address} is free, though the node runs"),
            "name the addresses that the node was started with",
        ),
        Ok(()) => Found::good(check, format!("{address} is free")),
    }
}

pub(super) fn room(data_dir: &Path, floor: u64) -> Found {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    match disk::free_bytes(data_dir) {
        Ok(free) if free < floor => Found::bad(
            "disk room",
            format!("{} are free, nodes must have {}", mib(free), mib(floor)),
            "make room: examiners count a node without it as failing",
        ),
        Ok(free) if free < floor.saturating_mul(2) => Found::warning(
            "disk room",
            format!("{} are free, nodes must have {}", mib(free), mib(floor)),
            "make room before it is too little",
        ),
        Ok(free) => Found::good("disk room", format!("{} are free", mib(free))),
        Err(error) => Found::bad(
            "disk room",
            format!("{} cannot be looked at: {error}", data_dir.display()),
            "check --data-dir and its file system",
        ),
    }
}

pub(super) fn write_latency(data_dir: &Path) -> Found {
    match disk::write_latency(data_dir) {
        Ok(took) if took >= LATENCY_BAD => Found::bad(
            "disk write",
            format!("a small write took {took:.1?}"),
            "use a faster disk, or find out what keeps this one busy",
        ),
        Ok(took) if took >= LATENCY_GOOD => Found::warning(
            "disk write",
            format!("a small write took {took:.1?}"),
            "clients wait this long for every message",
        ),
        Ok(took) => Found::good("disk write", format!("a small write took {took:.1?}")),
        Err(error) => Found::bad(
            "disk write",
            error.to_string(),
            "the node's user must be able to write there",
        ),
    }
}
