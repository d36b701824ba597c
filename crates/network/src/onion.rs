//! Onion packets: requests that go over hops none of which knows both ends, and answers that come
//! back the same way.
//!
//! What it is: the packet format as pure functions and small states. The header is that of Sphinx
//! with an encapsulation for each hop instead of a blinded group element, as in Outfox and
//! KEM-Sphinx, with X-Wing as the encapsulation; the payload travels inside the header, so that
//! each hop checks all of it.
//!
//! What it does not do: it chooses no path, keeps no circuit, sends nothing and waits for nothing.
//! Delays are handed up, and so are payloads, unread.
//!
//! *Provided*, as long as one hop is honest and one half of X-Wing stands:
//! - a hop learns the node before it, the node behind it, and the delay; the first one learns no
//!   exit and no content, the exit no client;
//! - packets of a size look alike at every hop: neither length nor content tells how long the path
//!   is or where in it the hop stands;
//! - what is altered on the way out is dropped at the first honest hop, payload and padding
//!   included: no mark reaches an accomplice;
//! - a packet is taken once by each honest hop, until its key is erased; after that nothing opens
//!   it, and whoever takes a node opens nothing of earlier epochs;
//! - an answer opens only if the exit made it for this request; a reply block is used once, and
//!   tells whoever uses it its first hop only.
//!
//! *Not provided*:
//! - cover against somebody who sees both ends of a path: times and numbers of packets are not
//!   hidden here, delays and cover only where somebody asks for them;
//! - integrity of answers at the hops: a hop can spoil one, which is seen by the client only, and
//!   not who it was. Likewise a hop can drop anything, in either direction;
//! - likeness of requests and answers: a hop knows which direction a packet goes;
//! - who made a request: whoever knows the keys can make one. An exit knows nobody;
//! - key commitment of the codes, and constant time of what the libraries do with public values;
//! - memory beyond a restart: a node that lost what it has seen must draw a new key.
//!
//! ```
//! use session_core::{Epoch, SeededEntropy, Time};
//! use session_crypto::{Identity, RealVerifier};
//! use session_network::onion::{Hop, Order, Packet, Path, Peeled, Service, Size, TAGS_MAX};
//!
//! let mut rng = SeededEntropy::new(1); // in a program: the operating system's
//! let (network, life) = (Default::default(), (Time::ZERO, Time::from_millis(3_600_000)));
//! let identity = Identity::generate(&mut rng);
//! let node = identity.public().node_id();
//! let mut hop = Hop::new(node, TAGS_MAX);
//! let published = hop.rotate(&mut rng, network, Epoch(7), life).sign(&identity, &mut rng);
//! let key = published.verify(&network, identity.public(), &RealVerifier).unwrap();
//!
//! let path = Path::new(vec![key], Time::ZERO).unwrap();
//! let (size, service) = (Size::Small, Service(1));
//! let order = Order { size, service, answer: Size::Small, payload: b"question" };
//! let (packet, keys) = Packet::build(&mut rng, &path, &order).unwrap();
//! let Ok(Peeled::Deliver { payload, answer, .. }) = hop.peel(Time::ZERO, &packet) else {
//!     panic!("the only hop is the exit");
//! };
//! assert_eq!(payload, b"question");
//! let answer = answer.seal_reply(b"answer").unwrap();
//! assert_eq!(keys.open(&answer).unwrap(), b"answer");
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `geometry` | sizes, kinds, and what is left for a payload |
//! | `routing` | what one hop is told |
//! | `hop_key` | the secret halves of the keys of hops |
//! | `path` | which hops a packet takes |
//! | `layer` | one layer of a header, put on and taken off |
//! | `packet` | packets, requests, cover |
//! | `hop` | what a node does with a packet, and what it remembers |
//! | `reply` | answers over the path of the request |
//! | `block` | reply blocks |

mod block;
mod geometry;
mod hop;
mod hop_key;
mod layer;
mod packet;
mod path;
mod reply;
mod routing;

pub use block::{BlockKeys, Exhausted, REPLY_BLOCKS_MAX, ReplyBlock, ReplyBlocks};
pub use geometry::{HOPS_MAX, Kind, LAYER_BYTES, REPLY_BLOCK_BYTES, RETURN_HOPS_MAX, Size};
pub use hop::{EPOCHS_MAX, Hop, NotPeeled, Opened, Opener, Peeled, TAGS_MAX};
pub use packet::{Cover, Order, Packet, TooLong};
pub use path::{BadPath, Path};
pub use reply::{AnswerKey, BackKey, NotAnAnswer, ReplyKeys};
pub use routing::{DELAY_MAX, Handle, ReturnId, Service};
pub use session_protocol::onion::{
    BadHopKey, HopKey, HopKeyRecord, KEY_LIFE_MAX, SignedHopKey, VERSION,
};

#[cfg(test)]
mod tests;
