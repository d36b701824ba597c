//! [`OpenMls`]: key agreement over the library of that name.

use openmls::credentials::CredentialWithKey;
use openmls::framing::errors::MessageDecryptionError;
use openmls::group::{
    self, MlsGroup, ProcessMessageError, SafeExportSecretError, StagedCommit, StagedWelcome,
    ValidationError, WelcomeError,
};
use openmls::key_packages::KeyPackage;
use openmls::messages::proposals::Proposal;
use openmls::prelude::{
    LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, ProcessedMessage,
    ProcessedMessageContent, ProtocolMessage, ProtocolVersion, RatchetTreeIn, Sender,
};
use session_core::{Blob, Decode as _, Digest, Encode as _, List, record};
use session_crypto::DsaPublicKey;
use tls_codec::{Deserialize as _, Serialize as _};
use zeroize::Zeroizing;

use super::cache::{Ahead, Cache, Loaded};
use super::provider::{Crypto, Provider};
use super::store::{self, StoreError};
use super::{
    CHAIN_COMPONENT, Change, Credential, DeviceKey, Doors, EpochInfo, KeyAgreement, Made, MlsError,
    Processed, Summary, Welcomed, rules,
};
use crate::Secret;
use crate::group::Agreed;
use crate::say::GroupId;
use crate::vault::Vault;

/// Key agreement over `openmls`. Groups used last stay in memory, about 20 MB of them at most; what
/// the vault holds is what counts, also after a transaction was dropped. One may serve several
/// vaults, but remembers of each group only what the last of them holds.
#[derive(Default)]
pub struct OpenMls {
    pub(super) cache: Cache,
}

impl core::fmt::Debug for OpenMls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpenMls").finish_non_exhaustive()
    }
}

record! {
    /// An entry of a snapshot: what follows the prefix of the group, and the value.
    struct Entry {
        rest: Blob<256>,
        value: Blob<{ 1 << 28 }>,
    }
}

type Snapshot = List<Entry, { 1 << 16 }>;

/// Which groups in memory serve, and when one serves again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// As the vault holds it. Afterwards if the call succeeds.
    Change,
    /// As the vault holds it. Afterwards also if the call fails and wanted nothing changed: when it
    /// opens a message, the library changes in memory only what it writes as well.
    Open,
    /// Ahead of the vault, too.
    Accept,
}

impl OpenMls {
    /// Makes one.
    #[must_use]
    pub const fn new() -> Self {
        Self { cache: Cache::new() }
    }

