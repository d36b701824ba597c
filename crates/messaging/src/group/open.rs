//! What arrives: found, opened, put together, and handed on, once.

use session_core::{AccountId, Decode as _, Digest, Encode as _, Span, Time};
use session_protocol::inbox::{BOXES, COMMITS};
use session_protocol::request::Item;

use super::commits::Candidate;
use super::routes::{Place, What, split_slot};
use super::seal::kind;
use super::slots::UNREAD;
use super::state::{
    Behind, EpochKeys, Heed, Held, Inner, Leaf, Part, Partial, Roster, State, Wish,
};
use super::{Author, Groups, Heard, Kind, RETAIN, doors, epochs, is_admin, refused};
use crate::Cx;
use crate::boxes::{self, Assembly, Piece, Sealed};
use crate::chain::Chain;
use crate::mailbox::day_of;
use crate::mls::{KeyAgreement as _, MlsError, Processed};
use crate::say::GroupId;
use crate::vault::{self, Table, Vault};

/// Boxes of a group that wait for a commit: of days in which keys changed several times.
const HELD_MAX: usize = 2048;

/// How often it is counted how many wait.
const HELD_COUNTED: u64 = 32;

/// Messages of a group of which only some boxes are there.
const PARTIAL_MAX: usize = 8;

/// How long the next one waits who may commit a removal that was asked for.
const TURN: Span = Span::from_secs(30);

/// What becomes of something that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is read, or never will be.
    Done,
    /// It may be read later: a commit is missing.
    Hold,
    /// It is read, and stays as long as there is a way back: its branch may be chosen yet.
    Keep,
}

impl Groups {
    /// Takes an item that arrived in a watched mailbox.
    pub(crate) fn arrived(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        address: &session_core::InboxAddress,
        item: &Item,
    ) -> Vec<Heard> {
        let mut heard = Vec::new();
        let Some(place) = self.watch.place(address) else { return heard };
        let expected = if place.what == What::Lane { BOXES } else { COMMITS };
        let state = State::load(cx.store, &place.group).filter(State::is_member);
        let Some(mut state) = state.filter(|_| item.namespace == expected) else { return heard };
        if !first_time(cx.store, item, cx.now) {
            return heard;
        }
        let branch = state.current().map(|keys| keys.authenticator);
        self.late = cx.now >= item.timestamp + UNREAD;
        let held = Held { at: cx.now, stored: item.timestamp, place, data: item.data.clone() };
        let taken = self.take(cx, me, &mut state, &held, &mut heard);
        if taken != Taken::Done && state.is_member() {
            let number = Part::Held.append(cx.store, &place.group, &held);
            if number.is_multiple_of(HELD_COUNTED) {
                Part::Held.bound(cx.store, &place.group, HELD_MAX);
            }
        }
        if taken == Taken::Hold {
            look_soon(cx, &mut state);
        }
        // A commit that does not open may belong to a branch that is longer by now.
        let other_branch = taken == Taken::Hold && place.what != What::Lane;
        if other_branch {
            state.care.tried = Digest::default();
            self.rest_of_rival(cx, &state, &place, &item.data);
        }
        if state.current().map(|keys| keys.authenticator) != branch || other_branch {
            self.settle(cx, me, &place.group, &mut state, &mut heard);
        }
        state.save(cx.store, &place.group);
        self.timers.set(place.group, cx.now);
        heard
    }

    /// Takes what waits, as long as that leads on.
    pub(super) fn settle(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        for _ in 0..HELD_MAX {
            let branch = state.current().map(|keys| keys.authenticator);
            // Nothing new opens what did not open on this branch; commits may have become
            // acceptable.
            let tried = branch == Some(state.care.tried);
            state.care.tried = branch.unwrap_or_default();
            for (key, held) in Part::Held.list::<Held>(cx.store, group) {
                if !state.is_member() {
                    return;
                }
                if tried && held.place.what != (What::Commits { epoch: state.epoch }) {
                    continue;
                }
                if self.take(cx, me, state, &held, heard) == Taken::Done {
                    cx.store.remove(&key);
                }
            }
            if state.current().map(|keys| keys.authenticator) == branch {
                break;
            }
        }
        if state.flight.is_none() && !awaits_commit(cx, group, state) {
            state.behind = None;
        }
    }

