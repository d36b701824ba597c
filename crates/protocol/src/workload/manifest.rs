//! What is run: a module, the sources that it may ask, and its limits.
//!
//! Programs never name addresses: they ask a *source* by its name, with parameters. What a session
//! may reach is thereby written in the manifest, which its creator signed with the chain's
//! transaction.

use session_core::{Blob, Digest, List, Span, Text, choice, record};

use super::OBSERVATION_BYTES_MAX;

/// The version of every workload.
pub const WORKLOAD_VERSION: u8 = 1;
/// Most sources.
pub const SOURCES_MAX: usize = 64;
/// Most hosts that a workload may reach.
pub const EGRESS_MAX: usize = 32;
/// Most parameters of a request.
pub const PARAMETERS_MAX: usize = 16;
/// The longest name of a source, a parameter or a configured connection.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest template of an address or key.
pub const TEMPLATE_BYTES_MAX: usize = 2048;
/// Most headers of a request, and most headers of an answer that are kept.
pub const HEADERS_MAX: usize = 16;
/// Most paths of a transform.
pub const PATHS_MAX: usize = 16;
/// The longest SQL statement.
pub const STATEMENT_BYTES_MAX: usize = 4096;

/// A name.
pub type Name = Text<NAME_BYTES_MAX>;
/// A text with `{parameter}` in it; `{{` and `}}` are braces.
pub type Template = Text<TEMPLATE_BYTES_MAX>;
/// A path into JSON, as RFC 9535 has it.
pub type Path = Text<256>;

record! {
    /// A program with all that it may do. The chain's `program` is the
    /// [`blob_id`](super::blob_id) of its encoding.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Workload {
        /// [`WORKLOAD_VERSION`].
        pub version: u8,
        /// The module: the [`blob_id`](super::blob_id) of its bytes.
        pub module: Digest,
        /// The engine that runs it, and how it is set up.
        pub profile: Digest,
        /// What it may do.
        pub manifest: Manifest,
    }

    /// What a program may do.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Manifest {
        /// What people call it.
        pub name: Name,
        /// The hosts that it may reach.
        pub egress: List<Egress, EGRESS_MAX>,
        /// What it may ask, by name.
        pub sources: List<Source, SOURCES_MAX>,
        /// How much of everything.
        pub limits: Limits,
        /// How often a step that asks the world is tried again.
        pub retries_max: u8,
    }

    /// A host that may be reached.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Egress {
        /// Its name, in lower case; addresses are names, too.
        pub host: Text<253>,
        /// Its port.
        pub port: u16,
        /// Whether it may be spoken to without TLS.
        pub plain: bool,
    }

    /// How much a session may use.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// Fuel from the start, or from a checkpoint, to the next checkpoint or the end.
        pub fuel: u64,
        /// Pages of 64 KiB of memory.
        pub memory_pages: u32,
        /// Bytes of keys and values that the program keeps.
        pub state_bytes: u32,
        /// Bytes that it may log.
        pub log_bytes: u32,
        /// Requests to the world, all steps together.
        pub calls: u32,
        /// Bytes that one member may receive from the world, all steps together.
        pub egress_bytes: u64,
    }

    /// Something that may be asked.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Source {
        /// Its name.
        pub name: Name,
        /// How it is reached.
        pub connector: Connector,
        /// What becomes of an answer before it is compared.
        pub transform: Transform,
        /// How answers become one.
        pub aggregation: Aggregation,
        /// Records that must be there; 0 is a quorum of the committee.
        pub records_min: u8,
        /// How long one member may take for one answer.
        pub timeout: Span,
        /// The largest answer, as it arrives and unpacked.
        pub bytes_max: u32,
        /// What the program gets when no agreement was reached; without it, an error.
        pub fallback: Option<Blob<OBSERVATION_BYTES_MAX>>,
        /// What every member reads after a write before it agrees that it happened.
        pub confirm: Option<Confirm>,
    }

    /// A header of a request.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Header {
        /// Its name, in lower case.
        pub name: Name,
        /// Its value.
        pub value: Template,
    }

    /// What an answer becomes. Nothing set: the body, and any status but 2xx is a failure.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Transform {
        /// Headers that are kept, in lower case.
        pub headers: List<Name, HEADERS_MAX>,
        /// Whether the status is kept; then any status is an answer.
        pub status: bool,
        /// What is kept of a JSON body.
        pub paths: List<Path, PATHS_MAX>,
        /// A function of the module that makes the rest of it.
        pub guest: Option<Name>,
    }

    /// A read that shows that a write happened.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Confirm {
        /// The source that is read, with the parameters of the write; it must be a read.
        pub source: Name,
        /// Whether what is read must be what was written, byte for byte.
        pub equals_body: bool,
    }

    /// How one field of JSON answers becomes one.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FieldRule {
        /// The field: its name in the object.
        pub field: Name,
        /// How.
        pub rule: Rule,
    }
}

