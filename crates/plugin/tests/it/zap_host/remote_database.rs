//! The plugin's side of luxd's database.

use session_storage::kv::{Batch, Database, KV_KEY_BYTES_MAX, KvError};
use sessionvm::zap::database::{BATCH_BYTES_MAX, ZapDatabase};

use super::database::{Ends, HostDatabase, Trouble};

/// Runs blocking calls while the server runs.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.expect("no panic")
}

async fn connect(server: &HostDatabase) -> ZapDatabase {
    let address = server.address().to_owned();
    blocking(move || ZapDatabase::connect(&address).expect("it listens")).await
}

fn batch(changes: &[(&[u8], Option<&[u8]>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

fn keys(database: &ZapDatabase, prefix: &[u8], count: usize) -> Result<Vec<Vec<u8>>, KvError> {
    let mut keys = Vec::new();
    let mut visitor = |key: &[u8], value: &[u8]| {
        assert_eq!(value, [key, key].concat());
        keys.push(key.to_vec());
        keys.len() < count
    };
    database.visit(prefix, &mut visitor).map(|()| keys)
}

#[tokio::test]
async fn reads_writes_and_visits() {
    let server = HostDatabase::start().await;
    let mut database = connect(&server).await;
    blocking(move || {
        assert_eq!(database.get(b"a"), Ok(None));
        database.write(&Batch::new()).expect("nothing to write");
        let changes = batch(&[(b"a", Some(b"1")), (b"b", Some(b"")), (b"c", None)]);
        database.write(&changes).expect("written");
        assert_eq!(database.get(b"a"), Ok(Some(b"1".to_vec())));
        assert_eq!(database.get(b"b"), Ok(Some(vec![])), "empty is not absent");
        database.write(&batch(&[(b"a", None), (b"b", None)])).expect("written");
        assert_eq!(database.get(b"a"), Ok(None));

        let mut many = Batch::new();
        for number in 0..=255_u8 {
            many.put([b'k', number], [b'k', number, b'k', number]);
        }
        many.put(*b"j", *b"jj");
        many.put(*b"l", *b"ll");
        database.write(&many).expect("written");
        let all = keys(&database, b"k", usize::MAX).expect("read");
        assert_eq!(all, (0..=255).map(|number| vec![b'k', number]).collect::<Vec<_>>());
        assert_eq!(keys(&database, b"k", 5).expect("read"), all[..5]);
        assert_eq!(keys(&database, b"", usize::MAX).expect("read").len(), 258);
        assert_eq!(keys(&database, b"x", usize::MAX), Ok(vec![]));
    })
    .await;
    assert_eq!(server.ended(1).await, Ends { clean: 1, broken: 0 }, "a FIN, no reset");
    assert_eq!(server.open_iterators(), 0, "also when a visit ends early");
    assert_eq!(server.entries().len(), 258);
}

#[tokio::test]
async fn a_visitor_may_read() {
    let server = HostDatabase::start().await;
    let mut database = connect(&server).await;
    blocking(move || {
        database.write(&batch(&[(b"a", Some(b"1"))])).expect("written");
        let mut seen = None;
        let mut visitor = |key: &[u8], _: &[u8]| {
            seen = database.get(key).expect("read");
            true
        };
        database.visit(b"", &mut visitor).expect("read");
        assert_eq!(seen, Some(b"1".to_vec()));
    })
    .await;
}

#[tokio::test]
async fn a_failed_write_closes_the_database() {
    for trouble in [Trouble::RefuseWrites, Trouble::HangUpOnWrites] {
        let server = HostDatabase::start().await;
        let mut database = connect(&server).await;
        server.make(trouble);
        let again = server.clone();
        blocking(move || {
            let changes = batch(&[(b"a", Some(b"1"))]);
            database.write(&changes).expect_err("refused");
            again.make(Trouble::Nothing);
            let error = database.write(&changes).expect_err("what is stored is not known");
            assert!(matches!(error, KvError::Closed { .. }), "{trouble:?}: {error}");
            let error = database.get(b"a").expect_err("nor may it be read");
            assert!(matches!(error, KvError::Closed { .. }), "{trouble:?}: {error}");
        })
        .await;
        assert_eq!(server.entries(), [], "{trouble:?}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_for_reads() {
    let server = HostDatabase::start().await;
    let mut database = connect(&server).await;
    let trouble = server.clone();
    blocking(move || {
        database.write(&batch(&[(b"a", Some(b"aa"))])).expect("written");
        trouble.make(Trouble::HangUpOnce);
        assert_eq!(database.get(b"a"), Ok(Some(b"aa".to_vec())));
        trouble.make(Trouble::HangUpOnce);
        assert_eq!(keys(&database, b"", usize::MAX), Ok(vec![b"a".to_vec()]));
        database.write(&batch(&[(b"b", Some(b"bb"))])).expect("nothing was written wrongly");
    })
    .await;
}

#[tokio::test]
async fn keys_that_were_not_asked_for_are_refused() {
    let server = HostDatabase::start().await;
    let mut database = connect(&server).await;
    let trouble = server.clone();
    blocking(move || {
        database.write(&batch(&[(b"a", Some(b"aa")), (b"b", Some(b"bb"))])).expect("written");
        trouble.make(Trouble::WrongPrefix);
        let error = keys(&database, b"b", usize::MAX).expect_err("a is no b");
        assert!(error.to_string().contains("not asked for"), "{error}");
    })
    .await;
    assert_eq!(server.open_iterators(), 0);
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_sent() {
    let server = HostDatabase::start().await;
    let mut database = connect(&server).await;
    blocking(move || {
        let frame = |length| batch(&[(b"k", Some(&vec![1; length][..]))]);
        let overhead = 8 + (4 + 1) + 4;
        let key = vec![b'k'; KV_KEY_BYTES_MAX + 1];
        let error = database.write(&batch(&[(&key, None)])).expect_err("too long");
        assert!(matches!(error, KvError::KeyTooLong { .. }), "{error}");
        let error = database.write(&frame(BATCH_BYTES_MAX - overhead + 1)).expect_err("too long");
        assert!(error.to_string().contains("15728641 bytes"), "{error}");
        database.write(&frame(BATCH_BYTES_MAX - overhead)).expect("the longest");
        let value = database.get(b"k").expect("read").expect("written");
        assert_eq!(value.len(), BATCH_BYTES_MAX - overhead);
    })
    .await;
}
