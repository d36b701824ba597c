//! How an epoch begins and ends, and how a group does.

use session_core::{AccountId, Digest, Domain, List, Span, Time};
use session_crypto::kdf;
use session_protocol::limits::TTL_MAX;

use super::seal::invalid;
use super::state::{
    Care, EpochKeys, Held, Known, Leaf, Part, Phase, Recent, Roster, Route, Stamp, State, Usage,
};
use super::{
    Agreed, Author, Changed, Groups, HORIZON, Heard, Inviter, JoinError, Joined, Kind, RETAIN,
    doors, policy,
};
use crate::Cx;
use crate::boxes;
use crate::chain::Chain;
use crate::messenger::api::Error;
use crate::mls::{EpochInfo, KeyAgreement as _, MlsError};
use crate::say::GroupId;
use crate::secret::Secret;
use crate::vault::{self, Table, Vault};

/// Labels of what is exported from an epoch.
const HEADER: &str = "lux-session header";
const ROUTE: &str = "lux-session route";

/// For so long whoever let a device in can do so once more, because its commit has lost.
const OVER: Span = Span::from_days(1);

/// How an epoch came about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin {
    pub(super) commit: Digest,
    pub(super) by: Option<u32>,
    pub(super) stamp: Stamp,
    /// Whether it was stored much later than it was made.
    pub(super) late: bool,
}

/// Where the chain of a leaf lies: under its branch, so that two branches do not mix.
pub(super) fn chain_key(group: &GroupId, keys: &EpochKeys, leaf: u32) -> Vec<u8> {
    Table::Chain.key(&[&group.bytes, keys.authenticator.as_ref(), &leaf.to_be_bytes()])
}

/// Returns a list of nothing.
pub(super) fn empty<T, const MAX: usize>() -> List<T, MAX> {
    List::new(Vec::new()).unwrap_or_else(|_| unreachable!("nothing is within every bound"))
}

/// Changes a bounded list; what is too much at its beginning goes.
pub(super) fn edit<T, const MAX: usize>(list: &mut List<T, MAX>, change: impl FnOnce(&mut Vec<T>)) {
    let mut values = core::mem::replace(list, empty()).into_vec();
    change(&mut values);
    let surplus = values.len().saturating_sub(MAX);
    values.drain(..surplus);
    *list = List::new(values).unwrap_or_else(|_| unreachable!("the surplus is gone"));
}

