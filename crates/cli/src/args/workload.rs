//! What may be written behind `session workload`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use session_core::{SessionId, Span};
use session_runtime::http::client::Endpoint;

#[derive(Debug, Args)]
pub(crate) struct Workload {
    /// The node that is asked. Without it, the first of nodes.url beside the network file that
    /// answers ('session up' writes it).
    #[arg(long, global = true, value_name = "URL", env = "SESSION_NODE")]
    pub(crate) node: Option<Endpoint>,
    #[command(subcommand)]
    pub(crate) command: WorkloadCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkloadCommand {
    /// Make the folder of a new workload: manifest, source, build line, a world to try it in.
    #[command(after_help = "Examples:\n  \
        session workload new prices\n  \
        session workload new prices --lang assemblyscript\n\n\
        WebAssembly text needs nothing but this program, AssemblyScript needs npm.")]
    New {
        /// The folder; its last part names the workload.
        dir: PathBuf,
        /// The language of the source.
        #[arg(long, value_enum, default_value_t = Lang::Wat)]
        lang: Lang,
    },
    /// Make the module, check it as nodes do, and show what it is.
    Build {
        /// The folder of the workload.
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Run it on four nodes and a chain of its own, against the scripted world in world.toml.
    #[command(after_help = "Examples:\n  \
        session workload dev\n  \
        session workload dev prices --input question.json --out bundle.json\n\n\
        The four are different processes: what differs between machines differs here. They stop\n\
        with the session.")]
    Dev(Dev),
    /// Run it on a committee of the network, and show its result.
    #[command(after_help = "Examples:\n  \
        session workload run .                        a folder: its module, manifest, input\n  \
        session workload run module.wasm --manifest workload.toml --input question.json\n  \
        session workload run . --service prices --follow\n\n\
        The own account pays the chain's fee; in a network of 'session up' its operator does.")]
    Run(Run),
    /// Show where a session is.
    Status {
        /// The session.
        session: SessionId,
    },
    /// Show what its program logged.
    Logs {
        /// The session.
        session: SessionId,
        /// From which line.
        #[arg(long, default_value_t = 0)]
        from: u32,
    },
    /// Write the result of a session that ended well to standard output.
    Result {
        /// The session.
        session: SessionId,
    },
    /// Fetch the file that proves a session to anybody, for 'session verify'.
    Bundle {
        /// The session.
        session: SessionId,
        /// The file.
        #[arg(short, long, value_name = "FILE", default_value = "bundle.json")]
        out: PathBuf,
    },
}

/// Languages of templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// WebAssembly text; built by this program.
    Wat,
    /// AssemblyScript; built with npm.
    Assemblyscript,
    /// Rust; needs the target wasm32-unknown-unknown.
    Rust,
    /// C; needs clang with wasm-ld.
    C,
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The folder of the workload.
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// The input; without it, the file `input` in the folder, or nothing.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Where the bundle is written; without it, bundle.json in the folder.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Where the network of the run is kept, with the logs of its nodes; without it, it is thrown
    /// away.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// How long the session may take.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::span::parse)]
    pub(crate) time_max: Span,
    /// The node program; without it, `sessiond` beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) sessiond: Option<PathBuf>,
    /// The chain's program; without it, `sessionvm` beside this program.
    #[arg(long, value_name = "FILE")]
    pub(crate) sessionvm: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A module (.wasm or .wat), or the folder of a workload.
    pub(crate) module: PathBuf,
    /// The manifest; without it, workload.toml beside the module.
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// The input; without it, the file `input` beside the module, or nothing.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// The service that it belongs to: an id of 64 hex digits, or a name that stands for one.
    /// Without it, the name in the manifest.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// How long the session may take.
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = crate::span::parse)]
    pub(crate) time_max: Span,
    /// Show every step and what the program logs as they come.
    #[arg(long, conflicts_with = "detach")]
    pub(crate) follow: bool,
    /// Only start it, and say its id.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Where the chain is asked; without it, as for 'session chain'.
    #[arg(long, value_name = "URL", env = "SESSION_CHAIN")]
    pub(crate) url: Option<Endpoint>,
}
