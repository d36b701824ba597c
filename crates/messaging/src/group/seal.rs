//! What is said, sealed for the members of the current epoch.

use session_core::{Blob, Encode as _, List, Span};
use session_protocol::request::ItemBytes;

use super::routes::{self, Place};
use super::state::{EpochKeys, Inner, Part, Recent, Roster, State, Usage, Wish};
use super::{Author, Groups, HORIZON, Kind, doors};
use crate::Cx;
use crate::boxes::{self, Piece};
use crate::chain::Chain;
use crate::messenger::api::Error;
use crate::mls::KeyAgreement as _;
use crate::outbox::{Batch, Outbox, Purpose};
use crate::say::{GroupId, SAID_BYTES_MAX};
use crate::vault;

/// What the pieces of a header box make together.
pub(super) mod kind {
    /// A message that its author signed.
    pub(in super::super) const SIGNED: u8 = 1;
    /// A commit.
    pub(in super::super) const COMMIT: u8 = 2;
    /// A member asks to be removed.
    pub(in super::super) const PROPOSAL: u8 = 3;
}

/// Most things said that wait for the end of the way back.
const RECENT_MAX: usize = 256;

pub(super) fn invalid(field: &'static str, why: impl ToString) -> Error {
    Error::Invalid { field, why: why.to_string() }
}

impl Groups {
    /// Says something: seals it, and hands the boxes to the outbox. Returns how many there are.
    ///
    /// # Errors
    /// When this device is not in the group, nobody else is, or it is too long.
    #[expect(clippy::too_many_arguments, reason = "where, what, and the doors")]
    pub(crate) fn say(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        purpose: Purpose,
        said: &[u8],
        ttl: Span,
    ) -> Result<u32, Error> {
        let mut state = State::load(cx.store, group).ok_or(Error::NotFound { what: "group" })?;
        if !state.is_member() {
            return Err(Error::Lost);
        }
        let items = self.seal(cx, outbox, me, group, &mut state, purpose, said, ttl)?;
        self.used(cx, group, &mut state);
        state.save(cx.store, group);
        self.timers.set(*group, cx.now);
        Ok(items)
    }

    /// Seals and sends; the state is saved by the caller.
    #[expect(clippy::too_many_arguments, reason = "where, what, and the doors")]
    pub(super) fn seal(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        purpose: Purpose,
        said: &[u8],
        ttl: Span,
    ) -> Result<u32, Error> {
        let too_long =
            |_| Error::TooMany { field: "message bytes", got: said.len(), limit: SAID_BYTES_MAX };
        let bytes = Blob::new(said).map_err(too_long)?;
        let keys = state.current().ok_or(Error::Lost)?.clone();
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        if !has_audience(state, &roster, me) {
            return Err(invalid("group", "nobody else is in it yet"));
        }
        let inner = Inner { version: 1, epoch: state.epoch, heard: state.usage.heard, said: bytes };
        let (place, target) =
            routes::outgoing(group, state, me.account(), cx.now).ok_or(Error::Lost)?;
        let items = match state.agreed.kind {
            Kind::Direct { .. } => vec![seal_chained(cx, state, &place, &inner)?],
            Kind::Group | Kind::Devices { .. } => {
                let message = self
                    .mls
                    .encrypt(&mut doors(cx), me.key, group, &inner.to_bytes())
                    .map_err(|why| invalid("message", why))?;
                seal_pieces(cx, state, &place, kind::SIGNED, &message)?
            }
        };
        if cx.now < keys.began + HORIZON {
            let (at, said) = (cx.now, inner.said.clone());
            let EpochKeys { epoch, authenticator, .. } = keys;
            let recent = Recent { at, epoch, authenticator, purpose, ttl, said };
            Part::Recent.append(cx.store, group, &recent);
            Part::Recent.bound(cx.store, group, RECENT_MAX);
        }
        let count = items.len() as u32;
        let batch = Batch {
            group: *group,
            epoch: keys.epoch,
            at: cx.now,
            purpose,
            ttl,
            said: inner.said,
            items: List::default(),
            stored: None,
        };
        outbox.send_said(cx, batch, &target, items);
        Ok(count)
    }

    /// Counts a message of ours, and renews keys when it is time.
    fn used(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        let Usage { sent, said, .. } = state.usage;
        let idle = said != session_core::Time::ZERO && cx.now.since(said) > self.rotation.idle;
        state.usage.sent = sent.saturating_add(1);
        state.usage.said = cx.now;
        self.in_use(cx, state);
        if idle || state.usage.sent >= self.rotation.messages {
            super::wishes::want(cx, group, 0, Wish::Update, cx.now);
        }
    }

    /// The keys of this epoch are in use from now on: they are renewed some time later, not at the
    /// same moment on all devices.
    pub(super) fn in_use(&self, cx: &mut Cx<'_>, state: &mut State) {
        if state.usage.rotate == session_core::Time::ZERO {
            let spread = Span::from_millis(cx.rng.below(self.rotation.age.as_millis() / 8 + 1));
            state.usage.rotate = cx.now + self.rotation.age + spread;
        }
    }
}

/// Whether somebody is there to hear it.
fn has_audience(state: &State, roster: &Roster, me: Author<'_>) -> bool {
    let heard = |leaf: &super::Leaf| match state.agreed.kind {
        Kind::Direct { .. } => leaf.account != *me.account(),
        Kind::Group | Kind::Devices { .. } => leaf.leaf != state.own_leaf,
    };
    roster.leaves.iter().any(heard)
}

fn seal_chained(
    cx: &mut Cx<'_>,
    state: &State,
    place: &Place,
    inner: &Inner,
) -> Result<ItemBytes, Error> {
    let keys = state.current().ok_or(Error::Lost)?;
    let key = super::epochs::chain_key(&place.group, keys, state.own_leaf);
    let mut chain: Chain = vault::load(cx.store, &key).ok_or(Error::Lost)?;
    let item = chain
        .seal(&place.at(keys.epoch), &inner.to_bytes(), cx.rng)
        .map_err(|why| invalid("message", why))?;
    vault::save(cx.store, &key, &chain);
    Ok(item)
}

/// Cuts a message and seals the pieces under the header key of the current epoch.
pub(super) fn seal_pieces(
    cx: &mut Cx<'_>,
    state: &State,
    place: &Place,
    kind: u8,
    message: &[u8],
) -> Result<Vec<ItemBytes>, Error> {
    let pieces = boxes::cut(kind, message).map_err(|why| invalid("message", why))?;
    let keys = state.current().ok_or(Error::Lost)?;
    pieces.iter().map(|piece| seal_piece_as(cx, keys, place, piece)).collect()
}

/// Seals a piece under the header key of an epoch.
pub(super) fn seal_piece_as(
    cx: &mut Cx<'_>,
    keys: &EpochKeys,
    place: &Place,
    piece: &Piece,
) -> Result<ItemBytes, Error> {
    boxes::seal_header(&keys.header.key(), &place.at(keys.epoch), &piece.to_bytes(), cx.rng)
        .map_err(|why| invalid("message", why))
}
