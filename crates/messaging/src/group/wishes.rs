//! What somebody wants changed, and the commits that this device makes of it.

use session_core::{AccountId, Blob, Digest, Domain, Encode as _, List, Span, Time, digest};
use session_protocol::inbox::{BOXES, COMMITS, message_id};
use session_protocol::limits::TTL_MAX;
use session_protocol::request::ItemBytes;

use super::commits::{SETTLED, leaver_key, leavers};
use super::epochs::edit;
use super::routes::{self, CommitBox};
use super::seal::{invalid, kind};
use super::state::{
    Aside, Ask, Came, Cargo, EpochKeys, Flight, Known, Leaf, Part, Phase, Queued, Roster, Seat,
    Stamp, State,
};
use super::{
    ADDS_MAX, Agreed, Author, Groups, Heard, Kind, Package, Role, Wish, doors, is_admin, policy,
};
use crate::Cx;
use crate::messenger::api::Error;
use crate::mls::{Change, Credential, KeyAgreement as _, Made};
use crate::outbox::{Outbox, Purpose};
use crate::say::GroupId;
use crate::vault;

/// Wishes of one group that wait.
const WISHES_MAX: usize = 256;

/// A commit whose pieces are not stored after so long is made again.
const UPLOAD: Span = Span::from_secs(180);

/// How long it is tried to fill a slot.
pub(super) const FILLING: Span = Span::from_secs(60);

/// What a wish comes to, in the state that the group is in.
enum Plan {
    /// Nothing is left to do.
    Fulfilled,
    /// It cannot be.
    Refused(Error),
    Commit(Change),
}

/// Puts a wish behind the others; keys are drawn anew once, however often that is wanted.
pub(super) fn want(cx: &mut Cx<'_>, group: &GroupId, ticket: u64, wish: Wish, after: Time) {
    let alike = |(_, queued): &(Vec<u8>, Queued)| queued.wish == wish && queued.ticket == 0;
    if ticket == 0 && Part::Wish.list::<Queued>(cx.store, group).iter().any(alike) {
        return;
    }
    let queued = Queued { ticket, last: true, after, wish };
    Part::Wish.append(cx.store, group, &queued);
}

impl Groups {
    /// Wants changes, to be committed one after another. [`Heard::Done`] reports the ticket that is
    /// returned, when all are.
    ///
    /// # Errors
    /// When this device is not in the group, may not do it, or too much waits already.
    pub(crate) fn change(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        wishes: Vec<Wish>,
    ) -> Result<u64, Error> {
        let state = State::load(cx.store, group).ok_or(Error::NotFound { what: "group" })?;
        if state.phase != Phase::Member {
            return Err(Error::Lost);
        }
        let waiting = Part::Wish.list::<Queued>(cx.store, group).len() + wishes.len();
        if waiting > WISHES_MAX {
            return Err(Error::TooMany { field: "changes", got: waiting, limit: WISHES_MAX });
        }
        let mut wishes = wishes;
        if wishes.is_empty() {
            wishes.push(Wish::Update);
        }
        for wish in &wishes {
            permit(&state.agreed, me.account(), wish)?;
        }
        let ticket = crate::counter(cx.store, b"group");
        let count = wishes.len();
        for (index, wish) in wishes.into_iter().enumerate() {
            let queued = Queued { ticket, last: index + 1 == count, after: cx.now, wish };
            Part::Wish.append(cx.store, group, &queued);
        }
        self.timers.set(*group, cx.now);
        Ok(ticket)
    }

