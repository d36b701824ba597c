//! Connectors against servers on the loopback interface: real sockets, scripted answers.

mod ask;
mod evm;
mod http;
mod object;
mod server;
mod ssrf;
