//! The same groups with a second, independent implementation on the other side: the protocol by
//! `mls-rs`, every primitive by the RustCrypto crates.

use mls_rs::client_builder::MlsConfig;
use mls_rs::crypto::{
    HpkeCiphertext, HpkeContextR, HpkeContextS, HpkePsk, HpkePublicKey, HpkeSecretKey,
    SignaturePublicKey, SignatureSecretKey,
};
use mls_rs::error::IntoAnyError;
use mls_rs::extension::built_in::RequiredCapabilitiesExt;
use mls_rs::extension::{ExtensionType, MlsExtension as _};
use mls_rs::group::{ExportedTree, ReceivedMessage};
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::identity::{CredentialType, SigningIdentity};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions};
use mls_rs::time::MlsTime;
use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, Extension, ExtensionList, Group,
    MlsMessage,
};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::random::OpenMlsRand as _;
use openmls_traits::types as lib;
use session_core::{Encode as _, SeededEntropy};
use session_crypto::{DsaPublicKey, hpke};
use session_messaging::Secret;
use session_messaging::mls::{
    AGREED_EXTENSION, Change, Credential, DeviceKey, Doors, KeyAgreement as _, Made, MlsError,
    OpenMls, Processed, SUITE, Welcomed,
};
use session_messaging::say::GroupId;
use session_messaging::vault::MemoryVault;
use zeroize::Zeroizing;

use crate::mls::agreed;

/// One for all devices of all tests, which use the same group id.
static MLS: OpenMls = OpenMls::new();
const GROUP: GroupId = GroupId { bytes: [7; 32] };
const HASH: lib::HashType = lib::HashType::Sha2_384;
const AEAD: lib::AeadType = lib::AeadType::Aes256Gcm;
const DSA: lib::SignatureScheme = lib::SignatureScheme::MLDSA65;

/// Whatever went wrong over there.
#[derive(Debug)]
struct Failed(String);

impl IntoAnyError for Failed {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.0.into())
    }
}

fn failed(why: impl std::fmt::Debug) -> Failed {
    Failed(format!("{why:?}"))
}

fn config() -> lib::HpkeConfig {
    lib::HpkeConfig(
        lib::HpkeKemType::MlKem768,
        lib::HpkeKdfType::HkdfSha384,
        lib::HpkeAeadType::AesGcm256,
    )
}

/// The suite, for `mls-rs`.
#[derive(Clone)]
struct Theirs(std::sync::Arc<RustCrypto>);

impl CryptoProvider for Theirs {
    type CipherSuiteProvider = Self;

    fn supported_cipher_suites(&self) -> Vec<CipherSuite> {
        vec![CipherSuite::new(SUITE)]
    }

    fn cipher_suite_provider(&self, suite: CipherSuite) -> Option<Self> {
        (suite == CipherSuite::new(SUITE)).then(|| self.clone())
    }
}

/// External commits would need it; they are not used.
struct NoContext;

impl HpkeContextS for NoContext {
    type Error = Failed;
    fn seal(&mut self, _: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, Failed> {
        Err(failed("not used"))
    }
    fn export(&self, _: &[u8], _: usize) -> Result<Zeroizing<Vec<u8>>, Failed> {
        Err(failed("not used"))
    }
}

impl HpkeContextR for NoContext {
    type Error = Failed;
    fn open(&mut self, _: Option<&[u8]>, _: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failed> {
        Err(failed("not used"))
    }
    fn export(&self, _: &[u8], _: usize) -> Result<Zeroizing<Vec<u8>>, Failed> {
        Err(failed("not used"))
    }
}

impl CipherSuiteProvider for Theirs {
    type Error = Failed;
    type HpkeContextS = NoContext;
    type HpkeContextR = NoContext;

    fn cipher_suite(&self) -> CipherSuite {
        CipherSuite::new(SUITE)
    }

