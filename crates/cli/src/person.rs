//! Somebody on the network: keys, and a client to send and read with.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use session_client::{Answer, Command, Inbox, InboxReader, NewItem, StoredProof};
use session_core::{AccountId, InboxAddress, List, MessageId, Namespace, Span, Time};
use session_crypto::{AccountRef, Identity, PublicIdentity};
use session_messaging::card::card_item;
use session_messaging::content::{Content, Message, OpenError, open_message, seal_message};
use session_protocol::inbox::{IDENTITY_CARD, MESSAGES};
use session_protocol::limits::{IDS_MAX, TTL_OWNER_MAX};
use session_protocol::request::{Item, Refusal};
use session_protocol::{AccessRule, Membership};
use session_runtime::clock::SystemClock;
use session_runtime::entropy::OsEntropy;
use session_sdk::Network;
use session_sdk::agent::Agent;

use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::members::{Members, SharedMembership};

/// How many nodes are asked for what is new: what one withholds, the other has.
const NODES_READ: usize = 2;

/// One clock for the whole program, so that its time never goes backwards.
static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);

/// Publishing goes along with other work, which it must not hold up for long.
pub(crate) const PUBLISH_PATIENCE: Duration = Duration::from_secs(8);

/// Round trips that it takes, one after another.
pub(crate) const PUBLISH_TRIPS: u32 = 8;

/// An identity with its client.
pub(crate) struct Person {
    pub(crate) identity: Arc<Identity>,
    pub(crate) membership: SharedMembership,
    pub(crate) agent: Agent,
    publish_patience: Duration,
}

/// An item of the inbox, opened or not.
pub(crate) struct Received {
    pub(crate) item: Item,
    pub(crate) message: std::result::Result<Message, OpenError>,
}

impl Person {
    /// Starts a client that asks nodes directly: for networks of our own, which a demo makes.
    pub(crate) fn start(identity: Identity, members: Members) -> Result<Self> {
        let membership = members.view().clone();
        Self::over(identity, membership, &members.into_direct_network(), Duration::ZERO)
    }

    /// Starts a client whose requests travel as a home says.
    pub(crate) fn of(home: &Home, identity: Identity, members: Members) -> Result<Self> {
        let membership = members.view().clone();
        let slack = home.slack(PUBLISH_TRIPS);
        Self::over(identity, membership, &members.into_network(home)?, slack)
    }

    fn over(
        identity: Identity,
        membership: SharedMembership,
        network: &Network,
        slack: Duration,
    ) -> Result<Self> {
        let identity = Arc::new(identity);
        let agent = Agent::start(identity.clone(), network).map_err(Failure::failed)?;
        let publish_patience = PUBLISH_PATIENCE + slack;
        Ok(Self { identity, membership, agent, publish_patience })
    }

    pub(crate) fn account(&self) -> AccountId {
        self.identity.public().account_id()
    }

    pub(crate) fn text_id(&self) -> String {
        AccountRef(self.account()).to_string()
    }

    /// Carries out a command; a second time if the nodes have changed since the first.
    pub(crate) async fn run(&self, command: Command) -> Result<Answer> {
        let first = self.agent.run(command.clone()).await;
        match first {
            Err(error) if is_of_another_view(&error) && self.agent.refresh().await => {
                self.agent.run(command).await.map_err(failure)
            }
            done => done.map_err(failure),
        }
    }

    /// Publishes the own public keys, so that others can write with the id alone.
    pub(crate) async fn publish(&self) -> Result<()> {
        let item = NewItem {
            namespace: IDENTITY_CARD,
            ttl: TTL_OWNER_MAX,
            data: card_item(self.identity.public()),
        };
        let stored = self.store(inbox_of(self.account()), item);
        match tokio::time::timeout(self.publish_patience, stored).await {
            Ok(stored) => stored.map(drop),
            Err(_) => Err(Failure::new(Code::Network, "too few nodes took them in time")),
        }
    }

    /// Finds somebody's public keys.
    pub(crate) async fn find(&self, account: AccountId) -> Result<PublicIdentity> {
        match self.run(Command::GetCard { account }).await? {
            Answer::Card(keys) => Ok(keys),
            _ => Err(unexpected()),
        }
    }

    /// Seals and stores a message; returns its proof.
    pub(crate) async fn send(
        &self,
        to: &PublicIdentity,
        content: &Content,
        ttl: Span,
    ) -> Result<StoredProof> {
        let network = self.membership.network();
        let data = seal_message(&*self.identity, to, network, content, &mut entropy()?)
            .map_err(Failure::usage)?;
        let item = NewItem { namespace: MESSAGES, ttl, data };
        self.store(inbox_of(to.account_id()), item).await
    }

    /// Stores an item; returns its proof.
    pub(crate) async fn store(&self, address: InboxAddress, item: NewItem) -> Result<StoredProof> {
        match self.run(Command::Store { address, item }).await? {
            Answer::Stored(proofs) => proofs.into_iter().next().ok_or_else(unexpected),
            _ => Err(unexpected()),
        }
    }

