//! `session chat` with a command behind it: what the terminal does, for scripts.

pub(crate) mod follow;
mod read;
pub(crate) mod say;
pub(crate) mod show;

use crate::args::{Chat, ChatCommand};
use crate::exit::Result;
use crate::home::Home;
use crate::out::Out;
use crate::tui;

pub(crate) async fn run(home: &Home, out: Out, args: &Chat) -> Result<()> {
    let Some(command) = &args.command else { return tui::run(home, out, args.typing).await };
    match command {
        ChatCommand::List => read::list(home, out),
        ChatCommand::History { of, limit, before } => {
            read::history(home, out, of, usize::from(*limit), *before)
        }
        ChatCommand::Search { words, limit } => {
            read::search(home, out, &words.join(" "), usize::from(*limit))
        }
        ChatCommand::Read { of } => read::unread(home, out, of.as_ref()).await,
        ChatCommand::Sync { patience } => read::sync(home, out, *patience).await,
        ChatCommand::Follow => follow::run(home, out).await,
        ChatCommand::Forget { of, messages, .. } => say::forget(home, out, of, messages).await,
        ChatCommand::File { to, file, caption, wait } => {
            say::file(home, out, to, file, caption, wait).await
        }
        ChatCommand::Save { of, message, into } => say::save(home, out, of, message, into).await,
        command => say::run(home, out, command).await,
    }
}
