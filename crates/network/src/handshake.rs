//! The three messages that prove the encryption keys, as pure functions.
//!
//! *Provided:* both sides hold the ML-KEM-768 key registered for the id they claim, the dialer
//! reaches the node it meant, and all of it belongs to this one channel: a proof is made under a
//! key that depends on the channel's exporter value, so it is worthless on any other. The ML-DSA-65
//! key was proven by TLS and is compared with the registered one here.
//!
//! *Not provided:* secrecy and forward secrecy are the channel's; a client proves nothing about
//! itself; the dialer's id is not hidden from whoever accepts.
//!
//! `docs/wire/handshake.md` has the byte tables.

use session_core::{Domain, Encode as _, Entropy, NodeId, Text, Time, digest};
use session_crypto::{DsaPublicKey, KemCiphertext, SharedSecret, Signer, equal, kdf, mac};
use session_protocol::membership::ADDRESS_BYTES_MAX;
use session_protocol::peer::{DeclineReason, Handshake};
use session_protocol::{Membership, NodeRecord};

/// Abilities this version has: none are defined.
const FEATURES: u64 = 0;

/// What makes the two proofs of one handshake different.
const ACCEPTOR: &[u8] = b"acceptor";
const DIALER: &[u8] = b"dialer";

/// Stands where the acceptor's proof goes while that proof is computed.
const UNPROVEN: [u8; 32] = [0; 32];

/// What the TLS channel says about itself.
#[derive(Clone)]
pub(crate) struct Channel {
    /// Known to both ends and nobody else.
    pub(crate) exporter: [u8; 32],
    /// The key that the other end proved.
    pub(crate) key: Option<DsaPublicKey>,
}

/// This side of every handshake.
pub(crate) struct Local<'a> {
    pub(crate) keys: &'a dyn Signer,
    pub(crate) membership: &'a dyn Membership,
    /// None for a client.
    pub(crate) node: Option<NodeId>,
    /// Empty for a client.
    pub(crate) listen: &'a Text<ADDRESS_BYTES_MAX>,
}

/// A dialer that waits for [`Handshake::Welcome`].
pub(crate) struct Opening {
    to: NodeId,
    channel: Channel,
    hello: [u8; 32],
    secret: SharedSecret,
}

/// What the dialer learnt from a good [`Handshake::Welcome`].
pub(crate) struct Welcomed {
    /// To be sent; none when we are a client.
    pub(crate) finish: Option<Handshake>,
    pub(crate) height: u64,
    pub(crate) time: Time,
}

/// Who said [`Handshake::Hello`].
pub(crate) struct Greeted {
    /// The [`Handshake::Welcome`] to send.
    pub(crate) welcome: Handshake,
    /// None when the dialer is a client, and through.
    pub(crate) answering: Option<Answering>,
}

/// An acceptor that waits for [`Handshake::Finish`].
pub(crate) struct Answering {
    node: NodeId,
    height: u64,
    expected: [u8; 32],
}

/// Makes the [`Handshake::Hello`] for a node whose transport key was compared already.
pub(crate) fn hello(
    local: &Local<'_>,
    record: &NodeRecord,
    channel: Channel,
    rng: &mut dyn Entropy,
) -> (Handshake, Opening) {
    let (challenge, secret) = local.keys.encapsulate(record.keys.kem(), rng);
    let hello = Handshake::Hello {
        network: local.membership.network(),
        node: local.node,
        features: FEATURES,
        nonce: rng.bytes32(),
        challenge,
        listen: local.listen.clone(),
        height: local.membership.height(),
    };
    let opening = Opening { to: record.id(), channel, hello: hello_hash(&hello), secret };
    (hello, opening)
}

/// Returns who dials, after comparing everything that costs no key operation.
pub(crate) fn identify(
    local: &Local<'_>,
    channel: &Channel,
    hello: &Handshake,
) -> Result<Option<NodeId>, DeclineReason> {
    let Handshake::Hello { network, node, .. } = hello else {
        return Err(DeclineReason::OutOfOrder);
    };
    if *network != local.membership.network() {
        return Err(DeclineReason::WrongNetwork);
    }
    let Some(node) = *node else { return Ok(None) };
    if local.node == Some(node) {
        return Err(DeclineReason::Duplicate);
    }
    let registered = local.membership.node(&node).map(|record| record.keys.dsa());
    match &channel.key {
        Some(key) if registered == Some(key) => Ok(Some(node)),
        _ => Err(DeclineReason::NotRegistered),
    }
}

