use super::{Edge, complaints, parse, pure_packages, reaches_the_world};

fn edge(from: &str, to: &str) -> Edge {
    Edge { from: from.to_owned(), to: to.to_owned(), dev: false }
}

fn dev(from: &str, to: &str) -> Edge {
    Edge { dev: true, ..edge(from, to) }
}

#[track_caller]
fn allowed(edge: Edge) {
    assert_eq!(complaints(&[edge]), Vec::<String>::new());
}

/// The edge alone is refused, with a message that names both ends and the rule.
#[track_caller]
fn refused(edge: Edge, rule: &str) {
    let complaints = complaints(std::slice::from_ref(&edge));
    assert_eq!(complaints.len(), 1, "{edge:?}");
    for part in [edge.from.as_str(), edge.to.as_str(), rule] {
        assert!(complaints[0].contains(part), "{:?} does not say {part:?}", complaints[0]);
    }
}

#[test]
fn lower_levels_may_be_used() {
    allowed(edge("session-crypto", "session-core"));
    allowed(edge("session-swarm", "session-storage"));
    allowed(edge("session-daemon", "session-network"));
    allowed(edge("session-client", "session-messaging"));
    allowed(edge("session-sim", "session-daemon"));
    allowed(edge("sessiond", "session-runtime"));
    allowed(edge("session-cli", "session-rpc"));
    allowed(edge("session-runtime", "session-crypto"));
}

#[test]
fn equal_and_higher_levels_may_not() {
    refused(edge("session-core", "session-crypto"), "lower levels only");
    refused(edge("session-network", "session-swarm"), "lower levels only");
    refused(edge("session-swarm", "session-messaging"), "lower levels only");
    refused(edge("session-storage", "session-rpc"), "lower levels only");
    refused(edge("session-client", "session-daemon"), "lower levels only");
    refused(edge("sessiond", "session-cli"), "6 and 6");
    refused(edge("session-sim", "sessiond"), "5 and 6");
    refused(edge("session-protocol", "session-daemon"), "2 and 4");
    refused(edge("session-core", "session-core"), "lower levels only");
}

#[test]
fn pure_rooms_do_not_see_the_runtime() {
    for package in ["session-swarm", "session-daemon", "session-client", "session-sim"] {
        refused(edge(package, "session-runtime"), "only binaries");
        refused(dev(package, "session-runtime"), "only binaries");
    }
}

#[test]
fn absences_by_name() {
    refused(edge("sessiond", "session-sim"), "no simulator");
    refused(edge("session-runtime", "session-storage"), "understands nothing");
    refused(edge("session-swarm", "session-rpc"), "levels 4 and above");
    refused(edge("session-daemon", "session-messaging"), "what people say");
    refused(edge("session-client", "session-storage"), "node's tables");
}

#[test]
fn tests_may_use_what_is_below_and_any_outside_crate() {
    allowed(dev("session-runtime", "session-storage"));
    allowed(dev("session-daemon", "session-messaging"));
    allowed(dev("session-core", "serde_json"));
    allowed(dev("session-crypto", "session-crypto"));
    refused(dev("session-core", "session-crypto"), "lower levels only");
    refused(dev("session-swarm", "session-sim"), "lower levels only");
}

#[test]
fn a_crate_without_a_level_is_not_waved_through() {
    refused(edge("session-new", "thiserror"), "no level");
    refused(edge("session-client", "session-new"), "no level");
    let metadata = br#"{"packages": [{"name": "session-new", "dependencies": []}]}"#;
    assert_eq!(complaints(&parse(metadata).unwrap()).len(), 1, "even without dependencies");
}

#[test]
fn outside_crates_have_owners() {
    for serde in ["serde", "serde_json", "toml"] {
        allowed(edge("session-rpc", serde));
        refused(edge("session-protocol", serde), "belongs to session-rpc");
    }
    for shell in ["tokio", "quinn", "hyper", "hyper-util", "quinn-proto", "tokio-util"] {
        allowed(edge("session-runtime", shell));
        allowed(edge("sessiond", shell));
        refused(edge("session-daemon", shell), "belongs to session-runtime");
    }
    for crypto in
        ["libcrux-ml-kem", "chacha20poly1305", "argon2", "blake3", "blake2b_simd", "ed25519-dalek"]
    {
        allowed(edge("session-crypto", crypto));
        refused(edge("session-swarm", crypto), "belongs to session-crypto");
        refused(edge("session-runtime", crypto), "belongs to session-crypto");
    }
    allowed(edge("session-runtime", "aws-lc-rs"));
    allowed(edge("session-runtime", "rustls"));
    refused(edge("session-crypto", "rustls"), "belongs to session-runtime");
    refused(edge("session-network", "rustls"), "belongs to session-runtime");
    allowed(edge("session-runtime", "getrandom"));
    refused(edge("session-swarm", "getrandom"), "belongs to session-runtime");
    allowed(edge("session-core", "sha2"));
    allowed(edge("session-core", "rand_chacha"));
}

#[test]
fn tools_and_rooms_are_apart() {
    refused(edge("xtask", "session-core"), "tools and rooms");
    refused(edge("sessiond", "xtask"), "tools and rooms");
    allowed(edge("xtask", "serde_json"));
}

const METADATA: &[u8] = br#"{"packages": [
    {"name": "session-swarm", "dependencies": [
        {"name": "session-core", "kind": null, "rename": "core"},
        {"name": "tokio", "kind": "build"},
        {"name": "serde_json", "kind": "dev"}
    ]},
    {"name": "xtask", "dependencies": []}
]}"#;

#[test]
fn metadata_becomes_edges() {
    let edges = parse(METADATA).unwrap();
    let expected = [
        dev("session-swarm", "session-swarm"),
        edge("session-swarm", "session-core"),
        edge("session-swarm", "tokio"),
        dev("session-swarm", "serde_json"),
        dev("xtask", "xtask"),
    ];
    assert_eq!(edges, expected);
    assert_eq!(complaints(&edges).len(), 1, "only the build dependency on tokio is wrong");
    assert_eq!(pure_packages(&edges).into_iter().collect::<Vec<_>>(), ["session-swarm"]);
}

#[test]
fn metadata_of_another_form_is_an_error_not_an_empty_list() {
    for bad in ["", "{}", r#"{"packages": [{}]}"#, r#"{"packages": [{"name": "x"}]}"#] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_detour_to_the_world_is_found() {
    let tree = "session-swarm v0.1.0 (/somewhere)\nmionic v1.0.0\nhelper v1.0.0\ntokio v1.50.0\nmio v1.0.0 (*)\n";
    let found = reaches_the_world("session-swarm", tree);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("session-swarm reaches mio:"));
    assert!(found[1].starts_with("session-swarm reaches tokio:"));
}
