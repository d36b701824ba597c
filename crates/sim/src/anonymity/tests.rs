use super::agenda::Agenda;
use super::collusion::{Collusion, Way};
use super::observer::{Single, Told, disclosure, single};
use super::study::{FIGURES, Scale, jobs};
use super::trace::{Book, Dice, Mark, Pool};
use super::{Estimate, Mode, Traffic};

fn look(mode: Mode, delay: u64) -> Single {
    let traffic = Traffic::small(mode);
    let delay = if mode == Mode::Mix { delay } else { traffic.delay };
    single(&Traffic { delay, ..traffic }, 120, 200, 3)
}

#[test]
fn whoever_sees_all_links_follows_what_nobody_delays() {
    for mode in [Mode::Direct, Mode::Onion] {
        let single = look(mode, 0);
        assert!(single.links.right.low > 0.9, "{mode:?}: {:?}", single.links);
        assert!(single.messages > 50 && single.unread == 0, "{single:?}");
    }
}

#[test]
fn delays_and_cover_hide_messages() {
    let [short, long] = [20_000, 200_000].map(|delay| look(Mode::Mix, delay));
    assert!(long.links.right.high < 0.05, "{:?}", long.links);
    assert!(long.links.right.high < short.links.right.low, "{:?} {:?}", short.links, long.links);
    assert!(long.links.entropy.low > short.links.entropy.high + 2.0);
    assert!(long.inside > 9.0 && long.inside < 14.0, "{}", long.inside);
    // Nobody can know less than that all are as likely.
    assert!(long.links.entropy.high <= 1_000_f64.log2());
}

/// An attack that is surer than it is right, or less, would not say what can be known.
#[test]
fn the_attack_is_right_as_often_as_it_believes() {
    let between = |low: f64, value: f64, high: f64| low - 0.05 <= value && value <= high + 0.05;
    for delay in [20_000, 50_000, 200_000] {
        let single = look(Mode::Mix, delay);
        for (name, of) in [("links", single.links), ("told", single.told), ("ends", single.ends)] {
            assert!(between(of.hit.low, of.best.value, of.hit.high), "{delay} {name}: {of:?}");
        }
        assert!(single.told.right.high >= single.links.right.low);
    }
}

#[test]
fn many_messages_tell_what_one_does_not() {
    let [onion, mix] = [Mode::Onion, Mode::Mix].map(|mode| {
        let traffic = Traffic { chat_every: 5_000_000, ..Traffic::small(mode) };
        disclosure(&traffic, 16, &[1, 20], Told::Both, 5)
    });
    assert!(onion[0].value > 0.8 && onion[1].value >= onion[0].value, "{onion:?}");
    assert!(mix[0].high < onion[0].value && mix[1].low > mix[0].value, "{mix:?} {onion:?}");
}

#[test]
fn measured_collusion_is_what_was_calculated() {
    for way in Way::ALL {
        for (bad, days) in [(20, 1), (100, 1), (200, 1), (20, 30), (100, 30)] {
            let of =
                Collusion { nodes: 1_000, swarm: 10, bad, messages: 20.0, rotated: false, way };
            let (expected, pairs) = (of.expected(days), 4_000);
            let Estimate { value, .. } = of.measure(pairs, &[days], 11)[0];
            // Pairs of one world share its swarms: a little more than four deviations.
            let deviation = (expected * (1.0 - expected) / f64::from(pairs)).sqrt();
            let off = (value - expected).abs();
            assert!(off < 5.0 * deviation + 0.001, "{of:?}: {value}, not {expected}");
        }
    }
}

/// With many messages two people are linked if each has a bad guard, and only then.
#[test]
fn guards_that_are_kept_bound_what_is_linked() {
    let (nodes, bad) = (1_000_u32, 50_u32);
    let of = |way, messages| Collusion { nodes, swarm: 10, bad, messages, rotated: false, way };
    let good = f64::from(nodes - bad) / f64::from(nodes) * f64::from(nodes - bad - 1)
        / f64::from(nodes - 1);
    let bound = (1.0 - good).powi(2);
    let many = of(Way::Guards, 100_000.0).expected(365);
    assert!((many - bound).abs() < 1e-9, "{many}, not {bound}");
    assert!(of(Way::Mix, 20.0).expected(365) <= bound);
    // Those who draw anew for each message meet two bad guards at once sooner or later.
    let pairs_of_guards = 1.0 - (1.0 - 0.05_f64.powi(2)).powi(2 * 20 * 30);
    assert!(of(Way::Redrawn, 20.0).expected(30) > pairs_of_guards);
}

