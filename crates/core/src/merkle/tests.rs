use super::{BadProof, Proof, Tree, bind_count, go_v1, hash_leaf, hash_nodes};
use crate::domain::{Domain, digest, sha256};
use crate::testing::{check_codec, check_round_trip};
use crate::{Digest, List};

fn leaf(number: u64) -> Vec<u8> {
    format!("leaf {number}").into_bytes()
}

fn tree_of(count: u64) -> Tree {
    Tree::new((0..count).map(leaf))
}

/// RFC 6962, section 2.1, as it is written there: split at the largest power of two.
fn rfc_6962(leaves: &[Vec<u8>]) -> [u8; 32] {
    let node =
        |prefix: u8, parts: &[&[u8]]| sha256(&[&[prefix], parts.concat().as_slice()].concat());
    match leaves {
        [] => sha256(&[]),
        [leaf] => node(0, &[leaf]),
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            node(1, &[&rfc_6962(left), &rfc_6962(right)])
        }
    }
}

#[test]
fn the_tree_is_that_of_rfc_6962() {
    for count in 0..=33 {
        let leaves: Vec<_> = (0..count).map(leaf).collect();
        let expected = digest(Domain::MerkleRoot, &[&count.to_be_bytes(), &rfc_6962(&leaves)]);
        assert_eq!(tree_of(count).root(), expected, "{count} leaves");
    }
}

#[test]
fn every_leaf_of_every_size_is_proved_and_no_other() {
    for count in 0..=33 {
        let tree = tree_of(count);
        assert_eq!(tree.count(), count);
        for index in 0..count {
            let proof = tree.prove(index).unwrap();
            assert_eq!(proof.verify(&leaf(index), &tree.root()), Ok(()), "{index} of {count}");
            for other in (0..count).filter(|other| *other != index) {
                let refused = proof.verify(&leaf(other), &tree.root());
                assert!(matches!(refused, Err(BadProof::Root { .. })), "{other} as {index}");
            }
        }
        assert_eq!(tree.prove(count), None);
        assert_eq!(tree.prove(u64::MAX), None);
    }
}

#[test]
fn roots_of_different_sizes_differ() {
    let roots: std::collections::BTreeSet<_> =
        (0..=33).map(|count| tree_of(count).root()).collect();
    assert_eq!(roots.len(), 34);
    let same_leaf = ["x", "x"];
    assert_ne!(Tree::new(&same_leaf[..1]).root(), Tree::new(same_leaf).root());
}

#[test]
fn another_index_or_count_is_refused() {
    for count in 1..=33 {
        let tree = tree_of(count);
        for index in 0..count {
            let proof = tree.prove(index).unwrap();
            for claimed in (0..=40).filter(|claimed| *claimed != index) {
                let moved = Proof { index: claimed, ..proof.clone() };
                assert!(moved.verify(&leaf(index), &tree.root()).is_err());
            }
            for claimed in (0..=70).chain([u64::MAX]).filter(|claimed| *claimed != count) {
                let resized = Proof { count: claimed, ..proof.clone() };
                assert!(resized.verify(&leaf(index), &tree.root()).is_err());
            }
        }
    }
}

#[test]
fn an_index_outside_the_tree_is_named() {
    let proof = tree_of(3).prove(2).unwrap();
    let outside = Proof { index: 3, ..proof.clone() };
    assert_eq!(outside.root_of(b"x"), Err(BadProof::Index { index: 3, count: 3 }));
    let empty = Proof { index: 0, count: 0, ..proof };
    assert_eq!(empty.root_of(b"x"), Err(BadProof::Index { index: 0, count: 0 }));
}

#[test]
fn the_path_has_exactly_its_siblings() {
    for count in 1..=33 {
        let tree = tree_of(count);
        for index in 0..count {
            let proof = tree.prove(index).unwrap();
            let needed = proof.siblings.len();
            for got in (0..=64).filter(|got| *got != needed) {
                let mut siblings = proof.siblings.to_vec();
                siblings.resize(got, Digest::default());
                let siblings = List::new(siblings).unwrap();
                let refused = Proof { siblings, ..proof.clone() }.root_of(&leaf(index));
                assert_eq!(refused, Err(BadProof::Siblings { needed, got }));
            }
        }
    }
}

#[test]
fn the_largest_count_needs_64_siblings_and_does_not_overflow() {
    let siblings = List::new(vec![Digest::default(); 64]).unwrap();
    let proof = Proof { index: 0, count: u64::MAX, siblings };
    assert!(proof.root_of(b"x").is_ok());
    // 2^64 - 1 leaves: the last one is alone at the bottom, then has a sibling on every level.
    let last = Proof { index: u64::MAX - 1, ..proof };
    assert_eq!(last.root_of(b"x"), Err(BadProof::Siblings { needed: 63, got: 64 }));
}