    fn hash(&self, data: &[u8]) -> Result<Vec<u8>, Failed> {
        self.0.hash(HASH, data).map_err(failed)
    }

    fn mac(&self, key: &[u8], data: &[u8]) -> Result<Vec<u8>, Failed> {
        self.0.hmac(HASH, key, data).map(|it| it.as_slice().to_vec()).map_err(failed)
    }

    fn aead_seal(
        &self,
        key: &[u8],
        data: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Vec<u8>, Failed> {
        self.0.aead_encrypt(AEAD, key, data, nonce, aad.unwrap_or_default()).map_err(failed)
    }

    fn aead_open(
        &self,
        key: &[u8],
        sealed: &[u8],
        aad: Option<&[u8]>,
        nonce: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let plain = self.0.aead_decrypt(AEAD, key, sealed, nonce, aad.unwrap_or_default());
        plain.map(Zeroizing::new).map_err(failed)
    }

    fn aead_key_size(&self) -> usize {
        32
    }

    fn aead_nonce_size(&self) -> usize {
        12
    }

    fn kdf_extract(&self, salt: &[u8], ikm: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let key = self.0.hkdf_extract(HASH, salt, ikm).map_err(failed)?;
        Ok(Zeroizing::new(key.as_slice().to_vec()))
    }

    fn kdf_expand(
        &self,
        prk: &[u8],
        info: &[u8],
        length: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let key = self.0.hkdf_expand(HASH, prk, info, length).map_err(failed)?;
        Ok(Zeroizing::new(key.as_slice().to_vec()))
    }

    fn kdf_extract_size(&self) -> usize {
        48
    }

    fn hpke_seal(
        &self,
        to: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
        plain: &[u8],
    ) -> Result<HpkeCiphertext, Failed> {
        let sealed = self.0.hpke_seal(config(), to, info, aad.unwrap_or_default(), plain);
        let sealed = sealed.map_err(failed)?;
        Ok(HpkeCiphertext {
            kem_output: sealed.kem_output.as_slice().to_vec(),
            ciphertext: sealed.ciphertext.as_slice().to_vec(),
        })
    }

    fn hpke_seal_psk(
        &self,
        _: &HpkePublicKey,
        _: &[u8],
        _: Option<&[u8]>,
        _: &[u8],
        _: HpkePsk<'_>,
    ) -> Result<HpkeCiphertext, Failed> {
        Err(failed("not used"))
    }

    fn hpke_open(
        &self,
        sealed: &HpkeCiphertext,
        secret: &HpkeSecretKey,
        _: &HpkePublicKey,
        info: &[u8],
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let sealed = lib::HpkeCiphertext {
            kem_output: sealed.kem_output.clone().into(),
            ciphertext: sealed.ciphertext.clone().into(),
        };
        let plain = self.0.hpke_open(config(), &sealed, secret, info, aad.unwrap_or_default());
        plain.map(Zeroizing::new).map_err(failed)
    }

    fn hpke_open_psk(
        &self,
        _: &HpkeCiphertext,
        _: &HpkeSecretKey,
        _: &HpkePublicKey,
        _: &[u8],
        _: Option<&[u8]>,
        _: HpkePsk<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        Err(failed("not used"))
    }

    fn hpke_setup_s(&self, _: &HpkePublicKey, _: &[u8]) -> Result<(Vec<u8>, NoContext), Failed> {
        Err(failed("not used"))
    }

    fn hpke_setup_r(
        &self,
        _: &[u8],
        _: &HpkeSecretKey,
        _: &HpkePublicKey,
        _: &[u8],
    ) -> Result<NoContext, Failed> {
        Err(failed("not used"))
    }

    fn kem_derive(&self, ikm: &[u8]) -> Result<(HpkeSecretKey, HpkePublicKey), Failed> {
        let pair = self.0.derive_hpke_keypair(config(), ikm).map_err(failed)?;
        Ok((pair.private.to_vec().into(), pair.public.into()))
    }

    fn kem_generate(&self) -> Result<(HpkeSecretKey, HpkePublicKey), Failed> {
        self.kem_derive(&self.random_bytes_vec(64)?)
    }

    fn kem_public_key_validate(&self, key: &HpkePublicKey) -> Result<(), Failed> {
        self.hpke_seal(key, &[], None, &[]).map(|_| ())
    }

    fn random_bytes(&self, out: &mut [u8]) -> Result<(), Failed> {
        out.copy_from_slice(&self.0.random_vec(out.len()).map_err(failed)?);
        Ok(())
    }

    fn signature_key_generate(&self) -> Result<(SignatureSecretKey, SignaturePublicKey), Failed> {
        let (secret, public) = self.0.signature_key_gen(DSA).map_err(failed)?;
        Ok((secret.into(), public.into()))
    }

    fn signature_key_derive_public(
        &self,
        _: &SignatureSecretKey,
    ) -> Result<SignaturePublicKey, Failed> {
        Err(failed("not used"))
    }

    fn sign(&self, secret: &SignatureSecretKey, data: &[u8]) -> Result<Vec<u8>, Failed> {
        self.0.sign(DSA, data, secret).map_err(failed)
    }

    fn verify(
        &self,
        key: &SignaturePublicKey,
        signature: &[u8],
        data: &[u8],
    ) -> Result<(), Failed> {
        self.0.verify_signature(DSA, data, key, signature).map_err(failed)
    }
}

fn theirs() -> Theirs {
    Theirs(std::sync::Arc::new(RustCrypto::default()))
}

/// A device on the other implementation.
fn client() -> Client<impl MlsConfig> {
    client_with(u64::MAX)
}

/// Its identity is written out here, byte for byte; its key packages end after a lifetime.
fn client_with(lifetime: u64) -> Client<impl MlsConfig> {
    let suite = CipherSuite::new(SUITE);
    let (secret, public) = theirs().signature_key_generate().unwrap();
    let device = session_core::digest(session_core::Domain::DeviceId, &[&public]);
    let mut identity = vec![0x07];
    identity.extend_from_slice(&[9; 32]);
    identity.extend_from_slice(&device.as_ref()[..16]);
    identity.extend_from_slice(&[8; 32]);
    identity.push(0);
    let credential = BasicCredential::new(identity).into_credential();
    let commits = CommitOptions::new().with_path_required(true).with_ratchet_tree_extension(false);
    let rules = DefaultMlsRules::new().with_commit_options(commits).with_encryption_options(
        EncryptionOptions::new(true, mls_rs::client_builder::PaddingMode::None),
    );
    Client::builder()
        .crypto_provider(theirs())
        .identity_provider(BasicIdentityProvider::new())
        .extension_type(ExtensionType::new(AGREED_EXTENSION))
        .key_package_lifetime(core::time::Duration::from_secs(lifetime))
        .mls_rules(rules)
        .signing_identity(SigningIdentity::new(credential, public), secret, suite)
        .build()
}

fn context(name: &str) -> ExtensionList {
    let required = RequiredCapabilitiesExt {
        extensions: vec![ExtensionType::new(AGREED_EXTENSION)],
        proposals: Vec::new(),
        credentials: vec![CredentialType::BASIC],
    };
    let agreed = agreed(name).to_bytes();
    vec![
        required.into_extension().unwrap(),
        Extension::new(ExtensionType::new(AGREED_EXTENSION), agreed),
    ]
    .into()
}

/// A device of ours.
struct Ours {
    key: DeviceKey,
    vault: MemoryVault,
    rng: SeededEntropy,
}

impl Ours {
    fn new() -> Self {
        let key = DeviceKey::from_seed(&Secret::from([1; 32]));
        Self { key, vault: MemoryVault::new(), rng: SeededEntropy::new(1) }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Doors<'_>, &DeviceKey) -> T) -> T {
        call(&mut Doors { vault: &mut self.vault, rng: &mut self.rng }, &self.key)
    }

