//! Threads as a person finds them, whatever the network does.

use session_core::{
    AccountId, Entropy as _, InboxAddress, List, MessageId, SeededEntropy, Span, Text, Time,
};

use super::{
    Applied, Body, Message, Status, SystemLine, ThreadId, apply, by_id, expire, failed, forget,
    forget_all, mark_read, message, messages, next_expiry, note, open_thread, proof,
    read_elsewhere, search, sent, set_disappear, set_members, set_muted, set_name, set_standing,
    stored, summary, thread_of, threads, unread,
};
use crate::attachment::{FileKey, Sealer};
use crate::file_name::FileName;
use crate::messenger::api::Stored;
use crate::say::{DeviceId, Disappear, GroupId, Peer, Said, Say, SayId, Standing};
use crate::secret::Secret;
use crate::vault::{MemoryVault, Table, Vault as _};

mod orders;
mod timers;
mod words;

fn me() -> AccountId {
    AccountId::from([1; 32])
}

fn alice() -> AccountId {
    AccountId::from([2; 32])
}

fn bob() -> AccountId {
    AccountId::from([3; 32])
}

fn carol() -> AccountId {
    AccountId::from([4; 32])
}

fn at(seconds: u64) -> Time {
    Time::from_millis(1_000_000_000) + Span::from_secs(seconds)
}

fn id(number: u8) -> SayId {
    SayId([number; 16])
}

fn ids(numbers: &[u8]) -> List<SayId, { crate::say::RECEIPT_IDS_MAX }> {
    List::new(numbers.iter().copied().map(id).collect::<Vec<_>>()).expect("few")
}

fn text(body: &str) -> Say {
    Say::Text { body: Text::new(body).expect("short"), reply_to: None }
}

fn edit(of: u8, body: &str) -> Say {
    Say::Edit { of: id(of), body: Text::new(body).expect("short") }
}

fn react(to: u8, emoji: &str, on: bool) -> Say {
    Say::React { to: id(to), emoji: Text::new(emoji).expect("short"), on }
}

fn said(number: u8, seconds: u64, say: Say) -> Said {
    Said { id: id(number), sent_at: at(seconds), say }
}

/// A device with one thread.
#[derive(Clone)]
struct Device {
    vault: MemoryVault,
    thread: ThreadId,
    now: Time,
}

impl Device {
    fn with(peer: Peer) -> Self {
        let mut vault = MemoryVault::new();
        let thread = open_thread(&mut vault, &peer, at(0));
        set_standing(&mut vault, thread, Standing::Accepted);
        Self { vault, thread, now: at(1000) }
    }

    /// In a group with Alice, Bob and Carol.
    fn in_group() -> Self {
        Self::with(Peer::Group { group: GroupId::default() })
    }

    fn with_alice() -> Self {
        Self::with(Peer::Account { account: alice() })
    }

    fn hear(&mut self, author: AccountId, said: &Said) -> Applied {
        let own = author == me();
        let (device, everyone) = (DeviceId([7; 16]), [me(), alice(), bob()]);
        apply(&mut self.vault, self.now, self.thread, author, device, own, said, &everyone)
    }

    fn message(&self, number: u8) -> Message {
        by_id(&self.vault, self.thread, id(number)).expect("it is there")
    }

    fn all(&self) -> Vec<Message> {
        messages(&self.vault, self.thread, None, 1000)
    }

    fn unread(&self) -> u32 {
        summary(&self.vault, self.thread).expect("it is there").unread
    }

    /// Returns whether the bytes are anywhere in the vault.
    fn holds(&self, bytes: &str) -> bool {
        let holds = |value: &[u8]| value.windows(bytes.len()).any(|it| it == bytes.as_bytes());
        self.vault.entries().any(|(key, value)| holds(key) || holds(value))
    }
}

fn shown(message: &Message) -> &str {
    match &message.body {
        Body::Text { body } => body,
        other => panic!("not a text: {other:?}"),
    }
}

fn promise(item: u8, good: u16, until: u64) -> Stored {
    Stored {
        item: MessageId::from([item; 32]),
        expiry: at(until),
        good,
        needed: 3,
        of: 5,
        proof: vec![item; 40],
    }
}

