//! Stories over many seeds, and proof that broken rules are noticed.

mod chain;
mod noticed;
mod stories;
