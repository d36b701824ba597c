//! What waits for a conversation and is not to be said any more.

use session_core::{Decode as _, Time};

use super::links::{self, Waiting};
use crate::outbox::Purpose;
use crate::say::{Peer, Said, Say, SayId};
use crate::thread;
use crate::vault::{self, Vault};

/// Takes out what waits for a peer and was forgotten or taken back here, or whose time is over, with
/// its edits. Returns the names of the messages.
pub(super) fn unsay(vault: &mut dyn Vault, now: Time, peer: &Peer) -> Vec<SayId> {
    let Some(thread) = thread::thread_of(vault, peer) else { return Vec::new() };
    let mut unsaid = Vec::new();
    let waiting = links::waiting_prefix(peer);
    let all = vault::list::<Waiting>(vault, &waiting, &[], false, links::WAITING_MAX);
    for (key, waiting) in all {
        let (of, whole) = match waiting.purpose {
            Purpose::Said { id, .. } => (id, true),
            _ => match Said::decode_exact(&waiting.said).map(|it| it.say) {
                Ok(Say::Edit { of, .. }) => (of, false),
                _ => continue,
            },
        };
        if !thread::is_said(vault, now, thread, of) {
            vault.remove(&key);
            unsaid.extend(whole.then_some(of));
        }
    }
    unsaid
}