    /// Reads an item, in the state that the group is in.
    fn take(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        state: &mut State,
        held: &Held,
        heard: &mut Vec<Heard>,
    ) -> Taken {
        let Held { stored, place, data, .. } = held;
        match place.what {
            What::Lane => self.take_box(cx, me, state, place, data, heard),
            What::Commits { epoch } => {
                let slots = state.slots(epoch);
                let Some((number, data)) = split_slot(&place.group, epoch, slots, data) else {
                    // Further ahead than is looked at from here, or nowhere: the slots will tell.
                    if epoch == state.epoch {
                        look_soon(cx, state);
                    }
                    return Taken::Done;
                };
                let found = self.commit_of(cx, state, place, epoch, data);
                match found {
                    Found::Whole(message) => {
                        let found = Some((number, *stored));
                        let candidate = Candidate { epoch, found, message };
                        self.offer(cx, state, &place.group, candidate, heard)
                    }
                    // The other pieces are read with the slots.
                    Found::Part(_) => {
                        let over = epoch < state.epoch;
                        let stays = !over || Part::Snapshot.any(cx.store, &place.group);
                        if stays { Taken::Hold } else { Taken::Done }
                    }
                    // Of another branch, perhaps: it matters as long as there is a way back.
                    Found::Unknown => {
                        let over = (epoch, number) < (state.epoch, state.burned);
                        let stays = !over || Part::Snapshot.any(cx.store, &place.group);
                        if stays { Taken::Hold } else { Taken::Done }
                    }
                    Found::Bad(why) => {
                        heard.push(refused(why));
                        Taken::Done
                    }
                }
            }
        }
    }

    /// Reads the other pieces of a commit that ends an epoch which this device has left, once.
    fn rest_of_rival(&mut self, cx: &mut Cx<'_>, state: &State, place: &Place, data: &[u8]) {
        let What::Commits { epoch } = place.what else { return };
        let slots = state.slots(epoch);
        let data = split_slot(&place.group, epoch, slots, data).filter(|_| epoch < state.epoch);
        let Some((_, data)) = data else { return };
        if let Found::Part(id) = self.commit_of(cx, state, place, epoch, data) {
            self.read_rest(cx, &place.group, state, epoch, id);
        }
    }

    /// Opens the box of a slot.
    pub(super) fn commit_of(
        &mut self,
        cx: &mut Cx<'_>,
        state: &State,
        place: &Place,
        epoch: u64,
        data: &[u8],
    ) -> Found {
        let Ok(sealed) = boxes::parse(data) else { return Found::Bad("a slot holds no box") };
        let keys = state.epochs.iter().find(|keys| keys.epoch == epoch);
        let Some(keys) = keys.filter(|keys| boxes::is_header(&keys.header.key(), &sealed)) else {
            return Found::Unknown;
        };
        match open_piece(keys, place, data) {
            Some(piece) if piece.kind == kind::COMMIT => collect(cx, &place.group, piece),
            _ => Found::Bad("a slot holds no commit"),
        }
    }