    /// Runs a call of the library on a group, and writes what it changed once it has succeeded.
    fn on<T>(
        &self,
        d: &mut Doors<'_>,
        group: &GroupId,
        usage: Use,
        call: impl FnOnce(&Provider<'_>, &mut Loaded) -> Result<T, MlsError>,
    ) -> Result<T, MlsError> {
        let provider = Provider::new(&*d.vault, d.rng.bytes32());
        let stamp = store::stamp(&*d.vault, &group.bytes);
        let cached = self.cache.take(group, stamp.as_ref());
        let cached = cached.filter(|it| it.ahead.is_none() || usage == Use::Accept);
        let mut loaded = match cached {
            Some(loaded) => loaded,
            None => Loaded { group: load(&provider, group)?, ahead: None },
        };
        let result = call(&provider, &mut loaded);
        let changes = provider.into_store().into_changes();
        let stamp = match &result {
            Ok(_) => store::write(d.vault, &group.bytes, changes),
            Err(_) => stamp.filter(|_| usage == Use::Open && changes.is_empty()),
        };
        if let Some(stamp) = stamp {
            self.cache.put(group, stamp, loaded);
        }
        result
    }

    /// Looks at a group, but not at secrets of messages: in these alone it may be ahead of the
    /// vault.
    fn look<T>(
        &self,
        vault: &dyn Vault,
        group: &GroupId,
        look: impl FnOnce(&Provider<'_>, &MlsGroup) -> Result<T, MlsError>,
    ) -> Result<T, MlsError> {
        let provider = Provider::new(vault, [0; 32]); // nothing is drawn
        let stamp = store::stamp(vault, &group.bytes);
        let loaded = match self.cache.take(group, stamp.as_ref()) {
            Some(loaded) => loaded,
            None => Loaded { group: load(&provider, group)?, ahead: None },
        };
        let result = look(&provider, &loaded.group);
        if let Some(stamp) = stamp {
            self.cache.put(group, stamp, loaded);
        }
        result
    }

    /// Writes a group that begins.
    fn begun(&self, d: &mut Doors<'_>, group: &GroupId, begun: MlsGroup, changes: store::Changes) {
        if let Some(stamp) = store::write(d.vault, &group.bytes, changes) {
            self.cache.put(group, stamp, Loaded { group: begun, ahead: None });
        }
    }
}

fn library_id(group: &GroupId) -> group::GroupId {
    group::GroupId::from_slice(&group.bytes)
}

fn load(provider: &Provider<'_>, group: &GroupId) -> Result<MlsGroup, MlsError> {
    MlsGroup::load(provider.store(), &library_id(group))
        .map_err(MlsError::internal)?
        .ok_or(MlsError::NoGroup)
}

/// Reads a message from its first byte to its last.
fn message(what: &'static str, bytes: &[u8]) -> Result<MlsMessageBodyIn, MlsError> {
    MlsMessageIn::tls_deserialize_exact(bytes)
        .map(MlsMessageIn::extract)
        .map_err(|why| MlsError::malformed(what, why))
}

fn bytes_of(message: &MlsMessageOut) -> Result<Vec<u8>, MlsError> {
    message.to_bytes().map_err(MlsError::internal)
}

/// The library's hashes and secrets have 48 bytes; the first 32 serve.
fn first<const N: usize>(bytes: &[u8]) -> Result<[u8; N], MlsError> {
    bytes
        .first_chunk()
        .copied()
        .ok_or_else(|| MlsError::internal("the library's hash is too short"))
}

fn reference(package: &KeyPackage, crypto: &Crypto) -> Result<Digest, MlsError> {
    let reference = package.hash_ref(crypto).map_err(MlsError::internal)?;
    Ok(Digest::from(first(reference.as_slice())?))
}

fn validated(bytes: &[u8], crypto: &Crypto) -> Result<KeyPackage, MlsError> {
    const WHAT: &str = "a key package";
    let MlsMessageBodyIn::KeyPackage(package) = message(WHAT, bytes)? else {
        return Err(MlsError::malformed(WHAT, "it is a message of another kind"));
    };
    package.validate(crypto, ProtocolVersion::Mls10).map_err(|why| MlsError::refused(WHAT, why))
}

impl KeyAgreement for OpenMls {
    fn key_package(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        who: &Credential,
    ) -> Result<(Vec<u8>, Digest), MlsError> {
        let provider = Provider::new(&*d.vault, d.rng.bytes32());
        let bundle = KeyPackage::builder()
            .key_package_lifetime(rules::lifetime())
            .leaf_node_capabilities(rules::capabilities())
            .build(rules::CIPHERSUITE, &provider, &provider.signer(me), rules::credential(me, who))
            .map_err(MlsError::internal)?;
        let package = bundle.key_package().clone();
        let reference = reference(&package, provider.crypto())?;
        let bytes = bytes_of(&MlsMessageOut::from(package))?;
        let changes = provider.into_store().into_changes();
        store::apply(d.vault, changes);
        Ok((bytes, reference))
    }

    fn forget_key_package(&self, d: &mut Doors<'_>, reference: &Digest) {
        d.vault.remove(&store::key_package_key(reference.as_ref()));
    }

    fn read_key_package(&self, bytes: &[u8]) -> Result<(Credential, Digest, Digest), MlsError> {
        let crypto = Crypto::new([0; 32]); // nothing is drawn
        let package = validated(bytes, &crypto)?;
        let (credential, key_hash) = rules::key_package(&package)?;
        Ok((credential, key_hash, reference(&package, &crypto)?))
    }

    fn signing_key(&self, key_package: &[u8]) -> Option<DsaPublicKey> {
        let package = validated(key_package, &Crypto::new([0; 32])).ok()?; // nothing is drawn
        DsaPublicKey::try_from(package.leaf_node().signature_key().as_slice()).ok()
    }

    fn create(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        who: &Credential,
        group: &GroupId,
        agreed: &Agreed,
    ) -> Result<(), MlsError> {
        let provider = Provider::new(&*d.vault, d.rng.bytes32());
        if load(&provider, group).is_ok() {
            return Err(MlsError::Exists(*group));
        }
        let config = rules::create_config(agreed)?;
        let credential: CredentialWithKey = rules::credential(me, who);
        let (id, signer) = (library_id(group), provider.signer(me));
        let made = MlsGroup::new_with_group_id(&provider, &signer, &config, id, credential)
            .map_err(MlsError::internal)?;
        let changes = provider.into_store().into_changes();
        self.begun(d, group, made, changes);
        Ok(())
    }

    fn join(&self, d: &mut Doors<'_>, welcome: &[u8], tree: &[u8]) -> Result<Welcomed, MlsError> {
        const WHAT: &str = "a welcome";
        let MlsMessageBodyIn::Welcome(welcome) = message(WHAT, welcome)? else {
            return Err(MlsError::malformed(WHAT, "it is a message of another kind"));
        };
        let tree = RatchetTreeIn::tls_deserialize_exact(tree)
            .map_err(|why| MlsError::malformed("a ratchet tree", why))?;
        let provider = Provider::new(&*d.vault, d.rng.bytes32());
        let refused = |why: WelcomeError<StoreError>| match why {
            WelcomeError::NoMatchingKeyPackage => MlsError::NoKeyPackage,
            WelcomeError::StorageError(why) => MlsError::internal(why),
            why => MlsError::refused(WHAT, why),
        };
        let builder = StagedWelcome::build_from_welcome(&provider, &rules::join_config(), welcome)
            .map_err(refused)?;
        let processed = builder.processed_welcome();
        let id = processed.unverified_group_info().group_id().as_slice();
        let id: [u8; 32] =
            id.try_into().map_err(|_| MlsError::refused(WHAT, "its group id is not ours"))?;
        let group = GroupId { bytes: id };
        let package = processed.own_key_package().ok_or(MlsError::NoKeyPackage)?;
        let key_package = reference(package, provider.crypto())?;
        if load(&provider, &group).is_ok() {
            return Err(MlsError::Exists(group));
        }
        let staged =
            builder.with_ratchet_tree(tree).skip_lifetime_validation().build().map_err(refused)?;
        let by = staged.welcome_sender_index().u32();
        let joined = staged.into_group(&provider).map_err(refused)?;
        described(&joined)?;
        let changes = provider.into_store().into_changes();
        self.begun(d, &group, joined, changes);
        Ok(Welcomed { group, key_package, by })
    }

    fn info(&self, vault: &dyn Vault, group: &GroupId) -> Option<EpochInfo> {
        self.look(vault, group, |_, group| described(group)).ok()
    }

    fn commit(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        group: &GroupId,
        change: &Change,
    ) -> Result<Made, MlsError> {
        self.on(d, group, Use::Change, |provider, Loaded { group, .. }| {
            if group.pending_commit().is_some() {
                return Err(MlsError::Pending);
            }
            commit(provider, me, group, change)
        })
    }

    fn merge(&self, d: &mut Doors<'_>, group: &GroupId) -> Result<(), MlsError> {
        self.on(d, group, Use::Change, |provider, loaded| {
            if loaded.group.pending_commit().is_none() {
                return Err(MlsError::NothingPending);
            }
            loaded.group.merge_pending_commit(provider).map_err(MlsError::internal)?;
            provider.store().stage(&group.bytes, None);
            Ok(())
        })
    }

    fn discard(&self, d: &mut Doors<'_>, group: &GroupId) {
        // Without a group, nothing is pending.
        let _ = self.on(d, group, Use::Change, |provider, Loaded { group, .. }| {
            group.clear_pending_commit(provider.store()).map_err(MlsError::internal)
        });
    }

    fn leave(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        group: &GroupId,
    ) -> Result<Vec<u8>, MlsError> {
        self.on(d, group, Use::Change, |provider, Loaded { group, .. }| {
            if group.pending_commit().is_some() {
                return Err(MlsError::Pending);
            }
            let proposal =
                group.leave_group(provider, &provider.signer(me)).map_err(MlsError::internal)?;
            // A proposal that is kept would stop us from talking until somebody commits it.
            group.clear_pending_proposals(provider.store()).map_err(MlsError::internal)?;
            bytes_of(&proposal)
        })
    }

    fn is_handshake(&self, bytes: &[u8]) -> bool {
        match message("a message", bytes) {
            Ok(MlsMessageBodyIn::PrivateMessage(private)) => {
                ProtocolMessage::from(private).is_handshake_message()
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn process(
        &self,
        d: &mut Doors<'_>,
        group: &GroupId,
        message: &[u8],
    ) -> Result<Processed, MlsError> {
        self.on(d, group, Use::Open, |provider, loaded| {
            match open(provider, &mut loaded.group, message)? {
                Opened::Other(processed) => Ok(processed),
                Opened::Commit(summary, staged) => {
                    // What the commit used up is written once it is accepted.
                    let changes = provider.store().take();
                    provider.store().stage(&group.bytes, Some(message));
                    let (message, processed) = (message.to_vec(), summary.clone());
                    loaded.ahead = Some(Ahead { message, summary, staged, changes });
                    Ok(Processed::Commit(processed))
                }
            }
        })
    }

    fn accept(&self, d: &mut Doors<'_>, group: &GroupId) -> Result<(), MlsError> {
        self.on(d, group, Use::Accept, |provider, loaded| {
            let message = provider.store().staged(&group.bytes).ok_or(MlsError::NothingPending)?;
            let (summary, staged) = processed(provider, loaded, group, &message)?;
            loaded.group.merge_staged_commit(provider, *staged).map_err(MlsError::internal)?;
            provider.store().stage(&group.bytes, None);
            if summary.removes_me {
                provider.store().forget(&group.bytes);
            }
            Ok(())
        })
    }

    fn refuse(&self, d: &mut Doors<'_>, group: &GroupId) {
        d.vault.remove(&store::staged_key(&group.bytes));
    }

    fn encrypt(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        group: &GroupId,
        plain: &[u8],
    ) -> Result<Vec<u8>, MlsError> {
        self.on(d, group, Use::Change, |provider, Loaded { group, .. }| {
            let message = group
                .create_message(provider, &provider.signer(me), plain)
                .map_err(MlsError::internal)?;
            bytes_of(&message)
        })
    }

    fn export(&self, d: &mut Doors<'_>, group: &GroupId, label: &str) -> Result<Secret, MlsError> {
        self.look(&*d.vault, group, |provider, group| {
            let secret = group
                .export_secret(provider.crypto(), label, &[], 32)
                .map_err(MlsError::internal)?;
            Ok(Secret::from(first(&Zeroizing::new(secret))?))
        })
    }

    fn export_once(&self, d: &mut Doors<'_>, group: &GroupId) -> Result<Secret, MlsError> {
        self.on(d, group, Use::Change, |provider, Loaded { group, .. }| {
            let secret = group
                .safe_export_secret(provider.crypto(), provider.store(), CHAIN_COMPONENT)
                .map_err(|why| match why {
                    SafeExportSecretError::ApplicationExportTree(_) => MlsError::Exported,
                    why => MlsError::internal(why),
                })?;
            Ok(Secret::from(first(&Zeroizing::new(secret))?))
        })
    }

    fn snapshot(&self, vault: &dyn Vault, group: &GroupId) -> Zeroizing<Vec<u8>> {
        let prefix = store::group_prefix(&group.bytes);
        let entry = |(key, value): (Vec<u8>, Zeroizing<Vec<u8>>)| {
            let rest = Blob::new(&key[prefix.len()..]).expect("keys of a group are short");
            Entry { rest, value: Blob::new(&value[..]).expect("values of a group are in memory") }
        };
        let entries: Vec<_> = store::entries(vault, &prefix).into_iter().map(entry).collect();
        if entries.is_empty() {
            return Zeroizing::default();
        }
        let entries = Snapshot::new(entries).expect("a group has few entries");
        Zeroizing::new(entries.to_bytes())
    }

    fn restore(&self, d: &mut Doors<'_>, group: &GroupId, snapshot: &[u8]) -> Result<(), MlsError> {
        let entries = Snapshot::decode_exact(snapshot)
            .map_err(|why| MlsError::malformed("a snapshot", why))?;
        self.forget(d, group);
        let prefix = store::group_prefix(&group.bytes);
        for Entry { rest, value } in entries {
            let value = Zeroizing::new(value.to_vec());
            d.vault.put(&[&prefix[..], &rest].concat(), &value);
        }
        Ok(())
    }

    fn forget(&self, d: &mut Doors<'_>, group: &GroupId) {
        self.cache.drop(group);
        for (key, _) in store::entries(&*d.vault, &store::group_prefix(&group.bytes)) {
            d.vault.remove(&key);
        }
    }
}

fn described(group: &MlsGroup) -> Result<EpochInfo, MlsError> {
    let members: Result<Vec<_>, _> = group.members().map(|it| rules::member(&it)).collect();
    Ok(EpochInfo {
        epoch: group.epoch().as_u64(),
        own_leaf: group.own_leaf_index().u32(),
        members: members?,
        authenticator: Digest::from(first(group.epoch_authenticator().as_slice())?),
        agreed: rules::agreed(group.public_group().group_context())?,
        pending: group.pending_commit().is_some(),
    })
}

fn commit(
    provider: &Provider<'_>,
    me: &DeviceKey,
    group: &mut MlsGroup,
    change: &Change,
) -> Result<Made, MlsError> {
    const WHAT: &str = "a change";
    let mut packages = Vec::with_capacity(change.add.len());
    for bytes in &change.add {
        let package = validated(bytes, provider.crypto())?;
        rules::key_package(&package)?;
        packages.push(package);
    }
    group.set_aad(change.aside.clone());
    let mut builder = group
        .commit_builder()
        .consume_proposal_store(false)
        .force_self_update(true)
        .propose_adds(packages)
        .propose_removals(change.remove.iter().copied().map(LeafNodeIndex::new));
    if let Some(agreed) = &change.agreed {
        builder = builder
            .propose_group_context_extensions(rules::extensions(agreed)?)
            .map_err(|why| MlsError::refused(WHAT, why))?;
    }
    let (message, welcome, _) = builder
        .load_psks(provider.store())
        .map_err(MlsError::internal)?
        .build(provider.crypto(), provider.crypto(), &provider.signer(me), |_| true)
        .map_err(|why| MlsError::refused(WHAT, why))?
        .stage_commit(provider)
        .map_err(MlsError::internal)?
        .into_messages();
    let tree = if welcome.is_some() { tree_after(provider, group)? } else { Vec::new() };
    Ok(Made {
        message: bytes_of(&message)?,
        welcome: welcome.as_ref().map(bytes_of).transpose()?,
        tree,
    })
}

/// Returns the ratchet tree after the pending commit.
fn tree_after(provider: &Provider<'_>, group: &MlsGroup) -> Result<Vec<u8>, MlsError> {
    let before = group.export_ratchet_tree();
    let staged = group.pending_commit().ok_or(MlsError::NothingPending)?;
    staged
        .export_ratchet_tree(provider.crypto(), before)
        .map_err(MlsError::internal)?
        .ok_or(MlsError::NothingPending)?
        .tls_serialize_detached()
        .map_err(MlsError::internal)
}

/// Returns the commit that waits to be accepted, as it was processed, or processed again.
fn processed(
    provider: &Provider<'_>,
    loaded: &mut Loaded,
    group: &GroupId,
    message: &[u8],
) -> Result<(Summary, Box<StagedCommit>), MlsError> {
    if let Some(ahead) = loaded.ahead.take() {
        if ahead.message == message {
            provider.store().give(ahead.changes);
            return Ok((ahead.summary, ahead.staged));
        }
        loaded.group = load(provider, group)?;
    }
    match open(provider, &mut loaded.group, message)? {
        Opened::Commit(summary, staged) => Ok((summary, staged)),
        Opened::Other(_) => Err(MlsError::NothingPending),
    }
}

/// A message that was opened.
enum Opened {
    Commit(Summary, Box<StagedCommit>),
    Other(Processed),
}

fn open(provider: &Provider<'_>, group: &mut MlsGroup, bytes: &[u8]) -> Result<Opened, MlsError> {
    const WHAT: &str = "a message";
    let MlsMessageBodyIn::PrivateMessage(private) = message(WHAT, bytes)? else {
        return Err(MlsError::refused(WHAT, "it is not private"));
    };
    let private = ProtocolMessage::from(private);
    if private.group_id() != group.group_id() {
        return Err(MlsError::WrongGroup);
    }
    let (got, current) = (private.epoch().as_u64(), group.epoch().as_u64());
    if got > current || got.saturating_add(super::PAST_EPOCHS as u64) < current {
        return Err(MlsError::Epoch { got, current });
    }
    if private.is_handshake_message() && got != current {
        return Err(MlsError::Epoch { got, current });
    }
    let processed = group.process_message(provider, private).map_err(not_opened)?;
    sort(group, processed)
}

/// Sees what kind of message it is, and whether it is one of ours.
fn sort(group: &MlsGroup, processed: ProcessedMessage) -> Result<Opened, MlsError> {
    const WHAT: &str = "a message";
    let Sender::Member(leaf) = *processed.sender() else {
        return Err(MlsError::refused(WHAT, "its author is not a member"));
    };
    let author = rules::author(processed.credential())?;
    let epoch = processed.epoch().as_u64();
    let aside = processed.aad().to_vec();
    match processed.into_content() {
        ProcessedMessageContent::ApplicationMessage(said) => {
            let (leaf, bytes) = (leaf.u32(), said.into_bytes());
            Ok(Opened::Other(Processed::Said { leaf, epoch, author, bytes }))
        }
        ProcessedMessageContent::ProposalMessage(queued) => match queued.proposal() {
            Proposal::Remove(remove) => Ok(Opened::Other(Processed::Proposal {
                leaf: leaf.u32(),
                leaves: vec![remove.removed().u32()],
            })),
            _ => Err(MlsError::refused(WHAT, "it proposes something else than a removal")),
        },
        ProcessedMessageContent::StagedCommitMessage(staged) => {
            Ok(Opened::Commit(rules::commit(group, leaf, &staged, aside)?, staged))
        }
        ProcessedMessageContent::OwnPrivateMessage | ProcessedMessageContent::OwnPendingCommit => {
            Err(MlsError::Own)
        }
        _ => Err(MlsError::refused(WHAT, "it is of a kind that is not used")),
    }
}

fn not_opened(why: ProcessMessageError<StoreError>) -> MlsError {
    match why {
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(
            MessageDecryptionError::LibraryError(why),
        )) => MlsError::internal(why),
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(_)) => {
            MlsError::NotOpened
        }
        ProcessMessageError::StorageError(why) => MlsError::internal(why),
        why => MlsError::refused("a message", why),
    }
}
