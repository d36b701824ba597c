use session_core::{NodeId, Text, Time};
use session_crypto::{KemCiphertext, SharedSecret};
use session_protocol::peer::Handshake;

use super::{ACCEPTOR, Channel, DIALER, UNPROVEN, hello_hash, proof, with_proof};

/// The example of `docs/wire/handshake.md`.
#[test]
fn golden_proofs() {
    let hello = Handshake::Hello {
        network: [1; 32].into(),
        node: Some(NodeId::from([2; 32])),
        features: 0,
        nonce: [3; 32],
        challenge: KemCiphertext::from([4; 1088]),
        listen: Text::new("192.0.2.1:9651").unwrap(),
        height: 5,
    };
    let unproven = Handshake::Welcome {
        node: NodeId::from([6; 32]),
        features: 0,
        nonce: [7; 32],
        challenge: Some(KemCiphertext::from([8; 1088])),
        proof: UNPROVEN,
        height: 9,
        time: Time::from_millis(10),
    };
    let channel = Channel { exporter: [11; 32], key: None };
    let hash = hello_hash(&hello);
    let acceptors = proof(&SharedSecret::from([12; 32]), &channel, ACCEPTOR, &hash, &unproven);
    let welcome = with_proof(unproven, acceptors);
    let dialers = proof(&SharedSecret::from([13; 32]), &channel, DIALER, &hash, &welcome);
    assert_eq!(
        [hex::encode(hash), hex::encode(acceptors), hex::encode(dialers)],
        [
            "7c8d6a2a83eb98d2120f8ee00d88d17e0425d9cb6f21cc04cb5f22cde1e550ac",
            "70eb0de9664be68217f93ee4f9d1e88a372f2460ef4a8ab977aa651ebae274eb",
            "ea4ceaa018de768436081670136b4e81a6d3eb5f5cad48b88f08e62d16a2053c",
        ]
    );
}
