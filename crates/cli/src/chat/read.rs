//! What was said: lists, pages, search, and what is new.

use serde_json::json;
use session_core::Span;
use session_messaging::messenger::api::Command;
use session_messaging::say::Standing;
use session_messaging::thread::{self, Message, Summary};
use session_sdk::Session;

use super::show;
use crate::args::Where;
use crate::desk::{self, Names};
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::out::{self, Out};

/// How long reading waits for the network before it shows what is here.
const PATIENCE: Span = Span::from_secs(30);

/// Round trips that this takes at most, one after another.
const TRIPS: u32 = 10;

/// New messages of one conversation that are looked up at once.
const NEW_MAX: usize = 1000;

pub(super) fn list(home: &Home, out: Out) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let names = Names::load(&vault);
    let threads = thread::threads(&vault);
    if threads.is_empty() {
        out.remark("there are no conversations yet: 'session chat send ID TEXT' begins one");
    }
    for summary in &threads {
        out.result(|| row(summary, &names), || show::summary_json(summary, &names));
    }
    Ok(())
}

fn row(summary: &Summary, names: &Names) -> String {
    let mark = match summary.standing {
        Standing::Stranger => " (request)",
        Standing::Blocked => " (blocked)",
        Standing::Accepted => "",
    };
    let unread =
        if summary.unread > 0 { format!(" {} unread", summary.unread) } else { String::new() };
    let last = summary.last.as_ref().map(|last| show::body_text(&last.body, names));
    let last = last.unwrap_or_default();
    out::one_line(&format!(
        "{:>3}  {}{mark}{unread}  {last}",
        summary.id.number,
        show::title(summary, names)
    ))
}

pub(super) fn history(
    home: &Home,
    out: Out,
    of: &Where,
    limit: usize,
    before: Option<u64>,
) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let names = Names::load(&vault);
    let thread = desk::place(&vault, of)?.thread()?;
    for message in thread::messages(&vault, thread, before, limit) {
        print(out, thread, &message, &names);
    }
    Ok(())
}

/// Prints a message.
pub(super) fn print(out: Out, thread: thread::ThreadId, message: &Message, names: &Names) {
    out.result(|| show::message_text(message, names), || show::message_json(thread, message));
}

pub(super) fn search(home: &Home, out: Out, words: &str, limit: usize) -> Result<()> {
    let vault = desk::open_vault(home)?;
    let names = Names::load(&vault);
    let hits = thread::search(&vault, words, limit);
    if hits.is_empty() {
        out.remark("nothing was found");
    }
    for hit in hits {
        let Some(summary) = thread::summary(&vault, hit.thread) else { continue };
        let title = show::title(&summary, &names);
        out.result(
            || out::one_line(&format!("{title}  {}  {}", names.of(&hit.author), hit.snippet)),
            || {
                json!({ "thread": hit.thread.number, "place": hit.place, "title": title,
                        "at_ms": hit.at.as_millis(), "snippet": hit.snippet })
            },
        );
    }
    Ok(())
}

pub(super) async fn unread(home: &Home, out: Out, of: Option<&Where>) -> Result<()> {
    desk::with(home, async |session| {
        let synced = idle(home, session, PATIENCE).await?;
        if !synced {
            out.warn("the network does not answer in time: this is what is here");
        }
        let wanted = match of {
            None => None,
            Some(of) => {
                let of = of.clone();
                Some(desk::view(session, move |vault| desk::place(vault, &of)).await??.thread()?)
            }
        };
        let mut threads = desk::view(session, thread::threads).await?;
        threads.retain(|it| {
            let blocked = it.standing == Standing::Blocked;
            !blocked && it.unread > 0 && wanted.is_none_or(|wanted| it.id == wanted)
        });
        if threads.is_empty() {
            out.remark("nothing new");
        }
        for summary in &threads {
            show_new(session, out, summary).await?;
        }
        idle(home, session, PATIENCE).await.map(drop)
    })
    .await
}

/// Shows what is new in a conversation, from the oldest on. What was shown counts as read.
async fn show_new(session: &Session, out: Out, summary: &Summary) -> Result<()> {
    let (thread, request) = (summary.id, summary.standing == Standing::Stranger);
    let mut after = 0;
    loop {
        let (names, page) = desk::view(session, move |vault| {
            (Names::load(vault), thread::unread(vault, thread, after, NEW_MAX))
        })
        .await?;
        let Some(last) = page.last().map(|it| it.place) else { return Ok(()) };
        if after == 0 {
            let note = if request { " (a request: 'session contact accept ID')" } else { "" };
            out.remark(&format!("== {}{note}", show::title(summary, &names)));
        }
        for message in &page {
            print(out, thread, message, &names);
        }
        // Strangers learn nothing, and stay new until somebody has decided.
        if !request {
            let command = Command::MarkRead { thread, up_to: last };
            session.command(command).await.map_err(desk::failure)?;
        }
        after = last;
    }
}

pub(super) async fn sync(home: &Home, out: Out, patience: Span) -> Result<()> {
    desk::with(home, async |session| {
        if !idle(home, session, patience).await? {
            return Err(Failure::new(Code::Network, "the network does not answer in time"));
        }
        let threads = desk::view(session, thread::threads).await?;
        let unread: u32 = threads.iter().map(|it| it.unread).sum();
        out.result(
            || format!("{unread} unread in {} conversations", threads.len()),
            || json!({ "unread": unread, "threads": threads.len() }),
        );
        Ok(())
    })
    .await
}

/// Fetches what is new and sends what waits; returns whether that was done in time.
async fn idle(home: &Home, session: &Session, patience: Span) -> Result<bool> {
    let patience = desk::duration(patience) + home.slack(TRIPS);
    let synced = tokio::time::timeout(patience, session.sync_until_idle()).await;
    match synced {
        Ok(done) => done.map(|()| true).map_err(desk::failure),
        Err(_) => Ok(false),
    }
}
