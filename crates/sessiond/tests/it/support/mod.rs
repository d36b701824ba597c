//! A node process, a small HTTP client, an owner who signs, and a chain.

mod chain;
mod committee;
mod http;
mod ledger;
mod node;
mod owner;

pub(crate) use chain::{Chain, Liar, Member, eventually};
pub(crate) use committee::{Committee, Program, World, ended, get, refusal};
pub(crate) use http::{open, post, request, try_post};
pub(crate) use ledger::Ledger;
pub(crate) use node::{Node, Place, sessiond};
pub(crate) use owner::{Owner, now, read_all};
