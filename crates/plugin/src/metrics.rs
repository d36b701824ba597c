//! Figures for Prometheus.

use session_runtime::metrics::{Counter, Gauge, Histogram, Registry};

use session_vm::query;

use crate::http::App;
use crate::overview::Counts;

/// Seconds; a call is a lookup or waits for one fsync.
const CALL_BOUNDS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

/// What is counted.
pub(crate) struct Metrics {
    registry: Registry,
    calls_done: Counter,
    calls_refused: Counter,
    pub(crate) call_seconds: Histogram,
    height: Gauge,
    mempool: Gauge,
    mempool_bytes: Gauge,
    undecided: Gauge,
    epoch: Gauge,
    nodes: Gauge,
    swarms: Gauge,
    nodes_missing: Gauge,
    nodes_slashed: Gauge,
    cases_open: Gauge,
    treasury: Gauge,
    conversations: Gauge,
    channels: Gauge,
    waiting: Gauge,
    pub(crate) sockets: Gauge,
    healthy: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let calls = |result| {
            let help = "JSON-RPC calls by result.";
            registry.counter("sessionvm_calls_total", help, &[("result", result)])
        };
        let gauge = |name, help| registry.gauge(name, help, &[]);
        Self {
            calls_done: calls("done"),
            calls_refused: calls("refused"),
            call_seconds: registry.histogram(
                "sessionvm_call_seconds",
                "How long JSON-RPC bodies took.",
                CALL_BOUNDS,
                &[],
            ),
            height: gauge("sessionvm_height", "Height of the last accepted block."),
            mempool: gauge("sessionvm_mempool_transactions", "Transactions that wait."),
            mempool_bytes: gauge("sessionvm_mempool_bytes", "Bytes of transactions that wait."),
            undecided: gauge("sessionvm_undecided_blocks", "Verified blocks not yet decided."),
            epoch: gauge("sessionvm_epoch", "The epoch that the last block was in."),
            nodes: gauge("sessionvm_nodes", "Service nodes with a place in a swarm."),
            swarms: gauge("sessionvm_swarms", "Swarms."),
            nodes_missing: gauge(
                "sessionvm_nodes_missing",
                "Nodes that missed a duty in the last epoch that was judged.",
            ),
            nodes_slashed: gauge("sessionvm_nodes_slashed", "Nodes that are slashed."),
            cases_open: gauge("sessionvm_cases_open", "Accusations that wait."),
            treasury: gauge("sessionvm_treasury", "Fees and penalties taken, in base units."),
            conversations: gauge("sessionvm_conversations", "Conversations pending or active."),
            channels: gauge("sessionvm_channels", "Channels."),
            waiting: gauge("sessionvm_conversation_jobs", "Requests that wait for the disk."),
            sockets: gauge("sessionvm_websockets", "Open WebSockets."),
            healthy: gauge("sessionvm_healthy", "1 while the node does what it should."),
            registry,
        }
    }

    /// Counts one call.
    pub(crate) fn count(&self, done: bool) {
        if done { self.calls_done.increment() } else { self.calls_refused.increment() }
    }

    /// Writes everything out, as it is now.
    pub(crate) fn render(&self, app: &App) -> String {
        let health = crate::api::health(app);
        {
            let chain = app.engine().chain();
            let pool = chain.mempool_stats();
            set(&self.height, chain.last_accepted().height);
            set(&self.mempool, pool.transactions as u64);
            set(&self.mempool_bytes, pool.bytes as u64);
            set(&self.undecided, chain.undecided() as u64);
            let counts = Counts::of(chain.state());
            set(&self.epoch, query::epoch(chain.state()).number.0);
            set(&self.nodes, counts.seats);
            set(&self.swarms, counts.swarms);
            set(&self.nodes_missing, counts.missing);
            set(&self.nodes_slashed, counts.slashed);
            set(&self.cases_open, counts.open_cases);
            set(&self.treasury, query::treasury(chain.state()).0);
        }
        set(&self.conversations, health.sessions);
        set(&self.channels, health.channels);
        set(&self.waiting, app.engine().post().waiting());
        self.healthy.set(i64::from(health.healthy));
        self.registry.render()
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