#[test]
fn a_text_arrives_once() {
    let mut device = Device::in_group();
    let hello = said(1, 10, text("hello"));
    let first = device.hear(alice(), &hello);
    let place = first.places[0];
    let expected = Applied {
        places: vec![place],
        new: true,
        alert: true,
        receipt_due: true,
        ..Applied::default()
    };
    assert_eq!(first, expected);
    let before = device.vault.entries().map(|(k, v)| (k.to_vec(), v.to_vec())).collect::<Vec<_>>();
    assert_eq!(device.hear(alice(), &hello), Applied::default());
    let after = device.vault.entries().map(|(k, v)| (k.to_vec(), v.to_vec())).collect::<Vec<_>>();
    assert_eq!(before, after);
    let message = message(&device.vault, device.thread, place).expect("it is there");
    assert_eq!(shown(&message), "hello");
    assert_eq!((message.author, message.own, message.read), (alice(), false, false));
    assert_eq!((message.sent_at, message.received_at), (at(10), at(1000)));
    assert_eq!(message.status, Status::default());
}

#[test]
fn receipts_and_sounds_are_for_accepted_threads() {
    for (standing, muted, alert, receipt) in [
        (Standing::Accepted, false, true, true),
        (Standing::Accepted, true, false, true),
        (Standing::Stranger, false, false, false),
        (Standing::Blocked, false, false, false),
    ] {
        let mut device = Device::with_alice();
        set_standing(&mut device.vault, device.thread, standing);
        set_muted(&mut device.vault, device.thread, muted);
        let applied = device.hear(alice(), &said(1, 10, text("hello")));
        assert_eq!((applied.alert, applied.receipt_due), (alert, receipt), "{standing:?}");
        let own = device.hear(me(), &said(2, 11, text("hello yourself")));
        assert_eq!((own.new, own.alert, own.receipt_due), (true, false, false));
    }
}

#[test]
fn what_was_read_or_taken_back_before_it_came_makes_no_sound() {
    let mut device = Device::in_group();
    device.hear(alice(), &said(2, 11, Say::Unsend { of: id(1) }));
    read_elsewhere(&mut device.vault, at(999), device.thread, &[id(3)]);
    for number in [1, 3] {
        let applied = device.hear(alice(), &said(number, 10, text("hello")));
        assert_eq!((applied.new, applied.alert, applied.receipt_due), (true, false, true));
    }
    assert_eq!(device.unread(), 0);
    assert!(!device.holds("edit") && device.message(1).unsent());
}

#[test]
fn a_vault_that_was_read_anew_goes_on() {
    let mut device = Device::in_group();
    device.hear(alice(), &said(1, 10, text("hello")));
    device.hear(me(), &said(2, 10, text("hello")));
    device.hear(bob(), &said(3, 12, edit(4, "later")));
    let mut again = MemoryVault::new();
    device.vault.entries().for_each(|(key, value)| again.put(key, value));
    let mut restarted = Device { vault: again, ..device.clone() };
    for device in [&mut device, &mut restarted] {
        device.hear(bob(), &said(4, 11, text("early")));
        device.hear(alice(), &said(5, 13, Say::Read { ids: ids(&[2]) }));
        mark_read(&mut device.vault, at(1001), device.thread, u64::MAX);
    }
    assert_eq!(device.all(), restarted.all());
    assert_eq!(shown(&restarted.message(4)), "later");
    assert_eq!(restarted.message(2).status.read, 1);
}

#[test]
fn only_the_author_changes_a_message() {
    let mut device = Device::in_group();
    device.hear(alice(), &said(1, 10, text("mine")));
    assert!(device.hear(bob(), &said(2, 11, edit(1, "his"))).places.is_empty());
    assert!(device.hear(bob(), &said(3, 11, Say::Unsend { of: id(1) })).places.is_empty());
    assert!(device.hear(me(), &said(4, 11, Say::Unsend { of: id(1) })).places.is_empty());
    assert_eq!(shown(&device.message(1)), "mine");
    assert_eq!(device.hear(alice(), &said(5, 12, edit(1, "better"))).places.len(), 1);
    assert_eq!(shown(&device.message(1)), "better");
    assert_eq!(device.message(1).edited, Some(at(12)));
}

