//! One layer of a header: how it is put on and taken off.
//!
//! A header has the same length before and after. Whoever takes a layer off appends as many bytes
//! of a key stream; whoever built the header knew them, so that the code of each layer covers them.
//! What lies behind the header, the trailer, is covered and encrypted likewise but stays in place:
//! a longer packet has no room for more hops.

use session_core::{Domain, Encode as _, Entropy, NodeId};
use session_crypto::aead::{self, NONCE_SIZE, TAG_SIZE};
use session_crypto::{
    SharedSecret, SymmetricKey, XWingCiphertext, XWingPublicKey, XWingSecret, kdf,
};

use super::geometry::{LAYER_BYTES, LENGTH, PREFIX, Prefix, ROUTING};
use super::path::Step;
use super::routing::{Command, Routing};

/// Where the code of a layer lies, and behind it what it covers.
const TAG: usize = PREFIX + XWingCiphertext::SIZE;
const BODY: usize = TAG + TAG_SIZE;

/// Every key below is used for one message, so its nonce need not differ.
pub(super) const NONCE: [u8; NONCE_SIZE] = [0; NONCE_SIZE];

/// What one hop and whoever built the packet share.
pub(super) struct Keys(SymmetricKey);

impl Keys {
    /// Binds everything that was public in the exchange: X-Wing itself leaves out its larger half.
    fn new(
        secret: &SharedSecret,
        prefix: &[u8],
        node: &NodeId,
        key: &XWingPublicKey,
        ciphertext: &XWingCiphertext,
    ) -> Self {
        let parts = [prefix, node.as_ref(), key.as_ref(), ciphertext.as_ref()];
        Self(kdf(Domain::OnionLayer, secret.expose(), &parts))
    }

    fn purpose(&self, purpose: &str) -> SymmetricKey {
        kdf(Domain::OnionKey, self.0.expose(), &[purpose.as_bytes()])
    }

    /// What a hop lays over a content on its way back.
    pub(super) fn back(&self) -> SymmetricKey {
        self.purpose("back")
    }

    /// Under what the exit answers.
    pub(super) fn answer(&self) -> SymmetricKey {
        self.purpose("answer")
    }

    /// What a hop remembers of a packet.
    pub(super) fn tag(&self) -> [u8; 32] {
        *self.purpose("tag").expose()
    }

    fn seal(&self) -> SymmetricKey {
        self.purpose("seal")
    }

    /// Returns what the hop appends for the layer that it took off.
    fn filler(&self) -> [u8; LAYER_BYTES] {
        let mut filler = [0; LAYER_BYTES];
        aead::apply_keystream(&self.purpose("filler"), &NONCE, 0, &mut filler);
        filler
    }
}

/// A layer whose code was checked or not, decrypted.
pub(super) struct Unwrapped {
    pub(super) keys: Keys,
    pub(super) routing: [u8; ROUTING],
    /// What was behind the routing in the header.
    inner: Vec<u8>,
    trailer: Vec<u8>,
    /// Whether the code was right; if not, the rest is noise.
    pub(super) authentic: bool,
}

/// Takes the outer layer off. It costs the same whether or not the header is for this key.
pub(super) fn unwrap(
    secret: &XWingSecret,
    public: &XWingPublicKey,
    node: &NodeId,
    (bytes, header_bytes): (&[u8], usize),
) -> Unwrapped {
    let (prefix, rest) = bytes.split_at(PREFIX);
    let (ciphertext, rest) = rest.split_at(XWingCiphertext::SIZE);
    let (tag, body) = rest.split_at(TAG_SIZE);
    let ciphertext = XWingCiphertext::try_from(ciphertext).expect("cut to its length");
    let shared = secret.decapsulate(&ciphertext);
    let keys = Keys::new(&shared, prefix, node, public, &ciphertext);
    let seal = keys.seal();
    let opened = aead::open(&seal, &NONCE, prefix, &[body, tag].concat());
    let authentic = opened.is_ok();
    let mut plain = opened.unwrap_or_else(|aead::NotOpened| {
        let mut plain = body.to_vec();
        aead::apply_keystream(&seal, &NONCE, 0, &mut plain);
        plain
    });
    let trailer = plain.split_off(header_bytes - BODY);
    let inner = plain.split_off(ROUTING);
    let routing = plain.try_into().expect("split at its length");
    Unwrapped { keys, routing, inner, trailer, authentic }
}

