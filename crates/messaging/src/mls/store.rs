//! What the library keeps, in the vault.
//!
//! Writes are held back until the call has succeeded: a call that fails has changed nothing.
//! Everything of a group lies under one prefix. Values are MessagePack with named fields, because
//! the library's types want a format that describes itself.
//!
//! Beside them a group has a *stamp*: the digest of everything that was written to it so far. It
//! changes with the transaction, so whoever remembers the stamp knows whether the vault still holds
//! what it held then. Which commit waits to be accepted is no part of it.

use core::cell::RefCell;
use std::collections::BTreeMap;

use openmls::group::GroupId;
use openmls_traits::storage::{CURRENT_VERSION as V, Entity, Key, StorageProvider, traits};
use rmp_serde::config::BytesMode;
use serde::Serialize;
use session_core::{Blob, Decode as _, Digest, Domain, Encode as _, List, digest};
use zeroize::Zeroizing;

use super::secrets::{self, Index};
use crate::vault::{Table, Vault};

/// What a key of the table is about.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Group = 1,
    KeyPackage = 2,
    Encryption = 3,
}

/// What of a group.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Part {
    Config = 1,
    OwnLeafNodes = 2,
    Proposals = 3,
    Tree = 4,
    Transcript = 5,
    Context = 6,
    ConfirmationTag = 7,
    State = 8,
    MessageSecrets = 9,
    Resumption = 10,
    OwnLeaf = 11,
    EpochSecrets = 12,
    ExportTree = 13,
    EpochKeys = 14,
    Staged = 15,
    Stamp = 16,
}

/// Bytes of a key package's reference: a SHA-384.
const REFERENCE_FULL: usize = 48;

/// How many of them we use: as many as a digest has.
const REFERENCE: usize = 32;

/// Why the vault could not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("a stored value cannot be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("a stored value cannot be read: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("a stored list cannot be read: {0}")]
    List(#[from] session_core::DecodeError),
    #[error("the library keeps {0}, which is not foreseen")]
    Unforeseen(&'static str),
}

pub(super) type Value = Zeroizing<Vec<u8>>;
type Pieces = List<Blob<{ 1 << 24 }>, { 1 << 16 }>;

/// What a call wants to change in the vault; `None` removes.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Value>>;

/// A view of the vault with the changes of a call.
pub(super) struct Store<'a> {
    vault: &'a dyn Vault,
    changes: RefCell<Changes>,
}

/// Returns the prefix of everything of a group.
pub(super) fn group_prefix(group: &[u8]) -> Vec<u8> {
    let mut key = Table::Mls.key(&[&[Kind::Group as u8]]);
    key.extend_from_slice(&encode(&GroupId::from_slice(group)).expect("a group id is bytes"));
    key
}

/// Returns the key of the message whose commit waits to be accepted.
pub(super) fn staged_key(group: &[u8]) -> Vec<u8> {
    [&group_prefix(group)[..], &[Part::Staged as u8]].concat()
}

fn stamp_key(group: &[u8]) -> Vec<u8> {
    [&group_prefix(group)[..], &[Part::Stamp as u8]].concat()
}

/// Returns the stamp of a group, which it has from its first change on.
pub(super) fn stamp(vault: &dyn Vault, group: &[u8]) -> Option<Digest> {
    crate::vault::load(vault, &stamp_key(group))
}

/// Writes what a call changed. Returns the stamp of the group afterwards; `None` if it was
/// forgotten.
pub(super) fn write(vault: &mut dyn Vault, group: &[u8], changes: Changes) -> Option<Digest> {
    let before = stamp(vault, group);
    let (prefix, staged, key) = (group_prefix(group), staged_key(group), stamp_key(group));
    if changes.contains_key(&key) {
        apply(vault, changes);
        return None;
    }
    let mut parts: Vec<&[u8]> = vec![before.as_ref().map_or(&[], Digest::as_ref)];
    for (key, value) in &changes {
        if key.starts_with(&prefix) && *key != staged {
            match value {
                Some(value) => parts.extend([&key[..], &[1], value]),
                None => parts.extend([&key[..], &[0], &[]]),
            }
        }
    }
    let changed = (parts.len() > 1).then(|| digest(Domain::MlsState, &parts));
    apply(vault, changes);
    if let Some(after) = &changed {
        crate::vault::save(vault, &key, after);
    }
    changed.or(before)
}

