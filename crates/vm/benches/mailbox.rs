//! What a conversation costs. `cargo bench -p session-vm --bench mailbox`; with
//! `MAILBOX_MILLION=1` also a million of them: memory and restart.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use session_core::{AccountId, ConversationId, Digest, Domain, Entropy, SeededEntropy, Time};
use session_crypto::fake::{CredulousVerifier, FakeIdentity};
use session_crypto::{Identity, KemPublicKey, RealVerifier, Signature, Signer, Verifier};
use session_storage::{MemoryStore, Store};
use session_vm::mailbox::signed::message_bytes;
use session_vm::mailbox::{
    Config, Created, Cx, Event, Invitation, Mailbox, NewConversation, SendRequest,
};

const NOW: Time = Time::from_millis(1_700_000_000_000);
const TEXT: [u8; 2048] = [0x5a; 2048];
/// After as many calls the store starts anew, so that it does not outgrow the machine.
const ROUND: u64 = 5000;
const MILLION: u64 = 1_000_000;
const PEOPLE: u64 = 2000;

struct Node {
    store: MemoryStore,
    mailbox: Mailbox,
    rng: SeededEntropy,
    events: Vec<Event>,
}

impl Node {
    fn new() -> Self {
        let mut store = MemoryStore::new(1);
        let config = Config { messages_max: 10_000_000, ..Config::default() };
        let (mailbox, _) = Mailbox::load(config, &mut store, NOW).expect("an empty store loads");
        Self { store, mailbox, rng: SeededEntropy::new(1), events: Vec::new() }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Mailbox, &mut Cx<'_>) -> T) -> T {
        self.events.clear();
        let (store, effects) = (&mut self.store, &mut self.events);
        let mut cx = Cx { now: NOW, store, rng: &mut self.rng, effects };
        call(&mut self.mailbox, &mut cx)
    }

    fn create(&mut self, participants: Vec<Invitation>) -> Created {
        let new = NewConversation { participants, ..NewConversation::default() };
        let made = self.call(|mailbox, cx| mailbox.create(cx, new)).expect("is made");
        self.store.commit_now();
        made
    }

    fn send(&mut self, verifier: &dyn Verifier, request: SendRequest) -> u64 {
        let sent = self.call(|mailbox, cx| mailbox.send(cx, verifier, request)).expect("is taken");
        self.store.commit_now();
        sent.sequence
    }
}

fn invite(person: &dyn Signer) -> Invitation {
    let public = person.public();
    Invitation { account: public.account_id(), kem: public.kem().clone(), signing: None }
}

fn request(conversation: ConversationId, from: &dyn Signer, signature: &Signature) -> SendRequest {
    SendRequest {
        conversation,
        sender: from.public().account_id(),
        counter: None,
        ciphertext: TEXT.to_vec(),
        signature: signature.clone(),
        key: Some(from.public().dsa().clone()),
    }
}

fn people(count: u64) -> Vec<FakeIdentity> {
    (0..count).map(|seed| FakeIdentity::generate(&mut SeededEntropy::new(seed))).collect()
}

fn creating(c: &mut Criterion) {
    let people = people(2);
    let (node, mut made) = (RefCell::new(Node::new()), 0);
    c.bench_function("mailbox/create, 2 participants", |b| {
        b.iter_batched(
            || {
                made += 1;
                if made % ROUND == 0 {
                    node.replace(Node::new());
                }
                vec![invite(&people[0]), invite(&people[1])]
            },
            |participants| black_box(node.borrow_mut().create(participants)),
            BatchSize::PerIteration,
        );
    });
    let key = people[0].public().kem().as_bytes();
    c.bench_function("mailbox/parse an ML-KEM key, outside create", |b| {
        b.iter(|| KemPublicKey::new(black_box(key)).expect("is valid"));
    });
}

