use session_crypto::Signer;
use session_crypto::fake::FakeIdentity;

use super::*;
use crate::host::BEGINNING;

const ONE: HostId = HostId(0);
const OTHER: HostId = HostId(1);

struct Pair {
    net: Net,
    queue: Queue<Event>,
    end: End,
}

impl Pair {
    fn new(link: Link) -> Self {
        let mut net = Net::new(link, 2, SeededEntropy::new(9));
        let end = net.wires.connect(ONE, OTHER);
        Self { net, queue: Queue::new(BEGINNING), end }
    }

    fn send(&mut self, now: Time, class: Class, number: u8) {
        self.net.send(&mut self.queue, now, self.end.conn(), class, vec![1, number]);
    }

    /// Returns what arrives, in order: numbers of frames, 255 for the end of the connection.
    fn arrivals(&mut self) -> Vec<(Time, u8)> {
        let mut arrived = Vec::new();
        while let Some((at, event)) = self.queue.next(Time::MAX) {
            match event {
                Event::Parcel { parcel: Parcel::Frame { body, .. }, .. } => {
                    arrived.push((at, body[1]));
                }
                Event::Parcel { parcel: Parcel::Fin, .. } => arrived.push((at, 255)),
                _ => {}
            }
        }
        arrived
    }
}

fn numbers(arrived: &[(Time, u8)]) -> Vec<u8> {
    arrived.iter().map(|(_, number)| *number).collect()
}

#[test]
fn streams_keep_their_order_over_bad_links() {
    for class in [Class::Interactive, Class::Bulk] {
        let mut pair = Pair::new(Link::lossy());
        for number in 0..200 {
            pair.send(BEGINNING + Span::from_millis(number.into()), class, number);
        }
        pair.net.close(&mut pair.queue, BEGINNING + Span::from_millis(200), pair.end.conn());
        let expected: Vec<u8> = (0..200).chain([255]).collect();
        assert_eq!(numbers(&pair.arrivals()), expected);
        assert!(pair.net.traffic.resent > 0);
    }
}

#[test]
fn datagrams_are_lost_repeated_and_reordered() {
    let mut pair = Pair::new(Link { loss: 1_000, repeat: 1_000, ..Link::lossy() });
    (0..250).for_each(|number| pair.send(BEGINNING, Class::Datagram, number));
    let arrived = numbers(&pair.arrivals());
    let Traffic { lost, repeated, .. } = pair.net.traffic;
    assert!(lost > 5 && repeated > 5, "{lost} lost, {repeated} repeated");
    assert_eq!(arrived.len() as u64, 250 - lost + repeated);
    assert!(!arrived.is_sorted());
}

#[test]
fn a_partition_holds_streams_back_and_loses_datagrams() {
    let mut pair = Pair::new(Link::good());
    pair.net.split(&mut pair.queue, BEGINNING, vec![false, true]);
    for number in 0..10 {
        pair.send(BEGINNING, Class::Interactive, number);
        pair.send(BEGINNING, Class::Datagram, 100 + number);
    }
    let healed = BEGINNING + Span::from_secs(20);
    pair.net.heal(&mut pair.queue, healed);
    let arrived = pair.arrivals();
    assert_eq!(numbers(&arrived), (0..10).collect::<Vec<u8>>());
    assert!(arrived.iter().all(|(at, _)| *at > healed));
}

#[test]
fn large_frames_take_their_time() {
    let mut pair = Pair::new(Link { jitter_ms: 0, tail_ms: 0, ..Link::good() });
    let class = Class::Bulk;
    pair.net.send(&mut pair.queue, BEGINNING, pair.end.conn(), class, vec![0; 125_000]);
    pair.net.send(&mut pair.queue, BEGINNING, pair.end.conn(), class, vec![1; 125_000]);
    let arrived = pair.arrivals();
    assert_eq!(arrived[1].0.since(arrived[0].0), Span::from_millis(10));
}

#[test]
fn a_dial_is_answered_refused_or_not_heard() {
    let key = || FakeIdentity::new(&[1; 32]).public().dsa().clone();
    let outcome = |up: bool, apart: bool| {
        let mut pair = Pair::new(Link::good());
        pair.net.listen("a:1".to_owned(), OTHER);
        if apart {
            pair.net.split(&mut pair.queue, BEGINNING, vec![false, true]);
        }
        let what = (7, "a:1", key());
        pair.net.dial(&mut pair.queue, BEGINNING, (ONE, 0), what, |_| up);
        match pair.queue.next(Time::MAX) {
            Some((at, Event::Dialed(dial))) => {
                (at.since(BEGINNING), format!("dial {}", dial.number))
            }
            Some((at, Event::DialFailed { why, .. })) => (at.since(BEGINNING), why.to_owned()),
            _ => panic!("neither connected nor refused"),
        }
    };
    assert_eq!(outcome(true, false).1, "dial 7");
    assert_eq!(outcome(false, false).1, "connection refused");
    assert!(outcome(false, false).0 < Span::from_secs(1));
    assert_eq!(outcome(true, true), (DIAL_TIMEOUT, "handshake timed out".to_owned()));
}
