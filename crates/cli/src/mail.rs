//! `session send` and `session inbox`.

use std::io::{IsTerminal, Read};

use serde_json::{Value, json};
use session_client::{Command, InboxReader, StoredProof};
use session_core::{Encode, MessageId};
use session_crypto::{AccountRef, PublicIdentity};
use session_messaging::attachment::{Manifest, Opener};
use session_messaging::content::Content;
use session_protocol::inbox::MESSAGES;
use session_protocol::limits::{TTL_MAX, TTL_MIN};
use session_sdk::agent::Followed;

use crate::args::{Inbox, Send};
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::members::Members;
use crate::out::{self, Out};
use crate::person::{Person, Received};
use crate::transfer;

/// Where reading state is kept, and under which name.
const STATE: (&str, &str) = ("state", "inbox");

/// Files whose message was read and which are not downloaded yet.
const DOWNLOADS: &str = "downloads";

/// No text is longer than an item; one byte more tells that there is more.
const TEXT_READ_MAX: u64 = 64 * 1024 + 1;

pub(crate) async fn send(home: &Home, out: Out, args: &Send) -> Result<()> {
    if args.ttl < TTL_MIN || args.ttl > TTL_MAX {
        return Err(Failure::usage(format!("--ttl is {}, it must be 10s to 14d", args.ttl)));
    }
    let to: AccountRef =
        args.to.parse().map_err(|error| Failure::usage(format!("ID {:?}: {error}", args.to)))?;
    let text = match &args.text {
        Some(text) if text == "-" => Some(read_text()?),
        text => text.clone(),
    };
    if args.file.is_none() && text.as_ref().is_none_or(|text| text.trim().is_empty()) {
        return Err(Failure::usage("there is nothing to send: the text is empty"));
    }
    let person = Person::of(home, home.identity()?, Members::find(home).await?)?;
    let done = deliver(home, out, args, &person, to, text).await;
    if done.is_ok()
        && let Err(failure) = person.publish().await
    {
        out.warn(&format!("the own keys were not published, nobody can answer yet: {failure}"));
    }
    person.agent.stop().await;
    done
}

async fn deliver(
    home: &Home,
    out: Out,
    args: &Send,
    person: &Person,
    to: AccountRef,
    text: Option<String>,
) -> Result<()> {
    let keys = find(home, person, to).await?;
    match (&args.file, text) {
        (Some(file), _) => {
            let bar = transfer::bar(!out.is_json() && std::io::stderr().is_terminal(), "sending");
            let sent = transfer::send_file(person, home, &keys, file, args.ttl, &bar).await?;
            let proof = proof_json(&sent.proof);
            out.result(
                || {
                    let resumed = if sent.resumed_at > 0 {
                        format!(", went on at chunk {}", sent.resumed_at)
                    } else {
                        String::new()
                    };
                    format!(
                        "sent {} ({} bytes in {} chunks{resumed}): on the disks of {} of {} nodes",
                        file.display(),
                        sent.size,
                        sent.chunks,
                        sent.proof.good(),
                        sent.proof.of
                    )
                },
                || {
                    json!({ "file": file, "bytes": sent.size, "chunks": sent.chunks,
                           "resumed_at_chunk": sent.resumed_at, "message": proof })
                },
            );
        }
        (None, Some(text)) => {
            let content = Content::text(crate::person::now(), text).map_err(Failure::usage)?;
            let proof = person.send(&keys, &content, args.ttl).await?;
            out.result(
                || format!("sent: on the disks of {} of {} nodes", proof.good(), proof.of),
                || json!({ "message": proof_json(&proof) }),
            );
        }
        (None, None) => return Err(Failure::usage("a text or --file is needed")),
    }
    Ok(())
}

async fn find(home: &Home, person: &Person, to: AccountRef) -> Result<PublicIdentity> {
    if let Some(keys) = home.contact(&to.0) {
        return Ok(keys);
    }
    person.find(to.0).await.map_err(|failure| match failure.code {
        Code::NotFound => Failure::not_found(format!(
            "{to} has not published keys on this network: they run 'session inbox' once, or you \
             take their exported public keys with 'session id import FILE'"
        )),
        _ => failure,
    })
}

/// Reads a text from standard input.
pub(crate) fn read_text() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(TEXT_READ_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
    Ok(text)
}

fn proof_json(proof: &StoredProof) -> Value {
    json!({
        "id": proof.message.to_string(),
        "expires_ms": proof.expiry.as_millis(),
        "receipts": proof.good(),
        "members": proof.of,
        "nodes": proof.receipts.iter().map(|it| it.receipt.node.to_string()).collect::<Vec<_>>(),
    })
}

pub(crate) async fn inbox(home: &Home, out: Out, args: &Inbox) -> Result<()> {
    let person = Person::of(home, home.identity()?, Members::find(home).await?)?;
    let done = read_inbox(home, out, args, &person).await;
    person.agent.stop().await;
    done
}

