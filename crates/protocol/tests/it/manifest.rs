//! Manifests: what an account says of itself, and what is not believed.

use session_core::{Digest, Domain, Encode as _, SeededEntropy, Span, digest};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::hash::SymmetricKey;
use session_crypto::{Identity, LegacyId, LegacyKey, RealVerifier, Signer, XWingSecret};
use session_protocol::AccessRule;
use session_protocol::inbox::{Capability, Mailbox};
use session_protocol::manifest::{
    BadManifest, DEVICES_MAX, Device, Directory, INTRO_KEY_BYTES, IntroRoute, LIFE_MAX, LegacyLink,
    Manifest, SignedManifest,
};

use crate::codec::{check, flag, limit};
use crate::values::{blob, keys, list, signature, text, time};

const NETWORK: [u8; 32] = [0x4e; 32];

fn network() -> Digest {
    NETWORK.into()
}

fn device(byte: u8) -> Device {
    let key = digest(Domain::DeviceId, &[&[byte; 1952]]);
    let id = *key.as_bytes().first_chunk().expect("16 of 32");
    Device { id, key, added: time(1), name: text("phone") }
}

fn routes() -> (IntroRoute, Directory) {
    let mailbox = |name: &[u8]| Mailbox::derive(&SymmetricKey::from([8; 32]), &[name]);
    let (intro, directory) = (mailbox(b"intro"), mailbox(b"directory"));
    let key = XWingSecret::from_seed(&[9; 32]).public();
    (
        IntroRoute {
            key_id: 1,
            key: blob(key.as_ref()),
            rule: intro.rule(),
            write: intro.write.clone(),
        },
        Directory { rule: directory.rule(), read: directory.read.clone() },
    )
}

/// A manifest with everything, that `owner` would sign.
fn manifest(owner: &dyn Signer) -> Manifest {
    let (intro, directory) = routes();
    let account = owner.public().account_id();
    Manifest {
        version: 1,
        network: network(),
        keys: owner.public().clone(),
        seq: 2,
        previous: [0x70; 32].into(),
        made: time(1000),
        expiry: time(1000) + LIFE_MAX,
        intro,
        directory,
        devices: list([device(1), device(2)]),
        legacy: Some(LegacyLink::sign(&LegacyKey::from_seed(&[3; 32]), &network(), &account)),
    }
}

fn owner() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

fn sign(manifest: Manifest) -> SignedManifest {
    manifest.sign(&owner(), &mut SeededEntropy::new(1))
}

/// Why a change that the account itself signed is refused.
fn refused(change: impl FnOnce(&mut Manifest)) -> (&'static str, &'static str) {
    let mut changed = manifest(&owner());
    change(&mut changed);
    match sign(changed).check(&network(), &FakeVerifier) {
        Err(BadManifest::Invalid { field, why }) => (field, why),
        other => panic!("not refused for a field but {other:?}"),
    }
}

#[test]
fn golden_bytes() {
    let mailbox = AccessRule::Mailbox {
        reader: [0x61; 32].into(),
        writer: [0x62; 32].into(),
        eraser: [0x63; 32].into(),
    };
    let value = SignedManifest {
        manifest: Manifest {
            version: 1,
            network: network(),
            keys: keys(),
            seq: 2,
            previous: [0x70; 32].into(),
            made: time(3),
            expiry: time(4),
            intro: IntroRoute {
                key_id: 5,
                key: blob(&[0x58; INTRO_KEY_BYTES]),
                rule: mailbox,
                write: Capability::new([0x77; 32]),
            },
            directory: Directory { rule: mailbox, read: Capability::new([0x72; 32]) },
            devices: list([Device {
                id: [0xd1; 16],
                key: [0xd2; 32].into(),
                added: time(6),
                name: text("pc"),
            }]),
            legacy: Some(LegacyLink { key: [0x05; 32], signature: [0x65; 64] }),
        },
        signature: signature(),
    };
    const START: &str = "
        0001 4e*32                # version, network
        11*1184 22*1952           # keys
        0000000000000002 70*32    # seq, previous
        0000000000000003          # made
        0000000000000004          # expiry
        00000005                  # intro: key id
    ";
    const REST: &str = "
        02 61*32 62*32 63*32 77*32 # rule, write
        02 61*32 62*32 63*32 72*32 # directory: rule, read
    ";
    const DEVICE: &str = "
        d1*16 d2*32 0000000000000006 00000002 7063 # id, key, added, name
    ";
    let bytes = format!(
        "{START} 000004c0 58*1216 {REST} 00000001 {DEVICE} 01 05*32 65*64 {}",
        "33*3309 # signature"
    );
    check(&value, &bytes);
    limit::<SignedManifest>(START, INTRO_KEY_BYTES);
    let before = format!("{START} 000004c0 58*1216 {REST}");
    // A list of ten needs ten bytes at least.
    limit::<SignedManifest>(&before, DEVICES_MAX);
    limit::<SignedManifest>(&format!("{before} 00000001 d1*16 d2*32 0000000000000006"), 64);
    flag::<SignedManifest>(&format!("{before} 00000000"));
}

