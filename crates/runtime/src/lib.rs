//! The shell: everything that touches the world, and understands nothing of it.
//!
//! What it is: the system's clock and entropy, the QUIC endpoint, the HTTP server, files that are
//! whole or absent, signals, metrics and logging.
//!
//! What it does not do: it knows no message, no session and no node. Payloads are opaque.
//!
//! ```
//! use std::sync::Arc;
//! use session_runtime::quic::{Class, Event, Options, Quic};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use session_runtime::entropy::OsEntropy;
//! let identity = session_crypto::Identity::generate(&mut OsEntropy::new()?);
//! let key = *identity.public().dsa().as_bytes();
//! let decode = Arc::new(|_conn, _class, body: Vec<u8>| body);
//! let options = Options::new("127.0.0.1:0".parse()?);
//! let (node, mut at_node) =
//!     Quic::bind(options.clone(), Some(Arc::new(identity)), decode.clone())?;
//! let (client, mut at_client) = Quic::bind(options, None, decode)?;
//!
//! client.dial(1, node.local_addr(), Some(Box::new(key)))?;
//! if let Some(Event::Connected { conn, .. }) = at_client.recv().await {
//!     client.send(conn, Class::Interactive, &b"hello"[..])?;
//! }
//! while let Some(event) = at_node.recv().await {
//!     if let Event::Frame { payload, .. } = event {
//!         assert_eq!(payload, b"hello");
//!         break;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`bind`] | why an address could not be listened on |
//! | [`clock`] | the system's clock, which never goes back |
//! | [`disk`] | room on the disk, and how long it takes to write |
//! | [`entropy`] | the system's randomness |
//! | [`failure`] | why a program ends, in one line and one exit code |
//! | [`files`] | atomic writes, secret files |
//! | [`http`] | the HTTP/1.1 server, its WebSockets, and a client |
//! | [`key_file`] | a program's keys: read, or made at the first start |
//! | [`logging`] | logs to standard error |
//! | [`metrics`] | counters for Prometheus |
//! | [`program`] | command lines and standard output, alike in all programs |
//! | [`quic`] | authenticated connections that carry frames |
//! | [`signals`] | SIGTERM and SIGINT |
//! | [`workers`] | threads for work that is done side by side |

pub mod bind;
pub mod clock;
pub mod disk;
pub mod entropy;
pub mod failure;
pub mod files;
pub mod http;
pub mod key_file;
pub mod logging;
pub mod metrics;
pub mod program;
pub mod quic;
pub mod signals;
pub mod workers;

pub use bind::BindError;
pub use clock::SystemClock;
pub use entropy::OsEntropy;
