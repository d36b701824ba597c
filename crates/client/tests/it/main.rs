//! The client against nodes that are well, slow, gone, confused or lying.

mod patience;
mod reading;
mod refusals;
mod storing;
mod subscribing;
mod world;
