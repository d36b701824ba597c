//! The same things said give the same thread, in whatever order they arrive.

use super::*;

/// What a message shows, without what depends on when it arrived here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    name: (AccountId, SayId),
    body: String,
    edited: Option<Time>,
    reply_to: Option<SayId>,
    reactions: Vec<(AccountId, String)>,
    delivered: u16,
    read_by: u16,
    read: bool,
    expires: bool,
}

type State = (Vec<Shown>, u32, Disappear);

fn state(device: &Device) -> State {
    let mut all: Vec<_> = device
        .all()
        .into_iter()
        .map(|it| Shown {
            name: (it.author, it.id),
            body: format!("{:?}", it.body),
            edited: it.edited,
            reply_to: it.reply_to,
            reactions: it.reactions,
            delivered: it.status.delivered,
            read_by: it.status.read,
            read: it.read,
            expires: it.expires.is_some(),
        })
        .collect();
    all.sort();
    let summary = summary(&device.vault, device.thread).expect("it is there");
    (all, summary.unread, summary.disappear)
}

/// Something that happens to a thread.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful of them, in a test")]
enum Event {
    Said(AccountId, Said),
    ReadElsewhere(u8),
    Forget(u8),
}

impl Event {
    fn happen(&self, device: &mut Device) {
        let (now, thread) = (device.now, device.thread);
        match self {
            Self::Said(author, said) => {
                device.hear(*author, said);
            }
            Self::ReadElsewhere(number) => {
                read_elsewhere(&mut device.vault, now, thread, &[id(*number)]);
            }
            Self::Forget(number) => {
                forget(&mut device.vault, now, thread, &[id(*number)]);
            }
        }
    }
}

/// Does everything in an order, some of it twice, from a vault that is read anew each time.
fn run(start: &Device, events: &[Event], order: &[usize], again: u64) -> State {
    let mut device = start.clone();
    for (done, which) in order.iter().enumerate() {
        device.now = at(1_000_000 + done as u64);
        events[*which].happen(&mut device);
        if again & (1 << (which % 64)) != 0 {
            events[*which].happen(&mut device);
        }
    }
    let waiting =
        |(key, _): &(&[u8], &[u8])| key.starts_with(b"\x05e") || key.starts_with(b"\x05q");
    let left: Vec<_> = device.vault.entries().filter(waiting).collect();
    assert!(left.is_empty(), "something waits for ever: {left:?}");
    state(&device)
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let insert = |order: &Vec<usize>, place: usize| {
        let mut longer = order.clone();
        longer.insert(place, count - 1);
        longer
    };
    shorter.iter().flat_map(|it| (0..count).map(move |place| insert(it, place))).collect()
}

fn every_order(start: &Device, events: &[Event]) -> State {
    let all = orders(events.len());
    let expected = run(start, events, &all[0], 0);
    for (number, order) in all.iter().enumerate() {
        let again = if number % 3 == 0 { u64::MAX } else { 0 };
        assert_eq!(run(start, events, order, again), expected, "in the order {order:?}");
    }
    expected
}

#[test]
fn of_a_message_its_edits_and_reactions() {
    let events = [
        Event::Said(alice(), said(1, 10, text("one"))),
        Event::Said(alice(), said(2, 20, edit(1, "two"))),
        Event::Said(alice(), said(3, 30, edit(1, "three"))),
        Event::Said(bob(), said(4, 25, react(1, "a", true))),
        Event::Said(bob(), said(5, 35, react(1, "a", false))),
        Event::Said(alice(), said(6, 26, react(1, "a", true))),
        Event::ReadElsewhere(1),
    ];
    let (all, unread, _) = every_order(&Device::in_group(), &events);
    assert_eq!(all[0].edited, Some(at(30)));
    assert!(all[0].body.contains("three"));
    assert_eq!(all[0].reactions, [(alice(), "a".to_owned())]);
    assert_eq!((all.len(), unread), (1, 0));
}

#[test]
fn of_edits_at_the_same_time() {
    let events = [
        Event::Said(alice(), said(1, 10, text("one"))),
        Event::Said(alice(), said(2, 20, edit(1, "two"))),
        Event::Said(alice(), said(3, 20, edit(1, "three"))),
        Event::Said(alice(), said(4, 20, edit(1, "four"))),
    ];
    let (all, ..) = every_order(&Device::in_group(), &events);
    assert!(all[0].body.contains("four"));
}

