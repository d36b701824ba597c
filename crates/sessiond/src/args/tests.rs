use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use session_swarm::coordinator::Lie;

use super::orders::Order;
use super::{Settings, Task, parse};

fn settings(args: &[&str]) -> Settings {
    match parse(args_of(args)) {
        Ok(Task::Run(settings)) => settings,
        other => panic!("not a node to run: {other:?}"),
    }
}

fn refused(args: &[&str]) -> String {
    let failure = parse(args_of(args)).unwrap_err();
    assert_eq!(failure.code(), 2);
    let text = failure.to_string();
    assert!(!text.contains('\n'), "{text:?} is more than a line");
    text
}

fn args_of(args: &[&str]) -> Vec<OsString> {
    std::iter::once("sessiond").chain(args.iter().copied()).map(OsString::from).collect()
}

#[test]
fn one_dash_and_two_are_the_same() {
    let one = ["-listen", ":9651", "-data-dir", "", "-max-sessions", "7", "-bootstrap=a:1, b:2"];
    let two = ["--listen", ":9651", "--data-dir", "", "--max-sessions=7", "--bootstrap", "a:1,b:2"];
    let settings = settings(&one);
    assert_eq!(settings, self::settings(&two));
    assert_eq!(settings.listen, "0.0.0.0:9651".parse().unwrap());
    assert_eq!((settings.data_dir, settings.max_sessions), (None, 7));
    assert_eq!(settings.bootstrap.len(), 2);
}

#[test]
fn nothing_is_exposed_by_default() {
    let settings = settings(&[]);
    assert_eq!(settings.listen, "127.0.0.1:9651".parse().unwrap());
    assert_eq!(settings.http, Some("127.0.0.1:9653".parse().unwrap()));
    assert_eq!((settings.data_dir, settings.max_sessions), (None, 100));
    assert_eq!(settings.client_rate, Some(500));
    assert_eq!(settings.connectors, None);
    let connectors = self::settings(&["-connectors", "c.toml"]).connectors;
    assert_eq!(connectors, Some("c.toml".into()));
    assert_eq!(self::settings(&["-client-rate", "0"]).client_rate, None);
    assert_eq!(self::settings(&["--http", ""]).http, None);
    assert_eq!(self::settings(&["-data-dir", ":memory:"]).data_dir, None);
}