async fn read_inbox(home: &Home, out: Out, args: &Inbox, person: &Person) -> Result<()> {
    let saved = if args.all { None } else { home.load::<InboxReader>(STATE.0, STATE.1)? };
    let mut reader = saved.unwrap_or_default();
    let mut desk = Desk { home, out, args, person, failed: 0 };
    desk.continue_downloads().await;
    let received = person.read(&mut reader).await?;
    let nothing = received.is_empty();
    let mut shown = Vec::new();
    for it in received {
        shown.extend(desk.show(&it).await?);
    }
    // What was shown is remembered only now: a crash before shows it again, and loses nothing.
    home.save(STATE.0, STATE.1, &reader.to_bytes())?;
    if args.delete {
        person.delete(&shown).await?;
        out.remark(&format!("deleted {} items from the swarm", shown.len()));
    }
    if nothing && !args.follow {
        out.remark("nothing new");
    }
    // Last, so that reading works while nothing can be stored.
    if let Err(failure) = person.publish().await {
        out.warn(&format!(
            "the own keys were not published, nobody can write to you yet: {failure}"
        ));
    }
    if args.follow {
        desk.follow(&mut reader).await?;
    }
    if desk.failed > 0 {
        return Err(Failure::failed(format!(
            "files that could not be fetched: {}; 'session inbox' tries again",
            desk.failed
        )));
    }
    Ok(())
}

/// Where received things are laid out.
struct Desk<'a> {
    home: &'a Home,
    out: Out,
    args: &'a Inbox,
    person: &'a Person,
    failed: usize,
}

impl Desk<'_> {
    /// Prints an item and fetches its file. Returns the ids of what belongs to it.
    async fn show(&mut self, received: &Received) -> Result<Vec<MessageId>> {
        let item = &received.item;
        let mut ids = vec![item.id];
        match &received.message {
            Err(error) => {
                self.out.warn(&format!("item {:?} is not a message to you: {error}", item.id));
            }
            Ok(message) => {
                let from = AccountRef(message.sender.account_id()).to_string();
                match &message.content {
                    Content::Text { sent_at, body } => self.out.result(
                        || format!("{from}\n  {}", out::harmless(body).replace('\n', "\n  ")),
                        || {
                            json!({ "id": item.id.to_string(), "from": from,
                                    "sent_at_ms": sent_at.as_millis(),
                                    "expires_ms": item.expiry.as_millis(), "text": &**body })
                        },
                    ),
                    Content::File { sent_at, manifest } => {
                        self.out.result(
                            || format!(
                                    "{from}\n  file {} ({} bytes)",
                                    out::harmless(manifest.name().as_str()),
                                    manifest.size()
                                ),
                            || {
                                json!({ "id": item.id.to_string(), "from": from,
                                        "sent_at_ms": sent_at.as_millis(),
                                        "expires_ms": item.expiry.as_millis(),
                                        "file": manifest.name().as_str(), "bytes": manifest.size() })
                            },
                        );
                        let slot = item.id.to_string();
                        let wanted = !(self.args.delete && self.args.no_files);
                        if wanted {
                            self.home.save(DOWNLOADS, &slot, &manifest.to_bytes())?;
                        }
                        let missing = !self.args.no_files && !self.download(&slot, manifest).await;
                        // What could not be fetched is not deleted: there is no other copy.
                        if missing {
                            ids.clear();
                        } else if self.args.delete {
                            ids.extend(piece_ids(manifest));
                        }
                    }
                    _ => self.out.warn(&format!("item {:?} is of a newer kind", item.id)),
                }
            }
        }
        Ok(ids)
    }

    /// Fetches a file; tells whether it is here now.
    async fn download(&mut self, slot: &str, manifest: &Manifest) -> bool {
        let visible = !self.out.is_json() && std::io::stderr().is_terminal();
        let bar = transfer::bar(visible, manifest.name().as_str());
        match transfer::receive_file(self.person, manifest, &self.args.save, &bar).await {
            Ok(path) => {
                self.home.forget(DOWNLOADS, slot);
                self.out.result(
                    || format!("  saved {}", path.display()),
                    || json!({ "id": slot, "saved": path }),
                );
                true
            }
            Err(failure) => {
                if failure.code == Code::NotFound {
                    self.home.forget(DOWNLOADS, slot);
                }
                self.failed += 1;
                let name = out::harmless(manifest.name().as_str());
                self.out.warn(&format!("file {name}: {failure}"));
                false
            }
        }
    }

    async fn continue_downloads(&mut self) {
        if self.args.no_files {
            return;
        }
        for slot in self.home.names(DOWNLOADS) {
            match self.home.load::<Manifest>(DOWNLOADS, &slot) {
                Ok(Some(manifest)) => {
                    self.download(&slot, &manifest).await;
                }
                Ok(None) => {}
                Err(failure) => self.out.warn(&failure.to_string()),
            }
        }
    }

    async fn follow(&mut self, reader: &mut InboxReader) -> Result<()> {
        let command = Command::Subscribe {
            from: session_client::Inbox::Own,
            namespaces: vec![MESSAGES],
            reader: Box::new(reader.clone()),
        };
        let mut reports = self.person.agent.follow(command).await;
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(Followed::Live(node)) => self.out.remark(&format!("… following on node {node:?}; Ctrl-C stops")),
                    Some(Followed::Item(item)) => {
                        if reader.absorb_pushed(&item) {
                            let received = self.person.open(*item);
                            self.show(&received).await?;
                            self.home.save(STATE.0, STATE.1, &reader.to_bytes())?;
                        }
                    }
                    Some(Followed::Ended(error)) => return Err(Failure::new(Code::Network, error)),
                    Some(_) => {}
                    None => return Ok(()),
                },
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    }
}

fn piece_ids(manifest: &Manifest) -> Vec<MessageId> {
    let opener = Opener::new(manifest.clone());
    let indexes = opener.missing_indexes().into_iter().map(|(_, id)| id);
    // Chunks behind index items that were not opened expire by themselves.
    let chunks = (0..manifest.chunks()).filter_map(|chunk| opener.chunk_id(chunk));
    indexes.chain(chunks).collect()
}
