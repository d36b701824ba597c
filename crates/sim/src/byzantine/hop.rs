//! Hops of onion packets that do harm, and are honest otherwise.

use session_core::{Blob, Decode as _, Entropy};
use session_protocol::onion::Onion;
use session_protocol::{Frame, Kind};

use super::Misbehaviour;

/// What a hop does with the packets that it should pass on, answers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Marks each, so that an accomplice would know it again.
    Tags,
    /// Sends each twice.
    Replays,
    /// Sends none.
    Drops,
}

impl Misbehaviour for Hop {
    fn outbound(&mut self, body: Vec<u8>, rng: &mut dyn Entropy) -> Vec<Vec<u8>> {
        let Ok((Kind::Onion, payload)) = Frame::split(&body) else { return vec![body] };
        match (self, Onion::decode_exact(payload)) {
            (Self::Drops, _) => Vec::new(),
            (Self::Tags, Ok(onion)) => vec![Frame::encode(Kind::Onion, &marked(onion, rng))],
            (Self::Replays | Self::Tags, _) => vec![body.clone(), body],
        }
    }
}

fn marked(onion: Onion, rng: &mut dyn Entropy) -> Onion {
    let Onion { circuit, packet } = onion;
    let mut bytes = packet.into_vec();
    // Not in the prefix, which everybody sees.
    let place = 10 + rng.below(bytes.len() as u64 - 10) as usize;
    bytes[place] ^= 1 << rng.below(8);
    Onion { circuit, packet: Blob::new(bytes).expect("as long as before") }
}