#[test]
fn nobody_takes_the_name_of_anothers_message() {
    let mut device = Device::in_group();
    assert!(device.hear(bob(), &said(1, 9, text("false"))).new);
    assert!(device.hear(alice(), &said(1, 10, text("true"))).new);
    device.hear(alice(), &said(2, 11, edit(1, "truer")));
    let all = device.all();
    assert_eq!(all.iter().map(shown).collect::<Vec<_>>(), ["false", "truer"]);
    assert_eq!(forget(&mut device.vault, at(1001), device.thread, &[id(1)]).len(), 2);
    assert_eq!(device.unread(), 0);
}

#[test]
fn what_is_unsent_forgotten_or_edited_leaves_no_bytes() {
    let mut device = Device::in_group();
    device.hear(alice(), &said(1, 10, text("first words")));
    device.hear(alice(), &said(2, 11, edit(1, "second words")));
    assert!(!device.holds("first words") && device.holds("second words"));
    device.hear(alice(), &said(3, 12, Say::Unsend { of: id(1) }));
    assert!(!device.holds("second words"));
    let message = device.message(1);
    assert!(message.unsent() && message.edited.is_none() && message.reactions.is_empty());
    device.hear(alice(), &said(4, 13, text("third words")));
    forget(&mut device.vault, at(1001), device.thread, &[id(4)]);
    assert!(!device.holds("third words"));
    assert!(!device.hear(alice(), &said(4, 13, text("third words"))).new);
    // An edit that waits is taken back, too.
    device.hear(alice(), &said(5, 14, edit(9, "fourth words")));
    assert!(device.holds("fourth words"));
    device.hear(alice(), &said(6, 15, Say::Unsend { of: id(9) }));
    assert!(!device.holds("fourth words"));
    device.hear(bob(), &said(7, 14, edit(8, "fifth words")));
    forget_all(&mut device.vault, at(1001), device.thread);
    assert!(!device.holds("fifth words"));
    assert!(device.all().is_empty());
}

#[test]
fn a_caption_is_edited_within_its_limit() {
    let mut device = Device::with_alice();
    let mut rng = SeededEntropy::new(1);
    let key = FileKey::generate(&mut rng);
    let mut sealer = Sealer::new(key, 3, InboxAddress::default()).expect("small");
    sealer.seal_next(b"abc").expect("it has three bytes");
    let (manifest, _) = sealer.finish(FileName::sanitise("plan.pdf")).expect("all of it");
    let caption = Text::new("the plan").expect("short");
    let route = Secret::generate(&mut rng);
    let file = Say::File { manifest, route, caption, reply_to: None };
    device.hear(alice(), &said(1, 10, file));
    device.hear(alice(), &said(2, 11, edit(1, "the new plan")));
    let long = "x".repeat(4001);
    assert!(device.hear(alice(), &said(3, 12, edit(1, &long))).places.is_empty());
    let Body::File { caption, .. } = device.message(1).body else { panic!("it is a file") };
    assert_eq!(&*caption, "the new plan");
    assert_eq!(search(&device.vault, "pdf", 9).len(), 1);
    assert_eq!(search(&device.vault, "new", 9).len(), 1);
}

#[test]
fn receipts_count_accounts_of_the_audience() {
    let mut device = Device::in_group();
    device.hear(me(), &said(1, 10, text("hello")));
    let status = |device: &Device| {
        let Status { delivered, read, audience, .. } = device.message(1).status;
        (delivered, read, audience)
    };
    assert_eq!(status(&device), (0, 0, 2));
    let delivered = |number| said(number, 20, Say::Delivered { ids: ids(&[1]) });
    let read = |number| said(number, 20, Say::Read { ids: ids(&[1]) });
    let applied = device.hear(alice(), &delivered(2));
    assert_eq!(applied.status.len(), 1);
    assert!(applied.places.is_empty());
    assert_eq!(status(&device), (1, 0, 2));
    assert_eq!(device.hear(alice(), &delivered(3)), Applied::default(), "a second device of hers");
    assert_eq!(device.hear(carol(), &read(4)), Applied::default(), "it was not said to her");
    assert_eq!(device.hear(me(), &read(5)), Applied::default());
    assert_eq!(device.hear(me(), &delivered(6)), Applied::default());
    assert_eq!(status(&device), (1, 0, 2));
    // Whoever has read it has it.
    device.hear(bob(), &read(7));
    assert_eq!(status(&device), (2, 1, 2));
    device.hear(bob(), &delivered(8));
    assert_eq!(status(&device), (2, 1, 2));
    assert_eq!(device.message(1).status.stored, None);
    assert_eq!(device.message(1).status.good, 0);
}

