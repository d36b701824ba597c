use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{BATCH_BYTES, QUEUE_FRAMES_MAX, Queue, Refused, TIGHT_BYTES, Total};

fn frame(size: usize) -> Bytes {
    Bytes::from(vec![0; size])
}

#[tokio::test]
async fn bytes_are_bounded_until_they_are_written() {
    let total = Total::new(usize::MAX);
    let queue = Queue::new(100, total.clone());
    assert_eq!(queue.push(frame(60)), Ok(()));
    assert_eq!(queue.push(frame(40)), Ok(()));
    assert_eq!(queue.push(frame(1)), Err(Refused::Full { waiting: 100 }));
    assert_eq!(queue.take().await.unwrap().len(), 2);
    assert_eq!(queue.push(frame(1)), Err(Refused::Full { waiting: 100 }), "not written yet");
    let next = timeout(Duration::from_millis(10), queue.take()).await;
    assert!(next.is_err(), "nothing waits");
    assert!(queue.is_empty() && total.bytes() == 0);
    assert_eq!(queue.push(frame(1)), Ok(()));
}

#[tokio::test]
async fn what_may_be_lost_takes_half_of_the_queue_at_most() {
    let queue = Queue::new(100, Total::new(usize::MAX));
    assert_eq!(queue.offer(frame(30)), Ok(()));
    assert_eq!(queue.offer(frame(20)), Ok(()));
    assert_eq!(queue.offer(frame(1)), Err(Refused::Full { waiting: 50 }));
    assert_eq!(queue.push(frame(50)), Ok(()), "the other half is free");
    assert_eq!(queue.take().await.unwrap().len(), 3);
    let counted = Queue::new(usize::MAX, Total::new(usize::MAX));
    for _ in 0..QUEUE_FRAMES_MAX / 2 {
        counted.offer(frame(0)).unwrap();
    }
    assert_eq!(counted.offer(frame(0)), Err(Refused::Full { waiting: 0 }));
    let total = Total::new(4 * TIGHT_BYTES);
    let other = Queue::new(usize::MAX, total.clone());
    other.push(frame(4 * TIGHT_BYTES + 1)).unwrap();
    let crowded = Queue::new(usize::MAX, total);
    assert_eq!(crowded.offer(frame(TIGHT_BYTES / 2)), Ok(()));
    let waiting = TIGHT_BYTES / 2;
    assert_eq!(crowded.offer(frame(1)), Err(Refused::Full { waiting }));
}

#[tokio::test]
async fn the_count_is_bounded() {
    let queue = Queue::new(usize::MAX, Total::new(usize::MAX));
    for _ in 0..QUEUE_FRAMES_MAX {
        queue.push(frame(0)).unwrap();
    }
    assert_eq!(queue.push(frame(0)), Err(Refused::Full { waiting: 0 }));
    assert!(!queue.is_empty(), "empty frames wait, too");
}

#[tokio::test]
async fn a_frame_above_the_bound_passes_alone() {
    let queue = Queue::new(100, Total::new(usize::MAX));
    assert_eq!(queue.push(frame(500)), Ok(()));
    assert_eq!(queue.push(frame(1)), Err(Refused::Full { waiting: 500 }));
}

#[tokio::test]
async fn when_all_queues_together_are_full_those_with_much_waiting_are_refused() {
    let total = Total::new(4 * TIGHT_BYTES);
    let slow = Queue::new(usize::MAX, total.clone());
    let quick = Queue::new(usize::MAX, total.clone());
    while total.bytes() <= 4 * TIGHT_BYTES {
        slow.push(frame(TIGHT_BYTES)).unwrap();
    }
    assert!(matches!(slow.push(frame(1)), Err(Refused::Full { .. })));
    assert_eq!(quick.push(frame(TIGHT_BYTES / 2)), Ok(()));
    assert_eq!(quick.push(frame(TIGHT_BYTES / 2)), Ok(()));
    assert!(matches!(quick.push(frame(1)), Err(Refused::Full { .. })));
    drop(slow);
    assert_eq!(total.bytes(), TIGHT_BYTES, "a dropped queue gives its bytes back");
    assert_eq!(quick.push(frame(1)), Ok(()));
}

#[tokio::test]
async fn batches_are_bounded_and_closing_hands_out_the_rest() {
    let queue = Queue::new(usize::MAX, Total::new(usize::MAX));
    for _ in 0..3 {
        queue.push(frame(BATCH_BYTES / 2 + 1)).unwrap();
    }
    queue.close();
    assert_eq!(queue.push(frame(1)), Err(Refused::Closed));
    assert_eq!(queue.take().await.unwrap().len(), 2);
    assert_eq!(queue.take().await.unwrap().len(), 1);
    assert!(queue.take().await.is_none());
}
