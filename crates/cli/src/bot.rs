//! `session bot`: a program that answers messages.
//!
//! It is told of messages of accepted conversations, one line of JSON each, and never of receipts.
//! What it says is bounded, and so is its time. A message counts as read once the program has seen
//! it: whatever ends in between, it is told again, not left out.

mod answer;
mod program;

use std::path::PathBuf;

use serde_json::{Value, json};
use session_messaging::messenger::api::{Command, Event};
use session_messaging::say::{Peer, Standing};
use session_messaging::thread::{self, Message, Summary, ThreadId};
use session_messaging::vault::Vault;
use session_sdk::{Notice, Session};

use crate::args::Bot;
use crate::chat::show;
use crate::contact;
use crate::desk::{self, Names};
use crate::exit::{Failure, Result};
use crate::home::Home;
use crate::out::Out;
use crate::person;

use answer::Answer;
use program::{Once, Stream};

/// New messages that are looked at together.
const NEW_MAX: usize = 1000;

/// A message that the program has not seen.
struct Told {
    thread: ThreadId,
    peer: Peer,
    message: Message,
    line: Value,
}

/// A line that the program wrote, and what it was about, if it was run for one message.
struct Said {
    answer: Answer,
    about: Option<(ThreadId, session_messaging::say::SayId)>,
}

pub(crate) async fn run(home: &Home, out: Out, args: &Bot) -> Result<()> {
    desk::with(home, async |session| {
        let patience = person::PUBLISH_PATIENCE + home.slack(person::PUBLISH_TRIPS);
        // Whoever wants to write must find the bot; what came meanwhile is new below.
        let published = tokio::time::timeout(patience, session.sync_until_idle()).await;
        if !matches!(published, Ok(Ok(()))) {
            out.warn("the network does not answer yet");
        }
        let mut desk = Desk { session, out, args, told: 0 };
        out.remark("… waiting for messages; Ctrl-C stops");
        tokio::select! {
            done = desk.serve() => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }?;
        session.sync_until_idle().await.map_err(desk::failure)
    })
    .await
}

struct Desk<'a> {
    session: &'a Session,
    out: Out,
    args: &'a Bot,
    told: u64,
}