#[test]
fn help_and_version_are_printed() {
    for (flag, expected) in [("-version", "sessiond "), ("--help", "Usage: sessiond")] {
        let Ok(Task::Print(text)) = parse(args_of(&[flag])) else { panic!("{flag} is printed") };
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn wrong_values_name_their_flag() {
    assert!(refused(&["-listen", "9651"]).starts_with("--listen: "));
    assert!(refused(&["-http", "localhost:x"]).starts_with("--http: "));
    assert!(refused(&["-bootstrap", "a:1,b"]).starts_with("--bootstrap: \"b\""));
    assert!(refused(&["-max-sessions", "0"]).starts_with("--max-sessions: "));
    assert!(refused(&["-max-sessions", "-1"]).contains("max-sessions"));
    assert!(refused(&["-max-sessions", "many"]).starts_with("--max-sessions: "));
    assert!(refused(&["-data-bytes-max", "1000"]).contains("16777216"));
    assert!(refused(&["-client-rate", "-1"]).starts_with("--client-rate: "));
    assert!(refused(&["-colour", "red"]).contains("--colour"));
    assert!(refused(&["-network", ""]).starts_with("--network: "));
    assert!(refused(&["-config", "/nonexistent/file"]).contains("/nonexistent/file"));
    assert!(refused(&["keygen", "--data-dir", "x", "--address", "y"]).starts_with("--address: "));
}

#[test]
fn flags_win_over_the_file_and_unknown_keys_warn() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"listen = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"\ncolour = 3\n").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let path = path.as_str();
    let settings = settings(&["-config", path, "-listen", "127.0.0.1:4"]);
    assert_eq!(settings.listen, "127.0.0.1:4".parse().unwrap());
    assert_eq!(settings.http, Some("127.0.0.1:2".parse().unwrap()));
    assert!(settings.warnings[0].ends_with("colour is not known"), "{:?}", settings.warnings);
    file.write_all(b"max-sessions = 0\n").unwrap();
    assert!(refused(&["-config", path]).contains("max_sessions"));
}

#[test]
fn keygen_knows_its_file() {
    let args = ["keygen", "--data-dir", "d", "--address", "192.0.2.1:9651", "--swarm", "ff"];
    let Ok(Task::Keygen { identity, address, swarm }) = parse(args_of(&args)) else {
        panic!("a whole keygen is a keygen")
    };
    assert_eq!(identity, PathBuf::from("d/node.key"));
    assert_eq!((address.to_string().as_str(), swarm.0), ("192.0.2.1:9651", 255));
}

fn order(args: &[&str]) -> Order {
    match parse(args_of(args)) {
        Ok(Task::Order(order)) => order,
        other => panic!("not an order: {other:?}"),
    }
}

#[test]
fn a_chain_needs_its_genesis_and_no_network_file() {
    let with = settings(&["--data-dir", "d", "--chain", "http://a:1, http://b:2/x"]).chain.unwrap();
    assert_eq!((with.sources.len(), with.genesis), (2, PathBuf::from("d/genesis.json")));
    let named = settings(&["--chain", "http://a:1", "--genesis", "g"]).chain.unwrap();
    assert_eq!(named.genesis, PathBuf::from("g"));
    assert!(refused(&["--chain", "http://a:1"]).starts_with("--genesis: "));
    assert!(refused(&["--data-dir", "d", "--chain", ","]).starts_with("--chain: "));
    assert!(refused(&["--data-dir", "d", "--chain", "https://a:1"]).contains("https"));
    assert!(
        refused(&["--network", "n", "--genesis", "g", "--chain", "http://a:1"])
            .contains("--network")
    );
}

#[test]
fn lies_are_told_apart_and_not_in_the_usual_help() {
    assert_eq!(settings(&["--lie", "drop-items=10"]).lie, Some(Lie::DropItems { percent: 10 }));
    assert_eq!(settings(&["--lie", "equivocate"]).lie, Some(Lie::Equivocate));
    for wrong in ["drop-items", "drop-items=0", "drop-items=101", "equivocate=1", "else"] {
        assert!(refused(&["--lie", wrong]).starts_with("--lie: "), "{wrong}");
    }
    let Ok(Task::Print(help)) = parse(args_of(&["--help"])) else { panic!("help is printed") };
    assert!(!help.contains("--lie"), "{help}");
    let Ok(Task::Print(hidden)) = parse(args_of(&["--help-hidden"])) else { panic!("so is this") };
    assert!(hidden.contains("--lie") && hidden.starts_with("For demonstrations only"));
}

#[test]
fn orders_know_their_node_and_chain() {
    let own = ["--data-dir", "d", "--chain", "http://a:1"];
    let with = |more: &[&'static str]| {
        let (name, rest) = more.split_first().unwrap();
        [&[*name][..], &own, rest].concat()
    };
    let Order::Register { identity, stake, address, .. } =
        order(&with(&["register", "--address", "h:1", "--operator-key", "o", "--stake", "250.5"]))
    else {
        panic!("it registers")
    };
    assert_eq!(identity, PathBuf::from("d/node.key"));
    assert_eq!((address.to_string().as_str(), stake.unwrap().0), ("h:1", 250_500_000));
    let Order::Drain { epochs, .. } = order(&with(&["drain"])) else { panic!("it drains") };
    assert_eq!(epochs, 1);
    let back = order(&with(&["drain", "--resume"]));
    assert!(matches!(back, Order::Drain { epochs: 0, .. }), "{back:?}");
    assert!(refused(&with(&["drain", "--epochs", "0"])).starts_with("--epochs: "));
    assert!(refused(&with(&["drain", "--epochs", "2", "--resume"])).contains("--resume"));
    assert!(
        refused(&with(&["register", "--address", "h", "--operator-key", "o"]))
            .contains("--address")
    );
    assert!(refused(&["register", "--data-dir", "d"]).contains("--chain"));
    let status = order(&["status", "--data-dir", "d"]);
    assert!(matches!(status, Order::Status { chain: None, json: false, .. }), "{status:?}");
    let Order::Doctor(checkup) = order(&["doctor", "--data-dir", "d", "--http", "", "--json"])
    else {
        panic!("it checks")
    };
    assert!(checkup.http.is_none() && checkup.json && checkup.chain.is_none());
}
