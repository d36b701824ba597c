//! The tool and the node as their users meet them: real processes, real sockets, real disks.

mod bad_days;
mod harness;
mod identities;
mod walking;