impl Groups {
    /// Makes a group of which this device is the only member.
    ///
    /// # Errors
    /// When what is to be agreed contradicts itself.
    pub(crate) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        agreed: Agreed,
    ) -> Result<GroupId, Error> {
        let group = GroupId { bytes: cx.rng.bytes32() };
        let route = Secret::generate(cx.rng);
        self.mls
            .create(&mut doors(cx), me.key, me.credential, &group, &agreed)
            .map_err(|why| invalid("group", why))?;
        let info = self.mls.info(cx.store, &group).ok_or(Error::NotFound { what: "group" })?;
        let inviter = Digest::default();
        self.begin(cx, &group, info, inviter, route, cx.now)
            .map_err(|why| invalid("group", why))?;
        Ok(group)
    }

    /// Joins a group that `from` has added this device to.
    ///
    /// # Errors
    /// When the welcome is not for us, replayed, not signed by that device, or the group is not what
    /// it should be. Nothing has changed then.
    #[expect(clippy::too_many_arguments, reason = "a welcome has parts")]
    pub(crate) fn join(
        &mut self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        from: &Inviter,
        welcome: &[u8],
        tree: &[u8],
        route: &Secret,
    ) -> Result<Joined, JoinError> {
        let before = State::load(cx.store, group);
        let over = before.as_ref().is_some_and(|state| goes_over(cx, group, state, from));
        if !over && before.as_ref().is_some_and(State::is_member) {
            return Err(JoinError::There);
        }
        // Until it is certain that the welcome is good, there is a way back.
        let old = self.mls.snapshot(cx.store, group);
        self.mls.forget(&mut doors(cx), group);
        let joined = self.try_join(cx, me, group, from, welcome, tree, before.as_ref());
        let (info, key_package) = match joined {
            Ok(joined) => joined,
            Err(why) => {
                self.mls.forget(&mut doors(cx), group);
                if !old.is_empty() {
                    let back = self.mls.restore(&mut doors(cx), group, &old);
                    back.map_err(|why| JoinError::Refused(invalid("group", why)))?;
                }
                return Err(why);
            }
        };
        let (epoch, agreed) = (info.epoch, info.agreed.clone());
        let again = before.is_some_and(|state| state.phase == Phase::Lost);
        let unheard = if over { Part::Recent.list::<Recent>(cx.store, group) } else { Vec::new() };
        // What came and did not open may belong to the other branch.
        let held = if over { Part::Held.list::<Held>(cx.store, group) } else { Vec::new() };
        self.wipe(cx, group);
        // What was said to this device may have been said as soon as it was added.
        let since = cx.now - TTL_MAX;
        self.begin(cx, group, info, from.key, route.clone(), since)
            .map_err(|why| JoinError::Refused(invalid("welcome", why)))?;
        // What was said on the other branch is said again.
        for (_, mut recent) in unheard {
            recent.epoch = epoch;
            Part::Recent.append(cx.store, group, &recent);
        }
        for (_, held) in held {
            Part::Held.append(cx.store, group, &held);
        }
        let unknown = unknown(cx, group, me);
        Ok(Joined { group: *group, epoch, agreed, key_package, again, unknown })
    }

    #[expect(clippy::too_many_arguments, reason = "a welcome has parts")]
    fn try_join(
        &self,
        cx: &mut Cx<'_>,
        me: Author<'_>,
        group: &GroupId,
        from: &Inviter,
        welcome: &[u8],
        tree: &[u8],
        before: Option<&State>,
    ) -> Result<(EpochInfo, Digest), JoinError> {
        let refused = |why: &dyn core::fmt::Display| JoinError::Refused(invalid("welcome", why));
        let joined = self.mls.join(&mut doors(cx), welcome, tree);
        let joined = joined.map_err(|why| match why {
            MlsError::NoKeyPackage => JoinError::NotForUs,
            why => refused(&why),
        })?;
        if joined.group != *group {
            self.mls.forget(&mut doors(cx), &joined.group);
            return Err(refused(&"it is to another group"));
        }
        let info = self.mls.info(cx.store, group);
        let info = info.ok_or_else(|| refused(&"the group is not there"))?;
        policy::check_joined(&info, me.account(), joined.by, from).map_err(|why| refused(&why))?;
        let left = |state: &State| match state.is_member() {
            // From a branch that others have left, this device goes over to another one.
            true => state.epochs.iter().any(|keys| keys.authenticator == info.authenticator),
            false => info.epoch <= state.epoch,
        };
        if before.is_some_and(left) {
            return Err(refused(&"it is to an epoch that this device has left"));
        }
        if before.is_some_and(|state| info.agreed.kind != state.agreed.kind) {
            return Err(refused(&"the group was of another kind"));
        }
        Ok((info, joined.key_package))
    }

    /// Writes the first state of a group in which something may have been said since `since`.
    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        info: EpochInfo,
        inviter: Digest,
        seed: Secret,
        since: Time,
    ) -> Result<(), MlsError> {
        let route = Route { seed, epoch: info.epoch, ended: Time::MAX };
        let mut state = State {
            version: 1,
            agreed: info.agreed.clone(),
            epoch: info.epoch,
            own_leaf: info.own_leaf,
            joined: cx.now,
            inviter,
            since,
            routes: List::new([route]).expect("one is below the bound"),
            epochs: empty(),
            usage: Usage::default(),
            flight: None,
            unheard: None,
            behind: None,
            burned: 0,
            lost_races: 0,
            commit_after: cx.now,
            asked: None,
            phase: Phase::Member,
            care: Care::default(),
        };
        self.enter(cx, group, &mut state, info, Origin::default())?;
        state.save(cx.store, group);
        self.touch(*group, cx.now);
        Ok(())
    }

    /// Takes over the epoch that key agreement is in now.
    pub(super) fn enter(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        state: &mut State,
        info: EpochInfo,
        origin: Origin,
    ) -> Result<(), MlsError> {
        let header = self.mls.export(&mut doors(cx), group, HEADER)?;
        let parts: [&[u8]; 2] = [&group.bytes, &info.epoch.to_be_bytes()];
        let header = Secret::from(kdf(Domain::HeaderKey, header.expose(), &parts));
        let before = state.current().map(|keys| keys.authenticator).unwrap_or_default();
        let before = Roster::load(cx.store, group, &before);
        let committer = origin.by.and_then(|leaf| before.at(leaf));
        let keys = EpochKeys {
            epoch: info.epoch,
            authenticator: info.authenticator,
            header,
            began: cx.now,
            ended: Time::MAX,
            commit: origin.commit,
            stamp: origin.stamp,
            late: origin.late,
            by: committer.map(|leaf| leaf.key).unwrap_or_default(),
            by_admin: committer.is_some_and(|it| policy::is_admin(&state.agreed, &it.account)),
        };
        // Former members must not watch any longer. A device that was let in again has its key.
        let stays = |leaf: &Leaf| info.members.iter().any(|member| member.key_hash == leaf.key);
        if !before.leaves.iter().all(stays) {
            let seed = self.mls.export(&mut doors(cx), group, ROUTE)?;
            turn_route(state, Route { seed, epoch: info.epoch, ended: Time::MAX }, cx.now);
        }
        let leaves: Vec<Leaf> = info.members.iter().map(Leaf::from).collect();
        let roster = Roster { leaves: List::new(leaves).map_err(too_many)? };
        roster.save(cx.store, group, &keys.authenticator);
        if let Kind::Direct { .. } = info.agreed.kind {
            self.start_chains(cx, group, &keys, &roster, info.own_leaf)?;
        }
        turn_epoch(cx, group, state, keys);
        state.agreed = info.agreed;
        state.epoch = info.epoch;
        state.own_leaf = info.own_leaf;
        state.flight = None;
        state.behind = None;
        state.asked = None;
        state.burned = 0;
        let stale = core::mem::take(&mut state.care.stale);
        state.care = Care { looked: cx.now, stale, ..Care::default() };
        self.touch(*group, cx.now);
        Ok(())
    }

    /// Starts the chain of this device and of each device of the other account. Devices of the own
    /// account get none: whoever is in the group could seal in their name.
    fn start_chains(
        &self,
        cx: &mut Cx<'_>,
        group: &GroupId,
        keys: &EpochKeys,
        roster: &Roster,
        own_leaf: u32,
    ) -> Result<(), MlsError> {
        let root = self.mls.export_once(&mut doors(cx), group)?.key();
        let own = roster.at(own_leaf).map(|leaf| leaf.account);
        let place = boxes::Place { address: Default::default(), group: *group, epoch: keys.epoch };
        for leaf in &roster.leaves {
            if leaf.leaf == own_leaf || Some(leaf.account) != own {
                let chain = Chain::start(&root, &place, leaf.leaf);
                vault::save(cx.store, &chain_key(group, keys, leaf.leaf), &chain);
            }
        }
        Ok(())
    }

    /// Removes what is kept of a group beside key agreement.
    pub(super) fn wipe(&mut self, cx: &mut Cx<'_>, group: &GroupId) {
        for part in Part::ALL {
            part.clear(cx.store, group);
        }
        remove_all(cx.store, &Table::Chain.key(&[&group.bytes]));
        self.reads.retain(|_, reading| reading.group() != *group);
        self.touch(*group, cx.now);
    }

    /// Forgets a group altogether, without a word to anybody.
    pub(crate) fn forget(&mut self, cx: &mut Cx<'_>, group: &GroupId) {
        self.mls.forget(&mut doors(cx), group);
        self.wipe(cx, group);
        self.timers.cancel(*group);
    }

    /// Ends what is too old: epochs and mailboxes, and ways back.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>, group: &GroupId, state: &mut State) {
        let now = cx.now;
        let over = |ended: Time| ended != Time::MAX && now >= ended + RETAIN;
        // Who has not followed our commit yet still speaks in the epoch before it.
        let needed = state.unheard.as_ref().map(|commit| commit.epoch.saturating_sub(1));
        let mut gone = Vec::new();
        edit(&mut state.epochs, |epochs| {
            epochs.retain(|keys| {
                let keep = !over(keys.ended) || needed.is_some_and(|first| keys.epoch >= first);
                if !keep {
                    gone.push(keys.clone());
                }
                keep
            });
        });
        gone.iter().for_each(|keys| close(cx.store, group, keys));
        if state.routes.iter().any(|route| over(route.ended)) {
            edit(&mut state.routes, |routes| routes.retain(|route| !over(route.ended)));
        }
        if !gone.is_empty() {
            self.watch.touch(*group);
        }
        let no_way_back =
            |keys: &&EpochKeys| keys.ended != Time::MAX && now >= keys.ended + HORIZON;
        for keys in state.epochs.iter().filter(no_way_back) {
            remove_all(cx.store, &Part::Snapshot.key(group, keys.authenticator.as_ref()));
        }
        if state.current().is_some_and(|keys| now >= keys.began + HORIZON) {
            Part::Snapshot.clear(cx.store, group);
            Part::Recent.clear(cx.store, group);
        }
    }
}

