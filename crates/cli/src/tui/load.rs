//! What is shown, from the vault.

use std::collections::BTreeMap;

use session_client::StoredProof;
use session_core::Decode as _;
use session_crypto::AccountRef;
use session_messaging::account::{self, Contact};
use session_messaging::safety;
use session_messaging::say::{Peer, Standing};
use session_messaging::thread::{self, Body as Kept, Message, Summary, ThreadId};
use session_messaging::vault::Vault;

use super::model::{Body, Conversation, Hit, Letter, Reaction, progress};
use super::state::News;
use crate::chat::show;
use crate::desk::{self, Names};

/// Hits of a search.
const HITS_MAX: usize = 100;

/// Returns the list of conversations.
pub(super) fn conversations(vault: &dyn Vault) -> News {
    let names = Names::load(vault);
    let all = thread::threads(vault);
    News::Conversations(all.iter().map(|it| conversation(vault, it, &names)).collect())
}

fn conversation(vault: &dyn Vault, it: &Summary, names: &Names) -> Conversation {
    let (group, verified) = match &it.peer {
        Peer::Group { .. } => (true, false),
        Peer::Account { account } => {
            (false, account::contact(vault, account).is_some_and(|it| it.is_verified()))
        }
    };
    let preview = it.last.as_ref().map(|last| show::body_text(&last.body, names));
    Conversation {
        id: it.id,
        title: show::title(it, names),
        group,
        unread: u64::from(it.unread),
        request: it.standing == Standing::Stranger,
        blocked: it.standing == Standing::Blocked,
        verified,
        preview: preview.unwrap_or_default(),
    }
}

/// Returns the newest messages of a thread.
pub(super) fn letters(vault: &dyn Vault, thread: ThreadId, limit: usize) -> News {
    let names = Names::load(vault);
    let mut found = thread::messages(vault, thread, None, limit.saturating_add(1));
    let more = found.len() > limit;
    if more {
        found.remove(0);
    }
    let letters = found.into_iter().map(|it| letter(vault, thread, it, &names)).collect();
    News::Letters { thread, letters, more }
}

fn letter(vault: &dyn Vault, thread: ThreadId, it: Message, names: &Names) -> Letter {
    let quote = it.reply_to.map(|id| {
        let quoted = thread::by_id(vault, thread, id);
        quoted.map_or_else(
            || "a message that is not here".to_owned(),
            |it| format!("{}: {}", names.of(&it.author), show::body_text(&it.body, names)),
        )
    });
    let own = account::account(vault);
    let mut reactions: BTreeMap<&str, Reaction> = BTreeMap::new();
    for (who, emoji) in &it.reactions {
        let new = || Reaction { emoji: emoji.clone(), count: 0, mine: false };
        let reaction = reactions.entry(emoji).or_insert_with(new);
        reaction.count += 1;
        reaction.mine |= own == Some(*who);
    }
    let reactions = reactions.into_values().collect();
    let body = match &it.body {
        Kept::Text { body } => Body::Text(body.to_string()),
        Kept::File { manifest, caption, .. } => Body::File {
            name: manifest.name().as_str().to_owned(),
            bytes: manifest.size(),
            caption: caption.to_string(),
        },
        Kept::Unsent => Body::Unsent,
        other => Body::Note(show::body_text(other, names)),
    };
    Letter {
        place: it.place,
        id: it.id,
        mine: it.own,
        author: names.of(&it.author),
        at: it.sent_at,
        body,
        quote,
        edited: it.edited.is_some(),
        reactions,
        status: it.own.then_some(it.status),
        vanishes: it.expires.is_some(),
    }
}

/// Returns the messages that have the words.
pub(super) fn hits(vault: &dyn Vault, words: &str) -> News {
    let names = Names::load(vault);
    let found = thread::search(vault, words, HITS_MAX).into_iter();
    News::Hits(
        found
            .filter_map(|hit| {
                let summary = thread::summary(vault, hit.thread)?;
                Some(Hit {
                    thread: hit.thread,
                    place: hit.place,
                    title: show::title(&summary, &names),
                    text: format!("{}: {}", names.of(&hit.author), hit.snippet),
                })
            })
            .collect(),
    )
}

/// Returns the page about a conversation: safety number, devices, members.
pub(super) fn info(vault: &dyn Vault, thread: ThreadId) -> Option<News> {
    let summary = thread::summary(vault, thread)?;
    let names = Names::load(vault);
    let mut lines = match &summary.peer {
        Peer::Account { account } => {
            let contact = account::contact(vault, account);
            let mut lines = vec![format!("account  {}", AccountRef(*account))];
            lines.extend(standing_line(&summary, contact.as_ref()));
            lines.push(String::new());
            match account::safety_number(vault, account) {
                Some(number) => {
                    lines.push("safety number, the same on the other side:".to_owned());
                    let groups = safety::in_groups(&number);
                    let groups: Vec<&str> = groups.split(' ').collect();
                    lines.extend(groups.chunks(4).map(|row| format!("  {}", row.join(" "))));
                }
                None => lines.push("no safety number yet: nothing of the account is known".into()),
            }
            if let Some(known) = account::known(vault, account) {
                lines.push(String::new());
                let devices = known.manifest.devices.iter();
                lines.extend(devices.map(|it| format!("device  {}", &*it.name)));
            }
            lines
        }
        Peer::Group { group } => {
            let mut lines = vec![format!("group:{}", hex::encode(group.bytes)), String::new()];
            match crate::group::roster(vault, group) {
                Some(roster) => {
                    lines.push(format!(
                        "epoch {}, {} members:",
                        roster.epoch,
                        roster.members.len()
                    ));
                    let members = roster.members.iter().map(|(account, role)| {
                        format!(
                            "  {}  {}  {}",
                            names.of(account),
                            show::role(*role),
                            AccountRef(*account)
                        )
                    });
                    lines.extend(members);
                }
                None => lines.push("you are not in it".to_owned()),
            }
            lines
        }
    };
    lines.push(String::new());
    lines.push(format!("messages disappear: {}", show::disappear(summary.disappear)));
    Some(News::Page { title: show::title(&summary, &names), lines })
}

fn standing_line(summary: &Summary, contact: Option<&Contact>) -> Option<String> {
    let verified = if contact?.is_verified() { ", safety number compared" } else { "" };
    Some(format!("{}{verified}", show::standing(summary.standing)))
}

/// Returns the page about how far a message has come.
pub(super) fn receipts(vault: &dyn Vault, thread: ThreadId, place: u64) -> Option<News> {
    let message = thread::message(vault, thread, place)?;
    let status = message.status;
    let mut lines = vec![progress(&status), String::new()];
    lines.push(format!("delivered to {} of {}", status.delivered, status.audience));
    lines.push(format!("read by {} of {}, of those who tell", status.read, status.audience));
    for bytes in thread::proof(vault, thread, message.id) {
        let Ok(proof) = StoredProof::decode_exact(&bytes) else { continue };
        lines.push(String::new());
        lines.push(format!(
            "item {}: signed by {} of {} nodes, {} are needed",
            proof.message,
            proof.good(),
            proof.of,
            proof.needed
        ));
        lines.extend(proof.receipts.iter().map(|it| format!("  {}", it.receipt.node)));
    }
    lines.push(String::new());
    lines.push(format!(
        "'session receipt export {} {}' writes it to a file",
        thread.number, message.id
    ));
    Some(News::Page { title: "receipts".to_owned(), lines })
}

/// Returns the account as the top of the screen shows it.
pub(super) fn own(vault: &dyn Vault) -> String {
    account::account(vault).map_or_else(String::new, |account| desk::short(&account))
}
