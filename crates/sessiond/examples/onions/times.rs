//! How long a request takes over some hops, from making the packet to the opened answer.

use std::time::{Duration, Instant};

use session_core::{Blob, Entropy as _, Span};
use session_crypto::Identity;
use session_network::onion::{Order, Packet, Path, Service, Size};
use session_protocol::inbox::{AccessRule, MESSAGES};
use session_protocol::onion::service;
use session_protocol::request::{Operation, Outcome};

use crate::percentile;
use crate::support::{Asker, Plan, Processes, Tap, batch, now};

const NODES: usize = 6;

const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Clone, Copy)]
enum Question {
    /// Nothing: 2 KiB go there, and an empty answer comes back.
    Echo,
    /// To keep an item of 2,000 bytes, on the disks of a quorum of six.
    Store,
}

pub(crate) async fn run(delay: Option<Duration>, requests: usize) {
    let tap = |_| delay.map(Tap::slow);
    let args = &["-onion-rate", "0", "-client-rate", "0"];
    let plan = Plan { taps: (0..NODES).map(tap).collect(), args, ..Plan::default() };
    let processes = Processes::start(&plan);
    processes.wait_for_keys(NODES);
    let between = delay.unwrap_or_default();
    println!("\nlinks of {between:?}, {requests} samples for each line");
    println!("| question | hops | p50 ms | p99 ms | slowest ms |\n|---|---|---|---|---|");
    let (mut asker, keys) = processes.asker(0).await;
    for question in [Question::Echo, Question::Store] {
        for hops in [0, 1, 3, 5] {
            let path = (hops > 0).then(|| {
                let hops: Vec<usize> = (0..hops).collect();
                processes.path(&keys, &hops)
            });
            if path.is_none() && matches!(question, Question::Echo) {
                continue;
            }
            // Connections between hops come about, and find out what fits.
            for _ in 0..requests / 10 {
                ask(&mut asker, path.as_ref(), question).await;
            }
            let mut times = Vec::new();
            for _ in 0..requests {
                times.push(ask(&mut asker, path.as_ref(), question).await);
            }
            times.sort();
            let name = match question {
                Question::Echo => "echo",
                Question::Store => "store",
            };
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let (p50, p99) = (percentile(&times, 500), percentile(&times, 990));
            let slowest = ms(times[times.len() - 1]);
            println!("| {name} | {hops} | {:.2} | {:.2} | {slowest:.2} |", ms(p50), ms(p99));
        }
    }
}

#[allow(clippy::disallowed_methods)] // a stopwatch
async fn ask(asker: &mut Asker, path: Option<&Path>, question: Question) -> Duration {
    let begun = Instant::now();
    match (question, path) {
        (Question::Echo, Some(path)) => echo(asker, path).await,
        (_, path) => {
            let operation = store(asker.rng().next_u64());
            let reply = match path {
                Some(path) => asker.ask_over(path, operation, PATIENCE).await.expect("an answer"),
                None => asker.ask(&batch(operation)).await,
            };
            assert!(matches!(reply.outcomes[0], Outcome::Stored { .. }), "{reply:?}");
        }
    }
    begun.elapsed()
}

async fn echo(asker: &mut Asker, path: &Path) {
    let service = Service(service::ECHO);
    let order = Order { size: Size::Small, service, answer: Size::Small, payload: &[7; 2_048] };
    let (packet, keys) = Packet::build(asker.rng(), path, &order).unwrap();
    let answer = asker.carry(packet, PATIENCE).await.expect("an answer");
    assert!(keys.open(&answer).unwrap().is_empty());
}

fn store(number: u64) -> Operation {
    let mut data = [0; 2_000];
    session_core::SeededEntropy::new(number).fill(&mut data);
    Operation::Store {
        address: AccessRule::from(Identity::from_seed(&[5; 32]).public().account_id()).address(),
        namespace: MESSAGES,
        timestamp: now(),
        ttl: Span::from_secs(600),
        data: Blob::new(data).unwrap(),
    }
}
