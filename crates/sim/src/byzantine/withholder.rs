//! Acknowledges, drops what it took, and answers reads with nothing.

use session_core::{Entropy, List};
use session_protocol::request::{Cursor, Outcome, Reply};
use session_protocol::{Frame, Inbound, Kind};

use super::Misbehaviour;

pub(crate) struct Withholder;

impl Misbehaviour for Withholder {
    // What it does not hear of in a reconciliation, it need not give.
    fn inbound(&mut self, message: &Inbound) -> bool {
        !matches!(message, Inbound::Sync(_))
    }

    fn outbound(&mut self, body: Vec<u8>, _rng: &mut dyn Entropy) -> Vec<Vec<u8>> {
        match Frame::split(&body) {
            Ok((Kind::Push, _)) => Vec::new(),
            Ok((Kind::Reply, payload)) => match Frame::payload::<Reply>(Kind::Reply, payload) {
                Ok(reply) => vec![Frame::encode(Kind::Reply, &emptied(reply))],
                Err(_) => vec![body],
            },
            _ => vec![body],
        }
    }

    fn keeps(&self) -> bool {
        false
    }
}

fn emptied(mut reply: Reply) -> Reply {
    let outcomes: Vec<Outcome> = reply
        .outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Items { cursor, .. } => Outcome::Items {
                items: List::new(Vec::new()).expect("none are within the limit"),
                // As if it had been read to the end.
                cursor: Cursor { arrival: u64::MAX, ..cursor },
                more: false,
            },
            other => other,
        })
        .collect();
    reply.outcomes = List::new(outcomes).expect("as many as before");
    reply
}
