//! Items that wait to be stored: kept until the swarm has them, sent again with the same bytes.

use session_core::{Encode as _, Span, Time, choice, record};
use session_protocol::inbox::{AccessRule, Capability};
use session_protocol::request::ItemBytes;

use crate::Cx;
use crate::messenger::api::{Effect, Target};
use crate::say::{GroupId, SayId};
use crate::thread::ThreadId;
use crate::vault::{self, Table, Vault};

/// How long the first repetition waits; later ones wait longer, up to [`AGAIN_MAX`].
const AGAIN: Span = Span::from_secs(2);

/// How long a repetition waits at most.
const AGAIN_MAX: Span = Span::from_secs(300);

/// Items on their way at once; the others wait.
const FLYING_MAX: usize = 16;

choice! {
    /// What an item is for: who is told when it is stored.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Purpose {
        /// A part of a message of ours.
        1 => Said {
            thread: ThreadId,
            id: SayId,
        },
        /// A receipt or another thing that nobody waits for.
        2 => Quiet,
        /// The commit that ends an epoch.
        3 => Commit {
            group: GroupId,
            epoch: u64,
        },
        /// An introduction: a welcome for an account.
        4 => Intro {
            group: GroupId,
        },
        /// What the account publishes.
        5 => Published,
    }
}

record! {
    /// An item that waits.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Waiting {
        pub(crate) purpose: Purpose,
        pub(crate) rule: AccessRule,
        pub(crate) write: Option<Capability>,
        pub(crate) namespace: session_core::Namespace,
        pub(crate) ttl: Span,
        pub(crate) tries: u32,
        pub(crate) data: ItemBytes,
    }
}

/// What is on its way, and what waits for another try. Only ids: the items stay in the vault.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    flying: std::collections::BTreeSet<u64>,
    again: session_core::timers::Timers<u64>,
    /// Waits for a place among those on their way.
    queued: std::collections::VecDeque<u64>,
}

fn key(id: u64) -> Vec<u8> {
    Table::Outbox.key(&[&id.to_bytes()])
}

impl Outbox {
    /// Takes up what an earlier run left.
    pub(crate) fn open(vault: &dyn Vault) -> Self {
        let mut outbox = Self::default();
        vault.scan(&Table::Outbox.key(&[]), &[], false, &mut |key, _| {
            if let Some(id) = key.get(1..).and_then(|rest| rest.first_chunk::<8>()) {
                outbox.queued.push_back(u64::from_be_bytes(*id));
            }
            true
        });
        outbox
    }

    /// Keeps an item and sends it as soon as there is a place.
    pub(crate) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        purpose: Purpose,
        to: Target,
        ttl: Span,
        data: ItemBytes,
    ) -> u64 {
        let id = crate::counter(cx.store, b"outbox");
        let Target { rule, write, namespace } = to;
        let waiting = Waiting { purpose, rule, write, namespace, ttl, tries: 0, data };
        vault::save(cx.store, &key(id), &waiting);
        self.queued.push_back(id);
        self.fly(cx);
        id
    }

    /// Sends what waits, as far as there are places.
    pub(crate) fn fly(&mut self, cx: &mut Cx<'_>) {
        while let Some(id) = self.again.pop(cx.now) {
            self.queued.push_back(id);
        }
        while self.flying.len() < FLYING_MAX {
            let Some(id) = self.queued.pop_front() else { return };
            let Some(it) = vault::load::<Waiting>(cx.store, &key(id)) else { continue };
            self.flying.insert(id);
            let to = Target { rule: it.rule, write: it.write, namespace: it.namespace };
            cx.effects.push(Effect::Store { id, to, ttl: it.ttl, data: it.data });
        }
    }

    /// Returns what an effect was for, if it is one of ours.
    pub(crate) fn waiting(&self, vault: &dyn Vault, id: u64) -> Option<Waiting> {
        if self.flying.contains(&id) { vault::load(vault, &key(id)) } else { None }
    }

    /// The item is stored, or nobody wants it any more.
    pub(crate) fn done(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.flying.remove(&id);
        self.again.cancel(id);
        cx.store.remove(&key(id));
        self.fly(cx);
    }

    /// The item was not stored: it is tried again, with the same bytes.
    pub(crate) fn again(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.flying.remove(&id);
        if let Some(mut it) = vault::load::<Waiting>(cx.store, &key(id)) {
            it.tries = it.tries.saturating_add(1);
            vault::save(cx.store, &key(id), &it);
            let wait = AGAIN.as_millis() << it.tries.min(10);
            let wait = Span::from_millis(wait.min(AGAIN_MAX.as_millis()));
            self.again.set(id, cx.now + wait);
        }
        self.fly(cx);
    }

    /// Returns when something is to be tried again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.again.next()
    }

    /// Returns how many items wait, those on their way included.
    pub(crate) fn len(&self) -> usize {
        self.flying.len() + self.again.len() + self.queued.len()
    }
}