impl Unwrapped {
    /// Returns what the next hop gets, as long as what was unwrapped.
    pub(super) fn following(&self, prefix: Prefix) -> Vec<u8> {
        [&prefix.bytes()[..], &self.inner, &self.keys.filler(), &self.trailer].concat()
    }

    /// Returns what the exit finds: its content, padding, what the hops before it appended.
    pub(super) fn content(&self) -> Vec<u8> {
        [&self.trailer[..], &self.inner].concat()
    }
}

/// Puts a layer on for each step, the last one inside around `content`. The steps fit into the
/// header, and the content beside them: whoever calls has checked both.
pub(super) fn wrap(
    rng: &mut dyn Entropy,
    prefix: Prefix,
    (bytes, header_bytes): (usize, usize),
    (steps, errand): (&[Step], Command),
    content: &[u8],
) -> (Vec<u8>, Vec<Keys>) {
    let prefix = prefix.bytes();
    let body_bytes = header_bytes - BODY;
    let (ciphertexts, keys): (Vec<_>, Vec<_>) = steps
        .iter()
        .map(|step| {
            let public = step.key.public();
            let (ciphertext, shared) = public.encapsulate(rng);
            let keys = Keys::new(&shared, &prefix, &step.key.node(), public, &ciphertext);
            (ciphertext, keys)
        })
        .unzip();
    let routing = routing(steps, errand);
    let (last, before) = keys.split_last().expect("a path has at least one hop");
    let mut tail = tail(before, body_bytes);

    // Noise behind the content, so that the exit cannot see where the padding ends and the tail
    // begins: it would learn how many hops there were.
    let trailer_bytes = bytes - header_bytes;
    let mut inner = content.to_vec();
    inner.resize(trailer_bytes + body_bytes - ROUTING - tail.len(), 0);
    rng.fill(&mut inner[content.len()..]);
    let (trailer, inner) = inner.split_at(trailer_bytes);
    // Decrypted, so that sealing below makes of it what the last hop will find.
    aead::apply_keystream(&last.seal(), &NONCE, body_bytes - tail.len(), &mut tail);

    let mut plain = [&routing[before.len()][..], inner, &tail, trailer].concat();
    let mut layer = Vec::new();
    for hop in (0..keys.len()).rev() {
        let mut sealed = aead::seal(&keys[hop].seal(), &NONCE, &prefix, &plain);
        let tag = sealed.split_off(body_bytes + trailer_bytes);
        layer = [ciphertexts[hop].as_ref(), &tag, &sealed].concat();
        if hop > 0 {
            // What is cut out, the hop before this one appends.
            let (inner, trailer) = (&layer[..body_bytes - ROUTING], &sealed[body_bytes..]);
            plain = [&routing[hop - 1], inner, trailer].concat();
        }
    }
    ([&prefix[..], &layer].concat(), keys)
}

/// Returns what each step is told.
fn routing(steps: &[Step], errand: Command) -> Vec<Vec<u8>> {
    let onward = steps[1..].iter().map(|step| Command::Forward { next: step.key.node() });
    onward
        .chain(core::iter::once(errand))
        .zip(steps)
        .map(|(command, step)| Routing { command, delay_ms: step.delay_ms }.to_bytes())
        .collect()
}

/// Returns what these hops will have appended when the next one gets the header: each decrypts what
/// the ones before it appended, and appends in turn.
fn tail(hops: &[Keys], body_bytes: usize) -> Vec<u8> {
    let mut tail = Vec::new();
    for keys in hops {
        aead::apply_keystream(&keys.seal(), &NONCE, body_bytes - tail.len(), &mut tail);
        tail.extend_from_slice(&keys.filler());
    }
    tail
}

/// Returns the content behind its length, and nothing behind it. It fits, the callers have checked.
pub(super) fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("shorter than a packet");
    [&length.to_be_bytes(), content].concat()
}

/// Returns the content behind its length, if there is as much.
pub(super) fn unframed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