/// Writes what a call changed that is about no group.
pub(super) fn apply(vault: &mut dyn Vault, changes: Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => vault.put(&key, &value),
            None => vault.remove(&key),
        }
    }
}

/// Returns the key of a key package's private half.
pub(super) fn key_package_key(reference: &[u8]) -> Vec<u8> {
    let reference = &reference[..reference.len().min(REFERENCE)];
    Table::Mls.key(&[&[Kind::KeyPackage as u8], reference])
}

impl<'a> Store<'a> {
    pub(super) fn new(vault: &'a dyn Vault) -> Self {
        Self { vault, changes: RefCell::default() }
    }

    /// Returns what the call wants to change.
    pub(super) fn into_changes(self) -> Changes {
        self.changes.into_inner()
    }

    /// Takes back what the call wanted to change, and returns it.
    pub(super) fn take(&self) -> Changes {
        self.changes.take()
    }

    /// Wants to change what an earlier call wanted.
    pub(super) fn give(&self, changes: Changes) {
        self.changes.borrow_mut().extend(changes);
    }

    /// Keeps or forgets a message whose commit waits to be accepted.
    pub(super) fn stage(&self, group: &[u8], message: Option<&[u8]>) {
        self.set(staged_key(group), message.map(|it| Zeroizing::new(it.to_vec())));
    }

    /// Returns the message whose commit waits to be accepted.
    pub(super) fn staged(&self, group: &[u8]) -> Option<Value> {
        self.get(&staged_key(group))
    }

    /// Removes everything of a group.
    pub(super) fn forget(&self, group: &[u8]) {
        let prefix = group_prefix(group);
        let mut keys: Vec<_> = entries(self.vault, &prefix).into_iter().map(|it| it.0).collect();
        let mut changes = self.changes.borrow_mut();
        keys.extend(changes.keys().filter(|key| key.starts_with(&prefix)).cloned());
        changes.extend(keys.into_iter().map(|key| (key, None)));
    }

    fn get(&self, key: &[u8]) -> Option<Value> {
        match self.changes.borrow().get(key) {
            Some(changed) => changed.clone(),
            None => self.vault.get(key).map(Zeroizing::new),
        }
    }

    fn set(&self, key: Vec<u8>, value: Option<Value>) {
        self.changes.borrow_mut().insert(key, value);
    }

    fn load<T: Entity<V>>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(key).map(|bytes| Ok(rmp_serde::from_slice(&bytes)?)).transpose()
    }

    fn save<T: Entity<V>>(&self, key: Vec<u8>, value: &T) -> Result<(), StoreError> {
        self.set(key, Some(Zeroizing::new(encode(value)?)));
        Ok(())
    }

    /// Returns into which pieces the message secrets of a group are taken apart.
    fn index(&self, key: &[u8]) -> Result<Index, StoreError> {
        match self.get(key) {
            Some(bytes) => Ok(Index::decode_exact(&bytes)?),
            None => Ok(Index::default()),
        }
    }

    fn pieces(&self, key: &[u8]) -> Result<Vec<Blob<{ 1 << 24 }>>, StoreError> {
        match self.get(key) {
            Some(bytes) => Ok(Pieces::decode_exact(&bytes)?.into_iter().collect()),
            None => Ok(Vec::new()),
        }
    }

    fn save_pieces(&self, key: Vec<u8>, pieces: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let unforeseen = StoreError::Unforeseen("a list that long");
        let blobs: Result<Vec<_>, _> = pieces.into_iter().map(Blob::new).collect();
        let list = blobs.ok().and_then(|blobs| Pieces::new(blobs).ok()).ok_or(unforeseen)?;
        self.set(key, Some(Zeroizing::new(list.to_bytes())));
        Ok(())
    }

    fn append(&self, key: Vec<u8>, piece: Vec<u8>) -> Result<(), StoreError> {
        let mut pieces: Vec<_> = self.pieces(&key)?.into_iter().map(|it| it.to_vec()).collect();
        pieces.push(piece);
        self.save_pieces(key, pieces)
    }
}

/// Returns the entries under a prefix.
pub(super) fn entries(vault: &dyn Vault, prefix: &[u8]) -> Vec<(Vec<u8>, Value)> {
    let mut found = Vec::new();
    vault.scan(prefix, &[], false, &mut |key, value| {
        found.push((key.to_vec(), Zeroizing::new(value.to_vec())));
        true
    });
    found
}

