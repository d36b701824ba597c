//! This node's hop keys: one for each epoch, drawn before the epoch begins.

use std::sync::Arc;

use session_core::{Entropy, Epoch, NodeId, Span, Time};
use session_network::onion::{Hop, KEY_LIFE_MAX, NotPeeled, Opened, Opener, Peeled, SignedHopKey};
use session_protocol::NetworkId;
use session_protocol::schedule::Schedule;

use super::{Config, EPOCH_LENGTH, KEY_OVERLAP};

/// The keys, and when epochs are.
pub(super) struct Keyring {
    node: NodeId,
    config: Config,
    hop: Hop,
    /// An epoch, and its place in time; the others follow.
    anchor: (Epoch, Schedule),
    /// The last epoch that a key was drawn for.
    drawn: Option<Epoch>,
    /// The keys as they are published.
    published: Vec<SignedHopKey>,
}

impl Keyring {
    pub(super) fn new(node: NodeId, config: Config) -> Self {
        let anchor = Schedule { start: Time::ZERO, length: EPOCH_LENGTH };
        let hop = Hop::new(node, config.packets_max);
        Self { node, config, hop, anchor: (Epoch(0), anchor), drawn: None, published: Vec::new() }
    }

    pub(super) fn opener(&self) -> Arc<Opener> {
        self.hop.opener()
    }

    /// A chain says when an epoch is. Those behind it are reckoned, so that keys do not end where
    /// a chain halts.
    pub(super) fn told(&mut self, epoch: Epoch, schedule: Schedule, now: Time) {
        if schedule.length == Span::ZERO {
            return;
        }
        let before = self.epoch(now);
        self.anchor = (epoch, schedule);
        // Numbers of before the chain was heard of: nobody asks for those keys.
        if before.0.abs_diff(self.epoch(now).0) > 1 {
            self.hop = Hop::new(self.node, self.config.packets_max);
            self.drawn = None;
            self.published.clear();
        }
    }

    /// Returns the epoch of a time.
    pub(super) fn epoch(&self, now: Time) -> Epoch {
        let (epoch, Schedule { start, length }) = self.anchor;
        if now < start {
            return Epoch(epoch.0.saturating_sub(1));
        }
        Epoch(epoch.0 + now.since(start).as_millis() / length.as_millis())
    }

    /// Returns when an epoch begins.
    fn start(&self, epoch: Epoch) -> Time {
        let (anchor, Schedule { start, length }) = self.anchor;
        let passed = length.as_millis().saturating_mul(epoch.0.saturating_sub(anchor.0));
        start + Span::from_millis(passed)
    }

    fn length(&self) -> Span {
        self.anchor.1.length
    }

    fn middle(&self, epoch: Epoch) -> Time {
        self.start(epoch) + Span::from_millis(self.length().as_millis() / 2)
    }

    /// Draws what is not there yet: the key of this epoch, and from its middle on that of the next.
    /// Returns whether there was any.
    pub(super) fn draw(&mut self, rng: &mut dyn Entropy, network: NetworkId, now: Time) -> bool {
        self.hop.forget(now);
        self.published.retain(|key| now < key.record.until);
        let epoch = self.epoch(now);
        let next = Epoch(epoch.0 + 1);
        let last = if now >= self.middle(epoch) { next } else { epoch };
        let first = self.drawn.map_or(epoch, |drawn| epoch.max(Epoch(drawn.0 + 1)));
        let before = self.drawn;
        for epoch in (first.0..=last.0).map(Epoch) {
            let overlap = KEY_OVERLAP.min(Span::from_millis(self.length().as_millis() / 2));
            let until = (self.start(epoch) + self.length() + overlap).min(now + KEY_LIFE_MAX);
            let record = self.hop.rotate(rng, network, epoch, (now, until));
            self.published.push(record.sign(&*self.config.keys, rng));
            self.drawn = Some(epoch);
        }
        self.drawn != before
    }

    /// Returns the keys as they are published.
    pub(super) fn published(&self) -> &[SignedHopKey] {
        &self.published
    }

    /// Returns when a key is to be drawn; nothing before the first.
    pub(super) fn deadline(&self) -> Option<Time> {
        let drawn = self.drawn?;
        Some(self.middle(drawn))
    }

    pub(super) fn admit(&mut self, opened: Opened) -> Result<Peeled, NotPeeled> {
        self.hop.admit(opened)
    }

    pub(super) fn taken(&self, epoch: Epoch) -> usize {
        self.hop.taken(epoch)
    }

    pub(super) const fn packets_max(&self) -> usize {
        self.config.packets_max
    }
}