#[test]
fn stored_is_what_the_weakest_part_is() {
    let mut device = Device::with_alice();
    let Device { vault, thread, .. } = &mut device;
    let Said { id: name, .. } = said(1, 10, text("hello"));
    assert_eq!(stored(vault, at(20), *thread, name, &promise(1, 5, 900)), None);
    device.hear(me(), &said(1, 10, text("hello")));
    let Device { vault, thread, .. } = &mut device;
    sent(vault, *thread, name, 3);
    assert_eq!(stored(vault, at(20), *thread, name, &promise(1, 5, 9000)), None);
    assert_eq!(stored(vault, at(21), *thread, name, &promise(1, 5, 9000)), None, "it is the same");
    assert_eq!(stored(vault, at(22), *thread, name, &promise(2, 3, 9000)), None);
    let (_, status) =
        stored(vault, at(23), *thread, name, &promise(3, 4, 9000)).expect("all of it is stored");
    let expected = Status {
        stored: Some(at(23)),
        good: 3,
        needed: 3,
        of: 5,
        audience: 2,
        ..Status::default()
    };
    assert_eq!(status, expected);
    assert_eq!(proof(vault, *thread, name).len(), 3);
    // More signatures for the weakest part.
    let (_, status) = stored(vault, at(24), *thread, name, &promise(2, 4, 9001)).expect("better");
    assert_eq!((status.good, status.stored), (4, Some(at(23))));
    assert_eq!(failed(vault, *thread, name), None, "it is stored");
    // Proofs end with what they promise; the status stays.
    assert_eq!(next_expiry(vault), Some(at(9000)));
    assert_eq!(expire(vault, at(9001)), []);
    assert_eq!(proof(vault, *thread, name), Vec::<Vec<u8>>::new());
    assert_eq!(next_expiry(vault), None);
    assert_eq!(device.message(1).status.stored, Some(at(23)));
}

