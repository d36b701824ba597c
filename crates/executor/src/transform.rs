//! From an answer of the world to an observation.
