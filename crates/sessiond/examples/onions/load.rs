//! How many requests one hop passes on: a process with one core to itself, between nodes that this
//! program plays. They send packets that were made before and answer at once, so that the hop is what
//! is measured; all of its work is real: sockets, QUIC, X-Wing, circuits, answers.

use std::process::Command;
use std::time::{Duration, Instant};

use session_core::{Entropy as _, Epoch, NodeId, SeededEntropy, Span, Time};
use session_crypto::Identity;
use session_network::From;
use session_network::onion::{Hop, HopKey, Kind as PacketKind, Order, Packet, Path, Service, Size};
use session_protocol::onion::service;
use session_protocol::{Inbound, Membership as _, StaticMembership};

use crate::percentile;
use crate::support::line::{Heard, Line};
use crate::support::{Plan, Processes, now};

/// Nodes that send and answer: with fewer, what a node sends another one at most is the limit.
const PLAYED: usize = 16;

/// Requests of each.
const EACH: usize = 1_500;

/// Requests of each that are under way at a time.
const WINDOW: usize = 6;

/// The unit in which the kernel counts processor time.
const TICKS_PER_SECOND: f64 = 100.0;

const PATIENCE: Duration = Duration::from_secs(5);

/// How long connections are left alone before the load.
const SETTLE: Duration = Duration::from_secs(5);

/// What has no answer by then has none.
const LOST: Duration = Duration::from_secs(1);

/// A node that this program plays.
struct Source {
    line: Line,
    packets: Vec<Packet>,
    sent: Vec<(u64, Instant)>,
    times: Vec<Duration>,
}

pub(crate) async fn run() {
    let openings = openings();
    let plan = Plan { taps: vec![None], played: vec![1; PLAYED], ..Plan::default() };
    let mut processes = Processes::start(&plan);
    let hop = processes.ids[0];
    let (_, keys) = processes.asker(0).await;
    let key = keys.iter().find(|key| key.node() == hop).expect("its own").clone();
    let played = std::mem::take(&mut processes.played);
    let theirs: Vec<HopKey> =
        played.iter().map(|(keys, _)| hop_key(keys, &processes.membership, key.epoch())).collect();
    let mut sources = Vec::new();
    for (index, (keys, address)) in played.into_iter().enumerate() {
        let mut line = Line::node(keys, processes.membership.clone(), address);
        line.connected(hop).await;
        let path = Path::new(vec![key.clone(), theirs[(index + 1) % PLAYED].clone()], now());
        let packets = packets(&path.unwrap(), index as u64);
        sources.push(Source { line, packets, sent: Vec::new(), times: Vec::new() });
    }
    let settling = sources.into_iter().map(|source| tokio::spawn(settle(source)));
    let settling: Vec<_> = settling.collect();
    let mut sources = Vec::new();
    for source in settling {
        sources.push(source.await.unwrap());
    }
    let pid = processes.nodes[0].pid();
    pin(pid, "0");
    pin(std::process::id(), "1");
    let (cpu, begun) = (cpu(pid), stopwatch());
    let tasks: Vec<_> =
        sources.into_iter().map(|source| tokio::spawn(drive(source, hop))).collect();
    let (mut times, mut end) = (Vec::new(), begun);
    for task in tasks {
        let (of_one, last) = task.await.unwrap();
        times.extend(of_one);
        end = end.max(last);
    }
    let (wall, cpu) = ((end - begun).as_secs_f64(), self::cpu(pid) - cpu);
    times.sort();
    let all = (PLAYED * EACH) as f64;
    let answered = times.len() as f64;
    println!(
        "\none hop between {PLAYED} nodes, 2 KiB in small packets, {WINDOW} under way for each"
    );
    println!("openings of small packets on one core: {openings:.0}/s");
    println!(
        "requests passed on and answered: {answered} of {all} in {wall:.2} s: {:.0}/s",
        answered / wall
    );
    println!(
        "the hop's processor: {:.0} µs for each, {:.2} cores",
        cpu / answered * 1e6,
        cpu / wall
    );
    println!("so a core is full at {:.0}/s", answered / cpu);
    let [p50, p99] = [500, 990].map(|rank| percentile(&times, rank).as_secs_f64() * 1e3);
    println!("through the hop and back at this load: p50 {p50:.1} ms, p99 {p99:.1} ms");
    let health = |counter: &str| processes.relayed(0, counter);
    println!(
        "the hop says: {} sent on, {} refused, {} dropped",
        health("forwarded"),
        health("refused"),
        health("dropped")
    );
    assert!(answered >= all * 0.99, "{answered} of {all}");
}

