use std::collections::BTreeSet;

use super::{Domain, digest, sha256, sha256_parts};

#[test]
fn labels_are_unique_and_of_one_form() {
    let labels: BTreeSet<_> = Domain::ALL.iter().map(|domain| domain.label()).collect();
    assert_eq!(labels.len(), Domain::ALL.len());
    // Two labels are the reference's; everything else is of one form.
    let named = [Domain::OracleRecord, Domain::OracleWrite].map(Domain::label);
    assert_eq!(named, ["LUX:OracleRecord:v1", "LUX:Write:v1"]);
    for label in labels.into_iter().filter(|label| !named.contains(label)) {
        let (name, version) = label
            .strip_prefix("lux-session/")
            .and_then(|rest| rest.split_once("/v"))
            .unwrap_or_else(|| panic!("{label} is not lux-session/<name>/v<version>"));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{label}");
        assert!(version.parse::<u16>().is_ok_and(|version| version > 0), "{label}");
    }
}

#[test]
fn a_digest_is_over_the_framed_label_and_parts() {
    let framed = b"\0\0\0\x1alux-session/merkle-root/v1\0\0\0\x02ab\0\0\0\0";
    assert_eq!(digest(Domain::MerkleRoot, &[b"ab", b""]), sha256(framed).into());
}

#[test]
fn neither_domain_nor_borders_nor_number_of_parts_can_be_shifted() {
    let lists: [&[&[u8]]; 6] = [&[], &[b""], &[b"ab"], &[b"a", b"b"], &[b"ab", b""], &[b"", b"ab"]];
    let digests: BTreeSet<_> = Domain::ALL
        .iter()
        .flat_map(|domain| lists.iter().map(|parts| digest(*domain, parts)))
        .collect();
    assert_eq!(digests.len(), Domain::ALL.len() * lists.len());
}

#[test]
fn sha256_is_that_of_fips_180() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex::encode(sha256(b"abc")), abc);
    assert_eq!(hex::encode(sha256_parts(&[b"a", b"", b"bc"])), abc);
}
