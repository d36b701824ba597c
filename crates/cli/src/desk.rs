//! What all commands of conversations share: opening, finding, waiting.

use std::time::Duration;

use session_core::{AccountId, Span};
use session_crypto::AccountRef;
use session_messaging::account;
use session_messaging::messenger::api::Error as Refusal;
use session_messaging::say::{Peer, SayId};
use session_messaging::thread::{self, Message, Status, ThreadId};
use session_messaging::vault::Vault;
use session_sdk::vault::FileVault;
use session_sdk::{Error, OpenError, Options, Session};
use zeroize::Zeroizing;

use crate::args::{Until, Wait, Where};
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::members::Members;
use crate::out::{self, Out};
use crate::person;

/// How many of the newest messages are searched for the start of an id.
const IDS_SEARCHED: usize = 2000;

/// How long whoever speaks listens before.
const HELLO: Duration = Duration::from_secs(2);

/// How long a command waits for what it began besides.
const GOODBYE: Duration = Duration::from_secs(3);

/// Round trips that reading what is new takes, and a few more.
const TRIPS: u32 = 3;

/// Round trips that it takes at most to say something to somebody for the first time.
const FIRST_TRIPS: u32 = 20;

/// Fewer digits name too many messages.
const START_MIN: usize = 4;

/// Opens the session of a home, connected to the network.
pub(crate) async fn open(home: &Home) -> Result<Session> {
    open_with(home, options(home)?).await
}

/// Opens a session, making its account if the options say so.
pub(crate) async fn open_with(home: &Home, options: Options) -> Result<Session> {
    let network = Members::find(home).await?.into_network(home)?;
    Session::open(home.dir(), network, options).await.map_err(not_opened)
}

/// Opens the vault of a home without a network: to look things up.
pub(crate) fn open_vault(home: &Home) -> Result<FileVault> {
    Session::open_vault(home.dir(), &options(home)?).map_err(not_opened)
}

/// Runs something with a session, and closes it whatever comes of that. What is begun besides, such
/// as new keys or receipts, gets a moment to end; the next command goes on with the rest.
pub(crate) async fn with<T>(
    home: &Home,
    work: impl AsyncFnOnce(&Session) -> Result<T>,
) -> Result<T> {
    let session = open(home).await?;
    let done = work(&session).await;
    if done.is_ok() {
        let patience = GOODBYE + home.slack(TRIPS);
        let _ = tokio::time::timeout(patience, session.sync_until_idle()).await;
    }
    session.stop().await;
    done
}

/// Reads what is new before something is said: it is then said under the newest keys, to the devices
/// that are there now. Where the network is slow, it is said anyway.
pub(crate) async fn catch_up(home: &Home, session: &Session, wait: &Wait) {
    if wait.until != Until::Kept {
        let patience = HELLO + home.slack(TRIPS);
        let _slow = tokio::time::timeout(patience, session.caught_up()).await;
    }
}

fn options(home: &Home) -> Result<Options> {
    if !Session::exists(home.dir()) {
        return Err(no_account(home));
    }
    let needed = Session::needs_passphrase(home.dir()).map_err(Failure::failed)?;
    let prompt = || home.passphrase(&format!("passphrase of {}", home.dir().display()));
    let passphrase = needed.then(prompt).transpose()?.map(Zeroizing::new);
    Ok(Options { passphrase, create: None, read_receipts: home.read_receipts() })
}

fn no_account(home: &Home) -> Failure {
    Failure::not_found(format!(
        "there is no account in {}: make one with 'session account new', or restore one with \
         'session account restore'",
        home.dir().display()
    ))
}

fn not_opened(error: OpenError) -> Failure {
    let code = match &error {
        OpenError::NoAccount(_) => Code::NotFound,
        OpenError::OtherNetwork(_) => Code::Usage,
        _ => Code::Failed,
    };
    Failure::new(code, error)
}

/// Translates what the session says.
pub(crate) fn failure(error: Error) -> Failure {
    let code = match &error {
        Error::Messenger(refusal) => match refusal {
            Refusal::Unreachable { .. } | Refusal::NotStored(_) => Code::Network,
            Refusal::NoConversation(_) | Refusal::NotFound { .. } => Code::NotFound,
            Refusal::Blocked(_) | Refusal::NotAdmin | Refusal::NoAccountKeys => Code::Refused,
            Refusal::NotSayable { .. } | Refusal::Invalid { .. } | Refusal::TooMany { .. } => {
                Code::Usage
            }
            _ => Code::Failed,
        },
        Error::Network(error) => return person::failure(error.clone()),
        _ => Code::Failed,
    };
    Failure::new(code, error)
}

/// A conversation that was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) peer: Peer,
    /// Unless nothing was said yet.
    pub(crate) thread: Option<ThreadId>,
}

impl Place {
    /// Returns the thread, which must be there.
    pub(crate) fn thread(&self) -> Result<ThreadId> {
        self.thread.ok_or_else(|| Failure::not_found("there is no such conversation yet"))
    }
}

