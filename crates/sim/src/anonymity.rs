//! Who talks to whom, as far as others can tell.
//!
//! What it is: a model of packets and paths, without their bytes, and the attacks of an observer of
//! all links ([`observer`]) and of nodes that work together ([`collusion`]). `docs/anonymity.md`
//! says what they mean; the example `anonymity` draws them.
//!
//! What it does not do: it runs none of the machines. What it knows of them are the parameters.

mod agenda;
pub mod collusion;
mod draw;
mod flow;
pub mod observer;
mod people;
mod stats;
pub mod study;
mod trace;

use draw::{Micros, SECOND};
pub use stats::Estimate;

/// How requests reach nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Over a connection to the node that is asked.
    Direct,
    /// Through a guard and a middle node.
    Onion,
    /// The same, with delays at each hop and cover.
    Mix,
}

impl Mode {
    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Onion => "onion",
            Self::Mix => "mix",
        }
    }
}

/// Who sends how much, and how.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// How requests reach nodes.
    pub mode: Mode,
    /// How many nodes there are.
    pub nodes: u32,
    /// How many of them keep a mailbox.
    pub swarm: u32,
    /// How many clients there are; all of them are there all the time.
    pub clients: u32,
    /// How many contacts each has, and so mailboxes to read; even.
    pub contacts: u32,
    /// Mean time between two messages of a client, to any of its contacts.
    pub say_every: Micros,
    /// Mean time between two messages of a client in a chat.
    pub chat_every: Micros,
    /// Mean time in a hop.
    pub delay: Micros,
    /// Mean time between two packets of a client, whatever they are: what is to be sent waits for its
    /// turn, and cover goes where nothing waits. Without it packets leave at once, and there is no
    /// cover.
    pub pace: Option<Micros>,
    /// How much of the cover is items that a client stores in a mailbox of its own, and reads there.
    pub decoys: f64,
}

/// Time that a hop needs where nobody delays anything: computing, and waiting for the processor.
const PROCESSING: Micros = SECOND / 1_000;

/// Mean delay of a mix.
const DELAY: Micros = SECOND / 5;

/// Mean time between two packets of a client of a mix.
const PACE: Micros = SECOND;

impl Traffic {
    /// Returns the network that `docs/anonymity.md` is about.
    #[must_use]
    pub fn large(mode: Mode) -> Self {
        let mix = mode == Mode::Mix;
        Self {
            mode,
            nodes: 1_000,
            swarm: 10,
            clients: 10_000,
            contacts: 10,
            say_every: 600 * SECOND,
            chat_every: 20 * SECOND,
            delay: if mix { DELAY } else { PROCESSING },
            pace: mix.then_some(PACE),
            decoys: 0.0,
        }
    }

    /// Returns one of a tenth of it, as busy for each node and client.
    #[must_use]
    pub fn small(mode: Mode) -> Self {
        Self { nodes: 100, clients: 1_000, ..Self::large(mode) }
    }
}

#[cfg(test)]
mod tests;
