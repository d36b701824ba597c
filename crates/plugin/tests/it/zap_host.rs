//! A host of ours that speaks luxd's protocol: to a small chain within this process, and to the
//! real program.

mod against;
mod database;
mod fake;
mod host;
mod program;
mod remote_database;
mod walk;
