//! Serves what it has out of order, twice, and without the newest, as if nothing new had come.

use session_core::{Entropy, List};
use session_protocol::request::{Outcome, Reply};
use session_protocol::{Frame, Kind};

use super::Misbehaviour;

pub(crate) struct Stale;

impl Misbehaviour for Stale {
    fn outbound(&mut self, body: Vec<u8>, rng: &mut dyn Entropy) -> Vec<Vec<u8>> {
        match Frame::split(&body) {
            // Those that listen hear everything twice, or nothing.
            Ok((Kind::Push, _)) if rng.below(2) == 0 => Vec::new(),
            Ok((Kind::Push, _)) => vec![body.clone(), body],
            Ok((Kind::Reply, payload)) => match Frame::payload::<Reply>(Kind::Reply, payload) {
                Ok(reply) => vec![Frame::encode(Kind::Reply, &aged(reply, rng))],
                Err(_) => vec![body],
            },
            _ => vec![body],
        }
    }
}

fn aged(mut reply: Reply, rng: &mut dyn Entropy) -> Reply {
    let outcomes: Vec<Outcome> = reply
        .outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Items { items, cursor, more } => {
                let mut items = items.into_vec();
                let before = items.clone();
                // The cursor says that the newest was handed out.
                if rng.below(2) == 0 {
                    items.pop();
                }
                items.reverse();
                if let Some(first) = items.first().cloned().filter(|_| rng.below(2) == 0) {
                    items.push(first);
                }
                let items = List::new(items).or_else(|_| List::new(before));
                Outcome::Items { items: items.expect("as many as before"), cursor, more }
            }
            other => other,
        })
        .collect();
    reply.outcomes = List::new(outcomes).expect("as many as before");
    reply
}
