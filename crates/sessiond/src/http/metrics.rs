//! What the node has done and does, for Prometheus.

use std::time::Duration;

use session_core::NodeId;
use session_daemon::relay;
use session_network::PeerState;
use session_runtime::metrics::Registry;
use session_swarm::coordinator::Verdict;
use session_vm::query;

use super::OfChain;
use crate::shell::Status;
use crate::workload::Stats;

/// Returns the exposition of one moment.
pub(super) fn text(
    status: &Status,
    of_chain: Option<&OfChain>,
    node: &NodeId,
    uptime: Duration,
) -> String {
    let out = Exposition(Registry::new());
    out.gauge("session_uptime_seconds", "Time since the start.", uptime.as_secs());
    swarm(&out, status);
    network(&out, status);
    shell(&out, status);
    if let Some(stats) = &status.health.onions {
        onions(&out, stats);
    }
    if let Some(stats) = &status.sessions {
        sessions(&out, stats);
    }
    if let Some(of_chain) = of_chain {
        chain(&out, of_chain, node);
        duties(&out, status);
    }
    out.0.render()
}

fn chain(out: &Exposition, of_chain: &OfChain, node: &NodeId) {
    let following = &of_chain.following;
    let (seen, now) = (following.publisher().last(), following.local().now());
    let standings = following.standings();
    let useful = standings.iter().filter(|standing| standing.fault.is_none()).count();
    let lied = standings.iter().filter(|standing| standing.lied).count();
    out.gauge("session_chain_height", "Height of the last block.", seen.tip.block.height);
    let age = now.since(seen.tip.block.time).as_millis() / 1000;
    out.gauge("session_chain_block_age_seconds", "Age of the last block.", age);
    out.gauge("session_chain_sources", "Sources of the chain.", standings.len() as u64);
    out.gauge("session_chain_sources_useful", "Sources without a fault.", useful as u64);
    out.gauge("session_chain_sources_lied", "Sources that served what cannot be.", lied as u64);
    let halted = following.halted().is_some();
    out.gauge("session_chain_halted", "1 after a fork: nothing is followed.", halted.into());
    let epoch = &seen.view.epoch;
    out.gauge("session_epoch", "The epoch.", epoch.number.0);
    let phase = epoch.schedule.phase(now) as u64;
    out.gauge("session_epoch_phase", "Its quarter: 0 to 3.", phase);
    let seat = seen.view.seats.get(node);
    out.gauge("session_seat", "1 while the node has a seat in a swarm.", seat.is_some().into());
    let away = seat.is_some_and(|seat| seat.draining);
    out.gauge("session_away", "1 while the node is away, announced.", away.into());
    let Some((_, record)) = query::node(&seen.tip.state, node) else { return };
    out.gauge("session_misses", "Epochs in a row with a miss.", record.misses.into());
    out.gauge("session_uptime_bps", "Uptime score, 0 to 10000.", record.uptime_bps.into());
    out.gauge("session_stake", "What is left of the stake, in base units.", record.stake.0);
    let original = record.stake_original.0;
    out.gauge("session_stake_original", "What was staked, in base units.", original);
}

fn duties(out: &Exposition, status: &Status) {
    let Some(chain) = &status.health.chain else { return };
    let moving = chain.handing_over.unwrap_or_default();
    let (to_fill, filled) = (moving.to_fill as u64, moving.filled as u64);
    out.gauge("session_handover_to_fill", "Buckets to take over from others.", to_fill);
    out.gauge("session_handover_filled", "Those of them that are here.", filled);
    out.gauge(
        "session_handover_held",
        "Swarms for which inboxes are held that this node kept before them.",
        moving.held_for as u64,
    );
    let Some(duties) = &chain.duties else { return };
    let done = &duties.done;
    for (name, help, done) in [
        ("session_duty_registered", "1 once one-time secrets are registered.", done.registered),
        ("session_duty_dealt", "1 once the dealing is on the chain.", done.dealt),
        ("session_duty_acknowledged", "1 once shares are acknowledged.", done.acknowledged),
        ("session_duty_revealed", "1 once the secret is revealed.", done.revealed),
        ("session_duty_committed", "1 once the storage commitment is posted.", done.committed),
        ("session_duty_voted", "1 once the vote is posted.", done.voted),
    ] {
        out.gauge(name, help, done.into());
    }
    let verdicts = |wanted: fn(&Verdict) -> bool| {
        duties.examined.iter().filter(|(_, verdict)| wanted(verdict)).count() as u64
    };
    let passed = verdicts(|verdict| matches!(verdict, Verdict::Passed));
    let failed = verdicts(|verdict| matches!(verdict, Verdict::Failed(_)));
    out.gauge("session_examined_passed", "Targets that did their duty in this epoch.", passed);
    out.gauge("session_examined_failed", "Targets that did not.", failed);
    out.gauge(
        "session_deviant_epochs",
        "Epochs with another root than the swarm.",
        duties.deviant.into(),
    );
}

