//! What may be written behind `session chain`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use session_core::{
    BlockId, ChainId, ChannelId, ConversationId, Digest, NodeId, ServiceId, SessionId, Span, TxId,
};
use session_crypto::AccountRef;
use session_protocol::chain::Amount;
use session_rpc::address::HostPort;
use session_runtime::http::client::Endpoint;

#[derive(Debug, Args)]
pub(crate) struct Chain {
    /// Where the chain is asked: a sequencer, a follower, or a host's path for the chain. Without
    /// it, what chain.url beside the network file says ('session up' writes it), or else
    /// http://127.0.0.1:9652.
    #[arg(long, global = true, value_name = "URL", env = "SESSION_CHAIN")]
    pub(crate) url: Option<Endpoint>,
    #[command(subcommand)]
    pub(crate) command: ChainCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChainCommand {
    /// Show how the chain is.
    Status,
    /// Show a block; the last one if none is named.
    Block {
        /// Its height or its id.
        #[arg(value_parser = given)]
        block: Option<Given>,
        /// Print its bytes in hex instead.
        #[arg(long)]
        raw: bool,
    },
    /// Show an account: its balance, and how many transactions it made.
    Account {
        /// The account; without it, the own one.
        account: Option<AccountRef>,
    },
    /// Order something, or look at an order.
    #[command(after_help = "Examples:\n  \
        session chain tx transfer 07ab… 2.5\n  \
        session chain tx register --keys node.key --endpoint 192.0.2.1:9651 --stake 100\n  \
        session chain tx open-conversation --participant 07ab… --participant 07cd… --ttl 1d\n  \
        session chain tx show 5e…\n\n\
        Orders are signed with the own identity, which pays the fee. They wait until the order is\n\
        in a block.")]
    Tx(Tx),
    /// List the service nodes.
    Nodes {
        /// Only the active ones: those that serve in this epoch.
        #[arg(long)]
        active: bool,
    },
    /// Show a service node.
    Node {
        /// Its id, or at least 8 digits of its beginning; an id that it gave up also finds it.
        node: String,
    },
    /// Show an epoch: its randomness and beacon, and how far the beacon of the next one is.
    Epoch {
        /// Which one; without it, the current one.
        epoch: Option<u64>,
    },
    /// Show the swarms: their members, the share of all inboxes that each keeps, and how many
    /// inboxes would move if one were added or taken away.
    Swarms,
    /// Show how a node did in the last epochs.
    Marks {
        /// Its id, or at least 8 digits of its beginning.
        node: String,
        /// How many epochs.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=24))]
        epochs: u64,
    },
    /// Show what the nodes say they keep, and whether the members of a swarm agree.
    Commitments {
        /// Only the members of this swarm.
        #[arg(long, value_name = "HEX")]
        swarm: Option<String>,
    },
    /// List accusations, or export the evidence of one.
    #[command(after_help = "Examples:\n  \
        session chain cases --status open\n  \
        session chain cases 5e… --out evidence.json     for 'session verify evidence'")]
    Cases {
        /// One of them, by its id.
        case: Option<Digest>,
        /// Only those that stand so: open, paid, vetoed or refuted.
        #[arg(long, conflicts_with = "case")]
        status: Option<String>,
        /// The file for the evidence and the keys of the accused.
        #[arg(long, value_name = "FILE", requires = "case")]
        out: Option<PathBuf>,
    },
    /// Write the network file: every active node with its keys, which are checked.
    Network {
        /// The file; without it, standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Export a proof of what the chain holds, or that it does not, to be checked without a network.
    #[command(after_help = "Examples:\n  \
        session chain proof account 07ab… --out proof.json\n  \
        session chain proof node 5e… | session chain check - --genesis genesis.json\n  \
        session chain proof key 02          the entry of a raw key, in hex")]
    Proof {
        /// What is proven.
        subject: Subject,
        /// Its id, or the raw key.
        id: String,
        /// The file; without it, standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check an exported proof without any network, and show what it proves.
    #[command(after_help = "Examples:\n  \
        session chain check proof.json --genesis genesis.json   the whole way from the genesis\n  \
        session chain check proof.json --sequencer keys.hex     sealed by whoever has these keys\n  \
        session chain check proof.json --root 5e…               a state root that is known\n\n\
        session chain check proof.json --genesis genesis.json --subject account --id 07ab… --present\n\n\
        One of --genesis, --sequencer and --root says what is believed. Exit code 0 if it is proven\n\
        that the entry is there, or, without --present, that it is not there; 4 if not.")]
    Check {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// The genesis of the chain: names the chain, and whose seals count.
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// The sequencer's public keys, in hex or a file with them ('session id export --public').
        #[arg(long, value_name = "KEYS", conflicts_with = "genesis")]
        sequencer: Option<String>,
        /// Only that the entry belongs to this state root.
        #[arg(long, value_name = "HEX", conflicts_with_all = ["genesis", "sequencer"])]
        root: Option<Digest>,
        /// The entry must be there: that it is not there is then no success.
        #[arg(long)]
        present: bool,
        /// What the proof must be about, with --id.
        #[arg(long, requires = "id")]
        subject: Option<Subject>,
        /// The id, or raw key, of the --subject that the proof must be about.
        #[arg(long, requires = "subject")]
        id: Option<String>,
        // Takes the place of the flag for all commands, which this one has no use for.
        #[arg(id = "url", long = "url", hide = true)]
        _url: Option<Endpoint>,
    },
}

/// A block as people name it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given {
    Height(u64),
    Id(BlockId),
}

/// What a proof is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// The balance and the nonce of an account.
    Account,
    /// A service node.
    Node,
    /// A channel.
    Channel,
    /// The newest manifest of an account.
    Manifest,
    /// The anchor of a conversation.
    Conversation,
    /// The anchor of a workload session.
    Workload,
    /// Any entry of the state, by its raw key in hex.
    Key,
}

#[derive(Debug, Args)]
pub(crate) struct Tx {
    #[command(flatten)]
    pub(crate) sending: Sending,
    #[command(subcommand)]
    pub(crate) order: Order,
}

/// How an order is sent.
#[derive(Debug, Args)]
pub(crate) struct Sending {
    /// How long to wait until it is in a block.
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = crate::span::parse)]
    pub(crate) wait: Span,
    /// Only hand it over.
    #[arg(long, global = true, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// The most to pay for it, in LUX; without it, what it costs.
    #[arg(long, global = true, value_name = "LUX")]
    pub(crate) fee_max: Option<Amount>,
    /// The chain that it is for, in case the node that is asked names another one.
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) chain: Option<ChainId>,
    /// Its place among the own orders; without it, behind those that were executed.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) nonce: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Order {
    /// Show an order: waiting or executed, what it cost, what it says.
    Show {
        /// Its id.
        tx: TxId,
    },
    /// Give LUX to another account.
    Transfer {
        /// To whom.
        to: AccountRef,
        /// How much, in LUX, such as 2.5.
        amount: Amount,
    },
    /// Register a service node; it serves after as many epochs as the genesis says.
    Register {
        /// The node's key file, such as node.key in its data directory.
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// Where the node is reached.
        #[arg(long, value_name = "HOST:PORT")]
        endpoint: HostPort,
        /// What it stakes, in LUX.
        #[arg(long, value_name = "LUX", default_value = "100")]
        stake: Amount,
    },
    /// Give a node new keys, and so a new id.
    Rotate {
        /// The node.
        node: NodeId,
        /// The file with its new keys.
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
    },
    /// Take a node out of service; its stake is free after the unbonding time.
    Decommission {
        /// The node.
        node: NodeId,
    },
    /// Say that a node will be away, so that it is not punished, or that it is back. Signed with
    /// the node's own keys; costs nothing.
    Drain {
        /// The node's key file, such as node.key in its data directory.
        #[arg(long, value_name = "FILE")]
        keys: PathBuf,
        /// For how many epochs, the rest of this one included; 0 says that it is back.
        #[arg(long, value_name = "N")]
        epochs: u8,
    },
    /// Accuse a node with evidence of what it signed.
    Accuse {
        /// A file of 'session chain cases ID --out', or with the bytes of evidence.
        evidence: PathBuf,
    },
    /// Show that an accusation of a false receipt is explained by an order of the owner.
    Refute {
        /// The accusation.
        case: Digest,
        /// A file with the bytes of the owner's signed order.
        #[arg(long, value_name = "FILE")]
        order: PathBuf,
    },
    /// Drop an accusation; only the authority that the genesis names may.
    Veto {
        /// The accusation.
        case: Digest,
    },
    /// Take back the stake of a node after the unbonding time.
    Withdraw {
        /// The node.
        node: NodeId,
    },
    /// Make a channel, and be its first member.
    CreateChannel {
        /// Its name, unique on the chain.
        name: String,
    },
    /// Join a channel.
    JoinChannel {
        /// The channel.
        channel: ChannelId,
    },
    /// Leave a channel; the last member takes it away.
    LeaveChannel {
        /// The channel.
        channel: ChannelId,
    },
    /// Anchor the newest manifest of the own account, so that nobody can be shown another one.
    AnchorManifest {
        /// Its number.
        #[arg(long)]
        seq: u64,
        /// Its digest; 'session account show' prints both.
        #[arg(long, value_name = "HASH")]
        manifest: Digest,
    },
    /// Anchor a conversation without naming its participants; prints what each needs to close it.
    OpenConversation {
        /// A participant; once for each.
        #[arg(long, value_name = "ACCOUNT", required = true)]
        participant: Vec<AccountRef>,
        /// How long it lasts: 60s to 30d.
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = crate::span::parse)]
        ttl: Span,
    },
    /// Close a conversation as one of its participants.
    CloseConversation {
        /// The conversation.
        conversation: ConversationId,
        /// The own salt and its proof, as open-conversation printed them.
        #[arg(long, value_name = "HEX")]
        salt: String,
    },
    /// Anchor a workload session; the chain chooses its committee.
    CreateSession {
        /// The service that it belongs to.
        #[arg(long, value_name = "ID")]
        service: ServiceId,
        /// Hash of the program.
        #[arg(long, value_name = "HASH")]
        program: Digest,
        /// Hash of the input.
        #[arg(long, value_name = "HASH")]
        input: Digest,
        /// How long it may run.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = crate::span::parse)]
        time_max: Span,
    },
    /// Say that the committee of a workload session began; for operators of its nodes.
    StartSession {
        /// The session.
        session: SessionId,
    },
    /// End a workload session whose time is over.
    FailSession {
        /// The session.
        session: SessionId,
    },
    /// Hand over a signed transaction that was made elsewhere.
    Submit {
        /// A file with its bytes; `-` for standard input.
        file: PathBuf,
    },
}

fn given(text: &str) -> Result<Given, String> {
    if !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Given::Height).map_err(|error| format!("{error}"));
    }
    text.parse().map(Given::Id).map_err(|error| format!("neither a height nor an id: {error}"))
}
