//! What people and tools read and write: JSON-RPC 2.0, the network file, the configuration file.
//!
//! What it is: shapes, their parsers and writers. Parsers are lenient about form (a missing
//! `jsonrpc` member, `[{}]` or named parameters) and strict about content: every error names the
//! field, and the limit if there is one. Serde stops here.
//!
//! What it does not do: it knows no protocol messages and no keys. Sizes of keys are checked, what
//! they mean is not.
//!
//! ```
//! use session_rpc::{api::Method, json_rpc::{Incoming, parse}};
//! let body = br#"{"id": 1, "method": "session.get_swarm", "params": [{"address": "aa"}]}"#;
//! let Ok(Incoming::Single(Ok(call))) = parse(body) else { panic!("not a call") };
//! let error = Method::parse(&call).unwrap_err();
//! assert_eq!((error.code, error.data.field.as_deref()), (-32602, Some("address")));
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`address`] | `host:port` texts |
//! | [`api`] | methods of the client API: parameters and results |
//! | [`config`] | the configuration file of `sessiond` |
//! | [`fields`] | typed reading of a table, with errors that name the field |
//! | [`json_rpc`] | calls, batches, responses, error objects |
//! | [`network_file`] | who is a node of the network |
//! | [`session_api`] | methods about workload sessions: parameters and results |
//! | [`vm`] | SessionVM: its methods, genesis and configuration |
//! | [`workload`] | the file of a workload's manifest |

pub mod address;
pub mod api;
pub mod config;
mod digits;
pub mod fields;
pub mod json_rpc;
pub mod network_file;
pub mod session_api;
pub mod vm;
pub mod workload;

pub use network_file::{NetworkFile, NodeEntry, Placement};
