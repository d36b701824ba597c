use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::testing::{check_codec, check_round_trip};
use session_core::{
    Blob, Decode, DecodeError, Digest, Domain, Encode, Entropy, List, SeededEntropy, digest,
};

use super::{
    BadProof, DEPTH_MAX, KEY_BYTES_MAX, Leaf, Proof, Sibling, State, VALUE_BYTES_MAX, root_of,
};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Roots computed by a program in another language.
const EMPTY: &str = "bf2bd8553159a37215aaa0ca52415251313cadf02282d0e992ced624305925f4";
const ONE: &str = "8730f85d20b5a096e9a0d84e1bbd63bb34e240035bfe29986540f4e7bdf5d84e";
const TWO: &str = "99fc821ff7358ca6ed063199a578c82985c9220023aa2bdee2fa0e9e81cd359c";
const THREE: &str = "dfd9fb4e59c73fa66f9e4dfa4c21e3dc646bfb9ccdc17bba0ab13282f1a141e3";

fn small() -> State {
    State::from_entries([("a1", "one"), ("a2", "two"), ("b1", "")])
}

/// A key of few different bytes, so that keys share parts and some begin with others.
fn key(rng: &mut SeededEntropy, bytes_max: u64) -> Vec<u8> {
    const BYTES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];
    (0..=rng.below(bytes_max)).map(|_| BYTES[rng.below(5) as usize]).collect()
}

/// The root as the definition has it, from all keys at once.
fn root_by_definition(model: &Model) -> Digest {
    fn bits(key: &[u8]) -> Vec<bool> {
        let byte = |byte: &u8| format!("1{byte:08b}").chars().map(|c| c == '1').collect::<Vec<_>>();
        let mut bits: Vec<bool> = key.iter().flat_map(byte).collect();
        bits.resize(9 * KEY_BYTES_MAX, false);
        bits
    }
    fn top(entries: &[(Vec<bool>, &[u8], &[u8])]) -> Digest {
        if let [(_, key, value)] = entries {
            return digest(Domain::StateLeaf, &[key, value]);
        }
        // Entries are in order: the first and the last differ first.
        let (first, last) = (&entries[0].0, &entries[entries.len() - 1].0);
        let bit = first.iter().zip(last).position(|(a, b)| a != b).expect("keys differ");
        let (left, right) = entries.split_at(entries.partition_point(|(bits, ..)| !bits[bit]));
        let (left, right) = (top(left), top(right));
        let bit = u16::try_from(bit).expect("short").to_be_bytes();
        digest(Domain::StateNode, &[&bit, left.as_ref(), right.as_ref()])
    }
    let entries: Vec<_> = model.iter().map(|(k, v)| (bits(k), k.as_slice(), &v[..])).collect();
    let top = if entries.is_empty() { Digest::from([0; 32]) } else { top(&entries) };
    digest(Domain::StateRoot, &[&(model.len() as u64).to_be_bytes(), top.as_ref()])
}

#[track_caller]
fn assert_same(state: &State, model: &Model) {
    assert_eq!((state.len(), state.is_empty()), (model.len(), model.is_empty()));
    let entries = model.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    assert!(state.range(b"").eq(entries), "other entries, or in another order");
    assert_eq!(state.root(), root_by_definition(model));
}

/// One random change of both.
fn change(state: &mut State, model: &mut Model, rng: &mut SeededEntropy, key: Vec<u8>) {
    if rng.below(3) == 0 {
        assert_eq!(state.remove(&key), model.remove(&key).is_some());
    } else {
        let value = vec![0x5a; rng.below(4) as usize];
        state.put(&key, value.clone());
        model.insert(key, value);
    }
}