/// Compares two rosters: what the later one has more and less. A device that came in again is both.
pub(super) fn difference(
    group: &GroupId,
    before: (&Agreed, &Roster),
    state: &State,
    after: &Roster,
    by: Option<u32>,
) -> Changed {
    let missing = |from: &Roster, than: &Roster| {
        let leaves = from.leaves.iter().filter(|leaf| !than.leaves.contains(leaf));
        leaves.cloned().collect::<Vec<_>>()
    };
    Changed {
        group: *group,
        epoch: state.epoch,
        by: by.and_then(|leaf| before.1.at(leaf).cloned()),
        added: missing(after, before.1),
        removed: missing(before.1, after),
        before: before.0.clone(),
        agreed: state.agreed.clone(),
    }
}

/// Whether another welcome is to be followed, because the branch may have lost on which this device
/// came in: nobody has been heard on it, or whoever let it in does so once more, and shortly after.
/// Others cannot draw it to a branch of their own.
fn goes_over(cx: &Cx<'_>, group: &GroupId, state: &State, from: &Inviter) -> bool {
    let again = from.key == state.inviter && cx.now < state.joined + OVER;
    let unheard = !super::is_heard(cx.store, group);
    state.phase == Phase::Member && state.is_welcomed() && (unheard || again)
}

