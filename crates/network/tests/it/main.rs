//! Drives whole overlays through their public door.

mod by_hand;
mod handshakes;
mod limits;
mod lossy;
mod onion;
mod peers;
mod wire;
mod world;