/// Encodes as the library's types are kept.
pub(super) fn encode<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut out = Vec::new();
    let to = rmp_serde::Serializer::new(&mut out).with_struct_map();
    value.serialize(&mut to.with_bytes(BytesMode::ForceIterables))?;
    Ok(out)
}

/// Returns the key of a part of a group.
fn part<T: Key<V>>(group: &T, part: Part) -> Result<Vec<u8>, StoreError> {
    let mut key = Table::Mls.key(&[&[Kind::Group as u8]]);
    key.extend_from_slice(&encode(group)?);
    key.push(part as u8);
    Ok(key)
}

/// Returns the key of the private keys of an epoch.
fn epoch_keys<G: Key<V>, E: Key<V>>(
    group: &G,
    epoch: &E,
    leaf: u32,
) -> Result<Vec<u8>, StoreError> {
    let mut key = part(group, Part::EpochKeys)?;
    key.extend_from_slice(&encode(epoch)?);
    key.extend_from_slice(&leaf.to_be_bytes());
    Ok(key)
}

/// Returns the key of a private key that belongs to no epoch yet.
fn encryption_key<T: Key<V>>(public: &T) -> Result<Vec<u8>, StoreError> {
    Ok(Table::Mls.key(&[&[Kind::Encryption as u8], &encode(public)?]))
}

/// Returns the key of a key package, whose reference is encoded as a map with one byte string: the
/// last bytes are those of the reference.
fn key_package<T: Key<V>>(reference: &T) -> Result<Vec<u8>, StoreError> {
    let encoded = encode(reference)?;
    let start = encoded.len().checked_sub(REFERENCE_FULL);
    let start = start.ok_or(StoreError::Unforeseen("a short reference"))?;
    Ok(key_package_key(&encoded[start..]))
}

/// Values of which a group has one: written, read, removed.
macro_rules! group_values {
    ($($part:ident: $kind:ident => $write:ident, $read:ident, $delete:ident;)*) => {$(
        fn $write<G: traits::GroupId<V>, T: traits::$kind<V>>(
            &self,
            group: &G,
            value: &T,
        ) -> Result<(), StoreError> {
            self.save(part(group, Part::$part)?, value)
        }

        fn $read<G: traits::GroupId<V>, T: traits::$kind<V>>(
            &self,
            group: &G,
        ) -> Result<Option<T>, StoreError> {
            self.load(&part(group, Part::$part)?)
        }

        group_values!(@delete $delete $part);
    )*};
    // Some have no method that removes them alone.
    (@delete none $part:ident) => {};
    (@delete $delete:ident $part:ident) => {
        fn $delete<G: traits::GroupId<V>>(&self, group: &G) -> Result<(), StoreError> {
            self.set(part(group, Part::$part)?, None);
            Ok(())
        }
    };
}

