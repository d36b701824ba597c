use session_core::{ChainId, Encode, Entropy, SeededEntropy};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::chain::{Action, Amount, Transaction};

use super::*;

const CHAIN: [u8; 32] = [7; 32];

fn now(secs: u64) -> Time {
    Time::from_millis(secs * 1000)
}

struct Pool {
    people: Vec<FakeIdentity>,
    rng: SeededEntropy,
    pool: Mempool,
}

impl Pool {
    fn new(seed: u64, limits: Limits) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let people = (0..6).map(|_| FakeIdentity::generate(&mut rng)).collect();
        Self { people, rng, pool: Mempool::new(limits) }
    }

    fn transaction(&mut self, person: usize, nonce: u64, fee_max: u64, expires: u64) -> Pooled {
        let signer = &self.people[person];
        let action = Action::Transfer { to: [0; 32].into(), amount: Amount(1) };
        let body = Transaction {
            version: 1,
            chain: ChainId::from(CHAIN),
            sender: signer.public().account_id(),
            nonce,
            fee_max: Amount(fee_max),
            expires: now(expires),
            action,
        };
        let bytes = body.sign(signer, true, &mut self.rng).to_bytes();
        let received = ReceivedTransaction::parse(&bytes).expect("it was just made");
        let checked = received.check(&ChainId::from(CHAIN), None, &FakeVerifier);
        Arc::new(checked.expect("it was just signed"))
    }

    /// Every index says the same, and no bound is broken.
    fn check(&self) {
        let Mempool { limits, entries, senders, by_rate, by_end, bytes, .. } = &self.pool;
        let total: usize = entries.values().map(|entry| cost(&entry.transaction)).sum();
        assert_eq!(total, *bytes);
        assert!(total <= limits.bytes_max);
        assert_eq!((by_rate.len(), by_end.len()), (entries.len(), entries.len()));
        assert!(by_rate.iter().all(|(.., id)| entries.contains_key(id)));
        assert!(by_end.iter().all(|(end, id)| entries[id].end == *end));
        assert_eq!(senders.values().map(|it| it.by_nonce.len()).sum::<usize>(), entries.len());
        for queue in senders.values() {
            assert!((1..=limits.sender_transactions_max).contains(&queue.by_nonce.len()));
            let of_queue = queue.by_nonce.values().map(|id| cost(&entries[id].transaction));
            assert_eq!(of_queue.sum::<usize>(), queue.bytes);
            assert!(queue.bytes <= limits.sender_bytes_max);
        }
    }
}

#[test]
fn indices_and_bounds_hold_whatever_happens() {
    let limits = Limits {
        bytes_max: 150_000,
        sender_transactions_max: 8,
        sender_bytes_max: 80_000,
        wait_max: Span::from_secs(80),
    };
    let (mut admitted, mut full) = (0, 0);
    for seed in 0..20 {
        let mut it = Pool::new(seed, limits);
        for step in 0..300 {
            let person = it.rng.below(6) as usize;
            let (nonce, fee_max) = (it.rng.below(20), it.rng.below(5_000));
            match it.rng.below(20) {
                0 => it.pool.sweep(now(step)),
                1 => it.pool.remove_below(&it.people[person].public().account_id(), nonce),
                2 => {
                    let id = it.pool.entries.keys().next().copied();
                    id.map(|id| it.pool.remove(&id).expect("it is there"));
                }
                _ => {
                    let expires = step + it.rng.below(200);
                    let transaction = it.transaction(person, nonce, fee_max, expires);
                    let expected = it.pool.check(&transaction, now(step));
                    let result = it.pool.admit(transaction, now(step));
                    assert_eq!(result.as_ref().err(), expected.as_ref().err());
                    admitted += usize::from(result.is_ok());
                    full += usize::from(matches!(result, Err(Refused::Full { .. })));
                }
            }
            it.check();
        }
        it.pool.sweep(now(10_000));
        assert_eq!((it.pool.bytes, it.pool.entries.len(), it.pool.senders.len()), (0, 0, 0));
    }
    assert!(admitted > 1_000 && full > 100, "{admitted}, {full}");
}

#[test]
fn nobody_pushes_out_its_own_transactions_or_better_ones() {
    let mut it = Pool::new(1, Limits { bytes_max: 0, ..Limits::default() });
    let first = it.transaction(0, 0, 100_000, 60);
    it.pool.limits.bytes_max = 2 * cost(&first);
    it.pool.admit(first.clone(), now(0)).expect("there is room");
    let second = it.transaction(1, 0, 200_000, 60);
    it.pool.admit(second.clone(), now(0)).expect("there is room");

    let own = it.transaction(0, 1, 150_000, 60);
    assert!(matches!(it.pool.admit(own, now(0)), Err(Refused::Full { .. })));
    let equal = it.transaction(2, 0, 100_000, 60);
    assert!(matches!(it.pool.admit(equal, now(0)), Err(Refused::Full { .. })));
    let better = it.transaction(2, 0, 100_100, 60);
    assert_eq!(it.pool.admit(better, now(0)), Ok(vec![first.id]));
    assert!(it.pool.get(&second.id).is_some());
    it.check();
}

#[test]
fn the_charge_covers_what_a_transaction_takes_in_memory() {
    let mut it = Pool::new(2, Limits::default());
    let transaction = it.transaction(0, 0, 1, 60);
    let inline = size_of::<Verified<ReceivedTransaction>>();
    assert!(cost(&transaction) > inline + transaction.size);
    // The default pool holds some blocks full of transactions, not one.
    assert!(Limits::default().bytes_max / cost(&transaction) > 3_000, "{inline}");
}
