//! Golden bytes of opening a connection and keeping it.

use session_protocol::membership::ADDRESS_BYTES_MAX;
use session_protocol::peer::{DeclineReason, Handshake, Heartbeat, Ping, Pong};

use crate::codec::{check, flag, limit, tags};
use crate::values::{challenge, node, text, time};

#[test]
fn hello() {
    let hello = Handshake::Hello {
        network: [0x77; 32].into(),
        node: Some(node()),
        features: 1,
        nonce: [0x78; 32],
        challenge: challenge(),
        listen: text("h:1"),
        height: 2,
    };
    check(
        &hello,
        "01
         77*32            # network
         01 0a*32         # node
         0000000000000001 # features
         78*32            # nonce
         44*1088          # challenge
         00000003 683a31  # listen
         0000000000000002 # height",
    );
    flag::<Handshake>("01 77*32");
    limit::<Handshake>("01 77*32 00 00*8 78*32 44*1088", ADDRESS_BYTES_MAX);
}

#[test]
fn a_client_says_hello_without_id_and_address() {
    let hello = Handshake::Hello {
        network: [0x77; 32].into(),
        node: None,
        features: 0,
        nonce: [0x78; 32],
        challenge: challenge(),
        listen: text(""),
        height: 0,
    };
    check(&hello, "01 77*32 00 00*8 78*32 44*1088 00000000 00*8");
}

#[test]
fn welcome() {
    let welcome = |challenge| Handshake::Welcome {
        node: node(),
        features: 1,
        nonce: [0x78; 32],
        challenge,
        proof: [0x79; 32],
        height: 2,
        time: time(3),
    };
    check(
        &welcome(Some(challenge())),
        "02
         0a*32            # node
         0000000000000001 # features
         78*32            # nonce
         01 44*1088       # challenge
         79*32            # proof
         0000000000000002 # height
         0000000000000003 # time",
    );
    check(
        &welcome(None),
        "02 0a*32 0000000000000001 78*32 00 79*32 0000000000000002 0000000000000003",
    );
    flag::<Handshake>("02 0a*32 00*8 78*32");
}

#[test]
fn the_end_of_it() {
    check(&Handshake::Finish { proof: [0x79; 32] }, "03 79*32");
    let reasons = [
        DeclineReason::WrongNetwork,
        DeclineReason::NotRegistered,
        DeclineReason::BadProof,
        DeclineReason::TooManyPeers,
        DeclineReason::OutOfOrder,
        DeclineReason::Duplicate,
    ];
    for (code, reason) in (1u8..).zip(reasons) {
        check(&reason, &format!("{code:02x}"));
        check(&Handshake::Declined { reason }, &format!("04 {code:02x}"));
    }
    tags::<DeclineReason>("", 6);
    tags::<Handshake>("", 4);
}

#[test]
fn heartbeats_and_pings() {
    check(
        &Heartbeat { time: time(1), writable: true, items: 2 },
        "0000000000000001 # time
         01               # writable
         0000000000000002 # items",
    );
    flag::<Heartbeat>("00*8");
    check(&Ping { nonce: 1 }, "0000000000000001");
    check(&Pong { nonce: 1 }, "0000000000000001");
}