/// Accounts with devices of which it is not known whether they list them.
fn unknown(cx: &Cx<'_>, group: &GroupId, me: Author<'_>) -> Vec<AccountId> {
    let Some(state) = State::load(cx.store, group) else { return Vec::new() };
    let Some(keys) = state.current() else { return Vec::new() };
    let roster = Roster::load(cx.store, group, &keys.authenticator);
    let accounts = unconfirmed(cx.store, &roster, state.own_leaf);
    accounts.filter(|account| account != me.account()).collect()
}

/// Asks about each device whose account has not confirmed it.
pub(super) fn checks(vault: &dyn Vault, roster: &Roster, own: u32) -> Vec<Heard> {
    unconfirmed(vault, roster, own).map(|account| Heard::Check { account }).collect()
}

/// The account of each device, but the own one, whose account has not confirmed it.
fn unconfirmed(vault: &dyn Vault, roster: &Roster, own: u32) -> impl Iterator<Item = AccountId> {
    let unknown = move |leaf: &&Leaf| {
        let known = Known::load(vault, &leaf.account);
        leaf.leaf != own && known.is_none_or(|known| !known.keys.contains(&leaf.key))
    };
    roster.leaves.iter().filter(unknown).map(|leaf| leaf.account)
}

fn turn_route(state: &mut State, next: Route, now: Time) {
    edit(&mut state.routes, |routes| {
        if let Some(last) = routes.last_mut() {
            last.ended = now;
        }
        routes.push(next);
    });
}

fn turn_epoch(cx: &mut Cx<'_>, group: &GroupId, state: &mut State, next: EpochKeys) {
    let (now, room) = (cx.now, state.room());
    let mut gone = Vec::new();
    edit(&mut state.epochs, |epochs| {
        if let Some(last) = epochs.last_mut() {
            last.ended = now;
        }
        epochs.push(next);
        gone = epochs.drain(..epochs.len().saturating_sub(room)).collect();
    });
    gone.iter().for_each(|keys| close(cx.store, group, keys));
}

/// Erases what opens the messages of an epoch.
pub(super) fn close(vault: &mut dyn Vault, group: &GroupId, keys: &EpochKeys) {
    vault.remove(&Part::Roster.key(group, keys.authenticator.as_ref()));
    for part in [Part::Snapshot, Part::Leaver] {
        remove_all(vault, &part.key(group, keys.authenticator.as_ref()));
    }
    remove_all(vault, &Table::Chain.key(&[&group.bytes, keys.authenticator.as_ref()]));
}

pub(super) fn remove_all(vault: &mut dyn Vault, prefix: &[u8]) {
    let mut keys = Vec::new();
    vault.scan(prefix, &[], false, &mut |key, _| {
        keys.push(key.to_vec());
        true
    });
    keys.iter().for_each(|key| vault.remove(key));
}

fn too_many(why: session_core::codec::OverLimit) -> MlsError {
    MlsError::Refused { what: "a group", why: why.to_string() }
}
