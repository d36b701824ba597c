//! Looking accounts up: their manifest, and key packages where somebody is to be added.
//!
//! Searches live in memory only: what they are for is in the vault, and they begin again after a
//! restart.

use std::collections::BTreeMap;

use session_core::{AccountId, Span, Time};
use session_protocol::manifest::SignedManifest;
use session_protocol::request::Item;

use super::Messenger;
use super::api::{Effect, Error, NetFailure};
use super::links;
use crate::Cx;
use crate::account;
use crate::say::{DeviceId, GroupId};

/// Searches at once; more wait.
const SEARCHES_MAX: usize = 64;

/// Whom something is to be said to, and who cannot be reached, is looked up again after so long;
/// doubled each time.
const TALK_AGAIN: Span = Span::from_secs(2);

/// Most doublings of that: about half an hour.
const TALK_DOUBLINGS_MAX: u32 = 10;

/// Why an account is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Somebody asked.
    Answer { command: u64 },
    /// What is known of it is old.
    Refresh,
    /// Something is to be said, and there is no conversation.
    Talk,
    /// Its devices are to be added to a group.
    Add { group: GroupId, tally: Option<u64> },
    /// A device in a group says that it belongs to it.
    Check,
}

impl Goal {
    const fn needs_packages(&self) -> bool {
        matches!(self, Self::Talk | Self::Add { .. })
    }
}

/// What is being read.
#[derive(Clone, Debug)]
enum Stage {
    Waiting,
    Manifest,
    Packages(Box<SignedManifest>),
}

#[derive(Debug)]
struct Search {
    stage: Stage,
    goals: Vec<Goal>,
}

/// Accounts that are looked up.
#[derive(Debug, Default)]
pub(super) struct Finder {
    searches: BTreeMap<AccountId, Search>,
    reads: BTreeMap<u64, AccountId>,
    /// Those who could not be reached: how often in a row, and when they are looked up again.
    again: BTreeMap<AccountId, (u32, Time)>,
}

impl Finder {
    /// Notes that an account cannot be reached; tells whether that is new.
    pub(super) fn unreached(&mut self, account: AccountId, now: Time) -> bool {
        let (tries, at) = self.again.entry(account).or_default();
        *at = now + Span::from_millis(TALK_AGAIN.as_millis() << *tries);
        let new = *tries == 0;
        *tries = (*tries + 1).min(TALK_DOUBLINGS_MAX);
        new
    }

    /// Notes that a conversation with an account was begun.
    pub(super) fn talks(&mut self, account: &AccountId) {
        self.again.remove(account);
    }

    /// Returns when somebody is looked up again.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.again.values().map(|(_, at)| *at).min()
    }
}

/// What was found for a goal.
pub(super) struct Found {
    pub(super) manifest: SignedManifest,
    /// A key package of each device that has one; empty where none was needed.
    pub(super) packages: Vec<(DeviceId, Vec<u8>)>,
}

impl Messenger {
    /// Looks an account up for a goal.
    pub(super) fn find(&mut self, cx: &mut Cx<'_>, account: AccountId, goal: Goal) {
        let searches = &mut self.finder.searches;
        let search = searches
            .entry(account)
            .or_insert_with(|| Search { stage: Stage::Waiting, goals: Vec::new() });
        if !search.goals.contains(&goal) {
            search.goals.push(goal);
        }
        self.search_on(cx);
    }

    /// Begins searches that wait, as far as there is room.
    fn search_on(&mut self, cx: &mut Cx<'_>) {
        let mut running =
            self.finder.searches.values().filter(|it| !matches!(it.stage, Stage::Waiting)).count();
        for (account, search) in &mut self.finder.searches {
            if running >= SEARCHES_MAX {
                return;
            }
            if matches!(search.stage, Stage::Waiting) {
                search.stage = Stage::Manifest;
                running += 1;
                let id = crate::counter(cx.store, b"read");
                self.finder.reads.insert(id, *account);
                cx.effects.push(Effect::Read { id, from: account::find_source(account) });
            }
        }
    }

