//! Bodies that are not frames.

use session_core::DecodeError;
use session_protocol::frame::BadFrame;
use session_protocol::limits::FRAME_BYTES_MAX;
use session_protocol::peer::Ping;
use session_protocol::{Frame, Kind};

#[test]
fn a_frame_is_version_kind_and_message() {
    let body = Frame::encode(Kind::Ping, &Ping { nonce: 7 });
    assert_eq!(hex::encode(&body), "010a0000000000000007");
    let (kind, payload) = Frame::split(&body).expect("just encoded");
    assert_eq!(kind, Kind::Ping);
    assert_eq!(Frame::payload(kind, payload), Ok(Ping { nonce: 7 }));
}

#[test]
fn every_kind_but_unknown_is_let_in() {
    for code in 0..=u8::MAX {
        match (Frame::split(&[1, code, 0xaa]), Kind::from_code(code)) {
            (Ok((kind, payload)), Some(known)) => {
                assert_eq!((kind, kind.code(), payload), (known, code, &[0xaa][..]));
                assert_ne!(kind, Kind::Unknown);
            }
            (Err(error), None | Some(Kind::Unknown)) => {
                assert_eq!(error, BadFrame::Kind { got: code });
            }
            (split, known) => panic!("code {code}: {split:?}, but {known:?}"),
        }
    }
}

#[test]
fn other_versions_are_refused() {
    for version in (0..=u8::MAX).filter(|version| *version != 1) {
        // The version decides before the kind: a later one may define others.
        assert_eq!(Frame::split(&[version, 0]), Err(BadFrame::Version { got: version }));
    }
}

#[test]
fn short_bodies_are_refused() {
    for body in [&[][..], &[1]] {
        let source = DecodeError::TooShort { needed: 2, left: body.len() };
        let expected = BadFrame::Payload { kind: Kind::Unknown, source };
        assert_eq!(Frame::split(body), Err(expected));
    }
    assert_eq!(Frame::split(&[1, 10]), Ok((Kind::Ping, &[][..])));
}

#[test]
fn one_mebibyte_is_the_longest_body() {
    let mut body = vec![0; FRAME_BYTES_MAX];
    body[..2].copy_from_slice(&[1, 19]);
    assert_eq!(FRAME_BYTES_MAX, 1_048_576);
    assert_eq!(Frame::split(&body).map(|(kind, _)| kind), Ok(Kind::Replicate));
    body.push(0);
    // The length decides first: nothing else of such a body is looked at.
    body[0] = 2;
    let error = Frame::split(&body).unwrap_err();
    assert_eq!(error, BadFrame::TooLarge { got: FRAME_BYTES_MAX + 1 });
    assert_eq!(
        error.to_string(),
        "message too large: 1048577 bytes, the limit is 1048576",
        "the reference's words"
    );
}

#[test]
fn a_payload_is_exactly_one_message() {
    let short = DecodeError::TooShort { needed: 8, left: 7 };
    assert_eq!(
        Frame::payload::<Ping>(Kind::Ping, &[0; 7]),
        Err(BadFrame::Payload { kind: Kind::Ping, source: short })
    );
    let long = DecodeError::Trailing { left: 1 };
    assert_eq!(
        Frame::payload::<Ping>(Kind::Ping, &[0; 9]),
        Err(BadFrame::Payload { kind: Kind::Ping, source: long })
    );
}
