//! No text from a client, a host or an operator makes the parsers of SessionVM panic, and what is
//! written is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_rpc::json_rpc::{self, Call, Incoming, Response};
use session_rpc::vm::config::Limits;
use session_rpc::vm::{Config, Genesis, Method, Profile, check_vmid, rfc3339};

fn call(call: &Call) {
    let strict = Method::parse(call, Profile::Strict);
    let go = Method::parse(call, Profile::Go);
    // Whatever is taken strictly is taken, and read alike, from those who come from the reference.
    if let Ok(method) = &strict {
        assert_eq!(go.as_ref(), Ok(method));
        assert!(Method::NAMES.contains(&method.name()));
    }
    if let Err(error) = strict {
        assert!(error.message.len() < 1000);
        assert!(error.code != json_rpc::INVALID_PARAMS || error.data.field.is_some());
        assert!(!Response::new(1.into(), Err(error)).to_json().is_empty());
    }
}

fn body(bytes: &[u8]) {
    let calls = match json_rpc::parse(bytes) {
        Ok(Incoming::Single(call)) => vec![call],
        Ok(Incoming::Batch(calls)) => calls,
        Err(_) => return,
    };
    calls.iter().flatten().for_each(call);
}

fn genesis(bytes: &[u8]) {
    if let Ok((genesis, _)) = Genesis::parse(bytes) {
        assert_eq!(genesis.sum().ok(), Some(genesis.supply));
        let (again, unknown) = Genesis::parse(genesis.to_json().as_bytes()).expect("just written");
        assert_eq!(again, genesis);
        assert!(unknown.is_empty());
    }
}

fn config(bytes: &[u8]) {
    if let Ok((config, _)) = Config::parse(bytes) {
        let limits = Limits::default().with(&config.limits);
        assert!(limits.messages_max > 0 && limits.channels_max > 0);
    }
}

fn texts(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(time) = rfc3339::parse(text) {
        assert_eq!(rfc3339::parse(&rfc3339::format(time)), Ok(time));
    }
    assert!(check_vmid(text).is_err() || text == session_rpc::vm::VMID);
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 4 {
        0 => body(bytes),
        1 => genesis(bytes),
        2 => config(bytes),
        _ => texts(bytes),
    }
});
