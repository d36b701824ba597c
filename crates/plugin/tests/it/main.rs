//! The coordination chain as hosts see it.

mod alone;
mod bad_day;
mod calls;
mod common;
mod conversations;
mod followers;
#[cfg(feature = "avalanche")]
mod grpc_host;
mod socket;
mod zap_host;
