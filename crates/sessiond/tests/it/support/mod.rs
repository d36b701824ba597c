//! A node process, small clients, an owner who signs, a chain, and whoever watches the line.

mod asker;
mod capture;
mod chain;
mod committee;
mod http;
mod ledger;
pub(crate) mod line;
mod node;
mod owner;
mod player;
mod processes;
mod tap;

pub(crate) use asker::{Asker, batch};
pub(crate) use capture::{Capture, Datagram, alone};
pub(crate) use chain::{Chain, Liar, Member, eventually};
pub(crate) use committee::{Committee, Program, World, ended, get, refusal};
pub(crate) use http::{open, post, request, try_post};
pub(crate) use ledger::Ledger;
pub(crate) use node::{Node, Place, sessiond};
pub(crate) use owner::{Owner, now, read_all};
pub(crate) use player::{Habit, Player};
pub(crate) use processes::{Plan, Processes};
pub(crate) use tap::{Seen, Tap};
