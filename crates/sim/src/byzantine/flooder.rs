//! Sends as much as it can to everybody it is connected to: pings, items nobody sent, openings of
//! reconciliations, and now and then bytes that are no frame at all.

use session_core::{Digest, Entropy, InboxAddress, List, Namespace, Span, Time};
use session_network::{Class, ConnId};
use session_protocol::peer::{Ping, ReplicaItem, Replicate, RingRange, Sync};
use session_protocol::request::ItemBytes;
use session_protocol::{Frame, Kind};

use super::Misbehaviour;
use crate::host::{BEGINNING, Departure};

const EVERY: Span = Span::from_millis(500);

/// Frames for each connection, each time.
const BURST: u64 = 40;

pub(crate) struct Flooder {
    next: Time,
    sent: u64,
}

impl Default for Flooder {
    fn default() -> Self {
        Self { next: BEGINNING + Span::from_secs(5), sent: 0 }
    }
}

impl Misbehaviour for Flooder {
    fn deadline(&self) -> Option<Time> {
        Some(self.next)
    }

    fn woken(
        &mut self,
        now: Time,
        conns: &[ConnId],
        rng: &mut dyn Entropy,
        out: &mut Vec<Departure>,
    ) {
        self.next = now + EVERY;
        for &conn in conns {
            for _ in 0..BURST {
                self.sent += 1;
                let body = self.frame(now, rng);
                out.push(Departure::Send { conn, class: Class::Bulk, body });
            }
        }
    }
}

impl Flooder {
    fn frame(&self, now: Time, rng: &mut dyn Entropy) -> Vec<u8> {
        match rng.below(1000) {
            0 => rng.bytes32().to_vec(),
            1..300 => Frame::encode(Kind::Ping, &Ping { nonce: rng.next_u64() }),
            300..600 => Frame::encode(
                Kind::Sync,
                &Sync::Open {
                    session: rng.next_u64(),
                    bucket: (rng.next_u64() % 256) as u8,
                    nonce: rng.bytes32(),
                    fingerprint: Digest::from(rng.bytes32()),
                    count: rng.below(1000),
                    range: RingRange::ALL,
                    since: rng.below(1000),
                },
            ),
            _ => {
                let item = ReplicaItem {
                    // Mostly inboxes that the swarm does not keep.
                    address: InboxAddress::from(rng.bytes32()),
                    namespace: Namespace(0),
                    timestamp: now,
                    expiry: now + Span::from_days(1),
                    data: ItemBytes::new(rng.bytes32()).expect("32 bytes are within the limit"),
                };
                let items = List::new(vec![item]).expect("one is within the limit");
                Frame::encode(Kind::Replicate, &Replicate { id: self.sent, items })
            }
        }
    }
}
