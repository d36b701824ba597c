//! The network as this node sees it, and the page that draws it.

use serde_json::{Map, Value, json};
use session_network::PeerState;
use session_runtime::http::Response;
use session_swarm::Progress;

use super::{Api, Of};
use crate::chain::facts;
use crate::shell::Status;

/// It loads nothing from elsewhere, and the policy sent with it forbids that.
const PAGE: &str = include_str!("network.html");

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the page.
pub(super) fn page() -> Response {
    Response::new(200, "text/html; charset=utf-8", PAGE)
        .with_header("content-security-policy", POLICY)
        .with_header("x-content-type-options", "nosniff")
        .with_header("referrer-policy", "no-referrer")
}

/// Returns what the page draws.
pub(super) fn json(api: &Api, status: Option<&Status>) -> Value {
    let mut json = match &api.of {
        Of::File { name, swarm } => of_file(name, &swarm.to_string(), api, status),
        Of::Chain(chain) => {
            let seen = chain.following.publisher().last();
            let mut json = facts::network(&seen, chain.following.local().now());
            json["certificate"] = chain.certificates.last().into();
            json["lie"] = chain.lie.map(|lie| format!("{lie:?}")).into();
            json
        }
    };
    let handing = status
        .and_then(|status| status.health.chain.as_ref())
        .and_then(|chain| chain.handing_over.as_ref())
        .map(handing);
    json["self"] = api.node.to_string().into();
    json["version"] = env!("CARGO_PKG_VERSION").into();
    json["handing_over"] = handing.into();
    json["peers"] = peers(status);
    json["items"] = status.map(|status| status.health.store.items).into();
    json
}

/// How far a hand-over is.
pub(super) fn handing(progress: &Progress) -> Value {
    json!({
        "filled": progress.filled,
        "to_fill": progress.to_fill,
        "held_for_swarms": progress.held_for,
        "filled_short": progress.short,
    })
}

/// Whom this node reaches, and how fast.
fn peers(status: Option<&Status>) -> Value {
    let peers = status.into_iter().flat_map(|status| &status.health.peers);
    let peers: Map<String, Value> = peers
        .map(|peer| {
            let up = peer.state == PeerState::Up;
            (peer.node.to_string(), json!({ "up": up, "latency_us": peer.latency_us }))
        })
        .collect();
    peers.into()
}

/// A network of a file has no epochs, and the node knows those that it is connected to.
fn of_file(name: &str, swarm: &str, api: &Api, status: Option<&Status>) -> Value {
    let mut members = vec![api.node.to_string()];
    let peers = status.into_iter().flat_map(|status| &status.health.peers);
    members.extend(peers.map(|peer| peer.node.to_string()));
    let nodes: Vec<Value> = members
        .iter()
        .map(|node| json!({ "node": node, "swarm": swarm, "status": "active" }))
        .collect();
    json!({ "network": name, "swarms": [{ "swarm": swarm, "members": members }], "nodes": nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_and_makes_no_markup_of_what_others_wrote() {
        for forbidden in
            ["src=", "href=", "https://", "url(", "innerHTML", "insertAdjacentHTML", "eval("]
        {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        // The name of a format, not a place.
        let places = PAGE.matches("http://").count();
        assert_eq!((places, PAGE.matches("http://www.w3.org/2000/svg").count()), (1, 1));
    }
}