    fn who(&self) -> Credential {
        let device = self.key.id();
        Credential { account: [1; 32].into(), device, manifest: [2; 32].into(), again: None }
    }

    fn commit(&mut self, change: &Change) -> Made {
        let made = self.call(|d, key| MLS.commit(d, key, &GROUP, change)).unwrap();
        self.call(|d, _| MLS.merge(d, &GROUP)).unwrap();
        made
    }

    fn follow(&mut self, message: &MlsMessage) -> session_messaging::mls::Summary {
        let bytes = message.to_bytes().unwrap();
        let processed = self.call(|d, _| MLS.process(d, &GROUP, &bytes)).unwrap();
        let Processed::Commit(summary) = processed else { panic!("{processed:?}") };
        self.call(|d, _| MLS.accept(d, &GROUP)).unwrap();
        summary
    }
}

/// What both sides can check of each other in an epoch.
fn compare(ours: &mut Ours, theirs: &mut Group<impl MlsConfig>) {
    let info = MLS.info(&ours.vault, &GROUP).unwrap();
    assert_eq!(info.epoch, theirs.current_epoch());
    assert_eq!(info.members.len(), theirs.roster().members().len());
    let authenticator = theirs.epoch_authenticator().unwrap();
    assert_eq!(info.authenticator.as_ref(), &authenticator.as_bytes()[..32]);
    let exported = ours.call(|d, _| MLS.export(d, &GROUP, "label")).unwrap();
    let theirs_exported = theirs.export_secret(b"label", b"", 32).unwrap();
    assert_eq!(exported.expose()[..], theirs_exported.as_bytes()[..]);

    let said = ours.call(|d, key| MLS.encrypt(d, key, &GROUP, b"from us")).unwrap();
    let heard = theirs.process_incoming_message(MlsMessage::from_bytes(&said).unwrap()).unwrap();
    let ReceivedMessage::ApplicationMessage(heard) = heard else { panic!("{heard:?}") };
    assert_eq!((heard.data(), heard.sender_index), (&b"from us"[..], info.own_leaf));

    let said = theirs.encrypt_application_message(b"from them", vec![]).unwrap();
    let said = said.to_bytes().unwrap();
    let heard = ours.call(|d, _| MLS.process(d, &GROUP, &said)).unwrap();
    let Processed::Said { leaf, epoch, author, bytes } = heard else { panic!("{heard:?}") };
    assert_eq!((&bytes[..], epoch), (&b"from them"[..], info.epoch));
    assert_eq!((leaf, author.account), (theirs.current_member_index(), [9; 32].into()));
    let again = ours.call(|d, _| MLS.process(d, &GROUP, &said));
    assert_eq!(again, Err(MlsError::NotOpened));
}

/// Commits of both sides, with and without changes.
fn take_turns(ours: &mut Ours, theirs: &mut Group<impl MlsConfig>) {
    let made = ours.commit(&Change::default());
    theirs.process_incoming_message(MlsMessage::from_bytes(&made.message).unwrap()).unwrap();
    compare(ours, theirs);

    let made = theirs.commit(vec![]).unwrap();
    theirs.apply_pending_commit().unwrap();
    assert!(ours.follow(&made.commit_message).added.is_empty());
    compare(ours, theirs);

    let change = Change { agreed: Some(agreed("ours")), ..Change::default() };
    let made = ours.commit(&change);
    theirs.process_incoming_message(MlsMessage::from_bytes(&made.message).unwrap()).unwrap();
    assert_eq!(theirs.context().extensions, context("ours"));
    compare(ours, theirs);

    let builder = theirs.commit_builder().set_group_context_ext(context("theirs")).unwrap();
    let made = builder.build().unwrap();
    theirs.apply_pending_commit().unwrap();
    assert_eq!(ours.follow(&made.commit_message).agreed, agreed("theirs"));
    compare(ours, theirs);
}

#[test]
fn they_join_us() {
    let (mut ours, client) = (Ours::new(), client());
    let who = ours.who();
    ours.call(|d, key| MLS.create(d, key, &who, &GROUP, &agreed(""))).unwrap();
    let package = client
        .generate_key_package_message(
            ExtensionList::new(),
            ExtensionList::new(),
            Some(MlsTime::from(0)),
        )
        .unwrap();
    let change = Change { add: vec![package.to_bytes().unwrap()], ..Change::default() };
    let made = ours.commit(&change);
    let tree = ExportedTree::from_bytes(&made.tree).unwrap();
    let welcome = MlsMessage::from_bytes(&made.welcome.unwrap()).unwrap();
    let (mut theirs, _) = client.join_group(Some(tree), &welcome, None).unwrap();
    compare(&mut ours, &mut theirs);
    take_turns(&mut ours, &mut theirs);

    let wish = theirs.propose_remove(theirs.current_member_index(), vec![]).unwrap();
    let wish = ours.call(|d, _| MLS.process(d, &GROUP, &wish.to_bytes().unwrap())).unwrap();
    assert_eq!(wish, Processed::Proposal { leaf: 1, leaves: vec![1] });
    ours.commit(&Change { remove: vec![1], ..Change::default() });
    assert_eq!(MLS.info(&ours.vault, &GROUP).unwrap().members.len(), 1);
}

#[test]
fn we_join_them() {
    let (mut ours, client) = (Ours::new(), client());
    let id = GROUP.bytes.to_vec();
    let start = Some(MlsTime::from(0));
    let mut theirs =
        client.create_group_with_id(id, context(""), ExtensionList::new(), start).unwrap();
    let who = ours.who();
    let (package, reference) = ours.call(|d, key| MLS.key_package(d, key, &who)).unwrap();
    let package = MlsMessage::from_bytes(&package).unwrap();
    let made = theirs.commit_builder().add_member(package).unwrap().build().unwrap();
    theirs.apply_pending_commit().unwrap();
    let welcome = made.welcome_messages[0].to_bytes().unwrap();
    let tree = made.ratchet_tree.unwrap().to_bytes().unwrap();
    let welcomed = Welcomed { group: GROUP, key_package: reference, by: 0 };
    assert_eq!(ours.call(|d, _| MLS.join(d, &welcome, &tree)), Ok(welcomed));
    compare(&mut ours, &mut theirs);
    take_turns(&mut ours, &mut theirs);

    let own = MLS.info(&ours.vault, &GROUP).unwrap().own_leaf;
    let made = theirs.commit_builder().remove_member(own).unwrap().build().unwrap();
    assert!(ours.follow(&made.commit_message).removes_me);
    assert_eq!(MLS.info(&ours.vault, &GROUP), None);
}

#[test]
fn what_we_do_not_use_is_refused() {
    let (mut ours, client) = (Ours::new(), client());
    let mut attempt = |extensions: ExtensionList| {
        let id = GROUP.bytes.to_vec();
        let start = Some(MlsTime::from(0));
        let mut theirs =
            client.create_group_with_id(id, extensions, ExtensionList::new(), start).unwrap();
        let who = ours.who();
        let (package, _) = ours.call(|d, key| MLS.key_package(d, key, &who)).unwrap();
        let package = MlsMessage::from_bytes(&package).unwrap();
        let made = theirs.commit_builder().add_member(package).unwrap().build().unwrap();
        theirs.apply_pending_commit().unwrap();
        let welcome = made.welcome_messages[0].to_bytes().unwrap();
        let tree = made.ratchet_tree.unwrap().to_bytes().unwrap();
        let joined = ours.call(|d, _| MLS.join(d, &welcome, &tree));
        (joined, theirs)
    };
    for (extensions, what) in [
        (ExtensionList::new(), "nothing is agreed on"),
        (context("")[1..].to_vec().into(), "capabilities are not required"),
    ] {
        let (joined, _) = attempt(extensions);
        assert!(matches!(joined, Err(MlsError::Refused { .. })), "{what}: {joined:?}");
    }
    let (joined, mut theirs) = attempt(context(""));
    joined.unwrap();
    // A key package whose lifetime ends, and a commit that adds it.
    let package = client_with(u64::MAX - 1)
        .generate_key_package_message(
            ExtensionList::new(),
            ExtensionList::new(),
            Some(MlsTime::from(0)),
        )
        .unwrap();
    let bytes = package.to_bytes().unwrap();
    let read = MLS.read_key_package(&bytes);
    assert!(matches!(read, Err(MlsError::Refused { .. })), "{read:?}");
    let made = theirs.commit_builder().add_member(package).unwrap().build().unwrap();
    theirs.clear_pending_commit();
    let commit = made.commit_message.to_bytes().unwrap();
    let refused = ours.call(|d, _| MLS.process(d, &GROUP, &commit));
    assert!(matches!(refused, Err(MlsError::Refused { .. })), "{refused:?}");
    // A proposal of another kind.
    let update = theirs.propose_update(vec![]).unwrap().to_bytes().unwrap();
    let refused = ours.call(|d, _| MLS.process(d, &GROUP, &update));
    assert!(matches!(refused, Err(MlsError::Refused { .. })), "{refused:?}");
    // Something that is not a private message.
    let info = theirs.group_info_message_allowing_ext_commit(true).unwrap().to_bytes().unwrap();
    let refused = ours.call(|d, _| MLS.process(d, &GROUP, &info));
    assert!(matches!(refused, Err(MlsError::Refused { .. })), "{refused:?}");
}

/// Our HPKE against theirs, for all that the library asks of it.
#[test]
fn primitives_agree() {
    let (theirs, mut rng) = (theirs(), SeededEntropy::new(1));
    let (private, public) = hpke::PrivateKey::derive(b"material");
    let pair = theirs.0.derive_hpke_keypair(config(), b"material").unwrap();
    assert_eq!(
        (pair.private.to_vec(), &pair.public[..]),
        (private.expose().to_vec(), public.as_ref())
    );

    let (encapsulated, sealed) = hpke::seal(&public, b"info", b"aad", b"hello", &mut rng);
    let sealed = lib::HpkeCiphertext {
        kem_output: encapsulated.as_ref().to_vec().into(),
        ciphertext: sealed.into(),
    };
    let opened = theirs.0.hpke_open(config(), &sealed, &pair.private, b"info", b"aad");
    assert_eq!(opened.unwrap(), b"hello");
    let sealed = theirs.0.hpke_seal(config(), &pair.public, b"info", b"aad", b"hello").unwrap();
    let encapsulated = sealed.kem_output.as_slice().try_into().unwrap();
    let opened = hpke::open(&private, &encapsulated, b"info", b"aad", sealed.ciphertext.as_slice());
    assert_eq!(opened.unwrap(), b"hello");

    let (encapsulated, secret) = hpke::send_secret(&public, b"info", b"use", 48, &mut rng).unwrap();
    let got = theirs.0.hpke_setup_receiver_and_export(
        config(),
        encapsulated.as_ref(),
        &pair.private,
        b"info",
        b"use",
        48,
    );
    assert_eq!(got.unwrap()[..], secret[..]);

    let (secret, key) = theirs.0.signature_key_gen(DSA).unwrap();
    let signature = theirs.0.sign(DSA, b"message", &secret).unwrap();
    let signature = signature.as_slice().try_into().unwrap();
    let key = DsaPublicKey::try_from(&key[..]).unwrap();
    assert_eq!(key.verify(&[], b"message", &signature), Ok(()));
}