    fn take_box(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        state: &mut State,
        place: &Place,
        data: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Taken {
        let Ok(sealed) = boxes::parse(data) else {
            heard.push(refused("an item of a mailbox is not a box"));
            return Taken::Done;
        };
        if let Kind::Direct { .. } = state.agreed.kind
            && self.take_chained(cx, me, state, place, &sealed, data, heard)
        {
            return Taken::Done;
        }
        let mut epochs = state.epochs.iter().rev();
        let keys = epochs.find(|keys| boxes::is_header(&keys.header.key(), &sealed)).cloned();
        let Some(keys) = keys else { return Taken::Hold };
        let Some(piece) = open_piece(&keys, place, data) else {
            heard.push(refused("a box was altered or moved"));
            return Taken::Done;
        };
        let (of, group) = (piece.kind, place.group);
        let message = match collect(cx, &group, piece) {
            Found::Whole(message) => message,
            Found::Part(_) | Found::Unknown => return Taken::Done,
            Found::Bad(why) => {
                heard.push(refused(why));
                return Taken::Done;
            }
        };
        match of {
            kind::COMMIT => {
                let candidate = Candidate { epoch: keys.epoch, found: None, message };
                return self.offer(cx, state, &group, candidate, heard);
            }
            kind::SIGNED if !matches!(state.agreed.kind, Kind::Direct { .. }) => {
                return self.take_signed(cx, me, state, &group, &keys, &message, heard);
            }
            kind::PROPOSAL => self.take_proposal(cx, me, state, &group, &message),
            _ => heard.push(refused("a box holds nothing that belongs there")),
        }
        Taken::Done
    }

    /// Tries the chains of the other account's devices. Returns whether one knew the box.
    #[expect(clippy::too_many_arguments, reason = "what, where, and the doors")]
    fn take_chained(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        state: &mut State,
        place: &Place,
        sealed: &Sealed<'_>,
        data: &[u8],
        heard: &mut Vec<Heard>,
    ) -> bool {
        for keys in state.epochs.clone().iter().rev() {
            let roster = Roster::load(cx.store, &place.group, &keys.authenticator);
            for leaf in roster.leaves.iter().filter(|leaf| leaf.account != *me.account()) {
                let key = epochs::chain_key(&place.group, keys, leaf.leaf);
                let chain = vault::load::<Chain>(cx.store, &key);
                let Some(mut chain) = chain.filter(|chain| chain.knows(&sealed.tag)) else {
                    continue;
                };
                match chain.open(&place.at(keys.epoch), data) {
                    Ok(opened) => {
                        vault::save(cx.store, &key, &chain);
                        self.heard_inner(
                            cx,
                            me,
                            state,
                            &place.group,
                            keys,
                            leaf,
                            &opened.content,
                            heard,
                        );
                    }
                    Err(why) => heard.push(refused(why)),
                }
                return true;
            }
        }
        false
    }

    #[expect(clippy::too_many_arguments, reason = "what, where, and the doors")]
    fn take_signed(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        state: &mut State,
        group: &GroupId,
        keys: &EpochKeys,
        message: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Taken {
        match self.mls.process(&mut doors(cx), group, message) {
            Ok(Processed::Said { leaf, epoch, author, bytes }) if epoch == keys.epoch => {
                let roster = Roster::load(cx.store, group, &keys.authenticator);
                let leaf = roster.at(leaf).filter(|leaf| leaf.device == author.device);
                match leaf {
                    Some(leaf) => {
                        self.heard_inner(cx, me, state, group, keys, leaf, &bytes, heard);
                    }
                    None => heard.push(refused("a message names an author who was not there")),
                }
                Taken::Done
            }
            Ok(_) => {
                self.mls.refuse(&mut doors(cx), group);
                heard.push(refused("a box holds something else than a message"));
                Taken::Done
            }
            Err(MlsError::Epoch { got, current }) if got > current => Taken::Hold,
            // Read before, or too old: that happens, and nobody has to know.
            Err(MlsError::Own | MlsError::NotOpened | MlsError::Epoch { .. }) => Taken::Done,
            Err(why) => {
                heard.push(refused(why));
                Taken::Done
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "who, where, what, and the doors")]
    fn heard_inner(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        state: &mut State,
        group: &GroupId,
        keys: &EpochKeys,
        leaf: &Leaf,
        bytes: &[u8],
        heard: &mut Vec<Heard>,
    ) {
        let inner = match Inner::decode_exact(bytes) {
            Ok(inner) if inner.version == 1 && inner.epoch == keys.epoch => inner,
            _ => return heard.push(refused("a message is not what it should be")),
        };
        if keys.ended != Time::MAX
            && cx.now >= keys.ended + RETAIN
            && !stays(cx, group, state, leaf)
        {
            return heard.push(refused("a former member speaks"));
        }
        note(cx, group, state, leaf, keys.epoch);
        self.in_use(cx, state);
        let overlooked = overlooked(cx, me, group, state, keys);
        self.trusted(cx, group, leaf, inner.said, overlooked, heard);
    }

    /// A member asks to be removed: whoever may, commits it, one after another until it is done.
    fn take_proposal(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        state: &mut State,
        group: &GroupId,
        message: &[u8],
    ) {
        let Some(keys) = state.current() else { return };
        let heard = self.hear_leaver(cx, group, &keys.authenticator, message);
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let Some(leaver) = heard.and_then(|leaf| roster.at(leaf)) else { return };
        let wish = Wish::RemoveDevice { account: leaver.account, key: leaver.key };
        let wait = turn(state, &roster, me.account(), &leaver.account);
        super::wishes::want(cx, group, 0, wish, cx.now + wait);
    }
}

/// What came of a piece.
pub(super) enum Found {
    Whole(Vec<u8>),
    /// Other pieces of the whole with this name are missing.
    Part([u8; 16]),
    /// Of a branch or epoch whose keys are not here.
    Unknown,
    Bad(&'static str),
}

fn open_piece(keys: &EpochKeys, place: &Place, data: &[u8]) -> Option<Piece> {
    let content = boxes::open_header(&keys.header.key(), &place.at(keys.epoch), data).ok()?;
    Piece::decode_exact(&content).ok()
}

/// Puts a piece to the others of its message. Commits stay, because a slot may be read again.
pub(super) fn collect(cx: &mut Cx<'_>, group: &GroupId, piece: Piece) -> Found {
    let (id, of) = (piece.id, piece.kind);
    let part = if of == kind::COMMIT { Part::Half } else { Part::Fragment };
    let key = part.key(group, &id);
    let there = vault::load::<Partial>(cx.store, &key);
    let mut partial = match there {
        Some(partial) => partial,
        None => match Assembly::new(&piece) {
            Ok(assembly) => Partial { at: cx.now, assembly },
            Err(_) => return Found::Bad("a piece of a message is numbered wrongly"),
        },
    };
    let single = piece.count == 1;
    match partial.assembly.add(piece) {
        Ok(Some(whole)) => {
            if of == kind::COMMIT && !single {
                vault::save(cx.store, &key, &partial);
                crowd_out(cx, group, part, &key);
            } else {
                cx.store.remove(&key);
            }
            Found::Whole(whole)
        }
        Ok(None) => {
            vault::save(cx.store, &key, &partial);
            crowd_out(cx, group, part, &key);
            Found::Part(id)
        }
        Err(_) => {
            cx.store.remove(&key);
            Found::Bad("the pieces of a message do not fit together")
        }
    }
}

/// The oldest messages of which pieces are missing give way, never the one that just grew.
fn crowd_out(cx: &mut Cx<'_>, group: &GroupId, part: Part, kept: &[u8]) {
    let mut others = part.list::<Partial>(cx.store, group);
    others.retain(|(key, _)| key != kept);
    others.sort_by_key(|(_, partial)| partial.at);
    let surplus = (others.len() + 1).saturating_sub(PARTIAL_MAX);
    others[..surplus].iter().for_each(|(key, _)| cx.store.remove(key));
}

/// Commits may be missing: the slot of the epoch is read.
pub(super) fn look_soon(cx: &Cx<'_>, state: &mut State) {
    if state.behind.is_none() {
        let (since, next) = (cx.now, cx.now);
        state.behind = Some(Behind { since, tries: 0, answers: 0, next, ahead: false });
    }
}

/// Whether something waits that a commit of the current epoch would explain, or may be that commit.
fn awaits_commit(cx: &Cx<'_>, group: &GroupId, state: &State) -> bool {
    let explains = |held: &Held| match held.place.what {
        What::Lane => true,
        What::Commits { epoch } => {
            epoch == state.epoch
                && split_slot(group, epoch, state.slots(epoch), &held.data)
                    .is_some_and(|(number, _)| number >= state.burned)
        }
    };
    Part::Held.list::<Held>(cx.store, group).iter().any(|(_, held)| explains(held))
}

/// Whether messages wait for an epoch that has not begun here.
pub(super) fn awaits_epoch(cx: &Cx<'_>, group: &GroupId) -> bool {
    let held = Part::Held.list::<Held>(cx.store, group);
    held.iter().any(|(_, held)| held.place.what == What::Lane)
}

/// Remembers an item until it expires; returns whether it is new.
fn first_time(vault: &mut dyn Vault, item: &Item, now: Time) -> bool {
    let last = day_of(now) + 31;
    let day = day_of(item.expiry).min(last);
    let key = Table::Seen.key(&[b"g", &day.to_bytes(), &item.id.as_bytes()[..16]]);
    if vault.get(&key).is_some() {
        return false;
    }
    vault.put(&key, &[]);
    true
}

/// Forgets which items were seen that have expired.
pub(super) fn forget_seen(vault: &mut dyn Vault, now: Time) {
    let mut gone = Vec::new();
    let today = Table::Seen.key(&[b"g", &day_of(now).to_bytes()]);
    vault.scan(&Table::Seen.key(&[b"g"]), &[], false, &mut |key, _| {
        let old = key < today.as_slice();
        if old {
            gone.push(key.to_vec());
        }
        old && gone.len() < 1000
    });
    gone.iter().for_each(|key| vault.remove(key));
}

/// Whether a device is still there.
fn stays(cx: &Cx<'_>, group: &GroupId, state: &State, leaf: &Leaf) -> bool {
    let roster = state.current().map(|keys| Roster::load(cx.store, group, &keys.authenticator));
    roster.is_some_and(|roster| roster.of(&leaf.account).any(|it| it.key == leaf.key))
}

/// Whether own devices came in after an epoch, so that they cannot read what is said in it.
fn overlooked(
    cx: &Cx<'_>,
    me: Author<'_>,
    group: &GroupId,
    state: &State,
    keys: &EpochKeys,
) -> bool {
    let Some(current) = state.current().filter(|current| current.epoch > keys.epoch) else {
        return false;
    };
    let then = Roster::load(cx.store, group, &keys.authenticator);
    let now = Roster::load(cx.store, group, &current.authenticator);
    now.of(me.account()).any(|leaf| then.of(me.account()).all(|it| it.key != leaf.key))
}

/// Notes in which epoch somebody speaks: whether our last commit has come through.
fn note(cx: &mut Cx<'_>, group: &GroupId, state: &mut State, leaf: &Leaf, epoch: u64) {
    let key = Part::Heed.key(group, leaf.key.as_ref());
    let before = vault::load::<Heed>(cx.store, &key).map(|heed| heed.epoch);
    if before.is_none_or(|before| before < epoch) {
        vault::save(cx.store, &key, &Heed { epoch });
    }
    state.usage.heard = state.usage.heard.max(epoch);
    super::upkeep::heard_in(cx, group, state, epoch);
}

/// How long this device leaves it to others to commit a removal: admins come first, then leaves in
/// their order.
pub(super) fn turn(state: &State, roster: &Roster, own: &AccountId, leaver: &AccountId) -> Span {
    let mut order: Vec<_> = roster.leaves.iter().filter(|leaf| leaf.account != *leaver).collect();
    if leaver == own {
        order = roster.leaves.iter().collect();
    }
    order.sort_by_key(|leaf| (!is_admin(&state.agreed, &leaf.account), leaf.leaf));
    let place = order.iter().position(|leaf| leaf.leaf == state.own_leaf).unwrap_or(order.len());
    Span::from_millis(TURN.as_millis().saturating_mul(place as u64))
}
