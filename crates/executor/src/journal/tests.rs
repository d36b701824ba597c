use session_core::SeededEntropy;
use session_core::testing::check_round_trip;
use session_crypto::Signer;
use session_crypto::fake::FakeIdentity;
use session_protocol::attestation::{Kind, Statement};
use session_storage::MemoryStore;

use super::*;

const SESSION: [u8; 32] = [7; 32];
const DEADLINE: Time = Time::from_millis(1_000_000);

fn member() -> Member {
    let keys = FakeIdentity::new(&[1; 32]);
    Member { node: keys.public().node_id(), key: keys.public().dsa().clone() }
}

fn created() -> Entry {
    Entry::Created {
        facts: Box::new(Created {
            chain: [1; 32].into(),
            session: SESSION.into(),
            service: [2; 32].into(),
            epoch: Epoch(3),
            tx: [4; 32].into(),
            randomness: [5; 32].into(),
            created: Time::from_millis(1000),
            deadline: DEADLINE,
            committee: [6; 32].into(),
            members: List::new([member()]).unwrap(),
            program: [8; 32].into(),
            input: [9; 32].into(),
        }),
    }
}

fn checkpoint(bytes: usize) -> Entry {
    Entry::Checkpoint { at: Time::from_millis(7), state: Blob::new(vec![3; bytes]).unwrap() }
}

fn entries_of_every_kind() -> Vec<Entry> {
    let at = Time::from_millis(5);
    let statement = Statement {
        chain: [1; 32].into(),
        committee: [6; 32].into(),
        kind: Kind::SessionComplete,
        subject: [7; 32].into(),
        root: [8; 32].into(),
        epoch: Epoch(3),
    };
    let vote = statement.sign(&FakeIdentity::new(&[1; 32]), &mut SeededEntropy::new(1));
    let leaf = StepLeaf {
        index: 0,
        kind: session_protocol::workload::StepKind::Compute,
        retry: 0,
        input_hash: [1; 32].into(),
        output_hash: [2; 32].into(),
        commit_root: Digest::default(),
    };
    let sent = Sent { receiver: [4; 32], message_hash: [5; 32].into() };
    vec![
        created(),
        Entry::Started { at },
        Entry::Ran {
            at,
            leaf,
            fuel: 9,
            sent: List::new([sent]).unwrap(),
            logs: List::new([Text::new("line").unwrap()]).unwrap(),
        },
        Entry::Asked {
            at,
            kind: RequestKind::Read,
            call: OracleCall {
                source: 0,
                parameters: List::new([]).unwrap(),
                body: Blob::default(),
            },
        },
        Entry::Round { step: 1, entry: Box::new(RoundEntry::Writing { retry: 2 }) },
        checkpoint(3),
        Entry::Received { bytes: 17 },
        Entry::Completed {
            at,
            outcome: Outcome::Failed { reason: Text::new("a trap").unwrap() },
            vote: Some(Box::new(vote)),
        },
        Entry::Ended { at, ending: Ending::Expired },
    ]
}

fn written(list: &[Entry]) -> MemoryStore {
    let mut store = MemoryStore::new(1);
    let mut journal = Journal::new(SESSION.into(), DEADLINE);
    for entry in list {
        journal.append(&mut store, entry).unwrap();
    }
    store.commit_now();
    store
}

#[test]
fn entries_survive_their_encoding() {
    for entry in entries_of_every_kind() {
        check_round_trip(&entry);
    }
}

#[test]
fn what_is_written_is_read_in_order() {
    let list = entries_of_every_kind();
    let mut store = written(&list);
    let (journal, read) = Journal::open(&mut store, SESSION.into()).unwrap();
    assert_eq!(read, list);
    assert_eq!(journal.next as usize, list.len());
    assert_eq!(sessions(&store), [(SESSION.into(), expiry(DEADLINE))]);
    remove(&mut store, &SESSION.into()).unwrap();
    assert_eq!(sessions(&store), []);
}

#[test]
fn large_entries_are_written_in_parts() {
    let list = [created(), checkpoint(1_000_000), Entry::Received { bytes: 1 }];
    let store = written(&list);
    assert!(store.records(Table::Journal, &[]).len() > 18);
    assert!(entries(&store, SESSION.into()).eq(list));
}

#[test]
fn nothing_behind_a_torn_entry_is_believed() {
    let list = [created(), checkpoint(200_000), Entry::Received { bytes: 1 }];
    let keys = written(&list).records(Table::Journal, &[]);
    for (lost, (key, _)) in keys.iter().enumerate() {
        let mut store = written(&list);
        store.remove_record(Table::Journal, key).unwrap();
        let whole = match lost {
            0 => 0,
            lost if lost + 1 == keys.len() => 2,
            _ => 1,
        };
        let (mut journal, read) = Journal::open(&mut store, SESSION.into()).unwrap();
        assert_eq!(read, list[..whole], "record {lost} is lost");
        // What follows the tear does not come back behind the next entry.
        journal.append(&mut store, &Entry::Received { bytes: 5 }).unwrap();
        let after: Vec<Entry> = entries(&store, SESSION.into()).collect();
        assert_eq!(after.last(), Some(&Entry::Received { bytes: 5 }));
        assert_eq!(after.len(), whole + 1);
    }
}

#[test]
fn a_changed_byte_is_found() {
    let list = [created(), Entry::Received { bytes: 1 }];
    let clean = written(&list);
    let (key, expiry) = clean.records(Table::Journal, &[])[1].clone();
    let value = clean.record(Table::Journal, &key).unwrap().unwrap();
    for place in 0..value.len() {
        let mut value = value.clone();
        value[place] ^= 1;
        let mut store = written(&list);
        store.put_record(Table::Journal, &key, &value, expiry).unwrap();
        assert_eq!(entries(&store, SESSION.into()).count(), 1, "byte {place}");
    }
}
