//! What a node does with a packet: take a layer off, see that it is new, say what is next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{Decode as _, Entropy, Epoch, NodeId, Span, Time};
use session_protocol::NetworkId;
use session_protocol::onion::{HopKeyRecord, VERSION};

use super::block::Next;
use super::geometry::{Kind, REQUEST_HEADER, RETURN_HEADER};
use super::hop_key::HopSecret;
use super::layer::{self, Unwrapped};
use super::packet::Packet;
use super::reply::{AnswerKey, BackKey};
use super::routing::{Command, Handle, ReturnId, Routing, Service};

/// Most epochs whose packets a node takes: the current one, and one for whoever is late or early.
pub const EPOCHS_MAX: usize = 2;

/// Packets of one epoch's key that a node takes if nobody says otherwise: 50 MB when it is full,
/// twelve packets a second for a day.
pub const TAGS_MAX: usize = 1 << 20;

/// The packet is not for this node, not whole, not new, or asks for what there is not. Which one it
/// is nobody learns: neither the sender by the answer, nor the one before by the time it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet is not taken")]
pub struct NotPeeled;

/// What is to be done with a packet.
#[derive(Debug)]
pub enum Peeled {
    /// It goes on.
    Forward {
        /// To whom.
        next: NodeId,
        /// After what time.
        delay: Span,
        /// What goes on.
        packet: Packet,
        /// What is laid over the answer; none for a packet that is on its way back.
        back: Option<BackKey>,
    },
    /// It is at its exit.
    Deliver {
        /// Who is to see the payload.
        service: Service,
        /// After what time.
        delay: Span,
        /// The payload, without its padding.
        payload: Vec<u8>,
        /// What seals the answer.
        answer: AnswerKey,
    },
    /// It came back to a client of this node.
    Hand {
        /// The client.
        handle: Handle,
        /// After what time.
        delay: Span,
        /// What the client is given.
        packet: Packet,
    },
    /// It is a loop, of this node if it knows the id.
    Loop {
        /// By what its maker knows it.
        id: ReturnId,
    },
    /// It was there to be seen.
    Drop,
}

/// The keys of a node at a moment. Shared with the threads that open packets.
pub struct Opener {
    node: NodeId,
    keys: Vec<Arc<HopSecret>>,
}

/// A packet that was worked at, taken or not: [`Hop::admit`] says.
pub struct Opened(Option<Found>);

struct Found {
    epoch: Epoch,
    tag: [u8; 32],
    peeled: Option<Peeled>,
}

impl Opener {
    /// Does the costly part, which changes nothing: packets can be opened side by side.
    #[must_use]
    pub fn open(&self, now: Time, packet: &Packet) -> Opened {
        // All that is looked at before the key is used is in clear.
        let key = self.keys.iter().find(|key| key.epoch == packet.epoch() && now < key.until);
        let sealed = match packet.kind() {
            Kind::Request => (packet.as_bytes(), REQUEST_HEADER),
            Kind::Return => (&packet.as_bytes()[..RETURN_HEADER], RETURN_HEADER),
            Kind::Answer | Kind::Handed => return Opened(None),
        };
        let Some(key) = key else { return Opened(None) };
        let unwrapped = layer::unwrap(&key.secret, &key.public, &self.node, sealed);
        // From here on noise goes the same way as what is authentic; the verdict comes last.
        let next = unwrapped.following(packet.prefix());
        let peeled = self.interpret(packet, &unwrapped, next);
        let peeled = peeled.filter(|_| unwrapped.authentic);
        Opened(Some(Found { epoch: key.epoch, tag: unwrapped.keys.tag(), peeled }))
    }

    fn interpret(&self, packet: &Packet, unwrapped: &Unwrapped, onward: Vec<u8>) -> Option<Peeled> {
        let routing = Routing::decode_exact(&unwrapped.routing).ok()?;
        let delay = Span::from_millis(routing.delay_ms.into());
        let keys = &unwrapped.keys;
        Some(match (packet.kind(), routing.command) {
            (_, Command::Forward { next }) if next == self.node => return None,
            (Kind::Request, Command::Forward { next: node }) => Peeled::Forward {
                next: node,
                delay,
                packet: packet.moved(onward),
                back: Some(BackKey(keys.back())),
            },
            (Kind::Return, Command::Forward { next: node }) => {
                let packet = packet.returned(Next::Hop { header: &onward }, keys);
                Peeled::Forward { next: node, delay, packet, back: None }
            }
            (Kind::Return, Command::Hand { handle, id }) => {
                Peeled::Hand { handle, delay, packet: packet.returned(Next::Client { id }, keys) }
            }
            (Kind::Request, Command::Deliver { service, answer }) => Peeled::Deliver {
                service,
                delay,
                payload: layer::unframed(&unwrapped.content())?.to_vec(),
                answer: AnswerKey::new(keys, packet.epoch(), answer),
            },
            (Kind::Request, Command::Loop { id }) => Peeled::Loop { id },
            (Kind::Request, Command::Drop) => Peeled::Drop,
            _ => return None,
        })
    }
}

