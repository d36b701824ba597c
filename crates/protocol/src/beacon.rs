//! The epoch beacon: randomness that nobody can bias and a third of the dealers cannot stop.
//!
//! Each node registers the Merkle root of one-time secrets, one for each epoch. As a dealer it
//! derives its contribution from the one-time secret of the epoch and the beacon before, and shares
//! it among all dealers *before* anything is revealed; the shares are a function of the
//! contribution, so whoever learns the contribution can check the whole dealing. What a dealing
//! contributes is fixed by what was posted before the first reveal: the root over its shares, the
//! hash of its contribution, and who acknowledged a share. A dealer that falls silent is
//! reconstructed; one that dealt badly is left out, whichever shares are looked at
//! (`docs/adr/022-beacon.md`).
//!
//! *Provided:* below a third of bad dealers the beacon is unpredictable until the reveals begin,
//! the same for everybody, and never missing. *Not provided:* secrecy against a third of the
//! dealers together.

use std::collections::BTreeMap;

use session_core::merkle::{BadProof, Proof, Tree};
use session_core::{Blob, ChainId, Digest, Domain, Encode, Entropy, Epoch, NodeId, digest, record};
use session_crypto::{KemCiphertext, KemPublicKey, Signer, SymmetricKey, aead, kdf, shamir};

use crate::roster::BEACON_MEMBERS_MAX;

/// One-time secrets under one root: seven years of hourly epochs.
pub const ONE_TIME_SECRETS: u32 = 65_536;

/// Bytes of a sealed share and its way to the root.
const SEALED_BYTES_MAX: usize = 512;

record! {
    /// What a node registers of its one-time secrets.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct BeaconKey {
        /// Root over the hashes of the secrets.
        pub root: Digest,
        /// The epoch of the first secret.
        pub first: Epoch,
        /// How many there are: one for each epoch from then on.
        pub count: u32,
    }

    /// What a dealer posts before anything is revealed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Dealing {
        /// Root over the shares, in the order of dealers.
        pub shares: Digest,
        /// Hash of the contribution.
        pub commitment: Digest,
    }

    /// A one-time secret and its way to the registered root.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Reveal {
        /// The secret.
        pub secret: [u8; 32],
        /// Its way.
        pub path: Proof,
    }

    /// One dealer's share for another, and its way to the dealing's root.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Share {
        /// The share.
        pub value: [u8; 32],
        /// Its way; the index is the holder's place among the dealers.
        pub path: Proof,
    }

    /// A share under way to its holder.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SealedShare {
        /// A secret for the holder's ML-KEM-768 key.
        pub ciphertext: KemCiphertext,
        /// The share, under a key from that secret, bound to chain, epoch, dealer and holder.
        pub sealed: Blob<SEALED_BYTES_MAX>,
    }
}

/// Where in which beacon a share or reveal belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round<'a> {
    /// The chain.
    pub chain: ChainId,
    /// The epoch whose randomness is made: the one after the epoch in which it is dealt.
    pub epoch: Epoch,
    /// The beacon id of the epoch in which it is dealt.
    pub previous: Digest,
    /// The dealers, in the order of ids.
    pub dealers: &'a [NodeId],
}

/// Why something does not belong to a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBeacon {
    /// The registered secrets do not reach to this epoch.
    #[error("the registered one-time secrets are for epochs {first} to {last}, not {epoch}")]
    NoSecret {
        /// The first epoch that they are for.
        first: Epoch,
        /// The last.
        last: Epoch,
        /// The one wanted.
        epoch: Epoch,
    },
    /// The way leads elsewhere.
    #[error("the one-time secret is not the registered one: {0}")]
    Secret(BadProof),
    /// The way leads elsewhere.
    #[error("the share is not under the dealing's root: {0}")]
    Share(BadProof),
    /// The path is of another dealer or epoch.
    #[error("the path is for place {got}, this is place {expected}")]
    Place {
        /// The place that it is for.
        got: u64,
        /// The place wanted.
        expected: u64,
    },
    /// The contribution is not what was dealt.
    #[error("the contribution does not make the dealing that was posted")]
    Dealing,
    /// The share does not open.
    #[error("the share does not open")]
    NotOpened,
    /// Somebody who deals nothing in this round.
    #[error("node {0} is no dealer of this beacon")]
    NotADealer(NodeId),
}

/// Returns how many dealers may be bad: fewer than a third.
#[must_use]
pub const fn faults(dealers: usize) -> usize {
    dealers.saturating_sub(1) / 3
}

/// Returns how many acknowledgements make a dealing valid, the dealer's own included.
#[must_use]
pub const fn acknowledgements(dealers: usize) -> usize {
    dealers - faults(dealers)
}

/// Returns how many shares reconstruct a contribution.
#[must_use]
pub const fn threshold(dealers: usize) -> usize {
    faults(dealers) + 1
}