impl Desk<'_> {
    async fn serve(&mut self) -> Result<()> {
        let mut events = self.session.events();
        let mut stream = match self.args.stream {
            true => Some(Stream::start(&self.args.command)?),
            false => None,
        };
        loop {
            self.catch_up(stream.as_mut()).await?;
            if self.args.count.is_some_and(|count| self.told >= count) {
                // What a program that stays has still to say is waited for.
                if let Some(stream) = stream {
                    for answer in stream.finish(desk::duration(self.args.limit)).await {
                        self.say(Said { answer, about: None }).await;
                    }
                }
                return Ok(());
            }
            tokio::select! {
                notice = events.next() => match notice {
                    Some(Notice::Failed(why)) => return Err(Failure::failed(why)),
                    Some(notice) => self.warn(&notice),
                    None => return Ok(()),
                },
                answer = next_of(stream.as_mut()) => match answer? {
                    Some(answer) => self.say(Said { answer, about: None }).await,
                    None => return Err(Failure::failed("the program has ended")),
                },
            }
        }
    }

    fn warn(&self, notice: &Notice) {
        if let Notice::Event(Event::Warning(warning)) = notice {
            self.out.warn(&warning.to_string());
        }
    }

    /// Tells the program of everything that it has not seen.
    async fn catch_up(&mut self, mut stream: Option<&mut Stream>) -> Result<()> {
        if self.args.accept {
            self.accept().await?;
        }
        loop {
            let news = desk::view(self.session, unseen).await?;
            if news.is_empty() {
                return Ok(());
            }
            for told in news {
                if self.args.count.is_some_and(|count| self.told >= count) {
                    return Ok(());
                }
                self.tell(told, stream.as_deref_mut()).await?;
            }
        }
    }

    /// Tells the program of a message, which counts as read then.
    async fn tell(&mut self, mut told: Told, stream: Option<&mut Stream>) -> Result<()> {
        self.fetch(&mut told).await;
        self.told += 1;
        let about = Some((told.thread, told.message.id));
        match stream {
            Some(stream) => stream.tell(&told.line).await?,
            None => {
                let limit = desk::duration(self.args.limit);
                let once = Once { command: &self.args.command, limit };
                match once.run(&told.line).await {
                    Ok(answers) => {
                        for answer in answers {
                            self.say(Said { answer, about }).await;
                        }
                    }
                    Err(failure) => self.out.warn(&failure.to_string()),
                }
            }
        }
        let (thread, up_to) = (told.thread, told.message.place);
        let command = Command::MarkRead { thread, up_to };
        self.session.command(command).await.map_err(desk::failure)?;
        self.out.result(|| describe(&told), || json!({ "told": told.line }));
        Ok(())
    }

    /// Accepts strangers that wrote.
    async fn accept(&self) -> Result<()> {
        let threads = desk::view(self.session, thread::threads).await?;
        for it in threads.iter().filter(|it| it.standing == Standing::Stranger) {
            if let Peer::Account { account } = it.peer {
                contact::set(self.session, account, Standing::Accepted, None, None).await?;
            }
        }
        Ok(())
    }

    /// Saves the file of a message, if that was asked for.
    async fn fetch(&self, told: &mut Told) {
        let Some(folder) = &self.args.save else { return };
        let Ok(file) = crate::chat::say::file_of(told.message.body.clone()) else { return };
        match self.session.save(&file, folder, |_| {}).await {
            Ok(path) => told.line["path"] = json!(path),
            Err(error) => self.out.warn(&error.to_string()),
        }
    }

    /// Says what the program wants said; what goes wrong is no reason to end.
    async fn say(&self, said: Said) {
        if let Err(failure) = self.try_say(said).await {
            self.out.warn(&failure.to_string());
        }
    }

    async fn try_say(&self, Said { answer, about }: Said) -> Result<()> {
        let named = answer.thread.map(|number| ThreadId { number });
        let thread = named.or(about.map(|(thread, _)| thread)).ok_or_else(|| {
            Failure::usage("the answer names no \"thread\", and belongs to no message")
        })?;
        let about = about.filter(|(told, _)| *told == thread).map(|(_, id)| id);
        let found = desk::view(self.session, move |vault| thread::summary(vault, thread)).await?;
        let peer = found
            .map(|it| it.peer)
            .ok_or_else(|| Failure::not_found(format!("there is no thread {}", thread.number)))?;
        if let Some(path) = answer.file {
            let caption = answer.text.unwrap_or_default();
            let sent = self.session.send_file(peer, &PathBuf::from(path), &caption, |_| {}).await;
            return sent.map(drop).map_err(crate::chat::say::file_failure);
        }
        let say = answer.say(about)?;
        self.session.say_this(peer, say).await.map(drop).map_err(desk::failure)
    }
}

async fn next_of(stream: Option<&mut Stream>) -> Result<Option<Answer>> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

/// Returns what is new in accepted conversations: the oldest of it, in order. What comes after it is
/// new as well once this has been read.
fn unseen(vault: &dyn Vault) -> Vec<Told> {
    let mut threads = thread::threads(vault);
    threads.retain(|it| it.standing == Standing::Accepted);
    let mut news: Vec<(&Summary, Message)> = Vec::new();
    for it in &threads {
        news.extend(thread::unread(vault, it.id, 0, NEW_MAX).into_iter().map(|new| (it, new)));
    }
    news.sort_by_key(|(_, message)| message.place);
    news.truncate(NEW_MAX);
    let names = Names::load(vault);
    news.into_iter().map(|(of, message)| told(of, message, &names)).collect()
}

fn told(of: &Summary, message: Message, names: &Names) -> Told {
    let mut line = show::message_json(of.id, &message);
    line["peer"] = show::peer_json(&of.peer);
    line["title"] = json!(show::title(of, names));
    for private in ["read", "received_at_ms", "own", "place"] {
        line.as_object_mut().and_then(|line| line.remove(private));
    }
    Told { thread: of.id, peer: of.peer, message, line }
}

fn describe(told: &Told) -> String {
    let from = desk::short(&told.message.author);
    let place = match told.peer {
        Peer::Account { .. } => String::new(),
        Peer::Group { .. } => format!(" in thread {}", told.thread.number),
    };
    format!("told of [{}] from {from}{place}", &told.message.id.to_string()[..8])
}

#[cfg(test)]
mod tests;