// Keys, and what was found with them, are not for logs.
impl core::fmt::Debug for Opener {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Opener")
    }
}

impl core::fmt::Debug for Opened {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Opened")
    }
}

impl Opened {
    /// Returns what an exit is given if the packet is taken, so that it can be read beside the
    /// machine that takes it.
    #[must_use]
    pub fn delivered(&self) -> Option<(Service, &[u8])> {
        match &self.0.as_ref()?.peeled {
            Some(Peeled::Deliver { service, payload, .. }) => Some((*service, payload)),
            _ => None,
        }
    }
}

/// A node as a hop: its keys, and which packets it has seen under each.
pub struct Hop {
    opener: Arc<Opener>,
    seen: BTreeMap<Epoch, BTreeSet<[u8; 32]>>,
    tags_max: usize,
}

impl Hop {
    /// Starts without a key. At most `tags_max` packets are taken under each.
    #[must_use]
    pub fn new(node: NodeId, tags_max: usize) -> Self {
        Self {
            opener: Arc::new(Opener { node, keys: Vec::new() }),
            seen: BTreeMap::new(),
            tags_max,
        }
    }

    /// Draws the key of an epoch and returns what is to be signed and published of it. With a third
    /// epoch the oldest is erased; a second key for the same epoch replaces the first.
    pub fn rotate(
        &mut self,
        rng: &mut dyn Entropy,
        network: NetworkId,
        epoch: Epoch,
        (from, until): (Time, Time),
    ) -> HopKeyRecord {
        let secret = HopSecret::generate(rng, epoch, until);
        let (node, key) = (self.opener.node, secret.public.clone());
        self.keep(|old| old.epoch != epoch);
        let mut keys = self.opener.keys.clone();
        keys.push(Arc::new(secret));
        keys.sort_by_key(|key| key.epoch);
        let surplus = keys.len().saturating_sub(EPOCHS_MAX);
        keys.drain(..surplus);
        self.replace(keys);
        HopKeyRecord { version: VERSION, network, node, epoch, from, until, key }
    }

    /// Erases the keys whose time is over, and what was remembered for them.
    pub fn forget(&mut self, now: Time) {
        self.keep(|key| now < key.until);
    }

    fn keep(&mut self, wanted: impl Fn(&HopSecret) -> bool) {
        let keys = self.opener.keys.iter().filter(|key| wanted(key)).cloned().collect();
        self.replace(keys);
    }

    fn replace(&mut self, keys: Vec<Arc<HopSecret>>) {
        self.seen.retain(|epoch, _| keys.iter().any(|key| key.epoch == *epoch));
        self.opener = Arc::new(Opener { node: self.opener.node, keys });
    }

    /// Returns the keys as they are now, for threads that open packets. They are erased when the
    /// last one has let go of them.
    #[must_use]
    pub fn opener(&self) -> Arc<Opener> {
        Arc::clone(&self.opener)
    }

    /// Returns the epochs whose packets are taken.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.opener.keys.iter().map(|key| key.epoch)
    }

    /// Returns how many packets were taken in an epoch.
    #[must_use]
    pub fn taken(&self, epoch: Epoch) -> usize {
        self.seen.get(&epoch).map_or(0, BTreeSet::len)
    }

    /// Takes a packet that was opened, if nobody took it before.
    ///
    /// # Errors
    /// When it is not for this node, not whole, not new, or as many as possible were taken. Then
    /// nothing more of this epoch is taken: to forget one would be to take it twice.
    pub fn admit(&mut self, opened: Opened) -> Result<Peeled, NotPeeled> {
        let Found { epoch, tag, peeled } = opened.0.ok_or(NotPeeled)?;
        // The key may have been erased while the packet was opened.
        let live = self.epochs().any(|known| known == epoch);
        let seen = self.seen.get(&epoch);
        let new = !seen.is_some_and(|seen| seen.contains(&tag));
        let room = seen.map_or(0, BTreeSet::len) < self.tags_max;
        let peeled = peeled.filter(|_| live && new && room).ok_or(NotPeeled)?;
        self.seen.entry(epoch).or_default().insert(tag);
        Ok(peeled)
    }

    /// Opens a packet and takes it.
    ///
    /// # Errors
    /// As [`Hop::admit`].
    pub fn peel(&mut self, now: Time, packet: &Packet) -> Result<Peeled, NotPeeled> {
        let opened = self.opener.open(now, packet);
        self.admit(opened)
    }

    #[cfg(test)]
    pub(super) fn secret(&self, epoch: Epoch) -> &session_crypto::XWingSecret {
        let key = self.opener.keys.iter().find(|key| key.epoch == epoch);
        &key.expect("a key that is there").secret
    }
}
