//! Actions, carried out.

use std::path::{Path, PathBuf};

use session_core::{AccountId, Text};
use session_crypto::AccountRef;
use session_messaging::messenger::api::Command;
use session_messaging::say::{Disappear, Peer, Say, Standing};
use session_messaging::thread::{self, ThreadId};
use session_runtime::http::client::Endpoint;
use session_sdk::Session;

use super::load;
use super::model::Transfer;
use super::state::{Action, News};
use crate::chat::say;
use crate::exit::{Failure, Result};
use crate::{contact, desk, group};

/// What an action tells while it goes on.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(Transfer) + Send);

/// Whether an action may wait for the network. The others are done at once, one after another.
pub(super) const fn is_slow(action: &Action) -> bool {
    matches!(
        action,
        Action::Send { .. }
            | Action::Save { .. }
            | Action::Chat { .. }
            | Action::Group { .. }
            | Action::Invite { .. }
            | Action::Leave { .. }
            | Action::Info { .. }
            | Action::Timer { .. }
            | Action::Unsend { .. }
            | Action::Name { .. }
    )
}

/// Carries an action out; what goes wrong is a sentence at the bottom.
pub(super) async fn perform(
    session: &Session,
    chain: Option<&Endpoint>,
    action: Action,
    tell: Tell<'_>,
) -> Vec<News> {
    match attempt(session, chain, action, tell).await {
        Ok(news) => news,
        Err(failure) => vec![News::Notice { text: failure.to_string(), bad: true }],
    }
}

async fn attempt(
    session: &Session,
    chain: Option<&Endpoint>,
    action: Action,
    tell: Tell<'_>,
) -> Result<Vec<News>> {
    match action {
        Action::Load { thread, limit } => {
            Ok(vec![desk::view(session, move |vault| load::letters(vault, thread, limit)).await?])
        }
        Action::Search { words } => {
            Ok(vec![desk::view(session, move |vault| load::hits(vault, &words)).await?])
        }
        Action::Receipts { thread, place } => {
            let page =
                desk::view(session, move |vault| load::receipts(vault, thread, place)).await?;
            Ok(page.into_iter().collect())
        }
        Action::Info { thread } => info(session, thread).await,
        Action::Seen { thread, up_to } => {
            command(session, Command::MarkRead { thread, up_to }).await.map(|()| Vec::new())
        }
        Action::Forget { thread, id } => {
            command(session, Command::Forget { thread, ids: vec![id] }).await.map(|()| Vec::new())
        }
        Action::Say { .. } | Action::Edit { .. } | Action::React { .. } | Action::Typing { .. } => {
            speak(session, action).await.map(|()| Vec::new())
        }
        Action::Unsend { thread, id } => {
            let unsent = session.unsend(peer(session, thread).await?, id).await;
            unsent.map(|_| Vec::new()).map_err(desk::failure)
        }
        Action::First { account, text } => {
            let peer = Peer::Account { account };
            let mut news = compare(session, chain, peer).await?;
            let said = session.say(peer, text).await.map_err(desk::failure)?;
            news.extend([conversations(session).await?, News::Open(said.thread)]);
            Ok(news)
        }
        Action::Send { thread, path } => send(session, thread, &path, tell).await,
        Action::Save { thread, place, folder } => save(session, thread, place, &folder, tell).await,
        Action::Accept { thread } => stand(session, thread, Standing::Accepted, "accepted").await,
        Action::Block { thread } => stand(session, thread, Standing::Blocked, "blocked").await,
        Action::Unblock { thread } => stand(session, thread, Standing::Accepted, "unblocked").await,
        Action::Chat { account } => chat(session, chain, &account).await,
        action => manage(session, action).await,
    }
}

/// Names, groups and timers.
async fn manage(session: &Session, action: Action) -> Result<Vec<News>> {
    match action {
        Action::Name { thread, name } => {
            match peer(session, thread).await? {
                Peer::Account { account } => {
                    let standing = standing(session, account).await?;
                    contact::set(session, account, standing, Some(name), None).await?;
                }
                Peer::Group { group } => {
                    let name = Some(name);
                    let change = Command::ChangeGroup { group, name, role: None, disappear: None };
                    command(session, change).await?;
                }
            }
            Ok(notice("named"))
        }
        Action::Timer { thread, after } => {
            let disappear = after.map_or(Disappear::Never, |span| Disappear::AfterSend { span });
            say::set_timer(session, peer(session, thread).await?, disappear).await?;
            Ok(Vec::new())
        }
        Action::Group { name, members } => {
            let members = accounts(&members)?;
            let (_, thread, missing) = group::make(session, &name, members, 0).await?;
            let mut news = vec![conversations(session).await?, News::Open(thread)];
            news.extend(missing.into_iter().map(|(account, why)| News::Notice {
                text: format!("{} is not in it: {why}", desk::short(&account)),
                bad: true,
            }));
            Ok(news)
        }
        Action::Invite { thread, accounts: given } => {
            let accounts = accounts(&given)?;
            command(session, Command::Invite { group: group_of(session, thread).await?, accounts })
                .await?;
            Ok(notice("invited"))
        }
        Action::Leave { thread } => {
            let group = group_of(session, thread).await?;
            command(session, Command::Remove { group, account: session.account() }).await?;
            Ok(notice("left"))
        }
        _ => Ok(Vec::new()),
    }
}

fn notice(text: &str) -> Vec<News> {
    vec![News::Notice { text: text.to_owned(), bad: false }]
}

