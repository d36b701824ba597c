//! Followers of a sequencer: copies, forks, kills.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use session_core::{Blob, Decode as _, Digest, Encode as _, Entropy as _, SeededEntropy, Span};
use session_crypto::{Identity, RealVerifier};
use session_protocol::chain::block::Sealed;
use session_protocol::chain::{Block, SealedBlock};
use session_vm::solo::{ForkEvidence, NoFork};

use crate::common::{Impostor, Node, Person, Place, eventually, get, raw, transfer};

/// Waits until all have the same last block; returns it.
fn agree(nodes: &[&Node]) -> (u64, Value, Value) {
    eventually("the same last block", || {
        let tips: Vec<_> = nodes.iter().map(|node| node.tip()).collect();
        tips.iter().all(|tip| *tip == tips[0]).then(|| tips[0].clone())
    })
}

#[test]
fn followers_have_the_same_blocks_and_hand_transactions_on() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    let send = |nonce, to: &Node| to.issue(&transfer(chain, &owner, nonce, bob.account(), 1));
    for nonce in 0..5 {
        sequencer.accepted(&send(nonce, &sequencer));
    }
    let one = place.follow("one", sequencer.http, &[]);
    // A follower serves blocks as its sequencer does.
    let two = place.follow("two", one.http, &[]);
    agree(&[&sequencer, &one, &two]);
    let tx = send(5, &one);
    let height = one.accepted(&tx)["height"].clone();
    assert_eq!(sequencer.accepted(&tx)["height"], height);
    // Through both.
    let tx = send(6, &two);
    assert_eq!(two.accepted(&tx)["blockId"], sequencer.accepted(&tx)["blockId"]);
    let tip = agree(&[&sequencer, &one, &two]);
    eventually("followers are ready", || {
        let healths = [one.health(), two.health()];
        healths
            .iter()
            .all(|health| health["healthy"] == true && health["phase"] == "ready")
            .then_some(())
    });
    for height in 1..=tip.0 {
        let path = format!("/blocks/{height}");
        assert_eq!(get(sequencer.http, &path).body, get(two.http, &path).body);
    }
    assert!(get(one.http, "/").text().contains("<dd>follower</dd>"));
}

#[test]
fn a_follower_that_is_never_idle_is_ready_all_the_same() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    let follower = place.follow("one", sequencer.http, &[]);
    let mut nonce = 0;
    eventually("the follower is ready", || {
        sequencer.issue(&transfer(chain, &owner, nonce, bob.account(), 1));
        nonce += 1;
        let health = follower.health();
        (health["phase"] == "ready" && health["healthy"] == true).then_some(())
    });
}

#[test]
fn a_follower_of_another_chain_takes_nothing() {
    let (place, other) = (Place::new(), Place::new());
    let (sequencer, stranger) = (place.start(&[]), other.start(&[]));
    let (owner, bob) = (place.owner(), Person::new(2));
    sequencer.accepted(&sequencer.issue(&transfer(sequencer.chain(), &owner, 0, bob.account(), 1)));
    let follower = other.follow("copy", sequencer.http, &[]);
    let fault =
        eventually("it says why", || follower.health()["fault"].as_str().map(str::to_owned));
    assert!(fault.contains("chain"), "{fault}");
    assert_eq!(get(follower.http, "/health").status, 503);
    assert_eq!((follower.tip().0, follower.chain()), (0, stranger.chain()));
}

#[test]
fn a_follower_without_a_genesis_is_told_where_to_get_it() {
    let place = Place::new();
    let (code, said) = place.fails("copy", &["--follow", "http://127.0.0.1:1"]);
    assert_eq!(code, 2);
    assert!(said.contains("--genesis FILE") && said.contains("/genesis"), "{said}");
}