    /// Asks the others to let this device, and those of its account, go.
    ///
    /// # Errors
    /// When it is not in the group.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, group: &GroupId) -> Result<(), Error> {
        let mut state = State::load(cx.store, group).ok_or(Error::NotFound { what: "group" })?;
        if !state.is_member() {
            return Err(Error::Lost);
        }
        state.phase = Phase::Leaving;
        state.save(cx.store, group);
        self.timers.set(*group, cx.now);
        Ok(())
    }

    /// Makes a commit of the first wish that is due, if none is on its way.
    pub(super) fn grant(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        for (key, queued) in Part::Wish.list::<Queued>(cx.store, group) {
            if state.flight.is_some() || cx.now < state.commit_after {
                return;
            }
            if cx.now < queued.after || !in_time(state, &queued) {
                continue;
            }
            let number = key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            match self.plan(cx, me, group, state, &queued.wish) {
                Plan::Fulfilled => finish(cx, group, number, Ok(()), heard),
                Plan::Refused(why) => finish(cx, group, number, Err(why), heard),
                Plan::Commit(change) => {
                    let sent = self.publish(cx, outbox, me, group, state, number, change);
                    if let Err(why) = sent {
                        finish(cx, group, number, Err(why), heard);
                    }
                }
            }
        }
    }

    fn plan(
        &self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &State,
        wish: &Wish,
    ) -> Plan {
        let Some(keys) = state.current() else { return Plan::Refused(Error::Lost) };
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        if let Err(why) = permit(&state.agreed, me.account(), wish)
            && !asked_for(cx, group, keys, &roster, wish)
        {
            return Plan::Refused(why);
        }
        match wish {
            Wish::Update => Plan::Commit(Change::default()),
            Wish::Add { packages } => self.plan_add(cx, &roster, packages, |_, _| false),
            Wish::Readd { package } => {
                let packages = core::slice::from_ref(package);
                self.plan_add(cx, &roster, packages, |leaf, who| {
                    leaf.leaf != state.own_leaf && self.lets_back(cx, me, group, state, leaf, who)
                })
            }
            Wish::RemoveAccount { account } => {
                let remove = roster.of(account).map(|leaf| leaf.leaf).collect();
                plan_remove(state, account, remove, true)
            }
            Wish::RemoveDevice { account, key } => {
                let leaves = roster.of(account).filter(|leaf| leaf.key == *key);
                let remove: Vec<u32> = leaves.map(|leaf| leaf.leaf).collect();
                let all = remove.len() == roster.of(account).count();
                plan_remove(state, account, remove, all && is_admin(&state.agreed, me.account()))
            }
            Wish::Agree { name, seat, disappear } => {
                let mut agreed = state.agreed.clone();
                if let Some(name) = name {
                    agreed.name = name.clone();
                }
                if let Some(disappear) = disappear {
                    agreed.disappear = *disappear;
                }
                if let Some(seat) = seat {
                    seat.take(&mut agreed);
                }
                if agreed == state.agreed {
                    return Plan::Fulfilled;
                }
                Plan::Commit(Change { agreed: Some(agreed), ..Change::default() })
            }
        }
    }

    /// Adds devices; `replaces` tells whether one that is in already takes the place of its leaf.
    fn plan_add(
        &self,
        cx: &Cx<'_>,
        roster: &Roster,
        packages: &[Package],
        replaces: impl Fn(&Leaf, &Credential) -> bool,
    ) -> Plan {
        let mut change = Change::default();
        for package in packages {
            let read = self.mls.read_key_package(&package.bytes);
            let (credential, key, _) = match read {
                Ok(read) => read,
                Err(why) => return Plan::Refused(invalid("key package", why)),
            };
            if credential.account != package.account {
                return Plan::Refused(invalid("key package", "it is another account's"));
            }
            let known = Known::load(cx.store, &package.account);
            if known.is_some_and(|known| !known.keys.contains(&key)) {
                return Plan::Refused(invalid(
                    "key package",
                    "its account does not list the device",
                ));
            }
            let there = roster.of(&package.account).find(|leaf| leaf.key == key);
            match there {
                Some(leaf) if replaces(leaf, &credential) => {
                    change.remove.push(leaf.leaf);
                }
                Some(_) => continue,
                None => {}
            }
            change.add.push(package.bytes.to_vec());
        }
        if change.add.is_empty() { Plan::Fulfilled } else { Plan::Commit(change) }
    }

    /// Whether members take it that this device puts a key package in the place of a leaf.
    fn lets_back(
        &self,
        cx: &Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        state: &State,
        leaf: &Leaf,
        who: &Credential,
    ) -> bool {
        if self.asks_again(cx, group, &leaf.key, who) {
            return true;
        }
        // Several devices are asked at once: it takes one of them.
        let came = vault::load::<Came>(cx.store, &Part::Came.key(group, leaf.key.as_ref()));
        let settled = came.is_none_or(|came| cx.now >= came.at + SETTLED);
        settled && (is_admin(&state.agreed, me.account()) || leaf.account == *me.account())
    }

    /// Whether a key package asks for a device to be let in again, later than when it came in.
    pub(super) fn asks_again(
        &self,
        cx: &Cx<'_>,
        group: &GroupId,
        key: &Digest,
        who: &Credential,
    ) -> bool {
        let members = self.mls.info(cx.store, group).map(|info| info.members);
        let there = members.into_iter().flatten().find(|it| it.key_hash == *key);
        there.is_some_and(|it| who.asks_for(group, &it.credential))
    }

    /// Makes a commit and stores it; it becomes real when a quorum has it.
    #[expect(clippy::too_many_arguments, reason = "what, and the doors")]
    fn publish(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        wish: u64,
        change: Change,
    ) -> Result<(), Error> {
        let stamp = Stamp { slot: state.burned, made: cx.now };
        let asked = asked_by(cx, group, state, me.account(), &change);
        let change = Change { aside: Aside { stamp, asked }.to_bytes(), ..change };
        let made = self.mls.commit(&mut doors(cx), me.key, group, &change);
        let made = made.map_err(|why| invalid("change", why))?;
        let sent = self.send(cx, outbox, group, state, (wish, stamp), &change, made);
        if sent.is_err() {
            self.mls.discard(&mut doors(cx), group);
        }
        sent
    }

    /// Puts a commit on its way: the slot is filled when its other pieces are stored, so that
    /// nobody finds half of it there.
    #[expect(clippy::too_many_arguments, reason = "what, and the doors")]
    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        group: &GroupId,
        state: &mut State,
        (wish, stamp): (u64, Stamp),
        change: &Change,
        made: Made,
    ) -> Result<(), Error> {
        let Made { message, welcome, tree } = made;
        let epoch = state.epoch;
        let commits = CommitBox::of(group, state, epoch).ok_or(Error::Lost)?;
        let pieces = super::seal::seal_pieces(cx, state, &commits.place, kind::COMMIT, &message)?;
        let mut pieces = pieces.into_iter();
        let mut first = routes::slot(group, epoch, stamp.slot).as_bytes().to_vec();
        first.extend_from_slice(&pieces.next().ok_or(Error::Lost)?);
        let first = ItemBytes::new(first).map_err(|why| invalid("change", why))?;
        let address = commits.place.address;
        let item = message_id(&address, COMMITS, &first);

        let digest = digest(Domain::Commit, &[&message]);
        let large = |bytes| Blob::new(bytes).map_err(|why| invalid("change", why));
        let welcome = welcome.map(large).transpose()?;
        let (message, tree) = (large(message)?, large(tree)?);
        let joiners = change.add.iter().filter_map(|it| self.mls.read_key_package(it).ok());
        let joiners: Vec<Digest> = joiners.map(|(_, key, _)| key).collect();
        let joiners = List::new(joiners).map_err(|why| invalid("change", why))?;
        let cargo = Cargo { epoch, message, welcome, tree, joiners, first: Some(first) };
        vault::save(cx.store, &Part::Cargo.key(group, &epoch.to_be_bytes()), &cargo);

        let (mut rest, mut sent) = (Vec::new(), Vec::new());
        let purpose = Purpose::Commit { group: *group, epoch };
        for piece in pieces {
            rest.push(message_id(&address, BOXES, &piece));
            sent.push(outbox.send(cx, purpose, commits.rest_target(), TTL_MAX, piece));
        }
        let rest = List::new(rest).map_err(|why| invalid("change", why))?;
        let sent = List::new(sent).map_err(|why| invalid("change", why))?;
        let removes = removed_for_good(cx, group, state, change, &cargo.joiners);
        let removes = List::new(removes).map_err(|why| invalid("change", why))?;
        let (since, taken) = (Time::MAX, false);
        state.flight =
            Some(Flight { epoch, digest, wish, stamp, since, taken, item, removes, rest, sent });
        self.fill_slot(cx, outbox, group, state);
        Ok(())
    }

    /// Stores the first piece of a commit whose other pieces are stored.
    pub(super) fn fill_slot(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        group: &GroupId,
        state: &mut State,
    ) {
        let Some(flight) = state.flight.clone().filter(|flight| flight.rest.is_empty()) else {
            return;
        };
        if flight.since == Time::MAX && cx.now >= flight.stamp.made + UPLOAD {
            // Made again, later: nobody has seen it.
            state.land();
            return self.mls.discard(&mut doors(cx), group);
        }
        let key = Part::Cargo.key(group, &flight.epoch.to_be_bytes());
        let Some(mut cargo) = vault::load::<Cargo>(cx.store, &key) else { return };
        let Some(commits) = CommitBox::of(group, state, flight.epoch) else { return };
        let Some(first) = cargo.first.take() else { return };
        vault::save(cx.store, &key, &cargo);
        let purpose = Purpose::Commit { group: *group, epoch: flight.epoch };
        let id = outbox.send(cx, purpose, commits.slot_target(), TTL_MAX, first);
        if let Some(flight) = &mut state.flight {
            edit(&mut flight.sent, |sent| sent.push(id));
            flight.since = cx.now;
        }
    }

    /// A commit that could not be stored for so long is not sent any more: who stores late what was
    /// made early takes the others back. What lies in the slot decides.
    pub(super) fn stop_filling(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        let Some(flight) = &mut state.flight else { return };
        if flight.taken || flight.since == Time::MAX || cx.now < flight.since + FILLING {
            return;
        }
        flight.taken = true;
        let sent = core::mem::replace(&mut flight.sent, super::epochs::empty());
        edit(&mut state.care.stale, |stale| stale.extend(sent));
        self.read_slots(cx, group, state);
    }

    /// Lets go of a group that this device wants to leave, one step after another.
    pub(super) fn depart(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
        heard: &mut Vec<Heard>,
    ) {
        if state.flight.is_some() || cx.now < state.commit_after {
            return;
        }
        let Some(keys) = state.current() else { return };
        let roster = Roster::load(cx.store, group, &keys.authenticator);
        let others: Vec<AccountId> =
            roster.accounts().into_iter().filter(|account| account != me.account()).collect();
        let own = roster.of(me.account()).map(|leaf| leaf.leaf);
        let own: Vec<u32> = own.filter(|leaf| *leaf != state.own_leaf).collect();
        if others.is_empty() && own.is_empty() {
            self.mls.forget(&mut doors(cx), group);
            self.out(cx, group, state);
            heard.push(Heard::Removed { group: *group, by: None });
            return;
        }
        let heir = heir(&state.agreed, me.account(), &others);
        let change = Change { remove: own, agreed: heir, ..Change::default() };
        if !change.remove.is_empty() || change.agreed.is_some() {
            let _refused = self.publish(cx, outbox, me, group, state, 0, change);
        } else if state.asked != Some(state.epoch) {
            self.ask(cx, outbox, me, group, state);
        }
    }

    /// Asks to be removed.
    fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        outbox: &mut Outbox,
        me: Author<'_>,
        group: &GroupId,
        state: &mut State,
    ) {
        let Ok(message) = self.mls.leave(&mut doors(cx), me.key, group) else { return };
        let out = routes::outgoing(group, state, me.account(), cx.now);
        let Some((place, target)) = out else { return };
        let sealed = super::seal::seal_pieces(cx, state, &place, kind::PROPOSAL, &message);
        for item in sealed.unwrap_or_default() {
            outbox.send(cx, Purpose::Quiet, target.clone(), TTL_MAX, item);
        }
        state.asked = Some(state.epoch);
        // Whoever commits it need not be an admin.
        if let (Some(keys), Ok(ask)) = (state.current(), Ask::new(message)) {
            vault::save(cx.store, &leaver_key(group, &keys.authenticator, state.own_leaf), &ask);
        }
    }
}