#[test]
fn what_an_account_signs_is_believed() {
    let mut rng = SeededEntropy::new(2);
    let owner = Identity::generate(&mut rng);
    let signed = manifest(&owner).sign(&owner, &mut rng);
    let account = owner.public().account_id();
    let bytes = signed.to_bytes();
    let read = SignedManifest::read(&account, &network(), &bytes, &RealVerifier).expect("good");
    assert_eq!((read.account(), read.digest()), (account, signed.digest()));
    assert_eq!(read.digest(), digest(Domain::ManifestDigest, &[&bytes]));
    assert_eq!(read.device(&device(2).id), Some(&device(2)));
    assert_eq!(read.device(&device(3).id), None);
    let link = read.manifest.legacy.as_ref().expect("linked");
    assert_eq!(link.id(), Some(LegacyId::from_ed25519_seed(&[3; 32])));
    assert_eq!(bytes.len(), 8248, "with two devices and a link");

    let mut plain = manifest(&owner);
    (plain.legacy, plain.devices) = (None, list([]));
    assert_eq!(plain.sign(&owner, &mut rng).check(&network(), &RealVerifier), Ok(()));
}

#[test]
fn every_changed_byte_is_refused() {
    let signed = sign(manifest(&owner()));
    let account = signed.account();
    let bytes = signed.to_bytes();
    let read = |bytes: &[u8]| SignedManifest::read(&account, &network(), bytes, &FakeVerifier);
    assert_eq!(read(&bytes), Ok(signed.clone()));
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        assert!(read(&bytes).is_err(), "byte {place} was changed and it is believed");
    }
}

#[test]
fn another_account_or_network_is_refused() {
    let signed = sign(manifest(&owner()));
    let (got, expected) = (signed.account(), [5; 32].into());
    assert_eq!(
        SignedManifest::read(&expected, &network(), &signed.to_bytes(), &FakeVerifier),
        Err(BadManifest::WrongAccount { got, expected })
    );
    assert_eq!(
        signed.check(&[5; 32].into(), &FakeVerifier),
        Err(BadManifest::Invalid { field: "network", why: "it is another one" })
    );
    // Signed by somebody else, for the account.
    let other = FakeIdentity::new(&[2; 32]);
    let bytes = signed.manifest.to_bytes();
    let forged = other.sign(Domain::AccountManifest, &bytes, &mut SeededEntropy::new(1));
    let forged = SignedManifest { signature: forged, ..signed };
    assert_eq!(
        forged.check(&network(), &FakeVerifier),
        Err(BadManifest::Signature { whose: "account's" })
    );
}

#[test]
#[should_panic(expected = "an account signs its own manifest")]
fn nobody_signs_for_another_account() {
    drop(manifest(&owner()).sign(&FakeIdentity::new(&[2; 32]), &mut SeededEntropy::new(1)));
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    assert_eq!(refused(|it| it.version = 2).0, "version");
    assert_eq!(refused(|it| it.expiry = it.made).0, "expiry");
    assert_eq!(refused(|it| it.expiry = time(0)).0, "expiry");
    let late = refused(|it| it.expiry = it.expiry + Span::from_millis(1));
    assert_eq!(late, ("expiry", "it is more than 90 days later than made"));

    assert_eq!(refused(|it| it.intro.key = blob(&[])).0, "intro.key");
    assert_eq!(refused(|it| it.intro.key = blob(&[0xff; INTRO_KEY_BYTES])).0, "intro.key");
    let account = owner().public().account_id();
    assert_eq!(refused(|it| it.intro.rule = account.into()).0, "intro.rule");
    assert_eq!(refused(|it| it.intro.write = Capability::new([1; 32])).0, "intro.write");
    assert_eq!(refused(|it| it.directory.rule = account.into()).0, "directory.rule");
    assert_eq!(refused(|it| it.directory.read = Capability::new([1; 32])).0, "directory.read");
    let swapped = refused(|it| it.directory.rule = it.intro.rule);
    assert_eq!(swapped, ("directory.read", "it is not what reads the mailbox"));

    let twice = refused(|it| it.devices = list([device(1), device(2), device(1)]));
    assert_eq!(twice, ("devices", "one is there twice"));
    let renamed = refused(|it| it.devices = list([Device { id: [0; 16], ..device(1) }]));
    assert_eq!(renamed, ("devices", "an id is not the beginning of the digest of its key"));
}

#[test]
fn a_link_belongs_to_one_account_on_one_network() {
    let account = owner().public().account_id();
    let key = LegacyKey::from_seed(&[3; 32]);
    let check = |legacy: LegacyLink| {
        let manifest = Manifest { legacy: Some(legacy), ..manifest(&owner()) };
        sign(manifest).check(&network(), &FakeVerifier)
    };
    let refused = Err(BadManifest::Signature { whose: "classical account's" });
    assert_eq!(check(LegacyLink::sign(&key, &network(), &account)), Ok(()));
    assert_eq!(check(LegacyLink::sign(&key, &network(), &[5; 32].into())), refused);
    assert_eq!(check(LegacyLink::sign(&key, &[5; 32].into(), &account)), refused);
    let other = LegacyKey::from_seed(&[4; 32]).public();
    let stolen = LegacyLink { key: other, ..LegacyLink::sign(&key, &network(), &account) };
    assert_eq!(check(stolen), refused);
    let mut low = [0; 32];
    low[0] = 1;
    let none = LegacyLink { key: low, ..LegacyLink::sign(&key, &network(), &account) };
    let why = "it makes no classical id";
    assert_eq!(check(none), Err(BadManifest::Invalid { field: "legacy.key", why }));
}

#[test]
fn a_manifest_expires() {
    let signed = sign(manifest(&owner()));
    let expiry = signed.manifest.expiry;
    assert!(!signed.is_expired(expiry - Span::from_millis(1)));
    assert!(signed.is_expired(expiry));
}
