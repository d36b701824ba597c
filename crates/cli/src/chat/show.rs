//! Messages and conversations as text for people and JSON for programs.

use serde_json::{Value, json};
use session_core::AccountId;
use session_crypto::AccountRef;
use session_messaging::group::Role;
use session_messaging::say::{Disappear, Peer, Standing};
use session_messaging::thread::{Body, Message, Status, Summary, SystemLine, ThreadId};

use crate::desk::Names;
use crate::out;
use crate::span;
use crate::tui::model::progress;

/// Returns who is talked to.
pub(crate) fn peer_json(peer: &Peer) -> Value {
    match peer {
        Peer::Account { account } => json!({ "account": AccountRef(*account).to_string() }),
        Peer::Group { group } => json!({ "group": hex::encode(group.bytes) }),
    }
}

/// Returns the title of a conversation, fit for one line.
pub(crate) fn title(summary: &Summary, names: &Names) -> String {
    match &summary.peer {
        Peer::Account { account } => names.of(account),
        Peer::Group { group } if summary.name.is_empty() => {
            format!("group {}", hex::encode(&group.bytes[..4]))
        }
        Peer::Group { .. } => out::one_line(&summary.name),
    }
}

/// Returns a conversation as an object.
pub(crate) fn summary_json(summary: &Summary, names: &Names) -> Value {
    json!({
        "thread": summary.id.number,
        "peer": peer_json(&summary.peer),
        "title": title(summary, names),
        "standing": standing(summary.standing),
        "unread": summary.unread,
        "members": summary.members,
        "disappear": disappear(summary.disappear),
        "active_ms": summary.active.as_millis(),
        "last": summary.last.as_ref().map(|last| body_text(&last.body, names)),
    })
}

/// Returns how an account is treated.
pub(crate) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Stranger => "stranger",
        Standing::Accepted => "accepted",
        Standing::Blocked => "blocked",
    }
}

/// Returns a role.
pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Admin => "admin",
    }
}

/// Says how messages disappear.
pub(crate) fn disappear(disappear: Disappear) -> String {
    match disappear {
        Disappear::Never => "never".to_owned(),
        Disappear::AfterSend { span } => format!("{} after sending", span::rough(span)),
        Disappear::AfterRead { span } => format!("{} after reading", span::rough(span)),
    }
}

/// Returns a message as an object.
pub(crate) fn message_json(thread: ThreadId, message: &Message) -> Value {
    let mut object = json!({
        "thread": thread.number,
        "place": message.place,
        "id": message.id.to_string(),
        "author": AccountRef(message.author).to_string(),
        "own": message.own,
        "sent_at_ms": message.sent_at.as_millis(),
        "received_at_ms": message.received_at.as_millis(),
        "read": message.read,
    });
    let mut put = |name: &str, value: Value| object[name] = value;
    match &message.body {
        Body::Text { body } => put("text", json!(&**body)),
        Body::File { manifest, caption, .. } => {
            put("file", json!(manifest.name().as_str()));
            put("bytes", json!(manifest.size()));
            put("caption", json!(&**caption));
        }
        Body::Unsent => put("unsent", json!(true)),
        Body::Line { line } => put("note", json!(line_text(line, &Names::default()))),
        _ => put("unknown", json!(true)),
    }
    if let Some(id) = message.reply_to {
        put("reply_to", json!(id.to_string()));
    }
    if let Some(at) = message.edited {
        put("edited_ms", json!(at.as_millis()));
    }
    if let Some(at) = message.expires {
        put("expires_ms", json!(at.as_millis()));
    }
    if !message.reactions.is_empty() {
        let all = message.reactions.iter();
        let all = all
            .map(|(who, emoji)| json!({ "author": AccountRef(*who).to_string(), "emoji": emoji }));
        put("reactions", all.collect());
    }
    if message.own {
        put("status", status_json(&message.status));
    }
    object
}

/// Returns how far a message has come.
pub(crate) fn status_json(status: &Status) -> Value {
    json!({
        "stored": status.stored.is_some(),
        "stored_at_ms": status.stored.map(|at| at.as_millis()),
        "signed_by": status.good,
        "quorum": status.needed,
        "swarm": status.of,
        "delivered": status.delivered,
        "read": status.read,
        "audience": status.audience,
        "failed": status.failed,
    })
}

/// Returns a message as lines for people.
pub(crate) fn message_text(message: &Message, names: &Names) -> String {
    let id = &message.id.to_string()[..8];
    if let Body::Line { line } = &message.body {
        return format!("— {}", out::one_line(&line_text(line, names)));
    }
    let author = names.of(&message.author);
    let status =
        if message.own { format!("  {}", progress(&message.status)) } else { String::new() };
    let edited = if message.edited.is_some() { " (edited)" } else { "" };
    let body = out::indented(&body_text(&message.body, names));
    let reactions: String = message
        .reactions
        .iter()
        .map(|(who, emoji)| format!("\n  {} {}", out::one_line(emoji), names.of(who)))
        .collect();
    format!("{author}  [{id}]{edited}{status}\n  {body}{reactions}")
}

/// Returns what a message shows, as text.
pub(crate) fn body_text(body: &Body, names: &Names) -> String {
    match body {
        Body::Text { body } => body.to_string(),
        Body::File { manifest, caption, .. } => {
            let caption =
                if caption.is_empty() { String::new() } else { format!(": {}", &**caption) };
            format!("file {} ({} bytes){caption}", manifest.name().as_str(), manifest.size())
        }
        Body::Unsent => "[taken back]".to_owned(),
        Body::Line { line } => line_text(line, names),
        _ => "[of a newer version]".to_owned(),
    }
}

/// Says what happened.
pub(crate) fn line_text(line: &SystemLine, names: &Names) -> String {
    let name = |account: &AccountId| names.of(account);
    match line {
        SystemLine::Created { by } => format!("{} made the group", name(by)),
        SystemLine::Joined { account, by } if account == by => format!("{} joined", name(account)),
        SystemLine::Joined { account, by } => format!("{} added {}", name(by), name(account)),
        SystemLine::Left { account, by } if account == by => format!("{} left", name(account)),
        SystemLine::Left { account, by } => format!("{} removed {}", name(by), name(account)),
        SystemLine::Renamed { by, name: new } => format!("{} named the group {}", name(by), &**new),
        SystemLine::Role { by, account, role: given } => {
            format!("{} made {} a group {}", name(by), name(account), role(*given))
        }
        SystemLine::Timer { by, disappear: set } => {
            format!("{} let messages disappear: {}", name(by), disappear(*set))
        }
        SystemLine::Gap => "messages may be missing here".to_owned(),
        SystemLine::Devices { account } => format!("{} has other devices now", name(account)),
        SystemLine::SafetyNumber { account } => {
            format!("the safety number of {} is another one now", name(account))
        }
        _ => "something of a newer version".to_owned(),
    }
}
