use std::collections::BTreeSet;

use session_core::{AccountId, InboxAddress, List, MessageId, Namespace, NodeId, Time};
use session_messaging::read_card;
use session_protocol::AccessRule;
use session_protocol::inbox::IDENTITY_CARD;
use session_protocol::limits::{IDS_MAX, SUBSCRIBED_NAMESPACES_MAX};
use session_protocol::owner::{ExpireMode, OwnerAction};
use session_protocol::request::{Cursor, Operation, Outcome, Select};

use super::{Asking, Door, Judging, Sent, Step, bytes_max, lie, witnesses};
use crate::command::{Answer, Error};

/// Bytes of a reply that is no list.
const OUTCOME_BYTES: usize = 512;

/// Bytes of a reply with the members of a swarm, or the card of an account.
const LONG_OUTCOME_BYTES: usize = 16 * 1024;

/// Something that one node does with one operation.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Delete { from: Door, ids: List<MessageId, IDS_MAX> },
    Expire { from: Door, ids: List<MessageId, IDS_MAX>, expiry: Time, mode: ExpireMode },
    Card { account: AccountId },
    Subscribe { from: Door, namespaces: List<Namespace, SUBSCRIBED_NAMESPACES_MAX> },
    Info,
    Ping,
    Swarm { address: InboxAddress },
}

/// A wish and what came of it.
pub(crate) struct One {
    pub(super) wish: Wish,
    pub(super) answer: Option<Answer>,
    /// Nodes that do not have the card.
    lacking: BTreeSet<NodeId>,
}

impl One {
    pub(crate) const fn new(wish: Wish) -> Self {
        Self { wish, answer: None, lacking: BTreeSet::new() }
    }

    pub(super) const fn is_signed(&self) -> bool {
        match &self.wish {
            Wish::Delete { from, .. }
            | Wish::Expire { from, .. }
            | Wish::Subscribe { from, .. } => from.is_signed(),
            Wish::Card { .. } | Wish::Info | Wish::Ping | Wish::Swarm { .. } => false,
        }
    }

    pub(super) fn room_bytes(&self) -> usize {
        match &self.wish {
            Wish::Delete { ids, .. } | Wish::Expire { ids, .. } => OUTCOME_BYTES + 48 * ids.len(),
            Wish::Card { .. } | Wish::Swarm { .. } => LONG_OUTCOME_BYTES,
            Wish::Subscribe { .. } | Wish::Info | Wish::Ping => OUTCOME_BYTES,
        }
    }

    pub(super) fn ask(&self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        let audience = asking.node;
        let operation = match self.wish.clone() {
            Wish::Delete { from, ids } => from.ask(asking, OwnerAction::Delete { ids })?,
            Wish::Expire { from, ids, expiry, mode } => {
                from.ask(asking, OwnerAction::Expire { ids, expiry, mode })?
            }
            Wish::Subscribe { from, namespaces } => {
                from.ask(asking, OwnerAction::Subscribe { namespaces, audience })?
            }
            Wish::Card { account } => Operation::RetrievePublic {
                address: AccessRule::from(account).address(),
                namespace: IDENTITY_CARD,
                select: Select::After { cursor: Cursor::default() },
                bytes_max: bytes_max(asking),
            },
            Wish::Info | Wish::Ping => Operation::Info,
            Wish::Swarm { address } => Operation::GetSwarm { address },
        };
        Ok((vec![operation], Sent::default()))
    }

    pub(super) fn judge(&mut self, judging: &mut Judging<'_>, outcome: Outcome) -> Step {
        let node = judging.node;
        let answer = match (&self.wish, outcome) {
            (Wish::Card { account }, Outcome::Items { items, .. }) => {
                let mut cards = items.iter().filter_map(|item| read_card(account, &item.data).ok());
                match cards.next() {
                    Some(card) => Answer::Card(card),
                    None => return self.lacks_card(judging, *account),
                }
            }
            (Wish::Delete { .. }, Outcome::Deleted { ids, nodes }) => {
                Answer::Deleted { node, ids: ids.into_vec(), nodes }
            }
            (Wish::Expire { .. }, Outcome::Expiring { expiries, nodes }) => {
                Answer::Expiring { node, expiries: expiries.into_vec(), nodes }
            }
            (Wish::Info, Outcome::Info { info }) if info.node == node => Answer::Info(info),
            // Where pushing starts does not matter: reading goes on where it stopped last.
            (Wish::Ping, Outcome::Info { .. })
            | (Wish::Subscribe { .. }, Outcome::Subscribed { .. }) => {
                Answer::Pong { round_trip: judging.round_trip }
            }
            (Wish::Swarm { .. }, Outcome::Swarm { swarm, members }) => {
                Answer::Swarm { swarm, members: members.into_vec() }
            }
            _ => return lie(node, "the outcome of another operation"),
        };
        self.answer = Some(answer);
        Step::Done
    }

    fn lacks_card(&mut self, judging: &Judging<'_>, account: AccountId) -> Step {
        self.lacking.insert(judging.node);
        let error = Error::NoCard(account);
        // Enough of them: what the last one says is believed.
        if self.lacking.len() >= witnesses(judging) {
            Step::Fatal(error)
        } else {
            Step::Elsewhere(error)
        }
    }
}