fn swarm(out: &Exposition, status: &Status) {
    let (swarm, stats) = (&status.health.swarm, &status.health.swarm_stats);
    let store = &status.health.store;
    out.gauge("session_members", "Members of the swarm.", swarm.members as u64);
    out.gauge(
        "session_members_up",
        "Members of the swarm that are reachable.",
        swarm.members_up as u64,
    );
    out.gauge("session_quorum", "Members that must commit a store.", swarm.quorum as u64);
    out.gauge("session_writable", "1 when the store takes new items.", swarm.writable.into());
    out.gauge("session_stores_waiting", "Stores that wait for a quorum.", swarm.waiting as u64);
    out.gauge(
        "session_subscriptions",
        "Inboxes that are subscribed to.",
        swarm.subscriptions as u64,
    );
    out.gauge("session_reconciliations", "Reconciliations under way.", swarm.reconciling as u64);
    out.gauge("session_items", "Items kept.", store.items);
    out.gauge("session_item_bytes", "Bytes of the items kept.", store.item_bytes);
    out.gauge("session_tombstones", "Deletions remembered.", store.tombstones);
    out.gauge("session_records", "Small records kept.", store.records);
    out.gauge("session_disk_bytes", "Bytes of all segment files.", store.disk_bytes);
    out.gauge("session_segments", "Segment files.", store.segments);
    out.counter("session_requests_total", "Batches from clients.", stats.requests);
    out.counter("session_refused_total", "Operations that were refused.", stats.refused);
    out.counter(
        "session_items_stored_total",
        "New items, whoever brought them.",
        stats.items_stored,
    );
    out.counter(
        "session_items_duplicate_total",
        "Items that were there already.",
        stats.items_duplicate,
    );
    out.counter("session_items_served_total", "Items handed to clients.", stats.items_served);
    out.counter("session_items_pushed_total", "Items pushed to subscribers.", stats.items_pushed);
    out.counter("session_operations_total", "Owner operations applied.", stats.operations_applied);
    out.counter("session_purged_total", "Items and records forgotten after expiry.", stats.purged);
    out.counter(
        "session_quorum_missed_total",
        "Stores and operations without a quorum.",
        stats.quorum_missed,
    );
    out.counter(
        "session_replications_total",
        "Replication messages sent.",
        stats.replications_sent,
    );
    out.counter("session_repairs_total", "Reconciliations that found a difference.", stats.repairs);
    out.counter("session_in_sync_total", "Reconciliations that found none.", stats.in_sync);
    out.gauge("session_corrupt_places", "Damaged places on disk; not served.", store.corrupt);
    out.counter("session_store_errors_total", "Failures of the store.", stats.store_errors);
}

fn network(out: &Exposition, status: &Status) {
    let (peers, stats) = (&status.health.peers, &status.health.network_stats);
    let up = peers.iter().filter(|peer| peer.state == PeerState::Up);
    out.gauge("session_peers", "Nodes that are known.", peers.len() as u64);
    out.gauge(
        "session_peers_up",
        "Nodes that are connected and proven.",
        up.clone().count() as u64,
    );
    let slowest = up.filter_map(|peer| peer.latency_us).max().unwrap_or(0);
    out.gauge(
        "session_peer_latency_max_us",
        "Round trip to the slowest connected node.",
        slowest.into(),
    );
    out.gauge("session_clients", "Clients that are connected.", status.health.clients as u64);
    out.gauge("session_connections", "Open connections.", status.connections as u64);
    out.gauge(
        "session_send_queue_bytes",
        "Bytes that wait to be sent.",
        status.quic.queued_bytes as u64,
    );
    out.counter("session_frames_in_total", "Frames received.", status.quic.frames_in);
    out.counter("session_bytes_in_total", "Bytes of frames received.", status.quic.bytes_in);
    out.counter("session_frames_out_total", "Frames sent.", status.quic.frames_out);
    out.counter("session_bytes_out_total", "Bytes of frames sent.", status.quic.bytes_out);
    out.counter(
        "session_datagrams_dropped_total",
        "Datagrams dropped unread.",
        status.quic.datagrams_dropped,
    );
    out.counter(
        "session_connections_refused_total",
        "Connections refused for lack of a place.",
        status.quic.refused,
    );
    out.counter(
        "session_handshakes_failed_total",
        "TLS handshakes that failed.",
        status.quic.handshakes_failed,
    );
    out.counter("session_dials_total", "Dials begun.", stats.dials);
    out.counter("session_dials_failed_total", "Dials that came to nothing.", stats.dials_failed);
    out.counter("session_handshakes_total", "Node handshakes completed.", stats.handshakes);
    out.counter("session_peers_lost_total", "Nodes that were up and then not.", stats.peers_lost);
    out.counter("session_malformed_total", "Malformed frames.", stats.refused.malformed);
    out.counter("session_limited_total", "Requests over their limits.", stats.refused.limited);
    out.counter(
        "session_penalized_total",
        "Connections closed for a fault.",
        stats.refused.penalized,
    );
}