/// Proves our key to an identified dialer, and challenges it if it is a node.
pub(crate) fn greet(
    local: &Local<'_>,
    channel: &Channel,
    hello: &Handshake,
    now: Time,
    rng: &mut dyn Entropy,
) -> Result<Greeted, DeclineReason> {
    let Handshake::Hello { node, challenge, height, .. } = hello else {
        return Err(DeclineReason::OutOfOrder);
    };
    let me = local.node.ok_or(DeclineReason::OutOfOrder)?;
    let hello = hello_hash(hello);
    let theirs = match node {
        None => None,
        Some(node) => {
            let record = local.membership.node(node).ok_or(DeclineReason::NotRegistered)?;
            Some((*node, local.keys.encapsulate(record.keys.kem(), rng)))
        }
    };
    let unproven = Handshake::Welcome {
        node: me,
        features: FEATURES,
        nonce: rng.bytes32(),
        challenge: theirs.as_ref().map(|(_, (challenge, _))| challenge.clone()),
        proof: UNPROVEN,
        height: local.membership.height(),
        time: now,
    };
    let secret = local.keys.decapsulate(challenge);
    let ours = proof(&secret, channel, ACCEPTOR, &hello, &unproven);
    let welcome = with_proof(unproven, ours);
    let answering = theirs.map(|(node, (_, secret))| Answering {
        node,
        height: *height,
        expected: proof(&secret, channel, DIALER, &hello, &welcome),
    });
    Ok(Greeted { welcome, answering })
}

impl Opening {
    /// Returns the node that was dialled.
    pub(crate) const fn to(&self) -> NodeId {
        self.to
    }

    /// Checks the acceptor's proof and makes ours.
    pub(crate) fn welcomed(
        &self,
        local: &Local<'_>,
        welcome: &Handshake,
    ) -> Result<Welcomed, DeclineReason> {
        let &Handshake::Welcome { node, ref challenge, proof: got, height, time, .. } = welcome
        else {
            return Err(DeclineReason::OutOfOrder);
        };
        if node != self.to {
            return Err(DeclineReason::NotRegistered);
        }
        let unproven = with_proof(welcome.clone(), UNPROVEN);
        let expected = proof(&self.secret, &self.channel, ACCEPTOR, &self.hello, &unproven);
        if !equal(&expected, &got) {
            return Err(DeclineReason::BadProof);
        }
        let finish = match (local.node, challenge) {
            (None, None) => None,
            (Some(_), Some(challenge)) => Some(self.finish(local.keys, challenge, welcome)),
            _ => return Err(DeclineReason::OutOfOrder),
        };
        Ok(Welcomed { finish, height, time })
    }

    fn finish(
        &self,
        keys: &dyn Signer,
        challenge: &KemCiphertext,
        welcome: &Handshake,
    ) -> Handshake {
        let secret = keys.decapsulate(challenge);
        Handshake::Finish { proof: proof(&secret, &self.channel, DIALER, &self.hello, welcome) }
    }
}

impl Answering {
    /// Returns who says that it dials.
    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// Returns the height that the dialer told.
    pub(crate) const fn height(&self) -> u64 {
        self.height
    }

    /// Checks the dialer's proof.
    pub(crate) fn finished(&self, finish: &Handshake) -> Result<NodeId, DeclineReason> {
        match finish {
            Handshake::Finish { proof } if equal(proof, &self.expected) => Ok(self.node),
            Handshake::Finish { .. } => Err(DeclineReason::BadProof),
            _ => Err(DeclineReason::OutOfOrder),
        }
    }
}

fn with_proof(mut welcome: Handshake, new: [u8; 32]) -> Handshake {
    if let Handshake::Welcome { proof, .. } = &mut welcome {
        *proof = new;
    }
    welcome
}

fn hello_hash(hello: &Handshake) -> [u8; 32] {
    *digest(Domain::Handshake, &[&hello.to_bytes()]).as_bytes()
}

// The acceptor's proof covers its message with the proof zeroed, the dialer's the message as sent.
fn proof(
    secret: &SharedSecret,
    channel: &Channel,
    side: &[u8],
    hello: &[u8; 32],
    welcome: &Handshake,
) -> [u8; 32] {
    let transcript = digest(Domain::Handshake, &[hello, &welcome.to_bytes()]);
    let key = kdf(Domain::HandshakeProof, secret.expose(), &[&channel.exporter]);
    mac(Domain::HandshakeProof, &key, &[side, transcript.as_bytes()])
}

#[cfg(test)]
mod tests;
