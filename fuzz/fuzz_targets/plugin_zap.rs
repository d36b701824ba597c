//! Whatever a host sends is a request or refused, and means the same after it was written again.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use sessionvm::zap::database::{
    CodeResponse, GetResponse, IterNewRequest, IterNextResponse, WriteBatchRequest,
};
use sessionvm::zap::frame::{BODY_BYTES_MAX, Frame, FrameError};
use sessionvm::zap::message::*;
use sessionvm::zap::wire::Message;

/// Bytes may differ: unknown fields are left out, every truth is written as 1.
fn stable<M: Message + Debug + PartialEq>(body: &[u8]) {
    let Ok(read) = M::decode(body) else { return };
    let written = read.encode();
    assert_eq!(M::decode(&written).as_ref(), Ok(&read));
    assert_eq!(M::decode(&written).expect("just read").encode(), written);
}

fn frame(mut bytes: &[u8]) {
    let whole = bytes;
    match Frame::receive(&mut bytes) {
        Ok(frame) => {
            assert!(frame.body.len() <= BODY_BYTES_MAX);
            let written = frame.to_bytes().expect("it was read");
            assert_eq!(written, whole[..whole.len() - bytes.len()]);
            let _ = decode_request(frame.kind, &frame.body);
        }
        Err(FrameError::TooLong { length, .. }) => assert!(length as usize > BODY_BYTES_MAX + 4),
        Err(FrameError::TooShort { length }) => assert!(length < 4),
        Err(_) => assert!(whole.len() < 5 + 4 + BODY_BYTES_MAX),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, body)) = input.split_first() else { return };
    // Types from 64 on have the error bit: never requests, so they choose what else to read.
    match kind {
        0..64 => {
            if let Err(error) = decode_request(kind, body) {
                assert!(!error.to_string().is_empty());
            }
            stable::<InitializeRequest>(body);
            stable::<BuildBlockRequest>(body);
            stable::<BlockVerifyRequest>(body);
            stable::<GetAncestorsRequest>(body);
            stable::<ConnectedRequest>(body);
            stable::<Blocks>(body);
        }
        64..128 => frame(body),
        128..192 => {
            stable::<InitializeResponse>(body);
            stable::<BatchedParseBlockResponse>(body);
            stable::<CreateHandlersResponse>(body);
            stable::<SummaryResponse>(body);
            stable::<AppRequest>(body);
            stable::<AppRequestFailed>(body);
        }
        192..=255 => {
            stable::<GetResponse>(body);
            stable::<CodeResponse>(body);
            stable::<IterNewRequest>(body);
            stable::<IterNextResponse>(body);
            stable::<WriteBatchRequest>(body);
        }
    }
});
