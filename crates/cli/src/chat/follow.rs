//! Messages, changes and receipts as they come.

use serde_json::json;
use session_messaging::messenger::api::Event;
use session_messaging::thread::{self, ThreadId};
use session_sdk::{Notice, Session};

use super::{read, show};
use crate::desk::{self, Names};
use crate::exit::{Failure, Result};
use crate::home::Home;
use crate::out::{self, Out};

pub(super) async fn run(home: &Home, out: Out) -> Result<()> {
    desk::with(home, async |session| {
        let mut events = session.events();
        out.remark("… following; Ctrl-C stops");
        loop {
            tokio::select! {
                notice = events.next() => match notice {
                    Some(notice) => show_notice(session, out, notice).await?,
                    None => return Ok(()),
                },
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    })
    .await
}

async fn show_notice(session: &Session, out: Out, notice: Notice) -> Result<()> {
    match notice {
        Notice::Event(event) => show_event(session, out, event).await,
        Notice::Missed(count) => {
            out.warn(&format!("{count} events were missed: 'session chat history' has it all"));
            Ok(())
        }
        Notice::Failed(why) => Err(Failure::failed(why)),
        _ => Ok(()),
    }
}

async fn show_event(session: &Session, out: Out, event: Event) -> Result<()> {
    match event {
        Event::Changed { thread, places, .. } => show_places(session, out, thread, places).await?,
        Event::Status { thread, place, status } => {
            let found =
                desk::view(session, move |vault| thread::message(vault, thread, place)).await?;
            let Some(message) = found else { return Ok(()) };
            out.result(
                || {
                    format!(
                        "[{}] {}",
                        &message.id.to_string()[..8],
                        crate::tui::model::progress(&status)
                    )
                },
                || {
                    json!({ "thread": thread.number, "id": message.id.to_string(),
                            "status": show::status_json(&status) })
                },
            );
        }
        Event::Request { account, thread } => {
            let id = session_crypto::AccountRef(account).to_string();
            out.result(
                || format!("{id} wrote for the first time: 'session contact accept' or 'block'"),
                || json!({ "request": id, "thread": thread.number }),
            );
        }
        Event::Typing { thread, account, on } => {
            let id = session_crypto::AccountRef(account).to_string();
            out.result(
                || {
                    format!(
                        "{} {}",
                        desk::short(&account),
                        if on { "types …" } else { "has stopped" }
                    )
                },
                || json!({ "typing": on, "thread": thread.number, "account": id }),
            );
        }
        Event::Warning(warning) => {
            if out.is_json() {
                out.result(String::new, || json!({ "warning": warning.to_string() }));
            } else {
                out.warn(&out::harmless(&warning.to_string()));
            }
        }
        _ => {}
    }
    Ok(())
}

async fn show_places(
    session: &Session,
    out: Out,
    thread: ThreadId,
    places: Vec<u64>,
) -> Result<()> {
    let (names, messages) = desk::view(session, move |vault| {
        let found = places.iter().filter_map(|place| thread::message(vault, thread, *place));
        (Names::load(vault), found.collect::<Vec<_>>())
    })
    .await?;
    for message in messages {
        read::print(out, thread, &message, &names);
    }
    Ok(())
}
