use session_core::testing::{check_codec, check_round_trip};
use session_core::{Decode as _, DecodeError, Domain, Encode as _, SeededEntropy};

use super::{Cost, EmptyPassphrase, Stretch};

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

#[test]
fn a_key_depends_on_passphrase_salt_cost_and_purpose() {
    let stretch = Stretch { cost: CHEAP, salt: [1; 16] };
    let key = |stretch: &Stretch, domain, passphrase: &[u8]| {
        *stretch.key(domain, passphrase).expect("it is not empty").expose()
    };
    let one = key(&stretch, Domain::Backup, b"correct horse");
    assert_eq!(one, key(&stretch, Domain::Backup, b"correct horse"));
    let others = [
        key(&stretch, Domain::Backup, b"correct horsf"),
        key(&stretch, Domain::VaultValue, b"correct horse"),
        key(&Stretch { cost: CHEAP, salt: [2; 16] }, Domain::Backup, b"correct horse"),
        key(
            &Stretch { cost: Cost { passes: 2, ..CHEAP }, salt: [1; 16] },
            Domain::Backup,
            b"correct horse",
        ),
    ];
    assert!(others.iter().all(|other| *other != one));
    assert_eq!(stretch.key(Domain::Backup, b"").err(), Some(EmptyPassphrase));
}

#[test]
fn the_encoding_is_fixed_and_bounded() {
    let stretch = Stretch { cost: CHEAP, salt: *b"sixteen bytes ok" };
    check_codec(
        &stretch,
        "00000008 # memory, KiB
         00000001 # passes
         00000001 # lanes
         7369787465656e206279746573206f6b # salt",
    );
    let fresh = Stretch::generate(&mut SeededEntropy::new(1));
    check_round_trip(&fresh);
    assert_eq!(fresh.to_bytes().len(), Stretch::SIZE);
    for cost in [
        Cost { memory_kib: Cost::MAX.memory_kib + 1, ..CHEAP },
        Cost { passes: Cost::MAX.passes + 1, ..CHEAP },
        Cost { lanes: Cost::MAX.lanes + 1, ..CHEAP },
    ] {
        let bytes = Stretch { cost, salt: [0; 16] }.to_bytes();
        let error = Stretch::decode_exact(&bytes).expect_err("too costly");
        assert!(matches!(error, DecodeError::OverLimit { .. }), "{error}");
    }
    for cost in
        [Cost { memory_kib: 7, ..CHEAP }, Cost { passes: 0, ..CHEAP }, Cost { lanes: 0, ..CHEAP }]
    {
        let bytes = Stretch { cost, salt: [0; 16] }.to_bytes();
        let error = Stretch::decode_exact(&bytes).expect_err("impossible");
        assert!(matches!(error, DecodeError::Invalid { .. }), "{error}");
    }
}