/// Ends a wish, and with it the rest of its ticket if it came to nothing.
pub(super) fn finish(
    cx: &mut Cx<'_>,
    group: &GroupId,
    number: u64,
    result: Result<(), Error>,
    heard: &mut Vec<Heard>,
) {
    let key = Part::Wish.key(group, &number.to_bytes());
    let Some(queued) = vault::load::<Queued>(cx.store, &key) else { return };
    cx.store.remove(&key);
    if result.is_err() {
        for (key, other) in Part::Wish.list::<Queued>(cx.store, group) {
            if other.ticket == queued.ticket && queued.ticket != 0 {
                cx.store.remove(&key);
            }
        }
    } else if !queued.last {
        return;
    }
    if queued.ticket != 0 {
        heard.push(Heard::Done { ticket: queued.ticket, result });
    }
}

/// A commit of ours is real: the keys that somebody wanted are drawn as well.
pub(super) fn finish_updates(cx: &mut Cx<'_>, group: &GroupId, heard: &mut Vec<Heard>) {
    for (key, queued) in Part::Wish.list::<Queued>(cx.store, group) {
        let number = key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if queued.wish == Wish::Update {
            finish(cx, group, number, Ok(()), heard);
        }
    }
}

/// Whether a commit may be made now.
fn in_time(state: &State, queued: &Queued) -> bool {
    let by_itself = queued.ticket == 0 && queued.wish == Wish::Update;
    // New keys on top of a commit that nobody has followed would heal nothing, and leave those
    // further behind who missed it.
    if by_itself && state.unheard.is_some() {
        return false;
    }
    // The end of the epoch may have been missed: a commit of ours would make a branch of its own.
    let two = matches!(state.agreed.kind, Kind::Direct { .. });
    state.care.away.is_none() || (two && !by_itself)
}

