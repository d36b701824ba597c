use super::*;

fn parse_with(args: &[&str], variables: &[(&str, &str)]) -> Result<Task> {
    let args = std::iter::once("sessionvm").chain(args.iter().copied()).map(OsString::from);
    let find = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    parse(args, find)
}

#[test]
fn luxds_variables_win_over_avalanchegos() {
    let both = [
        ("AVALANCHE_VM_RUNTIME_ENGINE_ADDR", "127.0.0.1:1"),
        ("VM_RUNTIME_ENGINE_ADDR", "127.0.0.1:2"),
    ];
    assert_eq!(parse_with(&[], &both).unwrap(), Task::Luxd("127.0.0.1:2".to_owned()));
    let legacy = [("LUX_VM_RUNTIME_ENGINE_ADDR", "127.0.0.1:3")];
    assert_eq!(parse_with(&[], &legacy).unwrap(), Task::Luxd("127.0.0.1:3".to_owned()));
    assert_eq!(parse_with(&[], &both[..1]).unwrap(), Task::Avalanche("127.0.0.1:1".to_owned(), 45));
}

#[test]
fn a_transport_without_an_address_is_named() {
    let error = parse_with(&[], &[("VM_TRANSPORT", "zap")]).unwrap_err();
    assert!(error.to_string().contains("VM_RUNTIME_ENGINE_ADDR"), "{error}");
}

#[test]
fn the_protocol_number_has_two_overrides() {
    let host = ("AVALANCHE_VM_RUNTIME_ENGINE_ADDR", "a:1");
    let number = |args: &[&str], more: &[(&str, &str)]| {
        let variables: Vec<_> = std::iter::once(host).chain(more.iter().copied()).collect();
        match parse_with(args, &variables).unwrap() {
            Task::Avalanche(_, number) => number,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(number(&[], &[]), 45);
    assert_eq!(number(&[], &[("GRPC_SESSIONVM_PROTOCOL", "46")]), 46);
    assert_eq!(number(&["--rpcchainvm", "47"], &[("GRPC_SESSIONVM_PROTOCOL", "46")]), 47);
    let error = parse_with(&[], &[host, ("GRPC_SESSIONVM_PROTOCOL", "new")]).unwrap_err();
    assert!(error.to_string().contains("\"new\" is not a protocol number"), "{error}");
}

#[test]
fn alone_it_listens_on_loopback_unless_told_otherwise() {
    let Task::Alone(settings) = parse_with(&[], &[]).unwrap() else { panic!("not alone") };
    assert_eq!(settings.listen, "127.0.0.1:9652".parse().unwrap());
    assert_eq!((settings.data_dir, settings.follow), (None, None));
    let Task::Alone(settings) = parse_with(&["--listen", ":9652"], &[]).unwrap() else {
        panic!("not alone")
    };
    assert_eq!(settings.listen, "0.0.0.0:9652".parse().unwrap());
}

#[test]
fn version_json_is_what_tools_ask_for() {
    let Task::Print(text) = parse_with(&["version-json"], &[]).unwrap() else { panic!() };
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["name"], "sessionvm");
    assert_eq!(json["vmid"], "speKUgLBX6WRD5cfGeEfLa43LxTXUBckvtv4td6F3eTXvRP48");
    assert_eq!(json["rpcchainvm"], 45);
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn wrong_flags_are_named() {
    for (args, needle) in [
        (&["--block-time", "1"][..], "--block-time"),
        (&["--follow", "https://x"], "--follow"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--compat", "rust"], "--compat"),
        (&["--nonsense"], "--nonsense"),
        (&["install"], "<DIR>"),
    ] {
        let error = parse_with(args, &[]).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains(needle), "{args:?}: {error}");
    }
}
