//! Somebody floods the mailbox that a person has for strangers: it gets dearer for every stranger,
//! and for nobody else.

use session_client::{Answer, Command, NewItem};
use session_core::{Blob, Span};
use session_crypto::{Identity, SymmetricKey};
use session_protocol::Membership as _;
use session_protocol::inbox::{BOXES, INTRODUCTIONS, Mailbox, message_id};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::puzzle::{Puzzle, window_of};
use session_protocol::request::{Cursor, Operation, Outcome, Refusal, Select};
use session_sdk::agent::Agent;

use crate::support::{Asker, Plan, Processes, batch, now};

const NODES: usize = 3;
const TTL: Span = Span::from_secs(600);

/// Puzzles that a stranger had to solve: of how many bits.
struct Flood<'a> {
    asker: &'a mut Asker,
    network: session_protocol::NetworkId,
    mailbox: &'a Mailbox,
}

impl Flood<'_> {
    /// Stores an introduction, and says what it cost.
    async fn store(&mut self, number: u64) -> u8 {
        let (rule, token) = (self.mailbox.rule(), self.mailbox.write.clone());
        let data = Blob::new(number.to_be_bytes()).unwrap();
        let deposit = Operation::Deposit {
            rule,
            token: token.clone(),
            namespace: INTRODUCTIONS,
            timestamp: now(),
            ttl: TTL,
            data: data.clone(),
        };
        let bits = match self.ask(deposit).await {
            Outcome::Stored { .. } => return 0,
            Outcome::Refused { refusal: Refusal::PuzzleNeeded { bits, .. } } => bits,
            other => panic!("{other:?}"),
        };
        let (address, timestamp) = (self.mailbox.address(), now());
        let message = message_id(&address, INTRODUCTIONS, &data);
        let (network, window) = (self.network, window_of(timestamp));
        let solution = Puzzle { network, address, message, window, bits }.solve().unwrap();
        let ttl = TTL;
        let introduce = Operation::Introduce { rule, token, solution, timestamp, ttl, data };
        let outcome = self.ask(introduce).await;
        assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
        bits
    }

    async fn ask(&mut self, operation: Operation) -> Outcome {
        let reply = self.asker.ask(&batch(operation)).await;
        reply.outcomes.into_iter().next().expect("one")
    }
}

/// Stores an item as people's programs do; returns its id.
async fn deposit(
    person: &Agent,
    to: &Mailbox,
    namespace: session_core::Namespace,
    data: &[u8],
) -> session_core::MessageId {
    let items = vec![NewItem { namespace, ttl: TTL, data: Blob::new(data).unwrap() }];
    let (rule, token) = (to.rule(), to.write.clone());
    let done = person.run(Command::Deposit { rule, token, items }).await;
    let Ok(Answer::Stored(proofs)) = done else { panic!("{done:?}") };
    proofs[0].message
}

async fn newest(asker: &mut Asker, processes: &Processes, of: &Mailbox) -> Vec<[u8; 8]> {
    let (select, audience) = (Select::After { cursor: Cursor::default() }, processes.ids[0]);
    let (namespace, bytes_max) = (INTRODUCTIONS, 700_000);
    let action = OwnerAction::Retrieve { namespace, select, bytes_max, audience };
    let (rule, token) = (of.rule(), of.read.clone());
    let operation = OwnerOperation::with_token(rule, token, action, now(), asker.rng());
    let reply = asker.ask(&batch(Operation::Owner { operation: Box::new(operation) })).await;
    let Outcome::Items { items, .. } = &reply.outcomes[0] else { panic!("{reply:?}") };
    items.iter().filter_map(|item| item.data[..].try_into().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_a_mailbox_pays_more_and_more_and_contacts_pay_nothing() {
    let taps = (0..NODES).map(|_| None).collect();
    let processes = Processes::start(&Plan { taps, ..Plan::default() });
    processes.wait_for_keys(NODES);
    let (mut asker, _) = processes.asker(0).await;
    let seed = SymmetricKey::from([3; 32]);
    let [public, private] =
        [&b"strangers"[..], b"a contact"].map(|of| Mailbox::derive(&seed, &[of]));

    let network = processes.membership.network();
    let mut flood = Flood { asker: &mut asker, network, mailbox: &public };
    let mut prices = Vec::new();
    for number in 0..130 {
        prices.push(flood.store(number).await);
    }
    let free = [0; 64].into_iter();
    let dearer = free.chain([4; 64]).chain([6; 2]);
    assert_eq!(prices, dearer.collect::<Vec<u8>>());

    // Whoever means well pays what the flood made of the price, over hops and without knowing it; a
    // contact has a mailbox that nobody floods.
    let person = processes.agent(Identity::from_seed(&[6; 32]), [0, 1]);
    deposit(&person, &public, INTRODUCTIONS, b"hello, I").await;
    deposit(&person, &private, BOXES, b"as we said").await;
    person.stop().await;
    let there = newest(&mut asker, &processes, &public).await;
    assert!(there.contains(b"hello, I"), "{} items", there.len());
}
