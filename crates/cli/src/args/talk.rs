//! What may be written behind `session account`, `device`, `contact`, `chat`, `group`, `receipt`,
//! `backup`, `profile` and `bot`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use session_client::Mode;
use session_core::Span;
use session_crypto::AccountRef;
use session_crypto::account::ParseAccountError;
use session_messaging::say::{GroupId, Peer};
use session_runtime::http::client::Endpoint;

#[derive(Debug, Subcommand)]
pub(crate) enum Account {
    /// Make a new account, this device its first. Shows its 24 words, once.
    New {
        /// The name of this device, which the own other devices see.
        #[arg(long, value_name = "NAME", default_value = "first device")]
        device: String,
        /// Keep the messages' key without a passphrase: whoever reads the files reads the messages.
        #[arg(long)]
        plain: bool,
    },
    /// Show the account: its id, its devices, what is published.
    Show,
    /// Make the account again from its 24 words, read from standard input or typed.
    ///
    /// The id is the same; conversations are not in the words: they come from a backup, or begin
    /// anew.
    Restore {
        /// The name of this device.
        #[arg(long, value_name = "NAME", default_value = "restored device")]
        device: String,
        /// Keep the messages' key without a passphrase: whoever reads the files reads the messages.
        #[arg(long)]
        plain: bool,
    },
    /// Compare what is published with what this device signed, and with the chain's anchor where a
    /// chain is known: finds devices that nobody here added.
    Audit,
    /// Anchor the newest manifest on the chain, so that nobody can be shown another one.
    Anchor {
        /// Where the chain is asked; without it, as for 'session chain'.
        #[arg(long, value_name = "URL", env = "SESSION_CHAIN")]
        url: Option<Endpoint>,
    },
    /// Publish that a classical account (05…) is the same person's: both keys sign it.
    ///
    /// Its seed is read from a file or standard input: 32 hex digits, as the classical client keeps
    /// it, or 64, the whole Ed25519 seed.
    Link05 {
        /// The file with the seed; `-` for standard input.
        file: PathBuf,
    },
    /// Show the 24 words again, if this device holds them.
    Words {
        /// Yes, on this screen.
        #[arg(long)]
        show: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// List the devices of the account.
    List,
    /// On a new device: print what a device that holds the account's keys must be shown, and wait
    /// until it has added this one.
    Request {
        /// The account that it shall belong to.
        account: AccountRef,
        /// The name of this device.
        #[arg(long, value_name = "NAME", default_value = "another device")]
        device: String,
        /// Keep the messages' key without a passphrase: whoever reads the files reads the messages.
        #[arg(long)]
        plain: bool,
    },
    /// On a device that holds the account's keys: add the device that printed this.
    Add {
        /// What the new device printed; `-` reads it from standard input.
        request: String,
        /// Its name.
        #[arg(long, value_name = "NAME", default_value = "another device")]
        name: String,
    },
    /// Exclude a device from the account and from all its conversations.
    Revoke {
        /// The device, by the start of its id.
        device: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Contact {
    /// List the accounts that this one knows.
    List {
        /// Only strangers who wrote and wait to be accepted.
        #[arg(long)]
        requests: bool,
    },
    /// Show an account: what it publishes, its devices, its classical account (05…) if it has one.
    Show {
        /// The account.
        account: AccountRef,
    },
    /// Make an account a contact, and look it up.
    Add {
        /// The account.
        account: AccountRef,
        /// The name under which it is shown.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Accept a stranger: it learns what was delivered, also of what came before.
    Accept {
        /// The account.
        account: AccountRef,
    },
    /// Show nothing more of an account, and answer nothing.
    Block {
        /// The account.
        account: AccountRef,
    },
    /// Take a block back.
    Unblock {
        /// The account.
        account: AccountRef,
    },
    /// Give an account the name under which it is shown here.
    Name {
        /// The account.
        account: AccountRef,
        /// The name.
        name: String,
    },
    /// Say that the safety number was compared with the other, in person or on the telephone.
    Verify {
        /// The account.
        account: AccountRef,
        /// The number that the other reads out: refused if it is not the same.
        #[arg(long, value_name = "DIGITS")]
        number: Option<String>,
        /// Take it back.
        #[arg(long, conflicts_with = "number")]
        not: bool,
    },
    /// Show the safety number: the same on both sides, or somebody is in between.
    Safety {
        /// The account.
        account: AccountRef,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Chat {
    /// In the terminal, show who types, and tell the others of a conversation when you do.
    #[arg(long, env = "SESSION_TYPING")]
    pub(crate) typing: bool,
    #[command(subcommand)]
    pub(crate) command: Option<ChatCommand>,
}

/// A conversation: an account, a group, or the number of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// An account or a group.
    Peer(Peer),
    /// The start of a group's id.
    GroupStart(String),
    /// The number of a thread, as 'session chat list' shows it.
    Thread(u32),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChatCommand {
    /// Say something.
    Send {
        /// To whom.
        #[arg(value_parser = place, value_name = "WHERE")]
        to: Where,
        /// What; `-` reads it from standard input.
        text: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// List the conversations.
    List,
    /// Show the messages of a conversation.
    History {
        /// Which.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// How many, the newest.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those before this place, which --json shows.
        #[arg(long, value_name = "PLACE")]
        before: Option<u64>,
    },
    /// Find messages by the words in them.
    Search {
        /// All of these words, each by its beginning.
        #[arg(required = true)]
        words: Vec<String>,
        /// How many, the newest.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
    },
    /// Fetch what is new, show it, and count it as read here.
    Read {
        /// Only of this conversation.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Option<Where>,
    },
    /// React to a message with an emoji.
    React {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
        /// The reaction.
        emoji: String,
        /// Take it back.
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Change the text of an own message.
    Edit {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
        /// The new text; `-` reads it from standard input.
        text: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Take an own message back. Whoever has read it has read it.
    Unsend {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Answer a message.
    Reply {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
        /// What; `-` reads it from standard input.
        text: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Send a file. Sending it again after an interruption goes on where it was.
    File {
        /// To whom.
        #[arg(value_parser = place, value_name = "WHERE")]
        to: Where,
        /// The file.
        file: PathBuf,
        /// Words beside it.
        #[arg(long, default_value = "")]
        caption: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Save the file of a message. A download that was cut off goes on where it was.
    Save {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
        /// The folder.
        #[arg(long, value_name = "DIR", default_value = ".")]
        into: PathBuf,
    },
    /// Let messages disappear from now on, on both sides.
    #[command(after_help = "Examples:\n  \
        session chat timer 07ab… 1d              a day after they were sent\n  \
        session chat timer 07ab… 5m --after-read\n  \
        session chat timer 07ab… off")]
    Timer {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// How long they stay (s, m, h or d), or `off`.
        after: TimerSpan,
        /// Counted from when they were read.
        #[arg(long)]
        after_read: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Forget messages on this device and the own other ones. The others keep theirs.
    Forget {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// Which, by the start of their ids.
        #[arg(required_unless_present = "all")]
        messages: Vec<String>,
        /// All of them.
        #[arg(long, conflicts_with = "messages")]
        all: bool,
    },
    /// Fetch what is new and send what waits, then stop.
    Sync {
        /// How long at most.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::span::parse)]
        patience: Span,
    },
    /// Print messages, changes and receipts as they arrive, until Ctrl-C.
    Follow,
}

/// How long a command waits for the swarm.
#[derive(Clone, Debug, Args)]
pub(crate) struct Wait {
    /// For what to wait before the command ends.
    #[arg(long = "until", value_enum, default_value_t = Until::Stored)]
    pub(crate) until: Until,
    /// How long at most. What is not stored by then is sent by the next command.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::span::parse)]
    pub(crate) patience: Span,
}

/// For what to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Nothing: it is kept here, and sent by the next command that reaches the network.
    Kept,
    /// A quorum of the swarm has signed that it is on disk.
    Stored,
    /// A device of the other has it.
    Delivered,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// Make a group, with oneself as its admin.
    Create {
        /// Its name.
        name: String,
        /// Who else is in it.
        members: Vec<AccountRef>,
        /// Messages that those who join later are shown, at most.
        #[arg(long, value_name = "N", default_value_t = 0)]
        history: u16,
    },
    /// List the groups.
    List,
    /// Accept a group into which a stranger brought this account.
    Accept {
        /// Which.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
    },
    /// Decline such a group: leave it, and show nothing more of it.
    Decline {
        /// Which.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
    },
    /// Show a group and its members.
    Show {
        /// Which.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
    },
    /// Add accounts. Admins only.
    Invite {
        /// The group.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
        /// Who.
        #[arg(required = true)]
        accounts: Vec<AccountRef>,
    },
    /// Remove an account. Admins only.
    Remove {
        /// The group.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
        /// Who.
        account: AccountRef,
    },
    /// Leave a group.
    Leave {
        /// The group.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
    },
    /// Give a group another name. Admins only.
    Rename {
        /// The group.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
        /// The name.
        name: String,
    },
    /// Make a member an admin, or an admin a member. Admins only.
    Role {
        /// The group.
        #[arg(value_parser = place, value_name = "GROUP")]
        group: Where,
        /// Who.
        account: AccountRef,
        /// What they shall be.
        #[arg(value_enum)]
        role: RoleArg,
    },
    /// Draw new keys now; also of a conversation of two.
    Rotate {
        /// The group or the account.
        #[arg(value_parser = place, value_name = "WHERE")]
        group: Where,
    },
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Talk.
    Member,
    /// Also add, remove, and change the group.
    Admin,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Receipt {
    /// Write the swarm's receipts of an own message to a file that anybody can check.
    Export {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
        /// The file; `-` for standard output.
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Show how far an own message has come.
    Show {
        /// Where.
        #[arg(value_parser = place, value_name = "WHERE")]
        of: Where,
        /// The message, by the start of its id.
        message: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Write contacts and messages to one encrypted file; the account itself is in its 24 words.
    Export {
        /// The file; `-` for standard output.
        file: PathBuf,
    },
    /// Take contacts and messages back from a backup, into the account of this home. Messages that
    /// were deleted stay deleted.
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Profile {
    /// List the profiles of this folder.
    List,
    /// Make a profile: a folder of its own for another account.
    New {
        /// Its name.
        name: String,
    },
    /// Use a profile from now on, when --profile does not say otherwise.
    Use {
        /// Its name; `-` for none.
        name: String,
    },
    /// Say how requests of the profile travel, when --mode does not say otherwise; show it.
    #[command(after_help = "Modes:\n  \
        direct   to the nodes themselves: they see from where\n  \
        onion    over three hops, none of which knows both who asks and what: the default\n  \
        mix      as onion; hops wait, and packets leave whether or not something is said\n\n\
        onion:5 and mix:2 are over another number of hops, 1 to 5.")]
    Mode {
        /// direct, onion or mix.
        mode: Option<Mode>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Paths {
    /// Show guards, hop keys and the last paths, with delay and cost measured now.
    Show {
        /// Requests that are measured.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=200))]
        probes: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Bot {
    /// Keep one process alive: every message is a line on its standard input, every line of its
    /// standard output an answer that names its "thread".
    #[arg(long)]
    pub(crate) stream: bool,
    /// Accept strangers that write.
    #[arg(long)]
    pub(crate) accept: bool,
    /// Save the files of messages here; the program is told their "path".
    #[arg(long, value_name = "DIR")]
    pub(crate) save: Option<PathBuf>,
    /// How long the program may take for a message.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::span::parse)]
    pub(crate) limit: Span,
    /// Stop after so many messages.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// How long messages stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerSpan(pub(crate) Option<Span>);

impl std::str::FromStr for TimerSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { crate::span::parse(text).map(Some).map(Self) }
    }
}

/// Reads a conversation: an id of 66 characters, the start of a group's id, or a number.
pub(crate) fn place(text: &str) -> Result<Where, String> {
    if let Ok(account) = text.parse::<AccountRef>() {
        return Ok(Where::Peer(Peer::Account { account: account.0 }));
    }
    if let Some(start) = text.strip_prefix("group:") {
        return group_start(start);
    }
    if text.len() <= 9
        && let Ok(number) = text.parse()
    {
        return Ok(Where::Thread(number));
    }
    let why = text.parse::<AccountRef>().expect_err("it was tried above");
    // Whoever names a classical account means one: nothing else is offered for it.
    if matches!(why, ParseAccountError::Legacy(_) | ParseAccountError::BrokenLegacy(_)) {
        return Err(why.to_string());
    }
    Err(format!(
        "an account ({why}), a group as group: and the start of its id, or the number of a thread \
         is needed"
    ))
}

fn group_start(start: &str) -> Result<Where, String> {
    if start.len() > 64 || start.is_empty() || !start.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err("group: is followed by up to 64 hexadecimal digits".to_owned());
    }
    let mut bytes = [0; 32];
    match hex::decode_to_slice(start, &mut bytes) {
        Ok(()) => Ok(Where::Peer(Peer::Group { group: GroupId { bytes } })),
        Err(_) => Ok(Where::GroupStart(start.to_lowercase())),
    }
}

#[cfg(test)]
mod tests;