#[test]
fn a_part_below_the_quorum_is_not_stored() {
    let mut device = Device::with_alice();
    device.hear(me(), &said(1, 10, text("hello")));
    let Device { vault, thread, .. } = &mut device;
    sent(vault, *thread, id(1), 1);
    let (_, status) = failed(vault, *thread, id(1)).expect("it is not stored");
    assert!(status.failed);
    assert_eq!(failed(vault, *thread, id(1)), None);
    let (_, status) = stored(vault, at(20), *thread, id(1), &promise(1, 2, 900)).expect("more");
    assert_eq!((status.stored, status.good, status.failed), (None, 2, true));
    let (_, status) = stored(vault, at(21), *thread, id(1), &promise(1, 3, 900)).expect("all");
    assert_eq!((status.stored, status.good, status.failed), (Some(at(21)), 3, false));
    // Nothing of a message of others, or of none.
    device.hear(alice(), &said(2, 10, text("hello")));
    let Device { vault, thread, .. } = &mut device;
    for number in [2, 3] {
        assert_eq!(stored(vault, at(20), *thread, id(number), &promise(1, 5, 900)), None);
        assert_eq!(failed(vault, *thread, id(number)), None);
        assert_eq!(proof(vault, *thread, id(number)), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn unread_is_exact() {
    let mut device = Device::in_group();
    for number in 1..=6 {
        let author = if number % 2 == 0 { alice() } else { bob() };
        device.hear(author, &said(number, 10, text("hello")));
    }
    device.hear(me(), &said(7, 10, text("hello")));
    note(&mut device.vault, device.now, device.thread, SystemLine::Gap);
    assert_eq!(device.unread(), 6);
    device.hear(alice(), &said(8, 11, Say::Unsend { of: id(2) }));
    assert_eq!(device.unread(), 5);
    forget(&mut device.vault, at(1001), device.thread, &[id(3)]);
    assert_eq!(device.unread(), 4);
    assert_eq!(read_elsewhere(&mut device.vault, at(1002), device.thread, &[id(1)]).len(), 1);
    assert!(read_elsewhere(&mut device.vault, at(1002), device.thread, &[id(1)]).is_empty());
    assert_eq!(device.unread(), 3);
    let up_to = device.message(5).place;
    let read = mark_read(&mut device.vault, at(1003), device.thread, up_to);
    assert_eq!(read, [(id(4), alice()), (id(5), bob())]);
    assert_eq!(device.unread(), 1);
    assert_eq!(mark_read(&mut device.vault, at(1003), device.thread, up_to), []);
    let read = mark_read(&mut device.vault, at(1004), device.thread, u64::MAX);
    assert_eq!(read, [(id(6), alice())]);
    assert_eq!(device.unread(), 0);
    device.hear(alice(), &said(9, 12, text("again")));
    assert_eq!(device.unread(), 1, "what comes later was not read");
    assert!(device.all().iter().all(|it| it.read || it.id == id(9)));
}

#[test]
fn messages_disappear_after_they_were_sent() {
    let mut device = Device::with_alice();
    let hour = Disappear::AfterSend { span: Span::from_secs(3600) };
    let applied = device.hear(alice(), &said(1, 900, Say::Timer { disappear: hour }));
    assert_eq!((applied.timer, applied.places.len()), (Some(hour), 1));
    device.hear(alice(), &said(2, 910, text("soon gone")));
    // A clock that is ahead does not make it stay longer.
    device.hear(alice(), &said(3, 99_999, text("from tomorrow")));
    device.hear(me(), &said(4, 950, text("own words")));
    assert_eq!(device.message(2).expires, Some(at(910 + 3600)));
    assert_eq!(device.message(3).expires, Some(at(1000 + 3600)));
    assert_eq!(next_expiry(&device.vault), Some(at(910 + 3600)));
    assert!(expire(&mut device.vault, at(910 + 3599)).is_empty());
    let place = device.message(2).place;
    assert_eq!(expire(&mut device.vault, at(910 + 3600)), [(device.thread, vec![place])]);
    assert!(!device.holds("soon gone") && device.holds("own words"));
    assert_eq!(device.unread(), 1);
    assert!(!device.hear(alice(), &said(2, 910, text("soon gone"))).new, "it does not come back");
    assert_eq!(expire(&mut device.vault, at(9000)).len(), 1);
    assert_eq!(next_expiry(&device.vault), None);
    assert_eq!(device.unread(), 0);
    // Only the line about the timer is left.
    assert!(matches!(&device.all()[..], [Message { body: Body::Line { .. }, .. }]));
    device.now = at(9000);
    assert!(!device.hear(alice(), &said(5, 1000, text("too late"))).new);
    assert!(!device.holds("too late"));
}

#[test]
fn messages_disappear_after_they_were_read() {
    let mut device = Device::with_alice();
    let minute = Disappear::AfterRead { span: Span::from_secs(60) };
    set_disappear(&mut device.vault, at(5), device.thread, minute);
    assert!(!set_disappear(&mut device.vault, at(6), device.thread, minute));
    device.hear(alice(), &said(1, 10, text("unread")));
    device.hear(me(), &said(2, 990, text("own")));
    assert_eq!(device.message(1).expires, None);
    assert_eq!(device.message(2).expires, Some(at(1050)));
    mark_read(&mut device.vault, at(1200), device.thread, u64::MAX);
    assert_eq!(device.message(1).expires, Some(at(1260)));
    device.hear(alice(), &said(3, 20, text("read elsewhere")));
    device.hear(me(), &said(4, 30, Say::Read { ids: ids(&[3]) }));
    assert_eq!(device.message(3).expires, Some(at(1060)));
    assert_eq!(expire(&mut device.vault, at(1300))[0].1.len(), 3);
    assert!(device.all().is_empty());
    assert_eq!(device.unread(), 0);
}

#[test]
fn expiry_is_bounded_at_each_call() {
    let mut device = Device::with_alice();
    let span = Disappear::AfterSend { span: Span::from_secs(60) };
    set_disappear(&mut device.vault, at(5), device.thread, span);
    let mut rng = SeededEntropy::new(5);
    for _ in 0..600 {
        let said = Said { id: SayId::generate(&mut rng), sent_at: at(1000), say: text("hi") };
        device.hear(alice(), &said);
    }
    let mut calls = Vec::new();
    while next_expiry(&device.vault).is_some_and(|due| due <= at(2000)) {
        calls.push(expire(&mut device.vault, at(2000))[0].1.len());
    }
    assert_eq!(calls, [256, 256, 88]);
    assert_eq!(device.unread(), 0);
    assert!(device.all().is_empty());
}

#[test]
fn a_timer_reaches_what_overtook_it() {
    let mut device = Device::with_alice();
    device.hear(alice(), &said(1, 90, text("before")));
    device.hear(alice(), &said(2, 110, text("after")));
    let hour = Disappear::AfterSend { span: Span::from_secs(3600) };
    let applied = device.hear(alice(), &said(3, 100, Say::Timer { disappear: hour }));
    assert_eq!(applied.places.len(), 2, "the line and the message behind it");
    assert_eq!(device.message(1).expires, None);
    assert_eq!(device.message(2).expires, Some(at(110 + 3600)));
    // An older setting that arrives now holds only for its own time.
    let day = Disappear::AfterSend { span: Span::from_days(1) };
    let applied = device.hear(me(), &said(4, 80, Say::Timer { disappear: day }));
    assert_eq!(applied.timer, Some(hour));
    assert_eq!(device.message(1).expires, Some(at(90) + Span::from_days(1)));
    assert_eq!(device.message(2).expires, Some(at(110 + 3600)));
}

#[test]
fn a_group_does_not_take_a_timer_from_one_member() {
    let mut device = Device::in_group();
    let hour = Disappear::AfterSend { span: Span::from_secs(3600) };
    let applied = device.hear(alice(), &said(1, 10, Say::Timer { disappear: hour }));
    assert_eq!(applied, Applied::default());
    let shown = summary(&device.vault, device.thread).expect("it is there");
    assert_eq!(shown.disappear, Disappear::Never);
}

#[test]
fn typing_and_the_like_are_not_kept() {
    let mut device = Device::with_alice();
    let before = device.vault.entries().count();
    let typing = device.hear(alice(), &said(1, 990, Say::Typing { on: true }));
    assert_eq!(typing, Applied { typing: Some(true), ..Applied::default() });
    for say in [Say::Seen, Say::Profile { name: Text::new("Alice").expect("short") }] {
        assert_eq!(device.hear(alice(), &said(2, 10, say)), Applied::default());
    }
    assert_eq!(device.vault.entries().count(), before);
}

#[test]
fn typing_of_long_ago_is_not_shown() {
    let mut device = Device::with_alice();
    for (sent, shown) in [(940, Some(true)), (939, None), (10, None), (5000, Some(true))] {
        let heard = device.hear(alice(), &said(1, sent, Say::Typing { on: true }));
        assert_eq!(heard, Applied { typing: shown, ..Applied::default() }, "sent at {sent}");
    }
}

#[test]
fn pages_go_back_to_the_beginning() {
    let mut device = Device::with_alice();
    for number in 1..=25 {
        // The clock stands still, or goes back: places grow nevertheless.
        device.now = at(1000 - u64::from(number) / 5);
        device.hear(alice(), &said(number, 10, text("hello")));
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = messages(&device.vault, device.thread, before, 10);
        let Some(first) = page.first() else { break };
        assert!(page.is_sorted_by_key(|it| it.place));
        before = Some(first.place);
        seen.splice(0..0, page.iter().map(|it| it.id));
    }
    assert_eq!(seen, (1..=25).map(id).collect::<Vec<_>>());
    assert_eq!(messages(&device.vault, device.thread, Some(0), 10), []);
    assert_eq!(messages(&device.vault, ThreadId { number: 99 }, None, 10), []);
}

#[test]
fn threads_are_listed_by_activity() {
    let mut vault = MemoryVault::new();
    let peers = [alice(), bob(), carol()].map(|account| Peer::Account { account });
    let [first, second, third] = peers.map(|peer| open_thread(&mut vault, &peer, at(1)));
    assert_eq!(open_thread(&mut vault, &peers[1], at(2)), second);
    assert_eq!(thread_of(&vault, &peers[2]), Some(third));
    let group = Peer::Group { group: GroupId { bytes: [2; 32] } };
    assert_eq!(thread_of(&vault, &group), None, "a group is no account");
    set_name(&mut vault, second, "Bob");
    set_name(&mut vault, first, &"ä".repeat(100));
    set_standing(&mut vault, second, Standing::Accepted);
    set_members(&mut vault, second, 2);
    let device = DeviceId::default();
    for (thread, seconds, body) in [(third, 20, "c"), (first, 10, "a"), (second, 15, "b")] {
        let said = said(seconds as u8, seconds, text(body));
        apply(&mut vault, at(seconds), thread, bob(), device, false, &said, &[]);
    }
    let listed = threads(&vault);
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [third, second, first]);
    let shown = &listed[1];
    assert_eq!(
        (shown.name.as_str(), shown.standing, shown.members),
        ("Bob", Standing::Accepted, 2)
    );
    let last = shown.last.as_ref().expect("there is one");
    assert_eq!((last.at, last.author, last.own), (at(15), bob(), false));
    assert_eq!(listed[0].standing, Standing::Stranger, "a request");
    assert_eq!(listed[2].name.len(), 128);
    assert_eq!(summary(&vault, second).as_ref(), Some(shown));
    assert_eq!(summary(&vault, ThreadId { number: 77 }), None);
    assert_eq!(note(&mut vault, at(30), ThreadId { number: 77 }, SystemLine::Gap), None);
}

#[test]
fn what_waits_is_bounded() {
    let mut device = Device::in_group();
    let mut rng = SeededEntropy::new(9);
    device.hear(bob(), &said(1, 10, edit(2, "waits")));
    for _ in 0..1000 {
        let (of, id) = (SayId::generate(&mut rng), SayId::generate(&mut rng));
        let body = Text::new("spam").expect("short");
        device.hear(alice(), &Said { id, sent_at: at(5), say: Say::Edit { of, body } });
    }
    for _ in 0..10 {
        let names: Vec<_> = (0..100).map(|_| SayId::generate(&mut rng)).collect();
        let ids = List::new(names).expect("few");
        let id = SayId::generate(&mut rng);
        device.hear(alice(), &Said { id, sent_at: at(5), say: Say::Delivered { ids } });
    }
    let waiting = device.vault.entries().filter(|(key, _)| key.starts_with(b"\x05e")).count();
    assert_eq!(waiting, 256 + 256 + 1);
    // One member's noise does not displace another's edit.
    device.hear(bob(), &said(2, 9, text("original")));
    assert_eq!(shown(&device.message(2)), "waits");
    forget_all(&mut device.vault, at(1001), device.thread);
    let waiting = device.vault.entries().filter(|(key, _)| key.starts_with(b"\x05e")).count();
    assert_eq!(waiting, 0);
}

#[test]
fn one_account_reacts_only_so_often() {
    let mut device = Device::in_group();
    device.hear(alice(), &said(1, 10, text("hello")));
    for number in 0..40 {
        let emoji = char::from_u32(0x1F600 + u32::from(number)).expect("an emoji").to_string();
        device.hear(bob(), &said(100 + number, 20 + u64::from(number), react(1, &emoji, true)));
    }
    device.hear(carol(), &said(90, 15, react(1, "\u{1F44D}", true)));
    let reactions = device.message(1).reactions;
    assert_eq!(reactions.iter().filter(|(by, _)| *by == bob()).count(), 16);
    assert!(reactions.contains(&(bob(), "\u{1F627}".to_owned())), "the newest stay");
    assert!(reactions.contains(&(carol(), "\u{1F44D}".to_owned())));
}

#[test]
fn keys_of_other_machines_are_left_alone() {
    let mut device = Device::with_alice();
    let foreign = Table::Timer.key(&[b"m/receipts"]);
    device.vault.put(&foreign, &[1]);
    assert_eq!(next_expiry(&device.vault), None);
    assert_eq!(expire(&mut device.vault, at(9_999_999)), []);
    assert_eq!(device.vault.get(&foreign), Some(vec![1]));
}
