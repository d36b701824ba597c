use serde_json::{Value, json};
use session_core::{AccountId, Entropy as _, SeededEntropy, Span, SwarmId, Time};

use super::super::{VMID, WRONG_VMID};
use super::{BadGenesis, Duties, Fee, Genesis, GenesisAccount, GenesisNode};

fn bytes(entropy: &mut SeededEntropy, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    entropy.fill(&mut bytes);
    bytes
}

fn genesis() -> Genesis {
    let mut entropy = SeededEntropy::new(3);
    let account = GenesisAccount {
        account: AccountId::from([1; 32]),
        balance: 900_000_000,
        keys: Some(bytes(&mut entropy, 3136)),
    };
    let other = GenesisAccount { account: AccountId::from([2; 32]), balance: 5, keys: None };
    let node = GenesisNode {
        operator: AccountId::from([1; 32]),
        kem_public_key: bytes(&mut entropy, 1184),
        dsa_public_key: bytes(&mut entropy, 1952),
        endpoint: "127.0.0.1:9651".parse().unwrap(),
        stake: 100_000_000,
        swarm: SwarmId(7),
    };
    let mut genesis = Genesis::new("lab", Time::from_millis(1_769_126_400_000));
    genesis.fee = Fee { base: 1000, per_kib: 10 };
    genesis.authority = Some(AccountId::from([9; 32]));
    genesis.duties = Duties {
        settle: Span::from_secs(1),
        examiners: 12,
        min_peers: 3,
        free_bytes_min: 4,
        activation_epochs: 5,
        penalty_bps: 6,
        penalty_bps_max: 7,
        misses_free: 8,
        slash_bps: 9,
        veto_window: Span::from_secs(10),
        drain_epochs_max: 11,
    };
    genesis.sequencer = Some(bytes(&mut entropy, 3136));
    genesis.accounts = vec![account, other];
    genesis.nodes = vec![node];
    genesis.supply = 1_000_000_005;
    genesis.limits.session_ttl = Some(Span::from_secs(60));
    genesis.limits.retention = Some(Span::from_days(3));
    genesis
}

fn table() -> Value {
    serde_json::from_str(&genesis().to_json()).unwrap()
}

fn parse(table: &Value) -> Result<(Genesis, Vec<String>), BadGenesis> {
    Genesis::parse(table.to_string().as_bytes())
}

#[test]
fn what_is_written_is_read_back() {
    let (read, unknown) = Genesis::parse(genesis().to_json().as_bytes()).unwrap();
    assert_eq!(read, genesis());
    assert!(unknown.is_empty());
    assert_eq!(read.to_json(), genesis().to_json());
}

#[test]
fn defaults_are_the_proposals() {
    let text =
        r#"{"version": 1, "network": "n", "time": "2026-01-23T00:00:00Z", "supply": 0} // end"#;
    let (read, _) = Genesis::parse(text.as_bytes()).unwrap();
    assert_eq!(read, Genesis::new("n", Time::from_millis(1_769_126_400_000)));
    assert_eq!((read.stake_min, read.swarm_size), (100_000_000, 10));
    assert_eq!((read.epoch, read.unbonding), (Span::from_secs(3600), Span::from_days(14)));
}

#[test]
fn the_shape_seen_in_the_wild() {
    let wild = json!({
        "vmID": VMID,
        "config": {
            "sessionTTL": 86400, "maxMessages": 10000, "maxChannels": 1000, "retentionDays": 30,
            "idPrefix": "07",
            "pqCrypto": {"keyExchange": "ML-KEM-768", "signature": "ML-DSA-65", "extra": 1},
            "colour": "blue",
        },
        "timestamp": 1_737_676_800, "alloc": {},
    });
    let (read, unknown) = parse(&wild).unwrap();
    assert_eq!(read.time, Time::from_millis(1_737_676_800_000));
    assert_eq!(read.limits.messages_max, Some(10_000));
    assert_eq!((read.accounts.len(), read.nodes.len(), read.supply), (0, 0, 0));
    assert_eq!(unknown, ["config.colour", "config.pqCrypto.extra", "alloc"]);
    let mut text = wild.clone();
    text["timestamp"] = "2025-01-24T00:00:00Z".into();
    assert_eq!(parse(&text).unwrap().0, read);
    for (timestamp, why) in [
        (json!(1_737_676_800_000_u64), "seconds"),
        (json!(null), "missing"),
        (json!("x"), "RFC 3339"),
    ] {
        let mut bad = wild.clone();
        bad["timestamp"] = timestamp;
        let error = parse(&bad).unwrap_err().to_string();
        assert!(error.starts_with("timestamp: ") && error.contains(why), "{error}");
    }
}

#[test]
fn an_old_genesis_is_read_back_from_our_form() {
    for timestamp in [0, 1, 99_999_999_999_u64] {
        let (read, _) = parse(&json!({"vmID": VMID, "timestamp": timestamp})).unwrap();
        assert_eq!(Genesis::parse(read.to_json().as_bytes()).unwrap().0, read);
    }
}

