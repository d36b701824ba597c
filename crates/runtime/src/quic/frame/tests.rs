use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;

use super::super::{CloseReason, FRAME_BYTES_MAX};
use super::{COPIED_BYTES_MAX, Chunks, FrameReader, lay_out};

/// Chunks that have arrived; then the end, or silence.
struct Arrived {
    chunks: VecDeque<Bytes>,
    ended: bool,
}

impl Chunks for Arrived {
    async fn chunk(&mut self) -> Result<Option<Bytes>, CloseReason> {
        match self.chunks.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None if self.ended => Ok(None),
            None => pending().await,
        }
    }
}

fn reader(bytes: &[u8], piece: usize, ended: bool) -> FrameReader<Arrived> {
    let chunks = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
    FrameReader::new(Arrived { chunks, ended }, Duration::from_millis(50))
}

async fn all(mut reader: FrameReader<Arrived>) -> Result<Vec<Vec<u8>>, CloseReason> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().await? {
        frames.push(frame);
    }
    Ok(frames)
}

#[tokio::test]
async fn golden_bytes() {
    let bytes = [
        0, 0, 0, 2, b'h', b'i', // a frame of two bytes
        0, 0, 0, 0, // an empty frame
        0, 0, 0, 1, 7, // a frame of one byte
    ];
    let frames = vec![b"hi".to_vec(), vec![], vec![7]];
    for piece in 1..=bytes.len() {
        assert_eq!(all(reader(&bytes, piece, true)).await, Ok(frames.clone()), "pieces of {piece}");
    }
    let laid_out = lay_out(&frames.into_iter().map(Bytes::from).collect::<Vec<_>>());
    assert_eq!(laid_out.concat(), bytes);
}

#[tokio::test]
async fn every_truncation_is_a_broken_stream() {
    let bytes = [0, 0, 0, 3, b'a', b'b', b'c'];
    assert_eq!(all(reader(&[], 1, true)).await, Ok(vec![]));
    for length in 1..bytes.len() {
        let result = all(reader(&bytes[..length], 4, true)).await;
        assert_eq!(result, Err(CloseReason::StreamBroken), "cut to {length}");
    }
}

#[tokio::test]
async fn lengths_above_the_limit_are_refused_before_any_body() {
    for size in [FRAME_BYTES_MAX as u32 + 1, u32::MAX] {
        let result = all(reader(&size.to_be_bytes(), 4, false)).await;
        assert_eq!(result, Err(CloseReason::FrameTooLarge { size }));
    }
}

#[tokio::test]
async fn a_begun_frame_has_a_deadline_and_silence_between_frames_has_none() {
    let within = Duration::from_millis(50);
    for length in 1..6 {
        let result = all(reader(&[0, 0, 0, 2, 1, 2][..length], 6, false)).await;
        assert_eq!(result, Err(CloseReason::FrameStalled { within }));
    }
    let mut silent = reader(&[], 1, false);
    let wait = tokio::time::timeout(4 * within, silent.next());
    assert!(wait.await.is_err());
}

#[test]
fn large_frames_are_not_copied_and_small_ones_are_joined() {
    let large = Bytes::from(vec![1; COPIED_BYTES_MAX + 1]);
    let small = Bytes::from(vec![2; 10]);
    let frames = [small.clone(), small.clone(), large.clone(), small.clone(), large.clone()];
    let chunks = lay_out(&frames);
    let sizes: Vec<_> = chunks.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [32, large.len(), 18, large.len()]);
    assert_eq!(chunks[1].as_ptr(), large.as_ptr());
}
