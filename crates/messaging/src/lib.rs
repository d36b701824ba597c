//! What people say to each other: content, its sealing, attachments, identity cards.
//!
//! What it is: pure functions from content to the bytes of stored items and back. Nodes see only
//! those bytes.
//!
//! What it does not do: it sends nothing, reads no file and keeps no conversation.
//!
//! *Provided:* secrecy, integrity and the sender's authenticity, bound to one network and one
//! recipient; sizes padded; attachments that can be sent again, chunk by chunk, without being
//! stored twice.
//!
//! *Not provided:* forward secrecy, deniability, hiding of the recipient, or an order of messages:
//! `sent_at` is what the sender says.
//!
//! ```
//! use session_core::{SeededEntropy, Time};
//! use session_crypto::Identity;
//! use session_messaging::{Content, open_message, seal_message};
//! use session_protocol::membership::network_id;
//!
//! let mut rng = SeededEntropy::new(1); // in a program: the operating system's
//! let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
//! let network = network_id("example");
//! let content = Content::text(Time::from_millis(1), "hello")?;
//! let item = seal_message(&alice, bob.public(), network, &content, &mut rng)?;
//! let message = open_message(&bob, network, &item)?;
//! assert_eq!((message.sender, message.content), (alice.public().clone(), content));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`content`] | [`Content`], sealed and opened |
//! | [`attachment`] | files in encrypted chunks |
//! | [`account`] | who this device is, what it publishes, whom it knows, first contact |
//! | [`mailbox`] | where the things of a conversation lie |
//! | [`boxes`] | the items of a conversation, padded and sealed |
//! | [`chain`] | a key for each message, forgotten when used |
//! | [`mls`] | the keys of groups: who shares which secret, and since when |
//! | [`intro`] | what is said to an account before there is a conversation |
//! | [`safety`] | the number that two people compare |
//! | [`file_name`] | names that are safe to show and to save under |
//! | [`shown`] | what text of others may do to a screen |
//! | [`backup`] | what a device remembers, as a file |
//! | [`card`] | the item in which an account publishes its keys |

pub mod account;
pub mod attachment;
pub mod backup;
pub mod boxes;
pub mod card;
pub mod chain;
pub mod content;
pub mod file_name;
pub mod group;
pub mod intro;
pub mod mailbox;
pub mod messenger;
pub mod mls;
mod outbox;
pub mod safety;
pub mod say;
mod secret;
pub mod shown;
pub mod thread;
pub mod vault;

pub use attachment::{FileHash, FileKey, Manifest, Opener, Sealer};
pub use card::{card_item, read_card};
pub use content::{Content, Message, open_message, open_message_with, seal_message};
pub use file_name::FileName;
pub use secret::Secret;

/// The doors of one call: the vault of the device, time, randomness, and the effects.
pub(crate) type Cx<'a> = session_core::Context<'a, dyn vault::Vault + 'a, messenger::api::Effect>;

/// Returns the next number of a counter that never goes back.
pub(crate) fn counter(vault: &mut dyn vault::Vault, name: &[u8]) -> u64 {
    let key = vault::Table::Meta.key(&[b"count/", name]);
    let next = vault::load::<u64>(vault, &key).unwrap_or(0) + 1;
    vault::save(vault, &key, &next);
    next
}
