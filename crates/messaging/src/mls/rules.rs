//! What of MLS is used, and what of a message is refused although MLS would allow it.

use openmls::extensions::{
    Extension, ExtensionType, Extensions, RequiredCapabilitiesExtension, UnknownExtension,
};
use openmls::group::{
    GroupContext, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    PURE_CIPHERTEXT_WIRE_FORMAT_POLICY, StagedCommit,
};
use openmls::key_packages::{KeyPackage, Lifetime};
use openmls::messages::proposals::Proposal;
use openmls::prelude::{
    BasicCredential, Capabilities, CredentialType, CredentialWithKey, LeafNode, LeafNodeIndex,
    ProtocolVersion, SenderRatchetConfiguration,
};
use openmls::treesync::LeafNodeSource;
use openmls_traits::types::Ciphersuite;
use session_core::{Decode as _, Digest, Encode as _};

use super::{
    AGREED_EXTENSION, Credential, DeviceKey, FORWARD, Joiner, Member, MlsError, PAST_EPOCHS,
    Summary, TOLERANCE,
};
use crate::group::Agreed;

/// The only suite.
pub(super) const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_192_MLKEM768_AES256GCM_SHA384_MLDSA65;

const AGREED: ExtensionType = ExtensionType::Unknown(AGREED_EXTENSION);

/// What our devices can do, and those of others must.
pub(super) fn capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![CIPHERSUITE])
        .extensions(vec![AGREED])
        .proposals(Vec::new())
        .credentials(vec![CredentialType::Basic])
        .build()
}

/// Without bounds: when a package is too old is told by what was published beside it, not by a
/// clock that the library reads.
pub(super) fn lifetime() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

pub(super) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(0) // boxes pad
        .max_past_epochs(PAST_EPOCHS)
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(ratchets())
        .build()
}

pub(super) fn create_config(agreed: &Agreed) -> Result<MlsGroupCreateConfig, MlsError> {
    Ok(MlsGroupCreateConfig::builder()
        .ciphersuite(CIPHERSUITE)
        .capabilities(capabilities())
        .lifetime(lifetime())
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .padding_size(0)
        .max_past_epochs(PAST_EPOCHS)
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(ratchets())
        .with_group_context_extensions(extensions(agreed)?)
        .build())
}

fn ratchets() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(TOLERANCE, FORWARD)
}

/// The credential of a device with its key, for the library.
pub(super) fn credential(me: &DeviceKey, who: &Credential) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(who.identity()).into(),
        signature_key: me.public().as_ref().into(),
    }
}

/// The extensions of every group context of ours: exactly these two.
pub(super) fn extensions(agreed: &Agreed) -> Result<Extensions<GroupContext>, MlsError> {
    let required = RequiredCapabilitiesExtension::new(&[AGREED], &[], &[CredentialType::Basic]);
    let agreed = UnknownExtension(agreed.to_bytes());
    let both = vec![
        Extension::RequiredCapabilities(required),
        Extension::Unknown(AGREED_EXTENSION, agreed),
    ];
    Extensions::from_vec(both).map_err(MlsError::internal)
}

/// Reads what is agreed out of a group context, and checks that nothing else is in it.
pub(super) fn agreed(context: &GroupContext) -> Result<Agreed, MlsError> {
    const WHAT: &str = "a group context";
    if context.ciphersuite() != CIPHERSUITE {
        return Err(MlsError::refused(WHAT, "its cipher suite is another"));
    }
    let found = context.extensions().unknown(AGREED_EXTENSION);
    let found = found.ok_or_else(|| MlsError::refused(WHAT, "nothing is agreed on"))?;
    let agreed = Agreed::decode_exact(&found.0).map_err(|why| MlsError::malformed(WHAT, why))?;
    if extensions(&agreed)? != *context.extensions() {
        return Err(MlsError::refused(WHAT, "it has other extensions than ours"));
    }
    Ok(agreed)
}

/// Reads what a leaf says of its device, and checks that the device can follow us.
pub(super) fn leaf(leaf: &LeafNode) -> Result<(Credential, Digest), MlsError> {
    let able = leaf.capabilities();
    if !able.ciphersuites().contains(&CIPHERSUITE.into()) || !able.extensions().contains(&AGREED) {
        return Err(MlsError::refused("a leaf", "the device lacks what we require"));
    }
    match leaf.leaf_node_source() {
        LeafNodeSource::KeyPackage(bounds) if *bounds != lifetime() => {
            return Err(MlsError::refused("a leaf", "its lifetime is bounded"));
        }
        _ => {}
    }
    read(leaf.credential(), leaf.signature_key().as_slice())
}

fn read(
    credential: &openmls::credentials::Credential,
    key: &[u8],
) -> Result<(Credential, Digest), MlsError> {
    let basic = BasicCredential::try_from(credential.clone())
        .map_err(|why| MlsError::malformed("a credential", why))?;
    Credential::read(basic.identity(), key)
}

/// Reads the credential of the author of a message, whose device may have left since.
pub(super) fn author(
    credential: &openmls::credentials::Credential,
) -> Result<Credential, MlsError> {
    let basic = BasicCredential::try_from(credential.clone())
        .map_err(|why| MlsError::malformed("a credential", why))?;
    Credential::unbound(basic.identity())
}

/// Reads the member at a place of the tree.
pub(super) fn member(member: &openmls::group::Member) -> Result<Member, MlsError> {
    let (credential, key_hash) = read(&member.credential, &member.signature_key)?;
    Ok(Member { leaf: member.index.u32(), credential, key_hash })
}

/// Checks a key package, whose signatures hold.
pub(super) fn key_package(package: &KeyPackage) -> Result<(Credential, Digest), MlsError> {
    if package.ciphersuite() != CIPHERSUITE {
        return Err(MlsError::refused("a key package", "its cipher suite is another"));
    }
    leaf(package.leaf_node())
}

/// Checks that a commit only does what ours do, and says what that is.
pub(super) fn commit(
    group: &MlsGroup,
    by: LeafNodeIndex,
    commit: &StagedCommit,
    aside: Vec<u8>,
) -> Result<Summary, MlsError> {
    const WHAT: &str = "a commit";
    let mut added = Vec::new();
    let mut removed = Vec::new();
    for proposal in commit.queued_proposals() {
        match proposal.proposal() {
            Proposal::Add(add) => {
                let (credential, key_hash) = key_package(add.key_package())?;
                added.push(Joiner { credential, key_hash });
            }
            Proposal::Remove(remove) => {
                let gone = group.member_at(remove.removed());
                let gone = gone.ok_or_else(|| MlsError::refused(WHAT, "nobody is there to go"))?;
                removed.push(member(&gone)?);
            }
            Proposal::GroupContextExtensions(_) => {} // seen in the context below
            _ => return Err(MlsError::refused(WHAT, "it has a proposal of another kind")),
        }
    }
    let path = commit.update_path_leaf_node();
    let path = path.ok_or_else(|| MlsError::refused(WHAT, "it does not renew the keys"))?;
    let before = group.member_at(by);
    let before = before.ok_or_else(|| MlsError::refused(WHAT, "its author is not a member"))?;
    let (before, (after, key_hash)) = (member(&before)?, leaf(path)?);
    if after != before.credential || key_hash != before.key_hash {
        return Err(MlsError::refused(WHAT, "its author becomes somebody else"));
    }
    Ok(Summary {
        by: by.u32(),
        added,
        removed,
        agreed: agreed(commit.group_context())?,
        removes_me: commit.self_removed(),
        epoch: commit.epoch().as_u64(),
        aside,
    })
}
