//! What the client does for the messenger, and what the answers mean to it.

use std::collections::BTreeMap;

use session_core::{Encode as _, MessageId, Namespace};
use session_messaging::messenger::api::{NetFailure, Stored};
use session_protocol::request::{Item, Refusal};

use crate::command::{Answer, Command, Error, Inbox};
use crate::reader::InboxReader;

/// Nodes that are read from: what one of them withholds, the other one has.
const NODES: usize = 2;

/// Most pages of one reading. The rest is as good as not there: a mailbox that somebody filled must
/// not fill our memory.
const PAGES_MAX: usize = 32;

/// Whose command it is.
pub(super) enum Errand {
    /// Stores an item of the messenger's.
    Store { id: u64 },
    /// Reads for the messenger.
    Read(Box<Gathering>),
    /// Deletes for the messenger, who does not ask what came of it.
    Erase,
    /// The program's.
    Program { id: u64 },
}

/// Everything that is in a compartment, page by page.
pub(super) struct Gathering {
    id: u64,
    from: Inbox,
    namespace: Namespace,
    reader: InboxReader,
    items: BTreeMap<MessageId, Item>,
    pages: usize,
}

impl Gathering {
    pub(super) fn new(id: u64, from: Inbox, namespace: Namespace) -> Self {
        let (reader, items) = (InboxReader::new(), BTreeMap::new());
        Self { id, from, namespace, reader, items, pages: 0 }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Returns what is to be asked next.
    pub(super) fn command(&self) -> Command {
        Command::Retrieve {
            from: self.from.clone(),
            namespace: self.namespace,
            cursors: self.reader.cursors(self.namespace),
            nodes: NODES,
        }
    }

    /// Takes an answer. Returns everything once there is no more.
    pub(super) fn take(
        &mut self,
        result: Result<Answer, Error>,
    ) -> Option<Result<Vec<Item>, NetFailure>> {
        let pages = match result {
            Ok(Answer::Pages(pages)) => pages,
            Ok(_) => return Some(Err(unexpected())),
            Err(error) => return Some(Err(failure(error))),
        };
        let mut more = false;
        for page in pages {
            more |= page.more;
            self.pages += 1;
            let new = self.reader.absorb(page);
            self.items.extend(new.into_iter().map(|item| (item.id, item)));
        }
        if more && self.pages < PAGES_MAX {
            return None;
        }
        let items: Vec<Item> = core::mem::take(&mut self.items).into_values().collect();
        Some(if items.is_empty() { Err(NetFailure::Missing) } else { Ok(items) })
    }
}

/// Says what became of an item.
pub(super) fn stored(result: Result<Answer, Error>) -> Result<Stored, NetFailure> {
    let Answer::Stored(proofs) = result.map_err(failure)? else { return Err(unexpected()) };
    let proof = proofs.into_iter().next().ok_or_else(unexpected)?;
    Ok(Stored {
        item: proof.message,
        expiry: proof.expiry,
        good: u16::try_from(proof.good()).unwrap_or(proof.of),
        needed: proof.needed,
        of: proof.of,
        proof: proof.to_bytes(),
    })
}

fn unexpected() -> NetFailure {
    NetFailure::Unreachable("the client answered something else than was asked".to_owned())
}

// What is refused for good is not tried again, so in doubt it is not.
fn failure(error: Error) -> NetFailure {
    match &error {
        Error::Refused { refusal: Refusal::SlotTaken { .. }, .. } => NetFailure::SlotTaken,
        Error::Refused {
            refusal:
                Refusal::BadRequest { .. }
                | Refusal::BadCapability
                | Refusal::Unauthorized { .. }
                | Refusal::UnknownNamespace { .. }
                | Refusal::TtlOutOfRange { .. }
                | Refusal::TooLarge { .. }
                | Refusal::Deleted,
            ..
        }
        | Error::Invalid(_)
        | Error::NotPublic => NetFailure::Refused(error.to_string()),
        _ => NetFailure::Unreachable(error.to_string()),
    }
}