async fn command(session: &Session, command: Command) -> Result<()> {
    session.command(command).await.map(drop).map_err(desk::failure)
}

async fn conversations(session: &Session) -> Result<News> {
    desk::view(session, load::conversations).await
}

async fn peer(session: &Session, thread: ThreadId) -> Result<Peer> {
    let found = desk::view(session, move |vault| thread::summary(vault, thread)).await?;
    found.map(|it| it.peer).ok_or_else(|| Failure::not_found("the conversation is gone"))
}

async fn group_of(session: &Session, thread: ThreadId) -> Result<session_messaging::say::GroupId> {
    match peer(session, thread).await? {
        Peer::Group { group } => Ok(group),
        Peer::Account { .. } => Err(Failure::usage("that is no group")),
    }
}

async fn standing(session: &Session, account: AccountId) -> Result<Standing> {
    let known =
        desk::view(session, move |vault| session_messaging::account::contact(vault, &account));
    Ok(known.await?.map(|it| it.standing).unwrap_or_default())
}

async fn stand(
    session: &Session,
    thread: ThreadId,
    standing: Standing,
    done: &str,
) -> Result<Vec<News>> {
    match peer(session, thread).await? {
        Peer::Account { account } => {
            contact::set(session, account, standing, None, None).await?;
        }
        Peer::Group { group } => command(session, Command::SetGroup { group, standing }).await?,
    }
    let mut news = vec![conversations(session).await?];
    news.extend(notice(done));
    Ok(news)
}

async fn info(session: &Session, thread: ThreadId) -> Result<Vec<News>> {
    if let Peer::Account { account } = peer(session, thread).await? {
        // What is known already is better than nothing.
        let _ = contact::look_up(session, account).await;
    }
    let page = desk::view(session, move |vault| load::info(vault, thread)).await?;
    Ok(page.into_iter().collect())
}

async fn speak(session: &Session, action: Action) -> Result<()> {
    let text = |text: String| {
        Text::new(text)
            .map_err(|over| Failure::usage(format!("the text: {over}; f sends it as a file")))
    };
    let (thread, say) = match action {
        Action::Say { thread, text: body, reply_to } => {
            (thread, Say::Text { body: text(body)?, reply_to })
        }
        Action::Edit { thread, id, text: body } => {
            (thread, Say::Edit { of: id, body: text(body)? })
        }
        Action::Typing { thread, on } => (thread, Say::Typing { on }),
        Action::React { thread, id, emoji, on } => {
            let emoji = Text::new(emoji).map_err(Failure::usage)?;
            (thread, Say::React { to: id, emoji, on })
        }
        _ => return Ok(()),
    };
    let peer = peer(session, thread).await?;
    session.say_this(peer, say).await.map(drop).map_err(desk::failure)
}

/// Begins a conversation: an account becomes a contact, and its thread is shown.
async fn chat(session: &Session, chain: Option<&Endpoint>, given: &str) -> Result<Vec<News>> {
    let account = accounts(&[given.to_owned()])?[0];
    contact::look_up(session, account).await?;
    let mut news = compare(session, chain, Peer::Account { account }).await?;
    contact::set(session, account, Standing::Accepted, None, None).await?;
    let find = move |vault: &dyn session_messaging::vault::Vault| {
        thread::thread_of(vault, &Peer::Account { account })
    };
    let known = conversations(session).await?;
    match desk::view(session, find).await? {
        Some(thread) => news.extend([known, News::Open(thread)]),
        None => news.push(News::Begin { account, title: desk::short(&account) }),
    }
    Ok(news)
}

/// Before the first words to somebody: what the chain contradicts is refused.
async fn compare(session: &Session, chain: Option<&Endpoint>, peer: Peer) -> Result<Vec<News>> {
    let warning = contact::first_words(chain.cloned(), session, peer).await?;
    Ok(warning.into_iter().map(|text| News::Notice { text, bad: true }).collect())
}

fn accounts(given: &[String]) -> Result<Vec<AccountId>> {
    let read = |text: &String| {
        let account: Result<AccountRef, _> = text.parse();
        account.map(|it| it.0).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
    };
    given.iter().map(read).collect()
}

async fn send(
    session: &Session,
    thread: ThreadId,
    path: &str,
    tell: Tell<'_>,
) -> Result<Vec<News>> {
    let path = home_path(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let peer = peer(session, thread).await?;
    let progress = |it: session_sdk::Progress| {
        tell(Transfer { name: name.clone(), sending: true, done: it.done, of: it.of });
    };
    session.send_file(peer, &path, "", progress).await.map_err(say::file_failure)?;
    Ok(notice(&format!("{name} is sent")))
}

async fn save(
    session: &Session,
    thread: ThreadId,
    place: u64,
    folder: &str,
    tell: Tell<'_>,
) -> Result<Vec<News>> {
    let found = desk::view(session, move |vault| thread::message(vault, thread, place)).await?;
    let message = found.ok_or_else(|| Failure::not_found("the message is gone"))?;
    let file = say::file_of(message.body)?;
    let name = file.manifest.name().as_str().to_owned();
    let progress = |it: session_sdk::Progress| {
        tell(Transfer { name: name.clone(), sending: false, done: it.done, of: it.of });
    };
    let path = session.save(&file, &home_path(folder), progress).await;
    Ok(notice(&format!("saved {}", path.map_err(say::file_failure)?.display())))
}

// As a shell would read it.
fn home_path(given: &str) -> PathBuf {
    match (given.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(given),
    }
}