#[test]
fn replaced_guards_are_worse_than_kept_and_better_than_redrawn() {
    let of =
        |way, rotated| Collusion { nodes: 1_000, swarm: 10, bad: 50, messages: 20.0, rotated, way };
    let played = |of: Collusion| of.measure(4_000, &[180], 13)[0];
    let [kept, replaced] = [false, true].map(|rotated| played(of(Way::Guards, rotated)));
    assert!(kept.high < replaced.low, "{kept:?} {replaced:?}");
    assert!(replaced.high < played(of(Way::Redrawn, true)).low);
}

#[test]
fn a_pool_shares_suspicion_evenly() {
    let (mut pool, mut dice, mut shares) = (Pool::default(), Dice::new(1e-9, 1), Vec::new());
    pool.enter(&[Mark { of: 4, stage: 0, mass: 1.0 }]);
    (0..3).for_each(|_| pool.enter(&[]));
    pool.leave(&mut dice, |_| true, &mut shares);
    pool.leave(&mut dice, |_| false, &mut shares);
    pool.leave(&mut dice, |_| true, &mut shares);
    pool.leave(&mut dice, |_| true, &mut shares);
    let masses: Vec<f64> = shares.iter().map(|share| share.mass).collect();
    // The second one cannot have been it.
    assert_eq!(masses, [0.25, 0.25, 0.25]);
    pool.enter(&[]);
    pool.leave(&mut dice, |_| true, &mut shares);
    assert_eq!(shares.len(), 3, "nothing is left of it");
}

#[test]
fn an_item_is_read_by_somebody() {
    let mut book = Book::default();
    let trail = book.follow(9, 0);
    let mut stored =
        |mass| book.store(&[Mark { mass, stage: 3, ..trail }]).expect("the trail leads there");
    let (one, other) = (stored(0.3), stored(0.1));
    book.reach(Mark { mass: 0.02, ..one }, 1, true);
    book.reach(Mark { mass: 0.02, ..one }, 2, false);
    book.reach(Mark { mass: 0.001, ..other }, 2, true);
    for (told, first) in [(false, 0.375), (true, 0.75)] {
        let suspects = book.suspects(&book.trails[0], told, 3);
        for (client, share) in [0.0, first, 1.0 - first].into_iter().enumerate() {
            assert!((suspects[client] - share).abs() < 1e-9, "{told}: {suspects:?}");
        }
    }
    assert!(book.store(&[]).is_none());
}

#[test]
fn a_seed_gives_the_same_figures() {
    let scale = Scale {
        seconds: 5,
        messages: 10,
        delays: &[50],
        paces: &[2_000],
        chats: 4,
        after: &[1, 2],
        pairs: 200,
        ..Scale::small()
    };
    let play = || jobs(&scale, 2).into_iter().flat_map(|job| job()).collect::<Vec<_>>();
    let rows = play();
    assert_eq!(rows, play());
    for figure in FIGURES {
        let count = rows.iter().filter(|row| row.figure == figure.name).count();
        assert!(count >= 2, "{}: {count} values", figure.name);
    }
    assert!(rows.iter().all(|row| row.y.low <= row.y.value && row.y.value <= row.y.high));
}

#[test]
fn an_agenda_keeps_order() {
    let (mut agenda, hour) = (Agenda::new(), 3_600_000_000);
    let times = [5, 70_000_000, 5, hour, 900, 1_100, 131_072_000, 2 * hour];
    for (number, due) in times.into_iter().enumerate() {
        agenda.add(due, number);
    }
    let mut order = Vec::new();
    while let Some((due, number)) = agenda.next(hour + 1) {
        order.push(number);
        if number == 4 {
            agenda.add(due, 8);
            agenda.add(due + hour - 1_800, 9);
        }
    }
    assert_eq!(order, [0, 2, 4, 8, 5, 1, 6, 9, 3], "the last one is not due yet");
    assert_eq!(agenda.next(3 * hour), Some((2 * hour, 7)));
    assert_eq!(agenda.next(3 * hour), None);
}
