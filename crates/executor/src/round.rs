//! How one step is agreed on.
