//! Bodies that are more than their fields.

use std::time::Duration;

use session_core::Time;

use super::{ancestor_limits, health_answer, nanoseconds, within};
use crate::hosted::{AncestorLimits, Health};
use crate::zap::frame::BODY_BYTES_MAX;
use crate::zap::message::GetAncestorsRequest;

#[test]
fn health_is_a_little_endian_list() {
    let details = vec![("a".to_owned(), "bc".to_owned())];
    let body = health_answer(&Health { healthy: true, details: details.clone() });
    let list = b"\x01\0\0\0\x01\0\0\0a\x02\0\0\0bc";
    assert_eq!(body, Ok([&b"\0\0\0\x0f"[..], list].concat()));
    let words = health_answer(&Health { healthy: false, details });
    assert_eq!(words, Err("the chain is not well: a=bc".to_owned()));
}

#[test]
fn times_are_nanoseconds() {
    assert_eq!(nanoseconds(Time::from_millis(1500)), 1_500_000_000);
    assert_eq!(nanoseconds(Time::MAX), i64::MAX);
}

#[test]
fn ancestors_keep_to_the_limits() {
    let blocks = || vec![vec![1; 10], vec![2; 10], vec![3; 10]];
    let limits = |blocks_max, bytes_max| {
        let kept =
            within(blocks(), AncestorLimits { blocks_max, bytes_max, time_max: Duration::MAX });
        kept.len()
    };
    assert_eq!(limits(10, 42), 3, "each block takes four more bytes");
    assert_eq!(limits(10, 41), 2);
    assert_eq!(limits(1, 42), 1);
    assert_eq!(limits(10, 13), 0);
}

#[test]
fn limits_of_the_host_are_held_to_a_frame() {
    let ask = |max_num, max_size, max_nanos| {
        let blk_id = [0; 32].into();
        ancestor_limits(&GetAncestorsRequest { blk_id, max_num, max_size, max_nanos })
    };
    let limits = ask(5, i32::MAX, 7);
    assert_eq!((limits.blocks_max, limits.bytes_max), (5, BODY_BYTES_MAX - 4));
    assert_eq!(limits.time_max, Duration::from_nanos(7));
    let none = ask(-1, -1, -1);
    assert_eq!((none.blocks_max, none.bytes_max, none.time_max), (0, 0, Duration::ZERO));
}