/// A node's one-time secrets: all derived from one, with the tree over their hashes.
pub struct OneTimeSecrets {
    seed: SymmetricKey,
    key: BeaconKey,
    tree: Tree,
}

impl OneTimeSecrets {
    /// Derives the secrets for `count` epochs from `first` on from the node's keys.
    #[must_use]
    pub fn new(signer: &dyn Signer, chain: &ChainId, first: Epoch, count: u32) -> Self {
        let purpose = [chain.as_bytes().as_slice(), &first.0.to_be_bytes()].concat();
        let seed = signer.derive(Domain::NodeSecret, &purpose);
        let leaf = |index: u32| leaf(one_time(&seed, first, index).expose());
        let tree = Tree::new((0..count).map(|index| *leaf(index).as_bytes()));
        let key = BeaconKey { root: tree.root(), first, count };
        Self { seed, key, tree }
    }

    /// Returns what is registered.
    #[must_use]
    pub const fn key(&self) -> BeaconKey {
        self.key
    }

    /// Returns the secret of an epoch and its way to the root; nothing for another epoch.
    #[must_use]
    pub fn reveal(&self, epoch: Epoch) -> Option<Reveal> {
        let index = self.key.index(epoch).ok()?;
        let secret = *one_time(&self.seed, self.key.first, index).expose();
        Some(Reveal { secret, path: self.tree.prove(index.into())? })
    }
}

fn one_time(seed: &SymmetricKey, first: Epoch, index: u32) -> SymmetricKey {
    let epoch = first.0.saturating_add(index.into()).to_be_bytes();
    kdf(Domain::BeaconOneTime, seed.expose(), &[&epoch])
}

fn leaf(secret: &[u8; 32]) -> Digest {
    digest(Domain::BeaconLeaf, &[secret])
}

impl BeaconKey {
    /// Returns the place of an epoch's secret.
    ///
    /// # Errors
    /// When there is none for it.
    pub fn index(&self, epoch: Epoch) -> Result<u32, BadBeacon> {
        let Self { first, count, .. } = *self;
        let index = epoch.0.checked_sub(first.0).and_then(|index| u32::try_from(index).ok());
        index.filter(|index| *index < count).ok_or_else(|| {
            let last = Epoch(first.0.saturating_add(count.into()).saturating_sub(1));
            BadBeacon::NoSecret { first, last, epoch }
        })
    }

    /// Checks that a secret is the registered one of an epoch.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, epoch: Epoch, reveal: &Reveal) -> Result<(), BadBeacon> {
        let expected = u64::from(self.index(epoch)?);
        let got = reveal.path.index;
        if got != expected {
            return Err(BadBeacon::Place { got, expected });
        }
        let leaf = leaf(&reveal.secret);
        reveal.path.verify(leaf.as_bytes(), &self.root).map_err(BadBeacon::Secret)
    }
}

/// A contribution with all its shares: a function of the contribution and the number of dealers.
pub struct Dealt {
    secret: [u8; 32],
    shares: Vec<[u8; 32]>,
    tree: Tree,
}

/// Returns what a dealer contributes: SHA-256(`LUX:beacon:s` ‖ one-time secret ‖ beacon before).
#[must_use]
pub fn contribution(one_time: &[u8; 32], previous: &Digest) -> [u8; 32] {
    let joined = [b"LUX:beacon:s".as_slice(), one_time, previous.as_bytes()].concat();
    session_core::sha256(&joined)
}

impl Dealt {
    /// Shares a contribution among `dealers`.
    ///
    /// # Panics
    /// When there are more than [`BEACON_MEMBERS_MAX`] dealers.
    #[must_use]
    pub fn new(contribution: &[u8; 32], dealers: usize) -> Self {
        assert!(dealers <= BEACON_MEMBERS_MAX, "the roster chooses no more");
        let mut coefficients = vec![*contribution];
        for power in 1..threshold(dealers) {
            let power = (power as u64).to_be_bytes();
            let coefficient = kdf(Domain::BeaconCoefficient, contribution, &[&power]);
            coefficients.push(*coefficient.expose());
        }
        let shares: Vec<[u8; 32]> =
            (0..dealers).map(|place| shamir::share(&coefficients, point(place))).collect();
        let tree = Tree::new(&shares);
        Self { secret: *contribution, shares, tree }
    }

    /// Returns what is posted of it.
    #[must_use]
    pub fn dealing(&self) -> Dealing {
        let commitment = digest(Domain::BeaconCommitment, &[&self.secret]);
        Dealing { shares: self.tree.root(), commitment }
    }

    /// Returns the share of the dealer at `place`; nothing beyond the last.
    #[must_use]
    pub fn share(&self, place: usize) -> Option<Share> {
        Some(Share { value: *self.shares.get(place)?, path: self.tree.prove(place as u64)? })
    }
}

