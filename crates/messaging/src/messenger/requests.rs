//! What strangers began: accepted, declined, or dropped because there is too much of it.

use session_core::{AccountId, Time};

use super::api::{Answer, Error};
use super::{Messenger, links};
use crate::Cx;
use crate::group::{self, Phase};
use crate::say::{Copied, DeviceId, GroupId, Peer, SayId, Standing};
use crate::thread::{self, Body, Message, ThreadId};
use crate::vault::{self, Table, Vault};

/// Groups of strangers that wait for a decision. With one more, the oldest is dropped.
const GROUPS_MAX: usize = 100;

/// Messages of a stranger that are reported as delivered once it is accepted, the newest.
const HELD_MAX: usize = 1000;

impl Messenger {
    /// Accepts a group into which a stranger brought this account, or declines it: then it is left,
    /// and nothing of it is shown any more.
    pub(super) fn set_group(
        &mut self,
        cx: &mut Cx<'_>,
        group: GroupId,
        standing: Standing,
    ) -> Result<Answer, Error> {
        let peer = Peer::Group { group };
        let thread = thread::thread_of(cx.store, &peer).ok_or(Error::NoConversation(peer))?;
        match standing {
            // Whoever declined is on the way out, and comes back only if it is added again.
            Standing::Accepted => match group::phase(cx.store, &group) {
                Some(Phase::Member) => {}
                Some(Phase::Lost) => return Err(Error::Lost),
                Some(Phase::Leaving | Phase::Removed) | None => {
                    return Err(Error::NoConversation(peer));
                }
            },
            Standing::Blocked => {
                // Whoever was removed meanwhile has left.
                if Self::member(cx, &group).is_ok() {
                    self.groups.leave(cx, &group)?;
                }
            }
            Standing::Stranger => {
                let why = "a group is accepted or declined".to_owned();
                return Err(Error::Invalid { field: "standing", why });
            }
        }
        self.copy(cx, Copied::Group { group, standing });
        self.stand(cx, thread, standing);
        self.show(cx, thread, Vec::new(), false);
        Ok(Answer::Done)
    }

    /// Treats a thread otherwise from now on. Strangers are told nothing; once they are accepted,
    /// they learn that what is held here was delivered.
    pub(super) fn stand(&mut self, cx: &mut Cx<'_>, thread: ThreadId, standing: Standing) {
        let before = thread::summary(cx.store, thread);
        thread::set_standing(cx.store, thread, standing);
        let Some(before) = before else { return };
        if (before.standing, standing) == (Standing::Stranger, Standing::Accepted) {
            let held = thread::messages(cx.store, thread, None, HELD_MAX);
            let held: Vec<(SayId, _)> =
                held.iter().filter(|it| is_held(it)).map(|it| (it.id, it.author)).collect();
            self.note_receipts(cx, before.peer, &held, false);
        }
    }
}

impl Messenger {
    /// Remembers who brought this account into a group, until that is accepted.
    pub(super) fn note_stranger(&mut self, cx: &mut Cx<'_>, inviter: AccountId, group: GroupId) {
        let mut waiting = waiting(cx.store, b"");
        waiting.sort();
        let surplus = (waiting.len() + 1).saturating_sub(GROUPS_MAX);
        for (_, inviter, group) in waiting.into_iter().take(surplus) {
            self.drop_group(cx, &inviter, &group);
        }
        vault::save(cx.store, &stranger_key(&inviter, &group), &cx.now);
    }

    /// Forgets a group of a stranger: its keys, its mailboxes, what was said in it.
    pub(super) fn drop_group(&mut self, cx: &mut Cx<'_>, inviter: &AccountId, group: &GroupId) {
        cx.store.remove(&stranger_key(inviter, group));
        self.groups.forget(cx, group);
        if let Some(link) = links::remove_link(cx.store, group) {
            if let Peer::Account { account } = link.peer
                && links::primary(cx.store, &account) == Some(*group)
            {
                links::set_primary(cx.store, &account, None);
            }
            thread::forget_all(cx.store, cx.now, link.thread);
        }
        self.watch_stale = true;
    }
}

fn stranger_key(inviter: &AccountId, group: &GroupId) -> Vec<u8> {
    Table::Meta.key(&[b"m/stranger/", inviter.as_ref(), &group.bytes])
}

/// Returns the groups that wait for a decision: since when, who began them, which.
fn waiting(vault: &mut dyn Vault, inviter: &[u8]) -> Vec<(Time, AccountId, GroupId)> {
    let prefix = Table::Meta.key(&[b"m/stranger/"]);
    let of = [prefix.as_slice(), inviter].concat();
    let (mut found, mut decided) = (Vec::new(), Vec::new());
    for (key, since) in vault::list::<Time>(vault, &of, &[], false, usize::MAX) {
        let rest = key.get(prefix.len()..).unwrap_or_default();
        let (Some(inviter), Some(group)) = (rest.first_chunk::<32>(), rest.last_chunk::<32>())
        else {
            continue;
        };
        let group = GroupId { bytes: *group };
        let thread = links::link(vault, &group).and_then(|it| thread::summary(vault, it.thread));
        match thread.map(|it| it.standing) {
            Some(Standing::Accepted) => decided.push(key),
            _ => found.push((since, AccountId::from(*inviter), group)),
        }
    }
    decided.iter().for_each(|key| vault.remove(key));
    found
}

/// Returns the groups into which a stranger has brought this account, and that are not accepted.
pub(super) fn groups_of(vault: &mut dyn Vault, inviter: &AccountId) -> Vec<GroupId> {
    waiting(vault, inviter.as_ref()).into_iter().map(|(_, _, group)| group).collect()
}

/// Whether somebody else said it to this account: what was said before it came was not.
fn is_held(message: &Message) -> bool {
    let line = matches!(message.body, Body::Line { .. });
    !message.own && !line && message.device != DeviceId::default()
}
