//! Saying things, and changing what was said.

use std::io::IsTerminal;
use std::path::Path;

use serde_json::{Value, json};
use session_core::Text;
use session_messaging::messenger::api::Command;
use session_messaging::say::{Disappear, Peer, Say};
use session_messaging::thread::{Body, Status, ThreadId};
use session_sdk::transfer::FileRef;
use session_sdk::{FileError, Said, Session};

use super::show;
use crate::args::{ChatCommand, TimerSpan, Wait, Where};
use crate::contact;
use crate::desk::{self, Place, Sent};
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::out::Out;
use crate::transfer;
use crate::tui::model::progress;

/// Everything that is one [`Say`].
pub(super) async fn run(home: &Home, out: Out, command: &ChatCommand) -> Result<()> {
    match command {
        ChatCommand::Send { to, text, wait } => {
            let say = Say::Text { body: body(&desk::text(text)?)?, reply_to: None };
            said(home, out, to, wait, None, |_| Ok(say)).await
        }
        ChatCommand::Reply { of, message, text, wait } => {
            let body = body(&desk::text(text)?)?;
            said(home, out, of, wait, Some(message), |of| Ok(Say::Text { body, reply_to: of }))
                .await
        }
        ChatCommand::Edit { of, message, text, wait } => {
            let body = body(&desk::text(text)?)?;
            let say = |of: Option<_>| Ok(Say::Edit { of: of.unwrap_or_default(), body });
            said(home, out, of, wait, Some(message), say).await
        }
        ChatCommand::Unsend { of, message, wait } => unsend(home, out, of, message, wait).await,
        ChatCommand::React { of, message, emoji, off, wait } => {
            let emoji = Text::new(emoji.as_str())
                .map_err(|error| Failure::usage(format!("the reaction: {error}")))?;
            let say =
                |to: Option<_>| Ok(Say::React { to: to.unwrap_or_default(), emoji, on: !off });
            said(home, out, of, wait, Some(message), say).await
        }
        ChatCommand::Timer { of, after, after_read, wait } => {
            timer(home, out, of, *after, *after_read, wait).await
        }
        _ => Err(Failure::usage("nothing is said with this command")),
    }
}

/// Takes a message back; of a file, the pieces too.
async fn unsend(home: &Home, out: Out, of: &Where, message: &String, wait: &Wait) -> Result<()> {
    desk::with(home, async |session| {
        let (place, about) = find(session, of, Some(message)).await?;
        let id = about.ok_or_else(|| Failure::not_found("there is no such message"))?;
        let said = session.unsend(place.peer, id).await.map_err(desk::failure)?;
        let status = desk::wait(home, session, out, Sent::Change, wait).await?;
        report(out, said, status);
        Ok(())
    })
    .await
}

fn body(text: &str) -> Result<Text<{ session_messaging::content::TEXT_BYTES_MAX }>> {
    Text::new(text).map_err(|error| {
        Failure::usage(format!("the text: {error}; send it as a file with 'session chat file'"))
    })
}

/// Says something, about a message if one is named, and waits as asked.
async fn said(
    home: &Home,
    out: Out,
    to: &Where,
    wait: &Wait,
    about: Option<&String>,
    say: impl FnOnce(Option<session_messaging::say::SayId>) -> Result<Say>,
) -> Result<()> {
    desk::with(home, async |session| {
        desk::catch_up(home, session, wait).await;
        let (place, about) = find(session, to, about).await?;
        let say = say(about)?;
        contact::compare_first(home, out, session, place.peer).await?;
        let message = matches!(say, Say::Text { .. });
        let said = session.say_this(place.peer, say).await.map_err(desk::failure)?;
        let sent = if message { Sent::Message(said.thread, said.id) } else { Sent::Change };
        let status = desk::wait(home, session, out, sent, wait).await?;
        report(out, said, status);
        Ok(())
    })
    .await
}

fn report(out: Out, said: Said, status: Option<Status>) {
    out.result(
        || match &status {
            Some(status) => format!("[{}] {}", &said.id.to_string()[..8], progress(status)),
            None => format!("[{}] kept", &said.id.to_string()[..8]),
        },
        || {
            json!({ "thread": said.thread.number, "id": said.id.to_string(),
                    "status": status.as_ref().map_or(Value::Null, show::status_json) })
        },
    );
}

/// Finds a conversation, and the message in it if one is named.
async fn find(
    session: &Session,
    to: &Where,
    about: Option<&String>,
) -> Result<(Place, Option<session_messaging::say::SayId>)> {
    let (to, about) = (to.clone(), about.cloned());
    desk::view(session, move |vault| {
        let place = desk::place(vault, &to)?;
        let about = about.map(|start| desk::message(vault, place.thread()?, &start)).transpose()?;
        Ok((place, about.map(|message| message.id)))
    })
    .await?
}