#[test]
fn the_wrong_vmid_names_the_right_one() {
    for mut table in [table(), json!({"timestamp": 1})] {
        table["vmID"] = WRONG_VMID.into();
        let error = parse(&table).unwrap_err();
        assert!(
            matches!(error, BadGenesis::VmId(_)) && error.to_string().contains(VMID),
            "{error}"
        );
    }
    assert_eq!(parse(&json!({"nonsense": "x"})), Err(BadGenesis::Form));
    // Whoever forgot the version is not told about the other form.
    let error = parse(&json!({"network": "x", "timestamp": 1})).unwrap_err().to_string();
    assert!(error.starts_with("version: it is missing"), "{error}");
    assert!(matches!(Genesis::parse(b"[1]"), Err(BadGenesis::Text(_))));
}

#[test]
fn every_wrong_field_is_named() {
    let cases = [
        ("/version", json!(2), "version"),
        ("/network", json!(""), "network"),
        ("/network", json!("n".repeat(65)), "network"),
        ("/time", json!(1_769_126_400), "time"),
        ("/time", json!("yesterday"), "time"),
        ("/time", json!(u64::MAX), "time"),
        ("/epochSeconds", json!(0), "epochSeconds"),
        ("/stakeMin", json!(-1), "stakeMin"),
        ("/stakeMin", json!(100_000_001), "nodes[0].stake"),
        ("/fee", json!(1), "fee"),
        ("/fee/perKib", json!("1.5"), "fee.perKib"),
        ("/swarmSize", json!(0), "swarmSize"),
        ("/swarmSize", json!(1001), "swarmSize"),
        ("/unbondingSeconds", json!("a"), "unbondingSeconds"),
        ("/sequencer", json!("00"), "sequencer"),
        ("/authority", json!("05"), "authority"),
        ("/settleSeconds", json!(86_401), "settleSeconds"),
        ("/examiners", json!(0), "examiners"),
        ("/examiners", json!(33), "examiners"),
        ("/minPeers", json!(0), "minPeers"),
        ("/minPeers", json!(13), "minPeers"),
        ("/freeBytesMin", json!("much"), "freeBytesMin"),
        ("/activationEpochs", json!(0), "activationEpochs"),
        ("/penaltyBps", json!(10_001), "penaltyBps"),
        ("/penaltyBpsMax", json!(10_001), "penaltyBpsMax"),
        ("/missesFree", json!(256), "missesFree"),
        ("/slashBps", json!(10_001), "slashBps"),
        ("/vetoWindowSeconds", json!(-1), "vetoWindowSeconds"),
        ("/drainEpochsMax", json!(13), "drainEpochsMax"),
        ("/accounts", json!({}), "accounts"),
        ("/accounts/1", json!([]), "accounts[1]"),
        ("/accounts/1/account", json!(format!("05{}", "00".repeat(32))), "accounts[1].account"),
        ("/accounts/1/account", json!(format!("07{}", "01".repeat(32))), "accounts[1].account"),
        ("/accounts/1/balance", json!(null), "accounts[1].balance"),
        ("/accounts/0/keys", json!("zz"), "accounts[0].keys"),
        ("/nodes/0/operator", json!(null), "nodes[0].operator"),
        ("/nodes/0/kemPublicKey", json!("00"), "nodes[0].kemPublicKey"),
        ("/nodes/0/dsaPublicKey", json!(7), "nodes[0].dsaPublicKey"),
        ("/nodes/0/endpoint", json!("localhost"), "nodes[0].endpoint"),
        ("/nodes/0/stake", json!("99999999"), "nodes[0].stake"),
        ("/nodes/0/swarm", json!("x"), "nodes[0].swarm"),
        ("/nodes/0/swarm", json!(null), "nodes[0].swarm"),
        ("/workloadSecondsMax", json!(0), "workloadSecondsMax"),
        ("/supply", json!(null), "supply"),
        ("/config/retentionDays", json!(0), "config.retentionDays"),
    ];
    for (pointer, value, name) in cases {
        let mut table = table();
        *table.pointer_mut(pointer).unwrap() = value;
        match parse(&table) {
            Err(BadGenesis::Field(bad)) => assert_eq!(bad.field, name, "{pointer}: {bad}"),
            other => panic!("{pointer}: {other:?}"),
        }
    }
}

#[test]
fn sums_must_agree() {
    let mut wrong = table();
    wrong["supply"] = "1000000006".into();
    let sums = BadGenesis::Supply { supply: 1_000_000_006, sum: 1_000_000_005 };
    assert_eq!(parse(&wrong), Err(sums));
    let mut over = table();
    over["accounts"][1]["balance"] = u64::MAX.to_string().into();
    assert_eq!(parse(&over), Err(BadGenesis::Overflow { field: "accounts[1].balance".into() }));
}

#[test]
fn two_nodes_do_not_share_a_key() {
    let mut twice = table();
    let mut node = twice["nodes"][0].clone();
    node["kemPublicKey"] = "ab".repeat(1184).into();
    twice["nodes"].as_array_mut().unwrap().push(node);
    let error = parse(&twice).unwrap_err().to_string();
    assert_eq!(error, "nodes[1].dsaPublicKey: another node has it");
}

#[test]
fn unknown_keys_are_returned() {
    let mut odd = table();
    odd["colour"] = 1.into();
    odd["fee"]["tip"] = 1.into();
    odd["nodes"][0]["name"] = "n".into();
    let (read, unknown) = parse(&odd).unwrap();
    assert_eq!(read, genesis());
    assert_eq!(unknown, ["fee.tip", "nodes[0].name", "colour"]);
}