/// Finds a conversation.
pub(crate) fn place(vault: &dyn Vault, wanted: &Where) -> Result<Place> {
    match wanted {
        Where::Peer(peer) => Ok(Place { peer: *peer, thread: thread::thread_of(vault, peer) }),
        Where::Thread(number) => {
            let thread = ThreadId { number: *number };
            let summary = thread::summary(vault, thread);
            let summary = summary.ok_or_else(|| {
                Failure::not_found(format!(
                    "there is no conversation {number}: 'session chat list' shows them"
                ))
            })?;
            Ok(Place { peer: summary.peer, thread: Some(thread) })
        }
        Where::GroupStart(start) => {
            let mut found = thread::threads(vault).into_iter().filter(|it| match it.peer {
                Peer::Group { group } => hex::encode(group.bytes).starts_with(start),
                Peer::Account { .. } => false,
            });
            match (found.next(), found.next()) {
                (Some(it), None) => Ok(Place { peer: it.peer, thread: Some(it.id) }),
                (None, _) => Err(Failure::not_found(format!("there is no group {start}"))),
                _ => Err(Failure::usage(format!("there are several groups {start}: more digits"))),
            }
        }
    }
}

/// Finds a message by the start of its id.
pub(crate) fn message(vault: &dyn Vault, thread: ThreadId, start: &str) -> Result<Message> {
    let digits = start.bytes().all(|c| c.is_ascii_hexdigit());
    if !digits || start.len() < START_MIN || start.len() > 32 {
        return Err(Failure::usage(format!(
            "message {start:?}: the first {START_MIN} to 32 hexadecimal digits of its id are needed"
        )));
    }
    let start = start.to_lowercase();
    let mut id = [0; 16];
    if hex::decode_to_slice(&start, &mut id).is_ok() {
        let found = thread::by_id(vault, thread, SayId(id));
        return found.ok_or_else(|| Failure::not_found(format!("there is no message {start}")));
    }
    let newest = thread::messages(vault, thread, None, IDS_SEARCHED);
    let mut found = newest.into_iter().filter(|it| it.id.to_string().starts_with(&start));
    match (found.next(), found.next()) {
        (Some(message), None) => Ok(message),
        (None, _) => Err(Failure::not_found(format!("there is no message {start}"))),
        _ => Err(Failure::usage(format!("there are several messages {start}: more digits"))),
    }
}

/// Looks something up in the vault of a running session.
pub(crate) async fn view<T: Send + 'static>(
    session: &Session,
    query: impl FnOnce(&dyn Vault) -> T + Send + 'static,
) -> Result<T> {
    session.view(query).await.map_err(failure)
}

/// Names of accounts, as this device shows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    own: Option<AccountId>,
    names: Vec<(AccountId, String)>,
}

impl Names {
    pub(crate) fn load(vault: &dyn Vault) -> Self {
        let contacts = account::contacts(vault).into_iter();
        let named = contacts.filter(|it| !it.name.is_empty());
        let names = named.map(|it| (it.account, it.name.to_string())).collect();
        Self { own: account::account(vault), names }
    }

    /// Returns the name of an account, fit for one line, or the ends of its id.
    pub(crate) fn of(&self, account: &AccountId) -> String {
        if self.own == Some(*account) {
            return "you".to_owned();
        }
        let found = self.names.iter().find(|(named, _)| named == account);
        found.map_or_else(|| short(account), |(_, name)| out::one_line(name))
    }
}

/// Returns both ends of an id.
pub(crate) fn short(account: &AccountId) -> String {
    let id = AccountRef(*account).to_string();
    format!("{}…{}", &id[..8], &id[id.len() - 4..])
}

/// What a command waits for.
pub(crate) enum Sent {
    /// A message of its own.
    Message(ThreadId, SayId),
    /// Something about another message.
    Change,
}

/// Waits as long as was asked for. Returns how far a message has come.
pub(crate) async fn wait(
    home: &Home,
    session: &Session,
    out: Out,
    sent: Sent,
    wait: &Wait,
) -> Result<Option<Status>> {
    if wait.until == Until::Kept {
        return Ok(None);
    }
    let patience = duration(wait.patience) + home.slack(FIRST_TRIPS);
    match sent {
        Sent::Change => {
            if tokio::time::timeout(patience, session.sync_until_idle()).await.is_err() {
                out.warn("not everything is sent yet: the next command goes on");
            }
            Ok(None)
        }
        Sent::Message(thread, id) => {
            let mut last = Status::default();
            let reached = wait_for(session, thread, id, wait.until, &mut last);
            match tokio::time::timeout(patience, reached).await {
                Ok(done) => done.map(|()| Some(last)),
                Err(_) => Err(Failure::new(
                    Code::Network,
                    format!(
                        "message {id} is kept here, and not {} yet: the next command goes on",
                        if last.stored.is_none() { "stored" } else { "delivered" }
                    ),
                )),
            }
        }
    }
}

async fn wait_for(
    session: &Session,
    thread: ThreadId,
    id: SayId,
    until: Until,
    last: &mut Status,
) -> Result<()> {
    let mut events = session.events();
    loop {
        let found = view(session, move |vault| thread::by_id(vault, thread, id)).await?;
        *last = found.map(|message| message.status).unwrap_or_default();
        if last.failed {
            return Err(Failure::failed(format!("message {id} was given up")));
        }
        let stored = last.stored.is_some();
        let delivered = last.delivered > 0 || last.audience == 0;
        if stored && (until != Until::Delivered || delivered) {
            return Ok(());
        }
        if events.next().await.is_none() {
            return Err(failure(Error::Stopped));
        }
    }
}

/// Returns a span as the clock of the shell takes it.
pub(crate) const fn duration(span: Span) -> Duration {
    Duration::from_millis(span.as_millis())
}

/// Reads a text, or standard input for `-`; what is there must be something.
pub(crate) fn text(given: &str) -> Result<String> {
    let text = if given == "-" { crate::mail::read_text()? } else { given.to_owned() };
    if text.trim().is_empty() {
        return Err(Failure::usage("there is nothing to say: the text is empty"));
    }
    Ok(text)
}
