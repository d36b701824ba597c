//! The shell against real sockets on the loopback interface.

mod classical;
mod client;
mod harness;
mod hostile;
mod http;
mod identity;
mod quic;
mod websocket;
