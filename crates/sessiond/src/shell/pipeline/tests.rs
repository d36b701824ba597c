use session_storage::{MemoryStore, StoreError};

use super::{CALLS_MAX, COMMITS_MAX, Pipeline};
use crate::shell::slow_store::SlowStore;

#[test]
fn effects_wait_for_their_own_commit() {
    let (mut pipeline, mut store) = (Pipeline::new(), SlowStore::new());
    assert!(!pipeline.may_commit() && pipeline.is_idle(), "nothing was called");
    for effect in ["first", "second"] {
        pipeline.called();
        pipeline.open.push(effect);
        pipeline.commit(&mut store);
    }
    assert!(pipeline.try_next().is_none());
    store.finish(Ok(()));
    assert_eq!(pipeline.try_next(), Some(Ok(vec!["first"])));
    assert!(pipeline.try_next().is_none());
    store.finish(Ok(()));
    assert_eq!(pipeline.try_next(), Some(Ok(vec!["second"])));
    assert!(pipeline.is_idle());
}

#[test]
fn groups_grow_while_all_commits_are_under_way() {
    let (mut pipeline, mut store) = (Pipeline::new(), SlowStore::new());
    for _ in 0..COMMITS_MAX {
        pipeline.called();
        assert!(pipeline.may_commit());
        pipeline.commit(&mut store);
    }
    for effect in 0..CALLS_MAX {
        assert!(pipeline.has_room() && !pipeline.may_commit());
        pipeline.called();
        pipeline.open.push(effect);
    }
    assert!(!pipeline.has_room());
    store.finish(Ok(()));
    assert_eq!(pipeline.try_next(), Some(Ok(vec![])));
    assert!(pipeline.may_commit());
    pipeline.commit(&mut store);
    assert!(pipeline.has_room());
    for _ in 1..COMMITS_MAX {
        store.finish(Ok(()));
        assert_eq!(pipeline.try_next(), Some(Ok(vec![])));
    }
    store.finish(Ok(()));
    assert_eq!(pipeline.try_next().unwrap().unwrap().len(), CALLS_MAX);
}

#[test]
fn a_failed_commit_hands_out_nothing() {
    let (mut pipeline, mut store) = (Pipeline::new(), SlowStore::new());
    pipeline.called();
    pipeline.open.push("a promise");
    pipeline.commit(&mut store);
    let error = StoreError::Closed { why: "test".to_owned() };
    store.finish(Err(error.clone()));
    assert_eq!(pipeline.try_next(), Some(Err(error)));
}

#[test]
fn the_memory_store_commits_at_once() {
    let (mut pipeline, mut store) = (Pipeline::new(), MemoryStore::new(1));
    pipeline.called();
    pipeline.open.push("a promise");
    pipeline.commit(&mut store);
    assert_eq!(pipeline.try_next(), Some(Ok(vec!["a promise"])));
}
