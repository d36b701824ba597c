//! Whose word counts for when messages disappear, and what is gone.

use super::*;

const HOUR: Span = Span::from_secs(3600);

fn after(span: Span) -> Say {
    Say::Timer { disappear: Disappear::AfterSend { span } }
}

#[test]
fn a_timer_that_is_set_back_erases_nothing() {
    let mut device = Device::with_alice();
    device.hear(alice(), &said(1, 10, text("hers")));
    device.hear(me(), &said(2, 20, text("mine")));
    device.now = at(1000) + HOUR + HOUR;
    device.hear(me(), &said(3, 8000, text("just now")));
    let timer = Said { id: id(4), sent_at: Time::ZERO, say: after(Span::ZERO) };
    let applied = device.hear(alice(), &timer);
    let least = Disappear::AfterSend { span: Span::from_secs(5) };
    assert_eq!(applied.timer, Some(least), "nobody reads what is gone at once");
    assert_eq!(applied.places.len(), 1, "the line alone");
    for number in [1, 2, 3] {
        assert_eq!(device.message(number).expires, None, "{number}");
    }
    assert_eq!(next_expiry(&device.vault), None);
    // From now on it holds.
    let new = Said { id: id(5), sent_at: device.now, say: text("new") };
    assert!(device.hear(me(), &new).new);
    assert_eq!(device.message(5).expires, Some(device.now + Span::from_secs(5)));
}

#[test]
fn in_a_group_a_timer_counts_from_its_epoch_on() {
    let mut device = Device::in_group();
    // Said with a clock that is ahead.
    device.hear(alice(), &said(1, 99_999, text("before")));
    let hour = Disappear::AfterSend { span: HOUR };
    assert!(set_disappear(&mut device.vault, at(1000), device.thread, hour));
    // Said by those who knew of it before this device did.
    device.hear(bob(), &said(2, 700, text("after")));
    assert_eq!(device.message(1).expires, None);
    assert_eq!(device.message(2).expires, Some(at(700) + HOUR));
    set_disappear(&mut device.vault, at(1001), device.thread, Disappear::Never);
    device.hear(bob(), &said(3, 800, text("stays again")));
    assert_eq!(device.message(2).expires, Some(at(700) + HOUR));
    assert_eq!(device.message(3).expires, None);
    let none = Disappear::AfterRead { span: Span::ZERO };
    assert!(set_disappear(&mut device.vault, at(1002), device.thread, none));
    assert!(!set_disappear(&mut device.vault, at(1003), device.thread, none), "the same again");
}

#[test]
fn a_clock_that_is_behind_does_not_outlast_a_timer() {
    let mut device = Device::with_alice();
    device.now = at(10_000);
    device.hear(me(), &said(1, 9000, after(HOUR)));
    device.hear(alice(), &said(2, 8990, text("from a clock that is behind")));
    device.hear(alice(), &said(3, 5000, text("before the timer")));
    assert_eq!(device.message(2).expires, Some(at(8990) + HOUR));
    assert_eq!(device.message(3).expires, None);
}

#[test]
fn nothing_is_said_under_the_name_of_lines() {
    let mut device = Device::with_alice();
    let before = device.vault.entries().count();
    for say in [text("nobody finds this"), after(HOUR)] {
        let said = Said { id: SayId::default(), sent_at: at(10), say };
        assert_eq!(device.hear(alice(), &said), Applied::default());
    }
    assert_eq!(device.vault.entries().count(), before);
}

#[test]
fn what_is_unread_comes_from_the_oldest_on() {
    let mut device = Device::with_alice();
    for number in 1..=9 {
        let author = if number == 3 { me() } else { alice() };
        device.hear(author, &said(number, 10, text("words")));
    }
    note(&mut device.vault, at(1001), device.thread, SystemLine::Gap);
    let second = device.message(2).place;
    mark_read(&mut device.vault, at(1002), device.thread, second);
    read_elsewhere(&mut device.vault, at(1003), device.thread, &[id(5)]);
    let page = |device: &Device, after, limit| -> Vec<SayId> {
        let found = unread(&device.vault, device.thread, after, limit);
        found.into_iter().map(|it| it.id).collect()
    };
    assert_eq!(page(&device, 0, 3), [id(4), id(6), id(7)]);
    assert_eq!(page(&device, device.message(7).place, 3), [id(8), id(9)]);
    assert_eq!(page(&device, device.message(9).place, 3), []);
    let seventh = device.message(7).place;
    mark_read(&mut device.vault, at(1004), device.thread, seventh);
    assert_eq!(page(&device, 0, 9), [id(8), id(9)]);
}