#[allow(clippy::disallowed_methods)] // a stopwatch
fn stopwatch() -> Instant {
    Instant::now()
}

/// Returns how many small packets one core opens in a second.
fn openings() -> f64 {
    let (mut rng, identity) = (SeededEntropy::new(1), Identity::from_seed(&[1; 32]));
    let keys = identity.public().clone();
    let (mut hop, network) = (Hop::new(keys.node_id(), 10), Default::default());
    let life = (Time::ZERO, Time::from_millis(1_000));
    let signed = hop.rotate(&mut rng, network, Epoch(1), life).sign(&identity, &mut rng);
    let key = signed.verify(&network, &keys, &session_crypto::RealVerifier).unwrap();
    let path = Path::new(vec![key], Time::ZERO).unwrap();
    let (packet, opener) = (packet(&path, &mut rng), hop.opener());
    let (before, count) = (cpu(std::process::id()), 20_000);
    for _ in 0..count {
        std::hint::black_box(opener.open(Time::ZERO, std::hint::black_box(&packet)));
    }
    // Of the processor's time, so that others at work do not count.
    f64::from(count) / (cpu(std::process::id()) - before)
}

fn hop_key(identity: &Identity, members: &StaticMembership, epoch: Epoch) -> HopKey {
    let (network, keys) = (members.network(), identity.public());
    let mut rng = SeededEntropy::new(keys.node_id().as_bytes()[0].into());
    let life = (now(), now() + Span::from_secs(3_600));
    let record = Hop::new(keys.node_id(), 1).rotate(&mut rng, network, epoch, life);
    record.sign(identity, &mut rng).verify(&network, keys, &session_crypto::RealVerifier).unwrap()
}

fn packet(path: &Path, rng: &mut SeededEntropy) -> Packet {
    let service = Service(service::ECHO);
    let order = Order { size: Size::Small, service, answer: Size::Small, payload: &[7; 2_048] };
    Packet::build(rng, path, &order).unwrap().0
}

fn packets(path: &Path, seed: u64) -> Vec<Packet> {
    let mut rng = SeededEntropy::new(seed);
    (0..EACH).map(|_| packet(path, &mut rng)).collect()
}

/// Two nodes may dial each other at once; after some seconds one of the connections is left.
async fn settle(mut source: Source) -> Source {
    let begun = stopwatch();
    while begun.elapsed() < SETTLE {
        source.line.next(Duration::from_millis(50)).await;
    }
    source
}

/// Sends all packets, and answers those of others.
async fn drive(mut source: Source, hop: NodeId) -> (Vec<Duration>, Instant) {
    let to = From::Node(hop);
    let mut last = stopwatch();
    loop {
        while source.sent.len() < WINDOW {
            let Some(packet) = source.packets.pop() else { break };
            let circuit = source.line.rng.next_u64();
            source.sent.push((circuit, stopwatch()));
            assert!(source.line.send_packet(to, circuit, packet), "the hop is there");
        }
        // Others may still want answers: whoever has all of its own stays until nothing comes.
        let waited = last.elapsed();
        if waited > PATIENCE || (source.sent.is_empty() && waited > Duration::from_millis(500)) {
            return (source.times, last);
        }
        // What is lost is lost: with a connection that is replaced by a newer one, for instance.
        source.sent.retain(|(_, sent)| sent.elapsed() < LOST);
        let heard = source.line.next(Duration::from_millis(50)).await;
        let Some(Heard::Message(_, Inbound::Onion(onion))) = heard else { continue };
        last = stopwatch();
        let packet = Packet::try_from(onion.packet.into_vec()).unwrap();
        if packet.kind() == PacketKind::Request {
            // A hop looks at the kind of an answer, and lays its stream over the rest.
            let mut bytes = packet.into_bytes();
            bytes[1] = 3;
            source.line.send_packet(to, onion.circuit, Packet::try_from(bytes).unwrap());
        } else if let Some(at) = source.sent.iter().position(|(sent, _)| *sent == onion.circuit) {
            source.times.push(source.sent.swap_remove(at).1.elapsed());
        }
    }
}

/// Keeps a process on one processor, where there are two and the program for it.
fn pin(pid: u32, processor: &str) {
    let pinned = Command::new("taskset").args(["-acp", processor, &pid.to_string()]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        println!("process {pid} is on any processor: no taskset");
    }
}

/// Returns the seconds that a process has worked.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may have spaces: user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}