impl StorageProvider<V> for Store<'_> {
    type Error = StoreError;

    group_values! {
        Config: MlsGroupJoinConfig =>
            write_mls_join_config, mls_group_join_config, delete_group_config;
        Tree: TreeSync =>
            write_tree, tree, delete_tree;
        Transcript: InterimTranscriptHash =>
            write_interim_transcript_hash, interim_transcript_hash, delete_interim_transcript_hash;
        Context: GroupContext =>
            write_context, group_context, delete_context;
        ConfirmationTag: ConfirmationTag =>
            write_confirmation_tag, confirmation_tag, delete_confirmation_tag;
        Resumption: ResumptionPskStore =>
            write_resumption_psk_store, resumption_psk_store, delete_all_resumption_psk_secrets;
        OwnLeaf: LeafNodeIndex =>
            write_own_leaf_index, own_leaf_index, delete_own_leaf_index;
        EpochSecrets: GroupEpochSecrets =>
            write_group_epoch_secrets, group_epoch_secrets, delete_group_epoch_secrets;
        ExportTree: ApplicationExportTree =>
            write_application_export_tree, application_export_tree, none;
    }

    fn delete_application_export_tree<
        G: traits::GroupId<V>,
        T: traits::ApplicationExportTree<V>,
    >(
        &self,
        group: &G,
    ) -> Result<(), StoreError> {
        self.set(part(group, Part::ExportTree)?, None);
        Ok(())
    }

    fn write_message_secrets<G: traits::GroupId<V>, T: traits::MessageSecrets<V>>(
        &self,
        group: &G,
        value: &T,
    ) -> Result<(), StoreError> {
        let key = part(group, Part::MessageSecrets)?;
        let before = self.index(&key)?;
        let after = secrets::split(value, &before, |piece, value| {
            self.set(piece.key(&key), value);
        })?;
        if after != before {
            self.set(key, Some(Zeroizing::new(after.to_bytes())));
        }
        Ok(())
    }

    fn message_secrets<G: traits::GroupId<V>, T: traits::MessageSecrets<V>>(
        &self,
        group: &G,
    ) -> Result<Option<T>, StoreError> {
        let key = part(group, Part::MessageSecrets)?;
        let whole = secrets::join(&self.index(&key)?, |piece| self.get(&piece.key(&key)));
        whole.map(|bytes| Ok(rmp_serde::from_slice(&bytes)?)).transpose()
    }

    fn delete_message_secrets<G: traits::GroupId<V>>(&self, group: &G) -> Result<(), StoreError> {
        let key = part(group, Part::MessageSecrets)?;
        for piece in self.index(&key)?.pieces() {
            self.set(piece.key(&key), None);
        }
        self.set(key, None);
        Ok(())
    }

    fn write_group_state<T: traits::GroupState<V>, G: traits::GroupId<V>>(
        &self,
        group: &G,
        value: &T,
    ) -> Result<(), StoreError> {
        self.save(part(group, Part::State)?, value)
    }

    fn group_state<T: traits::GroupState<V>, G: traits::GroupId<V>>(
        &self,
        group: &G,
    ) -> Result<Option<T>, StoreError> {
        self.load(&part(group, Part::State)?)
    }

    fn delete_group_state<G: traits::GroupId<V>>(&self, group: &G) -> Result<(), StoreError> {
        self.set(part(group, Part::State)?, None);
        Ok(())
    }

    fn append_own_leaf_node<G: traits::GroupId<V>, T: traits::LeafNode<V>>(
        &self,
        group: &G,
        leaf: &T,
    ) -> Result<(), StoreError> {
        self.append(part(group, Part::OwnLeafNodes)?, encode(leaf)?)
    }

    fn own_leaf_nodes<G: traits::GroupId<V>, T: traits::LeafNode<V>>(
        &self,
        group: &G,
    ) -> Result<Vec<T>, StoreError> {
        let pieces = self.pieces(&part(group, Part::OwnLeafNodes)?)?;
        pieces.iter().map(|piece| Ok(rmp_serde::from_slice(piece)?)).collect()
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<V>>(&self, group: &G) -> Result<(), StoreError> {
        self.set(part(group, Part::OwnLeafNodes)?, None);
        Ok(())
    }

    // Proposals lie in a list: reference, proposal, reference, proposal.
    fn queue_proposal<
        G: traits::GroupId<V>,
        R: traits::ProposalRef<V>,
        T: traits::QueuedProposal<V>,
    >(
        &self,
        group: &G,
        reference: &R,
        proposal: &T,
    ) -> Result<(), StoreError> {
        let key = part(group, Part::Proposals)?;
        self.append(key.clone(), encode(reference)?)?;
        self.append(key, encode(proposal)?)
    }

    fn queued_proposal_refs<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        group: &G,
    ) -> Result<Vec<R>, StoreError> {
        let pieces = self.pieces(&part(group, Part::Proposals)?)?;
        pieces.iter().step_by(2).map(|piece| Ok(rmp_serde::from_slice(piece)?)).collect()
    }

    fn queued_proposals<
        G: traits::GroupId<V>,
        R: traits::ProposalRef<V>,
        T: traits::QueuedProposal<V>,
    >(
        &self,
        group: &G,
    ) -> Result<Vec<(R, T)>, StoreError> {
        let pieces = self.pieces(&part(group, Part::Proposals)?)?;
        let pair = |pair: &[Blob<_>]| {
            Ok((rmp_serde::from_slice(&pair[0])?, rmp_serde::from_slice(&pair[1])?))
        };
        pieces.chunks_exact(2).map(pair).collect()
    }

    fn remove_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        group: &G,
        reference: &R,
    ) -> Result<(), StoreError> {
        let key = part(group, Part::Proposals)?;
        let gone = encode(reference)?;
        let pieces = self.pieces(&key)?;
        let left = pieces.chunks_exact(2).filter(|pair| *pair[0] != *gone);
        self.save_pieces(key, left.flatten().map(|piece| piece.to_vec()).collect())
    }

    fn clear_proposal_queue<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        group: &G,
    ) -> Result<(), StoreError> {
        self.set(part(group, Part::Proposals)?, None);
        Ok(())
    }

    fn write_encryption_key_pair<K: traits::EncryptionKey<V>, T: traits::HpkeKeyPair<V>>(
        &self,
        public: &K,
        pair: &T,
    ) -> Result<(), StoreError> {
        self.save(encryption_key(public)?, pair)
    }

    fn encryption_key_pair<T: traits::HpkeKeyPair<V>, K: traits::EncryptionKey<V>>(
        &self,
        public: &K,
    ) -> Result<Option<T>, StoreError> {
        self.load(&encryption_key(public)?)
    }

    fn delete_encryption_key_pair<K: traits::EncryptionKey<V>>(
        &self,
        public: &K,
    ) -> Result<(), StoreError> {
        self.set(encryption_key(public)?, None);
        Ok(())
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<V>,
        E: traits::EpochKey<V>,
        T: traits::HpkeKeyPair<V>,
    >(
        &self,
        group: &G,
        epoch: &E,
        leaf: u32,
        pairs: &[T],
    ) -> Result<(), StoreError> {
        let pieces: Result<_, _> = pairs.iter().map(encode).collect();
        self.save_pieces(epoch_keys(group, epoch, leaf)?, pieces?)
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<V>,
        E: traits::EpochKey<V>,
        T: traits::HpkeKeyPair<V>,
    >(
        &self,
        group: &G,
        epoch: &E,
        leaf: u32,
    ) -> Result<Vec<T>, StoreError> {
        let pieces = self.pieces(&epoch_keys(group, epoch, leaf)?)?;
        pieces.iter().map(|piece| Ok(rmp_serde::from_slice(piece)?)).collect()
    }

    fn delete_encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>>(
        &self,
        group: &G,
        epoch: &E,
        leaf: u32,
    ) -> Result<(), StoreError> {
        self.set(epoch_keys(group, epoch, leaf)?, None);
        Ok(())
    }

    fn write_key_package<R: traits::HashReference<V>, T: traits::KeyPackage<V>>(
        &self,
        reference: &R,
        package: &T,
    ) -> Result<(), StoreError> {
        self.save(key_package(reference)?, package)
    }

    fn key_package<R: traits::HashReference<V>, T: traits::KeyPackage<V>>(
        &self,
        reference: &R,
    ) -> Result<Option<T>, StoreError> {
        self.load(&key_package(reference)?)
    }

    // The library removes a package before it has looked at the welcome; when a package has served
    // is decided by whoever published it.
    fn delete_key_package<R: traits::HashReference<V>>(&self, _: &R) -> Result<(), StoreError> {
        Ok(())
    }

    // Signing keys come from seeds that are kept elsewhere.
    fn write_signature_key_pair<
        K: traits::SignaturePublicKey<V>,
        T: traits::SignatureKeyPair<V>,
    >(
        &self,
        _: &K,
        _: &T,
    ) -> Result<(), StoreError> {
        Err(StoreError::Unforeseen("a signing key"))
    }

    fn signature_key_pair<K: traits::SignaturePublicKey<V>, T: traits::SignatureKeyPair<V>>(
        &self,
        _: &K,
    ) -> Result<Option<T>, StoreError> {
        Ok(None)
    }

    fn delete_signature_key_pair<K: traits::SignaturePublicKey<V>>(
        &self,
        _: &K,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    // Secrets shared beforehand are not used.
    fn write_psk<K: traits::PskId<V>, T: traits::PskBundle<V>>(
        &self,
        _: &K,
        _: &T,
    ) -> Result<(), StoreError> {
        Err(StoreError::Unforeseen("a pre-shared key"))
    }

    fn psk<T: traits::PskBundle<V>, K: traits::PskId<V>>(
        &self,
        _: &K,
    ) -> Result<Option<T>, StoreError> {
        Ok(None)
    }

    fn delete_psk<K: traits::PskId<V>>(&self, _: &K) -> Result<(), StoreError> {
        Ok(())
    }
}
