//! A person or bot on the network as one handle.
//!
//! What it is: [`Session`] owns a device's encrypted [`vault`], its messenger and its connections. A
//! program says things, reads threads and listens to events; what is said survives crashes, and is
//! sent until the swarm has it.
//!
//! What it does not do: it draws nothing and asks nobody anything: passphrases, files and accounts
//! come from the program around it.
//!
//! ```no_run
//! use session_sdk::{Network, Options, Peer, Session};
//!
//! # async fn example(account: session_core::AccountId) -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::from_file("network.toml".as_ref())?;
//! let session = Session::open("home".as_ref(), network, Options::default()).await?;
//! session.say(Peer::Account { account }, "hello").await?;
//! session.sync_until_idle().await?; // the swarm has it
//! session.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Requests travel over three hops unless [`Network::with_mode`] says otherwise; give it a folder for
//! the guards, which are kept for weeks. Networks of fewer nodes, or of one operator, need
//! [`Mode::Direct`].
//!
//! A bot listens; `examples/echo_bot.rs` is a whole one.
//!
//! ```no_run
//! # async fn example(session: session_sdk::Session) -> Result<(), Box<dyn std::error::Error>> {
//! use session_sdk::{Event, Notice};
//!
//! let mut events = session.events();
//! while let Some(notice) = events.next().await {
//!     if let Notice::Event(Event::Changed { thread, places, alert: true }) = notice {
//!         println!("{} new in thread {}", places.len(), thread.number);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! How it is built: one thread owns the vault and the machine
//! ([`Talker`](session_client::talk::Talker)); several inputs share one transaction, and nothing
//! leaves before it is committed. Everyone else holds a [`Session`], which sends orders and waits.
//! Dropping any of its futures is safe: an order that was sent is carried out.
//!
//! | module | holds |
//! |---|---|
//! | [`session`] | [`Session`], its options, events and errors |
//! | [`network`] | [`Network`]: who is a node, and who says so later |
//! | [`transfer`] | files on their way out and in |
//! | [`vault`] | [`FileVault`](vault::FileVault): the encrypted store |
//! | [`agent`] | a handle on the client machine alone, for programs without a vault |
//! | `driver` | the task that owns everything |
//! | [`kept`] | what is kept from one start to the next besides the vault |
//! | `link` | the machine's network as the endpoint's |

pub mod agent;
mod driver;
pub mod kept;
mod link;
pub mod network;
pub mod session;
pub mod transfer;
pub mod vault;

pub use network::Network;
pub use session::{Error, Events, NewAccount, Notice, OpenError, Options, Said, Session};
pub use session_client::onion::Mode;
pub use session_messaging::messenger::api::{Answer, Command, Event, Warning};
pub use session_messaging::say::{Peer, Say, SayId};
pub use session_messaging::thread::{Status, ThreadId};
pub use transfer::{FileError, Progress, SentFile};
