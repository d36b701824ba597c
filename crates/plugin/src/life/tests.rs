//! The end of a life, without signals: the process-wide ones are tried on the real program.

use super::{End, Life};

#[tokio::test]
async fn the_first_end_stays() {
    let life = Life::undisturbed();
    let ended = life.ended();
    life.host_gone();
    super::end(&life.state, End::ParentGone);
    assert_eq!(ended.await, End::HostGone);
    assert_eq!(life.ended().await, End::HostGone, "also for those who ask later");
}

#[tokio::test]
async fn an_end_is_waited_for() {
    let life = Life::undisturbed();
    let waiting = tokio::spawn(life.ended());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    life.clone().host_gone();
    assert_eq!(waiting.await.expect("no panic"), End::HostGone);
}

#[test]
fn shutdown_alone_is_no_end() {
    let life = Life::undisturbed();
    assert!(!life.is_shut_down());
    life.shutdown_received();
    assert!(life.is_shut_down());
    assert_eq!(life.state.borrow().end, None);
}
