//! SessionVM for people and tools: its JSON-RPC, its genesis, its configuration.
//!
//! *Provided:* types for every call, result and refusal, their parsers and writers, and the OpenRPC
//! document; all from one table of methods. *Not provided:* whether keys are keys, signatures
//! verify, or transactions can be executed: sizes and forms are checked here, meaning is not.
//!
//! | module | holds |
//! |---|---|
//! | [`api`] | methods and their parameters |
//! | [`config`] | the configuration of a chain |
//! | [`error`](mod@error) | every refusal |
//! | [`genesis`] | how a chain begins |
//! | [`group`] | parameters that belong together |
//! | [`jsonc`] | JSON with comments |
//! | [`openrpc`] | the description that `rpc.discover` gives |
//! | [`result`] | results |
//! | [`rfc3339`] | times as people write them |

use session_core::id::from_cb58;

pub mod api;
pub mod config;
pub mod error;
pub mod genesis;
pub mod group;
pub mod jsonc;
mod kind;
pub mod openrpc;
pub mod result;
pub mod rfc3339;
mod shape;

pub use api::Method;
pub use config::Config;
pub use error::ErrorCode;
pub use genesis::Genesis;

/// The id under which hosts know this virtual machine: CB58 of `sessionvm` and zeros.
pub const VMID: &str = "speKUgLBX6WRD5cfGeEfLa43LxTXUBckvtv4td6F3eTXvRP48";

/// The string that some documents show instead. Its checksum is wrong, so that no host loads it.
pub const WRONG_VMID: &str = "2ZbQaVuXHtT7vfJt8FmWEQKAT4NgtPqWEZHg5m3tUvEiSMnQNt";

/// Why a text is not the id of this virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadVmId {
    /// It is the string with the wrong checksum.
    #[error("{WRONG_VMID} is a misprint, its checksum is wrong: the id of sessionvm is {VMID}")]
    Misprint,
    /// It is the id of something else.
    #[error("it is the id of another virtual machine: the id of sessionvm is {VMID}")]
    Other,
    /// It is no id.
    #[error("it is no id ({0}): the id of sessionvm is {VMID}")]
    NoId(session_core::id::ParseIdError),
}

/// Checks that a text is [`VMID`].
///
/// # Errors
/// When it is not; every error names the right one.
pub fn check_vmid(text: &str) -> Result<(), BadVmId> {
    match text {
        VMID => Ok(()),
        WRONG_VMID => Err(BadVmId::Misprint),
        _ => Err(from_cb58(text).map_or_else(BadVmId::NoId, |_| BadVmId::Other)),
    }
}

/// What calls are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Keys and signatures have their sizes.
    #[default]
    Strict,
    /// Also what the Go reference's own calls send: short keys, short or missing signatures. For
    /// migration tests only.
    Go,
}

#[cfg(test)]
mod tests;