#[test]
fn it_is_an_ordered_map() {
    for seed in 0..40 {
        let mut rng = SeededEntropy::new(seed);
        let (mut state, mut model) = (State::new(), Model::new());
        // Few keys are removed to the last, many make a deep tree.
        let bytes_max = 1 + seed % 5;
        for step in 0..400 {
            let changed = key(&mut rng, bytes_max);
            change(&mut state, &mut model, &mut rng, changed);
            let other = key(&mut rng, bytes_max);
            assert_eq!(state.get(&other), model.get(&other).map(Vec::as_slice), "seed {seed}");
            let prefix = key(&mut rng, 3);
            let expected = model.iter().filter(|(key, _)| key.starts_with(&prefix));
            let expected = expected.map(|(key, value)| (key.as_slice(), value.as_slice()));
            assert!(state.range(&prefix).eq(expected), "seed {seed}, prefix {prefix:x?}");
            if step % 20 == 0 {
                assert_same(&state, &model);
            }
        }
        assert_same(&state, &model);
        for key in model.keys() {
            assert!(state.remove(key), "seed {seed}");
        }
        assert_same(&state, &Model::new());
    }
}

#[test]
fn fixed_width_keys_of_several_tags_are_an_ordered_map() {
    let mut rng = SeededEntropy::new(1);
    let (mut state, mut model) = (State::new(), Model::new());
    for _ in 0..6_000 {
        let tag = rng.below(3) as u8;
        let mut key = vec![0x10 + tag];
        key.resize([9, 33, 65][usize::from(tag)], 0);
        let last = key.len() - 2;
        key[1] = rng.below(8) as u8;
        key[last..].copy_from_slice(&(rng.below(256) as u16).to_be_bytes());
        change(&mut state, &mut model, &mut rng, key);
    }
    assert_same(&state, &model);
    let of_tag = |tag| model.keys().filter(move |key| key[0] == tag).count();
    for tag in 0x0f..0x15 {
        assert_eq!(state.range(&[tag]).count(), of_tag(tag));
    }
    assert!(model.len() > 1_000, "too few to mean anything: {}", model.len());
}

#[test]
fn the_root_does_not_depend_on_the_way_there() {
    let mut rng = SeededEntropy::new(2);
    let model: Model = (0..500).map(|n| (key(&mut rng, 6), vec![n as u8])).collect();
    let sorted = State::from_entries(&model);
    assert_same(&sorted, &model);
    for _ in 0..5 {
        let mut order: Vec<_> = model.iter().collect();
        order.sort_by_cached_key(|_| rng.next_u64());
        let shuffled = State::from_entries(order.iter().copied());
        assert_same(&shuffled, &model);
        let mut detour = State::new();
        for (key, _) in &order {
            detour.put(key, b"before".to_vec());
            detour.put(&[key.as_slice(), b"gone"].concat(), Vec::new());
            let _ = detour.root();
        }
        for (key, value) in &order {
            detour.put(key, value.to_vec());
            detour.remove(&[key.as_slice(), b"gone"].concat());
        }
        assert_same(&detour, &model);
    }
}

#[test]
fn entries_that_do_not_ascend_are_put() {
    let twice = State::from_entries([("a", "1"), ("c", "2"), ("c", "3"), ("b", "4"), ("a", "5")]);
    let entries: Vec<_> = twice.range(b"").collect();
    assert_eq!(entries, [(&b"a"[..], &b"5"[..]), (b"b", b"4"), (b"c", b"3")]);
    assert_eq!(twice.len(), 3);
    assert_eq!(State::from_entries::<&str, &str>([]).root(), State::new().root());
}

#[test]
fn snapshots_do_not_see_later_changes() {
    let mut rng = SeededEntropy::new(3);
    let (mut state, mut model) = (State::new(), Model::new());
    let mut kept = Vec::new();
    for step in 0..3_000 {
        let changed = key(&mut rng, 4);
        change(&mut state, &mut model, &mut rng, changed);
        if step % 50 == 0 {
            // Some with their hashes, some without.
            let root = (step % 100 == 0).then(|| state.root());
            kept.push((state.clone(), model.clone(), root));
        }
        // Branches: go on from an earlier state.
        if step % 700 == 699 {
            let at = rng.below(kept.len() as u64) as usize;
            (state, model) = (kept[at].0.clone(), kept[at].1.clone());
        }
    }
    for (state, model, root) in &kept {
        assert_same(state, model);
        assert!(root.is_none_or(|root| root == state.root()));
    }
}

