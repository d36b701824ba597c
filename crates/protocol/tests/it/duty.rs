//! What nodes say to each other about their duties.

use session_core::{Encode as _, Epoch, Namespace};
use session_protocol::attestation::{QuorumCertificate, Vote};
use session_protocol::beacon::SealedShare;
use session_protocol::commitment::{Absence, Answer, Opening, Shown};
use session_protocol::duty::{Duty, VERSION_BYTES_MAX};
use session_protocol::limits::{FRAME_BYTES_MAX, ITEM_BYTES_MAX};
use session_protocol::{Frame, Kind};

use crate::codec::{check, limit, tags};
use crate::values::{
    PROOF, STATEMENT, blob, certificate, certificate_bytes, challenge, leaf, list, node, proof,
    signature, statement, text, time,
};

fn opening(data: &[u8]) -> Opening {
    let shown = Shown::Item { namespace: Namespace(2), data: blob(data) };
    Opening { leaf: leaf(), path: proof(), shown }
}

#[test]
fn golden_bytes() {
    let epoch = Epoch(5);
    let sealed = SealedShare { ciphertext: challenge(), sealed: blob(b"s") };
    let answer = Answer { epoch, openings: list([opening(b"x")]), signature: signature() };
    let vote = Vote { statement: statement(), node: node(), signature: signature() };
    let absence = Absence { before: None, after: None };
    for (duty, golden) in [
        (
            Duty::Share { epoch, share: Box::new(sealed) },
            "01 0000000000000005 44*1088 00000001 73".to_owned(),
        ),
        (Duty::WantShare { epoch }, "02 0000000000000005".to_owned()),
        (Duty::Probe { epoch, nonce: 7 }, "03 0000000000000005 0000000000000007".to_owned()),
        (
            Duty::Alive {
                epoch,
                nonce: 7,
                time: time(8),
                free_bytes: 9,
                height: 10,
                version: text("1.0"),
            },
            "04 0000000000000005 0000000000000007 # epoch, nonce
             0000000000000008 0000000000000009    # time, free bytes
             000000000000000a 00000003 312e30     # height, version"
                .to_owned(),
        ),
        (
            Duty::Audit { epoch, leaves: list([1, 2]) },
            "05 0000000000000005 00000002 0000000000000001 0000000000000002".to_owned(),
        ),
        (
            Duty::Opened { answer: Box::new(answer) },
            format!("06 0000000000000005 00000001 0b*32 0c*32 {PROOF} 01 0002 00000001 78 33*3309"),
        ),
        (Duty::Voted { vote: Box::new(vote) }, format!("07 {STATEMENT} 0a*32 33*3309")),
        (
            Duty::Certified { certificate: Box::new(certificate()) },
            format!("08 {}", certificate_bytes()),
        ),
        (Duty::Holds { epoch, leaf: leaf() }, "09 0000000000000005 0b*32 0c*32".to_owned()),
        (
            Duty::Absent { epoch, leaf: leaf(), absence: Box::new(absence) },
            "0a 0000000000000005 0b*32 0c*32 00 00".to_owned(),
        ),
        (Duty::Taken { epoch }, "0b 0000000000000005".to_owned()),
        (Duty::WantCertificate { epoch }, "0c 0000000000000005".to_owned()),
    ] {
        check(&duty, &golden);
        let frame = Frame::encode(Kind::Duty, &duty);
        assert_eq!(frame[..2], [1, 22], "version and kind");
    }
    tags::<Duty>("", 12);
    limit::<Duty>("05 0000000000000005", 32);
    limit::<Duty>("06 0000000000000005", 32);
    limit::<Duty>("04 00*40", VERSION_BYTES_MAX);
    limit::<Duty>("01 00*8 44*1088", 512);
}

/// Openings are answered as far as they fit; one always does.
#[test]
fn the_longest_fit_into_a_frame() {
    let fits = |duty: &Duty| {
        let size = Frame::encode(Kind::Duty, duty).len();
        assert!(size <= FRAME_BYTES_MAX, "{size} bytes");
    };
    let certificate = QuorumCertificate {
        signers: blob(&[0xff; 16]),
        signatures: list(vec![signature(); 128]),
        ..certificate()
    };
    fits(&Duty::Certified { certificate: Box::new(certificate) });
    let longest = opening(&vec![1; ITEM_BYTES_MAX]);
    let size = longest.to_bytes().len();
    let some = (FRAME_BYTES_MAX - 8_192) / size;
    assert!(some >= 13, "{some} of the longest items");
    let openings = list(vec![longest; some]);
    let answer = Answer { epoch: Epoch(5), openings, signature: signature() };
    fits(&Duty::Opened { answer: Box::new(answer) });
}
