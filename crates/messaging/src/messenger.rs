//! One device of one account: conversations, groups, devices and what is published, as one machine.

pub mod api;