#[test]
fn only_what_is_shared_is_copied() {
    fn top(state: &State) -> *const super::Node {
        Arc::as_ptr(state.top.as_ref().expect("not empty"))
    }
    let mut state = small();
    let (before, root) = (top(&state), state.root());
    state.put(b"a1", b"uno".to_vec());
    state.put(b"a3", b"tres".to_vec());
    assert!(state.remove(b"a2"));
    assert_eq!(top(&state), before, "copied, though nobody else holds it");
    assert_ne!(state.root(), root);

    let snapshot = state.clone();
    state.put(b"a1", b"uno".to_vec());
    assert!(!state.remove(b"a2"));
    assert_eq!(top(&state), top(&snapshot), "copied, though nothing changed");
    state.put(b"a1", b"eins".to_vec());
    assert_ne!(top(&state), top(&snapshot));
    assert_eq!(snapshot.get(b"a1"), Some(&b"uno"[..]));
}

#[test]
fn golden_roots() {
    let mut state = State::new();
    assert_eq!(state.root().to_string(), EMPTY);
    for (key, value, root) in [("a1", "one", ONE), ("a2", "two", TWO), ("b1", "", THREE)] {
        state.put(key.as_bytes(), value.into());
        assert_eq!(state.root().to_string(), root);
    }
    assert!(state.remove(b"b1"));
    assert_eq!(state.root().to_string(), TWO);
}

#[test]
fn golden_proofs() {
    let proof = small().prove(b"a2");
    check_codec(
        &proof,
        "0000000000000003                                    # entries
         01 00000002 6132 00000003 74776f                    # the leaf: a2, two
         00000002                                            # siblings
         0007 77d8971047b3f341a078ebf22407f2322aa90a380bb61a985a7b67d461c64d24 # leaf b1
         0010 57500a03bf540b87c484f92e75f513e4d330fc153917e21411b590fadc2fb874 # leaf a1",
    );
    assert_eq!(proof.verify(b"a2", &small().root()), Ok(Some(&b"two"[..])));
    // The same path shows that another key holds nothing.
    assert_eq!(small().prove(b"a3"), proof);
    assert_eq!(proof.verify(b"a3", &small().root()), Ok(None));
    check_codec(
        &small().prove(b"c"),
        "0000000000000003 01 00000002 6231 00000000 00000001
         0007 8470c13ba015c43176658f43af3194af35be0d8106a6f0ace6551050454f6111",
    );
    check_codec(&State::new().prove(b"a2"), "0000000000000000 00 00000000");
    check_round_trip(&deepest().prove(&[0xff; KEY_BYTES_MAX]));
}

/// The first key differs from each other one at a bit of its own: the deepest tree there is.
fn deepest() -> State {
    let longest = [0xff; KEY_BYTES_MAX];
    let mut state = State::from_entries([(longest, "the longest")]);
    for byte in 0..KEY_BYTES_MAX {
        if byte > 0 {
            state.put(&longest[..byte], vec![1]);
        }
        for bit in 0..8 {
            let mut key = longest;
            key[byte] ^= 1 << bit;
            state.put(&key, vec![2]);
        }
    }
    state
}

#[test]
fn the_deepest_tree_needs_little_stack() {
    let work = || {
        let mut state = deepest();
        let key = [0xff; KEY_BYTES_MAX];
        assert_eq!(state.len(), DEPTH_MAX + 1);
        let proof = state.prove(&key);
        assert_eq!(proof.siblings.len(), DEPTH_MAX);
        assert_eq!(proof.verify(&key, &state.root()), Ok(Some(&b"the longest"[..])));
        assert_eq!(state.range(b"").count(), DEPTH_MAX + 1);
        let before = state.clone();
        assert!(state.remove(&key));
        assert_ne!(before.root(), state.root());
    };
    std::thread::Builder::new()
        .stack_size(768 * 1024)
        .spawn(work)
        .expect("a thread starts")
        .join()
        .expect("no overflow");
}

