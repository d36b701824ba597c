use std::collections::BTreeSet;
use std::time::Duration;

use super::super::Class;
use super::{CloseReason, PEER_REASON_CHARS_MAX, clean};

#[test]
fn every_reason_of_ours_has_a_code_of_its_own() {
    let within = Duration::from_secs(1);
    let reasons = [
        CloseReason::Finished,
        CloseReason::Asked("x".into()),
        CloseReason::ShuttingDown,
        CloseReason::FrameTooLarge { size: 1 },
        CloseReason::StreamHeader(9),
        CloseReason::StreamBroken,
        CloseReason::NoFirstFrame { within },
        CloseReason::FrameStalled { within },
        CloseReason::QueueFull { class: Class::Bulk, waiting: 1 },
    ];
    let codes: BTreeSet<_> = reasons.iter().map(CloseReason::code).collect();
    assert_eq!(codes, (0..9).collect());
}

#[test]
fn a_peers_words_are_short_and_printable() {
    assert_eq!(clean(b"busy\r\n\x1b[31mred"), "busy   [31mred");
    assert_eq!(clean(&[b'a'; 10_000]).len(), PEER_REASON_CHARS_MAX);
    assert_eq!(clean(&[0xff]), "\u{fffd}");
}