fn sending(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(2);
    let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let sender = alice.public().account_id();
    let unsigned = Signature::from([0; 3309]);
    let verifiers: [(&str, bool, &dyn Verifier); 2] = [
        ("without verification", false, &CredulousVerifier),
        ("with verification", true, &RealVerifier),
    ];
    for (name, signs, verifier) in verifiers {
        let node = RefCell::new(Node::new());
        let both = || vec![invite(&alice), invite(&bob)];
        let mut conversation = node.borrow_mut().create(both()).conversation;
        let mut counter = 0;
        c.bench_function(&format!("mailbox/send 2 KiB, {name}"), |b| {
            b.iter_batched(
                || {
                    if counter == ROUND {
                        node.replace(Node::new());
                        conversation = node.borrow_mut().create(both()).conversation;
                        counter = 0;
                    }
                    let scope = Digest::default();
                    let bytes = message_bytes(&scope, &conversation, &sender, counter, &TEXT);
                    counter += 1;
                    let signature = if signs {
                        alice.sign(Domain::ConversationMessage, &bytes, &mut rng)
                    } else {
                        unsigned.clone()
                    };
                    request(conversation, &alice, &signature)
                },
                |request| black_box(node.borrow_mut().send(verifier, request)),
                BatchSize::PerIteration,
            );
        });
    }
}

fn getting(c: &mut Criterion) {
    let people = people(2);
    let mut node = Node::new();
    let make = |node: &mut Node| node.create(people.iter().map(|of| invite(of)).collect());
    let made: Vec<_> = (0..100_000).map(|_| make(&mut node).conversation).collect();
    c.bench_function("mailbox/get, the same one", |b| {
        b.iter(|| node.mailbox.get(black_box(&made[7]), NOW).expect("is known").status());
    });
    let mut at = 0;
    c.bench_function("mailbox/get, any of 100,000", |b| {
        b.iter(|| {
            at = (at + 7919) % made.len();
            node.mailbox.get(black_box(&made[at]), NOW).expect("is known").status()
        });
    });
    let request = request(made[0], &people[0], &Signature::from([0; 3309]));
    for _ in 0..50 {
        node.send(&CredulousVerifier, request.clone());
    }
    c.bench_function("mailbox/messages, a page of 50", |b| {
        b.iter(|| node.mailbox.messages(&node.store, NOW, &made[0], None, 50).expect("is known"));
    });
}

fn resident_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u32>().ok());
    f64::from(pages.unwrap_or(0)) * 4096.0 / 1_048_576.0
}

fn million(_: &mut Criterion) {
    if std::env::var_os("MAILBOX_MILLION").is_none() {
        return;
    }
    let people = people(PEOPLE);
    let mut choice = SeededEntropy::new(3);
    let mut node = Node::new();
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
    let clock = || Instant::now();
    let started = clock();
    for _ in 0..MILLION {
        let first = usize::try_from(choice.below(PEOPLE)).expect("small");
        let second =
            (first + 1 + usize::try_from(choice.below(PEOPLE - 1)).expect("small")) % people.len();
        node.create(vec![invite(&people[first]), invite(&people[second])]);
    }
    eprintln!(
        "a million made in {:?}, {:.0} MiB with the store",
        started.elapsed(),
        resident_mib()
    );
    let Node { mailbox, mut store, .. } = node;
    let with_mailbox = resident_mib();
    drop(mailbox);
    let before = resident_mib();
    let started = clock();
    let (mailbox, report) = Mailbox::load(Config::default(), &mut store, NOW).expect("loads");
    eprintln!("loaded again in {:?}: {report:?}", started.elapsed());
    eprintln!(
        "the mailbox alone: {:.0} MiB freed by dropping it, {:.0} MiB taken by loading it",
        with_mailbox - before,
        resident_mib() - before
    );
    let account: AccountId = people[0].public().account_id();
    let request = session_vm::mailbox::ListRequest {
        participant: Some(account),
        limit: 1000,
        ..Default::default()
    };
    let started = clock();
    let page = mailbox.list(NOW, &request).expect("lists");
    eprintln!("{} of one person in {:?}", page.conversations.len(), started.elapsed());
    eprintln!("{} records in the store", store.stats().records);
}

criterion_group!(benches, creating, sending, getting, million);
criterion_main!(benches);