/// Takes the blocks that a sequencer has sealed.
fn sealed(from: SocketAddr, height: u64) -> (Vec<u8>, SealedBlock) {
    let bytes = get(from, &format!("/blocks/{height}")).body;
    let sealed = SealedBlock::decode_exact(&bytes).unwrap();
    (bytes, sealed)
}

#[test]
fn false_sequencers_are_refused_and_forks_are_remembered() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    for nonce in 0..2 {
        sequencer.accepted(&sequencer.issue(&transfer(chain, &owner, nonce, bob.account(), 1)));
    }
    let (first, first_sealed) = sealed(sequencer.http, 1);
    let (second, second_sealed) = sealed(sequencer.http, 2);
    let block = Block::parse(&second_sealed.block, &chain).unwrap();
    let impostor = Impostor::new(chain);
    let follower = place.follow("one", impostor.address, &[]);
    let fault = |needle: &str| {
        eventually(needle, || {
            let health = follower.health();
            health["fault"].as_str().filter(|fault| fault.contains(needle)).map(str::to_owned)
        })
    };

    // Bytes that are nothing.
    impostor.serve(1, b"nothing".to_vec());
    fault("no sealed block");
    // A block that somebody else sealed.
    impostor.seal(&Block::parse(&first_sealed.block, &chain).unwrap(), &bob.identity);
    fault("seal");
    assert_eq!(follower.tip().0, 0);
    // The sequencer's own blocks make it go on.
    impostor.serve(1, first);
    impostor.serve(2, second.clone());
    follower.reaches(2);
    eventually("all is well", || (follower.health()["healthy"] == true).then_some(()));
    // A block of the future, sealed by the true sequencer: not before its time.
    let future = Block {
        height: 3,
        parent: block.id(),
        time: block.time + Span::from_secs(900),
        ..block.clone()
    };
    impostor.seal(&future, &owner);
    fault("ahead of");
    assert_eq!(follower.tip().0, 2);
    // A second block for a height that it has.
    let fork = Block { time: block.time + Span::from_millis(1), ..block.clone() };
    impostor.seal(&fork, &owner);
    let why = fault("FORK at height 2");
    assert!(why.contains(&fork.id().to_string()) && why.contains(&block.id().to_string()), "{why}");
    assert_eq!(get(follower.http, "/health").status, 503);

    // What it has it serves.
    let tip = follower.tip();
    assert_eq!(follower.ask("GetBlock", json!({"height": 2}))["block"]["blockId"], tip.1);
    assert_eq!(get(follower.http, "/blocks/2").body, second);
    impostor.serve(2, second);
    std::thread::sleep(Duration::from_millis(700));
    assert!(follower.health()["fault"].as_str().unwrap().contains("FORK"));

    // A restart does not forget it; whoever has the evidence can check it.
    follower.kill();
    let path = place.path().join("one/fork.evidence");
    let evidence = ForkEvidence::decode_exact(&std::fs::read(&path).unwrap()).unwrap();
    let key = owner.public().dsa();
    assert_eq!(evidence.check(&chain, key, &RealVerifier), Ok(2));
    let follower = place.follow("one", impostor.address, &[]);
    eventually("the fork", || {
        let health = follower.health();
        health["fault"].as_str().filter(|fault| fault.contains("seen before")).map(str::to_owned)
    });
    assert_eq!(follower.tip(), tip);
}

