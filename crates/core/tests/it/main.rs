//! The bytes of the reference implementation, row by row.

mod reference;
