//! A node process, a small HTTP client, and an owner who signs.

mod http;
mod node;
mod owner;

pub(crate) use http::{open, post, request, try_post};
pub(crate) use node::{Node, Place, sessiond};
pub(crate) use owner::{Owner, now, read_all};
