//! Networks of coordinators on a small honest model of the chain.

mod attest;
mod beacon;
mod chain;
mod dispute;
mod probe;
mod promise;
mod storage;
mod world;