fn onions(out: &Exposition, stats: &relay::Stats) {
    out.counter("session_onion_forwarded_total", "Onion packets sent on.", stats.forwarded);
    out.counter(
        "session_onion_delivered_total",
        "Onion requests that ended here.",
        stats.delivered,
    );
    out.counter("session_onion_answered_total", "Answers sent back.", stats.answered);
    out.counter("session_onion_cover_total", "Cover that ended here.", stats.cover);
    out.counter(
        "session_onion_refused_total",
        "Onion packets altered, repeated, for another key, or over the bound of their epoch.",
        stats.refused,
    );
    out.counter("session_onion_stray_total", "Answers that nobody waits for.", stats.stray);
    out.counter("session_onion_full_total", "Packets dropped for lack of room.", stats.full);
    out.counter(
        "session_onion_unreachable_total",
        "Packets for nodes that were not reached in time.",
        stats.unreachable,
    );
    out.counter("session_onion_expired_total", "Circuits without an answer.", stats.expired);
    out.gauge("session_onion_circuits", "Circuits that wait for an answer.", stats.circuits as u64);
    out.gauge("session_onion_waiting", "Packets that wait.", stats.waiting as u64);
    out.gauge("session_onion_taken", "Packets taken in this epoch.", stats.taken as u64);
    out.gauge("session_onion_taken_max", "How many can be.", stats.packets_max as u64);
    out.gauge("session_onion_epoch", "The epoch of hop keys.", stats.epoch.0);
    out.gauge(
        "session_onion_nodes_known",
        "Nodes whose hop key of this epoch is known.",
        stats.nodes_known as u64,
    );
}

fn sessions(out: &Exposition, stats: &Stats) {
    let Stats { running, pending, waiting_io, .. } = *stats;
    out.gauge(
        "session_workloads_pending",
        "Workload sessions that wait for their program, their input or their turn.",
        pending as u64,
    );
    out.gauge("session_workloads_running", "Workload sessions that run.", running as u64);
    out.gauge(
        "session_workloads_waiting_io",
        "Questions of workload sessions to the world that are under way.",
        waiting_io as u64,
    );
    out.counter("session_workloads_started_total", "Workload sessions begun.", stats.started);
    out.counter(
        "session_workloads_finalized_total",
        "Workload sessions that ended well.",
        stats.finalized,
    );
    out.counter("session_workloads_failed_total", "Workload sessions that failed.", stats.failed);
    out.counter(
        "session_workload_rounds_total",
        "Steps of workload sessions that asked the world and were decided.",
        stats.rounds,
    );
    out.counter(
        "session_workload_retries_total",
        "Attempts before those that were decided.",
        stats.retries,
    );
    out.counter("session_workload_runs_total", "Stretches of programs run.", stats.runs);
    out.counter("session_workload_fetches_total", "Questions to the world.", stats.fetches);
    out.counter(
        "session_workload_fetches_failed_total",
        "Questions to the world without an answer.",
        stats.fetches_failed,
    );
}

fn shell(out: &Exposition, status: &Status) {
    let stats = &status.shell;
    out.gauge(
        "session_calls_waiting",
        "HTTP calls that wait for a reply.",
        status.calls_waiting as u64,
    );
    out.gauge("session_http_subscribers", "Subscribers over HTTP.", status.subscribers as u64);
    out.counter("session_machine_calls_total", "Calls of the machine.", stats.calls);
    out.counter("session_commits_total", "Groups of calls that became durable.", stats.commits);
    out.counter("session_roots_signed_total", "Signatures over receipts.", stats.roots_signed);
    out.counter("session_receipts_signed_total", "Receipts signed.", stats.receipts_signed);
    out.counter(
        "session_onion_unsent_total",
        "Onion packets dropped because their connection had too much to send.",
        stats.onions_dropped,
    );
}

struct Exposition(Registry);

impl Exposition {
    fn gauge(&self, name: &'static str, help: &'static str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.gauge(name, help, &[]).set(value);
    }

    fn counter(&self, name: &'static str, help: &'static str, value: u64) {
        self.0.counter(name, help, &[]).add(value);
    }
}
