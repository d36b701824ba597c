//! A host of ours that speaks avalanchego's protocol, to the real program.

mod host;
mod program;

use sessionvm::grpc::wire;