/// Whether the account may want this.
fn permit(agreed: &Agreed, account: &AccountId, wish: &Wish) -> Result<(), Error> {
    let own = |it: &AccountId| it == account;
    let allowed = match wish {
        Wish::Update | Wish::Readd { .. } => true,
        Wish::Add { packages } => packages.iter().all(|package| own(&package.account)),
        Wish::RemoveDevice { account, .. } => own(account),
        Wish::RemoveAccount { .. } | Wish::Agree { .. } => false,
    };
    if let Wish::Add { packages } = wish {
        for package in packages {
            if !policy::belongs(&agreed.kind, &package.account) {
                return Err(invalid("account", policy::Refusal::Stranger));
            }
        }
    }
    if allowed || is_admin(agreed, account) { Ok(()) } else { Err(Error::NotAdmin) }
}

/// Whether the one to be removed has asked for it.
fn asked_for(cx: &Cx<'_>, group: &GroupId, keys: &EpochKeys, roster: &Roster, wish: &Wish) -> bool {
    let Wish::RemoveDevice { account, key } = wish else { return false };
    let leaf = roster.of(account).find(|leaf| leaf.key == *key);
    leaf.is_none_or(|leaf| leavers(cx, group, &keys.authenticator).contains(&leaf.leaf))
}

/// The wish of whom a change removes, where only that makes it acceptable.
fn asked_by(
    cx: &Cx<'_>,
    group: &GroupId,
    state: &State,
    own: &AccountId,
    change: &Change,
) -> Option<Ask> {
    let epoch = state.current().filter(|_| !is_admin(&state.agreed, own))?.authenticator;
    let mut removed = change.remove.iter();
    removed.find_map(|leaf| vault::load(cx.store, &leaver_key(group, &epoch, *leaf)))
}

