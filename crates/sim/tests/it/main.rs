//! Stories over many seeds, and proof that broken rules are noticed.

mod chain;
mod coordination;
mod messaging;
mod noticed;
mod onions;
mod stories;