    /// Stores items in order; returns their proofs.
    pub(crate) async fn store_many(
        &self,
        address: InboxAddress,
        items: Vec<NewItem>,
    ) -> Result<Vec<StoredProof>> {
        match self.run(Command::StoreMany { address, items }).await? {
            Answer::Stored(proofs) => Ok(proofs),
            _ => Err(unexpected()),
        }
    }

    /// Reads everything that is new, opened.
    pub(crate) async fn read(&self, reader: &mut InboxReader) -> Result<Vec<Received>> {
        let mut received = Vec::new();
        loop {
            let command = Command::Retrieve {
                from: Inbox::Own,
                namespace: MESSAGES,
                cursors: reader.cursors(MESSAGES),
                nodes: NODES_READ.min(self.membership.nodes().len()),
            };
            let Answer::Pages(pages) = self.run(command).await? else { return Err(unexpected()) };
            let more = pages.iter().any(|page| page.more);
            for page in pages {
                received.extend(reader.absorb(page).into_iter().map(|item| self.open(item)));
            }
            if !more {
                return Ok(received);
            }
        }
    }

    /// Opens an item.
    pub(crate) fn open(&self, item: Item) -> Received {
        let message = open_message(&self.identity, self.membership.network(), &item.data);
        Received { item, message }
    }

    /// Reads items by their ids, in the order asked.
    pub(crate) async fn fetch(&self, namespace: Namespace, ids: &[MessageId]) -> Result<Vec<Item>> {
        let ids = List::new(ids).map_err(Failure::failed)?;
        match self.run(Command::Fetch { from: Inbox::Own, namespace, ids }).await? {
            Answer::Fetched { items, missing } if missing.is_empty() => Ok(items),
            Answer::Fetched { missing, .. } => Err(Failure::not_found(format!(
                "{} pieces of the file are not in the swarm any more",
                missing.len()
            ))),
            _ => Err(unexpected()),
        }
    }

    /// Deletes items everywhere.
    pub(crate) async fn delete(&self, ids: &[MessageId]) -> Result<()> {
        for some in ids.chunks(IDS_MAX) {
            let ids = List::new(some).expect("chunks of at most the bound");
            self.run(Command::Delete { from: Inbox::Own, ids }).await?;
        }
        Ok(())
    }
}

/// Returns the inbox of an account.
pub(crate) fn inbox_of(account: AccountId) -> InboxAddress {
    AccessRule::from(account).address()
}

/// Returns the time, for messages.
pub(crate) fn now() -> Time {
    CLOCK.now()
}

/// Opens the system's entropy.
pub(crate) fn entropy() -> Result<OsEntropy> {
    OsEntropy::new().map_err(Failure::failed)
}

fn unexpected() -> Failure {
    Failure::failed("the client answered something else than was asked")
}

pub(crate) fn failure(error: session_client::Error) -> Failure {
    Failure::new(code(&error), explained(&error))
}

/// Returns what the client says; where there is no path, with the way around it.
pub(crate) fn explained(error: &session_client::Error) -> String {
    if lacks_path(error) {
        format!("{error}; with --mode direct nodes are asked directly, and see from where")
    } else {
        error.to_string()
    }
}

fn lacks_path(error: &session_client::Error) -> bool {
    use session_client::Error;
    match error {
        Error::TimedOut { last: Some(last), .. } => lacks_path(last),
        Error::TooFewHops { .. } | Error::NoHopKey { .. } | Error::NoGuard { .. } => true,
        _ => false,
    }
}

/// Whether somebody who knows other nodes may have answered so.
fn is_of_another_view(error: &session_client::Error) -> bool {
    use session_client::Error;
    match error {
        Error::Refused { refusal, .. } => matches!(refusal, Refusal::WrongSwarm { .. }),
        Error::TimedOut { .. }
        | Error::Unreachable { .. }
        | Error::NotEnoughReceipts { .. }
        | Error::NoSwarm(_)
        | Error::UnknownNode(_) => true,
        _ => false,
    }
}

/// Returns the exit code of what the client says.
pub(crate) fn code(error: &session_client::Error) -> Code {
    use session_client::Error;
    match error {
        Error::TimedOut { last: Some(last), .. } => match code(last) {
            Code::Refused => Code::Refused,
            _ => Code::Network,
        },
        Error::NoCard(_) | Error::UnknownNode(_) => Code::NotFound,
        Error::Refused { .. } => Code::Refused,
        Error::Invalid(_) | Error::NoAccount => Code::Usage,
        Error::Unreachable { .. }
        | Error::NoAnswer { .. }
        | Error::NoGuard { .. }
        | Error::NoHopKey { .. }
        | Error::TooFewHops { .. }
        | Error::NoRoom
        | Error::Lost { .. }
        | Error::TimedOut { .. }
        | Error::NotEnoughReceipts { .. }
        | Error::NoSwarm(_) => Code::Network,
        _ => Code::Failed,
    }
}