#[test]
fn every_key_is_proven_there_or_not() {
    for seed in 0..12 {
        let mut rng = SeededEntropy::new(seed);
        let model: Model =
            (0..seed * 9).map(|_| (key(&mut rng, 5), rng.bytes32().into())).collect();
        let state = State::from_entries(&model);
        let root = state.root();
        let asked = (0..200).map(|_| key(&mut rng, 6)).chain(model.keys().cloned());
        for key in asked.chain([vec![], vec![0xff; 500]]) {
            let proof = state.prove(&key);
            assert_eq!(proof.verify(&key, &root), Ok(state.get(&key)), "{key:x?}");
            check_round_trip(&proof);
        }
    }
}

/// What is proven is true: of every proof, for every key.
#[test]
fn a_proof_for_another_key_never_lies() {
    let mut rng = SeededEntropy::new(5);
    let model: Model = (0..60).map(|n| (key(&mut rng, 4), vec![n])).collect();
    let state = State::from_entries(&model);
    let root = state.root();
    let keys: Vec<_> = (0..150).map(|_| key(&mut rng, 4)).chain(model.keys().cloned()).collect();
    let (mut same, mut refused) = (0, 0);
    for proof in keys.iter().map(|key| state.prove(key)) {
        for key in &keys {
            match proof.verify(key, &root) {
                Ok(value) => {
                    assert_eq!(value, state.get(key));
                    // One root and one key have one proof.
                    assert_eq!(proof, state.prove(key));
                    same += 1;
                }
                Err(error) => {
                    assert!(matches!(error, BadProof::OtherKey { .. }), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(same > 200 && refused > 200, "{same} and {refused}");
}

/// Every single bit of a proof counts, for keys that are there and for keys that are not.
#[test]
fn no_bit_of_a_proof_can_be_changed() {
    let mut rng = SeededEntropy::new(6);
    let model: Model = (0..40).map(|n| (key(&mut rng, 4), vec![n])).collect();
    let state = State::from_entries(&model);
    let present = model.keys().nth(20).expect("40 entries").clone();
    for key in [present, b"absent".to_vec()] {
        let bytes = state.prove(&key).to_bytes();
        for place in 0..8 * bytes.len() {
            let mut altered = bytes.clone();
            altered[place / 8] ^= 1 << (place % 8);
            if let Ok(proof) = Proof::decode_exact(&altered) {
                assert!(proof.verify(&key, &state.root()).is_err(), "bit {place} of {key:x?}");
            }
        }
    }
}

type Change = fn(&mut Proof);

fn siblings(proof: &mut Proof, change: impl Fn(&mut Vec<Sibling>)) {
    let mut siblings = proof.siblings.to_vec();
    change(&mut siblings);
    proof.siblings = List::new(siblings).expect("few");
}

fn no_siblings() -> List<Sibling, DEPTH_MAX> {
    List::new([]).expect("none")
}

fn leaf(proof: &mut Proof, key: &[u8], value: &[u8]) {
    let (key, value) = (Blob::new(key).expect("short"), Blob::new(value).expect("short"));
    proof.leaf = Some(Leaf { key, value });
}

#[test]
fn changed_fields_are_refused() {
    const CHANGES: &[(&str, Change)] = &[
        ("count", |p| p.count += 1),
        ("count", |p| p.count = 0),
        ("count", |p| p.count = 2),
        ("count", |p| p.count = u64::MAX),
        ("no leaf", |p| p.leaf = None),
        ("no siblings", |p| siblings(p, Vec::clear)),
        ("nothing", |p| *p = Proof { count: 0, leaf: None, siblings: no_siblings() }),
        ("no leaf, counted", |p| *p = Proof { count: 3, leaf: None, siblings: no_siblings() }),
        ("value", |p| leaf(p, b"a2", b"twO")),
        ("value", |p| leaf(p, b"a2", b"")),
        ("boundary of key and value", |p| leaf(p, b"a2t", b"wo")),
        ("neighbour", |p| leaf(p, b"a3", b"two")),
        ("empty key", |p| leaf(p, b"", b"two")),
        ("leaf of another place", |p| leaf(p, b"a1", b"one")),
        ("leaf without its last sibling", |p| siblings(p, |s| s.truncate(1))),
        ("path without its top", |p| siblings(p, |s| *s = s.split_off(1))),
        ("swapped", |p| siblings(p, |s| s.swap(0, 1))),
        ("doubled", |p| siblings(p, |s| s.insert(1, s[1].clone()))),
        ("longer", |p| siblings(p, |s| s.push(Sibling { bit: 100, hash: s[0].hash }))),
        ("bit", |p| siblings(p, |s| s[0].bit = 6)),
        ("bit", |p| siblings(p, |s| s[0].bit = 0)),
        ("bit", |p| siblings(p, |s| s[1].bit = 17)),
        ("bit", |p| siblings(p, |s| s[1].bit = 900)),
        ("bits", |p| siblings(p, |s| (s[0].bit, s[1].bit) = (16, 7))),
        ("hash", |p| siblings(p, |s| s[0].hash = s[1].hash)),
        ("hash", |p| siblings(p, |s| s[1].hash = Digest::default())),
    ];
    let state = small();
    let root = state.root();
    for (what, change) in CHANGES {
        for key in [&b"a2"[..], b"a3"] {
            let mut proof = state.prove(key);
            change(&mut proof);
            assert!(proof.verify(key, &root).is_err(), "{what} was changed unnoticed: {proof:?}");
        }
    }
    for other in [Digest::default(), State::new().root()] {
        let error = state.prove(b"a2").verify(b"a2", &other).expect_err("another root");
        assert_eq!(error, BadProof::Root { got: root, expected: other });
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let (state, root) = (small(), small().root());
    let refusal = |key: &[u8], change: Change| {
        let mut proof = state.prove(b"a2");
        change(&mut proof);
        proof.verify(key, &root).expect_err("changed")
    };
    assert_eq!(refusal(b"a1", |_| {}), BadProof::OtherKey { bit: 16 });
    assert_eq!(refusal(b"b1", |_| {}), BadProof::OtherKey { bit: 7 });
    assert_eq!(refusal(b"a2", |p| p.count = 2), BadProof::Count { count: 2, siblings: 2 });
    let swap = |p: &mut Proof| siblings(p, |s| s.swap(0, 1));
    assert_eq!(refusal(b"a2", swap), BadProof::Order { before: 16, bit: 7 });
    let deep = |p: &mut Proof| siblings(p, |s| s[1].bit = 864);
    assert_eq!(refusal(b"a2", deep), BadProof::Order { before: 7, bit: 864 });
    let error = refusal(b"a1", |_| {}).to_string();
    assert_eq!(error, "the key and the leaf's key are on different sides at bit 16");
}

#[test]
fn all_entries_of_a_prefix_are_proven_and_no_other_set() {
    for seed in 0..40 {
        let mut rng = SeededEntropy::new(seed);
        let (mut state, mut model) = (State::new(), Model::new());
        for _ in 0..60 {
            let key = key(&mut rng, 4);
            change(&mut state, &mut model, &mut rng, key);
        }
        let root = state.root();
        let prefix = key(&mut rng, 1);
        let all: Vec<(&[u8], &[u8])> = state.range(&prefix).collect();
        let Some((first, _)) = all.first() else { continue };
        let proof = state.prove(first);
        let given = |entries: &[(&[u8], &[u8])]| State::from_entries(entries.iter().copied());
        assert_eq!(proof.verify_all(&prefix, &given(&all), &root), Ok(()));
        // One less, one more, one that is another: whichever it is.
        let check = |entries: &State| proof.verify_all(&prefix, entries, &root);
        for at in 0..all.len() {
            let mut fewer = given(&all);
            fewer.remove(all[at].0);
            assert!(check(&fewer).is_err(), "{at} of {}", all.len());
            let mut other = given(&all);
            other.put(all[at].0, b"another".to_vec());
            assert!(check(&other).is_err(), "{at} of {}", all.len());
        }
        let mut more = given(&all);
        more.put(&[prefix.clone(), b"new".to_vec()].concat(), Vec::new());
        assert!(check(&more).is_err());
        let mut strange = given(&all);
        strange.put(b"strange", Vec::new());
        assert_eq!(check(&strange), Err(BadProof::NotAll { count: all.len() + 1 }));
        assert!(proof.verify_all(&prefix, &given(&all), &Digest::default()).is_err());
        assert_eq!(check(&State::new()), Err(BadProof::NotAll { count: 0 }));
    }
}

#[test]
fn the_empty_state_has_one_proof() {
    let (state, root) = (State::new(), State::new().root());
    let changes: [Change; 4] = [
        |p| siblings(p, |s| s.push(Sibling { bit: 1, hash: Digest::default() })),
        |p| p.count = 1,
        |p| leaf(p, b"a1", b"one"),
        |p| *p = small().prove(b"a1"),
    ];
    for change in changes {
        let mut proof = state.prove(b"a1");
        assert_eq!(proof.verify(b"a1", &root), Ok(None));
        change(&mut proof);
        assert!(proof.verify(b"a1", &root).is_err(), "{proof:?}");
    }
}

/// A node's two hashes do not pass for a leaf, nor a leaf for a node, whatever the lengths.
#[test]
fn an_inner_node_does_not_pass_for_a_leaf() {
    let state = State::from_entries([("a1", "one"), ("a2", "two")]);
    let proof = state.prove(b"a2");
    let below = state.prove(b"a1");
    let node = [16u16.to_be_bytes().as_slice(), below.siblings[0].hash.as_ref()].concat();
    let forged = Proof {
        count: 2,
        leaf: Some(Leaf {
            key: Blob::new(&node[..2]).expect("short"),
            value: Blob::new([&node[2..], proof.siblings[0].hash.as_ref()].concat())
                .expect("short"),
        }),
        siblings: no_siblings(),
    };
    for key in [&node[..2], b"a1", b"zz"] {
        let error = forged.verify(key, &state.root()).expect_err("a node is no leaf");
        assert!(matches!(error, BadProof::Root { .. }));
    }
}

/// The number of entries is under the root: a made-up top does not pass with another number.
#[test]
fn the_count_is_bound() {
    let top = Digest::from([7; 32]);
    assert_ne!(root_of(1, &top), root_of(2, &top));
    assert_eq!(root_of(0, &Digest::default()), State::new().root());
}

#[test]
fn proofs_over_the_limits_are_refused_unread() {
    let leaf = |key: u32, value: u32| {
        let mut bytes = 1u64.to_bytes();
        bytes.push(1);
        key.encode(&mut bytes);
        bytes.resize(bytes.len() + key as usize, 1);
        value.encode(&mut bytes);
        bytes
    };
    let over = |bytes: &[u8]| match Proof::decode_exact(bytes) {
        Err(DecodeError::OverLimit { got, limit, .. }) => (got, limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(over(&leaf(97, 0)), (97, KEY_BYTES_MAX));
    assert_eq!(over(&leaf(96, 65_537)), (65_537, VALUE_BYTES_MAX));
    let siblings = [0u64.to_bytes(), vec![0], 864u32.to_bytes()].concat();
    assert_eq!(over(&siblings), (864, DEPTH_MAX));
}

#[test]
fn the_longest_entry_fits() {
    let mut state = small();
    let (key, value) = (vec![7; KEY_BYTES_MAX], vec![8; VALUE_BYTES_MAX]);
    state.put(&key, value.clone());
    let proof = state.prove(&key);
    assert_eq!(Proof::decode_exact(&proof.to_bytes()).as_ref(), Ok(&proof));
    assert_eq!(proof.verify(&key, &state.root()), Ok(Some(&value[..])));
}

#[test]
#[should_panic(expected = "a key has 1 to 96 bytes, not 97")]
fn a_longer_key_is_our_bug() {
    small().put(&[7; 97], Vec::new());
}

#[test]
#[should_panic(expected = "a key has 1 to 96 bytes, not 0")]
fn an_empty_key_is_our_bug() {
    small().put(&[], Vec::new());
}

#[test]
#[should_panic(expected = "a value has at most 65536 bytes, not 65537")]
fn a_longer_value_is_our_bug() {
    small().put(b"a1", vec![0; 65_537]);
}
