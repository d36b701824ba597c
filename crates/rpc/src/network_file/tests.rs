use session_core::{AccountId, NodeId, SwarmId};

use super::{BadNetworkText, NetworkFile, NodeEntry, Placement, swarm_id};

fn file() -> NetworkFile {
    let node = |byte: u8| NodeEntry {
        id: NodeId::from([byte; 32]),
        kem_public_key: vec![byte; 1184],
        dsa_public_key: vec![byte; 1952],
        address: format!("127.0.0.1:{}", 9651 + u16::from(byte)).parse().unwrap(),
        swarm: SwarmId(u64::MAX - u64::from(byte)),
        // Files from before these had a place say nothing of them.
        operator: (byte == 1).then(|| AccountId::from([0xab; 32])),
        stake: (byte == 1).then_some(1_000_000_000_000_000),
    };
    NetworkFile {
        network: "a \"quoted\"\nname".into(),
        placement: Placement::Mod,
        nodes: vec![node(0), node(1)],
    }
}

fn refused(text: &str) -> String {
    NetworkFile::parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read() {
    let (read, unknown) = NetworkFile::parse(&file().to_toml()).unwrap();
    assert_eq!(read, file());
    assert!(unknown.is_empty());
}

#[test]
fn errors_name_node_and_field() {
    let whole = file().to_toml();
    let id = NodeId::from([1; 32]).to_string();
    let cases = [
        (whole.replace(&id, "zz"), "node[1].id: "),
        (
            whole.replace(&"01".repeat(1184), "0101"),
            "node[1].kem_public_key: it holds 2 bytes, it must hold 1184",
        ),
        (whole.replace("127.0.0.1:9652", "127.0.0.1"), "node[1].address: "),
        (whole.replace("ffffffffffffffff", "x"), "node[0].swarm: "),
        (whole.replace("swarm = \"ffffffffffffffff\"\n", ""), "node[0].swarm: it is missing"),
        (whole.replace("swarm = \"ffffffffffffffff\"", "swarm = -1"), "node[0].swarm: "),
        (whole.replace("\"mod\"", "\"near\""), "placement: "),
        (whole.replace("operator = \"07", "operator = \"06"), "node[1].operator: "),
        (whole.replace("stake = 1", "stake = -1"), "node[1].stake: "),
        ("network = \"x\"".to_owned(), "node: it is missing"),
        ("network = \"x\"\nnode = [7]".to_owned(), "node[0]: "),
        ("node = []".to_owned(), "network: it is missing"),
    ];
    for (text, expected) in cases {
        let error = refused(&text);
        assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
    }
    assert!(matches!(NetworkFile::parse("network = "), Err(BadNetworkText::Syntax(_))));
}

#[test]
fn unknown_keys_are_reported_not_refused() {
    let text = file().to_toml().replace("placement", "colour = \"red\"\nplacement");
    let text = text.replace("[[node]]\n", "[[node]]\nheight = 7\n");
    let (read, unknown) = NetworkFile::parse(&text).unwrap();
    assert_eq!(read, file());
    assert_eq!(unknown, ["colour", "node[0].height", "node[1].height"]);
}

#[test]
fn swarms_are_numbers_or_hex() {
    assert_eq!(swarm_id("0x1f"), Some(SwarmId(31)));
    assert_eq!(swarm_id("ffffffffffffffff"), Some(SwarmId(u64::MAX)));
    for bad in ["", "0x", "g", "+1", "10000000000000000"] {
        assert_eq!(swarm_id(bad), None, "{bad}");
    }
    let text = file().to_toml().replace("swarm = \"ffffffffffffffff\"", "swarm = 255");
    assert_eq!(NetworkFile::parse(&text).unwrap().0.nodes[0].swarm, SwarmId(255));
}
