//! One session of one member.
