use super::*;

fn address(number: u32) -> InboxAddress {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

const NOON: Time = Time::from_millis(1_800_000_000_000);

fn after(items: u32) -> u8 {
    let mut strangers = Strangers::default();
    (0..items).for_each(|_| strangers.came(&address(1), NOON));
    strangers.bits(&address(1), NOON)
}

#[test]
fn the_price_rises_with_what_came() {
    let table = [(0, 0), (63, 0), (64, 4), (127, 4), (128, 6), (256, 8), (512, 10), (1024, 12)];
    for (items, bits) in table {
        assert_eq!(after(items), bits, "{items} items");
    }
    assert_eq!(after(10_000), BITS_MAX);
}

#[test]
fn it_falls_within_an_hour_and_for_each_inbox_alone() {
    let mut strangers = Strangers::default();
    for minute in 0..60 {
        let now = NOON + Span::from_secs(minute * 60);
        (0..4).for_each(|_| strangers.came(&address(1), now));
        strangers.came(&address(2), now);
    }
    let end = NOON + Span::from_secs(59 * 60);
    assert_eq!((strangers.bits(&address(1), end), strangers.bits(&address(2), end)), (6, 0));
    let half = end + Span::from_secs(30 * 60);
    assert_eq!(strangers.bits(&address(1), half), 4);
    assert_eq!(strangers.bits(&address(1), end + Span::from_secs(3600)), 0);
    // A clock that was put back forgets nothing.
    assert_eq!(strangers.bits(&address(1), NOON), 6);
}

#[test]
fn inboxes_that_are_counted_are_bounded_and_the_busy_ones_stay() {
    let mut strangers = Strangers::default();
    (0..200).for_each(|_| strangers.came(&address(u32::MAX), NOON));
    for number in 0..3 * INBOXES_MAX as u32 {
        strangers.came(&address(number), NOON);
        assert!(strangers.inboxes.len() <= INBOXES_MAX);
    }
    assert_eq!(strangers.bits(&address(u32::MAX), NOON), 6);
}
