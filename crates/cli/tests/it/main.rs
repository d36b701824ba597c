//! The tool and the node as their users meet them: real processes, real sockets, real disks.

#![allow(clippy::disallowed_methods, reason = "these tests live in the world and read its clock")]

mod anchored;
mod bad_days;
mod chain;
mod chains;
mod duties;
mod harness;
mod hops;
mod identities;
mod talking;
mod terminal;
mod walking;
mod workloads;
