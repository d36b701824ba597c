//! The bytes of `docs/wire/handshake.md`.

use session_core::testing::{check_codec, check_round_trip};
use session_core::{Encode as _, Time};
use session_protocol::Frame;
use session_protocol::Kind;
use session_protocol::peer::{DeclineReason, Handshake, Heartbeat, Ping, Pong};

use crate::by_hand::{EXPORTER, Solo};

#[test]
fn heartbeat_ping_and_pong() {
    check_codec(
        &Heartbeat { time: Time::from_millis(1_800_000_000_000), writable: true, items: 258 },
        "000001a3185c5000   # time
         01                 # writable
         0000000000000102   # items",
    );
    check_codec(&Ping { nonce: 0x0102_0304_0506_0708 }, "0102030405060708");
    check_codec(&Pong { nonce: 0x0102_0304_0506_0708 }, "0102030405060708");
    let frame = Frame::encode(Kind::Ping, &Ping { nonce: 1 });
    assert_eq!(frame, [1, 10, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn finish_and_declined() {
    check_codec(
        &Handshake::Finish { proof: [0xab; 32] },
        "03                                                                  # Finish
         abababababababababababababababababababababababababababababababab    # proof",
    );
    let reasons = [
        DeclineReason::WrongNetwork,
        DeclineReason::NotRegistered,
        DeclineReason::BadProof,
        DeclineReason::TooManyPeers,
        DeclineReason::OutOfOrder,
        DeclineReason::Duplicate,
    ];
    for (code, reason) in (1..).zip(reasons) {
        check_codec(&Handshake::Declined { reason }, &format!("04 {code:02x}"));
    }
}

#[test]
fn hello_and_welcome() {
    let mut solo = Solo::node();
    for (from, length) in [(Some(0), 1_206), (None, 1_174)] {
        let (hello, _) = solo.hello(from);
        check_round_trip(&hello);
        assert_eq!(hello.to_bytes().len(), length);
        let (welcome, _) = solo.welcome(&hello, 2, &EXPORTER);
        check_round_trip(&welcome);
        assert_eq!(welcome.to_bytes().len(), if from.is_some() { 1_210 } else { 122 });
    }
    let (mut hello, _) = solo.hello(Some(0));
    if let Handshake::Hello { listen, .. } = &mut hello {
        *listen = session_core::Text::new("a".repeat(256)).unwrap();
    }
    check_round_trip(&hello);
    // One byte more than an address may have.
    let mut bytes = hello.to_bytes();
    let at = bytes.len() - 8 - 256 - 4;
    bytes[at..at + 4].copy_from_slice(&257_u32.to_be_bytes());
    let error = <Handshake as session_core::Decode>::decode_exact(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "text holds 257, the limit is 256");
}
