//! Every row of `vectors/reference.json` but the identities, which need cryptography.
//!
//! Row counts are written down: a row that disappears is a failure, not less work.

use std::sync::LazyLock;

use serde_json::Value;
use session_core::committee::Committee;
use session_core::id::{from_cb58, to_cb58};
use session_core::merkle::go_v1;
use session_core::seed_ids::{self, Attempt, AttestationDomain, Attested, Delivery};
use session_core::{Digest, Epoch, NodeId, sha256};

static REFERENCE: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/reference.json");
    let text = std::fs::read(path).expect("vectors/reference.json is part of the repository");
    serde_json::from_slice(&text).expect("vectors/reference.json is JSON")
});

/// The rows of a list, of which there must be exactly `count`.
fn rows(list: &'static Value, count: usize) -> &'static [Value] {
    let rows = list.as_array().expect("a list of rows");
    assert_eq!(rows.len(), count, "rows are missing or new");
    rows
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_else(|| panic!("the row has no text {field}"))
}

fn bytes(row: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(row, field)).unwrap_or_else(|error| panic!("{field} is not hex: {error}"))
}

fn id<T: From<[u8; 32]>>(row: &Value, field: &str) -> T {
    let bytes = <[u8; 32]>::try_from(bytes(row, field));
    bytes.unwrap_or_else(|_| panic!("{field} has not 32 bytes")).into()
}

fn long(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap_or_else(|| panic!("the row has no number {field}"))
}

fn word(row: &Value, field: &str) -> u32 {
    u32::try_from(long(row, field)).unwrap_or_else(|_| panic!("{field} is no u32"))
}

fn epoch(row: &Value) -> Epoch {
    Epoch(long(row, "epoch"))
}

#[test]
fn no_part_of_the_vectors_is_left_out() {
    let parts: Vec<_> = REFERENCE.as_object().expect("an object").keys().collect();
    let tested_here = [
        "attestations",
        "cb58",
        "committee_assignment",
        "epoch_beacon",
        "oracle_records",
        "receipts",
        "request_id",
        "session_id",
    ];
    let tested_in_crypto = ["identities"];
    let mut known = [&tested_here[..], &tested_in_crypto].concat();
    known.sort_unstable();
    assert_eq!(parts, known);
}

#[test]
fn session_ids() {
    for row in rows(&REFERENCE["session_id"], 4) {
        let computed = seed_ids::session_id(&id(row, "service"), epoch(row), &id(row, "tx"));
        assert_eq!(computed, id(row, "session_id"));
    }
}

#[test]
fn request_ids() {
    for row in rows(&REFERENCE["request_id"], 4) {
        let attempt = Attempt { step: word(row, "step"), retry: word(row, "retry") };
        let (service, session, tx) = (id(row, "service"), id(row, "session"), id(row, "tx"));
        let computed = seed_ids::request_id(&service, &session, attempt, &tx);
        assert_eq!(computed, id(row, "request_id"));
    }
}

#[test]
fn oracle_records_and_their_roots() {
    let request = id(&REFERENCE["oracle_records"], "request_id");
    let mut leaves = Vec::new();
    for row in rows(&REFERENCE["oracle_records"]["records"], 9) {
        let data_hash = Digest::from(sha256(&bytes(row, "data")));
        assert_eq!(data_hash, id(row, "data_hash"));
        let computed = seed_ids::record_id(&request, &id(row, "submitter"), &data_hash);
        assert_eq!(computed, id(row, "record_id"));
        leaves.push(data_hash);
        check_go_v1(&leaves, id(row, "go_v1_root_of_first_n_plus_1"));
    }
}

#[test]
fn receipts_and_their_roots() {
    let mut leaves = Vec::new();
    for row in rows(&REFERENCE["receipts"], 5) {
        let computed = seed_ids::receipt_id(&Delivery {
            session: id(row, "session"),
            step: word(row, "step"),
            message_hash: id(row, "message_hash"),
            sender: id(row, "sender"),
            receiver: id(row, "receiver"),
        });
        assert_eq!(computed, id(row, "receipt_id"));
        leaves.push(computed);
        check_go_v1(&leaves, id(row, "go_v1_root_of_first_n_plus_1"));
    }
}

fn check_go_v1(leaves: &[Digest], root: Digest) {
    assert_eq!(go_v1::root(leaves), Some(root));
    for (index, leaf) in leaves.iter().enumerate() {
        let proof = go_v1::prove(leaves, index as u64).expect("the leaf is in the tree");
        assert_eq!(proof.verify(leaf, &root), Ok(()));
    }
}

#[test]
fn attestations() {
    let mut domains = Vec::new();
    for row in rows(&REFERENCE["attestations"], 4) {
        let domain: AttestationDomain = text(row, "domain").parse().expect("a known domain");
        assert_eq!(domain.separator(), text(row, "separator"));
        let attested = Attested {
            domain,
            subject: id(row, "subject"),
            commit_root: id(row, "commit_root"),
            epoch: epoch(row),
        };
        assert_eq!(attested.payload(), bytes(row, "signing_payload"));
        assert_eq!(attested.id(), id(row, "attestation_id"));
        domains.push(domain);
    }
    domains.sort_unstable();
    assert_eq!(domains, AttestationDomain::ALL, "each domain has its row");
}

#[test]
fn epoch_beacon() {
    let row = &REFERENCE["epoch_beacon"];
    let computed = seed_ids::beacon_id(epoch(row), &id(row, "randomness"), &id(row, "previous"));
    assert_eq!(computed, id(row, "beacon_id"));
}

#[test]
fn committees() {
    for row in rows(&REFERENCE["committee_assignment"], 4) {
        assert_eq!(text(row, "nodes"), "sha256(\"node-i\") for i in 0..n");
        let nodes: Vec<NodeId> =
            (0..long(row, "n")).map(|i| sha256(format!("node-{i}").as_bytes()).into()).collect();
        let (randomness, service) = (id(row, "randomness"), id(row, "service"));
        let committee = Committee::assign(&randomness, &service, epoch(row), &nodes)
            .expect("enough nodes for a committee");
        let members: Vec<_> = committee.members().iter().map(NodeId::to_string).collect();
        assert_eq!(Value::from(members), row["committee"]);
        assert_eq!(committee.quorum() as u64, long(row, "quorum"));
    }
}

#[test]
fn cb58() {
    for row in rows(&REFERENCE["cb58"], 3) {
        assert_eq!(to_cb58(&id(row, "bytes")), text(row, "text"));
        assert_eq!(from_cb58(text(row, "text")), Ok(id(row, "bytes")));
    }
}