#[test]
fn of_a_message_that_is_taken_back() {
    let events = [
        Event::Said(alice(), said(1, 10, text("one"))),
        Event::Said(alice(), said(2, 20, edit(1, "two"))),
        Event::Said(alice(), said(3, 15, Say::Unsend { of: id(1) })),
        Event::Said(bob(), said(4, 25, react(1, "a", true))),
        Event::Said(bob(), said(5, 26, text("next"))),
        Event::ReadElsewhere(5),
    ];
    let (all, unread, _) = every_order(&Device::in_group(), &events);
    assert_eq!((all[0].body.as_str(), unread), ("Unsent", 0));
    assert!(all[0].reactions.is_empty());
}

#[test]
fn of_an_own_message_and_its_receipts() {
    let read = |number, by| Event::Said(by, said(number, 20, Say::Read { ids: ids(&[1]) }));
    let have = |number, by| Event::Said(by, said(number, 20, Say::Delivered { ids: ids(&[1]) }));
    let events = [
        Event::Said(me(), said(1, 10, text("one"))),
        have(2, alice()),
        have(3, bob()),
        read(4, alice()),
        have(5, carol()),
        Event::Said(me(), said(6, 12, edit(1, "two"))),
    ];
    let (all, ..) = every_order(&Device::in_group(), &events);
    assert_eq!((all[0].delivered, all[0].read_by), (2, 1));
}

#[test]
fn of_a_message_that_is_forgotten() {
    let events = [
        Event::Said(alice(), said(1, 10, text("one"))),
        Event::Said(alice(), said(2, 20, edit(1, "two"))),
        Event::Said(bob(), said(3, 25, react(1, "a", true))),
        Event::Forget(1),
        Event::ReadElsewhere(1),
        Event::Said(alice(), said(4, 26, Say::Unsend { of: id(1) })),
    ];
    let (all, unread, _) = every_order(&Device::in_group(), &events);
    assert_eq!((all, unread), (vec![], 0));
}

#[test]
fn of_timers_and_messages() {
    let timer = |number, seconds, by, days: u64| {
        let disappear = match days {
            0 => Disappear::Never,
            _ => Disappear::AfterSend { span: Span::from_days(days) },
        };
        Event::Said(by, said(number, seconds, Say::Timer { disappear }))
    };
    // So far apart that no clock is in doubt.
    let events = [
        Event::Said(alice(), said(1, 10_000, text("stays"))),
        timer(2, 20_000, alice(), 100),
        Event::Said(alice(), said(3, 30_000, text("goes"))),
        timer(4, 40_000, me(), 0),
        Event::Said(me(), said(5, 50_000, text("stays"))),
        timer(6, 60_000, alice(), 200),
    ];
    let (all, _, disappear) = every_order(&Device::with_alice(), &events);
    assert_eq!(disappear, Disappear::AfterSend { span: Span::from_days(200) });
    let goes: Vec<_> = all.iter().filter(|it| it.expires).map(|it| it.name.1).collect();
    assert_eq!(goes, [id(3)]);
}

/// A long conversation in random orders: all that was said, by everyone, about everything.
#[test]
fn of_everything() {
    let people = [me(), alice(), bob()];
    for seed in 0..40 {
        let mut rng = SeededEntropy::new(seed);
        let mut events = Vec::new();
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        for _ in 0..8 {
            let author = people[rng.below(3) as usize];
            let message = next();
            events.push(Event::Said(author, said(message, 10 + rng.below(50), text("words"))));
            for _ in 0..rng.below(6) {
                let (by, when) = (people[rng.below(3) as usize], 60 + rng.below(40));
                let say = match rng.below(9) {
                    0 | 1 => edit(message, ["x", "y", "z"][rng.below(3) as usize]),
                    2 => react(message, "a", rng.below(2) == 0),
                    3 => react(message, "b", true),
                    4 => Say::Delivered { ids: ids(&[message]) },
                    5 => Say::Read { ids: ids(&[message]) },
                    6 if rng.below(3) == 0 => Say::Unsend { of: id(message) },
                    7 if rng.below(3) == 0 => {
                        events.push(Event::Forget(message));
                        continue;
                    }
                    _ => {
                        events.push(Event::ReadElsewhere(message));
                        continue;
                    }
                };
                // Edits by somebody else wait for a message that never comes; all others end.
                let foreign = matches!(say, Say::Edit { .. } | Say::Unsend { .. });
                let by = if foreign { author } else { by };
                events.push(Event::Said(by, said(next(), when, say)));
            }
        }
        let start = Device::in_group();
        let mut order: Vec<_> = (0..events.len()).collect();
        let expected = run(&start, &events, &order, 0);
        for _ in 0..25 {
            for place in (1..order.len()).rev() {
                order.swap(place, rng.below(place as u64 + 1) as usize);
            }
            let found = run(&start, &events, &order, rng.next_u64());
            assert_eq!(found, expected, "seed {seed}, order {order:?}");
        }
    }
}
