//! Tells each member something else: alters what it gives in reconciliations, claims other
//! fingerprints, changes items that clients read, and brings back what was deleted.

use session_core::{Digest, Entropy, List, Span};
use session_protocol::peer::{Element, ReplicaItem, Replicate, Sync};
use session_protocol::request::{ItemBytes, Outcome, Reply};
use session_protocol::{Frame, Inbound, Kind};

use super::Misbehaviour;

/// Items remembered, to be brought back.
const GRAVE_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Equivocator {
    grave: Vec<ReplicaItem>,
    replicates: u64,
}

impl Misbehaviour for Equivocator {
    fn inbound(&mut self, message: &Inbound) -> bool {
        if let Inbound::Replicate(replicate) = message {
            let room = GRAVE_MAX.saturating_sub(self.grave.len());
            self.grave.extend(replicate.items.iter().take(room).cloned());
        }
        true
    }

    fn outbound(&mut self, body: Vec<u8>, rng: &mut dyn Entropy) -> Vec<Vec<u8>> {
        let Ok((kind, payload)) = Frame::split(&body) else { return vec![body] };
        match kind {
            Kind::Sync => match Frame::payload::<Sync>(kind, payload) {
                Ok(sync) => vec![Frame::encode(kind, &self.twisted(sync, rng))],
                Err(_) => vec![body],
            },
            Kind::Reply => match Frame::payload::<Reply>(kind, payload) {
                Ok(reply) => vec![Frame::encode(kind, &altered(reply, rng))],
                Err(_) => vec![body],
            },
            // With a heartbeat now and then goes an item that may long be deleted.
            Kind::Heartbeat => match self.exhumed(rng) {
                Some(replicate) => vec![body, Frame::encode(Kind::Replicate, &replicate)],
                None => vec![body],
            },
            _ => vec![body],
        }
    }
}

impl Equivocator {
    fn twisted(&self, sync: Sync, rng: &mut dyn Entropy) -> Sync {
        match sync {
            Sync::Open { session, bucket, nonce, fingerprint, count, range, since } => {
                let lies = rng.below(2) == 0;
                let fingerprint = if lies { Digest::from(rng.bytes32()) } else { fingerprint };
                Sync::Open { session, bucket, nonce, fingerprint, count, range, since }
            }
            Sync::Give { session, elements, last } => {
                let mut elements = elements.into_vec();
                for element in &mut elements {
                    if let Element::Item { item } = element {
                        match rng.below(3) {
                            0 => item.data = forged(rng),
                            1 => item.expiry = item.expiry + Span::from_days(7),
                            _ => {}
                        }
                    }
                }
                if elements.is_empty()
                    && let Some(item) = self.any(rng)
                {
                    elements.push(Element::Item { item });
                }
                let elements = List::new(elements).expect("one more than none, or as many");
                Sync::Give { session, elements, last }
            }
            other => other,
        }
    }

    fn exhumed(&mut self, rng: &mut dyn Entropy) -> Option<Replicate> {
        let item = self.any(rng)?;
        self.replicates += 1;
        // Numbers that its own daemon will not reach.
        let id = u64::MAX - self.replicates;
        Some(Replicate { id, items: List::new(vec![item]).expect("one is within the limit") })
    }

    fn any(&self, rng: &mut dyn Entropy) -> Option<ReplicaItem> {
        let index = rng.below(self.grave.len() as u64);
        self.grave.get(usize::try_from(index).ok()?).cloned()
    }
}

fn altered(mut reply: Reply, rng: &mut dyn Entropy) -> Reply {
    let outcomes: Vec<Outcome> = reply
        .outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Items { items, cursor, more } if rng.below(2) == 0 => {
                let mut items = items.into_vec();
                for item in &mut items {
                    item.data = forged(rng);
                }
                let items = List::new(items).expect("as many as before");
                Outcome::Items { items, cursor, more }
            }
            other => other,
        })
        .collect();
    reply.outcomes = List::new(outcomes).expect("as many as before");
    reply
}

fn forged(rng: &mut dyn Entropy) -> ItemBytes {
    ItemBytes::new(rng.bytes32()).expect("32 bytes are within the limit")
}