async fn timer(
    home: &Home,
    out: Out,
    of: &Where,
    after: TimerSpan,
    after_read: bool,
    wait: &Wait,
) -> Result<()> {
    let disappear = match after.0 {
        None => Disappear::Never,
        Some(span) if after_read => Disappear::AfterRead { span },
        Some(span) => Disappear::AfterSend { span },
    };
    desk::with(home, async |session| {
        desk::catch_up(home, session, wait).await;
        let (place, _) = find(session, of, None).await?;
        contact::compare_first(home, out, session, place.peer).await?;
        set_timer(session, place.peer, disappear).await?;
        desk::wait(home, session, out, Sent::Change, wait).await?;
        out.result(
            || format!("messages disappear: {}", show::disappear(disappear)),
            || json!({ "disappear": show::disappear(disappear) }),
        );
        Ok(())
    })
    .await
}

/// Lets messages disappear: of two, by saying so; of a group, by agreeing on it.
pub(crate) async fn set_timer(session: &Session, peer: Peer, disappear: Disappear) -> Result<()> {
    let command = match peer {
        Peer::Account { .. } => Command::Say { to: peer, say: Say::Timer { disappear } },
        Peer::Group { group } => {
            Command::ChangeGroup { group, name: None, role: None, disappear: Some(disappear) }
        }
    };
    session.command(command).await.map(drop).map_err(desk::failure)
}

pub(super) async fn forget(home: &Home, out: Out, of: &Where, messages: &[String]) -> Result<()> {
    desk::with(home, async |session| {
        let (of, starts) = (of.clone(), messages.to_vec());
        let (thread, ids) = desk::view(session, move |vault| {
            let thread = desk::place(vault, &of)?.thread()?;
            let found = starts.iter().map(|start| Ok(desk::message(vault, thread, start)?.id));
            Ok((thread, found.collect::<Result<Vec<_>>>()?))
        })
        .await??;
        let count = ids.len();
        let command = Command::Forget { thread, ids };
        session.command(command).await.map_err(desk::failure)?;
        out.result(
            || match count {
                0 => "everything is forgotten on your devices".to_owned(),
                count => format!("{count} messages are forgotten on your devices"),
            },
            || json!({ "forgotten": count }),
        );
        Ok(())
    })
    .await
}

pub(super) async fn file(
    home: &Home,
    out: Out,
    to: &Where,
    file: &Path,
    caption: &str,
    wait: &Wait,
) -> Result<()> {
    desk::with(home, async |session| {
        desk::catch_up(home, session, wait).await;
        let (place, _) = find(session, to, None).await?;
        contact::compare_first(home, out, session, place.peer).await?;
        let bar = transfer::bar(!out.is_json() && std::io::stderr().is_terminal(), "sending");
        let sent = session
            .send_file(place.peer, file, caption, |it| {
                bar.set_length(it.of);
                bar.set_position(it.done);
            })
            .await
            .map_err(file_failure)?;
        bar.finish_and_clear();
        let said = sent.said;
        let message = Sent::Message(said.thread, said.id);
        let status = desk::wait(home, session, out, message, wait).await?;
        out.result(
            || {
                let resumed = match sent.resumed_at {
                    0 => String::new(),
                    chunk => format!(", went on at chunk {chunk}"),
                };
                format!(
                    "[{}] sent {} ({} bytes in {} chunks{resumed})",
                    &said.id.to_string()[..8],
                    file.display(),
                    sent.size,
                    sent.chunks
                )
            },
            || {
                json!({ "thread": said.thread.number, "id": said.id.to_string(), "file": file,
                        "bytes": sent.size, "chunks": sent.chunks,
                        "resumed_at_chunk": sent.resumed_at,
                        "status": status.as_ref().map_or(Value::Null, show::status_json) })
            },
        );
        Ok(())
    })
    .await
}

pub(super) async fn save(
    home: &Home,
    out: Out,
    of: &Where,
    message: &str,
    into: &Path,
) -> Result<()> {
    desk::with(home, async |session| {
        let (of, start) = (of.clone(), message.to_owned());
        let (thread, message) = desk::view(session, move |vault| {
            let thread = desk::place(vault, &of)?.thread()?;
            Ok((thread, desk::message(vault, thread, &start)?))
        })
        .await??;
        let file = file_of(message.body)?;
        let visible = !out.is_json() && std::io::stderr().is_terminal();
        let bar = transfer::bar(visible, file.manifest.name().as_str());
        let path = session
            .save(&file, into, |it| {
                bar.set_length(it.of);
                bar.set_position(it.done);
            })
            .await
            .map_err(file_failure)?;
        bar.finish_and_clear();
        print_saved(out, thread, &message.id.to_string(), &path);
        Ok(())
    })
    .await
}

fn print_saved(out: Out, thread: ThreadId, id: &str, path: &Path) {
    out.result(
        || format!("saved {}", path.display()),
        || json!({ "thread": thread.number, "id": id, "saved": path }),
    );
}

/// Returns the file of a message.
pub(crate) fn file_of(body: Body) -> Result<FileRef> {
    match body {
        Body::File { manifest, route, .. } => Ok(FileRef { manifest, route }),
        _ => Err(Failure::usage("this message is no file")),
    }
}

/// Translates what came of a file.
pub(crate) fn file_failure(error: FileError) -> Failure {
    match error {
        FileError::Session(error) => desk::failure(error),
        FileError::Gone { .. } | FileError::NoFile => Failure::not_found(error),
        FileError::NotAFile(_) | FileError::TooLarge { .. } | FileError::Caption { .. } => {
            Failure::usage(error)
        }
        error => Failure::new(Code::Failed, error),
    }
}