    /// Takes what was read for a search; `None` if it was for something else.
    pub(super) fn found(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        outcome: &Result<Vec<Item>, NetFailure>,
    ) -> Option<()> {
        let account = self.finder.reads.remove(&id)?;
        let search = self.finder.searches.get_mut(&account)?;
        match core::mem::replace(&mut search.stage, Stage::Waiting) {
            Stage::Waiting => {}
            Stage::Manifest => self.manifest_read(cx, account, outcome),
            Stage::Packages(manifest) => self.packages_read(cx, account, &manifest, outcome),
        }
        self.search_on(cx);
        Some(())
    }

    fn manifest_read(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        outcome: &Result<Vec<Item>, NetFailure>,
    ) {
        let no_items = Vec::new();
        let items = match outcome {
            Ok(items) => items,
            Err(NetFailure::Missing) => &no_items,
            Err(failure) => {
                let why = failure.to_string();
                return self.give_up(cx, account, &Error::Unreachable { account, why });
            }
        };
        let Some(manifest) = self.learn(cx, &account, items) else {
            let why = "it has published nothing on this network, or long ago".to_owned();
            return self.give_up(cx, account, &Error::Unreachable { account, why });
        };
        let Some(search) = self.finder.searches.get_mut(&account) else { return };
        let (later, now): (Vec<_>, Vec<_>) =
            core::mem::take(&mut search.goals).into_iter().partition(Goal::needs_packages);
        if later.is_empty() {
            self.finder.searches.remove(&account);
        } else {
            search.goals = later;
            search.stage = Stage::Packages(Box::new(manifest.clone()));
            let id = crate::counter(cx.store, b"read");
            self.finder.reads.insert(id, account);
            cx.effects.push(Effect::Read { id, from: account::package_source(&manifest) });
        }
        for goal in now {
            self.reached(
                cx,
                account,
                goal,
                Ok(&Found { manifest: manifest.clone(), packages: vec![] }),
            );
        }
    }

    fn packages_read(
        &mut self,
        cx: &mut Cx<'_>,
        account: AccountId,
        manifest: &SignedManifest,
        outcome: &Result<Vec<Item>, NetFailure>,
    ) {
        let no_items = Vec::new();
        let items = outcome.as_ref().unwrap_or(&no_items);
        let chosen = account::choose_packages(
            cx.store,
            cx.rng,
            cx.now,
            manifest,
            items,
            self.groups.agreement(),
        );
        let packages = match (chosen, outcome) {
            (Ok(packages), _) => packages,
            (Err(_), Err(failure)) if *failure != NetFailure::Missing => {
                let why = failure.to_string();
                return self.give_up(cx, account, &Error::Unreachable { account, why });
            }
            (Err(error), _) => return self.give_up(cx, account, &error),
        };
        let Some(search) = self.finder.searches.remove(&account) else { return };
        let found = Found { manifest: manifest.clone(), packages };
        // Key packages are for one use: what comes second is looked up again.
        let mut goals = search.goals.into_iter();
        if let Some(goal) = goals.next() {
            self.reached(cx, account, goal, Ok(&found));
        }
        for goal in goals {
            self.find(cx, account, goal);
        }
    }

    /// Looks up again whom something still waits for, when it is time.
    pub(super) fn find_again(&mut self, cx: &mut Cx<'_>) {
        let again = &mut self.finder.again;
        if again.values().all(|(_, at)| cx.now < *at) {
            return;
        }
        let mut wanted = links::waited_for(cx.store);
        wanted.extend(links::lost(cx.store));
        again.retain(|account, _| wanted.contains(account));
        let mut due = Vec::new();
        for (account, (_, at)) in again.iter_mut().filter(|(_, (_, at))| *at <= cx.now) {
            // Until the answer has come.
            *at = Time::MAX;
            due.push(*account);
        }
        for account in due {
            self.find(cx, account, Goal::Talk);
        }
    }

    fn give_up(&mut self, cx: &mut Cx<'_>, account: AccountId, error: &Error) {
        let Some(search) = self.finder.searches.remove(&account) else { return };
        for goal in search.goals {
            self.reached(cx, account, goal, Err(error.clone()));
        }
    }
}
