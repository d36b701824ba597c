//! From observations to one result.
