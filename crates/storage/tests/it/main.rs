//! The engines from outside: against each other, and after crashes.

mod crash;
mod differential;
mod kv;
mod world;
