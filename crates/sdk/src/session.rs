//! The handle that programs hold.

use std::path::{Path, PathBuf};

use session_client::command as client;
use session_core::AccountId;
use session_crypto::Phrase;
use session_messaging::messenger::api::{self, Answer, Command, Event};
use session_messaging::say::{Peer, Say, SayId};
use session_messaging::thread::{self, Message, Summary, ThreadId};
use session_messaging::vault::Vault;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::driver::{self, Order};
use crate::network::Network;
use crate::vault::{FileVault, KEY_FILE, KeyError, VaultError, VaultKey};

/// The name of the vault in a home.
pub const VAULT_FILE: &str = "messages.vault";

/// Events that wait for a slow listener; older ones are dropped, and it is told how many.
pub const EVENTS_MAX: usize = 1024;

/// How a session is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The passphrase of the vault's key, where it has one.
    pub passphrase: Option<zeroize::Zeroizing<String>>,
    /// Makes the account, or this device of it, where the home has none; otherwise not looked at.
    pub create: Option<NewAccount>,
    /// Whether others are told what was read.
    pub read_receipts: bool,
}

/// What a home without an account is to become.
#[derive(Clone)]
pub enum NewAccount {
    /// An account, new or restored, from its words.
    Phrase {
        /// The words.
        phrase: Phrase,
        /// The name of this device.
        device: String,
        /// Whether the account may have published before: then the newest is looked up first.
        restored: bool,
    },
    /// Another device of an account that lives elsewhere; see [`Session::device_request`].
    Device {
        /// The account.
        account: AccountId,
        /// The name of this device.
        device: String,
    },
}

impl core::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Phrase { .. } => "NewAccount::Phrase",
            Self::Device { .. } => "NewAccount::Device",
        })
    }
}

/// Why a session does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no account in the home.
    #[error("there is no account in {}", .0.display())]
    NoAccount(PathBuf),
    /// The vault has an account of another network.
    #[error("the account in {} is of another network", .0.display())]
    OtherNetwork(PathBuf),
    /// The key of the vault is missing, or its passphrase.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The vault does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The account that is to be made is not well-formed.
    #[error(transparent)]
    Refused(api::Error),
    /// The system gives no randomness, socket or thread.
    #[error("{0}")]
    System(String),
}

/// Why something came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The messenger says no.
    #[error(transparent)]
    Messenger(#[from] api::Error),
    /// The network says no.
    #[error(transparent)]
    Network(#[from] session_client::Error),
    /// The session was stopped, or has failed; then [`Notice::Failed`] says why.
    #[error("the session has ended")]
    Stopped,
}

/// Something that was said, and is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Where it is shown.
    pub thread: ThreadId,
    /// Its name.
    pub id: SayId,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Something to show.
    Event(Event),
    /// So many events were dropped because the listener was slow: read the threads again.
    Missed(u64),
    /// The session has failed and ended; nothing follows.
    Failed(String),
}

/// Events from the moment of [`Session::events`] on.
pub struct Events(broadcast::Receiver<Notice>);

impl Events {
    /// Waits for the next one; `None` once the session has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Notice::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// A device of an account, running. Clones are handles on the same; it ends when the last one is
/// dropped, or with [`Session::stop`].
#[derive(Clone)]
pub struct Session {
    orders: mpsc::Sender<Order>,
    notices: broadcast::WeakSender<Notice>,
    account: AccountId,
    request: Option<String>,
}

impl Session {
    /// Tells whether a home has a vault.
    #[must_use]
    pub fn exists(home: &Path) -> bool {
        home.join(VAULT_FILE).exists()
    }

    /// Tells whether the vault of a home needs a passphrase.
    ///
    /// # Errors
    /// When there is no key, or it cannot be read.
    pub fn needs_passphrase(home: &Path) -> Result<bool, KeyError> {
        VaultKey::needs_passphrase(&home.join(KEY_FILE))
    }

    /// Opens the vault of a home, read-write and exclusively, without anything around it: for
    /// backups and repairs. The key is made where there is none and `create` says so.
    ///
    /// # Errors
    /// When key or vault do not open.
    pub fn open_vault(home: &Path, options: &Options) -> Result<FileVault, OpenError> {
        let (file, key) = (home.join(VAULT_FILE), home.join(KEY_FILE));
        let passphrase = options.passphrase.as_ref().map(|text| text.as_bytes());
        let key = if key.exists() {
            VaultKey::read(&key, passphrase)?
        } else if options.create.is_some() && !file.exists() {
            session_runtime::files::create_private_directory(home).map_err(KeyError::File)?;
            VaultKey::create(&key, passphrase)?
        } else {
            return Err(OpenError::NoAccount(home.to_owned()));
        };
        Ok(FileVault::open(&file, key)?)
    }

