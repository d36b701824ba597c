//! No text from a client or an operator makes the parsers panic, and what is written is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_rpc::address::{HostPort, Listen};
use session_rpc::api::Method;
use session_rpc::config::Config;
use session_rpc::json_rpc::{self, Call, Incoming, Response};
use session_rpc::network_file::{NetworkFile, swarm_id};

fn call(call: &Call) {
    let outcome = Method::parse(call).map(|_| "done".into());
    let id = call.id.clone().unwrap_or_default();
    let failed = outcome.is_err();
    let response = Response::new(id, outcome);
    assert_eq!(response.error().is_some(), failed);
    assert!(!response.to_json().is_empty());
}

fn body(bytes: &[u8]) {
    let calls = match json_rpc::parse(bytes) {
        Ok(Incoming::Single(call)) => vec![call],
        Ok(Incoming::Batch(calls)) => calls,
        Err(error) => {
            assert!(!error.message.is_empty());
            return;
        }
    };
    for parsed in calls.iter().flatten() {
        call(parsed);
    }
}

fn network_file(text: &str) {
    if let Ok((file, _)) = NetworkFile::parse(text) {
        let (again, unknown) = NetworkFile::parse(&file.to_toml()).expect("just written");
        assert_eq!(again, file);
        assert!(unknown.is_empty());
        drop(session_protocol::network_file::membership(&file));
    }
}

fn addresses(text: &str) {
    if let Ok(address) = text.parse::<HostPort>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(address) = text.parse::<Listen>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Some(swarm) = swarm_id(text) {
        assert_eq!(swarm_id(&swarm.to_string()), Some(swarm));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    if kind.is_multiple_of(2) {
        return body(bytes);
    }
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    match kind % 6 {
        1 => network_file(text),
        3 => drop(Config::parse(text)),
        _ => addresses(text),
    }
});