#[test]
fn only_two_seals_that_contradict_each_other_are_evidence() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    for nonce in 0..2 {
        sequencer.accepted(&sequencer.issue(&transfer(chain, &owner, nonce, bob.account(), 1)));
    }
    let (ours, theirs) = (sealed(sequencer.http, 1).1, sealed(sequencer.http, 2).1);
    let key = owner.public().dsa();
    let check = |ours: &SealedBlock, theirs: &SealedBlock| {
        let evidence = ForkEvidence { ours: ours.clone(), theirs: theirs.clone() };
        evidence.check(&chain, key, &RealVerifier)
    };
    assert_eq!(check(&ours, &theirs), Err(NoFork::Compatible { ours: 1, theirs: 2 }));
    assert_eq!(check(&ours, &ours), Err(NoFork::Compatible { ours: 1, theirs: 1 }));
    let block = Block::parse(&theirs.block, &chain).unwrap();
    let mut rng = SeededEntropy::new(9);
    let mut seal = |block: &Block, by: &Identity| {
        let sealed = Sealed { chain, height: block.height, block: block.id() };
        SealedBlock { block: Blob::new(block.to_bytes()).unwrap(), seal: sealed.sign(by, &mut rng) }
    };
    let later = Block { time: block.time + Span::from_millis(1), ..block.clone() };
    assert_eq!(check(&theirs, &seal(&later, &owner)), Ok(2));
    assert_eq!(check(&theirs, &seal(&later, &bob.identity)), Err(NoFork::Seal { height: 2 }));
    let orphan = Block { parent: session_core::BlockId::from([7; 32]), ..block };
    assert_eq!(check(&ours, &seal(&orphan, &owner)), Ok(1));
}

#[test]
fn a_child_of_another_block_is_a_fork_and_a_wrong_state_root_is_the_end() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    for nonce in 0..2 {
        sequencer.accepted(&sequencer.issue(&transfer(chain, &owner, nonce, bob.account(), 1)));
    }
    let (first, _) = sealed(sequencer.http, 1);
    let block = Block::parse(&sealed(sequencer.http, 2).1.block, &chain).unwrap();
    for (name, wrong, needle) in [
        (
            "child",
            Block { parent: session_core::BlockId::from([7; 32]), ..block.clone() },
            "FORK at height 1",
        ),
        ("root", Block { state_root: Digest::from([7; 32]), ..block.clone() }, "state root"),
        (
            "empty",
            Block { transactions: session_core::List::default(), ..block.clone() },
            "not valid",
        ),
    ] {
        let impostor = Impostor::new(chain);
        impostor.serve(1, first.clone());
        impostor.seal(&wrong, &owner);
        let follower = place.follow(name, impostor.address, &[]);
        eventually(needle, || {
            follower.health()["fault"]
                .as_str()
                .is_some_and(|fault| fault.contains(needle))
                .then_some(())
        });
        assert_eq!(follower.tip().0, 1);
    }
}

#[test]
fn a_sequencer_that_lost_blocks_is_noticed() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    let listen = sequencer.http.to_string();
    let follower = place.follow("one", sequencer.http, &[]);
    for nonce in 0..3 {
        sequencer.accepted(&sequencer.issue(&transfer(chain, &owner, nonce, bob.account(), 1)));
    }
    agree(&[&sequencer, &follower]);
    sequencer.kill();
    std::fs::remove_file(place.path().join("chain/chain.redb")).unwrap();
    let sequencer = place.start(&["--listen", &listen]);
    let said = |needle: &str| {
        eventually(needle, || {
            follower.health()["fault"]
                .as_str()
                .is_some_and(|fault| fault.contains(needle))
                .then_some(())
        });
    };
    said("does not have block 3");
    for nonce in 0..3 {
        sequencer.accepted(&sequencer.issue(&transfer(chain, &owner, nonce, bob.account(), 2)));
    }
    said("FORK at height 3");
}

/// A sequencer with two followers that are killed and started again.
struct Cluster {
    place: Place,
    ports: [SocketAddr; 3],
    nodes: [Option<Node>; 3],
}

impl Cluster {
    fn start() -> Self {
        let place = Place::new();
        let sequencer = place.start(&[]);
        let followers = ["one", "two"].map(|name| place.follow(name, sequencer.http, &[]));
        let [one, two] = followers;
        let ports = [sequencer.http, one.http, two.http];
        Self { place, ports, nodes: [Some(sequencer), Some(one), Some(two)] }
    }

    fn kill(&mut self, index: usize) {
        if let Some(node) = self.nodes[index].take() {
            node.kill();
        }
    }

