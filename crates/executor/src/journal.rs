//! What a member writes down about a session, in order.