#[test]
fn an_altered_sibling_is_refused() {
    let tree = tree_of(21);
    let proof = tree.prove(9).unwrap();
    for place in 0..proof.siblings.len() {
        let mut siblings = proof.siblings.to_vec();
        siblings[place] = Digest::from([9; 32]);
        let forged = Proof { siblings: List::new(siblings).unwrap(), ..proof.clone() };
        assert!(matches!(forged.verify(&leaf(9), &tree.root()), Err(BadProof::Root { .. })));
    }
}

#[test]
fn an_inner_node_does_not_pass_for_a_leaf() {
    let tree = tree_of(4);
    let hashes: Vec<_> = (0..4).map(|number| hash_leaf(&leaf(number))).collect();
    let forged_leaf = [hashes[0].as_bytes().as_slice(), hashes[1].as_bytes()].concat();
    let right = hash_nodes(&hashes[2], &hashes[3]);
    for count in [2, 4] {
        let siblings = List::new([right]).unwrap();
        let forged = Proof { index: 0, count, siblings };
        assert!(forged.verify(&forged_leaf, &tree.root()).is_err());
    }
    // The same without the prefixes is what go-v1 lets through: both halves of the defence matter.
    let top = hash_nodes(&hash_nodes(&hashes[0], &hashes[1]), &right);
    assert_eq!(bind_count(4, &top), tree.root());
    assert_ne!(bind_count(2, &top), tree.root());
}

#[test]
fn golden_root_and_proof() {
    let tree = Tree::new(["a", "b", "c"]);
    assert_eq!(
        Tree::new([[0; 0]; 0]).root().to_string(),
        "0afdbb5a32f69cfcd3eaa575ef96bd2fad55766d5f046b546cd82e688a1814e0"
    );
    assert_eq!(
        tree.root().to_string(),
        "f507e25cf4b3bf6f6dede5fa57e7506c8d8bcfb15680101c26dd72ed03a4c4bb"
    );
    check_codec(
        &tree.prove(2).unwrap(),
        "0000000000000002  # index
         0000000000000003  # count
         00000001          # siblings
         b137985ff484fb600db93107c77b0365c80d78f5b429ded0fd97361d077999eb",
    );
    for count in 1..=33 {
        check_round_trip(&tree_of(count).prove(count / 2).unwrap());
    }
}

#[test]
fn more_siblings_than_a_tree_can_have_are_refused_unread() {
    let mut bytes = [0; 16].to_vec();
    bytes.extend(65_u32.to_be_bytes());
    let refused = <Proof as crate::Decode>::decode_exact(&bytes);
    let limit = super::SIBLINGS_MAX;
    assert_eq!(refused, Err(crate::DecodeError::OverLimit { field: "list", got: 65, limit }));
}

fn hashes(count: u64) -> Vec<Digest> {
    (0..count).map(|number| sha256(&leaf(number)).into()).collect()
}

#[test]
fn go_v1_proves_every_leaf_of_every_size() {
    assert_eq!(go_v1::root(&[]), None);
    for count in 0..=33 {
        let leaves = hashes(count);
        assert_eq!(go_v1::prove(&leaves, count), None);
        for index in 0..count {
            let root = go_v1::root(&leaves).unwrap();
            let proof = go_v1::prove(&leaves, index).unwrap();
            assert_eq!(proof.verify(&leaves[index as usize], &root), Ok(()));
            assert!(proof.verify(&Digest::default(), &root).is_err());
            let mut longer = proof.clone();
            longer.siblings.push(root);
            assert!(matches!(longer.root_of(&root), Err(BadProof::Siblings { .. })));
        }
    }
}

#[test]
fn go_v1_paths_without_end_or_beginning_are_refused() {
    let leaf = Digest::default();
    let long = go_v1::Proof { index: 0, count: u64::MAX, siblings: vec![leaf; 100_000] };
    assert_eq!(long.root_of(&leaf), Err(BadProof::Siblings { needed: 64, got: 100_000 }));
    let none = go_v1::Proof { index: 0, count: 2, siblings: Vec::new() };
    assert_eq!(none.root_of(&leaf), Err(BadProof::Siblings { needed: 1, got: 0 }));
}

/// The hole that makes go-v1 unfit for anything of ours, shown so that nobody has to believe it.
#[test]
fn go_v1_lets_an_inner_node_pass_for_a_leaf() {
    let leaves = hashes(4);
    let forged_data = [leaves[0].as_bytes().as_slice(), leaves[1].as_bytes()].concat();
    let real = go_v1::prove(&leaves, 0).unwrap();
    let forged = go_v1::Proof { index: 0, count: 2, siblings: vec![real.siblings[1]] };
    let root = go_v1::root(&leaves).unwrap();
    assert_eq!(forged.verify(&sha256(&forged_data).into(), &root), Ok(()));
}
