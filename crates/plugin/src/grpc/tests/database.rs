//! The host's database as the chain sees it.

use session_core::{Entropy, SeededEntropy};
use session_storage::kv::{Batch, Database, KvError, MemoryDatabase};

use super::super::database::GrpcDatabase;
use super::*;

async fn connect(store: Store) -> (Host, GrpcDatabase) {
    let host = Host::start(PROTOCOL, store).await;
    let address = host.database.address.to_string();
    let connecting = tokio::task::spawn_blocking(move || GrpcDatabase::connect(&address));
    let database = connecting.await.expect("no panic").expect("the host listens");
    (host, database)
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(database: &dyn Database, prefix: &[u8]) -> Entries {
    let mut entries = Vec::new();
    let visited = database.visit(prefix, &mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        true
    });
    visited.expect("the host answers");
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn behaves_like_the_database_in_memory() {
    let store = Store::default();
    let (_host, mut database) = connect(store.clone()).await;
    let compare = tokio::task::spawn_blocking(move || {
        let (mut entropy, mut model) = (SeededEntropy::new(3), MemoryDatabase::default());
        for _ in 0..40 {
            let mut batch = Batch::new();
            for _ in 0..entropy.below(40) {
                // Few bytes, so that keys come again, and one is a prefix of another.
                let mut key = vec![0; 1 + entropy.below(3) as usize];
                key.iter_mut().for_each(|byte| *byte = [0, 1, 0xff][entropy.below(3) as usize]);
                match entropy.below(3) {
                    0 => batch.delete(key),
                    // Empty values, and some that make many batches of an iterator.
                    size => {
                        let size = (size - 1) * entropy.below(50_000);
                        batch.put(key, vec![size as u8; size as usize]);
                    }
                }
            }
            database.write(&batch).expect("written");
            model.write(&batch).expect("memory does not fail");
            for prefix in [&[][..], &[0], &[0xff], &[0xff, 0xff], &[1, 0], &[2]] {
                assert_eq!(entries(&database, prefix), entries(&model, prefix));
                assert_eq!(database.get(prefix).expect("read"), model.get(prefix).expect("read"));
            }
        }
        assert!(entries(&model, &[]).iter().map(|(_, value)| value.len()).sum::<usize>() > 300_000);
        let mut seen = 0;
        let visited = database.visit(&[], &mut |_, _| {
            seen += 1;
            seen < 3
        });
        visited.expect("read");
        assert_eq!(seen, 3);
    });
    compare.await.expect("no difference");
    assert_eq!(store.open_iterators(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_closes() {
    let store = Store::default();
    let (_host, mut database) = connect(store.clone()).await;
    store.broken.store(true, Ordering::SeqCst);
    let check = tokio::task::spawn_blocking(move || {
        let mut batch = Batch::new();
        batch.put(b"key".as_slice(), b"value".as_slice());
        database.write(&batch).expect_err("refused");
        store.broken.store(false, Ordering::SeqCst);
        let closed = |outcome: Result<(), KvError>| {
            let error = outcome.expect_err("closed");
            assert!(matches!(error, KvError::Closed { .. }), "{error}");
        };
        closed(database.write(&batch));
        closed(database.get(b"key").map(drop));
        closed(database.visit(b"", &mut |_, _| true));
    });
    check.await.expect("closed");
}

#[test]
fn a_host_that_dies_is_an_error() {
    let host_runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = host_runtime.block_on(Host::start(PROTOCOL, Store::default()));
    let mut database =
        GrpcDatabase::connect(&host.database.address.to_string()).expect("the host listens");
    assert_eq!(database.get(b"key"), Ok(None));
    // With all its connections.
    drop(host_runtime);
    database.get(b"key").expect_err("nobody there");
    let mut batch = Batch::new();
    batch.put(b"key".as_slice(), b"value".as_slice());
    database.write(&batch).expect_err("nobody there");
}

#[test]
fn answers_come_while_every_thread_of_the_program_waits() {
    let host_runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = host_runtime.block_on(Host::start(PROTOCOL, Store::default()));
    let address = host.database.address.to_string();
    let program = tokio::runtime::Builder::new_current_thread().enable_all().build();
    program.expect("a runtime").block_on(async {
        // On the only thread there is, within a task, where waiting on the runtime would panic.
        let database = GrpcDatabase::connect(&address).expect("the host listens");
        assert_eq!(database.get(b"key"), Ok(None));
    });
}