    fn restart(&mut self, index: usize) {
        let listen = self.ports[index].to_string();
        let args = ["--listen", listen.as_str()];
        let node = match index {
            0 => self.place.start(&args),
            1 => self.place.follow("one", self.ports[0], &args),
            _ => self.place.follow("two", self.ports[0], &args),
        };
        self.nodes[index] = Some(node);
    }

    fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("it runs")
    }

    fn all(&self) -> [&Node; 3] {
        [0, 1, 2].map(|index| self.node(index))
    }
}

#[test]
fn whoever_is_killed_everybody_agrees_in_the_end() {
    let mut cluster = Cluster::start();
    let (chain, owner, bob) = (cluster.node(0).chain(), cluster.place.owner(), Person::new(2));
    let mut nonce = 0;
    // Which transactions somebody has seen in a block, and where.
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    for (round, victims) in (0..).zip([&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[2, 0], &[0, 1, 2]])
    {
        for at in [0, 1, 2, 0, 1, 2] {
            let bytes = transfer(chain, &owner, nonce, bob.account(), 1);
            let answer = cluster.node(at).try_issue(&bytes).unwrap();
            assert!(answer["error"].is_null(), "{answer}");
            let tx = answer["result"]["txId"].as_str().unwrap().to_owned();
            nonce += 1;
            if at == 2 {
                let found = cluster.node(round % 3).accepted(&tx);
                seen.insert(tx, found["blockId"].clone());
            }
        }
        // One more, so that something is under way.
        let bytes = transfer(chain, &owner, nonce, bob.account(), 1);
        cluster.node(1).try_issue(&bytes).unwrap();
        for victim in victims {
            cluster.kill(*victim);
        }
        for victim in victims.iter().rev() {
            cluster.restart(*victim);
        }
        // Whatever became of it, its sender asks for the next nonce, as wallets do.
        let tip = agree(&cluster.all());
        assert!(tip.0 >= 1);
        nonce = settled(&cluster, &owner.public().account_ref().to_string(), nonce);
    }
    let (_, id, root) = agree(&cluster.all());
    for node in cluster.all() {
        assert_eq!((&node.tip().1, &node.tip().2), (&id, &root));
        for (tx, block) in &seen {
            assert_eq!(node.accepted(tx)["blockId"], *block, "{tx}");
        }
        eventually("health", || (node.health()["healthy"] == true).then_some(()));
    }
}

/// Returns the nonce that everybody expects once a transaction with `nonce` is in, or lost.
fn settled(cluster: &Cluster, account: &str, nonce: u64) -> u64 {
    let expected = || {
        let nonces = cluster.all().map(|node| {
            node.ask("GetAccount", json!({"account": account}))["account"]["nonce"]
                .as_u64()
                .unwrap()
        });
        nonces.iter().all(|one| *one == nonces[0]).then_some(nonces[0])
    };
    let pending = || cluster.all().iter().any(|node| node.health()["mempool"] != 0);
    eventually("no transaction is under way", || {
        // In this order: what is no longer under way is in the nonce that is read after.
        let pending = pending();
        let expected = expected()?;
        (expected > nonce || !pending).then_some(expected)
    })
}

#[test]
fn a_transaction_that_the_sequencer_forgot_is_handed_on_again() {
    let place = Place::new();
    let slow = ["--block-time", "60000"];
    let sequencer = place.start(&slow);
    let (chain, owner, bob) = (sequencer.chain(), place.owner(), Person::new(2));
    let listen = sequencer.http.to_string();
    let follower = place.follow("one", sequencer.http, &[]);
    // The first block is made at once, the next one in a minute.
    follower.accepted(&follower.issue(&transfer(chain, &owner, 0, bob.account(), 1)));
    let tx = follower.issue(&transfer(chain, &owner, 1, bob.account(), 1));
    eventually("it is handed on", || (sequencer.health()["mempool"] == 1).then_some(()));
    sequencer.kill();
    let sequencer = place.start(&["--listen", &listen]);
    follower.accepted(&tx);
    sequencer.accepted(&tx);
}