// Place 0 must not be point 0: that is the secret.
fn point(place: usize) -> u8 {
    u8::try_from(place + 1).expect("there are at most 64 dealers")
}

impl Dealing {
    /// Checks that this is the dealing of a contribution, all shares included.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, contribution: &[u8; 32], dealers: usize) -> Result<(), BadBeacon> {
        if Dealt::new(contribution, dealers).dealing() == *self {
            Ok(())
        } else {
            Err(BadBeacon::Dealing)
        }
    }

    /// Checks that a share is the one at `place`.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify_share(&self, place: usize, share: &Share) -> Result<(), BadBeacon> {
        let (got, expected) = (share.path.index, place as u64);
        if got != expected {
            return Err(BadBeacon::Place { got, expected });
        }
        share.path.verify(&share.value, &self.shares).map_err(BadBeacon::Share)
    }

    /// Returns the contribution from checked shares and their places: nothing if there are too
    /// few, or the dealing was bad; then no other shares give anything either.
    #[must_use]
    pub fn reconstruct(&self, shares: &[(usize, [u8; 32])], dealers: usize) -> Option<[u8; 32]> {
        let needed = threshold(dealers);
        // A place twice, or beyond the last, would spoil the rest.
        let places: BTreeMap<usize, [u8; 32]> =
            shares.iter().filter(|(place, _)| *place < dealers).copied().collect();
        let points: Vec<(u8, [u8; 32])> =
            places.into_iter().take(needed).map(|(place, share)| (point(place), share)).collect();
        if points.len() < needed {
            return None;
        }
        let secret = shamir::reconstruct(&points);
        self.verify(&secret, dealers).is_ok().then_some(secret)
    }
}

impl Round<'_> {
    /// Returns a dealer's place.
    ///
    /// # Errors
    /// When it is no dealer.
    pub fn place(&self, node: &NodeId) -> Result<usize, BadBeacon> {
        self.dealers.binary_search(node).map_err(|_| BadBeacon::NotADealer(*node))
    }

    fn binding(&self, dealer: &NodeId, holder: &NodeId) -> Vec<u8> {
        let epoch = self.epoch.0.to_be_bytes();
        let parts: [&[u8]; 4] =
            [self.chain.as_bytes(), &epoch, dealer.as_bytes(), holder.as_bytes()];
        parts.concat()
    }

    /// Seals a dealer's share for its holder.
    pub fn seal(
        &self,
        dealer: &dyn Signer,
        holder: (&NodeId, &KemPublicKey),
        share: &Share,
        rng: &mut dyn Entropy,
    ) -> SealedShare {
        let (ciphertext, secret) = dealer.encapsulate(holder.1, rng);
        let binding = self.binding(&dealer.public().node_id(), holder.0);
        let key = kdf(Domain::BeaconShare, secret.expose(), &[&binding]);
        // The key is used once: any nonce will do.
        let sealed = aead::seal(&key, &[0; aead::NONCE_SIZE], &binding, &share.to_bytes());
        let sealed = Blob::new(sealed).expect("a path among 64 dealers has six steps");
        SealedShare { ciphertext, sealed }
    }

    /// Opens a share that a dealer sealed for this holder.
    ///
    /// # Errors
    /// When it was made for another chain, epoch, dealer or holder, or was altered.
    pub fn open(
        &self,
        holder: &dyn Signer,
        dealer: &NodeId,
        sealed: &SealedShare,
    ) -> Result<Share, BadBeacon> {
        use session_core::Decode as _;
        let secret = holder.decapsulate(&sealed.ciphertext);
        let binding = self.binding(dealer, &holder.public().node_id());
        let key = kdf(Domain::BeaconShare, secret.expose(), &[&binding]);
        let opened = aead::open(&key, &[0; aead::NONCE_SIZE], &binding, &sealed.sealed);
        let opened = opened.map_err(|_| BadBeacon::NotOpened)?;
        Share::decode_exact(&opened).map_err(|_| BadBeacon::NotOpened)
    }
}

/// Returns the randomness that accepted contributions make, in the order of dealers.
///
/// A hash and not a sum: a copied contribution cancels nothing.
#[must_use]
pub fn output(epoch: Epoch, contributions: &[[u8; 32]]) -> Digest {
    let epoch = epoch.0.to_be_bytes();
    let parts: Vec<&[u8]> = core::iter::once(epoch.as_slice())
        .chain(contributions.iter().map(<[u8; 32]>::as_slice))
        .collect();
    digest(Domain::BeaconOutput, &parts)
}

/// Returns the randomness of an epoch to which nobody contributed anything.
#[must_use]
pub fn degraded(epoch: Epoch, previous: &Digest) -> Digest {
    digest(Domain::BeaconDegraded, &[&epoch.0.to_be_bytes(), previous.as_bytes()])
}
