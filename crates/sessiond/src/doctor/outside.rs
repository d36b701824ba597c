//! What others see of the node: the chain, its clock, its registration, and whether it is reached.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use session_core::{ChainId, NodeId, Time};
use session_crypto::{DsaPublicKey, Identity};
use session_runtime::SystemClock;
use session_runtime::quic::{Event, Options, Quic};
use session_vm::chain::FUTURE_MAX;
use session_vm::records::Params;

use super::Found;
use crate::args::orders::Checkup;
use crate::chain::genesis;
use crate::chain::source::{Said, Source, Trouble};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may take.
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// Blocks that sources may be apart: one is made while they are asked.
const APART_MAX: u64 = 3;

/// What the sources say, asked once for all checks.
pub(super) struct Outside {
    now: Time,
    params: Option<Params>,
    /// Why the chain cannot be asked at all.
    missing: Option<Found>,
    sources: Vec<(String, Result<Said, Trouble>)>,
    /// The time of the last block, of the source that has the highest.
    last_block: Option<Time>,
    registered: Option<Value>,
}

impl Outside {
    pub(super) async fn look(checkup: &Checkup, node: &NodeId) -> Self {
        let now = SystemClock::new().now();
        let mut outside = Self {
            now,
            params: None,
            missing: None,
            sources: Vec::new(),
            last_block: None,
            registered: None,
        };
        let Some(chain) = &checkup.chain else {
            outside.missing = Some(Found::skipped("chain", "no --chain was given"));
            return outside;
        };
        let id = match genesis::read(&chain.genesis) {
            Ok((genesis, _)) => {
                let id = genesis.chain_id();
                outside.params = Some(genesis.params);
                id
            }
            Err(failure) => {
                let advice = "take the genesis from somebody you trust";
                outside.missing = Some(Found::bad("chain", failure.to_string(), advice));
                return outside;
            }
        };
        let mut best: Option<(u64, Source)> = None;
        for endpoint in &chain.sources {
            let source = Source::new(endpoint.clone(), PATIENCE);
            let said = outside.ask(&source, &id).await;
            if let Some(height) = said.filter(|at| best.as_ref().is_none_or(|(best, _)| at > best))
            {
                best = Some((height, source));
            }
        }
        if let Some((_, source)) = best {
            outside.last_block = last_block(&source).await;
            let asked = source.call("GetNode", json!({ "nodeId": node.to_string() })).await;
            outside.registered = asked.ok().map(|mut answer| answer["node"].take());
        }
        outside
    }

    async fn ask(&mut self, source: &Source, id: &ChainId) -> Option<u64> {
        let said = source.meet(id).await;
        let height = said.as_ref().ok().map(|said| said.height);
        self.sources.push((source.name(), said));
        height
    }

    pub(super) const fn params(&self) -> Option<&Params> {
        self.params.as_ref()
    }

    /// Whether the chain is reached, agrees with itself, and goes on.
    pub(super) fn chain(&self) -> Vec<Found> {
        if let Some(missing) = &self.missing {
            return vec![missing.clone()];
        }
        let highest = self.sources.iter().filter_map(|(_, said)| said.as_ref().ok());
        let highest = highest.map(|said| said.height).max().unwrap_or_default();
        let mut found: Vec<Found> = self.sources.iter().map(|said| source(said, highest)).collect();
        found.push(self.freshness());
        found
    }

    fn freshness(&self) -> Found {
        let (Some(time), Some(params)) = (self.last_block, self.params) else {
            return Found::skipped("chain age", "no source tells of its last block");
        };
        let age = self.now.since(time);
        let text = format!("the last block is {} s old", age.as_millis() / 1000);
        // The turn of every epoch makes a block.
        if age.as_millis() > params.epoch.as_millis().saturating_mul(2) {
            let advice = "ask whoever runs the sequencer; add another source";
            return Found::bad("chain age", text, advice);
        }
        Found::good("chain age", text)
    }

    /// A clock that is behind shows in blocks that are ahead of it.
    pub(super) fn clock(&self) -> Found {
        let Some(time) = self.last_block else {
            return Found::skipped("clock", "nobody tells the time");
        };
        let ahead = time.since(self.now);
        if ahead > FUTURE_MAX {
            let text = format!("the last block is {} s ahead of it", ahead.as_millis() / 1000);
            return Found::bad("clock", text, "run NTP on this machine");
        }
        Found::good("clock", "not behind the chain's")
    }

