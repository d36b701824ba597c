//! What may be written behind `session`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use session_client::Mode;
use session_core::Span;
use session_runtime::http::client::Endpoint;
use session_sim::Story;

mod chain;
mod talk;
mod workload;

pub(crate) use chain::{Chain, ChainCommand, Given, Order, Sending, Subject};
pub(crate) use talk::{
    Account, Backup, Bot, Chat, ChatCommand, Contact, Device, Group, Paths, Profile, Receipt,
    RoleArg, TimerSpan, Until, Wait, Where,
};
pub(crate) use workload::{Dev, Lang, Run, Workload, WorkloadCommand};

/// Private messages through a swarm of nodes, sealed against quantum computers.
#[derive(Debug, Parser)]
#[command(
    name = "session",
    version,
    propagate_version = true,
    after_help = "Examples:\n  \
        session up --demo                   the whole story on this machine, then stop\n  \
        session up                          ten nodes and their chain on this machine\n  \
        session account new --plain         an account without a passphrase; shows its 24 words\n  \
        session chat                        conversations in the terminal\n  \
        session chat send 07… 'hello'       a message, from a script\n  \
        session bot --accept -- ./echo.sh   a program that answers\n  \
        session chain status                how the coordination chain is\n  \
        session workload new prices         a program that a committee runs\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong use, 3 network not reachable, 4 refused (by a node,\n\
        by the chain, or because a proof does not prove what it says), 5 not found."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Where identity, cursors and the network file are kept.
    #[arg(long, global = true, value_name = "DIR", env = "SESSION_HOME")]
    pub(crate) home: Option<PathBuf>,
    /// The network file; without it, HOME/network.toml.
    #[arg(long, global = true, value_name = "FILE", env = "SESSION_NETWORK")]
    pub(crate) network: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the passphrase of keys, or of a backup, from this file (first line).
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Which of several accounts: HOME/profiles/NAME.
    #[arg(long, global = true, value_name = "NAME", env = "SESSION_PROFILE")]
    pub(crate) profile: Option<String>,
    /// How requests travel: direct, onion (over hops) or mix (over hops that wait, with cover);
    /// onion:5 is over five hops. Without it, as 'session profile mode' has set, or onion.
    #[arg(long, global = true, value_name = "MODE", env = "SESSION_MODE")]
    pub(crate) mode: Option<Mode>,
    /// Tell others what was read here; they are told what was delivered in any case.
    #[arg(long, global = true)]
    pub(crate) read_receipts: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The account that converses: make it, restore it from its words, look after it.
    #[command(subcommand)]
    Account(Account),
    /// The devices of the account.
    #[command(subcommand)]
    Device(Device),
    /// Whom one knows: names, requests, blocks, safety numbers.
    #[command(subcommand)]
    Contact(Contact),
    /// Converse: without a command, in the terminal.
    #[command(after_help = "Examples:\n  \
        session chat                                the conversations in the terminal; ? for help\n  \
        session chat send 07ab… 'see you at eight'\n  \
        session chat read --json                    what is new\n  \
        session chat reply 07ab… 5e12 'fine'        to the message whose id begins with 5e12\n\n\
        WHERE is an account (66 characters that begin with 07), group: and the start of a group's\n\
        id, or the number that 'session chat list' shows. Messages are forward-secret: whoever\n\
        takes this device later cannot open what the swarm kept before.")]
    Chat(Chat),
    /// Groups: make them, invite, remove.
    #[command(subcommand)]
    Group(Group),
    /// What the swarm has signed for: proof that a message is stored.
    #[command(subcommand)]
    Receipt(Receipt),
    /// Contacts and messages in one encrypted file.
    #[command(subcommand)]
    Backup(Backup),
    /// Several accounts on one machine.
    #[command(subcommand)]
    Profile(Profile),
    /// Over which nodes requests travel.
    #[command(
        subcommand,
        after_help = "Examples:\n  \
        session path show\n  \
        session --mode mix path show --probes 20 --json\n  \
        session profile mode onion:5"
    )]
    Path(Paths),
    /// Let a program answer: it is run for each message, JSON in and JSON out.
    #[command(after_help = "Examples:\n  \
        session bot --accept -- jq -c '{text: .text}'      says everything once more\n  \
        session bot --stream -- python3 bot.py\n\n\
        A line of JSON for each message: {\"thread\", \"peer\", \"author\", \"id\", \"text\" or \"file\", …}.\n\
        Lines that are answers: {\"text\": …, \"reply\": true}, {\"react\": …}, {\"file\": PATH}.")]
    Bot(Bot),
    /// Identities of one-shot letters, chain orders and nodes: make, show, back up.
    #[command(subcommand)]
    Id(Id),
    /// Send one sealed letter, without a conversation.
    ///
    /// It is sealed to the account's long-term key: there is no forward secrecy. Whoever gets that
    /// key one day opens every letter that was kept. For conversations use 'session chat'.
    #[command(after_help = "Examples:\n  \
        session send 07ab… 'see you at eight'\n  \
        session send 07ab… --file photo.jpg\n  \
        echo hello | session send 07ab… -")]
    Send(Send),
    /// Read the sealed letters of 'session send'.
    ///
    /// They are sealed to the account's long-term key: there is no forward secrecy. For
    /// conversations use 'session chat'.
    #[command(after_help = "Examples:\n  \
        session inbox                 new messages since the last time\n  \
        session inbox --follow        and those that arrive from now on\n  \
        session inbox --all --json    everything that the swarm still keeps, as JSON\n\n\
        Files are saved in the folder of --save; a download that was cut off goes on where it was.")]
    Inbox(Inbox),
    /// Look at the nodes of the network.
    #[command(subcommand)]
    Node(Node),
    /// Look at the coordination chain, and give it orders.
    #[command(after_help = "Examples:\n  \
        session chain status\n  \
        session chain tx transfer 07ab… 2.5\n  \
        session chain network --out network.toml      the nodes that the chain knows\n  \
        session chain proof account 07ab… --out proof.json\n  \
        session chain check proof.json --genesis genesis.json     needs no network")]
    Chain(Chain),
    /// Check what files prove, without a network: bundles of sessions, evidence, certificates.
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = "Examples:\n  \
            session verify bundle.json --genesis genesis.json --verbose\n  \
            session verify bundle.json       believes the committee's keys in the file\n  \
            session verify evidence evidence.json --genesis genesis.json\n\n\
            Exit code 0 if everything is as the file says, 4 if not."
    )]
    Verify(Verify),
    /// Run a whole network on this machine: a chain, and nodes that it knows.
    #[command(after_help = "Examples:\n  \
        session up --demo          messages, files and LUX sent while programs are killed\n  \
        session up --nodes 10      keeps running until Ctrl-C; prints the commands to try\n  \
        session up --bad 2         two more that lie: watch them being caught, and pay\n  \
        session up --nodes 20      enough for two swarms")]
    Up(Up),
    /// Programs that a committee runs: write them, try them, run them.
    #[command(after_help = "Examples:\n  \
        session workload new prices --lang assemblyscript\n  \
        session workload dev prices      four nodes and a scripted world on this machine\n  \
        session workload run prices      a committee of the network\n  \
        session workload bundle ID -o bundle.json && session verify bundle.json")]
    Workload(Workload),
    /// Measure how many stores a node or network stands.
    #[command(after_help = "Examples:\n  \
        session load --clients 64 --bytes 2048 --seconds 10\n\n\
        Use it on networks of your own: it stores random bytes in random inboxes for a day.")]
    Load(Load),
    /// Run the network in the simulator, from a seed.
    #[command(after_help = "Examples:\n  \
        session sim --seed 7\n  \
        session sim --nodes 1000 --minutes 60 --seed 1 --scenario lossy\n\n\
        The same seed gives the same digest, on every machine.")]
    Sim(Sim),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Id {
    /// Make a new identity and show its id.
    New {
        /// Keep the keys without a passphrase: whoever reads the file has the identity.
        #[arg(long)]
        plain: bool,
        /// Replace an identity that is there. Its messages can then no longer be opened.
        #[arg(long)]
        force: bool,
    },
    /// Show the own id.
    Show,
    /// Write the identity, secret keys included, to a file or standard output.
    Export {
        /// The file; `-` for standard output.
        file: PathBuf,
        /// Only the public keys, which others may have.
        #[arg(long)]
        public: bool,
        /// Write the secret keys without a passphrase.
        #[arg(long, conflicts_with = "public")]
        plain: bool,
    },
    /// Take an identity that was exported, or the public keys of somebody else.
    Import {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// Keep the keys without a passphrase.
        #[arg(long)]
        plain: bool,
        /// Replace an identity that is there.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// To whom: 66 characters that begin with 07, or CB58.
    pub(crate) to: String,
    /// The message; `-` reads it from standard input.
    #[arg(conflicts_with = "file", required_unless_present = "file")]
    pub(crate) text: Option<String>,
    /// Send a file instead. Sending it again after an interruption goes on where it was.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How long the swarm keeps it: 10s to 14d (s, m, h or d).
    #[arg(long, default_value = "14d", value_parser = crate::span::parse)]
    pub(crate) ttl: session_core::Span,
}

#[derive(Debug, Args)]
pub(crate) struct Inbox {
    /// Keep running and print what arrives.
    #[arg(long)]
    pub(crate) follow: bool,
    /// From the beginning, not only what is new.
    #[arg(long)]
    pub(crate) all: bool,
    /// Delete from the swarm what was shown.
    #[arg(long, conflicts_with = "follow")]
    pub(crate) delete: bool,
    /// Where files are saved.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) save: PathBuf,
    /// List files and leave them: the next 'session inbox' without this flag downloads them.
    #[arg(long)]
    pub(crate) no_files: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List the nodes of the network file and whether they answer.
    List,
    /// Say why a node was marked, punished or accused: every vote and all evidence against it,
    /// fetched from the chain and verified here.
    #[command(after_help = "Examples:\n  \
        session node why 5e12ab34\n  \
        session node why 5e12ab34 --epochs 3 --json\n\n\
        Exit code 0 if everything against it is signed as the chain says, 4 if not.")]
    Why {
        /// Its id, or at least 8 digits of its beginning.
        node: String,
        /// How many epochs back.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=24))]
        epochs: u64,
        /// Where the chain is asked; without it, as for 'session chain'.
        #[arg(long, value_name = "URL", env = "SESSION_CHAIN")]
        url: Option<Endpoint>,
    },
    /// Check one's own node before others do: ports, clock, disk, reachability, versions.
    #[command(after_help = "Examples:\n  \
        session node doctor -- --data-dir /var/lib/session --chain http://127.0.0.1:9652\n\n\
        Runs 'sessiond doctor' with what follows --. Exit code 0 if nothing failed.")]
    Doctor {
        /// The node program; without it, `sessiond` beside this program.
        #[arg(long, value_name = "FILE")]
        sessiond: Option<PathBuf>,
        /// Flags of the node.
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<OsString>,
    },
    /// Measure the time to a node and back.
    Ping {
        /// The node, by the start of its id.
        node: String,
        /// How often.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) bundle: VerifyBundle,
    #[command(subcommand)]
    pub(crate) other: Option<VerifyOther>,
}

/// The bundle of a session.
#[derive(Debug, Args)]
pub(crate) struct VerifyBundle {
    /// The bundle of a session, from 'session workload bundle'; `-` for standard input.
    #[arg(required = true)]
    pub(crate) file: Option<PathBuf>,
    /// The genesis of the chain: then nothing in the file is believed.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
    /// Show every step that was checked.
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyOther {
    /// Check evidence against a node.
    #[command(after_help = "Examples:\n  \
        session chain cases 5e… --out evidence.json\n  \
        session verify evidence evidence.json --genesis genesis.json\n\n\
        The file holds the evidence and the keys of the accused, whose hash is its id: with the\n\
        genesis it needs no network. Exit code 0 if it shows what it says, 4 if not.")]
    Evidence {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// The genesis of the chain.
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// Ask this chain for its rules instead.
        #[arg(long, value_name = "URL", conflicts_with = "genesis")]
        url: Option<Endpoint>,
        /// The public keys of the accused, in hex or a file with them, if the file has none.
        #[arg(long, value_name = "KEYS")]
        node_keys: Option<String>,
    },
    /// Check the swarm's receipts of a message, from 'session receipt export'.
    #[command(after_help = "Examples:\n  \
        session receipt export 07ab… 5e12 -o receipt\n  \
        session verify receipt receipt --genesis genesis.json\n  \
        session verify receipt receipt --nodes network.toml\n\n\
        Needs no network. Exit code 0 if the swarm has signed what the file says, 4 if not.")]
    Receipt {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// The nodes, whose keys are believed: a network file, for instance from
        /// 'session chain network --out FILE'.
        #[arg(long, value_name = "FILE", required_unless_present = "genesis")]
        nodes: Option<PathBuf>,
        /// The genesis of the chain: then the file itself must show who the members of the swarm
        /// were, and nothing in it is believed.
        #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
        genesis: Option<PathBuf>,
    },
    /// Check the certificate of an epoch's beacon, from a node's /certificate/EPOCH.
    #[command(after_help = "Examples:\n  \
        curl -so epoch.cert http://127.0.0.1:9653/certificate/7\n  \
        session verify certificate epoch.cert --genesis genesis.json\n\n\
        Exit code 0 if a quorum of the committee that the chain proves has signed it, 4 if not.")]
    Certificate {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// The genesis of the chain.
        #[arg(long, value_name = "FILE")]
        genesis: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Up {
    /// How many nodes a new network gets [default: 10]; one that is there keeps its own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: Option<u16>,
    /// Where the network lives; made if it is not there, continued if it is.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Tell the whole story by itself and stop: exit code 0 only if nothing was lost.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Start this many nodes that lie besides, to see them caught: the first says two things about
    /// one beacon, the second throws messages away.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=6))]
    pub(crate) bad: u16,
    /// How long an epoch of a new network lasts.
    #[arg(long, value_name = "TIME", hide = true, value_parser = crate::span::parse)]
    pub(crate) epoch: Option<Span>,
    /// Requests a second that a node takes from one address; 0 for no limit, for load tests.
    #[arg(long, value_name = "N")]
    pub(crate) client_rate: Option<u32>,
    /// The node program; without it, `sessiond` beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) sessiond: Option<PathBuf>,
    /// The chain's program; without it, `sessionvm` beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) sessionvm: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// Where all randomness comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many nodes: from 10 on, of workloads the members of a committee from 4 on.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(4..=10_000))]
    pub(crate) nodes: u32,
    /// What goes wrong: calm, lossy, crashes, outage, partition, byzantine, skewed, disk-loss,
    /// everything, siege, chain, chain-liars, coordination, coordination-faults,
    /// coordination-liars, workload, workload-liars, messaging, messaging-liars,
    /// messaging-restored, onion or onion-liars.
    #[arg(long, default_value = "everything", value_parser = story)]
    pub(crate) scenario: Story,
    /// How many simulated minutes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    pub(crate) minutes: u32,
    /// How many simulated hours instead.
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(u32).range(1..=168))]
    pub(crate) hours: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Connections, each with one request in flight.
    #[arg(long, default_value_t = 64)]
    pub(crate) clients: usize,
    /// Bytes of an item.
    #[arg(long, default_value_t = 2048, value_parser = item_bytes)]
    pub(crate) bytes: usize,
    /// Items in one request.
    #[arg(long, default_value_t = 1, value_parser = batch)]
    pub(crate) batch: usize,
    /// Measure reading instead: each client fills an inbox of its own with 50 items and then reads
    /// all of it again and again, signed as its owner.
    #[arg(long)]
    pub(crate) read: bool,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Only this node, by the start of its id.
    #[arg(long)]
    pub(crate) node: Option<String>,
    /// Processes of the nodes on this machine, to report their CPU time and memory.
    #[arg(long, value_delimiter = ',')]
    pub(crate) pid: Vec<u32>,
}

fn story(text: &str) -> Result<Story, String> {
    text.parse().map_err(|_| {
        let names: Vec<_> = Story::ALL.iter().map(|story| story.name()).collect();
        format!("one of {} is needed", names.join(", "))
    })
}

fn item_bytes(text: &str) -> Result<usize, String> {
    bounded(text, session_protocol::limits::ITEM_BYTES_MAX)
}

fn batch(text: &str) -> Result<usize, String> {
    bounded(text, session_protocol::limits::OPERATIONS_MAX)
}

fn bounded(text: &str, max: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(number),
        _ => Err(format!("a number from 1 to {max} is needed")),
    }
}
