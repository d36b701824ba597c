//! The real program: started as a process, asked over its sockets, stopped with signals.

mod captures;
mod chain;
mod client_api;
mod habits;
mod life;
mod onions;
mod refusals;
mod sessions;
mod sessions_world;
mod strangers;
mod support;
