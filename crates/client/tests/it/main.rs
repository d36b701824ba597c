//! The client against nodes that are well, slow, gone, confused or lying.

mod asks;
mod hops;
mod kept;
mod mailboxes;
mod patience;
mod reading;
mod refusals;
mod storing;
mod subscribing;
mod talking;
mod watching;
mod world;
