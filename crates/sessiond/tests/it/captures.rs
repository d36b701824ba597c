//! What is seen on the loopback interface of conversations over three hops: the sizes of their
//! packets, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use session_core::{Blob, Encode as _, Entropy as _, MessageId, Span, SwarmId};
use session_crypto::SymmetricKey;
use session_network::onion::{HopKey, Path, Size};
use session_protocol::Membership as _;
use session_protocol::inbox::{BOXES, Mailbox, message_id};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::placement::nearest;
use session_protocol::request::{Cursor, Operation, Outcome, Select};

use crate::support::{Asker, Capture, Datagram, Node, Plan, Processes, Seen, Tap, alone, now};

/// Set where the test runs in a network of its own.
const ALONE: &str = "LUX_SESSION_TEST_ALONE";

const TEST: &str = "captures::conversations_differ_in_nothing_that_is_seen_on_their_lines";

/// Datagrams with fewer bytes are acknowledgements, pings and heartbeats.
const CONTROL_BYTES: usize = 200;

/// How far two numbers of bytes may be apart that mean the same: what acknowledgements take in
/// datagrams with something else, and how many there are.
const SLACK: usize = 400;

/// The swarm of the last hop.
const EXIT_SWARM: SwarmId = SwarmId(0);

const PATIENCE: Duration = Duration::from_secs(20);

/// How often a conversation is had; what is sent again, and what nodes say to each other once a
/// minute, only adds to what is seen.
const ROUNDS: usize = 4;

/// Where datagrams are seen.
enum Wire {
    /// On the interface.
    Interface(Capture),
    /// Before the ports of the nodes.
    Taps(Vec<Tap>),
}

/// Between the client and the first hop, and from hop to hop; out, and back.
type Lines = [[Vec<usize>; 2]; 3];

struct World {
    processes: Processes,
    wire: Wire,
    asker: Asker,
    keys: Vec<HopKey>,
}

/// What two people have who talk.
struct Talk {
    /// What each of them reads.
    mailboxes: [Mailbox; 2],
    /// What each of them says in turn.
    texts: [Vec<u8>; 2],
}

impl Talk {
    /// Takes mailboxes that the swarm of the exit keeps.
    fn new(seed: u8, texts: [&[u8]; 2], swarms: &[SwarmId]) -> Self {
        let seed = SymmetricKey::from([seed; 32]);
        let derived = (0..100_u8).map(|number| Mailbox::derive(&seed, &[&[number]]));
        let kept = |mailbox: &Mailbox| nearest(&mailbox.address(), swarms) == Some(EXIT_SWARM);
        let mailboxes: Vec<Mailbox> = derived.filter(kept).take(2).collect();
        let mailboxes = mailboxes.try_into().expect("it keeps half of all mailboxes");
        Self { mailboxes, texts: texts.map(<[u8]>::to_vec) }
    }

    /// What nobody on a line may see.
    fn secrets(&self) -> Vec<Vec<u8>> {
        let of = |(mailbox, text): (&Mailbox, &Vec<u8>)| {
            let rule = mailbox.rule();
            vec![
                text[..10].to_vec(),
                mailbox.address().as_bytes().to_vec(),
                mailbox.read.as_bytes().to_vec(),
                mailbox.write.as_bytes().to_vec(),
                mailbox.write.commitment().as_bytes().to_vec(),
                rule.to_bytes(),
                message_id(&mailbox.address(), BOXES, text).as_bytes().to_vec(),
            ]
        };
        self.mailboxes.iter().zip(self.texts.iter().rev()).flat_map(of).collect()
    }
}

impl World {
    /// A guard and a middle that have no other business with each other, and the swarm of the exit.
    async fn start(wire: Option<Capture>) -> Self {
        const NODES: usize = 5;
        let tapped = if wire.is_some() { 0 } else { NODES };
        let taps: Vec<Tap> = (0..tapped).map(|_| Tap::new()).collect();
        let plan = Plan {
            taps: (0..NODES).map(|index| taps.get(index).cloned()).collect(),
            swarms: &[1, 2, 0, 0, 0],
            ..Plan::default()
        };
        let processes = Processes::start(&plan);
        processes.wait_for_keys(NODES);
        let wire = wire.map_or(Wire::Taps(taps), Wire::Interface);
        let (asker, keys) = processes.asker(0).await;
        Self { processes, wire, asker, keys }
    }

    fn path(&self) -> Path {
        self.processes.path(&self.keys, &[0, 1, 2])
    }

    /// Returns all datagrams so far, place by place, with the ports of whoever really sent and got
    /// them.
    fn seen(&self) -> Vec<Vec<Datagram>> {
        match &self.wire {
            Wire::Interface(capture) => vec![capture.seen()],
            Wire::Taps(taps) => {
                let of = |(tap, node): (&Tap, &Node)| {
                    let inside = node.udp.port();
                    let datagram = |(outside, inward, bytes): Seen| {
                        let outside = outside.port();
                        if inward { (outside, inside, bytes) } else { (inside, outside, bytes) }
                    };
                    tap.seen().into_iter().map(datagram).collect()
                };
                taps.iter().zip(&self.processes.nodes).map(of).collect()
            }
        }
    }

