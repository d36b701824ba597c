use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context as Task, Waker};

use session_core::{AccountId, InboxAddress, MessageId, Namespace, SeededEntropy, Time};
use session_crypto::Identity;
use session_storage::{
    Done as Committed, ItemMeta, MemoryStore, NewItem, Page, PageLimit, Purged, Put, Stats, Store,
    StoredItem, Table, Usage,
};
use session_vm::mailbox::{Invitation, NewConversation};

use super::*;

/// A store whose commits wait until the test lets them end.
struct Slow {
    inner: MemoryStore,
    commits: Sender<Committed>,
}

impl Durable for Slow {
    fn commit(&mut self, done: Committed) {
        // A test that has ended takes no more.
        if let Err(left) = self.commits.send(done) {
            (left.0)(Ok(()));
        }
    }
}

#[rustfmt::skip] // nothing here is worth reading
impl Store for Slow {
    fn incarnation(&self) -> u64 { self.inner.incarnation() }
    fn put_item(&mut self, to: &InboxAddress, item: NewItem<'_>) -> Result<Put, StoreError> {
        self.inner.put_item(to, item)
    }
    fn item(&self, at: &InboxAddress, id: &MessageId) -> Result<Option<StoredItem>, StoreError> {
        self.inner.item(at, id)
    }
    fn meta(&self, at: &InboxAddress, id: &MessageId) -> Option<ItemMeta> { self.inner.meta(at, id) }
    fn items_after(
        &self, at: &InboxAddress, namespace: Namespace, after: u64, limit: PageLimit, now: Time,
    ) -> Result<Page, StoreError> {
        self.inner.items_after(at, namespace, after, limit, now)
    }
    fn remove_item(
        &mut self, at: &InboxAddress, id: &MessageId, until: Time,
    ) -> Result<bool, StoreError> {
        self.inner.remove_item(at, id, until)
    }
    fn tombstone(&self, at: &InboxAddress, id: &MessageId) -> Option<Time> {
        self.inner.tombstone(at, id)
    }
    fn set_expiry(
        &mut self, at: &InboxAddress, id: &MessageId, expiry: Time,
    ) -> Result<bool, StoreError> {
        self.inner.set_expiry(at, id, expiry)
    }
    fn put_record(
        &mut self, table: Table, key: &[u8], value: &[u8], expiry: Time,
    ) -> Result<(), StoreError> {
        self.inner.put_record(table, key, value, expiry)
    }
    fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.record(table, key)
    }
    fn remove_record(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.inner.remove_record(table, key)
    }
    fn records(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Time)> {
        self.inner.records(table, prefix)
    }
    fn scan(
        &self, range: RangeInclusive<InboxAddress>, visit: &mut dyn FnMut(&InboxAddress, &ItemMeta),
    ) {
        self.inner.scan(range, visit);
    }
    fn scan_tombstones(
        &self,
        range: RangeInclusive<InboxAddress>,
        visit: &mut dyn FnMut(&InboxAddress, &MessageId, Time),
    ) {
        self.inner.scan_tombstones(range, visit);
    }
    fn inbox_usage(&self, at: &InboxAddress, namespace: Namespace) -> Usage {
        self.inner.inbox_usage(at, namespace)
    }
    fn purge(&mut self, now: Time) -> Purged { self.inner.purge(now) }
    fn stats(&self) -> Stats { self.inner.stats() }
}

fn slow_post() -> (Post, Receiver<Committed>) {
    let (commits, ended) = channel();
    let store = Slow { inner: MemoryStore::new(1), commits };
    let post = start(mailbox::Config::default(), store).unwrap();
    // The first look at the clock purges what has expired.
    ended.recv().unwrap()(Ok(()));
    (post, ended)
}

fn conversation(desk: &mut Desk<'_>) -> Result<AccountId, Refusal> {
    let keys = Identity::generate(&mut SeededEntropy::new(1));
    let account = keys.public().account_id();
    let kem = keys.public().kem().clone();
    let participants = vec![Invitation { account, kem, signing: None }];
    let new = NewConversation { participants, ..NewConversation::default() };
    desk.mailbox.create(&mut desk.cx, new).map(|_| account)
}

fn count(desk: &mut Desk<'_>) -> Result<u64, Refusal> {
    Ok(desk.mailbox.counts().open)
}

fn is_ready<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut Task::from_waker(Waker::noop())).is_ready()
}

#[tokio::test]
async fn nobody_is_shown_what_a_crash_could_take_back() {
    let (post, commits) = slow_post();
    let mut writing = pin!(post.write(conversation));
    let first = commits.recv().unwrap();
    // It is done, but not durable: those who prepare see it, those who look wait.
    assert_eq!(post.prepare(|mailbox, _| mailbox.counts().open), 1);
    assert_eq!(post.look(|mailbox, _| mailbox.counts().open), None);
    let mut reading = pin!(post.read(count));
    assert!(!is_ready(writing.as_mut()) && !is_ready(reading.as_mut()));
    first(Ok(()));
    assert!(writing.await.is_ok());
    assert_eq!(reading.await, Ok(1));
    // Nothing is under way: nobody waits.
    assert_eq!(post.look(|mailbox, _| mailbox.counts().open), Some(1));
}

#[tokio::test]
async fn a_commit_that_fails_is_no_answer_and_a_fault() {
    let (post, commits) = slow_post();
    let mut events = post.events();
    let writing = post.write(conversation);
    let failed = StoreError::Full { needed: 1, free: 0 };
    commits.recv().unwrap()(Err(failed.clone()));
    assert_eq!(writing.await, Err(NoAnswer::Disk(failed)));
    assert!(post.fault().is_some());
    assert!(events.try_recv().is_err(), "a push of what is not durable");
}
