//! The trace: a digest over everything that happened, and the last of it in words.

use std::collections::VecDeque;
use std::fmt;

use session_core::{Digest, Domain, Time};
use session_crypto::StreamHash;

use crate::host::HostId;

/// Events that a failure prints.
const KEPT: usize = 60;

/// Hashing many small pieces at once is several times faster than one by one.
const BUFFER_BYTES: usize = 16 * 1024;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Time,
    pub(crate) what: What,
    /// To whom.
    pub(crate) host: HostId,
    /// A wire, a dial or a number of its own kind.
    pub(crate) number: u64,
    /// Kind byte of a frame.
    pub(crate) kind: u8,
    /// Bytes of a frame.
    pub(crate) size: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum What {
    Woken = 1,
    Connected,
    DialFailed,
    Frame,
    Disconnected,
    Fault,
    /// Of the stories of the chain; `number` is who sent it.
    Packet,
    /// A block was accepted; `number` is its height.
    Accepted,
    /// A node stopped following.
    Stopped,
    /// Of the stories with a chain below the swarms: an order reached the chain.
    Ordered,
    /// A view of the chain reached a host; `number` is its height.
    Viewed,
}

/// Hash and memory of a run.
pub(crate) struct Trace {
    hash: StreamHash,
    buffer: Vec<u8>,
    last: VecDeque<Step>,
    steps: u64,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            hash: StreamHash::new(Domain::Simulation),
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            last: VecDeque::with_capacity(KEPT),
            steps: 0,
        }
    }

    /// Adds a step and the bytes that came with it.
    pub(crate) fn record(&mut self, step: Step, bytes: &[u8]) {
        self.steps += 1;
        self.buffer.extend_from_slice(&step.at.as_millis().to_be_bytes());
        self.buffer.push(step.what as u8);
        self.buffer.extend_from_slice(&step.host.0.to_be_bytes());
        self.buffer.extend_from_slice(&step.number.to_be_bytes());
        self.buffer.extend_from_slice(&step.size.to_be_bytes());
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.hash.update(&self.buffer);
            self.buffer.clear();
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    /// Returns how many steps there were.
    pub(crate) const fn steps(&self) -> u64 {
        self.steps
    }

    /// Returns the digest over all steps so far.
    pub(crate) fn digest(&self) -> Digest {
        let mut hash = self.hash.clone();
        hash.update(&self.buffer);
        hash.finish()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { at, what, host, number, kind, size } in &self.last {
            write!(f, "{:>12} ms  host {:<5} ", at.as_millis(), host.0)?;
            match what {
                What::Frame => writeln!(f, "{} of {size} bytes on {number}", kind_name(*kind))?,
                What::Packet => {
                    let name = crate::chain::kind_name(*kind);
                    writeln!(f, "{name} of {size} bytes from {number}")?;
                }
                what => writeln!(f, "{what:?} {number}")?,
            }
        }
        Ok(())
    }
}

fn kind_name(code: u8) -> String {
    session_protocol::Kind::from_code(code)
        .map_or_else(|| format!("frame of kind {code}"), |kind| format!("{kind:?}"))
}