#[test]
fn kills_at_any_moment_of_accepting_lose_nothing() {
    let place = Place::new();
    let mut node = place.start(&["--block-time", "10"]);
    let (chain, owner, bob) = (node.chain(), place.owner(), Person::new(2));
    let account = owner.public().account_ref().to_string();
    let mut rng = SeededEntropy::new(20);
    let mut known = node.tip();
    let mut accepted: BTreeMap<u64, Value> = BTreeMap::new();
    for _ in 0..20 {
        let wait = Duration::from_millis(30 + rng.next_u64() % 120);
        let first =
            node.ask("GetAccount", json!({"account": account}))["account"]["nonce"].as_u64();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(wait);
                node.signal(Signal::KILL);
            });
            for nonce in first.unwrap().. {
                let bytes = transfer(chain, &owner, nonce, bob.account(), 1);
                if node.try_issue(&bytes).is_none() {
                    break;
                }
                if let Some(tip) = try_tip(&node) {
                    accepted.insert(tip.0, tip.1.clone());
                    known = tip;
                }
            }
        });
        node.wait();
        node = place.start(&["--block-time", "10"]);
        let tip = node.tip();
        assert!(tip.0 >= known.0, "height {} after {}", tip.0, known.0);
        let block = node.ask("GetBlock", json!({"height": known.0}))["block"].clone();
        assert_eq!((&block["blockId"], &block["stateRoot"]), (&known.1, &known.2));
        known = tip;
    }
    assert!(accepted.len() > 20, "only {} blocks were seen", accepted.len());
    // Somebody who executes everything again comes to the same.
    let fresh = place.follow("fresh", node.http, &[]);
    agree(&[&node, &fresh]);
    for (height, id) in accepted {
        assert_eq!(fresh.ask("GetBlock", json!({"height": height}))["block"]["blockId"], id);
    }
}

/// Returns the tip of a program that may end at any moment.
fn try_tip(node: &Node) -> Option<(u64, Value, Value)> {
    let tip = crate::common::try_call(node.http, "sessionvm.GetHeight", &json!({}))?;
    let tip = &tip["result"];
    Some((tip["height"].as_u64()?, tip["blockId"].clone(), tip["stateRoot"].clone()))
}

#[test]
fn a_request_that_waits_for_a_block_gets_it() {
    let place = Place::new();
    let node = place.start(&[]);
    let (owner, bob) = (place.owner(), Person::new(2));
    let bytes = transfer(node.chain(), &owner, 0, bob.account(), 1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let head = "GET /blocks/1?wait=20000 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            raw(node.http, head.as_bytes()).unwrap()
        });
        std::thread::sleep(Duration::from_millis(100));
        node.issue(&bytes);
        assert_eq!(waiting.join().unwrap().status, 200);
    });
}

#[test]
fn who_follows_another_chain_or_no_chain_is_told_at_once() {
    let (place, other) = (Place::new(), Place::new());
    let (sequencer, stranger) = (place.start(&[]), other.start(&[]));
    // Both are at height 0, where two chains look alike.
    let follower = place.follow("lost", stranger.http, &[]);
    let needle = format!("runs chain {}", stranger.chain());
    let said = |follower: &Node, needle: &str| {
        eventually(needle, || {
            let health = follower.health();
            health["fault"].as_str().filter(|fault| fault.contains(needle)).map(str::to_owned)
        });
    };
    said(&follower, &needle);
    drop(sequencer);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in nobody.incoming().flatten() {
            let answer = b"HTTP/1.1 404 x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno";
            let _ = std::io::Write::write_all(&mut stream, answer);
        }
    });
    said(&place.follow("nowhere", address, &[]), "nobody there runs a chain");
}
