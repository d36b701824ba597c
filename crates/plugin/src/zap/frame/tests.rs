//! Frames: bytes, limits, and streams that end too early.

use super::{BODY_BYTES_MAX, ERROR, Frame, FrameError, PAYLOAD_BYTES_MAX, RESPONSE};

fn frame() -> Frame {
    Frame { kind: 14, request: 0x0102_0304, body: b"hi".to_vec() }
}

const FRAME: [u8; 11] = [0, 0, 0, 6, 14, 1, 2, 3, 4, b'h', b'i'];

async fn read(mut bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let through_tasks = Frame::read(&mut bytes.to_vec().as_slice()).await;
    // Both ways of reading agree, but for the end of the stream.
    let blocking = Frame::receive(&mut bytes);
    match (&through_tasks, &blocking) {
        (Ok(Some(one)), Ok(other)) => assert_eq!(one, other),
        (Ok(None) | Err(_), Err(_)) => {}
        differ => panic!("{differ:?}"),
    }
    through_tasks
}

#[tokio::test]
async fn golden() {
    assert_eq!(frame().to_bytes().expect("short"), FRAME);
    assert_eq!(read(&FRAME).await.expect("whole"), Some(frame()));
}

#[tokio::test]
async fn every_truncation() {
    assert!(matches!(read(&[]).await, Ok(None)), "between frames");
    for length in 1..FRAME.len() {
        assert!(matches!(read(&FRAME[..length]).await, Err(FrameError::Io(_))), "{length}");
    }
}

#[tokio::test]
async fn lengths() {
    for length in 0_u8..4 {
        let result = read(&[0, 0, 0, length, 14, 1, 2, 3, 4]).await;
        assert!(
            matches!(result, Err(FrameError::TooShort { length: l }) if l == u32::from(length))
        );
    }
    let over = u32::try_from(PAYLOAD_BYTES_MAX + 1).expect("16 MiB");
    let mut bytes = over.to_be_bytes().to_vec();
    bytes.extend([9, 0, 0, 0, 7]);
    let result = read(&bytes).await;
    assert!(
        matches!(result, Err(FrameError::TooLong { kind: 9, request: 7, length }) if length == over)
    );
    let whole = Frame { body: vec![5; BODY_BYTES_MAX], ..frame() };
    let bytes = whole.to_bytes().expect("at the limit");
    assert_eq!(read(&bytes).await.expect("at the limit"), Some(whole));
    assert!(Frame { body: vec![5; BODY_BYTES_MAX + 1], ..frame() }.to_bytes().is_err());
}

#[test]
fn an_answer_that_is_too_long_is_an_error() {
    let answer = Frame::response(20, 1, vec![0; BODY_BYTES_MAX + 1]);
    assert_eq!((answer.kind, answer.request), (20 | RESPONSE | ERROR, 1));
    assert_eq!(Frame::response(20, 1, vec![1]).kind, 0x94);
}