/// The devices that a change removes and does not add again.
fn removed_for_good(
    cx: &Cx<'_>,
    group: &GroupId,
    state: &State,
    change: &Change,
    joiners: &[Digest],
) -> Vec<Digest> {
    let Some(keys) = state.current() else { return Vec::new() };
    let roster = Roster::load(cx.store, group, &keys.authenticator);
    let removed = change.remove.iter().filter_map(|leaf| Some(roster.at(*leaf)?.key));
    removed.filter(|key| !joiners.contains(key)).collect()
}

fn plan_remove(state: &State, account: &AccountId, remove: Vec<u32>, whole: bool) -> Plan {
    if remove.is_empty() {
        return Plan::Fulfilled;
    }
    if remove.contains(&state.own_leaf) {
        return Plan::Refused(invalid("device", "this one cannot remove itself: leave instead"));
    }
    // Who comes back later comes back as a member.
    let mut agreed = None;
    if whole && state.agreed.kind == Kind::Group && state.agreed.admins.contains(account) {
        let mut changed = state.agreed.clone();
        Seat { account: *account, role: Role::Member }.take(&mut changed);
        agreed = Some(changed);
    }
    Plan::Commit(Change { remove, agreed, ..Change::default() })
}

/// What is agreed when the last admin goes: somebody else is one. `None` if nothing has to change.
fn heir(agreed: &Agreed, own: &AccountId, others: &[AccountId]) -> Option<Agreed> {
    if agreed.kind != Kind::Group || !agreed.admins.contains(own) {
        return None;
    }
    if others.iter().any(|account| agreed.admins.contains(account)) {
        return None;
    }
    let account = *others.first()?;
    let mut agreed = agreed.clone();
    Seat { account, role: Role::Admin }.take(&mut agreed);
    Some(agreed)
}

impl Seat {
    fn take(self, agreed: &mut Agreed) {
        let Self { account, role } = self;
        edit(&mut agreed.admins, |admins| {
            admins.retain(|admin| *admin != account);
            if role == Role::Admin {
                admins.insert(0, account);
                admins.truncate(32);
            }
        });
    }
}

/// How long to wait after a race that was lost: longer each time, and not all alike.
pub(super) fn back_off(cx: &mut Cx<'_>, lost: u32) -> Span {
    let most = 500_u64 << lost.min(7);
    Span::from_millis(50 + cx.rng.below(most))
}

/// Cuts packages into wishes of which each fits into one commit.
pub(crate) fn adds(packages: Vec<Package>) -> Vec<Wish> {
    let chunk = |packages: &[Package]| Wish::Add {
        packages: List::new(packages).expect("a chunk is within the bound"),
    };
    packages.chunks(ADDS_MAX).map(chunk).collect()
}

/// Returns what names a commit.
pub(super) fn digest_of(message: &[u8]) -> Digest {
    digest(Domain::Commit, &[message])
}