choice! {
    /// How a source is reached.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Connector {
        /// HTTP. GET reads; everything else writes.
        1 => Http {
            /// The method.
            method: HttpMethod,
            /// Where.
            url: Template,
            /// With what headers.
            headers: List<Header, HEADERS_MAX>,
            /// How many redirects are followed; only a read's are.
            redirects: u8,
        },
        /// Reads from an EVM chain, at a block that the leader picks.
        2 => Evm {
            /// Its JSON-RPC.
            url: Template,
            /// What.
            query: EvmQuery,
            /// Blocks that must have come after the one that is read.
            confirmations: u16,
        },
        /// Reads rows from a database that the members' operators set up under this name.
        3 => Sql {
            /// The name.
            database: Name,
            /// One SELECT with ORDER BY; `$1`, `$2` … are the parameters below.
            statement: Text<STATEMENT_BYTES_MAX>,
            /// Names of parameters.
            parameters: List<Name, PARAMETERS_MAX>,
        },
        /// Reads an object.
        4 => ObjectGet {
            /// The object store, by the name under which operators set it up.
            store: Name,
            /// The key.
            key: Template,
        },
        /// Writes the body of the request into an object.
        5 => ObjectPut {
            /// The object store.
            store: Name,
            /// The key.
            key: Template,
            /// Its content type.
            content_type: Name,
            /// Whether an object that is there stays as it is.
            if_absent: bool,
        },
        /// Sends the body of the request as a message.
        6 => Message {
            /// To whom: a public identity card in text, or an account whose card is known.
            to: Template,
        },
    }

    /// A method of HTTP.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum HttpMethod {
        /// Reads.
        1 => Get,
        /// Writes.
        2 => Post,
        /// Writes.
        3 => Put,
        /// Writes.
        4 => Patch,
        /// Writes.
        5 => Delete,
    }

    /// What is read from an EVM chain.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum EvmQuery {
        /// The block itself: number, hash, time.
        1 => Block,
        /// The balance of an address.
        2 => Balance {
            /// `0x…`.
            address: Template,
        },
        /// The result of a call of a contract.
        3 => Call {
            /// The contract, `0x…`.
            to: Template,
            /// The function: `balanceOf(address)(uint256)`.
            function: Text<256>,
            /// Its arguments, as text.
            arguments: List<Template, PARAMETERS_MAX>,
        },
    }

    /// How answers become one.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Aggregation {
        /// A quorum's answers are the same, byte for byte.
        1 => Identical,
        /// The median of a number; for an even count the lower one.
        2 => Median {
            /// Where the number is in the answer; empty if it is the answer.
            field: Path,
        },
        /// The most frequent answer; the smallest of several.
        3 => Mode,
        /// A rule for each field of a JSON object.
        4 => ByFields {
            /// The rules; other fields are left out.
            rules: List<FieldRule, PATHS_MAX>,
        },
        /// All answers in a list, at least k.
        5 => KOfN {
            /// k.
            k: u8,
        },
        /// The writer's answer.
        6 => Single,
    }

    /// How one field becomes one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Rule {
        /// A quorum's are the same.
        1 => Identical,
        /// The median.
        2 => Median,
        /// The most frequent.
        3 => Mode,
    }
}

impl Connector {
    /// Returns whether it changes the world.
    #[must_use]
    pub const fn writes(&self) -> bool {
        match self {
            Self::Http { method, .. } => !matches!(method, HttpMethod::Get),
            Self::ObjectPut { .. } | Self::Message { .. } => true,
            Self::Evm { .. } | Self::Sql { .. } | Self::ObjectGet { .. } => false,
        }
    }

    /// Returns whether the leader fixes what is looked at.
    #[must_use]
    pub const fn pins(&self) -> bool {
        matches!(self, Self::Evm { .. })
    }
}