    /// Opens the session of a home. Must be called inside a tokio runtime with time and network,
    /// which then drives the connections.
    ///
    /// # Errors
    /// When there is no account, the vault is in use or does not open, or the system refuses.
    pub async fn open(home: &Path, network: Network, options: Options) -> Result<Self, OpenError> {
        let (notices, _) = broadcast::channel(EVENTS_MAX);
        let weak = notices.downgrade();
        let started = driver::start(home.to_owned(), network, options, notices).await?;
        let driver::Started { orders, account, request } = started;
        Ok(Self { orders, notices: weak, account, request })
    }

    /// Returns the account; a new device of it may still wait for its consent.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// Returns what a new device shows to one that has the keys of the account, if this session was
    /// opened with [`NewAccount::Device`].
    ///
    /// # Errors
    /// When it was not.
    pub async fn device_request(&self) -> Result<String, Error> {
        let none = api::Error::NotFound { what: "request of a new device" };
        self.request.clone().ok_or(Error::Messenger(none))
    }

    /// Waits until this device is part of its account.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn linked(&self) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Linked(done)).await?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// Listens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        match self.notices.upgrade() {
            Some(notices) => Events(notices.subscribe()),
            None => Events(broadcast::channel(1).1),
        }
    }

    /// Carries out a command of the messenger.
    ///
    /// # Errors
    /// As the messenger says.
    pub async fn command(&self, command: Command) -> Result<Answer, Error> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Command(Box::new(command), done)).await?;
        Ok(answer.await.map_err(|_| Error::Stopped)??)
    }

    /// Carries out a command of the client: storing, reading, asking nodes.
    ///
    /// # Errors
    /// As the network says.
    pub async fn network(&self, command: client::Command) -> Result<client::Answer, Error> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Network(Box::new(command), done)).await?;
        Ok(answer.await.map_err(|_| Error::Stopped)??)
    }

    /// Says a text. Done as soon as it is kept here; it is then sent until the swarm has it.
    ///
    /// # Errors
    /// When it is too long, or the peer is blocked or cannot be reached for the first time.
    pub async fn say(&self, to: Peer, text: impl Into<String>) -> Result<Said, Error> {
        let body = session_core::Text::new(text).map_err(|over| {
            Error::Messenger(api::Error::TooMany {
                field: "text",
                got: over.got,
                limit: over.limit,
            })
        })?;
        self.say_this(to, Say::Text { body, reply_to: None }).await
    }

    /// Says anything.
    ///
    /// # Errors
    /// As [`Session::say`].
    pub async fn say_this(&self, to: Peer, say: Say) -> Result<Said, Error> {
        match self.command(Command::Say { to, say }).await? {
            Answer::Said { thread, id } => Ok(Said { thread, id }),
            _ => Err(Error::Stopped),
        }
    }

    /// Runs a query of the messaging crate on the vault, between two transactions.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn view<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Vault) -> T + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        let query = Box::new(move |vault: &dyn Vault| {
            // Whoever asked may have stopped waiting.
            let _ = done.send(query(vault));
        });
        self.order(Order::View(query)).await?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// Returns the threads, the one in which something happened last first.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn threads(&self) -> Result<Vec<Summary>, Error> {
        self.view(thread::threads).await
    }

    /// Returns the last `limit` messages before a place (or the newest), oldest first.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn messages(
        &self,
        thread: ThreadId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        self.view(move |vault| thread::messages(vault, thread, before, limit)).await
    }

    /// Waits until everything that is new has been read, and everything that was said is stored or
    /// waits for another try. Receipts that wait for company are sent.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn sync_until_idle(&self) -> Result<(), Error> {
        self.caught_up().await?;
        self.command(Command::Flush).await?;
        self.caught_up().await
    }

    /// Waits until everything that is new has been read, and nothing is on its way. What is said
    /// after that is said under the newest keys that the swarm knows of.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn caught_up(&self) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Idle(done)).await?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// Ends the session: closes connections and vault. What waits to be sent is sent the next time.
    pub async fn stop(self) {
        let (done, answer) = oneshot::channel();
        if self.order(Order::Stop(done)).await.is_ok() {
            // The other end is dropped when everything is closed.
            let _ = answer.await;
        }
    }

    pub(crate) async fn change<F>(&self, change: F) -> Result<(), Error>
    where
        F: FnOnce(&mut dyn Vault) + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.order(Order::Change(Box::new(change), done)).await?;
        answer.await.map_err(|_| Error::Stopped)
    }

    async fn order(&self, order: Order) -> Result<(), Error> {
        self.orders.send(order).await.map_err(|_| Error::Stopped)
    }
}