    /// Returns the sizes of datagrams that carried something, line by line, after the first ones.
    fn lines(&self, after: &[usize]) -> Lines {
        let nodes = &self.processes.nodes;
        let ports = [self.asker.address(), nodes[0].udp, nodes[1].udp, nodes[2].udp];
        let mut sizes = BTreeMap::<(u16, u16), Vec<usize>>::new();
        let seen = self.seen().into_iter().zip(after);
        for (from, to, bytes) in seen.flat_map(|(seen, after)| seen.into_iter().skip(*after)) {
            if bytes.len() > CONTROL_BYTES {
                sizes.entry((from, to)).or_default().push(bytes.len());
            }
        }
        [0, 1, 2].map(|line| {
            let (near, far) = (ports[line].port(), ports[line + 1].port());
            [(near, far), (far, near)].map(|way| sizes.get(&way).cloned().unwrap_or_default())
        })
    }

    async fn ask(&mut self, operation: Operation) -> Outcome {
        let path = self.path();
        let reply = self.asker.ask_over(&path, operation, PATIENCE).await.expect("an answer");
        // The last acknowledgements are under way.
        tokio::time::sleep(Duration::from_millis(60)).await;
        reply.outcomes.into_iter().next().expect("one")
    }

    async fn say(&mut self, to: &Mailbox, text: &[u8]) -> MessageId {
        let stored = self.ask(Operation::Deposit {
            rule: to.rule(),
            token: to.write.clone(),
            namespace: BOXES,
            timestamp: now(),
            ttl: Span::from_secs(600),
            data: Blob::new(text).unwrap(),
        });
        let Outcome::Stored { message, .. } = stored.await else { panic!("not stored") };
        message
    }

    async fn read(&mut self, mailbox: &Mailbox) -> Vec<MessageId> {
        let select = Select::After { cursor: Cursor::default() };
        let (audience, namespace, bytes_max) = (self.processes.ids[2], BOXES, 20_000);
        let action = OwnerAction::Retrieve { namespace, select, bytes_max, audience };
        let (rule, token) = (mailbox.rule(), mailbox.read.clone());
        let operation = OwnerOperation::with_token(rule, token, action, now(), self.asker.rng());
        let operation = Operation::Owner { operation: Box::new(operation) };
        let Outcome::Items { items, .. } = self.ask(operation).await else { panic!("no items") };
        items.iter().map(|item| item.id).collect()
    }

    /// Each says something, and the other one reads it.
    async fn talk(&mut self, talk: &Talk) -> Lines {
        let before: Vec<usize> = self.seen().iter().map(Vec::len).collect();
        for (mailbox, text) in talk.mailboxes.iter().zip(talk.texts.iter().rev()) {
            let message = self.say(mailbox, text).await;
            assert_eq!(self.read(mailbox).await, [message]);
        }
        self.lines(&before)
    }
}

/// Returns the round in which the fewest bytes were seen, of each line and direction.
fn least(rounds: Vec<Lines>) -> Lines {
    let bytes = |sizes: &Vec<usize>| sizes.iter().sum::<usize>();
    [0, 1, 2].map(|line| {
        [0, 1].map(|way| {
            let of = rounds.iter().map(|lines| lines[line][way].clone());
            of.min_by_key(bytes).expect("there are rounds")
        })
    })
}

fn contains(datagram: &[u8], secret: &[u8]) -> bool {
    datagram.windows(secret.len()).any(|window| window == secret)
}

async fn compare(wire: Option<Capture>) {
    let mut world = World::start(wire).await;
    let mut long = vec![0; 2_000];
    session_core::SeededEntropy::new(3).fill(&mut long);
    let (mut short, mut rich, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
    let swarms = world.processes.membership.swarms();
    for round in 0..=ROUNDS {
        let seed = u8::try_from(round).unwrap();
        let few = Talk::new(seed, [b"see you :)", b"yes, at 10"], &swarms);
        let many = Talk::new(100 + seed, [&long, &long[..1_990]], &swarms);
        for (talk, lines) in [(few, &mut short), (many, &mut rich)] {
            secrets.extend(talk.secrets());
            let seen = world.talk(&talk).await;
            // In the first round connections find out how much fits into a datagram.
            if round > 0 {
                lines.push(seen);
            }
        }
    }
    let (short, rich) = (least(short), least(rich));
    for line in 0..3 {
        for way in 0..2 {
            let (one, other) = (&short[line][way], &rich[line][way]);
            let bytes = [one, other].map(|sizes| sizes.iter().sum::<usize>());
            // Four small requests out; four bulk answers back.
            let size = [Size::Small, Size::Bulk][way].bytes();
            let cells = bytes.map(|bytes| (bytes / size, bytes % size));
            assert!(cells.iter().all(|(count, over)| *count == 4 && *over < size / 4), "{cells:?}");
            assert!(bytes[0].abs_diff(bytes[1]) < SLACK, "{bytes:?}");
            assert!(one.len().abs_diff(other.len()) <= 1, "{one:?}\n{other:?}");
        }
    }
    let ids = world.processes.ids.iter().map(|id| id.as_bytes().to_vec());
    secrets.extend(ids);
    let seen = world.seen().concat();
    for (.., datagram) in &seen {
        assert!(secrets.iter().all(|secret| !contains(datagram, secret)));
    }
    assert!(seen.len() > 500);
}

#[test]
fn conversations_differ_in_nothing_that_is_seen_on_their_lines() {
    let run = |wire: Option<Capture>| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(compare(wire));
    };
    if std::env::var_os(ALONE).is_some() {
        return run(Some(Capture::start().expect("root of its own network may")));
    }
    match alone(TEST, ALONE) {
        Some(status) => assert!(status.success(), "{status}"),
        None => {
            // To the terminal, whether or not the test fails.
            use std::io::Write as _;
            let said = "no network of its own (unshare, ip): looked at taps, not at the interface";
            writeln!(std::io::stderr(), "{TEST}: {said}").unwrap();
            run(None);
        }
    }
}
