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
        let action = Action::Transfer { to: [0; 32].into(), amount: Amount(1) };
        self.signed(person, nonce, fee_max, expires, action)
    }

    fn duty(&mut self, person: usize, nonce: u64, expires: u64) -> Pooled {
        self.signed(person, nonce, 0, expires, Action::Drain { epochs: 1 })
    }

    fn signed(
        &mut self,
        person: usize,
        nonce: u64,
        fee_max: u64,
        expires: u64,
        action: Action,
    ) -> Pooled {
        let signer = &self.people[person];
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
        let Mempool { limits, entries, senders, by_rate, by_end, free, .. } = &self.pool;
        let total = |class| -> usize {
            let of = entries.values().map(|entry| &entry.transaction);
            of.filter(|it| self::class(it) == class).map(|it| cost(it)).sum()
        };
        assert_eq!(total(Class::Paying), self.pool.bytes);
        assert_eq!(total(Class::Free), self.pool.free_bytes);
        assert!(self.pool.bytes <= limits.bytes_max);
        assert!(self.pool.free_bytes <= limits.free_bytes_max);
        assert_eq!((by_rate.len() + free.len(), by_end.len()), (entries.len(), entries.len()));
        assert!(free.iter().all(|id| class(&entries[id].transaction) == Class::Free));
        assert!(by_rate.iter().all(|(.., id)| entries.contains_key(id)));
        assert!(by_end.iter().all(|(end, id)| entries[id].end == *end));
        assert_eq!(senders.values().map(|it| it.by_nonce.len()).sum::<usize>(), entries.len());
        for queue in senders.values() {
            assert!((1..=limits.sender_transactions_max).contains(&queue.by_nonce.len()));
            let of_queue = queue.by_nonce.values().map(|id| cost(&entries[id].transaction));
            assert_eq!(of_queue.sum::<usize>(), queue.bytes);
            assert!(queue.bytes <= limits.sender_bytes_max);
            let of_queue = queue.by_nonce.values().filter(|id| free.contains(*id));
            assert!(of_queue.count() <= limits.sender_free_max);
        }
    }
}

#[test]
fn indices_and_bounds_hold_whatever_happens() {
    let limits = Limits {
        bytes_max: 150_000,
        sender_transactions_max: 8,
        sender_bytes_max: 80_000,
        free_bytes_max: 60_000,
        sender_free_max: 2,
        wait_max: Span::from_secs(80),
    };
    let (mut admitted, mut full, mut free, mut free_full) = (0, 0, 0, 0);
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
                3 => {
                    let undue = it.rng.below(20);
                    it.pool.remove_undue(|free| free.signed.transaction.nonce != undue);
                }
                _ => {
                    let expires = step + it.rng.below(200);
                    let is_free = it.rng.below(4) == 0;
                    let transaction = match is_free {
                        true => it.duty(person, nonce, expires),
                        false => it.transaction(person, nonce, fee_max, expires),
                    };
                    let expected = it.pool.check(&transaction, now(step));
                    let result = it.pool.admit(transaction, now(step));
                    assert_eq!(result.as_ref().err(), expected.as_ref().err());
                    admitted += usize::from(result.is_ok());
                    free += usize::from(is_free && result.is_ok());
                    free_full += usize::from(matches!(result, Err(Refused::FreeFull { .. })));
                    full += usize::from(matches!(result, Err(Refused::Full { .. })));
                }
            }
            it.check();
        }
        it.pool.sweep(now(10_000));
        assert_eq!((it.pool.bytes, it.pool.entries.len(), it.pool.senders.len()), (0, 0, 0));
        assert_eq!((it.pool.free_bytes, it.pool.free.len()), (0, 0));
    }
    assert!(admitted > 1_000 && full > 100, "{admitted}, {full}");
    assert!(free > 300 && free_full > 50, "{free}, {free_full}");
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

#[test]
fn who_pays_and_who_does_its_duty_have_rooms_of_their_own() {
    let mut it = Pool::new(3, Limits { bytes_max: 0, ..Limits::default() });
    let duties: Vec<Pooled> = (0..3).map(|person| it.duty(person, 0, 60)).collect();
    it.pool.limits.free_bytes_max = 2 * cost(&duties[0]);
    it.pool.limits.bytes_max = cost(&duties[0]) * 3 / 2;
    for duty in &duties[..2] {
        it.pool.admit(duty.clone(), now(0)).expect("there is room");
    }
    let limit = it.pool.limits.free_bytes_max;
    assert_eq!(it.pool.admit(duties[2].clone(), now(0)), Err(Refused::FreeFull { limit }));
    // The pool of those that pay is empty; when it is full, no duty goes for them.
    let paying = it.transaction(3, 0, 1_000, 60);
    assert_eq!(it.pool.admit(paying.clone(), now(0)), Ok(vec![]));
    let better = it.transaction(4, 0, 100_000, 60);
    assert_eq!(it.pool.admit(better, now(0)), Ok(vec![paying.id]));
    assert!(duties[..2].iter().all(|duty| it.pool.get(&duty.id).is_some()));
    it.check();
}

#[test]
fn a_node_leaves_little_waiting_and_nothing_that_is_over() {
    let mut it = Pool::new(4, Limits { sender_free_max: 3, ..Limits::default() });
    for nonce in 0..3 {
        let duty = it.duty(0, nonce, 60);
        it.pool.admit(duty, now(0)).expect("there is room");
    }
    let more = it.duty(0, 3, 60);
    let limit = 3;
    assert_eq!(it.pool.admit(more, now(0)), Err(Refused::SenderTransactions { limit }));
    // What it pays for is another matter.
    let paying = it.transaction(0, 3, 1_000, 60);
    it.pool.admit(paying, now(0)).expect("there is room");
    let other = it.duty(1, 0, 60);
    it.pool.admit(other.clone(), now(0)).expect("there is room");
    assert_eq!(it.pool.stats().free, 4);
    // The second one is over: what comes behind it could not be executed.
    let sender = it.people[0].public().account_id();
    it.pool.remove_undue(|free| free.sender() != sender || free.signed.transaction.nonce != 1);
    assert_eq!(it.pool.of(&sender).count(), 1);
    assert!(it.pool.get(&other.id).is_some());
    it.check();
}
