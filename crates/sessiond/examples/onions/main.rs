//! Onion packets over real processes: how long requests take over some hops, and how many one hop
//! passes on: `bench/onions.sh [times|links|relay]`.
//!
//! Nodes are release builds of `sessiond` with their sockets; the client is in this program. Links of
//! 50 ms are UDP ports in this program that hand each datagram over 50 ms later, in either direction.

#![allow(clippy::print_stdout)] // that is what it is for

#[allow(dead_code, unused_imports)] // the tests use all of it
#[path = "../../tests/it/support/mod.rs"]
mod support;

mod load;
mod times;

use std::time::Duration;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|arg| arg == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if is_wanted("times") {
            times::run(None, 2_000).await;
        }
        if is_wanted("links") {
            times::run(Some(Duration::from_millis(50)), 200).await;
        }
        if is_wanted("relay") {
            load::run().await;
        }
    });
}

/// Returns the value that so many in a thousand are not above.
fn percentile(sorted: &[Duration], per_mille: usize) -> Duration {
    let rank = (sorted.len() * per_mille).div_ceil(1_000);
    sorted[rank.clamp(1, sorted.len()) - 1]
}
