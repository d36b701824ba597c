//! Answers every message with its own text: `echo_bot HOME NETWORK_FILE`.
//!
//! The home needs an account: `session --home HOME account new --plain`.

use session_core::AccountId;
use session_messaging::thread::{self, Body};
use session_sdk::{Event, Network, Notice, Options, Session};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(home), Some(network)) = (args.next(), args.next()) else {
        return Err("usage: echo_bot HOME NETWORK_FILE".into());
    };
    let network = Network::from_file(network.as_ref())?;
    let session = Session::open(home.as_ref(), network, Options::default()).await?;
    let own: AccountId = session.account();
    let mut events = session.events();
    while let Some(notice) = events.next().await {
        let Notice::Event(Event::Changed { thread, places, alert: true }) = notice else {
            continue;
        };
        for place in places {
            let found = session.view(move |vault| {
                let summary = thread::summary(vault, thread)?;
                Some((summary.peer, thread::message(vault, thread, place)?))
            });
            let Some((peer, message)) = found.await? else { continue };
            if let Body::Text { body } = message.body
                && message.author != own
            {
                session.say(peer, &*body).await?;
            }
        }
    }
    Ok(())
}
