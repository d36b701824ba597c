//! Stories over many seeds, and proof that broken rules are noticed.

mod noticed;
mod stories;