    /// Whether the chain has these keys, at an address that can be this machine's.
    pub(super) fn keys(&self, keys: &Identity, checkup: &Checkup) -> Found {
        if self.missing.is_some() || self.last_block.is_none() {
            return Found::skipped("registration", "no source was asked");
        }
        let Some(record) = &self.registered else {
            let text = "the chain does not know the node of this key file";
            return Found::bad("registration", text, "sessiond register, or the right --identity");
        };
        let dsa = hex::encode(keys.public().dsa().as_bytes());
        if !record["publicKey"].as_str().is_some_and(|key| key.eq_ignore_ascii_case(&dsa)) {
            let text = "the chain has another signing key for this node";
            return Found::bad("registration", text, "ask another source: this one lies");
        }
        let (status, endpoint) = (&record["status"], &record["endpoint"]);
        let (status, endpoint) =
            (status.as_str().unwrap_or("?"), endpoint.as_str().unwrap_or_default());
        let text = format!("{status}, reached at {endpoint}");
        let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port != Some(checkup.listen.port()) {
            let text = format!("{text}; the node listens on port {}", checkup.listen.port());
            return Found::warning("registration", text, "a router must forward the port");
        }
        match status {
            "registered" | "active" | "suspended" => Found::good("registration", text),
            _ => Found::bad("registration", text, "it serves nobody: register new keys"),
        }
    }

    /// Connects to the registered address as a client does; only the node's own key may answer.
    pub(super) async fn reachable(
        &self,
        keys: Identity,
        checkup: &Checkup,
        running: bool,
    ) -> Found {
        const CHECK: &str = "reachable";
        let endpoint = self.registered.as_ref().and_then(|record| record["endpoint"].as_str());
        let Some(endpoint) = endpoint.map(str::to_owned) else {
            return Found::skipped(CHECK, "no address is registered");
        };
        let resolve = {
            let endpoint = endpoint.clone();
            move || endpoint.to_socket_addrs().map(|mut found| found.next())
        };
        let address = match tokio::task::spawn_blocking(resolve).await {
            Ok(Ok(Some(address))) => address,
            _ => {
                let text = format!("{endpoint} has no address");
                return Found::bad(CHECK, text, "check the name in DNS");
            }
        };
        let key = *keys.public().dsa().as_bytes();
        // Where the node does not run, this program answers in its place.
        let _stand_in = match running {
            true => None,
            false => match bind(checkup.listen, Some(keys)) {
                Ok(stand_in) => Some(stand_in),
                Err(why) => return Found::skipped(CHECK, format!("cannot listen: {why}")),
            },
        };
        match connect(address, key).await {
            Ok(took) => {
                Found::good(CHECK, format!("{endpoint} answers with the node's key in {took:.0?}"))
            }
            Err(why) => Found::bad(
                CHECK,
                format!("{endpoint}: {why}"),
                "open the UDP port in the firewall and on the router; a router that does not \
                 reflect connections from inside needs a check from elsewhere",
            ),
        }
    }
}

fn source((name, said): &(String, Result<Said, Trouble>), highest: u64) -> Found {
    match said {
        Err(Trouble::Lies(why)) => {
            Found::bad("chain", format!("{name}: {why}"), "take it out of --chain")
        }
        Err(trouble) => Found::bad(
            "chain",
            format!("{name}: {trouble}"),
            "check the URL and the way there; several sources are better than one",
        ),
        Ok(Said { height, fault: Some(fault), .. }) => Found::warning(
            "chain",
            format!("{name} is at block {height}, and says: {fault}"),
            "add another source",
        ),
        Ok(Said { height, .. }) if highest - height > APART_MAX => Found::warning(
            "chain",
            format!("{name} is at block {height}, another source at {highest}"),
            "add another source",
        ),
        Ok(Said { height, version, .. }) => {
            Found::good("chain", format!("{name} is at block {height}, sessionvm {version}"))
        }
    }
}

async fn last_block(source: &Source) -> Option<Time> {
    let answer = source.call("GetBlock", json!({ "encoding": "hex" })).await.ok()?;
    let bytes = hex::decode(answer["bytes"].as_str()?).ok()?;
    let block = <session_protocol::chain::Block as session_core::Decode>::decode_exact(&bytes);
    block.ok().map(|block| block.time)
}

type Bound = (Quic<Vec<u8>>, session_runtime::quic::Events<Vec<u8>>);

fn bind(address: SocketAddr, keys: Option<Identity>) -> Result<Bound, String> {
    let decode = Arc::new(|_conn, _class, body: Vec<u8>| body);
    let keys = keys.map(|keys| Arc::new(keys) as _);
    Quic::bind(Options::new(address), keys, decode).map_err(|error| error.to_string())
}

#[allow(clippy::disallowed_methods)] // a stopwatch
async fn connect(address: SocketAddr, key: [u8; DsaPublicKey::SIZE]) -> Result<Duration, String> {
    let any: SocketAddr =
        if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("both are addresses");
    let (client, mut events) = bind(any, None)?;
    let begun = std::time::Instant::now();
    client.dial(1, address, Some(Box::new(key))).map_err(|error| error.to_string())?;
    let connected = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::Connected { .. } => return Ok(()),
                Event::DialFailed { why, .. } => return Err(why.to_string()),
                _ => {}
            }
        }
        Err("the connection ended".to_owned())
    };
    let connected = tokio::time::timeout(REACH_WITHIN, connected).await;
    let outcome = connected.unwrap_or_else(|_| Err("nobody answers".to_owned()));
    client.shutdown(Duration::from_millis(100)).await;
    outcome.map(|()| begun.elapsed())
}
