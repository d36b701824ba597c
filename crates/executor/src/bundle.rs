//! The file that proves a session to anybody, offline.
